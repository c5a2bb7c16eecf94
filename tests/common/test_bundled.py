"""The model that comes with this package, and when training starts from it."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mobilebert_common.checkpoints import checkpoint
from mobilebert_common.errors import CheckpointError, ConfigError
from mobilebert_common.files.hub import BUNDLED
from mobilebert_common.model.config import MobileBertConfig
from mobilebert_common.model.zoo import ZOO
from mobilebert_common.tasks.tables import Table
from mobilebert_common.tasks.task import TASKS
from mobilebert_common.tokenization import MobileBertTokenizer, MobileBertTokenizerFast
from mobilebert_common.training.jobs import FRESH, PRETRAINED, choose
from mobilebert_common.training.preparation import RATES, Options, Prepared, notices, prepare

MAX_SIZE = 8_000_000  # bytes of each model in the wheel
ENGLISH = ["Where is my parcel? I have been waiting for two weeks.", "The film was far too long, but the actors were wonderful."]
OTHERS = {
    "German": ["Wo bleibt meine Bestellung? Ich warte seit zwei Wochen auf das Paket.", "Der Film war leider viel zu lang."],
    "French": ["Où est ma commande ? J'attends le colis depuis deux semaines.", "Le film était trop long et l'histoire ennuyeuse."],
    "Korean": ["영화가 너무 길고 지루했어요.", "배송이 너무 늦어요. 언제 오나요?"],
    "Chinese": ["这部电影太长了，故事很无聊。", "我的包裹在哪里？"],
    "code": ["def f(x): return x**2 + y[0]", "https://example.com/a/b?c=d&e=f 404 error 0x7ffe"],
}


def prepared(texts: Sequence[str], **options: Any) -> Prepared:
    rows = [{"text": text, "label": label} for text, label in zip(texts, "ab", strict=True)]
    return prepare(Options(data=rows * 4, validation=rows, **options))


@pytest.mark.parametrize("name", BUNDLED)
def test_a_bundled_model_opens_by_name(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert sum(path.stat().st_size for path in BUNDLED[name].iterdir()) <= MAX_SIZE
    config = MobileBertConfig.from_pretrained(name)
    found = checkpoint.load(name, "MobileBertModel")
    assert not found.fresh and {str(array.dtype) for array in found.tensors.values()} == {"float32"}
    assert all(np.isfinite(array).all() and array.any() for key, array in found.tensors.items() if "token_type" not in key)
    fast, plain = MobileBertTokenizerFast.from_pretrained(name), MobileBertTokenizer.from_pretrained(name)
    assert len(fast) == len(plain) == config.vocab_size
    assert all(fast(text)["input_ids"] == plain(text)["input_ids"] for text in ENGLISH)


def test_it_is_the_small_model_of_the_zoo() -> None:
    config, small = MobileBertConfig.from_pretrained(PRETRAINED).to_dict(), MobileBertConfig.from_zoo("mobilebert-small").to_dict()
    assert {key for key in config if config[key] != small[key]} == {"architectures", "dtype", "vocab_size"}
    assert PRETRAINED in BUNDLED and FRESH in ZOO and not {*BUNDLED} & {*ZOO}


def test_a_folder_of_that_name_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    MobileBertConfig.from_zoo("mobilebert-tiny").save_pretrained(PRETRAINED)
    assert MobileBertConfig.from_pretrained(PRETRAINED).num_hidden_layers == 24


@pytest.mark.parametrize("options", [{"revision": "old"}, {"subfolder": "best"}])
def test_it_has_one_version(options: dict[str, Any]) -> None:
    with pytest.raises(CheckpointError, match=f"^{PRETRAINED}: comes with this package: it has no other revision and no subfolder"):
        MobileBertConfig.from_pretrained(PRETRAINED, **options)


def test_training_on_english_starts_from_it() -> None:
    ready = prepared(ENGLISH)
    assert ready.begin.name == PRETRAINED and not ready.begin.fresh and ready.rates == (RATES[PRETRAINED],)
    assert [line for line in notices(ready, "PyTorch") if f"; {PRETRAINED} in PyTorch, learning rate 0.001" in line]


@pytest.mark.parametrize("language", OTHERS)
def test_training_on_other_languages_starts_from_fresh_weights(language: str) -> None:
    ready = prepared(OTHERS[language])
    assert ready.begin.name == FRESH and ready.begin.fresh
    assert "do not look like English" in notices(ready, "PyTorch")[0]


@pytest.mark.parametrize("options", [{"vocabulary_size": 60}, {"vocabulary": BUNDLED[PRETRAINED] / "vocab.txt"}])
def test_a_vocabulary_asks_for_fresh_weights(options: dict[str, Any]) -> None:
    assert prepared(ENGLISH, **options).begin.name == FRESH
    with pytest.raises(ConfigError, match=r"^--vocabulary.* is for fresh models only: a checkpoint has its own vocabulary$"):
        prepared(ENGLISH, **options, model=PRETRAINED)


@pytest.mark.parametrize("task", ["pretraining", "masked-lm"])
def test_pre_training_starts_from_fresh_weights(task: str) -> None:
    """The bundled model comes without the masked-LM head."""
    assert choose(TASKS[task], Table(Path("some.csv"), ENGLISH, None, None), False) == (FRESH, "")
