from mobilebert_tf import TFMobileBertForSequenceClassification

names = {0: "negative", 1: "neutral", 2: "positive", 3: "mixed"}
model = TFMobileBertForSequenceClassification.from_pretrained(
    "mobilebert", num_labels=4, id2label=names, label2id={name: number for number, name in names.items()}, from_pt=False
)
model.save_pretrained("saved")
again = TFMobileBertForSequenceClassification.from_pretrained("saved")
result = [again.config.id2label, tuple(again.classifier.kernel.shape)]
