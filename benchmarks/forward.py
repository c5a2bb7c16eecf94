"""Compare the speed of a forward pass with transformers: published size, random weights, float32, two threads.

    python benchmarks/forward.py --hf5-python ENV5/bin/python --hf4-python ENV4/bin/python [--check]

transformers 5 (PyTorch) and 4.57 (the last with TF) cannot be installed together, so each side runs in its own Python:

    --python      ours, both twins: pip install -c constraints.txt -e '.[pt,tf]'; default: the current Python
    --hf5-python  pip install -c constraints-hf5.txt torch transformers
    --hf4-python  pip install -c constraints-hf4.txt torch tensorflow tf_keras transformers

PyTorch runs with sdpa attention, TF as tf.function graphs. The two workers of a row run at the same time and take turns of a
few calls, so that background load affects both. A ratio is their time divided by ours for one pair of turns; the table shows
the median, and 1 or more means ours is no slower. The benchmark needs two idle cores: on a busy machine the threads of a call
wait for each other, and the numbers are meaningless.
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
LENGTH = 128
BATCHES = (1, 8)
THREADS = 2
NO_SLOWER = 0.95  # lowest acceptable median ratio, allowing for noise
Forward = Callable[[], Any]
Side = Callable[[int, str], Forward]  # (batch, class name) -> forward


def ours_pt(batch: int, head: str) -> Forward:
    """Our PyTorch twin."""
    import torch

    import mobilebert_pt

    torch.manual_seed(0)
    return _torch_forward(getattr(mobilebert_pt, head)(mobilebert_pt.MobileBertConfig.from_zoo("mobilebert")), batch)


def theirs_pt(batch: int, head: str) -> Forward:
    """Hugging Face's PyTorch class."""
    import torch
    import transformers

    torch.manual_seed(0)
    config = transformers.MobileBertConfig(classifier_activation=False)
    return _torch_forward(getattr(transformers, head)._from_config(config, attn_implementation="sdpa"), batch)


def ours_tf(batch: int, head: str) -> Forward:
    """Our Keras twin."""
    import keras

    import mobilebert_tf

    keras.utils.set_random_seed(0)
    return _tf_forward(getattr(mobilebert_tf, f"TF{head}")(mobilebert_tf.MobileBertConfig.from_zoo("mobilebert")), batch)


def theirs_tf(batch: int, head: str) -> Forward:
    """Hugging Face's TF class."""
    import tensorflow as tf
    import transformers

    tf.random.set_seed(0)
    config = transformers.MobileBertConfig(classifier_activation=False)
    return _tf_forward(getattr(transformers, f"TF{head}")(config), batch)


def _torch_forward(model: Any, batch: int) -> Forward:
    import torch

    torch.set_num_threads(THREADS)
    ids = torch.from_numpy(_ids(batch))
    inputs = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
    model.eval()

    def forward() -> Any:
        with torch.inference_mode():
            return model(**inputs)[0]

    return forward


def _tf_forward(model: Any, batch: int) -> Forward:
    import tensorflow as tf

    ids = tf.constant(_ids(batch), tf.int32)
    mask = tf.ones_like(ids)
    graph = tf.function(lambda ids, mask: model(input_ids=ids, attention_mask=mask, training=False)[0])
    return lambda: graph(ids, mask).numpy()


def _ids(batch: int) -> Any:
    import numpy as np

    return np.random.default_rng(0).integers(1000, 30000, (batch, LENGTH))


# name -> (ours, theirs, the option for their Python)
COMPARISONS: dict[str, tuple[Side, Side, str]] = {
    "pt": (ours_pt, theirs_pt, "hf5_python"),
    "tf": (ours_tf, theirs_tf, "hf4_python"),
}
SIDES = {side.__name__: side for ours, theirs, _ in COMPARISONS.values() for side in (ours, theirs)}


class Worker:
    """A process that holds one model and times calls on request."""

    def __init__(self, python: str, side: Side, batch: int, head: str) -> None:
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
        command = [python, __file__, "--worker", side.__name__, "--batch", str(batch), "--head", head]
        self.process = subprocess.Popen(
            command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def time(self, calls: int) -> list[float]:
        """Time some calls; returns milliseconds for each."""
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.stdin.write(f"{calls}\n")
        self.process.stdin.flush()
        for line in self.process.stdout:
            if line.startswith("["):  # other lines come from the libraries
                return [float(number) for number in json.loads(line)]
        raise SystemExit(f"worker failed: {' '.join(map(str, self.process.args))}")  # type: ignore[arg-type]

    def close(self) -> None:
        """End the process."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait()


def work(side: str, batch: int, head: str) -> None:
    """Run a worker: for each number read from stdin, time that many calls."""
    forward = SIDES[side](batch, head)
    for line in sys.stdin:
        times = []
        for _ in range(int(line)):
            begin = time.perf_counter()
            forward()
            times.append(1000 * (time.perf_counter() - begin))
        print(json.dumps(times), flush=True)


def compare(ours: Worker, theirs: Worker, rounds: int, calls: int) -> tuple[float, float, float]:
    """Measure median milliseconds of ours and theirs, and the median of theirs / ours over rounds."""
    for worker in (ours, theirs):
        worker.time(2 * calls)  # traces the graph, warms the caches
    turns: list[tuple[float, float]] = []
    for number in range(rounds):
        order = (ours, theirs) if number % 2 == 0 else (theirs, ours)
        medians = {worker: statistics.median(worker.time(calls)) for worker in order}
        turns.append((medians[ours], medians[theirs]))
    mine, peers = zip(*turns, strict=True)
    return statistics.median(mine), statistics.median(peers), statistics.median(b / a for a, b in turns)


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--python", default=sys.executable, help="Python for ours")
    parser.add_argument("--hf5-python", help="Python with transformers 5; default: skip PyTorch")
    parser.add_argument("--hf4-python", help="Python with transformers 4.57 and TF; default: skip TF")
    parser.add_argument("--head", default="MobileBertModel", help="class to time, for example MobileBertForMaskedLM")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--calls", type=int, default=5, help="timed calls per side and round")
    parser.add_argument("--check", action="store_true", help=f"exit with 1 if a ratio is below {NO_SLOWER}")
    parser.add_argument("--worker", choices=SIDES, help=argparse.SUPPRESS)
    parser.add_argument("--batch", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if not (options.worker or options.hf5_python or options.hf4_python):
        parser.error("give --hf5-python, --hf4-python or both")
    return options


def main(arguments: list[str] | None = None) -> int:
    """Run the comparisons whose Python was given; returns 1 if --check was given and one was slower."""
    options = parse(arguments)
    if options.worker:
        work(options.worker, options.batch, options.head)
        return 0
    slower = False
    print(f"{'twin':6}{'batch':>6}{'length':>8}{'ours ms':>10}{'theirs ms':>11}{'theirs/ours':>13}")
    for name, (ours, theirs, option) in COMPARISONS.items():
        if (python := getattr(options, option)) is None:
            continue
        for batch in BATCHES:
            workers = Worker(options.python, ours, batch, options.head), Worker(python, theirs, batch, options.head)
            mine, peers, ratio = compare(*workers, options.rounds, options.calls)
            for worker in workers:
                worker.close()
            print(f"{name:6}{batch:6}{LENGTH:8}{mine:10.1f}{peers:11.1f}{ratio:13.2f}", flush=True)
            slower |= ratio < NO_SLOWER
    return int(options.check and slower)


if __name__ == "__main__":
    sys.exit(main())
