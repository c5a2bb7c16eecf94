"""Compare the speed of a training step with transformers: published size, random weights, float32, batch 16 of 128 tokens.

    python benchmarks/train_step.py --hf5-python ENV5/bin/python --hf4-python ENV4/bin/python

A step is the forward and backward pass of a classifier with dropout, gradient clipping and AdamW. Ours are the steps of `train`;
theirs are those of a plain loop in PyTorch, and of `fit` with Keras's AdamW in TF. benchmarks/inference.py says which Python is
which, and how a ratio comes about: theirs / ours, the median over rounds. It needs two idle cores.
"""

import argparse
import statistics
import sys
from collections.abc import Callable
from typing import Any

from turns import THREADS, Worker, ratio, serve, take_turns, timed

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


def compare(mine: Worker, theirs: Worker, rounds: int) -> tuple[float, float, float]:
    """Measure median milliseconds of ours and theirs, and the median ratio theirs / ours of a round."""
    times, failed = take_turns({"ours": mine, "theirs": theirs}, rounds, rounds, 0)
    if failed:
        raise SystemExit("; ".join(f"{side}: {error}" for side, error in failed.items()))
    return statistics.median(times["ours"]), statistics.median(times["theirs"]), ratio(times["ours"], times["theirs"]).ratio


def main(arguments: list[str] | None = None) -> None:
    """Run the comparisons whose Python was given."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--python", default=sys.executable, help="Python for ours")
    parser.add_argument("--hf5-python", help="Python with transformers 5; default: skip PyTorch")
    parser.add_argument("--hf4-python", help="Python with transformers 4.57 and TF; default: skip TF")
    for name, default in {"batch": 16, "length": 128, "layers": 24, "rounds": 10}.items():
        parser.add_argument(f"--{name}", type=int, default=default, help="default: %(default)s")
    parser.add_argument("--worker", choices=SIDES, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.worker:
        take = SIDES[options.worker](options)
        return serve(lambda request: timed(take, request["calls"]))
    if not (options.hf5_python or options.hf4_python):
        parser.error("give --hf5-python, --hf4-python or both")
    print(f"{'twin':6}{'batch':>6}{'length':>8}{'layers':>8}{'ours ms':>10}{'theirs ms':>11}{'theirs/ours':>13}")
    for name, (mine, theirs, option) in COMPARISONS.items():
        if (python := getattr(options, option)) is None:
            continue
        shape = [f"--{name}={getattr(options, name)}" for name in ("batch", "length", "layers")]
        sides = ((options.python, mine), (python, theirs))
        workers = [Worker(each, __file__, "--worker", side.__name__, *shape) for each, side in sides]
        ms, peers, median = compare(*workers, options.rounds)
        for worker in workers:
            worker.close()
        shown = f"{name:6}{options.batch:6}{options.length:8}{options.layers:8}"
        print(f"{shown}{ms:10.1f}{peers:11.1f}{median:13.2f}", flush=True)
    return None


if __name__ == "__main__":
    main()
