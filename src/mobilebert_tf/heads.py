"""The models with a task layer in Keras. mobilebert_pt/heads.py is its translation."""

from collections.abc import Mapping
from typing import Any

import keras
from keras import ops

from mobilebert_common.model import inputs
from mobilebert_common.model.architectures import ARCHITECTURES
from mobilebert_common.model.config import MobileBertConfig
from mobilebert_common.model.outputs import (
    SCORES,
    BaseModelOutputWithPooling,
    MaskedLMOutput,
    MobileBertForPreTrainingOutput,
    ModelOutput,
    MultipleChoiceModelOutput,
    NextSentencePredictorOutput,
    QuestionAnsweringModelOutput,
    SequenceClassifierOutput,
    TokenClassifierOutput,
)

from .checks import sizes
from .layers import Linear, PreTrainingHeads
from .losses import Losses, class_losses, classification_losses, span_losses, total
from .model import TFMobileBertModel, take_positions
from .pretrained import TFMobileBertPreTrainedModel
from .seeds import Dropout, seed_for


class HeadModel(TFMobileBertPreTrainedModel):
    """What all heads share: the base model, and an output made from scores and labels."""

    output_class: type[ModelOutput]
    label_share = 1.0  # of each label in the loss
    base_class = TFMobileBertModel

    def __init__(self, config: MobileBertConfig, **kwargs: Any) -> None:
        super().__init__(config, **kwargs)
        pooler = "pooler" in ARCHITECTURES[self.architecture].blocks
        self.mobilebert = self.base_class(self.config, pooler, name="mobilebert", dtype=self.dtype_policy)
        rate = self.config.hidden_dropout_prob if self.config.classifier_dropout is None else self.config.classifier_dropout
        self.dropout = Dropout(rate, name="classifier_dropout", dtype=self.dtype_policy)  # Keras calls a user's own "dropout"

    def label_losses(self, scores: Mapping[str, Any], labels: Mapping[str, Any]) -> list[Losses]:
        """The losses of each label given, for labels that are classes."""
        expected = ARCHITECTURES[self.architecture].labels
        return [class_losses(scores[expected[name].scores], label, name) for name, label in labels.items()]

    def complete(
        self,
        base: BaseModelOutputWithPooling,
        scores: dict[str, Any],
        labels: dict[str, Any],
        return_dict: bool | None,
    ) -> Any:
        """The head's output, with a loss if labels are given."""
        given = {name: label for name, label in labels.items() if label is not None}
        loss = total(self.label_losses(scores, given)) if given else None
        states = {"hidden_states": base.hidden_states, "attentions": base.attentions}
        output = self.output_class(loss=loss, **scores, **states)
        if SCORES in base:
            output[SCORES] = base[SCORES]
        return self.finish(output, return_dict)


@keras.saving.register_keras_serializable(package="mobilebert")
class TFMobileBertForPreTraining(HeadModel):
    """Both tasks of pre-training: masked words and whether the second sentence follows the first."""

    output_class = MobileBertForPreTrainingOutput

    def __init__(self, config: MobileBertConfig, **kwargs: Any) -> None:
        super().__init__(config, **kwargs)
        self.cls = PreTrainingHeads(self.config, self.architecture, name="cls", dtype=self.dtype_policy)

    def call(
        self,
        input_ids: Any = None,
        attention_mask: Any = None,
        token_type_ids: Any = None,
        position_ids: Any = None,
        head_mask: Any = None,
        inputs_embeds: Any = None,
        labels: Any = None,
        next_sentence_label: Any = None,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
        masked_lm_positions: Any = None,
        training: bool | None = None,
    ) -> MobileBertForPreTrainingOutput | tuple[Any, ...]:
        """
        Args:
            labels: [b t] words, -100 where there is nothing to predict; [b m] with masked_lm_positions.
            next_sentence_label: [b], 0 where B follows A, 1 where it is a random sentence. The loss is the sum over the
                labels given.
            masked_lm_positions: [b m], a tensor or a list of lists, to score only these.
            the others: as TFMobileBertModel.
        """
        seed = self.draw_seed(training)
        tensors = (input_ids, attention_mask, token_type_ids, position_ids, head_mask, inputs_embeds)
        switches = {"output_hidden_states": output_hidden_states, "output_attentions": output_attentions}
        base = self.mobilebert(*tensors, **switches, return_dict=True, seed=seed_for(self.mobilebert, seed))
        x = take_positions(base.last_hidden_state, masked_lm_positions)
        scores = {
            "prediction_logits": self.cls.predictions(x, self.get_input_embeddings().embeddings),  # [b t v]
            "seq_relationship_logits": self.cls.seq_relationship(base.pooler_output),  # [b 2]
        }
        given = {"labels": labels, "next_sentence_label": next_sentence_label}
        return self.complete(base, scores, given, return_dict)


@keras.saving.register_keras_serializable(package="mobilebert")
class TFMobileBertForMaskedLM(HeadModel):
    """A score of every word for every token, or for some of them."""

    output_class = MaskedLMOutput

    def __init__(self, config: MobileBertConfig, **kwargs: Any) -> None:
        super().__init__(config, **kwargs)
        self.cls = PreTrainingHeads(self.config, self.architecture, name="cls", dtype=self.dtype_policy)

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
        masked_lm_positions: Any = None,
        training: bool | None = None,
    ) -> MaskedLMOutput | tuple[Any, ...]:
        """
        Args:
            labels: [b t] words, -100 where there is nothing to predict; [b m] with masked_lm_positions.
            masked_lm_positions: [b m], a tensor or a list of lists, to score only these.
            the others: as TFMobileBertModel.
        """
        seed = self.draw_seed(training)
        tensors = (input_ids, attention_mask, token_type_ids, position_ids, head_mask, inputs_embeds)
        switches = {"output_hidden_states": output_hidden_states, "output_attentions": output_attentions}
        base = self.mobilebert(*tensors, **switches, return_dict=True, seed=seed_for(self.mobilebert, seed))
        x = take_positions(base.last_hidden_state, masked_lm_positions)
        logits = self.cls.predictions(x, self.get_input_embeddings().embeddings)  # [b t v]
        return self.complete(base, {"logits": logits}, {"labels": labels}, return_dict)


@keras.saving.register_keras_serializable(package="mobilebert")
class TFMobileBertForNextSentencePrediction(HeadModel):
    """Whether the second sentence follows the first."""

    output_class = NextSentencePredictorOutput

    def __init__(self, config: MobileBertConfig, **kwargs: Any) -> None:
        super().__init__(config, **kwargs)
        self.cls = PreTrainingHeads(self.config, self.architecture, name="cls", dtype=self.dtype_policy)

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
        next_sentence_label: Any = None,
        training: bool | None = None,
    ) -> NextSentencePredictorOutput | tuple[Any, ...]:
        """
        Args:
            labels: [b], 0 where B follows A, 1 where it is a random sentence (-100 is ignored).
            next_sentence_label: another name of labels.
            the others: as TFMobileBertModel.
        """
        seed = self.draw_seed(training)
        tensors = (input_ids, attention_mask, token_type_ids, position_ids, head_mask, inputs_embeds)
        switches = {"output_hidden_states": output_hidden_states, "output_attentions": output_attentions}
        base = self.mobilebert(*tensors, **switches, return_dict=True, seed=seed_for(self.mobilebert, seed))
        logits = self.cls.seq_relationship(base.pooler_output)  # [b 2]
        given = {"labels": inputs.one_name(labels, next_sentence_label)}
        return self.complete(base, {"logits": logits}, given, return_dict)


@keras.saving.register_keras_serializable(package="mobilebert")
class TFMobileBertForSequenceClassification(HeadModel):
    """A label, several labels or a number for a sentence or a pair: a dense layer on the pooled output."""

    output_class = SequenceClassifierOutput

    def __init__(self, config: MobileBertConfig, **kwargs: Any) -> None:
        super().__init__(config, **kwargs)
        self.classifier = Linear(
            self.config, self.config.hidden_size, self.config.num_labels, name="classifier", dtype=self.dtype_policy
        )

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
                mobilebert_common.model.inputs.problem_type).
            the others: as TFMobileBertModel.
        """
        seed = self.draw_seed(training)
        tensors = (input_ids, attention_mask, token_type_ids, position_ids, head_mask, inputs_embeds)
        switches = {"output_hidden_states": output_hidden_states, "output_attentions": output_attentions}
        base = self.mobilebert(*tensors, **switches, return_dict=True, seed=seed_for(self.mobilebert, seed))
        logits = self.classifier(self.dropout(base.pooler_output, seed=seed))  # [b num_labels]
        return self.complete(base, {"logits": logits}, {"labels": labels}, return_dict)

    def label_losses(self, scores: Mapping[str, Any], labels: Mapping[str, Any]) -> list[Losses]:
        """Classes, several labels or a regression."""
        return [classification_losses(scores["logits"], labels["labels"], self.config)]


@keras.saving.register_keras_serializable(package="mobilebert")
class TFMobileBertForMultipleChoice(HeadModel):
    """Which of several endings fits: a score for each, from its pooled output."""

    output_class = MultipleChoiceModelOutput

    def __init__(self, config: MobileBertConfig, **kwargs: Any) -> None:
        super().__init__(config, **kwargs)
        self.classifier = Linear(self.config, self.config.hidden_size, 1, name="classifier", dtype=self.dtype_policy)

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
    ) -> MultipleChoiceModelOutput | tuple[Any, ...]:
        """
        Args:
            input_ids and the others of TFMobileBertModel: with an axis of choices after the batch, [b c t].
            labels: [b] indices of the right choices (-100 is ignored).
        """
        inputs.check_one_source(input_ids, inputs_embeds)
        source = inputs_embeds if input_ids is None else input_ids
        inputs.check_choices(sizes(source))
        seed = self.draw_seed(training)
        rows = (input_ids, attention_mask, token_type_ids, position_ids)
        tensors = (*map(flatten_choices, rows), head_mask, flatten_choices(inputs_embeds))
        switches = {"output_hidden_states": output_hidden_states, "output_attentions": output_attentions}
        base = self.mobilebert(*tensors, **switches, return_dict=True, seed=seed_for(self.mobilebert, seed))
        logits = self.classifier(self.dropout(base.pooler_output, seed=seed))  # [b*c 1]
        logits = ops.reshape(logits, (-1, ops.shape(source)[1]))  # [b c]
        return self.complete(base, {"logits": logits}, {"labels": labels}, return_dict)


@keras.saving.register_keras_serializable(package="mobilebert")
class TFMobileBertForTokenClassification(HeadModel):
    """A label for each token, as in named-entity recognition."""

    output_class = TokenClassifierOutput

    def __init__(self, config: MobileBertConfig, **kwargs: Any) -> None:
        super().__init__(config, **kwargs)
        self.classifier = Linear(
            self.config, self.config.hidden_size, self.config.num_labels, name="classifier", dtype=self.dtype_policy
        )

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
    ) -> TokenClassifierOutput | tuple[Any, ...]:
        """
        Args:
            labels: [b t] classes, -100 for tokens to ignore.
            the others: as TFMobileBertModel.
        """
        seed = self.draw_seed(training)
        tensors = (input_ids, attention_mask, token_type_ids, position_ids, head_mask, inputs_embeds)
        switches = {"output_hidden_states": output_hidden_states, "output_attentions": output_attentions}
        base = self.mobilebert(*tensors, **switches, return_dict=True, seed=seed_for(self.mobilebert, seed))
        logits = self.classifier(self.dropout(base.last_hidden_state, seed=seed))  # [b t num_labels]
        return self.complete(base, {"logits": logits}, {"labels": labels}, return_dict)


@keras.saving.register_keras_serializable(package="mobilebert")
class TFMobileBertForQuestionAnswering(HeadModel):
    """Where in a text the answer to a question starts and ends."""

    output_class = QuestionAnsweringModelOutput
    label_share = 0.5

    def __init__(self, config: MobileBertConfig, **kwargs: Any) -> None:
        super().__init__(config, **kwargs)
        self.qa_outputs = Linear(self.config, self.config.hidden_size, 2, name="qa_outputs", dtype=self.dtype_policy)

    def call(
        self,
        input_ids: Any = None,
        attention_mask: Any = None,
        token_type_ids: Any = None,
        position_ids: Any = None,
        head_mask: Any = None,
        inputs_embeds: Any = None,
        start_positions: Any = None,
        end_positions: Any = None,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
        training: bool | None = None,
    ) -> QuestionAnsweringModelOutput | tuple[Any, ...]:
        """
        Args:
            start_positions, end_positions: [b] places of the answer's first and last token; a place outside the
                sequence is ignored.
            the others: as TFMobileBertModel.
        """
        seed = self.draw_seed(training)
        tensors = (input_ids, attention_mask, token_type_ids, position_ids, head_mask, inputs_embeds)
        switches = {"output_hidden_states": output_hidden_states, "output_attentions": output_attentions}
        base = self.mobilebert(*tensors, **switches, return_dict=True, seed=seed_for(self.mobilebert, seed))
        logits = self.qa_outputs(base.last_hidden_state)  # [b t 2]
        scores = {"start_logits": logits[..., 0], "end_logits": logits[..., 1]}
        given = {"start_positions": start_positions, "end_positions": end_positions}
        return self.complete(base, scores, given, return_dict)

    def label_losses(self, scores: Mapping[str, Any], labels: Mapping[str, Any]) -> list[Losses]:
        """Half the loss of each end."""
        expected = ARCHITECTURES[self.architecture].labels
        inputs.check_together(list(labels), list(expected))
        ends = [span_losses(scores[expected[name].scores], labels[name], name) for name in expected]
        return [(self.label_share * losses, weights) for losses, weights in ends]


def flatten_choices(tensor: Any) -> Any:
    """[b c ...] -> [b*c ...]."""
    return None if tensor is None else ops.reshape(tensor, (-1, *ops.shape(tensor)[2:]))
