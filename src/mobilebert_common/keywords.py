"""Keyword arguments of from_pretrained and save_pretrained.

Those of transformers that have no meaning here are accepted if ignoring them changes nothing, and refused with the reason if it
would.
"""

import inspect
from collections.abc import Mapping
from typing import Any, NamedTuple

from .errors import ConfigError
from .files import hub


class Rule(NamedTuple):
    """One such argument.

    Attributes:
        accepted: values that ask for what happens anyway; None where that is any value.
        reason: why the others are refused, or why all are accepted.
    """

    accepted: tuple[Any, ...] | None
    reason: str


ANY, UNSET, OFF = None, (None,), (None, False)

OPENING: dict[str, Rule] = {
    "_commit_hash": Rule(ANY, "the files of one call are always of one commit"),
    "_from_auto": Rule(ANY, "for statistics"),
    "_from_pipeline": Rule(ANY, "for statistics"),
    "code_revision": Rule(ANY, "no code is fetched"),
    "mirror": Rule(UNSET, "set HF_ENDPOINT in the environment"),
    "proxies": Rule(UNSET, "set HTTPS_PROXY in the environment"),
    "resume_download": Rule(ANY, "huggingface_hub decides"),
    "trust_remote_code": Rule(ANY, "nothing from a file or from the hub is ever executed"),
    "use_auth_token": Rule(UNSET, "it is called token"),
}  # fmt: skip

OPENING_MODEL = OPENING | {
    "_fast_init": Rule(ANY, "only what the file does not have is initialized"),
    "attn_implementation": Rule((None, "eager", "sdpa"), "there is one attention, which returns its weights where it is asked to"),
    "device_map": Rule(UNSET, "a MobileBERT fits on one device: in PyTorch device='cuda', in Keras `with keras.device(...)`"),
    "device_mesh": Rule(UNSET, "there is no tensor parallelism"),
    "from_flax": Rule(OFF, "files of Flax are not read"),
    "from_pt": Rule(ANY, "the kind of a file is found out"),
    "from_tf": Rule(ANY, "the kind of a file is found out"),
    "gguf_file": Rule(UNSET, "GGUF is not read"),
    "key_mapping": Rule(UNSET, "the names of all dialects are known"),
    "load_in_4bit": Rule(OFF, "there is no quantization"),
    "load_in_8bit": Rule(OFF, "there is no quantization"),
    "low_cpu_mem_usage": Rule(ANY, "weights are read once, into their place"),
    "max_memory": Rule(UNSET, "a MobileBERT fits on one device"),
    "offload_buffers": Rule(ANY, "nothing is offloaded"),
    "offload_folder": Rule(ANY, "nothing is offloaded"),
    "offload_state_dict": Rule(ANY, "nothing is offloaded"),
    "quantization_config": Rule(UNSET, "there is no quantization"),
    "state_dict": Rule(UNSET, "in PyTorch load_state_dict takes one"),
    "tp_plan": Rule(UNSET, "there is no tensor parallelism"),
    "tp_size": Rule(UNSET, "there is no tensor parallelism"),
    "use_kernels": Rule(OFF, "there are no kernels from the hub"),
    "use_safetensors": Rule(ANY, "it is preferred, and no other file can run code either"),
    "variant": Rule(UNSET, "only the plain names of weights files are read"),
    "weights_only": Rule(ANY, "no file can run code"),
}  # fmt: skip

OPENING_TOKENIZER = OPENING | {
    "from_slow": Rule(ANY, "both tokenizers read the same files"),
    "gguf_file": Rule(UNSET, "GGUF is not read"),
    "legacy": Rule(ANY, "there is one behaviour"),
    "use_fast": Rule(ANY, "the class says so"),
}

SAVING: dict[str, Rule] = {
    "distributed_checkpoint": Rule(OFF, "a checkpoint is one directory"),
    "legacy_format": Rule(ANY, "all files of a tokenizer are written"),
    "max_shard_size": Rule(ANY, "a MobileBERT needs no shards"),
    "push_to_hub": Rule(OFF, "nothing is uploaded: run `hf upload` on the folder"),
    "safe_serialization": Rule((None, True), "weights are written as safetensors only"),
    "save_function": Rule(ANY, "weights are written as safetensors only"),
    "save_original_format": Rule(ANY, "the names are those of transformers"),
    "save_peft_format": Rule(ANY, "peft saves its adapters itself"),
    "state_dict": Rule(UNSET, "a Keras model has none"),
    "token": Rule(ANY, "nothing is uploaded"),
    "variant": Rule(UNSET, "the file is model.safetensors"),
}


class Opening(NamedTuple):
    """The options of one from_pretrained, sorted by what they are for.

    Attributes:
        hub: where to look the name up.
        constructor: arguments of the model class's constructor.
        overrides: what takes precedence over the files: keys of the configuration, or arguments of a tokenizer.
    """

    hub: hub.Options
    constructor: dict[str, Any]
    overrides: dict[str, Any]


def sort_options(options: Mapping[str, Any], rules: Mapping[str, Rule], model_class: Any = None) -> Opening:
    """Sort the options of from_pretrained; those of transformers that have no meaning here are dropped.

    Args:
        rules: OPENING, OPENING_MODEL or OPENING_TOKENIZER.
        model_class: its constructor gets what it takes by name, before anything else does.
    Raises:
        ConfigError: as `meaningful`.
    """
    parameters = {} if model_class is None else inspect.signature(model_class.__init__).parameters
    taken = parameters.keys() - {"self", "config", "kwargs"}
    constructor = {name: value for name, value in options.items() if name in taken}
    rest = meaningful({name: value for name, value in options.items() if name not in taken}, rules)
    where = hub.Options(**{name: rest.pop(name) for name in hub.Options.__annotations__ if name in rest})  # type: ignore[typeddict-item]
    return Opening(where, constructor, rest)


def meaningful(arguments: Mapping[str, Any], rules: Mapping[str, Rule]) -> dict[str, Any]:
    """The arguments that no rule is about.

    Raises:
        ConfigError: one that a rule is about has a value that is not accepted; all of them, with the reasons.
    """
    refused = [
        f"{name}={value!r:.80} is not supported: {rules[name].reason}"
        for name, value in arguments.items()
        if name in rules and not _accepts(rules[name], value)
    ]
    if refused:
        raise ConfigError("\n".join(refused))
    return {name: value for name, value in arguments.items() if name not in rules}


def refuse_meaningful(arguments: Mapping[str, Any], rules: Mapping[str, Rule]) -> None:
    """As `meaningful`, where nothing may be left.

    Raises:
        ConfigError: as there, or an argument is unknown.
    """
    if unknown := sorted(meaningful(arguments, rules)):
        raise ConfigError(f"unknown argument {', '.join(unknown)}; of transformers' there are {', '.join(sorted(rules))}")


def _accepts(rule: Rule, value: Any) -> bool:
    return rule.accepted is None or (isinstance(value, str | bool | None) and value in rule.accepted)
