"""Truncation, overflow, padding, and the way back to the text: every small case against the library tokenizers, which does its own."""

import itertools
from pathlib import Path
from typing import Any

import pytest
from tokenizers import Tokenizer

from mobilebert_common.tokenization import MobileBertTokenizer, MobileBertTokenizerFast

VOCAB = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "b", "c", "d", "e", "##x"]
FIRST, SECOND = ["a", "bx", "c", "dx", "e"], ["ex", "d", "c", "bx", "a"]  # words, of one token or two
TEXTS = [" ".join(FIRST[:size]) for size in range(5)]
PAIRS = [None, *(" ".join(SECOND[:size]) for size in range(5))]
FIELDS = ("ids", "tokens", "type_ids", "attention_mask", "special_tokens_mask", "offsets", "word_ids", "sequence_ids")


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    """The library's own tokenizer, from the file of ours."""
    folder: Path = tmp_path_factory.mktemp("library")
    MobileBertTokenizerFast(vocab=VOCAB).save_pretrained(folder)
    return Tokenizer.from_file(str(folder / "tokenizer.json"))


@pytest.fixture(params=[MobileBertTokenizer, MobileBertTokenizerFast], ids=["python", "rust"])
def tokenizer(request: pytest.FixtureRequest) -> Any:
    return request.param(vocab=VOCAB)


def facts(row: Any) -> dict[str, list[Any]]:
    """What an encoding says of each token, ours or the library's."""
    return {name: [*getattr(row, name)] for name in FIELDS}


def encoded(library: Tokenizer, text: str, pair: str | None) -> Any:
    return library.encode(text) if pair is None else library.encode(text, pair)


@pytest.mark.parametrize("side", ["right", "left"])
@pytest.mark.parametrize("strategy", ["longest_first", "only_first", "only_second"])
def test_truncation(library: Tokenizer, tokenizer: Any, strategy: str, side: str) -> None:
    """One refuses exactly what the other does; for less room than the special tokens take see docs/tokenizers.md."""
    library.no_padding()
    tokenizer.truncation_side, refused, cut = side, 0, 0
    for text, pair, stride in itertools.product(TEXTS, PAIRS, range(3)):
        for length in range(2 if pair is None else 3, 10):
            arguments = {"truncation": strategy, "max_length": length, "stride": stride, "return_overflowing_tokens": True}
            try:
                library.enable_truncation(length, stride=stride, strategy=strategy, direction=side)
                whole = encoded(library, text, pair)
            except BaseException:  # a panic of the library is none of Exception
                refused += 1
                with pytest.raises(ValueError, match=r"stride|truncation|only_second"):
                    tokenizer([text], None if pair is None else [pair], **arguments)
                continue
            expected = [facts(row) for row in (whole, *whole.overflowing)]
            found = tokenizer([text], None if pair is None else [pair], **arguments).encodings
            assert [facts(row) for row in found] == expected, (text, pair, arguments)
            cut += len(found) > 1
    assert refused > 10 and cut > 50


@pytest.mark.parametrize("side", ["right", "left"])
def test_padding(library: Tokenizer, tokenizer: Any, side: str) -> None:
    library.no_truncation()
    for pair, multiple, length in itertools.product((False, True), (None, 1, 4), (None, 6, 8)):
        library.enable_padding(direction=side, pad_id=0, pad_token="[PAD]", length=length, pad_to_multiple_of=multiple)
        expected = library.encode_batch([*zip(TEXTS, TEXTS[::-1], strict=True)] if pair else TEXTS)
        found = tokenizer(
            TEXTS,
            TEXTS[::-1] if pair else None,
            truncation=False,
            padding="longest" if length is None else "max_length",
            max_length=length,
            pad_to_multiple_of=multiple,
            padding_side=side,
            verbose=False,
        )
        assert [facts(row) for row in found.encodings] == [facts(row) for row in expected]
        assert found["input_ids"] == [row.ids for row in expected]


@pytest.mark.parametrize("side", ["right", "left"])
def test_the_way_back_to_the_text(library: Tokenizer, tokenizer: Any, side: str) -> None:
    library.enable_padding(direction=side, pad_id=0, pad_token="[PAD]", length=14)
    library.enable_truncation(12, stride=1)
    for text, pair in itertools.product(TEXTS, PAIRS):
        whole = encoded(library, text, pair)
        arguments = {"truncation": True, "max_length": 12, "stride": 1, "return_overflowing_tokens": True, "verbose": False}
        batch = tokenizer([text], None if pair is None else [pair], **arguments)
        rows = [row.padded(14, side) for row in batch.encodings]
        for ours, theirs in zip(rows, (whole, *whole.overflowing), strict=True):
            assert facts(ours) == facts(theirs) and len(ours) == len(theirs) and ours.n_sequences == theirs.n_sequences
            for token in range(14):
                assert ours.token_to_sequence(token) == theirs.token_to_sequence(token)
                assert ours.token_to_word(token) == theirs.word_ids[token]
                is_text = theirs.sequence_ids[token] is not None
                assert ours.token_to_chars(token) == (theirs.offsets[token] if is_text else None)
            for sequence, number in itertools.product(range(theirs.n_sequences), range(14)):
                for name in ("char_to_token", "char_to_word", "word_to_tokens", "word_to_chars"):
                    assert getattr(ours, name)(number, sequence) == getattr(theirs, name)(number, sequence), (name, number, sequence)
