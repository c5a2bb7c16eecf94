"""Load one checkpoint in both twins and measure how far apart their outputs are."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from .checkpoints import checkpoint
from .errors import CheckpointError
from .files import hub
from .files.folder import Folder
from .frameworks import FRAMEWORKS, twin
from .model.architectures import ARCHITECTURES, has_choices, named_architecture
from .model.config import MobileBertConfig
from .model.inputs import problem_type
from .model.schema import letters

BASE = "MobileBertModel"  # the class of a checkpoint that names none
TOLERANCE = {"float64": 1e-12, "float32": 1e-4}  # relative L2 distance of each output


@dataclass(frozen=True)
class Difference:
    """The distance between the twins in one output.

    Attributes:
        absolute: the largest absolute difference between two elements.
        relative: the L2 norm of the difference over the L2 norm of the PyTorch output.
    """

    output: str
    shape: tuple[int, ...]
    absolute: float
    relative: float


def sample_inputs(config: MobileBertConfig, architecture: str, seed: int = 0) -> dict[str, np.ndarray]:
    """Draw a small batch that exercises everything: rows of several lengths, both segments, and labels if the head takes them."""
    generator = np.random.default_rng(seed)
    batch, length = 3, min(24, config.max_position_embeddings)
    mask = np.ones((batch, length), np.int64)
    mask[1, length // 2 :] = 0
    mask[2, max(1, length - 3) :] = 0
    inputs: dict[str, np.ndarray] = {
        "input_ids": generator.integers(0, config.vocab_size, (batch, length)),
        "attention_mask": mask,
        "token_type_ids": generator.integers(0, config.type_vocab_size, (batch, length)),
    }
    if has_choices(architecture):  # two for each row: the row itself and another one
        inputs = {name: np.stack([array, array[::-1]], axis=1) for name, array in inputs.items()}
    return inputs | sample_labels(config, architecture, generator, batch, length)


def sample_labels(
    config: MobileBertConfig, architecture: str, generator: np.random.Generator, batch: int, length: int
) -> dict[str, np.ndarray]:
    """Draw every label the head takes."""
    shapes, classes = {"b": (batch,), "b t": (batch, length)}, {**letters(config), "c": 2, "": length}
    kind = problem_type(config, integer_labels=True)
    labels: dict[str, np.ndarray] = {}
    for name, label in ARCHITECTURES[architecture].labels.items():
        if label.by_problem_type and kind != "single_label_classification":
            numbers = generator.normal(size=(batch, config.num_labels))
            labels[name] = numbers if kind == "regression" else (numbers > 0).astype(np.float64)
        else:
            labels[name] = generator.integers(0, classes[label.classes], shapes[label.shape])
    return labels


def verify(directory: str | Path, dtype: str = "float64", seed: int = 0) -> list[Difference]:
    """Compare every output of the twins on the same inputs: loss, logits, hidden states, attentions.

    Args:
        dtype: the dtype both compute in, "float64" or "float32".
    Raises:
        CheckpointError: the checkpoint is unusable, or lacks tensors of the model it names.
    """
    def outputs(place: str | Path | Folder) -> list[dict[str, np.ndarray]]:
        config = MobileBertConfig.from_pretrained(place)
        architecture = named_architecture(config) or BASE
        if fresh := checkpoint.load(place, architecture, dtype).fresh:  # each twin would draw its own weights for them
            missing = ", ".join(fresh)
            raise CheckpointError(str(place), f"has no {missing}, which {architecture} needs: a comparison needs all weights")
        inputs = sample_inputs(config, architecture, seed)
        found = []
        for framework in FRAMEWORKS:
            door = twin(framework)
            model = door.load(place, architecture, dtype)
            found.append(door.outputs(model, inputs, output_hidden_states=True, output_attentions=True))
        return found

    ours, theirs = hub.read_place(directory, outputs)
    if list(ours) != list(theirs):
        raise AssertionError(f"the twins return different outputs: {list(ours)} and {list(theirs)}")
    return [difference(name, ours[name], theirs[name]) for name in ours]


def difference(name: str, reference: np.ndarray, other: np.ndarray) -> Difference:
    """Measure the distance between the twins in one output."""
    apart = reference.astype(np.float64) - other.astype(np.float64)
    norm = float(np.linalg.norm(reference.astype(np.float64)))
    distance = float(np.linalg.norm(apart))
    return Difference(name, reference.shape, float(np.abs(apart).max()), distance / norm if norm else distance)
