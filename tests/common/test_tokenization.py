"""Both tokenizers with a vocabulary of a few words, where every token can be told by hand."""

import copy
import os
import pickle
import random
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from tokenizers import AddedToken

from mobilebert_common.tokenization import (
    BatchEncoding,
    MobileBertTokenizer,
    MobileBertTokenizerFast,
    basic,
    learn_vocabulary,
)
from mobilebert_common.tokenization.python import WORD_CHARACTER, Seeker, Sought

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
WORDS = ["want", "##want", "##ed", "wa", "un", "runn", "##ing", ",", "low", "lowest", "the", "a", "b", "c", "##d", "!"]
VOCAB = SPECIAL + WORDS
PAD, UNK, CLS, SEP, MASK = range(5)
CLASSES = [MobileBertTokenizer, MobileBertTokenizerFast]


@pytest.fixture(params=CLASSES, ids=["python", "rust"])
def make(request: pytest.FixtureRequest) -> Any:
    """Makes a tokenizer of either class, with the small vocabulary."""
    return lambda **options: request.param(vocab=VOCAB, **options)


@pytest.fixture
def tokenizer(make: Any) -> Any:
    return make()


def ids(*tokens: str) -> list[int]:
    return [VOCAB.index(token) for token in tokens]


# Splitting


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("", []),
        (" \t\n\r ", []),
        ("UNwanted, running", ["un", "##want", "##ed", ",", "runn", "##ing"]),  # Google's example
        ("unwantedX running", ["[UNK]", "runn", "##ing"]),
        ("lowest low", ["lowest", "low"]),  # the longest piece wins
        ("LÖW thé", ["low", "the"]),
        ("lo\u0308w", ["low"]),  # a mark of its own
        ("wan\0ted\ufffd", ["want", "##ed"]),
        ("wan\u00adt\u200be\ue000d", ["want", "##ed"]),  # format and private-use characters
        ("a\u0378b", ["[UNK]"]),  # unassigned ones stay
        ("a\rb\tc\na", ["a", "b", "c", "a"]),
        ("a\rb\tc\ná", ["a", "b", "c", "a"]),  # not all of it ASCII
        ("a\u2028b\u00a0c\u3000a", ["a", "b", "c", "a"]),  # kinds of space
        ("a中b", ["a", "[UNK]", "b"]),
        ("a!!b", ["a", "!", "!", "b"]),
        ("x" * 100, ["[UNK]"]),
        ("a[MASK]b [mask]", ["a", "[MASK]", "b", "[UNK]", "[UNK]", "[UNK]"]),
        ("a" + "d" * 99, ["a"] + ["##d"] * 99),
        ("a" + "d" * 100, ["[UNK]"]),
    ],
)
def test_tokens(tokenizer: Any, text: str, tokens: list[str]) -> None:
    assert tokenizer.tokenize(text) == tokens


@pytest.mark.parametrize(
    ("options", "text", "tokens"),
    [
        ({"do_lower_case": False}, "Low low", ["[UNK]", "low"]),
        ({"do_lower_case": False}, "löw", ["[UNK]"]),
        ({"do_lower_case": False, "strip_accents": True}, "löw Löw", ["low", "[UNK]"]),
        ({"strip_accents": False}, "LOW löw", ["low", "[UNK]"]),
        ({"tokenize_chinese_chars": False}, "a中b", ["[UNK]"]),
    ],
)
def test_options(make: Any, options: dict[str, Any], text: str, tokens: list[str]) -> None:
    assert make(**options).tokenize(text) == tokens


def test_ideographs_the_library_does_not_know() -> None:
    python, rust = (cls(vocab=VOCAB).tokenize("a\U0002b820b \U0002cea1b") for cls in CLASSES)
    assert python == ["a", "[UNK]", "b", "[UNK]", "b"]
    assert rust == ["[UNK]", "[UNK]", "b"]


def test_marks_that_change_places(tokenizer: Any) -> None:
    """U+302E (class 224) goes behind U+0323 (220), which is dropped, and keeps the place of the second mark."""
    assert tokenizer("\u302e\u0323", return_offsets_mapping=True)["offset_mapping"][1] == (1, 2)
    assert tokenizer("Å\u302e\u0323b", return_offsets_mapping=True)["offset_mapping"][1] == (0, 4)


def test_final_sigma_is_a_sigma() -> None:
    for cls in CLASSES:
        assert cls(vocab=[*VOCAB, "ασ"]).tokenize("ΑΣ") == ["ασ"]


def test_offsets_are_those_of_the_text(tokenizer: Any) -> None:
    text = "  ÜN\u0308wanted\0, a中 [MASK]!"
    encoding = tokenizer(text, return_offsets_mapping=True, add_special_tokens=False)
    pieces = [text[start:stop] for start, stop in encoding["offset_mapping"]]
    assert pieces == ["ÜN", "want", "ed", ",", "a", "中", "[MASK]", "!"]
    assert encoding.word_ids() == [0, 0, 0, 1, 2, 3, 4, 5]


def test_composed_text_keeps_its_offsets() -> None:
    tokenizer = MobileBertTokenizer(vocab=[*VOCAB, "é", "##é"], do_lower_case=False)
    encoding = tokenizer("ae\u0301 e\u0301\u0323", return_offsets_mapping=True, add_special_tokens=False)
    assert encoding.tokens() == ["a", "##é", "[UNK]"]
    assert encoding["offset_mapping"] == [(0, 1), (1, 3), (4, 7)]


def test_never_split() -> None:
    tokenizer = MobileBertTokenizer(vocab=[*VOCAB, "Un-wanted"], never_split=["Un-wanted", "a,b"])
    assert tokenizer.tokenize("Un-wanted un-Un-wanted") == ["Un-wanted", "un", "[UNK]", "un", "[UNK]", "want", "##ed"]
    assert tokenizer("a,b")["input_ids"] == [CLS, UNK, SEP]
    assert tokenizer.tokenize("un") == ["un"]


def test_without_basic_tokenization() -> None:
    tokenizer = MobileBertTokenizer(vocab=VOCAB, do_basic_tokenize=False)
    assert tokenizer.tokenize("low LOW low, a") == ["low", "[UNK]", "[UNK]", "a"]


@pytest.mark.parametrize("options", [{"never_split": ["a"]}, {"do_basic_tokenize": False}])
def test_rust_refuses_what_it_cannot_do(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="use MobileBertTokenizer"):
        MobileBertTokenizerFast(vocab=VOCAB, **options)


# Calling


def test_single_text(tokenizer: Any) -> None:
    result = tokenizer("the low")
    assert isinstance(result, BatchEncoding)
    assert dict(result) == {
        "input_ids": [CLS, *ids("the", "low"), SEP],
        "token_type_ids": [0, 0, 0, 0],
        "attention_mask": [1, 1, 1, 1],
    }
    assert result.input_ids is result["input_ids"]
    assert {**result} == dict(result.items())
    assert not hasattr(result, "nothing")


def test_pair_of_texts(tokenizer: Any) -> None:
    result = tokenizer("a b", "c", return_special_tokens_mask=True, return_length=True, return_offsets_mapping=True)
    assert result["input_ids"] == [CLS, *ids("a", "b"), SEP, *ids("c"), SEP]
    assert result["token_type_ids"] == [0, 0, 0, 0, 1, 1]
    assert result["special_tokens_mask"] == [1, 0, 0, 1, 0, 1]
    assert result["offset_mapping"] == [(0, 0), (0, 1), (2, 3), (0, 0), (0, 1), (0, 0)]
    assert result["length"] == [6]
    assert result.sequence_ids() == [None, 0, 0, None, 1, None]
    assert result.word_ids() == [None, 0, 1, None, 0, None]
    assert result.n_sequences == 2


def test_without_special_tokens(tokenizer: Any) -> None:
    result = tokenizer("a b", "c", add_special_tokens=False)
    assert result["input_ids"] == ids("a", "b", "c")
    assert result["token_type_ids"] == [0, 0, 1]


def test_an_empty_second_text_counts_only_in_a_batch(tokenizer: Any) -> None:
    assert tokenizer("a", "")["input_ids"] == [CLS, *ids("a"), SEP]
    assert tokenizer(["a"], [""])["input_ids"] == [[CLS, *ids("a"), SEP, SEP]]


def test_batch_with_padding(tokenizer: Any) -> None:
    result = tokenizer(["a b c", "a"], padding=True)
    assert result["input_ids"] == [[CLS, *ids("a", "b", "c"), SEP], [CLS, *ids("a"), SEP, PAD, PAD]]
    assert result["attention_mask"] == [[1] * 5, [1, 1, 1, 0, 0]]
    left = tokenizer(["a b c", "a"], padding=True, padding_side="left", return_special_tokens_mask=True)
    assert left["input_ids"][1] == [PAD, PAD, CLS, *ids("a"), SEP]
    assert left["special_tokens_mask"][1] == [1, 1, 1, 0, 1]
    assert left.word_ids(1) == [None, None, None, 0, None]
    assert left.char_to_token(1, 0) == 3


@pytest.mark.parametrize(
    ("arguments", "length"),
    [
        ({"padding": "max_length", "max_length": 7}, 7),
        ({"padding": "max_length"}, 12),
        ({"padding": True, "pad_to_multiple_of": 4}, 4),
        ({"padding": "max_length", "max_length": 5, "pad_to_multiple_of": 4}, 8),
        ({"padding": "do_not_pad"}, 3),
    ],
)
def test_padded_length(make: Any, arguments: dict[str, Any], length: int) -> None:
    assert len(make(model_max_length=12)("a", **arguments)["input_ids"]) == length


@pytest.mark.parametrize(
    ("truncation", "first", "second"),
    [
        ("longest_first", "a b c", "a b"),  # five are left: the longer one keeps one more
        ("only_first", "a b", "a b c"),
        ("only_second", "a b c a", "a"),
    ],
)
def test_truncation_of_a_pair(tokenizer: Any, truncation: str, first: str, second: str) -> None:
    result = tokenizer("a b c a", "a b c", truncation=truncation, max_length=8)
    assert result["input_ids"] == [CLS, *ids(*first.split()), SEP, *ids(*second.split()), SEP]


def test_longest_first_cuts_the_longer_one(tokenizer: Any) -> None:
    rows = tokenizer(["a b c a b c", "a"], ["a", "a b c a b c"], truncation=True, max_length=7)
    assert [row.sequence_ids for row in rows.encodings] == [
        [None, 0, 0, 0, None, 1, None],
        [None, 0, None, 1, 1, 1, None],
    ]
    [tie] = tokenizer("a b c", "a b c", truncation=True, max_length=6).encodings
    assert tie.sequence_ids == [None, 0, None, 1, 1, None]


def test_overflow_with_stride(tokenizer: Any) -> None:
    result = tokenizer(
        "a b c a b",
        truncation=True,
        max_length=5,
        stride=1,
        return_overflowing_tokens=True,
        return_offsets_mapping=True,
    )
    assert [row[1:-1] for row in result["input_ids"]] == [ids("a", "b", "c"), ids("c", "a", "b")]
    assert result["overflow_to_sample_mapping"] == [0, 0]
    assert result["offset_mapping"][1] == [(0, 0), (4, 5), (6, 7), (8, 9), (0, 0)]
    assert result.token_to_chars(1, 1) == (4, 5)
    assert result.encodings[1].n_sequences == 1


def test_overflow_of_a_pair_has_every_combination(tokenizer: Any) -> None:
    result = tokenizer("a b c", "low the", truncation=True, max_length=5, return_overflowing_tokens=True)
    assert [" ".join(row.tokens[1:-1]) for row in result.encodings] == [
        "a [SEP] low",
        "b [SEP] low",
        "b [SEP] the",
        "c [SEP] low",
        "c [SEP] the",
        "a [SEP] the",
    ]


def test_truncation_from_the_left(make: Any) -> None:
    result = make(truncation_side="left")("a b c", truncation=True, max_length=4, return_overflowing_tokens=True)
    assert [row.tokens for row in result.encodings] == [["[CLS]", "b", "c", "[SEP]"], ["[CLS]", "a", "[SEP]"]]


def test_max_length_alone_truncates(tokenizer: Any) -> None:
    assert len(tokenizer("a b c", max_length=4)["input_ids"]) == 4
    with pytest.warns(UserWarning, match="max_length is ignored"):
        assert len(tokenizer("a b c", max_length=4, padding=True)["input_ids"]) == 5


def test_words_given(tokenizer: Any) -> None:
    result = tokenizer(["unwanted", "low!", ""], is_split_into_words=True, return_offsets_mapping=True)
    assert result.tokens() == ["[CLS]", "un", "##want", "##ed", "low", "!", "[SEP]"]
    assert result.word_ids() == [None, 0, 0, 0, 1, 1, None]
    assert result["offset_mapping"] == [(0, 0), (0, 2), (2, 6), (6, 8), (0, 3), (3, 4), (0, 0)]
    batch = tokenizer([["a", "b"], ["c"]], [["a"], ["b", "c"]], is_split_into_words=True)
    assert batch.word_ids(1) == [None, 0, None, 0, 1, None]


def test_ways_between_words_tokens_and_characters(tokenizer: Any) -> None:
    result = tokenizer(["unwanted low", "a b"], ["the", "c low"])
    assert result.word_to_tokens(0, 0) == (1, 4)
    assert result.word_to_tokens(0, 0, sequence_index=1) == (6, 7)
    assert result.word_to_chars(0, 1) == (9, 12)
    assert result.token_to_word(0, 4) == 1
    assert result.token_to_sequence(0, 6) == 1
    assert result.token_to_chars(0, 2) == (2, 6)
    assert result.token_to_chars(0, 0) is None
    assert result.char_to_token(0, 9) == 4
    assert result.char_to_token(0, 8) is None
    assert result.char_to_word(1, 2, sequence_index=1) == 1
    assert result.word_to_tokens(0, 9) is None and result.word_to_chars(0, 9) is None


def test_rows_by_index(tokenizer: Any) -> None:
    result = tokenizer(["a", "b c"])
    assert result[1].tokens == ["[CLS]", "b", "c", "[SEP]"]
    assert [row.tokens[1] for row in result[0:2]] == ["a", "b"]
    with pytest.raises(ValueError, match="do not come from a tokenizer call"):
        BatchEncoding({"input_ids": [1]}).word_ids()


def test_numpy_tensors(tokenizer: Any) -> None:
    result = tokenizer(["a b", "c"], padding=True, return_tensors="np", return_offsets_mapping=True)
    assert {name: (value.shape, value.dtype) for name, value in result.items()} == {
        "input_ids": ((2, 4), np.int64),
        "token_type_ids": ((2, 4), np.int64),
        "attention_mask": ((2, 4), np.int64),
        "offset_mapping": ((2, 4, 2), np.int64),
    }
    assert tokenizer("a", return_tensors="np")["input_ids"].shape == (1, 3)


def test_framework_tensors_go_through_the_twin(tokenizer: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    class Twin:
        @staticmethod
        def tensor(array: Any) -> Any:
            return ("tensor", array.tolist())

    asked: list[str] = []
    monkeypatch.setattr("mobilebert_common.frameworks.twin", lambda name: asked.append(name) or Twin)
    assert tokenizer("a", return_tensors="pt")["input_ids"] == ("tensor", [[CLS, *ids("a"), SEP]])
    assert tokenizer("a", return_tensors="tf")["attention_mask"] == ("tensor", [[1, 1, 1]])
    assert asked == ["pt", "tf"]


def test_to_moves_what_can_be_moved() -> None:
    class Tensor:
        def to(self, device: Any, non_blocking: bool) -> Any:
            return (device, non_blocking)

    batch = BatchEncoding({"input_ids": Tensor(), "names": ["a"]})
    assert batch.to("cuda:0") is batch
    assert batch.data == {"input_ids": ("cuda:0", False), "names": ["a"]}


def test_left_out_and_asked_for(tokenizer: Any) -> None:
    assert set(tokenizer("a", return_token_type_ids=False, return_attention_mask=False)) == {"input_ids"}
    assert tokenizer([])["input_ids"] == []
    assert tokenizer.encode("a b", add_special_tokens=False) == ids("a", "b")


def test_a_long_text_warns_once(make: Any) -> None:
    tokenizer = make(model_max_length=4)
    with pytest.warns(UserWarning, match=r"specified maximum sequence length for this model \(5 > 4\)"):
        tokenizer("a b c")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        tokenizer("a b c")
        make(model_max_length=4)("a b c", truncation=True)
        make(model_max_length=4)("a b c", max_length=9)
        make(model_max_length=4)("a b c", verbose=False)


# Padding what is tokenized


@pytest.mark.parametrize("convert", [list, np.array])
def test_pad_a_list_of_samples(tokenizer: Any, convert: Any) -> None:
    samples = [{"input_ids": convert(row), "token_type_ids": convert([0] * len(row))} for row in ([2, 7, 3], [2, 3])]
    batch = tokenizer.pad(samples, return_tensors="np")
    assert batch["input_ids"].tolist() == [[2, 7, 3], [2, 3, PAD]]
    assert batch["attention_mask"].tolist() == [[1, 1, 1], [1, 1, 0]]
    assert batch["token_type_ids"].tolist() == [[0, 0, 0], [0, 0, 0]]


def test_pad_as_collators_do(tokenizer: Any) -> None:
    samples = [tokenizer(text, return_special_tokens_mask=True) for text in ("a b", "a")]
    batch = tokenizer.pad(samples, padding="max_length", max_length=6, pad_to_multiple_of=4)
    assert [len(row) for row in batch["input_ids"]] == [8, 8]
    assert batch["special_tokens_mask"][1] == [1, 0, 1, 1, 1, 1, 1, 1]
    assert tokenizer.pad({"input_ids": [2, 3]}, padding="max_length", max_length=3)["input_ids"] == [2, 3, PAD]
    assert tokenizer.pad({"input_ids": [[2, 3], [2]]}, padding_side="left")["input_ids"] == [[2, 3], [PAD, 2]]
    assert tokenizer.pad([])["input_ids"] == []


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ({"attention_mask": [[1]]}, "needs input_ids"),
        ([{"input_ids": [1]}, {"input_ids": [1], "labels": 0}], "different keys"),
        ({"input_ids": [[1], [2]], "attention_mask": [[1]]}, "not as many rows"),
    ],
)
def test_pad_refuses(tokenizer: Any, inputs: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        tokenizer.pad(inputs)


# Ids and tokens


def test_decoding(tokenizer: Any) -> None:
    row = tokenizer("unwanted low, a!")["input_ids"]
    assert tokenizer.decode(row) == "[CLS] unwanted low, a! [SEP]"
    assert tokenizer.decode(np.array(row), skip_special_tokens=True) == "unwanted low, a!"
    assert tokenizer.batch_decode(np.array([row, row]), skip_special_tokens=True) == ["unwanted low, a!"] * 2
    assert tokenizer.decode(VOCAB.index("##ing")) == "##ing"
    assert tokenizer.decode([]) == ""
    assert tokenizer.convert_tokens_to_string(["a", "#", "#b", "##c"]) == "a # #bc"


def test_clean_up() -> None:
    for cls in CLASSES:
        tokenizer = cls(vocab=[*VOCAB, "'", "do", "n", "##'t", "t", "it", "s"])
        row = tokenizer("it ' s a", add_special_tokens=False)["input_ids"]
        assert tokenizer.decode(row) == "it ' s a"
        assert tokenizer.decode(row, clean_up_tokenization_spaces=True) == "it's a"
        assert cls(vocab=tokenizer.get_vocab(), clean_up_tokenization_spaces=True).decode(row) == "it's a"


def test_conversions(tokenizer: Any) -> None:
    assert tokenizer.convert_tokens_to_ids("low") == VOCAB.index("low")
    assert tokenizer.convert_tokens_to_ids(["low", "nothing"]) == [VOCAB.index("low"), UNK]
    assert tokenizer.convert_ids_to_tokens(CLS) == "[CLS]"
    assert tokenizer.convert_ids_to_tokens([CLS, 5], skip_special_tokens=True) == ["want"]
    assert tokenizer.convert_ids_to_tokens(np.array([5])) == ["want"]
    for wrong in ([len(VOCAB)], [-1]):
        with pytest.raises(ValueError, match="no token with the id"):
            tokenizer.decode(wrong)
    with pytest.raises(TypeError, match="whole number"):
        tokenizer.decode([[[1]]])
    with pytest.raises(TypeError, match="whole number"):
        tokenizer.decode([1, [1]])


def test_special_tokens(tokenizer: Any) -> None:
    assert tokenizer.all_special_ids == [UNK, SEP, PAD, CLS, MASK]
    assert all(token.special and not token.normalized for token in tokenizer.added_tokens_decoder.values())
    assert (tokenizer.mask_token, tokenizer.mask_token_id) == ("[MASK]", MASK)
    assert tokenizer.build_inputs_with_special_tokens([7]) == [CLS, 7, SEP]
    assert tokenizer.build_inputs_with_special_tokens([7], [8]) == [CLS, 7, SEP, 8, SEP]
    assert tokenizer.create_token_type_ids_from_sequences([7], [8]) == [0, 0, 0, 1, 1]
    assert tokenizer.get_special_tokens_mask([7], [8]) == [1, 0, 1, 0, 1]
    assert tokenizer.get_special_tokens_mask([CLS, 7, SEP], already_has_special_tokens=True) == [1, 0, 1]
    assert tokenizer.num_special_tokens_to_add(pair=True) == 3
    assert tokenizer.vocab_size == len(tokenizer) == len(VOCAB)


def test_other_special_tokens(make: Any) -> None:
    tokenizer = make(cls_token="a", sep_token="b", pad_token="c")
    assert tokenizer(["low", ""], padding=True)["input_ids"] == [ids("a", "low", "b"), ids("a", "b", "c")]
    tokenizer.sep_token = "the"
    assert tokenizer("low")["input_ids"] == ids("a", "low", "the")
    with pytest.raises(ValueError, match="not in the vocabulary"):
        tokenizer.mask_token = "<mask>"


def test_a_token_with_a_role_becomes_special(make: Any) -> None:
    tokenizer = make(added_tokens_decoder={CLS: AddedToken("[CLS]", lstrip=True, normalized=False)})
    assert tokenizer.added_tokens_decoder[CLS].special and tokenizer.added_tokens_decoder[CLS].lstrip
    assert tokenizer.decode([CLS, SEP], skip_special_tokens=True) == ""


def test_added_tokens(tokenizer: Any) -> None:
    assert tokenizer.add_tokens(["New York", "low", AddedToken("ing", single_word=True)]) == 2
    assert len(tokenizer) == len(VOCAB) + 2 and tokenizer.vocab_size == len(VOCAB)
    result = tokenizer("a new york, LOWLOW ing running", add_special_tokens=False, return_offsets_mapping=True)
    expected = ["a", "New York", ",", "low", "low", "ing", "runn", "##ing"]
    assert tokenizer.convert_ids_to_tokens(result["input_ids"]) == expected
    assert result["offset_mapping"][1] == (2, 10)
    assert result.word_ids() == [0, 1, 2, 3, 4, 5, 6, 6]


def test_the_longest_added_token_wins(tokenizer: Any) -> None:
    tokenizer.add_tokens(["new", "new york", "york"])
    assert tokenizer.tokenize("new york new") == ["new york", "new"]


def test_added_special_tokens(tokenizer: Any) -> None:
    assert tokenizer.add_special_tokens({"mask_token": "<m>", "additional_special_tokens": ["<x>", "[SEP]"]}) == 2
    assert tokenizer.mask_token_id == len(VOCAB)
    assert tokenizer.additional_special_tokens == ["<x>", "[SEP]"]
    row = tokenizer("a<x><X>", add_special_tokens=False)["input_ids"]
    assert row == [VOCAB.index("a"), len(VOCAB) + 1, UNK, UNK, UNK]
    assert tokenizer.decode(row, skip_special_tokens=True) == "a"
    with pytest.raises(ValueError, match="head_token: not one of"):
        tokenizer.add_special_tokens({"head_token": "<s>"})


def test_strips_around_added_tokens(tokenizer: Any) -> None:
    tokenizer.add_tokens([AddedToken("<x>", lstrip=True, rstrip=True, normalized=False)])
    offsets = tokenizer("a  <x> <x>  b", add_special_tokens=False, return_offsets_mapping=True)["offset_mapping"]
    assert offsets == [(0, 1), (1, 7), (7, 12), (12, 13)]


@pytest.mark.parametrize("text", ["", "a b", "want \u200b a"])
def test_a_token_that_normalization_drops_is_never_found(text: str) -> None:
    tokenizer = MobileBertTokenizer(vocab=VOCAB)
    expected = tokenizer(text)
    tokenizer.add_tokens(["\u200b"])
    assert tokenizer(text) == expected


@pytest.mark.parametrize("content", [" ", "\n\t", "\u3000", "\u200b \u0301"])
@pytest.mark.parametrize("flag", ["lstrip", "rstrip"])
def test_white_space_cannot_strip(tokenizer: Any, content: str, flag: str) -> None:
    """The Rust library would panic, or take quadratic time."""
    tokenizer.add_tokens([AddedToken(content, normalized=False)])
    with pytest.raises(ValueError, match="is white space and cannot have lstrip or rstrip"):
        tokenizer.add_tokens([AddedToken(content, **{flag: True})])
    with pytest.raises(ValueError, match="is white space"):
        type(tokenizer)(vocab=VOCAB, added_tokens_decoder={len(VOCAB): AddedToken(content, **{flag: True})})


# Tokens sought in a text


def entries_of(tokens: Sequence[str]) -> dict[str, Sought]:
    return {token: Sought(token) for token in tokens}


@pytest.mark.parametrize("alphabet", ["ab", "ab ", "a\u4e2d\U00020000", "[]MAS"])
def test_leftmost_longest(alphabet: str) -> None:
    """Against trying every token at every place."""
    rng = random.Random(alphabet)
    for _ in range(300):
        tokens = {"".join(rng.choices(alphabet, k=rng.choice([1, 2, 2, 3, 5, 8]))) for _ in range(rng.choice([1, 3, 9, 40]))}
        text = "".join(rng.choices(alphabet, k=rng.randint(0, 40)))
        expected, place = [], 0
        while place < len(text):
            found = max((token for token in tokens if text.startswith(token, place)), key=len, default=None)
            if found is not None:
                expected.append((found, place))
            place += len(found or "x")
        matches = [*Seeker(entries_of([*tokens]))(text)]
        assert [(token, start) for token, start, _ in matches if token is not None] == expected
        assert "".join(text[start:stop] for _, start, stop in matches) == text


def test_a_refused_match_is_passed_over() -> None:
    """A single word is the longest match at its place or none: nothing shorter, and nothing that starts within it."""
    seeker = Seeker({"ab": Sought("ab", WORD_CHARACTER), "a": Sought("a"), "b": Sought("b")})
    assert [*seeker("abx ab a")] == [(None, 0, 4), ("ab", 4, 6), (None, 6, 7), ("a", 7, 8)]


MANY_TOKENS: dict[str, tuple[Callable[[int], str], str]] = {
    "one beginning": (lambda number: f"{'z' * 10}{number:05}", "zzzzzzzzzzq" * 300),
    "no beginning": (lambda number: chr(0x20000 + 2 * number) + "!", "\U00020001" * 3000),
    "each within the next": (lambda number: "z" * (number % 600 + 1), "zq" * 1500),
    "long beginnings": (lambda number: "z" * (number % 600 + 1) + "y", "z" * 3000),
}


@pytest.mark.parametrize("kind", MANY_TOKENS)
def test_time_does_not_grow_with_the_number_of_tokens(kind: str) -> None:
    """A thousand times the tokens may take a little longer; tried one by one they would take hundreds of times as long."""
    token, text = MANY_TOKENS[kind]
    few, many = (Seeker(entries_of(["[MASK]", *map(token, range(number))])) for number in (10, 9990))
    assert seconds(many, text) < 15 * max(seconds(few, text), 0.004)


def seconds(seeker: Seeker, text: str) -> float:
    def once() -> float:
        start = time.process_time()
        list(seeker(text))
        return time.process_time() - start

    return min(once() for _ in range(3))


class CountedText(str):
    """A text that knows how many of its characters were copied."""

    copied = 0

    def __getitem__(self, key: Any) -> str:
        part = super().__getitem__(key)
        self.copied += len(part)
        return part


@pytest.mark.parametrize("flag", ["lstrip", "rstrip"])
@pytest.mark.parametrize("text", ["<x>" * 500, "a <x> " * 500, "<x>" + " " * 2000])
def test_stripping_copies_little(flag: str, text: str) -> None:
    counted = CountedText(text)
    assert len([*Seeker({"<x>": Sought("<x>", **{flag: True})})(counted)]) > 1 or text.endswith(" ")
    assert counted.copied < 10 * len(text)


def test_what_is_remembered_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Long words have many pieces, and Unicode has many characters."""
    monkeypatch.setattr(basic, "CACHED_PIECES", 1000)
    monkeypatch.setattr(basic, "CACHED_CHARACTERS", 50)
    pieces = basic.WordPieces({token: index for index, token in enumerate(VOCAB)}, "[UNK]")
    for length in range(1, 90):
        assert len(pieces["a" + "d" * length]) == 1 + length
        assert sum(map(len, pieces.values())) <= 1000
    assert len(pieces) > 1
    replacements = basic._Replacements(split_ideographs=True, lower_case=True, strip_accents=True)
    for code in range(0x4E00, 0x4F00):
        assert replacements[chr(code)] == f" {chr(code)} "
        assert len(replacements) <= 50


# Errors


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"text": 5}, TypeError, "a text must be a str"),
        ({"text": None}, ValueError, "give text, text_target or both"),
        ({"text": ["a", 5]}, TypeError, "a text must be a str"),
        ({"text": ["a", ["b"]]}, TypeError, "a text must be a str"),
        ({"text": b"a"}, TypeError, "not bytes"),
        ({"text": "a \ud800"}, ValueError, r"lone surrogate, U\+D800, at 2"),
        ({"text": ["a", "\udfff"], "text_pair": ["a", "b"]}, ValueError, "lone surrogate"),
        ({"text": "a", "is_split_into_words": True}, TypeError, "a text is a list of words"),
        ({"text": [["a"], ["b", 1]], "is_split_into_words": True}, TypeError, "a text must be a str"),
        ({"text": ["a"], "text_pair": "b"}, TypeError, "text_pair must be a list"),
        ({"text": ["a"], "text_pair": ["b", "c"]}, ValueError, "text has 1 entries and text_pair has 2"),
        ({"text": "a", "padding": "longes"}, ValueError, "padding must be True, False or one of 'longest'"),
        ({"text": "a", "truncation": "first"}, ValueError, "truncation must be"),
        ({"text": "a", "padding_side": "top", "padding": True}, ValueError, "padding_side must be one of"),
        ({"text": "a", "max_length": 1}, ValueError, "leaves no room for the 2 special tokens"),
        ({"text": "a", "text_pair": "b", "max_length": 2}, ValueError, "leaves no room for the 3 special tokens"),
        ({"text": "a", "max_length": -1}, ValueError, "at least 0"),
        ({"text": "a", "max_length": "8"}, TypeError, "max_length must be a whole number"),
        ({"text": "a", "max_length": 8, "stride": -1}, ValueError, "stride must be"),
        ({"text": "a b c", "max_length": 4, "stride": 2}, ValueError, "stride=2 must be smaller"),
        ({"text": "a", "padding": True, "pad_to_multiple_of": 0}, ValueError, "at least 1"),
        (
            {"text": "a", "padding": True, "truncation": True, "max_length": 9, "pad_to_multiple_of": 8},
            ValueError,
            "not a multiple",
        ),
        ({"text": "a b c", "max_length": 4, "truncation": "only_second"}, ValueError, "needs a second text"),
        (
            {"text": "a", "text_pair": "a b", "max_length": 5, "truncation": "only_first"},
            ValueError,
            "the other is too long",
        ),
        ({"text": "a", "return_tensors": "jax"}, ValueError, "return_tensors must be"),
        ({"text": ["a", "a b"], "return_tensors": "np"}, ValueError, "differ in length"),
    ],
)
def test_bad_arguments(tokenizer: Any, arguments: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        tokenizer(**arguments)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({}, TypeError, "one of vocab_file, vocab and tokenizer_file"),
        ({"vocab": VOCAB, "vocab_file": "x"}, TypeError, "one of"),
        ({"vocab": []}, ValueError, "empty"),
        ({"vocab": ["a", "b", "a"]}, ValueError, "line 3 repeats the token 'a' of line 1"),
        ({"vocab": ["a", ""]}, ValueError, "line 2: a token is empty"),
        ({"vocab": ["a", 5]}, ValueError, "line 2: a token must be a str"),
        ({"vocab": ["\ud800"]}, ValueError, "lone surrogate"),
        ({"vocab": {"a": 0, "b": 2}}, ValueError, "not 0 to 1"),
        ({"vocab": WORDS}, ValueError, "lacks the special tokens"),
        ({"vocab": VOCAB, "mask_token": "<mask>"}, ValueError, "lacks the special tokens <mask>"),
        ({"vocab": VOCAB, "never_split": [5]}, TypeError, "a token must be a str"),
        ({"vocab": VOCAB, "unk_token": "<x>", "added_tokens_decoder": {21: AddedToken("<x>")}}, ValueError, "is an added token"),
        ({"vocab": VOCAB, "padding_side": "top"}, ValueError, "padding_side"),
        ({"vocab": VOCAB, "model_max_length": 0}, ValueError, "model_max_length"),
        ({"vocab": VOCAB, "added_tokens_decoder": {99: AddedToken("<x>")}}, ValueError, "do not continue"),
    ],
)
@pytest.mark.parametrize("cls", CLASSES)
def test_bad_construction(cls: Any, arguments: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        cls(**arguments)


# Copies


def test_pickling_and_copying(make: Any) -> None:
    tokenizer = make(do_lower_case=False, padding_side="left", additional_special_tokens=["<x>"])
    tokenizer.add_tokens(["New York"])
    text = "LOW low <x> New York"
    for other in (pickle.loads(pickle.dumps(tokenizer)), copy.copy(tokenizer), copy.deepcopy(tokenizer)):
        assert type(other) is type(tokenizer) and len(other) == len(tokenizer)
        assert other(text) == tokenizer(text)
        assert other.padding_side == "left" and other.additional_special_tokens == ["<x>"]
    result = tokenizer(["a low", "b"], return_offsets_mapping=True)
    other = pickle.loads(pickle.dumps(result))
    assert other == result and other.word_ids(0) == result.word_ids(0) and other[1].tokens == result[1].tokens
    assert copy.deepcopy(result)[0].offsets == result[0].offsets


# Learning


def test_learning_does_not_depend_on_the_hash_seed() -> None:
    code = (
        "from mobilebert_common.tokenization import learn_vocabulary as learn; print(learn(['ab ba abc bca cab'], 40))"
    )
    runs = [
        subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": os.pathsep.join(sys.path)},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in "123"
    ]
    assert len(set(runs)) == 1 and runs[0].startswith("['[PAD]'")


def test_learning_a_vocabulary() -> None:
    texts = ["The low, lower, lowest", "lowest of the Löw", "slow"] * 3
    vocab = learn_vocabulary(iter(texts), 60)
    assert vocab[:5] == SPECIAL and len(vocab) == len(set(vocab)) <= 60
    assert {"low", "the", ",", "##w", "s"} <= set(vocab)
    assert vocab == learn_vocabulary(texts, 60)
    for cls in CLASSES:
        assert cls(vocab=vocab).tokenize("the lowest") == ["the", "lowest"]
    with pytest.raises(ValueError, match="vocab_size=10 is too small"):
        learn_vocabulary(texts, 10)


@pytest.mark.parametrize("options", [{}, {"do_lower_case": False, "strip_accents": True}, {"tokenize_chinese_chars": False}])
def test_learning_takes_texts_as_the_tokenizers_do(options: dict[str, Any]) -> None:
    """No control characters, and the characters, and their case, that a tokenizer with these options looks up."""
    vocab = learn_vocabulary(["L\0\u00f6w\ufffd \u4e2d\u4e2d low"] * 3, 60, **options)
    for cls in CLASSES:
        assert "[UNK]" not in cls(vocab=vocab, **options).tokenize("L\u00f6w \u4e2d\u4e2d low")
    assert not {"\0", "\ufffd", "##\0", "##\ufffd"} & set(vocab)
    assert ("\u4e2d\u4e2d" in vocab) is (options.get("tokenize_chinese_chars") is False)


# the blocks of CJK ideographs that Google's tokenizer takes apart, first and last
IDEOGRAPHS = [
    *((0x3400, 0x4DBF), (0x4E00, 0x9FFF), (0xF900, 0xFAFF), (0x20000, 0x2A6DF), (0x2A700, 0x2B73F), (0x2B740, 0x2B81F)),
    *((0x2B820, 0x2CEAF), (0x2F800, 0x2FA1F)),
]  # fmt: skip


def test_which_characters_are_words_of_their_own() -> None:
    tokenizer = MobileBertTokenizer(vocab=VOCAB)
    inside = {code for first, last in IDEOGRAPHS for code in (first, first + 1, last - 1, last)}
    around = {code for first, last in IDEOGRAPHS for code in (first - 1, last + 1)} - inside
    assert {code for code in inside | around if len(tokenizer.words(f"a{chr(code)}b")) == 3} == inside


def test_a_row_cannot_be_changed(tokenizer: Any) -> None:
    """Rows share what their texts were tokenized to."""
    [row] = tokenizer("a b").encodings
    with pytest.raises(AttributeError):
        row.padding = 3


def test_numbers_that_are_not_whole_stay_so() -> None:
    """Soft labels and weights of examples, which a collator puts beside the ids."""
    batch = BatchEncoding({"input_ids": [[2, 3]], "labels": [[0.25, 0.75]], "mask": [[True, False]]}, tensor_type="np")
    assert batch["labels"].tolist() == [[0.25, 0.75]]
    assert batch["input_ids"].dtype == batch["mask"].dtype == np.int64


@pytest.mark.parametrize("options", [{}, {"do_lower_case": False, "strip_accents": True}])
def test_the_case_of_letters_with_marks_that_change_places(options: dict[str, Any]) -> None:
    python, rust = (cls(vocab=VOCAB, **options).words("L\u00d6\u302e\u0323W low") for cls in CLASSES)
    assert python == rust == (["lo\u302ew", "low"] if not options else ["LO\u302eW", "low"])


def test_what_does_not_compose_keeps_its_places() -> None:
    """Beside what does: each character of the text is a token here, but for the composed one."""
    vocab = [*VOCAB, "\u00e9", "x", "##\u0323"]
    result = MobileBertTokenizer(vocab=vocab, do_lower_case=False)("e\u0301 x\u0323", return_offsets_mapping=True)
    assert result.tokens()[1:-1] == ["\u00e9", "x", "##\u0323"]
    assert result["offset_mapping"][1:-1] == [(0, 2), (3, 4), (4, 5)]


def test_places_where_marks_change_theirs(tokenizer: Any) -> None:
    """From the first character on, also behind one that is dropped."""
    offsets = tokenizer("a \u302e\u0323b", return_offsets_mapping=True)["offset_mapping"]
    assert offsets[1] == (0, 1)
    offsets = tokenizer("\0a b\u302e\u0323", return_offsets_mapping=True)["offset_mapping"]
    assert offsets[1] == (1, 2)


@pytest.mark.parametrize("words", [[], ["low"], ["low", "a"]])
def test_words_of_one_text_and_of_a_batch_of_one(tokenizer: Any, words: list[str]) -> None:
    expected = [CLS, *ids(*words), SEP]
    assert tokenizer(words, is_split_into_words=True)["input_ids"] == expected
    if words:
        assert tokenizer([words], is_split_into_words=True)["input_ids"] == [expected]


def test_a_mark_that_is_stripped_belongs_to_no_token() -> None:
    for cls in CLASSES:
        result = cls(vocab=[*VOCAB, "o"])("o\u0308 a", return_offsets_mapping=True)
        assert result.tokens()[1:-1] == ["o", "a"] and result["offset_mapping"][1:-1] == [(0, 1), (3, 4)]


@pytest.mark.parametrize("mark", ["\u2026", "\u00bf", "\u2014", "\u3002", "\U00010100"])
def test_punctuation_beyond_ascii_stands_alone(tokenizer: Any, mark: str) -> None:
    assert tokenizer.words(f"a{mark}b") == ["a", mark, "b"]
