"""The errors a caller may want to tell apart."""

from collections.abc import Sequence
from pathlib import Path

MAX_FINDINGS = 50
MAX_FINDING = 300  # characters


class CheckpointError(ValueError):
    """A checkpoint file that cannot be used, with the file and the reason.

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
    """A configuration value outside its range, or two values that contradict each other."""


class DataError(ValueError):
    """A data file that cannot be used: a missing column, an unreadable line, an unknown label."""


class InputError(ValueError):
    """Tensors a model has no meaning for: ids outside their table, a wrong dtype or shape."""

    _keras_call_info_injected = True  # asks Keras not to wrap the message in a report of every tensor of the call


JOINERS = "\u200c\u200d"  # format characters that letters and emoji need, and that command nothing


def printable(text: str, keep: str = "") -> str:
    """A text without what a terminal would act on: control and format characters are shown as escapes.

    Args:
        keep: characters that stay as they are.
    """
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() or char in keep + JOINERS else _escaped(char) for char in text)


def _escaped(char: str) -> str:
    return char.encode("unicode_escape").decode("ascii")


def shortened(findings: Sequence[str], separator: str = "\n  ") -> str:
    """Findings as lines, or with another separator; a hostile file may have millions, or long ones."""
    shown = [text if len(text) <= MAX_FINDING else f"{text[: MAX_FINDING - 3]}..." for text in findings[:MAX_FINDINGS]]
    more = [f"and {len(findings) - MAX_FINDINGS:,} more"] if len(findings) > MAX_FINDINGS else []
    return separator.join([*shown, *more])
