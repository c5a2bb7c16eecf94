import re
import subprocess
import sys
from pathlib import Path

import pytest

COMMAND = [sys.executable, str(Path(__file__).with_name("sharing.py"))]


def run(**counts: int) -> str:
    options = [text for name, count in counts.items() for text in (f"--{name}", str(count))]
    done = subprocess.run([*COMMAND, *options], capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_readers_and_writers_of_one_folder() -> None:
    printed = run(opens=150, saves=15, kills=0)
    assert re.search(r"^150 openings beside a writer: 150 whole, (\d{2,}) different models seen$", printed, re.MULTILINE), printed
    assert "15 rounds of two processes: 15 whole, 0 writers that failed" in printed
    assert "15 rounds of four threads: 15 whole, 0 writers that failed" in printed


def test_kills_while_training_over_a_checkpoint() -> None:
    pytest.importorskip("torch")
    assert "3 kills in train --overwrite: 3 whole, 3 killed" in run(opens=0, saves=0, kills=3)
