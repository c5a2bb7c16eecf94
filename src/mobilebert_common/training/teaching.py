"""The teacher of a training: what its student takes from it, and whether the two fit, all before the long work."""

import functools
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ..checkpoints import checkpoint
from ..errors import ConfigError, shortened
from ..model.architectures import ARCHITECTURES
from ..model.config import MobileBertConfig
from ..model.zoo import ZOO
from ..tasks.base import Data
from ..tasks.task import Setup
from ..tokenization import MobileBertTokenizerFast
from . import jobs
from .transfer import STRATEGIES, Transfer, misfits, outside
from .twin import Twin


@dataclass(frozen=True)
class Teacher:
    """A checkpoint to learn from.

    Attributes:
        name: its directory, or owner/name on the hub.
        setup: of its task, with the columns and lengths it was trained with.
    """

    name: str
    setup: Setup
    config: MobileBertConfig
    tokenizer: MobileBertTokenizerFast

    @classmethod
    def open(cls, place: str | Path, task: str | None) -> "Teacher":
        """Open all of a teacher but its weights.

        Args:
            task: a name in TASKS; default: what the checkpoint says.
        Raises:
            CheckpointError: the checkpoint is unusable, or is for another task.
            ConfigError: it does not exist.
        """
        setup = jobs.setup_at(place, task)
        return cls(str(place), setup, MobileBertConfig.from_pretrained(place), MobileBertTokenizerFast.from_pretrained(place))

    @property
    def architecture(self) -> str:
        """Its model class, and the student's."""
        return self.setup.task.architecture

    @property
    def is_pretrained(self) -> bool:
        """Whether it predicts masked words."""
        return "predictions" in ARCHITECTURES[self.architecture].blocks

    @functools.cached_property
    def tensors(self) -> Mapping[str, np.ndarray]:
        """Its weights, {canonical name: array}.

        Raises:
            CheckpointError: the checkpoint does not have them all.
        """
        return checkpoint.load(self.name, self.architecture).tensors

    def digest(self) -> str:
        """The SHA-256 of its weights."""
        found = hashlib.sha256()
        for name, array in sorted(self.tensors.items()):
            found.update(name.encode() + np.ascontiguousarray(array).tobytes())
        return found.hexdigest()

    def load(self, twin: Twin) -> Any:
        """Its model."""
        return twin.load(self.name, self.architecture)

    def start(self, setup: Setup, student: Any, tokenizer: Any, data: Data) -> jobs.Start:
        """Prepare the training of a student.

        Args:
            student: a name from the zoo for fresh weights, a checkpoint, or a model of this package's classes, whose tokenizer is given.
        Raises:
            ConfigError: no student is named, or its tokenizer or the labels of the data are not the teacher's.
        """
        if student is None:
            raise ConfigError(f"name the student: a checkpoint, or, for fresh weights, {', '.join(ZOO)}")
        if isinstance(student, str | Path):
            begin = jobs.start(setup, str(student), data, teacher=self)
        else:
            begin = jobs.start_with(setup, student, tokenizer or self.tokenizer, data)
        if begin.tokenizer.get_vocab() != self.tokenizer.get_vocab():
            counts = f"{len(begin.tokenizer):,} and {len(self.tokenizer):,} tokens"
            raise ConfigError(f"{begin.name} and its teacher {self.name} have different vocabularies, of {counts}")
        if begin.config.id2label != self.config.id2label:
            ours, theirs = (shortened([*config.id2label.values()], ", ") for config in (begin.config, self.config))
            raise ConfigError(f"the data have the labels {ours}, but the teacher {self.name} was trained for {theirs}")
        return begin

    def transfer(self, begin: jobs.Start, strategy: str | None, **values: Any) -> Transfer:
        """What the student is to learn.

        Args:
            strategy: None for "progressive" in pre-training, and for tasks for "auxiliary" where the layers fit, otherwise "soft-labels".
            values: of a Transfer.
        Raises:
            ConfigError: a value is out of range, or student and teacher do not fit; the message has all reasons.
        """
        values["dropout"] = not self.is_pretrained
        if strategy is None:
            fits = not misfits(begin.config, self.config, self.architecture, Transfer("auxiliary", **values))
            strategy = "progressive" if self.is_pretrained else "auxiliary" if fits else "soft-labels"
        transfer = Transfer(strategy, **values)
        if reasons := misfits(begin.config, self.config, self.architecture, transfer):
            hint = "; the strategy soft-labels compares no layers" if transfer.compares_layers else ""
            raise ConfigError(f"{begin.name} cannot learn from {self.name}: {'; '.join(reasons)}{hint}")
        return transfer

    def prepared(self, begin: jobs.Start, transfer: Transfer) -> jobs.Start:
        """The start of a student, with what the strategy copies from the teacher."""
        if not STRATEGIES[transfer.strategy].copied:
            return begin
        copied = outside(self.tensors)

        def make(twin: Twin, seed: int) -> Any:
            model = begin.make(twin, seed)
            own = twin.tensors(model)
            twin.set_tensors(model, {name: array for name, array in copied.items() if name in own})
            return model

        return replace(begin, make=make)
