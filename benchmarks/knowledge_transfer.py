"""Does knowledge transfer help, and what of it? The paper's two ablations at a small scale, over several seeds.

    python benchmarks/knowledge_transfer.py TEACHER DATA OUTPUT

TEACHER is a checkpoint with the heads of pre-training (`mobilebert pretrain`), DATA has text/train, text/validation and sst2 (see
CONTRIBUTING.md). Every student has the teacher's tokenizer, hidden size and heads, and a third of its layers, narrower inside; it takes
the same number of steps on the same batches; only what it learns from differs: VARIANTS. Then it is fine-tuned on 2,000 sentences of
SST-2. Measured are the share of masked words of held-out texts that it predicts, and the accuracy on dev.tsv.

Every run is a line of OUTPUT/results.jsonl. A run that is there is not repeated, so the command can be interrupted and extended; each
seed is run with all variants before the next one begins. At the end it writes OUTPUT/results.md with both orders, means, standard
deviations and the number of seeds, and OUTPUT/results.svg.
"""

import argparse
import itertools
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from starting_points import CHOOSING, read

from mobilebert_common.training.charts import ticks
from mobilebert_common.training.markup import Html, tag

VARIANTS: dict[str, dict[str, Any] | None] = {
    "bare": None,
    "distillation": {"strategy": "soft-labels"},
    "distillation, feature maps": {"strategy": "progressive", "factors": {"attention": 0.0}},
    "auxiliary": {"strategy": "auxiliary"},
    "joint": {"strategy": "joint"},
    "progressive": {"strategy": "progressive"},
}
ORDERS = {  # of the paper, worst first: tables 8 and 7
    "what is transferred": {
        "nothing": "bare",
        "+ distillation": "distillation",
        "+ feature maps": "distillation, feature maps",
        "+ attention": "progressive",
    },
    "when layers are compared": {"auxiliary": "auxiliary", "joint": "joint", "progressive": "progressive"},
}
MEASURES = {"masked": "masked words", "sst2": "SST-2"}
INSIDE = {"intra_bottleneck_size": 64, "intermediate_size": 128}  # of the students
DEPTH = 3  # the teacher's layers for each of the student's
BATCH, LENGTH = 16, 64
ROWS, EPOCHS = 2_000, 3  # of SST-2
RATE = 1e-3

Run = dict[str, Any]


def train(options: argparse.Namespace, variant: str, seed: int) -> Run:
    """One run, in this process."""
    import torch

    import mobilebert_pt
    from mobilebert_pt import MobileBertConfig, MobileBertForPreTraining, MobileBertTokenizerFast

    torch.set_num_threads(1)
    config, tokenizer = (each.from_pretrained(options.teacher) for each in (MobileBertConfig, MobileBertTokenizerFast))
    torch.manual_seed(seed)
    student = MobileBertForPreTraining(
        config.replace(
            **INSIDE, num_hidden_layers=config.num_hidden_layers // DEPTH, key_query_shared_bottleneck=True, num_feedforward_networks=2
        )
    )
    folders = {name: sorted((options.data / "text" / name).glob("*.txt"))[:: options.every] for name in ("train", "validation")}
    common = {"learning_rate": RATE, "batch_size": BATCH, "max_length": LENGTH, "seed": seed, "progress": False}
    told = {} if (found := VARIANTS[variant]) is None else {"teacher": options.teacher, **found}
    taught = mobilebert_pt.train(
        student,
        "pretraining",
        folders["train"],
        validation=folders["validation"],
        tokenizer=tokenizer,
        max_steps=options.steps,
        evaluate_every=options.steps,
        dupes=1,
        **common,
        **told,
    )
    drawn = torch.randperm(len(rows := read(options.data / "sst2" / "train.tsv")), generator=torch.Generator().manual_seed(seed)).tolist()
    parts = [[rows[row] for row in chosen] for chosen in (drawn[:ROWS], drawn[ROWS : ROWS + CHOOSING])]
    with tempfile.TemporaryDirectory() as folder:
        taught.model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        tuned = mobilebert_pt.train(folder, "sst2", parts[0], validation=parts[1], epochs=EPOCHS, **common)
        dev = mobilebert_pt.evaluate(tuned, options.data / "sst2" / "dev.tsv")
    measured = {"masked": taught.scores.metrics["accuracy"], "sst2": dev.metrics["accuracy"]}
    return {"variant": variant, "seed": seed, "steps": options.steps, **measured, "seconds": taught.report["seconds"]}


def values(runs: Sequence[Run], variant: str, measure: str) -> list[float]:
    """What was measured for a variant, in percent."""
    return [100 * run[measure] for run in runs if run["variant"] == variant]


def spread(found: Sequence[float]) -> str:
    """The mean and the standard deviation."""
    return f"{statistics.mean(found):.1f} ± {statistics.stdev(found):.1f}" if len(found) > 1 else f"{found[0]:.1f}" if found else "-"


def verdict(runs: Sequence[Run], order: dict[str, str], measure: str) -> str:
    """How many of the steps of an order show, by means and by the seeds in which both sides ran."""
    lines = []
    for (low, worse), (high, better) in itertools.pairwise(order.items()):
        pairs = [
            (one[measure], other[measure])
            for one in runs
            for other in runs
            if (one["variant"], other["variant"]) == (worse, better) and one["seed"] == other["seed"]
        ]
        gain = statistics.mean(100 * (other - one) for one, other in pairs) if pairs else 0.0
        lines.append(f"{high} over {low}: {gain:+.1f} points, better with {sum(other > one for one, other in pairs)} of {len(pairs)} seeds")
    return "; ".join(lines)


def markdown(runs: Sequence[Run]) -> str:
    """Both orders as tables, and whether they show."""
    parts = [f"![Means and standard deviations of {len({run['seed'] for run in runs})} seeds](results.svg)"]
    for title, order in ORDERS.items():
        lines = [f"| {title} | " + " | ".join(MEASURES.values()) + " | seeds |", "| --- | --- | --- | --- |"]
        for name, variant in order.items():
            cells = [spread(values(runs, variant, measure)) for measure in MEASURES]
            lines.append(f"| {name} | " + " | ".join(cells) + f" | {len(values(runs, variant, 'masked'))} |")
        parts += ["\n".join(lines), "\n".join(f"- {MEASURES[measure]}: {verdict(runs, order, measure)}." for measure in MEASURES)]
    return "\n\n".join(parts) + "\n"


WIDTH, HEIGHT, LEFT, TOP, BOTTOM = 460, 260, 50, 40, 50
COLORS = ("#3b6fb6", "#c2571a")


def plot(runs: Sequence[Run]) -> str:
    """A panel for each order and measure: a point for each seed, the mean, and a bar of one standard deviation each way."""
    panels = list(itertools.product(ORDERS, MEASURES))
    parts = [
        tag("g", *panel(runs, title, measure), transform=f"translate({number % 2 * WIDTH} {number // 2 * HEIGHT})")
        for number, (title, measure) in enumerate(panels)
    ]
    style = tag("style", "text { font: 12px sans-serif; fill: #333 } .title { font-weight: bold }")
    size = {"width": 2 * WIDTH, "height": len(ORDERS) * HEIGHT}
    background = tag("rect", **size, fill="white")
    box = f"0 0 {size['width']} {size['height']}"
    return str(tag("svg", style, background, *parts, xmlns="http://www.w3.org/2000/svg", viewBox=box, **size))


def panel(runs: Sequence[Run], title: str, measure: str) -> Iterator[Html]:
    """The points of one order and measure, from left to right."""
    order = ORDERS[title]
    found = [values(runs, variant, measure) for variant in order.values()]
    every = [value for each in found for value in (*each, *bar(each))]
    low, high = min(every), max(every)
    room = 0.1 * (high - low) or 1.0
    low, high = low - room, high + room
    color = COLORS[[*MEASURES].index(measure)]

    def up(value: float) -> float:
        return TOP + (high - value) / (high - low) * (HEIGHT - TOP - BOTTOM)

    yield tag("text", f"{MEASURES[measure]}, %: {title}", x=LEFT, y=20, class_="title")
    for value in ticks(low, high, 5):
        yield tag("line", x1=LEFT, x2=WIDTH - 10, y1=up(value), y2=up(value), stroke="#ddd")
        yield tag("text", f"{value:g}", x=LEFT - 6, y=up(value) + 4, text_anchor="end")
    for number, (name, each) in enumerate(zip(order, found, strict=True)):
        x = LEFT + (number + 0.5) * (WIDTH - LEFT - 10) / len(order)
        yield tag("text", name, x=x, y=HEIGHT - 24, text_anchor="middle")
        for value in each:
            yield tag("circle", cx=x + 12, cy=up(value), r=2, fill=color, opacity=0.5)
        if ends := bar(each):
            yield tag("line", x1=x, x2=x, y1=up(ends[0]), y2=up(ends[1]), stroke=color, stroke_width=2)
            yield tag("circle", cx=x, cy=up(statistics.mean(each)), r=5, fill=color)


def bar(found: Sequence[float]) -> tuple[float, ...]:
    """The ends of an error bar, one standard deviation from the mean; nothing for a single value."""
    if len(found) < 2:
        return ()
    mean, deviation = statistics.mean(found), statistics.stdev(found)
    return mean - deviation, mean + deviation


def main() -> None:
    """Make the runs that are missing, each in a process with one thread, and write the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("teacher", type=Path)
    parser.add_argument("data", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=1_000, help="of each student")
    parser.add_argument("--every", type=int, default=6, help="use every n-th text")
    parser.add_argument("--processes", type=int, default=os.cpu_count())
    parser.add_argument("--one", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        print(json.dumps(train(options, options.one[0], int(options.one[1]))))
        return
    options.output.mkdir(parents=True, exist_ok=True)
    results = options.output / "results.jsonl"

    def load() -> list[Run]:
        return [json.loads(line) for line in results.read_text().splitlines()] if results.exists() else []

    def make(run: tuple[str, int]) -> None:
        command = [sys.executable, __file__, *sys.argv[1:], "--one", run[0], str(run[1])]
        done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
        if done.returncode:
            raise SystemExit(done.stderr)
        line = done.stdout.strip().splitlines()[-1]
        print(line, flush=True)
        with open(results, "a") as file:
            file.write(line + "\n")

    there = {(run["variant"], run["seed"]) for run in load() if run["steps"] == options.steps}
    wanted = [(variant, seed) for seed in range(options.seeds) for variant in VARIANTS if (variant, seed) not in there]
    with ThreadPoolExecutor(options.processes) as pool:
        list(pool.map(make, wanted))
    runs = [run for run in load() if run["steps"] == options.steps]
    (options.output / "results.md").write_text(markdown(runs))
    (options.output / "results.svg").write_text(plot(runs))
    print(markdown(runs))


if __name__ == "__main__":
    main()
