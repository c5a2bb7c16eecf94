"""What a pre-trained starting point is worth: SST-2 accuracy after fine-tuning, over training sizes, learning rates and seeds.

    python benchmarks/starting_points.py sst2/ RESULTS.jsonl MODEL [MODEL ...]

Each MODEL is what `mobilebert train --model` takes: a name from the zoo for fresh weights, or a checkpoint. `fresh:CHECKPOINT` is the
checkpoint's configuration and tokenizer with fresh weights. For each model and number of rows, the learning rate is searched with
seed 0; the best one is then run with the other seeds. A seed decides which rows of train.tsv are drawn, their order, fresh weights and
dropout. 500 other rows of train.tsv choose the weights and the rate; the accuracies shown are those on dev.tsv, which chooses nothing.

Every run is a line of RESULTS.jsonl. A run that is there is not repeated, so the command can be interrupted and extended.
The last thing printed is the table in Markdown: mean and standard deviation over the seeds.
"""

import argparse
import csv
import json
import os
import statistics
import subprocess
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

FRESH = "fresh:"
EPOCHS = {500: 10, 2_000: 6, 16_000: 2}  # rows -> epochs
RATES = {True: (5e-4, 1e-3, 2e-3), False: (3e-4, 1e-3, 2e-3)}  # of fresh weights and of checkpoints
CHOOSING = 500  # rows that choose the weights and the rate
BATCH = 32
LENGTH = 64
SEEDS = 5

Run = dict[str, Any]


def read(path: Path) -> list[dict[str, str]]:
    """The rows of a table of GLUE."""
    with open(path, encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))


def train(folder: Path, model: str, rows: int, rate: float, seed: int) -> Run:
    """One run, in this process."""
    import torch

    import mobilebert_pt
    from mobilebert_pt import MobileBertConfig, MobileBertForSequenceClassification, MobileBertTokenizerFast

    torch.set_num_threads(1)
    drawn = torch.randperm(len(table := read(folder / "train.tsv")), generator=torch.Generator().manual_seed(seed)).tolist()
    parts = [[table[row] for row in chosen] for chosen in (drawn[:rows], drawn[rows : rows + CHOOSING])]
    start: Any = model
    tokenizer = None
    if model.startswith(FRESH):
        place = model.removeprefix(FRESH)
        config = MobileBertConfig.from_pretrained(place).replace(id2label={0: "0", 1: "1"})
        torch.manual_seed(seed)
        start, tokenizer = MobileBertForSequenceClassification(config), MobileBertTokenizerFast.from_pretrained(place)
    trained = mobilebert_pt.train(
        start,
        "sst2",
        parts[0],
        validation=parts[1],
        tokenizer=tokenizer,
        learning_rate=rate,
        epochs=EPOCHS[rows],
        batch_size=BATCH,
        max_length=LENGTH,
        seed=seed,
        progress=False,
    )
    dev = mobilebert_pt.evaluate(trained, folder / "dev.tsv")
    found = {"chosen": trained.scores.metrics["accuracy"], "dev": dev.metrics["accuracy"], "seconds": trained.report["seconds"]}
    return {"model": model, "rows": rows, "rate": rate, "seed": seed, **found}


def rates_for(model: str, options: argparse.Namespace, zoo: Sequence[str]) -> Sequence[float]:
    """The learning rates to search."""
    return options.rates or RATES[model in zoo or model.startswith(FRESH)]


def best_rate(runs: Sequence[Run], model: str, rows: int, rates: Sequence[float]) -> float | None:
    """The rate whose model with seed 0 was best on the rows that choose; None while one is missing."""
    found = {run["rate"]: run["chosen"] for run in runs if (run["model"], run["rows"], run["seed"]) == (model, rows, 0)}
    return max(rates, key=found.__getitem__) if all(rate in found for rate in rates) else None


def missing(runs: Sequence[Run], options: argparse.Namespace, zoo: Sequence[str]) -> Iterator[tuple[str, int, float, int]]:
    """The runs to make next."""
    there = {(run["model"], run["rows"], run["rate"], run["seed"]) for run in runs}
    for rows in options.rows:
        for model in options.models:
            rates = rates_for(model, options, zoo)
            best = best_rate(runs, model, rows, rates)
            wanted = [(rate, 0) for rate in rates] if best is None else [(best, seed) for seed in range(SEEDS)]
            yield from (run for rate, seed in wanted if (run := (model, rows, rate, seed)) not in there)


def table(runs: Sequence[Run], options: argparse.Namespace, zoo: Sequence[str]) -> str:
    """Accuracy on dev.tsv in Markdown, a row for each model."""
    lines = ["| start | " + " | ".join(f"{rows:,} rows" for rows in options.rows) + " |", "| --- " * (len(options.rows) + 1) + "|"]
    for model in options.models:
        cells = []
        for rows in options.rows:
            best = best_rate(runs, model, rows, rates_for(model, options, zoo))
            found = [run["dev"] for run in runs if (run["model"], run["rows"], run["rate"]) == (model, rows, best)]
            cells.append(f"{statistics.mean(found):.1%} ± {statistics.stdev(found):.1%} ({best:g})" if len(found) > 1 else "-")
        lines.append(f"| {model} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main() -> None:
    """Make the runs that are missing, each in a process with one thread, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="folder with train.tsv and dev.tsv")
    parser.add_argument("results", type=Path, help="a .jsonl file, extended")
    parser.add_argument("models", nargs="+")
    parser.add_argument("--rows", type=int, nargs="+", default=[*EPOCHS], choices=[*EPOCHS])
    parser.add_argument("--rates", type=float, nargs="+", help="learning rates to search")
    parser.add_argument("--processes", type=int, default=os.cpu_count())
    parser.add_argument("--one", nargs=4, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        model, rows, rate, seed = options.one
        print(json.dumps(train(options.data, model, int(rows), float(rate), int(seed))))
        return
    from mobilebert_common.model.zoo import ZOO

    def load() -> list[Run]:
        return [json.loads(line) for line in options.results.read_text().splitlines()] if options.results.exists() else []

    def make(run: tuple[str, int, float, int]) -> None:
        command = [sys.executable, __file__, str(options.data), str(options.results), "-", "--one", *map(str, run)]
        done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
        if done.returncode and "DivergedError" not in done.stderr:
            raise SystemExit(done.stderr)
        nothing = {name: 0.0 for name in ("chosen", "dev", "seconds")}  # of a training that diverged
        diverged = json.dumps(dict(zip(("model", "rows", "rate", "seed"), run, strict=True)) | nothing)
        line = diverged if done.returncode else done.stdout.strip().splitlines()[-1]
        print(line, flush=True)
        with open(options.results, "a") as file:
            file.write(line + "\n")

    with ThreadPoolExecutor(options.processes) as pool:
        while wanted := list(missing(load(), options, [*ZOO])):
            list(pool.map(make, wanted))
    print(table(load(), options, [*ZOO]))


if __name__ == "__main__":
    main()
