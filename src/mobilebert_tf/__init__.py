"""MobileBERT in Keras 3, with the names of the transformers documentation."""

from typing import TYPE_CHECKING as _TYPE_CHECKING
from typing import Any as _Any

import keras as _keras

from mobilebert_common.model.config import MobileBertConfig
from mobilebert_common.model.outputs import MobileBertForPreTrainingOutput as TFMobileBertForPreTrainingOutput
from mobilebert_common.tokenization import MobileBertTokenizer, MobileBertTokenizerFast

from . import backend as _backend  # noqa: F401  (refuses a backend of Keras that this package does not run on)
from . import outputs as _outputs  # noqa: F401  (registers the output classes with keras)
from .api import distill, evaluate, predict, train
from .exports import export_litert, export_savedmodel
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
from .pretrained import TFMobileBertPreTrainedModel
from .training import AdamW

TFMobileBertMainLayer = TFMobileBertModel  # in transformers a layer of its own, with the same arguments and outputs

for _name in [_name for _name in globals() if _name.startswith("TFMobileBert") and not _name.endswith("Output")]:
    _keras.saving.get_custom_objects()[_name] = globals()[_name]  # whole-model .h5 files name a class without its package

if _TYPE_CHECKING:
    from .predictor import Predictor

__all__ = [
    "AdamW",
    "MobileBertConfig",
    "MobileBertTokenizer",
    "MobileBertTokenizerFast",
    "Predictor",
    "TFMobileBertForMaskedLM",
    "TFMobileBertForMultipleChoice",
    "TFMobileBertForNextSentencePrediction",
    "TFMobileBertForPreTraining",
    "TFMobileBertForPreTrainingOutput",
    "TFMobileBertForQuestionAnswering",
    "TFMobileBertForSequenceClassification",
    "TFMobileBertForTokenClassification",
    "TFMobileBertMainLayer",
    "TFMobileBertModel",
    "TFMobileBertPreTrainedModel",
    "distill",
    "evaluate",
    "export_litert",
    "export_savedmodel",
    "predict",
    "train",
]


def __getattr__(name: str) -> _Any:
    """Import Predictor when it is used: what it needs takes half as long as all the rest."""
    if name != "Predictor":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from .predictor import Predictor

    return Predictor
