import numpy as np
import tensorflow as tf

from mobilebert_tf import MobileBertTokenizerFast, TFMobileBertForTokenClassification

tokenizer = MobileBertTokenizerFast.from_pretrained("mobilebert-tags")
model = TFMobileBertForTokenClassification.from_pretrained("mobilebert-tags")
words, tags = [["My", "parcel", "is", "in", "Paris"], ["Paris", "is", "good"]], [[0, 2, 0, 0, 1], [1, 0, 0]]
encoded = tokenizer(words, is_split_into_words=True, padding=True, return_tensors="np")
labels = np.array([[-100 if word is None else tags[row][word] for word in encoded.word_ids(row)] for row in range(2)])
outputs = model(**encoded, labels=labels)
model.compile(optimizer=tf.keras.optimizers.SGD(1e-3))
history = model.fit({**encoded, "labels": labels}, epochs=2, batch_size=2, verbose=0)
result = [tf.reduce_mean(outputs.loss), outputs.logits, history.history["loss"]]
