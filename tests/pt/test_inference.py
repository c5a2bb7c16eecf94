"""Folded models of PyTorch against the models they were folded from."""

import copy
import pickle
import warnings
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from mobilebert_common.errors import ConfigError, InputError
from mobilebert_common.model.architectures import ARCHITECTURES
from mobilebert_common.model.config import MobileBertConfig
from mobilebert_pt import (
    MobileBertForSequenceClassification,
    MobileBertModel,
    MobileBertPreTrainedModel,
    heads,
    inference,
)
from mobilebert_pt.inference import Int8
from mobilebert_pt.pretrained import base_model
from mobilebert_pt.twin import outputs, set_tensors
from support.configs import CHOICES, CLASSIFIER, CONFIGS, make_config, make_labels, random_weights
from support.reference import distance, random_inputs, scaled_weights

SWITCHES: list[dict[str, bool]] = [{}, {"output_hidden_states": True, "output_attentions": True}, {"output_attentions": True}]
KINDS: dict[str, dict[str, Any]] = {
    "plain": {},
    "packed": {"packed": True},
    "bfloat16": {"dtype": "bfloat16"},
    "int8": {"quantize": "int8"},
}
NORMS = ("no_norm", "layer_norm")
IDS = torch.arange(21).reshape(3, 7)
MASK = torch.tensor([[1] * 7, [1] * 4 + [0] * 3, [0] * 7])


def make_model(architecture: str = CLASSIFIER, seed: int = 0, **changes: Any) -> Any:
    config = make_config(**changes)
    model = getattr(heads, architecture)(config)
    set_tensors(model, random_weights(config, architecture, seed))
    return model.eval()


def make_batch(config: MobileBertConfig, architecture: str, seed: int, **options: Any) -> dict[str, np.ndarray]:
    labels = make_labels(config, architecture, np.random.default_rng(seed), 7)
    return random_inputs(config, architecture, seed, **options) | labels


def numbers(found: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {name: array.astype(np.float64) for name, array in found.items()}


@pytest.mark.parametrize(("number", "architecture"), list(enumerate(ARCHITECTURES)))
def test_the_same_outputs_in_float64(number: int, architecture: str) -> None:
    """Each architecture in the default configuration, in layer_norm and in an eighth of the others; the first mask hides everything."""
    names = ["mobilebert", "layer_norm", *list(CONFIGS)[number :: len(ARCHITECTURES)]]
    for seed, (name, changes) in enumerate((name, CONFIGS[name]) for name in names):
        config = make_config(**changes)
        model = getattr(heads, architecture)(config).double()
        set_tensors(model, scaled_weights(config, architecture, seed))
        folded = model.fold(compose=bool(seed % 2))
        masks = {"mask": ["rows", "queries", None][seed % 3], "heads": ["layers", None, "model"][seed % 3]}
        inputs = make_batch(config, architecture, seed, **masks, types=seed % 4 > 0, positions=seed % 2 > 0, embeds=seed == 2)
        for switches in SWITCHES:
            assert distance(outputs(model, inputs, **switches), outputs(folded, inputs, **switches)) <= 1e-12, (name, switches)
        assert isinstance(folded, type(model)) and folded.config == model.config and not folded.training
        assert not any(tensor.requires_grad for tensor in folded.parameters())


@pytest.mark.parametrize("norm", NORMS)
def test_float32_is_no_further_from_float64(norm: str) -> None:
    apart = {"unfolded": 0.0, "plain": 0.0, "packed": 0.0}
    for seed, architecture in enumerate(list(ARCHITECTURES)[:4]):
        model = make_model(architecture, seed, normalization_type=norm)
        inputs = random_inputs(model.config, architecture, seed)
        expected = outputs(copy.deepcopy(model).double(), inputs)
        for name, found in (("unfolded", model), ("plain", model.fold()), ("packed", model.fold(packed=True))):
            apart[name] += distance(expected, numbers(outputs(found, inputs)))
    assert 0 < apart["plain"] <= 2 * apart["unfolded"] and 0 < apart["packed"] <= 2 * apart["unfolded"]


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")
@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("kind", ["bfloat16", "int8"])
def test_low_precision_loses_no_more_than_without_folding(kind: str, norm: str) -> None:
    """Against the model in bfloat16, and against torch's dynamic quantization of it; norms make channels differ in size."""
    ids = torch.from_numpy(np.random.default_rng(0).integers(0, 40, (40, 8)))
    apart, same = torch.zeros(2), 0.0
    for seed in range(3):
        model = make_model(CLASSIFIER, seed, normalization_type=norm, hidden_size=64, intra_bottleneck_size=32)
        with torch.inference_mode():
            for name, tensor in model.named_parameters():
                if name.endswith("LayerNorm.weight"):
                    tensor.uniform_(np.log(0.1), np.log(2.0), generator=torch.Generator().manual_seed(seed)).exp_()
                elif tensor.dim() > 1 and "embeddings" not in name:
                    tensor *= 0.75
            expected, found = model(ids).logits, model.fold(**KINDS[kind])(ids).logits.float()
            low = model.bfloat16() if kind == "bfloat16" else torch.ao.quantization.quantize_dynamic(model, {nn.Linear})
            apart += torch.stack([(logits - expected).norm() / expected.norm() for logits in (found, low(ids).logits)])
        same += float((found.argmax(-1) == expected.argmax(-1)).float().mean()) / 3
    assert 0 < apart[0] <= 1.2 * apart[1] and same >= 0.9


@pytest.mark.parametrize("kind", KINDS)
def test_rows_that_a_mask_hides_are_finite_and_other_rows_do_not_change(kind: str) -> None:
    folded = make_model().fold(**KINDS[kind])
    with torch.inference_mode():
        hidden = folded(IDS, MASK).logits
        assert hidden.isfinite().all()
        apart = (folded(IDS[:1]).logits - hidden[:1]).norm() / hidden[:1].norm()
        assert apart <= {"plain": 1e-5, "packed": 1e-5, "bfloat16": 0.05, "int8": 0.2}[kind]  # a batch has one int8 scale


def test_int8_products_do_not_saturate() -> None:
    """Without VNNI the CPU adds pairs of products in 16 bits, which inputs of eight bits exceed."""
    weight, x = torch.linspace(0.9, 1, 64 * 512).reshape(64, 512), torch.linspace(0.9, 1, 4 * 512).reshape(4, 512)
    exact = x @ weight.T
    assert (Int8(weight, None)(x) - exact).norm() <= 0.005 * exact.norm()


@pytest.mark.parametrize("activation", ["relu", "gelu"])
@pytest.mark.parametrize("kind", ["packed", "int8"])
def test_every_activation_and_a_part_of_a_wider_tensor(kind: str, activation: str) -> None:
    """Of the default activation there are fused products; a bottleneck's parts are views."""
    model = make_model(hidden_act=activation)
    inputs = random_inputs(model.config, CLASSIFIER, 3)
    apart = distance(outputs(model, inputs), numbers(outputs(model.fold(**KINDS[kind]), inputs)))
    assert apart <= {"packed": 1e-5, "int8": 0.2}[kind]


@pytest.mark.parametrize("architecture", ["MobileBertForNextSentencePrediction", CLASSIFIER, CHOICES, "MobileBertForPreTraining"])
def test_the_last_layer_works_only_for_the_first_token_where_nothing_else_is_read(architecture: str) -> None:
    lengths: list[int] = []
    folded = make_model(architecture).fold()
    for layer in folded.mobilebert.encoder.layer:
        layer.context.register_forward_hook(lambda module, args, output: lengths.append(output.shape[1]))
    ids = torch.stack([IDS, IDS], dim=1) if architecture == CHOICES else IDS
    folded(ids)
    folded(ids, output_hidden_states=True)
    assert lengths == [7, 7 if architecture == "MobileBertForPreTraining" else 1, 7, 7]


def test_scored_positions() -> None:
    model = make_model("MobileBertForMaskedLM")
    places = torch.tensor([[1, 2], [0, 6], [3, 3]])
    found = model.fold()(IDS, masked_lm_positions=places).logits
    torch.testing.assert_close(found, model(IDS, masked_lm_positions=places).logits)
    assert found.shape == (3, 2, model.config.vocab_size)


def test_an_untied_masked_lm_head_and_a_model_without_a_pooler() -> None:
    model = make_model("MobileBertForMaskedLM", tie_word_embeddings=False)
    torch.testing.assert_close(model.fold()(IDS).logits, model(IDS).logits)
    base = MobileBertModel(make_config(), add_pooling_layer=False).eval()
    assert list(base.fold()(IDS)) == ["last_hidden_state"] == list(base(IDS))


def test_tuples_and_switches_of_the_configuration() -> None:
    model = make_model(output_hidden_states=True, return_dict=False)
    folded = model.fold()
    torch.testing.assert_close(folded(IDS), model(IDS))
    assert len(folded(IDS, output_hidden_states=False)) == 1
    assert folded(IDS, return_dict=True).logits.shape == (3, 3)


@pytest.mark.filterwarnings("ignore:TypedStorage is deprecated")  # by torch's own int8 weights
@pytest.mark.parametrize("kind", KINDS)
def test_copies_and_pickles(kind: str) -> None:
    folded = make_model("MobileBertForPreTraining").fold(**KINDS[kind])
    expected = folded(IDS, MASK).prediction_logits
    for copied in (copy.deepcopy(folded), pickle.loads(pickle.dumps(folded))):
        assert torch.equal(copied(IDS, MASK).prediction_logits, expected)
        assert type(copied) is type(folded) and copied.get_output_embeddings().weight is copied.get_input_embeddings().weight


@pytest.mark.parametrize("architecture", ["MobileBertModel", CLASSIFIER])
def test_a_folded_model_is_only_for_inference(architecture: str, tmp_path: Any) -> None:
    model = make_model(architecture)
    folded = model.fold()
    refused = {
        "train": lambda: folded.train(),
        "gradients": lambda: folded.requires_grad_(),
        "save": lambda: folded.save_pretrained(tmp_path / "saved"),
        "load": lambda: folded.load_state_dict(model.state_dict()),
        "load into a part": lambda: nn.ModuleList([folded]).load_state_dict(folded.state_dict(prefix="0.")),
        "resize": lambda: folded.resize_token_embeddings(50),
        "replace": lambda: folded.set_input_embeddings(nn.Embedding(40, 8)),
        "checkpoint": lambda: folded.gradient_checkpointing_enable(),
        "initialize": lambda: folded.init_weights(),
        "fold": lambda: folded.fold(),
        "open": lambda: type(folded).from_pretrained(tmp_path),
    }
    for name, call in refused.items():
        with pytest.raises(ConfigError, match="for inference only: train, change or save the model that it was folded from"):
            call()
        assert not any(module.training for module in folded.modules()), name
    assert not any(tmp_path.iterdir())
    assert folded.eval() is folded and folded.requires_grad_(False) is folded
    assert model.train().training and any(tensor.requires_grad for tensor in model.parameters())


@pytest.mark.parametrize("kind", KINDS)
def test_gradients_are_refused(kind: str) -> None:
    folded = make_model().fold(**KINDS[kind])
    embeds = torch.zeros(3, 7, 8, dtype=folded.dtype, requires_grad=True)
    with pytest.raises(InputError, match="has no gradients"):
        folded(inputs_embeds=embeds)
    with torch.no_grad():
        folded(inputs_embeds=embeds)


@pytest.mark.parametrize("kind", ["packed", "int8"])
def test_fixed_products_refuse_other_dtypes_and_devices(kind: str) -> None:
    folded = make_model().fold(**KINDS[kind])
    expected = folded(IDS).logits
    for move in (lambda: folded.double(), lambda: folded.to(torch.bfloat16), lambda: folded.to("meta"), lambda: folded.base_model.half()):
        with pytest.raises(ConfigError, match="products stay on the CPU in float32"):
            move()
    assert torch.equal(folded.to("cpu").float()(IDS).logits, expected)
    with torch.autocast("cpu", dtype=torch.bfloat16), pytest.raises(InputError, match=r"without torch\.autocast"):
        folded(IDS)


def test_plain_products_move_convert_and_obey_autocast() -> None:
    model = make_model()
    expected = model(IDS).logits
    torch.testing.assert_close(model.fold().double()(IDS).logits, expected.double(), rtol=1e-4, atol=1e-5)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert (model.fold()(IDS).logits - expected).norm() < 0.05 * expected.norm()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"quantize": "int4"}, 'quantize must be None or "int8", not \'int4\''),
        ({"quantize": "int8", "dtype": "bfloat16"}, "computes in float32 on the CPU, not in bfloat16 on cpu"),
        ({"packed": True, "dtype": torch.float64}, "packed=True is for float32 on the CPU"),
        ({"packed": True, "quantize": "int8"}, "packed=True is for float32 on the CPU, without quantize"),
        ({"dtype": "int32"}, "dtype must be one of"),
    ],
)
def test_options_that_do_not_go_together(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make_model().fold(**options)


@pytest.mark.parametrize("gains", [True, False])
def test_packing_is_chosen_by_a_measurement(gains: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    assert inference.packing_gains(torch.get_num_threads()) in (True, False)
    monkeypatch.setattr(inference, "packing_gains", lambda threads: gains)
    model = make_model()
    assert base_model(model.fold(packed=None)).product is (inference.Packed if gains else inference.Product)
    assert base_model(model.fold(packed=None, dtype="bfloat16")).product is inference.Product
    assert base_model(model.fold(packed=None, quantize="int8")).product is Int8


@pytest.mark.parametrize("kind", KINDS)
def test_a_trace_is_taken_unless_someone_looks_at_the_layers(kind: str) -> None:
    """The layers run in Python to be traced, once without and once with a mask, and where there are hooks."""
    folded = make_model().fold(**KINDS[kind])
    encoder, calls = folded.mobilebert.encoder, []
    plain = encoder.last
    encoder.last = lambda *args: calls.append(1) or plain(*args)
    expected = plain(torch.ones(2, 5, 32, dtype=folded.dtype))
    found = [encoder(torch.ones(2, 5, 32, dtype=folded.dtype), None, None, False, False)[0][-1] for _ in range(3)]
    assert len(calls) == 1 and encoder.traces.keys() == {False}
    for each in found:
        torch.testing.assert_close(each, expected)
    folded(IDS, MASK)
    assert len(calls) == 2 and encoder.traces.keys() == {False, True}
    handle = encoder.layer[1].register_forward_hook(lambda *args: None)
    folded(IDS)
    folded(IDS)
    assert len(calls) == 4
    handle.remove()
    folded(IDS)
    assert len(calls) == 4
    folded.to("cpu")
    assert not encoder.traces, "they hold the tensors from before"


def test_a_mask_that_hides_nothing_is_left_out() -> None:
    folded = make_model().fold()
    expected = folded(IDS).logits
    assert torch.equal(folded(IDS, torch.ones_like(IDS)).logits, expected)
    assert folded.mobilebert.encoder.traces.keys() == {False}
    assert torch.equal(folded(IDS, torch.ones(3, 7, 7)).logits, expected)
    mask = torch.ones_like(IDS)
    mask[1, 6] = 0
    assert not torch.equal(folded(IDS, mask).logits[1], expected[1])
    assert folded.mobilebert.encoder.traces.keys() == {False, True}


def test_torch_compile() -> None:
    with torch.no_grad():
        model = make_model()
        folded = model.fold()
        compiled = torch.compile(folded, backend="aot_eager", fullgraph=True)
        torch.testing.assert_close(compiled(IDS, MASK).logits, model(IDS, MASK).logits)


class Mean(MobileBertPreTrainedModel):
    """A head of the user's own, which reads the last hidden state."""

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        self.mobilebert = MobileBertModel(config, add_pooling_layer=False)
        self.scale = nn.Parameter(torch.full((3,), 2.0))
        self.classifier = nn.Linear(config.hidden_size, 3)
        self.post_init()

    def forward(self, input_ids: torch.Tensor) -> torch.Tensor:
        return self.classifier(self.mobilebert(input_ids).last_hidden_state.mean(dim=1)) * self.scale


class Another(MobileBertForSequenceClassification):
    """A call of the user's own on top of one of our heads."""

    def forward(self, input_ids: torch.Tensor) -> torch.Tensor:
        return self.classifier(self.mobilebert(input_ids).last_hidden_state[:, 3])


@pytest.mark.parametrize("cls", [Mean, Another])
@pytest.mark.parametrize("kind", ["plain", "bfloat16"])
def test_a_model_of_the_users_own_gets_a_folded_base_model(cls: type, kind: str) -> None:
    model = cls(make_config(initializer_range=0.2)).eval()
    for layer in model.mobilebert.encoder.layer:  # so that the stream is not the hidden state
        nn.init.constant_(layer.output.bottleneck.LayerNorm.weight, 0.7)
    folded = model.fold(**KINDS[kind])
    expected, found = model(IDS), folded(IDS)
    assert found.dtype == (torch.bfloat16 if kind == "bfloat16" else torch.float32)
    assert (found - expected).norm() <= (0.05 if kind == "bfloat16" else 1e-5) * expected.norm()
    assert isinstance(folded, cls) and not any(tensor.requires_grad for tensor in folded.parameters())
    with pytest.raises(ConfigError, match="for inference only"):
        folded.train()


def test_layers_of_the_users_own_inside_the_base_model_are_refused() -> None:
    class Twice(nn.Linear):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return 2 * super().forward(x)

    model = make_model()
    model.mobilebert.encoder.layer[0].intermediate.dense = Twice(16, 24)
    with pytest.raises(ConfigError, match=r"only layers of this package and torch\.nn can be folded, not Twice"):
        model.fold()
    with torch.no_grad():
        model = make_model()
        model.mobilebert.encoder.layer[1].intermediate.dense.bias[0] = torch.nan
    with pytest.raises(ConfigError, match=r"encoder\.layer\.1\.intermediate\.dense\.bias holds NaN"):
        model.fold()


def test_another_classifier_is_kept() -> None:
    model = make_model()
    model.classifier = nn.Sequential(nn.Linear(32, 5), nn.ReLU(), nn.Linear(5, 3)).eval()
    torch.testing.assert_close(model.fold()(IDS).logits, model(IDS).logits)


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
@pytest.mark.parametrize("norm", NORMS)
def test_a_trace_takes_other_lengths_and_masks(norm: str) -> None:
    with torch.inference_mode():
        folded = make_model(normalization_type=norm).fold()
    with warnings.catch_warnings():
        warnings.simplefilter("error", torch.jit.TracerWarning)
        traced = torch.jit.trace(folded, (IDS, torch.ones_like(IDS)), strict=False)
    for part in ((IDS, MASK), (IDS[:2, :5], MASK[:2, :5])):
        torch.testing.assert_close(traced(*part)["logits"], folded(*part).logits)


def test_an_export_takes_other_lengths_and_masks() -> None:
    with torch.inference_mode():
        folded = make_model().fold()
    assert not any(tensor.is_inference() for tensor in folded.parameters())
    batch, length = torch.export.Dim("batch"), torch.export.Dim("length", min=2, max=12)
    shapes = {"input_ids": {0: batch, 1: length}, "attention_mask": {0: batch, 1: length}}
    example = {"input_ids": IDS, "attention_mask": torch.ones_like(IDS)}
    program = torch.export.export(folded, (), example, dynamic_shapes=shapes).module()
    for ids, mask in ((IDS, MASK), (IDS[:2, :5], MASK[:2, :5])):
        torch.testing.assert_close(dict(program(input_ids=ids, attention_mask=mask)), dict(folded(ids, mask)))
