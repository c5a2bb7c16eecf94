"""tf_model.h5 as transformers 4 writes and reads it, against ours: the same file, object by object."""

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import tf_keras
import transformers

from mobilebert_common.checkpoints import checkpoint, h5
from mobilebert_common.model.architectures import ARCHITECTURES
from mobilebert_conversion import h5_files

from . import models
from .test_hf_tf import repaired_tf

__all__ = ["repaired_tf"]  # a fixture, for this module too

CASES: dict[str, models.Config] = {
    "student": {"num_labels": 2},
    "teacher": {**models.TEACHER, "num_labels": 2},
    "untied": {"num_labels": 2, "num_feedforward_networks": 1, "use_bottleneck": False, "tie_word_embeddings": False},
    "no extra rows": {"num_labels": 2, "embedding_size": 64, "trigram_input": False},
}
DECODER = "cls.predictions.decoder.weight"
HALF = ("MobileBertForPreTraining", "MobileBertForSequenceClassification")
RUNS = [*(("student", head) for head in models.ARCHITECTURES), *((case, head) for case in [*CASES][1:] for head in HALF)]
Arrays = dict[str, np.ndarray]


@pytest.fixture(scope="module", params=RUNS, ids=[f"{case}-{head}" for case, head in RUNS])
def saved(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str, Path, Arrays]:
    """A random PyTorch model of theirs, which they turn into a TF one and save: case, head, folder, PyTorch's weights."""
    case, head = request.param
    pytorch, folder = tmp_path_factory.mktemp("pytorch"), tmp_path_factory.mktemp("theirs")
    model = models.random_model(getattr(transformers, head), CASES[case])
    model.save_pretrained(pytorch)
    open_fresh(f"TF{head}", pytorch).save_pretrained(folder)
    return case, head, folder, {name: tensor.numpy() for name, tensor in model.state_dict().items()}


def open_fresh(cls: str, folder: Path) -> Any:
    """A TF model that finds all it looks for, and whose layers are numbered as if it were the first of its process."""
    tf_keras.backend.clear_session()
    model, info = getattr(transformers, cls).from_pretrained(folder, output_loading_info=True)
    assert not any(info.values()), info
    return model


def objects(path: Path) -> dict[str, Any]:
    """All there is in a file but the version of Keras."""
    found: dict[str, Any] = {}

    def visit(name: str, item: Any) -> None:
        attributes = {key: (value.tolist(), value.dtype) for key, value in item.attrs.items()}
        data = (item.dtype, item.shape, item.chunks, item[...].tobytes()) if isinstance(item, h5py.Dataset) else None
        found[name] = (attributes, data)

    with h5py.File(path) as file:
        file.visititems(visit)
        root = {key: np.asarray(value).tolist() for key, value in file.attrs.items()}
    assert root.pop("keras_version")
    return {"": root, **found}


def test_the_same_file(saved: tuple[str, str, Path, Arrays], tmp_path: Path) -> None:
    case, head, folder, exact = saved
    weights = checkpoint.load(folder, head)
    has_decoder = "predictions" in ARCHITECTURES[head].blocks
    assert weights.config.tie_word_embeddings == (case != "untied")
    assert (DECODER in weights.tensors) == (case == "untied" and has_decoder)
    assert not weights.fresh
    assert [name for name, array in weights.tensors.items() if not np.array_equal(array, exact[name])] == []
    h5_files.write(tmp_path / h5.WEIGHTS_FILE, weights.config, head, weights.tensors)
    theirs, ours = objects(folder / h5.WEIGHTS_FILE), objects(tmp_path / h5.WEIGHTS_FILE)
    assert list(theirs) == list(ours)
    assert [name for name in theirs if theirs[name] != ours[name]] == []


@pytest.mark.parametrize("safe", [True, False])
@pytest.mark.parametrize("size", ["1GB", "40KB"])
def test_their_other_files(size: str, safe: bool, saved: tuple[str, str, Path, Arrays], tmp_path: Path) -> None:
    """safetensors has the names and layouts of the h5; shards of both have the class's name in their index alone."""
    _, head, folder, exact = saved
    open_fresh(f"TF{head}", folder).save_pretrained(tmp_path, max_shard_size=size, safe_serialization=safe)
    assert len([*tmp_path.glob("*.index.json")]) == (size == "40KB")
    weights = checkpoint.load(tmp_path, head)
    assert not weights.fresh and not weights.ignored
    assert [name for name, array in weights.tensors.items() if not np.array_equal(array, exact[name])] == []


def test_they_open_ours(saved: tuple[str, str, Path, Arrays], tmp_path: Path) -> None:
    _, head, folder, _ = saved
    weights = checkpoint.load(folder, head)
    weights.config.save_pretrained(tmp_path)
    h5_files.write(tmp_path / h5.WEIGHTS_FILE, weights.config, head, weights.tensors)
    ours, theirs = (open_fresh(f"TF{head}", place).get_weights() for place in (tmp_path, folder))
    assert len(ours) == len(theirs) > 0
    assert all(np.array_equal(one, other) for one, other in zip(ours, theirs, strict=True))
