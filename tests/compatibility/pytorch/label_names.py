from mobilebert_pt import MobileBertConfig, MobileBertForTokenClassification

names = ["O", "B-PER", "I-PER", "B-LOC", "I-LOC"]
model = MobileBertForTokenClassification.from_pretrained(
    "mobilebert", id2label=dict(enumerate(names)), label2id={name: number for number, name in enumerate(names)}
)
assert model.classifier.out_features == 5 == model.num_labels
model.config.id2label = {number: name.lower() for number, name in enumerate(names)}
model.save_pretrained("saved")
result = [MobileBertConfig.from_pretrained("saved").id2label, MobileBertConfig.from_pretrained("saved", num_labels=2).num_labels]
