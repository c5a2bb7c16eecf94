"""The teacher of a training: what its student takes from it, and whether the two fit, all before the long work."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from .. import processes
from ..checkpoints import checkpoint
from ..errors import CheckpointError, ConfigError, shortened
from ..files import hub
from ..files.folder import Folder
from ..model.architectures import ARCHITECTURES
from ..model.config import MobileBertConfig
from ..runtimes.artefact import is_artefact
from ..tasks.base import Data
from ..tasks.task import Setup
from ..tokenization import MobileBertTokenizerFast
from . import jobs
from .transfer import Transfer, misfits, outside
from .twin import Twin

# Strategies for a task, the best first by what docs/distillation.md measured. A stored model keeps its own embeddings.
FRESH = ("joint", "auxiliary", "soft-labels")
STORED = ("auxiliary", "soft-labels")


@dataclass(frozen=True)
class Teacher:
    """A checkpoint to learn from.

    Attributes:
        name: its directory, or owner/name on the hub.
        setup: of its task, with the columns and lengths it was trained with.
        others: its weights outside the encoder, {canonical name: array}.
        digest: the SHA-256 of its configuration and all its weights.
    """

    name: str
    setup: Setup
    config: MobileBertConfig
    tokenizer: MobileBertTokenizerFast
    others: Mapping[str, np.ndarray]
    digest: str

    @classmethod
    def open(cls, place: str | Path, task: str | None) -> "Teacher":
        """Open all of a teacher but its model.

        Args:
            task: a name in TASKS; default: what the checkpoint says.
        Raises:
            CheckpointError: the checkpoint is unusable, lacks weights, or is for another task.
            ConfigError: it does not exist, or is an exported model.
        """
        jobs.check_place(place)
        if is_artefact(place):
            raise ConfigError(f"{place} is an exported model: a teacher is a checkpoint")

        def read(found: str | Path | Folder) -> Teacher:
            setup, config = jobs.setup_at(found, task), MobileBertConfig.from_pretrained(found)
            weights = checkpoint.load(found, setup.task.architecture)
            if weights.fresh:
                raise CheckpointError(str(place), f"has no {shortened(weights.fresh, ', ')}, so it cannot teach")
            tokenizer = MobileBertTokenizerFast.from_pretrained(found)
            if not setup.remembered:  # the task's own lengths may be too long for it
                longest = min(setup.lengths.max_length, tokenizer.model_max_length, config.max_position_embeddings)
                setup = setup.with_lengths(max_length=longest)
            return cls(str(place), setup, config, tokenizer, outside(weights.tensors), _digest(config, weights.tensors))

        return hub.read_place(place, read)

    @property
    def architecture(self) -> str:
        """Its model class, and the student's."""
        return self.setup.task.architecture

    @property
    def is_pretrained(self) -> bool:
        """Whether it predicts masked words."""
        return "predictions" in ARCHITECTURES[self.architecture].blocks

    def load(self, twin: Twin) -> Any:
        """Its model."""
        return twin.load(self.name, self.architecture)

    def start(self, setup: Setup, student: Any, tokenizer: Any, data: Data) -> jobs.Start:
        """Prepare the training of a student.

        Args:
            student: a name from the zoo for fresh weights, a checkpoint, or a model of this package's classes.
            tokenizer: of a student that is a model; None for the teacher's.
        """
        if isinstance(student, str | Path):
            return jobs.start(setup, str(student), data, teacher=self)
        return jobs.start_with(setup, student, tokenizer or self.tokenizer, data)

    def transfer(self, begin: jobs.Start, strategy: str | None, **values: Any) -> Transfer:
        """What a student is to learn.

        Args:
            strategy: None for "progressive" in pre-training, and for tasks the first of FRESH, or of STORED, that fits.
            values: of a Transfer.
        Raises:
            ConfigError: a value is out of range, or student and teacher do not fit; the message has all reasons.
        """
        values["dropout"] = not self.is_pretrained
        if strategy is None:
            strategy = "progressive" if self.is_pretrained else self.first_fitting(begin, FRESH if begin.fresh else STORED, **values)
        transfer = Transfer(strategy, **values)
        if reasons := self.misfits(begin, transfer):
            others = self.misfits(begin, Transfer("soft-labels", **values))
            hint = "" if others else "; the strategy soft-labels compares no layers"
            raise ConfigError(f"{begin.name} cannot learn from {self.name}: {'; '.join(reasons)}{hint}")
        if processes.is_fsdp():
            raise ConfigError("FSDP cannot train in phases with a teacher: configure accelerate for DDP")
        if processes.count() > 1 and transfer.compares_attention_alone:
            raise ConfigError("several processes cannot compare attention alone: give hidden, mean or variance a factor, too")
        return transfer

    def first_fitting(self, begin: jobs.Start, strategies: Sequence[str], **values: Any) -> str:
        """The first of some strategies whose layers and shapes fit, or the last."""
        *comparing, last = strategies
        fitting = (each for each in comparing if not misfits(begin.config, self.config, self.architecture, Transfer(each, **values)))
        return next(fitting, last)

    def misfits(self, begin: jobs.Start, transfer: Transfer) -> list[str]:
        """Why a student cannot learn from this teacher, one line for each reason; none if it can."""
        found = misfits(begin.config, self.config, self.architecture, transfer)
        ours, theirs = (tokenizer.get_vocab() for tokenizer in (begin.tokenizer, self.tokenizer))
        if ours != theirs and begin.config.vocab_size == self.config.vocab_size:
            different = sorted(token for token in {**ours, **theirs} if ours.get(token) != theirs.get(token))
            found.append(f"their vocabularies differ in {shortened(list(map(repr, different)), ', ')}")
        length, positions = begin.setup.lengths.max_length, self.config.max_position_embeddings
        if length > positions:
            found.append(f"max_length {length} is more than the teacher's {positions} positions")
        return found

    def give(self, twin: Twin, student: Any) -> None:
        """Copy all that is outside the encoder to a student."""
        own = twin.tensors(student)
        twin.set_tensors(student, {name: array for name, array in self.others.items() if name in own})


def _digest(config: MobileBertConfig, tensors: Mapping[str, np.ndarray]) -> str:
    found = hashlib.sha256(json.dumps(config.to_dict(), default=str, sort_keys=True).encode())
    for name, array in sorted(tensors.items()):
        found.update(name.encode() + np.ascontiguousarray(array).tobytes())
    return found.hexdigest()
