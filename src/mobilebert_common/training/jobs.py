"""Train, evaluate and predict in either framework, for any task: what the command line and the demo do."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..checkpoints import checkpoint
from ..errors import CheckpointError, ConfigError
from ..files import hub
from ..files.folder import Folder, save_files
from ..model.architectures import ARCHITECTURES
from ..model.config import MobileBertConfig
from ..model.zoo import ZOO
from ..tasks.examples import Examples
from ..tasks.task import Data, Task, task_of
from ..tokenization import MobileBertTokenizerFast, learn_vocabulary
from .plan import Plan
from .recipe import Recipe, Report
from .twin import Twin

BATCH = 64  # examples at a time where nothing is learned
FRESH_RATE, FINE_TUNING_RATE = 1e-3, 5e-5  # learning rates of a small model from scratch and of a trained one


@dataclass(frozen=True)
class Start:
    """What training starts from.

    Attributes:
        config: of the model to be trained.
        fresh: whether its weights are.
        make: (twin, seed) -> the model.
    """

    task: Task
    tokenizer: MobileBertTokenizerFast
    config: MobileBertConfig
    fresh: bool
    make: Callable[[Twin, int], Any]

    def examples(self, data: Data, max_length: int) -> Examples:
        """The examples of a data file, which fit the model.

        Raises:
            ConfigError: max_length is more than the model has positions.
            DataError: labels that the model does not know.
        """
        if max_length > self.config.max_position_embeddings:
            positions = self.config.max_position_embeddings
            raise ConfigError(f"--max-length {max_length} is more than the model's {positions} positions")
        return self.task.make_examples(data, self.tokenizer, self.config, max_length)


def start(task: Task, model: str, data: Data, vocabulary: Path | None = None, vocabulary_size: int = 8000) -> Start:
    """Decide what training starts from.

    Args:
        model: a name of the zoo, for fresh weights, a checkpoint directory, or owner/name on the hub.
        data: the training data, which decide the labels; a fresh model without a vocabulary file learns its vocabulary from them.
        vocabulary: a vocab.txt for a fresh model.
        vocabulary_size: tokens to learn without one.
    Raises:
        ConfigError: neither a name of the zoo nor a checkpoint.
        CheckpointError: an unusable checkpoint.
        DataError: data that no model can be trained on.
    """
    architecture = task.ARCHITECTURE
    if model in ZOO:
        settings = task.settings(data, None)
        tokens = _learn(task.texts(data), vocabulary_size) if vocabulary is None else None
        tokenizer = MobileBertTokenizerFast(vocabulary) if tokens is None else MobileBertTokenizerFast(vocab=tokens)
        config = MobileBertConfig.from_zoo(model, vocab_size=len(tokenizer), **settings)
        return Start(task, tokenizer, config, True, lambda twin, seed: twin.create(config, architecture, seed))
    check_place(model, f" nor in the zoo ({', '.join(ZOO)})")
    if vocabulary is not None:
        raise ConfigError("a checkpoint has its own vocabulary: leave --vocabulary out")
    stored = MobileBertConfig.from_pretrained(model)
    settings = task.settings(data, stored)
    tokenizer = MobileBertTokenizerFast.from_pretrained(model)
    return Start(
        task, tokenizer, stored.replace(**settings), False, lambda twin, seed: twin.load(model, architecture, **settings)
    )


def task_at(directory: str | Path | Folder, name: str | None = None) -> Task:
    """The task of a checkpoint.

    Args:
        name: of TASKS; by default the first that has the checkpoint's architecture.
    Raises:
        CheckpointError: the checkpoint is unusable, or of another task.
        ConfigError: there is no such checkpoint.
    """
    if not isinstance(directory, Folder):
        check_place(directory)
    try:
        return task_of(MobileBertConfig.from_pretrained(directory), name)
    except ConfigError as error:
        raise CheckpointError(str(directory), str(error)) from None


def check_place(model: str | Path, besides: str = "") -> None:
    """Refuse what is not here and not owner/name either: a name alone is looked up on the hub by from_pretrained only.

    Args:
        besides: what else it might have been, for the error.
    """
    if not Path(model).exists() and not hub.is_owned(str(model)):
        raise ConfigError(f"'{model}' is neither a checkpoint directory{besides} nor owner/name on the hub")


def _learn(texts: list[str], size: int) -> list[str]:
    try:
        return learn_vocabulary(texts, size)
    except ValueError as error:
        raise ConfigError(f"cannot learn a vocabulary from these texts: {error}; give --vocabulary a file") from None


def train(twin: Twin, begin: Start, examples: Examples, recipe: Recipe, watch: Callable[[int], Report]) -> Any:
    """Fine-tune and return the model.

    Args:
        examples: of `begin.examples`.
        watch: called with the number of steps to come; returns what to report each of them to.
    """
    model = begin.make(twin, recipe.seed)
    twin.train(model, examples, recipe, watch(Plan(examples.lengths, recipe).steps))
    return model


def save(twin: Twin, model: Any, tokenizer: MobileBertTokenizerFast, directory: Path, max_length: int) -> None:
    """Write a checkpoint directory in one step: weights, configuration, tokenizer."""
    tokenizer.model_max_length = max_length
    contents = checkpoint.contents(model.config, model.architecture, twin.tensors(model))
    save_files(directory, {**contents, **tokenizer.contents()})


@dataclass(frozen=True)
class Opened:
    """A trained model opened in one framework for its task."""

    task: Task
    twin: Twin
    model: Any
    tokenizer: MobileBertTokenizerFast

    @classmethod
    def open(cls, twin: Twin, directory: str | Path, task: str | None = None) -> "Opened":
        """Open a checkpoint directory, or a name on the hub; model and tokenizer are of one save.

        Args:
            task: a name of TASKS; by default the first that has the checkpoint's architecture.
        Raises:
            CheckpointError: the checkpoint is unusable, or of another task.
        """
        check_place(directory)

        def read(place: str | Path | Folder) -> Opened:
            found = task_at(place, task)
            model = twin.load(place, found.ARCHITECTURE)
            return cls(found, twin, model, MobileBertTokenizerFast.from_pretrained(place))

        return hub.read_place(directory, read)

    def examples(self, data: Data) -> Examples:
        """The data as the model takes it, without labels."""
        examples = self.task.make_examples(data, self.tokenizer, self.model.config, self.tokenizer.model_max_length)
        return examples.without(ARCHITECTURES[self.task.ARCHITECTURE].labels)

    def outputs(self, examples: Examples) -> Iterator[dict[str, np.ndarray]]:
        """What the model returns, batch by batch, in the order of the examples."""
        return (self.twin.outputs(self.model, batch) for batch in examples.ordered(BATCH))

    def predict(self, data: Data) -> dict[str, list[Any]]:
        """The predictions of the task as columns, a value for each example."""
        examples = self.examples(data)
        return self.task.predict(data, examples, self.outputs(examples), self.model.config)

    def evaluate(self, data: Data) -> tuple[dict[str, float], dict[str, list[Any]]]:
        """The metrics on labelled data by their titles, and as columns what was expected and what was predicted."""
        return self.task.evaluate(data, self.predict(data))
