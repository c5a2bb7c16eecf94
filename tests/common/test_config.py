import copy
import json
import pickle
from pathlib import Path
from typing import Any

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
NO_NAME = ("", "RELU", "swish", 1, None, True)

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
    {"id2label": {1: "a", 2: "b"}},
    {"id2label": {0: "a", 2: "b"}},
    {"id2label": {0: "a", 1.7: "b"}},
    {"id2label": {0: "a", True: "b"}},
    {"id2label": {"0": "a", "00": "b"}},
    {"id2label": {"zero": "a"}},
    {"id2label": {index: f"{index}" for index in range(10_001)}},
    {"id2label": {"9" * 5000: "a"}},
    {"id2label": {0: 3}},
    {"id2label": {"0": ["a"]}},
    {"id2label": {0: "a", 1: "a"}},
    {"label2id": {}},
    {"label2id": {"a": [0]}},
    {"label2id": {"a": 0, "b": True}},
    {"label2id": {"a": 0, "b": 0}},
    {"label2id": {"a": 0.0}},
    {"label2id": {"a": float("inf")}},
    {"num_labels": 3, "id2label": {0: "a", 1: "b"}},
    {"num_labels": 3, "label2id": {"a": 0, "b": 1}},
    {"id2label": {0: "a", 1: "b"}, "label2id": {"a": 1, "b": 0}},
    {"id2label": {0: "a", 1: "b"}, "label2id": {"a": 0}},
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
    assert set(RANGES) == {*MobileBertConfig.model_fields, "num_labels"} - {"id2label", "label2id"}


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
        MobileBertConfig(hidden_size=0, hidden_act="swish", trigram_input="yes")
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
        ("id2label", {1: "a"}),
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


def test_zoo_names_and_overrides() -> None:
    assert list(ZOO) == ["mobilebert", "mobilebert-tiny", "ib-bert-large", "mobilebert-mini"]
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
