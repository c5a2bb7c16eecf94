"""Question answering: what is read, windows and labels, answers and results."""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas
import pytest

from mobilebert_common.errors import ConfigError, DataError
from mobilebert_common.model.config import MobileBertConfig
from mobilebert_common.model.inputs import IGNORE_INDEX
from mobilebert_common.tasks.answers import Answers, windows
from mobilebert_common.tasks.base import Lengths, Predictions
from mobilebert_common.tasks.examples import Examples
from mobilebert_common.tasks.squad import Question, Questions, Reference
from mobilebert_common.tasks.tables import Columns
from mobilebert_common.tasks.task import TASKS, guess, new_setup, setup_of
from mobilebert_common.tokenization import MobileBertTokenizerFast
from mobilebert_common.training.preparation import Options, notices, prepare

LETTERS = [chr(letter) for letter in range(ord("a"), ord("z") + 1)]
TOKENIZER = MobileBertTokenizerFast(vocab=["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "?", "😀", *LETTERS, "##1", "##2", "ab"])
TASK = Answers()
SHORT = Lengths(max_length=16, stride=4)
CONTEXT = "a b c d e f g h i j k l m n o p"  # letter n is token n, and starts at character 2 n


def article(*qas: Mapping[str, Any], context: str = CONTEXT, **more: Any) -> dict[str, Any]:
    return {"title": "letters", "paragraphs": [{"context": context, "qas": list(qas)}], **more}


def qa(key: Any = "q1", text: str | None = "c d", start: int = 4, question: str = "x y?", **more: Any) -> dict[str, Any]:
    answers = [] if text is None else [{"text": text, "answer_start": start}]
    return {"id": key, "question": question, "answers": answers, **more}


def write(folder: Path, content: Any, encoding: str = "utf-8") -> Path:
    path = folder / "squad.json"
    path.write_bytes((content if isinstance(content, str) else json.dumps({"data": content}, ensure_ascii=False)).encode(encoding))
    return path


def questions(*rows: tuple[str, str, tuple[tuple[str, int], ...] | None], unanswerable: bool = False) -> Questions:
    """(question, context, answers) as data."""
    made = [
        Question(f"id {n}", question, context, answers and tuple(Reference(*answer) for answer in answers), "", f"line {n}")
        for n, (question, context, answers) in enumerate(rows, 1)
    ]
    return Questions(Path("some.jsonl"), made, unanswerable)


def examples(data: Questions, lengths: Lengths = SHORT) -> Examples:
    return TASK.make_examples(data, TOKENIZER, MobileBertConfig(), lengths)


def tokens(made: Examples, row: int) -> str:
    return " ".join(TOKENIZER.convert_ids_to_tokens(made.columns["input_ids"][row].tolist()))


def labels(made: Examples) -> list[tuple[int, int]]:
    return list(zip(made.columns["start_positions"], made.columns["end_positions"], strict=True))


def test_read_squad(tmp_path: Path) -> None:
    two = [{"text": "c d", "answer_start": 4}, {"text": "c", "answer_start": 4}]
    path = write(tmp_path, [article(qa(answers=two), qa(7, "e", 8)), {"paragraphs": [{"context": "z", "qas": [qa("q3", "z", 0)]}]}])
    data = TASK.read(path)
    assert data.rows[0] == (
        "q1", "x y?", CONTEXT, (("c d", 4), ("c", 4)), "letters", "data[0].paragraphs[0].qas[0] (id 'q1')"
    )  # fmt: skip
    assert [row.id for row in data.rows] == ["q1", "7", "q3"] and data.labels == [("c d", "c"), ("e",), ("z",)]
    assert data.contexts == [CONTEXT, "z"] and not data.unanswerable
    assert data.kept() == {"id": ["q1", "7", "q3"], "title": ["letters", "letters", ""], "question": ["x y?"] * 3}
    assert TASK.labels(data) == {"accepted answers": ["c d | c", "e", "z"]} and not TASK.label_counts(data)
    assert TASK.texts(data) == ["x y?"] * 3 + [CONTEXT, "z"]
    assert TASK.shown(data)[0] == f"x y? | {CONTEXT}"
    unlabelled = TASK.read(path, labelled=False)
    assert unlabelled.labels is None and len(unlabelled) == 3
    assert guess(path, Columns()) == ("answers", path)


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_files_as_others_write_them(newline: str, encoding: str, tmp_path: Path) -> None:
    content = json.dumps({"version": "1.1", "data": [article(qa(text="😀", start=2), context="a 😀 b")]}, indent=1, ensure_ascii=False)
    path = write(tmp_path, content.replace("\n", newline), encoding)
    data = TASK.read(path, encoding="utf-8-sig" if encoding != "utf-16" else encoding)
    assert data.labels == [("😀",)] and data.encoding == encoding


def test_questions_without_an_answer(tmp_path: Path) -> None:
    found = TASK.read(write(tmp_path, [article(qa(is_impossible=False), qa("q2", None, is_impossible=True), qa("q3", None))]))
    assert found.unanswerable and found.labels == [("c d",), (), ()]
    assert TASK.label_counts(found) == {"answer": 1, "no answer": 2}
    assert found.take([0]).unanswerable  # as the file that it is of
    no_key = {"id": "q2", "question": "x", "is_impossible": True, "plausible_answers": [{"text": "?", "answer_start": -1}]}
    assert TASK.read(write(tmp_path, [article(no_key)])).labels == [()]
    version_2 = json.dumps({"version": "v2.0", "data": [article(qa())]})
    assert TASK.read(write(tmp_path, version_2)).unanswerable
    assert TASK.read(write(tmp_path, version_2), labelled=False).unanswerable
    assert TASK.lengths_for(found, TASK.lengths) == Lengths(384, 128, null_threshold=0.0)
    assert TASK.lengths_for(found, Lengths(null_threshold=-1.5)).null_threshold == -1.5
    answerable = TASK.read(write(tmp_path, [article(qa())]))
    assert TASK.lengths_for(answerable, Lengths(384, 128, null_threshold=0.0)) == TASK.lengths


AT = r"data\[0\]\.paragraphs\[0\]\.qas\[0\]"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "is empty"),
        (" \n", "is empty"),
        ('{"data": [\n{]}', "cannot be parsed: .* line 2"),
        ('{"data": [], "data": []}', "cannot be parsed: an object has the key 'data' twice"),
        ("[" * 100_000, "cannot be parsed"),
        ("[]", "the file is a list, not an object with data: write one object a line to a .jsonl"),
        ("3", "the file is 3, not an object"),
        ("{}", "the file is not SQuAD's: it has no 'data'"),
        ('{"data": {}}', "the file: 'data' is {}, not a list"),
        ([], "has no questions"),
        ([article()], "has no questions"),
        (["x"], r"data\[0\] is 'x', not an object"),
        ([{}], r"data\[0\] has no 'paragraphs'"),
        ([article(title=3)], r"data\[0\]: 'title' is 3, not text"),
        ([{"paragraphs": [{"qas": []}]}], r"data\[0\]\.paragraphs\[0\] has no 'context'"),
        ([article(context=" ")], r"data\[0\]\.paragraphs\[0\]: 'context' is empty"),
        ([article(), {"paragraphs": [{"context": "a"}]}], r"data\[1\]\.paragraphs\[0\] has no 'qas'"),
        ([article("x")], AT + " is 'x', not an object"),  # type: ignore[arg-type]
        ([article({"question": "x"})], AT + " has no 'id'"),
        ([article(qa(None))], AT + ": 'id' is None, not text or a whole number"),
        ([article(qa(True))], AT + ": 'id' is True, not text or a whole number"),
        ([article(qa(question="\t"))], AT + r" \(id 'q1'\): 'question' is empty"),
        ([article({"id": "q1", "question": "x"})], AT + r" \(id 'q1'\) has no 'answers'"),
        ([article(qa(answers={"text": ["a"]}))], AT + r" \(id 'q1'\): 'answers' is .*, not a list"),
        ([article(qa(answers=["a"]))], AT + r" \(id 'q1'\): answers\[0\] is 'a', not an object"),
        ([article(qa(answers=[{"text": "a"}]))], r"answers\[0\] has no 'answer_start'"),
        ([article(qa(answers=[{"answer_start": 0}]))], r"answers\[0\] has no 'text'"),
        ([article(qa(text=""))], r"answers\[0\]: 'text' is empty"),
        ([article(qa(start="4"))], r"answers\[0\]: 'answer_start' is '4', not a whole number"),  # type: ignore[arg-type]
        ([article(qa(start=4.0))], r"answers\[0\]: 'answer_start' is 4.0, not a whole number"),  # type: ignore[arg-type]
        ([article(qa(is_impossible=True))], AT + r" \(id 'q1'\) is_impossible, but has answers"),
        ([article(qa(text=None, is_impossible=False))], AT + r" \(id 'q1'\) has no answers, but is not is_impossible"),
        ([article(qa(is_impossible="no"))], "'is_impossible' is 'no', not true or false"),
        ([article(qa(), qa("q2"), qa())], r"qas\[2\] \(id 'q1'\) has the id 'q1' of data\[0\]\.paragraphs\[0\]\.qas\[0\]"),
        ([article(qa("1"), qa(1))], "has the id '1' of"),
        ('{"data": [{"paragraphs": [{"context": "\\ud83d", "qas": []}]}]}', "'context' has half an emoji"),
    ],
)
def test_errors_of_json(content: Any, message: str, tmp_path: Path) -> None:
    path = write(tmp_path, content)
    with pytest.raises(DataError, match=f"^{re.escape(str(path))}: .*{message}") as error:
        TASK.read(path)
    assert "\n" not in str(error.value)


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot be read"):
        TASK.read(tmp_path / "absent.json")
    with pytest.raises(DataError, match="line 1 is not utf-8"):
        TASK.read(write(tmp_path, [article(qa(question="é"))], "latin-1"))


HUB = {
    "id": ["q1", "q2", "q3"],
    "title": ["t", "t", "u"],
    "context": ["a b a", "a b a", "c"],
    "question": ["x?", "y?", "z?"],
    "answers": [{"text": ["a", "b"], "answer_start": [4, 2]}, {"text": ["b"], "answer_start": [2]}, {"text": [], "answer_start": []}],
}


def sources(folder: Path) -> Iterator[Any]:
    rows = [dict(zip(HUB, row, strict=True)) for row in zip(*HUB.values(), strict=True)]
    frame = pandas.DataFrame(HUB)
    (folder / "a.jsonl").write_text("\r\n".join(map(json.dumps, rows)), newline="")
    frame.to_parquet(folder / "a.parquet")
    frame.assign(answers=frame["answers"].map(json.dumps)).to_csv(folder / "a.csv", index=False)
    squad = [
        {**row, "answers": [dict(zip(("text", "answer_start"), pair, strict=True)) for pair in zip(*row["answers"].values(), strict=True)]}
        for row in rows
    ]
    yield from (folder / "a.jsonl", folder / "a.parquet", folder / "a.csv", rows, HUB, frame)
    yield from (pandas.read_parquet(folder / "a.parquet"), squad)


def test_tables(tmp_path: Path) -> None:
    for source in sources(tmp_path):
        name, records = guess(source, Columns())
        assert name == "answers"
        data = TASK.read(records)
        assert [row.answers for row in data.rows] == [(("a", 4), ("b", 2)), (("b", 2),), ()]
        assert [row.id for row in data.rows] == HUB["id"] and [row.question for row in data.rows] == HUB["question"]
        assert data.unanswerable and data.columns == Columns("question", "context", "answers")
        assert list(data.kept()) == list(HUB) and data.take([2]).kept()["id"] == ["q3"]
        assert TASK.read(records, labelled=False).labels is None


def test_data_sets_of_the_hub() -> None:
    datasets = pytest.importorskip("datasets")
    data = TASK.read(datasets.Dataset.from_dict(HUB))
    assert data.labels == [("a", "b"), ("b",), ()]


def csv(folder: Path, text: str) -> Path:
    path = folder / "a.csv"
    path.write_text(text, newline="")
    return path


def test_tables_of_texts(tmp_path: Path) -> None:
    path = csv(tmp_path, 'question,context,answer\r\nx?,"b a\r\na",a\r\ny?,[1] 2,[1]\r\nz?,c,\r\n')
    assert guess(path, Columns())[0] == "answers"
    data = TASK.read(path)
    assert [row.answers for row in data.rows] == [(("a", 2),), (("[1]", 0),), ()]
    assert [row.id for row in data.rows] == ["1", "2", "3"] and data.rows[0].context == "b a\r\na"
    data = TASK.read(csv(tmp_path, "q,c,answer,answer_start,label\nx?,a b a,a,4,u\n"), Columns("q", "c"))
    assert data.labels == [("a",)] and data.rows[0].answers == (("a", 4),)
    assert data.columns == Columns("q", "c", ("answer", "answer_start"))
    setup = new_setup("answers").with_columns(data.columns)
    config = MobileBertConfig(architectures=[TASK.architecture], **setup.settings())
    found = setup_of(MobileBertConfig.from_dict(json.loads(config.to_json_string())))
    assert (found.task, found.columns, found.lengths) == (TASKS["answers"], data.columns, Lengths(384, 128))
    setup = setup.with_lengths(null_threshold=-1.5, stride=64)
    config = MobileBertConfig(architectures=[TASK.architecture], **setup.settings())
    assert setup_of(MobileBertConfig.from_dict(json.loads(config.to_json_string()))).lengths == Lengths(384, 64, null_threshold=-1.5)
    assert guess(csv(tmp_path, "question,context,answer,label\nx?,a,a,u\n"), Columns(label="label"))[0] == "classification"
    assert guess(csv(tmp_path, "question,sentence,label\nx?,a,u\n"), Columns())[0] == "classification"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("question,context\nx,a\n", "has no column 'answers'"),
        ("question,answers\nx,a\n", "has no column 'context'"),
        ("context,answers\nx,a\n", "has no column 'question'"),
        ("question,context,answer\nx,a,a\ny,b,c\nz,d,e\n", "column 'answer' has an answer that is not in the context in line 3, 4"),
        ("question,context,answer\nx,a,a\n,b,b\n", "column 'question' is empty or not text in line 3"),
        ("question,context,answer,answer_start\nx,a,a,\n", "column 'answer_start' is not a whole number in line 2"),
        ("question,context,answer,answer_start\nx,a,a,0.5\n", "column 'answer_start' is not a whole number in line 2"),
        ("id,question,context,answer\n1,x,a,a\n2,x,a,a\n1,x,a,a\n", "column 'id' repeats the id of another row in line 4"),
        ("id,question,context,answer\n,x,a,a\n", "column 'id' is empty or not text in line 2"),
        ("id,id,question,context,answer\n1,2,x,a,a\n", "has duplicate columns: 'id'"),
    ],
)
def test_errors_of_tables(text: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=re.escape(message)):
        TASK.read(csv(tmp_path, text))


@pytest.mark.parametrize(
    "answers",
    [
        {"text": ["a"]}, {"text": ["a"], "answer_start": []}, {"text": "a", "answer_start": 0}, ["a"], [{"text": "a"}], 1.5j, {},
        {"text": ["a"], "answer_start": [None]}, {"text": [3], "answer_start": [0]}, {"text": ["a"], "answer_start": [0.5]},
    ],
)  # fmt: skip
def test_cells_that_are_no_answers(answers: Any) -> None:
    rows = [{"question": "x", "context": "a True 3", "answers": {"text": ["a"], "answer_start": [0]}}]
    with pytest.raises(DataError, match="column 'answers' is neither a text nor answers with their starts in row 2"):
        TASK.read([*rows, {**rows[0], "answers": answers}])
    assert TASK.read([*rows, {**rows[0], "answers": True}]).labels == [("a",), ("True",)]  # as in other columns


def test_texts_of_the_command_line() -> None:
    data = TASK.from_texts(["x?", "a b", "y?", "c"])
    assert [(row.id, row.question, row.context) for row in data.rows] == [("1", "x?", "a b"), ("2", "y?", "c")] and data.labels is None
    assert not len(examples(data).columns.keys() & {"start_positions", "end_positions"})
    for texts, message in [(["x?"], "not 1 text$"), (["x?", "a", "b"], "not 3 texts"), (["x?", " "], "text 2 .* is empty")]:
        with pytest.raises(ConfigError, match=message):
            TASK.from_texts(texts)


def test_windows() -> None:
    """The worked example: a question of 3 tokens leaves 10 of 16 tokens for the context of 16."""
    made = examples(questions(("x y?", CONTEXT, (("k l", 20),)), ("z", "a b", (("b", 2),))))
    assert [tokens(made, row) for row in range(len(made))] == [
        "[CLS] x y ? [SEP] a b c d e f g h i j [SEP]",
        "[CLS] x y ? [SEP] e f g h i j k l m n [SEP]",
        "[CLS] x y ? [SEP] i j k l m n o p [SEP]",
        "[CLS] z [SEP] a b [SEP]",
    ]
    assert labels(made) == [(0, 0), (11, 12), (7, 8), (4, 4)]
    assert list(made.sources) == [0, 0, 0, 1] and made.lengths == [16, 16, 14, 6]
    assert [list(types) for types in made.columns["token_type_ids"]] == [
        [0] * 5 + [1] * 11, [0] * 5 + [1] * 11, [0] * 5 + [1] * 9, [0] * 3 + [1] * 3
    ]  # fmt: skip
    assert [list(mask) for mask in made.columns["attention_mask"]] == [[1] * length for length in made.lengths]
    assert [part.start for part in made.extras] == [0, 4, 8, 0] and made.extras[1].offsets[0].tolist() == [8, 9]
    assert not made.truncated and not made.dropped
    batch = made.batch([2, 3])
    assert batch["input_ids"].shape == (2, 14) and batch["input_ids"][1, -1] == TOKENIZER.pad_token_id
    assert batch["start_positions"].tolist() == [7, 4]
    # an answer that begins in the first window, ends behind it, and ends with the second
    assert labels(examples(questions(("x y?", CONTEXT, (("j k", 18),))))) == [(0, 0), (10, 11), (6, 7)]
    assert labels(examples(questions(("x y?", CONTEXT, (("m n", 24),))))) == [(0, 0), (13, 14), (9, 10)]


@pytest.mark.parametrize("room", range(1, 8))
@pytest.mark.parametrize("stride", range(1, 9))
def test_windows_are_those_of_googles_loop(room: int, stride: int) -> None:
    for count in range(1, 25):
        expected, start = [], 0
        while start < count:  # as in run_squad.py
            length = min(count - start, room)
            expected.append((start, length))
            if start + length == count:
                break
            start += min(length, stride)
        assert windows(count, room, stride) == expected
    assert windows(0, room, stride) == [(0, 0)]  # the script has no window then, and no answer


def test_answers_are_found_by_their_characters() -> None:
    contexts = [
        ("ab12 c", ("ab", 0), (3, 3)),
        ("ab12 c", ("12", 2), (4, 5)),
        ("ab12 c", ("1", 2), (4, 4)),
        ("ab12 c", ("b1", 1), (3, 4)),  # whole tokens
        ("a 😀 b", ("b", 4), (5, 5)),
        ("😀😀 a", ("😀", 1), (3, 3)),  # one word of two emoji, which is unknown as a whole
        ("a\r\n\r\nb", ("b", 5), (4, 4)),
        ("É a", ("É", 0), (3, 3)),
        ("E\u0301 a", ("a", 3), (4, 4)),
        ("a b ", ("a b ", 0), (3, 4)),
    ]
    for context, answer, span in contexts:
        assert labels(examples(questions(("x", context, (answer,))))) == [span], (context, answer)


def test_questions_that_are_not_trained_on() -> None:
    data = questions(
        ("x", CONTEXT, (("a", 0), ("zz", 0))),  # the first answer counts
        ("x", CONTEXT, (("b", 0), ("a", 0))),
        ("x", CONTEXT, (("a", -1),)),
        ("x", CONTEXT, (("a", 99),)),
        ("x", CONTEXT, ((CONTEXT, 0),)),
        ("x", "a \x01 b", (("\x01", 2),)),
        ("x", CONTEXT, ()),
        ("x " * 9, "a", (("a", 0),)),
    )
    assert not Reference("p", -1).is_in(CONTEXT) and not Reference("p", 31).is_in(CONTEXT) and Reference("p", 30).is_in(CONTEXT)
    made = examples(data)
    assert made.dropped == {
        "the answer is not at its start in the context (some.jsonl: line 2, line 3, line 4 and 1 more)": [1, 2, 3, 5],
        "no window has the whole answer (some.jsonl: line 5)": [4],
    }
    assert made.truncated == [7] and tokens(made, len(made) - 1) == "[CLS] x x x x x x x x [SEP] a [SEP]"
    gold = {source: {label for row, label in zip(made.sources, labels(made), strict=True) if row == source} for source in range(8)}
    ignored = {(IGNORE_INDEX, IGNORE_INDEX)}
    assert gold == {0: {(3, 3), (0, 0)}, 1: ignored, 2: ignored, 3: ignored, 4: ignored, 5: ignored, 6: {(0, 0)}, 7: {(10, 10)}}
    trained = made.trainable()
    assert set(trained.sources) == {0, 6, 7} and len(trained.extras) == len(trained) == len(trained.columns["input_ids"])
    assert all(label != (IGNORE_INDEX, IGNORE_INDEX) for label in labels(trained))
    assert len(examples(data.take([1])).trainable()) == 0


def test_training_on_misplaced_answers(tmp_path: Path) -> None:
    good = [article(qa(f"q{row}", letter, 2 * row)) for row, letter in enumerate("abcdef")]
    held_out, options = article(qa("q8", "wrong", 3), qa("q9", "b", 2)), {"model": "mobilebert-mini", "max_length": 16, "stride": 4}
    write(tmp_path, [held_out]).rename(tmp_path / "held_out.json")
    mixed = Options(data=write(tmp_path, [*good, article(qa("q7", "wrong", 3))]), validation=tmp_path / "held_out.json", **options)
    ready = prepare(mixed)
    assert set(ready.examples.sources) == set(range(6)) and set(ready.held_examples.sources) == {0, 1}
    [line] = [line for line in notices(ready, "PyTorch") if "dropped" in line]
    place = r"the answer is not at its start in the context \(.*squad\.json: data\[{}\]\.paragraphs\[0\]\.qas\[0\] \(id 'q7'\)\)"
    assert re.fullmatch("1 training example dropped: " + place.format(6), line)
    alone = Options(data=write(tmp_path, [article(qa("q7", "wrong", 3))]), validation=tmp_path / "held_out.json", **options)
    with pytest.raises(DataError, match=r"squad\.json: no example can be trained on: 1 " + place.format(0)):
        prepare(alone)


def test_lengths_that_are_too_short() -> None:
    for lengths, message in [(Lengths(15, 4), "max_length 15 is too short"), (Lengths(16, 0), "stride must be at least 1")]:
        with pytest.raises(ConfigError, match=message):
            examples(questions(("x", "a", None)), lengths)


def outputs(made: Examples, favourites: Mapping[int, tuple[int, int, float]], null: float = 0.0) -> list[dict[str, np.ndarray]]:
    """Logits in batches of 2: {row: (start, end, logit)}, `null` for [CLS], -9 elsewhere, and 99 in the padding, which must not matter."""
    batches = []
    for batch in made.ordered(2):
        logits = np.where(batch["attention_mask"] == 1, -9.0, 99.0).astype(np.float32)
        logits[:, 0] = null
        batches.append({"start_logits": logits, "end_logits": logits.copy()})
    for row, (start, end, logit) in favourites.items():
        batches[row // 2]["start_logits"][row % 2, start] = logit
        batches[row // 2]["end_logits"][row % 2, end] = logit
    return batches


LETTER_DATA = questions(("x y?", CONTEXT, (("k l", 20),)), ("z", "a b", (("b", 2),)), ("w", "a b", ()), unanswerable=True)


def test_predictions() -> None:
    made = examples(LETTER_DATA)
    found = outputs(made, {0: (6, 7, 2.0), 1: (11, 12, 5.0), 3: (3, 3, 1.0), 4: (4, 4, 0.5)}, null=0.75)
    always = replace(LETTER_DATA, unanswerable=False)
    answerable = TASK.predict(always, made, found, MobileBertConfig(), SHORT)
    assert answerable.columns["prediction"] == ["k l", "a", "b"]
    for data, lengths in [(LETTER_DATA, SHORT), (always, replace(SHORT, null_threshold=0.0))]:
        predictions = TASK.predict(data, made, found, MobileBertConfig(), lengths)
        assert predictions.columns["prediction"] == ["k l", "a", ""]
        assert predictions.details["no answer"] == [1.5 - 10, 1.5 - 2, 1.5 - 1]
    best = predictions.details["n best"]
    share = 1 / (1 + np.exp(4.0 - 10) + np.exp(1.5 - 10))  # beside the answer of the first window, and no answer
    assert best[0][0] == {"text": "k l", "probability": pytest.approx(share, abs=1e-5), "score": 10.0, "start": 20, "end": 23}
    assert [answer["text"] for answer in best[2][:2]] == ["", "b"]
    assert predictions.columns["probability"] == [round(answers[0]["probability"], 4) for answers in best]
    assert json.loads(json.dumps(best)) == best
    scores = TASK.evaluate(LETTER_DATA, predictions, MobileBertConfig())
    assert scores.metrics["EM"] == pytest.approx(2 / 3) and scores.metrics["best EM"] >= 2 / 3
    assert scores.classes["NoAns"]["EM"] == 1.0 and set(scores.notes) == {"threshold of best F1"}
    assert set(scores.metrics) == {"F1", "EM", "best F1", "best EM"}
    for threshold in (-99.0, 99.0, scores.notes["threshold of best F1"]):  # the best score is the same, and the threshold reaches it
        chosen = TASK.predict(LETTER_DATA, made, found, MobileBertConfig(), replace(SHORT, null_threshold=threshold))
        again = TASK.evaluate(LETTER_DATA, chosen, MobileBertConfig())
        assert again.notes == scores.notes and again.metrics["best F1"] == scores.metrics["best F1"]
    assert again.metrics["F1"] == again.metrics["best F1"]
    assert set(TASK.titles(MobileBertConfig())) <= set(scores.metrics)
    above = TASK.predict(LETTER_DATA, made, found, MobileBertConfig(), Lengths(16, 4, null_threshold=0.6))
    assert above.columns["prediction"] == ["k l", "a", "b"]
    two = Predictions({}, found=answerable.found[:2])
    assert set(TASK.evaluate(LETTER_DATA.take([0, 1]), two, MobileBertConfig()).metrics) == {"F1", "EM"}


def test_losses() -> None:
    """By hand: log_softmax over the tokens of the row, without padding; the best window with the answer, the worst one without."""
    made = examples(LETTER_DATA)
    found = outputs(made, {1: (11, 12, 5.0), 2: (7, 8, 1.0), 3: (3, 4, 2.0)})
    losses = TASK.predict(LETTER_DATA, made, found, MobileBertConfig(), SHORT).losses
    rest = {size: (size - 2) * np.exp(-9) for size in (16, 6)}
    best = np.log(np.exp(5) + 1 + rest[16]) - 5
    start, end = np.log(np.exp(2) + 1 + rest[6]) + 9, np.log(np.exp(2) + 1 + rest[6]) - 2
    nothing = np.log(1 + 5 * np.exp(-9))
    assert losses == pytest.approx([best, (start + end) / 2, nothing], abs=1e-6)
    worst = outputs(made, {4: (3, 3, 2.0)})
    assert TASK.predict(LETTER_DATA, made, worst, MobileBertConfig(), SHORT).losses[2] == pytest.approx(np.log(np.exp(2) + 1), abs=1e-3)
    long = questions(("x y?", CONTEXT, ()))
    made = examples(long)
    worst = np.log(np.exp(5) + 1 + 14 * np.exp(-9))
    assert TASK.predict(long, made, outputs(made, {1: (8, 8, 5.0)}), MobileBertConfig(), SHORT).losses == pytest.approx([worst], abs=1e-6)
    misplaced = questions(("x", "a", (("b", 0),)))
    made = examples(misplaced)
    assert TASK.predict(misplaced, made, outputs(made, {}), MobileBertConfig(), SHORT).losses == [0.0]
    unlabelled = questions(("x", "a", None))
    assert TASK.predict(unlabelled, made, outputs(made, {}), MobileBertConfig(), SHORT).losses is None


def test_a_context_without_tokens() -> None:
    data = questions(("x", "\x01", None))
    made = examples(data)
    assert tokens(made, 0) == "[CLS] x [SEP] [SEP]"
    predictions = TASK.predict(data, made, outputs(made, {}), MobileBertConfig(), SHORT)
    assert predictions.columns == {"prediction": [""], "probability": [0.0]} and predictions.details["n best"] == [[]]


def test_outputs_that_are_not_finite() -> None:
    made = examples(LETTER_DATA)
    found = outputs(made, {3: (3, 3, np.nan)})
    with pytest.raises(DataError, match=r"some\.jsonl: the model's outputs are not finite for line 2"):
        TASK.predict(LETTER_DATA, made, found, MobileBertConfig(), SHORT)


def test_split_by_context() -> None:
    data = questions(*(("x", f"{'a ' * (1 + n // 4)}", (("a", 0),)) for n in range(40)))
    training, held_out = TASK.split(data, 0.2, 3)
    assert (len(training), len(held_out)) == (32, 8) and not set(training.contexts) & set(held_out.contexts)
    assert TASK.split(data, 0.2, 3)[1].rows == held_out.rows != TASK.split(data, 0.2, 4)[1].rows
    assert all(len(part) for part in TASK.split(data.take([0, 4]), 0.01, 0))
    with pytest.raises(DataError, match="all questions are about one context"):
        TASK.split(data.take([0, 1]), 0.5, 0)


def test_shown() -> None:
    context = f"{'a' * 100} \nb\tc {'d' * 100}"
    line = TASK.shown(questions(("x", context, (("b", 102),)), ("y", context, None)))
    assert line[0] == f"x | …{'a' * 58} b c {'d' * 57}…"
    assert line[1] == f"y | {'a' * 100} b c {'d' * 14}…"


def test_results(tmp_path: Path) -> None:
    data = questions(("x", "é b", None), ("y", "a", None))
    columns = {**data.kept(), "prediction": ["é", ""], "probability": [0.5, 1.0], "n best": [[{"text": "é"}], []]}
    TASK.write(tmp_path / "a.json", data, columns)
    assert (tmp_path / "a.json").read_bytes() == b'{\n    "id 1": "\\u00e9",\n    "id 2": ""\n}\n'
    for suffix in ("csv", "jsonl", "parquet"):
        TASK.write(tmp_path / f"a.{suffix}", data, columns)
    first = json.loads((tmp_path / "a.jsonl").read_text(encoding="utf-8").splitlines()[0])
    assert first == {"id": "id 1", "question": "x", "prediction": "é", "probability": 0.5, "n best": [{"text": "é"}]}
    assert TASK.suffixes == (".json",)
