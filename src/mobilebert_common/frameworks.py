"""The only place where the shared code imports a framework."""

import importlib
from typing import Any

from .optional import install

# name -> package, and the framework's name in messages
FRAMEWORKS = {"pt": ("mobilebert_pt", "PyTorch"), "tf": ("mobilebert_tf", "Keras")}
LIBRARIES = ("torch", "tensorflow", "keras", "optree")


def library(name: str) -> Any:
    """Import one of LIBRARIES."""
    return importlib.import_module(name)


def twin(framework: str) -> Any:
    """Import mobilebert_pt or mobilebert_tf and return its module `twin`, which implements the protocol training.twin.Twin.

    Args:
        framework: "pt" or "tf".
    Raises:
        ValueError: the name is unknown.
        ImportError: the framework is not installed; the message gives the command that installs it.
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


def runtime(name: str) -> Any:
    """Import the module in mobilebert_common.runtimes that runs the files of a target, and with it its library.

    Raises:
        ModuleNotFoundError: the library is not installed.
    """
    return importlib.import_module(f"{__package__}.runtimes.{name}")


def writer(framework: str, name: str) -> Any:
    """Import the module of a twin that writes files for another runtime.

    Args:
        framework: "pt" or "tf".
        name: of a module in its package `exports`.
    Raises:
        ImportError: the framework, or a library that the module needs, is not installed.
    """
    twin(framework)
    return importlib.import_module(f"{FRAMEWORKS[framework][0]}.exports.{name}")
