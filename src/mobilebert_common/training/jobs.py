"""Start training from any model, save the result, and evaluate and predict with it, in either framework and for any task."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..checkpoints import checkpoint
from ..errors import CheckpointError, ConfigError, DataError, shortened
from ..files import hub
from ..files.folder import Content, Folder
from ..model.architectures import ARCHITECTURES, named_architecture
from ..model.config import MAX_CONFIG, MobileBertConfig
from ..model.schema import expand
from ..model.zoo import ZOO
from ..runtimes.artefact import Artefact, config_of, is_artefact
from ..tasks.base import Data, Lengths, Predictions, Task
from ..tasks.examples import Examples
from ..tasks.metrics import Scores
from ..tasks.task import Setup, setup_of
from ..tokenization import MobileBertTokenizerFast, learn_vocabulary
from .twin import Twin

if TYPE_CHECKING:
    from .teaching import Teacher

BASE = "MobileBertModel"
WHOLE = "MobileBertForPreTraining"  # also has the heads of masked-LM and next-sentence prediction
BATCH = 64  # rows per batch in evaluation and prediction
FRESH = "mobilebert-mini"
PRETRAINED = "mobilebert-small-uncased"  # of English
VOCABULARY = 8000  # tokens to learn

# English has 1.3 to 1.8 tokens a word in the vocabulary of PRETRAINED, and hardly a word that it does not know; German, French and
# Spanish have 2.3 and more, and most words of other scripts are unknown.
SAMPLE = 1000  # texts to look at
MAX_TOKENS_PER_WORD = 2.1
MAX_UNKNOWN = 0.05


@dataclass(frozen=True)
class Start:
    """The starting point of training.

    Attributes:
        config: the configuration of the model to train.
        fresh: whether the model starts from fresh weights.
        make: (twin, seed) -> the model.
        name: how to call the model.
        notice: in one line, why this model was chosen, or why a checkpoint's head is not used; empty if there is nothing to say.
    """

    setup: Setup
    tokenizer: MobileBertTokenizerFast
    config: MobileBertConfig
    fresh: bool
    make: Callable[[Twin, int], Any]
    name: str
    notice: str = ""

    def examples(self, data: Data) -> Examples:
        """Tokenize the data for the model.

        Raises:
            ConfigError: the setup's max_length exceeds the model's number of positions.
            DataError: the model does not have one of the labels.
        """
        if (length := self.setup.lengths.max_length) > (positions := self.config.max_position_embeddings):
            raise ConfigError(f"max_length {length} is more than the model's {positions} positions")
        return self.setup.task.make_examples(data, self.tokenizer, self.config, self.setup.lengths)


def start(
    setup: Setup,
    model: str | None,
    data: Data,
    vocabulary: Path | None = None,
    vocabulary_size: int | None = None,
    teacher: "Teacher | None" = None,
) -> Start:
    """Prepare training: configuration, tokenizer and model.

    Args:
        model: a name from the zoo for fresh weights, the name of a model that comes with this package, a checkpoint directory, or
            owner/name on the hub; None for the one that `choose` names.
        data: the training data, which determine the labels and, for a fresh model without `vocabulary`, the vocabulary.
        vocabulary: a vocab.txt for a fresh model.
        vocabulary_size: number of tokens to learn if there is no `vocabulary`; default: VOCABULARY.
        teacher: whose tokenizer a fresh model takes, and whose labels any model keeps.
    Raises:
        ConfigError: `model` is neither in the zoo nor a checkpoint, or a vocabulary was given for a checkpoint.
        CheckpointError: the checkpoint is unusable.
        DataError: no model can be trained on the data.
    """
    task = setup.task
    setup = replace(setup, columns=data.columns, lengths=setup.task.lengths_for(data, setup.lengths))
    architecture, reason = task.architecture, ""
    if model is None:
        model, reason = choose(task, data, vocabulary is not None or vocabulary_size is not None)
    if model in ZOO:
        settings = task.settings(data, None if teacher is None else teacher.config)
        tokenizer = _fresh_tokenizer(task.texts(data), vocabulary, vocabulary_size) if teacher is None else teacher.tokenizer
        config = MobileBertConfig.from_zoo(model, vocab_size=len(tokenizer), **settings)
        _check_size(config, data)
        return Start(setup, tokenizer, config, True, lambda twin, seed: twin.create(config, architecture, seed), model, reason)
    check_place(model, f" nor in the zoo ({', '.join(ZOO)})")
    if vocabulary is not None or vocabulary_size is not None:
        option = "--vocabulary-size" if vocabulary is None else "--vocabulary"
        raise ConfigError(f"{option} is for fresh models only: a checkpoint has its own vocabulary")
    stored = MobileBertConfig.from_pretrained(model)
    settings = task.settings(data, stored if teacher is None else teacher.config)
    config = stored.replace(**settings)
    _check_size(config, data)
    tokenizer = MobileBertTokenizerFast.from_pretrained(model)
    if notice := _new_head(model, architecture, stored, config):
        return Start(setup, tokenizer, config, False, lambda twin, seed: _renewed(twin, model, architecture, config, seed), model, notice)
    return Start(setup, tokenizer, config, False, lambda twin, seed: twin.load(model, architecture, **settings), model)


def choose(task: Task, data: Data, fresh: bool) -> tuple[str, str]:
    """The model to train where none is named: PRETRAINED for English texts, otherwise FRESH; and why, in one line.

    Args:
        fresh: whether the caller wants a vocabulary that only fresh weights can have.
    """
    if fresh or "predictions" in ARCHITECTURES[task.architecture].blocks:  # PRETRAINED comes without that head
        return FRESH, ""
    tokenizer, texts = MobileBertTokenizerFast.from_pretrained(PRETRAINED), task.texts(data)[:SAMPLE]
    found = [token for text in texts for token in tokenizer.tokenize(text)]
    per_word = len(found) / max(1, sum(len(text.split()) for text in texts))
    if per_word > MAX_TOKENS_PER_WORD or found.count(str(tokenizer.unk_token)) > MAX_UNKNOWN * len(found):
        return FRESH, f"the texts do not look like English, which {PRETRAINED} is for: {FRESH} learns its own vocabulary"
    return PRETRAINED, ""


def start_with(setup: Setup, model: Any, tokenizer: Any, data: Data) -> Start:
    """Prepare the training of a model of either twin that is there already.

    Raises:
        ConfigError: it is for another task, has other labels, or comes without its tokenizer.
    """
    setup = replace(setup, columns=data.columns, lengths=setup.task.lengths_for(data, setup.lengths))
    wanted = setup.task.architecture
    if getattr(model, "architecture", None) != wanted:
        raise ConfigError(f"a {type(model).__name__} cannot be trained for {setup.task.name}, which needs a {wanted}")
    if not isinstance(tokenizer, MobileBertTokenizerFast):
        raise ConfigError("a model that is given as such needs its tokenizer=, a MobileBertTokenizerFast")
    settings = setup.task.settings(data, model.config)
    config = model.config.replace(**settings)
    if config.num_labels != model.config.num_labels:
        labels = shortened([*config.id2label.values()], ", ")
        raise ConfigError(f"the model has {model.config.num_labels} labels, the data have {config.num_labels}: {labels}")
    model.config.update(settings)
    return Start(setup, tokenizer, config, False, lambda twin, seed: model, type(model).__name__)


def _check_size(config: MobileBertConfig, data: Data) -> None:
    """Require labels whose names fit into config.json, which could not be opened otherwise."""
    if len(config.to_json_string().encode()) > MAX_CONFIG:
        raise DataError(f"{data.path}: its labels take more than the {MAX_CONFIG:,} bytes config.json may have: is it the right column?")


def _new_head(model: str, architecture: str, stored: MobileBertConfig, config: MobileBertConfig) -> str:
    """Why a checkpoint's head cannot be trained further, in one line; empty if it can."""
    head = named_architecture(stored)
    if head == BASE:
        return f"{model} has no head: a new one is trained with it"
    has_it = head == WHOLE and set(ARCHITECTURES[architecture].blocks) <= set(ARCHITECTURES[WHOLE].blocks)
    if head not in (None, architecture) and not has_it:
        reason = f"holds {head}, not a {architecture}"
    elif stored.problem_type != config.problem_type:
        reason = f"has the problem_type {stored.problem_type}, not {config.problem_type}"
    elif stored.id2label != config.id2label:
        reason = f"has the labels {shortened([*stored.id2label.values()], ', ')}, not {shortened([*config.id2label.values()], ', ')}"
    else:
        return ""
    return f"{model} {reason}: its encoder is trained further, with a new head"


def _renewed(twin: Twin, model: str, architecture: str, config: MobileBertConfig, seed: int) -> Any:
    """A model with the encoder and pooler of a checkpoint, and a head that the seed determines."""
    tensors, root = checkpoint.load(model, BASE).tensors, ARCHITECTURES[architecture].root
    renewed = twin.create(config, architecture, seed)
    names = [name for name in expand(config, architecture) if name.removeprefix(root) in tensors]
    twin.set_tensors(renewed, {name: tensors[name.removeprefix(root)] for name in names})
    return renewed


def setup_at(directory: str | Path | Folder, name: str | None = None) -> Setup:
    """Find the task of a checkpoint, with the columns and lengths it was trained with.

    Args:
        name: of a task or a preset; default: what the checkpoint says.
    Raises:
        CheckpointError: the checkpoint is unusable, or is for another task.
        ConfigError: the checkpoint does not exist.
    """
    if not isinstance(directory, Folder):
        check_place(directory)
    is_exported = not isinstance(directory, Folder) and is_artefact(directory)
    config = config_of(str(directory)) if is_exported else MobileBertConfig.from_pretrained(directory)
    try:
        return setup_of(config, name)
    except ConfigError as error:
        raise CheckpointError(str(directory), str(error)) from None


def open_artefact(directory: str | Path, task: str | None = None, threads: int | None = None) -> "Opened":
    """Open an exported model for its task.

    Args:
        threads: of its runtime.
    Raises:
        CheckpointError: a file is not the one that was exported, or the model is for another task.
        ImportError: the runtime is not installed.
    """
    setup = setup_at(directory, task)
    artefact = Artefact.open(directory, threads)
    return Opened(setup, artefact, artefact, MobileBertTokenizerFast.from_pretrained(directory))


def open_place(directory: str | Path, task: str | None, door: Callable[[], Twin]) -> "Opened":
    """Open an exported model, or a checkpoint in the framework that `door` imports; see `open_artefact` and `Opened.open`."""
    return open_artefact(directory, task) if is_artefact(directory) else Opened.open(door(), directory, task)


def check_place(model: str | Path, besides: str = "") -> None:
    """Require an existing folder or owner/name on the hub; only from_pretrained looks up a name without an owner.

    Args:
        besides: another place the name was looked for, for the error.
    Raises:
        ConfigError: it is neither.
    """
    if not Path(model).exists() and not hub.is_known(str(model)):
        raise ConfigError(f"{str(model)!r} is neither a checkpoint directory{besides} nor owner/name on the hub")


def _fresh_tokenizer(texts: list[str], vocabulary: Path | None, size: int | None) -> MobileBertTokenizerFast:
    """The tokenizer of a vocab.txt, or of a vocabulary that is learned from texts."""
    if vocabulary is not None:
        return MobileBertTokenizerFast(vocabulary)
    try:
        return MobileBertTokenizerFast(vocab=learn_vocabulary(texts, size or VOCABULARY))
    except ValueError as error:
        raise ConfigError(f"cannot learn a vocabulary from these texts: {error}; pass a --vocabulary file") from None


def contents(begin: Start, model: Any, tensors: Mapping[str, np.ndarray]) -> dict[str, Content]:
    """The files of a checkpoint of a trained model: weights, configuration and tokenizer.

    Raises:
        ConfigError: weights are NaN or infinite.
    """
    if broken := [name for name, array in tensors.items() if not np.isfinite(array).all()]:
        raise ConfigError(f"{len(broken)} tensors are NaN or infinite, so nothing was saved: train with a smaller learning rate")
    begin.tokenizer.model_max_length = begin.setup.lengths.max_length
    config = model.config.replace(**begin.setup.settings())
    return {**checkpoint.contents(config, model.architecture, tensors), **begin.tokenizer.contents()}


@dataclass(frozen=True)
class Opened:
    """A trained model, opened for its task in one framework."""

    setup: Setup
    twin: Twin | Artefact
    model: Any
    tokenizer: MobileBertTokenizerFast
    check: Callable[[], None] = lambda: None  # called before each batch; what it raises ends the work

    @classmethod
    def open(cls, twin: Twin, directory: str | Path, task: str | None = None, **overrides: Any) -> "Opened":
        """Open a checkpoint directory or a name on the hub; model and tokenizer come from the same save.

        Args:
            task: a name in TASKS; default: what the checkpoint says.
            overrides: of the model's configuration.
        Raises:
            CheckpointError: the checkpoint is unusable, or belongs to another task.
            ConfigError: the checkpoint does not exist.
        """
        check_place(directory)

        def read(place: str | Path | Folder) -> Opened:
            setup = setup_at(place, task)
            model = twin.load(place, setup.task.architecture, **overrides)
            return cls(setup, twin, model, MobileBertTokenizerFast.from_pretrained(place))

        return hub.read_place(directory, read)

    @property
    def lengths(self) -> Lengths:
        """The lengths it was trained with; for a model that does not say, those its tokenizer and the task are for."""
        lengths, positions = self.setup.lengths, self.model.config.max_position_embeddings
        if not self.setup.remembered:
            return self.setup.task.lengths_without_memory(min(self.tokenizer.model_max_length, positions))
        return replace(lengths, max_length=min(lengths.max_length, positions))

    def examples(self, data: Data) -> Examples:
        """Tokenize the data for the model, without labels."""
        examples = self.setup.task.make_examples(data, self.tokenizer, self.model.config, self.lengths)
        return examples.without(ARCHITECTURES[self.setup.task.architecture].labels)

    def outputs(self, examples: Examples) -> Iterator[dict[str, np.ndarray]]:
        """Run the model on the examples in order; yields its outputs batch by batch."""

        def batches() -> Iterator[dict[str, np.ndarray]]:
            for batch in examples.ordered(BATCH):
                self.check()
                yield batch

        return self.twin.infer(self.model, batches())

    def predict(self, data: Data, examples: Examples | None = None) -> Predictions:
        """Compute the task's predictions.

        Args:
            examples: of the data, if they are there already.
        """
        found = self.examples(data) if examples is None else examples
        return self.setup.task.predict(data, found, self.outputs(found), self.model.config, self.lengths)

    def evaluate(self, data: Data, examples: Examples | None = None) -> tuple[Scores, Predictions]:
        """Compute the metrics on labelled data, and return them with the predictions."""
        predictions = self.predict(data, examples)
        scores = self.setup.task.evaluate(data, predictions, self.model.config)
        return (scores if self.setup.metric is None else scores.with_first(self.setup.metric)), predictions
