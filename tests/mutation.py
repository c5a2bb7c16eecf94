"""Mutation test of the core: `python tests/mutation.py`. It changes the code in one place at a time and asks whether a test notices.

A mutant is one change of the syntax tree: another comparison or operator, a number one larger, a condition that always holds, a
statement less. A seeded sample of them runs in throw-away copies of the repository, each against the tests that reach its line,
the quickest first, until one fails; a hang counts as noticed. A line that no test reaches is a mutant that survived. Tests that
take more than SLOW seconds stay out: what only they notice counts as survived, too. Linux or macOS; needs coverage.
"""

import argparse
import ast
import copy
import difflib
import faulthandler
import json
import math
import os
import py_compile
import random
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parent.parent
TARGETS = (
    *(f"src/mobilebert_common/model/{name}.py" for name in ("config", "schema", "architectures", "layout")),
    *(f"src/mobilebert_common/{folder}/*.py" for folder in ("checkpoints", "files", "tokenization", "training")),
    "src/mobilebert_pt/train.py",
    "src/mobilebert_tf/train.py",
)
TESTS = ("tests/common/test_*.py", "tests/hostile/test_hostile.py", "tests/equivalence/test_training.py")
PRELOADED = ("numpy", "ml_dtypes", "h5py", "tokenizers", "safetensors", "pydantic", "huggingface_hub", "pytest")
SLOW = 3.0  # seconds of one test, with coverage; all seconds are of the processor, so that a busy machine changes nothing
BUDGET = 30.0  # seconds of tests per mutant
SLEEP = 60.0  # seconds by the clock after which a test that waits for something has failed
MEMORY = 8 << 30  # bytes of address space per mutant: a limit that is gone must not take the machine with it

# mutants that no test can notice: (file, the line without its indent, the change as it is printed, why)
EQUIVALENT: tuple[tuple[str, str, str, str], ...] = ()

COMPARISONS: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq,
    ast.In: ast.NotIn, ast.NotIn: ast.In, ast.Is: ast.IsNot, ast.IsNot: ast.Is,
}  # fmt: skip
OPERATORS: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.FloorDiv, ast.FloorDiv: ast.Mult, ast.Div: ast.Mult, ast.Mod: ast.FloorDiv,
    ast.Pow: ast.Mult, ast.LShift: ast.RShift, ast.RShift: ast.LShift, ast.BitOr: ast.BitAnd, ast.BitAnd: ast.BitOr,
}  # fmt: skip
FUNCTIONS = {"sorted": "list", "reversed": "list", "min": "max", "max": "min", "any": "all", "all": "any"}
LOGGERS = ("log", "logger", "logging", "warnings")
DELETED = (ast.Raise, ast.AugAssign, ast.Delete, ast.Continue, ast.Break)  # and calls, and assignments to x.y and x[y]


class Mutant(NamedTuple):
    """One change: bytes start:stop of a file become `after`; where it is, from the inside out, as (first line, last line)."""

    file: str
    line: int
    start: int
    stop: int
    before: str
    after: str
    header: tuple[int, int]  # the statement, without the statements inside it
    scopes: tuple[tuple[int, int], ...]  # the functions and classes around it

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.change}"

    @property
    def change(self) -> str:
        return " → ".join(" ".join(text.split()) for text in (self.before, self.after))

    def apply(self, source: bytes) -> bytes:
        return source[: self.start] + self.after.encode() + source[self.stop :]


def replacements(node: ast.AST) -> Iterator[tuple[ast.AST, ast.AST]]:
    """(what is replaced, by what): the changes at one node."""

    def changed(**fields: Any) -> tuple[ast.AST, ast.AST]:
        other = copy.copy(node)
        vars(other).update(fields)
        return node, other

    match node:
        case ast.Compare(ops=ops):
            yield from (changed(ops=[*ops[:at], COMPARISONS[type(op)](), *ops[at + 1 :]]) for at, op in enumerate(ops))
        case ast.BinOp(op=op) | ast.AugAssign(op=op) if type(op) in OPERATORS:
            yield changed(op=OPERATORS[type(op)]())
        case ast.BoolOp(op=op):
            yield changed(op=ast.And() if isinstance(op, ast.Or) else ast.Or())
        case ast.UnaryOp(operand=operand):
            yield node, operand
        case ast.Constant(value=bool(value)):
            yield changed(value=not value)
        case ast.Constant(value=int(value)):
            yield changed(value=value + 1)
        case ast.Constant(value=float(value)):
            yield changed(value=2 * value or 1.0)
        case ast.Return(value=value) if value and not (isinstance(value, ast.Constant) and value.value is None):
            yield changed(value=ast.Constant(None))
        case ast.Slice(lower=lower, upper=upper):
            bounds = [bound for bound in (lower, upper) if bound and not isinstance(bound, ast.Constant)]
            yield from ((bound, ast.BinOp(bound, ast.Add(), ast.Constant(1))) for bound in bounds)
        case ast.Call(func=ast.Name(id="sorted" | "reversed"), args=args):
            yield changed(func=ast.Name("list"), args=args, keywords=[])
        case ast.Call(func=ast.Name(id=name)) if name in FUNCTIONS:
            yield changed(func=ast.Name(FUNCTIONS[name]))
        case ast.Call(keywords=keywords) if any(keyword.arg == "kind" for keyword in keywords):
            yield changed(keywords=[keyword for keyword in keywords if keyword.arg != "kind"])
    match node:
        case ast.If(test=test) | ast.IfExp(test=test):
            yield from ((test, ast.Constant(value)) for value in (True, False))
        case ast.While(test=test):
            yield test, ast.Constant(False)
        case ast.comprehension(ifs=ifs):
            yield from ((test, ast.Constant(value)) for test in ifs for value in (True, False))
        case ast.Expr(value=ast.Call()) | ast.Assign(targets=[ast.Attribute() | ast.Subscript()]):
            yield node, ast.Pass()
        case _ if isinstance(node, DELETED):
            yield node, ast.Pass()


def is_left_alone(node: ast.AST) -> bool:
    """Whether nothing at or below a node is changed: text, imports, logging, assertions, stubs, types."""
    match node:
        case ast.Import() | ast.ImportFrom() | ast.JoinedStr() | ast.Assert() | ast.Expr(value=ast.Constant()):
            return True
        case ast.ClassDef(bases=bases):
            return any(isinstance(base, ast.Name) and base.id == "Protocol" for base in bases)
        case ast.If(test=ast.Name(id="TYPE_CHECKING")) | ast.Assign(targets=[ast.Name(id="__all__")]):
            return True
        case ast.Expr(value=ast.Call(func=ast.Attribute(value=ast.Name(id=name)))):
            return name in LOGGERS
    return False


def children(node: ast.AST) -> Iterator[ast.AST]:
    """What is changed below a node: not annotations, what an exception says, or the assertion that zip(strict=True) is."""
    for name, value in ast.iter_fields(node):
        if name in ("annotation", "returns") or isinstance(node, ast.Raise):
            continue
        for child in value if isinstance(value, list) else [value]:
            is_zip = isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "zip" and name == "keywords"
            if isinstance(child, ast.AST) and not is_zip:
                yield child


def mutants_of(file: str, source: bytes) -> Iterator[Mutant]:
    """All mutants of a file."""
    tree = ast.parse(source)
    lines = [0]
    for line in source.splitlines(keepends=True):
        lines.append(lines[-1] + len(line))

    def visit(node: ast.AST, header: tuple[int, int], scopes: tuple[tuple[int, int], ...]) -> Iterator[Mutant]:
        if is_left_alone(node):
            return
        if isinstance(node, ast.stmt):
            body = getattr(node, "body", None)
            header = (node.lineno, max(node.lineno, body[0].lineno - 1) if body else node.end_lineno or node.lineno)
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            scopes = ((node.lineno, node.end_lineno or node.lineno), *scopes)
        for old, new in replacements(node):
            start, stop = lines[old.lineno - 1] + old.col_offset, lines[old.end_lineno - 1] + old.end_col_offset  # type: ignore
            text = ast.unparse(new)
            if isinstance(new, ast.expr) and not isinstance(new, ast.Constant | ast.Name | ast.Call):
                text = f"({text})"
            mutant = Mutant(file, old.lineno, start, stop, source[start:stop].decode(), text, header, scopes)  # type: ignore
            if ast.dump(ast.parse(mutant.apply(source))) != ast.dump(tree):
                yield mutant
        for child in children(node):
            yield from visit(child, header, scopes)

    yield from visit(tree, (1, 1), ())


# --- running tests in forked processes -----------------------------------------------------------------------------------------


class Hooks:
    """A pytest plugin: runs chosen tests in the order given, each with a time limit, and notes how long each took."""

    def __init__(self, chosen: dict[str, float] | None = None, switch: Callable[[str], Any] = lambda name: None) -> None:
        self.chosen, self.switch = chosen, switch
        self.seconds: dict[str, float] = {}
        self.failed: list[str] = []

    def pytest_collection_modifyitems(self, items: list[Any]) -> None:
        if self.chosen is not None:
            rank = {name: place for place, name in enumerate(self.chosen)}
            items[:] = sorted((item for item in items if item.nodeid in rank), key=lambda item: rank[item.nodeid])

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        self.switch(nodeid)
        self.since = spent()
        if self.chosen is None:
            signal.signal(signal.SIGPROF, too_slow)
            signal.setitimer(signal.ITIMER_PROF, SLOW)
        else:  # both end this process, also out of C code
            signal.setitimer(signal.ITIMER_PROF, 5 + 5 * self.chosen[nodeid])
            faulthandler.dump_traceback_later(SLEEP, exit=True)

    def pytest_runtest_logfinish(self, nodeid: str) -> None:
        self.switch("")
        signal.setitimer(signal.ITIMER_PROF, 0)
        faulthandler.cancel_dump_traceback_later()
        self.seconds[nodeid] = spent() - self.since

    def pytest_runtest_logreport(self, report: Any) -> None:
        if report.failed or (report.skipped and self.chosen is None):
            self.failed.append(report.nodeid)


def spent() -> float:
    """Seconds of this process and its children."""
    return sum(os.times()[:4])


def too_slow(signum: int, frame: Any) -> None:
    raise TimeoutError(f"more than {SLOW} seconds")


def run_pytest(tree: Path, files: Iterable[str], hooks: Hooks) -> int:
    """Run pytest on files of a copy of the repository, in this process."""
    import pytest

    os.chdir(tree)
    sys.path[:0] = [str(tree / "src"), str(tree / "links")]
    options = ["-x"] if hooks.chosen is not None else []
    temporary = f"--basetemp={tree.parent / (tree.name + '-tmp')}"
    return int(pytest.main([*options, "-q", "-p", "no:cacheprovider", temporary, *files], plugins=[hooks]))


def measure(tree: Path, file: str, result: Path) -> int:
    """What the tests of one file reach: [their seconds, {source file: {line: [tests]}}] as JSON, and the tests left out."""
    import coverage

    meter = coverage.Coverage(data_file=None, include=[f"{tree}/src/*"], config_file=False)
    hooks = Hooks(switch=meter.switch_context)
    meter.start()
    code = run_pytest(tree, [file], hooks)
    meter.stop()
    seconds = {name: took for name, took in hooks.seconds.items() if name not in hooks.failed and took < SLOW}
    reached = {
        str(Path(path).relative_to(tree)): {
            line: [name for name in names if name in seconds or not name]
            for line, names in meter.get_data().contexts_by_lineno(path).items()
        }
        for path in meter.get_data().measured_files()
    }
    result.write_text(json.dumps([seconds, reached, sorted(hooks.seconds.keys() - seconds.keys())]))
    return code


def check(tree: Path, mutant: Mutant, chosen: dict[str, float], result: Path) -> int:
    """Run tests on one mutant; the name of the test that failed is written down."""
    import resource

    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    path = tree / mutant.file
    Path(py_compile.compile(str(path))).unlink()  # type: ignore[arg-type]
    path.write_bytes(mutant.apply(path.read_bytes()))
    hooks = Hooks(chosen)
    code = run_pytest(tree, dict.fromkeys(name.partition("::")[0] for name in chosen), hooks)
    result.write_text(json.dumps(hooks.failed[:1]))
    return code


def run_all(jobs: Iterable[tuple[Any, Callable[[Path, Path], int], float]], trees: list[Path]) -> Iterator[tuple[Any, int, Path, float]]:
    """Run jobs (key, function of a tree and a result file, time limit) in forks, one a tree: (key, exit code, result, seconds)."""
    queue, running = iter(jobs), {}
    free = list(trees)
    while True:
        while free and (job := next(queue, None)):
            key, function, limit = job
            tree = free.pop()
            result = tree.with_name(tree.name + ".json")
            result.unlink(missing_ok=True)
            running[start(function, tree, result)] = (key, tree, result, time.monotonic(), limit)
        if not running:
            return
        pid, status = os.waitpid(-1, os.WNOHANG)
        for late, (_, _, _, since, limit) in running.items():
            if not pid and time.monotonic() - since > limit:
                os.killpg(late, signal.SIGKILL)
        if pid:
            key, tree, result, since, _ = running.pop(pid)
            yield key, os.waitstatus_to_exitcode(status), result, time.monotonic() - since
            free.append(tree)
        else:
            time.sleep(0.02)


def start(function: Callable[[Path, Path], int], tree: Path, result: Path) -> int:
    """The process that calls a function, quietly, in a group of its own."""
    pid = os.fork()
    if pid:
        return pid
    os.setpgid(0, 0)
    code = 70
    try:
        with open(tree.with_name(tree.name + ".log"), "wb") as log:
            os.dup2(log.fileno(), 1)
            os.dup2(log.fileno(), 2)
        faulthandler.enable()
        code = function(tree, result)
    finally:
        sys.stdout.flush()
        os._exit(code)


# --- which mutants, which tests, what came of them -----------------------------------------------------------------------------


def copies(folder: Path, count: int) -> list[Path]:
    """Copies of the repository that may be damaged."""
    trees = [folder / f"tree{number}" for number in range(count)]
    unwanted = shutil.ignore_patterns(".*", "__pycache__", "build", "*.egg-info")
    for tree in trees:
        shutil.copytree(ROOT, tree, symlinks=True, ignore=unwanted)
        (tree / "links").mkdir()
        (tree / "links" / "mobilebert_conversion").symlink_to(tree / "conversion")
    return trees


class Reach:
    """Which tests reach which lines."""

    def __init__(self, measured: Iterable[tuple[dict[str, float], dict[str, dict[str, list[str]]], list[str]]]) -> None:
        self.seconds: dict[str, float] = {}
        self.lines: dict[str, dict[int, set[str]]] = defaultdict(lambda: defaultdict(set))
        for seconds, reached, _ in measured:
            self.seconds |= seconds
            for file, lines in reached.items():
                for line, names in lines.items():
                    self.lines[file][int(line)].update(names)

    def within(self, file: str, first: int, last: int) -> set[str]:
        return set().union(*(names for line, names in self.lines[file].items() if first <= line <= last))

    def tests(self, mutant: Mutant) -> set[str]:
        """The tests that may notice a mutant. What runs at import, named "", is noticed by what uses the code around it."""
        lines = (mutant.line, mutant.line + mutant.before.count("\n"))
        found = self.within(mutant.file, *lines) or self.within(mutant.file, *mutant.header)
        if found - {""} or not found:
            return found - {""}
        around = (self.within(mutant.file, *scope) - {""} for scope in (*mutant.scopes, (1, sys.maxsize)))
        return next(filter(None, around), set(self.seconds))

    def chosen(self, mutant: Mutant, killers: Counter[str]) -> dict[str, float]:
        """The tests to run, those that noticed a mutant of this file and quick ones first, up to the budget: {name: seconds}."""
        names = sorted(self.tests(mutant), key=lambda name: (-killers[name], self.seconds[name], name))
        kept: dict[str, float] = {}
        for name in names:
            if sum(kept.values()) + self.seconds[name] <= BUDGET:
                kept[name] = self.seconds[name]
        return kept


def wilson(hits: int, count: int) -> tuple[float, float]:
    """The 95% interval of a share."""
    z, share = 1.96, hits / count
    middle, spread = share + z * z / (2 * count), z * math.sqrt(share * (1 - share) / count + z * z / (4 * count * count))
    return tuple((middle + sign * spread) / (1 + z * z / count) for sign in (-1, 1))  # type: ignore[return-value]


def equivalent(mutant: Mutant, source: bytes) -> str | None:
    """Why no test can notice a mutant, if EQUIVALENT lists it."""
    line = source.decode().splitlines()[mutant.line - 1].strip()
    return next((why for *place, why in EQUIVALENT if place == [mutant.file, line, mutant.change]), None)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--count", type=int, default=300)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--only", default="", metavar="TEXT", help="only mutants whose file:line: change contains this")
    parser.add_argument("--list", action="store_true", help="print the sample and stop")
    parser.add_argument("--show", action="store_true", help="print the sample as diffs and stop")
    parser.add_argument("--measured", type=Path, metavar="FILE", help="take what tests reach from FILE, or keep it there")
    arguments = parser.parse_args()

    sources = {str(path.relative_to(ROOT)): path.read_bytes() for target in TARGETS for path in sorted(ROOT.glob(target))}
    every = [mutant for file, source in sources.items() for mutant in mutants_of(file, source)]
    every = [mutant for mutant in every if arguments.only in str(mutant)]
    sample = sorted(random.Random(arguments.seed).sample(every, min(arguments.count, len(every))))
    print(f"{len(sample):,} of {len(every):,} mutants", flush=True)
    if arguments.list or arguments.show:
        for mutant in sample:
            print(diff(mutant, sources[mutant.file]) if arguments.show else mutant)
        return
    reasons = {mutant: reason for mutant in sample if (reason := equivalent(mutant, sources[mutant.file]))}
    sample = [mutant for mutant in sample if mutant not in reasons]
    prepare()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        trees = copies(Path(folder).resolve(), arguments.workers)
        reach = measure_all(trees, arguments.measured)
        killed = run_sample(sample, reach, trees)
    report(sample, killed, reasons)


def diff(mutant: Mutant, source: bytes) -> str:
    sides = (text.decode().splitlines() for text in (source, mutant.apply(source)))
    return "\n".join(difflib.unified_diff(*sides, mutant.file, mutant.file, lineterm=""))


def prepare() -> None:
    """Import what the mutants have in common, once, and set what tests read from the environment."""
    try:
        import coverage  # noqa: F401
    except ImportError:
        sys.exit("tests/mutation.py needs coverage: pip install coverage")
    for name in PRELOADED:
        __import__(name)
    sys.path[:] = [path for path in sys.path if Path(path).resolve() not in (ROOT / "tests", ROOT / "src")]
    os.environ.setdefault("MOBILEBERT_DATA", str(ROOT.parent / "shared" / "data"))
    os.environ |= {"PYTHONDONTWRITEBYTECODE": "1", "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}


def measure_all(trees: list[Path], keep: Path | None) -> Reach:
    """Run every test once with coverage."""
    if keep and keep.exists():
        return Reach(json.loads(keep.read_text()))
    files = [str(path.relative_to(trees[0])) for pattern in TESTS for path in sorted(trees[0].glob(pattern))]
    jobs = ((file, lambda tree, result, file=file: measure(tree, file, result), 900.0) for file in files[::-1])
    found = []
    for file, code, result, seconds in run_all(jobs, trees):
        if not result.exists():
            sys.exit(f"{file}: pytest ended with {code}\n{result.with_suffix('.log').read_text()[-3000:]}")
        found.append(json.loads(result.read_text()))
        print(f"{file}: {len(found[-1][0])} tests in {seconds:.0f} s, {len(found[-1][2])} left out", flush=True)
    if keep:
        keep.write_text(json.dumps(found))
    return Reach(found)


def run_sample(sample: list[Mutant], reach: Reach, trees: list[Path]) -> dict[Mutant, bool]:
    """Whether each mutant was noticed."""
    killers: dict[str, Counter[str]] = defaultdict(Counter)
    killed: dict[Mutant, bool] = {mutant: False for mutant in sample if not reach.tests(mutant)}
    print(f"{len(killed)} mutants on lines that no test reaches", flush=True)

    def jobs() -> Iterator[tuple[Mutant, Callable[[Path, Path], int], float]]:
        for mutant in sample:
            if mutant not in killed:
                chosen = reach.chosen(mutant, killers[mutant.file])

                def job(tree: Path, result: Path, mutant: Mutant = mutant, chosen: dict[str, float] = chosen) -> int:
                    return check(tree, mutant, chosen, result)

                yield mutant, restored(job, mutant.file), 120 + 10 * sum(chosen.values())

    for mutant, code, result, seconds in run_all(jobs(), trees):
        killed[mutant] = code not in (0, 5)
        failed = json.loads(result.read_text()) if result.exists() else []
        killers[mutant.file].update(failed)
        by = failed[0] if failed else f"exit code {code}"
        print(f"{len(killed):4} {seconds:5.1f} s  {mutant}  {'killed: ' + by if killed[mutant] else 'SURVIVED'}", flush=True)
    return killed


def restored(job: Callable[[Path, Path], int], file: str) -> Callable[[Path, Path], int]:
    """A job that finds the tree as it was, whatever the one before it left."""

    def clean(tree: Path, result: Path) -> int:
        for target in TARGETS:
            for path in tree.glob(target):
                source = ROOT / path.relative_to(tree)
                if path.read_bytes() != source.read_bytes():
                    shutil.copy(source, path)
        return job(tree, result)

    return clean


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
