import torch
from torch import nn

from mobilebert_pt import MobileBertForQuestionAnswering, MobileBertTokenizer


class Wrapper(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.model = MobileBertForQuestionAnswering.from_pretrained("mobilebert-squad").eval()

    def forward(self, input_ids, attention_mask, token_type_ids):
        outputs = self.model(input_ids=input_ids, attention_mask=attention_mask, token_type_ids=token_type_ids)
        return torch.stack([outputs.start_logits, outputs.end_logits])


tokenizer = MobileBertTokenizer.from_pretrained("mobilebert-squad")
example = tokenizer("Where is it?", "It is in Paris.", return_tensors="pt")
order = ("input_ids", "attention_mask", "token_type_ids")
traced = torch.jit.freeze(torch.jit.trace(Wrapper().eval(), tuple(example[name] for name in order)))
padded = tokenizer("Where?", "Paris", padding="max_length", max_length=len(example["input_ids"][0]), return_tensors="pt")
result = traced(*(padded[name] for name in order))
