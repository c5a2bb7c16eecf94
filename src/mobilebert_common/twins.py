"""The one door from the shared code to a framework."""

import importlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol, cast

FRAMEWORKS = {"pt": ("mobilebert_pt", "torch", "PyTorch"), "tf": ("mobilebert_tf", "keras", "Keras")}


class Twin(Protocol):
    """What either framework's package offers to the command line, the tasks and the tokenizers."""

    def tensor(self, array: Any) -> Any:
        """A numpy array as the framework's tensor."""


def twin(framework: str) -> Twin:
    """Import a twin, mobilebert_pt or mobilebert_tf.

    Args:
        framework: "pt" or "tf".
    Raises:
        ValueError: another name.
        ImportError: the framework is not installed; the message holds the command that installs it.
    """
    if framework not in FRAMEWORKS:
        raise ValueError(f"framework must be one of {', '.join(FRAMEWORKS)}, not {framework!r}")
    package, library, title = FRAMEWORKS[framework]
    try:
        return cast(Twin, importlib.import_module(f"{package}.twin"))
    except ModuleNotFoundError as error:
        if (error.name or "").split(".")[0] not in (library, "tensorflow", "torch", "keras", "accelerate"):
            raise
        raise ImportError(f"{title} is not installed: pip install 'mobilebert-zoo[{framework}]'") from error
