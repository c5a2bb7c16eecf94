"""Export a checkpoint: everything is checked first, then a folder is written as a whole."""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import ConfigError, DataError, brief, counted
from ..files.folder import sha256
from ..files.whole import new_folder, require_new
from ..frameworks import FRAMEWORKS, twin, writer
from ..model.architectures import ARCHITECTURES, has_choices, named_architecture
from ..model.config import CONFIG_FILE, MobileBertConfig
from ..model.inputs import problem_type
from ..optional import needs
from ..runtimes.artefact import Artefact, ClientConfig, is_artefact
from ..runtimes.signature import SIGNATURE_FILE, File, Signature, activation_of, names_of
from ..runtimes.targets import ARGUMENTS, QUANTIZATIONS, TARGETS, Target
from ..tasks.base import Data
from ..tasks.examples import Examples
from ..tasks.task import Setup
from ..tokenization import MobileBertTokenizerFast
from ..training import jobs
from ..training.predictor import given_data, split_options
from ..training.twin import Twin
from .clients import readme
from .page import page_files
from .report import Report, compare

log = logging.getLogger(__name__)

BASE = "MobileBertModel"
CLASSIFIER = "MobileBertForSequenceClassification"
REPORT_FILE, README_FILE, LABELS_FILE = "report.json", "README.md", "labels.txt"
ROWS = 200  # of the calibration data, at most
SHORTEST = 8  # tokens of a fixed length


@dataclass(frozen=True)
class Rows:
    """Data, and the model's inputs for them."""

    data: Data
    examples: Examples


@dataclass(frozen=True)
class Plan:
    """A checkpoint and what it is to become, checked.

    Attributes:
        setup: its task; None for a model class that no task has.
        calibration, evaluation: data for the task; those for evaluation have labels.
    """

    source: str
    config: MobileBertConfig
    architecture: str
    tokenizer: MobileBertTokenizerFast
    setup: Setup | None
    target: Target
    signature: Signature
    calibration: Rows | None
    evaluation: Rows | None


def export(
    source: str | Path,
    output: str | Path,
    to: str,
    *,
    quantize: str = "none",
    calibration: Any = None,
    evaluation: Any = None,
    length: int | Sequence[int] | None = None,
    force: bool = False,
    task: str | None = None,
    stage: Callable[[str], None] = lambda text: None,
    opener: Callable[[str], Twin] | None = None,
    **options: Any,
) -> Report:
    """Write a checkpoint for another runtime into a new folder, with what an app needs and a report on the answers of both.

    Args:
        source: a checkpoint directory, or owner/name on the hub.
        output: the folder to write; it must not exist. It is written whole or not at all.
        to: a key of TARGETS.
        quantize: one of QUANTIZATIONS that the target has.
        calibration: data like those the model will see, from which int8 takes the ranges of activations.
        evaluation: labelled data, for the metric before and after; default: the calibration data, if they have labels.
        length: of the inputs in tokens, several for a file with several; default: the length it was trained with. For targets that
            take inputs of any length, the longest.
        force: write the folder even if int8 loses more than a point of the metric, or nothing shows how much it loses.
        task: a name in TASKS; default: what the checkpoint says.
        stage: called with what is done next.
        opener: imports a framework, once all is checked; default: `frameworks.twin`.
        options: encoding and the names of the data's columns: text, text_pair, label, choices, header.
    Raises:
        ConfigError: an option is out of range or does not go with the target, the folder exists, or the file is not good enough.
        CheckpointError: the checkpoint is unusable.
        DataError: the data cannot be used.
        ImportError: a library that the target needs is not installed; the message gives the command that installs it.
    """
    output = Path(output)
    plan = make_plan(source, output, to, quantize, calibration, evaluation, length, force, task, options)
    door = (opener or twin)(plan.target.framework)
    with needs(plan.target.extra, f"an export to {to} needs a library: "):
        module = writer(plan.target.framework, plan.target.writer)
    with new_folder(output) as folder:
        stage(f"opening {plan.source} in {FRAMEWORKS[plan.target.framework][1]}")
        model = door.load(plan.source, plan.architecture, output_hidden_states=False, output_attentions=False)
        if plan.signature.lengths:
            check_padding(plan, door.tensors(model))
        stage(f"writing {plan.signature.file}")
        module.write(model, plan.signature, folder, calibration=calibration_rows(plan), **extras(plan))
        signature = with_files(plan.signature, folder)
        write_texts(plan, signature, folder)
        stage("comparing the answers of both")
        artefact = Artefact.open(folder)
        report = compare(plan, door, door.fold(model), artefact)
        check_quality(report, signature, force)
        (folder / REPORT_FILE).write_bytes(report.to_json())
        (folder / README_FILE).write_text(readme(plan, signature, report, output.name), encoding="utf-8")
    return report


def make_plan(
    source: str | Path,
    output: Path,
    to: str,
    quantize: str,
    calibration: Any,
    evaluation: Any,
    length: int | Sequence[int] | None,
    force: bool,
    task: str | None,
    options: Mapping[str, Any],
) -> Plan:
    """Check all that can be checked before the model is opened; see `export`."""
    target = check_target(to, quantize)
    require_new(output)
    source = str(source)
    jobs.check_place(source)
    if is_artefact(source):
        raise ConfigError(f"{source} is an exported model: export the checkpoint it was made from")
    config = MobileBertConfig.from_pretrained(source)
    setup = find_setup(source, config, task)
    architecture = named_architecture(config) or (BASE if setup is None else setup.task.architecture)
    tokenizer = MobileBertTokenizerFast.from_pretrained(source)
    if tokenizer.never_split:
        log.warning("tokenizer.json cannot hold never_split: clients split %s, and Predictor does not", brief(tokenizer.never_split))
    if to == "web":
        check_page(config, architecture, setup)
    signature = make_signature(to, target, quantize, config, architecture, lengths_of(to, target, config, setup, length))
    signature = signature.model_copy(update={"for_mediapipe": is_for_mediapipe(signature, setup, tokenizer)})
    columns, encoding = split_options(options)
    reader = Reader(setup and setup.with_columns(columns), encoding, config, tokenizer, signature.max_length)
    found = None if evaluation is None else reader.read(evaluation)
    calibrating = None if calibration is None else reader.read_any(calibration)
    if found is None and calibrating is not None and calibrating.data.labels is not None:
        found = calibrating
    check_data(quantize, calibrating, found, force)
    return Plan(source, config, architecture, tokenizer, setup, target, signature, calibrating, found)


def check_target(to: str, quantize: str) -> Target:
    """The row of a target.

    Raises:
        ConfigError: there is none, or it does not have the quantization.
    """
    if to not in TARGETS:
        raise ConfigError(f"a model can be exported to {', '.join(TARGETS)}, not to {brief(to)}")
    if quantize not in QUANTIZATIONS:
        raise ConfigError(f"quantize must be one of {', '.join(QUANTIZATIONS)}, not {brief(quantize)}")
    if quantize not in TARGETS[to].files:
        raise ConfigError(f"{to} has no {quantize}: quantize can be {', '.join(TARGETS[to].files)}")
    return TARGETS[to]


def find_setup(source: str, config: MobileBertConfig, task: str | None) -> Setup | None:
    """The task of a checkpoint; None if it has a model class that no task is for.

    Raises:
        CheckpointError: it is for another task.
    """
    if task is None and named_architecture(config) in NO_TASK:
        return None
    return jobs.setup_at(source, task)


NO_TASK = {BASE, "MobileBertForNextSentencePrediction"}


def check_page(config: MobileBertConfig, architecture: str, setup: Setup | None) -> None:
    """Require a model that a page with one text field and a bar for each class can show.

    Raises:
        ConfigError: it is another one.
    """
    if architecture != CLASSIFIER or problem_type(config, integer_labels=True) == "regression":
        raise ConfigError(f"web is for classifiers of texts, not for a {architecture}{' of numbers' if architecture == CLASSIFIER else ''}")
    if setup is not None and setup.columns.text_pair:
        raise ConfigError("web is for classifiers of single texts, and this one was trained on pairs")


@dataclass(frozen=True)
class Reader:
    """Reads data for the task of a model, which may have none."""

    setup: Setup | None
    encoding: str
    config: MobileBertConfig
    tokenizer: MobileBertTokenizerFast
    max_length: int

    def read_any(self, source: Any) -> Rows:
        """Data or a list of texts, with their labels if they have some that the model knows."""
        try:
            return self.read(source)
        except DataError:
            return self.rows(given_data(self.checked(), source, self.encoding))

    def read(self, source: Any) -> Rows:
        """Labelled data."""
        return self.rows(self.checked().read(source, self.encoding))

    def checked(self) -> Setup:
        """The task.

        Raises:
            ConfigError: the model has no task that could read data.
        """
        if self.setup is None:
            raise ConfigError("data are read for the task of a model, and this one has none: leave calibration and evaluation out")
        return self.setup

    def rows(self, data: Data) -> Rows:
        """Data and the model's inputs for them, no longer than the file takes."""
        setup = self.checked()
        task, lengths = setup.task, setup.lengths if setup.remembered else setup.task.lengths_without_memory(self.max_length)
        lengths = replace(lengths, max_length=min(lengths.max_length, self.max_length))
        examples = task.make_examples(data, self.tokenizer, self.config, lengths)
        return Rows(data, examples.without(ARCHITECTURES[task.architecture].labels))


def check_data(quantize: str, calibration: Rows | None, evaluation: Rows | None, force: bool) -> None:
    """Require the data that a quantization needs.

    Raises:
        ConfigError: they are missing.
    """
    if quantize != "int8":
        return
    if calibration is None:
        raise ConfigError("int8 takes the ranges of activations from data: give calibration (--calibration FILE)")
    if evaluation is None and not force:
        raise ConfigError("int8 can lose much: give labelled data (--evaluation FILE) to show how much, or force (--force)")


def lengths_of(
    to: str, target: Target, config: MobileBertConfig, setup: Setup | None, length: int | Sequence[int] | None
) -> list[int]:
    """The lengths of a file, ascending; of a target that takes any, the longest alone.

    Raises:
        ConfigError: they are out of range, or too many.
    """
    positions = config.max_position_embeddings
    given = [length] if isinstance(length, int) else sorted(length or ())
    if not given:
        trained = positions if setup is None or not setup.remembered else min(setup.lengths.max_length, positions)
        given = [min(trained, 128) if target.is_static and (setup is None or not setup.remembered) else trained]
    if len(given) > target.max_lengths:
        raise ConfigError(f"{to} has {counted(target.max_lengths, 'length')} in a file, not {len(given)}: export once for each")
    wrong = [each for each in given if isinstance(each, bool) or not isinstance(each, int) or not SHORTEST <= each <= positions]
    if wrong or len(set(given)) < len(given):
        reason = f"from {SHORTEST} to the model's {positions} positions, each once"
        raise ConfigError(f"length must be whole numbers {reason}, not {', '.join(map(brief, wrong or given))}")
    return given


def make_signature(
    to: str, target: Target, quantize: str, config: MobileBertConfig, architecture: str, lengths: Sequence[int]
) -> Signature:
    """The signature of the file to write."""
    inputs, outputs = names_of(to, architecture)
    kind = problem_type(config, integer_labels=True)
    return Signature(
        target=to,
        quantize=quantize,
        architecture=architecture,
        inputs=dict(inputs),
        outputs=dict(outputs),
        ids=target.ids,
        activation=activation_of(to, architecture, kind),
        lengths=[*lengths] if target.is_static else [],
        max_length=lengths[-1],
        labels=labels_of(config, architecture),
        file=target.files[quantize],
    )


def labels_of(config: MobileBertConfig, architecture: str) -> list[str]:
    """The names of the classes.

    Raises:
        ConfigError: one has a line break, and a file of labels has one in each line.
    """
    if "classifier" not in ARCHITECTURES[architecture].blocks:
        return []
    labels = [config.id2label[number] for number in range(config.num_labels)]
    if broken := [label for label in labels if len(label.splitlines()) > 1]:
        raise ConfigError(f"a label has a line break, which {LABELS_FILE} cannot hold: {brief(broken[0])}")
    return labels


def check_padding(plan: Plan, tensors: Mapping[str, np.ndarray]) -> None:
    """Refuse fixed lengths for a model whose results depend on padding: its trigram shows tokens the embedding of [PAD] beside them.

    Raises:
        ConfigError: see above.
    """
    words = next(array for name, array in tensors.items() if name.endswith("word_embeddings.weight"))
    pad = plan.config.pad_token_id
    if plan.config.trigram_input and pad is not None and words[pad].any():
        raise ConfigError(
            f"{plan.source} has a word embedding of [PAD] that is not zero, so the padding of a fixed length would change its results: "
            "open it with zero_pad_embedding=True, save it, and export that"
        )


def calibration_rows(plan: Plan) -> list[dict[str, np.ndarray]]:
    """Up to ROWS rows of the calibration data as inputs, [1 t] each."""
    if plan.calibration is None or plan.signature.quantize != "int8":
        return []
    examples = plan.calibration.examples
    chosen = np.unique(np.linspace(0, len(examples) - 1, min(ROWS, len(examples))).round().astype(int))
    found = []
    for row in chosen:
        batch = {name: array for name, array in examples.batch([row]).items() if name in ARGUMENTS}
        if has_choices(plan.architecture):
            found += [{name: array[:, choice] for name, array in batch.items()} for choice in range(batch["input_ids"].shape[1])]
        else:
            found.append(batch)
    return found


def extras(plan: Plan) -> dict[str, Any]:
    """What only the writer of LiteRT files takes: the vocabulary by id, which MediaPipe wants in the file."""
    if not plan.signature.for_mediapipe:
        return {}
    vocabulary = plan.tokenizer.get_vocab()
    return {"tokens": sorted(vocabulary, key=vocabulary.__getitem__)}


def is_for_mediapipe(signature: Signature, setup: Setup | None, tokenizer: MobileBertTokenizerFast) -> bool:
    """Whether MediaPipe's TextClassifier can open a file and tokenize like the model: a classifier of single texts for one length.

    Its tokenizer lower-cases ASCII letters, and strips no accents; the documentation says so.
    """
    is_classifier = signature.activation is not None and len(signature.lengths) == 1
    if not is_classifier or (setup is not None and setup.columns.text_pair):
        return False
    if not tokenizer.do_lower_case:
        log.warning("the file has no metadata for MediaPipe, which lower-cases texts, and this tokenizer does not")
        return False
    return {"[CLS]", "[SEP]", "[UNK]"} <= tokenizer.get_vocab().keys()


def with_files(signature: Signature, folder: Path) -> Signature:
    """The signature with every file that a writer has left."""
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    files = {path.relative_to(folder).as_posix(): File(bytes=path.stat().st_size, sha256=sha256(path)) for path in paths}
    return signature.model_copy(update={"files": files})


def write_texts(plan: Plan, signature: Signature, folder: Path) -> None:
    """Write the configuration, the tokenizer, the labels and the signature."""
    plan.tokenizer.model_max_length = signature.max_length
    config = plan.config.replace(architectures=[plan.architecture], dtype="float32")
    if signature.target == "onnx" and plan.architecture == "MobileBertForTokenClassification":
        config = ClientConfig.from_dict({**config.to_dict(), "model_type": ClientConfig.model_type})
    contents = {CONFIG_FILE: config.to_json_string().encode(), **plan.tokenizer.contents(), SIGNATURE_FILE: signature.to_json()}
    if signature.labels:
        contents[LABELS_FILE] = "".join(f"{label}\n" for label in signature.labels).encode()
    if signature.target == "web":
        contents |= page_files()
    for name, content in contents.items():
        (folder / name).write_bytes(content)


def check_quality(report: Report, signature: Signature, force: bool) -> None:
    """Refuse a file that computes something else, or that lost too much in int8.

    Raises:
        ConfigError: says what was measured.
    """
    if signature.quantize == "none" and not report.largest <= FLOAT_TOLERANCE:
        raise ConfigError(f"the file does not compute what the model does: its outputs differ by {report.largest:.1e}; nothing was written")
    if not np.isfinite(report.largest):
        raise ConfigError(f"the file's outputs are not finite in {signature.quantize}; nothing was written")
    if signature.quantize == "int8" and not force and not report.lost <= MAX_LOST:
        title = next(iter(report.before))
        raise ConfigError(
            f"int8 loses {100 * report.lost:.1f} points of {title}, more than {100 * MAX_LOST:.0f}; nothing was written. "
            "dynamic-int8 usually loses less; force (--force) writes it all the same"
        )


FLOAT_TOLERANCE = 1e-4  # relative: what float32 may lose anywhere in this package
MAX_LOST = 0.01  # of the metric, by int8
