"""recipes/no_norm.py: fitting a model with NoNorm and relu to a trained one."""

import importlib.util
import json
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from mobilebert_common.tokenization import MobileBertTokenizerFast
from mobilebert_pt import MobileBertConfig, MobileBertForSequenceClassification, evaluate, train
from support.configs import SIZES, make_config

ROOT = Path(__file__).parents[2]
WORDS = ("fine", "odd", "good", "bad")
ROWS = [{"text": f"the film was {word} {number % 7}", "label": word} for number in range(40) for word in WORDS]
UNTRANSFORMED = {"trigram_input": False, "embedding_size": SIZES["hidden_size"]}


@pytest.fixture(scope="module")
def recipe() -> Any:
    spec = importlib.util.spec_from_file_location("no_norm", ROOT / "recipes" / "no_norm.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def batches(count: int) -> list[dict[str, torch.Tensor]]:
    draw = torch.Generator().manual_seed(0)
    ids = [torch.randint(5, 40, (8, 12), generator=draw) for _ in range(count)]
    lengths = [torch.randint(3, 13, (8, 1), generator=draw) for _ in range(count)]
    masks = [(torch.arange(12) < length).long() for length in lengths]
    return [{"input_ids": each, "attention_mask": mask} for each, mask in zip(ids, masks, strict=True)]


def apart(model: Any, other: Any, batch: dict[str, torch.Tensor]) -> float:
    with torch.no_grad():
        ours, theirs = model(**batch).logits, other(**batch).logits
    return float((ours - theirs).norm() / theirs.norm())


@pytest.mark.parametrize("flags", [{}, {"use_bottleneck_attention": True}, {"use_bottleneck": False}, UNTRANSFORMED])
def test_a_model_that_has_no_norm_already_is_found_again(flags: dict[str, Any], recipe: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The fit is exact where the wanted outputs can be had: scales, biases and weights come back as one function."""
    fit, fitted = recipe.fit, []

    def fit_zeros(dense: Any, norm: Any, *states: torch.Tensor) -> None:
        with torch.no_grad():
            for parameter in (*norm.parameters(), *(dense.parameters() if dense else ())):
                parameter.zero_()
        fit(dense, norm, *states)
        fitted.append(norm)

    monkeypatch.setattr(recipe, "fit", fit_zeros)
    monkeypatch.setattr(recipe, "RIDGE", 1e-14)
    torch.manual_seed(0)
    trained = MobileBertForSequenceClassification(make_config(initializer_range=0.15, **flags)).double().eval()
    with torch.no_grad():
        for name, weight in trained.named_parameters():
            if name.endswith("LayerNorm.weight"):
                weight.uniform_(0.5, 2).mul_(torch.where(torch.rand_like(weight) < 0.3, -1.0, 1.0))
            elif name.endswith("bias"):
                weight.normal_()
    model = recipe.convert(trained, batches(24))
    assert len(fitted) > 2 * SIZES["num_hidden_layers"] and apart(model, trained, batches(25)[-1]) < 1e-6


def test_a_trained_model_keeps_its_accuracy(recipe: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "data.jsonl").write_text("\n".join(map(json.dumps, ROWS)) + "\n")
    sizes = {"num_feedforward_networks": 2, "embedding_size": 16, "initializer_range": 0.15}
    config = make_config(**sizes, normalization_type="layer_norm", hidden_act="gelu", num_labels=4, id2label=dict(enumerate(WORDS)))
    torch.manual_seed(0)
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "the", "film", "was", *WORDS, *"0123456"]
    fresh = MobileBertForSequenceClassification(config.replace(vocab_size=len(words)))
    settings: dict[str, Any] = {"learning_rate": 1e-2, "epochs": 8, "batch_size": 16, "max_length": 12, "progress": False}
    train(fresh, None, tmp_path / "data.jsonl", tokenizer=MobileBertTokenizerFast(vocab=words), output=tmp_path / "trained", **settings)
    monkeypatch.setattr(sys, "argv", ["no_norm.py", *map(str, (tmp_path / "trained", tmp_path / "data.jsonl", tmp_path / "out"))])
    recipe.main()
    converted = MobileBertConfig.from_pretrained(tmp_path / "out")
    assert (converted.normalization_type, converted.hidden_act) == ("no_norm", "relu")
    before, after = (evaluate(tmp_path / name, tmp_path / "data.jsonl").metrics["accuracy"] for name in ("trained", "out"))
    assert before > 0.9 and after > before - 0.05
