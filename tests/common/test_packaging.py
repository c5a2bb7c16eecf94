"""What pyproject.toml lists is what there is. mobilebert_conversion lives in conversion/, so the list is written by hand."""

import importlib.metadata
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
SETUPTOOLS = PROJECT["tool"]["setuptools"]
TOP = {
    "mobilebert_common": ROOT / "src" / "mobilebert_common",
    "mobilebert_pt": ROOT / "src" / "mobilebert_pt",
    "mobilebert_tf": ROOT / "src" / "mobilebert_tf",
    "mobilebert_conversion": ROOT / "conversion",
}


def package(top: str, folder: Path) -> str:
    return ".".join((top, *folder.relative_to(TOP[top]).parts))


def test_every_package_is_listed() -> None:
    there = {package(top, path.parent) for top, folder in TOP.items() for path in folder.rglob("__init__.py")}
    assert sorted(there) == SETUPTOOLS["packages"]


def test_every_folder_with_code_is_a_package() -> None:
    there = {package(top, path.parent) for top, folder in TOP.items() for path in folder.rglob("*.py")}
    assert sorted(there) == SETUPTOOLS["packages"]


@pytest.mark.parametrize("top", TOP)
def test_every_other_file_is_package_data(top: str) -> None:
    files = {path for path in TOP[top].rglob("*") if path.is_file() and path.suffix != ".py" and "__pycache__" not in path.parts}
    listed = {path for pattern in SETUPTOOLS["package-data"][top] for path in TOP[top].glob(pattern)}
    assert files == listed


@pytest.mark.parametrize("top", TOP)
def test_types_are_public(top: str) -> None:
    assert (TOP[top] / "py.typed").is_file()


def test_installed_package_has_its_files() -> None:
    files = importlib.metadata.files("mobilebert-zoo")
    if not any(str(path).startswith("mobilebert_common") for path in files or ()):
        pytest.skip("an editable install, which has no files of its own")
    there = {str(path) for path in files or ()}
    wanted = {
        "/".join((top, *path.relative_to(folder).parts))
        for top, folder in TOP.items()
        for path in folder.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert wanted <= there
    stale = {path for path in there - wanted if path.split("/")[0] in TOP and not path.endswith(".pyc")}
    assert not stale


def test_version_is_written_once() -> None:
    version = PROJECT["project"]["version"]
    assert importlib.metadata.version("mobilebert-zoo") == version
    for folder in TOP.values():
        for path in folder.rglob("*.py"):
            assert not re.search(r"^__version__\s*=\s*[\"']", path.read_text(encoding="utf-8"), re.MULTILINE), path


def test_changelog_has_the_version() -> None:
    headings = re.findall(r"^## \[(.+?)\]", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert headings[:2] == ["Unreleased", PROJECT["project"]["version"]]


def test_all_is_every_extra_but_the_exporters() -> None:
    extras = PROJECT["project"]["optional-dependencies"]
    assert extras["all"] == ["mobilebert-zoo[pt,tf,cli,train,hub]"]
    assert {"pt", "tf", "cli", "train", "hub"} <= set(extras)


@pytest.mark.parametrize("name", ["constraints.txt", "constraints-hf4.txt", "constraints-hf5.txt"])
def test_constraints_are_exact_and_plain(name: str) -> None:
    lines = [line for line in (ROOT / name).read_text(encoding="utf-8").splitlines() if not line.startswith("#")]
    for line in lines:
        assert re.fullmatch(r"[A-Za-z0-9._-]+==[A-Za-z0-9.]+", line), line
    assert "torch==2.13.0" in lines
