"""Fine-tuning in PyTorch, on accelerate: the same plan of batches and the same recipe as mobilebert_tf/train.py.

`accelerate launch` or torchrun spreads the batches of the plan over processes; what accelerate is configured for (mixed
precision, FSDP) applies.
"""

from typing import Any

import torch

from mobilebert_common.model.schema import expand
from mobilebert_common.optional import needs
from mobilebert_common.tasks.examples import Examples
from mobilebert_common.training.plan import Plan
from mobilebert_common.training.recipe import Recipe, Report


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
    optimizer = torch.optim.AdamW(parameter_groups(model, recipe), lr=recipe.learning_rate)
    prepared, optimizer = accelerator.prepare(model, optimizer)
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


def parameter_groups(model: Any, recipe: Recipe) -> list[dict[str, Any]]:
    """Matrices with weight decay, norms and biases without."""
    matrices = {name for name, tensor in expand(model.config, model.architecture).items() if len(tensor.shape) > 1}
    decayed = [parameter for name, parameter in model.named_parameters() if name in matrices]
    others = [parameter for name, parameter in model.named_parameters() if name not in matrices]
    return [{"params": decayed, "weight_decay": recipe.weight_decay}, {"params": others, "weight_decay": 0.0}]
