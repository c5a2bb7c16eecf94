"""Keyword arguments of from_pretrained and save_pretrained.

Arguments of transformers that mean nothing here are ignored if that changes nothing, and rejected with a reason otherwise.
"""

import inspect
from collections.abc import Mapping
from typing import Any, NamedTuple

from .errors import ConfigError
from .files import hub


class Rule(NamedTuple):
    """How to treat one of these arguments.

    Attributes:
        accepted: the values that change nothing; None means any value.
        reason: why other values are rejected, or why any value is accepted.
    """

    accepted: tuple[Any, ...] | None
    reason: str


ANY, UNSET, OFF = None, (None,), (None, False)

OPENING: dict[str, Rule] = {
    "_commit_hash": Rule(ANY, "the files of one call always come from one commit"),
    "_from_auto": Rule(ANY, "only used for statistics"),
    "_from_pipeline": Rule(ANY, "only used for statistics"),
    "code_revision": Rule(ANY, "no code is downloaded"),
    "mirror": Rule(UNSET, "set HF_ENDPOINT in the environment"),
    "proxies": Rule(UNSET, "set HTTPS_PROXY in the environment"),
    "resume_download": Rule(ANY, "huggingface_hub decides"),
    "trust_remote_code": Rule(ANY, "code from files or the hub is never executed"),
    "use_auth_token": Rule(UNSET, "pass token= instead"),
}  # fmt: skip

OPENING_MODEL = OPENING | {
    "_fast_init": Rule(ANY, "only tensors missing from the file are initialized"),
    "adapter_kwargs": Rule(ANY, "PEFT opens adapters; the Auto classes always pass this"),
    "attn_implementation": Rule((None, "eager", "sdpa"), "the one attention implementation can always return its weights"),
    "device_map": Rule(UNSET, "a MobileBERT fits on one device: pass device='cuda' in PyTorch, or use `with keras.device(...)` in Keras"),
    "device_mesh": Rule(UNSET, "tensor parallelism is not available"),
    "from_flax": Rule(OFF, "Flax files cannot be read"),
    "from_pt": Rule(ANY, "the file's format is detected"),
    "from_tf": Rule(ANY, "the file's format is detected"),
    "gguf_file": Rule(UNSET, "GGUF files cannot be read"),
    "key_mapping": Rule(UNSET, "tensor names are fixed: rename the tensors in the file"),
    "load_in_4bit": Rule(OFF, "quantization is not available"),
    "load_in_8bit": Rule(OFF, "quantization is not available"),
    "low_cpu_mem_usage": Rule(ANY, "weights are read only once"),
    "max_memory": Rule(UNSET, "a MobileBERT fits on one device"),
    "offload_buffers": Rule(ANY, "nothing is offloaded"),
    "offload_folder": Rule(ANY, "nothing is offloaded"),
    "offload_state_dict": Rule(ANY, "nothing is offloaded"),
    "quantization_config": Rule(UNSET, "quantization is not available"),
    "state_dict": Rule(UNSET, "in PyTorch, pass it to load_state_dict"),
    "tp_plan": Rule(UNSET, "tensor parallelism is not available"),
    "tp_size": Rule(UNSET, "tensor parallelism is not available"),
    "use_kernels": Rule(OFF, "kernels from the hub are not available"),
    "use_safetensors": Rule(ANY, "safetensors is preferred, and no other format can run code either"),
    "variant": Rule(UNSET, "only weights files without a variant in their name are read"),
    "weights_only": Rule(ANY, "no weights file can run code"),
}  # fmt: skip

OPENING_TOKENIZER = OPENING | {
    "from_slow": Rule(ANY, "both tokenizers read the same files"),
    "gguf_file": Rule(UNSET, "GGUF files cannot be read"),
    "legacy": Rule(ANY, "there is only one behaviour"),
    "use_fast": Rule(ANY, "the class decides"),
}

SAVING: dict[str, Rule] = {
    "distributed_checkpoint": Rule(OFF, "a checkpoint is a single directory"),
    "legacy_format": Rule(ANY, "all tokenizer files are written"),
    "max_shard_size": Rule(ANY, "a MobileBERT needs no shards"),
    "push_to_hub": Rule(OFF, "saving uploads nothing: call push_to_hub"),
    "safe_serialization": Rule((None, True), "weights are saved as safetensors; `mobilebert convert` writes other formats"),
    "save_function": Rule(ANY, "weights are saved as safetensors"),
    "save_original_format": Rule(ANY, "tensor names are those of transformers"),
    "save_peft_format": Rule(ANY, "PEFT saves its own adapters"),
    "state_dict": Rule(UNSET, "a Keras model has no state_dict"),
    "token": Rule(ANY, "saving uploads nothing"),
    "variant": Rule(UNSET, "the weights file is always model.safetensors"),
}

PUSHING: dict[str, Rule] = {
    "commit_description": Rule(UNSET, "put it into commit_message"),
    "repo_path_or_name": Rule(UNSET, "pass repo_id"),
    "repo_url": Rule(UNSET, "pass repo_id"),
    "organization": Rule(UNSET, "pass repo_id='organization/name'"),
    "tags": Rule(UNSET, "write them into the README.md of the repository"),
    "use_temp_dir": Rule(ANY, "the files always go through a temporary folder"),
}


class Opening(NamedTuple):
    """The options of one from_pretrained call, sorted by purpose.

    Attributes:
        hub: how to look the name up on the hub.
        constructor: arguments for the model class's constructor.
        overrides: configuration keys or tokenizer arguments that override the files.
    """

    hub: hub.Options
    constructor: dict[str, Any]
    overrides: dict[str, Any]


def sort_options(options: Mapping[str, Any], rules: Mapping[str, Rule], model_class: Any = None) -> Opening:
    """Sort the options of from_pretrained, and drop those of transformers that change nothing.

    Args:
        rules: OPENING, OPENING_MODEL or OPENING_TOKENIZER.
        model_class: options its constructor takes by name go there first.
    Raises:
        ConfigError: see `meaningful`.
    """
    parameters = {} if model_class is None else inspect.signature(model_class.__init__).parameters
    taken = parameters.keys() - {"self", "config", "kwargs"}
    constructor = {name: value for name, value in options.items() if name in taken}
    rest = meaningful({name: value for name, value in options.items() if name not in taken}, rules)
    where = hub.Options(**{name: rest.pop(name) for name in hub.Options.__annotations__ if name in rest})  # type: ignore[typeddict-item]
    return Opening(where, constructor, rest)


def meaningful(arguments: Mapping[str, Any], rules: Mapping[str, Rule]) -> dict[str, Any]:
    """Return the arguments without a rule.

    Raises:
        ConfigError: values that a rule rejects; lists all of them with the reasons.
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
    """Reject every argument except those that a rule ignores.

    Raises:
        ConfigError: see `meaningful`, or an argument is unknown.
    """
    if unknown := sorted(meaningful(arguments, rules)):
        raise ConfigError(f"unknown argument {', '.join(unknown)}; of transformers' arguments, known are {', '.join(sorted(rules))}")


def _accepts(rule: Rule, value: Any) -> bool:
    return rule.accepted is None or (isinstance(value, str | bool | None) and value in rule.accepted)
