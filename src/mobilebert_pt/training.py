"""Fine-tuning in PyTorch, on accelerate: the same plan of batches and the same recipe as mobilebert_tf/training.py.

`accelerate launch` or torchrun spreads the examples of a step over processes; what accelerate is configured for (mixed
precision, FSDP) applies.
"""

import contextlib
import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch

from mobilebert_common.errors import DivergedError
from mobilebert_common.model.architectures import ARCHITECTURES
from mobilebert_common.optional import needs
from mobilebert_common.tasks.examples import Examples
from mobilebert_common.training.plan import Plan
from mobilebert_common.training.recipe import Recipe, Watch
from mobilebert_common.training.steps import Step, steps

ADAPTED = ["query", "value"]  # the layers with LoRA adapters


def train(model: Any, examples: Examples, recipe: Recipe, watch: Watch) -> None:
    """Fine-tune a model in place.

    Args:
        examples: with labels.
        watch: called after each step with the number of steps done and the loss of that step; True ends the training.
    Raises:
        ConfigError: the class weights do not fit the model.
        DivergedError: a loss or a gradient is not finite; the model has the weights from before that step.
    """
    with needs("train"):
        from accelerate import Accelerator
    accelerator = Accelerator()
    torch.manual_seed(recipe.seed)
    with adapters(model, recipe.lora), checkpointing(model, recipe.gradient_checkpointing):
        prepared, optimizer = accelerator.prepare(model, make_optimizer(model, recipe))
        try:
            total = Plan(examples.lengths, recipe).steps
            for done, step in enumerate(steps(examples, recipe, model.config, model.architecture)):
                for group in optimizer.param_groups:
                    group["lr"] = recipe.rate(done, total)
                prepared.train()
                loss = backward(accelerator, model, prepared, step, recipe)
                norm = accelerator.clip_grad_norm_(prepared.parameters(), recipe.clip)
                if not math.isfinite(loss) or (accelerator.scaler is None and not math.isfinite(norm)):
                    raise DivergedError(done + 1, loss)
                optimizer.step()
                optimizer.zero_grad()
                if watch(done + 1, loss):
                    break
        finally:
            accelerator.unwrap_model(prepared, keep_fp32_wrapper=False)
            model.zero_grad()
            model.eval()


def backward(accelerator: Any, model: Any, prepared: Any, step: Step, recipe: Recipe) -> float:
    """Add up the gradients of a step, part by part, and return its loss.

    The loss is multiplied by the number of processes, because their gradients are averaged.
    """
    rows = np.arange(len(next(iter(step.labels.values()))))[accelerator.process_index :: accelerator.num_processes]
    if not len(rows):  # every process must take part
        rows = np.zeros(1, np.int64)
        step = step._replace(weights={name: np.zeros_like(weights) for name, weights in step.weights.items()})
    parts = list(step.parts(rows, recipe.accumulation))
    total = torch.zeros((), device=accelerator.device)
    for number, part in enumerate(parts):
        synchronize = number == len(parts) - 1
        inputs, labels, weights = (
            {name: torch.from_numpy(array).to(accelerator.device) for name, array in arrays.items()} for arrays in part
        )
        with contextlib.nullcontext() if synchronize else accelerator.no_sync(prepared):
            with autocast(accelerator, recipe.bf16):
                terms = model.label_losses(prepared(**inputs), labels)
                loss = sum((losses * weight.to(losses.dtype)).sum() for (losses, _), weight in zip(terms, weights.values(), strict=True))
            accelerator.backward(loss * accelerator.num_processes)
        total = total + loss.detach()
    gradient = model.get_input_embeddings().weight.grad
    if gradient is not None:
        gradient[model.config.pad_token_id] = 0  # a tied decoder would move it from zero
    return accelerator.reduce(total, "sum").item()


def autocast(accelerator: Any, bf16: bool) -> Any:
    """The precision of the forward pass: bfloat16, or what accelerate is configured for."""
    return torch.autocast(accelerator.device.type, torch.bfloat16) if bf16 else accelerator.autocast()


def make_optimizer(model: Any, recipe: Recipe) -> torch.optim.Optimizer:
    """AdamW of the recipe, with weight decay on matrices only."""
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    groups = [
        {"params": [each for each in trained if each.ndim > 1], "weight_decay": recipe.weight_decay},
        {"params": [each for each in trained if each.ndim <= 1], "weight_decay": 0.0},
    ]
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
def adapters(model: Any, rank: int | None) -> Iterator[None]:
    """Add LoRA adapters of a rank, with only them and the head to train; at the end they are merged into the weights."""
    if rank is None:
        yield
        return
    with needs("peft"):
        import peft
    trainable = {name: parameter.requires_grad for name, parameter in model.named_parameters()}
    adapted = peft.get_peft_model(model, peft.LoraConfig(r=rank, lora_alpha=2 * rank, target_modules=ADAPTED))
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
