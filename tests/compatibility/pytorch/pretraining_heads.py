import torch

from mobilebert_pt import MobileBertForPreTraining, MobileBertTokenizer

tokenizer = MobileBertTokenizer.from_pretrained("mobilebert")
model = MobileBertForPreTraining.from_pretrained("mobilebert")
input_ids = torch.tensor(tokenizer.encode("Where is my parcel?", add_special_tokens=True)).unsqueeze(0)
outputs = model(input_ids, labels=input_ids, next_sentence_label=torch.tensor([0]))
result = [outputs.loss, outputs.prediction_logits, outputs.seq_relationship_logits]
