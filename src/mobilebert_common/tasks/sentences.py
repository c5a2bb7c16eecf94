"""What the tasks on a text or a pair of texts share: reading, features and splits."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np

from ..errors import ConfigError, DataError
from ..model.config import MobileBertConfig
from .base import Lengths, Task
from .examples import Examples
from .records import UTF8, Records
from .tables import Columns, Table, class_labels, from_texts, read_table


class SentenceTask(Task):
    """A task on a text or a pair of texts with the sentence classifier."""

    architecture = "MobileBertForSequenceClassification"
    problem_type: ClassVar[str]

    def read(
        self, source: Any, columns: Columns | None = None, encoding: str = UTF8, *, labelled: bool = True, known: str = ""
    ) -> Table:
        return read_table(source, columns, encoding, labelled, self.read_labels, known)

    def read_labels(self, records: Records, names: tuple[str, ...]) -> list[Any]:
        """The labels of each row, from the cells of the label columns."""
        return class_labels(records, names)

    def from_texts(self, texts: Sequence[str]) -> Table:
        return from_texts(texts)

    def texts(self, data: Table) -> list[str]:
        return [*data.texts, *(data.pairs or ())]

    def shown(self, data: Table) -> list[str]:
        return data.texts if data.pairs is None else [f"{first} | {second}" for first, second in zip(data.texts, data.pairs, strict=True)]

    def make_examples(self, data: Table, tokenizer: Any, config: MobileBertConfig, lengths: Lengths) -> Examples:
        """Tokenize a table; texts over lengths.max_length tokens are truncated, the longer one of a pair first.

        Raises:
            DataError: there are no rows, or the model does not have one of the labels.
            ConfigError: a pair does not fit into lengths.max_length.
        """
        if not len(data):
            raise DataError(f"{data.path}: has no rows")
        if data.pairs is not None and lengths.max_length < 5:
            raise ConfigError(f"max_length {lengths.max_length} is too short for a pair of texts, which needs 5 tokens")
        labels: dict[str, Any] = {} if data.labels is None else {"labels": self.numbers(data, config.id2label)}
        encoded = tokenizer(data.texts, data.pairs, truncation=True, max_length=lengths.max_length)
        columns = {name: encoded[name] for name in ("input_ids", "attention_mask", "token_type_ids")}
        cut = self._truncated(data, tokenizer, [len(ids) for ids in columns["input_ids"]], lengths.max_length)
        return Examples({**columns, **labels}, {"input_ids": tokenizer.pad_token_id}, range(len(data)), truncated=cut)

    def _truncated(self, data: Table, tokenizer: Any, sizes: Sequence[int], max_length: int) -> list[int]:
        """The rows that are longer than max_length; only those that fill it are tokenized again."""
        full = [row for row, size in enumerate(sizes) if size >= max_length]
        if not full:
            return []
        some = data.take(full)
        whole = tokenizer(some.texts, some.pairs, truncation=False, verbose=False)["input_ids"]
        return [row for row, ids in zip(full, whole, strict=True) if len(ids) > max_length]

    def numbers(self, data: Table, id2label: Mapping[int, str]) -> np.ndarray:
        """A table's labels as the model takes them.

        Raises:
            DataError: the model does not have one of the labels.
        """
        raise NotImplementedError
