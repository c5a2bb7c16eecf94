"""Files of a PyTorch model for other runtimes: one module for each, with a function `write`, and one function here that exports a
checkpoint with all that an app needs. All take the options of mobilebert_common.exports.export.export, and return its report."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mobilebert_common.exports.report import Report


def export_onnx(source: str | Path, output: str | Path, **options: Any) -> "Report":
    """Export a checkpoint for ONNX Runtime and transformers.js: any number of rows and tokens."""
    return _export(source, output, "onnx", options)


def export_web(source: str | Path, output: str | Path, **options: Any) -> "Report":
    """Export a classifier of texts as a web page without a server."""
    return _export(source, output, "web", options)


def export_executorch(source: str | Path, output: str | Path, **options: Any) -> "Report":
    """Export a checkpoint for ExecuTorch: rows of a fixed length."""
    return _export(source, output, "executorch", options)


def export_openvino(source: str | Path, output: str | Path, **options: Any) -> "Report":
    """Export a checkpoint for OpenVINO: any number of rows and tokens."""
    return _export(source, output, "openvino", options)


def _export(source: str | Path, output: str | Path, to: str, options: dict[str, Any]) -> "Report":
    from mobilebert_common.exports.export import export

    return export(source, output, to, **options)
