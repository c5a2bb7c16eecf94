"""The files of a tokenizer: vocab.txt, tokenizer.json, tokenizer_config.json, and those that older transformers write.

tokenizer.json is read as data: its components must be those of a MobileBERT tokenizer, and their values are checked. The Rust
tokenizer is built from the values, because a crafted file can make the library panic or abort.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tokenizers import AddedToken

from ..errors import CheckpointError, shortened
from ..files.folder import Folder, read_consistently
from ..files.strict_json import MAX_JSON, parse_json, read_bytes

VOCAB_FILE = "vocab.txt"
TOKENIZER_FILE = "tokenizer.json"
CONFIG_FILE = "tokenizer_config.json"
MAP_FILE = "special_tokens_map.json"
ADDED_FILE = "added_tokens.json"
MODEL_CONFIG_FILE = "config.json"

BOM = b"\xef\xbb\xbf"  # which some editors put at the beginning of a file

MAX_VOCAB_BYTES = 4 << 20  # a vocabulary of a hundred languages has one million
MAX_TOKENIZER_BYTES = 6 << 20  # a vocabulary of a hundred languages takes two million
MAX_TOKENS = 250_000
MAX_TOKEN = 1000  # characters
MAX_ADDED, MAX_ADDED_CHARACTERS = 10_000, 200_000  # in a list of tokens to look for in texts

# the files of a tokenizer, with the maximum size in bytes
FILES: dict[str, int] = {
    VOCAB_FILE: MAX_VOCAB_BYTES,
    TOKENIZER_FILE: MAX_TOKENIZER_BYTES,
    **dict.fromkeys((CONFIG_FILE, MAP_FILE, ADDED_FILE, MODEL_CONFIG_FILE), MAX_JSON),
}

# Options of a tokenizer and their types in tokenizer_config.json, in the order in which they are written
OPTIONS: dict[str, tuple[type, ...]] = {
    "additional_special_tokens": (list,),
    "clean_up_tokenization_spaces": (bool,),
    "do_basic_tokenize": (bool,),
    "do_lower_case": (bool,),
    "model_input_names": (list,),
    "model_max_length": (int,),
    "never_split": (list, type(None)),
    "padding_side": (str,),
    "split_special_tokens": (bool,),
    "strip_accents": (bool, type(None)),
    "tokenize_chinese_chars": (bool,),
    "truncation_side": (str,),
}
# in the order in which transformers lists them
ROLES = ("bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token")
ADDED_ROLES = ("bos_token", "eos_token")  # BERT does not use them, so its vocabulary need not have them
OPTIONAL_ROLES = (*ADDED_ROLES, "pad_token", "mask_token")  # a tokenizer can be saved without
ADDITIONAL = ("additional_special_tokens", "extra_special_tokens")  # in transformers 4 and 5
FLAGS = ("single_word", "lstrip", "rstrip", "normalized", "special")
NORMALIZER_OPTIONS = {
    "lowercase": "do_lower_case",
    "strip_accents": "strip_accents",
    "handle_chinese_chars": "tokenize_chinese_chars",
}


@dataclass
class Stored:
    """What the files contain: the tokens in the order of their ids, the added tokens, and constructor options."""

    tokens: list[str]
    added: dict[int, AddedToken] = field(default_factory=dict)
    options: dict[str, Any] = field(default_factory=dict)


def read_directory(directory: Path | Folder, default_length: int, unlimited: int) -> Stored:
    """Read the files of a directory; see MobileBertTokenizerBase.from_pretrained."""
    if isinstance(directory, Path) and not directory.is_dir():
        raise CheckpointError(directory, "is not a directory")
    return read_consistently(directory, lambda folder: read_folder(folder, default_length, unlimited))


def read_folder(folder: Folder, default_length: int, unlimited: int) -> Stored:
    """`read_directory` for an opened directory."""
    data = {name: folder.read(name, max_bytes) for name, max_bytes in FILES.items() if folder.has(name)}
    paths = {name: folder.path / name for name in FILES}

    def parsed(name: str) -> dict[str, Any]:
        return parse_json(paths[name], data[name]) if name in data else {}

    if TOKENIZER_FILE in data:
        stored = parse_tokenizer(paths[TOKENIZER_FILE], data[TOKENIZER_FILE])
        if VOCAB_FILE in data:
            _compare(stored.tokens, parse_vocabulary(paths[VOCAB_FILE], data[VOCAB_FILE]), paths[VOCAB_FILE])
    elif VOCAB_FILE in data:
        stored = Stored(parse_vocabulary(paths[VOCAB_FILE], data[VOCAB_FILE]))
    else:
        raise CheckpointError(folder.path, f"has neither {TOKENIZER_FILE} nor {VOCAB_FILE}")
    stored.options.update(_special_options(paths[MAP_FILE], parsed(MAP_FILE)))
    config = parsed(CONFIG_FILE)
    stored.options.update(_options(paths[CONFIG_FILE], config))
    if TOKENIZER_FILE not in data:
        stored.added = _added_from_config(paths[CONFIG_FILE], config, stored.tokens)
        if not stored.added:
            stored.added = _added_from_ids(paths[ADDED_FILE], parsed(ADDED_FILE), stored)
    positions = parsed(MODEL_CONFIG_FILE).get("max_position_embeddings")
    stored.options["model_max_length"] = _length(
        paths[MODEL_CONFIG_FILE], stored.options.get("model_max_length"), positions, default_length, unlimited
    )
    return stored


def read_vocabulary(path: Path) -> list[str]:
    """`parse_vocabulary` of a file."""
    return parse_vocabulary(path, read_bytes(path, MAX_VOCAB_BYTES))


def parse_vocabulary(path: Path, data: bytes) -> list[str]:
    """Parse vocab.txt: one token per line; its id is the line number, counted from 0.

    Args:
        path: of the file, for errors.
    Raises:
        CheckpointError: the file is unusable; the message names the line, counted from 1.
    """
    data = data.removeprefix(BOM)
    if data.count(b"\n") > MAX_TOKENS:
        raise CheckpointError(path, f"has more than {MAX_TOKENS:,} lines")
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        line = 1 + error.object[: error.start].count(b"\n")
        raise CheckpointError(path, f"line {line} is not UTF-8") from None
    lines = [line.removesuffix("\r") for line in text.split("\n")]
    while lines and not lines[-1]:  # blank lines at the end are no tokens
        del lines[-1]
    try:
        return checked_tokens(lines)
    except ValueError as error:
        raise CheckpointError(path, str(error)) from None


def checked_tokens(vocab: Sequence[str] | Mapping[str, int]) -> list[str]:
    """Return the tokens of a vocabulary in the order of their ids, after a check that each is valid and none occurs twice.

    Raises:
        ValueError: one is not; the message names the line, counted from 1.
    """
    if isinstance(vocab, Mapping):
        by_id = {index: token for token, index in vocab.items()}
        if sorted(by_id) != list(range(len(vocab))):
            raise ValueError(f"the ids of the vocabulary are not 0 to {len(vocab) - 1}")
        vocab = [by_id[index] for index in range(len(by_id))]
    tokens = list(vocab)
    if not tokens:
        raise ValueError("the vocabulary is empty")
    first: dict[str, int] = {}
    for line, token in enumerate(tokens, 1):
        try:
            check_token(token)
        except (TypeError, ValueError) as error:
            raise ValueError(f"line {line}: {error}") from None
        if token in first:
            raise ValueError(f"line {line} repeats the token {token!r} of line {first[token]}")
        first[token] = line
    return tokens


def check_token(token: Any) -> str:
    """Return the token after a check that it is a str, not empty, not too long, and valid Unicode."""
    if not isinstance(token, str):
        raise TypeError(f"a token must be a str, not {type(token).__name__}")
    if not token:
        raise ValueError("a token is empty")
    if len(token) > MAX_TOKEN:
        raise ValueError(f"a token has {len(token):,} characters; at most {MAX_TOKEN:,} are allowed")
    if not token.isascii() and any("\ud800" <= char <= "\udfff" for char in token):
        raise ValueError(f"the token {token!r} has a lone surrogate")
    return token


def token_list(name: str, value: Any) -> list[str | AddedToken]:
    """Check an argument that takes a list of tokens; None is an empty one."""
    if value is not None and not (
        isinstance(value, list | tuple) and all(isinstance(token, str | AddedToken) for token in value)
    ):
        raise ValueError(f"{name} must be a list of str or AddedToken, not {value!r:.80}")
    return list(value or ())


def read_tokenizer(path: Path) -> Stored:
    """`parse_tokenizer` of a file."""
    return parse_tokenizer(path, read_bytes(path, MAX_TOKENIZER_BYTES))


def parse_tokenizer(path: Path, data: bytes) -> Stored:
    """Parse tokenizer.json as data. Its truncation and padding are leftovers of a call and are ignored.

    Args:
        path: of the file, for errors.
    Raises:
        CheckpointError: a component is not that of a MobileBERT tokenizer; the message names it.
    """
    content = parse_json(path, data)
    unknown = sorted(content.keys() - _TOKENIZER_KEYS)
    if unknown:
        raise CheckpointError(path, f"has unknown parts: {shortened([*map(repr, unknown)], ', ')}")
    model, normalizer, _, _ = (
        _part(path, content, name) for name in ("model", "normalizer", "pre_tokenizer", "decoder")
    )
    vocab, unk = model.get("vocab"), model.get("unk_token", "[UNK]")
    if not isinstance(vocab, dict) or not all(type(index) is int for index in vocab.values()):
        raise CheckpointError(path, "model.vocab is not a mapping from tokens to ids")
    try:
        tokens = checked_tokens(vocab)
    except ValueError as error:
        raise CheckpointError(path, f"model.vocab: {error}") from None
    added = _added(path, "added_tokens", content.get("added_tokens", []), tokens)
    options: dict[str, Any] = {"unk_token": unk, **_frame(path, content.get("post_processor"), tokens, added)}
    for name, option in NORMALIZER_OPTIONS.items():
        if name in normalizer:
            options[option] = normalizer[name]
    return Stored(tokens, added, _options(path, options))


def vocabulary_text(tokens: Sequence[str]) -> bytes:
    """Return the content of vocab.txt."""
    broken = [token for token in tokens if "\n" in token or token.endswith("\r")]
    if broken:
        raise ValueError(f"vocab.txt cannot store these tokens, which have line breaks: {', '.join(map(repr, broken))}")
    return "".join(f"{token}\n" for token in tokens).encode()


def tokenizer_text(arguments: Mapping[str, Any]) -> bytes:
    """Return the content of tokenizer.json, as the Rust library writes it.

    Args:
        arguments: the constructor's.
    """
    tokens, added = arguments["vocab"], arguments["added_tokens_decoder"]
    ids = {token: index for index, token in enumerate(tokens)} | {
        token.content: index for index, token in added.items()
    }
    cls, sep = arguments["cls_token"], arguments["sep_token"]
    content = {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [{"id": index, **_as_dict(token)} for index, token in added.items()],
        "normalizer": {
            "type": "BertNormalizer",
            "clean_text": True,
            **{name: arguments[option] for name, option in NORMALIZER_OPTIONS.items()},
        },
        "pre_tokenizer": {"type": "BertPreTokenizer"},
        "post_processor": _template(cls, ids[cls], sep, ids[sep]),
        "decoder": {"type": "WordPiece", "prefix": "##", "cleanup": True},
        "model": {
            "type": "WordPiece",
            "unk_token": arguments["unk_token"],
            "continuing_subword_prefix": "##",
            "max_input_chars_per_word": 100,
            "vocab": {token: index for index, token in enumerate(tokens)},
        },
    }
    return (json.dumps(content, ensure_ascii=False, indent=2) + "\n").encode()


def config_text(arguments: Mapping[str, Any]) -> bytes:
    """Return the content of tokenizer_config.json, for this package and for transformers.

    Args:
        arguments: the constructor's.
    """
    content = {name: arguments[name] for name in (*OPTIONS, *ROLES) if name not in ADDED_ROLES or arguments[name]}
    content["added_tokens_decoder"] = {
        str(index): _as_dict(token) for index, token in arguments["added_tokens_decoder"].items()
    }
    content["tokenizer_class"] = "MobileBertTokenizer"
    return (json.dumps(content, ensure_ascii=False, indent=2, sort_keys=True) + "\n").encode()


_TOKENIZER_KEYS = set(
    [
        "version",
        "truncation",
        "padding",
        "added_tokens",
        "normalizer",
        "pre_tokenizer",
        "post_processor",
        "decoder",
        "model",
    ]
)


@dataclass(frozen=True)
class Allowed:
    """What is allowed in a component of tokenizer.json: its type, keys that are checked elsewhere, and fixed values."""

    type: str
    free: frozenset[str] = frozenset()
    fixed: Mapping[str, Any] = field(default_factory=dict)


_ALLOWED = {
    "model": Allowed(
        "WordPiece",
        frozenset({"unk_token", "vocab"}),
        {"continuing_subword_prefix": "##", "max_input_chars_per_word": 100},
    ),
    "normalizer": Allowed("BertNormalizer", frozenset(NORMALIZER_OPTIONS), {"clean_text": True}),
    "pre_tokenizer": Allowed("BertPreTokenizer"),
    "decoder": Allowed("WordPiece", fixed={"prefix": "##", "cleanup": True}),
}


def _part(path: Path, content: Mapping[str, Any], name: str) -> dict[str, Any]:
    """Return a component of tokenizer.json after a check against what is allowed."""
    part, allowed = content.get(name), _ALLOWED[name]
    if not isinstance(part, dict):
        raise CheckpointError(path, f"{name} is missing, or not an object")
    kind = part.get("type", allowed.type if name == "model" else None)  # older files lack the type of the model
    if kind != allowed.type:
        raise CheckpointError(path, f"{name} is of type {_short(kind)}; a MobileBERT tokenizer has {allowed.type}")
    unknown = sorted(part.keys() - allowed.free - allowed.fixed.keys() - {"type"})
    if unknown:
        raise CheckpointError(path, f"{name} has unknown keys: {_short(unknown)}")
    for key, value in allowed.fixed.items():
        given = part.get(key, value)
        if given != value or type(given) is not type(value):
            raise CheckpointError(path, f"{name}.{key} is {_short(given)}; a MobileBERT tokenizer has {value!r}")
    return part


def _frame(path: Path, processor: Any, tokens: Sequence[str], added: Mapping[int, AddedToken]) -> dict[str, str]:
    """Return the [CLS] and [SEP] of a post-processor, which must be one of the two that a MobileBERT tokenizer can have."""
    standard: tuple[dict[str, Any], ...] = ()
    try:
        if processor["type"] == "BertProcessing":
            cls, sep = processor["cls"][0], processor["sep"][0]
        else:
            cls, sep = (processor["single"][place]["SpecialToken"]["id"] for place in (0, 2))
        ids = {token: index for index, token in enumerate(tokens)} | {
            token.content: index for index, token in added.items()
        }
        standard = _template(cls, ids[cls], sep, ids[sep]), _bert_processing(cls, ids[cls], sep, ids[sep])
    except (KeyError, IndexError, TypeError):
        pass  # something is missing, so it cannot be a standard one
    if not any(json.dumps(processor, sort_keys=True) == json.dumps(form, sort_keys=True) for form in standard):
        raise CheckpointError(
            path, "post_processor is not the standard [CLS] A [SEP] B [SEP] with tokens of the vocabulary"
        )
    return {"cls_token": cls, "sep_token": sep}


def _template(cls: str, cls_id: int, sep: str, sep_id: int) -> dict[str, Any]:
    def special(token: str, type_id: int) -> dict[str, Any]:
        return {"SpecialToken": {"id": token, "type_id": type_id}}

    def sequence(name: str, type_id: int) -> dict[str, Any]:
        return {"Sequence": {"id": name, "type_id": type_id}}

    single = [special(cls, 0), sequence("A", 0), special(sep, 0)]
    return {
        "type": "TemplateProcessing",
        "single": single,
        "pair": [*single, sequence("B", 1), special(sep, 1)],
        "special_tokens": {
            token: {"id": token, "ids": [index], "tokens": [token]} for token, index in ((cls, cls_id), (sep, sep_id))
        },
    }


def _bert_processing(cls: str, cls_id: int, sep: str, sep_id: int) -> dict[str, Any]:
    return {"type": "BertProcessing", "sep": [sep, sep_id], "cls": [cls, cls_id]}


def _options(path: Path, content: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options and special tokens in a file; other keys are not for us."""
    options = _special_options(path, content)
    for name, kinds in OPTIONS.items():
        if name in content and name != "additional_special_tokens":
            if type(content[name]) not in kinds and not (name == "model_max_length" and type(content[name]) is float):
                raise CheckpointError(
                    path, f"{name} is {_short(content[name])}; it must be of type {kinds[0].__name__}"
                )
            options[name] = content[name]
    if options.get("never_split"):
        options["never_split"] = _tokens(path, "never_split", options["never_split"])
    return options


def _special_options(path: Path, content: Mapping[str, Any]) -> dict[str, Any]:
    """Return the special tokens in a file."""
    options: dict[str, Any] = {
        role: None if content[role] is None else _token(path, role, content[role])
        for role in ROLES
        if role in content and (content[role] is not None or role in OPTIONAL_ROLES)
    }
    for name in ADDITIONAL:  # transformers 4 writes both, and the second one empty
        more = content.get(name)
        if isinstance(more, dict):  # transformers 5 also has {name: token}
            more = [*more.values()]
        if isinstance(more, list):
            before = options.get("additional_special_tokens", [])
            options["additional_special_tokens"] = [*dict.fromkeys([*before, *_tokens(path, name, more)])]
    return options


def _tokens(path: Path, name: str, values: Sequence[Any]) -> list[str]:
    """Check a list of tokens in a file, and its length."""
    tokens = [_token(path, name, value) for value in values[: MAX_ADDED + 1]]
    if len(tokens) > MAX_ADDED or sum(map(len, tokens)) > MAX_ADDED_CHARACTERS:
        limits = f"{MAX_ADDED:,} of {MAX_ADDED_CHARACTERS:,} characters in all"
        raise CheckpointError(path, f"{name} has {len(values):,} tokens; at most {limits} are allowed")
    return tokens


def _token(path: Path, name: str, value: Any) -> str:
    """Check a token in a file: a string, or an object with its content and flags."""
    content = value.get("content") if isinstance(value, dict) else value
    try:
        return check_token(content)
    except (TypeError, ValueError) as error:
        raise CheckpointError(path, f"{name}: {error}") from None


def _added(path: Path, name: str, entries: Any, tokens: Sequence[str]) -> dict[int, AddedToken]:
    """Read added tokens from a list of objects. A token has its id in the vocabulary, or the next free one."""
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise CheckpointError(path, f"{name} is not a list of objects")
    _tokens(path, name, entries)
    ids = {token: index for index, token in enumerate(tokens)}
    added: dict[int, AddedToken] = {}
    for entry in sorted(entries, key=lambda entry: entry["id"] if type(entry.get("id")) is int else -1):
        content = _token(path, name, entry.get("content"))
        flags = {flag: entry.get(flag, False) for flag in FLAGS}
        if entry.keys() - {"id", "content", *FLAGS} or not all(isinstance(flag, bool) for flag in flags.values()):
            raise CheckpointError(path, f"{name}: the entry of {content!r} has an unknown field, or a flag that is not true or false")
        index = ids.setdefault(content, len(ids))
        if type(entry.get("id")) is not int or entry["id"] != index or index in added:
            raise CheckpointError(path, f"{name}: {content!r} has the id {_short(entry.get('id'))} instead of {index}")
        added[index] = AddedToken(content, **flags)
    return added


def _added_from_config(path: Path, config: Mapping[str, Any], tokens: Sequence[str]) -> dict[int, AddedToken]:
    decoder = config.get("added_tokens_decoder", {})
    if not isinstance(decoder, dict) or not all(isinstance(entry, dict) for entry in decoder.values()):
        raise CheckpointError(path, "added_tokens_decoder does not map ids to tokens")
    entries = [
        {"id": int(index) if index.isdecimal() and len(index) < 10 else index, **entry}
        for index, entry in decoder.items()
    ]
    return _added(path, "added_tokens_decoder", entries, tokens)


def _added_from_ids(path: Path, ids: Mapping[str, Any], stored: Stored) -> dict[int, AddedToken]:
    special = {*stored.options.get("additional_special_tokens", ()), *(stored.options.get(role) for role in ROLES)}
    entries = [
        {"id": index, "content": token, "normalized": token not in special, "special": token in special}
        for token, index in ids.items()
    ]
    return _added(path, "its tokens", entries, stored.tokens)


def _compare(tokens: Sequence[str], others: Sequence[str], path: Path) -> None:
    if tokens != others:
        pairs = enumerate(zip(tokens, others, strict=False))
        index = next((index for index, (token, other) in pairs if token != other), min(len(tokens), len(others)))
        raise CheckpointError(path, f"does not agree with {TOKENIZER_FILE} beside it, from id {index} on")


def _length(path: Path, given: Any, positions: Any, default: int, unlimited: int) -> int:
    """Return model_max_length: the given one, else the default, but at most the number of positions the model has."""
    length = int(given) if given is not None and 0 < given < unlimited else None
    if positions is None:
        return length or default
    if type(positions) is not int or positions < 1:
        raise CheckpointError(
            path, f"max_position_embeddings is {_short(positions)}; it must be a positive whole number"
        )
    return min(length or positions, positions)


def _as_dict(token: AddedToken) -> dict[str, Any]:
    return {"content": token.content, **{flag: getattr(token, flag) for flag in FLAGS}}


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
