"""What users of transformers and its pipelines, collators and Trainer call and read, with a vocabulary of a few words."""

import copy
import json
import pickle
import warnings
from collections.abc import Callable
from enum import Enum
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tokenizers import AddedToken, normalizers

from mobilebert_common.errors import CheckpointError
from mobilebert_common.tokenization import BatchEncoding, MobileBertTokenizer, MobileBertTokenizerFast

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
VOCAB = [*SPECIAL, "low", "##er", "the", "a", "b", "c", "d", "[", "]", "mask", "!"]
PAD, UNK, CLS, SEP, MASK = range(5)
CLASSES = [MobileBertTokenizer, MobileBertTokenizerFast]


@pytest.fixture(params=CLASSES, ids=["python", "rust"])
def cls(request: pytest.FixtureRequest) -> Any:
    return request.param


@pytest.fixture
def tokenizer(cls: Any) -> Any:
    return cls(VOCAB)


# Batches of pairs


@pytest.mark.parametrize("kind", [tuple, list])
def test_batches_of_pairs(tokenizer: Any, kind: Callable[[Any], Any]) -> None:
    batch = tokenizer([kind(("a", "b c")), kind(("low", ""))], padding=True, return_offsets_mapping=True)
    assert dict(batch) == dict(tokenizer(["a", "low"], ["b c", ""], padding=True, return_offsets_mapping=True))
    assert batch["token_type_ids"][0] == [0, 0, 0, 1, 1, 1]
    words = tokenizer([kind((["a"], ["b", "c"])), kind((["low"], []))], is_split_into_words=True, padding=True)
    assert words["input_ids"] == batch["input_ids"] and words.word_ids(0) == [None, 0, None, 0, 1, None]


def test_pairs_beside_single_texts(tokenizer: Any) -> None:
    batch = tokenizer([("a", "b"), "c", ("d", "a")])
    assert [row.tokens for row in batch.encodings] == [
        ["[CLS]", "a", "[SEP]", "b", "[SEP]"],
        ["[CLS]", "c", "[SEP]"],
        ["[CLS]", "d", "[SEP]", "a", "[SEP]"],
    ]
    assert [row.n_sequences for row in batch.encodings] == [2, 1, 2]


def test_a_tuple_of_texts_is_a_batch(tokenizer: Any) -> None:
    assert tokenizer(("a", "b"))["input_ids"] == tokenizer(["a", "b"])["input_ids"]


@pytest.mark.parametrize(
    ("text", "pair"),
    [([("a", "b", "c")], None), ([("a",)], None), ([("a", None)], None), ([()], None), (["a"], [None]), ([("a", 1)], None)],
)
def test_what_is_no_pair(tokenizer: Any, text: Any, pair: Any) -> None:
    with pytest.raises(TypeError, match="a text must be a str"):
        tokenizer(text, pair)


# Older names


def test_encode_plus(tokenizer: Any) -> None:
    options = {"max_length": 6, "padding": "max_length", "truncation": True}
    assert dict(tokenizer.encode_plus("a b", "c", **options)) == dict(tokenizer("a b", "c", **options))
    assert dict(tokenizer.encode_plus("a b", None, False)) == dict(tokenizer("a b", add_special_tokens=False))
    assert dict(tokenizer.batch_encode_plus(["a b", ("a", "c")], True, True)) == dict(tokenizer(["a b", ("a", "c")], padding=True))
    assert tokenizer.encode("a b", None, False) == tokenizer.encode("a b", add_special_tokens=False)
    words = tokenizer.encode_plus(["a", "lower"], is_split_into_words=True)
    assert words.word_ids() == [None, 0, 1, 1, None]


def test_encode_plus_of_tokens_and_ids() -> None:
    python, rust = (cls(VOCAB) for cls in CLASSES)
    expected = python("lower a", "b")["input_ids"]
    assert python.encode_plus(["low", "##er", "a"], [VOCAB.index("b")])["input_ids"] == expected
    with pytest.raises(TypeError, match="call the tokenizer itself with a list of texts"):
        python.encode_plus(["a text", "another"])
    with pytest.raises(TypeError, match="call the tokenizer itself with a list of texts"):
        rust.encode_plus(["a", "b"])


@pytest.mark.parametrize("name", ["encode", "tokenize", "encode_plus", "batch_encode_plus"])
def test_no_text(tokenizer: Any, name: str) -> None:
    with pytest.raises(TypeError, match="a text must be a str"):
        getattr(tokenizer, name)(None)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"add_special_tokens": False},
        {"padding": "max_length", "max_length": 12, "return_special_tokens_mask": True},
        {"truncation": True, "max_length": 6},
        {"truncation": "only_first", "max_length": 7, "return_token_type_ids": False},
        {"truncation": True, "max_length": 6, "return_length": True, "return_attention_mask": False},
    ],
)
@pytest.mark.parametrize("pair", [None, "b a"])
def test_prepare_for_model(tokenizer: Any, options: dict[str, Any], pair: str | None) -> None:
    ids, pair_ids = (text and tokenizer.encode(text, add_special_tokens=False) for text in ("a b c lower", pair))
    result, expected = tokenizer.prepare_for_model(ids, pair_ids, **options), dict(tokenizer("a b c lower", pair, **options))
    if "length" in expected:
        [expected["length"]] = expected["length"]
    assert dict(result) == expected


def test_overflow_of_ids(tokenizer: Any) -> None:
    ids = tokenizer.encode("a b c d", add_special_tokens=False)
    result = tokenizer.prepare_for_model(ids, truncation=True, max_length=4, stride=1, return_overflowing_tokens=True)
    assert result["input_ids"] == [CLS, *ids[:2], SEP]
    assert (result["overflowing_tokens"], result["num_truncated_tokens"]) == (ids[1:], 2)
    tokenizer.truncation_side = "left"
    result = tokenizer.prepare_for_model(ids, ids, truncation="only_second", max_length=9, stride=1, return_overflowing_tokens=True)
    assert result["input_ids"] == [CLS, *ids, SEP, *ids[2:], SEP] and result["overflowing_tokens"] == ids[:3]
    with pytest.raises(ValueError, match="only_first"):
        tokenizer.prepare_for_model(ids, ids, truncation=True, max_length=5, return_overflowing_tokens=True)
    assert tokenizer.prepare_for_model(ids, return_tensors="np", prepend_batch_axis=True)["input_ids"].shape == (1, 6)


# Arguments of a call


def test_targets(tokenizer: Any) -> None:
    result = tokenizer(["a", "b"], text_target=["a b", "c"], padding="max_length", max_length=5)
    assert result["labels"] == tokenizer(["a b", "c"], padding="max_length", max_length=5)["input_ids"]
    assert result["input_ids"] == tokenizer(["a", "b"], padding="max_length", max_length=5)["input_ids"]
    assert dict(tokenizer(text_target="a", text_pair_target="b")) == dict(tokenizer("a", "b"))


def test_names_of_inputs(cls: Any, tokenizer: Any) -> None:
    few = cls(VOCAB, model_input_names=["input_ids", "attention_mask"])
    assert [*few("a")] == ["input_ids", "attention_mask"]
    assert [*few("a", return_token_type_ids=True, return_attention_mask=False)] == ["input_ids", "token_type_ids"]
    assert [*cls(VOCAB, model_input_names=("input_ids",)).pad({"input_ids": [1]})] == ["input_ids"]
    tokenizer.model_input_names = ["inputs", "attention_mask"]
    assert dict(tokenizer.pad({"inputs": [[1, 2], [1]]})) == {"inputs": [[1, 2], [1, PAD]], "attention_mask": [[1, 1], [1, 0]]}
    for wrong in (["attention_mask"], ["input_ids", "labels"], "input_ids"):
        with pytest.raises(ValueError, match="model_input_names must be a list"):
            cls(VOCAB, model_input_names=wrong)


def test_splitting_special_tokens(cls: Any, tokenizer: Any) -> None:
    tokenizer.add_tokens([AddedToken("c d", special=True), AddedToken("a b")])
    assert tokenizer.tokenize("[MASK] c d a b") == ["[MASK]", "c d", "a b"]
    split = ["[", "mask", "]", "c", "d", "a b"]
    assert tokenizer.tokenize("[MASK] c d a b", split_special_tokens=True) == split
    assert tokenizer.tokenize("[MASK]") == ["[MASK]"]
    assert cls(VOCAB, split_special_tokens=True).tokenize("[MASK]") == ["[", "mask", "]"]


def test_more_arguments_in_a_mapping(tokenizer: Any) -> None:
    assert tokenizer("a", padding=True, tokenizer_kwargs={"padding": "max_length", "max_length": 5})["input_ids"] == [CLS, 8, SEP, 0, 0]
    with pytest.raises(TypeError):
        tokenizer("a", tokenizer_kwargs={"pad": True})


def test_enumerations_count_as_their_values(tokenizer: Any) -> None:
    strategy = Enum("Strategy", {"LONGEST": "longest", "FIRST": "only_first", "NUMPY": "np"}, type=str)
    options = {"padding": strategy["LONGEST"], "truncation": strategy["FIRST"], "return_tensors": strategy["NUMPY"]}
    assert tokenizer(["a b", "a"], max_length=4, **options)["input_ids"].tolist() == [[2, 8, 9, 3], [2, 8, 3, 0]]


@pytest.mark.parametrize("name", ["pad_to_max_length", "max_target_length", "text_paire"])
def test_an_unknown_argument_is_refused(tokenizer: Any, name: str) -> None:
    for call in (tokenizer, tokenizer.encode, tokenizer.encode_plus, tokenizer.batch_encode_plus, tokenizer.tokenize):
        with pytest.raises(TypeError, match=name):
            call("a", **{name: 5})


# A length without a limit


@pytest.mark.parametrize("length", [None, 10**20, 10**30])
def test_no_limit(cls: Any, length: int | None) -> None:
    tokenizer = cls(VOCAB, model_max_length=length)
    with pytest.warns(UserWarning, match="nothing is padded"):
        assert len(tokenizer("a", padding="max_length")["input_ids"]) == 3
    with pytest.warns(UserWarning, match="nothing is truncated"):
        assert len(tokenizer("a b", truncation=True)["input_ids"]) == 4
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert len(tokenizer("a", padding="max_length", truncation=True)["input_ids"]) == 3  # said once
        assert len(tokenizer(["a", "a b"], padding=True)["input_ids"][0]) == 4
        assert len(tokenizer.pad({"input_ids": [1]}, padding="max_length")["input_ids"]) == 1
        cls(VOCAB, model_max_length=length)("a", padding="max_length", verbose=False)


@pytest.mark.parametrize("options", [{"model_max_length": 10**12}, {"model_max_length": 10**20 - 1}])
def test_a_length_that_memory_cannot_hold(cls: Any, options: dict[str, int]) -> None:
    tokenizer = cls(VOCAB, **options)
    for call in (
        lambda: tokenizer("a", padding="max_length"),
        lambda: tokenizer("a", padding="max_length", max_length=10**9),
        lambda: tokenizer.pad({"input_ids": [1]}, padding="max_length"),
    ):
        with pytest.raises(ValueError, match="takes too much memory"):
            call()
    assert tokenizer("a", truncation=True)["input_ids"] == [CLS, 8, SEP]


def test_the_warning_of_a_long_text_can_be_silenced(cls: Any) -> None:
    tokenizer = cls(VOCAB, model_max_length=4)
    tokenizer.deprecation_warnings["sequence-length-is-longer-than-the-specified-maximum"] = True
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        tokenizer("a b c")
    tokenizer.deprecation_warnings = {}
    with pytest.warns(UserWarning, match=r"Token indices sequence length is longer .* \(5 > 4\)"):
        tokenizer("a b c")


# Special tokens


def test_tokens_without_a_use(cls: Any, tokenizer: Any) -> None:
    assert tokenizer.bos_token is tokenizer.eos_token is tokenizer.bos_token_id is tokenizer.eos_token_id is None
    assert "bos_token" not in tokenizer.special_tokens_map and tokenizer.add_bos_token is tokenizer.add_eos_token is False
    with pytest.raises(AttributeError):
        tokenizer.add_bos_token = True
    tokenizer = cls(VOCAB, eos_token="<eos>", bos_token="[CLS]")
    assert (tokenizer.eos_token_id, tokenizer.bos_token_id, len(tokenizer)) == (len(VOCAB), CLS, len(VOCAB) + 1)
    assert tokenizer.tokenize("a<eos>") == ["a", "<eos>"] and tokenizer("a")["input_ids"] == [CLS, 8, SEP]
    assert tokenizer.all_special_tokens == ["[CLS]", "<eos>", "[UNK]", "[SEP]", "[PAD]", "[MASK]"]
    assert tokenizer.add_special_tokens({"bos_token": "<s>"}) == 1 and tokenizer.bos_token == "<s>"


@pytest.mark.parametrize(
    ("role", "call"),
    [
        ("pad_token", lambda tokenizer: tokenizer(["a", "a b"], padding=True)),
        ("pad_token", lambda tokenizer: tokenizer.pad({"input_ids": [[1], [1, 2]]})),
        ("cls_token", lambda tokenizer: tokenizer("a")),
        ("sep_token", lambda tokenizer: tokenizer.build_inputs_with_special_tokens([1])),
        ("unk_token", lambda tokenizer: tokenizer("a", add_special_tokens=False)),
    ],
)
def test_a_token_that_is_missing(cls: Any, role: str, call: Any) -> None:
    for tokenizer in (cls(VOCAB), cls(VOCAB)):
        setattr(tokenizer, role, None)
        assert getattr(tokenizer, role) is getattr(tokenizer, f"{role}_id") is None
        assert role not in tokenizer.special_tokens_map
        with pytest.raises(ValueError, match=f"has no {role}"):
            call(tokenizer)
        setattr(tokenizer, f"{role}_id", MASK)
        assert getattr(tokenizer, role) == "[MASK]"
        call(tokenizer)


def test_what_does_not_need_a_token(cls: Any) -> None:
    tokenizer = cls(VOCAB, cls_token=None, sep_token=None, pad_token=None, mask_token=None)
    assert tokenizer(["a", "b c"], add_special_tokens=False)["input_ids"] == [[8], [9, 10]]
    assert tokenizer.convert_tokens_to_ids(["a", "x"]) == [8, UNK]
    with pytest.raises(ValueError, match="without sep_token, cls_token cannot be saved"):
        tokenizer.contents()


def test_extra_special_tokens(cls: Any) -> None:
    for name in ("additional_special_tokens", "extra_special_tokens"):
        tokenizer = cls(VOCAB, **{name: ["<x>", AddedToken("<y>", lstrip=True)]})
        assert tokenizer.extra_special_tokens == tokenizer.additional_special_tokens == ["<x>", "<y>"]
        ids = [len(VOCAB), len(VOCAB) + 1]
        assert tokenizer.extra_special_tokens_ids == tokenizer.additional_special_tokens_ids == ids
        assert tokenizer.special_tokens_map_extended[f"{'additional'}_special_tokens"][1].lstrip
        setattr(tokenizer, name, ["low"])
        assert tokenizer.all_special_tokens_extended[-1].content == "low"
        setattr(tokenizer, f"{name}_ids", [ids[1]])
        assert tokenizer.extra_special_tokens == ["<y>"]
        assert tokenizer.add_special_tokens({name: ["<z>"]}, replace_extra_special_tokens=False) == 1
        assert tokenizer.add_special_tokens({name: ["<z>"]}, replace_additional_special_tokens=False) == 0
        assert tokenizer.extra_special_tokens == ["<y>", "<z>"]
        for wrong in ("<x>", [1], {"a": "b"}):
            with pytest.raises(ValueError, match="must be a list of str or AddedToken"):
                tokenizer.add_special_tokens({name: wrong})
            with pytest.raises(ValueError, match="must be a list of str or AddedToken"):
                cls(VOCAB, **{name: wrong})
        with pytest.raises(ValueError, match="add_special_tokens adds them"):
            setattr(tokenizer, name, ["nowhere"])
        setattr(tokenizer, name, None)
        assert tokenizer.extra_special_tokens == []


@pytest.mark.parametrize("wrong", [5, ["<x>"]])
def test_what_is_no_token(tokenizer: Any, wrong: Any) -> None:
    with pytest.raises(ValueError, match="eos_token must be a str"):
        tokenizer.add_special_tokens({"eos_token": wrong})
    with pytest.raises(TypeError, match="eos_token must be a str"):
        tokenizer.eos_token = wrong
    assert tokenizer.add_tokens("") == tokenizer.add_tokens([]) == tokenizer.add_special_tokens({}) == 0


# Decoding


def test_decoding_a_batch(tokenizer: Any) -> None:
    rows = np.array([[8, 9], [10, 11]])
    assert tokenizer.decode(rows) == tokenizer.batch_decode(rows) == ["a b", "c d"]
    assert tokenizer.batch_decode([8, 9]) == ["a", "b"]


def test_spaces_around_added_tokens(tokenizer: Any) -> None:
    tokenizer.add_tokens(["[X]"])
    tokenizer.add_tokens([AddedToken("<y>", special=True)])
    row = tokenizer.encode("[X] a [X] <y> lower b <y>", add_special_tokens=False)
    assert tokenizer.decode(row) == "[X] a [X] <y> lower b <y>"
    assert tokenizer.decode(row, spaces_between_special_tokens=False) == "[X]a[X]<y>lower b<y>"
    assert tokenizer.batch_decode([row], True, spaces_between_special_tokens=False) == ["[X]a[X]lower b"]
    assert tokenizer.clean_up_tokenization("a . b 's") == "a. b's"


class Scalar:
    """A number as tensors give it when they are iterated: equal to none in a set."""

    def __init__(self, value: int) -> None:
        self.value = value

    def tolist(self) -> int:
        return self.value


class Tensor(Scalar):
    def __init__(self, values: list[int]) -> None:
        self.values = values

    def __iter__(self) -> Any:
        return map(Scalar, self.values)

    def tolist(self) -> Any:
        return self.values


def test_ids_in_a_tensor(tokenizer: Any) -> None:
    assert tokenizer.get_special_tokens_mask(Tensor([CLS, 8, SEP]), already_has_special_tokens=True) == [1, 0, 1]
    assert tokenizer.convert_ids_to_tokens(Scalar(8)) == tokenizer.convert_ids_to_tokens(np.int64(8)) == "a"
    assert tokenizer.decode(Tensor([8, 9])) == "a b"


# Options assigned later


@pytest.mark.parametrize(
    ("name", "value", "text", "before", "after"),
    [
        ("do_lower_case", False, "LOW low", ["low", "low"], ["[UNK]", "low"]),
        ("strip_accents", False, "löw", ["low"], ["[UNK]"]),
        ("tokenize_chinese_chars", False, "a中", ["a", "[UNK]"], ["[UNK]"]),
    ],
)
def test_an_option_assigned_later_counts(tokenizer: Any, name: str, value: Any, text: str, before: Any, after: Any) -> None:
    assert tokenizer.tokenize(text) == before
    setattr(tokenizer, name, value)
    assert tokenizer.tokenize(text) == copy.deepcopy(tokenizer).tokenize(text) == after


def test_an_option_the_rust_tokenizer_does_not_have() -> None:
    tokenizer = MobileBertTokenizerFast(VOCAB)
    with pytest.raises(ValueError, match="use MobileBertTokenizer"):
        tokenizer.do_basic_tokenize = False
    assert tokenizer.do_basic_tokenize is True and tokenizer.tokenize("a!") == ["a", "!"]


def test_changes_of_the_rust_tokenizer(tmp_path: Path) -> None:
    tokenizer = MobileBertTokenizerFast(VOCAB, do_lower_case=False)
    tokenizer.backend_tokenizer.enable_truncation(1)
    tokenizer.backend_tokenizer.enable_padding(length=9)
    tokenizer.backend_tokenizer.encode_special_tokens = True
    assert tokenizer("a [MASK]")["input_ids"] == [CLS, 8, MASK, SEP]
    tokenizer.save_pretrained(tmp_path)
    backend = tokenizer.backend_tokenizer
    backend.normalizer = normalizers.Sequence([normalizers.Lowercase(), backend.normalizer])  # as sentence-transformers does
    assert tokenizer.tokenize("LOW") == tokenizer.words("LOW") == ["low"]
    for keep in (lambda: tokenizer.save_pretrained(tmp_path), lambda: copy.copy(tokenizer), lambda: tokenizer.add_tokens(["x"])):
        with pytest.raises(ValueError, match="a part of backend_tokenizer was changed"):
            keep()


# Construction


def test_a_vocabulary_in_memory(cls: Any) -> None:
    vocab = {token: index for index, token in enumerate(VOCAB)}
    for tokenizer in (cls(VOCAB), cls(vocab=VOCAB), cls(vocab), cls(vocab=vocab)):
        assert tokenizer.get_vocab() == vocab


def test_files_given(cls: Any, tmp_path: Path) -> None:
    cls(VOCAB, do_lower_case=False).save_pretrained(tmp_path)
    vocab, both = tmp_path / "vocab.txt", {"vocab_file": tmp_path / "vocab.txt", "tokenizer_file": tmp_path / "tokenizer.json"}
    for tokenizer in (cls(vocab=str(vocab)), cls(**both), cls.from_pretrained(vocab), cls.from_pretrained(str(both["tokenizer_file"]))):
        assert tokenizer.get_vocab() == cls(VOCAB).get_vocab() and tokenizer.model_max_length == 512
    assert cls.from_pretrained(vocab).name_or_path == str(vocab)
    assert cls.from_pretrained(vocab, do_lower_case=False, padding_side="left").tokenize("LOW") == ["[UNK]"]
    (tmp_path / "other.txt").write_text("\n".join([*VOCAB, "x"]))
    with pytest.raises(CheckpointError, match="another vocabulary"):
        cls(vocab_file=tmp_path / "other.txt", tokenizer_file=tmp_path / "tokenizer.json")
    other = cls.from_pretrained(tmp_path, vocab_file=tmp_path / "other.txt")
    assert len(other) == len(VOCAB) + 1 and other.tokenize("LOW x") == ["[UNK]", "x"]
    with pytest.raises(CheckpointError):
        cls.from_pretrained(tmp_path / "missing.txt")


@pytest.mark.parametrize("end", ["", "\n", "\n\n", "\r\n\r\n", "\n \n"])
@pytest.mark.parametrize("begin", [b"", b"\xef\xbb\xbf"])
@pytest.mark.parametrize("line", ["\n", "\r\n"])
def test_vocabularies_that_editors_wrote(cls: Any, tmp_path: Path, begin: bytes, line: str, end: str) -> None:
    (tmp_path / "vocab.txt").write_bytes(begin + (line.join(VOCAB) + end).encode())
    expected = [*VOCAB, " "] if end == "\n \n" else VOCAB
    for tokenizer in (cls.from_pretrained(tmp_path), cls.from_pretrained(tmp_path / "vocab.txt"), cls(tmp_path / "vocab.txt")):
        assert [*tokenizer.get_vocab()] == expected


def test_arguments_that_change_nothing(cls: Any, tmp_path: Path) -> None:
    cls(VOCAB).save_pretrained(tmp_path)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        cls(VOCAB, verbose=False, add_prefix_space=True, processor_class=None, name_or_path="x")
        cls.from_pretrained(tmp_path, use_fast=False, clean_text=True, tokenizer_class="MobileBertTokenizer")
    with pytest.warns(UserWarning, match="max_length, padding: without effect"):
        cls.from_pretrained(tmp_path, max_length=5, padding=True)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"do_lowercase": False}, TypeError, "unknown argument do_lowercase"),
        ({"add_special_tokens": True}, AttributeError, "conflicts with the method"),
        ({"get_vocab": True}, AttributeError, "conflicts with the method"),
        ({"clean_text": False}, ValueError, "always cleans the text"),
        ({"pad_token_type_id": 0}, ValueError, "padding has segment 0"),
        ({"chat_template": "{{a}}"}, ValueError, "does not chat"),
        ({"extra_special_tokens": ["<x>"], "additional_special_tokens": ["<y>"]}, ValueError, "give one of them"),
        ({"vocab_file": VOCAB}, TypeError, "give one of"),
    ],
)
def test_arguments_that_are_refused(cls: Any, arguments: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        cls(vocab=VOCAB, **arguments)


# Attributes


def test_attributes(cls: Any) -> None:
    tokenizer = cls(VOCAB, model_max_length=128, do_lower_case=False, extra_special_tokens=["<x>"])
    assert (tokenizer.max_len_single_sentence, tokenizer.max_len_sentences_pair) == (126, 125)
    assert tokenizer.init_kwargs["do_lower_case"] is False and tokenizer.init_inputs == ()
    again = cls(**tokenizer.init_kwargs)
    assert again.get_vocab() == tokenizer.get_vocab() and again.init_kwargs == tokenizer.init_kwargs
    assert tokenizer.is_fast and tokenizer.backend == ("custom" if cls is MobileBertTokenizer else "tokenizers")
    assert tokenizer.vocab_files_names["vocab_file"] == "vocab.txt" and tokenizer("a").is_fast
    assert tokenizer._tokenizer.model.continuing_subword_prefix == "##"


def test_copies_keep_what_was_said(cls: Any) -> None:
    tokenizer = cls(VOCAB, eos_token="<eos>", pad_token=None, split_special_tokens=True, model_input_names=["input_ids"])
    tokenizer.deprecation_warnings["x"] = True
    for other in (copy.deepcopy(tokenizer), pickle.loads(pickle.dumps(tokenizer))):
        assert other.init_kwargs == tokenizer.init_kwargs and other.deprecation_warnings == {"x": True}


@pytest.mark.parametrize("reader", CLASSES)
def test_options_survive_in_files(cls: Any, reader: Any, tmp_path: Path) -> None:
    options = {"eos_token": "<eos>", "pad_token": None, "split_special_tokens": True, "model_input_names": ["input_ids"]}
    tokenizer = cls(VOCAB, **options)
    files = tokenizer.save_pretrained(tmp_path, legacy_format=False)
    assert sorted(Path(file).name for file in files) == ["tokenizer.json", "tokenizer_config.json", "vocab.txt"]
    assert all(Path(file).is_file() for file in files)
    other = reader.from_pretrained(tmp_path)
    assert other.init_kwargs | {"name_or_path": ""} == tokenizer.init_kwargs
    assert other.tokenize("[MASK]") == ["[", "mask", "]"]
    assert reader.from_pretrained(tmp_path, eos_token=None, extra_special_tokens=["<z>"]).extra_special_tokens == ["<z>"]


def test_named_extra_tokens_of_transformers_5(cls: Any, tmp_path: Path) -> None:
    (tmp_path / "vocab.txt").write_text("\n".join([*VOCAB, "<img>"]))
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"extra_special_tokens": {"image_token": "<img>"}, "bos_token": None}))
    tokenizer = cls.from_pretrained(tmp_path)
    assert tokenizer.extra_special_tokens == ["<img>"] and tokenizer.tokenize("a<img>") == ["a", "<img>"]


# Training


def test_training_a_new_vocabulary(cls: Any) -> None:
    tokenizer = cls(VOCAB, do_lower_case=False, model_max_length=64, extra_special_tokens=["<x>"])
    tokenizer.add_tokens(["kept out"])
    corpus = [["Low lower lowest", "the low one"], ["a lower one"]]
    new = tokenizer.train_new_from_iterator(iter(corpus), 60, length=3, new_special_tokens=["<y>"], special_tokens_map={"[CLS]": "<cls>"})
    assert type(new) is cls and len(new) <= 60
    assert [*new.get_vocab()][:7] == ["[PAD]", "[UNK]", "<cls>", "[SEP]", "[MASK]", "<x>", "<y>"]
    assert (new.cls_token, new.cls_token_id, new.extra_special_tokens) == ("<cls>", 2, ["<x>", "<y>"])
    assert (new.model_max_length, new.do_lower_case, tokenizer.cls_token) == (64, False, "[CLS]")
    assert new.tokenize("Low lower<y>") == ["Low", "lower", "<y>"]
    assert new.get_vocab() == tokenizer.train_new_from_iterator(
        ["Low lower lowest", "the low one", "a lower one"], 60, new_special_tokens=["<y>"], special_tokens_map={"[CLS]": "<cls>"}
    ).get_vocab()
    with pytest.raises(ValueError, match="not a special token"):
        tokenizer.train_new_from_iterator(corpus, 60, special_tokens_map={"low": "<low>"})
    with pytest.raises(TypeError, match="limit_alphabet"):
        tokenizer.train_new_from_iterator(corpus, 60, limit_alphabet=5)


# What a call returns


def test_batch_encodings(tokenizer: Any) -> None:
    batch = tokenizer(["a b", "c"])
    assert batch.words(0) == batch.word_ids(0) and batch[1] is batch.encodings[1] and batch[0:2] == batch.encodings
    plain = BatchEncoding({"input_ids": [[1], [2], [3]]}, n_sequences=1)
    assert plain[1:] == {"input_ids": [[2], [3]]} and plain.n_sequences == 1
    single = BatchEncoding({"input_ids": [1, 2]}, batch[0], "np", prepend_batch_axis=True)
    assert single["input_ids"].shape == (1, 2) and single.tokens() == ["[CLS]", "a", "b", "[SEP]"]
    assert pickle.loads(pickle.dumps(batch)).word_ids(1) == batch.word_ids(1)


def test_padding_returns_what_it_got(tokenizer: Any) -> None:
    rows = [{"input_ids": np.array([1, 2])}, {"input_ids": np.array([1])}]
    assert isinstance(tokenizer.pad(rows)["input_ids"], np.ndarray)
    assert isinstance(tokenizer.pad({"input_ids": np.array([1])})["input_ids"], np.ndarray)
    assert tokenizer.pad({"input_ids": [[1, 2], [1]]})["input_ids"] == [[1, 2], [1, PAD]]


def test_rows_of_a_batch_take_the_arguments_of_tokenizers_by_name(tokenizer: Any) -> None:
    """A pipeline of transformers swallows a TypeError here and gives another answer."""
    encoded = tokenizer("the a", "low d")
    row = encoded.encodings[0]
    for method, name in (("word_to_tokens", "word_index"), ("word_to_chars", "word_index"), ("char_to_token", "char_pos")):
        assert getattr(row, method)(**{name: 0}, sequence_index=1) == getattr(encoded, method)(0, 0, 1) is not None
    assert row.char_to_word(char_pos=4, sequence_index=1) == 1
    token = row.word_to_tokens(word_index=1, sequence_index=1).start
    assert row.token_to_word(token_index=token) == 1
    assert row.token_to_sequence(token_index=token) == 1
    assert row.token_to_chars(token_index=token)[0] == 4
