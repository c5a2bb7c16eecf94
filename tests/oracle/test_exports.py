"""ONNX files of models that transformers saved, run by their own names in ONNX Runtime, against transformers."""

from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
import transformers

from mobilebert_common.tokenization import MobileBertTokenizerFast
from mobilebert_pt import export_onnx

from . import models
from .models import CASES, distance

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "where", "is", "my", "parcel", "paris"]
OUTPUTS = {"QuestionAnswering": ("start_logits", "end_logits"), "SequenceClassification": ("logits",), "MaskedLM": ("logits",)}


@pytest.mark.parametrize("head", OUTPUTS)
def test_the_same_as_transformers(head: str, tmp_path: Path) -> None:
    name = f"MobileBertFor{head}"
    theirs = models.random_model(getattr(transformers, name), models.for_class(CASES["True-False-True-no_norm-True-4-False-relu"], name))
    theirs.save_pretrained(tmp_path / "theirs")
    words = [f"word{number}" for number in range(theirs.config.vocab_size - len(WORDS))]
    MobileBertTokenizerFast(vocab=WORDS + words).save_pretrained(tmp_path / "theirs")
    export_onnx(tmp_path / "theirs", tmp_path / "ours")
    session = onnxruntime.InferenceSession(str(tmp_path / "ours" / "onnx" / "model.onnx"))
    rng = np.random.default_rng(0)
    for batch, length in ((1, 5), (3, 11)):
        ids = rng.integers(5, theirs.config.vocab_size, (batch, length))
        mask = (np.arange(length) < rng.integers(2, length + 1, (batch, 1))).astype(np.int64)
        given = {"input_ids": ids, "attention_mask": mask, "token_type_ids": rng.integers(0, 2, ids.shape)}
        with torch.no_grad():
            expected = theirs.double()(**{name: torch.from_numpy(array) for name, array in given.items()})
        for name, found in zip(OUTPUTS[head], session.run([*OUTPUTS[head]], given), strict=True):
            want = expected[name].numpy()
            seen = mask.astype(bool) if want.shape[:2] == ids.shape else slice(None)
            assert distance(found[seen], want[seen]) < 1e-5
