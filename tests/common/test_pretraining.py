"""Pre-training on plain text: what a document is, how rows are made of documents, which words are masked, and what is predicted."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mobilebert_common.checkpoints import checkpoint
from mobilebert_common.errors import ConfigError, DataError
from mobilebert_common.model.config import MobileBertConfig
from mobilebert_common.tasks.base import Lengths
from mobilebert_common.tasks.documents import Documents, read_documents, split_sentences, tokenize
from mobilebert_common.tasks.masking import IGNORE_INDEX, MaskedExamples, Masking
from mobilebert_common.tasks.pretraining import NSP, MaskedWords, Pretraining
from mobilebert_common.tasks.tables import Columns
from mobilebert_common.tasks.task import new_setup
from mobilebert_common.tokenization import MobileBertTokenizerFast
from mobilebert_common.training import jobs
from mobilebert_common.training.preparation import Options, prepare
from mobilebert_common.training.summary import worst
from support.configs import make_config, random_weights

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
PAD, UNK, CLS, SEP, MASK = range(5)
WORDS = [f"w{number}" for number in range(300)]
TOKENIZER = MobileBertTokenizerFast(vocab=[*SPECIAL, *WORDS, "##a", "##b"])
CONTINUING = {len(SPECIAL) + len(WORDS), len(SPECIAL) + len(WORDS) + 1}
TASKS = [Pretraining(), MaskedWords()]
CONFIG = MobileBertConfig()


def document(number: int, sentences: int = 30) -> list[str]:
    """Sentences of 4 to 15 words that only this document has; every third word has two more pieces."""
    generator = np.random.default_rng(number)
    words = WORDS[number * 10 : number * 10 + 10]
    return [
        " ".join(word + "ab" * (place % 3 == 2) for place, word in enumerate(generator.choice(words, generator.integers(4, 16))))
        for _ in range(sentences)
    ]


def corpus(count: int = 30, sentences: int = 30) -> Documents:
    return Documents(Path("corpus.txt"), [document(number, sentences) for number in range(count)], ["here"] * count, Columns())


CORPUS = corpus()


def make(task: MaskedWords, data: Documents = CORPUS, **lengths: Any) -> MaskedExamples:
    found = task.make_examples(data, TOKENIZER, CONFIG, Lengths(**{"max_length": 64, "dupes": 3, "seed": 1, **lengths}))
    assert isinstance(found, MaskedExamples)
    return found


def documents_of(ids: np.ndarray) -> set[int]:
    """The documents that some tokens are from."""
    return {(int(token) - len(SPECIAL)) // 10 for token in ids if len(SPECIAL) <= token < len(SPECIAL) + len(WORDS)}


# what a document is


def read(folder: Path, text: str, **columns: Any) -> list[list[str]]:
    (folder / "text.txt").write_text(text, "utf-8")
    return read_documents(folder / "text.txt", Columns(**columns), "utf-8-sig").sentences


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("One. Two.\nThree.\n\nFour.\n", [["One. Two.", "Three."], ["Four."]]),  # BERT's format
        ("One.\r\n  Two. \r\n \t\r\n\r\nThree.", [["One.", "Two."], ["Three."]]),
        ("\n\nOne. Two!\n\nThree?\n", [["One.", "Two!", "Three?"]]),  # a paragraph a line
        ("\ufeffOnly one line. Two sentences.", [["Only one line.", "Two sentences."]]),
    ],
)
def test_blank_lines(tmp_path: Path, text: str, expected: list[list[str]]) -> None:
    assert read(tmp_path, text) == expected


def test_division_is_an_option(tmp_path: Path) -> None:
    text = "One. Two.\nThree.\n\nFour.\n"
    assert read(tmp_path, text, documents="file") == [["One.", "Two.", "Three.", "Four."]]
    assert read(tmp_path, "One. Two.\n\nThree.", documents="blank") == [["One. Two."], ["Three."]]
    with pytest.raises(ConfigError, match="documents must be blank or file, not 'line'"):
        read(tmp_path, text, documents="line")


def test_sentences() -> None:
    found = split_sentences('It costs 3.5 dollars, or more... "Really?" he said. Yes! (So it is.) 对。不对！End')
    assert found == ["It costs 3.5 dollars, or more...", '"Really?"', "he said.", "Yes!", "(So it is.)", "对。", "不对！", "End"]


def test_files_and_folders(tmp_path: Path) -> None:
    for name, text in (("b.txt", "Bee.\n\nBee two."), ("a.txt", "A.\nAye.\n\nAh."), ("c.md", "no")):
        (tmp_path / name).write_text(text)
    (tmp_path / "d.jsonl").write_text('{"text": "Dee. Dee two.\\nThree."}\n{"text": " "}\n{"text": "Four."}\n')
    folder = new_setup("pretraining").read(tmp_path)
    assert folder.sentences == [["A.", "Aye."], ["Ah."], ["Bee.", "Bee two."]]
    assert (folder.path, folder.kept()["document"]) == (tmp_path, ["a.txt line 1", "a.txt line 4", "b.txt line 1"])
    several = new_setup("masked-lm").read([tmp_path / "b.txt", str(tmp_path / "d.jsonl")])
    assert several.sentences == [["Bee.", "Bee two."], ["Dee.", "Dee two.", "Three."], ["Four."]]
    assert several.places == ["b.txt line 1", "d.jsonl line 1", "d.jsonl line 3"]


def test_data_in_memory() -> None:
    rows = [{"body": "One. Two."}, {"body": "Three."}]
    assert new_setup("pretraining").with_columns(Columns(text="body")).read(rows).sentences == [["One.", "Two."], ["Three."]]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "text.txt: is empty"),
        (b"\n \n", "text.txt: has no text"),
        ("One.\nTwo.\nd\u00e9j\u00e0 vu\n".encode("cp1252"), "text.txt: line 3 is not utf-8"),
    ],
)
def test_unusable_files(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "text.txt").write_bytes(content)
    for source in (tmp_path / "text.txt", tmp_path, [tmp_path / "text.txt"]):
        with pytest.raises(DataError, match=message):
            new_setup("pretraining").read(source)


def test_other_unusable_data(tmp_path: Path) -> None:
    (tmp_path / "a.conll").write_text("a O")
    for source, message in (
        (tmp_path / "none.txt", "none.txt: cannot be read: No such file"),
        (tmp_path / "none", "none: cannot be read: No such file"),
        (tmp_path, "has no .txt files"),
        (tmp_path / "a.conll", r"a\.conll: must end in \.txt, \.csv"),
        ([], "no files"),
        ([{"text": ""}, {"text": None}], "column 'text' has no text"),
        ([{"text": "\ud800"}], "lone surrogate.* in row 1"),
        ([{"body": "One."}], "has no column 'text'; its columns are 'body'"),
    ):
        with pytest.raises(DataError, match=message):
            new_setup("pretraining").read(source)
    with pytest.raises(DataError, match="no usable text: pretraining needs two sentences"):
        make(Pretraining(), Documents(Path("x.txt"), [["w1"]], ["here"], Columns()))


def test_encoding(tmp_path: Path) -> None:
    (tmp_path / "text.txt").write_text("d\u00e9j\u00e0 vu", "cp1252")
    found = new_setup("pretraining").read(tmp_path / "text.txt", "cp1252")
    assert (found.sentences, found.encoding) == ([["d\u00e9j\u00e0 vu"]], "cp1252")


def test_split_keeps_documents_apart() -> None:
    training, held_out = Pretraining().split(CORPUS, 0.2, 5)
    assert (len(training), len(held_out)) == (24, 6)
    assert sorted(training.sentences + held_out.sentences) == sorted(CORPUS.sentences)
    assert Pretraining().split(CORPUS, 0.2, 5)[1] == held_out != Pretraining().split(CORPUS, 0.2, 6)[1]


def test_split_of_few_documents() -> None:
    assert [len(part) for part in Pretraining().split(corpus(3), 0.1, 0)] == [2, 1]
    training, held_out = Pretraining().split(corpus(1), 0.1, 0)
    assert training.sentences[0] + held_out.sentences[0] == document(0) and len(held_out.sentences[0]) == 3
    with pytest.raises(DataError, match="one sentence cannot be split"):
        Pretraining().split(corpus(1, sentences=1), 0.1, 0)


# rows


def test_tokens_are_those_of_the_tokenizer() -> None:
    tokens = tokenize([["w1 w2ab", "", "w3"], ["[MASK] w4"]], TOKENIZER, 2)
    expected = TOKENIZER("w1 w2ab w3 [MASK] w4", add_special_tokens=False, split_special_tokens=True)["input_ids"]
    assert tokens.ids.tolist() == expected
    assert MASK not in tokens.ids
    assert tokens.sentences == [0, 2, 4, 5, 7, 9] and tokens.documents == [0, 3, 5]  # the long ones in pieces


def test_pairs() -> None:
    examples = make(Pretraining(), dupes=6)
    begin_a, end_a, begin_b, end_b = examples.spans.T
    assert (end_a > begin_a).all() and (end_b > begin_b).all()
    assert max(examples.lengths) == 64 and 55 < np.mean(examples.lengths) < 64
    assert examples.follows is not None and 0.5 < examples.follows.mean() < 0.58  # always, where one sentence is left
    for row, (is_random, source) in enumerate(zip(examples.follows, examples.sources, strict=True)):
        ids, first = examples.row(row)
        assert len(ids) == examples.lengths[row]
        assert [place for place, token in enumerate(ids) if token < len(SPECIAL)] == [0, first - 1, len(ids) - 1]
        assert documents_of(ids[:first]) <= {source}
        other = documents_of(ids[first:])
        assert not other or (len(other) == 1 and (source not in other) == is_random)  # a segment may be ##a alone
    follows = examples.follows == 0
    assert (begin_b[follows] >= end_a[follows]).all()


def test_sentences_that_a_random_one_replaced_come_next() -> None:
    words = Documents(Path("x.txt"), [["w1"] * 200, ["w11"] * 200], ["", ""], Columns())  # too short for anything to be cut
    examples = make(Pretraining(), words, max_length=23, dupes=1)
    begin_a, end_a, _, end_b = examples.spans.T
    assert examples.follows is not None
    ends = np.where(examples.follows, end_a, end_b)
    for source in (0, 1):
        rows = np.flatnonzero(np.array(examples.sources) == source)
        assert begin_a[rows].tolist() == [200 * source, *ends[rows][:-1]] and ends[rows][-1] == 200 * (source + 1)


def test_truncation_takes_from_both_ends_of_the_longer_segment() -> None:
    long = Documents(Path("x.txt"), [[" ".join(["w1"] * 20)] * 40, [" ".join(["w11"] * 20)] * 40], ["", ""], Columns())
    examples = make(Pretraining(), long, max_length=33, dupes=20)
    begin_a, end_a, begin_b, end_b = examples.spans.T
    full = end_a - begin_a + end_b - begin_b == 30
    assert full.mean() > 0.8 and set((end_a - begin_a)[full]) == {15}
    assert abs((begin_a % 20)[full].mean() - 2.5) < 0.3  # half of the five that are cut


def test_short_rows() -> None:
    lengths = np.array(make(Pretraining(), dupes=30).lengths)
    assert 0.1 < (lengths < 50).mean() < 0.4  # more than 0.1, because short rows are many


def test_one_document() -> None:
    examples = make(Pretraining(), corpus(1), dupes=50)
    assert examples.follows is not None and 0.4 < examples.follows.mean() < 0.6
    for row in np.flatnonzero(examples.follows):
        begin_a, end_a, begin_b, end_b = examples.spans[row]
        assert end_b <= begin_a or begin_b > end_a


def test_blocks_lose_nothing() -> None:
    examples = make(MaskedWords())
    whole = np.concatenate([examples.row(row)[0][1:-1] for row in range(len(examples))])
    assert whole.tolist() == tokenize(CORPUS.sentences, TOKENIZER, 62).ids.tolist()
    assert max(examples.lengths) == 64
    assert all(documents_of(examples.row(row)[0]) <= {examples.sources[row]} for row in range(len(examples)))


def test_evaluation_reads_each_document_once() -> None:
    examples = make(Pretraining())
    once = examples.without(("labels", "next_sentence_label"))
    assert len(once) == len(once.lengths) == examples.once < len(examples) / 2
    assert set(once.sources) == set(range(len(CORPUS)))
    assert set(once.batch([0])) == {"input_ids", "attention_mask", "token_type_ids", "masked_lm_positions"}


@pytest.mark.parametrize(("task", "least"), [(TASKS[0], 5), (TASKS[1], 3)])
def test_max_length(task: MaskedWords, least: int) -> None:
    assert max(make(task, max_length=least).lengths) == least
    with pytest.raises(ConfigError, match=f"max_length {least - 1} is too short"):
        make(task, max_length=least - 1)


# masks


@pytest.mark.parametrize("whole", [False, True])
def test_masks(whole: bool) -> None:
    masking = Masking.of(TOKENIZER, whole, 0)
    generator, counts, unseen = np.random.default_rng(0), np.zeros(3), 0
    chosen: list[int] = []
    for row in range(300):
        ids = make_row(row, generator)
        masked, places = masking.apply(ids, generator)
        wanted = min(20, max(1, round(0.15 * len(ids))))
        assert len(places) == wanted or (whole and wanted - 2 <= len(places) < wanted)
        assert (np.diff(places) > 0).all() and not np.isin(ids[places], range(5)).any()
        untouched = np.setdiff1d(np.arange(len(ids)), places)
        assert (masked[untouched] == ids[untouched]).all()
        counts += [(masked[places] == MASK).sum(), (masked[places] == ids[places]).sum(), len(places)]
        unseen += np.isin(masked[places], [PAD, UNK, CLS, SEP]).sum()
        chosen += (places / len(ids) * 4).astype(int).tolist()
        if whole:
            inside = {place for place, token in enumerate(ids.tolist()) if token in CONTINUING}
            assert all(place - 1 in places for place in inside.intersection(places.tolist()))
            assert all(place + 1 in places for place in places.tolist() if place + 1 in inside)
    assert abs(counts[0] / counts[2] - 0.8) < 0.03 and abs(counts[1] / counts[2] - 0.1) < 0.02 and not unseen
    assert np.bincount(chosen).min() > 0.2 * len(chosen)  # all over the row


def make_row(row: int, generator: np.random.Generator) -> np.ndarray:
    """A row of two segments, of 10 to 159 tokens; one of them is unknown."""
    sizes = [5 + row // 4, 5 + row // 4]
    segments = [[5 + row % 300, *generator.integers(5, 307, size - 1)] for size in sizes]
    segments[0][-1] = UNK
    return np.array([CLS, *segments[0], SEP, *segments[1], SEP])


def test_a_row_without_words_has_no_labels() -> None:
    data = Documents(Path("x.txt"), [["none of these is known"], ["nor these"]], ["", ""], Columns())
    batch = make(MaskedWords(), data).batch([0, 1])
    assert batch["labels"].tolist() == [[IGNORE_INDEX], [IGNORE_INDEX]] and batch["masked_lm_positions"].tolist() == [[0], [0]]


@pytest.mark.parametrize("task", TASKS, ids=lambda task: task.name)
def test_batches(task: MaskedWords) -> None:
    examples = make(task)
    rows = [0, len(examples) - 1, 5]
    batch = examples.batch(rows, np.random.default_rng(0))
    for place, row in enumerate(rows):
        ids, first = examples.row(row)
        size = len(ids)
        assert batch["attention_mask"][place].tolist() == [1] * size + [0] * (batch["input_ids"].shape[1] - size)
        assert batch["token_type_ids"][place].sum() == size - first and (batch["input_ids"][place, size:] == PAD).all()
        counted = batch["labels"][place] != IGNORE_INDEX
        positions = batch["masked_lm_positions"][place]
        assert (ids[positions[counted]] == batch["labels"][place][counted]).all() and not positions[~counted].any()
        restored = batch["input_ids"][place, :size].copy()
        restored[positions[counted]] = batch["labels"][place][counted]
        assert (restored == ids).all()
    assert ("next_sentence_label" in batch) == (task.name == "pretraining")


@pytest.mark.parametrize("task", TASKS, ids=lambda task: task.name)
def test_seeds(task: MaskedWords) -> None:
    one, same, other = make(task), make(task), make(task, seed=2)
    assert (one.spans == same.spans).all()
    assert task.name == "masked-lm" or one.spans.shape != other.spans.shape or (one.spans != other.spans).any()

    def batch(examples: MaskedExamples, generator: np.random.Generator | None) -> list[Any]:
        return [array.tolist() for array in examples.batch(range(8), generator).values()]

    assert batch(one, None) == batch(same, None) == batch(one, None)
    assert batch(one, None) != batch(other, None)
    drawn = [batch(one, np.random.default_rng(seed)) for seed in (3, 3, 4)]
    assert drawn[0] == drawn[1] != drawn[2] and drawn[0] != batch(one, None)
    # the masks of a row differ from those of others, and do not depend on the batch it is in
    assert len({tuple(row) for row in one.batch(range(8))["masked_lm_positions"].tolist()}) == 8
    row, pair = one.batch([7]), one.batch([6, 7])
    size = row["input_ids"].shape[1]
    assert (row["input_ids"][0] == pair["input_ids"][1, :size]).all()


# what is predicted


def outputs(examples: MaskedExamples, task: MaskedWords, share: float = 0.9) -> list[dict[str, np.ndarray]]:
    """The outputs of a model that gives the right word a probability, and says of the first half of each batch that B follows."""
    found = []
    for start in range(0, len(examples), 16):
        made = examples.masked(range(start, min(start + 16, len(examples))))
        others = (1 - share) / (len(TOKENIZER) - 1)
        labels = np.maximum(made["labels"], 0)
        probabilities = np.where(np.arange(len(TOKENIZER)) == labels[:, :, None], share, others)
        half = np.arange(len(labels)) < len(labels) // 2
        relation = np.where(half[:, None], [1.0, 0.0], [0.0, 1.0])
        found.append({task.scores: np.log(probabilities), "seq_relationship_logits": relation})
    return found


@pytest.mark.parametrize("task", TASKS, ids=lambda task: task.name)
def test_scores(task: MaskedWords) -> None:
    data = corpus(5)
    examples = make(task, data).without(("labels", "next_sentence_label"))
    predictions = task.predict(data, examples, outputs(examples, task), CONFIG, Lengths())
    scores = task.evaluate(data, predictions, CONFIG)
    assert scores.metrics["accuracy"] == 1 and math.isclose(scores.metrics["perplexity"], 1 / 0.9)
    assert [len(column) for column in predictions.columns.values()] == [5, 5, 5]
    assert predictions.losses is not None and np.allclose(predictions.losses, -math.log(0.9))
    made = examples.masked(range(len(examples)))
    masked = made["labels"][made["labels"] != IGNORE_INDEX]
    assert sum(predictions.columns["masked"]) == len(masked)
    assert {len(row["text"]) > 50 and row["label"] for row in worst(task, data, predictions)} == {None}
    assert math.isclose(scores.baseline["accuracy"], np.bincount(masked).max() / len(masked))
    assert next(iter(scores.metrics)) == task.titles(CONFIG)[0] and set(task.titles(CONFIG)) <= set(scores.metrics)
    if task.name == "pretraining":
        said = np.concatenate([output["seq_relationship_logits"].argmax(axis=-1) for output in outputs(examples, task)])
        assert math.isclose(scores.metrics[NSP], (said == made["next_sentence_label"]).mean())
        assert scores.baseline_name.endswith(", and one kind of pair")
        assert math.isclose(scores.baseline[NSP], np.bincount(made["next_sentence_label"]).max() / len(said))
    wrong = task.predict(data, examples, outputs(examples, task, 0.001), CONFIG, Lengths())
    assert task.evaluate(data, wrong, CONFIG).metrics["accuracy"] == 0


def test_outputs_must_be_finite() -> None:
    task, data = MaskedWords(), corpus(2)
    examples = make(task, data).without(("labels",))
    broken = outputs(examples, task)
    broken[0][task.scores][3, 0, 0] = math.nan
    with pytest.raises(DataError, match="outputs are not finite for text 1"):
        task.predict(data, examples, broken, CONFIG, Lengths())


@pytest.mark.parametrize("task", TASKS, ids=lambda task: task.name)
def test_fill(task: MaskedWords) -> None:
    data = task.from_texts(["w1 [MASK] w2", "[MASK] [MASK]"])
    examples = task.make_examples(data, TOKENIZER, CONFIG, Lengths())
    batch = examples.batch([0, 1])
    assert batch["masked_lm_positions"].tolist() == [[2, 0], [1, 2]]
    logits = np.zeros((2, 2, len(TOKENIZER)))
    logits[0, 0, 7], logits[0, 1, 8], logits[1, 0, 9], logits[1, 1, 10] = 9, 9, 9, 9
    found = task.predict(data, examples, [{task.scores: logits}], CONFIG, Lengths())
    share = math.exp(9) / (math.exp(9) + len(TOKENIZER) - 1)
    first, second = found.columns["prediction"]
    assert first.startswith(f"w2 {share:.4f}, ") and first.count(",") == 4 and " | " not in first
    assert [part.split()[0] for part in second.split(" | ")] == ["w4", "w5"]
    assert [len(mask) for mask in found.details["words"][1]] == [5, 5]
    assert found.details["probabilities"][0][0][0] == round(share, 4) and found.losses is None


def test_texts_without_a_mask(tmp_path: Path) -> None:
    task = MaskedWords()
    (tmp_path / "text.txt").write_text("a [MASK]\n\nnone\n")
    with pytest.raises(DataError, match=r"text.txt: text 2 has no \[MASK\] to predict: 'none'"):
        task.make_examples(task.read(tmp_path / "text.txt", labelled=False), TOKENIZER, CONFIG, Lengths())
    rows = task.read([{"text": "a [MASK]"}, {"text": "w1 " * 9 + "[MASK]"}], labelled=False)
    with pytest.raises(DataError, match=r"row 2 has a \[MASK\] beyond the first 8 tokens"):
        task.make_examples(rows, TOKENIZER, CONFIG, Lengths(max_length=8))


def test_a_checkpoint_remembers_how_words_are_masked() -> None:
    setup = new_setup("pretraining").with_lengths(whole_words=True, seed=0, dupes=2)
    assert setup.lengths == Lengths(whole_words=True, seed=0, dupes=2)


# training


def test_options_of_a_training(tmp_path: Path) -> None:
    for number in range(4):
        (tmp_path / f"{number}.txt").write_text("\n\n".join(document(number)), "utf-8")
    given = {"task": "pretraining", "model": "mobilebert-mini", "max_length": 40, "whole_words": True, "dupes": 2, "seed": 7}
    ready = prepare(Options(data=[tmp_path], vocabulary_size=500, validation_fraction=0.25, **given))
    assert ready.begin.setup.lengths == Lengths(max_length=40, whole_words=True, dupes=2, seed=7)
    assert (len(ready.training), len(ready.held_out)) == (3, 1) and isinstance(ready.examples, MaskedExamples)
    assert ready.examples.masking.whole_words and max(ready.examples.lengths) == 40
    batch = ready.held_examples.batch([0])
    assert "labels" not in batch and "next_sentence_label" not in batch
    halves = prepare(Options(data=tmp_path, documents="blank", **given))
    assert len(halves.training) + len(halves.held_out) == 4 * 30


def test_the_words_head_of_a_pretrained_checkpoint_is_kept(tmp_path: Path) -> None:
    config, head = make_config(vocab_size=len(TOKENIZER)), "MobileBertForPreTraining"
    checkpoint.save(tmp_path, config, head, random_weights(config, head))
    TOKENIZER.save_pretrained(tmp_path)
    start = {name: jobs.start(new_setup(name), str(tmp_path), CORPUS) for name in ("masked-lm", "pretraining")}
    assert not start["masked-lm"].notice and not start["pretraining"].notice
    checkpoint.save(tmp_path / "other", config, MaskedWords.architecture, random_weights(config, MaskedWords.architecture))
    TOKENIZER.save_pretrained(tmp_path / "other")
    assert "holds MobileBertForMaskedLM, not a MobileBertForPreTraining" in jobs.start(
        new_setup("pretraining"), str(tmp_path / "other"), CORPUS
    ).notice
