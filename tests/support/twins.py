"""One configuration, one set of weights, both twins: outputs, losses and gradients by canonical name."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
import torch

import mobilebert_pt.twin
import mobilebert_tf.twin
from mobilebert_common.checkpoints import checkpoint
from mobilebert_common.model.architectures import has_choices
from mobilebert_common.model.config import MobileBertConfig
from mobilebert_common.model.layout import from_layout
from mobilebert_common.model.outputs import flat

from .configs import CLASSIFIER, make_labels, random_weights

LENGTH = 7


def make_inputs(
    config: MobileBertConfig, head: str = CLASSIFIER, seed: int = 1, length: int = LENGTH, **changes: Any
) -> dict[str, Any]:
    """A batch that uses everything the model takes. A change to None leaves an input out."""
    generator = np.random.default_rng(seed)
    shape = (3, length)
    mask = np.ones(shape, np.int64)
    mask[1, length // 2 :] = 0
    mask[2, -1:] = 0
    ids = generator.integers(0, config.vocab_size, shape)
    ids[0, 0] = config.pad_token_id  # a padding id that attention sees
    inputs = {
        "input_ids": ids,
        "attention_mask": mask,
        "token_type_ids": generator.integers(0, config.type_vocab_size, shape),
        "head_mask": generator.uniform(0.5, 1.5, (config.num_hidden_layers, config.num_attention_heads)),
        **make_labels(config, head, generator, length),
    }
    if has_choices(head):  # [b c t]: the same sentences in another order as the second choice
        inputs |= {
            name: np.stack([inputs[name], inputs[name][[1, 2, 0]]], axis=1)
            for name in ("input_ids", "attention_mask", "token_type_ids")
        }
    return {name: value for name, value in {**inputs, **changes}.items() if value is not None}


@dataclass
class Pair:
    """The two twins of one model with the same weights."""

    config: MobileBertConfig
    head: str
    torch_model: Any
    keras_model: Any

    @classmethod
    def open(
        cls, folder: Path, config: MobileBertConfig, head: str = CLASSIFIER, dtype: str = "float64", seed: int = 0
    ) -> "Pair":
        checkpoint.save(folder, config, head, random_weights(config, head, seed))
        models = [door.load(folder, head, dtype) for door in (mobilebert_pt.twin, mobilebert_tf.twin)]
        return cls(config, head, *models)

    def outputs(self, inputs: dict[str, Any]) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
        """Everything both return, from the path that computes attentions in PyTorch."""
        switches = {"output_hidden_states": True, "output_attentions": True}
        return mobilebert_pt.twin.outputs(self.torch_model, inputs, **switches), mobilebert_tf.twin.outputs(
            self.keras_model, inputs, **switches
        )

    def gradients(self, inputs: dict[str, Any]) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
        """Of the loss, or of a weighted sum of the base model's outputs; PyTorch through its fused attention."""
        return torch_gradients(self.torch_model, inputs), keras_gradients(
            self.keras_model, self.config, self.head, inputs
        )


def torch_gradients(model: Any, inputs: dict[str, Any]) -> dict[str, np.ndarray]:
    model.zero_grad()
    loss = torch_loss(model(**{name: torch.tensor(value) for name, value in inputs.items()}))
    loss.backward()
    return {name: value.grad.numpy() for name, value in model.named_parameters() if value.grad is not None}


def keras_gradients(model: Any, config: MobileBertConfig, head: str, inputs: dict[str, Any]) -> dict[str, np.ndarray]:
    variables = model.canonical_variables()
    with tf.GradientTape() as tape:
        loss = keras_loss(model({name: keras.ops.convert_to_tensor(value) for name, value in inputs.items()}))
    found = tape.gradient(loss, [variable.value for variable, _ in variables.values()])
    return {
        name: from_layout(tf.convert_to_tensor(gradient).numpy(), layout)
        for (name, (_, layout)), gradient in zip(variables.items(), found, strict=True)
        if gradient is not None
    }


def torch_loss(output: Any) -> Any:
    if "loss" in output:
        return output["loss"]
    return sum((torch.tensor(wave(value.shape)) * value).sum() for value in flat(output).values())


def keras_loss(output: Any) -> Any:
    if "loss" in output:
        return output["loss"]
    return sum(keras.ops.sum(wave(value.shape) * value) for value in flat(output).values())


def wave(shape: Any) -> np.ndarray:
    """Fixed weights that tell positions apart."""
    return np.cos(np.arange(np.prod(shape), dtype=np.float64)).reshape(tuple(shape))


def distance(reference: np.ndarray, other: np.ndarray) -> float:
    """Relative L2."""
    apart, norm = (
        np.linalg.norm(reference.astype(np.float64) - other.astype(np.float64)),
        np.linalg.norm(reference.astype(np.float64)),
    )
    return float(apart / norm if norm else apart)


def apart(references: dict[str, np.ndarray], others: dict[str, np.ndarray], tolerance: float) -> dict[str, float]:
    """{name: relative distance} of what is not within the tolerance; NaN counts."""
    assert list(references) == list(others)
    distances = {name: distance(references[name], others[name]) for name in references}
    return {name: value for name, value in distances.items() if not value <= tolerance}


def gradients_apart(
    ours: dict[str, np.ndarray], theirs: dict[str, np.ndarray], tolerance: float = 1e-12
) -> dict[str, float]:
    """What breaks |a - b| <= tolerance * max(|a|, 1e-3 G) per tensor, G the norm over all; absent counts as zero."""
    total = np.sqrt(sum(float((value**2).sum()) for value in ours.values()))
    broken = {}
    for name in ours.keys() | theirs.keys():
        zero = np.zeros_like(ours.get(name, theirs.get(name)))
        a, b = ours.get(name, zero), theirs.get(name, zero)
        bound = tolerance * max(float(np.linalg.norm(a)), 1e-3 * total)
        if not float(np.linalg.norm(a - b)) <= bound:
            broken[name] = float(np.linalg.norm(a - b)) / bound
    return broken
