"""The signature of an exported model: signature.json in its folder, for programs that run the file and for Predictor."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, ValidationError

from ..errors import CheckpointError, shortened
from ..files.strict_json import read_json
from ..model.architectures import ARCHITECTURES, has_choices
from .targets import ARGUMENTS, LOGITS, NAMES, OUTPUTS, PER_TOKEN, TARGETS

SIGNATURE_FILE = "signature.json"


class File(BaseModel):
    """A file of the folder as it was written."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)
    bytes: int
    sha256: str


class Signature(BaseModel):
    """What a program must know to run an exported model.

    Attributes:
        target, quantize: keys of TARGETS and of its files.
        architecture: the model class, a key of ARCHITECTURES. A model of multiple choice scores rows: each choice is one.
        inputs: {argument of the model: name of the tensor}, [rows tokens].
        outputs: {output of the model: name of the tensor}.
        ids: the dtype of the inputs.
        activation: what the file does to `logits`.
        lengths: the numbers of tokens it is for, ascending, one row at a time; none: any number of rows and tokens.
        max_length: the longest input in tokens.
        labels: the names of the classes, in the order of `logits`.
        for_mediapipe: whether the file itself holds the vocabulary and the labels, as MediaPipe wants it.
        file: the path of the model in the folder.
        files: every file that was written for a runtime.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)
    target: str
    quantize: str
    architecture: str
    inputs: dict[str, str]
    outputs: dict[str, str]
    ids: Literal["int32", "int64"]
    activation: Literal["softmax", "sigmoid"] | None = None
    lengths: list[int] = []
    max_length: int
    labels: list[str] = []
    for_mediapipe: bool = False
    file: str
    files: dict[str, File] = {}

    @classmethod
    def read(cls, folder: Path) -> Self:
        """The signature in a folder.

        Raises:
            CheckpointError: the file is missing, damaged, or not one of ours.
        """
        path = folder / SIGNATURE_FILE
        content = read_json(path)
        try:
            found = cls.model_validate(content)
        except ValidationError as error:
            findings = [f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in error.errors()]
            raise CheckpointError(path, f"is not the signature of an exported model: {shortened(findings, '; ')}") from None
        if wrong := found.faults():
            raise CheckpointError(path, f"is not the signature of an exported model: {shortened(wrong, '; ')}")
        return found

    def faults(self) -> list[str]:
        """What contradicts the tables."""
        if self.target not in TARGETS or self.architecture not in ARCHITECTURES:
            return [f"there is no target {self.target!r:.80} or no architecture {self.architecture!r:.80}"]
        target, wrong = TARGETS[self.target], []
        if self.file != target.files.get(self.quantize) or self.file not in self.files:
            wrong.append(f"file is {self.file!r:.80}")
        if list(self.inputs) != list(ARGUMENTS) or list(self.outputs) != list(outputs_of(self.architecture)):
            wrong.append("inputs or outputs are not those of the architecture")
        if self.lengths != sorted(set(self.lengths)) or bool(self.lengths) != target.is_static or not 1 <= self.max_length <= 1 << 20:
            wrong.append("lengths are not ascending, or not those of the target")
        elif self.lengths and not 1 <= self.lengths[0] <= self.lengths[-1] == self.max_length:
            wrong.append("max_length is not the longest of lengths")
        if any(Path(name).is_absolute() or ".." in Path(name).parts for name in self.files):
            wrong.append("files lie outside the folder")
        return wrong

    def to_json(self) -> bytes:
        """The content of signature.json."""
        return (json.dumps(self.model_dump(), indent=2, ensure_ascii=False) + "\n").encode()

    @property
    def has_choices(self) -> bool:
        """Whether each choice is a row of its own."""
        return has_choices(self.architecture)

    def key(self, length: int) -> str:
        """The name of a LiteRT file's signature for a length."""
        return "serving_default" if len(self.lengths) == 1 else f"serving_{length}"

    def is_per_token(self, output: str) -> bool:
        """Whether an output has an axis of the sequence."""
        return output in PER_TOKEN or (output == "logits" and "t" in _label_shape(self.architecture))


def _label_shape(architecture: str) -> str:
    return next((label.shape for label in ARCHITECTURES[architecture].labels.values() if label.scores == "logits"), "")


def outputs_of(architecture: str) -> tuple[str, ...]:
    """The outputs of a model that an exported file gives."""
    return OUTPUTS.get(architecture, LOGITS)


def names_of(target: str, architecture: str) -> tuple[Mapping[str, str], Mapping[str, str]]:
    """{argument: tensor} and {output: tensor} of a file."""
    outputs = outputs_of(architecture)
    inputs, found = NAMES.get((target, architecture), (ARGUMENTS, outputs))
    return dict(zip(ARGUMENTS, inputs, strict=True)), dict(zip(outputs, found, strict=True))


def activation_of(target: str, architecture: str, problem_type: str) -> Any:
    """What a file does to the logits: classifiers for MediaPipe give probabilities."""
    is_classifier = (target, architecture) == ("litert", "MobileBertForSequenceClassification")
    return {"single_label_classification": "softmax", "multi_label_classification": "sigmoid"}.get(problem_type) if is_classifier else None
