"""A LiteRT classifier in MediaPipe's TextClassifier, in headless Chromium: its labels and probabilities against Python."""

import json
import shutil
from pathlib import Path

import pytest

from mobilebert_common import MobileBertTokenizerFast
from mobilebert_common.checkpoints import checkpoint
from mobilebert_tf import Predictor, export_litert
from support.configs import CLASSIFIER, make_config, random_weights

from .browser import Browser, Page, npm_packages, serving

PACKAGE = "@mediapipe/tasks-text@1.0.1"
LETTERS = "abcdefghijklmnopqrstuvwxyz"
VOCABULARY = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "good", "bad", "film", "!", ".", *LETTERS]
VOCABULARY += [f"##{letter}" for letter in LETTERS]
LENGTH = 16
LABELS = ["negative", "neutral", "positive"]
TEXTS = ["good", "a good film, not a BAD one!", "bad film. bad! good", "unknowable", "good bad film " * 20]
PAGE = """<!DOCTYPE html><meta charset="utf-8"><title>MediaPipe</title><link rel="icon" href="data:,"><script type="module">
import { FilesetResolver, TextClassifier } from "./tasks-text/text_bundle.mjs";

window.classifier = await TextClassifier.createFromModelPath(
  await FilesetResolver.forTextTasks("./tasks-text/wasm"), "model/model.tflite");
document.title = "ready";
</script>"""


@pytest.mark.parametrize("quantize", ["none", "dynamic-int8"])
def test_labels_and_probabilities_are_those_of_python(quantize: str, tmp_path: Path) -> None:
    config = make_config(vocab_size=len(VOCABULARY), max_position_embeddings=LENGTH, id2label=dict(enumerate(LABELS)))
    weights = random_weights(config, CLASSIFIER)
    weights["mobilebert.embeddings.word_embeddings.weight"][config.pad_token_id] = 0  # or padding would change results
    weights["classifier.weight"] *= 4  # for answers that are clear
    checkpoint.save(tmp_path / "checkpoint", config, CLASSIFIER, weights)
    MobileBertTokenizerFast(vocab=VOCABULARY, model_max_length=LENGTH).save_pretrained(tmp_path / "checkpoint")
    site = tmp_path / "site"
    shutil.copytree(npm_packages(PACKAGE) / "node_modules" / "@mediapipe" / "tasks-text", site / "tasks-text")
    export_litert(tmp_path / "checkpoint", site / "model", length=LENGTH, quantize=quantize)
    (site / "index.html").write_text(PAGE, encoding="utf-8")
    source = tmp_path / "checkpoint" if quantize == "none" else site / "model"
    wanted = Predictor.load(source)(TEXTS, all=True)
    browser = Browser(tmp_path / "profile")
    try:
        with serving(site) as url:
            page = Page(browser, url)
            page.wait("document.title === 'ready'")
            script = "classifier.classify(%s).classifications[0].categories.map((each) => [each.categoryName, each.score])"
            for row, text in enumerate(TEXTS):
                found = dict(page.evaluate(script % json.dumps(text)))
                assert found == pytest.approx({label: wanted[f"probability {label}"][row] for label in LABELS}, abs=1e-4), text
            assert all(request.startswith(url) for request in page.requests())
    finally:
        browser.close()
    assert len(set(wanted["prediction"])) > 1  # texts that the model tells apart
