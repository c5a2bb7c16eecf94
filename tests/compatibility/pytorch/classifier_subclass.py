import torch
from torch import nn

from mobilebert_pt import MobileBertForSequenceClassification, MobileBertTokenizer


class Weighted(MobileBertForSequenceClassification):
    def forward(self, labels=None, **inputs):
        outputs = super().forward(**inputs)
        if labels is not None:
            outputs.loss = nn.CrossEntropyLoss(weight=torch.tensor([1.0, 3.0, 1.0]))(outputs.logits, labels)
        return outputs


model = Weighted.from_pretrained("mobilebert-labels")
tokenizer = MobileBertTokenizer.from_pretrained("mobilebert-labels")
outputs = model(**tokenizer(["good", "bad parcel"], padding=True, return_tensors="pt"), labels=torch.tensor([0, 1]))
result = [outputs.loss, outputs["logits"]]
