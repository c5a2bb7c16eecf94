"""What every model shares in PyTorch: opening, saving, and access to its parts. mobilebert_tf/pretrained.py is its translation."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self, overload

import torch
from torch import Tensor, nn

from mobilebert_common import keywords
from mobilebert_common.checkpoints import checkpoint
from mobilebert_common.errors import ConfigError, shortened
from mobilebert_common.model.config import MobileBertConfig
from mobilebert_common.model.pretrained import Pretrained, absent_blocks, canonical_class, resized_config

from . import arrays
from .layers import Embedding, Predictions

if TYPE_CHECKING:
    from .model import MobileBertModel


class PreTrainedModel(Pretrained, nn.Module):
    """A model with a configuration that opens from and saves to a checkpoint directory."""

    framework = "pt"  # as in a tokenizer's return_tensors

    def __init__(self, config: MobileBertConfig) -> None:
        super().__init__()
        self.config = config.replace()
        self.architecture = canonical_class(type(self))

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
        dtype: str | torch.dtype = "float32",
        device: str | torch.device | None = None,
        config: MobileBertConfig | None = None,
        ignore_mismatched_sizes: bool = False,
        zero_pad_embedding: bool = False,
        output_loading_info: bool = False,
        torch_dtype: str | torch.dtype | None = None,
        **options: Any,
    ) -> Any:
        """Open a checkpoint directory or a model on the hub, in evaluation mode.

        Args:
            pretrained_model_name_or_path: a folder with config.json and model.safetensors, from either twin or from
                transformers, or, as a str, a name on the hub such as "google/mobilebert-uncased".
            dtype: "float32", "float64", "bfloat16" or "float16", whatever the file holds; "auto" keeps the file's.
            device: where the parameters go; the CPU by default.
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
        weights = checkpoint.load(
            pretrained_model_name_or_path,
            canonical_class(cls),
            arrays.dtype_name(wanted),
            config=config,
            ignore_mismatched_sizes=ignore_mismatched_sizes,
            zero_pad_embedding=zero_pad_embedding,
            without=absent_blocks(constructor),
            **where,
            **overrides,
        )
        with torch.device("meta"):
            model = cls(weights.config, **constructor)
        tensors = {name: arrays.to_tensor(array) for name, array in weights.tensors.items()}
        model.load_state_dict(tensors, strict=False, assign=True)
        initialize_missing(model, arrays.torch_dtype(weights.dtype))
        model = model.to(device).eval()
        return (model, weights.loading_info()) if output_loading_info else model

    def save_pretrained(
        self,
        save_directory: str | Path,
        is_main_process: bool = True,
        state_dict: Mapping[str, Tensor] | None = None,
        **options: Any,
    ) -> None:
        """Write config.json, model.safetensors and manifest.json in one step; other files of the directory stay.

        Args:
            is_main_process: if false, nothing is written; of several processes, one saves.
            state_dict: saved instead of the model's own; it must have the same names.
            options: arguments of transformers, see keywords.SAVING.
        Raises:
            OSError: nothing was written, and what was there is intact.
            ConfigError: an option that is unknown or not supported.
        """
        keywords.refuse_meaningful(options, keywords.SAVING)
        if not is_main_process:
            return
        own = self.state_dict()
        tensors = own if state_dict is None else state_dict
        if wrong := sorted(tensors.keys() ^ own.keys()):
            raise ConfigError(f"state_dict does not have the names of this {type(self).__name__}: {shortened(wrong)}")
        canonical = {name: arrays.to_numpy(tensor) for name, tensor in tensors.items()}
        checkpoint.save(save_directory, self.config, self.architecture, canonical)

    @property
    def dtype(self) -> torch.dtype:
        """The dtype of the parameters."""
        return self.get_input_embeddings().weight.dtype

    @property
    def device(self) -> torch.device:
        """The device of the parameters."""
        return self.get_input_embeddings().weight.device

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
            id(module.weight) for module in self.modules() if isinstance(module, Embedding) and exclude_embeddings
        }
        counted = [parameter for parameter in self.parameters() if id(parameter) not in tables]
        return sum(parameter.numel() for parameter in counted if parameter.requires_grad or not only_trainable)

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

        Old rows are kept, new ones are initialized. Existing optimizers do not know the new parameters.

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
        return table

    def _checkpoint_layers(self, every: int | None) -> None:
        base_model(self).encoder.checkpointed = every


def initialize_missing(model: nn.Module, dtype: torch.dtype) -> None:
    """Initialize what is still on the meta device: a head that the file lacks, or layers that a subclass adds."""
    for module in model.modules():
        if any(parameter.is_meta for parameter in module.parameters(recurse=False)):
            loaded = {name: parameter.detach() for name, parameter in module.named_parameters(recurse=False)}
            module.to_empty(device="cpu", recurse=False).reset_parameters()
            module.to(dtype)
            for name, tensor in loaded.items():  # the bias of a mismatched weight may have been loaded
                if not tensor.is_meta:
                    module.get_parameter(name).data = tensor


def base_model(model: PreTrainedModel) -> "MobileBertModel":
    """The base model of a model, which may be the model itself."""
    return getattr(model, model.base_model_prefix, model)
