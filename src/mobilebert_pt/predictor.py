"""Predict in PyTorch as fast as it goes. mobilebert_tf/predictor.py is its translation."""

from mobilebert_common.training.predictor import Predictor as AnyPredictor

from .api import FRAMEWORK


class Predictor(AnyPredictor):
    """A saved model that predicts in PyTorch, as fast as it goes: `Predictor.load("folder")(["a text", "another"])`."""

    framework = FRAMEWORK
