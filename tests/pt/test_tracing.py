"""Every way to record or map a PyTorch model keeps what depends on values: the mask, the ids, the lengths."""

import io
import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torch.func import functional_call, grad, vmap
from torch.fx.experimental.proxy_tensor import make_fx

from mobilebert_common.model.architectures import ARCHITECTURES
from mobilebert_pt import MobileBertForSequenceClassification, heads
from support.configs import make_config

CONFIG = make_config(initializer_range=0.2)
IDS = torch.arange(21).reshape(3, 7)
ONES = torch.ones_like(IDS)
MASK = torch.tensor([[1] * 7, [1] * 4 + [0] * 3, [0] * 7])


def make_model(architecture: str = "MobileBertForSequenceClassification", **changes: Any) -> Any:
    torch.manual_seed(0)
    return getattr(heads, architecture)(CONFIG.replace(**changes)).eval()


def trace(model: nn.Module, *example: torch.Tensor) -> Callable[..., Any]:
    with warnings.catch_warnings():
        warnings.simplefilter("error", torch.jit.TracerWarning)  # a value or a shape that became a constant
        return torch.jit.trace(model, example, strict=False)


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_trace_with_a_mask_of_ones_hides_padding_and_takes_other_lengths(architecture: str) -> None:
    model = make_model(architecture)
    ids, ones, mask = IDS, ONES, MASK
    if architecture == "MobileBertForMultipleChoice":
        ids, ones, mask = (torch.stack([tensor, tensor], dim=1) for tensor in (IDS, ONES, MASK))
    traced = trace(model, ids, ones)
    for part in ((ids, mask), (ids[:2, ..., :5], mask[:2, ..., :5])):
        output = model(*part)
        assert list(traced(*part)) == list(output)
        for name, value in output.items():
            torch.testing.assert_close(traced(*part)[name], value)
    with pytest.raises(RuntimeError, match="index out of range"):
        traced(ids + CONFIG.vocab_size, ones)


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
def test_a_trace_with_everything_given_keeps_all_of_it() -> None:
    model = make_model()
    types, places, heads_seen = IDS % 2, torch.arange(7)[None].flip(1), torch.tensor([1.0, 0.0, 1.0, 1.0])
    traced = trace(model, IDS, ONES, torch.zeros_like(IDS), torch.arange(7)[None], torch.ones(4))
    torch.testing.assert_close(
        traced(IDS, MASK, types, places, heads_seen)["logits"], model(IDS, MASK, types, places, heads_seen).logits
    )


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
def test_a_traced_tuple_is_saved_and_opened() -> None:
    model = make_model(return_dict=False)
    file = io.BytesIO()
    torch.jit.save(trace(model, IDS, ONES), file)  # type: ignore[no-untyped-call]
    file.seek(0)
    torch.testing.assert_close(torch.jit.load(file)(IDS, MASK), model(IDS, MASK))  # type: ignore[no-untyped-call]


@pytest.mark.parametrize("mode", ["real", "fake", "symbolic"])
def test_make_fx_records_the_mask(mode: str) -> None:
    model = make_model()
    state = dict(model.state_dict())

    def logits(state: Any, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        return functional_call(model, state, (ids, mask)).logits

    graph = make_fx(logits, tracing_mode=mode)(state, IDS, ONES)
    torch.testing.assert_close(graph(state, IDS, MASK), model(IDS, MASK).logits)


def test_vmap_and_gradients_per_example() -> None:
    model = make_model()
    rows = vmap(lambda ids, mask: model(ids[None], mask[None]).logits[0])(IDS, MASK)
    torch.testing.assert_close(rows, model(IDS, MASK).logits)
    parameters, labels = dict(model.named_parameters()), torch.tensor([0, 2, 1])

    def loss(parameters: Any, ids: torch.Tensor, mask: torch.Tensor, label: torch.Tensor) -> torch.Tensor:
        return functional_call(model, parameters, (ids[None], mask[None]), {"labels": label[None]}).loss

    found = vmap(grad(loss), in_dims=(None, 0, 0, 0))(parameters, IDS, MASK, labels)
    model(IDS, MASK, labels=labels).loss.backward()
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(found[name].mean(dim=0), parameter.grad, atol=1e-5, rtol=1e-4)


def test_dynamic_quantization_finds_every_dense_layer() -> None:
    model = make_model()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        quantized = torch.ao.quantization.quantize_dynamic(model, {nn.Linear}, dtype=torch.qint8)
    assert not any(type(module) is nn.Linear for module in quantized.modules())
    names = {name for name, module in quantized.named_modules() if "quantized.dynamic" in type(module).__module__}
    assert names >= {name for name, module in model.named_modules() if isinstance(module, nn.Linear)}
    assert (quantized(IDS, MASK).logits - model(IDS, MASK).logits).abs().max() < 0.1


def test_layers_have_the_types_that_tools_look_for() -> None:
    plain = (nn.Linear, nn.Embedding, nn.LayerNorm, nn.Dropout)
    for architecture in ARCHITECTURES:
        modules = list(make_model(architecture, normalization_type="layer_norm").modules())
        assert all(type(module) in plain for module in modules if isinstance(module, plain))
        assert {type(module) for module in modules} >= set(plain)


def test_the_dropout_of_every_layer_is_a_module() -> None:
    """Monte Carlo dropout: dropout alone in training mode."""
    model = MobileBertForSequenceClassification(CONFIG.replace(hidden_dropout_prob=0.3, attention_probs_dropout_prob=0.3)).eval()
    assert torch.equal(model(IDS).logits, model(IDS).logits)
    for name in ("", "embeddings", "layer.0.attention.self", "layer.0.output.bottleneck"):
        chosen = [module for path, module in model.named_modules() if path.endswith(f"{name}.dropout".lstrip("."))]
        assert all(isinstance(module, nn.Dropout) for module in chosen) and chosen
        for module in chosen:
            module.train()
        assert not torch.equal(model(IDS).logits, model(IDS).logits), name
        model.eval()
