"""MobileBERT in PyTorch, with the names of the transformers documentation."""

from typing import TYPE_CHECKING as _TYPE_CHECKING
from typing import Any as _Any

from mobilebert_common.model.config import MobileBertConfig
from mobilebert_common.model.outputs import MobileBertForPreTrainingOutput
from mobilebert_common.tokenization import MobileBertTokenizer, MobileBertTokenizerFast

from . import outputs as _outputs  # noqa: F401  (registers the output classes with torch)
from .api import distill, evaluate, predict, train
from .exports import export_executorch, export_onnx, export_openvino, export_web
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

if _TYPE_CHECKING:
    from .predictor import Predictor

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
    "distill",
    "evaluate",
    "export_executorch",
    "export_onnx",
    "export_openvino",
    "export_web",
    "predict",
    "train",
    "trainer_class",
]


def __getattr__(name: str) -> _Any:
    """Import Predictor when it is used: what it needs takes half as long as all the rest."""
    if name != "Predictor":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from .predictor import Predictor

    return Predictor
