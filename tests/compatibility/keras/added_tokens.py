import tensorflow as tf

from mobilebert_tf import MobileBertTokenizerFast, TFMobileBertForMaskedLM

tokenizer = MobileBertTokenizerFast.from_pretrained("mobilebert")
model = TFMobileBertForMaskedLM.from_pretrained("mobilebert")
before = len(tokenizer)
tokenizer.add_tokens(["[ORDER]", "refund"])
model.resize_token_embeddings(len(tokenizer))
inputs = tokenizer("where is my parcel", return_tensors="tf")
logits = model(**inputs).logits
assert logits.shape[-1] == before + 2 == model.config.vocab_size
model.save_pretrained("saved")
tf.debugging.assert_near(TFMobileBertForMaskedLM.from_pretrained("saved")(**inputs).logits, logits)
result = logits[..., :before]
