"""What every model shares in PyTorch: opening, saving, and access to its parts. mobilebert_tf/pretrained.py is its translation."""

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self, overload

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from mobilebert_common import keywords
from mobilebert_common.checkpoints import checkpoint
from mobilebert_common.checkpoints.matching import unwrapped
from mobilebert_common.checkpoints.safetensors import WEIGHTS_FILE as SAFETENSORS_FILE
from mobilebert_common.checkpoints.torch_bin import WEIGHTS_FILE as BIN_FILE
from mobilebert_common.errors import ConfigError, shortened
from mobilebert_common.files.folder import save_files
from mobilebert_common.model.config import MobileBertConfig
from mobilebert_common.model.pretrained import Pretrained, absent_blocks, canonical_class, first_given, resized_config

from . import arrays, sharding
from .layers import Matrix, TiedDecoder, initialize, resize

if TYPE_CHECKING:
    from .model import MobileBertModel


class MobileBertPreTrainedModel(Pretrained, nn.Module):
    """A model with a configuration that opens from and saves to a checkpoint directory.

    A class of your own inherits from it or from a model of this package, adds layers in its constructor and calls post_init() at
    the end. It saves and opens with all its layers if the base model is its attribute `mobilebert`; TensorFlow and Keras cannot
    open what it saves, since they do not know these layers.
    """

    framework = "pt"  # as in a tokenizer's return_tensors
    _no_split_modules = ("TransformerLayer",)  # for accelerate

    def __init__(self, config: MobileBertConfig, *inputs: Any, **kwargs: Any) -> None:
        super().__init__()
        self.config = MobileBertConfig.from_any(config)
        self.architecture = canonical_class(type(self))

    def post_init(self) -> None:
        """Initialize the modules that are not initialized yet; the last step of a constructor."""
        modules = list(self.modules())
        known = {id(tensor) for module in modules if _is_initialized(module) for tensor in module.parameters(recurse=False)}
        for module in modules:
            is_meta = any(tensor.is_meta for tensor in module.parameters(recurse=False))  # which have values only after to_empty()
            if not is_meta and not _is_initialized(module):
                initialize_rest(self, module, known)
                module.__dict__["_initialized"] = True

    init_weights = post_init  # the older name

    def _init_weights(self, module: nn.Module) -> None:
        """Give one module, without its sub-modules, its initial values; a subclass may override it for its own layers."""
        initialize(module, self.config.initializer_range)

    @overload
    @classmethod
    def from_pretrained(
        cls,
        pretrained_model_name_or_path: str | Path | None,
        *model_args: Any,
        output_loading_info: Literal[False] = False,
        **options: Any,
    ) -> Self: ...

    @overload
    @classmethod
    def from_pretrained(
        cls,
        pretrained_model_name_or_path: str | Path | None,
        *model_args: Any,
        output_loading_info: Literal[True],
        **options: Any,
    ) -> tuple[Self, dict[str, list[Any]]]: ...

    @classmethod
    def from_pretrained(
        cls,
        pretrained_model_name_or_path: str | Path | None,
        *model_args: Any,
        dtype: str | torch.dtype | None = None,
        device: str | torch.device | None = None,
        config: MobileBertConfig | None = None,
        ignore_mismatched_sizes: bool = False,
        zero_pad_embedding: bool = False,
        output_loading_info: bool = False,
        torch_dtype: str | torch.dtype | None = None,
        device_map: Any = None,
        state_dict: Mapping[str, Tensor] | None = None,
        **options: Any,
    ) -> Any:
        """Open a checkpoint directory or a model on the hub, in evaluation mode.

        Args:
            pretrained_model_name_or_path: a folder with config.json and model.safetensors, from either twin or from
                transformers, or, as a str, "mobilebert-small-uncased", which comes with this package, or a name on the hub
                such as "google/mobilebert-uncased". None with both config and state_dict.
            model_args: further arguments of the constructor of a class of your own.
            dtype: "float32", "float64", "bfloat16" or "float16", whatever the file holds; "auto" keeps the file's. By default
                torch.get_default_dtype(), which is float32 unless changed.
            device: where the parameters go; the CPU by default.
            config: used instead of config.json.
            ignore_mismatched_sizes: initialize what has another shape in the file, e.g. a classifier for other labels.
            zero_pad_embedding: set the word embedding of [PAD] to zero; otherwise padding changes results.
            output_loading_info: also return the names of missing, unexpected and mismatched tensors.
            torch_dtype: the older name of dtype.
            device_map: one device for the whole model, as device; "auto" is the accelerator if there is one.
            state_dict: weights used instead of the folder's, also from torch.compile, DistributedDataParallel or Lightning.
            options: arguments of the constructor; keys that take precedence over config.json, e.g. num_labels=3;
                hub.Options, e.g. revision and token; arguments of transformers, see keywords.OPENING_MODEL.
        Raises:
            CheckpointError: a file is missing or damaged, or the tensors do not fit; one error names all of them.
            ConfigError: an option that is unknown, impossible or not supported.
            OSError: the hub cannot be reached, or a download failed.
            ImportError: a name on the hub, and huggingface_hub is not installed.
        """
        wanted = first_given(dtype, torch_dtype, torch.get_default_dtype())
        place = arrays.one_device(device, device_map)
        where, constructor, overrides = keywords.sort_options(options, keywords.OPENING_MODEL, cls)
        foreign: list[Self] = []

        def shapes(configuration: MobileBertConfig) -> dict[str, tuple[int, ...]]:
            foreign[:] = [cls(configuration, *model_args, **constructor)]
            return {name: tuple(tensor.shape) for name, tensor in distinct(foreign[0]).items()}

        weights = checkpoint.load(
            pretrained_model_name_or_path,
            canonical_class(cls),
            arrays.dtype_name(wanted),
            config=config,
            ignore_mismatched_sizes=ignore_mismatched_sizes,
            zero_pad_embedding=zero_pad_embedding,
            without=absent_blocks(constructor),
            shapes=None if is_ours(cls) else shapes,
            state=None if state_dict is None else arrays.archive(state_dict),
            **where,
            **overrides,
        )
        if is_ours(cls):
            with torch.device("meta"), WithoutValues():
                model = cls(weights.config, **constructor)
        else:  # its constructor may compute with tensors, and share them
            model = foreign[0] if foreign[0].config == weights.config else cls(weights.config, *model_args, **constructor)
            model.to(arrays.torch_dtype(weights.dtype))
        tensors = {name: arrays.to_tensor(array) for name, array in weights.tensors.items()}
        model.load_state_dict(tensors, strict=False, assign=is_ours(cls))
        initialize_missing(model, arrays.torch_dtype(weights.dtype), tensors)
        model.name_or_path = str(pretrained_model_name_or_path or "")
        model = model.to(place).eval()
        return (model, weights.loading_info()) if output_loading_info else model

    @classmethod
    def _from_config(cls, config: MobileBertConfig, dtype: Any = None, torch_dtype: Any = None, **options: Any) -> Self:
        """A model with fresh weights; AutoModel.from_config calls this."""
        keywords.meaningful(options, keywords.OPENING_MODEL)
        return cls(config).to(arrays.torch_dtype(first_given(dtype, torch_dtype, torch.get_default_dtype())))

    def save_pretrained(
        self,
        save_directory: str | Path,
        is_main_process: bool = True,
        state_dict: Mapping[str, Tensor] | None = None,
        safe_serialization: bool = True,
        **options: Any,
    ) -> None:
        """Write config.json, model.safetensors and manifest.json in one step; other files of the directory stay.

        Tensors that are sharded over processes (FSDP2) are gathered, so all of these processes must call this, including those for
        which is_main_process is false. The first for which it is true writes; the others return when it has finished.

        Args:
            is_main_process: if false, nothing is written.
            state_dict: saved instead of the model's own; it must have the same names, but for what torch.compile and
                DistributedDataParallel put before them.
            safe_serialization: False writes pytorch_model.bin in place of model.safetensors.
            options: arguments of transformers, see keywords.SAVING.
        Raises:
            OSError: nothing was written, and what was there is intact.
            ConfigError: an option that is unknown or not supported.
        """
        keywords.refuse_meaningful(options, keywords.SAVING)
        own = distinct(self)
        tensors = own if state_dict is None else without_wrappers(state_dict)
        mesh = sharding.mesh_of(tensors.values())
        if mesh is None and not is_main_process:
            return
        if wrong := sorted((own.keys() - tensors.keys()) | (tensors.keys() - self.state_dict().keys())):
            raise ConfigError(f"state_dict does not have the names of this {type(self).__name__}: {shortened(wrong)}")
        whole = {name: sharding.gathered(tensors[name].detach()).cpu() for name in own}
        with sharding.one_of(mesh, is_main_process) as writes:
            if not writes:
                return
            contents = checkpoint.contents(self.config, self.architecture, {name: arrays.to_numpy(whole[name]) for name in own})
            if not safe_serialization:
                if (better := Path(save_directory) / SAFETENSORS_FILE).exists():
                    raise ConfigError(f"{better} would be read in place of {BIN_FILE}: save into another folder, or delete it first")
                del contents[SAFETENSORS_FILE]
                contents[BIN_FILE] = lambda path: torch.save({name: tensor.clone() for name, tensor in whole.items()}, path)
            save_files(Path(save_directory), contents)

    def fold(
        self,
        *,
        dtype: str | torch.dtype | None = None,
        quantize: Literal["int8"] | None = None,
        compose: bool = True,
        packed: bool | None = False,
    ) -> Self:
        """A faster copy of this model for inference: the same call and the same outputs, up to rounding.

        It cannot be trained, changed or saved. A class of your own gets a folded base model.

        Args:
            dtype: of its tensors, e.g. "bfloat16"; by default this model's.
            quantize: "int8" stores the encoder's weights in int8 and quantizes activations in each call: on the CPU, in float32.
            compose: multiply query and key with the bottleneck they share: a product less, but larger matrices.
            packed: keep weights in oneDNN's own layout, in float32 on the CPU. Some CPUs are faster with it, some slower; None
                measures that. Such a model cannot be moved, converted or exported.
        Raises:
            ConfigError: layers that are not of this package, weights that are not finite, or options that do not go together.
        """
        from .inference import fold  # which imports the models

        return fold(self, dtype, quantize, compose, packed)  # type: ignore[return-value]

    @property
    def dtype(self) -> torch.dtype:
        """The dtype of the parameters."""
        return _first_weight(self).dtype

    @property
    def device(self) -> torch.device:
        """The device of the parameters."""
        return _first_weight(self).device

    @property
    def is_gradient_checkpointing(self) -> bool:
        """Whether activations are recomputed in the backward pass."""
        return base_model(self).encoder.checkpointed is not None

    @property
    def dummy_inputs(self) -> dict[str, Tensor]:
        """A small batch, for tracing."""
        return {"input_ids": torch.tensor([[7, 6, 0, 0, 1], [1, 2, 3, 0, 0], [0, 0, 0, 4, 5]])}

    @property
    def base_model(self) -> "MobileBertModel":
        """The base model, e.g. to freeze it."""
        return base_model(self)

    def num_parameters(self, only_trainable: bool = False, exclude_embeddings: bool = False) -> int:
        """The number of parameters.

        Args:
            only_trainable: leave out frozen ones.
            exclude_embeddings: leave out the tables of words, positions and segments.
        """
        tables = {
            id(module.weight) for module in self.modules() if isinstance(module, nn.Embedding) and exclude_embeddings
        }
        counted = [parameter for parameter in self.parameters() if id(parameter) not in tables]
        return sum(parameter.numel() for parameter in counted if parameter.requires_grad or not only_trainable)

    def get_memory_footprint(self, return_buffers: bool = True) -> int:
        """The bytes of the parameters and, if asked for, of the buffers."""
        tensors = [*self.parameters(), *(self.buffers() if return_buffers else ())]
        return sum(tensor.numel() * tensor.element_size() for tensor in tensors)

    def get_input_embeddings(self) -> nn.Embedding:
        """The word embeddings."""
        return base_model(self).embeddings.word_embeddings

    def set_input_embeddings(self, value: nn.Module) -> None:
        """Replace the word embeddings; if they have another number of rows, the vocabulary of the model is resized to it."""
        sharding.refuse_sharded(self)
        base_model(self).embeddings.word_embeddings = value
        self._resize_vocabulary(resized_config(self.config, value.weight.shape[0], None))

    def get_position_embeddings(self) -> nn.Embedding:
        """The position embeddings."""
        return base_model(self).embeddings.position_embeddings

    def get_output_embeddings(self) -> Matrix | TiedDecoder | None:
        """The decoder of the masked-LM head, if there is one: its weight is that of the word embeddings, unless it is untied."""
        heads = getattr(self, "cls", None)
        predictions = getattr(heads, "predictions", None)
        return None if predictions is None else predictions.decoder

    def tie_weights(self, *args: Any, **kwargs: Any) -> None:
        """Nothing: a tied decoder is the word embeddings themselves."""

    def enable_input_require_grads(self) -> None:
        """Let gradients reach the embedded inputs, as adapters under gradient checkpointing need."""
        self.disable_input_require_grads()
        table = self.get_input_embeddings()
        self._require_grads = table.register_forward_hook(lambda module, args, output: output.requires_grad_(True))

    def disable_input_require_grads(self) -> None:
        """Undo enable_input_require_grads."""
        if (hook := self.__dict__.pop("_require_grads", None)) is not None:
            hook.remove()

    def resize_token_embeddings(
        self, new_num_tokens: int | None = None, pad_to_multiple_of: int | None = None
    ) -> nn.Embedding:
        """Resize the vocabulary, in the embeddings and in the masked-LM head.

        Old rows are kept, new ones are initialized. Existing optimizers do not know the new parameters.

        Args:
            new_num_tokens: rows of the new table; default: as many as it has.
            pad_to_multiple_of: round the rows up to a multiple, which is faster on some hardware.
        Raises:
            ConfigError: the model cannot have this size, or is sharded already (FSDP2).
        """
        resized = resized_config(self.config, new_num_tokens, pad_to_multiple_of)
        table = self.get_input_embeddings()
        if resized.vocab_size == self.config.vocab_size:
            return table
        sharding.refuse_sharded(self)
        resize(table, resized.vocab_size, self.config.initializer_range)
        self._resize_vocabulary(resized)
        return table

    def _resize_vocabulary(self, config: MobileBertConfig) -> None:
        """Make the masked-LM head and the configuration follow the word embeddings."""
        if isinstance(self.get_output_embeddings(), Matrix | TiedDecoder) and config.vocab_size != self.config.vocab_size:
            self.cls.predictions.resize(config.vocab_size, config.initializer_range)
        self.config = base_model(self).config = config

    def _checkpoint_layers(self, every: int | None) -> None:
        base_model(self).encoder.checkpointed = every


def is_ours(cls: type) -> bool:
    """Whether a model class has only layers that the schema knows; FSDP2 derives a class of its own from it."""
    origins = (base.__module__.partition(".")[0] for base in cls.__mro__)
    return next(origin for origin in origins if origin != "torch") == __package__


class WithoutValues(TorchFunctionMode):
    """Skip what gives tensors random or constant values, torch.nn.init: on the meta device it has no effect and takes seconds, since
    torch imports its compiler for random numbers there.
    """

    def __torch_function__(self, function: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None) -> Any:
        if getattr(function, "__module__", None) == nn.init.__name__:  # getters of attributes have none
            return kwargs["tensor"] if kwargs else args[0]
        return function(*args, **(kwargs or {}))


def distinct(model: nn.Module) -> dict[str, Tensor]:
    """The state_dict of a model, with tensors that have several names under the first of them."""
    first: dict[int, str] = {}
    state = model.state_dict(keep_vars=True)
    return {name: tensor.detach() for name, tensor in state.items() if first.setdefault(id(tensor), name) == name}


def without_wrappers(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A state_dict with the names of the model inside torch.compile, DistributedDataParallel and the like."""
    return {name: state[kept] for name, kept in unwrapped({name: name for name in state}).items()}


def initialize_missing(model: MobileBertPreTrainedModel, dtype: torch.dtype, loaded: Collection[str]) -> None:
    """Initialize what a file lacks: a head, or layers that a subclass adds and has not initialized itself."""
    known = {id(tensor) for name, tensor in model.state_dict(keep_vars=True).items() if name in loaded}
    for module in model.modules():
        missing = [parameter for parameter in module.parameters(recurse=False) if id(parameter) not in known]
        if not missing:
            continue
        if missing[0].is_meta:
            kept = {name: tensor.detach().clone() for name, tensor in module.named_parameters(recurse=False) if id(tensor) in known}
            module.to_empty(device="cpu", recurse=False).to(dtype)
            for name, values in kept.items():  # the bias of a mismatched weight may have been loaded
                module.get_parameter(name).data = values
                known.add(id(module.get_parameter(name)))
            initialize_rest(model, module, known)
        elif not _is_initialized(module):
            initialize_rest(model, module, known)
    for module in model.modules():
        module.__dict__["_initialized"] = True


def initialize_rest(model: MobileBertPreTrainedModel, module: nn.Module, known: Collection[int]) -> None:
    """Initialize a module, but for tensors that have their values already, by their id; a tied weight is a part of two modules."""
    kept = {tensor: tensor.detach().clone() for tensor in module.parameters(recurse=False) if id(tensor) in known}
    with sharding.whole_parameters(module):
        model._init_weights(module)
    with torch.no_grad():
        for tensor, values in kept.items():
            tensor.copy_(values)


def _is_initialized(module: nn.Module) -> bool:
    return "_initialized" in module.__dict__


def _first_weight(model: MobileBertPreTrainedModel) -> Tensor:
    """The word embeddings or, if these are a module without a weight, the first parameter."""
    tables = getattr(base_model(model), "embeddings", None)
    weight = getattr(getattr(tables, "word_embeddings", None), "weight", None)
    return weight if isinstance(weight, Tensor) else next(model.parameters())


def base_model(model: MobileBertPreTrainedModel) -> "MobileBertModel":
    """The base model of a model, which may be the model itself."""
    return getattr(model, model.base_model_prefix, model)
