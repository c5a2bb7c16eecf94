"""Users' own scripts on several processes: DistributedDataParallel, FSDP2 and accelerate, over gloo on the CPU.

Functions without `test` run in each process; see support.processes.call.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
import torch.distributed.checkpoint as dcp
from torch import nn
from torch.distributed.checkpoint.state_dict import (
    StateDictOptions,
    get_state_dict,
    set_model_state_dict,
    set_state_dict,
)
from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard
from torch.nn.parallel import DistributedDataParallel

import mobilebert_pt
from mobilebert_common.errors import ConfigError
from mobilebert_common.model.architectures import ARCHITECTURES
from support.configs import make_config
from support.processes import call

MASKED, BOTH = "MobileBertForMaskedLM", "MobileBertForPreTraining"
ROWS, CHOICES = 4, 2
HALF = MixedPrecisionPolicy(param_dtype=torch.bfloat16, reduce_dtype=torch.float32)


def make(architecture: str, seed: int = 0, **overrides: Any) -> Any:
    torch.manual_seed(seed)
    return getattr(mobilebert_pt, architecture)(make_config(vocab_size=41, **overrides))  # 41 rows do not halve


def batch(architecture: str, seed: int, part: slice = slice(None)) -> dict[str, torch.Tensor]:
    """Part of a batch with as many labels in each row."""
    generator = torch.Generator().manual_seed(seed)
    ids = torch.randint(1, 41, (ROWS, CHOICES, 7) if architecture.endswith("Choice") else (ROWS, 7), generator=generator)
    inputs = {"input_ids": ids, "attention_mask": (torch.arange(7) < 6).expand(ids.shape).long()}
    first = ids.flatten(1)[:, 0] % 2
    for name, label in ARCHITECTURES[architecture].labels.items():
        words = ids if label.scores != "logits" or architecture == MASKED else ids % 3
        inputs[name] = words if architecture in (MASKED, BOTH, "MobileBertForTokenClassification") and name == "labels" else first
    return {name: values[part] for name, values in inputs.items()}


def loss_of(model: Any, inputs: dict[str, torch.Tensor]) -> torch.Tensor:
    output = model(**inputs)
    return output["loss"] if "loss" in output else output["last_hidden_state"].square().mean() + output["pooler_output"].mean()


def mine() -> slice:
    return slice(dist.get_rank() * ROWS // 2, (dist.get_rank() + 1) * ROWS // 2)


def assert_trains_like_one_process(prepared: Any, whole: Any, architecture: str) -> None:
    """Three steps of AdamW on half a batch per process and on the whole batch lead to the same weights."""
    optimizers = [torch.optim.AdamW(model.parameters(), 1e-2, eps=1e-4) for model in (prepared, whole)]
    for step in range(3):
        loss_of(prepared.train(), batch(architecture, step, mine())).backward()
        loss_of(whole.train(), batch(architecture, step)).backward()
        for optimizer in optimizers:
            optimizer.step()
            optimizer.zero_grad()
    for (name, ours), theirs in zip(prepared.named_parameters(), whole.parameters(), strict=True):
        ours = ours.full_tensor() if hasattr(ours, "full_tensor") else ours
        torch.testing.assert_close(ours.detach(), theirs.detach(), rtol=1e-9, atol=1e-10, msg=lambda text, name=name: f"{name}: {text}")


def by_layer(model: Any, **options: Any) -> Any:
    for layer in model.mobilebert.encoder.layer:
        fully_shard(layer, **options)
    return fully_shard(model, **options)


def by_child(model: Any, **options: Any) -> Any:
    for child in [*model.mobilebert.children(), *model.children()]:
        if list(child.parameters()) and child is not model.mobilebert:
            fully_shard(child, **options)
    return fully_shard(model, **options)


def by_module(model: Any, **options: Any) -> Any:
    """Every module with parameters of its own apart, also those whose parameters another module reads."""
    for module in reversed(list(model.modules())):
        if module is not model and list(module.parameters(recurse=False)):
            fully_shard(module, **options)
    return fully_shard(model, **options)


def as_accelerate(model: Any, **options: Any) -> Any:
    """The word embeddings together with the decoder, or each apart if they are not tied."""
    table, decoder = model.get_input_embeddings(), model.get_output_embeddings()
    if decoder is not None and decoder.weight is table.weight:
        fully_shard([table, decoder], reshard_after_forward=False, **options)
    else:
        for module in filter(None, (table, decoder)):
            fully_shard(module, **options)
    return by_layer(model, **options)


WRAPPINGS: list[Callable[..., Any]] = [fully_shard, by_layer, by_child, by_module, as_accelerate]


def begin() -> int:
    if not dist.is_initialized():
        dist.init_process_group("gloo")
    return dist.get_rank()


def ddp_trains() -> None:
    begin()
    torch.set_default_dtype(torch.float64)
    for architecture in ARCHITECTURES:
        whole = make(architecture)
        assert_trains_like_one_process(DistributedDataParallel(make(architecture)), whole, architecture)
    for options in ({"static_graph": True}, {"gradient_as_bucket_view": True}):
        model = make(MASKED)
        model.gradient_checkpointing_enable()
        assert_trains_like_one_process(DistributedDataParallel(model, **options), make(MASKED), MASKED)
    torch.set_default_dtype(torch.float32)
    model = DistributedDataParallel(make(MASKED))
    with torch.autocast("cpu", torch.bfloat16):
        loss_of(model, batch(MASKED, 0, mine())).backward()
    assert all(parameter.grad.isfinite().all() for parameter in model.parameters())


def fsdp_trains() -> None:
    begin()
    torch.set_default_dtype(torch.float64)
    for wrap, architecture, tied in [
        *((wrap, MASKED, True) for wrap in WRAPPINGS),
        (by_module, MASKED, False),
        (as_accelerate, MASKED, False),
        (by_child, BOTH, True),
    ]:
        model = make(architecture, tie_word_embeddings=tied)
        if wrap is by_layer:
            model.gradient_checkpointing_enable()
        assert_trains_like_one_process(wrap(model), make(architecture, tie_word_embeddings=tied), architecture)
    torch.set_default_dtype(torch.float32)
    for wrap in (by_module, as_accelerate):
        model = wrap(make(MASKED, normalization_type="layer_norm"), mp_policy=HALF).train()
        loss = loss_of(model, {**batch(MASKED, 0, mine()), "head_mask": torch.ones(2, 4)})
        loss.backward()
        expected = loss_of(make(MASKED, normalization_type="layer_norm"), batch(MASKED, 0, mine()))
        torch.testing.assert_close(loss, expected, rtol=2e-2, atol=2e-2)


def ddp_saves(folder: str) -> None:
    rank, root = begin(), Path(folder)
    model = DistributedDataParallel(make(MASKED))
    model.module.save_pretrained(root / "each")
    model.module.save_pretrained(root / "main", is_main_process=rank == 0)
    model.module.save_pretrained(root / "state", state_dict=model.state_dict())
    dist.barrier()


def fsdp_saves(folder: str) -> None:
    rank, root = begin(), Path(folder)
    model = by_layer(make(MASKED))
    assert model.architecture == MASKED and model.num_parameters() == make(MASKED).num_parameters()
    assert model.get_memory_footprint() == make(MASKED).get_memory_footprint()
    assert (model.dtype, model.device.type) == (torch.float32, "cpu")
    model.save_pretrained(root / "each")
    assert type(model).from_pretrained(root / "each").dtype == torch.float32  # each process sees what one has written
    model.save_pretrained(root / "main", is_main_process=rank == 0)
    model.save_pretrained(root / "last", is_main_process=rank == 1)
    model.save_pretrained(root / "state", state_dict=model.state_dict())
    model.eval()(torch.ones(1, 3, dtype=torch.long))  # leaves parameters whole
    model.save_pretrained(root / "used")
    model.save_pretrained(root / "bin", safe_serialization=False)
    opened = mobilebert_pt.MobileBertForMaskedLM.from_pretrained(root / "each")
    by_child(opened).save_pretrained(root / "opened")
    mobilebert_pt.MobileBertForMaskedLM.from_pretrained(None, config=model.config, state_dict=model.state_dict()).save_pretrained(
        root / f"from-state-{rank}"
    )
    (root / "file").touch()
    if rank == 0:
        with pytest.raises(OSError):
            model.save_pretrained(root / "file")
    else:
        model.save_pretrained(root / "file")  # does not wait for ever
    for change in (lambda: model.resize_token_embeddings(50), lambda: model.set_input_embeddings(nn.Embedding(50, 8))):
        with pytest.raises(ConfigError, match="before fully_shard"):
            change()


def meta_device(folder: str) -> None:
    """Models built on the meta device, sharded, then given values: by init_weights, or from the first process."""
    rank = begin()
    with torch.device("meta"):
        models = [make(MASKED, pad_token_id=5) for _ in range(3)]
    for model in models[1:]:
        by_layer(model)
    for model in models:
        model.to_empty(device="cpu")
        for parameter in model.parameters():
            nn.init.constant_(parameter, 7.0)
        torch.manual_seed(0)
        model.init_weights()
    for (name, plain), sharded in zip(models[0].named_parameters(), models[1].parameters(), strict=True):
        assert torch.equal(sharded.full_tensor(), plain), name
        assert not (plain == 7).any(), name
    assert not models[0].get_input_embeddings().weight[5].any()
    whole = make(MASKED).state_dict() if rank == 0 else {}
    options = StateDictOptions(full_state_dict=True, broadcast_from_rank0=True)
    set_model_state_dict(models[2], whole, options=options)
    models[2].config = make(MASKED).config
    models[2].save_pretrained(Path(folder) / "broadcast")


def distributed_checkpoint(folder: str) -> None:
    """A run that torch.distributed.checkpoint saves goes on in a new model as if nothing had happened."""
    begin()
    models = [by_layer(make(MASKED, seed)) for seed in range(2)]
    optimizers = [torch.optim.AdamW(model.parameters(), 1e-2) for model in models]

    def step(number: int, seed: int) -> None:
        loss_of(models[number].train(), batch(MASKED, seed, mine())).backward()
        optimizers[number].step()
        optimizers[number].zero_grad()

    step(0, 0)
    state = dict(zip(("model", "optimizer"), get_state_dict(models[0], optimizers[0]), strict=True))
    dcp.save(state, checkpoint_id=folder)
    state = dict(zip(("model", "optimizer"), get_state_dict(models[1], optimizers[1]), strict=True))
    dcp.load(state, checkpoint_id=folder)
    set_state_dict(models[1], optimizers[1], model_state_dict=state["model"], optim_state_dict=state["optimizer"])
    for number in range(2):
        step(number, 1)
    for ours, theirs in zip(models[1].parameters(), models[0].parameters(), strict=True):
        assert torch.equal(ours.full_tensor(), theirs.full_tensor())


def test_fsdp2_trains_like_one_process() -> None:
    call(fsdp_trains)


def saves(folder: str) -> None:
    for function in (ddp_saves, fsdp_saves, meta_device):
        function(f"{folder}/{function.__name__}")
    distributed_checkpoint(f"{folder}/checkpoint")


def test_models_in_several_processes_save_what_one_process_saves(tmp_path: Path) -> None:
    make(MASKED).save_pretrained(tmp_path / "one")
    expected = {path.name: path.read_bytes() for path in (tmp_path / "one").iterdir()}
    roots = [tmp_path / function.__name__ for function in (ddp_saves, fsdp_saves, meta_device)]
    for root in roots:
        root.mkdir()
    call(saves, str(tmp_path))
    for root in roots:
        for folder in {path for path in root.iterdir() if path.is_dir()} - {root / "bin"}:
            assert {path.name: path.read_bytes() for path in folder.iterdir()} == expected, folder
    saved = torch.load(tmp_path / "fsdp_saves" / "bin" / "pytorch_model.bin")
    assert all(torch.equal(saved[name], value) for name, value in make(MASKED).state_dict().items())


def resumes_exactly(accelerator: Any, architecture: str, folder: Path) -> Any:
    """Train with dropout through accelerate, in one go and with a stop; the same weights come out. Returns the model."""
    from accelerate.utils import set_seed

    rows = [batch(architecture, 0, slice(row, row + 1)) for row in range(ROWS)] * 4
    rows = [{name: values[0] for name, values in row.items()} for row in rows]

    def run(stop: int | None, resume: bool) -> tuple[Any, dict[str, torch.Tensor]]:
        set_seed(1 if resume else 0)
        model = make(architecture, hidden_dropout_prob=0.1, attention_probs_dropout_prob=0.1)
        loader = torch.utils.data.DataLoader(rows, batch_size=2, generator=torch.Generator())  # leaves the state of dropout alone
        model, optimizer, loader = accelerator.prepare(model, torch.optim.AdamW(model.parameters(), 1e-2), loader)
        if resume:
            accelerator.load_state(str(folder))
        for number, inputs in enumerate(loader):
            if resume and number < 2:
                continue
            accelerator.backward(loss_of(model.train(), inputs))
            accelerator.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            optimizer.zero_grad()
            if number + 1 == stop:
                accelerator.save_state(str(folder))
                accelerator.wait_for_everyone()
                break
        state = {name: values.clone() for name, values in accelerator.get_state_dict(model).items()}
        accelerator.free_memory()
        return model, state

    _, whole = run(None, False)
    run(2, False)
    model, resumed = run(None, True)
    assert resumed.keys() == whole.keys()
    assert all(torch.equal(resumed[name], whole[name]) for name in whole)
    return model


def saves_as_documented(accelerator: Any, folder: Path) -> None:
    model = make(MASKED)
    prepared, _ = accelerator.prepare(model, torch.optim.AdamW(model.parameters()))
    accelerator.unwrap_model(prepared).save_pretrained(
        folder / "documented",
        is_main_process=accelerator.is_main_process,
        save_function=accelerator.save,
        state_dict=accelerator.get_state_dict(prepared),
    )
    accelerator.unwrap_model(prepared).save_pretrained(folder / "plain")
    accelerator.wait_for_everyone()
    accelerator.free_memory()


def accelerate_ddp(folder: str) -> None:
    from accelerate import Accelerator

    accelerator = Accelerator(cpu=True)
    assert accelerator.num_processes == 2
    resumes_exactly(accelerator, MASKED, Path(folder) / "state")
    saves_as_documented(accelerator, Path(folder))


def accelerate_fsdp2(folder: str) -> None:
    from accelerate import Accelerator, PartialState
    from accelerate.utils import DistributedType

    PartialState(cpu=True)
    PartialState._shared_state["distributed_type"] = DistributedType.MULTI_GPU  # on CPUs, accelerate ignores what asks for FSDP
    accelerator = Accelerator(cpu=True)
    assert accelerator.is_fsdp2
    model = resumes_exactly(accelerator, MASKED, Path(folder) / "state")
    sharded = {name for name, module in model.named_modules() if type(module).__name__.startswith("FSDP")}
    assert sharded == {"", *(f"mobilebert.{part}" for part in ("embeddings.word_embeddings", "encoder.layer.0", "encoder.layer.1"))}
    saves_as_documented(accelerator, Path(folder))


FSDP = {"ACCELERATE_USE_FSDP": "true", "FSDP_VERSION": "2", "FSDP_AUTO_WRAP_POLICY": "TRANSFORMER_BASED_WRAP"}


@pytest.mark.parametrize(("function", "env"), [(accelerate_ddp, {}), (accelerate_fsdp2, FSDP)])
def test_accelerate_resumes_and_saves(function: Callable[..., None], env: dict[str, str], tmp_path: Path) -> None:
    call(function, str(tmp_path), **env)
    make(MASKED).save_pretrained(tmp_path / "one")
    for folder in ("documented", "plain"):
        assert (tmp_path / folder / "model.safetensors").read_bytes() == (tmp_path / "one" / "model.safetensors").read_bytes()


def token_losses() -> None:
    """With unequal numbers of labels, num_items_in_batch makes the average of the processes' gradients that of one process."""
    begin()
    torch.set_default_dtype(torch.float64)
    for architecture in (MASKED, "MobileBertForTokenClassification"):
        inputs = batch(architecture, 0)
        inputs["labels"] = inputs["labels"].clone()
        inputs["labels"][0, 1:] = -100
        inputs["labels"][3] = -100
        count = (inputs["labels"] != -100).sum()
        model, whole = DistributedDataParallel(make(architecture)), make(architecture)
        output = model(**{name: values[mine()] for name, values in inputs.items()}, num_items_in_batch=count)
        (output.loss * dist.get_world_size()).backward()
        whole(**inputs).loss.backward()
        for ours, theirs in zip(model.parameters(), whole.parameters(), strict=True):
            torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-9, atol=1e-12)


def ddp() -> None:
    ddp_trains()
    token_losses()


def test_ddp_trains_like_one_process() -> None:
    call(ddp)
