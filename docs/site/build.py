"""Build the documentation site into site/html and check its links: `python docs/site/build.py`.

The pages are written to be read in the repository. This script copies them to site/source in the form that Zensical needs: links
to files of the repository lead to a plain-text copy, images are copied, links that show the file of a page show its title, fences lose
the tags that the tests read, lists in lists take four spaces, and notebooks become pages. Zensical then builds site/html with every
warning an error, and all links of the result are checked, external ones for their syntax only.
"""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
SITE = ROOT / "site"
SOURCE, HTML = SITE / "source", SITE / "html"
OUTSIDE = {"README.md": "readme.md", "CONTRIBUTING.md": "contributing.md", "CHANGELOG.md": "changelog.md"}  # pages not in docs/
COPIES = "files"  # where the site has its copies of the repository's files
IMAGES = (".png", ".svg")  # copied as they are

CODE = re.compile(r"^( *)(```+|~~~+).*?^\1\2[ \t]*$|(`+)(?!`).+?(?<!`)\3(?!`)", re.MULTILINE | re.DOTALL)
FENCE = re.compile(r"^( *```\w+) \w+$", re.MULTILINE)  # ```python test
NESTED = re.compile(r"^   (?=\S)", re.MULTILINE)  # what is below an item such as "1. "
SECTION = re.compile(r"^( +(?:Args|Attributes|Returns|Yields|Raises):\n)", re.MULTILINE)
LINK = re.compile(r"(\[(?:[\w-]+/)*[\w-]+\.md|)\]\(([^)\s]+)\)")  # with the text where it is a file's name
HOST = re.compile(r"[\w-]+(\.[\w-]+)+(:\d+)?")


def pages() -> dict[Path, str]:
    """Every page and notebook of the repository, and the path of its page in the site."""
    found = {ROOT / name: page for name, page in OUTSIDE.items()}
    found |= {path: path.relative_to(DOCS).as_posix() for path in sorted(DOCS.rglob("*.md"))}
    return found | {path: path.relative_to(DOCS).with_suffix(".md").as_posix() for path in sorted(DOCS.rglob("*.ipynb"))}


def outside_code(change: Callable[[str], str], text: str) -> str:
    """Change a Markdown text except for its code."""
    parts, end = [], 0
    for code in CODE.finditer(text):
        parts += [change(text[end : code.start()]), code[0]]
        end = code.end()
    return "".join([*parts, change(text[end:])])


def notebook_text(path: Path) -> str:
    """A notebook as Markdown, below its title a link to the file itself."""
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    title, *rest = ("".join(cell["source"]) if cell["cell_type"] == "markdown" else fenced("".join(cell["source"])) for cell in cells)
    return "\n\n".join([title, f"[Download this notebook]({path.name}).", *rest]) + "\n"


def title(path: Path) -> str:
    """The title of a page."""
    return path.read_text(encoding="utf-8").split("\n", 1)[0].removeprefix("# ")


def fenced(code: str) -> str:
    """A code cell as Markdown."""
    return f"```python\n{code}\n```"


def stage(path: Path, page: str, known: dict[Path, str], errors: list[str]) -> None:
    """Write the source of one page of the site."""
    up = "../" * page.count("/")
    text = notebook_text(path) if path.suffix == ".ipynb" else path.read_text(encoding="utf-8")
    if path.suffix == ".ipynb":
        copy(path, SOURCE / Path(page).parent / path.name)

    def link(found: re.Match[str]) -> str:
        target, _, anchor = found[2].partition("#")
        if not target or urlsplit(target).scheme or (path.suffix == ".ipynb" and target == path.name):
            return found[0]
        file = (path.parent / unquote(target)).resolve()
        shown = found[1]
        if file in known:
            new = known[file]
            shown = shown and f"[{title(file)}"
        elif file.is_file() and file.is_relative_to(ROOT):
            new = f"{COPIES}/{file.relative_to(ROOT).as_posix()}{'' if file.suffix in IMAGES else '.txt'}"
            copy(file, SOURCE / new)
        else:
            errors.append(f"{path.relative_to(ROOT)}: there is no {target}")
            return found[0]
        return f"{shown}]({up}{new}{'#' if anchor else ''}{anchor})"

    text = FENCE.sub(r"\1", outside_code(lambda part: LINK.sub(link, NESTED.sub(" " * 4, part)), text))
    (SOURCE / page).parent.mkdir(parents=True, exist_ok=True)
    (SOURCE / page).write_text(text, encoding="utf-8")


def copy(source: Path, target: Path) -> None:
    """Copy a file into a folder that need not exist."""
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)


def copy_packages(target: Path) -> None:
    """Copy the sources for the API reference, with the blank line before each section of a docstring that its parser needs."""
    shutil.copytree(ROOT / "src", target)
    shutil.copytree(ROOT / "conversion", target / "mobilebert_conversion")
    for path in target.rglob("*.py"):
        path.write_text(SECTION.sub(r"\n\1", path.read_text(encoding="utf-8")), encoding="utf-8")


class Page(HTMLParser):
    """The anchors and the links of a page."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.anchors: set[str] = set()
        self.links: set[str] = set()
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if name == "id" or (tag == "a" and name == "name"):
                self.anchors.add(value or "")
            elif name in ("href", "src") and value:
                self.links.add(value)


def broken_links() -> Iterator[str]:
    """What is wrong with the links of the built site."""
    found = {path: Page(path) for path in sorted(HTML.rglob("*.html"))}
    for path, page in found.items():
        for link in sorted(page.links):
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                fits = parts.scheme == "https" and HOST.fullmatch(parts.netloc) if parts.netloc else parts.scheme in ("mailto", "data")
            elif path.name == "404.html":  # the theme gives it absolute links
                fits = True
            else:
                target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
                target = target / "index.html" if target.is_dir() else target
                fits = target.is_file() and (not parts.fragment or target not in found or unquote(parts.fragment) in found[target].anchors)
            if not fits:
                yield f"{path.relative_to(HTML)}: {link}"


def main() -> int:
    """Build the site; 1 if anything is wrong with it."""
    shutil.rmtree(SITE, ignore_errors=True)
    known, errors = pages(), []
    for path, page in known.items():
        stage(path, page, known, errors)
    for name in ("zensical.toml", "style.css"):
        copy(DOCS / "site" / name, (SITE if name.endswith(".toml") else SOURCE) / name)
    copy_packages(SITE / "packages")
    if not errors:
        command = [sys.executable, "-m", "zensical", "build", "--clean", "--strict", "--config-file", str(SITE / "zensical.toml")]
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env={**os.environ, "NO_COLOR": "1"})
        print(done.stdout)
        if done.returncode or re.search("warning|error", done.stdout, re.IGNORECASE):
            errors.append("zensical: see above")
        else:
            errors += broken_links()
    for error in errors:
        print(error, file=sys.stderr)
    if not errors:
        print(f"{len(known)} pages in {HTML.relative_to(ROOT)}; serve them with: python -m http.server -d {HTML.relative_to(ROOT)}")
    return int(bool(errors))


if __name__ == "__main__":
    sys.exit(main())
