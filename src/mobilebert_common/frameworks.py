"""The one door from the shared code to a framework."""

import importlib
from typing import Any

from .optional import install

# name -> package, and what people call the framework
FRAMEWORKS = {"pt": ("mobilebert_pt", "PyTorch"), "tf": ("mobilebert_tf", "Keras")}
LIBRARIES = ("torch", "tensorflow", "keras", "optree")


def twin(framework: str) -> Any:
    """Import a twin, mobilebert_pt or mobilebert_tf: its module `twin`, which is as training.twin.Twin says.

    Args:
        framework: "pt" or "tf".
    Raises:
        ValueError: another name.
        ImportError: the framework is not installed; the message holds the command that installs it.
    """
    if framework not in FRAMEWORKS:
        raise ValueError(f"framework must be one of {', '.join(FRAMEWORKS)}, not {framework!r}")
    package, title = FRAMEWORKS[framework]
    try:
        return importlib.import_module(f"{package}.twin")
    except ModuleNotFoundError as error:
        if (error.name or "").split(".")[0] not in LIBRARIES:
            raise
        raise ImportError(f"{title} is not installed: {install(framework)}") from error
