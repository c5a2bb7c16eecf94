"""The reader of Model Garden checkpoints on objects made by hand; tests/garden has real ones, where the Garden is installed."""

from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from mobilebert_common.checkpoints import checkpoint
from mobilebert_common.errors import CheckpointError
from mobilebert_common.model.config import MobileBertConfig
from mobilebert_common.model.layout import to_layout
from mobilebert_common.model.schema import expand
from mobilebert_conversion.convert import convert
from mobilebert_conversion.garden import schema_name
from support.configs import make_config, random_weights

HEAD = "MobileBertForMaskedLM"


def variables(config: MobileBertConfig, prefix: str = "") -> list[tf.Variable]:
    """The variables of a masked-LM model, named and laid out as in the schema."""
    weights = random_weights(config, HEAD)
    places = {name: tensor.dialects["garden"] for name, tensor in expand(config, HEAD).items()}
    return [
        tf.Variable(to_layout(weights[name], place.layout, config.num_attention_heads).astype(np.float32), name=prefix + place.name)
        for name, place in places.items()
    ]


def write(folder: Path, config: MobileBertConfig, **objects: object) -> str:
    config.save_pretrained(folder)
    return str(tf.train.Checkpoint(**objects).save(str(folder / "ckpt")))


def test_names_count_and_keys_do_not(tmp_path: Path) -> None:
    config = make_config()
    step = tf.Variable(3, dtype=tf.int64)
    prefix = write(tmp_path / "garden", config, model=variables(config), global_step=step)
    done = convert(prefix, tmp_path / "ours")
    assert (done.dialect, done.head, done.ignored) == ("garden", HEAD, ())
    found = checkpoint.load(tmp_path / "ours", HEAD).tensors
    for name, array in random_weights(config, HEAD).items():
        np.testing.assert_array_equal(found[name], array.astype(np.float32))


def test_other_heads_are_left_aside(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    config = make_config()
    head = tf.Variable(np.ones(2, np.float32), name="bert/next_sentence/out_proj/bias")
    convert(write(tmp_path / "garden", config, model=variables(config), sentence=head), tmp_path / "ours")
    assert "ignored sentence" in caplog.text


def test_two_models(tmp_path: Path) -> None:
    config = make_config()
    prefix = write(tmp_path / "garden", config, teacher=variables(config), student=variables(config))
    with pytest.raises(CheckpointError, match="holds two models"):
        convert(prefix, tmp_path / "ours")


def test_no_model(tmp_path: Path) -> None:
    prefix = write(tmp_path / "garden", make_config(), x=tf.Variable(np.ones(2, np.float32), name="x"))
    with pytest.raises(CheckpointError, match="without a MobileBERT encoder"):
        convert(prefix, tmp_path / "ours")


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("transformer_layer_0/attention/query/kernel", "transformer_layer_0/attention/query/kernel"),
        ("mobile_bert_encoder/transformer_layer_11/ffn_layer_3/norm/beta", "transformer_layer_11/ffn_layer_3/norm/beta"),
        ("mobile_bert_embedding_1/embedding_norm/gamma", "mobile_bert_embedding/embedding_norm/gamma"),
        ("bert/cls/predictions/output_bias/bias", "cls/predictions/output_bias/bias"),
        ("pooler/kernel", "pooler/kernel"),
        ("pooler_dense/kernel", None),
        ("Adam/m/transformer_layer_0/attention/query/kernel", None),
        ("bert", None),
        ("", None),
    ],
)
def test_schema_name(name: str, wanted: str | None) -> None:
    assert schema_name(name) == wanted
