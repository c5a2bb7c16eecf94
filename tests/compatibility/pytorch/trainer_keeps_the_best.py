import torch
import transformers

import mobilebert_pt
from mobilebert_pt import MobileBertForSequenceClassification, MobileBertTokenizerFast

tokenizer = MobileBertTokenizerFast.from_pretrained("mobilebert-labels")
model = MobileBertForSequenceClassification.from_pretrained("mobilebert-labels")
encoded = tokenizer(["good parcel", "bad parcel"])
data = [{name: encoded[name][row] for name in encoded} | {"labels": row} for row in range(2)]
arguments = transformers.TrainingArguments(
    "out", num_train_epochs=3, learning_rate=1e-3, eval_strategy="epoch", save_strategy="epoch", load_best_model_at_end=True,
    metric_for_best_model="loss", save_total_limit=1, report_to="none", disable_tqdm=True, use_cpu=True, seed=0,
)
Trainer = mobilebert_pt.trainer_class()  # transformers: Trainer = transformers.Trainer
trainer = Trainer(model, arguments, train_dataset=data, eval_dataset=data, callbacks=[transformers.EarlyStoppingCallback(2)])
trainer.train()
trainer.save_model("best")
tokenizer.save_pretrained("best")
reopened = MobileBertForSequenceClassification.from_pretrained("best").eval()
batch = MobileBertTokenizerFast.from_pretrained("best")(["good parcel", "bad parcel"], return_tensors="pt")
assert torch.equal(reopened(**batch).logits, model.eval()(**batch).logits)
assert MobileBertForSequenceClassification.from_pretrained(trainer.state.best_model_checkpoint).num_labels == 3
result = [trainer.state.best_metric, reopened.config.id2label[0]]
