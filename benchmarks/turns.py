"""Processes that take turns: all hold what they measure at the same time, and one computes while the others wait.

So background load and the temperature of the CPU affect all of them alike, and the ratio of two in the same round means something
even where their milliseconds do not. The benchmarks start a `Worker` for each thing they compare; the worker's script calls `serve`.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parent.parent
THREADS = 2
TURN = 0.3  # seconds: a turn is as many calls as fit, at least one and at most CALLS
CALLS = 5
SLOW = 1.5

Request = dict[str, Any]


class WorkerError(Exception):
    """A worker failed; the message is its last line."""


class Unavailable(Exception):
    """What a worker should measure is not there; the message says why."""


class Worker:
    """A process that answers requests, each a line of JSON.

    Args:
        python: the interpreter that runs it; it imports this repository's packages.
        arguments: the script, then its arguments.
    """

    def __init__(self, python: str | Path, *arguments: object, threads: int = THREADS) -> None:
        environment = {
            **os.environ,
            "PYTHONPATH": str(ROOT / "src"),
            "OMP_NUM_THREADS": str(threads),
            "TF_NUM_INTRAOP_THREADS": str(threads),
            "TF_NUM_INTEROP_THREADS": str(threads),
            "TF_CPP_MIN_LOG_LEVEL": "3",
            "TF_USE_LEGACY_KERAS": "1",  # needed by transformers' TF classes; Keras 3 ignores it
            "KERAS_BACKEND": "tensorflow",
            "HF_HUB_OFFLINE": "1",
            "TOKENIZERS_PARALLELISM": "false",
        }
        self.log = tempfile.TemporaryFile()  # noqa: SIM115 (closed with the worker)
        self.process = subprocess.Popen(
            [str(python), *map(str, arguments)],
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.log,
            text=True,
        )

    def send(self, **request: Any) -> None:
        """Send a request without waiting for the answer."""
        assert self.process.stdin is not None
        try:
            self.process.stdin.write(json.dumps(request) + "\n")
            self.process.stdin.flush()
        except BrokenPipeError:  # it has ended; `receive` says how
            pass

    def receive(self) -> Any:
        """Wait for the answer to the last request.

        Raises:
            Unavailable: what it should measure is not there.
            WorkerError: it failed.
        """
        assert self.process.stdout is not None
        if not (line := self.process.stdout.readline()):
            raise WorkerError(f"its process ended with status {self.process.wait()}: {self.last_line()}")
        answer = json.loads(line)
        if "unavailable" in answer:
            raise Unavailable(answer["unavailable"])
        if "error" in answer:
            raise WorkerError(answer["error"])
        return answer["answer"]

    def ask(self, **request: Any) -> Any:
        """Send a request and wait for the answer."""
        self.send(**request)
        return self.receive()

    def last_line(self) -> str:
        """The last line the process wrote to its standard error."""
        self.log.seek(0)
        lines = self.log.read().decode(errors="replace").strip().splitlines()
        return lines[-1] if lines else "without a message"

    def close(self) -> None:
        """End the process."""
        self.process.kill()
        self.process.communicate()
        self.log.close()


def serve(answer: Callable[[Request], Any]) -> None:
    """Answer requests until there are no more; the main function of a worker."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print is no answer
    for line in sys.stdin:
        found: Request
        try:
            found = {"answer": answer(json.loads(line))}
        except Unavailable as reason:
            found = {"unavailable": str(reason)}
        except Exception as error:
            traceback.print_exc()
            found = {"error": " ".join(f"{type(error).__name__}: {error}".split())}
        print(json.dumps(found), file=answers, flush=True)


def timed(call: Callable[[], Any], calls: int) -> list[float]:
    """The milliseconds of some calls."""
    times = []
    for _ in range(calls):
        begin = time.perf_counter()
        call()
        times.append(1000 * (time.perf_counter() - begin))
    return times


def rounds(names: Sequence[str], least: int, most: int, seconds: float) -> Iterator[Sequence[str]]:
    """The order of each round, which alternates: at least `least` rounds, then more until `most` or the seconds are reached."""
    begin = time.monotonic()
    for number in range(most):
        if number >= least and time.monotonic() - begin > seconds:
            return
        yield names if number % 2 == 0 else names[::-1]


def take_turns(
    workers: Mapping[str, Worker], least: int, most: int, seconds: float, calls: int | None = None
) -> tuple[dict[str, list[float]], dict[str, Exception]]:
    """Let workers time their calls in turns; each answers the request {"calls": n} with n times in milliseconds.

    Args:
        least, most, seconds: see `rounds`. A worker whose own turns have taken SLOW times as long takes no more.
        calls: of a turn; by default as many as fit into TURN, after a call that is not counted.
    Returns:
        {name: the median of each of its turns}, from the first round on, and what those raised that failed.
    """
    failed: dict[str, Exception] = {}
    times: dict[str, list[float]] = {name: [] for name in workers}
    used = dict.fromkeys(workers, 0.0)

    def turn(name: str, count: int) -> list[float]:
        try:
            found: list[float] = workers[name].ask(calls=count)
        except (Unavailable, WorkerError) as error:
            failed[name] = error
            return []
        used[name] += sum(found) / 1000
        return found

    counts = {name: calls or max(1, min(CALLS, int(1000 * TURN / max([1e-3, *turn(name, 1)])))) for name in workers}
    for order in rounds(list(workers), least, most, seconds):
        for name in order:
            slow = times[name] and used[name] > SLOW * max(seconds, 1.0)
            if name not in failed and not slow and (found := turn(name, counts[name])):
                times[name].append(statistics.median(found))
    return {name: each for name, each in times.items() if name not in failed}, failed


class Ratio(NamedTuple):
    """The median of ratios, each of two turns of the same round, and their quartiles."""

    ratio: float
    low: float
    high: float
    pairs: int


def ratio(mine: Sequence[float], peers: Sequence[float]) -> Ratio:
    """How much less one needs than its peer: peer / own, 1 or more if it is no slower. One may have had fewer rounds."""
    pairs = [peer / own for own, peer in zip(mine, peers, strict=False)]
    low, middle, high = statistics.quantiles(pairs, n=4, method="inclusive") if len(pairs) > 1 else pairs * 3
    return Ratio(middle, low, high, len(pairs))
