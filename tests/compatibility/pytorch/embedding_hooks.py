
from mobilebert_pt import MobileBertForSequenceClassification, MobileBertTokenizer

model = MobileBertForSequenceClassification.from_pretrained("mobilebert-labels").eval()
inputs = MobileBertTokenizer.from_pretrained("mobilebert-labels")("Where is my parcel?", return_tensors="pt")
kept = {}
encoder = model.mobilebert.encoder
hooks = [
    model.mobilebert.embeddings.word_embeddings.register_forward_hook(lambda module, args, output: output * 0.5),
    encoder.layer[0].register_forward_hook(
        lambda module, args, output: kept.update(first=output[0] if isinstance(output, tuple) else output)
    ),
    encoder.layer[1].attention.self.query.register_forward_hook(lambda module, args, output: kept.update(query=output)),
]
logits = model(**inputs).logits
for hook in hooks:
    hook.remove()
result = [logits, kept["first"], kept["query"]]
