import torch

from mobilebert_pt import MobileBertForSequenceClassification

model = MobileBertForSequenceClassification.from_pretrained("mobilebert-labels")
no_decay = ["bias", "LayerNorm.weight"]
groups = [
    {"params": [p for n, p in model.named_parameters() if not any(part in n for part in no_decay)], "weight_decay": 0.01},
    {"params": [p for n, p in model.named_parameters() if any(part in n for part in no_decay)], "weight_decay": 0.0},
]
optimizer = torch.optim.AdamW(groups, lr=2e-5)
assert sum(p.numel() for group in optimizer.param_groups for p in group["params"]) == model.num_parameters()
result = [sum(p.numel() for p in group["params"]) for group in groups]
