import torch
from accelerate import Accelerator
from torch.utils.data import DataLoader

from mobilebert_pt import MobileBertForSequenceClassification, MobileBertTokenizerFast

accelerator = Accelerator(cpu=True)
tokenizer = MobileBertTokenizerFast.from_pretrained("mobilebert-labels")
model = MobileBertForSequenceClassification.from_pretrained("mobilebert-labels")
encoded = tokenizer(["good parcel", "bad parcel"])
data = [{name: encoded[name][row] for name in encoded} | {"label": row} for row in range(2)]
loader = DataLoader(data, batch_size=2, collate_fn=lambda rows: tokenizer.pad(rows, return_tensors="pt"))
model, optimizer, loader = accelerator.prepare(model, torch.optim.SGD(model.parameters(), lr=1e-3), loader)
for batch in loader:
    labels = batch.pop("label")
    loss = model(**batch, labels=labels).loss
    accelerator.backward(loss)
    optimizer.step()
unwrapped = accelerator.unwrap_model(model)
unwrapped.save_pretrained("saved", is_main_process=accelerator.is_main_process, save_function=accelerator.save,
                          state_dict=accelerator.get_state_dict(model))
again = MobileBertForSequenceClassification.from_pretrained("saved")
assert torch.equal(again.classifier.weight, unwrapped.classifier.weight)
result = [loss, again.classifier.weight]
