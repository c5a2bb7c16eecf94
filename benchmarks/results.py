"""What benchmarks/inference.py found, as JSON, as tables in Markdown and as a plot."""

import json
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from machine import BUSY

from mobilebert_common.errors import counted
from mobilebert_common.training.charts import ticks
from mobilebert_common.training.markup import Html, tag

FILES = ("results.json", "results.md", "results.svg")
Row = dict[str, Any]


def write(folder: Path, found: Row) -> None:
    """Write the three files, each as a whole."""
    folder.mkdir(parents=True, exist_ok=True)
    contents = (json.dumps(found, indent=1, default=str, allow_nan=False) + "\n", markdown(found), plot(found["rows"]) + "\n")
    for name, content in zip(FILES, contents, strict=True):
        (folder / f"{name}.new").write_text(content, encoding="utf-8")
        os.replace(folder / f"{name}.new", folder / name)


# ---------------------------------------------------------------- text


def heading(found: Row) -> str:
    """The machine and what is installed."""
    machine = found["machine"]
    lines = [
        f"{machine['cpu']}, {machine['cores']} cores, {machine['threads']} threads used, {machine['memory_gib']} GiB, {machine['os']}",
        f"flags: {' '.join(machine['flags'])}",
        *(f"{name}: {', '.join(f'{package} {version}' for package, version in each.items())}" for name, each in found["versions"].items()),
        f"{found['options']['layers']} layers, {found['options']['head']}, commit {machine['commit']}, {found['date']}",
    ]
    return "\n".join(lines)


def busy(share: float | None) -> str:
    """A warning if other processes used the CPUs; "" if they did not."""
    if share is None:
        return "whether the machine is idle is unknown"
    return f"busy: others used {share:.0%} of the CPUs" if share > BUSY else ""


def number(value: float) -> str:
    """At least three digits."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def cells(row: Row) -> list[str]:
    """One row of a table: median, peer, ratio, quartiles, distance, notes."""
    if "median" not in row:
        return ["", "", "", "", "", f"FAILED: {row['failed']}" if "failed" in row else f"skipped: {row['skipped']}"]
    has_ratio = "ratio" in row
    notes = [f"{row['same']:.1%} the same predictions" if "same" in row else "", busy(row["others"]) if "others" in row else ""]
    notes += [f"FAILED: {row['failed']}"] if "failed" in row else []
    return [
        f"{row['median']:.4f} {row['unit']}" if row["measure"] == "accuracy" else f"{number(row['median'])} {row['unit']}",
        f"{number(row['peer_median'])} ({row['peer']})" if has_ratio else "",
        f"{row['ratio']:.2f}" if has_ratio else "",
        f"{row['low']:.2f}–{row['high']:.2f}, {counted(row['pairs'], 'pair')}" if has_ratio else "",
        f"{row['distance']:.1e}" if "distance" in row else "",
        "; ".join(filter(None, notes)),
    ]


def line(row: Row) -> str:
    """One row, for a terminal."""
    value, peer, ratio, spread, distance, notes = cells(row)
    return (
        f"{row['measure']:9}{row['case']:19}{row.get('path', ''):15}{value:>14}{peer:>22}{ratio:>7} {spread:22}{distance:>8} {notes}"
    ).rstrip()


HEADS = ["case", "path", "precision", "median", "peer", "ratio", "quartiles", "distance", "notes"]
SPEED = "b1-t128"  # the case whose ratio is shown beside accuracy
TITLES = {
    "forward": "Forward pass",
    "text": "Real texts",
    "export": "Exported files",
    "lengths": "Real texts in LiteRT",
    "start": "Import, load, first call, and the peak of memory",
    "accuracy": "Accuracy of trained models",
}


def markdown(found: Row) -> str:
    """Tables of all that was measured; empty columns are left out."""
    parts = ["# Inference", "![ratios](results.svg)", *heading(found).splitlines()]
    if note := busy(found["machine"]["others"]):
        parts.append(f"**At the start: {note}.**")
    speeds = {row["path"]: row for row in found["rows"] if row["measure"] == "forward" and row["case"] == SPEED and "ratio" in row}
    parts.append("A ratio is the peer's median over ours: 1 or more is no worse. The distance is the relative L2 from float64.")
    for (measure, framework), rows in grouped(found["rows"], "measure", "framework"):
        parts.append(f"## {TITLES[measure]}{', ' + framework if framework else ''}")
        lines = [[row["case"], row.get("title", ""), row.get("precision", ""), *cells(row)] for row in rows]
        if measure == "accuracy":
            for line, row in zip(lines, rows, strict=True):
                if (speed := speeds.get(row.get("path"))) is not None:
                    line[-1] += f"; at {SPEED} {speed['ratio']:.2f} times as fast as {speed['peer']}"
        parts.append(table(HEADS, lines))
    return "\n\n".join(parts) + "\n"


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table in Markdown without its empty columns."""
    kept = [number for number in range(len(head)) if any(row[number] for row in rows)]
    lines = [[head[number] for number in kept], ["---"] * len(kept)]
    lines += [[row[number].replace("|", "\\|") for number in kept] for row in rows]
    return "\n".join(f"| {' | '.join(each)} |" for each in lines)


def grouped(rows: Iterable[Row], *keys: str) -> Iterator[tuple[tuple[Any, ...], list[Row]]]:
    """The rows by the values of some keys, in the order in which these first occur."""
    groups: dict[tuple[Any, ...], list[Row]] = {}
    for row in rows:
        groups.setdefault(tuple(row.get(key, "") for key in keys), []).append(row)
    return iter(groups.items())


# ---------------------------------------------------------------- the plot

LEFT, RIGHT, TOP, BOTTOM = 48, 16, 64, 28  # margins of a panel
HEIGHT = 230  # of a panel, with its margins
WIDTH = 920
BAR, GAP = 18, 26  # widths of a bar and between the bars of two cases, before they are scaled to WIDTH
WIDEST = 30
LETTER = 6.6  # of a legend, about

STYLE = """
:root { --page: #ffffff; --text: #1c2430; --muted: #5a6675; --rule: #d9dfe7; }
.c0 { fill: #1d5fd1; } .c1 { fill: #d1761d; } .c2 { fill: #2f8f4e; } .c3 { fill: #8d4bbf; } .c4 { fill: #b83a5c; } .c5 { fill: #5a6675; }
@media (prefers-color-scheme: dark) {
  :root { --page: #14181f; --text: #e4e9f0; --muted: #9ba8b8; --rule: #333c49; }
  .c0 { fill: #7fb0ff; } .c1 { fill: #ffab6b; } .c2 { fill: #6fcf8f; } .c3 { fill: #c79bf0; } .c4 { fill: #ff8fae; } .c5 { fill: #9ba8b8; }
}
.page { fill: var(--page); }
text { fill: var(--muted); font: 12px system-ui, sans-serif; }
.title { fill: var(--text); font-size: 14px; font-weight: 600; }
.value { font-size: 9px; }
.grid { stroke: var(--rule); }
.one { stroke: var(--text); stroke-dasharray: 4 3; }
.spread { stroke: var(--text); }
"""
COLORS = 6
BUSY_NOTE = f"* measured while other processes used more than {BUSY:.0%} of the CPUs"


def plot(rows: Iterable[Row]) -> str:
    """The ratios as bars: a panel for each measure and framework, a group of bars for each case, a line at 1."""
    rows = list(rows)
    titles = {row["path"]: row["title"] for row in rows if "path" in row}
    panels = list(grouped((row for row in rows if "ratio" in row and "failed" not in row), "measure", "framework"))
    parts = [tag("rect", width="100%", height="100%", class_="page")]
    if not panels:
        parts.append(tag("text", "Nothing was compared.", x=LEFT, y=TOP))
    for place, ((measure, framework), group) in enumerate(panels):
        peers = " and ".join(titles[peer] for peer in dict.fromkeys(row["peer"] for row in group))
        title = f"{TITLES[measure]}, {framework}: how many times better than {peers}"
        parts.append(tag("g", *panel(title, group), transform=f"translate(0 {place * HEIGHT})"))
    height = HEIGHT * max(1, len(panels))
    if any(busy(row.get("others")) for _, group in panels for row in group):
        parts.append(tag("text", BUSY_NOTE, x=LEFT, y=height + 10))
        height += 24
    style = tag("style", Html(STYLE))
    return tag(
        "svg", style, *parts, xmlns="http://www.w3.org/2000/svg", viewBox=f"0 0 {WIDTH} {height}", width=WIDTH, height=height, role="img"
    )


def panel(title: str, rows: Sequence[Row]) -> Iterator[Html]:
    """The bars of one panel, with its title, legend and axes."""
    colors = {name: f"c{number % COLORS}" for number, name in enumerate(dict.fromkeys(row["title"] for row in rows))}
    top = max(1.0, *(row["high"] for row in rows)) * 1.08
    bottom = HEIGHT - BOTTOM

    def up(value: float) -> float:
        return bottom - (bottom - TOP) * value / top

    yield tag("text", title, x=LEFT, y=22, class_="title")
    yield from legend(colors)
    for value in ticks(0, top, 5):
        yield tag("path", d=f"M{LEFT} {up(value):.1f}H{WIDTH - RIGHT}", class_="grid")
        yield tag("text", f"{value:g}", x=LEFT - 6, y=f"{up(value) + 4:.1f}", text_anchor="end")
    groups = list(grouped(rows, "case"))
    scale = (WIDTH - LEFT - RIGHT) / (BAR * len(rows) + GAP * len(groups))
    x = float(LEFT)
    for (case,), bars in groups:
        width = min(WIDEST, BAR * scale)
        room = scale * (BAR * len(bars) + GAP)
        mark = " *" if any(busy(row.get("others")) for row in bars) else ""
        yield tag("text", case + mark, x=f"{x + room / 2:.1f}", y=bottom + 18, text_anchor="middle")
        first = x + (room - width * len(bars)) / 2
        for number, row in enumerate(bars):
            yield from bar(row, colors[row["title"]], first + number * width, width, up)
        x += room
    yield tag("path", d=f"M{LEFT} {up(1):.1f}H{WIDTH - RIGHT}", class_="one")


def bar(row: Row, color: str, x: float, width: float, up: Any) -> Iterator[Html]:
    """One bar with its quartiles and its value."""
    hint = tag("title", f"{row['title']}, {row['case']}: {row['ratio']:.2f} ({row['low']:.2f} to {row['high']:.2f})")
    height = up(0) - up(row["ratio"])
    yield tag(
        "rect", hint, x=f"{x + 1:.1f}", y=f"{up(row['ratio']):.1f}", width=f"{width - 2:.1f}", height=f"{height:.1f}", class_=color
    )
    middle = x + width / 2
    yield tag("path", d=f"M{middle:.1f} {up(row['low']):.1f}V{up(row['high']):.1f}", class_="spread")
    value = f"{row['ratio']:.2f}"
    yield tag("text", value, x=f"{middle:.1f}", y=f"{up(row['high']) - 4:.1f}", text_anchor="middle", class_="value")


def legend(colors: dict[str, str]) -> Iterator[Html]:
    """What the colors mean."""
    x = float(LEFT)
    for name, color in colors.items():
        yield tag("rect", x=f"{x:.1f}", y=33, width=11, height=11, class_=color)
        yield tag("text", name, x=f"{x + 16:.1f}", y=43)
        x += 16 + LETTER * len(name) + 22
