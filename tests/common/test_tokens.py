import json
import re
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pandas
import pytest

from mobilebert_common.errors import ConfigError, DataError
from mobilebert_common.model.config import MobileBertConfig
from mobilebert_common.tasks.base import Lengths, Predictions
from mobilebert_common.tasks.conll import looks_like_conll, read_conll
from mobilebert_common.tasks.examples import Examples
from mobilebert_common.tasks.tables import Columns
from mobilebert_common.tasks.task import guess, new_setup, setup_of
from mobilebert_common.tasks.tokens import Sentences, Tokens, entities, shares, split_words, windows
from mobilebert_common.tokenization import MobileBertTokenizerFast

TASK = Tokens()
VOCABULARY = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "b", "##a", "##b", ".", "c"]
TOKENIZER = MobileBertTokenizerFast(vocab=VOCABULARY)
CONLL = "-DOCSTART- -X- O\n\na X B-P\nb X I-P\n. X O\n\nabab X O\n"


def read(folder: Path, text: str, name: str = "a.conll", columns: Columns | None = None, **options: Any) -> Sentences:
    path = folder / name
    path.write_bytes(text.encode(options.get("encoding", "utf-8")))
    return TASK.read(path, columns, **options)


def answer(data: Sentences, tags: list[list[str]], max_length: int = 128) -> tuple[Examples, Predictions, MobileBertConfig]:
    """The predictions of a model that tags all words like this."""
    config = MobileBertConfig(**TASK.settings(data, None))
    lengths = Lengths(max_length=max_length, stride=96)
    examples = TASK.make_examples(data, TOKENIZER, config, lengths)
    numbers = {name: number for number, name in config.id2label.items()}
    right = TASK.make_examples(Sentences(data.path, data.words, tags), TOKENIZER, config, lengths)
    outputs = [{"logits": 9 * np.eye(len(numbers))[np.maximum(batch["labels"], 0)]} for batch in right.ordered(2)]
    return examples, TASK.predict(data, examples, outputs, config, lengths), config


# text, words, tags, the column of the tags
GOOD: dict[str, tuple[str, list[list[str]], list[list[str]]]] = {
    "document lines": (CONLL, [["a", "b", "."], ["abab"]], [["B-P", "I-P", "O"], ["O"]]),
    "tabs": ("New York\tB-L\nis\tO\n", [["New York", "is"]], [["B-L", "O"]]),
    "a tab ends a sentence": ("a\tO\n\t\nb\tO\n \n\n", [["a"], ["b"]], [["O"], ["O"]]),
    "several spaces": ("a   O\n b  O \n", [["a", "b"]], [["O", "O"]]),
    "hash words": ("#\tO\n#a\tO\n", [["#", "#a"]], [["O", "O"]]),
    "hash words between spaces": ("# O\nb O\n", [["#", "b"]], [["O", "O"]]),
    "comments": ("# id = 1\n# text = a b\na\t_\tO\nb\t_\tO\n\n# id = 2\nb\t_\tO\n", [["a", "b"], ["b"]], [["O", "O"], ["O"]]),
    "other line breaks": ("a\tO\r\n\r\nb\u2028\x85\tO\r\n", [["a"], ["b\u2028\x85"]], [["O"], ["O"]]),
    "a byte order mark": ("\ufeffa O\n", [["a"]], [["O"]]),
    "parts of speech": ("a DET\nb NOUN\n", [["a", "b"]], [["DET", "NOUN"]]),
    "no type": ("a B\nb I\n. O\n", [["a", "b", "."]], [["B", "I", "O"]]),
}


@pytest.mark.parametrize("name", GOOD)
def test_conll(name: str, tmp_path: Path) -> None:
    text, words, tags = GOOD[name]
    data = read(tmp_path, text)
    assert (data.words, data.tags) == (words, tags)
    assert data.columns == Columns(text="1", label=str(read_conll(tmp_path / "a.conll").width))
    assert read(tmp_path, text, labelled=False).tags is None


BAD: dict[str, tuple[str, str]] = {
    "empty": ("", "a.conll: is empty"),
    "blank": (" \n\n", "is empty"),
    "only documents": ("-DOCSTART- O\n", "has no words"),
    "a missing column": ("a X O\nb O\n. X O\n", "a.conll: line 2 has 2 columns, but most lines have 3, with spaces or tabs between"),
    "a missing tag at the start": ("#a\nb O\n. O\n", "line 1 has 1 column, but most lines have 2"),
    "many": ("a O\n" * 9 + "a\nb\na O O\n" * 2, "line 10 has 1 column, line 11 has 1 column, line 12 has 3 .* and 1 more lines, but"),
    "spaces among tabs": ("a\tO\nb O\n.\tO\n", "line 2 has 1 column, but most lines have 2, with tabs between"),
    "one column": ("a\nb\n", "has words and tags both in column 1, of 1"),
    "empty words": ("a\tO\n\tO\nb\tO\n", "column 1 is empty in line 2"),
    "empty tags": ("a\tO\nb\t\n", "column 2 is empty in line 2"),
    "unknown forms": ("a\tB-P\n\nb\tPER\nc\tPER\n", "the tag 'PER' is neither O nor of the form .* in line 3, 4$"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_conll(name: str, tmp_path: Path) -> None:
    text, message = BAD[name]
    with pytest.raises(DataError, match=message):
        read(tmp_path, text)


def test_bad_conll_columns_and_encodings(tmp_path: Path) -> None:
    for columns, message in (
        (Columns(label="4"), "has no column '4': its columns are the numbers 1 to 3"),
        (Columns(text="word"), "has no column 'word'"),
        (Columns(text="3"), "both in column 3"),
    ):
        with pytest.raises(DataError, match=message):
            read(tmp_path, CONLL, columns=columns)
    for wrong in (Columns(text_pair="2"), Columns(label=("2", "3")), Columns(choices=("1", "2"))):
        with pytest.raises(ConfigError, match="tokens"):
            read(tmp_path, CONLL, columns=wrong)
    (tmp_path / "b.conll").write_bytes(b"a O\n\xe9 O\n")
    with pytest.raises(DataError, match="line 2 is not utf-8"):
        TASK.read(tmp_path / "b.conll")
    with pytest.raises(DataError, match="cannot be read"):
        TASK.read(tmp_path / "none.conll")
    (tmp_path / "a.json").write_text('{"a": 1}')
    with pytest.raises(DataError, match=r"a \.json holds questions and answers"):
        TASK.read(tmp_path / "a.json")


def test_columns_by_number_and_words_only(tmp_path: Path) -> None:
    data = read(tmp_path, "1 a DET B-P x\n2 b NOUN O y\n", columns=Columns(text="2", label="4"))
    assert (data.words, data.tags, data.kept()) == (
        [["a", "b"]],
        [["B-P", "O"]],
        {"words": [["a", "b"]], "column 1": [["1", "2"]], "column 3": [["DET", "NOUN"]], "column 5": [["x", "y"]]},
    )
    assert read(tmp_path, "a\nb\n\na\n", labelled=False).words == [["a", "b"], ["a"]]


WORDS, TAGS = [["a", "b"], ["c"]], [["B-P", "O"], ["O"]]


def sources(folder: Path) -> dict[str, Any]:
    """The same sentences from everywhere."""
    rows = [{"id": number, "tokens": words, "ner_tags": tags} for number, (words, tags) in enumerate(zip(WORDS, TAGS, strict=True))]
    names = datasets.ClassLabel(names=["O", "B-P"])
    features = {"id": datasets.Value("int64"), "tokens": datasets.Sequence(datasets.Value("string")), "ner_tags": datasets.Sequence(names)}
    numbered = [{**row, "ner_tags": [names.str2int(tag) for tag in row["ner_tags"]]} for row in rows]
    frame = pandas.DataFrame(rows)
    frame.to_parquet(folder / "a.parquet")
    (folder / "a.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    frame.assign(**{name: frame[name].map(json.dumps) for name in ("tokens", "ner_tags")}).to_csv(folder / "a.csv", index=False)
    return {
        "rows": rows,
        "columns": frame.to_dict("list"),
        "frame": frame,
        "arrays": pandas.read_parquet(folder / "a.parquet"),
        "dataset": datasets.Dataset.from_list(numbered, features=datasets.Features(features)),
        **{suffix: folder / f"a.{suffix}" for suffix in ("parquet", "jsonl", "csv")},
    }


def test_records(tmp_path: Path) -> None:
    for name, source in sources(tmp_path).items():
        data = TASK.read(source)
        assert (data.words, data.tags, data.names) == (WORDS, TAGS, ("B-P", "O")), name
        assert data.columns == Columns(text="tokens", label="ner_tags")
        assert [*map(str, data.kept()["id"])] == ["0", "1"]
        assert guess(source, Columns())[0] == "tokens", name
        TASK.write(tmp_path / "out.jsonl", data, data.kept())


BAD_ROWS: dict[str, tuple[list[Any], str]] = {
    "no list": ([{"tokens": "a b", "tags": ["O"]}], "column 'tokens' is no list of words in row 1"),
    "no words": ([{"tokens": ["a"], "tags": ["O"]}, {"tokens": [], "tags": []}], "column 'tokens' is no list of words in row 2"),
    "an empty word": ([{"tokens": ["a", " "], "tags": ["O", "O"]}], "column 'tokens' has an empty word, or one that is not text, in row 1"),
    "lengths": ([{"tokens": ["a"], "tags": ["O", "O"]}], "column 'tags' has more or fewer tags than there are words in row 1"),
    "no tag": ([{"tokens": ["a"], "tags": [None]}], "column 'tags' has an empty tag"),
    "a half emoji": ([{"tokens": ["\ud83d"], "tags": ["O"]}], "lone surrogate"),
    "form": ([{"tokens": ["a"], "tags": ["B-P"]}, {"tokens": ["a"], "tags": ["b-P"]}], "the tag 'b-P' is neither .* in row 2"),
    "no column": ([{"text": ["a"], "tags": ["O"]}], "has no column 'tokens'"),
}


@pytest.mark.parametrize("name", BAD_ROWS)
def test_bad_records(name: str) -> None:
    rows, message = BAD_ROWS[name]
    with pytest.raises(DataError, match=message):
        TASK.read(rows)


def test_guesses(tmp_path: Path) -> None:
    tagged, header = "a\tO\nb\tB-P\n\na\tO\n", "text\tlabel\na\tO\n\nb\tO\n"
    for name, text, expected in (
        ("a.conll", CONLL, "tokens"),
        ("a.iob2", "a DET\n", "tokens"),
        ("a.tsv", tagged, "tokens"),
        ("a.txt", tagged.replace("\t", " "), "tokens"),
        ("a.tsv", header, "classification"),
        ("a.txt", "two words\n\nthree more words\n", "must end in .csv"),
        ("a.txt", "two words\n\ntwo more\n", "must end in .csv"),
    ):
        (tmp_path / name).write_text(text)
        assert looks_like_conll(tmp_path / name) is (expected == "tokens")
        if "must" in expected:
            with pytest.raises(DataError, match=expected):
                guess(tmp_path / name, Columns())
        else:
            assert guess(tmp_path / name, Columns())[0] == expected
    assert guess([{"text": "a", "labels": ["x", "y"]}], Columns())[0] == "multi-label"
    assert guess([{"tokens": ["a"], "labels": ["x", "y"]}], Columns())[0] == "multi-label"
    assert read(tmp_path, tagged, "a.tsv").tags == read(tmp_path, tagged, "a.annotated").tags == [["O", "B-P"], ["O"]]


def test_features() -> None:
    data = TASK.read([{"tokens": ["ab", "\u200b", "b."], "tags": ["B-P", "I-P", "O"]}])
    config = MobileBertConfig(**TASK.settings(data, None))
    assert config.id2label == {0: "B-P", 1: "I-P", 2: "O"}
    examples = TASK.make_examples(data, TOKENIZER, config, Lengths(max_length=16))
    assert examples.columns == {
        "input_ids": [[2, 5, 8, 1, 6, 9, 3]],  # [CLS] a ##b [UNK] b . [SEP]
        "attention_mask": [[1] * 7],
        "token_type_ids": [[0] * 7],
        "labels": [[-100, 0, -100, 1, 2, -100, -100]],
    }
    assert examples.batch([0])["labels"].shape == (1, 7) and not examples.truncated


def test_every_word_is_labelled_once_and_predicted() -> None:
    draw = np.random.default_rng(0)
    for _ in range(40):
        words = [["ab" * int(size) for size in draw.integers(1, 4, draw.integers(1, 30))] for _ in range(3)]
        tags = [[str(draw.choice(["B-P", "I-P", "O"])) for _ in sentence] for sentence in words]
        tags[0][0], tags[1][0] = "O", "B-P"
        data = TASK.read([{"tokens": row, "tags": other} for row, other in zip(words, tags, strict=True)])
        examples, predictions, config = answer(data, tags, max_length := int(draw.integers(8, 30)))
        assert predictions.columns["prediction"] == tags and max(examples.lengths) <= max_length and not examples.truncated
        assert sum(label != -100 for row in examples.columns["labels"] for label in row) == sum(map(len, words))
        assert predictions.losses is not None and max(predictions.losses) < 0.01
        assert set(TASK.evaluate(data, predictions, config).metrics.values()) == {1.0}


def test_a_word_longer_than_a_window_is_cut() -> None:
    data = TASK.read([{"tokens": ["a", word, "b"], "tags": ["O", "B-P", "O"]} for word in ("ababa", "abab")])
    examples, predictions, _ = answer(data, data.tags or [], 6)
    assert examples.truncated == [0] and predictions.columns["prediction"] == data.tags
    with pytest.raises(ConfigError, match="max_length 2 is too short"):
        answer(data, data.tags or [], 2)


@pytest.mark.parametrize(
    ("sizes", "room", "overlap", "expected"),
    [
        ([1] * 4, 4, 2, [(0, 4)]),
        ([1] * 6, 4, 2, [(0, 4), (2, 6)]),
        ([1] * 5, 4, 0, [(0, 4), (4, 5)]),
        ([2, 2, 2, 2], 5, 2, [(0, 2), (1, 3), (2, 4)]),
        ([2, 2, 3, 2], 4, 2, [(0, 2), (2, 3), (3, 4)]),  # the next word does not fit beside one of those before
        ([1, 9, 1], 4, 2, [(0, 1), (1, 2), (2, 3)]),
    ],
)
def test_windows(sizes: list[int], room: int, overlap: int, expected: list[tuple[int, int]]) -> None:
    assert windows(sizes, room, overlap) == expected


def test_the_window_with_the_most_context() -> None:
    assert shares([1] * 6, [(0, 4), (2, 6)]) == [[0, 1, 2], [3, 4, 5]]
    assert shares([1] * 7, [(0, 5), (2, 7)]) == [[0, 1, 2, 3], [4, 5, 6]]  # the first of equals
    assert shares([1] * 5, [(0, 4), (2, 5)]) == [[0, 1, 2], [3, 4]]


def test_predictions_and_results(tmp_path: Path) -> None:
    data = read(tmp_path, "# a\n\n" + CONLL.replace("abab", "été"), encoding="cp1252")
    _, predictions, config = answer(data, [["B-P", "O", "O"], ["B-P"]])
    scores = TASK.evaluate(data, predictions, config)
    assert scores.metrics["F1"] == 0 and scores.metrics["accuracy"] == 0.5 and [*scores.metrics] == [*TASK.titles(config)]
    assert str(predictions.columns["prediction"][0]) == "B-P O O" and predictions.losses and min(predictions.losses) > 3
    assert predictions.details["entities"][0] == [{"type": "P", "text": "a", "start": 0, "end": 1}]
    columns = {**data.kept(), **TASK.labels(data), **predictions.columns, **predictions.details}
    texts = {}
    for suffix in ("conll", "csv", "tsv", "jsonl"):
        TASK.write(path := tmp_path / f"out.{suffix}", data, columns)
        texts[suffix] = path.read_text("cp1252")
    assert texts["conll"] == "# a\n\n-DOCSTART- -X- O\n\na X B-P B-P\nb X I-P O\n. X O O\n\nété X O B-P\n"
    assert texts["csv"].splitlines()[::4] == ["sentence number,words,column 2,label,prediction,probability", "2,été,X,O,B-P,0.9998"]
    assert texts["tsv"].splitlines()[4] == "2\tété\tX\tO\tB-P\t0.9998"
    assert json.loads(texts["jsonl"].splitlines()[1]) == {
        "words": ["été"],
        "column 2": ["X"],
        "label": ["O"],
        "prediction": ["B-P"],
        "probability": [0.9998],
        "entities": [{"type": "P", "text": "été", "start": 0, "end": 1}],
    }
    with pytest.raises(DataError, match="has no column 'text'"):  # the numbers of sentences are not taken for texts
        new_setup(guess(tmp_path / "out.csv", Columns(), "cp1252")[0]).read(tmp_path / "out.csv", "cp1252")
    back = TASK.read(tmp_path / "out.conll", Columns(label="4"), "cp1252")
    assert back.words == data.words and back.tags == predictions.columns["prediction"]
    TASK.write(tmp_path / "one.conll", data.take([1]), {name: column[1:] for name, column in columns.items()})
    assert (tmp_path / "one.conll").read_text("cp1252") == "\nété X O B-P\n"
    data = read(tmp_path, "a O\n\nb O\n").take([1, 0])
    TASK.write(tmp_path / "two.conll", data, {"prediction": data.tags or []})
    assert (tmp_path / "two.conll").read_text() == "\nb O O\n\na O O\n"


def test_results_of_records(tmp_path: Path) -> None:
    data = TASK.read([{"tokens": ["New York", "b"], "tags": ["B-P", "O"], "id": 7}])
    _, predictions, _ = answer(data, [["O", "O"]])
    columns = {**data.kept(), **TASK.labels(data), **predictions.columns}
    TASK.write(tmp_path / "a.conll", data, columns)
    assert (tmp_path / "a.conll").read_text() == "New York\tB-P\tO\nb\tO\tO\n"
    TASK.write(tmp_path / "a.csv", data, columns)
    assert (tmp_path / "a.csv").read_text() == "sentence number,tokens,tags,id,prediction\n1,New York,B-P,7,O\n1,b,O,7,O\n"
    broken = TASK.read([{"tokens": ["a\tb"], "tags": ["O"]}])
    with pytest.raises(DataError, match=r"cannot hold 'a\\tb'"):
        TASK.write(tmp_path / "a.conll", broken, {"prediction": [["O"]]})


def test_iobes_is_strict_and_other_tags_are_classes(tmp_path: Path) -> None:
    data = read(tmp_path, "a B-P\nb E-P\n\na S-P\n")
    _, predictions, config = answer(data, [["B-P", "B-P"], ["S-P"]])
    assert TASK.evaluate(data, predictions, config).metrics["precision"] == 1.0  # lenient, it would be 1 of 3
    data = read(tmp_path, "a DET\nb NOUN\n. DET\n")
    _, predictions, config = answer(data, [["DET", "NOUN", "NOUN"]])
    scores = TASK.evaluate(data, predictions, config)
    assert scores.metrics["accuracy"] == 2 / 3 and next(iter(scores.metrics)) == TASK.titles(config)[0] == "accuracy"
    assert "entities" not in predictions.details


def test_unknown_tags_and_broken_outputs(tmp_path: Path) -> None:
    data = read(tmp_path, CONLL)
    config = MobileBertConfig(id2label={0: "B-P", 1: "O"})
    with pytest.raises(DataError, match=re.escape("unseen in training, 'I-P'; the model has 'B-P', 'O'; in line 4")):
        TASK.make_examples(data, TOKENIZER, config, Lengths())
    with pytest.raises(DataError, match="all rows have 'O'"):
        TASK.settings(read(tmp_path, "a O\n"), None)
    texts = TASK.from_texts(["a b", "c"])
    examples = TASK.make_examples(texts, TOKENIZER, config, Lengths())
    with pytest.raises(DataError, match="not finite for 1 sentences, the first is number 2"):
        TASK.predict(texts, examples, [{"logits": np.array([[[0.0, 1]] * 4, [[np.nan, 1]] * 4])}], config, Lengths())


def test_all_tags_of_a_source_are_known_to_its_parts(tmp_path: Path) -> None:
    data = read(tmp_path, "".join(f"a B-{number}\n\n" for number in range(20)))
    part, other = TASK.split(data, 0.5, 0)
    assert len(TASK.settings(part, None)["id2label"]) == 20 and len(part) == len(other) == 10
    stored = MobileBertConfig(id2label=dict(enumerate(reversed(data.names))))
    assert TASK.settings(part, stored) == {"id2label": stored.id2label}


def test_texts_and_memory(tmp_path: Path) -> None:
    assert split_words(" It's in \u0905\u0938\u092e\u093f\u092f\u093e (#x), ") == ["It", "'", "s", "in", "असमिया", "(", "#", "x", ")", ","]
    found = entities(["a", "b", "c"], ["I-P", "B-P", "I-L"])
    assert [tuple(entity.values()) for entity in found] == [("P", "a", 0, 1), ("P", "b", 1, 2), ("L", "c", 2, 3)]
    data = read(tmp_path, CONLL)
    setup = new_setup("tokens").with_columns(data.columns)
    config = MobileBertConfig.from_dict({**MobileBertConfig(architectures=[TASK.architecture]).to_dict(), **setup.settings()})
    remembered = setup_of(config)
    assert (remembered.task.name, remembered.columns, remembered.lengths) == ("tokens", data.columns, Tokens.lengths)
    for source in ([{"tokens": ["a"], "tags": ["O"]}], tmp_path / "a.conll"):  # remembered numbers do not bind rows
        assert remembered.read(source).words[0][0] == "a"
    assert remembered.read([{"tokens": ["a"]}], labelled=False).tags is None


def test_wnut(data: Path) -> None:
    tokenizer = MobileBertTokenizerFast(data / "vocab.txt")
    found = TASK.read(data / "wnut17" / "emerging.dev.conll")
    assert len(found) == 1009 and sum(map(len, found.words)) == 15733 and len(found.names) == 13
    assert len(TASK.read(data / "wnut17" / "emerging.test.annotated")) == 1287
    config = MobileBertConfig(**TASK.settings(found, None))
    examples = TASK.make_examples(found, tokenizer, config, Lengths(max_length=32, stride=16))
    outputs = [{"logits": np.eye(13)[np.maximum(batch["labels"], 0)]} for batch in examples.ordered(64)]
    predictions = TASK.predict(found, examples, outputs, config, Lengths())
    assert predictions.columns["prediction"] == found.tags and len(examples) > 1009
    assert TASK.evaluate(found, predictions, config).metrics["F1"] == 1.0
