"""MobileBertConfig: the validated content of config.json."""

import copy
import inspect
import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Self, overload

from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, ValidationError, field_validator, model_validator

from .. import keywords
from ..errors import CheckpointError, ConfigError, brief
from ..files import hub
from ..files.folder import CONFIG_FILE as CONFIG_FILE
from ..files.folder import Folder, read_consistently, save_files, write_atomically
from ..files.strict_json import MAX_JSON, read_json
from .hf_keys import ABSENT, ACTIVATIONS, ALIASES, COMMON, KEYS, SESSION
from .labels import LABEL_KEYS, Labels, read_labels, read_stored_labels
from .scalars import plain
from .zoo import ZOO

log = logging.getLogger(__name__)

MAX_CONFIG = MAX_JSON

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

DERIVED = ("true_hidden_size", "use_return_dict")
RULES = {**keywords.OPENING, "attn_implementation": keywords.OPENING_MODEL["attn_implementation"]}


class MobileBertConfig(BaseModel):
    """The configuration of a MobileBERT, with the names and defaults of config.json on the hub.

    Unknown keys are kept and written back, but have no effect. Assigning an attribute validates the whole configuration
    and changes nothing if that fails. Numbers may be numpy's, torch's or TensorFlow's. `id2label` determines `num_labels`; with
    `num_labels` alone the labels are named LABEL_0, LABEL_1 and so on. `true_hidden_size` is derived, and ignored in a file.

    Raises:
        ConfigError: a value is outside its range, or two values contradict each other; lists all findings.
    """

    model_config = ConfigDict(extra="allow", protected_namespaces=())

    # transformers and its Auto classes read these of the class
    model_type: ClassVar[str] = "mobilebert"
    attribute_map: ClassVar[dict[str, str]] = {}
    sub_configs: ClassVar[dict[str, Any]] = {}
    base_config_key: ClassVar[str] = ""
    is_composition: ClassVar[bool] = False
    has_no_defaults_at_init: ClassVar[bool] = False

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

    _session: dict[str, Any] = PrivateAttr(default_factory=dict)  # the attributes of SESSION that were set

    def __init__(self, /, **values: Any) -> None:
        early = dict(self.__dict__)  # what the constructor of a subclass assigned before it came here
        named = {ALIASES.get(key, key): value for key, value in {**early, **values}.items()}
        try:
            super().__init__(**{key: value for key, value in named.items() if key not in SESSION})
        except ValidationError as error:
            raise ConfigError("\n".join(_finding(found) for found in error.errors())) from None
        self._session.update((key, value) for key, value in named.items() if key in SESSION)

    @model_validator(mode="before")
    @classmethod
    def _normalize(cls, values: Any) -> Any:
        """Take Python's numbers, and complete the labels."""
        found = {key: plain(value) for key, value in values.items() if key not in DERIVED}
        if (kind := found.pop("model_type", cls.model_type)) not in ("mobilebert", cls.model_type):
            raise ValueError(f"model_type must be {cls.model_type!r}, not {brief(kind)}")
        labels = read_labels(found)
        _warn_of_lost(labels, "the configuration")
        return _with_labels(found, labels)

    @field_validator("hidden_act", mode="before")
    @classmethod
    def _name_of_activation(cls, value: Any) -> Any:
        if callable(value):
            raise ValueError("must be the name of an activation: a function cannot be written to config.json")
        return ACTIVATIONS.get(value, value) if isinstance(value, str) else value

    @field_validator("dtype", mode="before")
    @classmethod
    def _name_of_dtype(cls, value: Any) -> Any:
        is_dtype = "dtype" in type(value).__name__.lower()  # torch's, numpy's, TensorFlow's
        return getattr(value, "name", str(value).removeprefix("torch.")) if is_dtype else value

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
                f"pad_token_id {brief(self.pad_token_id)} is outside vocab_size {self.vocab_size}",
            ),
            (
                self.embedding_size > self.hidden_size,
                f"embedding_size {self.embedding_size} is larger than hidden_size {self.hidden_size}, "
                "but the masked-LM head needs hidden_size >= embedding_size",
            ),
        ]
        extra = self.__pydantic_extra__ or {}
        conflicts += [
            (key in extra and extra[key] not in (None, rule.default), f"{key} {brief(extra.get(key))} is not supported: {rule.reason}")
            for key, rule in KEYS.items()
            if rule.reason
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
        """Whether models return an output rather than a tuple by default; torchscript=True asks for tuples."""
        return self.return_dict and not (self.__pydantic_extra__ or {}).get("torchscript")

    @property
    def name_or_path(self) -> str:
        """The folder, or the name on the hub, that this was read from; not written to config.json."""
        return str(self._session.get("_name_or_path", ""))

    def get_text_config(self, decoder: bool | None = None, encoder: bool | None = None) -> Self:
        """This configuration; models with several parts have one for each."""
        return self

    if not TYPE_CHECKING:  # or mypy would take any name for an attribute

        def __getattr__(self, name: str) -> Any:
            """What transformers' configurations also have: attributes of this session, and keys that are not set."""
            if name in SESSION:
                return self._session.get(name, SESSION[name])
            try:
                return super().__getattr__(name)
            except AttributeError:
                if name == "torch_dtype":
                    return self.dtype
                if name not in KEYS or KEYS[name].default is ABSENT:
                    raise
                return copy.copy(KEYS[name].default)

    def __setattr__(self, name: str, value: Any) -> None:
        name = ALIASES.get(name, name)
        if "vocab_size" not in self.__dict__:  # not initialized
            self.__dict__[name] = value
        elif name in SESSION:
            self._session[name] = value
        elif name in DERIVED:
            raise AttributeError(f"{name} is derived from other values and cannot be assigned")
        else:
            self.update({name: value})

    def __eq__(self, other: object) -> bool:
        return isinstance(other, MobileBertConfig) and self.to_dict() == other.to_dict()

    def update(self, config_dict: Mapping[str, Any]) -> None:
        """Assign several attributes in one step; those that are derived from others are ignored.

        Raises:
            ConfigError: see the class; nothing changed.
        """
        changed = self.replace(**config_dict)
        self.__dict__.update(changed.__dict__)
        object.__setattr__(self, "__pydantic_extra__", changed.__pydantic_extra__)
        self._session.update(changed._session)

    def replace(self, /, **changes: Any) -> Self:
        """Return a validated copy with some values changed.

        Raises:
            ConfigError: see the class.
        """
        kept = self.to_dict()
        if labels := {key: value for key, value in changes.items() if key in LABEL_KEYS}:
            if _are_counted(Labels(self.id2label, self.label2id), labels):
                changes = _without_labels(changes)
            else:
                kept = _without_labels(kept)
        copied = type(self).__new__(type(self))  # the constructor of a subclass may assign attributes, which comes here
        MobileBertConfig.__init__(copied, **{**self._session, **kept, **changes})
        return copied

    def to_dict(self) -> dict[str, Any]:
        """Every key of config.json, including unknown ones."""
        return {**self.model_dump(), "model_type": self.model_type, "true_hidden_size": self.true_hidden_size}

    def to_diff_dict(self) -> dict[str, Any]:
        """The keys of config.json without those that every model of transformers has and that are as by default."""
        default = MobileBertConfig()
        return {key: value for key, value in self.to_dict().items() if key not in COMMON or value != getattr(default, key)}

    def to_json_string(self, use_diff: bool = False) -> str:
        """The text of config.json; with use_diff, of to_diff_dict.

        Raises:
            ConfigError: the value of an unknown key cannot be written as JSON.
        """
        values = self.to_diff_dict() if use_diff else self.to_dict()
        return json.dumps(values, indent=2, sort_keys=True, ensure_ascii=False, default=_written) + "\n"

    def to_json_file(self, json_file_path: str | Path, use_diff: bool = False) -> None:
        """Write to_json_string to a file of any name, whole or not at all."""
        write_atomically(Path(json_file_path), self.to_json_string(use_diff).encode())

    @classmethod
    def from_any(cls, config: Any) -> Self:
        """Copy a configuration of this package or, of a MobileBERT, one of transformers.

        Args:
            config: or a place that `from_pretrained` reads.
        Raises:
            ConfigError: it is of another model, no configuration at all, or see the class.
            CheckpointError, OSError, ImportError: see `from_pretrained`.
        """
        if isinstance(config, cls):
            return config.replace()
        if isinstance(config, str | Path):
            return cls.from_pretrained(config)
        if isinstance(config, MobileBertConfig):
            return cls(**config.to_dict(), **config._session)
        kind, describe = getattr(config, "model_type", None), getattr(config, "to_diff_dict", getattr(config, "to_dict", None))
        if isinstance(config, type) or not callable(describe):
            raise ConfigError(f"config must be a {cls.__name__}, not {brief(config)}")
        if kind not in ("mobilebert", cls.model_type):
            raise ConfigError(f"config describes a {brief(kind)} model, not a MobileBERT")
        labels = {key: getattr(config, key) for key in ("id2label", "label2id") if hasattr(config, key)}  # even if as by default
        return cls.from_dict({**describe(), **labels}, name_or_path=getattr(config, "name_or_path", None) or "")

    @overload
    @classmethod
    def from_dict(
        cls, config_dict: Mapping[str, Any], return_unused_kwargs: Literal[False] = False, **overrides: Any
    ) -> Self: ...

    @overload
    @classmethod
    def from_dict(
        cls, config_dict: Mapping[str, Any], return_unused_kwargs: Literal[True], **overrides: Any
    ) -> tuple[Self, dict[str, Any]]: ...

    @classmethod
    def from_dict(cls, config_dict: Mapping[str, Any], return_unused_kwargs: bool = False, **overrides: Any) -> Any:
        """Build a configuration from the content of config.json.

        Args:
            config_dict: the content of the file; unknown keys are kept. Where its label maps contradict each other, id2label decides.
            return_unused_kwargs: return the configuration and the overrides that are no keys of it.
            overrides: known keys that override the file's; `num_labels` or `id2label` here replaces the file's labels.
        Raises:
            ConfigError: see the class; or an override is not a known key.
        """
        used, unused = cls._sort(overrides)
        if not return_unused_kwargs:
            cls.refuse_unknown(unused)
        config = cls._read(config_dict, used, "the configuration")
        return (config, unused) if return_unused_kwargs else config

    @classmethod
    def _read(cls, values: Mapping[str, Any], overrides: Mapping[str, Any], source: str) -> Self:
        """Build a configuration from what is stored, with overrides; `source` only appears in warnings."""
        stored = {**values, **{key: value for key, value in overrides.items() if key not in LABEL_KEYS}}
        labels = {key: value for key, value in overrides.items() if key in LABEL_KEYS}
        try:
            found = read_stored_labels(stored)
        except ValueError as error:
            if not labels:
                raise ConfigError(str(error)) from None
            found = None
        if labels and not _are_counted(found, labels):
            return cls(**_without_labels(stored), **labels)
        _warn_of_lost(found, source)
        return cls(**_with_labels(stored, found))

    @classmethod
    def _sort(cls, overrides: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
        """Divide keywords into keys of the configuration and others, without what changes nothing."""
        meant = keywords.meaningful(overrides, RULES)
        meant = {key: value for key, value in meant.items() if (key, value) not in (("dtype", "auto"), ("torch_dtype", "auto"))}
        known = cls.known_keys()
        return ({key: meant[key] for key in meant if key in known}, {key: meant[key] for key in meant if key not in known})

    @classmethod
    def known_keys(cls) -> set[str]:
        """The keys that may override those of a file."""
        own = inspect.signature(cls.__init__).parameters.keys() - inspect.signature(MobileBertConfig.__init__).parameters.keys()
        return {*cls.model_fields, *own, "num_labels", "model_type", "torch_dtype", "name_or_path", *KEYS}

    @classmethod
    def refuse_unknown(cls, overrides: Mapping[str, Any]) -> None:
        """Reject unknown keywords, which are probably misspelt; unknown keys in a file are kept.

        Raises:
            ConfigError: a keyword is not a key of the configuration.
        """
        if unknown := sorted(set(overrides) - cls.known_keys()):
            known = ", ".join(sorted({*cls.model_fields, "num_labels"}))
            raise ConfigError(f"unknown argument {', '.join(unknown)}; the configuration has {known}")

    @classmethod
    def from_json_file(cls, json_file: str | Path) -> Self:
        """Read a configuration from a file of any name.

        Raises:
            CheckpointError: see `from_folder`.
        """
        return cls._from_values(Path(json_file), read_json(Path(json_file), MAX_CONFIG), {})

    @classmethod
    def from_zoo(cls, name: str, **overrides: Any) -> Self:
        """Return a named configuration from ZOO, for a model with fresh weights.

        Raises:
            ConfigError: an unknown name or key, or a value outside its range.
        """
        if name not in ZOO:
            raise ConfigError(f"the zoo has no {name!r}: choose one of {', '.join(ZOO)}")
        return cls.from_dict(ZOO[name], False, **overrides)

    @overload
    @classmethod
    def from_pretrained(
        cls,
        pretrained_model_name_or_path: str | Path | Folder,
        return_unused_kwargs: Literal[False] = False,
        **options: Any,
    ) -> Self: ...

    @overload
    @classmethod
    def from_pretrained(
        cls, pretrained_model_name_or_path: str | Path | Folder, return_unused_kwargs: Literal[True], **options: Any
    ) -> tuple[Self, dict[str, Any]]: ...

    @classmethod
    def from_pretrained(
        cls, pretrained_model_name_or_path: str | Path | Folder, return_unused_kwargs: bool = False, **options: Any
    ) -> Any:
        """Read config.json from a checkpoint directory or from the hub.

        Args:
            pretrained_model_name_or_path: a folder, a JSON file or, as a str, a name on the hub.
            return_unused_kwargs: return the configuration and the options that are no keys of it.
            options: configuration keys that override the file's, before it is judged; hub.Options; arguments that keywords.OPENING
                ignores.
        Raises:
            CheckpointError: the file is missing, unreadable or holds a value outside its range.
            ConfigError: an option is unknown or outside its range.
            OSError, ImportError: see hub.resolve.
        """
        where, _, overrides = keywords.sort_options(options, keywords.OPENING)
        used, unused = cls._sort(overrides)
        if not return_unused_kwargs:
            cls.refuse_unknown(unused)
        path = pretrained_model_name_or_path
        if not isinstance(path, Folder) and Path(path).is_file():
            config = cls._from_values(Path(path), read_json(Path(path), MAX_CONFIG), used)
        else:
            folder = hub.resolve(path, [CONFIG_FILE], **where)
            config = read_consistently(folder, lambda opened: cls.from_folder(opened, used))
        config._session["_name_or_path"] = str(path)
        return (config, unused) if return_unused_kwargs else config

    @classmethod
    def get_config_dict(cls, pretrained_model_name_or_path: str | Path, **options: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        """The content of config.json as it is, and the options that say nothing about where it lies.

        Raises:
            CheckpointError, OSError, ImportError: see `from_pretrained`.
        """
        where, _, overrides = keywords.sort_options(options, keywords.OPENING)
        folder = hub.resolve(pretrained_model_name_or_path, [CONFIG_FILE], **where)
        return read_consistently(folder, lambda opened: opened.read_json(CONFIG_FILE, MAX_CONFIG)), overrides

    @classmethod
    def from_folder(cls, folder: Folder, overrides: Mapping[str, Any] | None = None) -> Self:
        """Read config.json from an opened checkpoint directory.

        Args:
            overrides: known keys that override the file's, before it is judged.
        Raises:
            CheckpointError: the file is missing, unreadable or holds a value outside its range.
            ConfigError: an override does.
        """
        path = folder.path / CONFIG_FILE
        if folder.path.is_dir() and not folder.has(CONFIG_FILE):
            raise CheckpointError(path, "is missing: put it beside the weights, or pass a configuration with config=")
        return cls._from_values(path, folder.read_json(CONFIG_FILE, MAX_CONFIG), overrides or {})

    @classmethod
    def _from_values(cls, path: Path, values: Mapping[str, Any], overrides: Mapping[str, Any]) -> Self:
        """Judge the content of a file; `path` only appears in errors and warnings."""
        if values.get("model_type", "mobilebert") not in ("mobilebert", cls.model_type):
            raise CheckpointError(path, f"describes a {values['model_type']!r:.80} model, not a MobileBERT")
        try:
            config = cls._read(values, overrides, str(path))
        except ConfigError as error:
            if not overrides:
                raise CheckpointError(path, str(error)) from None
            cls._from_values(path, values, {})  # where the file alone is at fault, this says so
            raise
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


def _without_labels(values: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in values.items() if key not in LABEL_KEYS}


def _are_counted(labels: Labels | None, overrides: Mapping[str, Any]) -> bool:
    """Whether an override says how many labels there are, and nothing else: then, as in transformers, they keep their names."""
    count = plain(overrides.get("num_labels"))
    return labels is not None and set(overrides) == {"num_labels"} and type(count) is int and count == len(labels.names)


def _with_labels(values: Mapping[str, Any], labels: Labels | None) -> dict[str, Any]:
    others = _without_labels(values)
    return others if labels is None else {**others, "id2label": labels.names, "label2id": labels.numbers}


def _warn_of_lost(labels: Labels | None, source: str) -> None:
    for lost in labels.lost if labels else ():
        log.warning("%s: %s", source, lost)


def _written(value: Any) -> Any:
    """The JSON of a value that has none of its own: numpy's and torch's arrays and dtypes."""
    if (number := plain(value)) is not value:
        return number
    if hasattr(value, "tolist"):
        return value.tolist()
    if "dtype" in type(value).__name__.lower():
        return getattr(value, "name", str(value).removeprefix("torch."))
    raise ConfigError(f"{brief(value)} cannot be written to config.json")


def _finding(found: Any) -> str:
    """Format one pydantic finding as a line: key, reason, value."""
    message = found["msg"].removeprefix("Value error, ")
    where = ".".join(str(part) for part in found["loc"])
    return f"{where}: {message}, not {brief(found['input'])}" if where else message
