"""The rules on imports that import-linter cannot say; the others are in pyproject.toml."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCES = sorted([*(ROOT / "src").rglob("*.py"), *(ROOT / "conversion").rglob("*.py")])
DOOR = ROOT / "src" / "mobilebert_common" / "frameworks.py"
FRAMEWORKS = ("torch", "tensorflow", "keras", "jax", "transformers", "accelerate", "mobilebert_pt", "mobilebert_tf")


def parse(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


def at_import(node: ast.AST) -> Iterator[ast.AST]:
    """The nodes that run when a module is imported: all but the bodies of functions."""
    for child in ast.iter_child_nodes(node):
        yield child
        if not isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            yield from at_import(child)


def imported(node: ast.AST) -> list[str]:
    """The modules an import statement names."""
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom) and not node.level:
        return [f"{node.module}.{alias.name}" for alias in node.names]
    return []


def loads_by_name(node: ast.AST) -> bool:
    """Whether a node gets hold of what imports a module by its name. importlib.resources and importlib.metadata only read files."""
    if isinstance(node, ast.Name | ast.Attribute):
        return (node.id if isinstance(node, ast.Name) else node.attr) in ("__import__", "import_module")
    files = ("importlib.resources", "importlib.metadata")
    return any(name.split(".")[0] == "importlib" and not name.startswith(files) for name in imported(node))


def names(paths: list[Path]) -> list[str]:
    return [path.relative_to(ROOT).as_posix() for path in paths]


def test_keras_twin_imports_no_tensorflow_at_the_top() -> None:
    """Its models run on any backend of Keras; a function that needs TensorFlow imports it, and so does what only `export` imports."""
    twin = ROOT / "src" / "mobilebert_tf"
    guilty = [
        path
        for path in twin.rglob("*.py")
        if not (path.parent == twin / "exports" and path.name != "__init__.py")
        and any(name.split(".")[0] == "tensorflow" for node in at_import(parse(path)) for name in imported(node))
    ]
    assert names(guilty) == []


def test_one_door_to_the_frameworks() -> None:
    guilty = [path for path in SOURCES if any(map(loads_by_name, ast.walk(parse(path))))]
    assert names(guilty) == names([DOOR])


@pytest.mark.parametrize(
    ("code", "found"),
    [
        ("import importlib", True),
        ("from importlib import import_module", True),
        ("import importlib.util as u", True),
        ("import importlib.resources", False),
        ("from importlib.metadata import version", False),
        ("import importlib.resources; importlib.import_module('torch')", True),
        ("__import__('torch')", True),
    ],
)
def test_the_door_check_sees(code: str, found: bool) -> None:
    assert any(map(loads_by_name, ast.walk(ast.parse(code)))) is found


@pytest.mark.parametrize(
    ("code", "found"),
    [
        ("import tensorflow as tf", True),
        ("try:\n    from tensorflow.io import gfile\nexcept ImportError:\n    pass", True),
        ("class A:\n    import tensorflow", True),
        ("def f():\n    import tensorflow", False),
    ],
)
def test_the_top_level_check_sees(code: str, found: bool) -> None:
    seen = {name.split(".")[0] for node in at_import(ast.parse(code)) for name in imported(node)}
    assert ("tensorflow" in seen) is found


def test_core_imports_without_a_framework() -> None:
    """Every module of mobilebert_common, in a process where importing a framework fails."""
    folder = ROOT / "src"
    modules = [
        ".".join(path.relative_to(folder).with_suffix("").parts).removesuffix(".__init__")
        for path in sorted((folder / "mobilebert_common").rglob("*.py"))
    ]
    code = [f"import sys; sys.modules.update(dict.fromkeys({FRAMEWORKS!r}))", *(f"import {module}" for module in modules)]
    done = subprocess.run([sys.executable, "-c", "\n".join(code)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout + done.stderr == ""
