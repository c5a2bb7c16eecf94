"""The report of a training run: its page, its JSON and its events."""

import copy
import json
import re
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mobilebert_common.files import folder as folders
from mobilebert_common.training import report as reports
from mobilebert_common.training.charts import Line, chart, ratio_ticks, thinned, ticks
from mobilebert_common.training.markup import tag

VOID = {"meta"}
HOSTILE = {
    "script": "<script>alert(1)</script>",
    "attribute": "\"' onmouseover='alert(1)",
    "entity": "&lt;b&gt;",
    "comment": "<!-- -->",
    "escape": "\x1b[31m\x07",
    "override": "a\u202eb\u2066c",
    "surrogate": "\ud800",
    "NUL": "\0",
    "style": "</style></title></svg>",
}


def made(**changes: Any) -> dict[str, Any]:
    part = {"path": "data/train.tsv", "examples": 8123, "rows": 9234, "labels": {"good": 5000, "bad": 3123}}
    classes = {
        "bad": {"precision": 0.812, "recall": 0.733, "F1": 0.7705, "support": 428},
        "good": {"precision": 0.654, "recall": 0.9, "F1": 0.7575, "support": 444},
    }
    report: dict[str, Any] = {
        "title": "classification of train.tsv",
        "task": "classification",
        "model": "mobilebert-mini",
        "framework": "PyTorch",
        "command": "mobilebert train train.tsv",
        "data": {
            "training": part,
            "validation": {"path": "dev.tsv", "examples": 872, "rows": 872, "labels": {"good": 444, "bad": 428}},
            "truncated": {"training": 77, "validation": 6},
            "dropped": {"empty text": 14},
            "max_length": 96,
            "cut": "longer than 96 tokens",
            "unit": "example",
        },
        "settings": {"learning_rate": 1e-3, "class_weights": None, "bf16": False},
        "environment": {"Python": "3.12.1"},
        "losses": [[step, 1 / step] for step in range(1, 301)],
        "rates": [[step, 1e-3 * step] for step in range(1, 301)],
        "phases": [["training", 1, 300]],
        "teacher": None,
        "gain": None,
        "evaluations": [
            {"step": 100, "metrics": {"accuracy": 0.81, "MCC": 0.41}, "loss": 0.456},
            {"step": 200, "metrics": {"accuracy": 0.881, "MCC": 0.52}, "loss": None},
        ],
        "best_step": 200,
        "stopped": "early: no better evaluation in 3",
        "scores": {
            "metrics": {"accuracy": 0.881, "MCC": 0.52},
            "baseline": {"accuracy": 0.509, "MCC": 0.0},
            "baseline_name": "always 'good'",
            "classes": classes,
            "confusion": [["bad", "good"], [[369, 59], [45, 399]]],
            "notes": {"best threshold": -1.25},
        },
        "worst": [{"text": "so bad it is good", "label": "good", "prediction": "bad", "loss": 5.125}],
        "warnings": ["the rate is high"],
        "trials": [{"learning_rate": 1e-4, "metric": 0.71, "kept": False}, {"learning_rate": 1e-3, "metric": 0.881, "kept": True}],
        "seconds": 312.3,
        "examples_per_second": 256.12,
        "steps_per_second": 8.25,
        "snapshots": 0,
        "snapshot_seconds": 0.0,
        "saved": "mobilebert-classifier",
    }
    return report | changes


PHASES = [*([f"layer {number} of 4", 60 * number - 59, 60 * number] for number in (1, 2, 3, 4)), ["distillation", 241, 300]]


def taught(**changes: Any) -> dict[str, Any]:
    """A report of a student, whose losses differ from phase to phase."""
    losses = [[step, (800 / (1 + step % 60) if step <= 240 else 0.7 - step / 1000) + (step % 7) / 50] for step in range(1, 301)]
    trials = [{"learning_rate": 1e-3, "metric": 0.85, "kept": False, "alone": True}, {"learning_rate": 1e-3, "metric": 0.881, "kept": True}]
    gain = {"metric": "accuracy", "alone": 0.85, "taught": 0.881}
    evaluations = [
        {"step": 270, "metrics": {"accuracy": 0.81, "MCC": 0.41}, "loss": 0.456},
        {"step": 300, "metrics": {"accuracy": 0.881, "MCC": 0.52}, "loss": 0.444},
    ]
    given = {"losses": losses, "trials": trials, "gain": gain, "evaluations": evaluations, "best_step": 300}
    return made(**{**given, "phases": PHASES, "teacher": "my-teacher", **changes})


def scored(**changes: Any) -> dict[str, Any]:
    return made(scores=made()["scores"] | changes)


def empty() -> dict[str, Any]:
    """A report of a run about which nothing is known."""
    nothing: dict[str, Any] = {key: type(value)() for key, value in made().items()}
    data = made()["data"] | {"training": {}, "validation": {}, "truncated": {}, "dropped": {}}
    scores = {"metrics": {}, "baseline": {}, "baseline_name": "", "classes": {}, "confusion": None, "notes": {}}
    numbers = dict.fromkeys(("best_step", "seconds", "examples_per_second", "steps_per_second"))
    return nothing | {"data": data, "scores": scores} | numbers


class Page(HTMLParser):
    """The tags and the text of a page; a tag that is not closed, or closed twice, is an error."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.feed(page)
        self.close()
        assert self.open == []

    def handle_starttag(self, name: str, attributes: list[tuple[str, str | None]]) -> None:
        assert not (name in {"p", "div", "table", "ul", "ol"} and "p" in self.open), f"<{name}> ends the <p> around it"
        assert len({key for key, _ in attributes}) == len(attributes)
        self.tags.append((name, dict(attributes)))
        if name not in VOID:
            self.open.append(name)

    def handle_endtag(self, name: str) -> None:
        assert self.open.pop() == name

    def handle_data(self, text: str) -> None:
        if "style" not in self.open:
            self.texts.append(text)

    @property
    def text(self) -> str:
        return " ".join("".join(self.texts).split())


def rows(page: str) -> list[list[str]]:
    """The cells of all table rows, as text."""
    found = re.findall(r"<tr>(.*?)</tr>", page, re.DOTALL)
    return [[Page(f"<main>{cell}</main>").text for cell in re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row, re.DOTALL)] for row in found]


VARIANTS = {
    "full": made(),
    "empty": empty(),
    "taught": taught(),
    "taught in 25 phases": taught(phases=[[f"layer {n} of 24", 12 * n - 11, 12 * n] for n in range(1, 25)] + [["distillation", 289, 300]]),
    "taught without numbers": taught(losses=[[1, float("nan")], [2, 0.0], [241, -1.0]], rates=[[1, None]]),
    "without validation": made(evaluations=[], best_step=None, scores=empty()["scores"]),
    "one step": made(losses=[[1, 0.5]], rates=[[1, 1e-3]], evaluations=made()["evaluations"][:1]),
    "not a number": made(losses=[[1, 0.5], [2, float("nan")], [3, float("inf")]], rates=[[1, None]], seconds=float("nan")),
    "constant": made(losses=[[1, 0.0], [2, 0.0]], rates=[[1, 1e-5], [9, 1e-5]]),
    "extreme": made(losses=[[1, -1e308], [2, 1e308], [3, 5e-324], [4, 0.0]], rates=[[1, 0], [2, 5e-324]]),
    "numbers of numpy": made(losses=np.array([[1, 0.5], [2, 0.25]]), best_step=np.int64(200), seconds=np.float32(2)),
    "thirty classes": scored(
        classes={f"class {n}": {"F1": 0.5, "support": n} for n in range(30)},
        confusion=[[f"class {n}" for n in range(30)], [[(n + m) % 7 for m in range(30)] for n in range(30)]],
    ),
    "no examples of a class": scored(confusion=[["a", "b"], [[0, 0], [1, 2]]]),
    "confusion by name": scored(confusion={"labels": ["a", "b"], "counts": [[3, 0], [1, 2]]}),
}


@pytest.mark.parametrize("name", VARIANTS)
def test_page_is_whole_and_asks_nothing_of_the_network(name: str) -> None:
    page = reports.render(VARIANTS[name])
    parsed = Page(page)
    names = [tag_name for tag_name, _ in parsed.tags]
    assert not re.search(r"https?://|//\w|url\(|@import", page)
    assert not {"script", "link", "img", "iframe", "object", "embed", "base", "form", "a"} & set(names)
    assert not any(key.startswith("on") or key in ("src", "href") for _, attributes in parsed.tags for key in attributes)
    assert names.count("h1") == 1 and names.count("main") == 1
    assert all(attributes.get("scope") for tag_name, attributes in parsed.tags if tag_name == "th")
    assert all(attributes.get("aria-label") for tag_name, attributes in parsed.tags if tag_name == "svg")
    assert "nan" not in page.lower() and "inf" not in parsed.text.replace("information", "").lower().split()
    assert "None" not in parsed.text


@pytest.mark.parametrize("name", VARIANTS)
def test_equal_reports_give_equal_pages(name: str) -> None:
    report = copy.deepcopy(VARIANTS[name])
    assert reports.render(report) == reports.render(VARIANTS[name])
    assert str(report) == str(VARIANTS[name])


def test_sections_come_in_the_order_of_a_readers_questions() -> None:
    titles = re.findall("<h2>(.*?)</h2>", reports.render(made()))
    assert titles == [*reports.SECTIONS]
    assert re.findall("<h2>(.*?)</h2>", reports.render(empty())) == ["Result", "Speed"]


def test_numbers_are_those_of_the_report() -> None:
    page = reports.render(made())
    text, cells = Page(page).text, rows(page)
    assert "Accuracy 88.1%, against 50.9% for the baseline (always 'good')." in text
    assert "The saved weights are those of step 200, the best of 2 evaluations. Training stopped early: no better evaluation in 3." in text
    assert "Training took 5 min 12 s: 256.1 examples and 8.25 steps per second." in text
    for row in (
        ["accuracy", "88.1%", "50.9%"],
        ["MCC", "0.52", "0"],
        ["100", "0.456", "81.0%", "0.41"],
        ["200 (best)", "–", "88.1%", "0.52"],
        ["bad", "81.2%", "73.3%", "77.0%", "428"],
        ["good", "65.4%", "90.0%", "75.8%", "444"],
        ["bad", "369", "59"],
        ["good", "45", "399"],
        ["training", "8,123", "9,234", "77", "data/train.tsv"],
        ["validation", "872", "872", "6", "dev.tsv"],
        ["good", "5,000 (61.6%)", "444 (50.9%)"],
        ["bad", "3,123 (38.4%)", "428 (49.1%)"],
        ["empty text", "14"],
        ["0.0001", "71.0%", ""],
        ["0.001", "88.1%", "kept"],
        ["learning_rate", "0.001"],
        ["class_weights", "–"],
        ["bf16", "False"],
        ["Python", "3.12.1"],
    ):
        assert row in cells, row
    notes = ("Best threshold: -1.25.", "Cut: longer than 96 tokens.")
    for words in (*notes, "so bad it is good", "label good, predicted bad, loss 5.125", "the rate is high", "mobilebert train train.tsv"):
        assert words in text


@pytest.mark.parametrize(
    ("label", "prediction", "line"),
    [
        ("good", "", "label good, predicted –, loss 5.125"),
        ("", "a", "label –, predicted a, loss 5.125"),
        (None, "hits 3", "it hits 3, loss 5.125"),
    ],
)
def test_worst_examples_without_a_label_or_a_prediction(label: str | None, prediction: str, line: str) -> None:
    worst = [{"text": "it ", "label": label, "prediction": prediction, "loss": 5.125}]
    assert line in Page(reports.render(made(worst=worst))).text


def test_bars_and_cells_are_as_large_as_their_shares() -> None:
    page = reports.render(made())
    assert re.findall('style="width:(.*?)%"', page) == ["100.0", "82.7", "62.5", "79.7"]  # good, then bad, in training and validation
    assert re.findall("--share:(.*?);--shade:var\\(--(.*?)\\)", page) == [
        ("0.862", "first"),
        ("0.138", "second"),
        ("0.101", "second"),
        ("0.899", "first"),
    ]


@pytest.mark.parametrize(
    ("metrics", "baseline", "warning"),
    [
        ({"accuracy": 0.9}, {"accuracy": 0.5}, None),
        ({"accuracy": 0.5}, {"accuracy": 0.5}, "No better than the baseline (always 'good'): accuracy."),
        ({"accuracy": 0.9, "MCC": 0.0, "F1": 0.2}, {"accuracy": 0.5, "MCC": 0.0, "F1": 0.3}, "(always 'good'): MCC, F1."),
        ({"accuracy": 0.9, "RMSE": 0.4}, {"accuracy": 0.5, "RMSE": 0.5}, None),
        ({"perplexity": 30.0}, {"perplexity": 20.0}, "(always 'good'): perplexity."),
        ({"accuracy": 0.9}, {}, None),
        ({"Pearson": float("nan"), "accuracy": 0.9}, {"Pearson": 0.0}, "Not a number: Pearson."),
    ],
)
def test_a_model_no_better_than_the_baseline_is_marked(metrics: dict[str, float], baseline: dict[str, float], warning: str | None) -> None:
    page = reports.render(scored(metrics=metrics, baseline=baseline) | {"warnings": []})
    assert ('class="alert"' in page) is (warning is not None)
    assert warning is None or warning in Page(page).text


def test_many_classes_show_the_pairs_confused_most() -> None:
    names = [f"class {number}" for number in range(21)]
    matrix = [[0] * 21 for _ in names]
    matrix[3][5], matrix[3][3], matrix[7][2] = 30, 90, 40
    page = reports.render(scored(confusion=[names, matrix]))
    found = rows(page)
    place = found.index(["label", "predicted", "examples", "of the label"])
    assert found[place + 1 : place + 3] == [["class 7", "class 2", "40", "100.0%"], ["class 3", "class 5", "30", "25.0%"]]
    assert "confusion" not in [attributes.get("class") for _, attributes in Page(page).tags]


def hostile(text: str) -> dict[str, Any]:
    """A report with a text wherever a stranger's file has a say."""
    scores = {
        "notes": {text: 0.5},
        "metrics": {f"F1 ({text})": 0.5},
        "baseline": {f"F1 ({text})": 0.6},
        "baseline_name": text,
        "classes": {text: {text: 0.5}},
        "confusion": [[text, "b"], [[1, 2], [3, 4]]],
    }
    part = {"path": text, "examples": 1, "rows": 1, "labels": {text: 1}}
    return made(
        **{key: text for key in ("title", "task", "model", "framework", "command", "stopped", "saved")},
        data={"training": part, "validation": part, "truncated": {}, "dropped": {text: 1}, "max_length": 9, "cut": text, "unit": "example"},
        settings={text: text},
        environment={text: text},
        evaluations=[{"step": 1, "metrics": {text: 0.5}, "loss": 0.5}],
        scores=scores,
        worst=[
            {"text": text, "label": text, "prediction": text, "loss": 1.0},
            {"text": text * 99_999, "label": [text], "prediction": 0, "loss": None},
        ],
        warnings=[text],
    )


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_text_is_only_shown(name: str, tmp_path: Path) -> None:
    text, plain = HOSTILE[name], hostile("plain")
    page = reports.render(hostile(text))
    tags = [(tag_name, sorted(attributes)) for tag_name, attributes in Page(page).tags]
    folded = [(tag_name, sorted(attributes)) for tag_name, attributes in Page(reports.render(plain)).tags]
    assert tags == folded  # the same elements with the same attributes as with a harmless text
    assert not re.search("[\0-\x08\x0b-\x1f\x7f\u202a-\u202e\u2066-\u2069\ud800-\udfff]", page)
    assert Page(page).text.count(text if text.isprintable() else text.encode("unicode_escape").decode()) > 20
    reports.write_report(tmp_path, hostile(text))
    assert (tmp_path / "report.html").read_text(encoding="utf-8") == page
    json.loads((tmp_path / "report.json").read_text(encoding="utf-8")).items()


def test_ordinary_text_of_any_script_is_kept() -> None:
    text = "فيلم رائع\n映画\u3000は 👩‍👩‍👧‍👦"
    page = reports.render(made(worst=[{"text": text, "label": "a", "prediction": "b", "loss": 1.0}]))
    assert f'<p class="text" dir="auto">{text}</p>' in page


def test_long_text_is_folded() -> None:
    text = "".join(chr(ord("a") + place % 26) for place in range(30_000))
    page = reports.render(made(worst=[{"text": text, "label": "l" * 900, "prediction": "b", "loss": 1.0}]))
    assert f">{text[:399]}…</p>" in page and f">{text[:20_000]}</p></details>" in page
    assert "all 30,000 characters; the first 20,000 of them, all are in report.json" in page
    assert f'title="{"l" * 499}…">{"l" * 59}…</bdi>' in page


def test_json_is_strict_and_complete(tmp_path: Path) -> None:
    report = made(losses=[[1, 0.5], [2, float("nan")], [3, -float("inf")]], title="ü\ud800", best_step=np.int64(200), saved=Path("a/b"))
    reports.write_report(tmp_path / "new", report)

    def refuse(constant: str) -> None:
        raise AssertionError(constant)

    read = json.loads((tmp_path / "new" / "report.json").read_bytes().decode(), parse_constant=refuse)
    changed = {"losses": [[1, 0.5], [2, None], [3, None]], "title": "ü\\ud800", "best_step": 200, "saved": "a/b"}
    assert read == made() | changed
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == ["report.html", "report.json"]


@pytest.mark.parametrize("name", ["report.json", "report.html"])
def test_a_full_disk_leaves_the_old_file(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reports.write_report(tmp_path, made(title="old"))
    before = (tmp_path / name).read_bytes()
    replace = folders.os.replace

    def fail(source: Path, target: Path) -> None:
        if target.name == name:
            raise OSError(28, "No space left on device")
        replace(source, target)

    monkeypatch.setattr(folders.os, "replace", fail)
    with pytest.raises(OSError, match="No space left"):
        reports.write_report(tmp_path, made(title="new"))
    assert (tmp_path / name).read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["report.html", "report.json"]


def test_a_long_run_gives_a_small_page_quickly() -> None:
    steps = range(1, 100_001)
    evaluations = [{"step": step, "metrics": dict.fromkeys(("accuracy", "F1", "MCC"), 0.5), "loss": 0.5} for step in steps[99::100]]
    report = made(losses=[[step, 1 / step] for step in steps], rates=[[step, 1e-4] for step in steps], evaluations=evaluations)
    began = time.process_time()
    page = reports.render(report)
    assert time.process_time() - began < 2
    assert len(page.encode()) < 400_000
    assert "Loss: 1 at step 1, 1e-05 at step 100,000; least 1e-05, greatest 1" in page
    assert "mean and range of every 667 steps" in Page(page).text


def test_thinned_curve_is_the_mean_with_its_band() -> None:
    points: list[tuple[float, float | None]] = [(step, float(step % 2)) for step in range(1, 301)]
    points[0] = points[2] = points[3] = (0, None)
    line, size = thinned("loss", points)
    assert size == 2 and len(line.points) == 150
    assert line.points[1] == (0.0, None) and line.points[4] == (9.5, 0.5)
    assert line.band[0][1:] == (0.0, 0.0) and line.band[2] == (7.5, 0.0, 1.0)
    assert thinned("loss", [(1, 2.0)])[0].points == [(1.0, 2.0)] and thinned("loss", [])[0].points == []


@pytest.mark.parametrize(
    ("low", "high", "least", "expected"),
    [
        (0.0, 1.0, 0.0, [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]),
        (0.13, 0.69, 0.0, [0.2, 0.3, 0.4, 0.5, 0.6]),
        (1, 3, 1, [1, 2, 3]),
        (1, 100_000, 1, [20_000, 40_000, 60_000, 80_000, 100_000]),
        (-2e-5, 3e-5, 0.0, [-2e-5, -1e-5, 0.0, 1e-5, 2e-5, 3e-5]),
        (5, 5, 0.0, []),
    ],
)
def test_ticks_are_round(low: float, high: float, least: float, expected: list[float]) -> None:
    assert ticks(low, high, 6, least) == expected


def drawn(**changes: Any) -> str:
    return re.search(r"<figure>.*?</figure>", reports.render(made(rates=[], evaluations=[], **changes)), re.DOTALL)[0]  # type: ignore[index]


def test_curve_is_drawn_where_its_numbers_are() -> None:
    svg = drawn(losses=[[1, 0.0], [2, 1.0], [3, None], [4, 0.5]])
    assert re.findall(r'<path d="([^"]*)" class="line">', svg) == ["M56.0 184.0L169.3 20.0", "M396.0 102.0"]
    assert svg.count("<circle") == 1 and "step 4: 0.5" in svg


@pytest.mark.parametrize("spread", [0.0, 1e-12, 1e-5, 2e-4, 0.01, 1e7])
@pytest.mark.parametrize("value", [0.0, 1.0, -0.69314, 123_456.0])
def test_tick_labels_tell_values_apart(value: float, spread: float) -> None:
    svg = drawn(losses=[[1, value], [2, value + (abs(value) or 1) * spread]])
    labels = re.findall(r'text-anchor="end">(.*?)<', svg)
    assert len(labels) >= 2 and len(set(labels)) == len(labels)
    ends = re.search(r'd="M56.0 (.*?)L396.0 (.*?)" class="line"', svg)
    level = spread == 0 or (spread < 1e-4 and value != 0)
    assert ends and [float(end) for end in ends.groups()] == (pytest.approx([102, 102], abs=0.2) if level else [184, 20])


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0.03, 40, [0.1, 1, 10]),
        (1, 1000, [1, 10, 100, 1000]),
        (0.3, 4, [0.5, 1, 2]),
        (0.39, 0.61, [0.4, 0.45, 0.5, 0.55, 0.6]),
        (1e-9, 1e9, [1e-9, 1e-6, 1e-3, 1, 1e3, 1e6, 1e9]),
    ],
)
def test_ticks_of_ratios_are_powers_of_ten_where_these_are_enough(low: float, high: float, expected: list[float]) -> None:
    found = ratio_ticks(low, high, 6)
    assert found == pytest.approx(expected) and len(found) <= 7


def test_equal_ratios_have_equal_distances() -> None:
    drawn = chart("loss", [Line("loss", [(1, 1000.0), (2, 100.0), (3, 10.0), (4, 0.0), (5, -1.0), (6, 1.0)], dots=True)], by_ratio=True)
    heights = [float(y) for y in re.findall(r'cy="([\d.]+)"', drawn)]
    assert np.diff(heights) == pytest.approx([(220 - 36 - 20) / 3] * 3, abs=0.1) and len(heights) == 4  # the others are left out
    assert re.findall(r">(\d+)</text>", drawn)[:4] == ["1", "10", "100", "1000"]
    assert "No numbers" in chart("loss", [Line("loss", [(1, 0.0)])], by_ratio=True)


def test_phases_are_marked_where_there_is_room() -> None:
    figures = re.findall(r"<figure>.*?</figure>", reports.render(taught()), re.DOTALL)
    titles = [re.search(r"<b>(.*?)</b>", figure)[1] for figure in figures]  # type: ignore[index]
    assert titles == ["Loss of each phase", "Loss of distillation", "Learning rate", "Accuracy", "MCC"]
    for figure in (figures[0], figures[2]):
        assert figure.count('class="border"') == 4 and figure.count('class="line"') == 5
        assert re.findall(r"</title>([^<]+)</text>", figure) == ["1", "2", "3", "4", "5"]
    assert 'class="border"' not in figures[1] and "0.519 at step 241" in figures[1]
    many = reports.render(VARIANTS["taught in 25 phases"])
    assert many.count('class="border"') == 0 and many.count('class="line"') == 2 * 25 + 1 + 1 + 2
    assert 'class="border"' not in reports.render(made()) and "<b>Loss</b>" in reports.render(made())


def test_a_student_is_shown_beside_itself_alone() -> None:
    page = reports.render(taught())
    assert "taught by my-teacher" in page
    assert "Without its teacher, the student comes to accuracy 85.0%, with it to 88.1%." in Page(page).text
    found = rows(page)
    assert ["2: layer 2 of 4", "61 to 120", "400.1", "800"] in found
    assert ["0.001", "alone", "85.0%", ""] in found and ["0.001", "with its teacher", "88.1%", "kept"] in found
    plain = reports.render(made())
    assert "teacher" not in plain and "Phases" not in plain


def test_best_step_is_marked_in_each_metric() -> None:
    page = reports.render(made())
    assert page.count('class="best"') == 2
    assert page.count("M396.0 20V184\" class=\"best\"") == 2  # step 200 of 100 to 200
    assert 'class="best"' not in reports.render(made(best_step=None))


def test_metric_is_drawn_in_percent_only_where_it_is_a_share() -> None:
    figures = dict(re.findall(r"<figure><figcaption><b>(.*?)</b>(.*?)</figure>", reports.render(made()), re.DOTALL))
    assert "step 100: 81%" in figures["Accuracy"] and ">82%<" in figures["Accuracy"]
    assert "step 100: 0.41" in figures["MCC"] and "%" not in figures["MCC"]
    assert "Learning rate: 0.001 at step 1, 0.3 at step 300" in figures["Learning rate"]


def test_tag_escapes_all_but_tags() -> None:
    assert tag("p", "a<b", tag("b", 1, class_="x", title=None), aria_label='"') == '<p aria-label="&quot;">a&lt;b<b class="x">1</b></p>'
    assert tag("p", f"{tag('b', 1)}") == "<p>&lt;b&gt;1&lt;/b&gt;</p>"
    assert "No numbers" in chart("", [])


def test_environment_imports_nothing() -> None:
    found = reports.environment()
    assert found["numpy"] == np.__version__ and found["Python"] == sys.version.split()[0]
    assert int(found["CPU cores"]) > 0 and found["CPU"] and found["platform"]
    assert all(isinstance(value, str) for value in found.values())
    code = "import sys; from mobilebert_common.training.report import environment as e; e(); print({'torch', 'keras'} & {*sys.modules})"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "set()"


def records(data: bytes) -> Iterator[bytes]:
    """The records of a TFRecord file: length, its checksum, content, its checksum."""
    while data:
        (length,) = struct.unpack("<Q", data[:8])
        yield data[12 : 12 + length]
        data = data[16 + length :]


def test_tensorboard_gets_losses_rates_and_evaluations(tmp_path: Path) -> None:
    event_pb2 = pytest.importorskip("tensorboard.compat.proto.event_pb2")
    for report in (made(), made(losses=[[1, 0.5], [2, None]], rates=[[1, 0.25]])):
        reports.write_tensorboard(tmp_path, report)
    (path,) = tmp_path.iterdir()
    assert "tfevents" in path.name
    events = [event_pb2.Event.FromString(record) for record in records(path.read_bytes())]
    assert events[0].file_version == "brain.Event:2"
    found = [(event.step, value.tag, round(value.simple_value, 6)) for event in events[1:] for value in event.summary.value]
    assert found == [
        (1, "training/loss", 0.5),
        (1, "training/learning rate", 0.25),
        (100, "validation/accuracy", 0.81),
        (100, "validation/MCC", 0.41),
        (100, "validation/loss", 0.456),
        (200, "validation/accuracy", 0.881),
        (200, "validation/MCC", 0.52),
    ]


def test_tensorboard_needs_its_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tensorboard.compat.proto.event_pb2", None)
    with pytest.raises(ImportError, match=r"\.\[tensorboard\]"):
        reports.write_tensorboard(tmp_path, made())
