"""How fast hostile files are refused and in how much memory: `python tests/hostile/measure.py`. Prints the figures, fails above them.

Time is the processor's in the call alone. Memory is the peak of resident memory during the call above what was resident before
it, read from /proc (Linux), after what earlier calls freed was given back to the system.
"""

import ctypes
import gc
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

if __name__ == "__main__":  # what pytest finds by itself: this package, and support beside it
    sys.path[:0] = [str(Path(__file__).parents[level]) for level in (1, 2)]

from mobilebert_common.errors import CheckpointError
from tests.hostile.corpus import LOADERS, Case, cases, folder_of, harm, prepare

SECONDS = 0.5  # the 99th percentile
MEGABYTES = 64


class Figure(NamedTuple):
    seconds: float
    megabytes: float
    case: str
    fault: str | None


def main() -> None:
    found = cases()
    with tempfile.TemporaryDirectory() as folder:
        stage = Path(folder)
        prepare(stage)
        os.chdir(stage)
        measure(found[0], stage)  # what is imported late
        figures = [measure(case, stage) for case in found]
        os.chdir("/")
    faults = [f"{figure.case}: {figure.fault}" for figure in figures if figure.fault]
    p99 = sorted(figure.seconds for figure in figures)[int(0.99 * len(figures))]
    slowest = sorted(figures, reverse=True)[:5]
    largest = sorted(figures, key=lambda figure: -figure.megabytes)[:5]
    print(f"{len(figures)} hostile files, {len(faults)} not refused as they should be")
    print(f"99th percentile {p99:.3f} s; slowest: " + "; ".join(f"{one.seconds:.3f} s {one.case}" for one in slowest))
    print("memory above idle: " + "; ".join(f"{one.megabytes:.1f} MB {one.case}" for one in largest))
    print("\n".join(faults))
    if faults or p99 > SECONDS or largest[0].megabytes > MEGABYTES:
        sys.exit(f"above {SECONDS} s or {MEGABYTES} MB, or not refused")


def measure(case: Case, stage: Path) -> Figure:
    """One case: how long, how much memory, and what was wrong."""
    folder = folder_of(stage, case)
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5")  # resets the peak
    before = memory("VmRSS")
    started = time.process_time()
    try:
        LOADERS[case.loader](folder)
        fault: str | None = "was accepted"
    except CheckpointError as error:
        fault = None if len(str(error)) < 20_000 else "has an error of more than 20,000 characters"
    except Exception as error:
        fault = f"raised {type(error).__name__}: {error!s:.200}"
    seconds = time.process_time() - started
    return Figure(seconds, (memory("VmHWM") - before) / 1024, case.name, fault or harm(stage))


def memory(field: str) -> int:
    """Kilobytes."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(field))


if __name__ == "__main__":
    main()
