import numpy as np
from transformers import Trainer, TrainingArguments

from mobilebert_pt import MobileBertForSequenceClassification, MobileBertTokenizerFast

tokenizer = MobileBertTokenizerFast.from_pretrained("mobilebert-labels")
model = MobileBertForSequenceClassification.from_pretrained("mobilebert-labels", num_labels=3)
encoded = tokenizer(["good parcel", "bad parcel", "Where is it?", "bad"], truncation=True, padding=True)
data = [{name: encoded[name][row] for name in encoded} | {"labels": label} for row, label in enumerate([0, 1, 2, 1])]


def compute_metrics(prediction):
    logits, labels = prediction
    return {"accuracy": float((np.argmax(logits, axis=-1) == labels).mean())}


arguments = TrainingArguments("out", num_train_epochs=2, per_device_train_batch_size=4, learning_rate=1e-3,
                              report_to="none", disable_tqdm=True, use_cpu=True, save_strategy="no", seed=0)
trainer = Trainer(model=model, args=arguments, train_dataset=data, eval_dataset=data, compute_metrics=compute_metrics)
trainer.train()
metrics = trainer.evaluate()
result = [trainer.state.global_step, metrics["eval_loss"], metrics["eval_accuracy"]]
