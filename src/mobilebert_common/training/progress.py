"""The progress bar of training: loss, speed, time left and the last evaluation."""

import contextlib
import time
from collections.abc import Iterator, Mapping
from typing import Any, Protocol

from ..errors import printable
from ..optional import needs
from .transfer import Phase


class Progress(Protocol):
    """What is told of a run while it goes on."""

    def begin(self, steps: int, title: str, done: int = 0) -> None:
        """Training of so many steps begins, or goes on after those that are done."""

    def phase(self, found: Phase) -> None:
        """A phase of the training begins, one of several."""

    def step(self, done: int, loss: float) -> None:
        """A step is done, and this was its loss."""

    def evaluated(self, step: int, metrics: Mapping[str, float]) -> None:
        """The model was evaluated after a step."""

    def say(self, line: str) -> None:
        """A line for the user."""


class Silence:
    """Shows nothing."""

    def begin(self, steps: int, title: str, done: int = 0) -> None: ...

    def phase(self, found: Phase) -> None: ...

    def step(self, done: int, loss: float) -> None: ...

    def evaluated(self, step: int, metrics: Mapping[str, float]) -> None: ...

    def say(self, line: str) -> None: ...


class Bar:
    """A bar on the terminal."""

    def __init__(self, console: Any, bar: Any) -> None:
        self.console, self.bar = console, bar
        self.task: Any = None
        self.started = 0.0
        self.before = 0  # steps that were done when it started
        self.smoothed: float | None = None

    def begin(self, steps: int, title: str, done: int = 0) -> None:
        if self.task is not None:
            self.bar.stop_task(self.task)
        self.started, self.smoothed, self.before = time.monotonic(), None, done
        self.task = self.bar.add_task(title, total=steps, completed=done, loss="", speed="", evaluation="")
        self.bar.start()

    def phase(self, found: Phase) -> None:
        self.smoothed = None  # the loss of another phase is another loss
        self.say(f"{found.title}: steps {found.start + 1:,} to {found.stop:,}")

    def step(self, done: int, loss: float) -> None:
        self.smoothed = loss if self.smoothed is None else 0.95 * self.smoothed + 0.05 * loss
        speed = (done - self.before) / max(1e-9, time.monotonic() - self.started)
        self.bar.update(self.task, completed=done, loss=f"loss {self.smoothed:.3f}", speed=f"{speed:.1f} steps/s")

    def evaluated(self, step: int, metrics: Mapping[str, float]) -> None:
        title, value = next(iter(metrics.items()))
        self.bar.update(self.task, evaluation=f"{title} {value:.3f}")

    def say(self, line: str) -> None:
        self.console.print(printable(line), highlight=False, markup=False, soft_wrap=True)


@contextlib.contextmanager
def bar(console: Any = None) -> Iterator[Progress]:
    """Show a progress bar while the block runs.

    Args:
        console: of the library rich; default: the terminal.
    """
    with needs("cli"):
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
        from rich.progress import Progress as Bars
    console = Console() if console is None else console
    bars = Bars(
        TextColumn("{task.description}"),
        BarColumn(bar_width=20),
        MofNCompleteColumn(),
        TextColumn("{task.fields[loss]}"),
        TextColumn("{task.fields[speed]}"),
        TimeRemainingColumn(compact=True, elapsed_when_finished=True),
        TextColumn("{task.fields[evaluation]}"),
        console=console,
    )
    try:
        yield Bar(console, bars)
    finally:
        if bars.live.is_started:  # or stopping it prints an empty line
            bars.stop()
