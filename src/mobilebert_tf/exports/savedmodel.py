"""Write SavedModels of TensorFlow."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import tensorflow as tf

from mobilebert_common.model.exporting import exporting
from mobilebert_common.runtimes.signature import Signature

from ..pretrained import TFMobileBertPreTrainedModel
from .graph import Graph


def write(
    model: TFMobileBertPreTrainedModel,
    signature: Signature,
    folder: Path,
    calibration: Sequence[Mapping[str, np.ndarray]] = (),
) -> None:
    """Write a model to the folder of signature.file, for any number of rows and tokens."""
    graph = Graph(model, signature)
    module = tf.Module()
    module.variables_of_model = [variable.value for variable in graph.model.variables]  # what is not tracked would be lost in silence
    specs = {name: tf.TensorSpec([None, None], signature.ids, name) for name in signature.inputs.values()}
    with exporting():
        function = tf.function(graph, autograph=False).get_concrete_function(**specs)
    tf.saved_model.save(module, str((folder / signature.file).parent), signatures={"serving_default": function})
