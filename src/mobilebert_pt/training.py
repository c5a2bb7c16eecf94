"""Training in PyTorch, on accelerate: the same plan of batches and the same recipe as mobilebert_tf/training.py.

`accelerate launch` or torchrun spreads the examples of a step over processes; what accelerate is configured for (mixed
precision, FSDP) applies.
"""

import contextlib
import functools
import itertools
import math
from collections.abc import Iterator
from typing import Any

import torch

from mobilebert_common import processes
from mobilebert_common.errors import ConfigError, DivergedError
from mobilebert_common.model.architectures import ARCHITECTURES
from mobilebert_common.optional import needs
from mobilebert_common.tasks.examples import Examples
from mobilebert_common.training.plan import Plan
from mobilebert_common.training.recipe import LAMB, Recipe
from mobilebert_common.training.steps import Step, steps
from mobilebert_common.training.transfer import Phase, phases
from mobilebert_common.training.twin import State, Watch, require_shapes

from .arrays import to_numpy, to_tensor
from .lamb import Lamb
from .transfer import comparing, learning, transfer_loss

ADAPTED = ["query", "value"]  # the layers with LoRA adapters


def train(
    model: Any, examples: Examples, recipe: Recipe, watch: Watch, state: State | None = None, teacher: Any = None
) -> None:
    """Train a model in place.

    Args:
        examples: with labels.
        watch: called after each step with the number of steps done, the loss of that step, and what captures the state; True
            ends the training.
        state: to go on from.
        teacher: a model of the same class, to learn from as `recipe.transfer` says.
    Raises:
        CheckpointError: the state does not fit the model.
        ConfigError: the class weights do not fit the model, or accelerate is configured for what this cannot do.
        DivergedError: a loss or a gradient is not finite; the model has the weights from before that step.
    """
    count, done = Plan(examples.lengths, recipe).steps, 0 if state is None else state.done
    found = phases(recipe, count, model.config, None if teacher is None else teacher.config)
    with adapters(model, recipe), checkpointing(model, recipe.gradient_checkpointing):
        if state is not None:
            restore_weights(model, state)
        for phase in found:
            if done < phase.stop and train_phase(model, examples, recipe, watch, phase, state, teacher):
                break


def train_phase(
    model: Any, examples: Examples, recipe: Recipe, watch: Watch, phase: Phase, state: State | None, teacher: Any
) -> bool:
    """Take the steps of a phase, those after a state if that is in the phase; returns whether `watch` ended the training."""
    accelerator, plan = make_accelerator(), Plan(examples.lengths, recipe)
    if teacher is not None:
        if accelerator.is_fsdp2:
            raise ConfigError("FSDP cannot train in phases with a teacher: configure accelerate for DDP")
        teacher.to(accelerator.device).eval()
    resumed = state is not None and phase.start < state.done
    first = state.done if resumed else phase.start
    with learning(model, phase):
        prepared, optimizer = accelerator.prepare(model, make_optimizer(model, recipe, phase))
        try:
            if resumed:
                restore_moments(accelerator, model, optimizer, state, phase)
            following = steps(examples, recipe, model.config, model.architecture, first)
            for done, step in enumerate(itertools.islice(following, phase.stop - first), first):
                torch.manual_seed(plan.dropout_seed(done, accelerator.process_index))
                for group in optimizer.param_groups:
                    group["lr"] = phase.rate(done, recipe) * group["factor"]
                prepared.train()
                loss = backward(accelerator, model, prepared, step, recipe, phase, teacher)
                norm = float(accelerator.clip_grad_norm_(prepared.parameters(), recipe.clip))
                if not math.isfinite(loss) or (accelerator.scaler is None and not math.isfinite(norm)):
                    raise DivergedError(done + 1, loss)
                optimizer.step()
                optimizer.zero_grad()
                if watch(done + 1, loss, functools.partial(capture, accelerator, model, optimizer, done + 1)):
                    return True
        finally:
            accelerator.unwrap_model(prepared, keep_fp32_wrapper=False)
            model.zero_grad()
            model.eval()
    return False


def make_accelerator() -> Any:
    """What runs the steps, in one process or in as many as a launcher has started.

    Raises:
        ConfigError: accelerate is configured for something else than DDP and FSDP 2.
    """
    with needs("train"):
        from accelerate import Accelerator, DistributedType
    started, here = processes.count(), processes.place_here()
    if torch.accelerator.is_available() and here >= (found := torch.accelerator.device_count()):
        raise ConfigError(f"there are more processes on this machine than GPUs: start {found}")
    accelerator = Accelerator(cpu=started > 1 and not torch.accelerator.is_available())  # or each would be alone
    joined = torch.distributed.get_world_size() if torch.distributed.is_available() and torch.distributed.is_initialized() else 1
    if not started == joined == accelerator.num_processes:
        reason = f"{joined} processes have joined, but RANK and WORLD_SIZE say {started}"
        raise ConfigError(f"{reason}: start them with torchrun or accelerate launch")
    kind = accelerator.distributed_type
    refused = (DistributedType.DEEPSPEED, DistributedType.MEGATRON_LM, DistributedType.XLA)
    if kind in refused or (kind == DistributedType.FSDP and not accelerator.is_fsdp2):
        raise ConfigError(f"accelerate is configured for {kind.value}: use DDP, or FSDP with fsdp_version 2")
    return accelerator


def capture(accelerator: Any, model: Any, optimizer: Any, done: int) -> State:
    """The state after a step; of several processes, all must call it."""
    moments = {
        moment: {name: to_numpy(optimizer.state[each][moment]) for name, each in model.named_parameters() if each in optimizer.state}
        for moment in ("exp_avg", "exp_avg_sq")
    }
    adapted = {name: to_numpy(tensor) for name, tensor in model.state_dict().items() if ".lora_" in name or ".base_layer." in name}
    weights = {name: to_numpy(tensor) for name, tensor in merged_state(model).items()}
    scaler = {}
    if accelerator.scaler is not None:  # which leaves updates out
        updates = max((float(found["step"]) for found in optimizer.state.values()), default=0.0)
        scaler = {**accelerator.scaler.state_dict(), "updates": updates}
    return State(done, weights, **moments, adapters=adapted, scaler=scaler)


def restore_weights(model: Any, state: State) -> None:
    """Set a model's weights, and its LoRA adapters, to those of a state.

    Raises:
        CheckpointError: they are not those of the model.
    """
    shapes = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    merged = {name.replace(".base_layer.", ".") for name in shapes if ".base_layer." in name}  # they are among the adapters, apart
    tensors = {name: array for name, array in {**state.weights, **state.adapters}.items() if name not in merged}
    require_shapes("weights", tensors, shapes)
    model.load_state_dict({name: to_tensor(array) for name, array in tensors.items()})


def restore_moments(accelerator: Any, model: Any, optimizer: Any, state: State, phase: Phase) -> None:
    """Set the state of the optimizer, and of the loss scaling of float16.

    Raises:
        CheckpointError: the moments are not those of the model.
    """
    trained = {name: each for name, each in model.named_parameters() if each.requires_grad}
    shapes = {name: tuple(each.shape) for name, each in trained.items()}
    updates = float(state.scaler.get("updates", state.done - phase.start))
    for title, moments in (("exp_avg", state.exp_avg), ("exp_avg_sq", state.exp_avg_sq)):
        require_shapes(title, moments, {name: shape for name, shape in shapes.items() if name in moments})
        for name, array in moments.items():
            moment = placed_as(to_tensor(array).clone().to(trained[name].dtype), trained[name])  # the state keeps its own
            optimizer.state[trained[name]][title] = moment
            optimizer.state[trained[name]]["step"] = torch.tensor(updates, device=trained[name].device)
    if accelerator.scaler is not None and state.scaler:
        accelerator.scaler.load_state_dict(dict(state.scaler))


def placed_as(tensor: torch.Tensor, parameter: torch.Tensor) -> torch.Tensor:
    """A tensor on the device of a parameter, or divided among processes as it is."""
    if not hasattr(parameter, "device_mesh"):
        return tensor.to(parameter.device)
    from torch.distributed.tensor import distribute_tensor

    return distribute_tensor(tensor.to(parameter.device), parameter.device_mesh, parameter.placements)


def backward(accelerator: Any, model: Any, prepared: Any, step: Step, recipe: Recipe, phase: Phase, teacher: Any) -> float:
    """Add up the gradients of a step, part by part, and return its loss.

    The loss is multiplied by the number of processes, because their gradients are averaged.
    """
    parts = list(step.share(accelerator.process_index, accelerator.num_processes).parts(recipe.accumulation))
    total = torch.zeros((), device=accelerator.device)
    for number, part in enumerate(parts):
        synchronize = number == len(parts) - 1
        inputs, labels, weights = (
            {name: torch.from_numpy(array).to(accelerator.device) for name, array in arrays.items()} for arrays in part
        )
        with contextlib.nullcontext() if synchronize else accelerator.no_sync(prepared):
            with autocast(accelerator, recipe.bf16):
                if teacher is None:
                    terms = zip(model.label_losses(prepared(**inputs), labels), weights.values(), strict=True)
                    loss = sum((losses * weight.to(losses.dtype)).sum() for (losses, _), weight in terms)
                else:
                    with torch.no_grad(), comparing(teacher, phase.pairs.values(), phase.labels):
                        taught = teacher(**inputs, output_hidden_states=bool(phase.pairs))
                    with comparing(model, phase.pairs, phase.labels):
                        found = prepared(**inputs, output_hidden_states=bool(phase.pairs))
                    loss = transfer_loss(model, found, taught, labels, weights, recipe.transfer, phase)
            accelerator.backward(loss * accelerator.num_processes)
        total = total + loss.detach()
    gradient = model.get_input_embeddings().weight.grad
    if gradient is not None:  # a tied decoder would move the row of [PAD] from zero
        kept = torch.ones(gradient.shape[0], 1, dtype=gradient.dtype)
        kept[model.config.pad_token_id] = 0
        gradient.mul_(placed_as(kept, gradient))
    return float(accelerator.reduce(total, "sum"))


def autocast(accelerator: Any, bf16: bool) -> Any:
    """The precision of the forward pass: bfloat16, or what accelerate is configured for."""
    return torch.autocast(accelerator.device.type, torch.bfloat16) if bf16 else accelerator.autocast()


def make_optimizer(model: Any, recipe: Recipe, phase: Phase) -> torch.optim.Optimizer:
    """The optimizer of a phase, with weight decay on matrices only, and each group's share of the learning rate as its factor."""
    found: dict[tuple[bool, float], list[Any]] = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            found.setdefault((parameter.ndim > 1, phase.factor(name)), []).append(parameter)
    groups = [
        {"params": parameters, "weight_decay": recipe.weight_decay if is_matrix else 0.0, "factor": factor}
        for (is_matrix, factor), parameters in found.items()
    ]
    if recipe.optimizer == LAMB:
        return Lamb(groups, lr=recipe.learning_rate, eps=recipe.epsilon)
    return torch.optim.AdamW(groups, lr=recipe.learning_rate, eps=recipe.epsilon, fused=True)


@contextlib.contextmanager
def checkpointing(model: Any, wanted: bool) -> Iterator[None]:
    """Turn gradient checkpointing on, if it is wanted and not on already, and off again."""
    changed = wanted and not model.is_gradient_checkpointing
    if changed:
        model.gradient_checkpointing_enable()
    try:
        yield
    finally:
        if changed:
            model.gradient_checkpointing_disable()


@contextlib.contextmanager
def adapters(model: Any, recipe: Recipe) -> Iterator[None]:
    """Add LoRA adapters, with only them and the head to train; at the end they are merged into the weights."""
    if recipe.lora is None:
        yield
        return
    with needs("peft"):
        import peft
    trainable = {name: parameter.requires_grad for name, parameter in model.named_parameters()}
    torch.manual_seed(recipe.seed)  # PEFT draws their weights
    adapted = peft.get_peft_model(model, peft.LoraConfig(r=recipe.lora, lora_alpha=2 * recipe.lora, target_modules=ADAPTED))
    for name, parameter in model.named_parameters():
        if not name.startswith(ARCHITECTURES[model.architecture].root):
            parameter.requires_grad = True
    try:
        yield
    finally:
        adapted.merge_and_unload()
        for name, parameter in model.named_parameters():
            parameter.requires_grad = trainable[name]


def merged_state(model: Any) -> dict[str, torch.Tensor]:
    """The state_dict of a model, with its LoRA adapters, if it has any, merged into the weights."""
    state = model.state_dict()
    for name, module in model.named_modules():
        if hasattr(module, "get_delta_weight"):
            state[f"{name}.base_layer.weight"] = module.base_layer.weight.detach() + module.get_delta_weight("default").detach()
    return {name.replace(".base_layer.", "."): tensor for name, tensor in state.items() if ".lora_" not in name}
