"""Fine-tuning in PyTorch, on accelerate: the same plan of batches and the same recipe as mobilebert_tf/train.py.

`accelerate launch` or torchrun spreads the batches of the plan over processes; what accelerate is configured for (mixed
precision, FSDP) applies.
"""

from typing import Any

import torch

from mobilebert_common.optional import needs
from mobilebert_common.tasks.examples import Examples
from mobilebert_common.training.plan import Plan
from mobilebert_common.training.recipe import Recipe, Report, decayed


def train(model: Any, examples: Examples, recipe: Recipe, report: Report) -> None:
    """Fine-tune a model in place.

    Args:
        examples: with labels.
        report: called after each step with the number of steps done and the mean loss of the epoch so far.
    """
    with needs("train"):
        from accelerate import Accelerator
    accelerator = Accelerator()
    torch.manual_seed(recipe.seed)
    plan = Plan(examples.lengths, recipe)
    prepared, optimizer = accelerator.prepare(model, make_optimizer(model, recipe))
    prepared.train()
    done = 0
    for epoch in range(recipe.epochs):
        total, seen = 0.0, 0
        for step, rows in enumerate(plan.epoch(epoch)):
            for group in optimizer.param_groups:
                group["lr"] = recipe.rate(done, plan.steps)
            with accelerator.split_between_processes(rows.tolist(), apply_padding=True) as share:
                batch = {
                    name: torch.from_numpy(array).to(accelerator.device)
                    for name, array in examples.batch(share, plan.generator(epoch, step)).items()
                }
            loss = prepared(**batch).loss
            accelerator.backward(loss)
            accelerator.clip_grad_norm_(prepared.parameters(), recipe.clip)
            optimizer.step()
            optimizer.zero_grad()
            done, seen, total = done + 1, seen + len(rows), total + loss.item() * len(rows)
            report(done, total / seen)
    model.eval()


def make_optimizer(model: Any, recipe: Recipe) -> torch.optim.Optimizer:
    """AdamW of the recipe, with weight decay on matrices only."""
    names = decayed(model.config, model.architecture)
    matrices = [parameter for name, parameter in model.named_parameters() if name in names]
    others = [parameter for name, parameter in model.named_parameters() if name not in names]
    groups = [{"params": matrices, "weight_decay": recipe.weight_decay}, {"params": others, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=recipe.learning_rate)
