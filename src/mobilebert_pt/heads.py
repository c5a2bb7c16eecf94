"""The models with a task layer in PyTorch. mobilebert_tf/heads.py is its translation."""

from typing import Any

import torch.nn.functional as F
from torch import Tensor

from mobilebert_common.config import MobileBertConfig
from mobilebert_common.outputs import SequenceClassifierOutput

from .layers import Linear
from .losses import classification_losses, mean
from .model import MobileBertModel, PreTrainedModel


class MobileBertForSequenceClassification(PreTrainedModel):
    """A label, several labels or a number for a sentence or a pair: a dense layer on the pooled output."""

    def __init__(self, config: MobileBertConfig) -> None:
        super().__init__(config)
        self.mobilebert = MobileBertModel(config)
        self.classifier = Linear(config, config.hidden_size, config.num_labels)
        self.dropout = config.hidden_dropout_prob if config.classifier_dropout is None else config.classifier_dropout

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        position_ids: Tensor | None = None,
        head_mask: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        labels: Tensor | None = None,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
    ) -> SequenceClassifierOutput | tuple[Any, ...]:
        """
        Args:
            labels: [b] classes (-100 is ignored), [b num_labels] zeros and ones, or numbers to regress on, [b] or [b
                num_labels]; config.problem_type decides, or else the number of labels and the dtype (see
                mobilebert_common.inputs.problem_type).
            the others: as MobileBertModel.
        """
        base = self.mobilebert(
            input_ids,
            attention_mask,
            token_type_ids,
            position_ids,
            head_mask,
            inputs_embeds,
            output_hidden_states=output_hidden_states,
            output_attentions=output_attentions,
            return_dict=True,
        )
        logits = self.classifier(F.dropout(base.pooler_output, self.dropout, self.training))  # [b num_labels]
        output = SequenceClassifierOutput(
            loss=None if labels is None else mean(*classification_losses(logits, labels, self.config)),
            logits=logits,
            hidden_states=base.hidden_states,
            attentions=base.attentions,
        )
        return self.finish(output, return_dict)
