"""LAMB in PyTorch, as in Google's MobileBERT. `Lamb` of mobilebert_tf/training.py takes equal steps."""

from collections.abc import Callable
from typing import Any

import torch


class Lamb(torch.optim.Optimizer):
    """Layer-wise adaptive moments (arXiv:1904.00962): Adam's update with decay, scaled to the norm of the weights it changes.

    As in Google's MobileBERT, moments are not corrected for their start, and groups without decay have no trust ratio either.

    Args:
        lr: the learning rate.
        betas: of the moments.
        eps: added to the root of the second moment.
        weight_decay: of a group; where it is 0, the trust ratio is 1.
    """

    def __init__(
        self, params: Any, lr: float = 1e-3, betas: tuple[float, float] = (0.9, 0.999), eps: float = 1e-6, weight_decay: float = 0.01
    ) -> None:
        super().__init__(params, {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Update all weights that have gradients."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            first, second = group["betas"]
            for weight in group["params"]:
                if weight.grad is None:
                    continue
                state = self.state[weight]
                if "exp_avg" not in state:
                    state["exp_avg"], state["exp_avg_sq"] = torch.zeros_like(weight), torch.zeros_like(weight)
                    state["step"] = torch.zeros(())
                state["step"] += 1
                state["exp_avg"].lerp_(weight.grad, 1 - first)
                state["exp_avg_sq"].mul_(second).addcmul_(weight.grad, weight.grad, value=1 - second)
                update = state["exp_avg"] / (state["exp_avg_sq"].sqrt() + group["eps"])
                ratio = 1.0
                if group["weight_decay"]:
                    update = update + group["weight_decay"] * weight
                    size, change = weight.norm(), update.norm()
                    ratio = torch.where((size > 0) & (change > 0), size / change, 1.0)
                weight.sub_(group["lr"] * ratio * update)
        return loss
