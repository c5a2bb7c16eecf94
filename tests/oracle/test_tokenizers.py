"""Both tokenizers against those of transformers, over every text and every argument at hand.

transformers 4 has a tokenizer in Python ("slow") and one in Rust ("fast"); transformers 5 has the fast one only.
"""

import csv
import json
import random
import shutil
import unicodedata
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import transformers

from mobilebert_common.tokenization import MobileBertTokenizer, MobileBertTokenizerFast
from mobilebert_common.tokenization.differences import SETTINGS, measure

OURS = (MobileBertTokenizer, MobileBertTokenizerFast)
HAS_SLOW = transformers.__version__.startswith("4.")
MATRIX = 4000  # random calls


@pytest.fixture(scope="module")
def vocabulary(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with vocab.txt alone, as transformers wants it."""
    folder = tmp_path_factory.mktemp("vocabulary")
    shutil.copy(data / "vocab.txt", folder)
    return folder


@pytest.fixture(scope="module")
def fast(vocabulary: Path) -> Any:
    return transformers.MobileBertTokenizerFast.from_pretrained(vocabulary, model_max_length=512)


@pytest.fixture(scope="module")
def slow(vocabulary: Path) -> Any:
    return transformers.MobileBertTokenizer.from_pretrained(vocabulary, model_max_length=512)


@pytest.fixture(scope="module", params=OURS, ids=lambda cls: cls.__name__)
def ours(request: pytest.FixtureRequest, vocabulary: Path) -> Any:
    return request.param.from_pretrained(vocabulary)


@pytest.fixture(scope="module")
def texts(data: Path) -> dict[str, list[str]]:
    """Every text of three corpora, by corpus."""
    sst2: list[str] = []
    for name in ("train", "dev"):
        with open(data / "sst2" / f"{name}.tsv", encoding="utf-8") as file:
            sst2 += [row["sentence"] for row in csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE)]
    articles = json.loads((data / "squad" / "xquad.en.json").read_text(encoding="utf-8"))["data"]
    paragraphs = [paragraph for article in articles for paragraph in article["paragraphs"]]
    squad = [qa["question"] for paragraph in paragraphs for qa in paragraph["qas"]]
    squad += [paragraph["context"] for paragraph in paragraphs]
    naughty = (data / "unicode" / "blns.txt").read_text(encoding="utf-8").split("\n")
    return {"sst2": sst2, "squad": squad, "naughty": naughty}


@pytest.mark.parametrize("corpus", ["sst2", "squad", "naughty"])
def test_corpora_equal_fast(ours: Any, fast: Any, texts: dict[str, list[str]], corpus: str) -> None:
    assert len(texts[corpus]) > 500
    for batch in batches(texts[corpus]):
        assert_equal(ours, fast, (batch,), {"return_offsets_mapping": True, "verbose": False})


@pytest.mark.parametrize("corpus", ["sst2", "squad", "naughty"] if HAS_SLOW else [])
def test_corpora_equal_slow(slow: Any, vocabulary: Path, texts: dict[str, list[str]], corpus: str) -> None:
    ours = MobileBertTokenizer.from_pretrained(vocabulary)
    for batch in batches(texts[corpus]):
        assert ours(batch, verbose=False)["input_ids"] == slow(batch, verbose=False)["input_ids"]


@pytest.mark.parametrize("setting", SETTINGS)
def test_every_character_equals_fast(vocabulary: Path, setting: str) -> None:
    options = SETTINGS[setting]
    theirs = transformers.MobileBertTokenizerFast.from_pretrained(vocabulary, **options)
    rust = MobileBertTokenizerFast.from_pretrained(vocabulary, **options)
    python = MobileBertTokenizer.from_pretrained(vocabulary, **options)
    documented = {char for first, last in measure(python, rust) for char in range(first, last + 1)}
    for batch in batches(assigned_characters()):
        marked = [f"a{char}b {char}" for char in batch]
        assert_equal(rust, theirs, (marked,), {"return_offsets_mapping": True})
        same = [text for text, char in zip(marked, batch, strict=True) if ord(char) not in documented]
        if same:
            assert_equal(python, theirs, (same,), {"return_offsets_mapping": True})


@pytest.mark.parametrize("setting", SETTINGS if HAS_SLOW else [])
def test_every_character_equals_slow(vocabulary: Path, setting: str) -> None:
    options = SETTINGS[setting]
    theirs = transformers.MobileBertTokenizer.from_pretrained(vocabulary, **options)
    python = MobileBertTokenizer.from_pretrained(vocabulary, **options)
    for char in assigned_characters():
        assert python.tokenize(f"a{char}b {char}") == theirs.tokenize(f"a{char}b {char}"), f"U+{ord(char):04X}"


def test_calls_equal_fast(ours: Any, fast: Any, texts: dict[str, list[str]]) -> None:
    rng = random.Random(0)
    pool = rng.sample(texts["sst2"], 300) + rng.sample(texts["squad"], 200)
    pool += ["", " ", "a", "?!", "the [MASK] of [SEP] it", "x" * 101, "naïve café", "don't stop ."]
    outcomes = {"equal": 0, "both raise": 0}
    for _ in range(MATRIX):
        sides = {"truncation_side": rng.choice(["right", "left"]), "padding_side": rng.choice(["right", "left"])}
        for tokenizer in (ours, fast):
            for name, value in sides.items():
                setattr(tokenizer, name, value)
        outcomes[assert_equal(ours, fast, *random_call(rng, pool))] += 1
    for tokenizer in (ours, fast):
        tokenizer.truncation_side = tokenizer.padding_side = "right"
    assert outcomes["equal"] > 0.7 * MATRIX
    assert outcomes["both raise"] > 0.01 * MATRIX


def random_call(rng: random.Random, pool: list[str]) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Positional and keyword arguments of a call."""
    count = rng.choice([None, None, 1, 2, 5])
    words = rng.random() < 0.3

    def text() -> Any:
        chosen = rng.choice(pool)
        if rng.random() < 0.6:
            chosen = " ".join(chosen.split()[: rng.randint(0, 12)])
        return chosen.split(" ") if words else chosen

    def argument() -> Any:
        return text() if count is None else [text() for _ in range(count)]

    arguments: dict[str, Any] = {"is_split_into_words": words, "verbose": False}
    choices = {
        "add_special_tokens": [True, True, False],
        "padding": [False, True, "longest", "max_length", "do_not_pad"],
        "truncation": [None, False, True, "longest_first", "only_first", "only_second", "do_not_truncate"],
        "max_length": [None, 2, 3, 4, 5, 8, 13, 16, 24, 64, 512],
        "stride": [0, 0, 1, 2, 5],
        "pad_to_multiple_of": [None, None, 8, 3],
        "padding_side": [None, "left", "right"],
        "return_tensors": [None, None, "np"],
        "return_token_type_ids": [None, True, False],
        "return_attention_mask": [None, True, False],
        "return_overflowing_tokens": [False, True],
        "return_special_tokens_mask": [False, True],
        "return_offsets_mapping": [False, True],
        "return_length": [False, True],
    }
    arguments |= {name: rng.choice(values) for name, values in choices.items() if rng.random() < 0.6}
    return ((argument(), argument()) if rng.random() < 0.5 else (argument(),)), arguments


def assert_equal(ours: Any, theirs: Any, texts: tuple[Any, ...], arguments: dict[str, Any]) -> str:
    """Make the same call on both and compare everything that comes back."""
    label = f"{texts!r:.300} {arguments}"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            expected = theirs(*texts, **arguments)
        except BaseException as error:  # the library's panic is no Exception
            if isinstance(error, KeyboardInterrupt):
                raise
            with pytest.raises((TypeError, ValueError)):
                ours(*texts, **arguments)
            return "both raise"
        result = ours(*texts, **arguments)
    assert set(result) == set(expected), label
    for name, value in expected.items():
        if isinstance(value, np.ndarray):
            assert result[name].dtype == value.dtype or not value.size, label
            np.testing.assert_array_equal(result[name], value, err_msg=label)
        else:
            assert result[name] == value, f"{name} of {label}"
    assert len(result.encodings) == len(expected.encodings), label
    for row, (mine, other) in enumerate(zip(result.encodings, expected.encodings, strict=True)):
        for name in ("ids", "tokens", "offsets", "word_ids", "sequence_ids", "type_ids", "attention_mask", "special_tokens_mask"):
            assert getattr(mine, name) == getattr(other, name), f"{name} of row {row} of {label}"
    compare_ways_back(result, expected, label)
    return "equal"


def compare_ways_back(result: Any, expected: Any, label: str) -> None:
    """Compare the methods that lead from tokens to words and characters and back, on the first row."""
    if not expected.encodings or not len(expected.encodings[0].ids):
        return
    assert result.n_sequences == expected.n_sequences, label
    assert result.word_ids() == expected.word_ids() and result.sequence_ids() == expected.sequence_ids(), label
    for token in range(0, len(expected.encodings[0].ids), 5):
        for name in ("token_to_chars", "token_to_word", "token_to_sequence"):
            assert getattr(result, name)(0, token) == getattr(expected, name)(0, token), f"{name}({token}) of {label}"
    for sequence in range(expected.n_sequences):
        for place in (0, 1, 3, 7, 40):
            for name in ("char_to_token", "char_to_word", "word_to_tokens"):
                mine = getattr(result, name)(0, place, sequence_index=sequence)
                assert mine == getattr(expected, name)(0, place, sequence_index=sequence), f"{name}({place}) of {label}"
            if expected.word_to_tokens(0, place, sequence_index=sequence) is not None:
                mine = result.word_to_chars(0, place, sequence_index=sequence)
                assert mine == expected.word_to_chars(0, place, sequence_index=sequence), label


def assigned_characters() -> list[str]:
    characters = (chr(code) for code in range(0x110000) if not 0xD800 <= code < 0xE000)
    return [char for char in characters if unicodedata.category(char) != "Cn"]


def batches(items: list[str], size: int = 5000) -> Iterator[list[str]]:
    return (items[start : start + size] for start in range(0, len(items), size))
