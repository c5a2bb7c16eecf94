"""A short run of the mutants; the long one is the command."""

import subprocess
import sys
from pathlib import Path

from .mutants import DIALECTS

COMMAND = [sys.executable, str(Path(__file__).with_name("mutants.py")), "--workers", "2"]


def test_mutants_are_opened_or_refused() -> None:
    done = subprocess.run([*COMMAND, "--count", "2000", "--seed", "1"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert all(f"{name}: refused" in done.stdout for name in DIALECTS)
