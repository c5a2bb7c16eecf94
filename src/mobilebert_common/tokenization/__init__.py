"""The two MobileBERT tokenizers. They differ only in what splits a text: plain Python or Rust."""

from .base import MobileBertTokenizerBase
from .encoding import BatchEncoding, CharSpan, Encoding, TokenSpan
from .learning import learn_vocabulary
from .python import MobileBertTokenizer
from .rust import MobileBertTokenizerFast

__all__ = [
    "BatchEncoding",
    "CharSpan",
    "Encoding",
    "MobileBertTokenizer",
    "MobileBertTokenizerBase",
    "MobileBertTokenizerFast",
    "TokenSpan",
    "learn_vocabulary",
]
