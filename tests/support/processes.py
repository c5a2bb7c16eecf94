"""Several processes on this machine with the environment that torchrun gives them. Imports no framework."""

import json
import os
import runpy
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

GRACE = 10.0  # seconds for the others to end after one has failed; torchrun kills them too


def launch(
    command: list[str],
    processes: int = 2,
    timeout: float = 300.0,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
) -> list[subprocess.CompletedProcess[str]]:
    """Run a command in several processes as torchrun would, and wait for them.

    Args:
        env: added to this process's environment. The processes import from where this one does.
    Returns:
        One result per rank. When one has failed, the others are killed if they do not end by themselves.
    Raises:
        TimeoutError: with the output of all processes, which are killed.
    """
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    common = {
        **os.environ,
        "PYTHONFAULTHANDLER": "1",
        "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "WORLD_SIZE": str(processes),
        "LOCAL_WORLD_SIZE": str(processes),
        **(env or {}),
    }
    with tempfile.TemporaryDirectory() as folder:
        files = [(Path(folder) / f"{rank}.out", Path(folder) / f"{rank}.err") for rank in range(processes)]
        running = []
        for rank, (out, err) in enumerate(files):
            ranked = common | {"RANK": str(rank), "LOCAL_RANK": str(rank)}
            with out.open("w") as stdout, err.open("w") as stderr:
                running.append(subprocess.Popen(command, env=ranked, cwd=cwd, stdout=stdout, stderr=stderr))
        in_time = wait(running, timeout)
        texts = [(out.read_text(errors="replace"), err.read_text(errors="replace")) for out, err in files]
    if not in_time:
        raise TimeoutError(f"not finished after {timeout} s: {command}\n" + "\n".join(out + err for out, err in texts))
    return [subprocess.CompletedProcess(command, process.returncode, *text) for process, text in zip(running, texts, strict=True)]


def wait(running: list[subprocess.Popen[str]], timeout: float) -> bool:
    """Wait until all processes have ended, and kill those that do not; false if the time was over first."""
    end = time.monotonic() + timeout
    failed = False
    try:
        while any(process.poll() is None for process in running) and time.monotonic() < end:
            if not failed and any(process.returncode for process in running):
                failed, end = True, min(end, time.monotonic() + GRACE)
            time.sleep(0.02)
        return failed or all(process.poll() is not None for process in running)
    finally:
        for process in running:
            process.kill()
            process.wait()


def call(function: Callable[..., Any], *arguments: Any, processes: int = 2, timeout: float = 300.0, **env: str) -> list[Any]:
    """Call a function of a module in several processes, and return what it returns in each.

    Args:
        arguments: for the function; they and what it returns are made of what JSON has.
        env: environment variables.
    Raises:
        AssertionError: it raised an exception in one of the processes; with the output of all that failed.
    """
    source = sys.modules[function.__module__].__file__
    assert source is not None
    given = json.dumps([source, function.__name__, arguments])
    results = launch([sys.executable, "-m", "support.processes", given], processes, timeout, env)
    if any(result.returncode for result in results):
        ended = (f"--- rank {rank} ended with {result.returncode}\n{result.stderr}" for rank, result in enumerate(results))
        raise AssertionError("\n".join(ended))
    return [json.loads(result.stdout.splitlines()[-1]) for result in results]


if __name__ == "__main__":
    file, name, given_arguments = json.loads(sys.argv[1])
    sys.stdout.write(f"\n{json.dumps(runpy.run_path(file)[name](*given_arguments))}\n")
