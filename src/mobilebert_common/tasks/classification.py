"""Classification of sentences and sentence pairs: labels, features, metrics and predictions."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import ConfigError, DataError, shortened
from ..model.config import MobileBertConfig
from ..model.inputs import problem_type
from ..optional import needs
from .examples import Examples
from .tables import Columns, Table, is_unicode, meaning, read_table

ARCHITECTURE = "MobileBertForSequenceClassification"
CLASSES = "single_label_classification"


def read(path: Path, columns: Columns, encoding: str) -> Table:
    """Read texts or text pairs, and labels, from a .csv, .tsv or .jsonl file; see `read_table`."""
    return read_table(path, columns, encoding)


def from_texts(texts: Sequence[str]) -> Table:
    """Wrap texts given on the command line as a table without labels.

    Raises:
        ConfigError: a text is empty or no Unicode.
    """
    for number, text in enumerate(texts, 1):
        if not text.strip():
            raise ConfigError(f"text {number} on the command line is empty")
        if not is_unicode(text):
            raise ConfigError(f"text {number} on the command line, {text!r:.80}, is not valid Unicode (a lone surrogate)")
    return Table(Path("the command line"), list(texts), None, None)


def texts(data: Table) -> list[str]:
    """All texts, including the second ones of pairs."""
    return [*data.texts, *(data.pairs or ())]


def settings(data: Table, stored: MobileBertConfig | None) -> dict[str, Any]:
    """The labels of the training data as id2label; if the checkpoint has the same labels, its names and numbers are kept."""
    id2label = label_names(data.labels or [])
    if stored is not None and set(names_in(data.labels or [], stored.id2label).values()) == set(id2label.values()):
        id2label = stored.id2label
    if stored is not None and stored.problem_type not in (None, CLASSES):
        return {"id2label": id2label, "problem_type": CLASSES}
    return {"id2label": id2label}


def label_names(labels: Sequence[str]) -> dict[int, str]:
    """Number the labels: {class number: label}, numeric labels by value, then words alphabetically.

    Raises:
        DataError: there is only one label.
    """

    def order(label: str) -> tuple[bool, float, str]:
        try:
            value = float(label)
        except ValueError:
            value = math.nan
        return (True, 0.0, label) if math.isnan(value) else (False, value, label)

    names = dict(enumerate(sorted(set(labels), key=order)))
    if len(names) < 2:
        raise DataError(f"a classifier needs at least two labels, but all rows have {names[0]!r:.80}")
    return names


def names_in(labels: Sequence[str], id2label: Mapping[int, str]) -> Mapping[int, str]:
    """The model's labels as data writes them: "1.0" for "1"; and "1" for "LABEL_1" where no label of the model has a name.

    Numbers stand for LABEL_0, LABEL_1, ... only if 0 is among them: 1, 2, ... could be meant from 1.
    """
    found = dict.fromkeys(labels)
    spellings = {meaning(label): label for label in found}
    numbered = are_nameless(id2label) and "0" in spellings
    names = {
        number: label if label in found else spellings.get(str(number) if numbered else meaning(label), label)
        for number, label in id2label.items()
    }
    return names if len(set(names.values())) == len(names) else id2label


def are_nameless(id2label: Mapping[int, str]) -> bool:
    """Whether the labels are LABEL_0, LABEL_1, ..., as a model has them that was never told their names."""
    return all(label == f"LABEL_{number}" for number, label in id2label.items())


def make_examples(data: Table, tokenizer: Any, config: MobileBertConfig, max_length: int) -> Examples:
    """Tokenize a table; texts over max_length tokens are truncated, the longer one of a pair first.

    Labels are left out if the model does not choose one of several classes.

    Raises:
        DataError: there are no rows, or the model does not have one of the labels.
    """
    if not len(data):
        raise DataError(f"{data.path}: has no rows")
    labelled = data.labels is not None and problem_type(config, integer_labels=True) == CLASSES
    labels = label_numbers(data, config.id2label) if labelled else None
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
    numbers = {label: number for number, label in names_in(labels, id2label).items()}
    if unseen := sorted(set(labels) - set(numbers)):
        raise DataError(
            f"{data.path}: has labels unseen in training: {', '.join(f'{label!r:.80}' for label in unseen[:10])}; "
            f"the model has {shortened([*map(repr, id2label.values())], ', ')}{_how_to_map(labels, id2label)}"
        )
    return np.array([numbers[label] for label in labels])


def _how_to_map(labels: Sequence[str], id2label: Mapping[int, str]) -> str:
    """What to do about data whose labels are not LABEL_0, LABEL_1, ..., as text for an error."""
    if not are_nameless(id2label):
        return ""
    named = {**id2label, **dict(zip(id2label, sorted(set(labels)), strict=False))}
    return (
        f", which are not names: number the labels 0 to {len(id2label) - 1} in the data, or name those of the model, in the order of its "
        f"training, as by MobileBertConfig.from_pretrained(DIR, id2label={named!r:.200}).save_pretrained(DIR)"
    )


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
    """What the model says of each text: the most probable label, each label's probability, or scores; see READINGS.

    Raises:
        ConfigError: the model has one label to choose from.
        DataError: the model's outputs are NaN or infinite.
    """
    logits = np.concatenate([output["logits"] for output in outputs]).astype(np.float64)  # [examples num_labels]
    if broken := np.flatnonzero(~np.isfinite(logits).all(axis=-1)).tolist():
        raise DataError(f"{data.path}: the model's outputs are not finite for {len(broken):,} texts, the first is number {broken[0] + 1}")
    return READINGS[problem_type(config, integer_labels=True)](logits, names_in(data.labels or [], config.id2label))


def _one_label(logits: np.ndarray, names: Mapping[int, str]) -> dict[str, list[Any]]:
    """The most probable label, and its probability."""
    if len(names) < 2:
        raise ConfigError(f"the model has only the label {names[0]!r:.80} to choose from, and its problem_type is {CLASSES}")
    shares = probabilities(logits)
    return {
        "label": [names[int(number)] for number in shares.argmax(axis=-1)],
        "probability": [round(float(share), 4) for share in shares.max(axis=-1)],
    }


def _several_labels(logits: np.ndarray, names: Mapping[int, str]) -> dict[str, list[Any]]:
    """The labels whose probability is at least THRESHOLD, and the probability of each label."""
    shares = np.exp(-np.logaddexp(0.0, -logits))  # the sigmoid, without overflow
    chosen = [", ".join(names[int(number)] for number in np.flatnonzero(row >= THRESHOLD)) for row in shares]
    columns = {title: [round(float(share), 4) for share in shares[:, number]] for number, title in _titles("probability", names)}
    return {"labels": chosen, **columns}


def _scores(logits: np.ndarray, names: Mapping[int, str]) -> dict[str, list[Any]]:
    """The numbers a regression gives, to six digits; those of several by the names of the labels."""
    titles = [(0, "score")] if len(names) == 1 else _titles("score", names)
    return {title: [float(f"{score:.6g}") for score in logits[:, number]] for number, title in titles}


def _titles(what: str, names: Mapping[int, str]) -> list[tuple[int, str]]:
    """(class number, column title) for each label; with the number where two labels have one name."""
    unique = len(set(names.values())) == len(names)
    return [(number, f"{what} {name}" if unique else f"{what} {name} ({number})") for number, name in sorted(names.items())]


THRESHOLD = 0.5  # of a label's probability, where a text may have several labels
READINGS: dict[str, Callable[[np.ndarray, Mapping[int, str]], dict[str, list[Any]]]] = {
    CLASSES: _one_label,
    "multi_label_classification": _several_labels,
    "regression": _scores,
}  # by problem type


def inputs(data: Table) -> dict[str, list[Any]]:
    """The texts as columns; pairs give two."""
    return {"text": data.texts, **({} if data.pairs is None else {"text_pair": data.pairs})}


def evaluate(data: Table, predictions: Mapping[str, Sequence[Any]]) -> tuple[dict[str, float], dict[str, list[Any]]]:
    """Compute the metrics, and return them with each text's label and prediction.

    Raises:
        DataError: the data has no labels, or the predictions are scores or several labels.
    """
    if data.labels is None or "label" not in predictions:
        raise DataError(f"{data.path}: metrics need labels, and a model that chooses one of several labels")
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
