"""One folder, several processes: `python tests/hostile/sharing.py`. Prints how many openings were mixed or failed, fails above none.

    opens   a process saves one model after another into a folder while this one opens it
    saves   processes, then threads, save different models into one folder at the same time; a round is over when all have saved
    kills   `mobilebert train --overwrite` is killed at a random step of its save
"""

import argparse
import collections
import functools
import multiprocessing
import os
import random
import shutil
import sys
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

if __name__ == "__main__":  # what pytest finds by itself: this package, and support beside it
    sys.path[:0] = [str(Path(__file__).parents[level]) for level in (1, 2)]
    os.environ.update(OMP_NUM_THREADS="1", TOKENIZERS_PARALLELISM="false")

import numpy as np

from mobilebert_common.checkpoints import checkpoint
from mobilebert_common.files.folder import Folder, read_consistently, save_files
from mobilebert_common.model.schema import expand
from mobilebert_common.tokenization import MobileBertTokenizerFast
from support.checkpoints import BASE, VOCABULARY, make_config

Counts = collections.Counter[str]
fork = multiprocessing.get_context("fork")


def contents(number: int) -> dict[str, Any]:
    """The files of a model that can be told from others by everything it has: layers, weights, a key and a vocabulary."""
    vocabulary = [*VOCABULARY, *(f"w{index}" for index in range(number % 7))]
    config = make_config(num_hidden_layers=1 + number % 2, vocab_size=len(vocabulary), note=number)
    tensors = {name: np.full(tensor.shape, number, np.float32) for name, tensor in expand(config, BASE).items()}
    tensors["embeddings.word_embeddings.weight"][0] = 0
    return {**checkpoint.contents(config, BASE, tensors), **MobileBertTokenizerFast(vocab=vocabulary).contents()}


def number_in(path: Path) -> int:
    """The number of the model in a folder; an AssertionError where it is a mix of two."""

    def read(folder: Folder) -> tuple[checkpoint.Weights, MobileBertTokenizerFast]:
        return checkpoint.load(folder, BASE), MobileBertTokenizerFast.from_pretrained(folder)

    weights, tokenizer = read_consistently(path, read)
    number = weights.config.to_dict()["note"]
    values = {value for name, array in weights.tensors.items() for value in np.unique(array)} - {0.0}
    assert values == {float(number)} or (number == 0 and not values), f"{number} has the weights of {values}"
    assert weights.config.num_hidden_layers == 1 + number % 2 and len(tokenizer) == weights.config.vocab_size
    return int(number)


def outcome(call: Callable[[], object]) -> str:
    """What became of an opening."""
    try:
        call()
    except AssertionError:
        return "mixed"
    except Exception as error:
        print(f"failed: {type(error).__name__}: {error}", file=sys.stderr)
        return "failed"
    return "whole"


def openings(folder: Path, count: int) -> Counts:
    """Open a folder while another process saves into it without a pause."""
    save_files(folder, contents(0))

    def write() -> None:
        for number in range(1, 1 << 30):
            save_files(folder, contents(number))

    writer = fork.Process(target=write, daemon=True)
    writer.start()
    seen: set[int] = set()
    found = Counts(outcome(lambda: seen.add(number_in(folder))) for _ in range(count))
    assert writer.is_alive(), "the writer died"
    writer.kill()
    writer.join()
    found["different models seen"] = len(seen)
    return found


def rounds(folder: Path, count: int, workers: int, threads: bool) -> Counts:
    """Save different models at the same time, and open what came of it."""
    kind: Any = threading if threads else fork
    barrier, died = kind.Barrier(workers + 1), (collections.deque() if threads else fork.SimpleQueue())

    def work(worker: int) -> None:
        for number in range(count):
            barrier.wait(60)
            try:
                save_files(folder, contents(workers * number + worker))
            except Exception as error:
                (died.append if threads else died.put)(repr(error))
            barrier.wait(60)

    crew = [(threading.Thread if threads else fork.Process)(target=work, args=(worker,), daemon=True) for worker in range(workers)]
    for worker in crew:
        worker.start()
    found = Counts()
    for number in range(count):
        barrier.wait(60)
        barrier.wait(60)
        found[outcome(functools.partial(_check_round, folder, number, workers))] += 1
    for worker in crew:
        worker.join()
    found["writers that failed"] = len(died) if threads else int(not died.empty())
    return found


def _check_round(folder: Path, number: int, workers: int) -> None:
    last = number_in(folder)
    assert last // workers == number, f"round {number} left the model {last}"
    assert not [path.name for path in folder.iterdir() if path.name.startswith(".")]


def kills(folder: Path, count: int, seed: int = 0) -> Counts:
    """Kill `mobilebert train --overwrite` at a random step of its save; what is left must be the old model or the new one."""
    import torch  # noqa: F401  # once, before the forks

    from mobilebert_common.cli.main import main

    data = folder / "data.csv"
    rows = [f"{'good' if number % 2 else 'bad'} film number {number},{number % 2}\n" for number in range(40)]
    data.write_text("text,label\n" + "".join(rows))
    output, draw, found = folder / "model", random.Random(seed), Counts()
    sizes = ["--model", "mobilebert-mini", "--epochs", "1", "--max-length", "12"]
    command = ["train", str(data), "--output", str(output), "--overwrite", *sizes]

    def train(number: int, left: int) -> None:
        devnull = os.open(os.devnull, os.O_WRONLY)
        os.dup2(devnull, 1)
        sys.argv = ["mobilebert", *command, "--seed", str(number), "--label", "label"]
        steps = [left]

        def hook(event: str, arguments: tuple[object, ...]) -> None:
            if left >= 0 and event in ("open", "os.rename", "os.remove") and str(output) in str(arguments[0]):
                steps[0] -= 1
                if steps[0] < 0:
                    os.kill(os.getpid(), 9)

        sys.addaudithook(hook)
        main()

    def run(number: int, left: int) -> int:
        process = fork.Process(target=train, args=(number, left))
        process.start()
        process.join()
        return int(process.exitcode or 0)

    def state() -> str:
        weights = checkpoint.load(output, "MobileBertForSequenceClassification")
        tokenizer = MobileBertTokenizerFast.from_pretrained(output)
        assert not weights.fresh and len(tokenizer) == weights.config.vocab_size
        return "".join(f"{tensor.sum():.6e}" for tensor in weights.tensors.values())

    assert run(0, -1) == 0
    for number in range(1, count + 1):
        rows = [f"{'good' if row % 2 else 'bad'} film number {row * number},{row % 2}\n" for row in range(40)]
        data.write_text("text,label\n" + "".join(rows))  # another vocabulary each time
        status = run(number, draw.randrange(3, 30))
        found[outcome(state)] += 1
        found["killed"] += status == -9
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--opens", type=int, default=1000)
    parser.add_argument("--saves", type=int, default=200)
    parser.add_argument("--kills", type=int, default=60)
    options = parser.parse_args()
    measured = {
        f"{options.opens} openings beside a writer": lambda folder: openings(folder, options.opens),
        f"{options.saves} rounds of two processes": lambda folder: rounds(folder, options.saves, 2, threads=False),
        f"{options.saves} rounds of four threads": lambda folder: rounds(folder, options.saves, 4, threads=True),
        f"{options.kills} kills in train --overwrite": lambda folder: kills(folder, options.kills),
    }
    wrong = 0
    for title, measure in measured.items():
        if title.startswith("0 "):
            continue
        folder = Path(tempfile.mkdtemp())
        found = measure(folder)
        print(f"{title}: {', '.join(f'{count} {name}' for name, count in found.items())}", flush=True)
        wrong += found["mixed"] + found["failed"] + found["writers that failed"]
        shutil.rmtree(folder)
    sys.exit(wrong > 0)


if __name__ == "__main__":
    main()
