"""Predict with a saved model as fast as it goes: folded, rows of about one length together, large files in constant memory."""

import contextlib
import logging
import multiprocessing
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any, Self

import numpy as np

from ..errors import ConfigError, DataError, brief
from ..frameworks import twin
from ..model.architectures import ARCHITECTURES
from ..runtimes.artefact import is_artefact
from ..tasks.base import Data, Predictions, beside_data
from ..tasks.examples import Examples
from ..tasks.records import SUFFIXES, UTF8, read_windows
from ..tasks.sentences import SentenceTask
from ..tasks.tables import Columns
from ..tasks.task import FILES, Setup
from . import jobs
from .preparation import LeftOut

log = logging.getLogger(__name__)

WINDOW = 2048  # rows of the data that are in memory at once
BATCH = 32  # rows of the model's input in a batch
THREADS = {"OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS"}  # the environment of a user who has chosen them
COLUMNS = [field.name for field in fields(Columns)]

Infer = Callable[[Iterable[Mapping[str, np.ndarray]]], Iterable[Mapping[str, np.ndarray]]]


class Predictor:
    """A saved model that predicts; `Predictor.load("folder")(["a text", "another"])` gives the columns that `predict` gives.

    It pickles as its path and options: where it is unpickled, it opens the model on first use.
    """

    framework = ""  # a key of FRAMEWORKS; without one, it opens exported models only

    def __init__(
        self,
        path: str | Path,
        *,
        task: str | None = None,
        fold: bool = True,
        dtype: str | None = None,
        quantize: str | None = None,
        batch_size: int = BATCH,
        threads: int | None = None,
    ) -> None:
        if not isinstance(path, str | Path):
            raise TypeError(f"a Predictor opens the name or the directory of a checkpoint, not a {type(path).__name__}: save it first")
        for name, number in (("batch_size", batch_size), ("threads", threads)):
            if number is not None and (isinstance(number, bool) or not isinstance(number, int) or number < 1):
                raise ConfigError(f"{name} must be a whole number from 1, not {brief(number)}")
        if not fold and (dtype is not None or quantize is not None):
            raise ConfigError("dtype and quantize are for folded models: leave out fold=False")
        self.path = str(Path(path).absolute()) if Path(path).exists() else str(path)  # a worker may run in another folder
        self.task, self.fold, self.dtype, self.quantize = task, fold, dtype, quantize
        self.batch_size, self.threads = batch_size, threads

    @classmethod
    def load(cls, path: str | Path, **options: Any) -> Self:
        """Open a model.

        Args:
            path: a checkpoint directory, owner/name on the hub, the name of a model that comes with this package, or a folder that
                `export` wrote, which needs no framework.
            options:
                task: a name in TASKS; default: what the checkpoint says.
                fold: compute what model/folding.py describes, with the same results up to rounding; False for the model as it is.
                dtype: of the computations, such as "bfloat16"; default: float32.
                quantize: "int8" for products of 8-bit numbers, where the framework has them.
                batch_size: rows of the model's input in a batch.
                threads: for the framework, in this whole process. Default: 1 in a worker of multiprocessing, as its pools have a
                    process for each core; elsewhere, what the framework has.
        Raises:
            CheckpointError: the checkpoint is unusable, or belongs to another task.
            ConfigError: the checkpoint does not exist, or an option is out of range or not for this framework.
        """
        predictor = cls(path, **options)
        _ = predictor.opened
        return predictor

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "opened"}

    @cached_property
    def opened(self) -> jobs.Opened:
        """The model and what belongs to it."""
        is_worker = multiprocessing.parent_process() is not None and not THREADS & os.environ.keys()
        if is_artefact(self.path):
            if not self.fold or self.dtype is not None or self.quantize is not None:
                raise ConfigError(f"{self.path} was exported and computes as it was: leave fold, dtype and quantize out")
            return jobs.open_artefact(self.path, self.task, 1 if self.threads is None and is_worker else self.threads)
        if not self.framework:
            raise ConfigError(f"{self.path} is not an exported model: open it with the Predictor of mobilebert_pt or mobilebert_tf")
        door = twin(self.framework)
        if self.threads is not None:
            door.set_threads(self.threads)
        elif is_worker:
            with contextlib.suppress(ConfigError):  # it has started with other threads, which is no fault of the caller's
                door.set_threads(1)
        opened = jobs.Opened.open(door, self.path, self.task, output_hidden_states=False, output_attentions=False)
        return replace(opened, model=door.fold(opened.model, self.dtype, self.quantize)) if self.fold else opened

    def __call__(self, data: Any, *, all: bool = False, **options: Any) -> dict[str, Sequence[Any]]:
        """What the model says of each text or row: {column: values}, those of the data first.

        Args:
            data: a list of texts, a .csv, .tsv, .jsonl or .parquet file, for tokens also .conll, for answers .json; a pandas
                DataFrame, a dataset of the library `datasets`, columns or rows.
            all: give all probabilities.
            options: encoding and the names of columns: text, text_pair, choices, header.
        Raises:
            DataError: the data cannot be used; the message gives the file and the line.
        """
        setup, encoding = self._setup(options)
        found = given_data(setup, data, encoding)
        [(_, predictions)] = self._logged(setup, [found])
        return dict(beside_data(found, predictions, all))

    def stream(self, data: Any, *, all: bool = False, **options: Any) -> Iterator[dict[str, Sequence[Any]]]:
        """The same in constant memory: yields the columns of WINDOW rows or fewer, one window after the other.

        Args:
            data: a .csv, .tsv, .jsonl or .parquet file, all of which is checked before the model runs; or any iterable of texts
                or of rows, which is read as it is needed.
            all, options: see `__call__`.
        """
        setup, encoding = self._setup(options)
        windows = file_windows(setup, data, encoding) if isinstance(data, str | Path) else windows_of(setup, data)
        for found, predictions in self._logged(setup, windows):
            yield dict(beside_data(found, predictions, all))

    def predict(
        self, setup: Setup, windows: Iterable[Data], left_out: LeftOut, advance: Callable[[float], None] = lambda rows: None
    ) -> Iterator[tuple[Data, Predictions]]:
        """The predictions for windows of data, one after the other.

        Args:
            left_out: counts what the model does not see.
            advance: called after each batch with the number of rows of the data that it stands for.
        """
        opened = replace(self.opened, setup=setup)
        has_vocabulary = "predictions" in ARCHITECTURES[setup.task.architecture].blocks  # in its outputs, which are large then
        pool = 4 * self.batch_size if has_vocabulary else WINDOW
        for data in windows:
            examples = opened.examples(data)
            left_out.add(examples)
            share = len(data) / max(1, len(examples))

            def infer(batches: Iterable[Mapping[str, np.ndarray]], share: float = share) -> Iterator[Mapping[str, np.ndarray]]:
                for output in opened.twin.infer(opened.model, batches):
                    advance(share * len(next(iter(output.values()))))
                    yield output

            outputs = by_length(examples, self.batch_size, pool, infer)
            yield data, setup.task.predict(data, examples, outputs, opened.model.config, opened.lengths)

    def _setup(self, options: dict[str, Any]) -> tuple[Setup, str]:
        columns, encoding = split_options(options)
        return self.opened.setup.with_columns(columns), encoding

    def _logged(self, setup: Setup, windows: Iterable[Data]) -> Iterator[tuple[Data, Predictions]]:
        """`predict`, and in the end a warning of what the model did not see."""
        left_out = LeftOut()
        yield from self.predict(setup, windows, left_out)
        for line in left_out.lines(setup.task, self.opened.lengths):
            log.warning(line)


def by_length(examples: Examples, size: int, pool: int, infer: Infer) -> Iterator[Mapping[str, np.ndarray]]:
    """Run a model on batches of rows of about one length, which need little padding; yields the outputs row by row, in order.

    Args:
        size: rows in a batch.
        pool: rows to sort at once, whose outputs are in memory together.
    """
    lengths = np.array(examples.lengths)
    for start in range(0, len(examples), pool):
        order = start + np.argsort(lengths[start : start + pool], kind="stable")
        batches = [order[first : first + size] for first in range(0, len(order), size)]
        found: dict[int, Mapping[str, np.ndarray]] = {}
        for rows, output in zip(batches, infer(map(examples.batch, batches)), strict=True):
            for place, row in enumerate(rows.tolist()):
                found[row] = {name: array[place : place + 1] for name, array in output.items()}
        for row in sorted(found):
            yield found.pop(row)


def split_options(options: Mapping[str, Any]) -> tuple[Columns, str]:
    """The columns and the encoding that options name.

    Raises:
        TypeError: there is no such option.
    """
    if unknown := sorted(set(options) - {*COLUMNS, "encoding"}):
        raise TypeError(f"there is no argument {', '.join(unknown)}; there are encoding, {', '.join(COLUMNS)}")
    return Columns(**{name: options[name] for name in COLUMNS if name in options}), options.get("encoding", UTF8)


def given_data(setup: Setup, data: Any, encoding: str = UTF8) -> Data:
    """Texts, a file or data in memory as the task's data, without labels.

    Raises:
        ConfigError: texts are given to a model of pairs.
        DataError: the data cannot be used.
    """
    if hasattr(data, "tolist") and not hasattr(data, "columns"):  # an array or a pandas Series
        data = data.tolist()
    if isinstance(data, str) and not Path(data).exists() and not Path(data).suffix:
        raise DataError(f"there is no file {data!r:.80}: give texts in a list")
    if not isinstance(data, list | tuple) or not data or [text for text in data if not isinstance(text, str)]:
        found: Data = setup.read(data, encoding, labelled=False)
        return found
    if setup.columns.text_pair and isinstance(setup.task, SentenceTask):
        raise ConfigError("the model was trained on pairs of texts: give a file or rows with columns for both")
    texts: Data = setup.task.from_texts(data)
    return texts


def windows_of(setup: Setup, rows: Iterable[Any]) -> Iterator[Data]:
    """The task's data of texts or rows, WINDOW at a time; the first ones decide which columns count.

    Raises:
        DataError: the rows are not an iterable of rows.
    """
    if isinstance(rows, Mapping) or not isinstance(rows, Iterable) or hasattr(rows, "columns"):
        raise DataError(f"a stream is a file, or an iterable of texts or rows, not {brief(rows)}: call the predictor itself")
    found = iter(rows)
    while window := [*islice(found, WINDOW)]:
        data = given_data(setup, window)
        if data.columns.text is not None:  # None for bare texts
            setup = replace(setup, columns=data.columns)
        yield data


@dataclass(frozen=True)
class Windows:
    """The task's data in a file, window by window, as often as they are asked for.

    Attributes:
        count: the number of examples in the file.
        encoding: in which results about it are written.
        is_whole: whether there is one window only, which stands alone.
    """

    again: Callable[[], Iterator[Data]]
    count: int
    encoding: str
    is_whole: bool = True

    def __iter__(self) -> Iterator[Data]:
        return self.again()


def whole(data: Data) -> Windows:
    """Data that are there already as one window."""
    return Windows(lambda: iter([data]), len(data), data.encoding)


def file_windows(
    setup: Setup, path: str | Path, encoding: str = UTF8, check: Callable[[Data], None] = lambda data: None, in_parts: bool = True
) -> Windows:
    """Check all of a file before the long work: a fault in its last line is found in a first pass, and the model runs in a second.

    Tables are read in windows, other files as a whole, because their parts depend on each other.

    Args:
        check: raises an error for data that cannot be used, too.
        in_parts: False for one window in any case.
    Raises:
        DataError: see `Task.read`.
    """
    path = Path(path)
    if not in_parts or not is_table(setup, path, encoding):
        data = setup.read(path, encoding, labelled=False)
        check(data)
        return whole(data)
    count, windows, seen = 0, 0, None
    for records in read_windows(path, encoding, setup.columns.header, WINDOW):
        data = setup.read(records, labelled=False)
        check(data)
        seen = setup.task.survey(data, seen)
        count, windows = count + len(data), windows + 1
    if windows == 1:
        return whole(data)

    def again() -> Iterator[Data]:
        start = 0
        for records in read_windows(path, encoding, setup.columns.header, WINDOW):
            data = setup.task.adapt(setup.read(records, labelled=False), seen, start)
            start += len(data)
            yield data
        if start != count:
            raise DataError(f"{path}: changed while it was read: it had {count:,} rows, and then {start:,}")

    return Windows(again, count, data.encoding, is_whole=False)


def is_table(setup: Setup, path: Path, encoding: str) -> bool:
    """Whether a file is a table, and not in another format with the suffix of one."""
    has_own_format = FILES.get(setup.task.name)
    return path.suffix.lower() in SUFFIXES and not (has_own_format and has_own_format(path, encoding))
