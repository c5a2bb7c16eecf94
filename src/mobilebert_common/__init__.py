"""What both twins share, without a framework: configuration, tokenizers, checkpoints, tasks, training, command line."""

from .model.config import MobileBertConfig
from .tokenization import MobileBertTokenizer, MobileBertTokenizerFast

__all__ = ["MobileBertConfig", "MobileBertTokenizer", "MobileBertTokenizerFast"]
