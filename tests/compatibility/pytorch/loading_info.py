from mobilebert_pt import MobileBertForTokenClassification

model, info = MobileBertForTokenClassification.from_pretrained("mobilebert", num_labels=7, output_loading_info=True)
assert {name for name in info["missing_keys"] if name.startswith("classifier")} == {"classifier.weight", "classifier.bias"}
result = [model.classifier.weight.shape, sorted(info["missing_keys"])]
