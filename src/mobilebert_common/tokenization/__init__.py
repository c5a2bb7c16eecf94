"""The two MobileBERT tokenizers, which differ in nothing but how they split a text: in plain Python, or in Rust."""

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
