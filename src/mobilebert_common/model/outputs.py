"""Model outputs: ordered mappings with attributes, without the fields that are None.

Names and fields are those of transformers. Both twins use these classes; each registers them with its framework's trees
(torch's pytree, keras.tree).
"""

from collections import OrderedDict
from typing import Any

SCORES = "attention_scores"  # the key of L tensors [b n t t], masked, before the softmax, in the output of an encoder that keeps them


class ModelOutput(OrderedDict[str, Any]):
    """An ordered mapping whose values can also be read as attributes, by integer index and by slice.

    A field that was not computed is None as an attribute, and absent from the mapping, from iteration and from
    `to_tuple()`. Subclasses declare their fields as annotations. Other keys may be added by item or from a mapping, as the
    pipelines of transformers do; they come after the fields.
    """

    def __init__(self, *pairs: Any, **fields: Any) -> None:
        if unknown := sorted(set(fields) - set(self.fields())):
            raise TypeError(f"{type(self).__name__} has no field {', '.join(unknown)}")
        found = {**dict(*pairs), **fields}
        ordered = {name: found.pop(name, None) for name in self.fields()}
        super().__init__((name, value) for name, value in (ordered | found).items() if value is not None)

    @classmethod
    def fields(cls) -> tuple[str, ...]:
        """The field names in order."""
        return tuple(cls.__annotations__)

    def __getitem__(self, key: Any) -> Any:
        return super().__getitem__(key) if isinstance(key, str) else self.to_tuple()[key]

    def __setitem__(self, key: str, value: Any) -> None:
        if not isinstance(key, str):
            raise TypeError(f"{type(self).__name__} takes values by name, not by {key!r:.80}")
        if value is None:
            self.pop(key, None)
            return
        super().__setitem__(key, value)
        order = [*self.fields(), *(name for name in self if name not in self.fields())]
        for later in order[order.index(key) + 1 :]:
            if later in self:
                self.move_to_end(later)

    def __getattr__(self, name: str) -> Any:
        if name in type(self).fields():
            return self.get(name)
        raise AttributeError(f"{type(self).__name__} has no field {name}")

    def __setattr__(self, name: str, value: Any) -> None:
        if name not in self.fields():
            raise AttributeError(f"{type(self).__name__} has no field {name}")
        self[name] = value

    def to_tuple(self) -> tuple[Any, ...]:
        """The computed values, in order."""
        return tuple(self.values())

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (dict(self),)


class BaseModelOutput(ModelOutput):
    """Output of the encoder.

    last_hidden_state: [b t h]. hidden_states: L + 1 tensors [b t h], embeddings first. attentions: L tensors [b n t t], after
    the softmax.
    """

    last_hidden_state: Any
    hidden_states: Any
    attentions: Any


class BaseModelOutputWithPooling(ModelOutput):
    """Output of the base model. pooler_output: [b h], the first token, after a dense layer and tanh if the model has one."""

    last_hidden_state: Any
    pooler_output: Any
    hidden_states: Any
    attentions: Any


class MobileBertForPreTrainingOutput(ModelOutput):
    """Output of the pre-training model. loss: [], summed over the labels given. prediction_logits: [b t v], or [b m v] for
    m masked_lm_positions. seq_relationship_logits: [b 2]."""

    loss: Any
    prediction_logits: Any
    seq_relationship_logits: Any
    hidden_states: Any
    attentions: Any


class MaskedLMOutput(ModelOutput):
    """Output of the masked-LM model. loss: [], if labels were given. logits: [b t v], or [b m v] for m masked_lm_positions."""

    loss: Any
    logits: Any
    hidden_states: Any
    attentions: Any


class NextSentencePredictorOutput(ModelOutput):
    """Output of the next-sentence model. loss: [], if labels were given. logits: [b 2]; 0 is "B follows A", 1 is "random"."""

    loss: Any
    logits: Any
    hidden_states: Any
    attentions: Any


class SequenceClassifierOutput(ModelOutput):
    """Output of the sentence classifier. loss: [], if labels were given. logits: [b num_labels]."""

    loss: Any
    logits: Any
    hidden_states: Any
    attentions: Any


class MultipleChoiceModelOutput(ModelOutput):
    """Output of the multiple-choice model. loss: [], if labels were given. logits: [b choices]. Hidden states and attentions
    belong to b * choices sequences."""

    loss: Any
    logits: Any
    hidden_states: Any
    attentions: Any


class TokenClassifierOutput(ModelOutput):
    """Output of the token classifier. loss: [], if labels were given. logits: [b t num_labels]."""

    loss: Any
    logits: Any
    hidden_states: Any
    attentions: Any


class QuestionAnsweringModelOutput(ModelOutput):
    """Output of the question-answering model. loss: [], if both positions were given. start_logits, end_logits: [b t]."""

    loss: Any
    start_logits: Any
    end_logits: Any
    hidden_states: Any
    attentions: Any


def flat(output: ModelOutput) -> dict[str, Any]:
    """Flatten an output to {name: tensor}, numbering the tensors of tuples: {"logits": …, "hidden_states.0": …}."""
    named: dict[str, Any] = {}
    for name, value in output.items():
        named |= (
            {f"{name}.{number}": item for number, item in enumerate(value)}
            if isinstance(value, tuple)
            else {name: value}
        )
    return named


OUTPUTS: tuple[type[ModelOutput], ...] = (
    BaseModelOutput,
    BaseModelOutputWithPooling,
    MobileBertForPreTrainingOutput,
    MaskedLMOutput,
    NextSentencePredictorOutput,
    SequenceClassifierOutput,
    MultipleChoiceModelOutput,
    TokenClassifierOutput,
    QuestionAnsweringModelOutput,
)
