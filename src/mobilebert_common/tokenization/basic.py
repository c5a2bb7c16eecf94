"""From text to words to word pieces in plain Python, each piece with its place in the text.

The steps are those of Google's BERT tokenizer: drop control characters, put spaces around CJK ideographs, lower-case, strip accents,
split at whitespace and punctuation, then match the longest piece of the vocabulary from the left. There are two differences from
Google's code: lower-casing goes character by character, as in the Rust library (a final sigma becomes σ, not ς), and there is no
composition (NFC) before accents are stripped, since decomposing undoes it.
"""

import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from itertools import groupby
from typing import NamedTuple

MAX_WORD = 100  # characters; a longer word becomes the unknown token
CACHED_PIECES = 1 << 17  # of the words remembered between calls; about 140 bytes each
CACHED_CHARACTERS = 1 << 16  # whose replacements are remembered

IDEOGRAPHS = (
    (0x3400, 0x4DBF),
    (0x4E00, 0x9FFF),
    (0xF900, 0xFAFF),
    (0x20000, 0x2A6DF),
    (0x2A700, 0x2B73F),
    (0x2B740, 0x2B81F),
    (0x2B820, 0x2CEAF),
    (0x2F800, 0x2FA1F),
)
ASCII_PUNCTUATION = "".join(map(chr, (*range(33, 48), *range(58, 65), *range(91, 97), *range(123, 127))))
DROPPED = ("Cc", "Cf", "Co")  # control, format and private-use characters; unassigned ones stay, as in Rust
SPACES = {ord(char): " " for char in "\t\n\r"}
LAST_COMPOSED = 0x30000  # no code point from here on has a canonical decomposition or is punctuation


class Normalized(NamedTuple):
    """A normalized text. Its character i comes from characters starts[i] to ends[i] of the original."""

    text: str
    starts: Sequence[int]
    ends: Sequence[int]


class Normalizer:
    """Clean a text and give it the case and the accents of the vocabulary.

    Args:
        lower_case: lower-case every character.
        strip_accents: decompose characters and drop the marks.
        split_ideographs: put spaces around CJK ideographs.
    """

    def __init__(self, *, lower_case: bool, strip_accents: bool, split_ideographs: bool) -> None:
        self.lower_case = lower_case
        self.strip_accents = strip_accents
        self._cleaned = _Replacements(split_ideographs, lower_case=False, strip_accents=False)
        self._finished = _Replacements(split_ideographs and strip_accents, lower_case, strip_accents)

    def __call__(self, text: str) -> Normalized:
        plain = text.translate(SPACES) if text.isascii() else ""
        if plain.isprintable() and len(plain) == len(text):
            return Normalized(plain.lower() if self.lower_case else plain, range(len(text)), range(1, len(text) + 1))
        if not self.strip_accents:
            composed = _compose(_replace(text, self._cleaned))
            return _follow(composed, _replace(composed.text, self._finished))
        result = _replace(text, self._finished)
        return self._strip_in_order(text) if _stray_marks().search(result.text) else result

    def _strip_in_order(self, text: str) -> Normalized:
        """Normalize with marks in canonical order. That changes the result only if a mark that is not an accent (not Mn) moves."""
        cleaned = _replace(text, self._cleaned)
        marks: list[tuple[int, str, bool]] = []  # combining class, character, whether another from the same source precedes it
        ordered: list[tuple[int, str, bool]] = []
        for char in cleaned.text:
            for index, part in enumerate(unicodedata.normalize("NFD", char.lower() if self.lower_case else char)):
                mark = (unicodedata.combining(part), part, index > 0)
                if not mark[0]:
                    ordered += sorted(marks, key=lambda mark: mark[0])
                    ordered.append(mark)
                    marks = []
                else:
                    marks.append(mark)
        ordered += sorted(marks, key=lambda mark: mark[0])
        chars: list[str] = []
        starts: list[int] = []
        ends: list[int] = []
        source = -1
        for _, char, follows in ordered:  # the n-th source character aligns with the n-th that starts a decomposition
            source += not follows
            if unicodedata.category(char) != "Mn":
                chars.append(char)
                starts.append(cleaned.starts[source] if source >= 0 else 0)
                ends.append(cleaned.ends[source] if source >= 0 else 0)
        return Normalized("".join(chars), starts, ends)


class Piece(NamedTuple):
    """A piece of a word, and how many characters of the word it covers."""

    id: int
    token: str
    length: int


class WordPieces(dict[str, tuple[Piece, ...]]):
    """The pieces of each word: greedily the longest in the vocabulary, worked out when the word first comes up.

    Args:
        vocab: {token: id}; a token that continues a word starts with ##.
        unk_token: the piece for a word that cannot be split or is longer than 100 characters.
    """

    def __init__(self, vocab: Mapping[str, int], unk_token: str) -> None:
        super().__init__()
        self.vocab = vocab
        self.unk_token = unk_token
        self._longest = max((len(token) for token in vocab), default=0)
        self._cached = 0  # pieces

    def __missing__(self, word: str) -> tuple[Piece, ...]:
        if len(word) > MAX_WORD:
            return self._unknown(word)
        pieces = self._split(word)
        self._cached += len(pieces)
        if self._cached > CACHED_PIECES:
            self.clear()
            self._cached = len(pieces)
        self[word] = pieces
        return pieces

    def _split(self, word: str) -> tuple[Piece, ...]:
        pieces: list[Piece] = []
        start = 0
        while start < len(word):
            for stop in range(min(len(word), start + self._longest), start, -1):
                token = "##" + word[start:stop] if start else word[start:stop]
                if token in self.vocab:
                    break
            else:
                return self._unknown(word)
            pieces.append(Piece(self.vocab[token], token, stop - start))
            start = stop
        return tuple(pieces)

    def _unknown(self, word: str) -> tuple[Piece, ...]:
        return (Piece(self.vocab[self.unk_token], self.unk_token, len(word)),)


@lru_cache(maxsize=1)
def word_pattern() -> re.Pattern[str]:
    """Match a punctuation character, or a run of characters that are neither punctuation nor whitespace."""
    marks = (chr(code) for code in range(128, LAST_COMPOSED) if unicodedata.category(chr(code))[0] == "P")
    punctuation = _character_class((*ASCII_PUNCTUATION, *marks))
    return re.compile(rf"[{punctuation}]|[^\s{punctuation}]+")


class _Replacements(dict[str, str]):
    """What each character becomes, worked out when it first comes up."""

    def __init__(self, split_ideographs: bool, lower_case: bool, strip_accents: bool) -> None:
        super().__init__()
        self.split_ideographs = split_ideographs
        self.lower_case = lower_case
        self.strip_accents = strip_accents

    def __missing__(self, char: str) -> str:
        if len(self) >= CACHED_CHARACTERS:
            self.clear()
        self[char] = result = self._replacement(char)
        return result

    def _replacement(self, char: str) -> str:
        category = unicodedata.category(char)
        if char in "\t\n\r" or category == "Zs":
            return " "
        if char == "\N{REPLACEMENT CHARACTER}" or category in DROPPED:
            return ""
        result = char.lower() if self.lower_case else char
        if self.strip_accents:
            result = "".join(c for c in unicodedata.normalize("NFD", result) if unicodedata.category(c) != "Mn")
        if self.split_ideographs and any(first <= ord(char) <= last for first, last in IDEOGRAPHS):
            return f" {result} "
        return result


def _replace(text: str, replacements: _Replacements) -> Normalized:
    parts = [replacements[char] for char in text]
    starts = [index for index, part in enumerate(parts) for _ in part]
    return Normalized("".join(parts), starts, [start + 1 for start in starts])


def _compose(source: Normalized) -> Normalized:
    """Apply NFC; a composed character comes from all the characters that it replaces."""
    if unicodedata.is_normalized("NFC", source.text):
        return source
    text = _in_order(source.text)
    cuts = [
        index
        for index, char in enumerate(text)
        if index == 0 or (not unicodedata.combining(char) and char not in _composing_starters())
    ]
    chars: list[str] = []
    starts: list[int] = []
    ends: list[int] = []
    for start, stop in zip(cuts, [*cuts[1:], len(text)], strict=True):
        group = unicodedata.normalize("NFC", text[start:stop])
        same = len(group) == stop - start  # nothing was composed: each character keeps its place
        for index, char in enumerate(group):
            chars.append(char)
            starts.append(source.starts[start + index if same else start])
            ends.append(source.ends[start + index if same else stop - 1])
    return Normalized("".join(chars), starts, ends)


def _in_order(text: str) -> str:
    """Put every run of marks in canonical order, since NFC takes quadratic time to do so."""
    runs = groupby(text, lambda char: unicodedata.combining(char) > 0)
    return "".join(char for marks, run in runs for char in (sorted(run, key=unicodedata.combining) if marks else run))


def _follow(first: Normalized, second: Normalized) -> Normalized:
    """Chain two steps: the text of the second, with places in the source of the first."""
    starts = [first.starts[start] for start in second.starts]
    return Normalized(second.text, starts, [first.ends[end - 1] for end in second.ends])


@lru_cache(maxsize=1)
def _composing_starters() -> frozenset[str]:
    """Find the characters of combining class 0 that NFC can join to the one before them."""
    decomposed = (unicodedata.normalize("NFD", chr(code)) for code in range(128, LAST_COMPOSED))
    return frozenset(char for text in decomposed for char in text[1:] if not unicodedata.combining(char))


@lru_cache(maxsize=1)
def _stray_marks() -> re.Pattern[str]:
    """Match a character that canonical ordering may move although it is not an accent."""
    chars = map(chr, range(128, LAST_COMPOSED))
    marks = (c for c in chars if unicodedata.combining(c) and unicodedata.category(c) != "Mn")
    return re.compile(f"[{_character_class(marks)}]")


def _character_class(chars: Iterable[str]) -> str:
    """Return what goes between [ and ] to match the characters, which are in ascending order."""
    ranges: list[list[int]] = []
    for code in map(ord, chars):
        if ranges and code == ranges[-1][1] + 1:
            ranges[-1][1] = code
        else:
            ranges.append([code, code])
    return "".join(f"{re.escape(chr(first))}-{re.escape(chr(last))}" for first, last in ranges)
