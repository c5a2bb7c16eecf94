"""Arguments of transformers' tokenizers that the constructor does not have.

transformers takes any argument and stores it. Here each is either in the table, because it changes nothing, or refused.
"""

import warnings
from collections.abc import Mapping
from typing import Any

from ..keywords import ANY, OFF, UNSET, Rule, meaningful

RULES: dict[str, Rule] = {
    "add_prefix_space": Rule(ANY, "only byte-level tokenizers have it"),
    "backend": Rule(ANY, "the class decides"),
    "chat_template": Rule(UNSET, "MobileBERT does not chat"),
    "clean_text": Rule((None, True), "a MobileBERT tokenizer always cleans the text"),
    "errors": Rule(ANY, "only byte-level tokenizers have it"),
    "fast_tokenizer_files": Rule(ANY, "there is one tokenizer.json"),
    "files_loaded": Rule(ANY, "only a record"),
    "from_slow": Rule(ANY, "both tokenizers read the same files"),
    "is_local": Rule(ANY, "only a record"),
    "legacy": Rule(ANY, "there is only one behaviour"),
    "name_or_path": Rule(ANY, "an attribute"),
    "pad_token_type_id": Rule(UNSET, "padding has segment 0"),
    "processor_class": Rule(ANY, "MobileBERT has no processor"),
    "remove_space": Rule(ANY, "only SentencePiece tokenizers have it"),
    "sp_model_kwargs": Rule(UNSET, "MobileBERT does not use SentencePiece"),
    "special_tokens_map_file": Rule(ANY, "only a record"),
    "tokenizer_class": Rule(ANY, "the class decides"),
    "use_default_system_prompt": Rule(OFF, "MobileBERT does not chat"),
    "use_fast": Rule(ANY, "the class decides"),
    "verbose": Rule(ANY, "pass it in the call"),
}

# Arguments of a call, which transformers stores and never uses when a tokenizer is opened
OF_CALLS = {
    "is_split_into_words",
    "max_length",
    "pad_to_max_length",
    "pad_to_multiple_of",
    "padding",
    "return_attention_mask",
    "return_length",
    "return_offsets_mapping",
    "return_overflowing_tokens",
    "return_special_tokens_mask",
    "return_tensors",
    "return_token_type_ids",
    "stride",
    "truncation",
}


def refuse_unknown(cls: type, arguments: Mapping[str, Any]) -> None:
    """Check the arguments that the constructor does not have.

    Raises:
        AttributeError: one has the name of a method.
        ConfigError: one has a value that would change something.
        TypeError: one is unknown.
    """
    methods = [name for name in arguments if callable(getattr(cls, name, None))]
    if methods:
        raise AttributeError(f"{', '.join(methods)}: conflicts with the method of that name")
    unused = sorted(OF_CALLS & arguments.keys())
    if unused:
        warnings.warn(f"{', '.join(unused)}: without effect, here as in transformers: pass it when you call the tokenizer", stacklevel=4)
    unknown = sorted(meaningful(arguments, RULES).keys() - OF_CALLS)
    if unknown:
        raise TypeError(f"unknown argument {', '.join(unknown)}")
