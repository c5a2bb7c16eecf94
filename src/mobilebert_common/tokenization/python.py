"""MobileBertTokenizer: tokenization in plain Python.

Why keep it beside the Rust one:

- It is the slow MobileBertTokenizer of transformers 4. Its do_basic_tokenize=False and never_split do not exist in the Rust library.
- It checks the Rust one. It follows the published algorithm and shares no code with the library where texts are split, so the tests
  can compare the two on every Unicode scalar value; docs/tokenizers.md lists what they found.

What it costs: this file, basic.py and differences.py, about 560 lines, and a measurement for every new version of Unicode in Python.
Remove it when transformers 4 is no longer supported, since version 5 has no slow tokenizer either. Truncation, padding and offsets
would stay: base.py does them for both classes.
"""

import re
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Mapping, Sequence
from types import SimpleNamespace
from typing import Any, ClassVar, NamedTuple

from .arguments import Text, check_texts
from .base import MobileBertTokenizerBase
from .basic import Normalized, Normalizer, WordPieces, word_pattern
from .encoding import Tokenized


class Match(NamedTuple):
    """A stretch of a text: a token that was found, or None for the text between two of them."""

    token: str | None
    start: int
    stop: int


class Seeker:
    """Finds added tokens in a text before it is split into words; of those that start at the same place, the longest.

    A file may have ten thousand tokens, so they are not tried one by one. Take the last one that sorts before the rest of the text:
    the longest token that starts here is that one or one it begins with.

    Args:
        entries: {string to look for: its entry}.
    """

    def __init__(self, entries: Mapping[str, "Sought"]) -> None:
        self._entries = entries
        self._first_characters = {token[0] for token in entries}
        self._longest = max(map(len, entries), default=0)
        self._tokens = sorted(entries)
        self._beginnings = _beginnings(self._tokens)

    def __call__(self, text: str, split_special: bool = False) -> Iterator[Match]:
        """Split the text into stretches, in order; with split_special, special tokens are like any text."""
        done = 0
        for start, stop in self._places(text):
            entry = self._entries[text[start:stop]]
            if (split_special and entry.special) or _touches(entry.boundary, text, start, stop):
                continue
            if entry.lstrip:
                start = done + len(text[done:start].rstrip())
            if entry.rstrip:
                stop = SPACES.match(text, stop).end()  # type: ignore[union-attr]  # it always matches
            if done < start:
                yield Match(None, done, start)
            yield Match(entry.token, start, stop)
            done = stop
        if done < len(text):
            yield Match(None, done, len(text))

    def _places(self, text: str) -> Iterator[tuple[int, int]]:
        """Where tokens stand, from left to right, without overlap."""
        done = 0
        for start, char in enumerate(text) if self._tokens else ():
            if start >= done and char in self._first_characters:
                length = self._length_at(text, start)
                if length:
                    done = start + length
                    yield start, done

    def _length_at(self, text: str, start: int) -> int:
        """Return the length of the longest token that starts at a place; 0 if there is none."""
        window = text[start : start + self._longest]
        index = bisect_right(self._tokens, window)
        if not index:
            return 0
        nested = self._beginnings[index - 1]
        count = bisect_left(nested, True, key=lambda token: not window.startswith(token))
        return len(nested[count - 1]) if count else 0


class Sought(NamedTuple):
    """A token to look for, and a pattern of characters that must not touch it."""

    token: str
    boundary: re.Pattern[str] | None = None
    lstrip: bool = False
    rstrip: bool = False
    special: bool = False


WORD_CHARACTER = re.compile(r"\w")
NOT_SPACE = re.compile(r"\S")
SPACES = re.compile(r"\s*")


class MobileBertTokenizer(MobileBertTokenizerBase):
    """The tokenizer in plain Python. It uses Python's Unicode tables, so characters may change with the version of Python.

    The arguments are those of MobileBertTokenizerBase.
    """

    backend: ClassVar[str] = "custom"  # in the words of transformers
    # the token-classification pipeline reads _tokenizer.model.continuing_subword_prefix to tell a piece of a word from a word
    _tokenizer: ClassVar[Any] = SimpleNamespace(model=SimpleNamespace(continuing_subword_prefix="##"))

    def _prepare(self) -> None:
        strip = self.do_lower_case if self.strip_accents is None else self.strip_accents
        self._normalizer = Normalizer(
            lower_case=self.do_lower_case, strip_accents=strip, split_ideographs=self.tokenize_chinese_chars
        )
        self._pieces = WordPieces(
            {token: self._ids[token] for token in self._tokens[: self._base_size]}, self.unk_token or ""
        )
        as_written = {
            word: Sought(word if word in self._ids else self.unk_token or "", NOT_SPACE) for word in self.never_split
        }
        normalized: dict[str, Sought] = {}
        for token in self._added.values():
            boundary = WORD_CHARACTER if token.single_word else None
            entry = Sought(token.content, boundary, token.lstrip, token.rstrip, token.special)
            if token.normalized:
                normalized[self._normalize(token.content).text] = entry
            else:
                as_written[token.content] = entry
        normalized.pop("", None)  # normalization drops the whole token, so no text has it
        self._as_written, self._normalized = Seeker(as_written), Seeker(normalized)
        self._words = word_pattern() if self.do_basic_tokenize else re.compile(r"\S+")

    def words(self, text: str) -> list[str]:
        return self._words.findall(self._normalize(text).text)

    def _segments(
        self, texts: Sequence[Text], is_split_into_words: bool, split_special_tokens: bool
    ) -> list[Tokenized]:
        check_texts(texts, is_split_into_words)
        return [self._segment(text, is_split_into_words, split_special_tokens) for text in texts]

    def _segment(self, text: Text, is_split_into_words: bool, split_special: bool) -> Tokenized:
        segment = Tokenized()
        if not is_split_into_words:
            self._tokenize(str(text), segment, None, split_special)
        else:
            for number, word in enumerate(text):
                self._tokenize(word, segment, number, split_special)
        return segment

    def _tokenize(self, text: str, segment: Tokenized, number: int | None, split_special: bool) -> None:
        """Append the pieces of a text. All belong to word `number`; if it is None, the words are numbered from 0."""
        count = 0
        for token, begin, end in self._as_written(text, split_special):
            if token is not None:
                segment.append(self._ids[token], text[begin:end], (begin, end), count if number is None else number)
                count += 1
                continue
            section, starts, ends = self._normalize(text[begin:end])
            for token, start, stop in self._normalized(section, split_special):
                if token is not None:
                    span = begin + starts[start], begin + ends[stop - 1]
                    segment.append(self._ids[token], section[start:stop], span, count if number is None else number)
                    count += 1
                    continue
                for word in self._words.finditer(section, start, stop):
                    place = word.start()
                    for index, piece, length in self._pieces[word.group()]:
                        span = begin + starts[place], begin + ends[place + length - 1]
                        segment.append(index, piece, span, count if number is None else number)
                        place += length
                    count += 1

    def _normalize(self, text: str) -> Normalized:
        if self.do_basic_tokenize:
            return self._normalizer(text)
        return Normalized(text, range(len(text)), range(1, len(text) + 1))


def _beginnings(tokens: Sequence[str]) -> list[tuple[str, ...]]:
    """For each of the sorted tokens, list the tokens that it begins with, from the shortest to itself."""
    nested: list[str] = []
    found = []
    for token in tokens:
        while nested and not token.startswith(nested[-1]):
            nested.pop()
        nested.append(token)
        found.append(tuple(nested))
    return found


def _touches(boundary: re.Pattern[str] | None, text: str, start: int, stop: int) -> bool:
    """Whether the character right before or after a stretch of the text matches the boundary pattern."""
    if boundary is None:
        return False
    return bool(boundary.match(text[start - 1 : start]) or boundary.match(text[stop : stop + 1]))
