"""Data and checkpoints for every task, and a twin that predicts without a framework: each row's outputs depend on that row alone."""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mobilebert_common.checkpoints import checkpoint
from mobilebert_common.model.config import MobileBertConfig
from mobilebert_common.tasks.task import TASKS
from mobilebert_common.tokenization import MobileBertTokenizerFast

from .configs import make_config, random_weights
from .training import TINY

WORDS = ("the", "film", "was", "fine", "odd", "so", "what", "where", "paris", "parcel", "is", "in")
VOCABULARY = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS]
CONFIGS: dict[str, dict[str, Any]] = {
    "classification": {"id2label": {0: "bad", 1: "good", 2: "mixed"}},
    "regression": {"id2label": {0: "joy", 1: "fear"}, "problem_type": "regression"},
    "multi-label": {"id2label": {0: "rude", 1: "kind"}, "problem_type": "multi_label_classification"},
    "tokens": {"id2label": {0: "O", 1: "B-PLACE", 2: "I-PLACE"}},
}


def make_text(number: int) -> str:
    """A text of 1 to 9 words."""
    draw = np.random.default_rng(number)
    return " ".join(draw.choice(WORDS, 1 + number * 7 % 9).tolist())


def make_row(task: str, number: int) -> dict[str, Any]:
    """A row of data; the rows of a file differ in their columns."""
    text = make_text(number)
    rows: dict[str, dict[str, Any]] = {
        "tokens": {"words": text.split(), "marks": [*text] if number == 11 else [word[0] for word in text.split()]},
        "answers": {"id": f"q{number}", "question": f"where is {number % 3}", "context": f"paris {text} {make_text(number + 3)}"},
        "choices": {"question": text, "choices": [make_text(number + place) for place in range(1 + number % 4)]},
        "pretraining": {"text": f"{text} [MASK]"},
        "masked-lm": {"text": f"[MASK] {text}" + " [MASK]" * (number % 2)},
    }
    row = rows.get(task, {"text": text, "text_pair": make_text(number + 5)})
    return {**row, "number": number, **({"rare": "x"} if number % 10 == 9 else {})}


def make_checkpoint(folder: Path, task: str, **changes: Any) -> Path:
    """A tiny model for a task."""
    architecture = TASKS[task].architecture
    labels = CONFIGS.get(task, {})
    sizes = {**TINY, "vocab_size": len(VOCABULARY), "max_position_embeddings": 24, "num_labels": len(labels.get("id2label", "12"))}
    config = make_config(**{**sizes, **labels, **changes})
    weights = {name: array.astype(np.float32) for name, array in random_weights(config, architecture).items()}
    for name in weights:
        if name.endswith("word_embeddings.weight"):
            weights[name][0] = 0
        if name.startswith("classifier."):  # so that the words decide
            weights[name] *= 10 if name.endswith("weight") else 0
    checkpoint.save(folder, config, architecture, weights)
    MobileBertTokenizerFast(vocab=VOCABULARY, model_max_length=24).save_pretrained(folder)
    return folder


def approximately(value: Any) -> Any:
    """The same but for the rounding of float32, which may turn the last of the digits that are given."""
    if isinstance(value, float):
        return pytest.approx(value, abs=1.1e-4, rel=1e-4)
    if isinstance(value, dict):
        return {name: approximately(each) for name, each in value.items()}
    return [approximately(each) for each in value] if isinstance(value, list) else value


class Model:
    """A model that has only its configuration."""

    def __init__(self, config: MobileBertConfig, architecture: str) -> None:
        self.config, self.architecture = config, architecture


class Twin:
    """A twin that notes the batches it is given."""

    def __init__(self) -> None:
        self.batches: list[Mapping[str, np.ndarray]] = []

    def tensors(self, model: Model) -> dict[str, np.ndarray]:
        return {"word_embeddings.weight": np.zeros((model.config.vocab_size, 2))}

    def load(self, directory: Any, architecture: str, dtype: str = "float32", **overrides: Any) -> Model:
        return Model(MobileBertConfig.from_pretrained(directory, **overrides), architecture)

    def fold(self, model: Model, dtype: str | None = None, quantize: str | None = None) -> Model:
        return model

    def infer(self, model: Model, batches: Iterable[Mapping[str, np.ndarray]]) -> Iterator[dict[str, np.ndarray]]:
        for batch in batches:
            self.batches.append(batch)
            ids = batch["input_ids"].astype(float)
            total = (ids * np.arange(1, ids.shape[-1] + 1)).sum(axis=-1)  # padding is 0
            if "masked_lm_positions" in batch:
                waves = np.arange(model.config.vocab_size) + batch["masked_lm_positions"][..., None] + total[:, None, None]
                yield {"logits": np.sin(waves), "prediction_logits": np.sin(waves)}
            elif model.architecture == "MobileBertForQuestionAnswering":
                yield {"start_logits": np.sin(ids + total[:, None]), "end_logits": np.cos(ids * total[:, None])}
            elif model.architecture == "MobileBertForTokenClassification":
                yield {"logits": np.sin(ids[..., None] * np.arange(1, model.config.num_labels + 1) + total[:, None, None])}
            elif ids.ndim == 3:  # choices
                yield {"logits": np.sin(total)}
            else:
                yield {"logits": np.sin(total[:, None] * np.arange(1, model.config.num_labels + 1))}


def ask(given: Any) -> Any:
    """In a worker: what a predictor says, how it came, and the threads that its framework has."""
    import torch

    came_closed = "opened" not in vars(given)
    return given([make_text(number) for number in range(5)]), came_closed, torch.get_num_threads()
