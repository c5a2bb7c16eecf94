"""Names of the hub and arguments of transformers, as far as nothing is asked of a server; tests/hub does that."""

import re
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from mobilebert_common import keywords
from mobilebert_common.checkpoints import checkpoint
from mobilebert_common.errors import CheckpointError, ConfigError
from mobilebert_common.files.hub import Options, is_name, resolve
from mobilebert_common.model.config import MobileBertConfig
from mobilebert_common.tokenization import MobileBertTokenizer, MobileBertTokenizerFast

OPENERS: dict[str, Any] = {
    "config": MobileBertConfig.from_pretrained,
    "weights": lambda name, **options: checkpoint.load(name, "MobileBertModel", **options),
    "python": MobileBertTokenizer.from_pretrained,
    "rust": MobileBertTokenizerFast.from_pretrained,
}
RULES = {
    "OPENING": keywords.OPENING,
    "OPENING_MODEL": keywords.OPENING_MODEL,
    "OPENING_TOKENIZER": keywords.OPENING_TOKENIZER,
    "SAVING": keywords.SAVING,
}


@pytest.fixture(autouse=True)
def no_client(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """An installation without huggingface_hub, in an empty folder."""
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("name", ["google/mobilebert-uncased", "mobilebert", "a/b", "_a_/B.c-9", "a" * 96 + "/" + "b" * 96])
def test_names(name: str) -> None:
    assert is_name(name)


def test_folders_are_no_names() -> None:
    assert not any(map(is_name, (".", "..", "/")))


STRANGE = [
    "./google/mobilebert", "../mobilebert", "/google/mobilebert", "~/mobilebert", "~", "", "a/", "/a", "a//b", "a/b/c",
    "google\\mobilebert", "C:\\a", "a b", "a/b?", "a/b#c", "a/b%2f", "a/..", "../a", "a/b..c", "a/b--c", "-a/b", "a/b-", ".a/b", "a/b.",
    "a/b.git", "a\0b", "a/b\n", "é/b", "a" * 97, "a/" + "b" * 97, "datasets/a/b", "https://huggingface.co/a/b",
]  # fmt: skip


@pytest.mark.parametrize("name", STRANGE, ids=repr)
def test_what_is_no_name_is_refused_before_any_look_up(name: str) -> None:
    assert not is_name(name)
    for opener in OPENERS.values():
        with pytest.raises(CheckpointError, match="is neither a local folder nor a hub name"):
            opener(name)


def test_a_long_text_is_refused_at_once_and_shortened() -> None:
    for text in ("a" * 1_000_000, "a/" * 500_000, "-" * 1_000_000 + "!", "a.." * 300_000):
        started = time.perf_counter()
        with pytest.raises(CheckpointError) as error:
            resolve(text, [])
        assert time.perf_counter() - started < 0.5 and len(str(error.value)) < 400


def test_what_is_here_is_not_looked_up(tmp_path: Path) -> None:
    MobileBertConfig(hidden_size=64, embedding_size=8).save_pretrained(tmp_path / "google" / "mobilebert-uncased" / "sub")
    name = "google/mobilebert-uncased"
    assert resolve(name, ["config.json"]) == Path(name)
    assert resolve(name, ["config.json"], subfolder="sub") == Path(name) / "sub"
    where: Options = {"revision": "v1", "local_files_only": True, "subfolder": "sub", "token": None, "force_download": True}
    assert MobileBertConfig.from_pretrained(name, **where).hidden_size == 64
    assert resolve(Path("owner/absent"), ["config.json"]) == Path("owner/absent")  # a Path is never a name
    (tmp_path / "dangling").symlink_to("nowhere")
    assert resolve("dangling", []) == Path("dangling")


@pytest.mark.parametrize("subfolder", ["linked", "linked/sub", "..", "/"])
def test_a_subfolder_lies_inside(subfolder: str, tmp_path: Path) -> None:
    (tmp_path / "private" / "sub").mkdir(parents=True)
    (tmp_path / "here" / "inside").mkdir(parents=True)
    (tmp_path / "here" / "linked").symlink_to("../private")
    (tmp_path / "here" / "link").symlink_to("inside")
    for name in (tmp_path / "here", str(tmp_path / "here")):
        assert resolve(name, [], subfolder="link") == tmp_path / "here" / "link"
        with pytest.raises(CheckpointError, match="is outside the checkpoint folder, or a link out of it"):
            resolve(name, [], subfolder=subfolder)


@pytest.mark.parametrize("opener", OPENERS)
def test_without_the_client_the_extra_is_named(opener: str) -> None:
    message = (
        "google/mobilebert-uncased is not a local folder and cannot be looked up on the hub: "
        "huggingface_hub is not installed: run pip install '.[hub]' in a clone of mobilebert-zoo"
    )
    with pytest.raises(ImportError, match=f"^{re.escape(message)}$"):
        OPENERS[opener]("google/mobilebert-uncased")


@pytest.mark.parametrize("options", [{"revision": "../x"}, {"revision": "/x"}, {"revision": "a\\b"}, {"subfolder": "../x"},
                                     {"subfolder": "/x"}, {"subfolder": "a/./b"}, {"subfolder": "a/"}])  # fmt: skip
def test_options_cannot_be_paths_out_of_the_cache(options: Any) -> None:
    with pytest.raises(CheckpointError, match=r"^a/b: cannot have the (revision|subfolder)"):
        resolve("a/b", ["config.json"], **options)


class Model:
    """A model class whose constructor takes one option by name."""

    def __init__(self, config: MobileBertConfig, margin: float = 1.0, **kwargs: Any) -> None:
        pass


def test_options_are_sorted() -> None:
    options = {"revision": "v1", "num_labels": 3, "token": True, "margin": 0.5, "trust_remote_code": True, "config": 1, "kwargs": 2}
    hub, constructor, overrides = keywords.sort_options(options, keywords.OPENING_MODEL, Model)
    assert hub == {"revision": "v1", "token": True}
    assert constructor == {"margin": 0.5}
    assert overrides == {"num_labels": 3, "config": 1, "kwargs": 2}
    assert keywords.sort_options(options, keywords.OPENING_MODEL) == (hub, {}, overrides | constructor)
    assert len(options) == 7


def test_a_constructor_comes_before_the_rules() -> None:
    class Own:
        def __init__(self, config: MobileBertConfig, device_map: str, revision: int) -> None:
            pass

    opening = keywords.sort_options({"device_map": "auto", "revision": 3}, keywords.OPENING_MODEL, Own)
    assert opening == ({}, {"device_map": "auto", "revision": 3}, {})


def test_no_option_has_two_meanings() -> None:
    assert not set(Options.__annotations__) & (set(MobileBertConfig.model_fields) | set(keywords.OPENING_MODEL))


REFUSED = {
    "attn_implementation": "flash_attention_2",
    "device_map": "auto",
    "from_flax": True,
    "load_in_8bit": True,
    "quantization_config": object(),
    "proxies": {"https": "x"},
    "use_auth_token": "x",
    "variant": "fp16",
}
HARMLESS = {
    "attn_implementation": "sdpa",
    "device_map": None,
    "from_pt": True,
    "from_tf": True,
    "low_cpu_mem_usage": True,
    "trust_remote_code": True,
    "use_safetensors": False,
    "weights_only": False,
    "_fast_init": False,
}


def test_arguments_of_transformers() -> None:
    assert keywords.sort_options({**HARMLESS, "num_labels": 3}, keywords.OPENING_MODEL) == ({}, {}, {"num_labels": 3})
    with pytest.raises(ConfigError) as error:
        keywords.sort_options({**HARMLESS, **REFUSED}, keywords.OPENING_MODEL)
    lines = str(error.value).split("\n")
    assert [line.split("=")[0] for line in lines] == list(REFUSED)
    assert "device_map='auto' is not supported: a MobileBERT fits on one device: pass device='cuda' in PyTorch" in str(error.value)


@pytest.mark.parametrize("rules", RULES)
def test_every_rule_takes_the_default_of_transformers(rules: str) -> None:
    for name, rule in RULES[rules].items():
        assert rule.reason and name not in MobileBertConfig.model_fields
        assert keywords.meaningful({name: None}, RULES[rules]) == {}


@pytest.mark.parametrize("opener", ["config", "python", "rust"])
def test_arguments_reach_no_file(opener: str, tmp_path: Path) -> None:
    MobileBertConfig(vocab_size=5).save_pretrained(tmp_path, max_shard_size="5GB", push_to_hub=False)
    MobileBertTokenizerFast(vocab=["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]).save_pretrained(tmp_path, legacy_format=True)
    assert OPENERS[opener](str(tmp_path), trust_remote_code=True, resume_download=True)
    with pytest.raises(ConfigError, match=r"proxies=.* is not supported: set HTTPS_PROXY"):
        OPENERS[opener](str(tmp_path), proxies={"https": "x"})


@pytest.mark.parametrize("saved", [MobileBertConfig(), MobileBertTokenizerFast(vocab=["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"])])
def test_nothing_is_uploaded(saved: Any, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="push_to_hub=True is not supported: saving uploads nothing"):
        saved.save_pretrained(tmp_path, push_to_hub=True)
    with pytest.raises(ConfigError, match="unknown argument push; of transformers' arguments, known are"):
        saved.save_pretrained(tmp_path, push=True)
    assert not list(tmp_path.iterdir())
