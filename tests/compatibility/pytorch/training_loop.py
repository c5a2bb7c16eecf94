import torch
from torch.utils.data import DataLoader, TensorDataset
from transformers import get_linear_schedule_with_warmup

from mobilebert_pt import MobileBertForSequenceClassification, MobileBertTokenizer

device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
tokenizer = MobileBertTokenizer.from_pretrained("mobilebert-labels", do_lower_case=True)
model = MobileBertForSequenceClassification.from_pretrained("mobilebert-labels", num_labels=3).to(device)
encoded = tokenizer(["good parcel", "bad parcel", "Where is it?"], padding=True, truncation=True, return_tensors="pt")
data = TensorDataset(encoded["input_ids"], encoded["attention_mask"], torch.tensor([0, 1, 2]))
optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, eps=1e-6)
scheduler = get_linear_schedule_with_warmup(optimizer, 1, 4)
model.train()
result = []
for _ in range(2):
    for batch in DataLoader(data, batch_size=2):
        input_ids, attention_mask, labels = (tensor.to(device) for tensor in batch)
        model.zero_grad()
        outputs = model(input_ids, token_type_ids=None, attention_mask=attention_mask, labels=labels)
        outputs[0].backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        scheduler.step()
        result.append(outputs.loss.item())
