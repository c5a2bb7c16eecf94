"""The framework-free part of both twins' base classes."""

import operator
import tempfile
from abc import abstractmethod
from pathlib import Path
from typing import Any

from .. import keywords
from ..errors import ConfigError
from ..files import hub
from .architectures import ARCHITECTURES
from .config import MobileBertConfig
from .outputs import ModelOutput


class Pretrained:
    """The part of a model that touches no tensor; each twin's base class inherits it."""

    config_class = MobileBertConfig
    base_model_prefix = "mobilebert"
    main_input_name = "input_ids"
    supports_gradient_checkpointing = True
    framework: str  # "pt" or "tf"
    config: MobileBertConfig
    name_or_path = ""  # what the model was opened from
    model_tags: tuple[str, ...] = ()

    @property
    def num_labels(self) -> int:
        """The number of labels in the configuration."""
        return self.config.num_labels

    @classmethod
    def can_generate(cls) -> bool:
        """False: a MobileBERT reads text, and writes none."""
        return False

    def add_model_tags(self, tags: str | list[str]) -> None:
        """Note tags for a model card, which libraries for fine-tuning add; they are not saved."""
        self.model_tags = (*self.model_tags, *([tags] if isinstance(tags, str) else tags))

    def set_attn_implementation(self, attn_implementation: str) -> None:
        """Nothing: the one attention implementation can always return its weights.

        Raises:
            ConfigError: another implementation than "eager" or "sdpa".
        """
        keywords.meaningful({"attn_implementation": attn_implementation}, keywords.OPENING_MODEL)

    def activation_checkpointing_enable(
        self,
        activation_checkpointing_kwargs: dict[str, Any] | None = None,
        every_n_layers: int = 1,
        offload: bool = False,
    ) -> None:
        """Keep only the layers' inputs and recompute their activations in the backward pass.

        Args:
            activation_checkpointing_kwargs: ignored; Hugging Face's Trainer passes it.
            every_n_layers: checkpoint every n-th layer, starting with the first.
            offload: not supported.
        Raises:
            ConfigError: offload is true.
        """
        if offload:
            raise ConfigError("offload=True is not supported: checkpointed activations stay on their device")
        self._checkpoint_layers(every_n_layers)

    def activation_checkpointing_disable(self) -> None:
        """Keep all activations."""
        self._checkpoint_layers(None)

    @property
    def is_activation_checkpointing(self) -> bool:
        """The newer name of is_gradient_checkpointing."""
        return self.is_gradient_checkpointing

    @property
    @abstractmethod
    def is_gradient_checkpointing(self) -> bool:
        """Whether activations are recomputed in the backward pass."""

    def gradient_checkpointing_enable(
        self,
        gradient_checkpointing_kwargs: dict[str, Any] | None = None,
        every_n_layers: int = 1,
        offload: bool = False,
    ) -> None:
        """The older name of activation_checkpointing_enable."""
        self.activation_checkpointing_enable(gradient_checkpointing_kwargs, every_n_layers, offload)

    def gradient_checkpointing_disable(self) -> None:
        """The older name of activation_checkpointing_disable."""
        self.activation_checkpointing_disable()

    @abstractmethod
    def _checkpoint_layers(self, every: int | None) -> None:
        """Checkpoint every n-th layer of the encoder; None turns it off."""

    def push_to_hub(
        self,
        repo_id: str,
        *,
        commit_message: str | None = None,
        private: bool | None = None,
        token: str | bool | None = None,
        revision: str | None = None,
        create_pr: bool = False,
        **options: Any,
    ) -> Any:
        """Save the model and upload its files to a repository on the Hugging Face hub; see hub.upload.

        Args:
            repo_id: "owner/name", or "name" of the token's owner.
            options: those of save_pretrained, and the further ones of transformers that change nothing.
        """
        rest = keywords.meaningful(options, keywords.PUSHING)
        with tempfile.TemporaryDirectory() as folder:
            self.save_pretrained(folder, **rest)
            return hub.upload(
                Path(folder),
                repo_id,
                commit_message=commit_message or f"Upload {type(self).__name__}",
                private=private,
                token=token,
                revision=revision,
                create_pr=create_pr,
            )

    @abstractmethod
    def save_pretrained(self, save_directory: str | Path, *args: Any, **options: Any) -> None:
        """Write the model's files; each twin has its own."""

    def finish(self, output: ModelOutput, return_dict: bool | None) -> ModelOutput | tuple[Any, ...]:
        """Return the output, as a tuple if return_dict is false; None means the configuration's use_return_dict."""
        wanted = self.config.use_return_dict if return_dict is None else return_dict
        return output if wanted else output.to_tuple()


def canonical_class(cls: type) -> str:
    """The name of a model class in ARCHITECTURES, without "TF"; for a subclass, its parent's.

    A class that adds its layers to the common base class has the base model as a part.
    """
    names = (base.__name__.removeprefix("TF") for base in cls.__mro__)
    return next((name for name in names if name in ARCHITECTURES), "MobileBertModel")


def resized_config(config: MobileBertConfig, rows: int | None, multiple: int | None) -> MobileBertConfig:
    """Return the configuration for a word embedding table of another size.

    Args:
        rows: number of rows of the new table; None keeps the present number.
        multiple: round the number up to a multiple of this.
    Raises:
        ConfigError: the configuration does not allow this size.
    """
    rows = config.vocab_size if rows is None else operator.index(rows)
    multiple = multiple or 1
    return config.replace(vocab_size=-(-rows // multiple) * multiple)


def absent_blocks(constructor: dict[str, Any]) -> tuple[str, ...]:
    """The blocks that these constructor arguments leave out of the model."""
    return () if constructor.get("add_pooling_layer", True) else ("pooler",)


def first_given(*values: Any) -> Any:
    """The first value that is not None; None if there is none."""
    return next((value for value in values if value is not None), None)
