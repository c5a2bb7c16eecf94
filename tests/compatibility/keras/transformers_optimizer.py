import numpy as np
from transformers import create_optimizer

from mobilebert_tf import MobileBertTokenizerFast, TFMobileBertForSequenceClassification

tokenizer = MobileBertTokenizerFast.from_pretrained("mobilebert-labels")
model = TFMobileBertForSequenceClassification.from_pretrained("mobilebert-labels")
optimizer, schedule = create_optimizer(init_lr=1e-4, num_train_steps=4, num_warmup_steps=1, weight_decay_rate=0.01)
model.compile(optimizer=optimizer)
encoded = dict(tokenizer(["good parcel", "bad parcel"], padding=True, return_tensors="np"))
result = model.fit({**encoded, "labels": np.array([0, 1])}, epochs=2, batch_size=2, verbose=0).history["loss"]
