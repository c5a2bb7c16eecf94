"""Files of a Keras model for other runtimes: one module for each, with a function `write`, and one function here that exports a
checkpoint with all that an app needs. All take the options of mobilebert_common.exports.export.export, and return its report."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mobilebert_common.exports.report import Report


def export_litert(source: str | Path, output: str | Path, **options: Any) -> "Report":
    """Export a checkpoint for LiteRT and MediaPipe: rows of one or several fixed lengths."""
    return _export(source, output, "litert", options)


def export_savedmodel(source: str | Path, output: str | Path, **options: Any) -> "Report":
    """Export a checkpoint for TensorFlow and its Serving: any number of rows and tokens."""
    return _export(source, output, "savedmodel", options)


def _export(source: str | Path, output: str | Path, to: str, options: dict[str, Any]) -> "Report":
    from mobilebert_common.exports.export import export

    return export(source, output, to, **options)
