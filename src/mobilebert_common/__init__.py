"""What both twins share, without a framework: configuration, tokenizers, checkpoints, tasks, training, command line."""

from typing import TYPE_CHECKING as _TYPE_CHECKING
from typing import Any as _Any

from .model.config import MobileBertConfig
from .tokenization import MobileBertTokenizer, MobileBertTokenizerFast

if _TYPE_CHECKING:
    from .training.predictor import Predictor

__all__ = ["MobileBertConfig", "MobileBertTokenizer", "MobileBertTokenizerFast", "Predictor"]


def __getattr__(name: str) -> _Any:
    """Import Predictor, which opens exported models without a framework, when it is used."""
    if name != "Predictor":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from .training.predictor import Predictor

    return Predictor
