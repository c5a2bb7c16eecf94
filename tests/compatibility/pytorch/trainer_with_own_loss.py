import torch
from transformers import Trainer, TrainingArguments

from mobilebert_pt import MobileBertForSequenceClassification, MobileBertTokenizerFast


class WeightedTrainer(Trainer):
    def compute_loss(self, model, inputs, return_outputs=False, **kwargs):
        labels = inputs.pop("labels")
        outputs = model(**inputs)
        weight = torch.tensor([1.0, 2.0, 0.5], device=model.device)
        loss = torch.nn.functional.cross_entropy(outputs.logits.view(-1, model.config.num_labels), labels, weight=weight)
        return (loss, outputs) if return_outputs else loss


tokenizer = MobileBertTokenizerFast.from_pretrained("mobilebert-labels")
encoded = tokenizer(["good parcel", "bad parcel"])
data = [{name: encoded[name][row] for name in encoded} | {"labels": row} for row in range(2)]
model = MobileBertForSequenceClassification.from_pretrained("mobilebert-labels")
arguments = TrainingArguments("out", max_steps=2, learning_rate=1e-3, save_strategy="no", report_to="none",
                              disable_tqdm=True, use_cpu=True, seed=0)
trainer = WeightedTrainer(model=model, args=arguments, train_dataset=data, eval_dataset=data)
trainer.train()
result = trainer.evaluate()["eval_loss"]
