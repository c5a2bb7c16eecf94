"""Write a model for another runtime as `export` does, without its checks and its report, and open it."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mobilebert_common.exports.export import make_signature, with_files
from mobilebert_common.frameworks import writer
from mobilebert_common.runtimes.artefact import Artefact
from mobilebert_common.runtimes.signature import SIGNATURE_FILE, Signature
from mobilebert_common.runtimes.targets import TARGETS

from .configs import make_config, random_weights

Batch = dict[str, np.ndarray]


def signature_for(target: str, model: Any, quantize: str = "none", lengths: Sequence[int] = ()) -> Signature:
    lengths = lengths or [model.config.max_position_embeddings]
    return make_signature(target, TARGETS[target], quantize, model.config, model.architecture, lengths)


def write(folder: Path, model: Any, signature: Signature, calibration: Sequence[Batch] = ()) -> Artefact:
    target = TARGETS[signature.target]
    folder.mkdir()
    writer(target.framework, target.writer).write(model, signature, folder, calibration)
    (folder / SIGNATURE_FILE).write_bytes(with_files(signature, folder).to_json())
    model.config.save_pretrained(folder)
    return Artefact.open(folder, threads=1)


def make_model(twin: Any, architecture: str, **changes: Any) -> Any:
    """A model of a twin with random weights, but for [PAD]: its word embedding is zero, or padding would change results."""
    config = make_config(**changes)
    model, weights = twin.create(config, architecture, 0), random_weights(config, architecture)
    next(array for name, array in weights.items() if name.endswith("word_embeddings.weight"))[config.pad_token_id] = 0
    twin.set_tensors(model, weights)
    return model


def batch_for(model: Any, rows: int, length: int, used: int, seed: int = 0) -> Batch:
    """Random ids, of which a mask shows the first `used` of the last row, two segments, and pairs of them for multiple choice."""
    generator = np.random.default_rng(seed)
    shape = (rows, 2, length) if model.architecture == "MobileBertForMultipleChoice" else (rows, length)
    mask = np.ones(shape, np.int64)
    mask[-1, ..., used:] = 0
    return {
        "input_ids": generator.integers(0, model.config.vocab_size, shape),
        "attention_mask": mask,
        "token_type_ids": np.broadcast_to(np.arange(length) // 3 % 2, shape).astype(np.int64),
    }


def without_hidden(batch: Batch, hidden: int, seed: int = 1) -> Batch:
    """The batch with other ids after the first `hidden` tokens of the last row; a visible token sees one id behind it in the trigram."""
    ids = batch["input_ids"].copy()
    ids[-1, ..., hidden:] = (ids[-1, ..., hidden:] + 1 + seed) % ids.max()
    return {**batch, "input_ids": ids}


def farthest(expected: Mapping[str, np.ndarray], found: Mapping[str, np.ndarray]) -> float:
    """The largest relative L2 distance of an output."""
    assert list(expected) == list(found)
    assert all(found[name].shape == array.shape for name, array in expected.items())
    return max(float(np.linalg.norm(found[name] - array) / np.linalg.norm(array)) for name, array in expected.items())
