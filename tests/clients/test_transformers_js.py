"""transformers.js, in Node, on exported folders: its pipelines give the answers of the PyTorch model."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import mobilebert_pt.twin
from mobilebert_common.checkpoints import checkpoint
from mobilebert_common.exports.export import export
from mobilebert_common.runtimes.artefact import Artefact
from mobilebert_common.runtimes.targets import ARGUMENTS
from mobilebert_common.tokenization import MobileBertTokenizerFast
from support.configs import make_config, random_weights
from support.predicting import VOCABULARY, approximately

from .browser import npm_packages

PACKAGE = "@huggingface/transformers@4.3.2"
SCRIPT = Path(__file__).with_name("transformers.mjs")
TEXTS = ["the film was fine", "odd", "so what is in the parcel so odd what was where in paris"]
QUESTION, CONTEXT = "where is the parcel", "the film was odd so the parcel is in paris"
MASKED = [f"{text} [MASK]" for text in TEXTS]
DTYPES = {"fp32": "none", "q8": "dynamic-int8"}  # of transformers.js; one folder has both
CLASSES = {"num_labels": 3, "id2label": {0: "bad", 1: "good", 2: "mixed"}}
Outputs = Callable[..., tuple[dict[str, np.ndarray], dict[str, np.ndarray]]]


@pytest.fixture(scope="module")
def packages() -> Path:
    """A folder whose node_modules has transformers.js, with the ONNX Runtime that comes with it."""
    return npm_packages(PACKAGE)


def classes(outputs: Outputs) -> Any:
    """text-classification with top_k: null."""
    exponents = np.exp(outputs(TEXTS)[0]["logits"])
    return [ranked(row, CLASSES["id2label"]) for row in exponents / exponents.sum(axis=1, keepdims=True)]


def several_labels(outputs: Outputs) -> Any:
    """text-classification of a model with problem_type multi_label_classification."""
    return [ranked(row, CLASSES["id2label"]) for row in 1 / (1 + np.exp(-outputs(TEXTS)[0]["logits"]))]


def ranked(scores: np.ndarray, names: Any) -> list[dict[str, Any]]:
    return [{"label": names[number], "score": float(scores[number])} for number in np.argsort(-scores)]


def tokens(outputs: Outputs) -> Any:
    """token-classification, with all tokens but the special ones."""
    found, batch = outputs(TEXTS)
    probabilities = softmax(found["logits"])
    return [
        [
            {"entity": CLASSES["id2label"][scores.argmax()], "score": float(scores.max()), "index": place, "word": VOCABULARY[number]}
            for place, (scores, number) in enumerate(zip(row, ids, strict=True))
            if number >= 5
        ]
        for row, ids in zip(probabilities, batch["input_ids"], strict=True)
    ]


def answer(outputs: Outputs) -> Any:
    """question-answering: the best span of the context."""
    found, batch = outputs([QUESTION], [CONTEXT])
    ids = batch["input_ids"][0]
    separator = int((ids == 3).nonzero()[0][0])
    places = [0, *range(separator + 1, len(ids) - 1)]  # the first token counts, but is no answer
    start, end = (softmax(found[name][0, places]) for name in ("start_logits", "end_logits"))
    spans = np.triu(np.outer(start, end))
    spans[0] = 0
    first, last = np.unravel_index(spans.argmax(), spans.shape)
    words = ids[places[first] : places[last] + 1]
    return {"answer": " ".join(VOCABULARY[number] for number in words), "score": float(spans.max())}


def words(outputs: Outputs) -> Any:
    """fill-mask: the five best words for the masked one."""
    found, batch = outputs(MASKED)
    answers = []
    for logits, ids in zip(found["logits"], batch["input_ids"], strict=True):
        scores = softmax(logits[ids.tolist().index(4)])
        answers.append([{"token": int(number), "score": float(scores[number])} for number in np.argsort(-scores)[:5]])
    return answers


def states(outputs: Outputs) -> Any:
    """feature-extraction."""
    return outputs(TEXTS)[0]["last_hidden_state"].tolist()


def softmax(logits: np.ndarray) -> np.ndarray:
    exponents = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return exponents / exponents.sum(axis=-1, keepdims=True)


# name -> architecture, changes of the configuration, pipeline, its inputs and options, and what it should answer
CASES: dict[str, tuple[str, dict[str, Any], str, list[Any], dict[str, Any], Callable[[Outputs], Any]]] = {
    "classes": ("MobileBertForSequenceClassification", CLASSES, "text-classification", [TEXTS], {"top_k": None}, classes),
    "labels": (
        "MobileBertForSequenceClassification",
        {**CLASSES, "problem_type": "multi_label_classification"},
        "text-classification",
        [TEXTS],
        {"top_k": None},
        several_labels,
    ),
    "tokens": ("MobileBertForTokenClassification", CLASSES, "token-classification", [TEXTS], {"ignore_labels": []}, tokens),
    "answers": ("MobileBertForQuestionAnswering", {}, "question-answering", [QUESTION, CONTEXT], {}, answer),
    "words": ("MobileBertForMaskedLM", {}, "fill-mask", [MASKED], {"top_k": 5}, words),
    "states": ("MobileBertModel", {}, "feature-extraction", [TEXTS], {}, states),
    "layer_norm": ("MobileBertModel", {"normalization_type": "layer_norm"}, "feature-extraction", [TEXTS], {}, states),
}


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """For each case its checkpoint, and two exports: `out`, which has both files that transformers.js may open."""
    root = tmp_path_factory.mktemp("transformers-js")
    for name, (architecture, changes, *_) in CASES.items():
        config = make_config(vocab_size=len(VOCABULARY), max_position_embeddings=24, **{"num_labels": 2, **changes})
        weights = {key: array.astype(np.float32) for key, array in random_weights(config, architecture).items()}
        checkpoint.save(root / name / "model", config, architecture, weights)
        MobileBertTokenizerFast(vocab=VOCABULARY, model_max_length=24).save_pretrained(root / name / "model")
        export(root / name / "model", root / name / "out", "onnx", quantize="dynamic-int8", length=24)
    return root


@pytest.fixture(scope="module")
def answers(packages: Path, folders: Path) -> dict[tuple[str, str], Any]:
    """{(case, dtype): what its pipeline answers}, all from one process."""
    keys = [(name, dtype) for name in CASES for dtype in DTYPES]
    jobs = []
    for name, dtype in keys:
        _, _, task, inputs, options, _ = CASES[name]
        jobs.append({"root": str(folders / name), "model": "out", "task": task, "dtype": dtype, "inputs": inputs, "options": options})
    (folders / "jobs.json").write_text(json.dumps(jobs))
    command = ["node", str(SCRIPT), str(packages), str(folders / "jobs.json"), str(folders / "answers.json")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr[-3000:]
    return dict(zip(keys, json.loads((folders / "answers.json").read_text()), strict=True))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", CASES)
def test_pipelines(name: str, dtype: str, answers: dict[tuple[str, str], Any], folders: Path) -> None:
    """In float as the PyTorch model; in eight bits as the same file in Python."""
    architecture, *_, expected = CASES[name]
    tokenizer = MobileBertTokenizerFast.from_pretrained(folders / name / "out")
    if dtype == "fp32":
        model = mobilebert_pt.twin.load(folders / name / "model", architecture)
        run = lambda batch: mobilebert_pt.twin.outputs(model, batch)  # noqa: E731
    else:
        run = Artefact.open(folders / name / "out").outputs

    def outputs(*texts: list[str]) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
        encoded = tokenizer(*texts, padding=True)
        batch = {argument: np.array(encoded[argument]) for argument in ARGUMENTS}
        return run(batch), batch

    found = answers[name, dtype]
    if name == "words":
        found = [[{"token": each["token"], "score": each["score"]} for each in row] for row in found]
    assert found == approximately(expected(outputs))
