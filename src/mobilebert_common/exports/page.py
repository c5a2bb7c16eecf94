"""The web page that runs an exported classifier: static files, which lie in web/ and go beside the model."""

from pathlib import Path

FOLDER = Path(__file__).parent / "web"


def page_files() -> dict[str, bytes]:
    """{name: content} of the page's files."""
    return {path.name: path.read_bytes() for path in sorted(FOLDER.iterdir())}
