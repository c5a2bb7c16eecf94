"""Random damage to good files of every dialect: `python tests/hostile/mutants.py --count 100000 --seed 0`.

Each mutant is opened in a child process. Allowed are a load and a CheckpointError; another exception, a crash and more than five
seconds are failures, printed with the numbers that make the mutant again: `--seed S --only N`.
"""

import argparse
import itertools
import json
import logging
import os
import random
import resource
import selectors
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

if __name__ == "__main__":  # what pytest finds by itself: this package, and support beside it
    sys.path[:0] = [str(Path(__file__).parents[level]) for level in (1, 2)]

import h5py

from mobilebert_common.errors import CheckpointError
from tests.hostile.corpus import LOADERS, OLD, good, put, weights

SECONDS = 5.0
MEMORY = 8 << 30  # bytes of address space of a child
TOKENIZER = ("tokenizer.json", "tokenizer_config.json", "vocab.txt")


class Dialect(NamedTuple):
    """A good folder, the file of it that is damaged, and what opens it."""

    file: str
    loader: str
    beside: tuple[str, ...]
    content: Callable[[], bytes]


def index() -> bytes:
    return json.dumps({"metadata": {"total_size": 1}, "weight_map": dict.fromkeys(weights(), "shard")}).encode()


def packed_h5() -> bytes:
    """tf_model.h5 with chunks, gzip and shuffle."""
    with tempfile.TemporaryDirectory() as folder:
        path, copy = Path(folder, "a"), Path(folder, "b")
        path.write_bytes(good("tf_model.h5"))
        with h5py.File(path) as source, h5py.File(copy, "w") as target:

            def visit(name: str, item: object) -> None:
                if isinstance(item, h5py.Dataset):
                    target.create_dataset(name, data=item[...], chunks=True, compression="gzip", shuffle=True)

            source.visititems(visit)
        return copy.read_bytes()


DIALECTS: dict[str, Dialect] = {
    "safetensors": Dialect("model.safetensors", "weights", ("config.json",), lambda: good("model.safetensors")),
    "bin": Dialect("pytorch_model.bin", "weights", ("config.json",), lambda: good("pytorch_model.bin")),
    "old bin": Dialect("pytorch_model.bin", "weights", ("config.json",), lambda: good(OLD)),
    "h5": Dialect("tf_model.h5", "weights", ("config.json",), lambda: good("tf_model.h5")),
    "packed h5": Dialect("tf_model.h5", "weights", ("config.json",), packed_h5),
    "index": Dialect("model.safetensors.index.json", "weights", ("config.json", "shard"), index),
    "config": Dialect("config.json", "config", (), lambda: good("config.json")),
    "tokenizer": Dialect("tokenizer.json", "fast tokenizer", (), lambda: good("tokenizer.json")),
    "tokenizer in Python": Dialect("tokenizer.json", "tokenizer", TOKENIZER[1:], lambda: good("tokenizer.json")),
    "options": Dialect("tokenizer_config.json", "fast tokenizer", TOKENIZER[::2], lambda: good("tokenizer_config.json")),
    "vocabulary": Dialect("vocab.txt", "fast tokenizer", ("config.json",), lambda: good("vocab.txt")),
}
content = cache(lambda name: DIALECTS[name].content())

TELLING = (0, 1, 2, 8, 0x7F, 0x80, 0xFE, 0xFF, *b'"[]{},:0129.-eNt\\u')  # bytes that mean something somewhere


def mutant(name: str, draw: random.Random) -> bytes:
    """A good file with one to eight faults in it."""
    data = bytearray(content(name))
    for _ in range(draw.choice((1, 1, 1, 2, 3, 8))):
        if not data:
            break
        place = draw.randrange(len(data))
        length = min(draw.choice((1, 1, 2, 4, 8, 16, 64, 256)), len(data) - place)
        match draw.randrange(11):
            case 0:
                data[place] ^= 1 << draw.randrange(8)
            case 1:
                data[place] = draw.choice(TELLING)
            case 2:
                data[place : place + length] = draw.randbytes(length)
            case 3:
                data[place:place] = draw.randbytes(length)
            case 4:
                del data[place : place + length]
            case 5:
                del data[place:]
            case 6:  # a part of it again, elsewhere
                start = draw.randrange(len(data))
                data[place : place + length * draw.randrange(2)] = data[start : start + length]
            case 7:  # a number that is none, or too large
                width = draw.choice((2, 4, 8))
                value = draw.choice((0, 1, (1 << 8 * width) - 1, 1 << (8 * width - 1), draw.randrange(1 << 8 * width), len(data), place))
                data[place : place + width] = (value % (1 << 8 * width)).to_bytes(width, "little")
            case 8:  # a part of another file
                other = content(draw.choice(list(DIALECTS)))
                start = draw.randrange(len(other))
                data[place : place + length] = other[start : start + length]
            case 9 | 10:  # what may be an address leads to where another one does
                words = [at for at in range(0, len(data) - 7, 8) if 0 < int.from_bytes(data[at : at + 8], "little") < len(data)]
                if len(words) > 1:
                    one, two = draw.sample(words, 2)
                    data[one : one + 8] = data[two : two + 8]
    return bytes(data)


def write(folder: Path, seed: int, number: int) -> str:
    """Write a mutant's folder; the name of its dialect."""
    name = list(DIALECTS)[number % len(DIALECTS)]
    dialect = DIALECTS[name]
    folder.mkdir(exist_ok=True)
    for file in dialect.beside:
        if not (folder / file).exists():
            put(folder, **{file: good("model.safetensors" if file == "shard" else file)})
    (folder / dialect.file).write_bytes(mutant(name, random.Random(f"{seed} {number}")))
    return name


def child(seed: int, start: int, stop: int) -> None:
    """Open mutants one after the other; say the number of each before, and what came of it after."""
    logging.disable()
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    with tempfile.TemporaryDirectory() as stage:
        for number in range(start, stop):
            print(number, flush=True)
            name = write(Path(stage, str(number % len(DIALECTS))), seed, number)
            try:
                LOADERS[DIALECTS[name].loader](Path(stage, str(number % len(DIALECTS))))
                print(f"{name}: loaded", flush=True)
            except CheckpointError:
                print(f"{name}: refused", flush=True)
            except Exception as error:
                print(f"{name}: raised {type(error).__name__}: {error!s:.200}".replace("\n", " "), flush=True)


class Child:
    """A child process at work on a range of mutants, started again after the one that killed it."""

    def __init__(self, seed: int, start: int, stop: int) -> None:
        self.seed, self.next, self.stop = seed, start, stop
        self.start()

    def start(self) -> None:
        arguments = ["--seed", self.seed, "--child", self.next, self.stop]
        command = [sys.executable, __file__, *map(str, arguments)]
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment)
        self.buffer = b""
        self.since: float | None = None  # when the present mutant was begun; None before the first

    def lines(self) -> Iterator[str]:
        """What the child has said since the last call."""
        assert self.process.stdout
        *lines, self.buffer = (self.buffer + os.read(self.process.stdout.fileno(), 1 << 16)).split(b"\n")
        for line in lines:
            if line.isdigit():
                self.next, self.since = int(line) + 1, time.monotonic()
            else:
                yield line.decode()

    def is_late(self) -> bool:
        return self.since is not None and time.monotonic() - self.since > SECONDS


def watch(seed: int, count: int, workers: int) -> tuple[Counter[str], list[str]]:
    """Run all mutants: what came of them, and the failures."""
    counts: Counter[str] = Counter()
    failures: list[str] = []
    bounds = [count * worker // workers for worker in range(workers + 1)]
    selector = selectors.DefaultSelector()
    for start, stop in itertools.pairwise(bounds):
        one = Child(seed, start, stop)
        selector.register(one.process.stdout, selectors.EVENT_READ, one)  # type: ignore[arg-type]
    while children := [key.data for key in selector.get_map().values()]:
        for key, _ in selector.select(0.5):
            for line in key.data.lines():
                counts[line.partition(": raised")[0]] += 1
                if ": raised" in line:
                    failures.append(f"--seed {seed} --only {key.data.next - 1}: {line}")
        for one in children:
            late = one.is_late()
            if late:
                one.process.kill()
            if one.process.poll() is None and not late:
                continue
            selector.unregister(one.process.stdout)
            for line in one.lines():
                counts[line.partition(": raised")[0]] += 1
            code = one.process.wait()
            if late or code:
                reason = f"took more than {SECONDS} s" if late else f"ended the process with {code}"
                failures.append(f"--seed {seed} --only {one.next - 1}: {list(DIALECTS)[(one.next - 1) % len(DIALECTS)]}: {reason}")
                if one.next < one.stop:
                    one.start()
                    selector.register(one.process.stdout, selectors.EVENT_READ, one)
    return counts, failures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--only", type=int, help="write this mutant's folder below the current one, and open it here")
    parser.add_argument("--child", type=int, nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        child(arguments.seed, *arguments.child)
    elif arguments.only is not None:
        folder = Path(f"mutant-{arguments.seed}-{arguments.only}")
        name = write(folder, arguments.seed, arguments.only)
        print(folder, name, flush=True)
        LOADERS[DIALECTS[name].loader](folder)
    else:
        counts, failures = watch(arguments.seed, arguments.count, arguments.workers)
        print("\n".join(f"{count:7,} {what}" for what, count in sorted(counts.items())))
        print("\n".join(failures))
        if failures or sum(counts.values()) != arguments.count:
            sys.exit(f"{len(failures)} failures; {sum(counts.values()):,} of {arguments.count:,} mutants opened")


if __name__ == "__main__":
    main()
