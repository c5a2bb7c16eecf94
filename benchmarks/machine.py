"""The machine a benchmark runs on: what it is, what is installed, and whether it is idle."""

import json
import os
import platform
import subprocess
import time
from pathlib import Path
from typing import Any

from turns import ROOT

BUSY = 0.05  # share of the CPUs that other processes may use
FLAGS = ("avx2", "avx512f", "avx512_vnni", "avx_vnni", "avx512_bf16", "amx_int8", "amx_bf16", "asimd", "asimddp", "i8mm", "bf16")
PACKAGES = ("torch", "tensorflow", "keras", "tf_keras", "transformers", "tokenizers", "safetensors", "numpy")
PROC = Path("/proc")


def describe(threads: int) -> dict[str, Any]:
    """What matters for speed."""
    lines = (line.partition(":") for line in _read(PROC / "cpuinfo").splitlines())
    cpu: dict[str, str] = {}
    for name, _, value in lines:
        cpu.setdefault(name.strip(), value.strip())
    flags = {*cpu.get("flags", cpu.get("Features", "")).split()}
    model = {name: cpu[name] for name in ("cpu family", "model", "stepping") if name in cpu}
    return {
        "cpu": cpu.get("model name") or platform.processor() or platform.machine(),
        **model,
        "flags": [flag for flag in FLAGS if flag in flags],
        "cores": os.cpu_count(),
        "threads": threads,
        "memory_gib": _memory(),
        "os": platform.platform(),
        "commit": _output("git", "-C", str(ROOT), "describe", "--always", "--dirty"),
    }


def versions(python: str | Path) -> dict[str, str]:
    """{package: version} of one Python, and of itself."""
    code = f"""
import importlib.metadata, json, platform
found = {{"python": platform.python_version()}}
for name in {PACKAGES}:
    try:
        found[name] = importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        pass
print(json.dumps(found))"""
    found: dict[str, str] = json.loads(subprocess.run([str(python), "-c", code], check=True, capture_output=True, text=True).stdout)
    return found


class Load:
    """The share of all CPUs that processes other than this one and its children use, from here on. Needs Linux."""

    def __init__(self) -> None:
        self.begin = _ticks()

    def others(self) -> float | None:
        """The share from 0 to 1 since the beginning; None if the system does not say."""
        if self.begin is None or (now := _ticks()) is None:
            return None
        every, busy, own = (after - before for before, after in zip(self.begin, now, strict=True))
        return round(max(0.0, busy - own) / every, 3) if every else None


def load_now(seconds: float = 1.0) -> float | None:
    """The share that others use within the next second."""
    load = Load()
    time.sleep(seconds)
    return load.others()


def _ticks() -> tuple[int, int, int] | None:
    """Clock ticks of all CPUs together, those of them in which they worked, and those in which they worked for this benchmark."""
    if not (lines := _read(PROC / "stat").splitlines()):
        return None
    user, nice, system, idle, iowait, irq, softirq, steal = map(int, lines[0].split()[1:9])
    busy = user + nice + system + irq + softirq + steal
    parents, used = {}, {}
    for place in PROC.glob("[0-9]*"):
        if fields := _read(place / "stat").rpartition(")")[2].split():
            parents[int(place.name)] = int(fields[1])
            used[int(place.name)] = sum(map(int, fields[11:15]))  # with children that have ended
    family = {os.getpid()}
    while more := {child for child, parent in parents.items() if parent in family} - family:
        family |= more
    return busy + idle + iowait, busy, sum(used.get(process, 0) for process in family)


def _memory() -> float | None:
    for line in _read(PROC / "meminfo").splitlines():
        if line.startswith("MemTotal"):
            return round(int(line.split()[1]) / 2**20, 1)
    return None


def _read(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError:  # another system, or a process that has ended
        return ""


def _output(*command: str) -> str | None:
    try:
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None
