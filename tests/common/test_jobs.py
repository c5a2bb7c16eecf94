"""Training, evaluation and prediction with a twin that only notes what it is asked for: no framework is needed to get them right."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mobilebert_common.checkpoints import checkpoint
from mobilebert_common.errors import CheckpointError, ConfigError, DataError
from mobilebert_common.files.folder import save_files
from mobilebert_common.model.config import MobileBertConfig
from mobilebert_common.tasks.tables import Table
from mobilebert_common.tasks.task import Setup, new_setup
from mobilebert_common.tokenization import MobileBertTokenizerFast
from mobilebert_common.training import jobs
from support.configs import CLASSIFIER, make_config, random_weights

TOKENS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "good", "bad", "fine"]
LABELS = {0: "no", 1: "yes"}
SETUP = new_setup("classification")


class Model:
    """What a model has for jobs."""

    architecture = CLASSIFIER

    def __init__(self, config: MobileBertConfig) -> None:
        self.config = config


class Twin:
    """A twin whose models say "yes" where a text has the token "good"."""

    def __init__(self) -> None:
        self.calls: list[tuple[Any, ...]] = []

    def create(self, config: MobileBertConfig, architecture: str, seed: int) -> Model:
        self.calls.append(("create", architecture, seed))
        return Model(config)

    def load(self, directory: str | Path, architecture: str, dtype: str = "float32", **overrides: Any) -> Model:
        self.calls.append(("load", architecture, overrides))
        return Model(MobileBertConfig.from_pretrained(directory, **overrides))

    def infer(self, model: Model, batches: Any) -> Any:
        for batch in batches:
            assert set(batch) == {"input_ids", "attention_mask", "token_type_ids"}
            self.calls.append(("infer", batch["input_ids"].shape))
            is_good = (batch["input_ids"] == TOKENS.index("good")).any(axis=1)
            yield {"logits": np.where(is_good[:, None], [0.0, 2.0], [3.0, 0.0])}

    def tensors(self, model: Model) -> dict[str, np.ndarray]:
        return random_weights(model.config, CLASSIFIER)

    def set_tensors(self, model: Model, tensors: dict[str, np.ndarray]) -> None:
        self.calls.append(("set_tensors", tensors))


def of_length(begin: jobs.Start, length: int) -> jobs.Start:
    return replace(begin, setup=begin.setup.with_lengths(max_length=length))


@pytest.fixture
def twin() -> Any:
    return Twin()


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    """A checkpoint directory of a classifier that knows its labels as no, yes."""
    config = make_config(vocab_size=len(TOKENS), id2label=LABELS, num_labels=2)
    checkpoint.save(tmp_path / "saved", config, CLASSIFIER, random_weights(config, CLASSIFIER))
    MobileBertTokenizerFast(vocab=TOKENS, model_max_length=6).save_pretrained(tmp_path / "saved")
    return tmp_path / "saved"


def table(*rows: tuple[str, str]) -> Table:
    return Table(Path("some.csv"), [text for text, _ in rows], None, [label for _, label in rows])


DATA = table(("good good", "yes"), ("bad", "no"), ("a fine good day", "yes"))


def test_a_fresh_model_learns_its_vocabulary(twin: Any) -> None:
    begin = jobs.start(SETUP, "mobilebert-tiny", DATA, vocabulary_size=40)
    assert begin.fresh and begin.config.id2label == LABELS
    assert 5 < len(begin.tokenizer) == begin.config.vocab_size <= 40 and begin.tokenizer.tokenize("good") == ["good"]
    model = begin.make(twin, 9)
    assert model.config == begin.config and twin.calls == [("create", CLASSIFIER, 9)]


def test_a_fresh_model_takes_a_vocabulary(tmp_path: Path) -> None:
    (tmp_path / "vocab.txt").write_text("\n".join(TOKENS) + "\n")
    begin = jobs.start(SETUP, "mobilebert-tiny", DATA, tmp_path / "vocab.txt")
    assert list(begin.tokenizer.get_vocab()) == TOKENS and begin.config.vocab_size == len(TOKENS)


def test_texts_without_a_vocabulary_in_them() -> None:
    with pytest.raises(ConfigError, match=r"^cannot learn a vocabulary from these texts: .*; pass a --vocabulary file$"):
        jobs.start(SETUP, "mobilebert-tiny", DATA, vocabulary_size=5)


def test_a_checkpoint_keeps_the_order_of_labels_it_knows(twin: Any, saved: Path) -> None:
    begin = jobs.start(SETUP, str(saved), table(("good", "yes"), ("bad", "no")))
    assert not begin.fresh and begin.config.id2label == LABELS and begin.config.hidden_size == 32 and not begin.notice
    assert list(begin.tokenizer.get_vocab()) == TOKENS
    assert begin.make(twin, 9).config.id2label == LABELS
    assert twin.calls == [("load", CLASSIFIER, {"id2label": LABELS})]


# what the checkpoint has, the labels of the data, and what is said of it; without a notice, the head is kept
HEADS: dict[str, tuple[dict[str, Any], list[str], str]] = {
    "numbers for labels without names": ({"num_labels": 3}, ["2", "0", "1"], ""),
    "another spelling": ({"id2label": {0: "1", 1: "0"}}, ["1.0", "0.0"], ""),
    "another name": ({"id2label": LABELS}, ["yes", "maybe"], "has the labels no, yes, not maybe, yes"),
    "one more": ({"id2label": LABELS}, ["yes", "no", "maybe"], "has the labels no, yes, not maybe, no, yes"),
    "one less": ({"id2label": {0: "no", 1: "maybe", 2: "yes"}}, ["yes", "no"], "has the labels no, maybe, yes, not no, yes"),
    "numbers from one": ({"num_labels": 2}, ["1", "2"], "has the labels LABEL_0, LABEL_1, not 1, 2"),
    "fewer numbers": ({"num_labels": 3}, ["0", "1"], "has the labels LABEL_0, LABEL_1, LABEL_2, not 0, 1"),
    "regression": ({"num_labels": 1}, ["yes", "no"], "has the labels LABEL_0, not no, yes"),
    "regression by its type": (
        {"id2label": LABELS, "problem_type": "regression"},
        ["yes", "no"],
        "has the problem_type regression, not single_label_classification",
    ),
    "several labels": (
        {"id2label": LABELS, "problem_type": "multi_label_classification"},
        ["yes", "no"],
        "has the problem_type multi_label_classification, not single_label_classification",
    ),
}


@pytest.mark.parametrize("name", HEADS)
def test_other_labels_get_a_new_head(twin: Any, tmp_path: Path, name: str) -> None:
    stored, labels, notice = HEADS[name]
    config = make_config(**{"vocab_size": len(TOKENS), "num_labels": len(stored.get("id2label", LABELS)), **stored})
    weights = random_weights(config, CLASSIFIER)
    checkpoint.save(tmp_path, config, CLASSIFIER, weights)
    MobileBertTokenizerFast(vocab=TOKENS).save_pretrained(tmp_path)
    data = table(*(("good", label) for label in labels))
    begin = jobs.start(SETUP, str(tmp_path), data)
    assert begin.notice == (f"{tmp_path} {notice}: its encoder is trained further, with a new head" if notice else "")
    assert sorted(of_length(begin, 8).examples(data).columns["labels"]) == list(range(begin.config.num_labels))
    assert begin.make(twin, 9).config == begin.config
    if not notice:
        assert begin.config.id2label == config.id2label and [call[0] for call in twin.calls] == ["load"]
        return
    assert begin.config.problem_type in (None, "single_label_classification")
    assert twin.calls[0] == ("create", CLASSIFIER, 9) and twin.calls[1][0] == "set_tensors"
    names = {name for name in weights if not name.startswith("classifier.")}
    assert set(twin.calls[1][1]) == names
    assert all(np.array_equal(array, weights[name].astype(np.float32)) for name, array in twin.calls[1][1].items())


def test_another_model_gets_a_new_head(twin: Any, tmp_path: Path) -> None:
    config, head = make_config(vocab_size=len(TOKENS)), "MobileBertForMaskedLM"
    checkpoint.save(tmp_path, config, head, random_weights(config, head))
    MobileBertTokenizerFast(vocab=TOKENS).save_pretrained(tmp_path)
    begin = jobs.start(SETUP, str(tmp_path), DATA)
    assert begin.notice == f"{tmp_path} holds {head}, not a {CLASSIFIER}: its encoder is trained further, with a new head"
    assert begin.make(twin, 9).config.id2label == LABELS
    assert set(twin.calls[1][1]) < set(random_weights(begin.config, CLASSIFIER)) and "classifier.weight" not in twin.calls[1][1]


def test_what_training_cannot_start_from(saved: Path) -> None:
    with pytest.raises(ConfigError, match="--vocabulary is for fresh models only"):
        jobs.start(SETUP, str(saved), DATA, saved / "vocab.txt")
    with pytest.raises(ConfigError, match=r"^'absent' is neither a checkpoint directory nor in the zoo \(.*\) nor owner/name on the hub$"):
        jobs.start(SETUP, "absent", DATA)
    with pytest.raises(ConfigError, match=r"^'absent' is neither a checkpoint directory nor owner/name on the hub$"):
        jobs.setup_at("absent")


def test_examples_are_not_longer_than_the_model(saved: Path) -> None:
    begin = jobs.start(SETUP, str(saved), DATA)
    assert of_length(begin, 12).examples(DATA).lengths == [4, 3, 6] and of_length(begin, 4).examples(DATA).lengths == [4, 3, 4]
    with pytest.raises(ConfigError, match="max_length 13 is more than the model's 12 positions"):
        of_length(begin, 13).examples(DATA)


def test_weights_that_are_no_numbers_are_not_saved(twin: Any, saved: Path, tmp_path: Path) -> None:
    begin = of_length(jobs.start(SETUP, str(saved), DATA), 4)
    model = begin.make(twin, 0)
    weights = twin.tensors(model)
    weights["classifier.bias"][0] = np.inf
    twin.tensors = lambda model: weights
    with pytest.raises(ConfigError, match="1 tensors are NaN or infinite, so nothing was saved"):
        jobs.contents(begin, model, twin.tensors(model))


@pytest.mark.parametrize("model", ["mobilebert-tiny", "checkpoint"])
def test_labels_that_no_config_can_hold(saved: Path, tmp_path: Path, model: str) -> None:
    (tmp_path / "vocab.txt").write_text("\n".join(TOKENS) + "\n")
    where = (str(saved), None) if model == "checkpoint" else (model, tmp_path / "vocab.txt")
    with pytest.raises(DataError, match=r"^some\.csv: its labels take more than the 1,048,576 bytes"):
        jobs.start(SETUP, where[0], table(("good", "x" * 600_000), ("bad", "y")), where[1])


def test_texts_longer_than_the_model_are_cut(twin: Any, saved: Path) -> None:
    opened = jobs.Opened.open(twin, saved)
    opened.tokenizer.model_max_length = 10**30
    assert opened.examples(table(("good " * 50, "yes"))).lengths == [12]


def test_what_is_saved_opens_and_predicts(twin: Any, saved: Path, tmp_path: Path) -> None:
    begin = of_length(jobs.start(SETUP, str(saved), DATA), 4)
    model = begin.make(twin, 0)
    save_files(tmp_path / "again", jobs.contents(begin, model, twin.tensors(model)))
    twin.calls.clear()
    opened = jobs.Opened.open(twin, tmp_path / "again")
    assert opened.setup == Setup(SETUP.task, DATA.columns, replace(SETUP.lengths, max_length=4), None, remembered=True)
    assert opened.twin is twin and opened.tokenizer.model_max_length == 4
    assert twin.calls == [("load", CLASSIFIER, {})]
    assert opened.predict(DATA).columns["prediction"] == ["yes", "no", "no"]  # the third text is cut before "good"
    scores, predictions = opened.evaluate(DATA)
    assert predictions.columns["prediction"] == ["yes", "no", "no"]
    assert scores.metrics["accuracy"] == pytest.approx(2 / 3) and next(iter(scores.metrics)) == "accuracy"
    chosen = replace(opened, setup=replace(opened.setup, metric="MCC")).evaluate(DATA)[0]
    assert next(iter(chosen.metrics)) == "MCC" and chosen.metrics == scores.metrics
    twin.calls.clear()
    assert len(opened.predict(table(*[("good", "yes")] * 130)).columns["prediction"]) == 130
    assert [call[1] for call in twin.calls] == [(64, 3), (64, 3), (2, 3)]


def test_a_checkpoint_of_another_head(twin: Any, tmp_path: Path) -> None:
    config = make_config()
    checkpoint.save(tmp_path, config, "MobileBertModel", random_weights(config, "MobileBertModel"))
    for call in (lambda: jobs.setup_at(tmp_path), lambda: jobs.Opened.open(twin, tmp_path)):
        with pytest.raises(CheckpointError, match=f"holds MobileBertModel, not a {CLASSIFIER}"):
            call()
    assert not twin.calls


class Given(Model):
    """A model that is there already."""


def test_a_model_that_is_there_already(twin: Any, saved: Path) -> None:
    config, tokenizer = MobileBertConfig.from_pretrained(saved, num_labels=2), MobileBertTokenizerFast.from_pretrained(saved)
    model = Given(config)
    begin = jobs.start_with(SETUP, model, tokenizer, DATA)
    assert begin.make(twin, 0) is model and model.config.id2label == LABELS and begin.tokenizer is tokenizer
    three = table(("good", "a"), ("bad", "b"), ("fine", "c"))
    with pytest.raises(ConfigError, match="the model has 2 labels, the data have 3: a, b, c"):
        jobs.start_with(SETUP, model, tokenizer, three)
    with pytest.raises(ConfigError, match="needs its tokenizer="):
        jobs.start_with(SETUP, model, None, DATA)
    model.architecture = "MobileBertForMaskedLM"
    with pytest.raises(ConfigError, match=f"a Given cannot be trained for classification, which needs a {CLASSIFIER}"):
        jobs.start_with(SETUP, model, tokenizer, DATA)
