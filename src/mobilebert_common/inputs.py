"""What a model accepts, said once for both twins: the rules on ids, labels and shapes, and the text of their errors."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from .config import MobileBertConfig
from .errors import InputError

Shape = Sequence[int | None]  # None is a length not known yet

IGNORE_INDEX = -100  # a label that counts for nothing, as in torch and transformers


def id_limits(config: MobileBertConfig) -> dict[str, int]:
    """The ids each input may hold are 0 to limit - 1."""
    return {
        "input_ids": config.vocab_size,
        "token_type_ids": config.type_vocab_size,
        "position_ids": config.max_position_embeddings,
    }


def range_error(name: str, limit: int) -> str:
    """The text for ids outside their table, the same for eager, compiled and streamed data."""
    return f"{name} must be from 0 to {limit - 1}"


def length_error(length: int, limit: int) -> str:
    """The text for a sequence longer than the position table."""
    return f"the sequence has {length} tokens, more than max_position_embeddings {limit}"


def check_ids(name: str, low: int, high: int, limit: int) -> None:
    """Refuse ids outside their table.

    Args:
        name: the input's name, for the error.
        low, high: the smallest and the largest id.
        limit: the rows of the table.
    """
    if low < 0 or high >= limit:
        raise InputError(f"{range_error(name, limit)}; found {low if low < 0 else high}")


def check_shape(shape: Shape, config: MobileBertConfig) -> None:
    """Refuse what is not [b t ...], an empty batch, and a sequence longer than the position table."""
    if len(shape) < 2:
        raise InputError(f"the inputs must be [batch, sequence], not of shape {list(shape)}")
    if 0 in shape[:2]:
        raise InputError(f"the batch is empty: the inputs have shape {list(shape)}")
    if shape[1] is not None and shape[1] > config.max_position_embeddings:
        raise InputError(length_error(shape[1], config.max_position_embeddings))


def check_one_source(input_ids: Any, inputs_embeds: Any) -> None:
    """Exactly one of input_ids and inputs_embeds."""
    if (input_ids is None) == (inputs_embeds is None):
        raise InputError("give either input_ids or inputs_embeds")


def check_integer(name: str, dtype: str) -> None:
    """Refuse ids that are not whole numbers."""
    if not dtype.startswith(("int", "uint")):
        raise InputError(f"{name} must be of an integer dtype, not {dtype}")


def check_floating(name: str, dtype: str) -> None:
    """Refuse embeddings that are not floating-point numbers."""
    if "float" not in dtype:
        raise InputError(f"{name} must be of a floating-point dtype, not {dtype}")


def check_mask(shape: Shape, inputs: Shape) -> None:
    """Refuse an attention mask that is neither [b t] nor [b t t] for inputs [b t]."""
    batch, length = inputs[0], inputs[1]
    allowed: list[Shape] = [(batch, length), (batch, length, length)]
    if not _fits(shape, allowed):
        raise InputError(f"attention_mask must be {list(allowed[0])} or {list(allowed[1])}, not {list(shape)}")


def check_head_mask(shape: Shape, config: MobileBertConfig) -> None:
    """Refuse a head mask that is neither [n] nor [L n]."""
    heads, layers = config.num_attention_heads, config.num_hidden_layers
    if tuple(shape) not in ((heads,), (layers, heads)):
        raise InputError(f"head_mask must be [{heads}] or [{layers}, {heads}], not {list(shape)}")


def problem_type(config: MobileBertConfig, integer_labels: bool) -> str:
    """What the classifier learns: the configuration's word, or else, per call, what the labels imply.

    One label is a regression; whole-number labels name one class each; others are one 0 or 1 per class.
    """
    if config.problem_type is not None:
        return config.problem_type
    if config.num_labels == 1:
        return "regression"
    return "single_label_classification" if integer_labels else "multi_label_classification"


def check_labels(low: int, high: int, num_labels: int) -> None:
    """Refuse class labels outside 0 to num_labels - 1; IGNORE_INDEX is allowed."""
    if high >= num_labels or (low < 0 and low != IGNORE_INDEX):
        raise InputError(
            f"labels must be from 0 to {num_labels - 1} (or {IGNORE_INDEX} to be ignored); "
            f"found {high if high >= num_labels else low}"
        )


def check_label_shape(shape: Shape, logits: Shape, kind: str) -> None:
    """Refuse labels that do not go with logits [b n]: [b] or [b 1] classes, [b n] multi-label or regression."""
    batch, labels = logits[0], logits[1]
    allowed: dict[str, list[Shape]] = {
        "single_label_classification": [(batch,), (batch, 1)],
        "multi_label_classification": [(batch, labels)],
        "regression": [(batch, labels), (batch,)] if labels == 1 else [(batch, labels)],
    }
    if not _fits(shape, allowed[kind]):
        raise InputError(
            f"labels for {kind} must be {' or '.join(str(list(want)) for want in allowed[kind])}, not {list(shape)}"
        )


def _fits(shape: Shape, allowed: Sequence[Shape]) -> bool:
    """Whether a shape is one of those allowed, as far as its lengths are known."""
    alike = [want for want in allowed if len(want) == len(shape)]
    return any(all(None in pair or pair[0] == pair[1] for pair in zip(shape, want, strict=True)) for want in alike)


def check_arrays(arrays: Mapping[str, Any], config: MobileBertConfig) -> None:
    """The checks on ids and class labels of whole numpy arrays, before a first step is made with any part of them."""
    for name, limit in id_limits(config).items():
        if (ids := arrays.get(name)) is not None and np.size(ids):
            check_integer(name, str(ids.dtype))
            check_ids(name, int(ids.min()), int(ids.max()), limit)
    labels = arrays.get("labels")
    if labels is None or not np.size(labels):
        return
    if problem_type(config, np.issubdtype(labels.dtype, np.integer)) == "single_label_classification":
        check_labels(int(labels.min()), int(labels.max()), config.num_labels)
