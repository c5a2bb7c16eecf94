"""What a tokenizer returns: lists or tensors by name, and where in the text each token came from."""

from collections import UserDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, NamedTuple, Protocol, Self, TypeVar

import numpy as np

T = TypeVar("T")
NOWHERE = (0, 0)  # the offsets of a token that is not in the text


class CharSpan(NamedTuple):
    """Characters start to end, the end excluded."""

    start: int
    end: int


class TokenSpan(NamedTuple):
    """Tokens start to end, the end excluded."""

    start: int
    end: int


class Segment(Protocol):
    """One tokenized text, before truncation and special tokens. tokenizers.Encoding is one."""

    @property
    def ids(self) -> list[int]: ...
    @property
    def tokens(self) -> list[str]: ...
    @property
    def offsets(self) -> list[tuple[int, int]]: ...
    @property
    def word_ids(self) -> list[int | None]: ...


@dataclass
class Tokenized:
    """A segment as plain lists."""

    ids: list[int] = field(default_factory=list)
    tokens: list[str] = field(default_factory=list)
    offsets: list[tuple[int, int]] = field(default_factory=list)
    word_ids: list[int | None] = field(default_factory=list)

    def append(self, index: int, token: str, span: tuple[int, int], word: int) -> None:
        self.ids.append(index)
        self.tokens.append(token)
        self.offsets.append(span)
        self.word_ids.append(word)


class SharedSegment:
    """A segment that several rows come from: its lists are made once, not for every row."""

    def __init__(self, segment: Segment) -> None:
        self._segment = segment

    @cached_property
    def ids(self) -> list[int]:
        return self._segment.ids

    @cached_property
    def tokens(self) -> list[str]:
        return self._segment.tokens

    @cached_property
    def offsets(self) -> list[tuple[int, int]]:
        return self._segment.offsets

    @cached_property
    def word_ids(self) -> list[int | None]:
        return self._segment.word_ids


class Part(NamedTuple):
    """A run of tokens of a segment, from token `start` on."""

    segment: Segment
    ids: list[int]
    start: int = 0

    def cut(self, start: int, stop: int) -> "Part":
        return self if stop - start == len(self.ids) else Part(self.segment, self.ids[start:stop], self.start + start)


class Frame(NamedTuple):
    """The (id, token) pairs of [CLS], [SEP] and [PAD]."""

    cls: tuple[int, str]
    sep: tuple[int, str]
    pad: tuple[int, str]


@dataclass(frozen=True, slots=True)
class Encoding:
    """One row of a batch: [CLS] first [SEP] second [SEP] and padding. Its lists are made on demand."""

    first: Part
    second: Part | None
    frame: Frame
    special: bool  # whether the row has [CLS] and [SEP]
    padding: int = 0
    padding_side: str = "right"
    overflowing: tuple["Encoding", ...] = ()

    def padded(self, length: int, side: str) -> "Encoding":
        missing = max(0, length - len(self))
        return replace(self, padding=missing, padding_side=side) if missing else self

    def __len__(self) -> int:
        second = 0 if self.second is None else len(self.second.ids) + self.special
        return len(self.first.ids) + 2 * self.special + second + self.padding

    @property
    def n_sequences(self) -> int:
        return 1 if self.second is None else 2

    @property
    def ids(self) -> list[int]:
        (cls, _), (sep, _), (pad, _) = self.frame
        return self._row(self.first.ids, self.second and self.second.ids, cls, sep, pad)

    @property
    def tokens(self) -> list[str]:
        (_, cls), (_, sep), (_, pad) = self.frame
        return self._lay_out(lambda segment: segment.tokens, cls, sep, pad)

    @property
    def offsets(self) -> list[tuple[int, int]]:
        """Character offsets in the text each token is from; (0, 0) for special tokens."""
        return self._lay_out(lambda segment: segment.offsets, NOWHERE, NOWHERE, NOWHERE)

    @property
    def word_ids(self) -> list[int | None]:
        """The index in its text of the word each token is from; None for special tokens."""
        return self._lay_out(lambda segment: segment.word_ids, None, None, None)

    @property
    def sequence_ids(self) -> list[int | None]:
        """0 for a token of the first text, 1 for one of the second, None for special tokens."""
        second: list[int | None] | None = None if self.second is None else [1] * len(self.second.ids)
        return self._row([0] * len(self.first.ids), second, None, None, None)

    @property
    def special_tokens_mask(self) -> list[int]:
        """1 for [CLS], [SEP] and padding, 0 for tokens of the texts."""
        second = None if self.second is None else [0] * len(self.second.ids)
        return self._row([0] * len(self.first.ids), second, 1, 1, 1)

    @property
    def type_ids(self) -> list[int]:
        second = 0 if self.second is None else len(self.second.ids) + self.special
        return self._pad([0] * (len(self.first.ids) + 2 * self.special) + [1] * second, 0)

    @property
    def attention_mask(self) -> list[int]:
        return self._pad([1] * (len(self) - self.padding), 0)

    def tokens_of(self, sequence: int) -> range:
        """The positions in the row of a text's tokens; 0 is the first text, 1 the second."""
        start = self.special + (self.padding if self.padding_side == "left" else 0)
        if sequence == 0:
            return range(start, start + len(self.first.ids))
        if sequence == 1 and self.second is not None:
            start += len(self.first.ids) + self.special
            return range(start, start + len(self.second.ids))
        return range(0)

    def token_to_sequence(self, token_index: int) -> int | None:
        return self.sequence_ids[token_index]

    def token_to_word(self, token_index: int) -> int | None:
        return self.word_ids[token_index]

    def token_to_chars(self, token_index: int) -> CharSpan | None:
        return None if self.sequence_ids[token_index] is None else CharSpan(*self.offsets[token_index])

    def word_to_tokens(self, word_index: int, sequence_index: int = 0) -> TokenSpan | None:
        words = self.word_ids
        tokens = [token for token in self.tokens_of(sequence_index) if words[token] == word_index]
        return TokenSpan(tokens[0], tokens[-1] + 1) if tokens else None

    def word_to_chars(self, word_index: int, sequence_index: int = 0) -> CharSpan | None:
        tokens = self.word_to_tokens(word_index, sequence_index)
        return tokens and CharSpan(self.offsets[tokens.start][0], self.offsets[tokens.end - 1][1])

    def char_to_token(self, char_pos: int, sequence_index: int = 0) -> int | None:
        offsets = self.offsets
        tokens = (token for token in self.tokens_of(sequence_index) if offsets[token][0] <= char_pos < offsets[token][1])
        return next(tokens, None)

    def char_to_word(self, char_pos: int, sequence_index: int = 0) -> int | None:
        token = self.char_to_token(char_pos, sequence_index)
        return None if token is None else self.word_ids[token]

    def _lay_out(self, pick: Callable[[Segment], list[T]], cls: T, sep: T, pad: T) -> list[T]:
        def of(part: Part) -> list[T]:
            return pick(part.segment)[part.start : part.start + len(part.ids)]

        return self._row(of(self.first), None if self.second is None else of(self.second), cls, sep, pad)

    def _row(self, first: list[T], second: list[T] | None, cls: T, sep: T, pad: T) -> list[T]:
        row = [cls, *first, sep] if self.special else first[:]
        if second is not None:
            row += second
            if self.special:
                row.append(sep)
        return self._pad(row, pad)

    def _pad(self, row: list[T], pad: T) -> list[T]:
        padding = [pad] * self.padding
        return padding + row if self.padding_side == "left" else row + padding


class BatchEncoding(UserDict[str, Any]):
    """A mapping of model inputs with attribute access, and with methods that lead from tokens back to the texts.

    A string as index gives the value of that name, an integer the Encoding of that row. The methods take the row as an optional first
    argument: `token_to_chars(token)` or `token_to_chars(row, token)`.

    Args:
        data: {name: list or tensor}.
        encoding: one per row; None if the rows do not come from texts.
        tensor_type: "np", "pt" or "tf" converts the values to tensors of that kind; None leaves them alone.
        prepend_batch_axis: make a batch of one of each value that becomes a tensor.
        n_sequences: how many texts a row comes from, if that is known; None asks the encoding.
    """

    def __init__(
        self,
        data: dict[str, Any] | None = None,
        encoding: Encoding | Sequence[Encoding] | None = None,
        tensor_type: str | None = None,
        prepend_batch_axis: bool = False,
        n_sequences: int | None = None,
    ) -> None:
        super().__init__(data or {})
        rows = [encoding] if isinstance(encoding, Encoding) else encoding
        self._encodings = None if rows is None else list(rows)
        self._n_sequences = n_sequences
        self.convert_to_tensors(tensor_type, prepend_batch_axis)

    def __getitem__(self, key: str | int | slice) -> Any:
        if isinstance(key, str):
            return self.data[key]
        if self._encodings is not None:
            return self._encodings[key]
        if isinstance(key, slice):
            return {name: value[key] for name, value in self.data.items()}
        raise KeyError(f"{key!r}: these inputs do not come from a tokenizer call, so they have names but no rows")

    def __getattr__(self, name: str) -> Any:
        try:
            return self.__dict__["data"][name]
        except KeyError:
            raise AttributeError(f"{type(self).__name__} has no {name!r}") from None

    @property
    def encodings(self) -> list[Encoding] | None:
        return self._encodings

    @property
    def is_fast(self) -> bool:
        """Whether offsets and word ids are known."""
        return self._encodings is not None

    @property
    def n_sequences(self) -> int | None:
        if self._n_sequences is None and self._encodings:
            return self._encodings[0].n_sequences
        return self._n_sequences

    def tokens(self, batch_index: int = 0) -> list[str]:
        return self._row(batch_index).tokens

    def sequence_ids(self, batch_index: int = 0) -> list[int | None]:
        return self._row(batch_index).sequence_ids

    def word_ids(self, batch_index: int = 0) -> list[int | None]:
        return self._row(batch_index).word_ids

    def words(self, batch_index: int = 0) -> list[int | None]:
        """`word_ids`; its name in transformers 4."""
        return self.word_ids(batch_index)

    def token_to_sequence(self, batch_or_token_index: int, token_index: int | None = None) -> int | None:
        row, token = self._address(batch_or_token_index, token_index)
        return row.token_to_sequence(token)

    def token_to_word(self, batch_or_token_index: int, token_index: int | None = None) -> int | None:
        row, token = self._address(batch_or_token_index, token_index)
        return row.token_to_word(token)

    def token_to_chars(self, batch_or_token_index: int, token_index: int | None = None) -> CharSpan | None:
        row, token = self._address(batch_or_token_index, token_index)
        return row.token_to_chars(token)

    def word_to_tokens(
        self, batch_or_word_index: int, word_index: int | None = None, sequence_index: int = 0
    ) -> TokenSpan | None:
        row, word = self._address(batch_or_word_index, word_index)
        return row.word_to_tokens(word, sequence_index)

    def word_to_chars(
        self, batch_or_word_index: int, word_index: int | None = None, sequence_index: int = 0
    ) -> CharSpan | None:
        row, word = self._address(batch_or_word_index, word_index)
        return row.word_to_chars(word, sequence_index)

    def char_to_token(
        self, batch_or_char_index: int, char_index: int | None = None, sequence_index: int = 0
    ) -> int | None:
        row, char = self._address(batch_or_char_index, char_index)
        return row.char_to_token(char, sequence_index)

    def char_to_word(
        self, batch_or_char_index: int, char_index: int | None = None, sequence_index: int = 0
    ) -> int | None:
        row, char = self._address(batch_or_char_index, char_index)
        return row.char_to_word(char, sequence_index)

    def convert_to_tensors(self, tensor_type: str | None = None, prepend_batch_axis: bool = False) -> Self:
        """Convert every value to an int64 tensor, in place.

        Args:
            tensor_type: "np" for numpy, "pt" for PyTorch, "tf" for Keras; None does nothing.
            prepend_batch_axis: make a batch of one of each value.
        Raises:
            ValueError: tensor_type is something else, or rows differ in length.
        """
        if tensor_type is None:
            return self
        if tensor_type not in ("np", "pt", "tf"):
            raise ValueError(f"return_tensors must be 'np', 'pt', 'tf' or None, not {tensor_type!r}")
        arrays = {name: _array(name, [value] if prepend_batch_axis else value) for name, value in self.data.items()}
        if tensor_type != "np":
            from ..frameworks import twin

            tensor = twin(tensor_type).tensor
            arrays = {name: tensor(array) for name, array in arrays.items()}
        self.data.update(arrays)
        return self

    def to(self, device: Any, *, non_blocking: bool = False) -> Self:
        """Move PyTorch tensors to a device, in place."""
        for name, value in self.data.items():
            if hasattr(value, "to"):
                self.data[name] = value.to(device=device, non_blocking=non_blocking)
        return self

    def _row(self, index: int) -> Encoding:
        if not self._encodings:
            raise ValueError("these inputs do not come from a tokenizer call: tokens, words and offsets are unknown")
        return self._encodings[index]

    def _address(self, first: int, second: int | None) -> tuple[Encoding, int]:
        return (self._row(0), first) if second is None else (self._row(first), second)


def _array(name: str, value: Any) -> Any:
    """Convert a list, or a tensor of any framework, to an array; integers become int64."""
    try:
        array = np.asarray(value)
    except ValueError:
        array = np.array(None)
    if array.dtype == object:
        raise ValueError(f"the rows of {name!r} differ in length: use padding=True, and truncation=True if too long")
    return array.astype(np.int64) if array.dtype.kind in "iub" or not array.size else array
