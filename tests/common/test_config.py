import copy
import json
import pickle
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mobilebert_common.errors import CheckpointError, ConfigError
from mobilebert_common.model.config import CONFIG_FILE, MobileBertConfig
from mobilebert_common.model.zoo import ZOO

DEFAULTS: dict[str, Any] = {
    "model_type": "mobilebert",
    "vocab_size": 30522,
    "hidden_size": 512,
    "num_hidden_layers": 24,
    "num_attention_heads": 4,
    "intermediate_size": 512,
    "hidden_act": "relu",
    "hidden_dropout_prob": 0.0,
    "attention_probs_dropout_prob": 0.1,
    "max_position_embeddings": 512,
    "type_vocab_size": 2,
    "initializer_range": 0.02,
    "layer_norm_eps": 1e-12,
    "pad_token_id": 0,
    "embedding_size": 128,
    "trigram_input": True,
    "use_bottleneck": True,
    "intra_bottleneck_size": 128,
    "use_bottleneck_attention": False,
    "key_query_shared_bottleneck": True,
    "num_feedforward_networks": 4,
    "normalization_type": "no_norm",
    "classifier_activation": True,
    "classifier_dropout": None,
    "tie_word_embeddings": True,
    "problem_type": None,
    "id2label": {0: "LABEL_0", 1: "LABEL_1"},
    "label2id": {"LABEL_0": 0, "LABEL_1": 1},
    "output_attentions": False,
    "output_hidden_states": False,
    "return_dict": True,
    "architectures": None,
    "dtype": None,
    "true_hidden_size": 128,
}
HUGE = 10**30
NO_INTEGER = (True, 2.0, "2", None, [2], float("nan"), HUGE, 10**5000)
NO_NUMBER = (True, "0.1", None, float("nan"), float("inf"), -0.1, HUGE)
NO_FLAG = (1, 0, "true", None, 1.0)
NO_NAME = ("", "RELU", "quick_gelu", 1, None, True)

# key -> the smallest and the largest value that are accepted, then what is refused; the sizes around them fit each other
RANGES: dict[str, tuple[list[Any], tuple[Any, ...]]] = {
    "vocab_size": ([1, 1 << 22], (0, -1, (1 << 22) + 1, *NO_INTEGER)),
    "hidden_size": ([128, 16_384], (0, -4, 16_385, *NO_INTEGER)),
    "num_hidden_layers": ([1, 128], (0, -1, 129, *NO_INTEGER)),
    "num_attention_heads": ([1, 128], (0, -1, 257, *NO_INTEGER)),
    "intermediate_size": ([1, 65_536], (0, -1, 65_537, *NO_INTEGER)),
    "hidden_act": (["relu", "relu6", "gelu", "gelu_new", "gelu_pytorch_tanh", "silu", "tanh"], NO_NAME),
    "hidden_dropout_prob": ([0, 0.0, 0.999], (1, 1.0, *NO_NUMBER)),
    "attention_probs_dropout_prob": ([0.0, 0.999], (1.0, *NO_NUMBER)),
    "max_position_embeddings": ([1, 1 << 17], (0, -1, (1 << 17) + 1, *NO_INTEGER)),
    "type_vocab_size": ([1, 1024], (0, -1, 1025, *NO_INTEGER)),
    "initializer_range": ([1e-9, 1.0], (0.0, 1.1, *NO_NUMBER)),
    "layer_norm_eps": ([1e-12, 1.0], (0.0, 1.1, *NO_NUMBER)),
    "pad_token_id": ([0, 30521], (-1, 30522, *NO_INTEGER)),
    "embedding_size": ([1, 512], (0, -1, 513, *NO_INTEGER)),
    "trigram_input": ([True, False], NO_FLAG),
    "use_bottleneck": ([True, False], NO_FLAG),
    "intra_bottleneck_size": ([4, 16_384], (0, -4, 16_388, *NO_INTEGER)),
    "use_bottleneck_attention": ([True, False], NO_FLAG),
    "key_query_shared_bottleneck": ([True, False], NO_FLAG),
    "num_feedforward_networks": ([1, 16], (0, -1, 17, *NO_INTEGER)),
    "normalization_type": (["no_norm", "layer_norm"], NO_NAME),
    "classifier_activation": ([True, False], NO_FLAG),
    "classifier_dropout": ([None, 0.0, 0.999], (1.0, True, "0.1", float("nan"), -0.1, HUGE)),
    "tie_word_embeddings": ([True, False], NO_FLAG),
    "problem_type": (
        [None, "regression", "single_label_classification", "multi_label_classification"],
        ("", "ranking", 1, True),
    ),
    "output_attentions": ([True, False], NO_FLAG),
    "output_hidden_states": ([True, False], NO_FLAG),
    "return_dict": ([True, False], NO_FLAG),
    "architectures": ([None, [], ["MobileBertModel"]], ("MobileBertModel", 1, [1])),
    "dtype": ([None, "float32"], (1, True, ["float32"])),
    "model_type": (["mobilebert"], ("bert", "", None, 1)),
    "num_labels": ([1, 2, 10_000], (0, -1, 10_001, True, 2.0, "2", [2], HUGE, 10**5000)),
}

BAD_LABELS: list[dict[str, Any]] = [
    {"id2label": {}},
    {"id2label": []},
    {"id2label": "ab"},
    {"id2label": {0: "a", 1.7: "b"}},
    {"id2label": {0: "a", True: "b"}},
    {"id2label": {0: "a", "one": "b"}},
    {"id2label": {"0": "a", "00": "b"}},
    {"id2label": {"zero": "a"}},
    {"id2label": {index: f"{index}" for index in range(10_001)}},
    {"id2label": {"9" * 5000: "a"}},
    {"id2label": {"0": ["a"]}},
    {"id2label": {"0": None, "1": "a"}},
    {"num_labels": 0, "label2id": {"a": 0}},
]
# an error in a call; in a file, id2label or else the number of labels decides: {values: names}
CONTRADICTIONS: list[tuple[dict[str, Any], list[str]]] = [
    ({"label2id": {}}, ["LABEL_0", "LABEL_1"]),
    ({"label2id": {"a": [0]}}, ["LABEL_0", "LABEL_1"]),
    ({"label2id": {"a": 0, "b": True}}, ["LABEL_0", "LABEL_1"]),
    ({"label2id": {"a": 0, "b": 0}}, ["LABEL_0", "LABEL_1"]),
    ({"label2id": {"a": 0.0}}, ["LABEL_0", "LABEL_1"]),
    ({"num_labels": 3, "id2label": {0: "a", 1: "b"}}, ["a", "b"]),
    ({"num_labels": "3", "id2label": {0: "a"}}, ["a"]),
    ({"num_labels": 3, "label2id": {"a": 0, "b": 1}}, ["LABEL_0", "LABEL_1", "LABEL_2"]),
]
# maps that transformers writes, the names they give, and what is lost
LOSSES: list[tuple[dict[str, Any], list[str], str]] = [
    ({"id2label": {1: "a", 2: "b"}}, ["a", "b"], r"id2label numbers its labels \[1, 2\]"),
    ({"id2label": {2: "b", 0: "a"}}, ["a", "b"], r"id2label numbers its labels \[0, 2\]"),
    ({"id2label": {-1: "bad", 0: "so", 1: "good"}}, ["bad", "so", "good"], r"id2label numbers its labels \[-1, 0, 1\]"),
    ({"id2label": {1: "a", 2: "b"}, "label2id": {"a": 1, "b": 2}}, ["a", "b"], r"id2label numbers its labels \[1, 2\]"),
    ({"id2label": {0: 3, 1: 5}}, ["3", "5"], "id2label has names that are numbers"),
    ({"id2label": {0: False, 1: 0.5}}, ["False", "0.5"], "id2label has names that are numbers"),
    ({"id2label": {0: 3, 1: 5}, "label2id": {3: 0, 5: 1}}, ["3", "5"], "id2label has names that are numbers"),
    ({"id2label": {0: "a", 1: "a"}}, ["a", "a"], "id2label has one name for several labels"),
    ({"id2label": {0: "a", 1: "a"}, "label2id": {"a": 0}}, ["a", "a"], "id2label has one name for several labels"),
    ({"id2label": {0: "a", 1: "b"}, "label2id": {"a": 1, "b": 0}}, ["a", "b"], "label2id .* is dropped"),
    ({"id2label": {0: "a", 1: "b"}, "label2id": {"a": 0}}, ["a", "b"], "label2id .* is dropped"),
    ({"id2label": {0: "a", 1: "b"}, "label2id": {"a": 0, "b": 1, "c": 2}}, ["a", "b"], "label2id .* is dropped"),
    ({"id2label": {0: "a", 1: "b"}, "label2id": "ab"}, ["a", "b"], "label2id .* is dropped"),
    ({"id2label": {0: "LABEL_0", 1: "LABEL_1"}, "label2id": {"no": 0, "yes": 1}}, ["LABEL_0", "LABEL_1"], "label2id .* is dropped"),
]
# maps of which one says nothing
STALE: list[tuple[dict[str, Any], list[str]]] = [
    ({"id2label": {0: "a", 1: "b"}, "label2id": None}, ["a", "b"]),
    ({"id2label": {0: "a", 1: "b"}, "label2id": {}}, ["a", "b"]),
    ({"id2label": {0: "a", 1: "b", 2: "c"}, "label2id": {"LABEL_0": 0, "LABEL_1": 1}}, ["a", "b", "c"]),
    ({"id2label": {0: "a", 1: "b"}, "label2id": {"LABEL_0": 0, "LABEL_1": 1}}, ["a", "b"]),
    ({"id2label": {0: "a", 1: "b"}, "label2id": {"a": "0", "b": "1"}}, ["a", "b"]),
    ({"id2label": None, "label2id": {"a": 0, "b": 1}}, ["a", "b"]),
    ({"label2id": {"a": 0, "b": 1}}, ["a", "b"]),
    ({"label2id": {"a": 0, "b": 1, "c": 2}, "num_labels": 3}, ["a", "b", "c"]),
    ({"id2label": None, "label2id": None, "num_labels": 3}, ["LABEL_0", "LABEL_1", "LABEL_2"]),
]

# what contradicts, and what the error says
CONFLICTS: list[tuple[dict[str, Any], str]] = [
    ({"num_attention_heads": 3}, "num_attention_heads 3 does not divide the width 128"),
    ({"num_attention_heads": 3, "use_bottleneck": False}, "does not divide the width 512"),
    ({"intra_bottleneck_size": 126}, "does not divide the width 126"),
    ({"vocab_size": 8, "pad_token_id": 8}, "pad_token_id 8 is outside vocab_size 8"),
    ({"embedding_size": 600}, "embedding_size 600 is larger than hidden_size 512"),
]


def write_config(folder: Path, text: str | bytes) -> Path:
    (folder / CONFIG_FILE).write_bytes(text.encode() if isinstance(text, str) else text)
    return folder


def test_defaults() -> None:
    assert MobileBertConfig().to_dict() == DEFAULTS
    assert MobileBertConfig().num_labels == 2
    assert MobileBertConfig().use_return_dict is True


def test_the_ranges_cover_every_key() -> None:
    assert set(RANGES) == {*MobileBertConfig.model_fields, "num_labels", "model_type"} - {"id2label", "label2id"}


@pytest.mark.parametrize("key", RANGES)
def test_range(key: str) -> None:
    accepted, refused = RANGES[key]
    for value in accepted:
        assert getattr(MobileBertConfig(**{key: value}), key) == value
    for value in refused:
        with pytest.raises(ConfigError):
            MobileBertConfig(**{key: value})
        with pytest.raises(ConfigError):
            setattr(MobileBertConfig(), key, value)


@pytest.mark.parametrize(("values", "message"), CONFLICTS)
def test_conflict(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        MobileBertConfig(**values)


def test_one_error_names_everything_wrong() -> None:
    with pytest.raises(ConfigError) as error:
        MobileBertConfig(hidden_size=0, hidden_act="mish", trigram_input="yes")
    assert all(key in str(error.value) for key in ("hidden_size", "hidden_act", "trigram_input"))
    with pytest.raises(ConfigError) as error:
        MobileBertConfig(num_attention_heads=3, pad_token_id=40_000)
    assert all(key in str(error.value) for key in ("num_attention_heads", "pad_token_id"))


@pytest.mark.parametrize(("bottleneck", "width"), [(True, 128), (False, 512)])
def test_true_hidden_size_is_derived(bottleneck: bool, width: int) -> None:
    config = MobileBertConfig(use_bottleneck=bottleneck, true_hidden_size=7)
    assert config.true_hidden_size == config.to_dict()["true_hidden_size"] == width
    assert "use_return_dict" not in MobileBertConfig(use_return_dict=False).to_dict()
    with pytest.raises(AttributeError, match="true_hidden_size"):
        config.true_hidden_size = 7


@pytest.mark.parametrize(
    ("values", "names"),
    [
        ({"num_labels": 1}, ["LABEL_0"]),
        ({"num_labels": 3}, ["LABEL_0", "LABEL_1", "LABEL_2"]),
        ({"id2label": {0: "a", 1: "b", 2: "c"}}, ["a", "b", "c"]),
        ({"id2label": {"1": "b", "0": "a"}}, ["a", "b"]),
        ({"id2label": {0: "a"}, "num_labels": 1}, ["a"]),
        ({"label2id": {"b": 1, "a": 0}}, ["a", "b"]),
        ({"label2id": {"a": "0", "b": "1"}}, ["a", "b"]),
        ({"label2id": {"a": 0}, "num_labels": 1}, ["a"]),
        ({"id2label": {0: "a", 1: "b"}, "label2id": {"b": 1, "a": 0}}, ["a", "b"]),
        ({"id2label": {0: "a"}, "label2id": None}, ["a"]),
    ],
)
def test_labels(values: dict[str, Any], names: list[str]) -> None:
    for config in (MobileBertConfig(**values), MobileBertConfig(num_labels=5).replace(**values)):
        assert config.num_labels == len(names)
        assert config.id2label == dict(enumerate(names))
        assert config.label2id == {name: index for index, name in enumerate(names)}


@pytest.mark.parametrize("values", BAD_LABELS)
def test_bad_labels(values: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(ConfigError):
        MobileBertConfig(**values)
    with pytest.raises(CheckpointError, match=r"config\.json"):
        MobileBertConfig.from_pretrained(write_config(tmp_path, json.dumps(values)))


@pytest.mark.parametrize(("values", "names"), CONTRADICTIONS)
def test_label_maps_that_contradict_the_number_of_labels(
    values: dict[str, Any], names: list[str], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(ConfigError):
        MobileBertConfig(**values)
    config = MobileBertConfig.from_pretrained(write_config(tmp_path, json.dumps(values)))
    assert config.id2label == dict(enumerate(names))
    assert f"{tmp_path / CONFIG_FILE}: " in caplog.text and "is dropped" in caplog.text


@pytest.mark.parametrize(("values", "names", "lost"), LOSSES)
def test_id2label_decides(values: dict[str, Any], names: list[str], lost: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """transformers opens all of these; what we keep of them can be saved and opened again without another word."""
    write_config(tmp_path, json.dumps(values))
    for build, source in (
        (lambda: MobileBertConfig.from_pretrained(tmp_path), str(tmp_path / CONFIG_FILE)),
        (lambda: MobileBertConfig(**values), "the configuration"),
        (lambda: MobileBertConfig().replace(**values), "the configuration"),
    ):
        caplog.clear()
        config = build()
        assert config.id2label == dict(enumerate(names)) and config.num_labels == len(names)
        assert config.label2id == {name: index for index, name in enumerate(names)}
        assert re.search(f"{re.escape(source)}: {lost}", caplog.text)
        caplog.clear()
        config.hidden_size = 256
        config.save_pretrained(tmp_path / "again")
        again = MobileBertConfig.from_pretrained(tmp_path / "again")
        assert again == config and (not caplog.text or len(set(names)) < len(names))


@pytest.mark.parametrize(("values", "names"), STALE)
def test_a_label_map_that_says_nothing(
    values: dict[str, Any], names: list[str], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for config in (MobileBertConfig(**values), MobileBertConfig.from_pretrained(write_config(tmp_path, json.dumps(values)))):
        assert config.id2label == dict(enumerate(names))
        assert config.label2id == {name: index for index, name in enumerate(names)}
    assert not caplog.text


@pytest.mark.parametrize(
    ("stored", "overrides"),
    [
        ({"id2label": {"0": ["a"]}}, {"num_labels": 3}),
        ({"id2label": "ab"}, {"label2id": {"x": 0, "y": 1}}),
        ({"hidden_size": 0}, {"hidden_size": 256}),
        ({"num_attention_heads": 3}, {"intra_bottleneck_size": 96}),
        ({"hidden_act": "mish", "vocab_size": True}, {"hidden_act": "relu", "vocab_size": 9}),
    ],
)
def test_an_override_is_considered_before_the_file_is_judged(
    stored: dict[str, Any], overrides: dict[str, Any], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write_config(tmp_path, json.dumps(stored))
    with pytest.raises(CheckpointError, match=r"config\.json"):
        MobileBertConfig.from_pretrained(tmp_path, use_cache=False)
    with pytest.raises(CheckpointError, match=r"config\.json"):  # the file is at fault, not the override
        MobileBertConfig.from_pretrained(tmp_path, layer_norm_eps=1e-5)
    with pytest.raises(ConfigError):
        MobileBertConfig.from_dict(stored)
    assert not caplog.text
    for config in (MobileBertConfig.from_pretrained(tmp_path, **overrides), MobileBertConfig.from_dict(stored, **overrides)):
        assert all(getattr(config, key) == value for key, value in overrides.items())
    assert not caplog.text


def test_assigning_one_fact_about_the_labels_replaces_the_others() -> None:
    config = MobileBertConfig(id2label={0: "a", 1: "b"})
    config.num_labels = 3
    assert config.id2label[2] == "LABEL_2" and config.label2id["LABEL_2"] == 2
    config.id2label = {0: "x"}
    assert config.num_labels == 1 and config.label2id == {"x": 0}
    config.label2id = {"q": 1, "p": 0}
    assert config.num_labels == 2 and config.id2label == {0: "p", 1: "q"}


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("hidden_size", 0),
        ("num_attention_heads", 3),
        ("num_labels", 0),
        ("id2label", {"x": "a"}),
        ("embedding_size", 513),
    ],
)
def test_a_refused_assignment_changes_nothing(key: str, value: Any) -> None:
    config = MobileBertConfig(num_labels=3, note="kept")
    before = config.to_dict()
    with pytest.raises(ConfigError):
        setattr(config, key, value)
    assert config.to_dict() == before


def test_assignment() -> None:
    config = MobileBertConfig()
    config.hidden_size, config.note, config.self = 1024, [1], "self"
    assert (config.hidden_size, config.note, config.self) == (1024, [1], "self")
    assert config == MobileBertConfig(hidden_size=1024, note=[1], self="self")


def test_unknown_keys_survive(tmp_path: Path) -> None:
    unknown = {"self": 1, "cls": [2], "transformers_version": "4.57.6", "to_dict": {"a": None}, "_name": "x", "é": "ü"}
    config = MobileBertConfig.from_dict(unknown)
    config.hidden_size = 256
    config.save_pretrained(tmp_path)
    assert unknown.items() <= MobileBertConfig.from_pretrained(tmp_path).to_dict().items()
    assert unknown.items() <= MobileBertConfig.from_pretrained(tmp_path, hidden_size=512).to_dict().items()


@pytest.mark.parametrize("name", ["hiden_size", "true_hidden_size", "self", "note"])
def test_an_unknown_override_is_refused(name: str, tmp_path: Path) -> None:
    MobileBertConfig().save_pretrained(tmp_path)
    for build in (
        lambda **values: MobileBertConfig.from_dict({}, **values),
        lambda **values: MobileBertConfig.from_zoo("mobilebert", **values),
        lambda **values: MobileBertConfig.from_pretrained(tmp_path, **values),
    ):
        with pytest.raises(ConfigError, match=f"unknown argument {name}"):
            build(**{name: 1})


def test_overrides(tmp_path: Path) -> None:
    stored = MobileBertConfig(id2label={0: "a", 1: "b"}, hidden_dropout_prob=0.3)
    stored.save_pretrained(tmp_path)
    for build in (lambda **v: MobileBertConfig.from_pretrained(tmp_path, **v), stored.replace):
        assert build(num_labels=3).id2label == {0: "LABEL_0", 1: "LABEL_1", 2: "LABEL_2"}
        assert build(num_labels=2).id2label == {0: "a", 1: "b"}  # as in transformers
        assert build(id2label={0: "x"}).label2id == {"x": 0}
        assert build(hidden_size=256).label2id == {"a": 0, "b": 1}
        with pytest.raises(ConfigError):
            build(num_labels=3, id2label={0: "x"})
        with pytest.raises(ConfigError):
            build(hidden_size=0)


def test_round_trip(tmp_path: Path) -> None:
    config = MobileBertConfig(
        id2label={0: "schlecht", 1: "좋다"},
        classifier_dropout=0.2,
        problem_type="single_label_classification",
        note="x",
    )
    config.save_pretrained(tmp_path)
    assert MobileBertConfig.from_pretrained(tmp_path) == config
    assert (tmp_path / CONFIG_FILE).read_text(encoding="utf-8") == config.to_json_string()
    assert json.loads(config.to_json_string())["id2label"] == {"0": "schlecht", "1": "좋다"}
    assert "좋다" in config.to_json_string() and "좋다" in repr(config)


@pytest.mark.parametrize("copied", [copy.deepcopy, copy.copy, lambda config: pickle.loads(pickle.dumps(config))])
def test_copies_are_equal_and_apart(copied: Any) -> None:
    config = MobileBertConfig(num_labels=3, note=[1])
    config.hidden_size = 256
    other = copied(config)
    assert other == config and other.to_dict() == config.to_dict()
    other.hidden_size = 128
    assert config.hidden_size == 256 and other != config


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "5",
        "null",
        '"x"',
        "{'a': 1}",
        '{"hidden_size": 512,}',
        b"\xff\xfe{}",
        b'{"a": "\x80"}',
        '{"hidden_size": 512, "hidden_size": 512}',
        '{"note": {"a": 1, "a": 2}}',
        '{"hidden_dropout_prob": NaN}',
        '{"note": [Infinity]}',
        '{"note": -Infinity}',
        '{"note": 1e999}',
        '{"hidden_size": ' + "9" * 4000 + "}",
        '{"pad_token_id": ' + "9" * 4000 + "}",
        '{"note": ' + "9" * 5000 + "}",
        '{"note": ' + "[" * 100_000 + "]" * 100_000 + "}",
        '{"note": "' + "x" * (1 << 20) + '"}',
        '{"hidden_size": true}',
        '{"hidden_size": 512.0}',
        '{"hidden_size": null}',
        '{"hidden_act": {"a": 1}}',
        '{"model_type": "bert"}',
        '{"model_type": null}',
        '{"model_type": ["mobilebert"]}',
        '{"num_hidden_layers": 1000000000}',
    ],
    ids=lambda text: f"{text[:30]!r}",
)
def test_config_json_abuse(text: str | bytes, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError) as error:
        MobileBertConfig.from_pretrained(write_config(tmp_path, text))
    assert error.value.path == tmp_path / CONFIG_FILE
    assert len(str(error.value)) < 1000


def test_as_many_labels_as_allowed_can_be_read_back(tmp_path: Path) -> None:
    MobileBertConfig(num_labels=10_000).save_pretrained(tmp_path)
    assert MobileBertConfig.from_pretrained(tmp_path).num_labels == 10_000


def test_config_json_is_limited_in_size(tmp_path: Path) -> None:
    write_config(tmp_path, '{"note": "x"}'.ljust(1 << 20))
    assert MobileBertConfig.from_pretrained(tmp_path).to_dict()["note"] == "x"
    write_config(tmp_path, '{"note": "x"}'.ljust((1 << 20) + 1))
    with pytest.raises(CheckpointError, match="is larger than the 1,048,576 bytes allowed here"):
        MobileBertConfig.from_pretrained(tmp_path)


def test_a_config_json_that_would_grow_beyond_the_limit_is_refused(tmp_path: Path) -> None:
    """What can be opened can be saved and opened again; the keys that the file leaves out come on top."""
    grown = len(MobileBertConfig(note="").to_json_string())
    for size, refused in (((1 << 20) - grown, False), ((1 << 20) - grown + 1, True)):
        write_config(tmp_path, json.dumps({"note": "x" * size}))
        if refused:
            with pytest.raises(CheckpointError, match="would exceed the allowed 1,048,576 bytes when saved again"):
                MobileBertConfig.from_pretrained(tmp_path)
        else:
            MobileBertConfig.from_pretrained(tmp_path).save_pretrained(tmp_path / "again")
            assert MobileBertConfig.from_pretrained(tmp_path / "again").to_dict()["note"] == "x" * size


def test_config_json_absent(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(CheckpointError) as error:
            MobileBertConfig.from_pretrained(folder)
        assert error.value.path == folder / CONFIG_FILE


@pytest.mark.parametrize(
    ("name", "sizes"),
    [  # layers, h, k, i, FFNs, heads, activation, norm, both bottleneck flags, dropouts, classifier_activation
        ("mobilebert", (24, 512, 128, 512, 4, 4, "relu", "no_norm", False, True, 0.0, 0.1, False)),
        ("mobilebert-tiny", (24, 512, 128, 512, 2, 4, "relu", "no_norm", True, False, 0.0, 0.1, False)),
        ("mobilebert-without-opt", (24, 512, 128, 512, 4, 4, "gelu_new", "layer_norm", False, True, 0.0, 0.1, False)),
        ("mobilebert-edgetpu-xs", (8, 512, 256, 1024, 4, 4, "relu", "no_norm", False, True, 0.0, 0.1, False)),
        ("mobilebert-edgetpu-s", (12, 512, 256, 1024, 4, 4, "relu", "no_norm", False, True, 0.0, 0.1, False)),
        ("mobilebert-edgetpu-m", (12, 512, 256, 1024, 6, 4, "relu", "no_norm", False, True, 0.0, 0.1, False)),
        ("ib-bert-large", (24, 512, 1024, 4096, 1, 4, "gelu_new", "layer_norm", False, False, 0.1, 0.1, True)),
    ],
)
def test_zoo(name: str, sizes: tuple[Any, ...]) -> None:
    keys = (
        "num_hidden_layers",
        "hidden_size",
        "intra_bottleneck_size",
        "intermediate_size",
        "num_feedforward_networks",
        "num_attention_heads",
        "hidden_act",
        "normalization_type",
        "use_bottleneck_attention",
        "key_query_shared_bottleneck",
        "hidden_dropout_prob",
        "attention_probs_dropout_prob",
        "classifier_activation",
    )
    config = MobileBertConfig.from_zoo(name)
    assert tuple(getattr(config, key) for key in keys) == sizes
    assert (config.embedding_size, config.trigram_input, config.use_bottleneck) == (128, True, True)


@pytest.mark.parametrize("size", ["mini", "small"])
def test_our_teachers_fit_their_students(size: str) -> None:
    """All that the layers of both have in common, so that the one can learn from the other's."""
    student, teacher = (MobileBertConfig.from_zoo(f"{name}-{size}") for name in ("mobilebert", "ib-bert"))
    for key in ("num_hidden_layers", "hidden_size", "embedding_size", "num_attention_heads", "max_position_embeddings"):
        assert getattr(student, key) == getattr(teacher, key)
    assert teacher.true_hidden_size == 2 * teacher.hidden_size == 4 * student.true_hidden_size
    assert teacher.intermediate_size == 4 * teacher.true_hidden_size and teacher.num_feedforward_networks == 1  # as IB-BERT-large


def test_zoo_names_and_overrides() -> None:
    edgetpu = [f"mobilebert-edgetpu-{size}" for size in ("xs", "s", "m")]
    ours = ["mobilebert-mini", "mobilebert-small", "mobilebert-small-shallow", "ib-bert-mini", "ib-bert-small"]
    assert list(ZOO) == ["mobilebert", "mobilebert-tiny", "mobilebert-without-opt", *edgetpu, "ib-bert-large", *ours]
    assert 4 <= MobileBertConfig.from_zoo("mobilebert-mini").num_hidden_layers <= 8
    assert MobileBertConfig.from_zoo("mobilebert-tiny", num_labels=3, vocab_size=9).num_labels == 3
    with pytest.raises(ConfigError, match="mobilebert-tiny"):
        MobileBertConfig.from_zoo("mobilebert-huge")


@pytest.mark.parametrize(
    "written",
    [
        {"torch_dtype": "float32", "transformers_version": "4.57.6", "architectures": ["MobileBertModel"]},
        {"dtype": "bfloat16", "transformers_version": "5.23.0", "architectures": None, "tie_word_embeddings": True},
    ],
    ids=["4.57", "5.x"],
)
def test_what_transformers_writes(written: dict[str, Any], tmp_path: Path) -> None:
    stored = {**written, "true_hidden_size": 128, "id2label": {"0": "a", "1": "b", "2": "c"}, "layer_norm_eps": 1e-12}
    config = MobileBertConfig.from_pretrained(write_config(tmp_path, json.dumps(stored)))
    assert config.id2label == {0: "a", 1: "b", 2: "c"}
    assert written.items() <= config.to_dict().items()


class Scalar:
    """What torch and TensorFlow have in place of a number: an array of rank 0."""

    shape = ()

    def __init__(self, value: Any) -> None:
        self.value = value

    def item(self) -> Any:
        return self.value


class Index:
    def __index__(self) -> int:
        return 7


@pytest.mark.parametrize(
    ("key", "given", "kept"),
    [
        ("hidden_size", np.int64(256), 256),
        ("hidden_size", np.array(256), 256),
        ("hidden_size", np.uint8(128), 128),
        ("hidden_size", Scalar(256), 256),
        ("vocab_size", Index(), 7),
        ("trigram_input", np.bool_(False), False),
        ("trigram_input", Scalar(False), False),
        ("hidden_dropout_prob", np.float64(0.25), 0.25),
        ("hidden_dropout_prob", np.float32(0.25), 0.25),
        ("classifier_dropout", Scalar(0.25), 0.25),
        ("num_labels", np.int32(3), 3),
        ("id2label", {np.int64(0): np.str_("a"), np.int64(1): "b"}, {0: "a", 1: "b"}),
        ("label2id", {"a": np.int64(0), np.str_("b"): np.int8(1)}, {"a": 0, "b": 1}),
        ("hidden_act", np.str_("gelu"), "gelu"),
        ("dtype", np.dtype("float32"), "float32"),
        ("note", np.int64(3), 3),
    ],
)
def test_numbers_of_other_libraries(key: str, given: Any, kept: Any, tmp_path: Path) -> None:
    MobileBertConfig().save_pretrained(tmp_path)
    for config in (MobileBertConfig(**{key: given}), MobileBertConfig().replace(**{key: given})):
        value = getattr(config, key)
        assert value == kept and type(value) is type(kept) and json.loads(config.to_json_string())
        if isinstance(kept, dict):
            assert [type(item) for pair in value.items() for item in pair] == [type(item) for pair in kept.items() for item in pair]
    if key != "note":
        assert getattr(MobileBertConfig.from_pretrained(tmp_path, **{key: given}), key) == kept


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("hidden_size", np.bool_(True)),
        ("hidden_size", np.float64(256.0)),
        ("hidden_size", Scalar(256.0)),
        ("hidden_size", np.array([256])),
        ("trigram_input", np.int64(1)),
        ("hidden_dropout_prob", np.float64("nan")),
        ("hidden_dropout_prob", np.bool_(False)),
        ("num_labels", np.float32(3.0)),
        ("id2label", {np.float64(0.0): "a"}),
    ],
)
def test_numbers_of_other_libraries_are_judged_as_pythons(key: str, value: Any) -> None:
    with pytest.raises(ConfigError, match=key):
        MobileBertConfig(**{key: value})


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("swish", "silu"),
        ("gelu_python", "gelu"),
        ("gelu_fast", "gelu_new"),
        ("gelu_accurate", "gelu_new"),
        ("gelu_python_tanh", "gelu_new"),
    ],
)
def test_activations_under_other_names(given: str, kept: str) -> None:
    assert MobileBertConfig(hidden_act=given).hidden_act == kept
    with pytest.raises(ConfigError, match="hidden_act: must be the name of an activation: a function cannot be written"):
        MobileBertConfig(hidden_act=np.tanh)


INERT = {
    "bos_token_id": 1,
    "chunk_size_feed_forward": 2,
    "finetuning_task": "sst2",
    "gradient_checkpointing": True,
    "is_decoder": False,
    "pruned_heads": {},
    "task_specific_params": {"a": 1},
    "tokenizer_class": "BertTokenizer",
    "torchscript": True,
    "use_cache": False,
}


def test_keys_of_transformers_without_effect_here_are_kept_and_override(tmp_path: Path) -> None:
    MobileBertConfig(use_cache=True, finetuning_task="mnli").save_pretrained(tmp_path)
    for config in (MobileBertConfig(**INERT), MobileBertConfig.from_pretrained(tmp_path, **INERT), MobileBertConfig().replace(**INERT)):
        assert INERT.items() <= config.to_dict().items()
        assert {key: getattr(config, key) for key in INERT} == INERT
    assert MobileBertConfig().use_return_dict and not MobileBertConfig(torchscript=True).use_return_dict


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("is_decoder", True),
        ("is_encoder_decoder", True),
        ("add_cross_attention", True),
        ("cross_attention_hidden_size", 8),
        ("pruned_heads", {"0": [1]}),
    ],
)
def test_keys_of_transformers_that_change_results_are_refused(key: str, value: Any, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=f"{key} .* is not supported: "):
        MobileBertConfig(**{key: value})
    with pytest.raises(CheckpointError, match=rf"config\.json: {key} .* is not supported: "):
        MobileBertConfig.from_pretrained(write_config(tmp_path, json.dumps({key: value})))


@pytest.mark.parametrize(
    ("name", "default"),
    [
        ("_attn_implementation", "sdpa"),
        ("_commit_hash", None),
        ("_name_or_path", ""),
        ("attribute_map", {}),
        ("chunk_size_feed_forward", 0),
        ("eos_token_id", None),
        ("is_composition", False),
        ("is_encoder_decoder", False),
        ("name_or_path", ""),
        ("prefix", None),
        ("pruned_heads", {}),
        ("sub_configs", {}),
        ("task_specific_params", None),
        ("torch_dtype", None),
        ("torchscript", False),
        ("transformers_version", None),
    ],
)
def test_attributes_that_libraries_read(name: str, default: Any) -> None:
    assert getattr(MobileBertConfig(), name) == default
    assert name not in MobileBertConfig().to_dict()


def test_attributes_that_libraries_ask_for() -> None:
    config = MobileBertConfig(dtype="float16")
    assert not any(hasattr(config, name) for name in ("quantization_config", "use_cache", "text_config", "decoder", "auto_map"))
    assert config.torch_dtype == "float16" and MobileBertConfig.model_type == "mobilebert"
    assert config.get_text_config() is config.get_text_config(decoder=True) is config
    config.pruned_heads["0"] = [1]  # of a copy
    assert MobileBertConfig().pruned_heads == {}


def test_where_a_configuration_is_from_is_not_written(tmp_path: Path) -> None:
    config = MobileBertConfig(name_or_path="there", _commit_hash="abc", attn_implementation="eager")
    assert (config.name_or_path, config._commit_hash, config._attn_implementation) == ("there", "abc", "eager")
    config.name_or_path, config.hidden_size = "here", 256
    for copied in (config.replace(), copy.deepcopy(config), pickle.loads(pickle.dumps(config)), MobileBertConfig.from_any(config)):
        assert (copied._name_or_path, copied._commit_hash) == ("here", "abc") and copied == config
    config.save_pretrained(tmp_path)
    text = (tmp_path / CONFIG_FILE).read_text()
    assert "here" not in text and "abc" not in text and "eager" not in text
    again = MobileBertConfig.from_pretrained(tmp_path)
    assert again.name_or_path == str(tmp_path) and again == config


def test_update_changes_everything_or_nothing() -> None:
    config = MobileBertConfig()
    config.update({"hidden_size": 256, "num_labels": 3, "note": 1, "name_or_path": "x"})
    assert (config.hidden_size, config.num_labels, config.note, config.name_or_path) == (256, 3, 1, "x")
    before = config.to_dict()
    with pytest.raises(ConfigError):
        config.update({"hidden_size": 512, "vocab_size": 0})
    assert config.to_dict() == before
    other = MobileBertConfig()
    other.update(config.to_dict())
    assert other == config
    config.update({"intra_bottleneck_size": 96, "num_attention_heads": 3})  # neither alone is possible
    assert config.true_hidden_size == 96


def test_json_files_of_any_name(tmp_path: Path) -> None:
    config, file = MobileBertConfig(num_labels=3, note="ü"), tmp_path / "my.json"
    for use_diff in (False, True):
        config.to_json_file(file, use_diff=use_diff)
        assert file.read_text(encoding="utf-8") == config.to_json_string(use_diff=use_diff)
        assert MobileBertConfig.from_json_file(file) == MobileBertConfig.from_pretrained(str(file)) == config
    assert MobileBertConfig.from_pretrained(file, num_labels=5).num_labels == 5
    for wrong in ('{"hidden_size": 0}', '{"a": 1, "a": 2}', '{"model_type": "bert"}', "[]"):
        file.write_text(wrong)
        with pytest.raises(CheckpointError, match=r"my\.json"):
            MobileBertConfig.from_json_file(file)
    with pytest.raises(CheckpointError, match=r"absent\.json: cannot be read"):
        MobileBertConfig.from_json_file(tmp_path / "absent.json")


def test_what_cannot_be_written_is_an_error() -> None:
    assert json.loads(MobileBertConfig(a=[np.int64(1)], b=np.arange(2), c=np.dtype("int8")).to_json_string())["b"] == [0, 1]
    with pytest.raises(ConfigError, match=r"<object object at .*> cannot be written to config\.json"):
        MobileBertConfig(note=object()).to_json_string()


def test_to_diff_dict() -> None:
    common = {"architectures", "dtype", "id2label", "label2id", "output_attentions", "output_hidden_states", "problem_type", "return_dict"}
    assert MobileBertConfig().to_diff_dict() == {key: value for key, value in DEFAULTS.items() if key not in common}
    changed = {"id2label": {0: "a"}, "label2id": {"a": 0}, "return_dict": False, "problem_type": "regression", "note": 1}
    assert changed.items() <= MobileBertConfig(**changed).to_diff_dict().items()


def test_get_config_dict_and_unused_keywords(tmp_path: Path) -> None:
    write_config(tmp_path, '{"hidden_size": 256, "note": 1}')
    found, rest = MobileBertConfig.get_config_dict(tmp_path, trust_remote_code=True, hidden_size=8, other=2)
    assert found == {"hidden_size": 256, "note": 1} and rest == {"hidden_size": 8, "other": 2}
    for build in (
        lambda **options: MobileBertConfig.from_pretrained(tmp_path, **options),
        lambda **options: MobileBertConfig.from_dict(found, **options),
    ):
        config, unused = build(return_unused_kwargs=True, num_labels=3, other=2, _from_auto=True, name_or_path="x")
        assert (config.hidden_size, config.num_labels, unused) == (256, 3, {"other": 2})
        assert build(dtype="auto", attn_implementation="sdpa").dtype is None
        with pytest.raises(ConfigError, match="attn_implementation='flash_attention_2' is not supported"):
            build(attn_implementation="flash_attention_2")


class OwnConfig(MobileBertConfig):
    """As people write one for transformers."""

    model_type = "own"

    def __init__(self, rank: int = 4, hidden_size: int = 256, **kwargs: Any) -> None:
        self.rank = rank
        super().__init__(hidden_size=hidden_size, **kwargs)
        self.scale = rank * 2


def test_a_configuration_of_ones_own(tmp_path: Path) -> None:
    config = OwnConfig(rank=3, num_labels=3)
    assert (config.rank, config.scale, config.hidden_size, config.model_type) == (3, 6, 256, "own")
    config.save_pretrained(tmp_path)
    opened = OwnConfig.from_pretrained(tmp_path)
    assert opened == config and type(opened.replace()) is OwnConfig
    assert OwnConfig.from_pretrained(tmp_path, rank=5, num_labels=2).rank == 5
    opened.num_labels, opened.rank = 4, 8
    assert (opened.num_labels, opened.rank) == (4, 8) and copy.deepcopy(opened) == opened
    assert type(MobileBertConfig.from_any(config)) is type(OwnConfig.from_any(MobileBertConfig())) is OwnConfig
    with pytest.raises(CheckpointError, match="describes a 'own' model"):
        MobileBertConfig.from_pretrained(tmp_path)


class Foreign:
    """What a configuration of transformers is to us."""

    model_type, name_or_path = "mobilebert", "there"

    def __init__(self, **values: Any) -> None:
        self.values = values

    def to_dict(self) -> dict[str, Any]:
        return {"model_type": self.model_type, "transformers_version": "5", "true_hidden_size": 128, **self.values}


def test_configurations_cross_over(tmp_path: Path) -> None:
    config = MobileBertConfig.from_any(Foreign(hidden_act="swish", id2label={0: "a", 1: "b"}, label2id=None))
    assert (config.hidden_act, config.label2id, config.name_or_path) == ("silu", {"a": 0, "b": 1}, "there")
    config.save_pretrained(tmp_path)
    assert MobileBertConfig.from_any(tmp_path) == MobileBertConfig.from_any(str(tmp_path)) == config
    copied = MobileBertConfig.from_any(config)
    copied.hidden_size = 256
    assert config.hidden_size == 512
    other = Foreign()
    other.model_type = "bert"
    refused = ((other, "describes a 'bert' model"), (3, "not 3"), ({}, "not {}"), (MobileBertConfig, "not <class"), (None, "None"))
    for wrong, message in refused:
        with pytest.raises(ConfigError, match=message):
            MobileBertConfig.from_any(wrong)
    with pytest.raises(ConfigError, match="hidden_size"):
        MobileBertConfig.from_any(Foreign(hidden_size=0))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"id2label": {"0": "a", "00": "b"}}, "two labels of id2label have the same number: "),
        ({"label2id": {"a": 0, "b": "0"}}, "two labels of label2id have the same number: "),
        ({"num_labels": 3, "id2label": {0: "a", 1: "b"}}, "num_labels 3 contradicts the 2 labels that are named"),
        ({"num_labels": 10**5000}, "from 1 to 10,000, not a int too large to show"),
    ],
    ids=["in JSON", "inverse", "number", "digits"],
)
def test_what_is_wrong_with_labels_is_told(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        MobileBertConfig(**values)


@pytest.mark.parametrize("kind", ["bert", 5, None])
def test_the_configuration_of_another_model(kind: Any, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=f"describes a {kind!r} model, not a MobileBERT"):
        MobileBertConfig.from_pretrained(write_config(tmp_path, json.dumps({"model_type": kind})))


@pytest.mark.parametrize("labels", [{"num_labels": 3}, {"id2label": {0: "x", 1: "y", 2: "z"}}, {"label2id": {"x": 0, "y": 1, "z": 2}}])
def test_labels_that_override_those_of_a_file(labels: dict[str, Any]) -> None:
    config = MobileBertConfig.from_dict({"id2label": {"0": "a", "1": "b"}, "label2id": {"a": 0, "b": 1}}, **labels)
    assert config.num_labels == 3 and "a" not in config.label2id
