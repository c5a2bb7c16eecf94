"""What every model shares in Keras: opening, saving, and access to its parts. mobilebert_pt/pretrained.py is its translation."""

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self, overload

import keras

from mobilebert_common import keywords
from mobilebert_common.checkpoints import checkpoint
from mobilebert_common.model.config import MobileBertConfig
from mobilebert_common.model.pretrained import Pretrained, absent_blocks, canonical_class, resized_config
from mobilebert_common.model.schema import expand

from . import arrays
from .base import build_children
from .fit import TrainableModel
from .layers import Embedding, Predictions

if TYPE_CHECKING:
    from .model import TFMobileBertModel


class PreTrainedModel(Pretrained, TrainableModel):
    """A model with a configuration that opens from and saves to a checkpoint directory.

    Args:
        config: a copy is kept as `config`.
        kwargs: name and dtype (a Keras dtype policy) of the Keras model.
    """

    framework = "tf"  # as in a tokenizer's return_tensors

    def __init__(self, config: MobileBertConfig, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.config = MobileBertConfig.from_any(config)
        self.architecture = canonical_class(type(self))

    def build(self, input_shape: Any = None) -> None:
        build_children(self)

    def get_config(self) -> dict[str, Any]:
        return {
            "config": self.config.to_dict(),
            "name": self.name,
            "dtype": keras.saving.serialize_keras_object(self.dtype_policy),
        }

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> Self:
        arguments = {**config, "dtype": keras.saving.deserialize_keras_object(config["dtype"])}
        return cls(MobileBertConfig.from_dict(arguments.pop("config")), **arguments)

    @overload
    @classmethod
    def from_pretrained(
        cls, pretrained_model_name_or_path: str | Path, *, output_loading_info: Literal[False] = False, **options: Any
    ) -> Self: ...

    @overload
    @classmethod
    def from_pretrained(
        cls, pretrained_model_name_or_path: str | Path, *, output_loading_info: Literal[True], **options: Any
    ) -> tuple[Self, dict[str, list[Any]]]: ...

    @classmethod
    def from_pretrained(
        cls,
        pretrained_model_name_or_path: str | Path,
        *,
        dtype: Any = None,
        config: MobileBertConfig | None = None,
        ignore_mismatched_sizes: bool = False,
        zero_pad_embedding: bool = False,
        output_loading_info: bool = False,
        torch_dtype: Any = None,
        **options: Any,
    ) -> Any:
        """Open a checkpoint directory or a model on the hub.

        Args:
            pretrained_model_name_or_path: a folder with config.json and model.safetensors, from either twin or from
                transformers, or, as a str, a name on the hub such as "google/mobilebert-uncased".
            dtype: "float32", "float64", "bfloat16" or "float16", whatever the file holds; "auto" keeps the file's;
                or a policy such as "mixed_bfloat16". Default: keras.config.dtype_policy(), as for a fresh model.
            config: used instead of config.json.
            ignore_mismatched_sizes: initialize what has another shape in the file, e.g. a classifier for other labels.
            zero_pad_embedding: set the word embedding of [PAD] to zero; otherwise padding changes results.
            output_loading_info: also return the names of missing, unexpected and mismatched tensors.
            torch_dtype: the older name of dtype.
            options: arguments of the constructor; keys that take precedence over config.json, e.g. num_labels=3;
                hub.Options, e.g. revision and token; arguments of transformers, see keywords.OPENING_MODEL.
        Raises:
            CheckpointError: a file is missing or damaged, or the tensors do not fit; one error names all of them.
            ConfigError: an option that is unknown, impossible or not supported.
            OSError: the hub cannot be reached, or a download failed.
            ImportError: a name on the hub, and huggingface_hub is not installed.
        """
        wanted = dtype if torch_dtype is None else torch_dtype
        where, constructor, overrides = keywords.sort_options(options, keywords.OPENING_MODEL, cls)
        policy = None if wanted == "auto" else arrays.dtype_policy(wanted)
        weights = checkpoint.load(
            pretrained_model_name_or_path,
            canonical_class(cls),
            "auto" if policy is None else policy.variable_dtype,
            config=config,
            ignore_mismatched_sizes=ignore_mismatched_sizes,
            zero_pad_embedding=zero_pad_embedding,
            without=absent_blocks(constructor),
            **where,
            **overrides,
        )
        model = cls(weights.config, dtype=policy or weights.dtype, **constructor)
        variables = model.canonical_variables()
        for name, array in weights.tensors.items():
            variable, layout = variables[name]
            arrays.assign(variable, array, layout)
        return (model, weights.loading_info()) if output_loading_info else model

    def save_pretrained(self, save_directory: str | Path, is_main_process: bool = True, **options: Any) -> None:
        """Write config.json, model.safetensors and manifest.json in one step; other files of the directory stay.

        Args:
            is_main_process: if false, nothing is written; of several processes, one saves.
            options: arguments of transformers, see keywords.SAVING.
        Raises:
            OSError: nothing was written, and what was there is intact.
            ConfigError: an option that is unknown or not supported.
        """
        keywords.refuse_meaningful(options, keywords.SAVING)
        if not is_main_process:
            return
        tensors = {
            name: arrays.to_numpy(variable, layout) for name, (variable, layout) in self.canonical_variables().items()
        }
        checkpoint.save(save_directory, self.config, self.architecture, tensors)

    def canonical_variables(self) -> dict[str, tuple[keras.Variable, Any]]:
        """{canonical name: (variable, its layout in Keras)}, found by the names of layers."""
        layers = arrays.layers_by_name(self)
        absent = ("pooler",) if base_model(self).pooler is None else ()
        return {
            tensor.name: (getattr(layers[tensor.module], tensor.keras.name), tensor.keras.layout)
            for tensor in expand(self.config, self.architecture).values()
            if tensor.block not in absent
        }

    def num_parameters(self, only_trainable: bool = False, exclude_embeddings: bool = False) -> int:
        """The number of parameters.

        Args:
            only_trainable: leave out frozen ones.
            exclude_embeddings: leave out the tables of words, positions and segments.
        """
        layers = self._flatten_layers(include_self=False)
        tables = {id(layer.embeddings) for layer in layers if isinstance(layer, Embedding) and exclude_embeddings}
        counted = [variable for variable, _ in self.canonical_variables().values() if id(variable) not in tables]
        return sum(math.prod(variable.shape) for variable in counted if variable.trainable or not only_trainable)

    def get_input_embeddings(self) -> Embedding:
        """The word embeddings."""
        return base_model(self).embeddings.word_embeddings

    def get_output_embeddings(self) -> Predictions | None:
        """The masked-LM head, if there is one."""
        heads = getattr(self, "cls", None)
        return None if heads is None else heads.predictions

    def resize_token_embeddings(
        self, new_num_tokens: int | None = None, pad_to_multiple_of: int | None = None
    ) -> Embedding:
        """Resize the vocabulary, in the embeddings and in the masked-LM head.

        Old rows are kept, new ones are initialized. Call `compile` again before `fit`.

        Args:
            new_num_tokens: rows of the new table; default: as many as it has.
            pad_to_multiple_of: round the rows up to a multiple, which is faster on some hardware.
        """
        resized = resized_config(self.config, new_num_tokens, pad_to_multiple_of)
        table = self.get_input_embeddings()
        if resized.vocab_size == self.config.vocab_size:
            return table
        table.resize(resized.vocab_size)
        if (head := self.get_output_embeddings()) is not None:
            head.resize(resized.vocab_size)
        self.config = base_model(self).config = resized
        self.forget_compiled()
        return table

    def _checkpoint_layers(self, every: int | None) -> None:
        base_model(self).encoder.checkpointed = every
        self.forget_functions()


def base_model(model: PreTrainedModel) -> "TFMobileBertModel":
    """The base model of a model, which may be the model itself."""
    return getattr(model, model.base_model_prefix, model)
