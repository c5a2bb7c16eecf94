"""Trainings that are cut off: `python tests/hostile/survival.py`. Prints one table, and fails where a run does not survive.

    kills       kill -9 at random moments of a training, which then goes on with the same command until it has finished
    signals     SIGTERM, SIGINT or SIGHUP at random moments, from the first line of the program to the last
    full disk   room for less and less on a small file system (if it can be mounted), or a limit on the size of files
    damages     a byte flipped, half of the file, or the whole of it gone, in each file of the newest snapshot

Each is done for `train` with one learning rate and with two, and for `distill` in phases, after the student alone. A run survives if its
weights, losses, evaluations and scores are those of the run that nothing interrupted, bit by bit, and nothing but the model and the mark
that it has finished is left. Each process is forked from one that has imported the framework.
"""

import argparse
import collections
import contextlib
import hashlib
import importlib
import json
import logging
import multiprocessing
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

if __name__ == "__main__":  # what pytest finds by itself: this package, and support beside it
    sys.path[:0] = [str(Path(__file__).parents[level]) for level in (1, 2)]
    os.environ.update(OMP_NUM_THREADS="1", TOKENIZERS_PARALLELISM="false", TF_CPP_MIN_LOG_LEVEL="3", KERAS_BACKEND="tensorflow")

import numpy as np

from mobilebert_common.checkpoints import checkpoint
from mobilebert_common.errors import CheckpointError
from mobilebert_common.files.folder import save_files
from mobilebert_common.model.config import MobileBertConfig
from mobilebert_common.tokenization import MobileBertTokenizerFast
from mobilebert_common.training.run import Run
from support import pretending
from support.configs import CLASSIFIER, random_weights

fork = multiprocessing.get_context("fork")

WORDS = ("fine", "odd", "film", "song", "was", "the", "a", "not", "so", "very")
SMALL = {"hidden_size": 16, "embedding_size": 8, "intra_bottleneck_size": 8, "num_hidden_layers": 2, "num_attention_heads": 2}
SIZES = {**SMALL, "intermediate_size": 16, "max_position_embeddings": 32, "hidden_dropout_prob": 0.2, "attention_probs_dropout_prob": 0.2}
SNAPSHOT = 3  # steps between snapshots
IMPORTED = {
    "pretended": ["mobilebert_common.cli.commands", "mobilebert_common.tasks.metrics", "sklearn.metrics"],
    "pt": ["mobilebert_common.cli.commands", "sklearn.metrics", "accelerate", "mobilebert_pt.twin"],
    "tf": ["mobilebert_common.cli.commands", "sklearn.metrics", "mobilebert_tf.twin"],
}
TITLES = {"pretended": "nothing", "pt": "PyTorch", "tf": "Keras"}
SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
ENDED = {128 + signum for signum in SIGNALS}
COMPARED = ("losses", "evaluations", "best_step", "scores", "trials")  # of report.json
SECONDS = 2.0  # a signal ends a step that has been compiled in this time


class Kind(NamedTuple):
    """A training.

    Attributes:
        compiling: the first steps of its phases, which take longer.
    """

    command: str = "train"
    options: tuple[str, ...] = ()
    compiling: tuple[int, ...] = (1,)


class Campaign:
    """Trainings of one kind in one framework.

    Attributes:
        kind: the command and its options.
        folder: has the data, the model to start from, and `output`, where training goes on.
        expected: what the run without interruptions comes to.
        seconds: that it takes.
    """

    def __init__(self, framework: str, folder: Path, seed: int, kind: Kind) -> None:
        self.framework, self.folder, self.kind, self.draw = framework, folder, kind, random.Random(seed)
        self.output = folder / "output"
        folder.mkdir(parents=True, exist_ok=True)
        draw = random.Random(0)
        for name, rows in (("training.csv", 60), ("validation.csv", 24)):
            lines = [f"{' '.join(draw.choices(WORDS, k=draw.randint(2, 9)))},{row % 2}\n" for row in range(rows)]
            (folder / name).write_text("text,label\n" + "".join(lines))
        vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS]
        for name, number, changes in (("model", 0, {}), ("teacher", 1, {"num_hidden_layers": 3, "intra_bottleneck_size": 12})):
            config = MobileBertConfig(**{**SIZES, **changes}, vocab_size=len(vocabulary), id2label={0: "0", 1: "1"})
            weights = random_weights(config, CLASSIFIER, number)
            weights["mobilebert.embeddings.word_embeddings.weight"][0] = 0  # of [PAD]
            contents = checkpoint.contents(config, CLASSIFIER, {name: array.astype(np.float32) for name, array in weights.items()})
            save_files(folder / name, {**contents, **MobileBertTokenizerFast(vocab=vocabulary).contents()})
        begun = time.monotonic()
        assert self.finish() == 0, (folder / "log").read_text()
        self.seconds = time.monotonic() - begun
        self.expected = self.result()
        assert self.is_clean()
        shutil.rmtree(self.output)

    @property
    def command(self) -> list[str]:
        taught = self.kind.command == "distill"
        begin = ["distill", str(self.folder / "teacher")] if taught else ["train"]
        given = {"--student" if taught else "--model": "model", "--validation": "validation.csv", "--output": "output"}
        files = [text for name, file in given.items() for text in (name, str(self.folder / file))]
        steps = ["--epochs", "2", "--batch-size", "6", "--max-length", "16", "--evaluate-every", "4", "--snapshot-every", str(SNAPSHOT)]
        framework = [] if self.framework == "pretended" else ["--framework", self.framework]
        return [*begin, str(self.folder / "training.csv"), *files, *steps, *framework, *self.kind.options]

    def start(self) -> Any:
        """The command in a process of its own."""
        process = fork.Process(target=self._run)
        process.start()
        return process

    def _run(self) -> None:
        log = os.open(self.folder / "log", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(log, 1)
        os.dup2(log, 2)
        logging.getLogger("mobilebert_common").setLevel(logging.NOTSET)
        for signum, handler in zip(SIGNALS, (signal.SIG_DFL, signal.default_int_handler, signal.SIG_DFL), strict=True):
            signal.signal(signum, handler)  # those of a program that a terminal starts
        sys.argv = ["mobilebert", *self.command]
        from mobilebert_common.cli.main import main

        if self.framework == "pretended":
            _pretend()
        status: Any = 0
        try:
            main()
        except SystemExit as error:
            status = error.code
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status if isinstance(status, int) else 0)

    def finish(self) -> int:
        """Run the command to its end; returns its status."""
        process = self.start()
        process.join(600)
        return int(process.exitcode)

    def log(self) -> str:
        """What the last process printed."""
        return (self.folder / "log").read_text()

    def result(self) -> tuple[str, ...]:
        """All that must be as in the run that nothing interrupted."""
        report = json.loads((self.output / "report.json").read_text())
        weights = hashlib.sha256((self.output / "model.safetensors").read_bytes()).hexdigest()
        return weights, *(json.dumps(report[name]) for name in COMPARED)

    def is_clean(self) -> bool:
        """Whether no temporary file and no snapshot is left."""
        hidden = [path.name for path in self.output.rglob("*") if path.name.startswith(".")]
        return not hidden and [path.name for path in (self.output / "run").iterdir()] == ["finished"]

    def is_whole(self) -> bool:
        """Whether all that is there between two processes opens: the model, if there is one, and each snapshot."""
        try:
            for folder in (self.output, *((self.output / "run" / name) for name in Run(self.output / "run", {}).names())):
                if (folder / "config.json").exists():
                    assert not checkpoint.load(folder, CLASSIFIER).fresh
                    MobileBertTokenizerFast.from_pretrained(folder)
            for name in Run(self.output / "run", {}).names():
                Run(self.output / "run", {}).read(name)
        except (CheckpointError, AssertionError) as error:
            print(f"broken: {error}", file=sys.stderr)
            return False
        return True

    def newest(self) -> tuple[int, int]:
        """The learning rate and the step of the newest snapshot."""
        names = Run(self.output / "run", {}).names()
        return (int(names[0].split("-")[0]), int(names[0].split("-")[1])) if names else (0, 0)

    def verdict(self) -> str:
        """What became of a run."""
        status = self.finish()
        if status:
            print(f"failed with {status}: {self.log()}", file=sys.stderr)
            return "failed"
        right = self.result() == self.expected and "damaged" not in self.log()
        found = "identical" if right and self.is_clean() else "different" if not right else "untidy"
        if found != "identical":
            print(f"{found}: {self.log()}\n{sorted(map(str, self.output.rglob('*')))}", file=sys.stderr)
        shutil.rmtree(self.output)
        return found


def _pretend() -> None:
    """Train with a framework that only pretends: what is tested is all around the steps."""
    from mobilebert_common.cli import console, learning

    class Slow(pretending.Learner):
        def infer(self, model: Any, batches: Any) -> Iterator[Any]:
            for batch in super().infer(model, batches):
                time.sleep(0.01)
                yield batch

    console.twin = lambda framework: Slow()  # type: ignore[assignment, misc]
    assert learning.open_twin


def kills(campaign: Campaign, count: int) -> collections.Counter[str]:
    """Kill the command at random moments, three times or more in each run."""
    found: collections.Counter[str] = collections.Counter()
    while found["kills"] < count:
        for _ in range(campaign.draw.randint(3, 6)):
            before, process = campaign.newest(), campaign.start()
            process.join(campaign.draw.uniform(0, 1.05 * campaign.seconds))
            process.kill()
            process.join()
            if process.exitcode == 0:
                break
            found["kills"] += 1
            found["broken"] += not campaign.is_whole()
            found["went back"] += campaign.newest() < before and not (campaign.output / "run" / "finished").exists()
        found[campaign.verdict()] += 1
    return found


def signals(campaign: Campaign, count: int) -> collections.Counter[str]:
    """Send signals at random moments, and hold the status, the time and what is printed against what is promised."""
    found: collections.Counter[str] = collections.Counter()
    while found["signals"] < count:
        for _ in range(campaign.draw.randint(1, 4)):
            began, process, signum = campaign.newest(), campaign.start(), campaign.draw.choice(SIGNALS)
            process.join(campaign.draw.uniform(0, 1.1 * campaign.seconds))
            if process.exitcode is not None:
                found["failed"] += process.exitcode != 0
                break
            compiled, sent = campaign.newest() > began, time.monotonic()  # this process has taken a step
            os.kill(process.pid, signum)
            process.join(60)
            took, status, printed = time.monotonic() - sent, process.exitcode, campaign.log()
            found["signals"] += 1
            if compiled and took > SECONDS and campaign.newest()[1] not in campaign.kind.compiling:
                print(f"{took:.1f} s after {signal.Signals(signum).name}: {printed}", file=sys.stderr)
                found["late"] += 1
            if status == 0 and "saved in" in printed:
                break
            before_the_program = status == -signum  # or in the last moments of it
            promised = status == 128 + signum and f"interrupted by {signal.Signals(signum).name}" in printed and "Traceback" not in printed
            if not promised and not (before_the_program and not printed.strip()):
                print(f"{signal.Signals(signum).name} gave {status}: {printed}", file=sys.stderr)
                found["wrong"] += 1
            if "until step" in printed:
                step = printed.rpartition("until step ")[2].split(",")[0]
                found["wrong step"] += int(step) != campaign.newest()[1]
            found["broken"] += not campaign.is_whole()
        found[campaign.verdict()] += 1
    return found


def full_disks(campaign: Campaign, count: int) -> collections.Counter[str]:
    """Fill the disk up, so that the claim, a snapshot or the model finds no room; with room, the same command goes on."""
    found: collections.Counter[str] = collections.Counter()
    with small_disk(campaign.output) as room:
        if room is None:
            return collections.Counter({"no disk could be mounted": 1})
        for number in range(count):
            filler = campaign.output / "filler"
            for _ in range(2):
                filler.write_bytes(b"")
                before, process, is_early = campaign.newest(), campaign.start(), campaign.draw.random() < 0.2
                while not is_early and process.exitcode is None and campaign.newest() == before:  # past the claim
                    process.join(0.005)
                process.join(0 if is_early else campaign.draw.uniform(0, campaign.seconds / 4))
                left = shutil.disk_usage(campaign.output).free - campaign.draw.randrange(0, room)
                with contextlib.suppress(OSError):
                    filler.write_bytes(bytes(max(0, left)))
                process.join(600)
                status, printed = process.exitcode, campaign.log()
                filler.unlink()
                if status == 0:
                    break
                lines = [line for line in printed.splitlines() if line.startswith("error: ")]
                said = any(text in printed for text in ("No space left on device", "MB free, but the model takes"))
                if status != 1 or len(lines) != 1 or not said or "Traceback" in printed:
                    print(f"full disk gave {status}: {printed}", file=sys.stderr)
                    found["wrong"] += 1
                found["at the claim" if "MB free" in printed else "at the model" if "save the trained" in printed else "in a snapshot"] += 1
                found["broken"] += not campaign.is_whole()
            status = campaign.finish()
            right = status == 0 and campaign.result() == campaign.expected and campaign.is_clean()
            if not right:
                print(f"after {number}: {campaign.log()}", file=sys.stderr)
            found["identical" if right else "different"] += 1
            for path in campaign.output.iterdir():
                shutil.rmtree(path) if path.is_dir() else path.unlink()
        subprocess.run(["mount", "-o", "remount,ro", str(campaign.output)], check=True)
        status, printed = campaign.finish(), campaign.log()
        found["read-only refused"] += status == 1 and "is not writable: choose another folder" in printed
        found["wrong"] += not found["read-only refused"]
    return found


@contextlib.contextmanager
def small_disk(folder: Path, size: int = 6 << 20) -> Iterator[int | None]:
    """Mount a small disk; yields the room that decides where it is full, or None if it cannot be mounted."""
    folder.mkdir(exist_ok=True)
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)]
    if not shutil.which("mount") or subprocess.run(mount, capture_output=True, check=False).returncode:
        yield None
        return
    try:
        yield 100_000
    finally:
        subprocess.run(["umount", str(folder)], check=True)
        shutil.rmtree(folder)


def flipped(path: Path, draw: random.Random) -> None:
    """Flip one bit of a file."""
    content = bytearray(path.read_bytes())
    content[draw.randrange(len(content))] ^= 1 << draw.randrange(8)
    path.write_bytes(content)


DAMAGES: dict[str, Callable[[Path, random.Random], object]] = {
    "flipped": flipped,
    "cut": lambda path, draw: os.truncate(path, draw.randrange(path.stat().st_size)),
    "gone": lambda path, draw: path.unlink(),
}


def damages(campaign: Campaign, count: int) -> collections.Counter[str]:
    """Damage a file of the newest snapshot of a run that was killed."""
    found: collections.Counter[str] = collections.Counter()
    for number in range(count):
        while len(Run(campaign.output / "run", {}).names()) < 2:
            process = campaign.start()
            process.join(campaign.draw.uniform(0.5, 1.0) * campaign.seconds)
            process.kill()
            process.join()
            if (campaign.output / "run" / "finished").exists():
                shutil.rmtree(campaign.output)
        newest = campaign.output / "run" / Run(campaign.output / "run", {}).names()[0]
        files = sorted(path for path in newest.iterdir() if not path.name.startswith("."))
        file, (how, damage) = files[number % len(files)], [*DAMAGES.items()][number % len(DAMAGES)]
        damage(file, campaign.draw)
        status, printed = campaign.finish(), campaign.log()
        named = newest.name in printed and ("damaged" in printed) and (file.name in printed or file.name == "manifest.json")
        right = status == 0 and campaign.result() == campaign.expected and campaign.is_clean()
        refused = status == 1 and "all are damaged; --resume never" in printed  # it had the best weights
        if not (named and (right or refused)):
            print(f"{how} {file}: {status} {printed}", file=sys.stderr)
        found["wrong" if not named else "identical" if right else "refused" if refused else "different"] += 1
        shutil.rmtree(campaign.output)
    return found


VARIANTS = {
    "one learning rate": Kind(),
    "two learning rates": Kind(options=("--learning-rate", "2e-3", "--learning-rate", "1e-3")),
    "a student": Kind("distill", ("--strategy", "progressive", "--share", "0.5"), (1, 6, 11)),  # of 20 steps
}
MEASURES = {"kills": kills, "signals": signals, "full disk": full_disks, "damages": damages}
WRONG = ("broken", "went back", "failed", "different", "untidy", "wrong", "late", "wrong step")


def main() -> None:
    logging.getLogger("mobilebert_common").setLevel(logging.ERROR)
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--framework", choices=[*TITLES, "both"], default="both")
    parser.add_argument("--kills", type=int, default=500)
    parser.add_argument("--signals", type=int, default=100)
    parser.add_argument("--full-disks", type=int, default=20)
    parser.add_argument("--damages", type=int, default=40)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    counts = {"kills": options.kills, "signals": options.signals, "full disk": options.full_disks, "damages": options.damages}
    wrong = 0
    for framework in ("pt", "tf") if options.framework == "both" else (options.framework,):
        for name in IMPORTED[framework]:
            importlib.import_module(name)  # once, before the forks
        place = Path(tempfile.mkdtemp())
        campaigns = [Campaign(framework, place / str(number), options.seed, kind) for number, kind in enumerate(VARIANTS.values())]
        for title, measure in MEASURES.items():
            begun, found = time.monotonic(), collections.Counter[str]()
            for number, campaign in enumerate(campaigns):
                if share := (counts[title] + number) // len(campaigns):
                    found += measure(campaign, share)
            if counts[title]:
                told = ", ".join(f"{count} {name}" for name, count in sorted(found.items()) if count)
                print(f"{TITLES[framework]}: {title}: {told}; {time.monotonic() - begun:.0f} s", flush=True)
            wrong += sum(found[name] for name in WRONG)
        shutil.rmtree(place)
    sys.exit(wrong > 0)


if __name__ == "__main__":
    main()
