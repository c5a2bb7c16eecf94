import torch
from peft import LoraConfig, PeftModel, TaskType, get_peft_model

from mobilebert_pt import MobileBertForSequenceClassification, MobileBertTokenizer

model = MobileBertForSequenceClassification.from_pretrained("mobilebert-labels")
adapted = get_peft_model(model, LoraConfig(task_type=TaskType.SEQ_CLS, r=4, lora_alpha=8, target_modules=["query", "value"]))
trainable, everything = adapted.get_nb_trainable_parameters()
batch = MobileBertTokenizer.from_pretrained("mobilebert-labels")(["good", "bad"], padding=True, return_tensors="pt")
adapted(**batch, labels=torch.tensor([0, 1])).loss.backward()
torch.optim.SGD([p for p in adapted.parameters() if p.requires_grad], lr=1e-2).step()
adapted.save_pretrained("adapter")
again = PeftModel.from_pretrained(MobileBertForSequenceClassification.from_pretrained("mobilebert-labels"), "adapter")
expected = adapted.eval()(**batch).logits
assert torch.allclose(again.eval()(**batch).logits, expected)
assert torch.allclose(again.merge_and_unload()(**batch).logits, expected, atol=1e-4)
result = [trainable, everything]
