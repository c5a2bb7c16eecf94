"""Checkpoints that the Model Garden itself has made, of every kind it makes, and what its own encoder computes from them."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
import tf_keras
from official.nlp.modeling import layers, models, networks

from mobilebert_common.checkpoints import checkpoint
from mobilebert_common.model.config import MobileBertConfig
from mobilebert_common.model.schema import expand
from mobilebert_conversion.convert import convert
from mobilebert_tf import TFMobileBertModel
from support.configs import SIZES

VARIANTS: dict[str, dict[str, Any]] = {
    "mobilebert": {"classifier_activation": False},
    "pooler": {"num_feedforward_networks": 3},
    "layer_norm": {"normalization_type": "layer_norm", "num_feedforward_networks": 1, "key_query_shared_bottleneck": False},
    "tiny": {"num_feedforward_networks": 2, "use_bottleneck_attention": True, "key_query_shared_bottleneck": False},
}
# our keys -> the Garden's, where they differ
KEYS = {
    "vocab_size": "word_vocab_size",
    "embedding_size": "word_embed_size",
    "max_position_embeddings": "max_sequence_length",
    "num_hidden_layers": "num_blocks",
    "hidden_act": "intermediate_act_fn",
}
TAKEN = (*SIZES, "type_vocab_size", "hidden_act", "use_bottleneck_attention", "key_query_shared_bottleneck")
TAKEN += ("num_feedforward_networks", "normalization_type", "classifier_activation")
TOLERANCE = 1e-5  # relative L2, float32


def make_encoder(config: MobileBertConfig) -> Any:
    tf_keras.utils.set_random_seed(0)
    values = config.to_dict()
    arguments = {KEYS.get(key, key): values[key] for key in TAKEN}
    return networks.MobileBERTEncoder(**arguments, initializer_range=0.2, hidden_dropout_prob=0.0)


def make_pretrainer(encoder: Any) -> Any:
    head = layers.MobileBertMaskedLM(embedding_table=encoder.get_embedding_table(), activation="relu", name="cls/predictions")
    sentence = layers.ClassificationHead(inner_dim=32, num_classes=2, name="next_sentence")
    model = models.BertPretrainerV2(encoder_network=encoder, customized_masked_lm=head, classification_heads=[sentence])
    model(model.inputs)
    return model


def objects(kind: str, encoder: Any) -> dict[str, Any]:
    """What the Garden's code hands to tf.train.Checkpoint: its converter, its trainer, and others."""
    if kind == "encoder":
        return {"encoder": encoder}
    model = make_pretrainer(encoder)
    if kind == "model":
        return {"model": model}
    optimizer = tf_keras.optimizers.legacy.Adam()
    optimizer._create_all_weights(model.trainable_variables)
    counter = tf.Variable(3, dtype=tf.int64)
    return model.checkpoint_items if kind == "items" else {
        "model": model, "optimizer": optimizer, "global_step": counter, **model.checkpoint_items
    }  # fmt: skip


def inputs(config: MobileBertConfig) -> tuple[np.ndarray, ...]:
    generator = np.random.default_rng(0)
    ids = generator.integers(0, config.vocab_size, (3, 7)).astype(np.int32)
    mask = np.ones((3, 7), np.int32)
    mask[1, 4:] = 0
    return ids, mask, generator.integers(0, 2, (3, 7)).astype(np.int32)


@pytest.mark.parametrize("kind", ["encoder", "items", "model", "trainer"])
@pytest.mark.parametrize("variant", VARIANTS)
def test_it_computes_what_the_garden_computes(variant: str, kind: str, tmp_path: Path) -> None:
    config = MobileBertConfig(**SIZES, **VARIANTS[variant])
    encoder = make_encoder(config)
    prefix = tf.train.Checkpoint(**objects(kind, encoder)).save(str(tmp_path / "garden" / "ckpt"))
    config.save_pretrained(tmp_path / "garden")
    done = convert(prefix, tmp_path / "ours", head="MobileBertModel")
    assert done.dialect == "garden"
    ids, mask, types = inputs(config)
    theirs = encoder([tf.constant(ids), tf.constant(mask), tf.constant(types)], training=False)
    ours = TFMobileBertModel.from_pretrained(tmp_path / "ours")(ids, attention_mask=mask, token_type_ids=types)
    for reference, other in (
        (theirs["sequence_output"], ours.last_hidden_state),
        (theirs["pooled_output"], ours.pooler_output),
    ):
        apart = np.linalg.norm(np.array(reference) - np.array(other)) / np.linalg.norm(np.array(reference))
        assert apart <= TOLERANCE


def test_the_masked_lm_head(tmp_path: Path) -> None:
    config = MobileBertConfig(**SIZES, **VARIANTS["mobilebert"])
    model = make_pretrainer(make_encoder(config))
    for variable in model.masked_lm.trainable_variables:
        variable.assign(np.random.default_rng(len(variable.name)).normal(size=variable.shape))
    prefix = tf.train.Checkpoint(**model.checkpoint_items).save(str(tmp_path / "garden" / "ckpt"))
    config.save_pretrained(tmp_path / "garden")
    done = convert(prefix, tmp_path / "ours")
    assert (done.head, done.ignored) == ("MobileBertForMaskedLM", ())
    weights = checkpoint.load(tmp_path / "ours", done.head).tensors
    assert weights.keys() == expand(config, done.head).keys()
    head = model.masked_lm
    np.testing.assert_array_equal(weights["cls.predictions.dense.weight"], head.extra_output_weights.numpy().T)
    np.testing.assert_array_equal(weights["cls.predictions.bias"], head.bias.numpy())
    np.testing.assert_array_equal(weights["cls.predictions.transform.dense.weight"], head.dense.kernel.numpy().T)
    np.testing.assert_array_equal(weights["cls.predictions.transform.LayerNorm.bias"], head.layer_norm.beta.numpy())


def test_a_saved_model(tmp_path: Path) -> None:
    config = MobileBertConfig(**SIZES)
    make_encoder(config).save(str(tmp_path / "saved"))
    config.save_pretrained(tmp_path / "saved" / "variables")
    done = convert(tmp_path / "saved" / "variables", tmp_path / "ours")
    assert (done.dialect, done.head, done.ignored) == ("garden", "MobileBertModel", ())


def test_a_second_encoder_of_a_process(tmp_path: Path) -> None:
    """Keras numbers the names of its layers through."""
    config = MobileBertConfig(**SIZES)
    encoder = [make_encoder(config) for _ in range(2)][1]
    prefix = tf.train.Checkpoint(model=encoder).save(str(tmp_path / "garden" / "ckpt"))
    config.save_pretrained(tmp_path / "garden")
    assert convert(prefix, tmp_path / "ours").tensors == len(expand(config, "MobileBertModel"))
