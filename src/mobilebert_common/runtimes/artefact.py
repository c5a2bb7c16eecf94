"""A folder that `export` wrote, opened to predict: the same inputs and outputs as a model, whatever the runtime."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from ..errors import CheckpointError
from ..files.folder import sha256
from ..frameworks import runtime
from ..model import inputs
from ..model.config import MobileBertConfig
from ..optional import needs
from .signature import SIGNATURE_FILE, Signature
from .targets import TARGETS

# the tensors of a file by the names of the model's arguments, to its outputs by their names in the model
Run = Callable[[Mapping[str, np.ndarray]], Mapping[str, np.ndarray]]


def is_artefact(folder: str | Path) -> bool:
    """Whether a folder is one that `export` wrote."""
    return (Path(folder) / SIGNATURE_FILE).is_file()


class ClientConfig(MobileBertConfig):
    """The configuration of an export for transformers.js, which has no class for tags of tokens by MobileBERT, but runs it as a BERT."""

    model_type: ClassVar[str] = "bert"


def config_of(folder: str | Path) -> MobileBertConfig:
    """The configuration of an exported model.

    Raises:
        CheckpointError: it is missing or damaged.
    """
    found = ClientConfig.from_pretrained(folder).to_dict()
    return MobileBertConfig.from_dict({**found, "model_type": MobileBertConfig.model_type})


@dataclass(frozen=True)
class Artefact:
    """An exported model in its runtime.

    Attributes:
        config: of the model; its positions are as many as the file takes.
    """

    config: MobileBertConfig
    signature: Signature
    run: Run

    @classmethod
    def open(cls, folder: str | Path, threads: int | None = None) -> "Artefact":
        """Open a folder.

        Args:
            threads: of the runtime; default: its own number.
        Raises:
            CheckpointError: a file is missing or is not the one that was written.
            ImportError: the runtime is not installed.
        """
        folder = Path(folder)
        signature = Signature.read(folder)
        for name, file in signature.files.items():
            path = folder / name
            if not path.is_file() or path.stat().st_size != file.bytes or sha256(path) != file.sha256:
                raise CheckpointError(path, "is not the file that was exported: its SHA-256 differs from signature.json")
        config = config_of(folder)
        target = TARGETS[signature.target]
        with needs(target.extra):
            run = runtime(target.writer).open_file(folder / signature.file, signature, threads)
        return cls(config.replace(max_position_embeddings=signature.max_length), signature, run)

    def infer(self, model: object, batches: Iterable[Mapping[str, np.ndarray]]) -> Iterator[dict[str, np.ndarray]]:
        """The outputs of one batch after the other, as a twin's `infer`."""
        for batch in batches:
            yield self.outputs(batch)

    def outputs(self, batch: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """The outputs of the model for a batch.

        Args:
            batch: input_ids [b t] or, for multiple choice, [b c t], and, as far as they are given, attention_mask, token_type_ids and
                masked_lm_positions.
        Raises:
            InputError: an id is outside its table, or the sequence is too long: a runtime might read beyond a table in silence.
        """
        inputs.check_arrays(batch, {}, self.config, self.signature.architecture)
        shape = batch["input_ids"].shape
        rows = {name: array.reshape(-1, shape[-1]).astype(self.signature.ids) for name, array in self.complete(batch).items()}
        found = self.by_length(rows) if self.signature.lengths else dict(self.run(rows))
        if (activation := self.signature.activation) is not None:
            found["logits"] = INVERSE[activation](found["logits"])
        if self.signature.has_choices:
            found["logits"] = found["logits"].reshape(shape[:2])
        if (positions := batch.get("masked_lm_positions")) is not None:  # the file has the words of all positions
            inputs.check_ids("masked_lm_positions", int(positions.min()), int(positions.max()), shape[-1])
            scores = {name for name in ("logits", "prediction_logits") if name in found}
            found |= {name: np.take_along_axis(found[name], positions[..., None], axis=1) for name in scores}
        return found

    def complete(self, batch: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """All inputs of the file, with the model's defaults for those that a batch leaves out."""
        ids = batch["input_ids"]
        given = {"attention_mask": np.ones_like(ids), "token_type_ids": np.zeros_like(ids), **batch}
        return {name: given[name] for name in self.signature.inputs}

    def by_length(self, rows: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """The outputs of a file for fixed lengths: each row alone, in the shortest length that it fits into."""
        width = rows["input_ids"].shape[1]
        found: dict[str, list[np.ndarray]] = {}
        for number, mask in enumerate(rows["attention_mask"]):
            used = int(mask.nonzero()[0][-1]) + 1 if mask.any() else 1
            length = next(length for length in self.signature.lengths if length >= used)
            fillers = {"input_ids": self.config.pad_token_id or 0}
            row = {name: resized(array[number : number + 1], length, fillers.get(name, 0)) for name, array in rows.items()}
            outputs = self.run(row)
            for name, array in outputs.items():
                found.setdefault(name, []).append(resized(array, width) if self.signature.is_per_token(name) else array)
        return {name: np.concatenate(arrays) for name, arrays in found.items()}


def resized(array: np.ndarray, length: int, filler: int = 0) -> np.ndarray:
    """[b t ...] with another t: cut, or padded."""
    cut = array[:, :length]
    return np.pad(cut, [(0, 0), (0, length - cut.shape[1])] + [(0, 0)] * (array.ndim - 2), constant_values=filler)


def log_probabilities(probabilities: np.ndarray) -> Any:
    """Logits with these probabilities after a softmax."""
    return np.log(np.maximum(probabilities, np.finfo(np.float32).tiny))


def log_odds(probabilities: np.ndarray) -> Any:
    """Logits with these probabilities after a sigmoid."""
    clipped = np.clip(probabilities.astype(np.float64), np.finfo(np.float32).tiny, 1 - np.finfo(np.float32).epsneg)
    return np.log(clipped / (1 - clipped))


INVERSE: dict[str, Callable[[np.ndarray], np.ndarray]] = {"softmax": log_probabilities, "sigmoid": log_odds}
