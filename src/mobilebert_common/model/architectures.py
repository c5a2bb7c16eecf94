"""The table of architectures: each model class with its blocks beyond the encoder and its labels.

Label shapes and classes use the letters of schema.py; b is the batch, t the sequence, c the choices.
"""

from typing import NamedTuple

from .config import MobileBertConfig


class Label(NamedTuple):
    """A label of a head.

    Attributes:
        shape: "b" or "b t".
        classes: the letter for the number of classes; c for the choices, "" for a position in the sequence.
        scores: the output it is compared with.
        by_problem_type: whether config.problem_type decides if the label is a class.
    """

    shape: str
    classes: str
    scores: str = "logits"
    by_problem_type: bool = False


class Architecture(NamedTuple):
    """A model class: its blocks beyond the encoder, and its labels. A pooler without a dense layer has no tensors."""

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
    """The first class in config.architectures that ARCHITECTURES has, with or without the prefix TF; None if there is none."""
    names = (name.removeprefix("TF") for name in config.architectures or [])
    return next((name for name in names if name in ARCHITECTURES), None)


def has_choices(architecture: str) -> bool:
    """Whether a model's inputs have an axis of choices, [b c t]."""
    return any(label.classes == "c" for label in ARCHITECTURES[architecture].labels.values())


def has_labels(architecture: str) -> bool:
    """Whether the labels in a model's configuration are those of its head."""
    return any(label.classes == "n" for label in ARCHITECTURES[architecture].labels.values())


def reads_only_first(architecture: str) -> bool:
    """Whether a head reads no more of the last hidden state than its first token."""
    blocks = ARCHITECTURES[architecture].blocks
    return "pooler" in blocks and "predictions" not in blocks
