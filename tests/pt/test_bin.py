"""pytorch_model.bin as torch writes it, read without torch."""

from pathlib import Path

import numpy as np
import pytest
import torch

from mobilebert_common.checkpoints import checkpoint, torch_bin
from mobilebert_common.errors import CheckpointError
from mobilebert_common.model.schema import expand
from mobilebert_pt import MobileBertForSequenceClassification
from support.checkpoints import CLASSIFIER, make_config

BOTH = pytest.mark.parametrize("new", [True, False])
DTYPES = (torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.int64)


@BOTH
@pytest.mark.parametrize("dtype", DTYPES)
def test_what_torch_saves(dtype: torch.dtype, new: bool, tmp_path: Path) -> None:
    matrix = torch.randn(5, 3).to(dtype)
    state = {
        "matrix": matrix,
        "tied": matrix,
        "parameter": torch.nn.Parameter(matrix.clone(), requires_grad=False),
        "transposed": torch.randn(5, 3).to(dtype).T,
        "permuted": torch.randn(2, 3, 4).to(dtype).permute(2, 0, 1),
        "one": torch.randn(5, 1).to(dtype).T,
        "number": torch.tensor(3).to(dtype),
        "empty": torch.zeros(0, 3, dtype=dtype),
    }
    path = tmp_path / "pytorch_model.bin"
    torch.save(state, path, _use_new_zipfile_serialization=new)
    archive = torch_bin.open_file(path)
    found = archive.read(archive.entries)
    assert list(found) == list(state)
    for name, tensor in state.items():
        exact = tensor.detach().to(torch.float64).numpy()
        assert str(found[name].dtype) == str(dtype).removeprefix("torch.")
        assert found[name].shape == exact.shape and np.array_equal(found[name].astype(np.float64), exact)


@BOTH
@pytest.mark.parametrize("protocol", [2, 4, 5])
def test_a_model(protocol: int, new: bool, tmp_path: Path) -> None:
    config = make_config()
    model = MobileBertForSequenceClassification(config)
    config.save_pretrained(tmp_path)
    path = tmp_path / "pytorch_model.bin"
    torch.save(model.state_dict(), path, pickle_protocol=protocol, _use_new_zipfile_serialization=new)
    found = checkpoint.load(tmp_path, CLASSIFIER).tensors
    assert list(found) == list(expand(config, CLASSIFIER))
    assert all(np.array_equal(found[name], tensor) for name, tensor in model.state_dict().items())


@BOTH
@pytest.mark.parametrize(
    "value",
    [
        torch.zeros(1).expand(1000),
        torch.arange(12.0)[2:],
        torch.arange(12.0)[::2],
        torch.zeros(2, dtype=torch.complex64),
        torch.zeros(2, 2).to_sparse(),
        torch.nn.Linear(2, 2),
        {"weight": torch.zeros(2)},
        "text",
    ],
    ids=["expanded", "part", "strided", "complex", "sparse", "module", "nested", "text"],
)
def test_what_is_no_state_dict_is_refused(value: object, new: bool, tmp_path: Path) -> None:
    path = tmp_path / "pytorch_model.bin"
    torch.save({"weight": torch.zeros(2), "value": value}, path, _use_new_zipfile_serialization=new)
    with pytest.raises(CheckpointError):
        torch_bin.open_file(path)
