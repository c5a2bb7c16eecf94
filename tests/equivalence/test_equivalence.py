"""design: same weights, same inputs -> the same outputs, loss, gradients and optimizer steps, in float64 to 1e-12."""

import hashlib
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
import torch

import mobilebert_pt.twin
import mobilebert_tf.twin
from mobilebert_common.checkpoints import checkpoint
from mobilebert_common.model.architectures import ARCHITECTURES
from mobilebert_common.model.layout import from_layout
from mobilebert_common.model.schema import expand
from support.configs import CHOICES, CLASSIFIER, CONFIGS, TEACHER, make_config, random_weights
from support.twins import LENGTH, Pair, apart, distance, gradients_apart, keras_loss, make_inputs, torch_loss, wave

TOLERANCE = 1e-12
PRE_TRAINING, MASKED_LM, NEXT_SENTENCE, TOKENS, ANSWERS = (
    f"MobileBertFor{name}"
    for name in ("PreTraining", "MaskedLM", "NextSentencePrediction", "TokenClassification", "QuestionAnswering")
)
LABEL_NAMES = {"labels", "next_sentence_label", "start_positions", "end_positions"}
POSITIONS = np.array([[1, 3], [0, 6], [2, 2]])
EMBEDS = np.random.default_rng(2).normal(size=(3, LENGTH, 8))
CAUSAL = np.tril(np.ones((3, LENGTH, LENGTH), np.int64))
ALL_MASKED = np.concatenate([np.zeros((1, LENGTH), np.int64), np.ones((2, LENGTH), np.int64)])

# name -> changes to the usual inputs; None leaves one out
INPUTS: dict[str, dict[str, Any]] = {
    "ids only": {"attention_mask": None, "token_type_ids": None, "head_mask": None},
    "no labels": {"labels": None},
    "no mask": {"attention_mask": None},
    "3-D mask": {"attention_mask": CAUSAL},
    "a wholly masked row": {"attention_mask": ALL_MASKED},
    "mask of booleans": {"attention_mask": CAUSAL[0, :3].astype(bool)},
    "positions": {"position_ids": np.arange(LENGTH)[None, ::-1].copy()},
    "positions per row": {"position_ids": np.arange(3 * LENGTH).reshape(3, LENGTH) % 12},
    "embeddings": {"input_ids": None, "inputs_embeds": EMBEDS},
    "one head mask for all layers": {"head_mask": np.array([1.0, 0.0, 0.5, 1.0])},
    "all labels ignored": {"labels": np.full(3, -100)},
    "int32": {"input_ids": np.ones((3, LENGTH), np.int32)},
}


# which configurations change what a head computes: its activation, its pooler, the width the embedding leaves
HEAD_CONFIGS = {
    "mobilebert": CONFIGS["mobilebert"],
    "tiny": CONFIGS["tiny"],
    "teacher": TEACHER,
    "mini": CONFIGS["mini"],
    "no trigram, e = h": CONFIGS["no trigram, e = h"],
    "untied": {"tie_word_embeddings": False},
    "silu": {"hidden_act": "silu"},
}
# for what hangs on the head alone: one network, since most of the time goes into single operations of Keras
ONE_LAYER = {"num_hidden_layers": 1, "num_feedforward_networks": 1}


@pytest.mark.parametrize("head", ARCHITECTURES)
@pytest.mark.parametrize("name", HEAD_CONFIGS)
def test_every_head(tmp_path: Path, name: str, head: str) -> None:
    config = make_config(**{**ONE_LAYER, **HEAD_CONFIGS[name]})
    pair, inputs = Pair.open(tmp_path, config, head), make_inputs(config, head)
    ours, theirs = pair.outputs(inputs)
    assert not apart(ours, theirs, TOLERANCE)
    assert not gradients_apart(*pair.gradients(inputs), TOLERANCE)


@pytest.mark.parametrize("name", CONFIGS)
def test_outputs_and_gradients(tmp_path: Path, name: str) -> None:
    config = make_config(**CONFIGS[name])
    pair, inputs = Pair.open(tmp_path, config), make_inputs(config)
    ours, theirs = pair.outputs(inputs)
    assert not apart(ours, theirs, TOLERANCE)
    assert not gradients_apart(*pair.gradients(inputs), TOLERANCE)
    assert ours["attentions.0"][0, :, 0].std(axis=-1).max() > 1e-3  # attention that is uniform would prove nothing


@pytest.mark.parametrize("name", INPUTS)
def test_inputs(tmp_path: Path, name: str) -> None:
    config = make_config()
    pair, inputs = Pair.open(tmp_path, config), make_inputs(config, **INPUTS[name])
    ours, theirs = pair.outputs(inputs)
    assert not apart(ours, theirs, TOLERANCE)
    assert all(np.isfinite(value).all() for value in ours.values())
    if "labels" in inputs:
        assert not gradients_apart(*pair.gradients(inputs), TOLERANCE)
    if name == "all labels ignored":
        assert ours["loss"] == 0.0


@pytest.mark.parametrize("length", [1, 2, 12])
def test_lengths(tmp_path: Path, length: int) -> None:
    config = make_config()
    pair, inputs = Pair.open(tmp_path, config), make_inputs(config, length=length)
    assert not apart(*pair.outputs(inputs), TOLERANCE)
    assert not gradients_apart(*pair.gradients(inputs), TOLERANCE)


# what only some heads take
HEAD_INPUTS: dict[str, tuple[str, dict[str, Any]]] = {
    "positions to score": (MASKED_LM, {"masked_lm_positions": POSITIONS, "labels": POSITIONS + 3}),
    "positions in pre-training": (PRE_TRAINING, {"masked_lm_positions": POSITIONS, "labels": POSITIONS + 3}),
    "only words": (PRE_TRAINING, {"next_sentence_label": None}),
    "only the relation": (PRE_TRAINING, {"labels": None}),
    "no labels in pre-training": (PRE_TRAINING, {"labels": None, "next_sentence_label": None}),
    "the relation's other name": (NEXT_SENTENCE, {"labels": None, "next_sentence_label": np.array([1, 0, 1])}),
    "no masked words": (MASKED_LM, {"labels": np.full((3, LENGTH), -100)}),
    "no tags": (TOKENS, {"labels": np.full((3, LENGTH), -100)}),
    "answers outside the sequence": (ANSWERS, {"start_positions": np.array([7, -1, 99]), "end_positions": np.array([1, 6, 7])}),
    "no answer inside": (ANSWERS, {"start_positions": np.array([7, -1, 99]), "end_positions": np.array([9, 9, 9])}),
    "choices as embeddings": (CHOICES, {"input_ids": None, "inputs_embeds": np.stack([EMBEDS, -EMBEDS], axis=1)}),
    "choices without masks": (CHOICES, {"attention_mask": None, "token_type_ids": None, "head_mask": None}),
    "labels of [b 1]": (CHOICES, {"labels": np.array([[1], [0], [-100]])}),
}


@pytest.mark.parametrize("name", HEAD_INPUTS)
def test_inputs_of_heads(tmp_path: Path, name: str) -> None:
    head, changes = HEAD_INPUTS[name]
    config = make_config()
    pair, inputs = Pair.open(tmp_path, config, head), make_inputs(config, head, **changes)
    ours, theirs = pair.outputs(inputs)
    assert not apart(ours, theirs, TOLERANCE)
    assert all(np.isfinite(value).all() for value in ours.values())
    assert ("loss" in ours) == bool(set(inputs) & LABEL_NAMES)
    if name in ("no masked words", "no tags", "no answer inside"):
        assert ours["loss"] == 0.0
    else:
        assert not gradients_apart(*pair.gradients(inputs), TOLERANCE)


def test_positions_give_the_scores_of_those_tokens(tmp_path: Path) -> None:
    config = make_config()
    pair, inputs = Pair.open(tmp_path, config, MASKED_LM), make_inputs(config, MASKED_LM, labels=None)
    everywhere, _ = pair.outputs(inputs)
    asked, _ = pair.outputs({**inputs, "masked_lm_positions": POSITIONS})
    for row, places in enumerate(POSITIONS):
        assert distance(everywhere["logits"][row, places], asked["logits"][row]) <= TOLERANCE


@pytest.mark.parametrize("head", [MASKED_LM, PRE_TRAINING])
@pytest.mark.parametrize("tied", [True, False])
def test_resizing_the_vocabulary_resizes_the_head(tmp_path: Path, head: str, tied: bool) -> None:
    config = make_config(tie_word_embeddings=tied)
    pair, inputs = Pair.open(tmp_path / "0", config, head), make_inputs(config, head)
    before, _ = pair.outputs(inputs)
    scores = next(name for name in before if name in ("logits", "prediction_logits"))
    for model, folder in ((pair.torch_model, "pt"), (pair.keras_model, "keras")):
        model.resize_token_embeddings(41, pad_to_multiple_of=8)
        model.save_pretrained(tmp_path / folder)
    for folder in ("pt", "keras"):
        models = [door.load(tmp_path / folder, head, "float64") for door in (mobilebert_pt.twin, mobilebert_tf.twin)]
        again = Pair(models[0].config, head, *models)
        ours, theirs = again.outputs(inputs)
        assert not apart(ours, theirs, TOLERANCE)
        assert ours[scores].shape == (3, LENGTH, 48)
        assert distance(before[scores], ours[scores][..., :40]) <= TOLERANCE
        assert not gradients_apart(*again.gradients({**inputs, "labels": np.full((3, LENGTH), 45)}), TOLERANCE)


def test_both_attention_paths_of_pytorch_agree(tmp_path: Path) -> None:
    config = make_config()
    model, inputs = Pair.open(tmp_path, config).torch_model, make_inputs(config)
    explicit = mobilebert_pt.twin.outputs(model, inputs, output_attentions=True)
    fused = mobilebert_pt.twin.outputs(model, inputs)
    assert distance(explicit["logits"], fused["logits"]) <= TOLERANCE


@pytest.mark.parametrize(
    ("name", "head"),
    [
        *((name, CLASSIFIER) for name in ("mobilebert", "tiny", "teacher", "no bottleneck")),
        *((name, CLASSIFIER) for name in ("no trigram, e = h", "both bottleneck flags", "1 FFN")),
        *(("1 layer, 1 head", head) for head in ARCHITECTURES),
        ("untied", MASKED_LM),
    ],
)
def test_a_change_of_1e_6_in_any_tensor_is_seen(tmp_path: Path, name: str, head: str) -> None:
    """The check above can fail: for every tensor that the model uses."""
    config = make_config(**{**CONFIGS, **HEAD_CONFIGS}[name])
    pair, inputs = Pair.open(tmp_path, config, head), make_inputs(config, head)
    _, reference = pair.outputs(inputs)
    unseen = []
    for canonical, parameter in pair.torch_model.named_parameters():
        kept = parameter.detach().clone()
        with torch.no_grad():
            parameter.add_(
                torch.tensor(1e-6 * wave(parameter.shape))
            )  # a constant would be invisible behind a LayerNorm
            changed = mobilebert_pt.twin.outputs(
                pair.torch_model, inputs, output_hidden_states=True, output_attentions=True
            )
            parameter.copy_(kept)
        if not apart(changed, reference, TOLERANCE):
            unseen.append(canonical)
    assert set(unseen) == {canonical for canonical in expand(config, head) if exempt(canonical, {**CONFIGS, **HEAD_CONFIGS}[name])}


def exempt(canonical: str, config: dict[str, Any]) -> bool:
    """A key bias shifts all scores of a query alike; the others are created and not used."""
    unused_bottleneck = config.get("use_bottleneck_attention") and "bottleneck.attention." in canonical
    unused_transformation = name_is_plain(config) and "embedding_transformation" in canonical
    return canonical.endswith("self.key.bias") or bool(unused_bottleneck) or unused_transformation


def name_is_plain(config: dict[str, Any]) -> bool:
    return config.get("trigram_input") is False and config.get("embedding_size") == 32


@pytest.mark.parametrize("name", ["mobilebert", "tiny", "teacher", "mini"])
def test_five_steps_of_sgd_end_in_the_same_weights(tmp_path: Path, name: str) -> None:
    config = make_config(**CONFIGS[name])
    pair = Pair.open(tmp_path, config)
    rate, momentum = 2.0**-6, 0.5  # exact in float32, which Keras keeps the rate in
    torch_optimizer = torch.optim.SGD(pair.torch_model.parameters(), lr=rate, momentum=momentum)
    keras_optimizer = keras.optimizers.SGD(rate, momentum=momentum)
    variables = pair.keras_model.canonical_variables()
    before = {canonical: value.detach().numpy().copy() for canonical, value in pair.torch_model.named_parameters()}
    for step in range(5):
        inputs = make_inputs(config, seed=step)
        torch_optimizer.zero_grad()
        torch_loss(pair.torch_model(**{key: torch.tensor(value) for key, value in inputs.items()})).backward()
        torch_optimizer.step()
        with tf.GradientTape() as tape:
            loss = keras_loss(pair.keras_model({key: tf.constant(value) for key, value in inputs.items()}))
        trained = pair.keras_model.trainable_variables
        gradients = tape.gradient(loss, [variable.value for variable in trained])
        used = [
            (gradient, variable) for gradient, variable in zip(gradients, trained, strict=True) if gradient is not None
        ]
        keras_optimizer.apply(*zip(*used, strict=True)) if step == 0 else keras_optimizer.apply(
            [gradient for gradient, _ in used]
        )
    ours = {canonical: value.detach().numpy() for canonical, value in pair.torch_model.named_parameters()}
    theirs = {
        canonical: from_layout(keras.ops.convert_to_numpy(variables[canonical][0]), variables[canonical][1])
        for canonical in ours
    }
    assert not apart(ours, theirs, TOLERANCE)
    moved = {canonical for canonical in ours if distance(before[canonical], ours[canonical]) > 1e-9}
    assert moved == {canonical for canonical in ours if not exempt(canonical, CONFIGS[name])}


@pytest.mark.parametrize("name", ["mobilebert", "tiny", "teacher", "mini", "no bottleneck"])
def test_float32_stays_near_float64(tmp_path: Path, name: str) -> None:
    config = make_config(**CONFIGS[name])
    exact, rounded, inputs = (
        Pair.open(tmp_path, config),
        Pair.open(tmp_path, config, dtype="float32"),
        make_inputs(config),
    )
    reference, _ = exact.outputs(inputs)
    for outputs in rounded.outputs(inputs):
        assert not apart(reference, outputs, 1e-4)
        assert distance(reference["loss"], outputs["loss"]) <= 1e-5


@pytest.mark.parametrize("head", ARCHITECTURES)
@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_half_precision_is_finite_and_near(tmp_path: Path, dtype: str, head: str) -> None:
    config = make_config(**(ONE_LAYER if head != CLASSIFIER else {}))
    inputs = make_inputs(config, head)
    inputs["attention_mask"] = inputs["attention_mask"].copy()
    inputs["attention_mask"][0] = 0  # a row that hides everything
    reference, _ = Pair.open(tmp_path, config, head).outputs(inputs)
    for outputs in Pair.open(tmp_path, config, head, dtype=dtype).outputs(inputs):
        assert not apart(reference, outputs, 0.1)


@pytest.mark.parametrize("head", ARCHITECTURES)
def test_one_token(tmp_path: Path, head: str) -> None:
    config = make_config(**ONE_LAYER)
    pair, inputs = Pair.open(tmp_path, config, head), make_inputs(config, head, length=1)
    ours, theirs = pair.outputs(inputs)
    assert not apart(ours, theirs, TOLERANCE)
    assert all(np.isfinite(value).all() for value in ours.values())


@pytest.mark.parametrize(
    ("name", "head", "dtype"),
    [
        *((name, CLASSIFIER, "float32") for name in CONFIGS),
        *((name, head, "float32") for name in HEAD_CONFIGS for head in ARCHITECTURES if head != CLASSIFIER),
        *((name, CLASSIFIER, dtype) for name in ("mobilebert", "teacher") for dtype in ("float64", "bfloat16")),
    ],
)
def test_weights_survive_both_twins_bit_by_bit(tmp_path: Path, name: str, head: str, dtype: str) -> None:
    config = make_config(**{**(ONE_LAYER if head != CLASSIFIER else {}), **{**CONFIGS, **HEAD_CONFIGS}[name]})
    checkpoint.save(tmp_path / "0", config, head, random_weights(config, head))
    mobilebert_pt.twin.load(tmp_path / "0", head, dtype).save_pretrained(tmp_path / "pt")
    mobilebert_tf.twin.load(tmp_path / "pt", head, dtype).save_pretrained(tmp_path / "keras")
    mobilebert_pt.twin.load(tmp_path / "keras", head, dtype).save_pretrained(tmp_path / "again")
    digests = {
        hashlib.sha256((tmp_path / place / "model.safetensors").read_bytes()).hexdigest()
        for place in ("pt", "keras", "again")
    }
    assert len(digests) == 1


@pytest.mark.parametrize("head", ARCHITECTURES)
def test_parameters_are_counted_alike(tmp_path: Path, head: str) -> None:
    config = make_config()
    pair = Pair.open(tmp_path, config, head)
    total = sum(int(np.prod(tensor.shape)) for tensor in expand(config, head).values())
    for model in (pair.torch_model, pair.keras_model):
        tables = model.num_parameters() - model.num_parameters(exclude_embeddings=True)
        assert (model.num_parameters(), tables) == (total, 40 * 8 + 12 * 32 + 2 * 32)
        assert model.num_parameters(only_trainable=True) == total
    for parameter in pair.torch_model.mobilebert.encoder.parameters() if head != "MobileBertModel" else ():
        parameter.requires_grad_(False)
    if head != "MobileBertModel":
        pair.keras_model.mobilebert.encoder.trainable = False
    counts = [model.num_parameters(only_trainable=True) for model in (pair.torch_model, pair.keras_model)]
    assert counts[0] == counts[1] and (counts[0] < total or head == "MobileBertModel")
