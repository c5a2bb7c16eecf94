"""The models with a task layer in PyTorch. mobilebert_tf/heads.py is its translation."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

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

from .checks import check_tensors, sizes
from .layers import PreTrainingHeads, TiedDecoder
from .losses import Losses, class_losses, classification_losses, span_losses, total
from .model import MobileBertModel, take_positions
from .pretrained import MobileBertPreTrainedModel


class HeadModel(MobileBertPreTrainedModel):
    """What all heads share: the base model, and an output made from scores and labels."""

    output_class: type[ModelOutput]
    label_share = 1.0  # of each label in the loss

    def __init__(self, config: MobileBertConfig) -> None:
        super().__init__(config)
        self.mobilebert = MobileBertModel(self.config, add_pooling_layer="pooler" in ARCHITECTURES[self.architecture].blocks)
        rate = self.config.hidden_dropout_prob if self.config.classifier_dropout is None else self.config.classifier_dropout
        self.dropout = nn.Dropout(rate)

    def tied_table(self) -> Tensor | None:
        """The word embeddings that the masked-LM head multiplies by; None if it has a decoder of its own.

        FSDP gives a gradient of its own making to a parameter that a module takes as an argument and does not use.
        """
        return self.get_input_embeddings().weight if isinstance(self.get_output_embeddings(), TiedDecoder) else None

    def label_losses(self, scores: Mapping[str, Tensor], labels: Mapping[str, Tensor]) -> list[Losses]:
        """The losses of each label given, for labels that are classes."""
        expected = ARCHITECTURES[self.architecture].labels
        return [class_losses(scores[expected[name].scores], label, name) for name, label in labels.items()]

    def complete(
        self,
        base: BaseModelOutputWithPooling,
        scores: dict[str, Tensor],
        labels: dict[str, Tensor | None],
        return_dict: bool | None,
        num_items_in_batch: Tensor | int | None = None,
    ) -> Any:
        """The head's output, with a loss if labels are given."""
        given = {name: label for name, label in labels.items() if label is not None}
        check_tensors(**given)
        loss = total(self.label_losses(scores, given), num_items_in_batch) if given else None
        states = {"hidden_states": base.hidden_states, "attentions": base.attentions}
        output = self.output_class(loss=loss, **scores, **states)
        if SCORES in base:
            output[SCORES] = base[SCORES]
        return self.finish(output, return_dict)


class MobileBertForPreTraining(HeadModel):
    """Both tasks of pre-training: masked words and whether the second sentence follows the first."""

    output_class = MobileBertForPreTrainingOutput

    def __init__(self, config: MobileBertConfig) -> None:
        super().__init__(config)
        self.cls = PreTrainingHeads(self.config, self.architecture, self.mobilebert.embeddings)
        self.post_init()

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        position_ids: Tensor | None = None,
        head_mask: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        labels: Tensor | None = None,
        next_sentence_label: Tensor | None = None,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
        masked_lm_positions: Tensor | list[list[int]] | None = None,
    ) -> MobileBertForPreTrainingOutput | tuple[Any, ...]:
        """
        Args:
            labels: [b t] words, -100 where there is nothing to predict; [b m] with masked_lm_positions.
            next_sentence_label: [b], 0 where B follows A, 1 where it is a random sentence. The loss is the sum over the
                labels given.
            masked_lm_positions: [b m], a tensor or a list of lists, to score only these.
            the others: as MobileBertModel.
        """
        tensors = (input_ids, attention_mask, token_type_ids, position_ids, head_mask, inputs_embeds)
        switches = {"output_hidden_states": output_hidden_states, "output_attentions": output_attentions}
        base = self.mobilebert(*tensors, **switches, return_dict=True)
        x = take_positions(base.last_hidden_state, masked_lm_positions)
        words, relation = self.cls(x, base.pooler_output, self.tied_table())  # [b t v], [b 2]
        scores = {"prediction_logits": words, "seq_relationship_logits": relation}
        given = {"labels": labels, "next_sentence_label": next_sentence_label}
        return self.complete(base, scores, given, return_dict)


class MobileBertForMaskedLM(HeadModel):
    """A score of every word for every token, or for some of them."""

    output_class = MaskedLMOutput
    accepts_loss_kwargs = True  # of Hugging Face's Trainer: it passes num_items_in_batch

    def __init__(self, config: MobileBertConfig) -> None:
        super().__init__(config)
        self.cls = PreTrainingHeads(self.config, self.architecture, self.mobilebert.embeddings)
        self.post_init()

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
        masked_lm_positions: Tensor | list[list[int]] | None = None,
        num_items_in_batch: Tensor | int | None = None,
    ) -> MaskedLMOutput | tuple[Any, ...]:
        """
        Args:
            labels: [b t] words, -100 where there is nothing to predict; [b m] with masked_lm_positions.
            masked_lm_positions: [b m], a tensor or a list of lists, to score only these.
            num_items_in_batch: the labels of a step over all processes and accumulated batches, not counting -100; the loss
                is divided by it, not by the number of its own labels.
            the others: as MobileBertModel.
        """
        tensors = (input_ids, attention_mask, token_type_ids, position_ids, head_mask, inputs_embeds)
        switches = {"output_hidden_states": output_hidden_states, "output_attentions": output_attentions}
        base = self.mobilebert(*tensors, **switches, return_dict=True)
        x = take_positions(base.last_hidden_state, masked_lm_positions)
        logits, _ = self.cls(x, None, self.tied_table())  # [b t v]
        return self.complete(base, {"logits": logits}, {"labels": labels}, return_dict, num_items_in_batch)


class MobileBertForNextSentencePrediction(HeadModel):
    """Whether the second sentence follows the first."""

    output_class = NextSentencePredictorOutput

    def __init__(self, config: MobileBertConfig) -> None:
        super().__init__(config)
        self.cls = PreTrainingHeads(self.config, self.architecture, self.mobilebert.embeddings)
        self.post_init()

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
        next_sentence_label: Tensor | None = None,
    ) -> NextSentencePredictorOutput | tuple[Any, ...]:
        """
        Args:
            labels: [b], 0 where B follows A, 1 where it is a random sentence (-100 is ignored).
            next_sentence_label: another name of labels.
            the others: as MobileBertModel.
        """
        tensors = (input_ids, attention_mask, token_type_ids, position_ids, head_mask, inputs_embeds)
        switches = {"output_hidden_states": output_hidden_states, "output_attentions": output_attentions}
        base = self.mobilebert(*tensors, **switches, return_dict=True)
        _, logits = self.cls(None, base.pooler_output, None)  # [b 2]
        given = {"labels": inputs.one_name(labels, next_sentence_label)}
        return self.complete(base, {"logits": logits}, given, return_dict)


class MobileBertForSequenceClassification(HeadModel):
    """A label, several labels or a number for a sentence or a pair: a dense layer on the pooled output."""

    output_class = SequenceClassifierOutput

    def __init__(self, config: MobileBertConfig) -> None:
        super().__init__(config)
        self.classifier = nn.Linear(self.config.hidden_size, self.config.num_labels)
        self.post_init()

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
                mobilebert_common.model.inputs.problem_type).
            the others: as MobileBertModel.
        """
        tensors = (input_ids, attention_mask, token_type_ids, position_ids, head_mask, inputs_embeds)
        switches = {"output_hidden_states": output_hidden_states, "output_attentions": output_attentions}
        base = self.mobilebert(*tensors, **switches, return_dict=True)
        logits = self.classifier(self.dropout(base.pooler_output))  # [b num_labels]
        return self.complete(base, {"logits": logits}, {"labels": labels}, return_dict)

    def label_losses(self, scores: Mapping[str, Tensor], labels: Mapping[str, Tensor]) -> list[Losses]:
        """Classes, several labels or a regression."""
        return [classification_losses(scores["logits"], labels["labels"], self.config)]


class MobileBertForMultipleChoice(HeadModel):
    """Which of several endings fits: a score for each, from its pooled output."""

    output_class = MultipleChoiceModelOutput

    def __init__(self, config: MobileBertConfig) -> None:
        super().__init__(config)
        self.classifier = nn.Linear(self.config.hidden_size, 1)
        self.post_init()

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
    ) -> MultipleChoiceModelOutput | tuple[Any, ...]:
        """
        Args:
            input_ids and the others of MobileBertModel: with an axis of choices after the batch, [b c t].
            labels: [b] indices of the right choices (-100 is ignored).
        """
        check_tensors(input_ids=input_ids, attention_mask=attention_mask, token_type_ids=token_type_ids)
        check_tensors(position_ids=position_ids, inputs_embeds=inputs_embeds)
        inputs.check_one_source(input_ids, inputs_embeds)
        source = inputs_embeds if input_ids is None else input_ids
        inputs.check_choices(sizes(source))
        rows = (input_ids, attention_mask, token_type_ids, position_ids)
        tensors = (*map(flatten_choices, rows), head_mask, flatten_choices(inputs_embeds))
        switches = {"output_hidden_states": output_hidden_states, "output_attentions": output_attentions}
        base = self.mobilebert(*tensors, **switches, return_dict=True)
        logits = self.classifier(self.dropout(base.pooler_output))  # [b*c 1]
        logits = logits.reshape(source.shape[:2])  # [b c]
        return self.complete(base, {"logits": logits}, {"labels": labels}, return_dict)


class MobileBertForTokenClassification(HeadModel):
    """A label for each token, as in named-entity recognition."""

    output_class = TokenClassifierOutput
    accepts_loss_kwargs = True

    def __init__(self, config: MobileBertConfig) -> None:
        super().__init__(config)
        self.classifier = nn.Linear(self.config.hidden_size, self.config.num_labels)
        self.post_init()

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
        num_items_in_batch: Tensor | int | None = None,
    ) -> TokenClassifierOutput | tuple[Any, ...]:
        """
        Args:
            labels: [b t] classes, -100 for tokens to ignore.
            num_items_in_batch: as MobileBertForMaskedLM.
            the others: as MobileBertModel.
        """
        tensors = (input_ids, attention_mask, token_type_ids, position_ids, head_mask, inputs_embeds)
        switches = {"output_hidden_states": output_hidden_states, "output_attentions": output_attentions}
        base = self.mobilebert(*tensors, **switches, return_dict=True)
        logits = self.classifier(self.dropout(base.last_hidden_state))  # [b t num_labels]
        return self.complete(base, {"logits": logits}, {"labels": labels}, return_dict, num_items_in_batch)


class MobileBertForQuestionAnswering(HeadModel):
    """Where in a text the answer to a question starts and ends."""

    output_class = QuestionAnsweringModelOutput
    label_share = 0.5

    def __init__(self, config: MobileBertConfig) -> None:
        super().__init__(config)
        self.qa_outputs = nn.Linear(self.config.hidden_size, 2)
        self.post_init()

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        position_ids: Tensor | None = None,
        head_mask: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        start_positions: Tensor | None = None,
        end_positions: Tensor | None = None,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
    ) -> QuestionAnsweringModelOutput | tuple[Any, ...]:
        """
        Args:
            start_positions, end_positions: [b] places of the answer's first and last token; a place outside the
                sequence is ignored.
            the others: as MobileBertModel.
        """
        tensors = (input_ids, attention_mask, token_type_ids, position_ids, head_mask, inputs_embeds)
        switches = {"output_hidden_states": output_hidden_states, "output_attentions": output_attentions}
        base = self.mobilebert(*tensors, **switches, return_dict=True)
        logits = self.qa_outputs(base.last_hidden_state)  # [b t 2]
        scores = {"start_logits": logits[..., 0].contiguous(), "end_logits": logits[..., 1].contiguous()}
        given = {"start_positions": start_positions, "end_positions": end_positions}
        return self.complete(base, scores, given, return_dict)

    def label_losses(self, scores: Mapping[str, Tensor], labels: Mapping[str, Tensor]) -> list[Losses]:
        """Half the loss of each end."""
        expected = ARCHITECTURES[self.architecture].labels
        inputs.check_together(list(labels), list(expected))
        ends = [span_losses(scores[expected[name].scores], labels[name], name) for name in expected]
        return [(self.label_share * losses, weights) for losses, weights in ends]


def flatten_choices(tensor: Tensor | None) -> Tensor | None:
    """[b c ...] -> [b*c ...]."""
    return None if tensor is None else tensor.flatten(0, 1)
