"""What a model returns: an ordered mapping with attributes that leaves out what is None.

The names and fields are those of transformers. One class serves both twins; each registers it with its framework's
trees.
"""

from collections import OrderedDict
from typing import Any


class ModelOutput(OrderedDict[str, Any]):
    """A mapping whose values are also attributes and, in order, integer indices and slices.

    A field that was not computed is None as an attribute and absent from the mapping, from iteration and from
    `to_tuple()`. Subclasses list their fields as annotations.
    """

    def __init__(self, *pairs: Any, **fields: Any) -> None:
        fields = {**dict(*pairs), **fields}
        if unknown := sorted(set(fields) - set(self.fields())):
            raise TypeError(f"{type(self).__name__} has no field {', '.join(unknown)}")
        super().__init__((name, fields[name]) for name in self.fields() if fields.get(name) is not None)

    @classmethod
    def fields(cls) -> tuple[str, ...]:
        """The field names in order."""
        return tuple(cls.__annotations__)

    def __getitem__(self, key: Any) -> Any:
        return super().__getitem__(key) if isinstance(key, str) else self.to_tuple()[key]

    def __setitem__(self, key: str, value: Any) -> None:
        if key not in self.fields():
            raise KeyError(f"{type(self).__name__} has no field {key}")
        if value is None:
            self.pop(key, None)
            return
        super().__setitem__(key, value)
        for later in self.fields()[self.fields().index(key) + 1 :]:
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
        """The values that are there, in order."""
        return tuple(self.values())

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (dict(self),)


class BaseModelOutput(ModelOutput):
    """The encoder alone.

    last_hidden_state: [b t h]. hidden_states: L + 1 of [b t h], embeddings first. attentions: L of [b n t t], after the
        softmax.
    """

    last_hidden_state: Any
    hidden_states: Any
    attentions: Any


class BaseModelOutputWithPooling(ModelOutput):
    """The base model. pooler_output: [b h], the first token, through a dense layer and tanh where there is one."""

    last_hidden_state: Any
    pooler_output: Any
    hidden_states: Any
    attentions: Any


class MobileBertForPreTrainingOutput(ModelOutput):
    """Both tasks of pre-training. loss: [], the sum over the labels given. prediction_logits: [b t v], or [b m v] where
    positions were asked for. seq_relationship_logits: [b 2]."""

    loss: Any
    prediction_logits: Any
    seq_relationship_logits: Any
    hidden_states: Any
    attentions: Any


class MaskedLMOutput(ModelOutput):
    """The masked words. loss: [], where labels were given. logits: [b t v], or [b m v] where positions were asked for."""

    loss: Any
    logits: Any
    hidden_states: Any
    attentions: Any


class NextSentencePredictorOutput(ModelOutput):
    """Whether B follows A. loss: [], where labels were given. logits: [b 2], 0 for "follows", 1 for "random"."""

    loss: Any
    logits: Any
    hidden_states: Any
    attentions: Any


class SequenceClassifierOutput(ModelOutput):
    """The sentence classifier. loss: [], where labels were given. logits: [b num_labels]."""

    loss: Any
    logits: Any
    hidden_states: Any
    attentions: Any


class MultipleChoiceModelOutput(ModelOutput):
    """The choice among endings. loss: [], where labels were given. logits: [b choices]. The hidden states and attentions
    are those of [b * choices] sequences."""

    loss: Any
    logits: Any
    hidden_states: Any
    attentions: Any


class TokenClassifierOutput(ModelOutput):
    """A label for each token. loss: [], where labels were given. logits: [b t num_labels]."""

    loss: Any
    logits: Any
    hidden_states: Any
    attentions: Any


class QuestionAnsweringModelOutput(ModelOutput):
    """Where the answer starts and ends. loss: [], where both positions were given. start_logits, end_logits: [b t]."""

    loss: Any
    start_logits: Any
    end_logits: Any
    hidden_states: Any
    attentions: Any


def flat(output: ModelOutput) -> dict[str, Any]:
    """The tensors of an output by name, those of a tuple numbered: {"logits": …, "hidden_states.0": …}."""
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
