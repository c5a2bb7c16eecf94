from mobilebert_pt import MobileBertModel, MobileBertTokenizer

model = MobileBertModel.from_pretrained("mobilebert", output_attentions=True, attn_implementation="eager")
tokenizer = MobileBertTokenizer.from_pretrained("mobilebert")
inputs = tokenizer.encode("Where is my parcel?", return_tensors="pt")
attention = model(inputs)[-1]  # what bertviz wants: one [batch, heads, tokens, tokens] a layer
tokens = tokenizer.convert_ids_to_tokens(inputs[0])
assert attention[0].shape == (1, model.config.num_attention_heads, len(tokens), len(tokens))
assert attention[0].sum(dim=-1).allclose(attention[0].new_ones(1))
result = [list(attention), tokens]
