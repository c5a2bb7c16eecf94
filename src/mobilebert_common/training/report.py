"""The report of a training run: one HTML file for people, the same as JSON for programs, and event files for TensorBoard."""

import io
import json
import math
import os
import platform
import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import counted
from ..files.folder import write_atomically
from ..optional import needs
from ..tasks import metrics
from .charts import Line, chart, thinned
from .markup import Html, join, page, scrolling, table, tag

REPORT_FILE = "report.json"
EVENTS = "events.out.tfevents.report"  # TensorBoard looks for "tfevents" in the name

LIBRARIES = ("mobilebert-zoo", "torch", "tensorflow", "keras", "accelerate", "peft", "numpy", "tokenizers", "scikit-learn", "scipy")

SHARES = {"accuracy", "F1", "EM", "exact match", "precision", "recall", "NSP accuracy"}  # in percent, also as "best F1" or "F1 (macro)"
LOWER_IS_BETTER = {*metrics.LOWER_IS_BETTER, "loss"}

MOST_COLUMNS = 20  # of a confusion matrix; with more classes, the page lists this many confused pairs instead
MOST_ROWS = 1000  # of any other table
MOST_BARS = 30  # labels in the class balance
SHORT_NAME, LONG_NAME = 60, 500  # characters of a label, and of its tooltip
SHORT_TEXT, LONG_TEXT = 400, 20_000  # characters of a text, folded and unfolded

NONE = "–"


def write_report(folder: Path, report: Mapping[str, Any]) -> None:
    """Write report.json and report.html into a folder, each whole or not at all.

    What strict JSON cannot hold is replaced: NaN and infinity by null, a lone surrogate by its escape as text.

    Raises:
        OSError: the folder cannot be written.
    """
    plain = _plain(report)
    lines = [f"{json.dumps(key)}: {json.dumps(value, ensure_ascii=False)}" for key, value in plain.items()]
    folder.mkdir(parents=True, exist_ok=True)
    write_atomically(folder / REPORT_FILE, "{{\n{}\n}}\n".format(",\n".join(lines)).encode())
    write_atomically(folder / "report.html", _rendered(plain).encode())


def render(report: Mapping[str, Any]) -> str:
    """The report as a self-contained HTML page. Equal reports give equal pages."""
    return _rendered(_plain(report))


def write_tensorboard(folder: Path, report: Mapping[str, Any]) -> None:
    """Write losses, learning rates and evaluations as an event file for TensorBoard, in place of the file of an earlier report.

    Raises:
        ImportError: the package tensorboard is not installed.
        OSError: the folder cannot be written.
    """
    with needs("tensorboard"):
        from tensorboard.compat.proto.event_pb2 import Event
        from tensorboard.compat.proto.summary_pb2 import Summary
        from tensorboard.summary.writer.record_writer import RecordWriter

    file, now = io.BytesIO(), time.time()
    writer = RecordWriter(file)
    writer.write(Event(wall_time=now, file_version="brain.Event:2").SerializeToString())
    for step, name, number in _scalars(report):
        summary = Summary(value=[Summary.Value(tag=name, simple_value=float(number))])
        writer.write(Event(wall_time=now, step=int(step), summary=summary).SerializeToString())
    folder.mkdir(parents=True, exist_ok=True)
    write_atomically(folder / EVENTS, file.getvalue())


def environment() -> dict[str, str]:
    """The versions of Python and the installed libraries, and the machine. Imports none of the libraries."""
    found = {"Python": platform.python_version()}
    for library in LIBRARIES:
        try:
            found[library] = version(library)
        except PackageNotFoundError:
            continue
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return found | {"platform": platform.platform(), "CPU": _cpu(), "CPU cores": str(cores)} | _memory()


def _cpu() -> str:
    """The processor's model. On Linux platform.processor() is empty, or just x86_64."""
    try:
        found = re.search(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace"), re.MULTILINE)
    except OSError:
        found = None
    return found[1] if found else platform.processor() or platform.machine() or "unknown"


def _memory() -> dict[str, str]:
    try:
        return {"memory": f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30:.1f} GiB"}
    except (AttributeError, ValueError, OSError):  # Windows has no sysconf
        return {}


def _plain(value: Any) -> Any:
    """A copy for strict JSON, see `write_report`."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if value is None or isinstance(value, int):
        return value
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode()
    if isinstance(value, np.generic | np.ndarray):
        return _plain(value.tolist())
    if isinstance(value, Mapping):
        return {_plain(str(key)): _plain(item) for key, item in value.items()}
    if isinstance(value, Iterable):
        return [_plain(item) for item in value]
    return _plain(str(value))


def _scalars(report: Mapping[str, Any]) -> Iterator[tuple[float, str, float]]:
    """Step, title and value of all that has a value at a step. TensorBoard shows NaN as such."""
    yield from ((step, "training/loss", loss) for step, loss in report["losses"] if loss is not None)
    yield from ((step, "training/learning rate", rate) for step, rate in report["rates"] if rate is not None)
    for evaluation in report["evaluations"]:
        for name, number in {**evaluation["metrics"], "loss": evaluation["loss"]}.items():
            if number is not None:
                yield evaluation["step"], f"validation/{name}", number


def _rendered(report: Mapping[str, Any]) -> str:
    taught = f"taught by {report['teacher']}" if report["teacher"] else ""
    facts = [report["task"], report["model"], taught, report["framework"], f"saved in {report['saved']}" if report["saved"] else ""]
    head = tag("header", tag("h1", _capital(report["title"])), tag("p", " · ".join(map(str, filter(None, facts))), class_="muted"))
    sections = ((title, list(write(report))) for title, write in SECTIONS.items())
    return page(report["title"], head, *(tag("section", tag("h2", title), *parts) for title, parts in sections if parts))


def _result(report: Mapping[str, Any]) -> Iterator[Html]:
    """The first metric as a sentence, alerts, and all metrics beside the baseline."""
    metrics, baseline, name = (report["scores"][key] for key in ("metrics", "baseline", "baseline_name"))
    if not metrics:
        yield tag("p", "Nothing was measured: the run had no validation data.", class_="alert")
    for title, value in list(metrics.items())[:1]:
        against = f", against {_score(title, baseline[title])} for the baseline ({name})" if title in baseline else ""
        yield tag("p", f"{_capital(title)} ", tag("strong", _score(title, value)), f"{against}.", class_="lead")
    yield from _gain(report)
    if undefined := [title for title, value in metrics.items() if value is None]:
        yield tag("p", f"Not a number: {', '.join(undefined)}.", class_="alert")
    if worse := [title for title, value in metrics.items() if _is_no_better(title, value, baseline.get(title))]:
        yield tag("p", tag("strong", f"No better than the baseline ({name}): {', '.join(worse)}."), class_="alert")
    yield from _outcome(report)
    if metrics:
        rows = [(_name(title), _score(title, value), _score(title, baseline.get(title))) for title, value in metrics.items()]
        yield table("Metrics on the validation data", ("metric", "model", f"baseline: {name}" if name else "baseline"), rows)
    for title, value in report["scores"]["notes"].items():
        yield tag("p", f"{_capital(title)}: {_number(value)}.")


def _gain(report: Mapping[str, Any]) -> Iterator[Html]:
    """What a student comes to alone, beside what it comes to with its teacher."""
    if gain := report["gain"]:
        title, alone, taught = gain["metric"], *(_score(gain["metric"], gain[name]) for name in ("alone", "taught"))
        yield tag("p", f"Without its teacher, the student comes to {title} {alone}, with it to {taught}.")


def _outcome(report: Mapping[str, Any]) -> Iterator[Html]:
    count = len(report["evaluations"])
    if report["best_step"] is not None and count:
        saved = f"The saved weights are those of step {report['best_step']:,}, the best of {counted(count, 'evaluation')}. "
    else:
        saved = ""
    stopped = f"Training stopped {report['stopped']}." if report["stopped"] else ""
    if saved or stopped:
        yield tag("p", saved + stopped)


def _is_no_better(title: str, value: float | None, baseline: float | None) -> bool:
    if value is None or baseline is None:
        return False
    return value >= baseline if _kind(title) in LOWER_IS_BETTER else value <= baseline


def _warnings(report: Mapping[str, Any]) -> Iterator[Html]:
    for warning in report["warnings"][:MOST_ROWS]:
        yield tag("div", *_folded(warning), class_="alert")


def _curves(report: Mapping[str, Any]) -> Iterator[Html]:
    charts = [*_training_charts(report), *_evaluation_charts(report)]
    if charts:
        yield tag("div", *charts, class_="halves")
    if len(report["phases"]) > 1:
        yield tag("details", tag("summary", "Phases as a table"), _phases(report))
    if report["evaluations"]:
        yield tag("details", tag("summary", "Evaluations as a table"), _evaluations(report))


def _training_charts(report: Mapping[str, Any]) -> Iterator[Html]:
    phases = report["phases"] if len(report["phases"]) > 1 else []
    if losses := report["losses"]:
        if phases:  # each has another loss, which may be a thousand times as large
            lines, size = _lines_by_phase("loss", losses, phases)
            yield _figure("Loss of each phase", losses, lines, [f"on a logarithmic scale{_means(size)}"], phases=phases, by_ratio=True)
        labelled = [point for point in losses if not phases or point[0] >= phases[-1][1]]
        training, size = thinned("training", labelled)
        checked = [(each["step"], each["loss"]) for each in report["evaluations"] if each["loss"] is not None]
        keys = [tag("span", "■ training", class_="key first")]
        if checked:
            keys.append(tag("span", " ■ validation", class_="key second"))
        lines = [training, Line("validation", checked, dots=True, color="second")]
        yield _figure(f"Loss of {phases[-1][0]}" if phases else "Loss", labelled, lines, [*keys, _means(size)])
    if rates := report["rates"]:
        yield _figure("Learning rate", rates, _lines_by_phase("learning rate", rates, phases)[0], phases=phases)


def _lines_by_phase(name: str, points: Sequence[Any], phases: Sequence[Any]) -> tuple[list[Line], int]:
    """A curve that is cut where a phase ends, and the number of values behind each point."""
    size = thinned(name, points)[1]
    parts = [[point for point in points if first <= point[0] <= last] for _, first, last in phases] or [[*points]]
    return [thinned(name, part, size)[0] for part in parts], size


def _means(size: int) -> str:
    return f" (mean and range of every {size:,} steps)" if size > 1 else ""


def _evaluation_charts(report: Mapping[str, Any]) -> Iterator[Html]:
    for title in _titles(each["metrics"] for each in report["evaluations"]):
        points = [(each["step"], each["metrics"].get(title)) for each in report["evaluations"]]
        line = Line(title, points, dots=True)
        yield _figure(title, points, [line], ["on the validation data"], report["best_step"])


def _figure(
    title: str,
    points: Sequence[Sequence[Any]],
    lines: Sequence[Line],
    note: Sequence[object] = (),
    best: float | None = None,
    phases: Sequence[tuple[str, float, float]] = (),
    by_ratio: bool = False,
) -> Html:
    """A chart with its caption. The points are those of the first line, or of its parts, before it was thinned."""
    known = [(step, value) for step, value in points if value is not None]
    summary = f"{title}: no numbers"
    if known:
        (first, begin), (last, end) = known[0], known[-1]
        low, high = (choose(value for _, value in known) for choose in (min, max))
        begin, end, low, high = (_score(title, value) for value in (begin, end, low, high))
        summary = f"{title}: {begin} at step {first:,.0f}, {end} at step {last:,.0f}; least {low}, greatest {high}"
    caption = tag("figcaption", tag("b", _capital(title)), " ", *note)
    return tag("figure", caption, chart(_capital(summary), lines, best, _kind(title) in SHARES, phases, by_ratio))


def _titles(rows: Iterable[Mapping[str, Any]]) -> list[str]:
    """All titles, in the order of their first appearance."""
    return list(dict.fromkeys(title for row in rows for title in row))


def _phases(report: Mapping[str, Any]) -> Html:
    losses = {step: loss for step, loss in report["losses"]}
    rows = [
        (f"{number}: {title}", f"{first:,} to {last:,}", _number(losses.get(first)), _number(losses.get(last)))
        for number, (title, first, last) in enumerate(report["phases"], 1)
    ]
    return table("Phases", ("phase", "steps", "first loss", "last loss"), rows[:MOST_ROWS])


def _evaluations(report: Mapping[str, Any]) -> Html:
    evaluations = report["evaluations"]
    titles = _titles(each["metrics"] for each in evaluations)
    rows = [
        (
            tag("strong", f"{each['step']:,} (best)") if each["step"] == report["best_step"] else f"{each['step']:,}",
            _number(each["loss"]),
            *(_score(title, each["metrics"].get(title)) for title in titles),
        )
        for each in evaluations[-MOST_ROWS:]
    ]
    return table(_limited("Evaluations", len(evaluations), "the last"), ("step", "loss", *map(_name, titles)), rows)


def _classes(report: Mapping[str, Any]) -> Iterator[Html]:
    classes = report["scores"]["classes"]
    titles = _titles(classes.values())
    rows = [(_name(label), *(_score(title, scores.get(title)) for title in titles)) for label, scores in classes.items()]
    if rows:
        yield table(_limited("Each class of the validation data", len(rows), "the first"), ("class", *titles), rows[:MOST_ROWS])


def _confusion(report: Mapping[str, Any]) -> Iterator[Html]:
    confusion = report["scores"]["confusion"]
    if confusion is None:
        return
    labels, matrix = confusion.values() if isinstance(confusion, Mapping) else confusion
    if len(labels) <= MOST_COLUMNS:
        yield tag("p", "Rows are labels, columns predictions; cells are shaded by their share of the row.", class_="muted")
        yield _matrix(labels, matrix)
        return
    pairs = [
        (count, label, guess, count / sum(row))
        for label, row in zip(labels, matrix, strict=True)
        for guess, count in zip(labels, row, strict=True)
        if count and guess != label
    ]
    pairs.sort(key=lambda pair: -pair[0])
    rows = [(_name(label), _name(guess), f"{count:,}", f"{share:.1%}") for count, label, guess, share in pairs[:MOST_COLUMNS]]
    yield table("The pairs confused most often", ("label", "predicted", "examples", "of the label"), rows, "pairs")


def _matrix(labels: Sequence[str], matrix: Sequence[Sequence[int]]) -> Html:
    """Labels as rows, predictions as columns, shaded by the share of the label's examples."""
    upright = "upright" if sum(map(len, map(str, labels))) > MOST_COLUMNS * 2 else None
    head = [tag("th", tag("div", _name(each), class_=upright), scope="col") for each in labels]
    rows = []
    for place, (label, row) in enumerate(zip(labels, matrix, strict=True)):
        cells = [
            tag(
                "td",
                f"{count:,}",
                style=f"--share:{count / (sum(row) or 1):.3f};--shade:var(--{'first' if place == column else 'second'})",
                title=f"label {_short(label)}, predicted {_short(labels[column])}: {count:,} of {sum(row):,}",
            )
            for column, count in enumerate(row)
        ]
        rows.append(tag("tr", tag("th", _name(label), scope="row"), *cells))
    grid = tag("table", tag("thead", tag("tr", tag("td"), *head)), tag("tbody", *rows), class_="confusion")
    return scrolling("Confusion matrix", grid)


def _worst(report: Mapping[str, Any]) -> Iterator[Html]:
    if not report["worst"]:
        return
    yield tag("p", "The examples with the highest loss. Some may be labeled wrongly in the data.", class_="muted")
    items = [
        tag(
            "li",
            *_folded(each["text"]),
            tag(
                "div",
                *(() if each["label"] is None else ("label ", tag("strong", _name(each["label"] or NONE)), ", predicted ")),
                tag("strong", _name(NONE if each["prediction"] == "" else each["prediction"])),
                f", loss {_number(each['loss'])}",
                class_="muted",
            ),
        )
        for each in report["worst"][:MOST_ROWS]
    ]
    yield tag("ol", *items, class_="examples")


def _data(report: Mapping[str, Any]) -> Iterator[Html]:
    data = report["data"]
    parts = {part: data[part] for part in ("training", "validation") if data[part]}
    split = any(found["rows"] != found["examples"] for found in parts.values())
    head = ["", f"{data['unit']}s", *(["rows"] if split else []), "cut", "file"]
    rows = [
        (
            part,
            _number(found["examples"]),
            *([_number(found["rows"])] if split else []),
            _number(data["truncated"].get(part)),
            _name(found["path"]),
        )
        for part, found in parts.items()
    ]
    if split:
        yield tag("p", "A row is what the model sees at once: long texts give several.", class_="muted")
    if rows:
        yield table("Files", head, rows)
    if any(data["truncated"].values()):
        yield tag("p", f"Cut: {data['cut']}.", class_="muted")
    labels = {part: found["labels"] for part, found in parts.items() if found["labels"]}
    if labels:
        yield _balance(labels)
    if data["dropped"]:
        rows = [(_short(why), _number(count)) for why, count in data["dropped"].items()]
        yield table(f"Dropped {data['unit']}s", ("reason", f"{data['unit']}s"), rows)


def _balance(parts: Mapping[str, Mapping[str, int]]) -> Html:
    """The number of examples of each label in each part, with bars; if there are many labels, of the most frequent ones."""
    names = list(dict.fromkeys(label for labels in parts.values() for label in labels))
    if len(names) > MOST_BARS:
        totals = {name: sum(labels.get(name, 0) for labels in parts.values()) for name in names}
        names.sort(key=lambda name: -totals[name])
    sums = {part: sum(labels.values()) or 1 for part, labels in parts.items()}
    greatest = max(labels.get(name, 0) / sums[part] for part, labels in parts.items() for name in names) or 1

    def cell(part: str, name: str) -> Html:
        count = parts[part].get(name, 0)
        share = count / sums[part]
        return join([f"{count:,} ({share:.1%})", tag("span", class_="bar", style=f"width:{share / greatest:.1%}")])

    rows = [(_name(name), *(cell(part, name) for part in parts)) for name in names[:MOST_BARS]]
    caption = "Labels" if len(names) <= MOST_BARS else f"The {MOST_BARS} most frequent of {len(names):,} labels"
    return table(caption, ("label", *parts), rows, "balance")


def _trials(report: Mapping[str, Any]) -> Iterator[Html]:
    if len(report["trials"]) > 1:
        metric = next(iter(report["scores"]["metrics"]), "metric")
        some_alone = any(trial.get("alone") for trial in report["trials"])
        rows = [
            (
                _number(trial["learning_rate"]),
                *(["alone" if trial.get("alone") else "with its teacher"] if some_alone else []),
                _score(metric, trial["metric"]),
                "kept" if trial["kept"] else "",
            )
            for trial in report["trials"]
        ]
        head = ("learning rate", *(["student"] if some_alone else []), _name(metric), "")
        yield table("One run for each learning rate" + (", alone and with the teacher" if some_alone else ""), head, rows)


def _speed(report: Mapping[str, Any]) -> Iterator[Html]:
    examples, steps = _number(report["examples_per_second"]), _number(report["steps_per_second"])
    yield tag("p", f"Training took {_duration(report['seconds'])}: {examples} examples and {steps} steps per second.")
    if count := report["snapshots"]:
        yield tag("p", f"{counted(count, 'snapshot')} took {_duration(report['snapshot_seconds'])} of it.")


def _setup(report: Mapping[str, Any]) -> Iterator[Html]:
    parts = {title: report[title] for title in ("settings", "environment") if report[title]}
    tables = [table(_capital(title), ("name", "value"), _pairs(found), "words") for title, found in parts.items()]
    if tables:
        yield tag("div", *tables, class_="halves")


def _pairs(values: Mapping[str, Any]) -> list[tuple[str, str]]:
    return [(_short(name), _short(value, LONG_NAME)) for name, value in values.items()]


def _command(report: Mapping[str, Any]) -> Iterator[Html]:
    if report["command"]:
        yield scrolling("Command", tag("pre", tag("code", report["command"])))


SECTIONS: dict[str, Callable[[Mapping[str, Any]], Iterator[Html]]] = {  # in the order of a reader's questions
    "Result": _result,
    "Warnings": _warnings,
    "Curves": _curves,
    "Classes": _classes,
    "Confusion": _confusion,
    "Worst examples": _worst,
    "Data": _data,
    "Runs compared": _trials,
    "Speed": _speed,
    "Settings and environment": _setup,
    "Command": _command,
}


def _kind(title: str) -> str:
    """A metric's name without its variant: F1 for "best F1" and "F1 (macro)"."""
    return title.removeprefix("best ").split(" (")[0]


def _score(title: str, value: float | None) -> str:
    return f"{value:.1%}" if value is not None and _kind(title) in SHARES else _number(value)


def _number(value: float | None) -> str:
    if value is None:
        return NONE
    return f"{value:,}" if isinstance(value, int) else f"{value:,.0f}" if 1e4 <= abs(value) < 1e15 else f"{value:.4g}"


def _duration(seconds: float | None) -> str:
    if seconds is None or seconds < 60:
        return NONE if seconds is None else f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60} h {minutes % 60} min" if minutes >= 60 else f"{minutes} min {rest} s"


def _capital(title: str) -> str:
    return title[:1].upper() + title[1:]


def _limited(caption: str, rows: int, which: str) -> str:
    return caption if rows <= MOST_ROWS else f"{caption}: {which} {MOST_ROWS:,} of {rows:,}"


def _short(value: Any, limit: int = SHORT_NAME) -> str:
    """A label, or a list of them, on one line."""
    text = ", ".join(map(str, value)) if isinstance(value, list) else NONE if value is None else str(value)
    return text if len(text) <= limit else f"{text[: limit - 1]}…"


def _name(value: Any) -> Html:
    """A label, set apart from the direction of the text around it; a tooltip shows more of a long one."""
    short, long = _short(value), _short(value, LONG_NAME)
    return tag("bdi", short, title=None if short == long else long)


def _folded(text: Any) -> Iterator[Html]:
    """A text; of a long one the start, with the whole to unfold."""
    text = str(text)
    if len(text) <= SHORT_TEXT:
        yield tag("p", text, class_="text", dir="auto")
        return
    yield tag("p", f"{text[: SHORT_TEXT - 1]}…", class_="text", dir="auto")
    rest = f"; the first {LONG_TEXT:,} of them, all are in report.json" if len(text) > LONG_TEXT else ""
    summary = tag("summary", f"all {len(text):,} characters{rest}")
    yield tag("details", summary, tag("p", text[:LONG_TEXT], class_="text", dir="auto"))
