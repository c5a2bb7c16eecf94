"""Mutation test of the core: `python tests/mutation.py`. It changes the code in one place at a time and asks whether a test notices.

A mutant is one change of the syntax tree: another comparison or operator, a number one larger, a condition that always holds, a
statement less. A seeded sample of them runs in throw-away copies of the repository, each against the tests that reach its line,
the likeliest first, until one fails; a hang counts as noticed. A line that no test reaches is a mutant that survived. Slow tests
stay out: what only they notice counts as survived, too. Needs coverage, and a system that forks.
"""

import argparse
import compileall
import difflib
import faulthandler
import functools
import importlib.util
import json
import math
import os
import py_compile
import random
import resource
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from support.mutants import Mutant, mutants_of

ROOT = Path(__file__).resolve().parent.parent
TARGETS = (
    *(f"src/mobilebert_common/model/{name}.py" for name in ("config", "schema", "architectures", "layout")),
    *(f"src/mobilebert_common/{folder}/*.py" for folder in ("checkpoints", "files", "tokenization", "training")),
    "src/mobilebert_pt/training.py",
    "src/mobilebert_tf/training.py",
)
EXCLUDED = ("differences.py",)  # a command, whose one test is all that it measures
# which tests run, and the seconds of one of them, with coverage, beyond which it stays out
TESTS = {
    "tests/common/test_*.py": 3.0,
    "tests/hostile/test_hostile.py": 3.0,
    "tests/hub/test_download.py": 3.0,
    "tests/equivalence/test_training.py": 60.0,
}
PRELOADED = ("numpy", "ml_dtypes", "h5py", "tokenizers", "safetensors.numpy", "pydantic", "huggingface_hub")
BUDGET = 30.0  # seconds of tests per mutant; these seconds are of the processor, so that a busy machine changes nothing
ASLEEP = 300.0  # seconds by the clock after which a test that waits has failed
MEMORY = 8 << 30  # bytes of address space per mutant: a limit that is gone must not take the machine with it

# mutants that no test can notice: (file, the line without its indent, the change as it is printed, why)
EQUIVALENT: tuple[tuple[str, str, str, str], ...] = (
    (
        "src/mobilebert_common/checkpoints/archive.py",
        "@dataclass(frozen=True, slots=True)",
        "True → False",
        "no code assigns to an Entry, and slots only save memory",
    ),
    (
        "src/mobilebert_common/checkpoints/hdf5.py",
        'block = self.block(number) + (self.block(number + 1) if stop > BLOCK else b"")',
        "stop > BLOCK → True",
        "it reads a block more than it needs",
    ),
    (
        "src/mobilebert_common/checkpoints/hdf5.py",
        'block = self.block(number) + (self.block(number + 1) if stop > BLOCK else b"")',
        "stop > BLOCK → (stop >= BLOCK)",
        "it reads a block more than it needs",
    ),
    (
        "src/mobilebert_common/checkpoints/hdf5.py",
        "if count > self.steps.left:  # firsts() would make a list of each side",
        "count > self.steps.left → (count >= self.steps.left)",
        "chunks take a step each and one more for their node, so the budget refuses this count a few lines on",
    ),
    (
        "src/mobilebert_common/checkpoints/hdf5.py",
        "if version != 1 or count > 8:",
        "count > 8 → (count >= 8)",
        "no list of eight filters is one of FILTERS either",
    ),
    (
        "src/mobilebert_common/checkpoints/hdf5.py",
        "if len(self.kept) == BLOCKS:",
        "len(self.kept) == BLOCKS → True",
        "blocks that are forgotten earlier are read again",
    ),
    (
        "src/mobilebert_common/checkpoints/zipped.py",
        "return wide[0], wide[2]",
        "0 → 1",
        "both sizes were found to be equal two lines before",
    ),
    (
        "src/mobilebert_common/files/folder.py",
        "return False",
        "return False → return None",
        "it is only asked whether it is true",
    ),
    (
        "src/mobilebert_common/checkpoints/torch_bin.py",
        "for name in sorted(wanted, key=wanted.__getitem__):",
        "sorted(wanted, key=wanted.__getitem__) → list(wanted)",
        "the order of reading only matters to a disk",
    ),
    (
        "src/mobilebert_common/files/folder.py",
        "time.sleep(min(LONGEST_PAUSE, 0.001 * 2**attempt) * (0.5 + secrets.randbelow(1000) / 1000))",
        "1000 → 1001",
        "a pause of random length is a thousandth longer",
    ),
    (
        "src/mobilebert_common/files/folder.py",
        "time.sleep(0.005)",
        "time.sleep(0.005) → pass",
        "waiting without a pause takes the processor and nothing else",
    ),
    (
        "src/mobilebert_common/model/schema.py",
        'Part("bias", 1, (keras[1], "same"), (bias, "same"), ("beta", "same"), ("beta", "same")),',
        "1 → 2",
        "the shape of a norm has one side, however many a part may take of it",
    ),
    (
        "src/mobilebert_common/model/schema.py",
        "@dataclass(frozen=True)",
        "True → False",
        "no code assigns to a Tensor",
    ),
    (
        "src/mobilebert_common/tokenization/basic.py",
        "CACHED_PIECES = 1 << 17  # of the words remembered between calls; about 140 bytes each",
        "1 << 17 → (1 >> 17)",
        "a cache of another size",
    ),
    (
        "src/mobilebert_common/tokenization/shaping.py",
        "@dataclass(frozen=True)",
        "True → False",
        "no code assigns to a Truncation or a Padding",
    ),
    (
        "src/mobilebert_common/tokenization/basic.py",
        "self._cached = 0  # pieces",
        "0 → 1",
        "the cache is emptied one piece earlier",
    ),
    (
        "src/mobilebert_common/tokenization/basic.py",
        "super().__init__()",
        "super().__init__() → pass",
        "a new dict is empty without it",
    ),
    (
        "src/mobilebert_common/tokenization/python.py",
        "if done < start:",
        "done < start → True",
        "an empty stretch of text has no words",
    ),
)


# --- running tests, in forks of this process ------------------------------------------------------------------------------------


class Hooks:
    """A pytest plugin: runs chosen tests in the order given, limits what each may take, and notes what it took."""

    def __init__(self, limits: Callable[[str], float], chosen: Iterable[str] | None = None) -> None:
        self.limits, self.rank = limits, None if chosen is None else {name: place for place, name in enumerate(chosen)}
        self.switch: Callable[[str], Any] = lambda name: None
        self.seconds: dict[str, float] = {}
        self.failed: list[str] = []

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        if self.rank is None:
            items.reverse()
        else:
            items[:] = sorted((item for item in items if item.nodeid in self.rank), key=lambda item: self.rank[item.nodeid])

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        forget()
        self.switch(nodeid)
        self.since = sum(os.times()[:4])

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_call(self, item: pytest.Item) -> Iterator[None]:
        signal.setitimer(signal.ITIMER_PROF, self.limits(item.nodeid))
        faulthandler.dump_traceback_later(ASLEEP, exit=True)
        try:
            return (yield)
        finally:
            signal.setitimer(signal.ITIMER_PROF, 0)
            faulthandler.cancel_dump_traceback_later()

    def pytest_runtest_logfinish(self, nodeid: str) -> None:
        self.switch("")
        self.seconds[nodeid] = sum(os.times()[:4]) - self.since

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed or (report.skipped and self.rank is None):
            self.failed.append(report.nodeid)


def forget() -> None:
    """Clear all caches of functions, so that each test reaches what it needs, whichever ran before."""
    for name, module in list(sys.modules.items()):
        if name.startswith("mobilebert_"):
            for value in vars(module).values():
                if isinstance(value, functools._lru_cache_wrapper):
                    value.cache_clear()


def run_pytest(tree: Path, file: str, hooks: Hooks) -> int:
    """Run a test file in a copy of the repository, in this process."""
    os.chdir(tree)
    if str(tree / "src") not in sys.path:
        sys.path[:0] = [str(tree / "src"), str(tree / "links")]
    options = ["-q", "-p", "no:cacheprovider", f"--basetemp={tree}-tmp", *(["-x"] if hooks.rank is not None else [])]
    return int(pytest.main([*options, file], plugins=[hooks]))


def measure(tree: Path, file: str, slow: float) -> Any:
    """What the tests of one file reach: their seconds, {source file: {line: [tests]}}, and how many are left out.

    The last one runs first. A test that only passes after another, or before it, fails here, and is left out: tests are not run in
    their order later.
    """
    import coverage

    def too_slow(signum: int, frame: Any) -> None:
        raise TimeoutError(f"more than {slow} seconds")

    signal.signal(signal.SIGPROF, too_slow)
    meter = coverage.Coverage(data_file=None, include=[f"{tree}/src/*"], config_file=False)
    hooks = Hooks(lambda name: slow)
    hooks.switch = meter.switch_context
    meter.start()
    run_pytest(tree, file, hooks)
    meter.stop()
    data = meter.get_data()
    seconds = {name: took for name, took in hooks.seconds.items() if name not in hooks.failed and took < slow}
    reached = {
        str(Path(path).relative_to(tree)): {
            line: [name for name in names if name in seconds or not name] for line, names in data.contexts_by_lineno(path).items()
        }
        for path in data.measured_files()
    }
    return seconds, reached, len(hooks.seconds) - len(seconds)


def check(tree: Path, mutant: Mutant, chosen: dict[str, dict[str, float]]) -> str | None:
    """The test that notices a mutant, or None; {test file: {test: seconds}}. A hang ends this process, also out of C code."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    path = tree / mutant.file
    Path(py_compile.compile(str(path), doraise=True)).unlink()  # so that what is imported is the mutant
    path.write_bytes(mutant.apply(path.read_bytes()))
    for file, tests in chosen.items():
        hooks = Hooks(lambda name, tests=tests: 5 + 5 * tests[name], tests)
        if (code := run_pytest(tree, file, hooks)) not in (0, 5):
            return hooks.failed[0] if hooks.failed else f"{file} (exit code {code})"
    return None


Job = tuple[Any, Callable[[Path], Any], float]  # its name, what it does in a tree, seconds by the clock until it is ended


def run_all(jobs: Iterator[Job], trees: list[Path]) -> Iterator[tuple[Any, Any, float]]:
    """Run each job in a fork, as many at a time as there are trees: (its name, its result, seconds)."""
    free, running = list(trees), {}
    while True:
        while free and (job := next(jobs, None)):
            tree = free.pop()
            running[start(job[1], tree)] = (*job, tree, time.monotonic())
        if not running:
            return
        pid, status = os.waitpid(-1, os.WNOHANG)
        if pid:
            name, _, _, tree, since = running.pop(pid)
            free.append(tree)
            result = f"ended with {os.waitstatus_to_exitcode(status)}" if status else json.loads(result_of(tree).read_text())
            yield name, result, time.monotonic() - since
        else:
            for late in [pid for pid, (_, _, limit, _, since) in running.items() if time.monotonic() - since > limit]:
                os.killpg(late, signal.SIGKILL)
            time.sleep(0.02)


def start(function: Callable[[Path], Any], tree: Path) -> int:
    """The process that calls a function, quietly, in a group of its own, and writes down what it returns."""
    if pid := os.fork():
        return pid
    code = 70
    try:
        os.setpgid(0, 0)
        with open(f"{tree}.log", "wb") as log:
            os.dup2(log.fileno(), 1)
            os.dup2(log.fileno(), 2)
        restore(tree)
        result_of(tree).write_text(json.dumps(function(tree)))
        code = 0
    finally:
        os._exit(code)


def result_of(tree: Path) -> Path:
    return Path(f"{tree}.json")


def restore(tree: Path) -> None:
    """Undo what the mutant before has left."""
    for target in TARGETS:
        for path in ROOT.glob(target):
            copied = tree / path.relative_to(ROOT)
            if copied.read_bytes() != path.read_bytes():
                shutil.copy(path, copied)


# --- which mutants, which tests, what came of them -----------------------------------------------------------------------------


class Reach:
    """Which tests reach which lines."""

    def __init__(self, measured: Iterable[Any]) -> None:
        self.seconds: dict[str, float] = {}
        self.lines: dict[str, dict[int, set[str]]] = defaultdict(lambda: defaultdict(set))
        for seconds, reached, _ in measured:
            self.seconds |= seconds
            for file, lines in reached.items():
                for line, names in lines.items():
                    self.lines[file][int(line)].update(names)
        self.sizes = Counter(map(file_of, self.seconds))

    def within(self, file: str, first: int, last: int) -> set[str]:
        return set().union(*(names for line, names in self.lines[file].items() if first <= line <= last))

    def tests(self, mutant: Mutant) -> set[str]:
        """The tests that may notice a mutant. What runs at import, named "", is noticed by what uses the code around it.

        Who uses a constant or the default of a field need not run a line of its file, so those are all tests of the files that have
        one which does.
        """
        lines = (mutant.line, mutant.line + mutant.before.count("\n"))
        found = self.within(mutant.file, *lines) or self.within(mutant.file, *mutant.header)
        if found - {""} or not found:
            return found - {""}
        around = (self.within(mutant.file, *scope) - {""} for scope in (*mutant.scopes, (1, sys.maxsize)))
        files = {file_of(name) for name in next(filter(None, around), set(self.seconds))}
        return {name for name in self.seconds if file_of(name) in files}

    def chosen(self, mutant: Mutant, killers: Counter[str]) -> dict[str, dict[str, float]]:
        """The likeliest first: files whose tests noticed mutants of the same file, then those that soon have run many that may."""
        names = self.tests(mutant)
        reaching, killing, seconds = Counter(map(file_of, names)), Counter[str](), Counter[str]()
        for name, count in killers.items():
            killing[file_of(name)] += count
        for name in names:
            seconds[file_of(name)] += self.seconds[name]
        cost = {file: (1 + seconds[file]) * self.sizes[file] / count for file, count in reaching.items()}
        files = sorted(reaching, key=lambda file: (-killing[file], cost[file], file))
        chosen: dict[str, dict[str, float]] = {file: {} for file in files}
        total = 0.0
        for name in sorted(names, key=lambda name: (files.index(file_of(name)), -killers[name], self.seconds[name], name)):
            total += self.seconds[name]
            if total <= BUDGET:
                chosen[file_of(name)][name] = self.seconds[name]
        return {file: tests for file, tests in chosen.items() if tests}


def file_of(test: str) -> str:
    return test.partition("::")[0]


def wilson(hits: int, count: int) -> tuple[float, float]:
    """The 95% interval of a share."""
    z, share = 1.96, hits / count
    middle, spread = share + z * z / (2 * count), z * math.sqrt(share * (1 - share) / count + z * z / (4 * count * count))
    return tuple((middle + sign * spread) / (1 + z * z / count) for sign in (-1, 1))  # type: ignore[return-value]


def matches(row: tuple[str, str, str, str], mutant: Mutant, sources: Mapping[str, bytes]) -> bool:
    """Whether a row of EQUIVALENT is about a mutant."""
    file, line, change, _ = row
    return (file, change) == (mutant.file, mutant.change) and sources[file].decode().splitlines()[mutant.line - 1].strip() == line


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--count", type=int, default=300)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--only", default="", metavar="TEXT", help="only mutants with this in their line of the output")
    parser.add_argument("--list", action="store_true", help="print the sample and stop")
    parser.add_argument("--show", action="store_true", help="print the sample as diffs and stop")
    parser.add_argument("--measured", type=Path, metavar="FILE", help="take what tests reach from this file, or keep it there")
    arguments = parser.parse_args()

    files = [path for target in TARGETS for path in sorted(ROOT.glob(target)) if path.name not in EXCLUDED]
    sources = {str(path.relative_to(ROOT)): path.read_bytes() for path in files}
    every = [mutant for file, source in sources.items() for mutant in mutants_of(file, source) if arguments.only in str(mutant)]
    if not arguments.only:
        gone = [row for row in EQUIVALENT if not any(matches(row, mutant, sources) for mutant in every)]
        for file, line, change, _ in gone:
            print(f"EQUIVALENT lists what is gone: {file}: {line}: {change}")
    sample = sorted(random.Random(arguments.seed).sample(every, min(arguments.count, len(every))))
    print(f"{len(sample):,} of {len(every):,} mutants", flush=True)
    if arguments.list or arguments.show:
        print(*(diff(mutant, sources[mutant.file]) if arguments.show else mutant for mutant in sample), sep="\n")
        return
    for mutant in sample:
        mutant.apply(sources[mutant.file])  # what does not parse would count as noticed
    reasons = {mutant: row[3] for row in EQUIVALENT for mutant in sample if matches(row, mutant, sources)}
    sample = [mutant for mutant in sample if mutant not in reasons]
    prepare()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        trees = copies(Path(folder).resolve(), arguments.workers)
        killed = run_sample(sample, measure_all(trees, arguments.measured), trees)
    report(sample, killed, reasons)


def diff(mutant: Mutant, source: bytes) -> str:
    sides = (text.decode().splitlines() for text in (source, mutant.apply(source)))
    return "\n".join(difflib.unified_diff(*sides, mutant.file, mutant.file, lineterm=""))


def prepare() -> None:
    """Import what all runs need, once, and set the environment of the tests."""
    if importlib.util.find_spec("coverage") is None:
        sys.exit("tests/mutation.py needs coverage: pip install coverage")
    for name in PRELOADED:
        importlib.import_module(name)
    sys.path[:] = [path for path in sys.path if Path(path).resolve() not in (ROOT / "tests", ROOT / "src")]
    for name in ("support", "support.mutants"):  # the tests have their own copy
        del sys.modules[name]
    os.environ.setdefault("MOBILEBERT_DATA", str(ROOT.parent / "shared" / "data"))
    os.environ |= {"PYTHONDONTWRITEBYTECODE": "1", "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}


def copies(folder: Path, count: int) -> list[Path]:
    """Copies of the repository that may be damaged."""
    trees = [folder / f"tree{number}" for number in range(count)]
    for tree in trees:
        shutil.copytree(ROOT, tree, symlinks=True, ignore=shutil.ignore_patterns(".*", "__pycache__", "build", "*.egg-info"))
        (tree / "links").mkdir()
        (tree / "links" / "mobilebert_conversion").symlink_to(tree / "conversion")
        compileall.compile_dir(tree / "src", quiet=1)
    return trees


def measure_all(trees: list[Path], keep: Path | None) -> Reach:
    """Run every test once with coverage."""
    if keep and keep.exists():
        return Reach(json.loads(keep.read_text()))
    files = [(str(path.relative_to(ROOT)), slow) for pattern, slow in TESTS.items() for path in sorted(ROOT.glob(pattern))]
    jobs = ((file, functools.partial(measure, file=file, slow=slow), 1800.0) for file, slow in files)
    found = []
    for file, result, seconds in run_all(jobs, trees):
        if isinstance(result, str):
            sys.exit(f"{file}: {result}")
        found.append(result)
        print(f"{file}: {len(result[0])} tests in {seconds:.0f} s, {result[2]} left out", flush=True)
    if keep:
        keep.write_text(json.dumps(found))
    return Reach(found)


def run_sample(sample: list[Mutant], reach: Reach, trees: list[Path]) -> dict[Mutant, bool]:
    """Whether each mutant was noticed."""
    killers: dict[str, Counter[str]] = defaultdict(Counter)
    killed = {mutant: False for mutant in sample if not reach.tests(mutant)}
    print(f"{len(killed)} mutants on lines that no test reaches", flush=True)

    def jobs() -> Iterator[Job]:
        for mutant in sample:
            if mutant not in killed:
                chosen = reach.chosen(mutant, killers[mutant.file])
                yield mutant, functools.partial(check, mutant=mutant, chosen=chosen), 1800.0

    for mutant, killer, seconds in run_all(jobs(), trees):
        killed[mutant] = killer is not None
        killers[mutant.file].update([killer] if killer in reach.seconds else [])
        print(f"{len(killed):4} {seconds:5.1f} s  {mutant}  {f'killed: {killer}' if killer else 'SURVIVED'}", flush=True)
    return killed


def report(sample: list[Mutant], killed: dict[Mutant, bool], reasons: dict[Mutant, str]) -> None:
    print("\n killed   of  file")
    for file in dict.fromkeys(mutant.file for mutant in sample):
        here = [killed[mutant] for mutant in sample if mutant.file == file]
        print(f"{sum(here):7} {len(here):4}  {file}")
    hits, count = sum(killed.values()), len(killed)
    low, high = wilson(hits, count)
    print(f"{hits:7} {count:4}  in all: {hits / count:.1%} (95% interval {low:.1%} to {high:.1%})")
    print("\nsurvived:", *(mutant for mutant in sample if not killed[mutant]), sep="\n  ")
    if reasons:
        print("\nequivalent, not counted:", *(f"{mutant}: {reason}" for mutant, reason in reasons.items()), sep="\n  ")


if __name__ == "__main__":
    main()
