"""Compare the speed of a training step with transformers: published size, random weights, float32, batch 16 of 128 tokens.

    python benchmarks/train_step.py --hf5-python ENV5/bin/python --hf4-python ENV4/bin/python

A step is the forward and backward pass of a classifier with dropout, gradient clipping and AdamW. Ours are the steps of `train`;
theirs are those of a plain loop in PyTorch, and of `fit` with Keras's AdamW in TF. benchmarks/forward.py says which Python is
which, and how a ratio comes about: theirs / ours, the median over turns. It needs two idle cores.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
THREADS = 2
HEAD = "MobileBertForSequenceClassification"
Take = Callable[[], Any]  # takes one step
Side = Callable[[argparse.Namespace], Take]


class Batch:
    """One batch, again and again, as `train` takes examples."""

    def __init__(self, options: argparse.Namespace) -> None:
        import numpy as np

        self.lengths = [options.length] * options.batch
        ids = np.random.default_rng(0).integers(1000, 30000, (options.batch, options.length))
        self.arrays = {"input_ids": ids, "attention_mask": np.ones_like(ids), "labels": np.arange(options.batch) % 2}

    def batch(self, *_: Any) -> dict[str, Any]:
        """The batch."""
        return self.arrays


def ours(framework: str, options: argparse.Namespace) -> Take:
    """The steps of our `train`, which runs in a thread and waits before each step."""
    import threading

    from mobilebert_common.frameworks import twin
    from mobilebert_common.model.config import MobileBertConfig
    from mobilebert_common.training.recipe import Recipe

    config = MobileBertConfig.from_zoo("mobilebert", num_hidden_layers=options.layers)
    model = twin(framework).create(config, HEAD, 0)
    may_go, done = threading.Semaphore(0), threading.Semaphore(0)

    def watch(*_: Any) -> bool:
        done.release()
        may_go.acquire()
        return False

    recipe = Recipe(1e-5, batch_size=options.batch, max_steps=10**6)
    arguments = (model, Batch(options), recipe, watch)
    threading.Thread(target=twin(framework).train, args=arguments, daemon=True).start()
    done.acquire()  # the first step has been taken

    def take() -> None:
        may_go.release()
        done.acquire()

    return take


def ours_pt(options: argparse.Namespace) -> Take:
    """Our PyTorch twin."""
    import torch

    torch.set_num_threads(THREADS)
    return ours("pt", options)


def ours_tf(options: argparse.Namespace) -> Take:
    """Our Keras twin."""
    return ours("tf", options)


def theirs_pt(options: argparse.Namespace) -> Take:
    """Hugging Face's PyTorch class in a plain loop."""
    import torch
    import transformers

    torch.set_num_threads(THREADS)
    torch.manual_seed(0)
    config = transformers.MobileBertConfig(classifier_activation=False, num_hidden_layers=options.layers)
    model = getattr(transformers, HEAD)._from_config(config, attn_implementation="sdpa").train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-5, weight_decay=0.01)
    batch = {name: torch.from_numpy(array) for name, array in Batch(options).arrays.items()}

    def take() -> None:
        model(**batch).loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()

    return take


def theirs_tf(options: argparse.Namespace) -> Take:
    """Hugging Face's TF class with train_on_batch, the step of `fit`."""
    import tensorflow as tf
    import transformers

    tf.random.set_seed(0)
    config = transformers.MobileBertConfig(classifier_activation=False, num_hidden_layers=options.layers)
    model = getattr(transformers, f"TF{HEAD}")(config)
    batch = {name: tf.constant(array, tf.int32) for name, array in Batch(options).arrays.items()}
    optimizer = transformers.AdamWeightDecay(1e-5, weight_decay_rate=0.01, global_clipnorm=1.0)
    model.compile(optimizer, loss="auto_with_warning")
    return lambda: model.train_on_batch(batch)


# name -> (ours, theirs, the option for their Python)
COMPARISONS: dict[str, tuple[Side, Side, str]] = {
    "pt": (ours_pt, theirs_pt, "hf5_python"),
    "tf": (ours_tf, theirs_tf, "hf4_python"),
}
SIDES = {side.__name__: side for mine, theirs, _ in COMPARISONS.values() for side in (mine, theirs)}


class Worker:
    """A process that holds one model and times steps on request."""

    def __init__(self, python: str, side: Side, options: argparse.Namespace) -> None:
        environment = {
            **os.environ,
            "PYTHONPATH": str(ROOT / "src"),
            "OMP_NUM_THREADS": str(THREADS),
            "TF_NUM_INTRAOP_THREADS": str(THREADS),
            "TF_NUM_INTEROP_THREADS": str(THREADS),
            "TF_CPP_MIN_LOG_LEVEL": "3",
            "TF_USE_LEGACY_KERAS": "1",  # needed by transformers' TF classes; Keras 3 ignores it
            "KERAS_BACKEND": "tensorflow",
        }
        shape = [f"--{name}={getattr(options, name)}" for name in ("batch", "length", "layers")]
        command = [python, __file__, "--worker", side.__name__, *shape]
        self.process = subprocess.Popen(
            command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def time(self, steps: int) -> list[float]:
        """Time some steps; returns milliseconds for each."""
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.stdin.write(f"{steps}\n")
        self.process.stdin.flush()
        for line in self.process.stdout:
            if line.startswith("["):  # other lines come from the libraries
                return [float(number) for number in json.loads(line)]
        raise SystemExit(f"worker failed: {' '.join(map(str, self.process.args))}")  # type: ignore[arg-type]

    def close(self) -> None:
        """End the process."""
        self.process.kill()
        self.process.wait()


def work(options: argparse.Namespace) -> None:
    """Run a worker: for each number read from stdin, time that many steps."""
    take = SIDES[options.worker](options)
    for line in sys.stdin:
        times = []
        for _ in range(int(line)):
            begin = time.perf_counter()
            take()
            times.append(1000 * (time.perf_counter() - begin))
        print(json.dumps(times), flush=True)


def compare(mine: Worker, theirs: Worker, rounds: int, steps: int) -> tuple[float, float, float]:
    """Measure median milliseconds of ours and theirs, and the ratio theirs / ours of the two."""
    for worker in (mine, theirs):
        worker.time(2)  # traces the graph, warms the caches
    times: dict[Worker, list[float]] = {mine: [], theirs: []}
    for number in range(rounds):
        for worker in (mine, theirs) if number % 2 == 0 else (theirs, mine):
            times[worker] += worker.time(steps)
    medians = statistics.median(times[mine]), statistics.median(times[theirs])
    return *medians, medians[1] / medians[0]


def main(arguments: list[str] | None = None) -> None:
    """Run the comparisons whose Python was given."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--python", default=sys.executable, help="Python for ours")
    parser.add_argument("--hf5-python", help="Python with transformers 5; default: skip PyTorch")
    parser.add_argument("--hf4-python", help="Python with transformers 4.57 and TF; default: skip TF")
    for name, default in {"batch": 16, "length": 128, "layers": 24, "rounds": 10, "steps": 1}.items():
        parser.add_argument(f"--{name}", type=int, default=default, help="default: %(default)s")
    parser.add_argument("--worker", choices=SIDES, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.worker:
        return work(options)
    if not (options.hf5_python or options.hf4_python):
        parser.error("give --hf5-python, --hf4-python or both")
    print(f"{'twin':6}{'batch':>6}{'length':>8}{'layers':>8}{'ours ms':>10}{'theirs ms':>11}{'theirs/ours':>13}")
    for name, (mine, theirs, option) in COMPARISONS.items():
        if (python := getattr(options, option)) is None:
            continue
        workers = Worker(options.python, mine, options), Worker(python, theirs, options)
        ms, peers, ratio = compare(*workers, options.rounds, options.steps)
        for worker in workers:
            worker.close()
        shape = f"{name:6}{options.batch:6}{options.length:8}{options.layers:8}"
        print(f"{shape}{ms:10.1f}{peers:11.1f}{ratio:13.2f}", flush=True)
    return None


if __name__ == "__main__":
    main()
