from torch import nn

from mobilebert_pt import MobileBertConfig, MobileBertModel, MobileBertPreTrainedModel


class Tagger(MobileBertPreTrainedModel):
    def __init__(self, config):
        super().__init__(config)
        self.mobilebert = MobileBertModel(config, add_pooling_layer=False)
        self.classifier = nn.Linear(config.hidden_size, config.num_labels)
        self.init_weights()

    def _init_weights(self, module):
        super()._init_weights(module)
        if module is getattr(self, "classifier", None):
            nn.init.constant_(module.bias, -4.0)


model = Tagger.from_pretrained("mobilebert", config=MobileBertConfig.from_pretrained("mobilebert", num_labels=5))
result = [model.classifier.bias, model.mobilebert.embeddings.word_embeddings.weight, model.mobilebert.pooler is None]
