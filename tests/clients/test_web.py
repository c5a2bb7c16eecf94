"""The web page in headless Chromium: what it answers while one types, against Python on the checkpoint that it was exported from."""

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from mobilebert_common import MobileBertTokenizerFast
from mobilebert_common.checkpoints import checkpoint
from mobilebert_common.exports.page import page_files
from mobilebert_pt import Predictor, export_web
from support.configs import CLASSIFIER, make_config, random_weights

from .browser import Browser, Page, npm_packages, serving

LETTERS = "abcdefghijklmnopqrstuvwxyz"
VOCABULARY = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "good", "bad", "film", "!", ".", "日", "本", "한", "привет", "שלום", *LETTERS]
VOCABULARY += [f"##{letter}" for letter in LETTERS]
POSITIONS = 24
TEXTS = [
    "good",
    "a good film, not a BAD one!",
    "Ça, c'est déjà été İstanbul",
    "日本 x日本",
    "x\U00020000y \U0002b920\U0002f800",  # ideographs beyond U+FFFF are words of their own
    "привет שלום 한국 🙂🏽",
    "[MASK] good [SEP] bad [mask]",
    "a\u200bb\u00a0c\td\ne\u0000f\ufffdg",
    "z" * 101,
    "good bad film " * 20,  # is cut
]


class Model(NamedTuple):
    """A classifier to export."""

    labels: list[str]
    problem_type: str = "single_label_classification"
    quantize: str = "none"


MODELS = {
    "sentiment": Model(["negative", "neutral <b>", "positive"]),
    "topics": Model(["sport", "science", "art", "politics"], "multi_label_classification"),
    "intents": Model([f"intent {number}" for number in range(12)], quantize="dynamic-int8"),
}
TOLERANCE = 1.01e-4  # of a probability: Python and the page both round to four digits
PHONE, DESK = {"width": 390, "height": 844}, {"width": 1280, "height": 800}


def export(folder: Path, model: Model) -> None:
    """A checkpoint in folder/checkpoint, and its page in folder/page."""
    config = make_config(
        vocab_size=len(VOCABULARY),
        max_position_embeddings=POSITIONS,
        num_labels=len(model.labels),
        id2label=dict(enumerate(model.labels)),
        problem_type=model.problem_type,
    )
    weights = random_weights(config, CLASSIFIER)
    weights["mobilebert.embeddings.word_embeddings.weight"][config.pad_token_id] = 0  # or padding would change results
    weights["classifier.weight"] *= 4  # for answers that are clear
    checkpoint.save(folder / "checkpoint", config, CLASSIFIER, weights)
    (folder / "vocab.txt").write_text("\n".join(VOCABULARY), encoding="utf-8")
    MobileBertTokenizerFast(str(folder / "vocab.txt")).save_pretrained(folder / "checkpoint")
    export_web(folder / "checkpoint", folder / "page", quantize=model.quantize)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for each of MODELS, with the runtime that the documented command copies."""
    root = tmp_path_factory.mktemp("site")
    script = page_files()["fetch-runtime.mjs"].decode()
    packages = json.loads(re.search(r"PACKAGES = (\[.*?\])", script, re.DOTALL)[1])  # type: ignore[index]
    installed = npm_packages(*packages)
    for name, model in MODELS.items():
        export(root / name, model)
        subprocess.run(["node", "fetch-runtime.mjs", str(installed)], cwd=root / name / "page", check=True, timeout=60)
    return root


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    found = Browser(tmp_path_factory.mktemp("profile"))
    yield found
    found.close()


@pytest.fixture(scope="module")
def address(site: Path) -> Iterator[str]:
    with serving(site) as url:
        yield url


@pytest.fixture(scope="module")
def pages(address: str, browser: Browser) -> dict[str, Page]:
    """The page of each of MODELS; what tests leave in one is overwritten."""
    return {name: opened(browser, f"{address}{name}/page/") for name in MODELS}


def opened(browser: Browser, url: str, **screen: Any) -> Page:
    """The page once its model is there, with the focus in its field."""
    page = Page(browser, url, **screen)
    page.wait("document.getElementById('loading').hidden")
    page.evaluate("document.getElementById('text').focus()")
    return page


def bars(page: Page) -> dict[str, float]:
    """{label: probability} as the page shows them, from top to bottom."""
    script = "[...document.querySelectorAll('#labels li')].map((row) => [row.querySelector('.name').textContent,"
    rows = page.evaluate(script + " row.querySelector('[role=meter]').ariaValueNow])")
    return {name: float(value) / 100 for name, value in rows}


def shown(page: Page, text: str) -> dict[str, float]:
    """The bars once they are for a text."""
    page.wait("document.getElementById('labels').dataset.text ?? null", lambda found: found == text)
    return bars(page)


def ask(page: Page, text: str) -> dict[str, float]:
    """What the page shows for a text that takes the place of the one before."""
    page.evaluate("document.getElementById('text').select()")
    page.type(text)
    return shown(page, text)


def expected(folder: Path, texts: list[str]) -> list[dict[str, float]]:
    """What Python says of texts, one at a time: in eight bits, texts that are computed together share the scales of their inputs."""
    columns = Predictor.load(folder, batch_size=1)(texts, all=True)
    labels = [name for name in columns if name.startswith("probability ")]
    return [{label.removeprefix("probability "): columns[label][row] for label in labels} for row in range(len(texts))]


def text_of(page: Page, element: str) -> str:
    """The text that a person sees in an element."""
    script = "((element) => element.checkVisibility() ? element.innerText.trim() : '')"
    found: str = page.evaluate(f"{script}(document.getElementById('{element}'))")
    return found


@pytest.mark.parametrize("name", ["sentiment", "topics"])
def test_answers_are_those_of_python(name: str, site: Path, pages: dict[str, Page]) -> None:
    page = pages[name]
    wanted = expected(site / name / "checkpoint", TEXTS)
    for text, probabilities in zip(TEXTS, wanted, strict=True):
        found = ask(page, text)
        assert found == pytest.approx(probabilities, abs=TOLERANCE), text
        assert list(found) == MODELS[name].labels
        chosen = sorted(probabilities, key=probabilities.__getitem__, reverse=True)
        chosen = [label for label in chosen if probabilities[label] >= 0.5] if name == "topics" else chosen[:1]
        assert text_of(page, "headline") == (", ".join(chosen) or "None of the labels")
        percents = page.evaluate("[...document.querySelectorAll('.value')].map((value) => value.textContent)")
        assert [float(percent.removesuffix("%")) / 100 for percent in percents] == pytest.approx([*probabilities.values()], abs=6e-4)
    assert len({str(row) for row in wanted}) == len(TEXTS)  # the model tells them apart
    assert page.errors() == []


def test_many_labels_come_by_probability(site: Path, pages: dict[str, Page]) -> None:
    page = pages["intents"]
    for text, probabilities in zip(TEXTS, expected(site / "intents" / "page", TEXTS), strict=True):
        found = ask(page, text)
        order = sorted(probabilities.values(), reverse=True)
        assert [*found.values()] == pytest.approx(order[:10], abs=TOLERANCE), text
        assert found == pytest.approx({label: probabilities[label] for label in found}, abs=TOLERANCE), text
    assert text_of(page, "order") == "The 10 most probable of 12 labels"
    assert text_of(page, "size") == f"{(site / 'intents/page/onnx/model_quantized.onnx').stat().st_size / 1e6:.1f} MB"


def test_bars_move_while_one_types(site: Path, pages: dict[str, Page]) -> None:
    page, seen = pages["sentiment"], []
    page.evaluate("document.getElementById('text').select()")
    for letters in "good", " film", "!":
        page.type(letters)
        text = page.evaluate("document.getElementById('text').value")
        seen.append(shown(page, text))
        script = "[...document.querySelectorAll('.fill')].map((fill) => Number(fill.style.transform.slice(7, -1)))"
        widths = page.evaluate(script)
        assert widths == pytest.approx([*seen[-1].values()], abs=TOLERANCE)
    assert text == "good film!" and len({str(row) for row in seen}) == 3
    assert seen[-1] == pytest.approx(expected(site / "sentiment/checkpoint", [text])[0], abs=TOLERANCE)


def test_the_last_text_wins(site: Path, address: str, browser: Browser) -> None:
    """Ten texts come faster than answers: one runs at a time, and what is shown in the end is for the last."""
    page = opened(browser, f"{address}sentiment/page/")
    script = "for (const text of %s) { field.value = text; field.dispatchEvent(new Event('input')); }"
    page.evaluate(
        "const field = document.getElementById('text'); const posted = []; const post = Worker.prototype.postMessage;"
        "Worker.prototype.postMessage = function (message) { posted.push(message.text); post.call(this, message); }"
    )
    page.evaluate(script % json.dumps(TEXTS[::-1]))
    assert shown(page, TEXTS[0]) == pytest.approx(expected(site / "sentiment/checkpoint", TEXTS[:1])[0], abs=TOLERANCE)
    assert page.evaluate("posted") == [TEXTS[-1], TEXTS[0]]
    page.evaluate(script % json.dumps([TEXTS[1], ""]))  # emptied while the model computes
    page.wait("posted.length === 3 && document.getElementById('labels').dataset.text === undefined")
    page.evaluate("new Promise((resolve) => setTimeout(resolve, 300))")
    assert set(bars(page).values()) == {0.0} and text_of(page, "headline") == ""
    page.close()


def test_an_empty_field_has_no_answer(pages: dict[str, Page]) -> None:
    page = pages["sentiment"]
    for empty in "", " \n":
        ask(page, "good")
        assert text_of(page, "headline") != ""
        page.evaluate("document.getElementById('text').select()")
        page.evaluate(f"document.execCommand('insertText', false, {json.dumps(empty)})")
        page.wait("document.getElementById('labels').dataset.text === undefined")
        assert set(bars(page).values()) == {0.0} and text_of(page, "headline") == ""
        said = page.evaluate("[...document.querySelectorAll('[role=meter]')].map((bar) => bar.ariaValueText)")
        assert said == ["no text yet"] * 3


def test_a_long_text_says_that_it_is_cut(pages: dict[str, Page]) -> None:
    page = pages["sentiment"]
    ask(page, "good " * 22)
    assert text_of(page, "tokens") == "24 of 24" and text_of(page, "cut") == ""
    ask(page, "good " * 23)
    assert text_of(page, "cut") == "The text has 25 tokens. The model reads 24, and the rest does not count."
    assert re.fullmatch(r"\d+(\.\d)? ms", text_of(page, "time"))


def test_nothing_comes_from_elsewhere(address: str, pages: dict[str, Page]) -> None:
    page = pages["topics"]
    ask(page, "good film")
    requests = page.requests()
    names = ("worker.js", "onnx/model.onnx", "runtime/ort-wasm-simd-threaded.wasm")
    assert {f"{address}topics/page/{name}" for name in names} <= {*requests}
    assert [url for url in requests if not url.startswith(address)] == [] and page.errors() == []


@pytest.mark.parametrize("screen", [PHONE, DESK], ids=["phone", "desk"])
@pytest.mark.parametrize("name", MODELS)
def test_fits_the_screen(name: str, screen: dict[str, int], pages: dict[str, Page]) -> None:
    page = pages[name]
    page.resize(**screen, is_dark=name == "topics")
    ask(page, "good film " * 4)
    assert page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth")
    script = "[...document.querySelectorAll('#text, #headline, #labels li')].map((box) => box.getBoundingClientRect().toJSON())"
    boxes = page.evaluate(script)
    assert all(0 <= box["left"] < box["right"] <= screen["width"] for box in boxes)
    if name != "intents":
        assert all(box["bottom"] <= screen["height"] for box in boxes)  # no scrolling between text and bars
    assert (page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(18, 22, 28)") == (name == "topics")


RUNTIME = "The runtime has not been copied into this folder yet: ./runtime/{} is missing. Run this in the folder:\n\nnode fetch-runtime.mjs"
LOST = {  # file or folder: what the page says
    "runtime": RUNTIME.format("tokenizers.min.mjs"),
    "runtime/ort-wasm-simd-threaded.wasm": RUNTIME.format("ort-wasm-simd-threaded.wasm"),
    "tokenizer.json": "tokenizer.json is missing from this folder.",
    "onnx/model.onnx": "onnx/model.onnx is missing from this folder.",
    "worker.js": "worker.js stopped: it cannot be loaded",
}


@pytest.mark.parametrize("lost", LOST)
def test_a_missing_file_is_named(lost: str, site: Path, browser: Browser, tmp_path: Path) -> None:
    shutil.copytree(site / "sentiment" / "page", tmp_path / "page")
    (tmp_path / "page" / lost).rename(tmp_path / "lost")
    with serving(tmp_path / "page") as url:
        page = Page(browser, url)
        page.wait("!document.getElementById('failure').hidden")
        assert text_of(page, "failure") == LOST[lost] and text_of(page, "loading") == ""
        page.close()


def test_another_model_file_is_refused(site: Path, browser: Browser, tmp_path: Path) -> None:
    shutil.copytree(site / "sentiment" / "page", tmp_path / "page")
    path = tmp_path / "page" / "onnx" / "model.onnx"
    size = path.stat().st_size
    path.write_bytes(path.read_bytes()[:1000])
    with serving(tmp_path / "page") as url:
        page = Page(browser, url)
        page.wait("!document.getElementById('failure').hidden")
        assert text_of(page, "failure") == f"onnx/model.onnx has 1000 bytes, but {size} were exported. Copy it again."
        page.close()


def test_a_page_opened_as_a_file_says_how_to_serve_it(browser: Browser, tmp_path: Path) -> None:
    for name, content in page_files().items():
        (tmp_path / name).write_bytes(content)
    page = Page(browser, (tmp_path / "index.html").as_uri())
    page.wait("!document.getElementById('failure').hidden")
    message = "Browsers load no models from files. Serve this folder and open its address:"
    assert text_of(page, "failure") == f"{message}\n\npython3 -m http.server"
    page.close()
