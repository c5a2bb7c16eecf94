"""What a configuration in transformers has beyond the architecture: keys without effect here, and attributes its libraries read."""

from typing import Any, NamedTuple

ABSENT = object()


class Key(NamedTuple):
    """A key of config.json that means something to other models only.

    Attributes:
        default: the attribute's value where the key is not set; ABSENT if there is no such attribute then.
        reason: why any value but the default is refused; "" if none changes anything.
    """

    default: Any
    reason: str = ""


ENCODER_ONLY = "a MobileBERT is an encoder that attends in both directions"

# {key: what it may be}; they are kept and written back, and may override those of a file
KEYS: dict[str, Key] = {
    "add_cross_attention": Key(False, ENCODER_ONLY),
    "bos_token_id": Key(None),
    "chunk_size_feed_forward": Key(0),  # changes memory, not results
    "cross_attention_hidden_size": Key(None, ENCODER_ONLY),
    "decoder_start_token_id": Key(None),
    "eos_token_id": Key(None),
    "finetuning_task": Key(None),
    "gradient_checkpointing": Key(ABSENT),  # a model has a method for it
    "is_decoder": Key(False, ENCODER_ONLY),
    "is_encoder_decoder": Key(False, ENCODER_ONLY),
    "prefix": Key(None),
    "pruned_heads": Key({}, "heads cannot be pruned"),
    "sep_token_id": Key(None),
    "task_specific_params": Key(None),
    "tie_encoder_decoder": Key(False),
    "tokenizer_class": Key(None),
    "torchscript": Key(False),  # see use_return_dict
    "transformers_version": Key(None),
    "use_cache": Key(ABSENT),
}

# {attribute: value} that is known while the program runs, and never written
SESSION: dict[str, Any] = {
    "_attn_implementation": "sdpa",
    "_attn_implementation_internal": "sdpa",
    "_commit_hash": None,
    "_experts_implementation": None,
    "_name_or_path": "",
}
ALIASES = {"attn_implementation": "_attn_implementation", "name_or_path": "_name_or_path"}

# activations of one formula: {transformers' name: ours}
ACTIVATIONS = {
    "gelu_accurate": "gelu_new",
    "gelu_fast": "gelu_new",
    "gelu_python": "gelu",
    "gelu_python_tanh": "gelu_new",
    "swish": "silu",
}

# keys every model of transformers has, which its to_diff_dict leaves out where they are the default
COMMON = (
    "architectures",
    "dtype",
    "id2label",
    "label2id",
    "output_attentions",
    "output_hidden_states",
    "problem_type",
    "return_dict",
)
