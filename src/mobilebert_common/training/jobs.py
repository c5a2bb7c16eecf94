"""Train, evaluate and predict with a sentence classifier in either framework: what the command line and the demo do."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import CheckpointError, ConfigError
from ..files import hub
from ..model.architectures import named_architecture
from ..model.config import MobileBertConfig
from ..model.zoo import ZOO
from ..tasks.classification import HEAD, Examples, label_names, label_numbers, make_examples, metrics, probabilities
from ..tasks.tables import Table
from ..tokenization import MobileBertTokenizerFast, learn_vocabulary
from .plan import Plan
from .recipe import Recipe, Report
from .twin import Twin

BATCH = 64  # examples at a time where nothing is learned
FRESH_RATE, FINE_TUNING_RATE = 1e-3, 5e-5  # learning rates of a small model from scratch and of a trained one


@dataclass(frozen=True)
class Start:
    """What training starts from: a tokenizer, the labels, and a way to make the model."""

    tokenizer: MobileBertTokenizerFast
    id2label: dict[int, str]
    fresh: bool
    make: Callable[[Twin, int], Any]  # (twin, seed) -> model


def start(
    model: str, labels: Sequence[str], texts: Sequence[str], vocabulary: Path | None = None, vocabulary_size: int = 8000
) -> Start:
    """Decide what training starts from.

    Args:
        model: a name of the zoo, for fresh weights, a checkpoint directory, or owner/name on the hub.
        labels: the labels of the training data.
        texts: a fresh model without a vocabulary file learns its vocabulary from these.
        vocabulary: a vocab.txt for a fresh model.
        vocabulary_size: tokens to learn without one.
    Raises:
        ConfigError: neither a name of the zoo nor a checkpoint.
        CheckpointError: an unusable checkpoint.
    """
    id2label = label_names(labels)
    if model in ZOO:
        tokens = _learn(texts, vocabulary_size) if vocabulary is None else None
        tokenizer = MobileBertTokenizerFast(vocabulary) if tokens is None else MobileBertTokenizerFast(vocab=tokens)
        config = MobileBertConfig.from_zoo(model, vocab_size=len(tokenizer), id2label=id2label)
        return Start(tokenizer, id2label, True, lambda twin, seed: twin.create(config, HEAD, seed))
    check_place(model, f" nor in the zoo ({', '.join(ZOO)})")
    if vocabulary is not None:
        raise ConfigError("a checkpoint has its own vocabulary: leave --vocabulary out")
    stored = MobileBertConfig.from_pretrained(model)
    if set(stored.id2label.values()) == set(id2label.values()):
        id2label = stored.id2label  # the head knows them in this order
    return Start(
        MobileBertTokenizerFast.from_pretrained(model),
        id2label,
        False,
        lambda twin, seed: twin.load(model, HEAD, id2label=id2label),
    )


def check_place(model: str | Path, besides: str = "") -> None:
    """Refuse what is not here and not owner/name either: a name alone is looked up on the hub by from_pretrained only.

    Args:
        besides: what else it might have been, for the error.
    """
    if not Path(model).exists() and not hub.is_owned(str(model)):
        raise ConfigError(f"'{model}' is neither a checkpoint directory{besides} nor owner/name on the hub")


def _learn(texts: Sequence[str], size: int) -> list[str]:
    try:
        return learn_vocabulary(texts, size)
    except ValueError as error:
        raise ConfigError(f"cannot learn a vocabulary from these texts: {error}; give --vocabulary a file") from None


def train(
    twin: Twin, begin: Start, table: Table, recipe: Recipe, max_length: int, watch: Callable[[int], Report]
) -> Any:
    """Fine-tune and return the model.

    Args:
        watch: called with the number of steps to come; returns what to report each of them to.
    """
    examples = make_examples(table, begin.tokenizer, begin.id2label, max_length)
    model = begin.make(twin, recipe.seed)
    if max_length > model.config.max_position_embeddings:
        raise ConfigError(
            f"--max-length {max_length} is more than the model's {model.config.max_position_embeddings} positions"
        )
    twin.train(model, examples, recipe, watch(Plan(examples.lengths, recipe).steps))
    return model


def save(model: Any, tokenizer: MobileBertTokenizerFast, directory: Path, max_length: int) -> None:
    """Write a checkpoint directory whole: weights, configuration, tokenizer."""
    model.save_pretrained(directory)
    tokenizer.model_max_length = max_length
    tokenizer.save_pretrained(directory)


@dataclass(frozen=True)
class Classifier:
    """A trained classifier opened in one framework."""

    twin: Twin
    model: Any
    tokenizer: MobileBertTokenizerFast
    id2label: dict[int, str]

    @classmethod
    def open(cls, twin: Twin, directory: str | Path) -> "Classifier":
        """Open a checkpoint directory, or a name on the hub, with a sentence classifier.

        Raises:
            CheckpointError: the checkpoint is unusable or has no classifier.
        """
        check_place(directory)
        config = MobileBertConfig.from_pretrained(directory)
        if config.architectures and named_architecture(config) != HEAD:
            raise CheckpointError(directory, f"holds {', '.join(config.architectures)}, not a {HEAD}")
        model = twin.load(directory, HEAD)
        return cls(twin, model, MobileBertTokenizerFast.from_pretrained(directory), model.config.id2label)

    def logits(self, table: Table) -> np.ndarray:
        """[rows, labels] in the order of the table."""
        unlabelled = replace(table, labels=None)
        examples: Examples = make_examples(unlabelled, self.tokenizer, self.id2label, self.tokenizer.model_max_length)
        return self.twin.predict(self.model, examples.ordered_batches(BATCH))

    def evaluate(self, table: Table) -> tuple[dict[str, float], dict[str, list[Any]]]:
        """The metrics on a labelled table, and its rows as columns: label and prediction."""
        assert table.labels is not None
        expected = label_numbers(table, self.id2label)
        predictions = self.logits(table).argmax(axis=-1)
        scores = metrics(expected, predictions)
        return scores, {"label": table.labels, "prediction": [self.id2label[number] for number in predictions]}

    def predict(self, table: Table) -> dict[str, list[Any]]:
        """The rows of a table as columns: text, label and its probability."""
        shares = probabilities(self.logits(table))
        best = shares.argmax(axis=-1)
        columns = {"text": table.texts} | ({} if table.pairs is None else {"text_pair": table.pairs})
        return columns | {
            "label": [self.id2label[number] for number in best],
            "probability": [round(float(share), 4) for share in shares.max(axis=-1)],
        }


def table_of(texts: list[str]) -> Table:
    """Sentences given on the command line as a table."""
    return Table(Path("the command line"), texts, None, None)
