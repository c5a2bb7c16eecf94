"""What every model shares in Keras: opening, saving, and access to its parts. mobilebert_pt/pretrained.py is its translation."""

import math
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self, overload

import keras
from keras import ops

from mobilebert_common import keywords
from mobilebert_common.checkpoints import checkpoint
from mobilebert_common.errors import ConfigError
from mobilebert_common.model.config import MobileBertConfig
from mobilebert_common.model.layout import layout_shape
from mobilebert_common.model.pretrained import Pretrained, absent_blocks, canonical_class, first_given, resized_config
from mobilebert_common.model.schema import ROOT, Tensor, expand

from . import arrays
from .backup import read_state, write_state
from .base import BuiltAfterInit, accepted, build_children, call_symbolically, layers_by_name, parts, unbuilt
from .fit import TrainableModel
from .layers import Embedding, Predictions

if TYPE_CHECKING:
    from .model import TFMobileBertModel


class TFMobileBertPreTrainedModel(Pretrained, TrainableModel, metaclass=BuiltAfterInit):
    """A model with a configuration that opens from and saves to a checkpoint directory.

    A subclass may add layers in its `__init__`. They are saved and opened with it, under the names of the attributes that hold
    them, in this twin only.

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
        config = {
            "config": self.config.to_dict(),
            "name": self.name,
            "dtype": keras.saving.serialize_keras_object(self.dtype_policy),
        }
        if self.called_with is not None:  # shapes that no guess can give, for layers of the user's own
            config["called_with"] = keras.saving.serialize_keras_object(self.called_with.inputs)
        return config

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> Self:
        arguments = {**config, "dtype": keras.saving.deserialize_keras_object(config["dtype"])}
        called_with = arguments.pop("called_with", None)
        configuration = MobileBertConfig.from_dict(arguments.pop("config"))
        model = cls(configuration, **accepted(cls, arguments, optional=("name", "dtype")))
        if called_with is not None and unbuilt(model):
            args, kwargs = keras.saving.deserialize_keras_object(called_with)
            call_symbolically(model, *args, **kwargs)
        return model

    @overload
    @classmethod
    def from_pretrained(
        cls, pretrained_model_name_or_path: str | Path, *model_args: Any, output_loading_info: Literal[False] = False, **options: Any
    ) -> Self: ...

    @overload
    @classmethod
    def from_pretrained(
        cls, pretrained_model_name_or_path: str | Path, *model_args: Any, output_loading_info: Literal[True], **options: Any
    ) -> tuple[Self, dict[str, list[Any]]]: ...

    @classmethod
    def from_pretrained(
        cls,
        pretrained_model_name_or_path: str | Path,
        *model_args: Any,
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
                transformers, or, as a str, "mobilebert-small-uncased", which comes with this package, or a name on the hub
                such as "google/mobilebert-uncased".
            model_args: further arguments of the constructor of a class of your own.
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
        wanted = first_given(dtype, torch_dtype)
        where, constructor, overrides = keywords.sort_options(options, keywords.OPENING_MODEL, cls)
        policy = None if isinstance(wanted, str) and wanted == "auto" else arrays.dtype_policy(wanted)

        def shapes(configuration: MobileBertConfig) -> dict[str, tuple[int, ...]]:
            variables = cls(configuration, *model_args, dtype=policy, **constructor).canonical_variables().items()
            return {name: layout_shape(tuple(variable.shape), layout, 1) for name, (variable, layout) in variables}

        weights = checkpoint.load(
            pretrained_model_name_or_path,
            canonical_class(cls),
            "auto" if policy is None else policy.variable_dtype,
            config=config,
            ignore_mismatched_sizes=ignore_mismatched_sizes,
            zero_pad_embedding=zero_pad_embedding,
            without=absent_blocks(constructor),
            shapes=None if is_ours(cls) else shapes,
            **where,
            **overrides,
        )
        model = cls(weights.config, *model_args, dtype=policy or weights.dtype, **constructor)
        variables = model.canonical_variables()
        for name, array in weights.tensors.items():
            variable, layout = variables[name]
            arrays.assign(variable, array, layout)
        model.name_or_path = str(pretrained_model_name_or_path)
        return (model, weights.loading_info()) if output_loading_info else model

    @classmethod
    def _from_config(cls, config: MobileBertConfig, dtype: Any = None, torch_dtype: Any = None, **options: Any) -> Self:
        """A model with fresh weights; AutoModel.from_config calls this."""
        keywords.meaningful(options, keywords.OPENING_MODEL)
        wanted = first_given(dtype, torch_dtype)
        return cls(config) if wanted is None else cls(config, dtype=arrays.dtype_policy(wanted))

    def save_pretrained(
        self,
        save_directory: str | Path,
        is_main_process: bool = True,
        saved_model: bool = False,
        version: int = 1,
        **options: Any,
    ) -> None:
        """Write config.json, model.safetensors and manifest.json in one step; other files of the directory stay.

        Args:
            is_main_process: if false, nothing is written; of several processes, one saves.
            saved_model: also export the model to saved_model/VERSION in the directory, for TensorFlow Serving.
            version: the name of that folder.
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
        if saved_model:
            self.export(Path(save_directory) / "saved_model" / str(version), verbose=False)

    def fold(self, *, dtype: Any = None, quantize: None = None, compose: bool = True) -> Self:
        """A faster copy of this model for inference: the same call and the same outputs, up to rounding.

        It cannot be trained, changed or saved. A class of your own gets a folded base model; its constructor is called again, as
        Keras does to open a saved model. In TensorFlow a call is compiled when the first of its kind is made.

        Args:
            dtype: of its tensors, e.g. "bfloat16", or a policy; by default this model's policy.
            quantize: only None: TensorFlow has no fast int8 products.
            compose: multiply query and key with the bottleneck they share: a product less, but larger matrices.
        Raises:
            ConfigError: layers that are not of this package, weights that are not finite, or an option that is not supported.
        """
        from .inference import fold  # which imports the models

        return fold(self, dtype, quantize, compose)  # type: ignore[return-value]

    def save_own_variables(self, store: Any) -> None:
        self.require_built()
        super().save_own_variables(store)
        write_state(self, store)

    def load_own_variables(self, store: Any) -> None:
        self.require_built()
        super().load_own_variables(read_state(self, store))

    def require_built(self) -> None:
        """Raise a ConfigError if layers have no weights yet, which neither saving nor loading may pass over."""
        if missing := unbuilt(self):
            raise ConfigError(
                f"{', '.join(missing)} of this {type(self).__name__} has no weights yet, because its shape follows from the "
                "first call: call the model before you save it or load weights into it"
            )

    def canonical_variables(self) -> dict[str, tuple[keras.Variable, Any]]:
        """{canonical name: (variable, its layout in Keras)}, found by the attributes that hold the layers.

        Variables of layers that a subclass adds come last, named after the attribute, e.g. "extra.kernel".

        Raises:
            ConfigError: a layer has no weights yet, or is not the one that the configuration describes.
        """
        self.require_built()
        base = base_model(self)
        is_part = self.architecture == "MobileBertModel" and base is not self
        layers = layers_by_name(base if is_part else self)
        absent = ("pooler",) if base.pooler is None else ()
        tensors = [each for each in expand(self.config, self.architecture).values() if each.block not in absent]
        found = {tensor.name: (variable_of(tensor, layers), tensor.keras.layout) for tensor in tensors}
        own = own_variables(self, found, () if is_part else {tensor.module.partition(".")[0] for tensor in tensors})
        if self.architecture == "MobileBertModel" and (is_part or own):  # as a part, its names have the name of the part
            found = {ROOT + name: place for name, place in found.items()}
        return found | {name: (variable, "same") for name, variable in own.items()}

    @property
    def is_gradient_checkpointing(self) -> bool:
        """Whether activations are recomputed in the backward pass."""
        return base_model(self).encoder.checkpointed is not None

    @property
    def dummy_inputs(self) -> dict[str, Any]:
        """A small batch, for tracing."""
        shapes = {name: [size or 2 for size in shape] for name, shape in self.input_shapes().items()}
        fill = {"token_type_ids": ops.zeros}
        return {name: fill.get(name, ops.ones)(shape, "int32") for name, shape in shapes.items()}

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

    def set_input_embeddings(self, value: Any) -> None:
        """Put other values into the word embeddings; if they have another number of rows, the vocabulary is resized to it.

        Args:
            value: a keras.layers.Embedding, or a variable or an array [v e].
        """
        rows = ops.convert_to_numpy(getattr(value, "embeddings", value))
        table = self.get_input_embeddings()
        if rows.ndim != 2 or rows.shape[1] != table.output_dim:
            raise ConfigError(f"word embeddings must be [any, {table.output_dim}], not {list(rows.shape)}")
        self.resize_token_embeddings(rows.shape[0])
        table._embeddings.assign(rows)

    def get_position_embeddings(self) -> Embedding:
        """The position embeddings."""
        return base_model(self).embeddings.position_embeddings

    def get_output_embeddings(self) -> Predictions | None:
        """The masked-LM head, if there is one."""
        return getattr(getattr(self, "cls", None), "predictions", None)

    def get_lm_head(self) -> Predictions | None:
        """Another name of get_output_embeddings."""
        return self.get_output_embeddings()

    def get_bias(self) -> dict[str, keras.Variable] | None:
        """The bias of the masked-LM head by its name, if there is one."""
        head = self.get_output_embeddings()
        return None if head is None else {"bias": head.bias}

    def set_bias(self, value: dict[str, Any]) -> None:
        """Put other values into the bias of the masked-LM head."""
        self.get_output_embeddings().bias.assign(value["bias"])

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
        self._resize_vocabulary(resized)
        return table

    def _resize_vocabulary(self, config: MobileBertConfig) -> None:
        """Make the masked-LM head and the configuration follow the word embeddings."""
        if (head := self.get_output_embeddings()) is not None:
            head.resize(config.vocab_size)
        self.config = base_model(self).config = config
        self.forget_compiled()

    def _checkpoint_layers(self, every: int | None) -> None:
        base_model(self).encoder.checkpointed = every
        self.forget_functions()


def is_ours(cls: type) -> bool:
    """Whether a model class has only layers that the schema knows."""
    return cls.__module__.partition(".")[0] == __package__


def variable_of(tensor: Tensor, layers: Mapping[str, keras.layers.Layer]) -> keras.Variable:
    """The variable of a tensor of the schema; a subclass may have replaced its layer by one of the same shape."""
    variable = getattr(layers.get(tensor.module), tensor.keras.name, None)
    if variable is None or layout_shape(tuple(variable.shape), tensor.keras.layout, 1) != tensor.shape:
        found = "absent" if variable is None else f"{list(variable.shape)} in Keras"
        raise ConfigError(
            f"{tensor.name} must be {list(tensor.shape)} by the configuration, and is {found}: a layer of your own that "
            f"does not take the place of {tensor.module} needs another attribute"
        )
    return variable


def own_variables(
    model: Any, known: Mapping[str, tuple[keras.Variable, Any]], standard: Collection[str]
) -> dict[str, keras.Variable]:
    """{name: variable} of what a subclass adds; variables of one name in one layer are counted.

    Args:
        known: the variables of the schema.
        standard: the attributes that only hold such variables.
    """
    ours = {id(variable) for variable, _ in known.values()}
    owners = {name: layer.weights for name, layer in parts(model).items() if name not in standard}
    own = [(f"{name}.{variable.name}", variable) for name, weights in owners.items() for variable in weights]
    own += [(variable.name, variable) for variable in model._trainable_variables + model._non_trainable_variables]
    found: dict[str, keras.Variable] = {}
    for name, variable in own:
        if id(variable) not in ours and not any(variable is other for other in found.values()):
            copies = sum(other == name or (other.startswith(f"{name}_") and other[len(name) + 1 :].isdigit()) for other in found)
            found[f"{name}_{copies}" if copies else name] = variable
    return found


def base_model(model: TFMobileBertPreTrainedModel) -> "TFMobileBertModel":
    """The base model of a model, which may be the model itself."""
    found = getattr(model, model.base_model_prefix, None)
    inside = (layer for layer in model._flatten_layers(include_self=False) if hasattr(layer, "encoder") and is_ours(type(layer)))
    found = next(inside, None) if found is None else found
    if found is None:
        raise ConfigError(f"{type(model).__name__} has no TFMobileBertModel, e.g. as self.mobilebert")
    return found
