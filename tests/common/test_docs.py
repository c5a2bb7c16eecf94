"""What must hold of the documentation before it is built: `tox run -e docs` builds it and checks its links."""

import ast
import importlib.util
import json
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
REFERENCE = {"mobilebert_pt": "pytorch", "mobilebert_tf": "keras", "mobilebert_common": "common"}
NOTEBOOKS = sorted((DOCS / "notebooks").glob("*.ipynb"))


@pytest.fixture(scope="module")
def build() -> ModuleType:
    spec = importlib.util.spec_from_file_location("build", DOCS / "site" / "build.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def leaves(nav: Any) -> Iterator[str]:
    """The pages of a navigation."""
    if isinstance(nav, str):
        yield nav
    else:
        for each in nav.values() if isinstance(nav, dict) else nav:
            yield from leaves(each)


def test_every_page_is_in_the_navigation_once(build: ModuleType) -> None:
    project = tomllib.loads((DOCS / "site" / "zensical.toml").read_text(encoding="utf-8"))["project"]
    assert sorted(leaves(project["nav"])) == sorted(build.pages().values())


@pytest.mark.parametrize("package", REFERENCE)
def test_the_reference_has_every_public_name(package: str) -> None:
    """Those of __all__, and nothing else of the package's top level."""
    assignments = [node for node in ast.parse((ROOT / "src" / package / "__init__.py").read_text()).body if isinstance(node, ast.Assign)]
    [names] = [ast.literal_eval(node.value) for node in assignments if ast.unparse(node.targets[0]) == "__all__"]
    text = (DOCS / "reference" / f"{REFERENCE[package]}.md").read_text(encoding="utf-8")
    assert [name for name in names if not re.search(rf"\b{name}\b", text)] == []
    assert set(re.findall(rf"^::: {package}\.(\w+)$", text, re.MULTILINE)) <= {*names, "errors"}


def test_there_are_notebooks() -> None:
    assert len(NOTEBOOKS) == 3


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebooks_are_committed_without_outputs(path: Path) -> None:
    notebook = json.loads(path.read_text(encoding="utf-8"))
    code = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    assert code and all(cell["outputs"] == [] and cell["execution_count"] is None for cell in code)
    assert all(cell["metadata"] == {} for cell in notebook["cells"])
    assert set(notebook["metadata"]) == {"kernelspec", "language_info"} and set(notebook["metadata"]["language_info"]) == {"name"}


def test_links_are_found_outside_code_only(build: ModuleType) -> None:
    text = "[a](b.md) `[c](d.md)` [e](f.md#g)\n```python test\n[h](i.md)\n```\n[j](k.md)\n"
    assert build.outside_code(lambda part: build.LINK.sub(r"\1](x)", part), text) == (
        "[a](x) `[c](d.md)` [e](x)\n```python test\n[h](i.md)\n```\n[j](x)\n"
    )
    assert build.FENCE.sub(r"\1", text) == text.replace("python test", "python")


def test_broken_links_are_found(build: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(build, "HTML", tmp_path)
    links = ["b/", "b/#there", "#here", "https://example.org/x", "b/#absent", "c/", "http:/example.org", "https://example", "#absent"]
    (tmp_path / "index.html").write_text("<p id='here'>" + "".join(f"<a href='{link}'>.</a>" for link in links))
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "index.html").write_text("<p id='there'>")
    assert sorted(build.broken_links()) == sorted(f"index.html: {link}" for link in links[4:])


def test_images_are_copied_as_they_are(build: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(build, "SOURCE", tmp_path)
    errors: list[str] = []
    build.stage(DOCS / "distillation.md", "distillation.md", build.pages(), errors)
    copied = "files/docs/knowledge-transfer.svg"
    assert f"]({copied})" in (tmp_path / "distillation.md").read_text() and (tmp_path / copied).is_file() and not errors
