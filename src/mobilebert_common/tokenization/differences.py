"""Measure where MobileBertTokenizer and MobileBertTokenizerFast disagree, over every Unicode scalar value.

`python -m mobilebert_common.tokenization.differences docs/tokenizers.md` writes the result into the table of the document, in the
column for the Unicode version of the Python that runs it.
"""

import sys
import unicodedata
from collections.abc import Iterable, Iterator
from itertools import groupby
from pathlib import Path
from typing import Any

from .base import MobileBertTokenizerBase
from .learning import SPECIAL_TOKENS
from .python import MobileBertTokenizer
from .rust import MobileBertTokenizerFast

# The options that affect characters, each under a letter
SETTINGS: dict[str, dict[str, Any]] = {
    "u": {},
    "a": {"strip_accents": False},
    "c": {"do_lower_case": False},
}
UNICODE = unicodedata.unidata_version.removesuffix(".0")
START, END = "<!-- differences -->", "<!-- end of differences -->"
CHUNK = 1000

Found = dict[int, str]  # {code point: the letters of the settings in which it is treated differently}
Table = dict[str, Found]  # by Unicode version


def measure() -> Found:
    """Find the characters that the two classes treat differently: between letters, as a word, or after an accent.

    Where accents are kept, the texts are composed (NFC) first, since MobileBertTokenizer composes and the Rust library does not.
    """
    found: Found = {}
    for letter, options in SETTINGS.items():
        python = MobileBertTokenizer(vocab=SPECIAL_TOKENS, **options)
        rust = MobileBertTokenizerFast(vocab=SPECIAL_TOKENS, **options)
        for code in _differing(python, rust):
            found[code] = found.get(code, "") + letter
    return dict(sorted(found.items()))


def read_table(document: str) -> Table:
    """Read the differences that a document lists."""
    head, _, *rows = document.split(START)[1].split(END)[0].strip().split("\n")
    versions = [cell.removeprefix("Unicode ") for cell in _cells(head)[2:]]
    table: Table = {version: {} for version in versions}
    for row in rows:
        characters, _, *letters = _cells(row)
        first, _, last = characters.replace("U+", "").partition("–")
        for version, found in zip(versions, letters, strict=True):
            if found:
                table[version] |= {code: found for code in range(int(first, 16), int(last or first, 16) + 1)}
    return table


def write_table(table: Table) -> str:
    """Write the table of a document: one row for each run of characters that are the same in every column."""
    versions = sorted(table, key=lambda version: [int(part) for part in version.split(".")])
    lines = [["characters", "number", *(f"Unicode {version}" for version in versions)], ["---"] * (2 + len(versions))]

    def letters(code: int) -> list[str]:
        return [table[version].get(code, "") for version in versions]

    codes = sorted({code for found in table.values() for code in found})
    for _, run in groupby(enumerate(codes), lambda item: (item[1] - item[0], letters(item[1]))):
        first, *_, last = [*(members := [code for _, code in run]), members[-1]]
        name = f"U+{first:04X}" + (f"–{last:04X}" if last > first else "")
        lines.append([name, str(len(members)), *letters(first)])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _differing(python: MobileBertTokenizer, rust: MobileBertTokenizerFast) -> Iterator[int]:
    scalars = [code for code in range(0x110000) if not 0xD800 <= code < 0xE000]
    for start in range(0, len(scalars), CHUNK):
        codes = scalars[start : start + CHUNK]
        if _differ(python, rust, codes):
            yield from (code for code in codes if _differ(python, rust, [code]))


def _differ(python: MobileBertTokenizer, rust: MobileBertTokenizerFast, codes: Iterable[int]) -> bool:
    chars = [chr(code) for code in codes]
    text = " ".join(f"a{char}b {char}" for char in chars)
    if python.strip_accents is False or not python.do_lower_case:
        text = unicodedata.normalize("NFC", text)
        return python.words(text) != rust.words(text)
    marks = " ".join(f"\u0301{char}" for char in chars if unicodedata.combining(char))
    return python.words(text) != rust.words(text) or _offsets(python, marks) != _offsets(rust, marks)


def _offsets(tokenizer: MobileBertTokenizerBase, text: str) -> list[tuple[int, int]]:
    """Return the offsets of the words, all unknown. A mark that changes places with an accent takes the accent's offset."""
    offsets: list[tuple[int, int]] = tokenizer(text, return_offsets_mapping=True, verbose=False)["offset_mapping"]
    return offsets


def _cells(row: str) -> list[str]:
    return [cell.strip() for cell in row.strip().strip("|").split("|")]


if __name__ == "__main__":
    path = Path(sys.argv[1])
    text = path.read_text(encoding="utf-8")
    updated = write_table({**read_table(text), UNICODE: measure()})
    path.write_text(f"{text.split(START)[0]}{START}\n{updated}\n{END}{text.split(END)[1]}", encoding="utf-8")
