"""Both tokenizers against each other: on corpora, on every character, on random text, and on text made to be slow."""

import csv
import json
import random
import sys
import time
import unicodedata
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mobilebert_common.tokenization import MobileBertTokenizer, MobileBertTokenizerFast
from mobilebert_common.tokenization.differences import SETTINGS, UNICODE, Found, measure, read_table

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "tokenizers.md"
UPDATE = "python -m mobilebert_common.tokenization.differences docs/tokenizers.md"
CLASSES = [MobileBertTokenizer, MobileBertTokenizerFast]


@pytest.fixture(scope="module")
def documented() -> Found:
    """What docs/tokenizers.md lists for this Python."""
    table = read_table(DOCUMENT.read_text(encoding="utf-8"))
    assert UNICODE in table, (
        f"Python {sys.version.split()[0]} has Unicode {UNICODE}, which is not measured yet: {UPDATE}"
    )
    return table[UNICODE]


def test_the_list_of_differences_is_true(documented: Found) -> None:
    """Over all 1,112,064 scalar values, in every setting; half a minute or more."""
    assert measure() == documented, UPDATE


def texts_of(data: Path, corpus: str) -> list[str]:
    if corpus == "sst2":
        with open(data / "sst2" / "train.tsv", encoding="utf-8") as file:
            return [row["sentence"] for row in csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE)]
    if corpus == "squad":
        articles = json.loads((data / "squad" / "xquad.en.json").read_text(encoding="utf-8"))["data"]
        paragraphs = [paragraph for article in articles for paragraph in article["paragraphs"]]
        questions = [qa["question"] for paragraph in paragraphs for qa in paragraph["qas"]]
        return questions + [paragraph["context"] for paragraph in paragraphs]
    return (data / "unicode" / "blns.txt").read_text(encoding="utf-8").split("\n")


@pytest.mark.parametrize("corpus", ["sst2", "squad", "naughty"])
def test_corpora_are_alike(data: Path, corpus: str) -> None:
    texts = texts_of(data, corpus)
    assert len(texts) > 500
    python, rust = (cls(data / "vocab.txt") for cls in CLASSES)
    assert_alike(python, rust, texts)


@pytest.mark.parametrize("letter", SETTINGS)
def test_every_character_is_alike(data: Path, documented: Found, letter: str) -> None:
    """With the real vocabulary, offsets included; those that Python's tables assign."""
    python, rust = (cls(data / "vocab.txt", **SETTINGS[letter]) for cls in CLASSES)
    assigned = (code for code in range(0x110000) if unicodedata.category(chr(code)) not in ("Cn", "Cs"))
    characters = [chr(code) for code in assigned if letter not in documented.get(code, "")]
    if letter != "u":
        characters = [char for char in characters if unicodedata.is_normalized("NFC", f"a{char}b")]
    chunks = [characters[start : start + 100] for start in range(0, len(characters), 100)]
    assert_alike(python, rust, [" ".join(f"a{char}b {char} ." for char in chunk) for chunk in chunks])


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("letter", SETTINGS)
def test_random_text_is_alike(data: Path, documented: Found, letter: str, seed: int) -> None:
    """A million characters in all: any, those of few scripts, and marks in every order, which normalization moves."""
    python, rust = (cls(data / "vocab.txt", **SETTINGS[letter]) for cls in CLASSES)
    rng = random.Random(seed)
    scalars = [code for code in range(0x30000) if not 0xD800 <= code < 0xE000]
    marks = [code for code in scalars if unicodedata.combining(chr(code))]
    alphabets = [scalars, marks, list(range(0x300)), list(range(0x1E00, 0x2100)), list(range(0xAC00, 0xAD00))]
    alphabets.append([0x41, 0xC5, 0x1D15E, 0x1D165, 0x302E, 0x302F, 0x323, 0x301, 0x9, 0x20, 0x5B])
    kept = [[code for code in alphabet if letter not in documented.get(code, "")] for alphabet in alphabets]
    texts = ["".join(map(chr, rng.choices(rng.choice(kept), k=rng.randint(1, 80)))) for _ in range(3000)]
    if letter != "u":
        texts = [unicodedata.normalize("NFC", text) for text in texts]
    assert_alike(python, rust, texts)
    assert_alike(python, rust, [text.split("a") for text in texts[:500]], is_split_into_words=True)


def assert_alike(python: Any, rust: Any, texts: list[Any], **arguments: Any) -> None:
    one, two = (tokenizer(texts, verbose=False, **arguments) for tokenizer in (python, rust))
    for text, mine, other in zip(texts, one.encodings, two.encodings, strict=True):
        same = mine.ids == other.ids and mine.offsets == other.offsets and mine.word_ids == other.word_ids
        assert same, f"{ascii(text)[:500]}\n{mine.tokens[:50]}\n{other.tokens[:50]}"


SLOW_TEXTS: dict[str, Callable[[int], str]] = {
    "a word": lambda size: "a" * size,
    "words": lambda size: "a " * (size // 2),
    "different words": lambda size: " ".join(hex(number * 7919) for number in range(size // 8)),
    "unknown words": lambda size: ("x" * 99 + " ") * (size // 100),
    "punctuation": lambda size: "!" * size,
    "brackets": lambda size: "[" * size,
    "special tokens": lambda size: "[MASK]" * (size // 6),
    "ideographs": lambda size: "中" * size,
    "accents": lambda size: "a" + "\u0301" * size,
    "marks out of order": lambda size: "a" + "\u302e\u0323" * (size // 2),
    "dropped": lambda size: "\0" * size,
    "spaces": lambda size: " \u3000" * (size // 2),
}


@pytest.mark.parametrize("kind", SLOW_TEXTS)
@pytest.mark.parametrize("cls", CLASSES)
def test_time_is_linear(data: Path, cls: Any, kind: str) -> None:
    """Ten times the text takes about ten times as long; anything quadratic would take a hundred times."""
    def measured(size: int) -> float:
        return seconds(cls(data / "vocab.txt"), SLOW_TEXTS[kind](size))  # a new one each time: they remember words

    small = min(measured(20_000), measured(20_000))
    bound = min(30 * max(small, 0.005), 3)
    assert measured(200_000) < bound or measured(200_000) < bound  # the machine may be busy once


COMPOSED_TEXTS: dict[str, Callable[[int], str]] = {
    "accents": lambda size: "e\u0301" * size,
    "marks out of order": lambda size: "e" + "\u0301\u0323" * size,
    "marks before those they follow": lambda size: "e" + "\u0301" * size + "\u0323" * size,
}


@pytest.mark.parametrize("kind", COMPOSED_TEXTS)
@pytest.mark.parametrize("lower", [True, False])
def test_composing_is_linear(data: Path, lower: bool, kind: str) -> None:
    tokenizer = MobileBertTokenizer(data / "vocab.txt", do_lower_case=lower, strip_accents=False)
    small, large = (min(seconds(tokenizer, COMPOSED_TEXTS[kind](size)) for _ in range(2)) for size in (3000, 30_000))
    assert large < 30 * max(small, 0.005)


def seconds(tokenizer: Any, text: str) -> float:
    start = time.process_time()
    tokenizer(text, verbose=False)
    return time.process_time() - start
