import re
import subprocess
import sys
from pathlib import Path

COMMAND = [sys.executable, str(Path(__file__).with_name("survival.py")), "--framework", "pretended"]


def run(**counts: int) -> str:
    """A short campaign; what is not named is left out."""
    given = {"kills": 0, "signals": 0, "full-disks": 0, "damages": 0, **counts}
    options = [text for name, count in given.items() for text in (f"--{name}", str(count))]
    done = subprocess.run([*COMMAND, *options], capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_kills_and_signals() -> None:
    printed = run(kills=4, signals=4)
    assert re.search(r"^nothing: kills: \d+ identical, \d+ kills; \d+ s$", printed, re.MULTILINE), printed
    assert re.search(r"^nothing: signals: \d+ identical, \d+ signals; \d+ s$", printed, re.MULTILINE), printed
