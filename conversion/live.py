"""Convert a live model of one twin to the other without a file."""

from typing import TYPE_CHECKING, Any

from mobilebert_common.model.pretrained import canonical_class

if TYPE_CHECKING:
    from mobilebert_pt.pretrained import MobileBertPreTrainedModel as TorchModel
    from mobilebert_tf.pretrained import TFMobileBertPreTrainedModel as KerasModel


def to_keras(model: "TorchModel") -> "KerasModel":
    """Create a Keras model with the weights, configuration and dtype of a PyTorch model; they share no memory.

    Args:
        model: a model of mobilebert_pt on any device; a subclass becomes its parent's counterpart.
    Raises:
        TypeError: `model` is anything else.
    """
    from mobilebert_pt.arrays import dtype_name, to_numpy
    from mobilebert_pt.pretrained import MobileBertPreTrainedModel
    from mobilebert_tf import heads
    from mobilebert_tf.arrays import assign

    _expect(MobileBertPreTrainedModel, model, "mobilebert_pt")
    keras_model: KerasModel = getattr(heads, f"TF{canonical_class(type(model))}")(
        model.config, dtype=dtype_name(model.dtype)
    )
    state = model.state_dict()
    for name, (variable, layout) in keras_model.canonical_variables().items():
        assign(variable, to_numpy(state[name]), layout)
    return keras_model


def to_torch(model: "KerasModel") -> "TorchModel":
    """Create a PyTorch model in evaluation mode with the weights, configuration and dtype of a Keras model.

    Args:
        model: a model of mobilebert_tf; with a mixed dtype policy, its variable dtype counts.
    Raises:
        TypeError: `model` is anything else.
    """
    import torch

    from mobilebert_pt import heads
    from mobilebert_pt.arrays import to_tensor
    from mobilebert_tf.arrays import to_numpy
    from mobilebert_tf.pretrained import TFMobileBertPreTrainedModel

    _expect(TFMobileBertPreTrainedModel, model, "mobilebert_tf")
    with torch.device("meta"):
        torch_model: TorchModel = getattr(heads, canonical_class(type(model)))(model.config)
    state = {
        name: to_tensor(to_numpy(variable, layout)) for name, (variable, layout) in model.canonical_variables().items()
    }
    torch_model.load_state_dict(state, assign=True)
    torch_model.eval()
    return torch_model


def _expect(cls: type, model: Any, package: str) -> None:
    """Reject anything but a model of one twin, e.g. a folder, which from_pretrained opens."""
    if not isinstance(model, cls):
        kind = type(model)
        raise TypeError(f"the model must come from {package}, not {kind.__module__}.{kind.__qualname__}")
