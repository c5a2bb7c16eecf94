"""Tokenizers on disk: what is written, what is read, and what is refused."""

import errno
import json
import os
import re
import resource
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from tokenizers import AddedToken, Tokenizer

from mobilebert_common.errors import CheckpointError
from mobilebert_common.tokenization import MobileBertTokenizer, MobileBertTokenizerFast

VOCAB = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "low", "##er", "a", "é", ","]
CLASSES = [MobileBertTokenizer, MobileBertTokenizerFast]
TEXT = "Lower <x> a É newyork, low"


@pytest.fixture(params=CLASSES, ids=["python", "rust"])
def cls(request: pytest.FixtureRequest) -> Any:
    return request.param


@pytest.fixture
def saved(cls: Any, tmp_path: Path) -> Path:
    """A directory with a saved tokenizer that has options and added tokens."""
    tokenizer = cls(
        vocab=VOCAB,
        do_lower_case=False,
        strip_accents=False,
        model_max_length=99,
        truncation_side="left",
        additional_special_tokens=["<x>"],
    )
    tokenizer.add_tokens([AddedToken("newyork", single_word=True)])
    tokenizer.save_pretrained(tmp_path)
    return tmp_path


def edit(path: Path, change: Callable[[Any], Any]) -> None:
    """Change a JSON file, and drop the manifest that would notice it."""
    content = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps(change(content) or content), encoding="utf-8")
    (path.parent / "manifest.json").unlink(missing_ok=True)


# Round trips


def test_files_written(saved: Path) -> None:
    assert (saved / "vocab.txt").read_text(encoding="utf-8").split("\n") == [*VOCAB, ""]
    config = json.loads((saved / "tokenizer_config.json").read_text(encoding="utf-8"))
    assert config["tokenizer_class"] == "MobileBertTokenizer"
    assert config["model_max_length"] == 99 and config["do_lower_case"] is False and config["mask_token"] == "[MASK]"
    assert sorted(config["added_tokens_decoder"]) == ["0", "1", "10", "11", "2", "3", "4"]


def test_both_classes_write_the_same(tmp_path: Path) -> None:
    for cls in CLASSES:
        cls(vocab=VOCAB, additional_special_tokens=["<x>"]).save_pretrained(tmp_path / cls.__name__)
    for name in ("vocab.txt", "tokenizer.json", "tokenizer_config.json"):
        one, two = (tmp_path / cls.__name__ / name for cls in CLASSES)
        assert one.read_bytes() == two.read_bytes()


def test_the_library_reads_and_writes_the_same_file(cls: Any, saved: Path) -> None:
    theirs = Tokenizer.from_file(str(saved / "tokenizer.json"))
    ours = cls.from_pretrained(saved)
    assert theirs.encode(TEXT, "a").ids == ours(TEXT, "a")["input_ids"]
    assert json.loads(theirs.to_str()) == json.loads((saved / "tokenizer.json").read_text(encoding="utf-8"))
    backend = MobileBertTokenizerFast.from_pretrained(saved).backend_tokenizer
    assert json.loads(backend.to_str()) == json.loads(theirs.to_str())


@pytest.mark.parametrize("missing", [[], ["vocab.txt"], ["tokenizer.json"]])
def test_round_trip(cls: Any, saved: Path, missing: list[str]) -> None:
    expected = cls.from_pretrained(saved)
    for name in missing:
        (saved / name).unlink()
    for reader in CLASSES:
        other = reader.from_pretrained(saved)
        assert other(TEXT)["input_ids"] == expected(TEXT)["input_ids"] == [2, 1, 10, 7, 1, 11, 9, 5, 3]
        assert other.model_max_length == 99 and other.truncation_side == "left" and len(other) == 12
        assert other.added_tokens_decoder[11].single_word and other.additional_special_tokens == ["<x>"]
        assert other.name_or_path == str(saved)


def test_tokenizer_json_alone_has_the_options(cls: Any, saved: Path) -> None:
    (saved / "tokenizer_config.json").unlink()
    (saved / "vocab.txt").unlink()
    tokenizer = cls.from_pretrained(saved)
    assert (tokenizer.do_lower_case, tokenizer.strip_accents, tokenizer.model_max_length) == (False, False, 512)
    assert cls.from_pretrained(saved, do_lower_case=True).tokenize("LOWER") == ["low", "##er"]
    assert cls(tokenizer_file=saved / "tokenizer.json").tokenize("newyork") == ["newyork"]


def test_vocab_alone(cls: Any, tmp_path: Path) -> None:
    for text in ("\n".join(VOCAB), "\r\n".join(VOCAB) + "\r\n"):
        (tmp_path / "vocab.txt").write_bytes(text.encode())
        tokenizer = cls.from_pretrained(tmp_path)
        assert tokenizer.get_vocab() == {token: index for index, token in enumerate(VOCAB)}
        assert cls(tmp_path / "vocab.txt")("Lower")["input_ids"] == [2, 5, 6, 3]


def test_older_files(cls: Any, tmp_path: Path) -> None:
    """What transformers 4 and the hub have: special_tokens_map.json, added_tokens.json, older tokenizer.json."""
    (tmp_path / "vocab.txt").write_text("\n".join(["<mask>", *VOCAB]), encoding="utf-8")
    (tmp_path / "special_tokens_map.json").write_text(
        json.dumps({"mask_token": {"content": "<mask>", "lstrip": True}, "additional_special_tokens": ["<x>"]})
    )
    (tmp_path / "added_tokens.json").write_text(json.dumps({"<x>": 11, "newyork": 12}))
    tokenizer = cls.from_pretrained(tmp_path)
    assert tokenizer.mask_token_id == 0 and len(tokenizer) == 13
    assert tokenizer.tokenize("<mask> NEWYORK <x>") == ["<mask>", "newyork", "<x>"]
    assert tokenizer.decode([11, 12], skip_special_tokens=True) == "newyork"


@pytest.mark.parametrize(
    "change",
    [
        lambda content: content["model"].pop("type"),
        lambda content: content.update(
            post_processor={"type": "BertProcessing", "sep": ["[SEP]", 3], "cls": ["[CLS]", 2]}
        ),
        lambda content: content.update(truncation={"direction": "Right", "max_length": 8, "strategy": "LongestFirst"}),
        lambda content: content["added_tokens"].reverse(),
    ],
)
def test_other_forms_of_tokenizer_json(cls: Any, saved: Path, change: Callable[[Any], Any]) -> None:
    expected = cls.from_pretrained(saved)(TEXT)
    edit(saved / "tokenizer.json", lambda content: change(content) and None)
    assert cls.from_pretrained(saved)(TEXT) == expected


@pytest.mark.parametrize(
    ("given", "positions", "length"),
    [(None, None, 512), (10**30, None, 512), (1e30, 64, 64), (128, None, 128), (1024, None, 1024), (128, 64, 64)],
)
def test_model_max_length(cls: Any, tmp_path: Path, given: Any, positions: int | None, length: int) -> None:
    (tmp_path / "vocab.txt").write_text("\n".join(VOCAB), encoding="utf-8")
    if given is not None:
        (tmp_path / "tokenizer_config.json").write_text(json.dumps({"model_max_length": given}))
    if positions is not None:
        (tmp_path / "config.json").write_text(json.dumps({"max_position_embeddings": positions}))
    assert cls.from_pretrained(tmp_path).model_max_length == length
    assert cls.from_pretrained(tmp_path, model_max_length=7).model_max_length == 7


def test_python_options_survive(tmp_path: Path) -> None:
    MobileBertTokenizer(vocab=VOCAB, never_split=["low,"], do_basic_tokenize=True).save_pretrained(tmp_path)
    assert MobileBertTokenizer.from_pretrained(tmp_path).tokenize("low, low,a") == ["low,", "low", ",", "a"]
    with pytest.raises(CheckpointError, match="never_split"):
        MobileBertTokenizerFast.from_pretrained(tmp_path)


def test_saving_the_vocabulary(cls: Any, tmp_path: Path) -> None:
    tokenizer = cls(vocab=VOCAB)
    tokenizer.add_tokens(["newyork"])
    [path] = tokenizer.save_vocabulary(tmp_path, filename_prefix="small")
    assert Path(path) == tmp_path / "small-vocab.txt"
    assert cls(path).get_vocab() == {token: index for index, token in enumerate(VOCAB)}
    with pytest.raises(ValueError, match="line breaks"):
        cls(vocab=[*VOCAB, "a\nb"]).save_vocabulary(tmp_path)


@pytest.mark.parametrize("prefix", [None, "small"])
def test_contents_are_the_files_that_saving_writes(cls: Any, tmp_path: Path, prefix: str | None) -> None:
    tokenizer = cls(vocab=VOCAB, additional_special_tokens=["<x>"])
    contents = tokenizer.contents(filename_prefix=prefix)
    paths = tokenizer.save_pretrained(tmp_path, filename_prefix=prefix)
    assert {str(tmp_path / name): content for name, content in contents.items()} == {
        path: Path(path).read_bytes() for path in paths
    }
    assert all(name.startswith("small-") == (prefix == "small") for name in contents) and len(contents) == 3
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([*contents, "manifest.json"])
    with pytest.raises(ValueError, match="line breaks"):
        cls(vocab=[*VOCAB, "a\nb"]).contents()


def test_a_changed_file_is_noticed(cls: Any, saved: Path) -> None:
    with open(saved / "vocab.txt", "a", encoding="utf-8") as file:
        file.write("more\n")
    with pytest.raises(CheckpointError, match=r"vocab\.txt"):
        cls.from_pretrained(saved)


def test_saving_over_a_saved_one(cls: Any, saved: Path) -> None:
    cls(vocab=[*VOCAB, "more"]).save_pretrained(saved)
    assert cls.from_pretrained(saved).tokenize("more") == ["more"]


# Hostile files


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "the vocabulary is empty"),
        (b"[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\n\xff\xfe\n", "line 6 is not UTF-8"),
        (b"[PAD]\n[UNK]\n\n[CLS]\n", "line 3: a token is empty"),
        (b"[PAD]\n[UNK]\n[PAD]\n", "line 3 repeats the token '\\[PAD\\]' of line 1"),
        (b"a\nb\n", "lacks the special tokens \\[CLS\\], \\[MASK\\], \\[PAD\\], \\[SEP\\], \\[UNK\\]"),
        (b"a" * 2000, "line 1: a token has 2,000 characters"),
        (b"a\n" * (5 << 20), "larger than"),
    ],
)
def test_bad_vocabulary(cls: Any, tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "vocab.txt").write_bytes(content)
    for load in (lambda: cls(tmp_path / "vocab.txt"), lambda: cls.from_pretrained(tmp_path)):
        with pytest.raises(CheckpointError, match=message) as error:
            load()
        assert str(tmp_path) in str(error.value)


def put(*path: Any) -> Callable[[Any], Callable[[Any], None]]:
    """put("model", "type")("BPE") sets that entry of a JSON object."""

    def to(value: Any) -> Callable[[Any], None]:
        def change(content: Any) -> None:
            for key in path[:-1]:
                content = content[key]
            content[path[-1]] = value

        return change

    return to


BAD_TOKENIZERS: dict[str, tuple[Callable[[Any], Any], str]] = {
    "model of another kind": (put("model", "type")("BPE"), "model is of type 'BPE'"),
    "no model": (put("model")(None), "model is missing"),
    "model is a list": (put("model")([]), "model is missing"),
    "model with more": (put("model", "dropout")(0.1), "model has unknown keys"),
    "other prefix": (put("model", "continuing_subword_prefix")("@@"), "continuing_subword_prefix is '@@'"),
    "prefix of another type": (put("model", "continuing_subword_prefix")(5), "continuing_subword_prefix is 5"),
    "huge words": (put("model", "max_input_chars_per_word")(1 << 63), "max_input_chars_per_word"),
    "negative words": (put("model", "max_input_chars_per_word")(-1), "max_input_chars_per_word"),
    "words as a number with a point": (put("model", "max_input_chars_per_word")(100.0), "max_input_chars_per_word"),
    "vocab is a list": (put("model", "vocab")(["a"]), "not a mapping"),
    "vocab is empty": (put("model", "vocab")({}), "the vocabulary is empty"),
    "vocab has a text id": (put("model", "vocab", "low")("5"), "not a mapping"),
    "vocab has a bool id": (put("model", "vocab", "low")(True), "not a mapping"),
    "vocab has a negative id": (put("model", "vocab", "low")(-5), "not 0 to 9"),
    "vocab has a huge id": (put("model", "vocab", "low")(1 << 70), "not 0 to 9"),
    "vocab has an id twice": (put("model", "vocab", "low")(7), "not 0 to 9"),
    "vocab has an empty token": (put("model", "vocab", "")(10), "a token is empty"),
    "vocab has a surrogate": (put("model", "vocab", "\ud800")(10), "lone surrogate"),
    "vocab has a long token": (put("model", "vocab", "x" * 5000)(10), "5,000 characters"),
    "unknown token is a number": (put("model", "unk_token")(5), "unk_token: a token must be a str"),
    "unknown token is missing": (put("model", "unk_token")("<unk>"), "lacks the special tokens <unk>"),
    "no normalizer": (put("normalizer")(None), "normalizer is missing"),
    "normalizer sequence": (
        put("normalizer")({"type": "Sequence", "normalizers": []}),
        "normalizer is of type 'Sequence'",
    ),
    "regular expression": (
        put("normalizer")({"type": "Replace", "pattern": {"Regex": "(a*)*b"}, "content": ""}),
        "normalizer is of type 'Replace'",
    ),
    "precompiled": (put("normalizer")({"type": "Precompiled", "precompiled_charsmap": "AAAA"}), "'Precompiled'"),
    "type is a list": (put("normalizer", "type")(["BertNormalizer"]), "normalizer is of type"),
    "no cleaning": (put("normalizer", "clean_text")(False), "normalizer.clean_text is False"),
    "lowercase is a text": (put("normalizer", "lowercase")("yes"), "do_lower_case is 'yes'"),
    "accents are a number": (put("normalizer", "strip_accents")(1), "strip_accents is 1"),
    "other pre-tokenizer": (put("pre_tokenizer")({"type": "Whitespace"}), "pre_tokenizer is of type 'Whitespace'"),
    "pre-tokenizer with more": (put("pre_tokenizer", "pattern")("x"), "pre_tokenizer has unknown keys"),
    "other decoder": (put("decoder")({"type": "ByteLevel"}), "decoder is of type 'ByteLevel'"),
    "no clean-up": (put("decoder", "cleanup")(False), "decoder.cleanup is False"),
    "no post-processor": (put("post_processor")(None), "post_processor is not the standard"),
    "post-processor of another kind": (put("post_processor", "type")("RobertaProcessing"), "post_processor is not"),
    "template without a piece": (put("post_processor", "single")([]), "post_processor is not"),
    "template with another type id": (
        put("post_processor", "single", 0, "SpecialToken", "type_id")(9),
        "post_processor is not",
    ),
    "template with a wrong id": (
        put("post_processor", "special_tokens", "[CLS]", "ids")([99]),
        "post_processor is not",
    ),
    "template with no ids": (put("post_processor", "special_tokens", "[CLS]", "ids")([]), "post_processor is not"),
    "template with an unknown token": (
        put("post_processor", "single", 0, "SpecialToken", "id")("<s>"),
        "post_processor is not",
    ),
    "template with a list for a name": (
        put("post_processor", "single", 0, "SpecialToken", "id")(["[CLS]"]),
        "post_processor is not",
    ),
    "template is a text": (put("post_processor", "single")("$A"), "post_processor is not"),
    "added tokens are an object": (put("added_tokens")({}), "added_tokens is not a list"),
    "added tokens are texts": (put("added_tokens")(["[CLS]"]), "added_tokens is not a list"),
    "added token without content": (put("added_tokens", 0, "content")(None), "a token must be a str"),
    "added token with a wrong id": (put("added_tokens", 0, "id")(5), "has the id 5 instead of 0"),
    "added token with a far id": (put("added_tokens", 6, "id")(1 << 62), "instead of 11"),
    "added token with a text id": (put("added_tokens", 6, "id")("11"), "has the id '11'"),
    "added token with a negative id": (put("added_tokens", 6, "id")(-1), "has the id -1"),
    "added token twice": (lambda content: content["added_tokens"].append(content["added_tokens"][0]), "instead of"),
    "added token with a text flag": (put("added_tokens", 0, "lstrip")("no"), "a flag that is not true or false"),
    "added token with more": (put("added_tokens", 0, "regex")("x"), "has an unknown field"),
    "unknown part": (put("plugin")("x"), "has unknown parts: 'plugin'"),
}


@pytest.mark.parametrize("case", BAD_TOKENIZERS)
def test_bad_tokenizer_json(cls: Any, saved: Path, case: str) -> None:
    change, message = BAD_TOKENIZERS[case]
    (saved / "vocab.txt").unlink()
    (saved / "tokenizer_config.json").unlink()
    edit(saved / "tokenizer.json", lambda content: change(content) and None)
    with pytest.raises(CheckpointError, match=message) as error:
        cls.from_pretrained(saved)
    assert str(saved) in str(error.value)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"[]",
        b"null",
        b"\xff",
        b"{" * 100_000,
        b"[" * 100_000,
        b'{"a": NaN}',
        b'{"a": 1, "a": 2}',
        b'{"model": 1e999}',
    ],
)
@pytest.mark.parametrize("name", ["tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "config.json"])
def test_bad_json(cls: Any, saved: Path, name: str, content: bytes) -> None:
    (saved / "manifest.json").unlink()
    (saved / name).write_bytes(content)
    with pytest.raises(CheckpointError, match=name):
        cls.from_pretrained(saved)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("tokenizer_config.json", {"do_lower_case": "false"}, "do_lower_case is 'false'"),
        ("tokenizer_config.json", {"do_lower_case": 1}, "do_lower_case is 1"),
        ("tokenizer_config.json", {"model_max_length": "512"}, "model_max_length is '512'"),
        ("tokenizer_config.json", {"padding_side": "top"}, "padding_side"),
        ("tokenizer_config.json", {"cls_token": 5}, "cls_token: a token must be a str"),
        ("tokenizer_config.json", {"cls_token": {"text": "a"}}, "cls_token: a token must be a str"),
        ("tokenizer_config.json", {"cls_token": "<s>"}, "lacks the special tokens <s>"),
        ("tokenizer_config.json", {"added_tokens_decoder": []}, "does not map ids to tokens"),
        ("tokenizer_config.json", {"added_tokens_decoder": {"x": {"content": "a"}}}, "has the id 'x'"),
        ("tokenizer_config.json", {"added_tokens_decoder": {"9" * 30: {"content": "b"}}}, "has the id '999"),
        ("tokenizer_config.json", {"never_split": [5]}, "never_split"),
        ("special_tokens_map.json", {"pad_token": ["a"]}, "pad_token: a token must be a str"),
        ("added_tokens.json", {"b": "11"}, "has the id '11'"),
        ("config.json", {"max_position_embeddings": 0}, "max_position_embeddings is 0"),
        ("config.json", {"max_position_embeddings": True}, "max_position_embeddings is True"),
    ],
)
def test_bad_values(cls: Any, tmp_path: Path, name: str, content: Any, message: str) -> None:
    (tmp_path / "vocab.txt").write_text("\n".join(VOCAB), encoding="utf-8")
    (tmp_path / name).write_text(json.dumps(content))
    with pytest.raises(CheckpointError, match=message):
        cls.from_pretrained(tmp_path)


def test_files_that_disagree(cls: Any, saved: Path) -> None:
    edit(saved / "tokenizer.json", lambda content: content["model"]["vocab"].update({"low": 7, "a": 5}))
    with pytest.raises(CheckpointError, match=r"vocab.txt: does not agree with tokenizer.json beside it, from id 5 on"):
        cls.from_pretrained(saved)


def test_no_files(cls: Any, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"neither tokenizer.json nor vocab.txt"):
        cls.from_pretrained(tmp_path)
    with pytest.raises(CheckpointError, match="is not a directory"):
        cls.from_pretrained(tmp_path / "nothing")
    with pytest.raises(CheckpointError, match="cannot be read"):
        cls(tmp_path / "vocab.txt")


# Ill-behaved folders


FILES = ["vocab.txt", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", "config.json"]


def link_to_itself(path: Path) -> None:
    path.symlink_to(path.name)


@contextmanager
def as_nobody() -> Iterator[None]:
    """Permissions mean nothing to root."""
    if os.geteuid():
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.fixture
def shared() -> Iterator[Path]:
    """A folder with a saved tokenizer, which another user can reach and owns where this one is root."""
    with tempfile.TemporaryDirectory() as parent:
        folder = Path(parent) / "saved"
        MobileBertTokenizer(vocab=VOCAB).save_pretrained(folder)
        os.chmod(parent, 0o755)
        if not os.geteuid():
            for path in (folder, *folder.iterdir()):
                os.chown(path, 65534, 65534)
        yield folder
        os.chmod(folder, 0o755)


@pytest.mark.parametrize("make", [Path.mkdir, os.mkfifo, link_to_itself], ids=["folder", "pipe", "loop"])
@pytest.mark.parametrize("name", [*FILES, "manifest.json"])
def test_a_file_that_is_none(cls: Any, saved: Path, name: str, make: Callable[[Path], None]) -> None:
    (saved / name).unlink(missing_ok=True)
    make(saved / name)
    with pytest.raises(CheckpointError, match=re.escape(str(saved / name))):
        cls.from_pretrained(saved)
    if name in ("vocab.txt", "tokenizer.json"):
        with pytest.raises(CheckpointError, match=re.escape(str(saved / name))):
            cls(**{"vocab_file" if name == "vocab.txt" else "tokenizer_file": saved / name})


@pytest.mark.parametrize("mode", [0o000, 0o200, 0o600], ids=oct)
def test_a_folder_that_cannot_be_searched(cls: Any, shared: Path, mode: int) -> None:
    tokenizer = cls.from_pretrained(shared)
    shared.chmod(mode)
    with as_nobody():
        for call in (
            lambda: cls.from_pretrained(shared),
            lambda: cls(shared / "vocab.txt"),
            lambda: cls(tokenizer_file=shared / "tokenizer.json"),
            lambda: tokenizer.save_pretrained(shared),
        ):
            with pytest.raises((CheckpointError, OSError)) as error:
                call()
            assert str(shared) in str(error.value) and "ermission denied" in str(error.value)


@pytest.mark.parametrize("name", ["vocab.txt", "tokenizer.json", "tokenizer_config.json", "manifest.json"])
def test_a_file_that_cannot_be_read(cls: Any, shared: Path, name: str) -> None:
    cls.from_pretrained(shared)
    (shared / name).chmod(0)
    with as_nobody(), pytest.raises((CheckpointError, OSError)) as error:
        cls.from_pretrained(shared)
    assert str(shared / name) in str(error.value) and "ermission denied" in str(error.value)


def test_a_folder_that_cannot_be_written(cls: Any, shared: Path) -> None:
    tokenizer = cls(vocab=[*VOCAB, "more"])
    shared.chmod(0o555)
    with as_nobody():
        for save in (tokenizer.save_pretrained, tokenizer.save_vocabulary):
            with pytest.raises(PermissionError, match=re.escape(str(shared))):
                save(shared)
            with pytest.raises(PermissionError, match=re.escape(str(shared / "new"))):
                save(shared / "new")
        assert len(cls.from_pretrained(shared)) == len(VOCAB)


@pytest.mark.parametrize("name", ["x" * 300, "x" * 5000, "x/" * 2500], ids=["name", "long name", "path"])
def test_names_too_long(cls: Any, tmp_path: Path, name: str) -> None:
    path, tokenizer = tmp_path / name, cls(vocab=VOCAB)
    for call in (
        lambda: cls.from_pretrained(path),
        lambda: cls.from_pretrained(str(path)),
        lambda: cls(path),
        lambda: cls(tokenizer_file=path),
        lambda: tokenizer.save_pretrained(path),
    ):
        with pytest.raises((CheckpointError, OSError)) as error:
            call()
        assert str(tmp_path) in str(error.value)
        assert "ame too long" in str(error.value) or "is neither a local folder nor a hub name" in str(error.value)


@pytest.mark.parametrize("length", [200, 230, 245, 300, 5000])
def test_a_prefix_too_long(cls: Any, saved: Path, length: int) -> None:
    """Written whole or not at all; a hidden name is longer than the name."""
    before = {path.name: path.read_bytes() for path in saved.iterdir()}
    try:
        cls(vocab=VOCAB).save_pretrained(saved, filename_prefix="x" * length)
    except OSError as error:
        assert length > 200 and "x" * length in str(error) and str(saved) in str(error)
        assert {path.name: path.read_bytes() for path in saved.iterdir()} == before
    else:
        assert cls.from_pretrained(saved)(TEXT)["input_ids"] and len(list(saved.iterdir())) == len(before) + 3


def test_a_file_where_the_folder_should_be(cls: Any, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    for folder in (tmp_path / "file", tmp_path / "file" / "inner"):
        with pytest.raises(OSError, match=re.escape(str(tmp_path / "file"))):
            cls(vocab=VOCAB).save_pretrained(folder)
        with pytest.raises(CheckpointError, match=re.escape(str(tmp_path / "file"))):
            cls.from_pretrained(folder)


@pytest.mark.parametrize("room", [0, 100, 1500])
def test_a_full_disk(cls: Any, saved: Path, room: int) -> None:
    """A file-size limit stands for it: no file gets longer than `room` bytes."""
    before = {path.name: path.read_bytes() for path in saved.iterdir()}
    tokenizer = cls(vocab=[*VOCAB, *(f"more{number}" for number in range(300))])
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (room, limits[1]))
    try:
        for save in (tokenizer.save_pretrained, tokenizer.save_vocabulary):
            with pytest.raises(OSError, match=re.escape(str(saved))) as error:
                save(saved)
            assert error.value.errno == errno.EFBIG
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert {path.name: path.read_bytes() for path in saved.iterdir()} == before
    assert cls.from_pretrained(saved)(TEXT)["input_ids"] == [2, 1, 10, 7, 1, 11, 9, 5, 3]


def test_the_options_are_laid_out_as_transformers_does(cls: Any, tmp_path: Path) -> None:
    """So that saving again with either library changes no line."""
    cls(vocab=VOCAB, additional_special_tokens=["<\u00e9>"]).save_pretrained(tmp_path)
    text = (tmp_path / "tokenizer_config.json").read_text(encoding="utf-8")
    assert text == json.dumps(json.loads(text), ensure_ascii=False, indent=2, sort_keys=True) + "\n"


@pytest.mark.parametrize("file", ["tokenizer_config.json", "special_tokens_map.json"])
def test_special_tokens_of_transformers_4_beside_an_empty_list_of_5(file: str, tmp_path: Path) -> None:
    """transformers 4.57 writes both names, the newer one empty."""
    (tmp_path / "vocab.txt").write_text("\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "<one>"]))
    for newer in ({}, [], ["[MASK]"]):
        (tmp_path / file).write_text(json.dumps({"additional_special_tokens": ["<one>"], "extra_special_tokens": newer}))
        for cls in (MobileBertTokenizer, MobileBertTokenizerFast):
            assert cls.from_pretrained(tmp_path).additional_special_tokens[:1] == ["<one>"]
