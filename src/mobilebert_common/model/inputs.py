"""What both twins accept: the rules for ids, labels and shapes, and their error messages. All checks raise InputError."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..errors import InputError
from .architectures import ARCHITECTURES, has_choices
from .config import MobileBertConfig
from .schema import letters

Shape = Sequence[int | None]  # None is an unknown length

IGNORE_INDEX = -100  # labels to ignore, as in torch and transformers


def id_limits(config: MobileBertConfig) -> dict[str, int]:
    """{input: limit}; its ids may be 0 to limit - 1."""
    return {
        "input_ids": config.vocab_size,
        "token_type_ids": config.type_vocab_size,
        "position_ids": config.max_position_embeddings,
    }


def range_error(name: str, limit: int) -> str:
    """The message for ids outside their table, the same for eager, compiled and streamed data."""
    return f"{name} must be from 0 to {limit - 1}"


def length_error(length: int, limit: int) -> str:
    """The message for a sequence longer than the position table."""
    return f"the sequence has {length} tokens, more than max_position_embeddings {limit}"


def check_ids(name: str, low: int, high: int, limit: int) -> None:
    """Reject ids outside their table.

    Args:
        name: the input's name, for the error.
        low, high: the smallest and the largest id.
        limit: the number of rows in the table.
    """
    if low < 0 or high >= limit:
        raise InputError(f"{range_error(name, limit)}; found {low if low < 0 else high}")


def check_shape(shape: Shape, config: MobileBertConfig) -> None:
    """Reject inputs that are not [b t ...], are empty, or are longer than the position table."""
    if len(shape) < 2:
        raise InputError(f"the inputs must be [batch, sequence], not of shape {list(shape)}")
    if 0 in shape[:2]:
        raise InputError(f"the batch is empty: the inputs have shape {list(shape)}")
    if shape[1] is not None and shape[1] > config.max_position_embeddings:
        raise InputError(length_error(shape[1], config.max_position_embeddings))


def check_choices(shape: Shape) -> None:
    """Reject inputs that are not [b c t ...]."""
    if len(shape) < 3:
        raise InputError(f"the inputs must be [batch, choices, sequence], not of shape {list(shape)}")


def check_one_source(input_ids: Any, inputs_embeds: Any) -> None:
    """Require exactly one of input_ids and inputs_embeds."""
    if (input_ids is None) == (inputs_embeds is None):
        raise InputError("give either input_ids or inputs_embeds")


def check_integer(name: str, dtype: str) -> None:
    """Reject ids that are not integers."""
    if not dtype.startswith(("int", "uint")):
        raise InputError(f"{name} must be of an integer dtype, not {dtype}")


def check_floating(name: str, dtype: str) -> None:
    """Reject embeddings that are not floating-point numbers."""
    if "float" not in dtype:
        raise InputError(f"{name} must be of a floating-point dtype, not {dtype}")


def check_mask(shape: Shape, inputs: Shape) -> None:
    """Reject an attention mask that is neither [b t] nor [b t t], for inputs [b t]."""
    batch, length = inputs[0], inputs[1]
    allowed: list[Shape] = [(batch, length), (batch, length, length)]
    if not _fits(shape, allowed):
        raise InputError(f"attention_mask must be {list(allowed[0])} or {list(allowed[1])}, not {list(shape)}")


def check_head_mask(shape: Shape, config: MobileBertConfig) -> None:
    """Reject a head mask that is neither [n] nor [L n], for L layers of n attention heads."""
    heads, layers = config.num_attention_heads, config.num_hidden_layers
    if tuple(shape) not in ((heads,), (layers, heads)):
        raise InputError(f"head_mask must be [{heads}] or [{layers}, {heads}], not {list(shape)}")


def check_positions(shape: Shape, states: Shape) -> None:
    """Reject masked_lm_positions that are not [b m], for hidden states [b t h]."""
    if not _fits(shape, [(states[0], None)]):
        raise InputError(f"masked_lm_positions must be [{states[0]}, any], not {list(shape)}")


def problem_type(config: MobileBertConfig, integer_labels: bool, shape: Shape | None = None) -> str:
    """What the classifier learns: config.problem_type if set, otherwise inferred from the labels of each call.

    With num_labels 1 it is a regression. Otherwise labels of any dtype with one number per example are classes, and so are integers;
    floats or booleans [b n] are a 0 or 1 for each class.

    Args:
        shape: the labels' shape; None stands for [b n].
    """
    if config.problem_type is not None:
        return config.problem_type
    if config.num_labels == 1:
        return "regression"
    is_column = shape is not None and (len(shape) == 1 or (len(shape) == 2 and shape[1] == 1))
    return "single_label_classification" if integer_labels or is_column else "multi_label_classification"


def whole_error(name: str) -> str:
    """The message for class labels with a fraction, and for NaN and infinity."""
    return f"{name} must be whole numbers to be classes"


def is_whole(labels: np.ndarray) -> bool:
    """Whether numbers or booleans have no fraction; NaN and infinity have one."""
    if labels.dtype.kind in "OSU":
        raise InputError(f"labels must be numbers, not {labels.dtype}")
    with np.errstate(invalid="ignore"):
        numbers = labels.astype(np.float64)
        return bool((numbers - np.trunc(numbers) == 0).all())


def check_whole(name: str, whole: bool) -> None:
    """Reject class labels that are floats with a fraction; transformers' TF classes round them down in silence."""
    if not whole:
        raise InputError(whole_error(name))


def check_classes(name: str, low: int, high: int, classes: int) -> None:
    """Reject class labels outside 0 to classes - 1, except IGNORE_INDEX."""
    if high >= classes or (low < 0 and low != IGNORE_INDEX):
        raise InputError(f"{class_error(name, classes)}; found {high if high >= classes else low}")


def class_error(name: str, classes: int | None) -> str:
    """The message for class labels outside their range; None is a number that a graph does not know."""
    last = "the last choice" if classes is None else classes - 1
    return f"{name} must be from 0 to {last} (or {IGNORE_INDEX} to be ignored)"


def check_class_shape(name: str, shape: Shape, scored: Shape) -> None:
    """Reject class labels that do not have the shape `scored`, which is the scores' without classes; for [b], [b 1] is fine too."""
    allowed = [tuple(scored), (*scored, 1)] if len(scored) == 1 else [tuple(scored)]
    if not _fits(shape, allowed):
        raise InputError(f"{name} must be {' or '.join(str(list(want)) for want in allowed)}, not {list(shape)}")


def check_label_shape(shape: Shape, logits: Shape, kind: str) -> None:
    """Reject labels that do not match the sentence classifier's logits [b n]: they must be [b n], or [b] for regression with n = 1."""
    batch, labels = logits[0], logits[1]
    allowed: list[Shape] = [(batch, labels), (batch,)] if labels == 1 and kind == "regression" else [(batch, labels)]
    if not _fits(shape, allowed):
        raise InputError(
            f"labels for {kind} must be {' or '.join(str(list(want)) for want in allowed)}, not {list(shape)}"
        )


def check_together(given: Sequence[str], wanted: Sequence[str]) -> None:
    """Reject an incomplete set of labels that only make a loss together."""
    if set(given) != set(wanted):
        raise InputError(f"give all of {', '.join(wanted)}, not only {', '.join(given)}")


def one_name(labels: Any, next_sentence_label: Any) -> Any:
    """Merge the two names of the next-sentence labels: transformers uses labels in PyTorch, next_sentence_label in TF."""
    if labels is not None and next_sentence_label is not None:
        raise InputError("labels and next_sentence_label mean the same: give only one of them")
    return next_sentence_label if labels is None else labels


def _fits(shape: Shape, allowed: Sequence[Shape]) -> bool:
    """Whether a shape matches one of those allowed; unknown lengths match any."""
    alike = [want for want in allowed if len(want) == len(shape)]
    return any(all(None in pair or pair[0] == pair[1] for pair in zip(shape, want, strict=True)) for want in alike)


def check_arrays(
    arrays: Mapping[str, Any], labels: Mapping[str, Any], config: MobileBertConfig, architecture: str
) -> None:
    """Check whole numpy arrays before training starts on any part of them.

    Args:
        arrays: {name: input}.
        labels: {name: label}, with the names in ARCHITECTURES[architecture].labels.
    Raises:
        InputError: a shape, dtype, id or label is invalid.
    """
    choices = 1
    for name in ("input_ids", "inputs_embeds"):
        if (tensor := arrays.get(name)) is not None:
            shape = np.shape(tensor)
            if has_choices(architecture):
                check_choices(shape)
                choices, shape = shape[1], (shape[0], *shape[2:])
            check_shape(shape, config)
    for name, limit in id_limits(config).items():
        if (ids := arrays.get(name)) is not None and np.size(ids):
            check_integer(name, str(ids.dtype))
            check_ids(name, int(ids.min()), int(ids.max()), limit)
    sizes = {**letters(config), "c": choices}
    for name, label in ARCHITECTURES[architecture].labels.items():
        if (found := labels.get(name)) is None or not np.size(found) or not label.classes:
            continue
        integers = np.issubdtype(found.dtype, np.integer)
        if not label.by_problem_type or problem_type(config, integers, found.shape) == "single_label_classification":
            if not integers and label.shape == "b":
                check_whole(name, is_whole(found))
            if integers or is_whole(found):  # the loss refuses others
                check_classes(name, int(found.min()), int(found.max()), sizes[label.classes])
