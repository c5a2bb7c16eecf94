"""How fast inference is beside transformers, and what it costs: forward passes, real texts, import, load, memory, accuracy and exports.

    python benchmarks/inference.py --hf5-python ENV5/bin/python --hf4-python ENV4/bin/python \\
        --data DATA --classifier SST2_MODEL --answers XQUAD_MODEL

benchmarks/paths.py lists what is measured. transformers 5 (PyTorch) and 4.57 (the last with TF) cannot be installed together, so
each runs in its own Python. Without one, what would be compared with it is compared with our own model that is not folded.

    --python      ours, both twins: pip install -c constraints.txt -e '.[all,onnx,litert,openvino]'; default: the current Python
    --hf5-python  pip install -c constraints-hf5.txt torch transformers onnx onnxscript
    --hf4-python  pip install -c constraints-hf4.txt torch tensorflow tf_keras transformers

Speed is that of a model of the published size with random weights, which all open from one folder; accuracy is that of the trained
models, by default none. All that is compared on a case takes turns (benchmarks/turns.py). A ratio is the peer's time, or memory,
divided by ours in the same round; the table shows the median with its quartiles, and 1 or more means ours is no worse. The
distance is the relative L2 of the outputs from those of our float64. Rows are marked as busy where other processes used more than 5%
of the CPUs: two threads of a call then wait for each other, and the numbers mean little.

The table goes to results.json, results.md and results.svg in --out. The status is 1 if anything failed or computed wrong outputs.
"""

import argparse
import contextlib
import json
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import results
from machine import BUSY, Load, describe, load_now, versions
from paths import (
    CASES,
    CLASSIFIER,
    EXPORT_PATHS,
    EXPORTS,
    LENGTH_PATHS,
    PATHS,
    REFERENCE,
    TEXT_PATHS,
    TEXTS,
    Contestant,
    Job,
    read,
)
from turns import ROOT, THREADS, Unavailable, Worker, WorkerError, ratio, rounds, take_turns

from mobilebert_common.checkpoints import checkpoint
from mobilebert_common.model.config import MobileBertConfig
from mobilebert_common.model.schema import expand
from mobilebert_common.tokenization import MobileBertTokenizerFast
from mobilebert_conversion.convert import convert

MEASURES = ("forward", "text", "start", "accuracy", "export", "lengths")
PYTHONS = ("python", "hf5_python", "hf4_python")
LEAST = {"forward": 7, "text": 5, "start": 5, "export": 7, "lengths": 3}  # rounds, whatever they take
LONGEST = 384  # tokens of a text
TOLERANCE = 1e-3  # distance of float32 from float64 beyond which outputs are wrong
Row = dict[str, Any]


@dataclass(frozen=True)
class Run:
    """What the measures share: the options, a folder for checkpoints, and what takes the rows."""

    options: argparse.Namespace
    folder: Path
    add: Callable[[Row], None]

    def wanted(self, names: Iterable[str]) -> list[str]:
        """Those of the names that --only selects: all, if it has none of them."""
        return [name for name in names if name in self.options.only] or list(names)

    def chosen(self, table: dict[str, Contestant]) -> dict[str, Contestant]:
        """The rows of a table that --only selects, with their peers."""
        if not (named := [name for name in table if name in self.options.only]):
            return {name: row for name, row in table.items() if not row.on_request}
        with_peers = {*named, *(peer for name in named for peer in table[name].peers)}
        return {name: row for name, row in table.items() if name in with_peers}

    def least(self, measure: str) -> int:
        """The rounds that are measured whatever they take."""
        return min(LEAST[measure], self.options.rounds)

    def job(self, architecture: str) -> Job:
        """What all workers open: a model with random weights, made when it is first asked for."""
        options = self.options
        folder = self.folder / architecture
        if not folder.exists():
            save_random(folder, architecture, options.layers, options.data)
        return Job(folder, architecture, options.threads, options.data, options.texts)

    def worker(self, kind: str, name: str, row: Contestant, job: Job) -> Worker:
        """A worker for a row.

        Raises:
            Unavailable: its Python was not given.
        """
        if (python := getattr(self.options, row.python)) is None:
            raise Unavailable(f"no --{row.python.replace('_', '-')}")
        return self.start(python, kind, name, replace(job, folder=self.in_dialect(row.dialect, job)))

    def start(self, python: str, kind: str, name: str, job: Job) -> Worker:
        """A worker in a Python."""
        values = json.dumps(asdict(job), default=str)
        return Worker(python, ROOT / "benchmarks" / "paths.py", kind, name, values, threads=self.options.threads)

    def in_dialect(self, dialect: str, job: Job) -> Path:
        """The checkpoint in another dialect, or a file exported from it; made when it is first asked for.

        Raises:
            Unavailable: the Python that writes the file was not given.
        """
        folder = job.folder if dialect == "safetensors" else job.folder.with_name(f"{job.folder.name}-{dialect}")
        if folder.exists():
            return folder
        if dialect not in EXPORTS:
            convert(job.folder, folder, to=dialect)
            return folder
        export = EXPORTS[dialect]
        if (python := getattr(self.options, export.python)) is None:
            raise Unavailable(f"no --{export.python.replace('_', '-')}")
        self.in_dialect(export.dialect, job)
        folder.mkdir()
        worker = self.start(python, "write", dialect, job)
        try:
            worker.ask(folder=str(folder))
        except WorkerError:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        finally:
            worker.close()
        return folder


def save_random(folder: Path, architecture: str, layers: int, data: Path | None) -> None:
    """A checkpoint of the published size, whose attention is not uniform, and with its tokenizer if the vocabulary is at hand."""
    config = MobileBertConfig.from_zoo("mobilebert", num_hidden_layers=layers)
    generator = np.random.default_rng(0)

    def draw(name: str, shape: Sequence[int]) -> np.ndarray:
        if len(shape) > 1:
            return generator.normal(0, 0.02, shape)
        return generator.normal(float(name.endswith("LayerNorm.weight")), 0.05, shape)

    tensors = {name: draw(name, tensor.shape).astype(np.float32) for name, tensor in expand(config, architecture).items()}
    next(array for name, array in tensors.items() if name.endswith("word_embeddings.weight"))[config.pad_token_id] = 0
    checkpoint.save(folder, config, architecture, tensors)
    if data is not None and (data / "vocab.txt").exists():
        MobileBertTokenizerFast(data / "vocab.txt", model_max_length=LONGEST).save_pretrained(folder)


# ---------------------------------------------------------------- the measures


def forward(run: Run) -> None:
    """Forward passes on CASES: each framework's rows take turns."""
    passes(run, "forward", PATHS, lambda case: case[1] == 32)


def export(run: Run) -> None:
    """The same of exported files, each in the runtime that both sides' files open in."""
    passes(run, "export", EXPORT_PATHS, lambda case: case == (1, 128))


def passes(run: Run, measure: str, paths: dict[str, Contestant], is_quick: Callable[[tuple[int, int]], bool]) -> None:
    """Forward passes of the rows of a table; --quick makes only some."""
    job = run.job(run.options.head)
    cases = {case_name(case): case for case in CASES if is_quick(case) or not run.options.quick}
    cases = {name: cases[name] for name in run.wanted(cases)}
    expected = references(run, job, cases)
    for framework in dict.fromkeys(row.framework for row in paths.values()):
        table = {name: row for name, row in run.chosen(paths).items() if row.framework == framework}
        compare(run, measure, table, job, cases, expected)


def references(run: Run, job: Job, cases: dict[str, Any]) -> dict[str, np.ndarray]:
    """The outputs of our model in float64 for each case; none without PyTorch."""
    worker = run.worker("measure", "reference", REFERENCE, job)
    try:
        return {name: np.array(worker.ask(case=case)) for name, case in cases.items()}
    except Unavailable:
        return {}
    finally:
        worker.close()


def text(run: Run) -> None:
    """Real texts: each file is a case."""
    texts(run, "text", lambda case: run.chosen(TEXT_PATHS))


def lengths(run: Run) -> None:
    """Real texts in LiteRT files for one length and for several."""
    texts(run, "lengths", lambda case: {name: row for name, row in run.chosen(LENGTH_PATHS).items() if name.startswith(short(case))})


def short(case: str) -> str:
    """As in "sst2"."""
    return case.lower().replace("-", "")


def texts(run: Run, measure: str, table: Callable[[str], dict[str, Contestant]]) -> None:
    """Real texts with the rows that belong to each file."""
    for case in run.wanted(TEXTS):
        if run.options.data is None or not (run.options.data / TEXTS[case].file).exists():
            run.add({"measure": measure, "case": case, "skipped": f"no {TEXTS[case].file} in --data"})
            continue
        compare(run, measure, table(case), run.job(TEXTS[case].architecture), {case: case}, {})


def compare(
    run: Run, measure: str, table: dict[str, Contestant], job: Job, cases: dict[str, Any], expected: dict[str, np.ndarray]
) -> None:
    """Let the rows of a table take turns on each case, and add what was found.

    Args:
        cases: {name: what the worker gets}.
        expected: {name: the outputs in float64}.
    """
    with contextlib.ExitStack() as stack:
        workers: dict[str, Worker] = {}
        for name, row in table.items():
            try:
                workers[name] = run.worker("measure", name, row, job)
                stack.callback(workers[name].close)
            except (Unavailable, WorkerError) as error:
                run.add(described(measure, "", name, row, {name: error}))
        for case, value in cases.items():
            outputs, failed = prepared(workers, value)
            for name in [name for name in outputs if table[name].instead_of in outputs]:
                failed[name] = Unavailable(f"{table[table[name].instead_of or ''].title} is measured")
            ready = {name: workers[name] for name in outputs if name not in failed}
            load = Load()
            is_text = measure in ("text", "lengths")
            calls = 1 if is_text else None
            times, broken = take_turns(ready, run.least(measure), run.options.rounds, run.options.seconds, calls)
            busy = load.others()
            for name in workers:
                row = table[name]
                found = described(measure, case, name, row, failed | broken)
                if name in times:
                    found |= {"unit": "ms", "others": busy, **against(name, row, times)}
                    if is_text:
                        found |= per_second(found, len(read(job, case)))
                    else:
                        found |= judged(row, outputs[name], expected.get(case))
                run.add(found)


def prepared(workers: dict[str, Worker], case: Any) -> tuple[dict[str, Any], dict[str, Exception]]:
    """Let all workers prepare a case at the same time.

    Returns:
        the outputs of each, and what those raised that failed.
    """
    outputs, failed = {}, {}
    for worker in workers.values():
        worker.send(case=case)
    for name, worker in workers.items():
        try:
            outputs[name] = worker.receive()
        except (Unavailable, WorkerError) as error:
            failed[name] = error
    return outputs, failed


def start(run: Run) -> None:
    """Import, load and first call in new processes, with the memory they need; the frameworks alternate, too."""
    job = run.job(run.options.head)
    table = {name: row for name, row in run.chosen(PATHS).items() if row.start}
    found: dict[str, dict[str, list[float]]] = {}
    failed: dict[str, Exception] = {}
    load = Load()
    for order in rounds(list(table), run.least("start"), run.options.rounds, run.options.seconds):
        for name in order:
            if name in failed:
                continue
            try:
                worker = run.worker("begin", name, table[name], job)
            except Unavailable as error:
                failed[name] = error
                continue
            try:
                for what, value in worker.ask(call=True).items():
                    found.setdefault(what, {}).setdefault(name, []).append(value)
            except (Unavailable, WorkerError) as error:
                failed[name] = error
            finally:
                worker.close()
    busy = load.others()
    for name in failed:
        run.add(described("start", "", name, table[name], failed))
    for what, values in found.items():
        for name, row in table.items():
            if name in values and name not in failed:
                measured = {"unit": "MiB" if what.startswith("memory") else "s", "others": busy, **against(name, row, values)}
                run.add(described("start", what, name, row, {}) | measured)


def accuracy(run: Run) -> None:
    """What precision costs trained models: their metric, and the share of predictions that stay those of the model not folded."""
    table = {name: row for name, row in run.chosen(PATHS).items() if row.python == "python" and row.framework == "PyTorch"}
    for case, folder in (("SST-2", run.options.classifier), ("XQuAD", run.options.answers)):
        file = None if run.options.data is None else run.options.data / TEXTS[case].file
        if folder is None or file is None or not file.exists():
            option = "--classifier" if case == "SST-2" else "--answers"
            reason = f"no {option}" if folder is None else f"no {TEXTS[case].file} in --data"
            run.add({"measure": "accuracy", "case": case, "skipped": reason})
            continue
        job = Job(folder, TEXTS[case].architecture, run.options.threads, texts=run.options.texts)
        plain: list[Any] | None = None
        for name, row in table.items():
            found = described("accuracy", case, name, row, {})
            worker = run.worker("accuracy", name, row, job)
            try:
                answer = worker.ask(file=str(file))
                metric, value = next(iter(answer["metrics"].items()))
                predictions = answer["predictions"]
                plain = predictions if name == "pt" else plain
                found |= {"unit": metric, "median": value, "metrics": answer["metrics"]}
                if plain is not None:
                    found["same"] = float(np.mean([one == other for one, other in zip(plain, predictions, strict=True)]))
            except (Unavailable, WorkerError) as error:
                found = described("accuracy", case, name, row, {name: error})
            finally:
                worker.close()
            run.add(found)


# ---------------------------------------------------------------- the rows of the result


def described(measure: str, case: str, name: str, row: Contestant, failed: dict[str, Exception]) -> Row:
    """What a row is, and why it could not be measured if it could not."""
    found = {"measure": measure, "case": case, "path": name}
    found |= {key: getattr(row, key) for key in ("title", "framework", "precision")}
    if (error := failed.get(name)) is not None:
        found["skipped" if isinstance(error, Unavailable) else "failed"] = str(error)
    return found


def against(name: str, row: Contestant, values: dict[str, list[float]]) -> Row:
    """The median, and the ratio over the first peer that was measured."""
    found: Row = {"median": median(values[name])}
    if peer := next((peer for peer in row.peers if peer in values), None):
        found |= {"peer": peer, "peer_median": median(values[peer]), **ratio(values[name], values[peer])._asdict()}
    return found


def judged(row: Contestant, outputs: list[float], expected: np.ndarray | None) -> Row:
    """The distance of outputs from those in float64."""
    if expected is None:
        return {}
    distance = float(np.linalg.norm(np.array(outputs) - expected) / np.linalg.norm(expected))
    wrong = not np.isfinite(distance) or (row.precision == "float32" and distance > TOLERANCE)
    return {"failed": f"wrong outputs: the distance from float64 is {distance:.1g}"} if wrong else {"distance": distance}


def per_second(found: Row, texts: int) -> Row:
    """Milliseconds for all texts as texts a second."""
    return {"unit": "texts/s", **{key: 1000 * texts / found[key] for key in ("median", "peer_median") if key in found}}


# ---------------------------------------------------------------- the command


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    known = [*MEASURES, *PATHS, *TEXT_PATHS, *EXPORT_PATHS, *LENGTH_PATHS, *(case_name(case) for case in CASES), *TEXTS]
    parser.add_argument("--python", default=sys.executable, help="Python for ours")
    parser.add_argument("--hf5-python", help="Python with transformers 5; default: none")
    parser.add_argument("--hf4-python", help="Python with transformers 4.57 and TF; default: none")
    data = os.environ.get("MOBILEBERT_DATA")
    parser.add_argument("--data", type=Path, default=data, help="folder of real texts and vocab.txt; default: $MOBILEBERT_DATA")
    parser.add_argument("--classifier", type=Path, help="a model trained on SST-2, for accuracy")
    parser.add_argument("--answers", type=Path, help="a model trained on XQuAD, for accuracy")
    parser.add_argument("--out", type=Path, default=Path("inference-results"), help="folder of the results; default: %(default)s")
    parser.add_argument(
        "--only", nargs="+", default=[], metavar="NAME", choices=known, help=f"only these of each kind that is named: {', '.join(known)}"
    )
    parser.add_argument("--head", default=CLASSIFIER, help="class whose forward pass is timed; default: %(default)s")
    parser.add_argument("--threads", type=int, default=THREADS, help="default: %(default)s")
    parser.add_argument("--rounds", type=int, help="at most so many of each case; default: 25")
    parser.add_argument("--seconds", type=float, help=f"after so many, no more than {LEAST} rounds of a case; default: 40")
    parser.add_argument("--quick", action="store_true", help="only to see that all runs: 2 layers, few cases and rounds")
    options = parser.parse_args(arguments)
    options.layers, options.texts = (2, 16) if options.quick else (24, None)
    options.rounds = options.rounds or (2 if options.quick else 25)
    options.seconds = options.seconds or (0.0 if options.quick else 40.0)
    return options


def case_name(case: Sequence[int]) -> str:
    """As in "b8-t128"."""
    return f"b{case[0]}-t{case[1]}"


def main(arguments: list[str] | None = None) -> int:
    """Measure, and write the results; returns 1 if anything failed."""
    options = parse(arguments)
    began, clock = time.strftime("%Y-%m-%d %H:%M"), time.monotonic()
    others = load_now()
    found: Row = {
        "date": began,
        "machine": {**describe(options.threads), "others": others},
        "versions": {name: versions(python) for name in PYTHONS if (python := getattr(options, name))},
        "options": {name: getattr(options, name) for name in ("layers", "head", "rounds", "seconds", "quick", "only")},
        "rows": [],
    }
    print(results.heading(found))
    if others is None or others > BUSY:
        print(f"warning: {results.busy(others)}; wait until the machine is idle, or these numbers mean little")

    def add(row: Row) -> None:
        found["rows"].append(row)
        print(results.line(row), flush=True)

    measures = {"forward": forward, "text": text, "start": start, "accuracy": accuracy, "export": export, "lengths": lengths}
    with tempfile.TemporaryDirectory() as folder:
        run = Run(options, Path(folder), add)
        for measure in run.wanted(MEASURES):
            measures[measure](run)
            found["seconds"] = round(time.monotonic() - clock)
            results.write(options.out, found)
    print(f"{options.out}: {', '.join(results.FILES)}, after {found['seconds'] / 60:.0f} minutes")
    return int(any("failed" in row for row in found["rows"]))


if __name__ == "__main__":
    sys.exit(main())
