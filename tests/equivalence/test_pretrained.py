"""What from_pretrained and save_pretrained take besides a directory, with the same answers from both twins."""

import logging
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import keras
import ml_dtypes
import numpy as np
import pytest
import torch

import mobilebert_pt.arrays
import mobilebert_tf.arrays
from mobilebert_common.checkpoints import checkpoint
from mobilebert_common.checkpoints.safetensors import WEIGHTS_FILE
from mobilebert_common.errors import CheckpointError, ConfigError
from mobilebert_common.model import dtypes
from mobilebert_common.model.config import CONFIG_FILE, MobileBertConfig
from mobilebert_pt import MobileBertForSequenceClassification, MobileBertModel
from mobilebert_tf import TFMobileBertForSequenceClassification, TFMobileBertModel
from support.configs import BASE, CLASSIFIER, make_config, random_weights
from support.hub_server import Hub, Repository, serving

BASES = [MobileBertModel, TFMobileBertModel]
CLASSIFIERS = [MobileBertForSequenceClassification, TFMobileBertForSequenceClassification]
NAME = "google/mobilebert-uncased"
both = pytest.mark.parametrize("cls", CLASSIFIERS, ids=["pt", "tf"])


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    return save(tmp_path / "saved", CLASSIFIER)


def save(folder: Path, head: str, dtype: Any = np.float32, **values: Any) -> Path:
    config = make_config(**values)
    weights = {name: array.astype(dtype) for name, array in random_weights(config, head).items()}
    checkpoint.save(folder, config, head, weights)
    return folder


def arrays(model: Any) -> dict[str, np.ndarray]:
    """{canonical name: array} of either twin."""
    if isinstance(model, torch.nn.Module):
        return {name: mobilebert_pt.arrays.to_numpy(tensor) for name, tensor in model.state_dict().items()}
    variables = model.canonical_variables()
    return {name: mobilebert_tf.arrays.to_numpy(variable, layout) for name, (variable, layout) in variables.items()}


def same(ours: dict[str, np.ndarray], theirs: dict[str, np.ndarray]) -> bool:
    return ours.keys() == theirs.keys() and all(np.array_equal(ours[name], theirs[name]) for name in ours)


@both
@pytest.mark.parametrize("dtype", ["float32", "float64", "bfloat16", "float16"])
def test_dtype_auto_is_that_of_the_file(cls: Any, dtype: str, tmp_path: Path) -> None:
    """A fresh classifier included."""
    save(tmp_path, BASE, dtypes.DTYPES[dtype])
    model = cls.from_pretrained(tmp_path, dtype="auto")
    assert {str(array.dtype) for array in arrays(model).values()} == {dtype}
    model.save_pretrained(tmp_path / "again")
    assert MobileBertConfig.from_pretrained(tmp_path / "again").dtype == dtype


@both
def test_the_older_name_of_dtype(cls: Any, saved: Path) -> None:
    for wanted in ("bfloat16", "auto"):
        stored = {str(array.dtype) for array in arrays(cls.from_pretrained(saved, torch_dtype=wanted)).values()}
        assert stored == {"bfloat16" if wanted == "bfloat16" else "float32"}
    assert MobileBertForSequenceClassification.from_pretrained(saved, torch_dtype=torch.float64).dtype == torch.float64
    assert TFMobileBertModel.from_pretrained(saved, torch_dtype="mixed_bfloat16").compute_dtype == "bfloat16"


@both
def test_config_in_place_of_the_file(cls: Any, saved: Path) -> None:
    expected = arrays(cls.from_pretrained(saved))
    config = make_config(hidden_dropout_prob=0.25, id2label={0: "x", 1: "y", 2: "z"})
    for file in (CONFIG_FILE, "manifest.json"):
        (saved / file).unlink()
    model = cls.from_pretrained(saved, config=config, output_attentions=True)
    assert same(arrays(model), expected)
    assert model.config == config.replace(output_attentions=True) and not config.output_attentions
    with pytest.raises(CheckpointError, match="does not fit"):
        cls.from_pretrained(saved, config=make_config(hidden_size=40))
    with pytest.raises(ConfigError, match="config must be a MobileBertConfig, not"):
        cls.from_pretrained(saved, config=config.to_dict())


@both
def test_mismatched_sizes(cls: Any, saved: Path) -> None:
    with pytest.raises(CheckpointError, match="ignore_mismatched_sizes=True starts these anew"):
        cls.from_pretrained(saved, num_labels=5)
    model, info = cls.from_pretrained(saved, num_labels=5, ignore_mismatched_sizes=True, output_loading_info=True)
    assert info == {
        "missing_keys": [],
        "unexpected_keys": [],
        "mismatched_keys": [("classifier.weight", (3, 32), (5, 32)), ("classifier.bias", (3,), (5,))],
        "error_msgs": [],
    }
    fresh = arrays(model)["classifier.weight"]
    assert fresh.shape == (5, 32) and np.isfinite(fresh).all() and fresh.any()


@both
def test_a_bias_that_fits_is_kept(cls: Any, saved: Path) -> None:
    """Beside a weight that does not."""
    before = arrays(cls.from_pretrained(saved))
    model, info = cls.from_pretrained(saved, intermediate_size=20, ignore_mismatched_sizes=True, output_loading_info=True)
    after, mismatched = arrays(model), {name for name, _, _ in info["mismatched_keys"]}
    bias = "mobilebert.encoder.layer.0.output.dense.bias"
    assert bias not in mismatched and bias.replace("bias", "weight") in mismatched
    assert all(np.isfinite(array).all() for array in after.values())
    assert [name for name in before if name not in mismatched and not np.array_equal(before[name], after[name])] == []


def test_loading_info(tmp_path: Path) -> None:
    base, head = save(tmp_path / "base", BASE), save(tmp_path / "head", CLASSIFIER)
    names = ["classifier.weight", "classifier.bias"]
    for cls, base_cls in zip(CLASSIFIERS, BASES, strict=True):
        assert cls.from_pretrained(base, output_loading_info=True)[1]["missing_keys"] == names
        assert sorted(base_cls.from_pretrained(head, output_loading_info=True)[1]["unexpected_keys"]) == sorted(names)
        assert not any(cls.from_pretrained(head, output_loading_info=True)[1].values())


@pytest.mark.parametrize("cls", BASES)
def test_a_base_model_without_its_pooler(cls: Any, saved: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """As transformers users open it for hidden states; nothing is fresh where nothing is wanted."""
    whole, model = cls.from_pretrained(saved), cls.from_pretrained(saved, add_pooling_layer=False)
    kept = {name: array for name, array in arrays(whole).items() if not name.startswith("pooler.")}
    assert len(kept) == len(arrays(whole)) - 2
    assert same(arrays(model), kept)
    assert model.num_parameters() == sum(array.size for array in kept.values())
    caplog.clear()
    model.save_pretrained(tmp_path)
    again, info = cls.from_pretrained(tmp_path, add_pooling_layer=False, output_loading_info=True)
    assert same(arrays(again), kept)
    assert not any(info.values()) and "fresh" not in caplog.text
    assert cls.from_pretrained(tmp_path, output_loading_info=True)[1]["missing_keys"] == ["pooler.dense.weight", "pooler.dense.bias"]


def test_without_its_pooler_in_a_keras_file(saved: Path, tmp_path: Path) -> None:
    model = TFMobileBertModel.from_pretrained(saved, add_pooling_layer=False)
    model.save(tmp_path / "model.keras")
    assert same(arrays(keras.saving.load_model(tmp_path / "model.keras")), arrays(model))


@both
def test_what_users_of_transformers_look_at(cls: Any, saved: Path) -> None:
    model = cls.from_pretrained(saved)
    assert getattr(model, model.base_model_prefix) is model.mobilebert
    assert model.num_labels == model.config.num_labels == 3 and isinstance(model.config, cls.config_class)
    table = model.get_input_embeddings()
    assert model.resize_token_embeddings() is model.resize_token_embeddings(None) is table
    model.resize_token_embeddings(np.int64(41))
    model.resize_token_embeddings(pad_to_multiple_of=16)
    assert model.config.vocab_size == model.mobilebert.config.vocab_size == 48


def test_the_base_model_of_a_head(saved: Path) -> None:
    """As transformers' PyTorch classes have it, to freeze it."""
    model, base = MobileBertForSequenceClassification.from_pretrained(saved), MobileBertModel.from_pretrained(saved)
    assert model.base_model is model.mobilebert and base.base_model is base


@both
def test_arguments_of_a_subclass(cls: Any, saved: Path) -> None:
    class Margin(cls):
        def __init__(self, config: Any, margin: float = 1.0, **kwargs: Any) -> None:
            super().__init__(config, **kwargs)
            self.margin = margin

    model = Margin.from_pretrained(saved, margin=0.5, num_labels=3)
    assert (model.margin, model.config.num_labels) == (0.5, 3)


@both
def test_zero_pad_embedding(cls: Any, saved: Path, caplog: pytest.LogCaptureFixture) -> None:
    words = "mobilebert.embeddings.word_embeddings.weight"
    with caplog.at_level(logging.WARNING):
        assert not arrays(cls.from_pretrained(saved, zero_pad_embedding=True))[words][0].any()
        assert not caplog.records
        assert arrays(cls.from_pretrained(saved))[words][0].any()
    assert "zero_pad_embedding=True" in caplog.text


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "device_map": ({"device_map": {"embeddings": 0, "encoder": 1}}, "fits on one device"),
    "attention": ({"attn_implementation": "flash_attention_2"}, "the one attention implementation"),
    "quantized": ({"load_in_8bit": True}, "quantization is not available"),
    "unknown": ({"num_label": 3}, "unknown argument num_label; the configuration has"),
}


@both
@pytest.mark.parametrize("case", REFUSED)
def test_what_is_not_supported_is_refused(cls: Any, case: str, saved: Path) -> None:
    options, message = REFUSED[case]
    with pytest.raises(ConfigError) as error:
        cls.from_pretrained(saved, **options)
    assert message in str(error.value)


@both
def test_what_changes_nothing_is_accepted(cls: Any, saved: Path) -> None:
    options = {"low_cpu_mem_usage": True, "use_safetensors": True, "attn_implementation": "sdpa", "from_tf": True}
    assert same(arrays(cls.from_pretrained(saved, **options, trust_remote_code=True)), arrays(cls.from_pretrained(saved)))


@both
def test_options_of_saving(cls: Any, saved: Path, tmp_path: Path) -> None:
    model, folder = cls.from_pretrained(saved), tmp_path / "again"
    model.save_pretrained(folder, is_main_process=False)
    for options in ({"push_to_hub": True}, {"variant": "fp16"}, {"shard": 1}):
        with pytest.raises(ConfigError, match=next(iter(options))):
            model.save_pretrained(folder, **options)
    assert not folder.exists()
    model.save_pretrained(folder, safe_serialization=True, max_shard_size="5GB", push_to_hub=False, state_dict=None)
    assert (folder / WEIGHTS_FILE).read_bytes() == (saved / WEIGHTS_FILE).read_bytes()


def test_a_state_dict_is_saved_in_place_of_the_models_own(saved: Path, tmp_path: Path) -> None:
    """As Hugging Face's Trainer asks; a Keras model has no such thing."""
    model = MobileBertForSequenceClassification.from_pretrained(saved)
    doubled = {name: 2 * tensor for name, tensor in model.state_dict().items()}
    model.save_pretrained(tmp_path / "doubled", state_dict=doubled)
    assert same(arrays(TFMobileBertForSequenceClassification.from_pretrained(tmp_path / "doubled")), arrays_of(doubled))
    doubled["module.x"] = doubled.pop("classifier.bias")
    with pytest.raises(ConfigError, match=r"(?s)state_dict does not have the names of this .*classifier.bias\s+module.x"):
        model.save_pretrained(tmp_path / "doubled", state_dict=doubled)
    with pytest.raises(ConfigError, match=r"state_dict=.*a Keras model has no state_dict"):
        TFMobileBertForSequenceClassification.from_pretrained(saved).save_pretrained(tmp_path / "keras", state_dict={})


def arrays_of(tensors: dict[str, torch.Tensor]) -> dict[str, np.ndarray]:
    return {name: mobilebert_pt.arrays.to_numpy(tensor) for name, tensor in tensors.items()}


def test_both_open_a_name_of_the_hub(saved: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    constants = pytest.importorskip("huggingface_hub.constants", reason="needs the extra hub")
    files = {path.name: path.read_bytes() for path in saved.iterdir()}
    expected = arrays(MobileBertForSequenceClassification.from_pretrained(saved))
    with serving(Hub({NAME: Repository({"a" * 40: files}, {"main": "a" * 40})})) as hub:
        monkeypatch.setattr(constants, "ENDPOINT", hub.url)
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", hub.url + "/{repo_id}/resolve/{revision}/{filename}")
        for cls in CLASSIFIERS:
            model = cls.from_pretrained(NAME, revision="main", cache_dir=tmp_path / "cache")
            assert same(arrays(model), expected)
        assert hub.downloads == [CONFIG_FILE, WEIGHTS_FILE]


@both
def test_a_name_without_huggingface_hub(cls: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(ImportError, match=r"pip install '\.\[hub\]' in a clone"):
        cls.from_pretrained(NAME)


def test_widest_dtype_of_a_mixed_file(tmp_path: Path) -> None:
    config = make_config()
    weights = {name: array.astype(ml_dtypes.bfloat16) for name, array in random_weights(config, BASE).items()}
    weights["pooler.dense.bias"] = weights["pooler.dense.bias"].astype(np.float32)
    checkpoint.save(tmp_path, config, BASE, weights)
    for cls in BASES:
        assert {str(array.dtype) for array in arrays(cls.from_pretrained(tmp_path, dtype="auto")).values()} == {"float32"}


def test_fewer_layers_than_the_file_has(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Users cut models down with an override; a configuration that says so by itself is damage."""
    save(tmp_path, CLASSIFIER, num_hidden_layers=12)
    with caplog.at_level(logging.WARNING):
        models = [cls.from_pretrained(tmp_path, num_hidden_layers=1) for cls in CLASSIFIERS]
    cut = [record.getMessage() for record in caplog.records if "of which" in record.getMessage()]
    assert cut == [f"{tmp_path} has 12 layers, of which the first 1 are used"] * 2
    assert all(model.config.num_hidden_layers == 1 for model in models)
    ids = np.arange(1, 8)[None]
    outputs = [models[0](torch.tensor(ids)).logits.detach().numpy(), keras.ops.convert_to_numpy(models[1](ids).logits)]
    np.testing.assert_allclose(*outputs, atol=1e-5)
    with pytest.raises(CheckpointError, match=r"layer\.12.* is missing"):
        MobileBertModel.from_pretrained(tmp_path, num_hidden_layers=13)
    cut = MobileBertModel.from_pretrained(tmp_path, config=make_config(num_hidden_layers=1))
    assert same(arrays(cut), arrays(MobileBertModel.from_pretrained(tmp_path, num_hidden_layers=1)))


def test_opening_a_model_imports_neither_training_nor_a_compiler(saved: Path) -> None:
    """Which takes longer than all the rest."""
    code = (
        "import sys, mobilebert_tf, mobilebert_pt\n"
        "assert 'mobilebert_common.training.api' not in sys.modules and 'mobilebert_common.tasks.task' not in sys.modules\n"
        f"mobilebert_pt.MobileBertModel.from_pretrained({str(saved)!r})\n"
        "assert 'torch._dynamo' not in sys.modules"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
