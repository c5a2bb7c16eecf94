import torch

from mobilebert_pt import MobileBertForQuestionAnswering, MobileBertTokenizerFast

tokenizer = MobileBertTokenizerFast.from_pretrained("mobilebert-squad")
model = MobileBertForQuestionAnswering.from_pretrained("mobilebert-squad")
context = "my parcel will arrive in paris tomorrow . " * 4
windows = tokenizer("Where is my parcel?", context, max_length=32, truncation="only_second", stride=8,
                    return_overflowing_tokens=True, return_offsets_mapping=True, padding="max_length", return_tensors="pt")
offsets, origins = windows.pop("offset_mapping"), windows.pop("overflow_to_sample_mapping")
with torch.no_grad():
    best = model(**windows).start_logits.argmax(dim=1).tolist()
spans = [offsets[row][column].tolist() for row, column in enumerate(best)]
assert len(spans) > 1 and set(origins.tolist()) == {0} and windows.sequence_ids(0)[1] == 0
result = [context[begin:end] for begin, end in spans]
