import torch
import torch.nn.functional as F

from mobilebert_pt import MobileBertForSequenceClassification, MobileBertTokenizer

teacher = MobileBertForSequenceClassification.from_pretrained("mobilebert-labels", output_hidden_states=True).eval()
student = MobileBertForSequenceClassification.from_pretrained("mobilebert-labels", output_hidden_states=True, num_hidden_layers=1)
batch = MobileBertTokenizer.from_pretrained("mobilebert-labels")(["good", "Where is it?"], padding=True, return_tensors="pt")
optimizer = torch.optim.SGD(student.parameters(), lr=1e-3)
result = []
for _ in range(2):
    with torch.no_grad():
        wanted = teacher(**batch)
    found = student(**batch)
    soft = F.kl_div(F.log_softmax(found.logits / 2, dim=-1), F.softmax(wanted.logits / 2, dim=-1), reduction="batchmean") * 4
    loss = soft + F.mse_loss(found.hidden_states[-1], wanted.hidden_states[-1])
    loss.backward()
    optimizer.step()
    optimizer.zero_grad()
    result.append(loss.item())
