import torch
from torch import nn

from mobilebert_pt import MobileBertModel, MobileBertTokenizer


class WithFeatures(nn.Module):
    def __init__(self, features: int) -> None:
        super().__init__()
        self.bert = MobileBertModel.from_pretrained("mobilebert")
        self.head = nn.Sequential(nn.Dropout(0.0), nn.Linear(self.bert.config.hidden_size + features, 2))

    def forward(self, input_ids, attention_mask, features):
        pooled = self.bert(input_ids, attention_mask).last_hidden_state[:, 0]
        return self.head(torch.cat([pooled, features], dim=1))


model = WithFeatures(3)
nn.init.constant_(model.head[1].weight, 0.02)
nn.init.zeros_(model.head[1].bias)
batch = MobileBertTokenizer.from_pretrained("mobilebert")(["good parcel", "Where is Paris?"], padding="max_length", max_length=16)
optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
result = []
for _ in range(3):
    logits = model(torch.tensor(batch["input_ids"]), torch.tensor(batch["attention_mask"]), torch.ones(2, 3))
    loss = nn.CrossEntropyLoss()(logits, torch.tensor([0, 1]))
    optimizer.zero_grad()
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    result.append(loss.item())
assert result[-1] < result[0]
