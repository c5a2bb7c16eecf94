"""Classification of sentences and sentence pairs: labels, features, metrics and predictions."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import DataError
from ..model.config import MobileBertConfig
from ..optional import needs
from .examples import Examples
from .tables import Columns, Table, read_table

ARCHITECTURE = "MobileBertForSequenceClassification"


def read(path: Path, columns: Columns, encoding: str) -> Table:
    """Read texts or text pairs, and labels, from a .csv, .tsv or .jsonl file; see `read_table`."""
    return read_table(path, columns, encoding)


def from_texts(texts: Sequence[str]) -> Table:
    """Wrap texts given on the command line as a table without labels."""
    return Table(Path("the command line"), list(texts), None, None)


def texts(data: Table) -> list[str]:
    """All texts, including the second ones of pairs."""
    return [*data.texts, *(data.pairs or ())]


def settings(data: Table, stored: MobileBertConfig | None) -> dict[str, Any]:
    """The labels of the training data as id2label; if the checkpoint has the same labels, its numbers are kept."""
    id2label = label_names(data.labels or [])
    if stored is not None and set(stored.id2label.values()) == set(id2label.values()):
        id2label = stored.id2label
    return {"id2label": id2label}


def label_names(labels: Sequence[str]) -> dict[int, str]:
    """Number the labels: {class number: label}, numeric labels by value, then words alphabetically.

    Raises:
        DataError: there is only one label.
    """

    def order(label: str) -> tuple[bool, float, str]:
        try:
            return False, float(label), label
        except ValueError:
            return True, 0.0, label

    names = dict(enumerate(sorted(set(labels), key=order)))
    if len(names) < 2:
        raise DataError(f"a classifier needs at least two labels, but all rows have {names[0]!r}")
    return names


def make_examples(data: Table, tokenizer: Any, config: MobileBertConfig, max_length: int) -> Examples:
    """Tokenize a table; texts over max_length tokens are truncated, the longer one of a pair first.

    Raises:
        DataError: the model does not have one of the labels.
    """
    labels = None if data.labels is None else label_numbers(data, config.id2label)
    encoded = tokenizer(data.texts, data.pairs, truncation=True, max_length=max_length)
    columns = {name: encoded[name] for name in ("input_ids", "attention_mask", "token_type_ids")}
    columns |= {} if labels is None else {"labels": labels}
    return Examples(columns, {"input_ids": tokenizer.pad_token_id}, range(len(data)))


def label_numbers(data: Table, id2label: Mapping[int, str]) -> np.ndarray:
    """Convert a table's labels to class numbers.

    Raises:
        DataError: id2label does not have one of the labels.
    """
    labels = data.labels or []
    numbers = {label: number for number, label in id2label.items()}
    if unseen := sorted(set(labels) - set(numbers)):
        raise DataError(
            f"{data.path}: has labels unseen in training: {', '.join(map(repr, unseen[:10]))}; "
            f"the model has {', '.join(map(repr, numbers))}"
        )
    return np.array([numbers[label] for label in labels])


def split(data: Table, fraction: float, seed: int) -> tuple[Table, Table]:
    """Split a table into a training and a validation part with the same proportions of labels.

    Raises:
        DataError: a label has only one example, or a part is too small to hold every label.
    """
    with needs("cli"):
        from sklearn.model_selection import train_test_split
    try:
        parts = train_test_split(np.arange(len(data)), test_size=fraction, random_state=seed, stratify=data.labels)
    except ValueError as error:
        raise DataError(
            f"{data.path}: cannot be split into training and validation by label: {error}; pass a --validation file"
        ) from None
    return data.take(np.sort(parts[0])), data.take(np.sort(parts[1]))


def predict(
    data: Table, examples: Examples, outputs: Iterable[Mapping[str, np.ndarray]], config: MobileBertConfig
) -> dict[str, list[Any]]:
    """The most probable label of each text, and its probability."""
    shares = probabilities(np.concatenate([output["logits"] for output in outputs]))  # [examples num_labels]
    return {
        "label": [config.id2label[int(number)] for number in shares.argmax(axis=-1)],
        "probability": [round(float(share), 4) for share in shares.max(axis=-1)],
    }


def inputs(data: Table) -> dict[str, list[Any]]:
    """The texts as columns; pairs give two."""
    return {"text": data.texts, **({} if data.pairs is None else {"text_pair": data.pairs})}


def evaluate(data: Table, predictions: Mapping[str, Sequence[Any]]) -> tuple[dict[str, float], dict[str, list[Any]]]:
    """Compute the metrics, and return them with each text's label and prediction."""
    assert data.labels is not None
    predicted = list(predictions["label"])
    return metrics(data.labels, predicted), {"label": data.labels, "prediction": predicted}


def metrics(labels: Sequence[str], predictions: Sequence[str]) -> dict[str, float]:
    """Accuracy and macro F1 (the mean over labels), from 0 to 1."""
    with needs("cli"):
        from sklearn.metrics import accuracy_score, f1_score
    return {
        "accuracy": float(accuracy_score(labels, predictions)),
        "F1 (macro)": float(f1_score(labels, predictions, average="macro", zero_division=0)),
    }


def probabilities(logits: np.ndarray) -> np.ndarray:
    """Softmax over the last axis, in float64."""
    shifted = np.exp(logits.astype(np.float64) - logits.max(axis=-1, keepdims=True))
    return np.asarray(shifted / shifted.sum(axis=-1, keepdims=True))
