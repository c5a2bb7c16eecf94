"""The models with a task layer in Keras. mobilebert_pt/heads.py is its translation."""

from typing import Any

import keras

from mobilebert_common.config import MobileBertConfig
from mobilebert_common.outputs import SequenceClassifierOutput

from .base import dropout, fold
from .layers import Linear
from .losses import classification_losses, mean
from .model import PreTrainedModel, TFMobileBertModel


@keras.saving.register_keras_serializable(package="mobilebert")
class TFMobileBertForSequenceClassification(PreTrainedModel):
    """A label, several labels or a number for a sentence or a pair: a dense layer on the pooled output."""

    def __init__(self, config: MobileBertConfig, **kwargs: Any) -> None:
        super().__init__(config, **kwargs)
        self.mobilebert = TFMobileBertModel(config, name="mobilebert", dtype=self.dtype_policy)
        self.classifier = Linear(
            config, config.hidden_size, config.num_labels, name="classifier", dtype=self.dtype_policy
        )
        self.dropout = config.hidden_dropout_prob if config.classifier_dropout is None else config.classifier_dropout
        self.build()

    def call(
        self,
        input_ids: Any = None,
        attention_mask: Any = None,
        token_type_ids: Any = None,
        position_ids: Any = None,
        head_mask: Any = None,
        inputs_embeds: Any = None,
        labels: Any = None,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
        training: bool | None = None,
    ) -> SequenceClassifierOutput | tuple[Any, ...]:
        """
        Args:
            labels: [b] classes (-100 is ignored), [b num_labels] zeros and ones, or numbers to regress on, [b] or [b
                num_labels]; config.problem_type decides, or else the number of labels and the dtype (see
                mobilebert_common.inputs.problem_type).
            the others: as TFMobileBertModel.
        """
        seed = self.draw_seed(training)
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
            seed=fold(seed, 1),
        )
        logits = self.classifier(dropout(base.pooler_output, self.dropout, seed))  # [b num_labels]
        output = SequenceClassifierOutput(
            loss=None if labels is None else mean(*classification_losses(logits, labels, self.config)),
            logits=logits,
            hidden_states=base.hidden_states,
            attentions=base.attentions,
        )
        return self.finish(output, return_dict)

    def compute_losses(self, logits: Any, labels: Any) -> tuple[Any, Any]:
        return classification_losses(logits, labels, self.config)
