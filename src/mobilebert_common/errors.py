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
        shown = str(path)
        super().__init__(f"{shown if shown.isprintable() else repr(shown)}: {reason}")  # a name may command a terminal
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


def shortened(findings: Sequence[str], separator: str = "\n  ") -> str:
    """Findings as lines, or with another separator; a hostile file may have millions, or long ones."""
    shown = [text if len(text) <= MAX_FINDING else f"{text[: MAX_FINDING - 3]}..." for text in findings[:MAX_FINDINGS]]
    more = [f"and {len(findings) - MAX_FINDINGS:,} more"] if len(findings) > MAX_FINDINGS else []
    return separator.join([*shown, *more])
