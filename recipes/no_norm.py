"""Turn a trained model with layer normalization and gelu into a true MobileBERT with NoNorm and relu, which folds and runs faster.

    mobilebert train sst2/train.tsv --validation sst2/dev.tsv --output sst2
    python recipes/no_norm.py sst2 sst2/train.tsv sst2-no-norm
    mobilebert evaluate sst2-no-norm sst2/dev.tsv
    mobilebert train sst2/train.tsv --validation sst2/dev.tsv --model sst2-no-norm --learning-rate 4e-4 --epochs 1 --output sst2-mobile

Training with NoNorm from the start is slower and needs smaller learning rates: nothing keeps activations in range. Here the layers are
fitted instead, one after the other, so that each gives on real texts what the trained model gives. A block of MobileBERT ends with

    y = norm(W x + b + r),

where r is a residual, and NoNorm is norm(z) = scale * z + shift. With y from the trained model, and x and r from the new one, which has
relu in place of gelu and whose earlier blocks are fitted already, W, scale and shift are a linear least-squares problem. There is no
training and no gradient; the last command above, which is optional, regains most of what is lost.
"""

import argparse
import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from mobilebert_common.training.jobs import Opened
from mobilebert_pt import twin
from mobilebert_pt.layers import Embeddings, Projection

TOKENS = 10_000  # to fit each block on
RIDGE = 1e-4  # added to the diagonal of the normal equations, relative to its mean
LEAST_SCALE = 0.02  # of a residual: W is divided by it

Batch = dict[str, Tensor]


def main() -> None:
    """Convert a checkpoint."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path, help="a checkpoint that `mobilebert train` wrote")
    parser.add_argument("data", type=Path, help="data it was trained on, or like them; labels are not used")
    parser.add_argument("output", type=Path, help="the checkpoint directory to write")
    parser.add_argument("--tokens", type=int, default=TOKENS)
    options = parser.parse_args()
    opened = Opened.open(twin, options.model)
    batches = list(sample(opened, options.data, options.tokens))
    model = convert(opened.model, batches)
    model.save_pretrained(options.output)
    opened.tokenizer.save_pretrained(options.output)
    print(f"saved in {options.output}")


def sample(opened: Opened, path: Path, tokens: int) -> Iterator[Batch]:
    """Batches of a random part of the data, with so many tokens together."""
    examples = opened.examples(opened.setup.read(path, labelled=False))
    order, seen = torch.randperm(len(examples), generator=torch.Generator().manual_seed(0)).tolist(), 0
    for begin in range(0, len(order), 32):
        if seen >= tokens:
            return
        batch = examples.batch(order[begin : begin + 32])
        yield {name: torch.from_numpy(value) for name, value in batch.items()}
        seen += int(batch["attention_mask"].sum())


def convert(trained: Any, batches: list[Batch]) -> Any:
    """A model with NoNorm and relu that gives nearly what `trained` gives on the batches."""
    config = trained.config.replace(normalization_type="no_norm", hidden_act="relu")
    model = type(trained)(config).eval()
    model.load_state_dict(trained.state_dict())
    wanted = outputs(trained.eval(), [norm for _, norm in blocks(trained)], batches)
    for (dense, norm), y in zip(blocks(model), wanted, strict=True):
        if y is not None:
            fit(dense, norm, *inputs(model, dense, norm, batches), y)
    return model


def blocks(model: nn.Module) -> list[tuple[nn.Linear | None, nn.Module]]:
    """The dense layer and the norm at the end of each block, in the order of computation; embeddings may have no dense layer."""
    found: list[tuple[nn.Linear | None, nn.Module]] = []
    for module in model.modules():
        if isinstance(module, Embeddings):
            found.append((module.embedding_transformation if module.transform else None, module.LayerNorm))
        elif isinstance(module, Projection):
            found.append((module.dense, module.LayerNorm))
    return found


@torch.no_grad()
def outputs(model: Any, modules: list[nn.Module], batches: list[Batch]) -> list[Tensor | None]:
    """What each module gives for every token that is not padding: [tokens size]; None for one that the model does not use."""
    found: list[list[Tensor]] = [[] for _ in modules]
    hooks = [
        module.register_forward_hook(lambda _, taken, given, into=into: into.append(given))
        for module, into in zip(modules, found, strict=True)
    ]
    for batch in batches:
        model(**batch)
    for hook in hooks:
        hook.remove()
    return [visible(states, batches) if states else None for states in found]


class Reached(Exception):
    """The forward pass has come as far as it is needed."""


@torch.no_grad()
def inputs(model: Any, dense: nn.Linear | None, norm: nn.Module, batches: list[Batch]) -> tuple[Tensor, Tensor]:
    """What the dense layer of a block takes, and the residual, for every token that is not padding: [tokens size] each."""
    x: list[Tensor] = []
    z: list[Tensor] = []

    def stop(_: nn.Module, taken: tuple[Tensor, ...]) -> None:
        z.append(taken[0])
        raise Reached

    hooks = [norm.register_forward_pre_hook(stop)]
    if dense is not None:
        hooks.append(dense.register_forward_pre_hook(lambda _, taken: x.append(taken[0])))
    for batch in batches:
        with contextlib.suppress(Reached):
            model(**batch)
    for hook in hooks:
        hook.remove()
    taken = visible(z, batches)
    if dense is None:
        return taken[:, :0], taken
    return visible(x, batches), taken - dense(visible(x, batches))


def visible(states: list[Tensor], batches: list[Batch]) -> Tensor:
    """The states [b t size] of each batch, without padding, as one: [tokens size]."""
    masks = [batch["attention_mask"].flatten().bool() for batch in batches]
    return torch.cat([state.flatten(0, -2)[mask] for state, mask in zip(states, masks, strict=True)])


@torch.no_grad()
def fit(dense: nn.Linear | None, norm: nn.Module, x: Tensor, residual: Tensor, y: Tensor) -> None:
    """Fit y = scale * (W x + residual) + shift, exactly up to the ridge.

    x and a constant are regressed out of y and of the residual; what remains of both gives the scale of each feature, and with it
    the rest (the theorem of Frisch and Waugh).
    """
    x, residual, y = x.double(), residual.double(), y.double()
    x = torch.cat([x, torch.ones(len(x), 1, dtype=torch.float64)], dim=1)
    gram = x.T @ x
    gram += RIDGE * gram.diagonal().mean() * torch.eye(len(gram), dtype=torch.float64)
    regress = lambda target: torch.linalg.solve(gram, x.T @ target)  # noqa: E731
    rest_of_residual, rest_of_y = residual - x @ regress(residual), y - x @ regress(y)
    power = rest_of_residual.square().sum(0)
    has_residual = power > 1e-9 * len(x)
    scale = torch.where(has_residual, (rest_of_residual * rest_of_y).sum(0) / power, 1.0)
    scale = torch.where(scale.abs() < LEAST_SCALE, LEAST_SCALE, scale)
    found = regress(y - scale * residual)
    if dense is not None:
        dense.weight.copy_((found[:-1] / scale).T)
        dense.bias.zero_()
    norm.weight.copy_(scale)
    norm.bias.copy_(found[-1])


if __name__ == "__main__":
    main()
