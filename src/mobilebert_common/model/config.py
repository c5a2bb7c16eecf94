"""MobileBertConfig: the validated content of config.json."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from .. import keywords
from ..errors import CheckpointError, ConfigError
from ..files import hub
from ..files.folder import Folder, read_consistently, save_files
from ..files.strict_json import MAX_JSON
from .zoo import ZOO

CONFIG_FILE = "config.json"
MAX_CONFIG = MAX_JSON
MAX_LABELS = 10_000  # their names must fit into config.json

# bounds far above any published model reject a hostile config.json before anything is allocated
Layers = Annotated[int, Field(strict=True, ge=1, le=128)]
Count = Annotated[int, Field(strict=True, ge=1, le=256)]
Width = Annotated[int, Field(strict=True, ge=1, le=16_384)]
Size = Annotated[int, Field(strict=True, ge=1, le=1 << 22)]
Probability = Annotated[float, Field(strict=True, ge=0.0, lt=1.0, allow_inf_nan=False)]
Positive = Annotated[float, Field(strict=True, gt=0.0, le=1.0, allow_inf_nan=False)]
Flag = Annotated[bool, Field(strict=True)]

Activation = Literal["relu", "relu6", "gelu", "gelu_new", "gelu_pytorch_tanh", "silu", "tanh"]
ProblemType = Literal["regression", "single_label_classification", "multi_label_classification"]

# three forms of the same information: overriding one discards the others
LABEL_KEYS = ("num_labels", "id2label", "label2id")
DERIVED = ("true_hidden_size", "use_return_dict")


class MobileBertConfig(BaseModel):
    """The configuration of a MobileBERT, with the names and defaults of config.json on the hub.

    Unknown keys are kept and written back, but have no effect. Assigning an attribute validates the whole configuration
    and changes nothing if that fails. `id2label` determines `num_labels`; with `num_labels` alone the labels are named
    LABEL_0, LABEL_1 and so on. `true_hidden_size` is derived, and ignored in a file.

    Raises:
        ConfigError: a value is outside its range, or two values contradict each other; lists all findings.
    """

    model_config = ConfigDict(extra="allow", protected_namespaces=())

    model_type: Literal["mobilebert"] = "mobilebert"
    vocab_size: Size = 30522
    hidden_size: Width = 512
    num_hidden_layers: Layers = 24
    num_attention_heads: Count = 4
    intermediate_size: Annotated[int, Field(strict=True, ge=1, le=65_536)] = 512
    hidden_act: Activation = "relu"
    hidden_dropout_prob: Probability = 0.0
    attention_probs_dropout_prob: Probability = 0.1
    max_position_embeddings: Annotated[int, Field(strict=True, ge=1, le=1 << 17)] = 512
    type_vocab_size: Annotated[int, Field(strict=True, ge=1, le=1024)] = 2
    initializer_range: Positive = 0.02
    layer_norm_eps: Positive = 1e-12
    pad_token_id: Annotated[int, Field(strict=True, ge=0)] = 0
    embedding_size: Width = 128
    trigram_input: Flag = True
    use_bottleneck: Flag = True
    intra_bottleneck_size: Width = 128
    use_bottleneck_attention: Flag = False
    key_query_shared_bottleneck: Flag = True
    num_feedforward_networks: Annotated[int, Field(strict=True, ge=1, le=16)] = 4
    normalization_type: Literal["no_norm", "layer_norm"] = "no_norm"
    classifier_activation: Flag = True
    classifier_dropout: Probability | None = None
    tie_word_embeddings: Flag = True
    problem_type: ProblemType | None = None
    id2label: dict[int, Annotated[str, Field(strict=True)]] = {0: "LABEL_0", 1: "LABEL_1"}
    label2id: dict[Annotated[str, Field(strict=True)], int] = {"LABEL_0": 0, "LABEL_1": 1}
    output_attentions: Flag = False
    output_hidden_states: Flag = False
    return_dict: Flag = True
    architectures: Annotated[list[str], Field(max_length=100)] | None = None
    dtype: str | None = None  # of the saved weights; loading uses its own `dtype` argument instead

    def __init__(self, /, **values: Any) -> None:
        try:
            super().__init__(**values)
        except ValidationError as error:
            raise ConfigError("\n".join(_finding(found) for found in error.errors())) from None

    @model_validator(mode="before")
    @classmethod
    def _complete_labels(cls, values: Any) -> Any:
        return _with_labels({key: value for key, value in values.items() if key not in DERIVED})

    @model_validator(mode="after")
    def _agree(self) -> Self:
        width = self.true_hidden_size
        conflicts = [
            (
                width % self.num_attention_heads,
                f"num_attention_heads {self.num_attention_heads} does not divide the width {width}",
            ),
            (
                self.pad_token_id >= self.vocab_size,
                f"pad_token_id {_shown(self.pad_token_id)} is outside vocab_size {self.vocab_size}",
            ),
            (
                self.embedding_size > self.hidden_size,
                f"embedding_size {self.embedding_size} is larger than hidden_size {self.hidden_size}, "
                "but the masked-LM head needs hidden_size >= embedding_size",
            ),
            (
                sorted(self.id2label) != list(range(len(self.id2label))) or not self.id2label,
                f"id2label must number its labels 0, 1, 2, ..., not {_shown(sorted(self.id2label))}",
            ),
            (
                len(self.label2id) != len(self.id2label)
                or self.label2id != {label: index for index, label in self.id2label.items()},
                "label2id and id2label contradict each other, or two labels have the same name",
            ),
        ]
        if found := [message for wrong, message in conflicts if wrong]:
            raise ValueError("; ".join(found))
        return self

    @property
    def true_hidden_size(self) -> int:
        """The width inside a layer: intra_bottleneck_size with a bottleneck, otherwise hidden_size."""
        return self.intra_bottleneck_size if self.use_bottleneck else self.hidden_size

    @property
    def num_labels(self) -> int:
        """The number of labels in id2label."""
        return len(self.id2label)

    @property
    def use_return_dict(self) -> bool:
        """The same as return_dict, under its name in transformers."""
        return self.return_dict

    def __setattr__(self, name: str, value: Any) -> None:
        if name in DERIVED:
            raise AttributeError(f"{name} is derived from other values and cannot be assigned")
        changed = self.replace(**{name: value})
        self.__dict__.update(changed.__dict__)
        object.__setattr__(self, "__pydantic_extra__", changed.__pydantic_extra__)

    def replace(self, /, **changes: Any) -> Self:
        """Return a validated copy with some values changed.

        Raises:
            ConfigError: see the class.
        """
        kept = self.to_dict()
        if set(changes) & set(LABEL_KEYS):
            kept = {key: value for key, value in kept.items() if key not in LABEL_KEYS}
        return type(self)(**{**kept, **changes})

    def to_dict(self) -> dict[str, Any]:
        """Every key of config.json, including unknown ones."""
        return {**self.model_dump(), "true_hidden_size": self.true_hidden_size}

    def to_json_string(self) -> str:
        """The text of config.json."""
        return json.dumps(self.to_dict(), indent=2, sort_keys=True, ensure_ascii=False) + "\n"

    @classmethod
    def from_dict(cls, values: Mapping[str, Any], **overrides: Any) -> Self:
        """Build a configuration from the content of config.json.

        Args:
            values: the content of the file; unknown keys are kept.
            overrides: known keys that override the file's; `num_labels` or `id2label` here replaces the file's labels.
        Raises:
            ConfigError: see the class; or an override is not a known key.
        """
        refuse_unknown(overrides)
        stored = dict(values)
        if set(overrides) & set(LABEL_KEYS):
            stored = {key: value for key, value in stored.items() if key not in LABEL_KEYS}
        return cls(**{**stored, **overrides})

    @classmethod
    def from_zoo(cls, name: str, **overrides: Any) -> Self:
        """Return a named configuration from ZOO, for a model with fresh weights.

        Raises:
            ConfigError: an unknown name or key, or a value outside its range.
        """
        if name not in ZOO:
            raise ConfigError(f"the zoo has no {name!r}: choose one of {', '.join(ZOO)}")
        return cls.from_dict(ZOO[name], **overrides)

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path: str | Path | Folder, **options: Any) -> Self:
        """Read config.json from a checkpoint directory or from the hub.

        Args:
            pretrained_model_name_or_path: a folder or, as a str, a name on the hub.
            options: configuration keys that override the file's; hub.Options; arguments that keywords.OPENING ignores.
        Raises:
            CheckpointError: the file is missing, unreadable or holds a value outside its range.
            ConfigError: an option is unknown or outside its range.
            OSError, ImportError: see hub.resolve.
        """
        where, _, overrides = keywords.sort_options(options, keywords.OPENING)
        refuse_unknown(overrides)
        folder = hub.resolve(pretrained_model_name_or_path, [CONFIG_FILE], **where)
        config = read_consistently(folder, cls.from_folder)
        return config.replace(**overrides) if overrides else config

    @classmethod
    def from_folder(cls, folder: Folder) -> Self:
        """Read config.json from an opened checkpoint directory.

        Raises:
            CheckpointError: the file is missing, unreadable or holds a value outside its range.
        """
        path = folder.path / CONFIG_FILE
        values = folder.read_json(CONFIG_FILE, MAX_CONFIG)
        if values.get("model_type", "mobilebert") != "mobilebert":
            raise CheckpointError(path, f"describes a {values['model_type']!r:.80} model, not a MobileBERT")
        try:
            config = cls.from_dict(values)
        except ConfigError as error:
            raise CheckpointError(path, str(error)) from None
        if len(config.to_json_string().encode()) > MAX_CONFIG:
            raise CheckpointError(path, f"would exceed the allowed {MAX_CONFIG:,} bytes when saved again")
        return config

    def save_pretrained(self, save_directory: str | Path, **options: Any) -> None:
        """Write config.json in one step, whole or not at all.

        Args:
            options: arguments that keywords.SAVING ignores.
        """
        keywords.refuse_meaningful(options, keywords.SAVING)
        save_files(Path(save_directory), {CONFIG_FILE: self.to_json_string().encode()})

    def __repr__(self) -> str:
        return f"{type(self).__name__} {self.to_json_string()}"


def refuse_unknown(overrides: Mapping[str, Any]) -> None:
    """Reject unknown keywords, which are probably misspelt; unknown keys in a file are kept.

    Raises:
        ConfigError: a keyword is not a key of the configuration.
    """
    known = {*MobileBertConfig.model_fields, "num_labels"}
    if unknown := sorted(set(overrides) - known):
        raise ConfigError(f"unknown argument {', '.join(unknown)}; the configuration has {', '.join(sorted(known))}")


def _with_labels(values: dict[str, Any]) -> dict[str, Any]:
    """Fill in the missing ones of num_labels, id2label and label2id; raise ValueError if they contradict each other."""
    count, names = values.pop("num_labels", None), values.get("id2label")
    inverse = values.get("label2id")
    if count is not None and (type(count) is not int or not 1 <= count <= MAX_LABELS):
        raise ValueError(f"num_labels must be a whole number from 1 to {MAX_LABELS:,}, not {_shown(count)}")
    names = None if names is None else _pairs("id2label", names, lambda pair: (_number(pair[0]), pair[1]))
    inverse = None if inverse is None else _pairs("label2id", inverse, lambda pair: (_number(pair[1]), pair[0]))
    if names is None and inverse is None and count is None:
        return {key: value for key, value in values.items() if key not in LABEL_KEYS}
    if names is None:
        names = [(index, f"LABEL_{index}") for index in range(count or 0)] if inverse is None else inverse
    if count is not None and count != len(names):
        raise ValueError(f"num_labels {count} contradicts id2label, which names {len(names)} labels")
    if len(names) > MAX_LABELS:
        raise ValueError(f"there are {len(names):,} labels; at most {MAX_LABELS:,} are allowed")
    if len(dict(names)) < len(names):
        raise ValueError(f"two labels have the same number: {_shown(sorted(names))}")
    return {
        **values,
        "id2label": dict(names),
        "label2id": {label: index for index, label in (names if inverse is None else inverse)},
    }


def _pairs(name: str, value: Any, parse: Callable[[tuple[Any, Any]], tuple[int | None, Any]]) -> list[tuple[int, str]]:
    """The entries of id2label or label2id as (number, label) pairs."""
    parsed = [parse(pair) for pair in value.items()] if isinstance(value, Mapping) else []
    pairs = [(index, label) for index, label in parsed if index is not None and isinstance(label, str)]
    if not isinstance(value, Mapping) or len(pairs) < len(parsed):
        wanted = "whole numbers to names" if name == "id2label" else "names to whole numbers"
        raise ValueError(f"{name} must map {wanted}, not {_shown(value)}")
    return pairs


def _number(value: Any) -> int | None:
    """Parse a label's number, which is a string if it is a JSON key; None if it is not a number."""
    if type(value) is int:
        return value
    return int(value) if isinstance(value, str) and value.isascii() and value.isdecimal() and len(value) < 10 else None


def _shown(value: Any) -> str:
    """A shortened value for an error message."""
    try:
        return f"{value!r:.80}"
    except (ValueError, RecursionError):  # an integer with too many digits, or a list nested too deeply
        return f"a {type(value).__name__} too large to show"


def _finding(found: Any) -> str:
    """Format one pydantic finding as a line: key, reason, value."""
    message = found["msg"].removeprefix("Value error, ")
    where = ".".join(str(part) for part in found["loc"])
    return f"{where}: {message}, not {_shown(found['input'])}" if where else message
