"""Classes of a user's own on top of ours in PyTorch: what they add is initialized, saved and opened."""

import copy
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from mobilebert_common.errors import CheckpointError, ConfigError
from mobilebert_pt import (
    MobileBertForMaskedLM,
    MobileBertForPreTraining,
    MobileBertForSequenceClassification,
    MobileBertModel,
    MobileBertPreTrainedModel,
)
from support.configs import make_config

CONFIG = make_config(initializer_range=0.02, hidden_size=64)
IDS = torch.arange(21).reshape(3, 7)


class Tagger(MobileBertPreTrainedModel):
    """Layers of many kinds, one weight shared with the word embeddings, and values computed in the constructor."""

    def __init__(self, config: Any, classes: int = 3, scale: float = 2.0) -> None:
        super().__init__(config)
        self.mobilebert = MobileBertModel(config, add_pooling_layer=False)
        self.rnn = nn.LSTM(config.hidden_size, 8, batch_first=True)
        self.norm = nn.BatchNorm1d(8)
        self.mix = nn.Parameter(torch.full((2,), scale))
        self.classifier = nn.Linear(config.hidden_size, classes)
        self.decoder = nn.Linear(config.embedding_size, config.vocab_size)
        self.decoder.weight = self.mobilebert.embeddings.word_embeddings.weight
        self.register_buffer("weights", torch.tensor([1.0, scale, 3.0]))
        self.post_init()

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor | None = None) -> torch.Tensor:
        x = self.mobilebert(input_ids, attention_mask).last_hidden_state
        return self.classifier(x) * self.mix.sum() + self.norm(self.rnn(x)[0][:, -1])[:, None, :3] + self.weights


def test_what_a_subclass_adds_is_initialized_as_the_model_is() -> None:
    torch.manual_seed(0)
    model = Tagger(CONFIG)
    words = model.mobilebert.get_input_embeddings().weight
    assert 0.015 < model.classifier.weight.std() < 0.02 and not model.classifier.bias.any()
    assert not words[0].any() and words[1:].any()  # although the tied layer comes later
    assert model.mix.tolist() == [2.0, 2.0]


def test_a_subclass_opens_what_it_has_saved(tmp_path: Path) -> None:
    model = Tagger(CONFIG, scale=5.0).train()
    model(IDS)  # moves the statistics of the batch norm
    model.eval().save_pretrained(tmp_path)
    found, report = Tagger.from_pretrained(tmp_path, output_loading_info=True)
    assert not any(report.values())
    assert torch.equal(found(IDS), model(IDS))
    assert found.norm.num_batches_tracked == 1
    assert found.decoder.weight is found.mobilebert.get_input_embeddings().weight
    half = Tagger.from_pretrained(tmp_path, dtype="bfloat16")
    assert half.classifier.weight.dtype == half.mix.dtype == torch.bfloat16 and half.norm.num_batches_tracked == 1
    assert Tagger.from_pretrained(tmp_path, 3, scale=7.0).mix.tolist() == [5.0, 5.0]
    with pytest.raises(CheckpointError, match=r"classifier.weight has shape \[3, 64\] where .* expect \[4, 64\]"):
        Tagger.from_pretrained(tmp_path, 4)


def test_a_subclass_opens_the_base_model_and_starts_its_own_layers(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    base = MobileBertForMaskedLM(CONFIG)
    base.save_pretrained(tmp_path)
    found, report = Tagger.from_pretrained(tmp_path, output_loading_info=True)
    assert "rnn.weight_ih_l0" in caplog.text and "fresh weights" in caplog.text
    assert {name.split(".")[0] for name in report["missing_keys"]} == {"mix", "weights", "rnn", "norm", "classifier", "decoder"}
    assert found.mix.tolist() == [2.0, 2.0] and found.weights.tolist() == [1.0, 2.0, 3.0]
    for name, tensor in base.mobilebert.state_dict().items():
        assert torch.equal(found.mobilebert.state_dict()[name], tensor)


def test_a_plain_class_says_that_layers_are_not_its_own(tmp_path: Path) -> None:
    Tagger(CONFIG).save_pretrained(tmp_path)
    with pytest.raises(CheckpointError, match=r"rnn\.bias_hh_l0 is unexpected\n(.*\n)*.*layers of your own"):
        MobileBertForSequenceClassification.from_pretrained(tmp_path)


def test_half_of_an_own_layer_is_damage() -> None:
    model = Tagger(CONFIG)
    state = {name: tensor for name, tensor in model.state_dict().items() if name != "rnn.bias_hh_l0"}
    with pytest.raises(CheckpointError, match=r"rnn\.bias_hh_l0 is missing"):
        Tagger.from_pretrained(None, config=CONFIG, state_dict=state)


def test_a_pretrained_base_model_keeps_its_values_in_a_class_around_it(tmp_path: Path) -> None:
    base = MobileBertModel(CONFIG)
    base.save_pretrained(tmp_path)

    class Around(MobileBertPreTrainedModel):
        def __init__(self, config: Any) -> None:
            super().__init__(config)
            self.mobilebert = MobileBertModel.from_pretrained(tmp_path)
            self.decoder = nn.Linear(config.embedding_size, config.vocab_size)
            self.decoder.weight = self.mobilebert.get_input_embeddings().weight
            self.init_weights()

    assert torch.equal(Around(CONFIG).decoder.weight, base.get_input_embeddings().weight)


def test_an_override_of_init_weights_is_called_for_new_layers(tmp_path: Path) -> None:
    class Ones(MobileBertForSequenceClassification):
        def __init__(self, config: Any) -> None:
            super().__init__(config)
            self.extra = nn.Linear(4, 4)
            self.post_init()

        def _init_weights(self, module: nn.Module) -> None:
            super()._init_weights(module)
            if isinstance(module, nn.Linear):
                nn.init.ones_(module.weight)

    assert (Ones(CONFIG).extra.weight == 1).all() and (Ones(CONFIG).classifier.weight == 1).all()
    MobileBertModel(CONFIG).save_pretrained(tmp_path)
    assert (Ones.from_pretrained(tmp_path).extra.weight == 1).all()


def test_a_fresh_head_has_the_initializer_range(tmp_path: Path) -> None:
    MobileBertModel(CONFIG.replace(num_labels=100)).save_pretrained(tmp_path)
    torch.manual_seed(0)
    weight = MobileBertForSequenceClassification.from_pretrained(tmp_path).classifier.weight
    assert 0.0165 < weight.std() < 0.0185 and weight.abs().max() <= 0.04  # a normal distribution cut at two deviations


def test_wrapped_state_dicts_open_and_save(tmp_path: Path) -> None:
    model = MobileBertForSequenceClassification(CONFIG).eval()
    for number, prefix in enumerate(["module.", "_orig_mod.", "model.", "module._orig_mod.", "_orig_mod.module.", "model.model."]):
        state = {prefix + name: tensor for name, tensor in model.state_dict().items()}
        found = MobileBertForSequenceClassification.from_pretrained(None, config=CONFIG, state_dict=state)
        assert torch.equal(found(IDS).logits, model(IDS).logits)
        model.save_pretrained(tmp_path / str(number), state_dict=state)
        assert torch.equal(MobileBertForSequenceClassification.from_pretrained(tmp_path / str(number))(IDS).logits, model(IDS).logits)
    inner = {name.replace("mobilebert.", "mobilebert._fsdp_wrapped_module."): tensor for name, tensor in model.state_dict().items()}
    found = MobileBertForSequenceClassification.from_pretrained(None, config=CONFIG, state_dict=inner)
    assert torch.equal(found(IDS).logits, model(IDS).logits)
    compiled = torch.compile(model, backend="eager")
    compiled.save_pretrained(tmp_path / "compiled")
    assert torch.equal(MobileBertForSequenceClassification.from_pretrained(tmp_path / "compiled")(IDS).logits, model(IDS).logits)


def test_pytorch_bin_on_request(tmp_path: Path) -> None:
    model = MobileBertForSequenceClassification(CONFIG).eval()
    model.save_pretrained(tmp_path, safe_serialization=False)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["config.json", "manifest.json", "pytorch_model.bin"]
    assert torch.equal(MobileBertForSequenceClassification.from_pretrained(tmp_path)(IDS).logits, model(IDS).logits)
    model.save_pretrained(tmp_path)
    with pytest.raises(ConfigError, match=r"model\.safetensors would be read in place of pytorch_model\.bin"):
        model.save_pretrained(tmp_path, safe_serialization=False)


def test_the_dtype_is_the_arguments_or_the_frameworks(tmp_path: Path) -> None:
    MobileBertModel(CONFIG).to(torch.bfloat16).save_pretrained(tmp_path)
    assert MobileBertModel.from_pretrained(tmp_path).dtype == torch.float32
    assert MobileBertModel.from_pretrained(tmp_path, dtype="auto").dtype == torch.bfloat16
    torch.set_default_dtype(torch.float64)
    try:
        assert MobileBertModel(CONFIG).dtype == MobileBertModel.from_pretrained(tmp_path).dtype == torch.float64
        assert MobileBertModel.from_pretrained(tmp_path, torch_dtype=torch.float32).dtype == torch.float32
    finally:
        torch.set_default_dtype(torch.float32)


def test_a_device_map_of_one_device(tmp_path: Path) -> None:
    MobileBertModel(CONFIG).save_pretrained(tmp_path)
    for device_map in ("auto", "cpu", {"": "cpu"}, torch.device("cpu")):
        assert MobileBertModel.from_pretrained(tmp_path, device_map=device_map).device.type in ("cpu", "cuda", "mps")
    with pytest.raises(ConfigError, match="fits on one device"):
        MobileBertModel.from_pretrained(tmp_path, device_map={"embeddings": "cpu", "encoder": "disk"})


@pytest.mark.parametrize("cls", [MobileBertForMaskedLM, MobileBertForPreTraining])
def test_a_tied_decoder_is_a_view(cls: Any) -> None:
    model = cls(CONFIG)
    for same in (model, copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        words = same.get_input_embeddings().weight
        assert same.get_output_embeddings() is same.cls.predictions.decoder
        assert same.cls.predictions.decoder.weight is words
        assert same.cls.predictions.decoder.bias is same.cls.predictions.bias
    assert not [name for name, _ in model.named_parameters() if "decoder" in name]
    assert not [name for name in model.state_dict() if "decoder" in name]
    with pytest.raises(AttributeError):
        model.cls.predictions.decoder.weight = nn.Parameter(torch.zeros(1))
    model.tie_weights()
    model.resize_token_embeddings(50)
    assert model.get_output_embeddings().weight.shape == (50, CONFIG.embedding_size)
    model.set_input_embeddings(nn.Embedding(60, CONFIG.embedding_size))
    assert model.config.vocab_size == 60
    assert model.get_output_embeddings().weight is model.get_input_embeddings().weight
    output = model(torch.full((1, 4), 59))
    assert (output.logits if "logits" in output else output.prediction_logits).shape == (1, 4, 60)


def test_an_untied_decoder_has_its_own_weight() -> None:
    model = MobileBertForMaskedLM(CONFIG.replace(tie_word_embeddings=False))
    assert model.get_output_embeddings().weight is dict(model.named_parameters())["cls.predictions.decoder.weight"]


def test_what_libraries_ask_a_model() -> None:
    model = MobileBertForSequenceClassification(CONFIG)
    assert model.main_input_name == "input_ids" and not model.can_generate()
    assert model(**model.dummy_inputs).logits.shape == (3, CONFIG.num_labels)
    assert model.get_memory_footprint() == 4 * model.num_parameters()
    model.enable_input_require_grads()
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    assert model(IDS).logits.requires_grad
    model.disable_input_require_grads()
    assert not model(IDS).logits.requires_grad
    assert not model.is_gradient_checkpointing
    model.gradient_checkpointing_enable()
    assert model.is_gradient_checkpointing and model.is_activation_checkpointing


def test_layers_added_to_the_base_model(tmp_path: Path) -> None:
    class Wider(MobileBertModel):
        def __init__(self, config: Any) -> None:
            super().__init__(config)
            self.extra = nn.Linear(config.hidden_size, 4)
            self.post_init()

    model = Wider(CONFIG)
    model.save_pretrained(tmp_path)
    found, report = Wider.from_pretrained(tmp_path, output_loading_info=True)
    assert not any(report.values())
    assert all(torch.equal(tensor, found.state_dict()[name]) for name, tensor in model.state_dict().items())
    MobileBertForSequenceClassification(CONFIG).save_pretrained(tmp_path)
    assert {name.split(".")[0] for name in Wider.from_pretrained(tmp_path, output_loading_info=True)[1]["missing_keys"]} == {"extra"}
