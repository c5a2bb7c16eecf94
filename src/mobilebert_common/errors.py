"""The exceptions of this package, and how error messages are shortened and made safe to print."""

import math
import signal
from collections.abc import Sequence
from pathlib import Path

MAX_FINDINGS = 50
MAX_FINDING = 300  # characters


class CheckpointError(ValueError):
    """A checkpoint cannot be used. The message gives the file and the reason.

    Args:
        path: the file or folder at fault.
        reason: what is wrong with it, in one sentence or one line per finding.
    """

    def __init__(self, path: Path | str, reason: str) -> None:
        shown, reason = str(path), printable(reason, keep="\n")
        super().__init__(f"{shown if shown.isprintable() else repr(shown)}: {reason}")
        self.path = Path(path)
        self.reason = reason

    def __reduce__(self) -> tuple[type["CheckpointError"], tuple[Path, str]]:
        return type(self), (self.path, self.reason)


class ConfigError(ValueError):
    """A configuration value or an option is invalid, or two of them contradict each other."""


class DivergedError(ConfigError):
    """A loss or a gradient in training is NaN or infinite. The model has the weights from before that step.

    Args:
        step: the number of the step, from 1.
        loss: its loss.
    """

    def __init__(self, step: int, loss: float) -> None:
        found = f"the gradient is not finite in step {step:,} (the loss is {loss:.4g})"
        found = found if math.isfinite(loss) else f"the loss is {loss} in step {step:,}"
        super().__init__(f"{found}: train with a smaller learning rate")
        self.step = step
        self.loss = loss

    def __reduce__(self) -> tuple[type["DivergedError"], tuple[int, float]]:
        return type(self), (self.step, self.loss)


class Interrupted(KeyboardInterrupt):
    """SIGINT or SIGTERM ended the work.

    Args:
        signum: the number of the signal.
        kept: what was saved, in one sentence.
    """

    def __init__(self, signum: int, kept: str = "") -> None:
        super().__init__(f"interrupted by {signal.Signals(signum).name}{': ' if kept else ''}{kept}")
        self.signum = signum
        self.kept = kept

    def __reduce__(self) -> tuple[type["Interrupted"], tuple[int, str]]:
        return type(self), (self.signum, self.kept)

    @property
    def status(self) -> int:
        """The exit status, as a shell gives it: 130 for SIGINT, 143 for SIGTERM."""
        return 128 + self.signum


class DataError(ValueError):
    """A data file cannot be used: a column is missing, a line is unreadable, a label is unknown."""


class InputError(ValueError):
    """A model cannot take these tensors: an id is outside its table, or a dtype or shape is wrong."""

    _keras_call_info_injected = True  # keeps Keras from appending every argument of the call to the message


JOINERS = "\u200c\u200d"  # harmless format characters that scripts and emoji need


def printable(text: str, keep: str = "") -> str:
    """Escape control and format characters, so that a terminal prints the text instead of acting on it.

    Args:
        keep: characters to leave as they are.
    """
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() or char in keep + JOINERS else _escaped(char) for char in text)


def brief(value: object) -> str:
    """A shortened value for an error message."""
    try:
        return f"{value!r:.80}"
    except (ValueError, RecursionError):  # an integer with too many digits, or a list nested too deeply
        return f"a {type(value).__name__} too large to show"


def counted(number: int, noun: str) -> str:
    """A number with its noun.

    >>> counted(1, "example"), counted(1200, "example")
    ('1 example', '1,200 examples')
    """
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _escaped(char: str) -> str:
    return char.encode("unicode_escape").decode("ascii")


def shortened(findings: Sequence[str], separator: str = "\n  ") -> str:
    """Join findings, at most MAX_FINDINGS of MAX_FINDING characters: a hostile file may cause millions, or very long ones."""
    shown = [text if len(text) <= MAX_FINDING else f"{text[: MAX_FINDING - 3]}..." for text in findings[:MAX_FINDINGS]]
    more = [f"and {len(findings) - MAX_FINDINGS:,} more"] if len(findings) > MAX_FINDINGS else []
    return separator.join([*shown, *more])
