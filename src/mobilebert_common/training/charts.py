"""Line charts as SVG. The page's stylesheet gives them their colors, light or dark."""

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TypeGuard

from .markup import Html, tag

WIDTH, HEIGHT = 420, 220  # in the SVG's units, about pixels
LEFT, RIGHT, TOP, BOTTOM = 56, 24, 20, 36  # margins
WINDOWS = 150  # points of a curve; more could not be told apart on a phone
LARGEST = 1e300  # larger numbers are left out: their differences overflow
LETTER = 7.5  # the width of one, at most
FLAT = 1e-4  # a curve that varies less, relative to its values, is drawn as a level line

Point = tuple[float, float | None]  # a step and its value; None leaves a gap
Scale = Callable[[float], float]  # from a step or a value to its place


@dataclass(frozen=True)
class Line:
    """A curve: its points in the order of their steps, with dots unless they are many, or with a band around them.

    Attributes:
        color: a class of the stylesheet.
    """

    name: str
    points: Sequence[Point]
    band: Sequence[tuple[float, float, float]] = ()  # step, least, greatest
    dots: bool = False
    color: str = "first"


def thinned(name: str, points: Sequence[Point], size: int = 0) -> tuple[Line, int]:
    """Shorten a curve to at most WINDOWS points, each the mean of several values, with a band from the least to the greatest of them.

    Args:
        size: the number of values behind each point; 0 for what leaves WINDOWS.
    Returns:
        The curve, and the number of values behind each point.
    """
    size = size or -(-len(points) // WINDOWS) or 1
    means: list[Point] = []
    band = []
    for start in range(0, len(points), size):
        window = points[start : start + size]
        values = [value for _, value in window if _has_place(value)]
        middle = (window[0][0] + window[-1][0]) / 2
        means.append((middle, math.fsum(values) / len(values) if values else None))
        if size > 1 and values:
            band.append((middle, min(values), max(values)))
    return Line(name, means, band), size


def chart(
    summary: str,
    lines: Sequence[Line],
    best: float | None = None,
    percent: bool = False,
    phases: Sequence[tuple[str, float, float]] = (),
    by_ratio: bool = False,
) -> Html:
    """Draw curves over steps.

    Args:
        summary: the text alternative.
        best: the step to mark.
        percent: whether the values are shares, to be shown as percentages.
        phases: title, first and last step of each part to mark.
        by_ratio: draw the logarithms of values, so that equal ratios have equal distances; what is not positive is left out.
    """
    if by_ratio:
        lines = [_positive(line) for line in lines]
    steps = [step for line in lines for step, value in line.points if _has_place(value)]
    values = [value for line in lines for _, value in line.points if _has_place(value)]
    values += [edge for line in lines for _, *edges in line.band for edge in edges]
    if not steps:
        return tag("p", "No numbers.", class_="muted")
    marked = best is not None and min(steps) <= best <= max(steps)
    across = _scale(min(steps), max(steps), LEFT, WIDTH - RIGHT)
    low, high = _with_room(min(values), max(values))
    up = (_ratio_scale if by_ratio else _scale)(low, high, HEIGHT - BOTTOM, TOP)
    marks = (ratio_ticks if by_ratio else ticks)(low, high, 6)
    parts = [*_axes(steps, marks, across, up, percent), *_borders(phases, across)]
    if best is not None and marked:
        parts += [
            tag("path", d=f"M{across(best):.1f} {TOP}V{HEIGHT - BOTTOM}", class_="best"),
            tag("text", "best", x=f"{across(best):.1f}", y=TOP - 5, text_anchor="middle"),
        ]
    parts += [tag("g", *_drawn(line, across, up, percent), class_=line.color) for line in lines]
    return tag("svg", tag("title", summary), *parts, viewBox=f"0 0 {WIDTH} {HEIGHT}", role="img", aria_label=summary)


def _has_place(value: float | None) -> TypeGuard[float]:
    return value is not None and abs(value) < LARGEST


def _scale(low: float, high: float, start: float, end: float) -> Scale:
    """Map low..high to start..end; a single value to the middle."""
    if high <= low:
        return lambda value: (start + end) / 2
    return lambda value: start + (value - low) / (high - low) * (end - start)


def _ratio_scale(low: float, high: float, start: float, end: float) -> Scale:
    """Map the logarithms of low..high to start..end."""
    scale = _scale(math.log10(low), math.log10(high), start, end)
    return lambda value: scale(math.log10(value))


def _positive(line: Line) -> Line:
    """The curve where it is positive."""
    points = [(step, value if _has_place(value) and value > 0 else None) for step, value in line.points]
    return replace(line, points=points, band=[(step, low, high) for step, low, high in line.band if low > 0])


def _with_room(low: float, high: float) -> tuple[float, float]:
    """The range of values to draw: wider than low..high where that is too narrow for ticks."""
    size = max(abs(low), abs(high))
    if high - low > FLAT * max(size, 1 / LARGEST):
        return low, high
    margin = size / 10 or 1.0
    return low - margin, high + margin


def _axes(steps: Sequence[float], marks: Sequence[float], across: Scale, up: Scale, percent: bool) -> Iterator[Html]:
    for value in marks:
        yield tag("path", d=f"M{LEFT} {up(value):.1f}H{WIDTH - RIGHT}", class_="grid")
        yield tag("text", _text(value, percent), x=LEFT - 6, y=f"{up(value) + 4:.1f}", text_anchor="end")
    for step in ticks(min(steps), max(steps), 5, least=1) or [min(steps)]:
        yield tag("text", f"{step:,.0f}", x=f"{across(step):.1f}", y=HEIGHT - BOTTOM + 15, text_anchor="middle")
    yield tag("text", "step", x=(LEFT + WIDTH - RIGHT) / 2, y=HEIGHT - 5, text_anchor="middle")


def ticks(low: float, high: float, count: int, least: float = 0.0) -> list[float]:
    """At most `count` + 1 round numbers between low and high, at equal distances of at least `least`.

    >>> ticks(0.13, 0.69, 4)
    [0.2, 0.4, 0.6]
    """
    if high <= low:
        return []
    power = math.floor(math.log10((high - low) / count))
    distance = next(size for size in (float(f"{digit}e{power}") for digit in (1, 2, 5, 10)) if size * count >= (high - low) * 0.999)
    distance = max(distance, least)
    return [float(f"{number * distance:.12g}") for number in range(math.ceil(low / distance), math.floor(high / distance) + 1)]


def ratio_ticks(low: float, high: float, count: int) -> list[float]:
    """At most `count` + 1 numbers between low and high, powers of ten where these are enough.

    >>> ratio_ticks(0.03, 40, 6), ratio_ticks(0.3, 4, 6)
    ([0.1, 1.0, 10.0], [0.5, 1.0, 2.0])
    """
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    for digits in ((1,), (1, 2, 5)):
        found = [value for power in powers for digit in digits if low <= (value := float(f"{digit}e{power}")) <= high]
        if len(found) > 2:
            return found[:: -(-len(found) // (count + 1))]
    return ticks(low, high, count)


def _borders(phases: Sequence[tuple[str, float, float]], across: Scale) -> Iterator[Html]:
    """A light line where each phase but the first begins, and above it the phase's title or number; none where there is no room."""
    for number, (title, first, last) in enumerate(phases, 1):
        begin, end = across(first), across(last)
        name = next((text for text in (title, str(number)) if max(2, len(text)) * LETTER < end - begin), None)
        if name is None:
            continue
        if number > 1:
            yield tag("path", tag("title", title), d=f"M{begin:.1f} {TOP}V{HEIGHT - BOTTOM}", class_="border")
        yield tag("text", tag("title", title), name, x=f"{(begin + end) / 2:.1f}", y=TOP - 5, text_anchor="middle")


def _drawn(line: Line, across: Scale, up: Scale, percent: bool) -> Iterator[Html]:
    """The band, then the curve with its dots. A gap breaks the curve; a single point between two gaps gets a dot in any case."""
    if line.band:
        edges = [(step, high) for step, _, high in line.band] + [(step, low) for step, low, _ in reversed(line.band)]
        yield tag("path", d=f"M{_path(edges, across, up)}Z", class_="band")
    for known, run in itertools.groupby(line.points, key=lambda point: _has_place(point[1])):
        points = [(step, value) for step, value in run if value is not None]
        if not known:
            continue
        yield tag("path", d=f"M{_path(points, across, up)}", class_="line")
        for step, value in points if len(points) == 1 or (line.dots and len(line.points) <= WINDOWS) else ():
            hint = tag("title", f"step {step:,.0f}: {_text(value, percent)}")
            yield tag("circle", hint, cx=f"{across(step):.1f}", cy=f"{up(value):.1f}", r=3, class_="dot")


def _text(value: float, percent: bool) -> str:
    return f"{value * 100:.6g}%" if percent else f"{value:.6g}"


def _path(points: Sequence[tuple[float, float]], across: Scale, up: Scale) -> str:
    return "L".join(f"{across(step):.1f} {up(value):.1f}" for step, value in points)
