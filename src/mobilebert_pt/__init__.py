"""MobileBERT in PyTorch, with the names of the transformers documentation."""

from mobilebert_common.model.config import MobileBertConfig
from mobilebert_common.model.outputs import MobileBertForPreTrainingOutput
from mobilebert_common.tokenization import MobileBertTokenizer, MobileBertTokenizerFast

from . import outputs as _outputs  # noqa: F401  (registers the output classes with torch)
from .api import Predictor, evaluate, predict, train
from .heads import (
    MobileBertForMaskedLM,
    MobileBertForMultipleChoice,
    MobileBertForNextSentencePrediction,
    MobileBertForPreTraining,
    MobileBertForQuestionAnswering,
    MobileBertForSequenceClassification,
    MobileBertForTokenClassification,
)
from .model import MobileBertModel
from .pretrained import MobileBertPreTrainedModel
from .trainer import trainer_class

__all__ = [
    "MobileBertConfig",
    "MobileBertForMaskedLM",
    "MobileBertForMultipleChoice",
    "MobileBertForNextSentencePrediction",
    "MobileBertForPreTraining",
    "MobileBertForPreTrainingOutput",
    "MobileBertForQuestionAnswering",
    "MobileBertForSequenceClassification",
    "MobileBertForTokenClassification",
    "MobileBertModel",
    "MobileBertPreTrainedModel",
    "MobileBertTokenizer",
    "MobileBertTokenizerFast",
    "Predictor",
    "evaluate",
    "predict",
    "train",
    "trainer_class",
]
