"""What the base classes of both twins share without a framework."""

import operator
from abc import abstractmethod
from typing import Any

from ..errors import ConfigError
from .architectures import ARCHITECTURES
from .config import MobileBertConfig
from .outputs import ModelOutput


class Pretrained:
    """The part of a model with a configuration that looks at no tensor; a twin's base class inherits it."""

    config_class = MobileBertConfig
    base_model_prefix = "mobilebert"
    config: MobileBertConfig

    @property
    def num_labels(self) -> int:
        """How many labels the configuration has."""
        return self.config.num_labels

    def activation_checkpointing_enable(
        self,
        activation_checkpointing_kwargs: dict[str, Any] | None = None,
        every_n_layers: int = 1,
        offload: bool = False,
    ) -> None:
        """Keep only the inputs of layers, and recompute their activations in the backward pass.

        Args:
            activation_checkpointing_kwargs: not used; Hugging Face's Trainer passes some.
            every_n_layers: checkpoint every n-th layer, starting with the first.
            offload: not supported.
        Raises:
            ConfigError: offload is true.
        """
        if offload:
            raise ConfigError("offload=True is not supported: what is kept stays on its device")
        self._checkpoint_layers(every_n_layers)

    def activation_checkpointing_disable(self) -> None:
        """Keep all activations again."""
        self._checkpoint_layers(None)

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
        """Checkpoint every n-th layer of the encoder, or none."""

    def finish(self, output: ModelOutput, return_dict: bool | None) -> ModelOutput | tuple[Any, ...]:
        """The output, or its tuple if return_dict is false."""
        wanted = self.config.return_dict if return_dict is None else return_dict
        return output if wanted else output.to_tuple()


def canonical_class(cls: type) -> str:
    """The name of a model class in ARCHITECTURES, which has no "TF"; a subclass has its parent's."""
    return next(name for base in cls.__mro__ if (name := base.__name__.removeprefix("TF")) in ARCHITECTURES)


def resized_config(config: MobileBertConfig, rows: int | None, multiple: int | None) -> MobileBertConfig:
    """The configuration for a word table of another size.

    Args:
        rows: of the new table; None keeps those it has.
        multiple: round the rows up to a multiple of it.
    Raises:
        ConfigError: the configuration does not allow this size.
    """
    rows = config.vocab_size if rows is None else operator.index(rows)
    multiple = multiple or 1
    return config.replace(vocab_size=-(-rows // multiple) * multiple)


def absent_blocks(constructor: dict[str, Any]) -> tuple[str, ...]:
    """The blocks of ARCHITECTURES that these arguments of a constructor leave out."""
    return () if constructor.get("add_pooling_layer", True) else ("pooler",)
