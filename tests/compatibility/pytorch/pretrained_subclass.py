import torch
from torch import nn

from mobilebert_pt import MobileBertModel, MobileBertPreTrainedModel, MobileBertTokenizer


class BinaryClassifier(MobileBertPreTrainedModel):
    def __init__(self, config):
        super().__init__(config)
        self.mobilebert = MobileBertModel(config)
        self.dropout = nn.Dropout(0.1)
        self.score = nn.Linear(config.hidden_size, 1)
        self.post_init()

    def forward(self, input_ids=None, attention_mask=None, token_type_ids=None):
        outputs = self.mobilebert(input_ids, attention_mask, token_type_ids, return_dict=True)
        return self.score(self.dropout(outputs.pooler_output))


model = BinaryClassifier.from_pretrained("mobilebert").eval()
assert model.score.weight.std() < 0.05 and not model.score.bias.any()  # initialised by _init_weights
nn.init.constant_(model.score.weight, 0.05)
inputs = MobileBertTokenizer.from_pretrained("mobilebert")("Where is my parcel?", return_tensors="pt")
model.save_pretrained("saved")
result = model(**inputs)
assert torch.equal(BinaryClassifier.from_pretrained("saved")(**inputs), result)
