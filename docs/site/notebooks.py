"""Execute the notebooks: `python docs/site/notebooks.py`, or some of them by name. The files stay as they are."""

import sys
import tempfile
import time
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

FOLDER = Path(__file__).resolve().parents[1] / "notebooks"
TIMEOUT = 600  # seconds for a cell


def main(names: list[str]) -> int:
    """Run notebooks, all by default; 1 if a cell fails."""
    paths = [FOLDER / f"{Path(name).stem}.ipynb" for name in names] or sorted(FOLDER.glob("*.ipynb"))
    failed = 0
    for path in paths:
        began = time.monotonic()
        with tempfile.TemporaryDirectory() as folder:
            client = NotebookClient(nbformat.read(path, as_version=4), timeout=TIMEOUT, resources={"metadata": {"path": folder}})
            try:
                client.execute()
            except CellExecutionError as error:
                print(f"{path.name}: {error}", file=sys.stderr)
                failed += 1
            else:
                print(f"{path.name}: {time.monotonic() - began:.0f} s", flush=True)
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
