import json
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pandas
import pytest

from mobilebert_common.errors import ConfigError, DataError
from mobilebert_common.model.config import MobileBertConfig
from mobilebert_common.tasks.base import Lengths, Predictions
from mobilebert_common.tasks.choices import Choices, Questions, label_numbers
from mobilebert_common.tasks.tables import Columns
from mobilebert_common.tasks.task import guess, new_setup, setup_of
from mobilebert_common.tokenization import MobileBertTokenizerFast

TASK = Choices()
TOKENIZER = MobileBertTokenizerFast(vocab=["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "b", "c", "d"])
ROW = {"question": "a", "A": "b", "B": "c", "C": "d", "answer": "C"}


CONFIG = MobileBertConfig()


def choose(data: Questions, logits: list[list[float]]) -> Predictions:
    examples = TASK.make_examples(data, TOKENIZER, CONFIG, Lengths())
    return TASK.predict(data, examples, [{"logits": np.array(logits[:1])}, {"logits": np.array(logits[1:])}], CONFIG, Lengths())


# a row, and the text, the second text, the choices and the number of the answer that it has
FORMATS: dict[str, tuple[dict[str, Any], tuple[str, str | None, list[str | None], int]]] = {
    "letters": (ROW, ("a", None, ["b", "c", "d"], 2)),
    "SWAG": (
        {"startphrase": "a b", "sent1": "a", "sent2": "b", "ending0": "c", "ending1": "d", "ending2": "a", "label": 0},
        ("a", "b", ["c", "d", "a"], 0),
    ),
    "HellaSwag": ({"ctx": "a", "endings": ["c", "d"], "label": "0"}, ("a", None, ["c", "d"], 0)),
    "RACE": ({"article": "a", "question": "b", "options": ["c", "d", "a"], "answer": "B"}, ("a", "b", ["c", "d", "a"], 1)),
    "Social IQa": (
        {"context": "a", "question": "b", "answerA": "c", "answerB": "d", "answerC": "a", "label": "3"},
        ("a", "b", ["c", "d", "a"], 2),
    ),
    "COPA": ({"premise": "a", "choice1": "c", "choice2": "d", "question": "b", "label": 0}, ("a", "b", ["c", "d"], 0)),
    "WinoGrande": ({"sentence": "a", "option1": "c", "option2": "d", "answer": "2"}, ("a", None, ["c", "d"], 1)),
    "PIQA": ({"goal": "a", "sol1": "c", "sol2": "d", "label": 0}, ("a", None, ["c", "d"], 0)),
    "ARC": ({"question": "a", "choices": {"text": ["c", "d"], "label": ["1", "2"]}, "answerKey": "2"}, ("a", None, ["c", "d"], 1)),
    "CommonsenseQA": (
        {"question": "a", "choices": [{"label": "A", "text": "c"}, {"label": "B", "text": "d"}], "answerKey": "B"},
        ("a", None, ["c", "d"], 1),
    ),
    "the text of the choice": ({"prompt": "a", "choices": ["c d", "d"], "label": "c d"}, ("a", None, ["c d", "d"], 0)),
    "small letters": ({"question": "a", "choices": ["c", "d"], "label": "b"}, ("a", None, ["c", "d"], 1)),
    "a float": ({"question": "a", "choices": ["c", "d", "b"], "label": 0.0}, ("a", None, ["c", "d", "b"], 0)),
}


@pytest.mark.parametrize("name", FORMATS)
def test_formats(name: str, tmp_path: Path) -> None:
    row, (text, second, choices, number) = FORMATS[name]
    frame = pandas.DataFrame([row])
    frame.to_parquet(tmp_path / "a.parquet")
    (tmp_path / "a.jsonl").write_text(json.dumps(row))
    frame.map(lambda cell: json.dumps(cell) if isinstance(cell, list | dict) else cell).to_csv(tmp_path / "a.csv", index=False)
    for source in ([row], frame, datasets.Dataset.from_list([row]), *(tmp_path / f"a.{suffix}" for suffix in ("parquet", "jsonl", "csv"))):
        data = TASK.read(source)
        assert (data.texts, data.seconds, data.choices) == ([text], None if second is None else [second], [choices])
        assert label_numbers(data) == [number]
        assert guess(source, Columns())[0] == "choices"
    assert TASK.read([row], labelled=False).labels is None


def rows(labels: list[Any], choices: tuple[Any, ...] = ("b", "c", "d")) -> list[dict[str, Any]]:
    return [{"question": "a", "choices": choices, "label": label} for label in labels]


STYLES: dict[str, tuple[list[dict[str, Any]], str]] = {
    "letters": (rows(["A", "C"]), "letters"),
    "small letters": (rows(["a", "a"]), "small letters"),
    "from 0": (rows([0, 1]), "numbers from 0"),
    "from 0, by one": (rows(["0", "2"]), "numbers from 0"),
    "from 1": (rows([1, 3]), "numbers from 1"),
    "texts": (rows(["c", "d"], ("a b", "c", "d")), "small letters or texts"),
    "texts that are no letters": (rows(["xx", "yy"], ("xx", "yy")), "texts"),
    "letters that are the texts": (rows(["A", "B"], ("A", "B")), "letters"),
    "choices that are numbers": (rows(["4", "5"], ("4", "5", "6")), "texts"),
}


@pytest.mark.parametrize("name", STYLES)
def test_styles_of_labels(name: str) -> None:
    source, expected = STYLES[name]
    if " or " in expected:
        with pytest.raises(DataError, match=f"column 'label' may have {expected}, which are different answers"):
            TASK.read(source)
        return
    assert TASK.read(source).columns.label_style == expected


BAD: dict[str, tuple[list[dict[str, Any]], str]] = {
    "from 0 or 1": (rows([1, 2]), "the list: column 'label' may have numbers from 0 or numbers from 1, which are different"),
    "beyond the choices": (rows([0, 1, 3]), "column 'label' names none of the choices, or two of them, in row 3: '3'"),
    "unknown": (rows(["A", "best", "B", "?"]), "names none of the choices, or two of them, in row 2, 4: 'best', '\\?'"),
    "twice": (rows(["xx"], ("xx", "xx")), "or two of them, in row 1: 'xx'"),
    "no label": (rows(["A", None]), "column 'label' is empty or not text in row 2"),
    "no choices": (rows(["A"], ()), "no question has two choices in 'choices'"),
    "no list": ([*rows(["A"]), {"question": "a", "choices": "b", "label": "A"}], "column 'choices' is no list of choices in row 2"),
    "no text": (rows(["A"], ("b", ["c"])), "column 'choices' is not text in row 1"),
    "a half emoji": (rows(["A"], ("b", "\ud83d")), "lone surrogate"),
    "no answer": (rows(["C", "C"], ("b", "c", "")), "no question has its answer among its choices"),
    "no column": ([{"question": "a", "A": "b", "B": "c", "label": "A"}], "has no column 'choices'"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_data(name: str) -> None:
    source, message = BAD[name]
    with pytest.raises(DataError, match=message):
        TASK.settings(TASK.read(source), None)


def test_columns(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("a,b,c,1\nb,c,d,2\n")
    columns = Columns("q", None, "y", ("x", "z"), ("q", "x", "z", "y"))
    data = TASK.read(tmp_path / "a.csv", columns)
    assert (data.texts, data.choices, data.labels) == (["a", "b"], [["b", "c"], ["c", "d"]], ["1", "2"])
    assert guess(tmp_path / "a.csv", columns)[0] == "choices"
    swag = FORMATS["SWAG"][0]
    assert TASK.read([swag], Columns(text_pair=())).seconds is None
    assert TASK.read([swag], Columns(text="startphrase")).seconds is None
    with pytest.raises(DataError, match="has no column 'w'"):
        TASK.read([swag], Columns(choices=("ending0", "w")))
    with pytest.raises(ConfigError, match="one column of labels, not 2"):
        TASK.read([swag], Columns(label=("a", "b")))
    with pytest.raises(ConfigError, match=r"label_style must be one of letters, .*, not 'digits'"):
        TASK.read([swag], Columns(label_style="digits"))
    assert label_numbers(TASK.read(rows([1, 2]), Columns(label_style="numbers from 1"))) == [0, 1]  # which alone would be ambiguous
    with pytest.raises(ConfigError, match="more than one text"):
        TASK.from_texts(["a"])
    assert guess([{"text": "a", "A": "1", "B": "2", "label": "x"}], Columns())[0] == "classification"  # A and B may be anything


def test_features() -> None:
    swag = FORMATS["SWAG"][0]
    data = TASK.read([swag, {**swag, "ending2": None, "label": 1}])
    examples = TASK.make_examples(data, TOKENIZER, CONFIG, Lengths())
    batch = examples.batch([1, 0])
    assert batch["input_ids"].tolist() == [
        [[2, 5, 3, 6, 7, 3], [2, 5, 3, 6, 8, 3], [2, 5, 3, 6, 3, 0]],  # [CLS] a [SEP] b c [SEP], and an empty choice
        [[2, 5, 3, 6, 7, 3], [2, 5, 3, 6, 8, 3], [2, 5, 3, 6, 5, 3]],
    ]
    assert batch["attention_mask"][0, 2].tolist() == [1, 1, 1, 1, 1, 0] and batch["token_type_ids"][0, 0].tolist() == [0, 0, 0, 1, 1, 1]
    assert batch["labels"].tolist() == [1, 0] and examples.lengths == [6, 6]
    long = TASK.read([{**ROW, "B": "c " * 9}, ROW])
    assert TASK.make_examples(long, TOKENIZER, CONFIG, Lengths(max_length=8)).truncated == [0]
    with pytest.raises(ConfigError, match="max_length 4 is too short"):
        TASK.make_examples(data, TOKENIZER, CONFIG, Lengths(max_length=4))


def test_questions_that_cannot_be_used_are_dropped_and_said() -> None:
    data = TASK.read([{**ROW, "A": "", "B": "", "answer": "1"}, ROW, {**ROW, "C": ""}, {**ROW, "answer": "E"}])
    examples = TASK.make_examples(data, TOKENIZER, CONFIG, Lengths())
    assert examples.sources == [1] and examples.dropped == {
        "fewer than two choices (row 1)": [0],
        "the answer is not among the choices (row 3, 4)": [2, 3],
    }
    predictions = choose(data, [[0, 0, 5]])
    assert predictions.columns["prediction"] == ["", "C", "", ""] and predictions.losses and len(set(predictions.losses)) == 1
    scores = TASK.evaluate(data, predictions, CONFIG)
    assert (scores.metrics, scores.baseline) == ({"accuracy": 1.0}, {"accuracy": pytest.approx(1 / 3)})
    unlabelled = TASK.read(data.records, labelled=False)
    assert TASK.make_examples(unlabelled, TOKENIZER, CONFIG, Lengths()).sources == [1, 2, 3]


def test_a_choice_that_is_not_there_is_never_predicted(tmp_path: Path) -> None:
    data = TASK.read([{**ROW, "C": None, "answer": "B", "id": "x"}, {**ROW, "id": "y"}])
    predictions = choose(data, [[1.0, 0.0, 9.0], [0.0, 0.0, 9.0]])
    assert predictions.columns == {"prediction": ["A", "C"], "prediction text": ["b", "d"], "probability": [0.7311, 0.9998]}
    assert predictions.details["probability C"] == ["", 0.9998] and predictions.losses == pytest.approx([1.3133, 0.0002], abs=1e-4)
    scores = TASK.evaluate(data, predictions, CONFIG)
    assert (scores.metrics, scores.baseline) == ({"accuracy": 0.5}, {"accuracy": pytest.approx((1 / 2 + 1 / 3) / 2)})
    TASK.write(tmp_path / "a.csv", data, {**data.kept(), **TASK.labels(data), **predictions.columns})
    assert (tmp_path / "a.csv").read_text().splitlines()[2] == "a,b,c,d,C,y,C,d,0.9998"
    with pytest.raises(DataError, match="not finite for row 2"):
        choose(data, [[0, 0, 0], [0, np.nan, 0]])


def test_predictions_are_written_as_the_labels_were() -> None:
    for labels, name in ((["A", "C"], "C"), ([0, 2], "2"), ([1, 3], "3"), (["xx", "zz"], "zz")):
        choices = ("xx", "yy", "zz")
        data = TASK.read(rows(labels, choices))
        for source in (data, TASK.read([{"question": "a", "choices": choices}] * 2, data.columns, labelled=False)):
            assert choose(source, [[0, 0, 1]] * 2).columns["prediction"] == [name] * 2
    training = TASK.read(rows([0, 1, 2])).columns
    for labels, numbers, style in (([1, 2], [1, 2], "numbers from 0"), (["B", "C"], [1, 2], "letters"), ([1, 3], [0, 2], "numbers from 1")):
        data = TASK.read(rows(labels), training)
        assert (label_numbers(data), data.columns.label_style) == (numbers, style)
    named = [{"question": "a", "choices": {"text": ["b", "c"], "label": [*names]}, "answerKey": names[1]} for names in ("AB", "12")]
    assert choose(TASK.read(named), [[0, 1], [1, 0]]).columns["prediction"] == ["B", "1"]


def test_memory() -> None:
    data = TASK.read([ROW])
    setup = new_setup("choices").with_columns(data.columns)
    config = MobileBertConfig.from_dict({**MobileBertConfig(architectures=[TASK.architecture]).to_dict(), **setup.settings()})
    found = setup_of(config)
    assert (found.task.name, found.columns) == ("choices", data.columns) and data.columns.choices == ("A", "B", "C")
    with pytest.raises(DataError, match="has no column 'C', which the model was trained on"):
        found.read([{"question": "a", "A": "b", "B": "c"}], labelled=False)


def test_arc(data: Path) -> None:
    columns = Columns(header=("question", "A", "B", "C", "D", "answer"))
    assert guess(data / "arc_easy_dev.csv", columns)[0] == "choices"
    found = TASK.read(data / "arc_easy_dev.csv", columns).take(range(300))
    tokenizer = MobileBertTokenizerFast(data / "vocab.txt")
    examples = TASK.make_examples(found, tokenizer, CONFIG, Lengths())
    assert [*examples.dropped] == ["fewer than two choices (line 5, 20, 25, 32, 34 and 12 more)"] and len(examples) == 283
    outputs = [{"logits": np.eye(4)[batch["labels"]]} for batch in examples.ordered(64)]
    predictions = TASK.predict(found, examples, outputs, CONFIG, Lengths())
    assert TASK.evaluate(found, predictions, CONFIG).metrics == {"accuracy": 1.0}
    assert found.records.cells("answer")[0] == predictions.columns["prediction"][0] == "B"
