"""What an export changes: answers, the metric, size and speed."""

import json
import math
import platform
import statistics
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..model.architectures import ARCHITECTURES, has_choices
from ..model.inputs import problem_type
from ..runtimes.artefact import Artefact
from ..runtimes.signature import Signature
from ..tasks.examples import Examples
from ..tasks.metrics import Scores
from ..tokenization import MobileBertTokenizerFast
from ..training.predictor import BATCH, WINDOW, Infer, by_length
from ..training.twin import Twin

if TYPE_CHECKING:
    from .export import Plan

MESSAGES = Path(__file__).parents[1] / "data" / "messages.tsv"
SAMPLE = 64  # of the texts that come with this package
TIMED, WARM = 20, 3  # calls
LENGTHS = (32, 128, 384)  # tokens to time where any number goes


@dataclass(frozen=True)
class Report:
    """What was measured of an exported file.

    Attributes:
        source: the name of the checkpoint.
        size: of the file in bytes.
        data: what both models were run on, and rows how much of it.
        relative: {output: relative L2 distance to the float model's, over all rows and real tokens}.
        same: the share of answers (classes, tags of tokens, ends of spans) that are the same; None for models without.
        before, after: the metrics of the float model and of the file, the one that counts first; empty without labelled data.
        milliseconds: {tokens: median time of a call with one row}.
        machine: where.
        versions: of the libraries that wrote and ran the file.
    """

    source: str
    target: str
    quantize: str
    file: str
    size: int
    data: str
    rows: int
    relative: dict[str, float]
    same: float | None
    before: dict[str, float] = field(default_factory=dict)
    after: dict[str, float] = field(default_factory=dict)
    milliseconds: dict[int, float] = field(default_factory=dict)
    machine: str = ""
    versions: dict[str, str] = field(default_factory=dict)

    @property
    def largest(self) -> float:
        """The largest of the relative distances; infinite if one is not a number."""
        return max(math.inf if math.isnan(value) else value for value in self.relative.values())

    @property
    def lost(self) -> float:
        """By how much the first metric fell; NaN without one."""
        title = next(iter(self.before), None)
        return math.nan if title is None else self.before[title] - self.after[title]

    def to_json(self) -> bytes:
        """The content of report.json."""
        return (json.dumps(asdict(self), indent=2, ensure_ascii=False) + "\n").encode()


def compare(plan: "Plan", door: Twin, folded: Any, artefact: Artefact) -> Report:
    """Run the folded model and the file on the same rows.

    Args:
        door: the twin of the folded model.
    """
    rows = plan.evaluation or plan.calibration
    examples = sample(plan.tokenizer, artefact.signature) if rows is None else rows.examples
    has_vocabulary = "predictions" in ARCHITECTURES[plan.architecture].blocks  # in its outputs, which are large then
    pool = 4 * BATCH if has_vocabulary else WINDOW

    def run(infer: Infer) -> Iterator[Mapping[str, np.ndarray]]:
        return by_length(examples, BATCH, pool, infer)

    wanted = Outputs(lambda: run(lambda batches: door.infer(folded, batches)), again=has_vocabulary)
    kind = problem_type(plan.config, integer_labels=True) if "classifier" in ARCHITECTURES[plan.architecture].blocks else ""
    agreement = Agreement(artefact.signature, kind)
    found = Outputs(
        lambda: agreement.watch(examples, wanted, run(lambda batches: artefact.infer(None, batches))), again=has_vocabulary
    )
    for _ in found:
        pass
    is_finite = all(map(math.isfinite, agreement.relative().values()))  # otherwise there is nothing to score
    before, after = (scores(plan, outputs) if is_finite else {} for outputs in (wanted, found))
    file = artefact.signature.files[artefact.signature.file]
    return Report(
        source=Path(plan.source).name if Path(plan.source).exists() else plan.source,
        target=artefact.signature.target,
        quantize=artefact.signature.quantize,
        file=artefact.signature.file,
        size=file.bytes,
        data="sentences that come with mobilebert-zoo" if rows is None else Path(rows.data.path).name,
        rows=len(examples),
        relative=agreement.relative(),
        same=agreement.same(),
        before=before,
        after=after,
        milliseconds=timed(artefact),
        machine=machine(),
        versions={"mobilebert-zoo": version("mobilebert-zoo"), **{name: version(name) for name in plan.target.libraries}},
    )


class Outputs:
    """A model's outputs row by row, kept for the next reader unless they are large.

    Args:
        run: starts the model.
        again: run the model again for each reader.
    """

    def __init__(self, run: Any, again: bool) -> None:
        self.run, self.again = run, again
        self.kept: list[Mapping[str, np.ndarray]] | None = None

    def __iter__(self) -> Iterator[Mapping[str, np.ndarray]]:
        if self.again:
            return iter(self.run())
        if self.kept is None:
            self.kept = [*self.run()]
        return iter(self.kept)


class Agreement:
    """How far outputs are from those of another model, summed up row by row.

    Args:
        kind: what a classifier's logits are, see `inputs.problem_type`.
    """

    def __init__(self, signature: Signature, kind: str) -> None:
        self.signature, self.kind = signature, kind
        self.differences: dict[str, float] = {}
        self.norms: dict[str, float] = {}
        self.answers, self.equal = 0, 0

    def watch(
        self, examples: Examples, wanted: "Outputs", found: Iterator[Mapping[str, np.ndarray]]
    ) -> Iterator[Mapping[str, np.ndarray]]:
        """The rows of `found`, each compared with that of `wanted`."""
        self.differences, self.norms, self.answers, self.equal = {}, {}, 0, 0
        for length, want, row in zip(examples.lengths, wanted, found, strict=True):
            for name in self.signature.outputs:
                self.add(name, *(self.used(name, each[name][0], length) for each in (want, row)))
            yield row

    def used(self, name: str, array: np.ndarray, length: int) -> Any:
        """What counts of an output [t ...] or [...], in float64: real tokens; logits up to what a softmax leaves out."""
        array = array.astype(np.float64)
        array = array[:length] if self.signature.is_per_token(name) else array
        return array - array.max(axis=-1, keepdims=True) if self.signature.activation == "softmax" else array

    def add(self, name: str, want: np.ndarray, found: np.ndarray) -> None:
        """Count one output of one row."""
        self.differences[name] = self.differences.get(name, 0.0) + float(np.square(found - want).sum())
        self.norms[name] = self.norms.get(name, 0.0) + float(np.square(want).sum())
        if name.endswith("logits") and self.kind != "regression":
            answers = [each > 0 if self.kind == "multi_label_classification" else each.argmax(axis=-1) for each in (want, found)]
            self.answers += answers[0].size
            self.equal += int((answers[0] == answers[1]).sum())

    def relative(self) -> dict[str, float]:
        """{output: relative L2 distance}."""
        return {name: math.sqrt(found) / max(math.sqrt(self.norms[name]), 1e-30) for name, found in self.differences.items()}

    def same(self) -> float | None:
        """The share of equal answers."""
        return self.equal / self.answers if self.answers else None


def scores(plan: "Plan", outputs: Outputs) -> dict[str, float]:
    """The metrics on the labelled data, the one that counts first; empty without them."""
    if plan.evaluation is None or plan.setup is None:
        return {}
    setup, (data, examples) = plan.setup, (plan.evaluation.data, plan.evaluation.examples)
    lengths = setup.lengths if setup.remembered else setup.task.lengths_without_memory(plan.signature.max_length)
    predictions = setup.task.predict(data, examples, iter(outputs), plan.config, lengths)
    found: Scores = setup.task.evaluate(data, predictions, plan.config)
    return dict((found if setup.metric is None else found.with_first(setup.metric)).metrics)


def sample(tokenizer: MobileBertTokenizerFast, signature: Signature) -> Examples:
    """Texts of this package as inputs, every other one as a pair; for multiple choice, two choices each."""
    texts = [line.split("\t")[0] for line in MESSAGES.read_text(encoding="utf-8").splitlines()[1 : 2 * SAMPLE + 1]]
    columns: dict[str, list[Any]] = {name: [] for name in signature.inputs}
    for number, (first, second) in enumerate(zip(texts[::2], texts[1::2], strict=True)):
        pairs = [(first, second if number % 2 else None), (second, None)][: 2 if has_choices(signature.architecture) else 1]
        found = [tokenizer(*pair, truncation=True, max_length=signature.max_length) for pair in pairs]
        for name, column in columns.items():
            rows = [encoding[name] for encoding in found]
            column.append(rows if len(rows) > 1 else rows[0])
    return Examples(columns, {}, range(SAMPLE))


def timed(artefact: Artefact) -> dict[int, float]:
    """{tokens: milliseconds of a call with one row, the median}."""
    signature = artefact.signature
    lengths = signature.lengths or [length for length in LENGTHS if length <= signature.max_length] or [signature.max_length]
    found = {}
    for length in lengths:
        rows = {name: np.ones((1, length), signature.ids) for name in signature.inputs}
        rows["token_type_ids"][:] = 0
        times = []
        for _ in range(WARM + TIMED):
            started = time.perf_counter()
            artefact.run(rows)
            times.append(time.perf_counter() - started)
        found[length] = round(1000 * statistics.median(times[WARM:]), 3)
    return found


def machine() -> str:
    """The processor of this machine, in words."""
    name = platform.processor() or platform.machine()
    cpus = Path("/proc/cpuinfo")
    if cpus.is_file():
        names = [line.partition(":")[2].strip() for line in cpus.read_text().splitlines() if line.startswith("model name")]
        name = f"{names[0]}, {len(names)} processors" if names else name
    return f"{name}, {platform.system()}"
