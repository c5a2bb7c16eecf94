import io
import json
import logging
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple
from unittest import mock

import numpy as np
import pytest
import torch

import mobilebert_common.verification
from mobilebert_common.checkpoints import checkpoint
from mobilebert_common.checkpoints.safetensors import WEIGHTS_FILE
from mobilebert_common.cli import learning, main
from mobilebert_common.frameworks import twin
from mobilebert_common.model.config import CONFIG_FILE, MobileBertConfig
from mobilebert_common.model.zoo import ZOO
from mobilebert_common.tasks.task import new_setup
from mobilebert_common.tokenization import MobileBertTokenizerFast, learn_vocabulary
from mobilebert_common.training import jobs
from mobilebert_common.training.recipe import Recipe
from support.configs import CLASSIFIER, random_weights

FRAMEWORKS = ("pt", "tf")
OTHER = {"pt": "tf", "tf": "pt"}
THINGS = ("film", "song", "meal", "train", "phone")
WORDS = {"good": ("great", "lovely", "fine"), "bad": ("awful", "broken", "dull")}
ROWS = [
    (f"the {thing} was {word}{mark}", label)
    for mark in (".", "!")
    for thing in THINGS
    for label, words in WORDS.items()
    for word in words
]


class Done(NamedTuple):
    status: int
    out: str
    err: str


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    """The command line sets up logging and the environment of its process."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    with mock.patch.dict(os.environ):
        yield
    root.handlers[:], root.level = handlers, level


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Any:
    """Run `mobilebert` in this process, as its entry point does."""

    def call(*arguments: object) -> Done:
        monkeypatch.setattr(sys, "argv", ["mobilebert", *map(str, arguments)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as end:
            main.main()
        return Done(int(end.value.code or 0), *capsys.readouterr())

    return call


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """60 sentences as CSV, good files beside bad ones, and a tiny checkpoint."""
    folder = tmp_path_factory.mktemp("files")
    lines = [f"{text},{label}" for text, label in ROWS]
    texts = {
        "data.csv": "\n".join(["text,label", *lines]),
        "more.csv": "text,label\nthe film was fine,good\nthe film was odd,strange\n",
        "unlabelled.csv": "text\nthe film was great\n",
        "one.csv": "text,label\na,x\nb,x\n",
        "numbered.csv": "text,label\n" + "".join(f"{text},{float(label == 'good')}\n" for text, label in ROWS),
        "numbered.jsonl": "".join(json.dumps({"text": text, "label": int(label == "good")}) + "\n" for text, label in ROWS),
        "from one.csv": "text,label\na,1\nb,2\n",
        "half.jsonl": '{"text": "a", "label": "good"}\n{"text": "\\ud83d", "label": "good"}\n',
        "half label.jsonl": '{"text": "a", "label": "\\ud83d"}\n',
        "tab.csv": 'text,label\n"a\tb",good\n',
        "letters.csv": "text,label\n" + "\n".join(f"{chr(0x4E00 + n)},{n % 2}" for n in range(9500)),
        "vocab.txt": "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\nfilm\n",
    }
    for name, text in texts.items():
        (folder / name).write_text(text, encoding="utf-8")
    (folder / "korean.csv").write_bytes("text,label\n좋다,good\n나쁘다,bad\n".encode("cp949"))
    tokenizer = MobileBertTokenizerFast(vocab=learn_vocabulary([text for text, _ in ROWS], 200), model_max_length=16)
    config = MobileBertConfig(
        vocab_size=len(tokenizer),
        hidden_size=16,
        embedding_size=8,
        intra_bottleneck_size=8,
        intermediate_size=16,
        num_hidden_layers=1,
        num_feedforward_networks=2,
        max_position_embeddings=20,
        normalization_type="layer_norm",
        attention_probs_dropout_prob=0.0,
        id2label={0: "bad", 1: "good"},
    )
    weights = {name: array.astype(np.float32) for name, array in random_weights(config, CLASSIFIER).items()}
    weights["mobilebert.embeddings.word_embeddings.weight"][config.pad_token_id] = 0  # else opening it warns
    checkpoint.save(folder / "tiny", config, CLASSIFIER, weights)
    tokenizer.save_pretrained(folder / "tiny")
    shutil.copytree(folder / "tiny", folder / "corrupt")
    data = bytearray((folder / "corrupt" / WEIGHTS_FILE).read_bytes())
    data[-1] ^= 1
    (folder / "corrupt" / WEIGHTS_FILE).write_bytes(data)
    kinds: dict[str, dict[str, Any]] = {
        "score": {"num_labels": 1},
        "scores": {"id2label": {0: "joy", 1: "fear"}, "problem_type": "regression"},
        "several": {"id2label": {0: "rude", 1: "kind"}, "problem_type": "multi_label_classification"},
        "nameless": {"id2label": {0: "LABEL_0", 1: "LABEL_1"}},
    }
    for name, kind in kinds.items():
        changed = config.replace(**kind)
        shapes = {"classifier.weight": (changed.num_labels, 16), "classifier.bias": (changed.num_labels,)}
        head = {tensor: np.linspace(-1, 1, int(np.prod(shape)), dtype=np.float32).reshape(shape) for tensor, shape in shapes.items()}
        checkpoint.save(folder / name, changed, CLASSIFIER, {**weights, **head})
        tokenizer.save_pretrained(folder / name)
    base = {name.removeprefix("mobilebert."): array for name, array in weights.items() if "classifier" not in name}
    checkpoint.save(folder / "base", config, "MobileBertModel", base)
    return folder


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_train_here_evaluate_there(framework: str, files: Path, tmp_path: Path, run: Any) -> None:
    trained = tmp_path / "trained"
    options = ["--model", files / "tiny", "--output", trained, "--epochs", 12, "--batch-size", 8, "--max-length", 12]
    done = run("train", files / "data.csv", *options, "--learning-rate", 0.01, "--framework", framework)
    assert done.status == 0, done.err
    assert "task classification: text 'text', label 'label'" in done.out
    assert "54 examples to train on, 6 to validate" in done.out and "always 'bad'" in done.out
    assert "accuracy" in done.out and "F1" in done.out and f"saved in {trained}, with report.html" in done.out
    report = json.loads((trained / "report.json").read_text())
    assert report["scores"]["metrics"]["accuracy"] > 0.5 and len(report["losses"]) == report["evaluations"][-1]["step"] == 84
    assert json.loads((trained / CONFIG_FILE).read_text())["id2label"] == {"0": "bad", "1": "good"}
    assert (trained / WEIGHTS_FILE).read_bytes() != (files / "tiny" / WEIGHTS_FILE).read_bytes()

    predictions = {}
    for evaluator in (framework, OTHER[framework]):
        file = tmp_path / f"{evaluator}.csv"
        done = run("evaluate", trained, files / "data.csv", "--framework", evaluator, "--predictions", file)
        assert done.status == 0, done.err
        assert "accuracy" in done.out and f"on {len(ROWS)} examples" in done.out
        predictions[evaluator] = file.read_bytes()
    assert predictions["pt"] == predictions["tf"]
    lines = predictions["pt"].decode().splitlines()
    assert lines[0] == "text,label,prediction,probability" and len(lines) == 1 + len(ROWS)
    assert sum(line.split(",")[1] == line.split(",")[2] for line in lines) > 0.9 * len(ROWS)


def test_both_frameworks_learn_alike(files: Path) -> None:
    """The same examples in the same order, the same rates, the same reported losses, in float32."""
    setup = new_setup("classification").with_lengths(max_length=12)
    data = setup.read(files / "data.csv")

    def losses(framework: str) -> list[float]:
        reported: list[float] = []
        begin = jobs.start(setup, str(files / "tiny"), data)
        recipe = Recipe(learning_rate=1e-3, epochs=2, batch_size=8)
        door = twin(framework)
        door.train(begin.make(door, 0), begin.examples(data), recipe, lambda done, loss, capture: bool(reported.append(loss)))
        return reported

    expected = losses("pt")
    assert len(expected) == 16
    assert losses("tf") == pytest.approx(expected, rel=1e-4)


def test_what_is_cut_is_told(files: Path, run: Any) -> None:
    length = MobileBertTokenizerFast.from_pretrained(files / "tiny").model_max_length
    done = run("predict", files / "tiny", "film " * length)
    assert done.status == 0 and done.err == f"1 example cut: longer than {length} tokens\n"


def test_predict(files: Path, tmp_path: Path, run: Any) -> None:
    done = run("predict", files / "tiny", "the film was great", "an awful meal")
    assert done.status == 0, done.err
    rows = [line.split("\t") for line in done.out.splitlines()]
    assert [row[2] for row in rows] == ["the film was great", "an awful meal"]
    assert all(row[0] in WORDS and 0.5 <= float(row[1]) <= 1 for row in rows)

    done = run("predict", files / "tiny", "--file", files / "data.csv", "--output", tmp_path / "out.jsonl")
    assert done == (0, "", "")
    written = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert [row["text"] for row in written] == [text for text, _ in ROWS]
    assert all(list(row) == ["text", "label", "prediction", "probability"] for row in written)
    assert run("predict", files / "tiny", "--file", files / "data.csv", "--output", tmp_path / "all.csv", "--all").status == 0
    titles = "text,label,prediction,probability"
    assert (tmp_path / "all.csv").read_text().startswith(f"{titles},probability bad,probability good\n")
    assert run("predict", files / "tiny", "--file", tmp_path / "all.csv", "--output", tmp_path / "again.csv").status == 0
    assert (tmp_path / "again.csv").read_text().startswith(f"{titles}\n")  # nothing that an earlier model said
    done = run("evaluate", files / "tiny", tmp_path / "all.csv", "--label", "prediction", "--predictions", tmp_path / "no.csv")
    assert done.status == 1 and "the labels are in the column 'prediction', where predictions are written: rename it" in done.err


def test_predict_has_the_options_of_a_predictor(files: Path, monkeypatch: pytest.MonkeyPatch, run: Any) -> None:
    asked: list[dict[str, Any]] = []

    class Noted(learning.Predictor):
        def __init__(self, path: str, **options: Any) -> None:
            asked.append(options)
            super().__init__(path, **options)

    monkeypatch.setattr(learning, "Predictor", Noted)
    options = ("--quantize", "int8", "--batch-size", 1, "--threads", torch.get_num_threads())
    assert run("predict", files / "tiny", *TEXTS, "--framework", "pt", *options).status == 0
    assert asked == [{"task": None, "dtype": None, "quantize": "int8", "batch_size": 1, "threads": torch.get_num_threads()}]
    for wrong, message in (
        (("--quantize", "int4"), "quantize must be None or \"int8\", not 'int4'"),
        (("--dtype", "int32"), "dtype must be one of"),
        (("--batch-size", 0), "batch_size must be a whole number from 1, not 0"),
    ):
        done = run("predict", files / "tiny", *TEXTS, "--framework", "pt", *wrong)
        assert done.status == 1 and message in done.err


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_pretrain(framework: str, files: Path, tmp_path: Path, run: Any) -> None:
    for name in ("a", "b", "c"):
        (tmp_path / f"{name}.txt").write_text("\n".join(f"{text}." for text, _ in ROWS))
    options = ["--model", files / "tiny", "--max-length", 16, "--max-steps", 6, "--batch-size", 8, "--dupe-factor", 1]
    done = run("pretrain", tmp_path, *options, "--output", tmp_path / "out", "--framework", framework)
    assert done.status == 0, done.err
    assert "perplexity" in done.out and f"saved in {tmp_path / 'out'}, with report.html" in done.out
    done = run("predict", tmp_path / "out", "the [MASK] was great", "--framework", OTHER[framework])
    assert done.status == 0 and "the [MASK] was great" in done.out
    done = run("predict", tmp_path / "out", "no mask")
    assert done.status == 1 and "[MASK]" in done.err
    done = run("train", files / "data.csv", "--model", tmp_path / "out", "--max-steps", 1, "--max-length", 12, "--output", tmp_path / "new")
    assert done.status == 0 and "its encoder is trained further, with a new head" in done.out


def test_distill_for_a_task(files: Path, tmp_path: Path, run: Any) -> None:
    options = ["--epochs", 2, "--batch-size", 8, "--max-length", 12, "--learning-rate", 0.01]
    done = run("distill", files / "tiny", files / "data.csv", "--student", files / "nameless", *options, "--output", tmp_path / "out")
    assert done.status == 0, done.err
    for line in (
        f"teacher {files / 'tiny'}, auxiliary",
        "54 examples to train on, 6 to validate",
        "nameless has the labels LABEL_0, LABEL_1, not bad, good: its encoder is trained further, with a new head",
        "with the teacher, ",
        f"saved in {tmp_path / 'out'}, with report.html",
    ):
        assert line in done.out
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert report["teacher"] == str(files / "tiny") and set(report["gain"]) == {"metric", "alone", "taught"}
    assert [each.get("alone", False) for each in report["trials"]] == [True, False] and report["command"].startswith("mobilebert distill")
    done = run("predict", tmp_path / "out", "the film was great")
    assert done.status == 0 and done.out.split("\t")[0] in ("good", "bad")


def test_distill_with_all_options_of_a_transfer(files: Path, tmp_path: Path, run: Any) -> None:
    values = ["--strategy", "joint", "--form", "paper", "--share", 0.5, "--alpha", 0.2, "--temperature", 2, "--optimizer", "lamb"]
    factors = ["--factor", "attention=0", "--factor", "mean=0.5", "--no-alone"]
    options = ["--student", files / "tiny", *values, *factors, "--max-steps", 4, "--max-length", 12, "--output", tmp_path / "out"]
    done = run("distill", files / "tiny", files / "data.csv", *options)
    assert done.status == 0, done.err
    assert "all layers: steps 1 to 2\n" in done.out and "distillation: steps 3 to 4\n" in done.out
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    expected = {"strategy": "joint", "form": "paper", "share": 0.5, "alpha": 0.2, "temperature": 2.0, "optimizer": "lamb"}
    expected |= {"factors": {"attention": 0.0, "mean": 0.5}}
    assert {name: report["settings"][name] for name in expected} == expected
    assert report["phases"] == [["all layers", 1, 2], ["distillation", 3, 4]] and report["gain"] is None


def test_distill_pretraining(files: Path, tmp_path: Path, run: Any) -> None:
    """A teacher from plain text, then its student."""
    (tmp_path / "texts").mkdir()
    for name in ("a", "b", "c"):
        (tmp_path / "texts" / f"{name}.txt").write_text("\n".join(f"{text}." for text, _ in ROWS[:30]))
    options = ["--batch-size", 8, "--epochs", 1]
    teacher = ["--model", "ib-bert-mini", "--dupe-factor", 1, "--max-length", 16, "--vocabulary-size", 80, "--max-steps", 1]
    done = run("pretrain", tmp_path / "texts", *teacher, *options, "--output", tmp_path / "teacher")
    assert done.status == 0, done.err
    assert "fresh ib-bert-mini in PyTorch" in done.out
    student = ["--student", "mobilebert-mini", "--text", tmp_path / "texts", "--max-steps", 6]
    done = run("distill", tmp_path / "teacher", *student, *options, "--output", tmp_path / "student")
    assert done.status == 0, done.err
    assert f"teacher {tmp_path / 'teacher'}, progressive" in done.out and "layer 4 of 4: steps 4 to 4\n" in done.out
    report = json.loads((tmp_path / "student" / "report.json").read_text())
    assert [title for title, *_ in report["phases"]] == [*(f"layer {number} of 4" for number in (1, 2, 3, 4)), "distillation"]
    assert (tmp_path / "student" / "vocab.txt").read_bytes() == (tmp_path / "teacher" / "vocab.txt").read_bytes()
    done = run("predict", tmp_path / "student", "the [MASK] was great")
    assert done.status == 0 and "the [MASK] was great" in done.out
    done = run("distill", tmp_path / "teacher", *student, "--framework", "tf", "--validation", tmp_path / "nowhere")
    assert done.status == 1 and done.err.count("\n") == 1 and "nowhere" in done.err


def test_help_of_distill(run: Any) -> None:
    """What must be given comes first, and what every training has comes last."""
    done = run("distill", "--help")
    options = re.findall(r"^\W*(--[a-z-]+)", done.out, re.MULTILINE)
    assert done.status == 0 and options[:4] == ["--student", "--text", "--validation", "--strategy"]
    assert options.index("--framework") < options.index("--label") < options.index("--output") < options.index("--epochs")
    assert not {"--model", "--vocabulary", "--lora"} & set(options)


def test_python_is_told_of_texts_that_are_cut(files: Path, caplog: pytest.LogCaptureFixture) -> None:
    import mobilebert_pt

    text = "the film was great " * 9
    scores = mobilebert_pt.evaluate(files / "tiny", [{"text": text, "label": "good"}, {"text": "dull", "label": "bad"}])
    found = mobilebert_pt.predict(files / "tiny", [text, "dull"])
    assert set(scores.metrics) > {"accuracy"} and list(found) == ["text", "prediction", "probability"]
    assert [record.message for record in caplog.records] == ["1 example cut: longer than 16 tokens"] * 2


TEXTS = ["the film was great", "an awful meal", "the song"]


@pytest.mark.parametrize("framework", FRAMEWORKS)
@pytest.mark.parametrize(
    ("kind", "title"),
    [
        ("score", None),
        ("scores", ["prediction joy", "prediction fear", "text"]),
        ("several", ["prediction", "probability rude", "probability kind", "text"]),
    ],
)
def test_predictions_follow_the_problem_type(framework: str, kind: str, title: Any, files: Path, tmp_path: Path, run: Any) -> None:
    opened = jobs.Opened.open(twin(framework), files / kind)
    batches = opened.outputs(opened.examples(opened.setup.task.from_texts(TEXTS)))
    numbers = np.concatenate([batch["logits"] for batch in batches]).astype(np.float64)
    numbers = 1 / (1 + np.exp(-numbers)) if kind == "several" else numbers

    done = run("predict", files / kind, *TEXTS, "--framework", framework)
    assert done.status == 0, done.err
    rows = [line.split("\t") for line in done.out.splitlines()]
    assert title is None or rows.pop(0) == title
    assert [row[-1] for row in rows] == TEXTS
    shown = [row[1:-1] if kind == "several" else row[:-1] for row in rows]
    assert np.array(shown, float) == pytest.approx(numbers, abs=6e-5) and np.ptp(numbers, axis=0).min() > 1e-3
    if kind == "several":
        expected = [", ".join(name for name, share in zip(("rude", "kind"), row, strict=True) if share >= 0.5) for row in numbers]
        assert [row[0] for row in rows] == expected and len(set(expected)) > 1

    assert run("predict", files / kind, *TEXTS, "--framework", framework, "--output", tmp_path / "out.csv").status == 0
    assert (tmp_path / "out.csv").read_text().startswith("text,")


@pytest.mark.parametrize("data", ["numbered.csv", "numbered.jsonl"])
def test_numbers_are_the_classes_of_a_model_without_names(data: str, files: Path, tmp_path: Path, run: Any) -> None:
    done = run("evaluate", files / "nameless", files / data, "--predictions", tmp_path / "out.csv")
    assert done.status == 0 and f"on {len(ROWS)} examples" in done.out
    written = (tmp_path / "out.csv").read_text().splitlines()
    rows = [line.split(",") for line in written[1:]]
    assert [str(int(float(row[1]))) for row in rows] == [str(int(label == "good")) for _, label in ROWS]
    assert {row[2] for row in rows} <= {"0", "1"}


def test_labels_get_names_as_the_error_says(files: Path, tmp_path: Path, run: Any) -> None:
    shutil.copytree(files / "nameless", tmp_path / "DIR")
    refused = run("evaluate", tmp_path / "DIR", files / "data.csv")
    advice = re.search(r"MobileBertConfig\.from_pretrained\(DIR, .*\)\.save_pretrained\(DIR\)", refused.err)
    assert refused.status == 1 and advice
    eval(advice.group(0), {"MobileBertConfig": MobileBertConfig, "DIR": tmp_path / "DIR"})
    assert run("evaluate", tmp_path / "DIR", files / "data.csv").status == 0


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_a_new_head_depends_on_the_seed_alone(framework: str, files: Path) -> None:
    setup = new_setup("classification")
    begin = jobs.start(setup, str(files / "tiny"), setup.read(files / "numbered.csv"))
    assert begin.notice == f"{files / 'tiny'} has the labels bad, good, not 0, 1: its encoder is trained further, with a new head"
    door = twin(framework)
    first, again, other = (door.tensors(begin.make(door, seed)) for seed in (3, 3, 4))
    stored = door.tensors(door.load(files / "tiny", CLASSIFIER))
    for name, array in stored.items():
        if name == "classifier.weight":
            assert np.array_equal(first[name], again[name])
            assert not any(np.array_equal(first[name], different) for different in (array, other[name]))
        elif name != "classifier.bias":
            assert all(np.array_equal(array, found[name]) for found in (first, again, other))


def test_training_says_first_that_the_head_is_new(files: Path, tmp_path: Path, run: Any) -> None:
    options = ["--model", files / "several", "--output", tmp_path / "out", "--epochs", 1, "--max-length", 12]
    done = run("train", files / "data.csv", *options)
    assert done.status == 0, done.err
    assert f"{files / 'several'} has the problem_type multi_label_classification, not single_label_classification: " in done.out
    assert run("evaluate", tmp_path / "out", files / "data.csv").status == 0


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_verify(dtype: str, files: Path, run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    done = run("verify", files / "tiny", "--dtype", dtype)
    assert done.status == 0, done.err
    assert "the twins agree" in done.out
    assert all(name in done.out for name in ("loss", "logits", "hidden_states.1", "attentions.0"))

    different = [
        mobilebert_common.verification.Difference("logits", (3, 2), 0.0, 0.0),
        mobilebert_common.verification.Difference("attentions.0", (3, 2), 0.5, float("nan")),
        mobilebert_common.verification.Difference("loss", (), 0.1, 0.1),
    ]
    monkeypatch.setattr(mobilebert_common.verification, "verify", lambda *arguments: different)
    done = run("verify", files / "tiny", "--dtype", dtype)
    assert done.status == 1 and done.err == ""
    assert "in attentions.0, loss" in done.out


def test_verify_above_the_tolerance(files: Path, run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(mobilebert_common.verification.TOLERANCE, "float32", 0.0)
    done = run("verify", files / "tiny", "--dtype", "float32")
    assert done.status == 1 and "THE TWINS DIFFER" in done.out


def test_verify_accepts_an_edit(files: Path, run: Any, tmp_path: Path) -> None:
    folder = tmp_path / "a model"
    shutil.copytree(files / "tiny", folder)
    values = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**values, "finetuning_task": "mine"}))
    said = "".join(run("info", folder).err.split())  # in lines of 80 columns
    assert f"`mobilebertverify--accept'{folder}'`".replace(" ", "") in said
    done = run("verify", "--accept", folder)
    assert done.status == 0 and done.out == "accepted config.json\n"
    done = run("verify", "--accept", folder)
    assert done.status == 0 and "nothing changed since it was saved" in done.out
    assert not run("info", folder).err
    done = run("verify", "--accept", "owner/name")
    assert done.status == 1 and "is not a folder on this machine" in done.err


def test_info(files: Path, run: Any) -> None:
    done = run("info")
    assert done.status == 0 and all(name in done.out for name in ZOO)
    assert "24,581,888" in done.out and "294,467,840" in done.out
    done = run("info", "mobilebert-tiny")
    assert done.status == 0 and "15,485,696 parameters" in done.out and "use_bottleneck_attention" in done.out
    done = run("info", files / "tiny")
    assert done.status == 0 and CLASSIFIER in done.out and "{0: 'bad', 1: 'good'}" in done.out


def test_info_on_what_keras_saved(tmp_path: Path, run: Any) -> None:
    values = {**MobileBertConfig.from_zoo("mobilebert-tiny").to_dict(), "architectures": ["TFMobileBertForMaskedLM"]}
    (tmp_path / "config.json").write_text(json.dumps(values))
    assert "MobileBertForMaskedLM, 27,500,346 parameters" in run("info", tmp_path).out


# the command, and what its one line of error says; {files} is the folder of files
MISTAKES: dict[str, tuple[str, str]] = {
    "no such file": ("train {files}/absent.csv", "absent.csv: cannot be read: No such file"),
    "no such validation": ("train {files}/data.csv --validation {files}/absent.csv", "absent.csv: cannot be read"),
    "no such column": ("train {files}/data.csv --text body", "has no column 'body'; its columns are 'text', 'label'"),
    "no label": ("train {files}/unlabelled.csv", "has no column 'label'"),
    "one label": ("train {files}/one.csv", "needs at least two labels"),
    "encoding": ("train {files}/korean.csv", "is not utf-8-sig: pass the file's encoding"),
    "unknown encoding": ("train {files}/korean.csv --encoding klingon", "'klingon' is not a text encoding"),
    "too few to split": ("train {files}/korean.csv --encoding cp949", "cannot be split into training and validation"),
    "suffix": ("train {files}/vocab.txt", "must end in .csv, .tsv, .jsonl"),
    "unseen in validation": ("train {files}/data.csv --validation {files}/more.csv", "unseen in training in line 3: 'strange'"),
    "model": ("train {files}/data.csv --model mobilebert-huge", "neither a checkpoint directory nor in the zoo"),
    "empty model": ("train {files}/data.csv --model {files}", "config.json: is missing"),
    "corrupt model": ("train {files}/data.csv --model {files}/corrupt --max-length 12", "is not the file that was saved"),
    "length": ("train {files}/data.csv --model {files}/tiny --max-length 21", "more than the model's 20 positions"),
    "vocabulary": (
        "train {files}/data.csv --model {files}/tiny --vocabulary {files}/vocab.txt",
        "has its own vocabulary",
    ),
    "no such vocabulary": ("train {files}/data.csv --vocabulary {files}/absent.txt", "absent.txt"),
    "characters": ("train {files}/letters.csv", "cannot learn a vocabulary"),
    "unseen in evaluation": ("evaluate {files}/tiny {files}/more.csv", "unseen in training in line 3: 'strange'"),
    "corrupt": ("evaluate {files}/corrupt {files}/data.csv", "is not the file that was saved"),
    "no classifier": ("evaluate {files}/base {files}/data.csv", "holds MobileBertModel, not a"),
    "no checkpoint": ("evaluate {files}/absent {files}/data.csv", "is neither a checkpoint directory nor owner/name"),
    "name of the zoo": ("evaluate mobilebert {files}/data.csv", "is neither a checkpoint directory nor owner/name"),
    "no predictions there": ("evaluate {files}/tiny {files}/data.csv --predictions {files}/no/a.csv", "no does not exist"),
    "suffix of predictions": ("evaluate {files}/tiny {files}/data.csv --predictions {files}/a.txt", "must end in"),
    "nothing to predict": ("predict {files}/tiny", "give either texts or --file"),
    "two things to predict": ("predict {files}/tiny a --file {files}/data.csv", "give either texts or --file"),
    "regression": ("evaluate {files}/score {files}/data.csv", "column 'label' is not a number in line 2, 3, 4, 5, 6 and 55 more"),
    "several labels": ("evaluate {files}/several {files}/data.csv", "has labels unseen in training in line 2, 3, 4, 5, 6 and 55 more"),
    "another task": ("evaluate {files}/score {files}/data.csv --task sst2", "is a model for regression, not for classification"),
    "unknown task": ("train {files}/data.csv --task translation", "task must be one of classification, regression, multi-label"),
    "metric": ("train {files}/data.csv --metric BLEU", "metric must be one of accuracy, F1 (macro), MCC"),
    "class weights": ("train {files}/data.csv --class-weights good=1", "must have a weight for each of bad, good, not for good"),
    "no weights": ("train {files}/data.csv --class-weights good", "--class-weights must be 'balanced' or weights as in good=1,bad=2.5"),
    "LoRA in Keras": ("train {files}/data.csv --lora 4 --framework tf", "LoRA"),
    "names for numbers": ("evaluate {files}/nameless {files}/data.csv", "id2label={0: 'bad', 1: 'good'}).save_pretrained(DIR)"),
    "half an emoji": ("predict {files}/tiny --file {files}/half.jsonl", "column 'text' has half an emoji (a lone surrogate) in line 2"),
    "half an argument": ("predict {files}/tiny a \udcff", "text 2 on the command line, '\\udcff', is not valid Unicode"),
    "half a name": ("predict {files}/\udcff a", "\\udcff' is neither a checkpoint directory"),
    "half a column": ("train {files}/data.csv --text \udcff", "has no column '\\udcff'"),
    "tab": ("predict {files}/tiny --file {files}/tab.csv --output {files}/new.tsv", "a .tsv cannot hold texts with tabs"),
    "over the data": ("predict {files}/tiny --file {files}/data.csv --output {files}/data.csv", "is the data file itself"),
    "over the labels": ("evaluate {files}/tiny {files}/data.csv --predictions {files}/data.csv", "is the data file itself"),
    "rate": ("train {files}/data.csv --learning-rate nan", "the learning rate must be above 0 and finite, not nan"),
    "rate of zero": ("train {files}/data.csv --learning-rate 0", "the learning rate must be above 0 and finite, not 0"),
    "nothing to distil on": (
        "distill {files}/tiny --student mobilebert-mini",
        "give the training data, or --text with a folder of plain text",
    ),
    "text for a task": ("distill {files}/tiny --student mobilebert-mini --text {files}", "tiny was trained for another task"),
    "two files for a task": (
        "distill {files}/tiny {files}/data.csv {files}/more.csv --student mobilebert-mini",
        "the data of this task are one file, not 2",
    ),
    "no such teacher": (
        "distill {files}/absent {files}/data.csv --student mobilebert-mini",
        "absent' is neither a checkpoint directory nor",
    ),
    "a teacher of another task": (
        "distill {files}/score {files}/data.csv --student mobilebert-mini --task sst2",
        "is a model for regression",
    ),
    "a base model as teacher": (
        "distill {files}/base {files}/data.csv --student mobilebert-mini",
        "holds MobileBertModel, not a",
    ),
    "no such student": (
        "distill {files}/tiny {files}/data.csv --student tiny",
        "neither a checkpoint directory nor in the zoo",
    ),
    "labels of another": (
        "distill {files}/tiny {files}/numbered.csv --student mobilebert-mini",
        "labels of student and data are 0, 1, the",
    ),
    "words of another": (
        "distill {files}/tiny {files}/data.csv --student mobilebert-small-uncased --max-length 12",
        "the student has 8,000 tokens, the teacher",
    ),
    "layers of another": (
        "distill {files}/tiny {files}/data.csv --student mobilebert-mini --strategy joint --max-length 12",
        "hidden states are 128 wide in the student, 16 in the teacher; the student has 4 layers, the teacher only 1; the strategy joint",
    ),
    "no factor": (
        "distill {files}/tiny {files}/data.csv --student mobilebert-mini --factor mean",
        "--factor must be as in attention=0, not",
    ),
    "unknown factor": (
        "distill {files}/tiny {files}/data.csv --student mobilebert-mini --factor a=1",
        "factors are for hidden, mean,",
    ),
    "alpha": ("distill {files}/tiny {files}/data.csv --student mobilebert-mini --alpha 2", "alpha must be from 0 to 1, not 2.0"),
    "length of the teacher": (
        "distill {files}/tiny {files}/data.csv --student mobilebert-mini --max-length 32",
        "max_length 32 is more than the teacher's 20 positions",
    ),
    "verify": ("verify {files}/corrupt", "is not the file that was saved"),
    "info": ("info {files}/absent", "neither a checkpoint directory nor in the zoo nor owner/name"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistakes(mistake: str, files: Path, tmp_path: Path, run: Any) -> None:
    command, message = MISTAKES[mistake]
    before = sorted(path.relative_to(files) for path in files.rglob("*"))
    output = ["--output", tmp_path / "out"] if command.startswith(("train", "distill")) else []
    done = run(*command.format(files=files).split(), *output)
    assert done.status == 1
    assert done.err.startswith("error: ") and done.err.count("\n") == 1 and message in done.err
    assert "Traceback" not in done.out + done.err
    assert not any(path.is_file() for path in tmp_path.rglob("*"))
    assert sorted(path.relative_to(files) for path in files.rglob("*")) == before


@pytest.mark.parametrize("command", [["train", "data.csv"], ["demo"]])
def test_a_checkpoint_is_not_overwritten(command: list[str], files: Path, tmp_path: Path, run: Any) -> None:
    there = tmp_path / "pt" if command == ["demo"] else tmp_path
    shutil.copytree(files / "tiny", there, dirs_exist_ok=True)
    before = content(there)
    done = run(*command, "--output", tmp_path)
    assert done.status == 1 and done.err.count("\n") == 1 and "already holds a checkpoint; --overwrite" in done.err
    done = run("train", files / "absent.csv", "--output", there, "--overwrite")
    assert done.status == 1 and content(there) == before


def test_output_that_is_a_file(files: Path, tmp_path: Path, run: Any) -> None:
    (tmp_path / "out").write_text("mine")
    done = run("train", files / "absent.csv", "--output", tmp_path / "out", "--overwrite")
    assert done.status == 1 and done.err == f"error: {tmp_path / 'out'} is not a folder: choose another one with --output\n"
    assert (tmp_path / "out").read_text() == "mine"


@pytest.mark.parametrize("name", ["a\nb", "a\rb", "\x1b[2J", "\udcff"])
@pytest.mark.parametrize("command", ["info {}", "predict {} a", "train {}", "train {}.csv", "evaluate {0}.csv {0}.csv"])
def test_names_with_line_breaks_give_one_line(command: str, name: str, run: Any) -> None:
    done = run(*(part.format(name) for part in command.split(" ")))
    assert done.status == 1 and done.err.startswith("error: ") and done.err.count("\n") == 1 and not done.out


def test_texts_that_the_terminal_has_no_letters_for(files: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["mobilebert", "predict", str(files / "tiny"), "좋다"])
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(io.BytesIO(), "latin-1"))
    with pytest.raises(SystemExit) as end:
        main.main()
    assert not end.value.code
    assert sys.stdout.buffer.getvalue().endswith(b"\t\\uc88b\\ub2e4\n")


@pytest.mark.parametrize(
    "command",
    [
        "train",
        "nonsense",
        "train a.csv --framework jax",
        "train a.csv --epochs 0",
        "distill teacher a.csv",
        "distill teacher a.csv --student b --strategy slow",
        "distill teacher a.csv --student b --lora 4",
        "train a.csv --max-length 0",
        f"train a.csv --seed {1 << 32}",
        f"train a.csv --epochs {'9' * 400}",
        f"train a.csv --batch-size {'9' * 400}",
        "train a.csv --validation-fraction nan",
        "train a.csv --framework \udcff",
    ],
)
def test_wrong_commands(command: str, run: Any) -> None:
    assert run(*command.split()).status == 2


def test_interrupted(files: Path, tmp_path: Path, run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs, "start", mock.Mock(side_effect=KeyboardInterrupt))
    done = run("train", files / "data.csv", "--output", tmp_path / "out")
    assert done.status == 130 and "Traceback" not in done.err


@pytest.mark.parametrize(
    ("missing", "command", "install"),
    [
        (["torch"], "evaluate {files}/tiny {files}/data.csv", ".[pt]"),
        (["tensorflow", "keras"], "evaluate {files}/tiny {files}/data.csv --framework tf", ".[tf]"),
        (["tensorflow", "keras"], "verify {files}/tiny", ".[tf]"),
        (["typer"], "info", ".[cli]"),
    ],
    ids=["no torch", "no keras", "no keras to verify with", "no typer"],
)
def test_missing_libraries(missing: list[str], command: str, install: str, files: Path) -> None:
    arguments = ["mobilebert", *command.format(files=files).split()]
    code = (
        f"import sys; sys.argv = {arguments!r}; sys.modules.update(dict.fromkeys({missing!r}))\n"
        "from mobilebert_common.cli.main import main; main()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith("error: ") and f"pip install '{install}'" in done.stderr
    assert done.stderr.count("\n") == 1 and "Traceback" not in done.stderr


def test_a_backend_that_keras_has_and_we_do_not(files: Path) -> None:
    code = f"import sys; sys.argv = ['mobilebert', 'verify', {str(files / 'tiny')!r}]; from mobilebert_common.cli.main import main; main()"
    environment = {**os.environ, "KERAS_BACKEND": "torch"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 1 and done.stderr.startswith("error: mobilebert_tf runs on Keras's TensorFlow backend"), done.stderr
    assert "not on 'torch': set KERAS_BACKEND=tensorflow" in done.stderr and done.stderr.count("\n") == 1


ESCAPES = "\x1b]0;pwned\x07\x1b[2J\x9b31m\u202e"  # a title, a cleared screen, a colour in one character, text from right to left


def commands_a_terminal(text: str) -> bool:
    """Whether a text holds one of ESCAPES that is not a letter."""
    return any(char in text for char in ESCAPES if not char.isprintable())


@pytest.fixture(scope="module")
def hostile(files: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint whose labels, keys and architecture hold escape codes, and data files that do."""
    folder = tmp_path_factory.mktemp("hostile")
    shutil.copytree(files / "tiny", folder / "model")
    (folder / "model" / "manifest.json").unlink()
    values = json.loads((folder / "model" / CONFIG_FILE).read_text())
    values |= {"id2label": {"0": f"bad{ESCAPES}", "1": "good"}, f"key{ESCAPES}": f"value{ESCAPES}", "note": [ESCAPES]}
    values.pop("label2id")
    (folder / "model" / CONFIG_FILE).write_text(json.dumps(values))
    shutil.copytree(folder / "model", folder / "other")
    (folder / "other" / CONFIG_FILE).write_text(json.dumps({**values, "architectures": [f"Bert{ESCAPES}"]}))
    shutil.copytree(folder / "model", folder / "refused")
    (folder / "refused" / CONFIG_FILE).write_text(json.dumps({**values, "hidden_act": ESCAPES}))
    shutil.copytree(folder / "model", folder / f"named{ESCAPES.replace('/', '')}")
    rows = [f"{text} {ESCAPES},{label}{ESCAPES}" for text, label in ROWS]
    (folder / "data.csv").write_text("\n".join(["text,label", *rows]), encoding="utf-8")
    (folder / "names.csv").write_text(f"a{ESCAPES},b\n1,2\n", encoding="utf-8")
    return folder


@pytest.mark.parametrize(
    "command",
    [
        "info {0}/model",
        "info {0}/other",
        "info {0}/refused",
        "info {0}/named{1}",
        "verify {0}/model",
        "verify {0}/other",
        "verify {0}/named{1}",
        "predict {0}/model --file {0}/data.csv",
        "predict {0}/model --file {0}/names.csv",
        "predict {0}/model text{1}",
        "predict {0}/other text",
        "evaluate {0}/model {0}/data.csv",
        "train {0}/data.csv --model {0}/model --epochs 1 --max-length 12 --output {0}/out --overwrite",
        "train {0}/names.csv --output {0}/out",
        "convert {0}/model {0}/converted --overwrite",
        "convert {0}/refused {0}/converted --overwrite",
        "convert {0}/named{1} {0}/converted{1} --overwrite",
        "train {0}/data.csv --model zoo{1} --output {0}/out",
    ],
)
def test_escape_codes_never_reach_a_terminal(command: str, hostile: Path, run: Any) -> None:
    done = run(*(part.format(hostile, ESCAPES) for part in command.split(" ")))
    assert done.out or done.err
    assert not commands_a_terminal(done.out + done.err)


def test_what_libraries_log_reaches_no_terminal_either(hostile: Path) -> None:
    code = (
        "import sys, logging; sys.argv = ['mobilebert', 'info', sys.argv[1]]\n"
        "from mobilebert_common.cli import console; console.open_twin('pt')\n"
        "logging.getLogger('x').warning('a \\x1b[2J b')"
    )
    done = subprocess.run([sys.executable, "-c", code, hostile / "model"], capture_output=True, text=True, check=True)
    assert r"a \x1b[2J b" in done.stderr.replace("\n", "")
