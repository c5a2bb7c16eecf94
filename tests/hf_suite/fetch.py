"""Fetch the tests in the sdist of the installed transformers and unpack them as the package `hf_tests`.

`python tests/hf_suite/fetch.py FOLDER` leaves FOLDER/hf_tests; put FOLDER on the path. Nothing of it belongs in the repository.
"""

import subprocess
import sys
import tarfile
from importlib.metadata import version
from pathlib import Path


def fetch(folder: Path) -> None:
    """Download the sdist with pip unless an earlier call did, and unpack its folder `tests`."""
    release = version("transformers")
    archive = folder / f"transformers-{release}.tar.gz"
    if not archive.exists():
        options = ["--no-binary", "transformers", "--no-deps", "--quiet", "--dest", str(folder)]
        subprocess.run([sys.executable, "-m", "pip", "download", *options, f"transformers=={release}"], check=True)
    prefix = f"transformers-{release}/tests/"
    with tarfile.open(archive) as file:
        for member in file.getmembers():
            if member.name.startswith(prefix):
                member.name = f"hf_tests/{member.name.removeprefix(prefix)}"  # `tests` is our own package
                file.extract(member, folder, filter="data")


if __name__ == "__main__":
    destination = Path(sys.argv[1])
    destination.mkdir(parents=True, exist_ok=True)
    fetch(destination)
