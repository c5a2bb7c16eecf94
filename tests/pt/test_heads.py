"""Every head as a PyTorch user meets it: state_dict, compile, export, processes, precision."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from mobilebert_common.errors import InputError
from mobilebert_common.model.architectures import ARCHITECTURES
from mobilebert_common.model.config import MobileBertConfig
from mobilebert_common.model.outputs import flat
from mobilebert_pt import heads

CONFIG = MobileBertConfig(
    vocab_size=40,
    hidden_size=32,
    num_hidden_layers=1,
    num_attention_heads=4,
    intermediate_size=24,
    intra_bottleneck_size=16,
    embedding_size=8,
    max_position_embeddings=12,
    num_feedforward_networks=2,
    num_labels=3,
    initializer_range=0.2,
    attention_probs_dropout_prob=0.0,
)
LEARNERS = [head for head in ARCHITECTURES if ARCHITECTURES[head].labels]
MASKED_LM, PRE_TRAINING = "MobileBertForMaskedLM", "MobileBertForPreTraining"
CHOICES = "MobileBertForMultipleChoice"
ROWS, LENGTH = 4, 7


def make_model(head: str, **changes: Any) -> Any:
    torch.manual_seed(0)
    return getattr(heads, head)(CONFIG.replace(**changes)).eval()


def make_inputs(head: str, labels: bool = False) -> dict[str, torch.Tensor]:
    generator = np.random.default_rng(0)
    shape = (ROWS, 2, LENGTH) if head == CHOICES else (ROWS, LENGTH)
    sizes = {"v": 40, "2": 2, "n": 3, "c": 2, "": LENGTH}
    arrays = {
        "input_ids": generator.integers(0, 40, shape),
        "attention_mask": (np.arange(LENGTH) < generator.integers(3, 8, (*shape[:-1], 1))).astype(np.int64),
    }
    for name, label in ARCHITECTURES[head].labels.items() if labels else ():
        arrays[name] = generator.integers(0, sizes[label.classes], (ROWS, LENGTH)[: len(label.shape.split())])
        arrays[name][3] = -100
    return {name: torch.tensor(array) for name, array in arrays.items()}


def assert_same(ours: Any, theirs: Any, tolerance: float = 0.0) -> None:
    first, second = flat(ours), flat(theirs)
    assert list(first) == list(second)
    for name, tensor in first.items():
        torch.testing.assert_close(second[name], tensor, atol=tolerance, rtol=tolerance)


@pytest.mark.parametrize("head", ARCHITECTURES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_files(head: str, dtype: torch.dtype, tmp_path: Path) -> None:
    model = make_model(head, tie_word_embeddings=False).to(dtype)
    model.save_pretrained(tmp_path)
    again = type(model).from_pretrained(tmp_path, dtype=dtype)
    assert_same(model(**make_inputs(head, labels=True)), again(**make_inputs(head, labels=True)))


@pytest.mark.parametrize("head", ARCHITECTURES)
def test_compile_without_a_graph_break(head: str) -> None:
    model, inputs = make_model(head), make_inputs(head, labels=True)
    compiled = torch.compile(model, fullgraph=True, backend="aot_eager")
    assert_same(model(**inputs), compiled(**inputs), 1e-6)


@pytest.mark.parametrize("head", ARCHITECTURES)
def test_export(head: str) -> None:
    """Batch and length stay free in the program."""
    model, inputs = make_model(head), make_inputs(head)
    batch, length = torch.export.Dim("batch", min=2, max=64), torch.export.Dim("length", min=2, max=12)
    free = {0: batch, inputs["input_ids"].dim() - 1: length}
    program = torch.export.export(model, (), inputs, dynamic_shapes=dict.fromkeys(inputs, free))
    fewer = {name: tensor[:2, ..., :5] for name, tensor in inputs.items()}
    assert_same(model(**fewer), program.module()(**fewer), 1e-6)


@pytest.mark.parametrize("head", LEARNERS)
def test_autocast_is_near(head: str) -> None:
    model, inputs = make_model(head), make_inputs(head, labels=True)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = model(**inputs)
    assert found.loss.dtype == torch.float32
    assert_same(model(**inputs), type(found)({name: value.float() for name, value in found.items()}), 0.15)


@pytest.mark.parametrize("head", LEARNERS)
def test_learning_lowers_the_loss(head: str) -> None:
    model, inputs = make_model(head).train(), make_inputs(head, labels=True)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    losses = []
    for _ in range(10):
        loss = model(**inputs).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0]


WORKER = """
import sys
import torch
import torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel
from pt.test_heads import LEARNERS, make_inputs, make_model

rank, folder = int(sys.argv[1]), sys.argv[2]
torch.set_num_threads(1)
dist.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=2)
for head in LEARNERS:
    model, inputs = make_model(head), make_inputs(head, labels=True)
    for name, label in inputs.items():  # as many labels that count in either half, so that means of means are means
        if name not in ("input_ids", "attention_mask"):
            label[3], label[1] = label[0], label[2]
    parallel = DistributedDataParallel(model)
    parallel(**{name: tensor[2 * rank : 2 * rank + 2] for name, tensor in inputs.items()}).loss.backward()
    alone = make_model(head)
    alone(**inputs).loss.backward()
    unused = 0
    for (name, ours), theirs in zip(model.named_parameters(), alone.parameters(), strict=True):
        if theirs.grad is None:
            unused += 1
            continue
        torch.testing.assert_close(ours.grad, theirs.grad, atol=1e-6, rtol=1e-4, msg=f"{head} {name}")
    assert unused == 0, head
dist.destroy_process_group()
print("same gradients")
"""


def test_two_processes_have_the_gradients_of_one(tmp_path: Path) -> None:
    workers = [
        subprocess.Popen(
            [sys.executable, "-c", WORKER, str(rank), str(tmp_path)],
            cwd=Path(__file__).parents[1],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]
    for worker in workers:
        out, err = worker.communicate(timeout=300)
        assert out == "same gradients\n", err


@pytest.mark.parametrize("head", [MASKED_LM, PRE_TRAINING])
def test_the_head_makes_no_copy_of_its_matrices(head: str) -> None:
    """What transformers concatenates at every call; here nothing as large as the table is made."""
    model, inputs = make_model(head, vocab_size=2000), make_inputs(head)
    largest = 0

    class Watch(torch.utils._python_dispatch.TorchDispatchMode):
        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            nonlocal largest
            result = func(*args, **(kwargs or {}))
            owns = isinstance(result, torch.Tensor) and result.dim() > 0 and not func.is_view
            if owns and result.shape[-1] != 2000:  # the scores themselves are [b t v]
                largest = max(largest, result.numel())
            return result

    with torch.no_grad(), Watch():
        model(**{name: tensor[:1, :2] for name, tensor in inputs.items()})
    assert 0 < largest < 2000 * 8


def test_positions_may_be_lists() -> None:
    model, x = make_model(MASKED_LM), make_inputs(MASKED_LM)
    positions = [[6, 1], [0, 0], [2, 3], [4, 5]]
    assert_same(model(**x, masked_lm_positions=positions), model(**x, masked_lm_positions=torch.tensor(positions)))


@pytest.mark.parametrize("head", ARCHITECTURES)
def test_what_is_no_tensor_is_refused_by_name(head: str) -> None:
    model, x = make_model(head), make_inputs(head, labels=True)
    hint = ': a tokenizer makes them with return_tensors="pt"'
    for name in x:
        with pytest.raises(InputError, match=f"^{name} must be a torch.Tensor, not numpy.ndarray{hint}"):
            model(**{**x, name: x[name].numpy()})
        with pytest.raises(InputError, match=f"^{name} must be a torch.Tensor, not list{hint}"):
            model(**{**x, name: x[name].tolist()})
    with pytest.raises(InputError, match=r"^input_ids must be a torch.Tensor, not dict: call the model as model\(\*\*inputs\)$"):
        model(x)


def test_what_only_some_heads_refuse() -> None:
    inputs = make_inputs("MobileBertForQuestionAnswering", labels=True)
    del inputs["end_positions"]
    with pytest.raises(InputError, match="give all of start_positions, end_positions, not only start_positions"):
        make_model("MobileBertForQuestionAnswering")(**inputs)
    with pytest.raises(InputError, match=r"\[batch, choices, sequence\], not of shape \[4, 7\]"):
        make_model(CHOICES)(**make_inputs(MASKED_LM))
    with pytest.raises(InputError, match="masked_lm_positions must be from 0 to 6; found 7"):
        make_model(MASKED_LM)(**make_inputs(MASKED_LM), masked_lm_positions=torch.full((4, 2), 7))
    with pytest.raises(InputError, match="labels must be from 0 to 39"):
        make_model(MASKED_LM)(**make_inputs(MASKED_LM), labels=torch.full((4, 7), 40))
