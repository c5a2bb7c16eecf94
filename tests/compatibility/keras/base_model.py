from mobilebert_tf import MobileBertTokenizer, TFMobileBertModel

tokenizer = MobileBertTokenizer.from_pretrained("mobilebert")
model = TFMobileBertModel.from_pretrained("mobilebert")
inputs = tokenizer("Where is my parcel?", return_tensors="tf")
outputs = model(inputs)
hidden_states = model(inputs, output_hidden_states=True).hidden_states
assert len(hidden_states) == model.config.num_hidden_layers + 1
result = [outputs.last_hidden_state, outputs[1], *hidden_states]
