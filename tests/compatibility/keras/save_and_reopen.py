import tensorflow as tf

from mobilebert_tf import MobileBertTokenizerFast, TFMobileBertForSequenceClassification

tokenizer = MobileBertTokenizerFast.from_pretrained("mobilebert-labels")
model = TFMobileBertForSequenceClassification.from_pretrained("mobilebert-labels")
model.classifier.bias.assign([1.0, 2.0, 3.0])
model.save_pretrained("saved")
tokenizer.save_pretrained("saved")
again = TFMobileBertForSequenceClassification.from_pretrained("saved")
batch = MobileBertTokenizerFast.from_pretrained("saved")("Where is my parcel?", return_tensors="tf")
result = again(batch).logits
tf.debugging.assert_near(result, model(batch).logits)
