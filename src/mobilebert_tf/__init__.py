"""MobileBERT in Keras 3, with the names of the transformers documentation."""

from mobilebert_common.model.config import MobileBertConfig
from mobilebert_common.model.outputs import MobileBertForPreTrainingOutput as TFMobileBertForPreTrainingOutput
from mobilebert_common.tokenization import MobileBertTokenizer, MobileBertTokenizerFast

from . import backend as _backend  # noqa: F401  (refuses a backend of Keras that this package does not run on)
from . import outputs as _outputs  # noqa: F401  (registers the output classes with keras)
from .heads import (
    TFMobileBertForMaskedLM,
    TFMobileBertForMultipleChoice,
    TFMobileBertForNextSentencePrediction,
    TFMobileBertForPreTraining,
    TFMobileBertForQuestionAnswering,
    TFMobileBertForSequenceClassification,
    TFMobileBertForTokenClassification,
)
from .model import TFMobileBertModel

__all__ = [
    "MobileBertConfig",
    "MobileBertTokenizer",
    "MobileBertTokenizerFast",
    "TFMobileBertForMaskedLM",
    "TFMobileBertForMultipleChoice",
    "TFMobileBertForNextSentencePrediction",
    "TFMobileBertForPreTraining",
    "TFMobileBertForPreTrainingOutput",
    "TFMobileBertForQuestionAnswering",
    "TFMobileBertForSequenceClassification",
    "TFMobileBertForTokenClassification",
    "TFMobileBertModel",
]
