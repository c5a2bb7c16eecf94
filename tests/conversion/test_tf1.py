"""TF1 checkpoints as Google's code writes and reads them: names written down here from its variable list, not from the schema."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from mobilebert_common.checkpoints import checkpoint
from mobilebert_common.errors import CheckpointError, ConfigError
from mobilebert_common.files.folder import MANIFEST_FILE, PENDING, Folder, read_manifest
from mobilebert_common.model.config import CONFIG_FILE, MobileBertConfig
from mobilebert_conversion import tf1
from mobilebert_conversion.bundle import find_prefix
from mobilebert_conversion.convert import convert
from support.configs import CONFIGS, make_config, random_weights

Shapes = dict[str, tuple[int, ...]]
PRETRAINING, CLASSIFIER = "MobileBertForPreTraining", "MobileBertForSequenceClassification"
GOOGLES = {  # bert_config.json of the published archive
    "attention_probs_dropout_prob": 0.1,
    "classifier_activation": False,
    "embedding_size": 128,
    "hidden_act": "relu",
    "hidden_dropout_prob": 0.0,
    "hidden_size": 512,
    "initializer_range": 0.02,
    "intermediate_size": 512,
    "intra_bottleneck_size": 128,
    "key_query_shared_bottleneck": True,
    "max_position_embeddings": 512,
    "normalization_type": "no_norm",
    "num_attention_heads": 4,
    "num_feedforward_networks": 4,
    "num_hidden_layers": 24,
    "trigram_input": True,
    "type_vocab_size": 2,
    "use_bottleneck": True,
    "use_bottleneck_attention": False,
    "vocab_size": 30522,
}
SMALL = {**GOOGLES, "vocab_size": 40, "hidden_size": 32, "embedding_size": 8, "intra_bottleneck_size": 16}
SMALL |= {"intermediate_size": 24, "num_hidden_layers": 2, "max_position_embeddings": 12}


def linear(name: str, size_in: int, size_out: int) -> Shapes:
    return {f"{name}/kernel": (size_in, size_out), f"{name}/bias": (size_out,)}


def norm(name: str, size: int) -> Shapes:
    return {f"{name}/gamma": (size,), f"{name}/beta": (size,)}


def encoder(config: dict[str, Any], fake: str = "FakeLayerNorm") -> Shapes:
    """What Google's modeling.py creates for MobileBERT."""
    v, e, h, k, i = (config[key] for key in ("vocab_size", "embedding_size", "hidden_size", "intra_bottleneck_size", "intermediate_size"))
    shapes: Shapes = {
        "bert/embeddings/word_embeddings": (v, e),
        "bert/embeddings/position_embeddings": (config["max_position_embeddings"], h),
        "bert/embeddings/token_type_embeddings": (config["type_vocab_size"], h),
        **linear("bert/embeddings/embedding_transformation", 3 * e, h),
        **norm(f"bert/embeddings/{fake}", h),
    }
    for n in range(config["num_hidden_layers"]):
        layer = f"bert/encoder/layer_{n}"
        for part in ("input", "attention"):
            shapes |= linear(f"{layer}/bottleneck/{part}/dense", h, k) | norm(f"{layer}/bottleneck/{part}/{fake}", k)
        for part, size in (("query", k), ("key", k), ("value", h)):
            shapes |= linear(f"{layer}/attention/self/{part}", size, k)
        shapes |= linear(f"{layer}/attention/output/dense", k, k) | norm(f"{layer}/attention/output/{fake}", k)
        for prefix in (layer, *(f"{layer}/ffn_layer_{f}" for f in range(config["num_feedforward_networks"] - 1))):
            shapes |= linear(f"{prefix}/intermediate/dense", k, i)
            shapes |= linear(f"{prefix}/output/dense", i, k) | norm(f"{prefix}/output/{fake}", k)
        shapes |= linear(f"{layer}/output/bottleneck/dense", k, h) | norm(f"{layer}/output/bottleneck/{fake}", h)
    return shapes


def pretraining(config: dict[str, Any]) -> Shapes:
    v, e, h = config["vocab_size"], config["embedding_size"], config["hidden_size"]
    return {
        "cls/predictions/output_bias": (v,),
        **linear("cls/predictions/transform/dense", h, h),
        **norm("cls/predictions/transform/LayerNorm", h),
        "cls/predictions/extra_output_weights": (v, h - e),
        "cls/seq_relationship/output_weights": (2, h),
        "cls/seq_relationship/output_bias": (2,),
    }


def values(shapes: Shapes, seed: int = 0) -> dict[str, np.ndarray]:
    generator = np.random.default_rng(seed)
    return {name: generator.standard_normal(shape, np.float32) for name, shape in shapes.items()}


def write(folder: Path, variables: dict[str, np.ndarray], config: dict[str, Any] | None = None) -> Path:
    """A folder as in Google's archive, by TensorFlow's own Saver."""
    folder.mkdir()
    if config is not None:
        (folder / "bert_config.json").write_text(json.dumps(config))
    saver = tf.compat.v1.train.Saver({name: tf.Variable(array) for name, array in variables.items()})
    saver.save(None, str(folder / "mobilebert_variables.ckpt"), write_meta_graph=False)
    return folder


def read(prefix: Path) -> dict[str, np.ndarray]:
    reader = tf.compat.v1.train.NewCheckpointReader(str(prefix))
    return {name: reader.get_tensor(name) for name in reader.get_variable_to_shape_map()}


def test_the_published_archive(tmp_path: Path) -> None:
    """At full size: 1,119 variables, some with Adam's slots, to safetensors and back."""
    variables = values(encoder(GOOGLES) | pretraining(GOOGLES))
    assert len(variables) == 1119
    slots = {f"{name}/adam_{slot}": variables[name] for name in list(variables)[:5] for slot in "mv"}
    folder = write(tmp_path / "google", {**variables, **slots, "global_step": np.array(7, np.int64)}, GOOGLES)
    (folder / "vocab.txt").write_text("[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\n")
    done = convert(folder, tmp_path / "ours")
    assert (done.dialect, done.head, done.tensors, done.ignored) == ("tf1", PRETRAINING, 1119, ())
    assert (tmp_path / "ours" / "vocab.txt").exists()
    weights = checkpoint.load(tmp_path / "ours", PRETRAINING, "auto")
    assert not weights.config.classifier_activation
    np.testing.assert_array_equal(
        weights.tensors["mobilebert.encoder.layer.23.ffn.2.output.dense.weight"],
        variables["bert/encoder/layer_23/ffn_layer_2/output/dense/kernel"].T,
    )
    np.testing.assert_array_equal(
        weights.tensors["cls.seq_relationship.weight"], variables["cls/seq_relationship/output_weights"]
    )
    convert(tmp_path / "ours", tmp_path / "back", "tf1")
    again = read(tmp_path / "back" / "mobilebert_variables.ckpt")
    assert again.keys() == variables.keys()
    assert all(again[name].tobytes() == array.tobytes() for name, array in variables.items())
    assert json.loads((tmp_path / "back" / "bert_config.json").read_text()) == GOOGLES


def test_a_saver_restores_what_is_written(tmp_path: Path) -> None:
    variables = values(encoder(SMALL) | pretraining(SMALL))
    convert(write(tmp_path / "google", variables, SMALL), tmp_path / "again", "tf1")
    fresh = {name: tf.Variable(np.zeros_like(array)) for name, array in variables.items()}
    saver = tf.compat.v1.train.Saver(fresh)
    saver.restore(None, tf.compat.v1.train.latest_checkpoint(str(tmp_path / "again")))
    for name, array in variables.items():
        np.testing.assert_array_equal(fresh[name].numpy(), array)


def test_a_fine_tuned_classifier(tmp_path: Path) -> None:
    """Its labels are counted in the file; a pooler's dense layer is there when it was used."""
    shapes = {**encoder(SMALL), **linear("bert/pooler/dense", 32, 32), "output_weights": (5, 32), "output_bias": (5,)}
    convert(write(tmp_path / "google", values(shapes), {**SMALL, "classifier_activation": True}), tmp_path / "ours")
    config = MobileBertConfig.from_pretrained(tmp_path / "ours")
    assert (config.architectures, config.num_labels, config.classifier_activation) == ([CLASSIFIER], 5, True)


def test_squad(tmp_path: Path) -> None:
    shapes = {**encoder(SMALL), "cls/squad/output_weights": (2, 32), "cls/squad/output_bias": (2,)}
    done = convert(write(tmp_path / "google", values(shapes), SMALL), tmp_path / "ours")
    assert done.head == "MobileBertForQuestionAnswering"


def test_the_teacher_of_a_distillation(tmp_path: Path) -> None:
    """Its variables alone, under teacher/, with the names that layer normalisation has."""
    config = {**SMALL, "normalization_type": "layer_norm", "hidden_act": "gelu"}
    shapes = {f"teacher/{name}": shape for name, shape in (encoder(config, "LayerNorm") | pretraining(config)).items()}
    done = convert(write(tmp_path / "google", values(shapes), config), tmp_path / "ours")
    assert done.head == PRETRAINING
    assert MobileBertConfig.from_pretrained(tmp_path / "ours").hidden_act == "gelu_new"  # Google's gelu is the tanh form


def test_what_bert_config_leaves_out(tmp_path: Path) -> None:
    path = tmp_path / tf1.CONFIG_FILE
    path.write_text('{"vocab_size": 100, "num_attention_heads": 4, "directionality": "bidi"}')
    config = tf1.read_config(Folder.open(tmp_path))
    assert (config.hidden_size, config.embedding_size, config.intra_bottleneck_size) == (768, 768, 768)
    assert (config.use_bottleneck, config.trigram_input, config.type_vocab_size) == (False, False, 16)
    assert config.to_dict()["directionality"] == "bidi"
    for text, reason in (("{}", "no vocab_size"), ('{"vocab_size": -1}', "vocab_size"), ("[", "not valid JSON")):
        path.write_text(text)
        with pytest.raises(CheckpointError, match=reason):
            tf1.read_config(Folder.open(tmp_path))


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"hidden_act": "gelu"}, r"hidden_act 'gelu' \(only gelu_new, gelu_pytorch_tanh, relu, tanh\)"),
        ({"hidden_act": "silu"}, "hidden_act 'silu'"),
        ({"layer_norm_eps": 1e-3}, "layer_norm_eps 0.001"),
        ({"tie_word_embeddings": False}, "an untied decoder"),
    ],
)
def test_what_tf1_has_no_place_for(changes: dict[str, Any], reason: str, tmp_path: Path) -> None:
    config, head = make_config(**changes), "MobileBertForMaskedLM"
    checkpoint.save(tmp_path / "source", config, head, random_weights(config, head))
    with pytest.raises(ConfigError, match=reason):
        convert(tmp_path / "source", tmp_path / "there", "tf1")
    assert not (tmp_path / "there").exists()


def test_one_of_several_checkpoints(tmp_path: Path) -> None:
    folder = write(tmp_path / "google", values(encoder(SMALL)), SMALL)
    for file in list(folder.glob("mobilebert_variables.ckpt*")):
        shutil.copy(file, folder / file.name.replace(".ckpt", ".ckpt-9"))
    assert find_prefix(folder) == folder / "mobilebert_variables.ckpt"  # the state file says so
    assert find_prefix(folder / "mobilebert_variables.ckpt-9") == folder / "mobilebert_variables.ckpt-9"
    assert find_prefix(folder / "mobilebert_variables.ckpt-9.data-00000-of-00001") == folder / "mobilebert_variables.ckpt-9"
    assert find_prefix(folder / "bert_config.json") is None
    assert convert(folder / "mobilebert_variables.ckpt-9", tmp_path / "ours").tensors == 99
    (folder / "checkpoint").write_text('model_checkpoint_path: "/elsewhere/mobilebert_variables.ckpt-9"\n')
    assert find_prefix(folder) == folder / "mobilebert_variables.ckpt-9"
    (folder / "checkpoint").rename(tmp_path / "elsewhere")
    (folder / "checkpoint").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(CheckpointError, match=r"checkpoint: is a link to a file outside"):
        find_prefix(folder)
    (folder / "checkpoint").unlink()
    with pytest.raises(CheckpointError, match=r"has several checkpoints: choose one of 'mobilebert_variables.ckpt', 'mobile"):
        find_prefix(folder)


def test_bad_files(tmp_path: Path) -> None:
    variables = values(encoder(SMALL))
    folder = write(tmp_path / "google", variables, SMALL)
    index, data = folder / tf1.WEIGHTS_FILE, folder / tf1.DATA_FILE
    whole = index.read_bytes(), data.read_bytes()
    index.write_bytes(b"junk")
    with pytest.raises(CheckpointError, match="cannot be read by TensorFlow"):
        convert(folder, tmp_path / "ours")
    index.write_bytes(whole[0])
    data.write_bytes(whole[1][:-4] + b"\xff\xff\xff\x7f")  # its checksum differs
    with pytest.raises(CheckpointError, match="cannot be read by TensorFlow"):
        convert(folder, tmp_path / "ours")
    data.unlink()
    data.symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere").write_bytes(whole[1])
    with pytest.raises(CheckpointError, match="a link to a file outside"):
        convert(folder, tmp_path / "ours")
    some = dict(list(variables.items())[:-1])
    with pytest.raises(CheckpointError, match=r"LayerNorm.bias is missing"):
        convert(write(tmp_path / "missing", some, SMALL), tmp_path / "ours")
    with pytest.raises(CheckpointError, match=r"extra is unexpected"):
        convert(write(tmp_path / "extra", {**variables, "extra": np.ones(2, np.float32)}, SMALL), tmp_path / "ours")
    with pytest.raises(CheckpointError, match=r"holds variables with a dtype that weights cannot have: words \(object\)"):
        convert(write(tmp_path / "words", {**variables, "words": np.array("x", object)}, SMALL), tmp_path / "ours")
    with pytest.raises(CheckpointError, match="has no TensorFlow checkpoint"):
        tf1.open_file(Folder.open(tmp_path), "absent")
    assert not (tmp_path / "ours").exists()


def test_a_save_cut_off_after_its_commit(tmp_path: Path) -> None:
    config = make_config(**CONFIGS["mobilebert"])
    checkpoint.save(tmp_path / "source", config, "MobileBertModel", random_weights(config, "MobileBertModel"))
    there = tmp_path / "there"
    convert(tmp_path / "source", there, "tf1")
    for name in (tf1.WEIGHTS_FILE, tf1.DATA_FILE, CONFIG_FILE):
        (there / name).rename(there / f".{name}{PENDING}{read_manifest(there)[name][:16]}")
    assert convert(there, tmp_path / "back").tensors == len(random_weights(config, "MobileBertModel"))
    data = bytearray((there / tf1.DATA_FILE).read_bytes())
    data[-1] ^= 1
    (there / tf1.DATA_FILE).write_bytes(data)
    with pytest.raises(CheckpointError, match=MANIFEST_FILE):
        convert(there, tmp_path / "back", overwrite=True)
