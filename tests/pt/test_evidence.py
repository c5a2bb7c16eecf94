"""benchmarks/knowledge_transfer.py: what it says of its runs, and one run of each kind."""

import argparse
import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture
def benchmark(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    yield importlib.import_module("knowledge_transfer")
    for name in ("knowledge_transfer", "starting_points"):
        sys.modules.pop(name, None)


def runs_of(benchmark: Any, seeds: int) -> list[dict[str, Any]]:
    """Runs in which each variant is a point better than the one before, but seed 1 is the other way round."""
    return [
        {"variant": variant, "seed": seed, "masked": 0.2 + 0.01 * place * (1 if seed != 1 else -1), "sst2": 0.7}
        for place, variant in enumerate(benchmark.VARIANTS)
        for seed in range(seeds)
    ]


def test_every_order_is_of_variants_that_run(benchmark: Any) -> None:
    from mobilebert_common.training.transfer import Transfer

    assert {variant for order in benchmark.ORDERS.values() for variant in order.values()} == set(benchmark.VARIANTS)
    assert all(Transfer(**values) for values in benchmark.VARIANTS.values() if values is not None)


def test_the_tables(benchmark: Any) -> None:
    text = benchmark.markdown(runs_of(benchmark, 3))
    assert "| nothing | 20.0 ± 0.0 | 70.0 ± 0.0 | 3 |" in text and "| + distillation | 20.3 ± 1.2 | 70.0 ± 0.0 | 3 |" in text
    assert "- masked words: + distillation over nothing: +0.3 points, better with 2 of 3 seeds; " in text
    assert "- SST-2: joint over auxiliary: +0.0 points, better with 0 of 3 seeds; " in text
    assert "| nothing | 20.0 | 70.0 | 1 |" in benchmark.markdown(runs_of(benchmark, 1))


def test_the_figure_has_a_mean_and_a_bar_for_each_variant(benchmark: Any) -> None:
    found = ElementTree.fromstring(benchmark.plot(runs_of(benchmark, 3)))
    circles = [each.get("r") for each in found.iter(f"{SVG}circle")]
    shown = 2 * sum(map(len, benchmark.ORDERS.values()))
    assert circles.count("5") == shown and circles.count("2") == 3 * shown
    assert [each.get("stroke-width") for each in found.iter(f"{SVG}line")].count("2") == shown


def test_a_run(benchmark: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two steps from a tiny teacher, and fine-tuning; the batches are those of the variant without a teacher."""
    import torch

    from mobilebert_pt import MobileBertConfig, MobileBertForPreTraining, MobileBertTokenizerFast

    words = [chr(ord("a") + number) for number in range(20)]
    tokenizer = MobileBertTokenizerFast(vocab=["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *words])
    sizes = {"hidden_size": 32, "embedding_size": 16, "intra_bottleneck_size": 16, "intermediate_size": 32, "num_hidden_layers": 3}
    torch.manual_seed(0)
    teacher = MobileBertForPreTraining(MobileBertConfig.from_zoo("mobilebert-mini", vocab_size=len(tokenizer), **sizes))
    for part in (teacher, tokenizer):
        part.save_pretrained(tmp_path / "teacher")
    document = "\n".join(" ".join(words[row:]) for row in range(9))
    for name in ("train", "validation"):
        (tmp_path / "text" / name).mkdir(parents=True)
        (tmp_path / "text" / name / "text.txt").write_text("\n\n".join([document] * 9))
    (tmp_path / "sst2").mkdir()
    for name in ("train", "dev"):
        (tmp_path / "sst2" / f"{name}.tsv").write_text("sentence\tlabel\n" + "".join(f"a b {words[row]}\t{row % 2}\n" for row in range(20)))
    monkeypatch.setattr(benchmark, "ROWS", 10)
    monkeypatch.setattr(torch, "set_num_threads", lambda count: None)  # of this process, which goes on
    options = argparse.Namespace(teacher=tmp_path / "teacher", data=tmp_path, every=1, steps=2)
    found = [benchmark.train(options, variant, 0) for variant in ("bare", "joint")]
    assert [(each["variant"], each["steps"]) for each in found] == [("bare", 2), ("joint", 2)]
    assert all(0 <= each[measure] <= 1 for each in found for measure in benchmark.MEASURES)
