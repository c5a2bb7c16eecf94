"""Fine-tuning SST-2 end to end, in samples a second: our `train` with batches of like length, and transformers' Trainer padding to 128.

    python benchmarks/finetune.py SST2.tsv VOCAB.txt --hf5-python ENV5/bin/python

SST2.tsv has the columns sentence and label, with a header, as GLUE's train.tsv. Both train a fresh model of the published size with
batches of 32, without evaluation, one after the other; the time is that of the steps, with tokenization, without imports and the
first WARM steps. `--hf5-python` is as in benchmarks/inference.py, with accelerate. It needs two idle cores.
"""

import argparse
import csv
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
THREADS = 2
LENGTH = 128
BATCH = 32
WARM = 3  # steps that are not timed
HEAD = "MobileBertForSequenceClassification"


def read(options: argparse.Namespace) -> tuple[list[str], list[int]]:
    """As many sentences and labels as the steps need, the same for both sides."""
    with open(options.data, encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))[: options.steps * BATCH]
    return [row["sentence"] for row in rows], [int(row["label"]) for row in rows]


def ours(options: argparse.Namespace) -> dict[str, float]:
    """Our PyTorch twin."""
    import torch

    import mobilebert_pt
    from mobilebert_common.tasks.examples import Examples
    from mobilebert_common.training.recipe import Recipe
    from mobilebert_pt import twin

    torch.set_num_threads(THREADS)
    tokenizer = mobilebert_pt.MobileBertTokenizerFast(options.vocabulary)
    model = twin.create(mobilebert_pt.MobileBertConfig.from_zoo("mobilebert", num_hidden_layers=options.layers), HEAD, 0)
    texts, labels = read(options)
    begin = time.perf_counter()
    encoded = tokenizer(texts, truncation=True, max_length=LENGTH)
    columns = {name: encoded[name] for name in ("input_ids", "attention_mask", "token_type_ids")}
    examples = Examples({**columns, "labels": labels}, {"input_ids": tokenizer.pad_token_id}, range(len(texts)))
    clock = Clock(time.perf_counter() - begin)
    twin.train(model, examples, Recipe(5e-5, batch_size=BATCH, epochs=1), lambda done, loss, capture: clock.step())
    return clock.result()


def theirs(options: argparse.Namespace) -> dict[str, float]:
    """Hugging Face's Trainer."""
    import torch
    import transformers

    torch.set_num_threads(THREADS)
    tokenizer = transformers.MobileBertTokenizerFast(str(options.vocabulary))
    config = transformers.MobileBertConfig(num_hidden_layers=options.layers)
    model = getattr(transformers, HEAD)(config)
    texts, labels = read(options)
    begin = time.perf_counter()
    encoded = tokenizer(texts, truncation=True, max_length=LENGTH, padding="max_length")
    rows = [{**{name: encoded[name][row] for name in encoded}, "labels": label} for row, label in enumerate(labels)]
    clock = Clock(time.perf_counter() - begin)

    class Timer(transformers.TrainerCallback):
        """Tells the clock of each step."""

        def on_step_end(self, *_: Any, **__: Any) -> None:
            clock.step()

    settings = transformers.TrainingArguments(
        output_dir=str(options.output),
        per_device_train_batch_size=BATCH,
        num_train_epochs=1,
        learning_rate=5e-5,
        weight_decay=0.01,
        save_strategy="no",
        report_to=[],
        disable_tqdm=True,
        use_cpu=True,
    )
    transformers.Trainer(model, settings, train_dataset=rows, callbacks=[Timer()]).train()
    return clock.result()


class Clock:
    """The time of the steps after the first ones, and of tokenization, in proportion."""

    def __init__(self, tokenization: float) -> None:
        self.tokenization = tokenization
        self.ends: list[float] = []

    def step(self) -> bool:
        """Note the end of a step."""
        self.ends.append(time.perf_counter())
        return False

    def result(self) -> dict[str, float]:
        """The steps that were timed and samples a second."""
        timed = len(self.ends) - WARM
        seconds = self.ends[-1] - self.ends[WARM - 1] + self.tokenization * timed / len(self.ends)
        return {"steps": timed, "seconds": seconds, "samples a second": timed * BATCH / seconds}


SIDES = {"ours": ours, "theirs": theirs}


def run(python: str, side: str, arguments: list[str]) -> dict[str, float]:
    """Run one side in a process of its own."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src"), "OMP_NUM_THREADS": str(THREADS), "TOKENIZERS_PARALLELISM": "false"}
    command = [python, __file__, *arguments, "--worker", side]
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    lines = [line for line in done.stdout.splitlines() if line.startswith("{") and "samples a second" in line]
    return dict(json.loads(lines[-1]))


def main() -> None:
    """Run both sides and print samples a second."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("vocabulary", type=Path)
    parser.add_argument("--python", default=sys.executable, help="Python for ours")
    parser.add_argument("--hf5-python", help="Python with transformers 5 and accelerate; default: ours only")
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--layers", type=int, default=24)
    parser.add_argument("--output", type=Path, default=Path("finetune-output"), help="a folder for the Trainer, which writes nothing")
    parser.add_argument("--worker", choices=SIDES, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.steps <= WARM:
        parser.error(f"--steps must be more than {WARM}")
    if options.worker:
        print(json.dumps(SIDES[options.worker](options)), flush=True)
        return
    print(f"{'side':8}{'steps':>7}{'seconds':>10}{'samples/s':>11}", flush=True)
    speeds = []
    for side, python in (("ours", options.python), ("theirs", options.hf5_python)):
        if python:
            found = run(python, side, sys.argv[1:])
            speeds.append(found["samples a second"])
            print(f"{side:8}{found['steps']:7.0f}{found['seconds']:10.1f}{speeds[-1]:11.2f}", flush=True)
    if len(speeds) == 2:
        print(f"ours / theirs: {speeds[0] / speeds[1]:.2f}")


if __name__ == "__main__":
    main()
