"""The table of model classes: the blocks each one has beyond the encoder, and its labels.

The letters of label shapes and classes are those of schema.py; b is the batch, t the sequence, c the choices.
"""

from typing import NamedTuple

from .config import MobileBertConfig


class Label(NamedTuple):
    """A label of a head.

    Attributes:
        shape: "b" or "b t".
        classes: the letter of how many classes there are, c being the choices; "" for a place in the sequence.
        scores: the output that is held against it.
        by_problem_type: config.problem_type decides whether it names a class at all.
    """

    shape: str
    classes: str
    scores: str = "logits"
    by_problem_type: bool = False


class Architecture(NamedTuple):
    """A model class: its blocks beyond the encoder and its labels. A pooler without a dense layer has no tensors."""

    blocks: tuple[str, ...]
    labels: dict[str, Label]
    root: str = "mobilebert."


ARCHITECTURES: dict[str, Architecture] = {
    "MobileBertModel": Architecture(("pooler",), {}, root=""),
    "MobileBertForPreTraining": Architecture(
        ("pooler", "predictions", "relation"),
        {"labels": Label("b t", "v", "prediction_logits"), "next_sentence_label": Label("b", "2", "seq_relationship_logits")},
    ),
    "MobileBertForMaskedLM": Architecture(("predictions",), {"labels": Label("b t", "v")}),
    "MobileBertForNextSentencePrediction": Architecture(("pooler", "relation"), {"labels": Label("b", "2")}),
    "MobileBertForSequenceClassification": Architecture(("pooler", "classifier"), {"labels": Label("b", "n", by_problem_type=True)}),
    "MobileBertForMultipleChoice": Architecture(("pooler", "choice"), {"labels": Label("b", "c")}),
    "MobileBertForTokenClassification": Architecture(("classifier",), {"labels": Label("b t", "n")}),
    "MobileBertForQuestionAnswering": Architecture(
        ("span",), {"start_positions": Label("b", "", "start_logits"), "end_positions": Label("b", "", "end_logits")}
    ),
}


def named_architecture(config: MobileBertConfig) -> str | None:
    """The first class of ARCHITECTURES that `architectures` names, in the spelling of either twin; None where there is none."""
    names = (name.removeprefix("TF") for name in config.architectures or [])
    return next((name for name in names if name in ARCHITECTURES), None)


def has_choices(architecture: str) -> bool:
    """Whether a head's inputs have an axis of choices, [b c t]."""
    return any(label.classes == "c" for label in ARCHITECTURES[architecture].labels.values())
