"""The errors a caller may want to tell apart."""

from pathlib import Path


class CheckpointError(ValueError):
    """A checkpoint file that cannot be used, with the file and the reason.

    Args:
        path: the file or folder at fault.
        reason: what is wrong with it, in one sentence or one line per finding.
    """

    def __init__(self, path: Path | str, reason: str) -> None:
        super().__init__(f"{path}: {reason}")
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
