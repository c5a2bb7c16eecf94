"""Both tokenizers against those of transformers, over every text and every argument at hand.

transformers 4 has a tokenizer in Python ("slow") and one in Rust ("fast"); transformers 5 has the fast one only.
"""

import csv
import json
import random
import shutil
import unicodedata
import warnings
from collections import Counter
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from tokenizers import AddedToken

from mobilebert_common.tokenization import MobileBertTokenizer, MobileBertTokenizerFast
from mobilebert_common.tokenization.differences import SETTINGS, UNICODE, read_table

REPOSITORY = Path(__file__).resolve().parents[2]
OURS = (MobileBertTokenizer, MobileBertTokenizerFast)
HAS_SLOW = transformers.__version__.startswith("4.")
MATRIX = 4000  # random calls
# Both of ours agree on all these texts (tests/common/test_tokenization_data.py): one is compared with theirs on every text, the other
# on each so many. Beside 4.57, SST-2 is thinned out for both: each sentence of it is there many times over, as parts of it.
STRIDE = 8


@pytest.fixture(scope="module")
def vocabulary(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with vocab.txt alone, as transformers wants it."""
    folder = tmp_path_factory.mktemp("vocabulary")
    shutil.copy(data / "vocab.txt", folder)
    return folder


@pytest.fixture(scope="module")
def fast(vocabulary: Path) -> Any:
    return transformers.MobileBertTokenizerFast.from_pretrained(vocabulary, model_max_length=512)


@pytest.fixture(scope="module")
def slow(vocabulary: Path) -> Any:
    return transformers.MobileBertTokenizer.from_pretrained(vocabulary, model_max_length=512)


@pytest.fixture(scope="module", params=OURS, ids=lambda cls: cls.__name__)
def ours(request: pytest.FixtureRequest, vocabulary: Path) -> Any:
    return request.param.from_pretrained(vocabulary)


@pytest.fixture(scope="module")
def texts(data: Path) -> dict[str, list[str]]:
    """Every text of three corpora, by corpus."""
    sst2: list[str] = []
    for name in ("train", "dev"):
        with open(data / "sst2" / f"{name}.tsv", encoding="utf-8") as file:
            sst2 += [row["sentence"] for row in csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE)]
    articles = json.loads((data / "squad" / "xquad.en.json").read_text(encoding="utf-8"))["data"]
    paragraphs = [paragraph for article in articles for paragraph in article["paragraphs"]]
    squad = [qa["question"] for paragraph in paragraphs for qa in paragraph["qas"]]
    squad += [paragraph["context"] for paragraph in paragraphs]
    naughty = (data / "unicode" / "blns.txt").read_text(encoding="utf-8").split("\n")
    return {"sst2": sst2, "squad": squad, "naughty": naughty}


@pytest.mark.parametrize("corpus", ["sst2", "squad", "naughty"])
def test_corpora_equal_fast(ours: Any, fast: Any, texts: dict[str, list[str]], corpus: str) -> None:
    thin = corpus == "sst2" and (HAS_SLOW or isinstance(ours, MobileBertTokenizer))
    chosen = texts[corpus][:: STRIDE if thin else 1]
    assert len(chosen) > 500
    compare_texts(ours, fast, chosen)


@pytest.fixture(scope="module")
def differences() -> dict[int, str]:
    """What docs/tokenizers.md lists for this Python; a test of the common code sees to it that the list is true."""
    return read_table((REPOSITORY / "docs" / "tokenizers.md").read_text(encoding="utf-8"))[UNICODE]


@pytest.mark.parametrize("setting", SETTINGS)
def test_every_character_equals_fast(vocabulary: Path, differences: dict[int, str], setting: str) -> None:
    options = SETTINGS[setting]
    theirs = transformers.MobileBertTokenizerFast.from_pretrained(vocabulary, **options)
    rust = MobileBertTokenizerFast.from_pretrained(vocabulary, **options)
    python = MobileBertTokenizer.from_pretrained(vocabulary, **options)
    compare_texts(rust, theirs, in_texts(assigned_characters()))
    alike = [char for char in assigned_characters() if setting not in differences.get(ord(char), "")]
    if setting != "u":  # where accents are kept, only composed texts are alike
        alike = [char for char in alike if unicodedata.is_normalized("NFC", f"a{char}b")]
    compare_texts(python, theirs, in_texts(alike)[::STRIDE])


def test_calls_equal_fast(ours: Any, fast: Any, texts: dict[str, list[str]]) -> None:
    rng = random.Random(0)
    pool = rng.sample(texts["sst2"], 300) + rng.sample(texts["squad"], 200)
    pool += ["", " ", "a", "?!", "the [MASK] of [SEP] it", "x" * 101, "naïve café", "don't stop ."]
    outcomes = Counter[str]()
    for _ in range(MATRIX):
        sides = {"truncation_side": rng.choice(["right", "left"]), "padding_side": rng.choice(["right", "left"])}
        for tokenizer in (ours, fast):
            for name, value in sides.items():
                setattr(tokenizer, name, value)
        outcomes[assert_equal(ours, fast, *random_call(rng, pool))] += 1
    for tokenizer in (ours, fast):
        tokenizer.truncation_side = tokenizer.padding_side = "right"
    assert outcomes["equal"] > 0.7 * MATRIX
    assert outcomes["both raise"] > 0.01 * MATRIX


if HAS_SLOW:

    @pytest.mark.parametrize("corpus", ["sst2", "squad", "naughty"])
    def test_corpora_equal_slow(slow: Any, vocabulary: Path, texts: dict[str, list[str]], corpus: str) -> None:
        ours = MobileBertTokenizer.from_pretrained(vocabulary)
        known = [text for text in texts[corpus] if all(unicodedata.category(char) != "Cn" for char in text)]
        assert len(texts[corpus]) - len(known) == {"naughty": 1}.get(corpus, 0)  # U+FFFE, which the slow one drops
        assert ours(known, verbose=False)["input_ids"] == slow(known, verbose=False)["input_ids"]

    @pytest.mark.parametrize("setting", SETTINGS)
    def test_every_character_equals_slow(vocabulary: Path, setting: str) -> None:
        options = SETTINGS[setting]
        theirs = transformers.MobileBertTokenizer.from_pretrained(vocabulary, **options)
        python = MobileBertTokenizer.from_pretrained(vocabulary, **options)
        for text in in_texts(assigned_characters()):
            assert python.tokenize(text) == theirs.tokenize(text), ascii(text)


WORDS = ["New", "newyork", "new york", "Ärger", "[X]", "<extra>", "ing", "zzz"]
TEXTS = [
    "New York, newyork; NEW YORK new  york and Newyorkers",
    "arger Ärger ÄRGER [X] [x] [X][X] a[X]b  <extra>  <extra>ing sing ing-ing singing zzzz [MASK] [mask]",
    " [X] <extra> ",
    "a café, naïve",
]


def random_tokens(rng: random.Random) -> list[AddedToken]:
    names = ("single_word", "lstrip", "rstrip", "normalized", "special")
    chosen = rng.sample(WORDS, rng.randint(1, 4))
    return [AddedToken(word, **{name: rng.random() < 0.4 for name in names}) for word in chosen]


@pytest.mark.parametrize("seed", range(20))
def test_added_tokens_equal_fast(vocabulary: Path, seed: int) -> None:
    rng = random.Random(seed)
    options = {"do_lower_case": rng.random() < 0.6}
    theirs = transformers.MobileBertTokenizerFast.from_pretrained(vocabulary, **options)
    tokens = random_tokens(rng)
    theirs.add_tokens(tokens)
    for cls in OURS:
        ours = cls.from_pretrained(vocabulary, **options)
        ours.add_tokens(tokens)
        assert len(ours) == len(theirs)
        assert ours.added_tokens_encoder == theirs.added_tokens_encoder
        for text in TEXTS:
            assert_equal(ours, theirs, (text,), {"return_offsets_mapping": True})
            assert_equal(
                ours, theirs, (text.split(" "),), {"return_offsets_mapping": True, "is_split_into_words": True}
            )
            if any(token.normalized for token in tokens):
                continue  # tokenizers 0.23 decodes those to their normalized form, which is not special
            ids = ours(text)["input_ids"]
            for skip in (True, False):
                assert ours.decode(ids, skip_special_tokens=skip) == theirs.decode(ids, skip_special_tokens=skip)


THEIRS = ["MobileBertTokenizerFast", *(["MobileBertTokenizer"] if HAS_SLOW else [])]
OPTIONS: list[dict[str, Any]] = [
    {},
    {"do_lower_case": False, "padding_side": "left", "model_max_length": 128},
    {"strip_accents": False, "tokenize_chinese_chars": False, "truncation_side": "left"},
    {"additional_special_tokens": ["<extra>", "[X]"]},
]


@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize("name", THEIRS)
def test_ours_open_theirs(vocabulary: Path, tmp_path: Path, name: str, options: dict[str, Any]) -> None:
    theirs = getattr(transformers, name).from_pretrained(vocabulary, **{"model_max_length": 512, **options})
    theirs.add_tokens(["newyork", AddedToken("<one>", special=True)])
    theirs("a b", padding="max_length", truncation=True, max_length=8)  # which the fast one records in its file
    theirs.save_pretrained(tmp_path)
    for cls in OURS:
        ours = cls.from_pretrained(tmp_path)
        same_tokenizer(ours, theirs)


@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize("name", [*THEIRS, "AutoTokenizer"])
def test_theirs_open_ours(vocabulary: Path, tmp_path: Path, name: str, options: dict[str, Any]) -> None:
    for cls in OURS:
        ours = cls.from_pretrained(vocabulary, **options)
        ours.add_tokens(["newyork", AddedToken("<one>", special=True)])
        ours.save_pretrained(tmp_path)
        theirs = getattr(transformers, name).from_pretrained(tmp_path)
        assert type(theirs).__name__.startswith(("MobileBertTokenizer", "BertTokenizer"))  # 5.23 has one class for both
        same_tokenizer(ours, theirs)


def same_tokenizer(ours: Any, theirs: Any) -> None:
    texts = ["Naïve newyorkers café", "<extra>[X]<one> 中文字", "[MASK] ΑΣ Hello, world!"]
    assert ours(texts, padding=True)["input_ids"] == theirs(texts, padding=True)["input_ids"]
    assert len(ours) == len(theirs) and ours.vocab_size == theirs.vocab_size
    for name in ("model_max_length", "padding_side", "truncation_side", "all_special_tokens", "mask_token_id"):
        mine, other = getattr(ours, name), getattr(theirs, name)
        assert mine == other or sorted(mine) == sorted(other), name
    assert ours.get_vocab() == theirs.get_vocab()


def test_decoding_equals_fast(ours: Any, fast: Any, texts: dict[str, list[str]]) -> None:
    rng = random.Random(0)
    rows = fast(rng.sample(texts["squad"], 300), verbose=False)["input_ids"]
    rows += [[rng.randrange(30522) for _ in range(30)] for _ in range(300)] + [[], [101], [102, 1012]]
    for skip in (True, False):
        for clean in (True, False):  # None is False in transformers 5 and here, True in 4
            expected = fast.batch_decode(rows, skip_special_tokens=skip, clean_up_tokenization_spaces=clean)
            assert ours.batch_decode(rows, skip_special_tokens=skip, clean_up_tokenization_spaces=clean) == expected


def test_padding_equals_fast(ours: Any, fast: Any, texts: dict[str, list[str]]) -> None:
    rng = random.Random(0)
    for _ in range(200):
        samples = [dict(fast(text, return_special_tokens_mask=True)) for text in rng.sample(texts["sst2"], 4)]
        if rng.random() < 0.3:
            samples = [{"input_ids": sample["input_ids"]} for sample in samples]
        if rng.random() < 0.3:
            samples = [{name: np.array(value) for name, value in sample.items()} for sample in samples]
        arguments = {
            "padding": rng.choice([True, "longest", "max_length"]),
            "max_length": rng.choice([None, 8, 80]),
            "pad_to_multiple_of": rng.choice([None, 8]),
            "return_tensors": "np",
        }
        if arguments["padding"] == "max_length" and arguments["max_length"] == 8:
            del arguments["return_tensors"]  # rows may be longer
            samples = [{name: list(map(int, value)) for name, value in sample.items()} for sample in samples]
        inputs: Any = samples if rng.random() < 0.7 else {name: [s[name] for s in samples] for name in samples[0]}
        result, expected = ours.pad(inputs, **arguments), fast.pad(inputs, **arguments)
        assert set(result) == set(expected)
        for name in expected:
            np.testing.assert_equal(result[name], expected[name])


def test_special_tokens_equal(ours: Any, fast: Any) -> None:
    for first, second in (([5, 6], None), ([5, 6], [7]), ([], [])):
        special = fast.num_special_tokens_to_add(second is not None)
        assert ours.num_special_tokens_to_add(second is not None) == special
        built = ours.build_inputs_with_special_tokens(first, second)
        assert len(built) == len(first) + len(second or []) + special
        if HAS_SLOW:
            assert built == fast.build_inputs_with_special_tokens(first, second)
            types = fast.create_token_type_ids_from_sequences(first, second)
            assert ours.create_token_type_ids_from_sequences(first, second) == types
        mask = fast.get_special_tokens_mask(built, already_has_special_tokens=True)
        assert ours.get_special_tokens_mask(built, already_has_special_tokens=True) == mask
        assert ours.get_special_tokens_mask(first, second) == mask


def compare_texts(ours: Any, theirs: Any, texts: list[str]) -> None:
    """Compare ids and offsets of many texts."""
    result, expected = (tokenizer(texts, return_offsets_mapping=True, verbose=False) for tokenizer in (ours, theirs))
    if dict(result) != dict(expected):
        rows = zip(texts, result["offset_mapping"], expected["offset_mapping"], strict=True)
        raise AssertionError(
            [(ascii(text), mine, other) for text, mine, other in rows if mine != other][:5] or "other ids"
        )


def random_call(rng: random.Random, pool: list[str]) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Positional and keyword arguments of a call."""
    count = rng.choice([None, None, 1, 2, 5])
    words = rng.random() < 0.3

    def text() -> Any:
        chosen = rng.choice(pool)
        if rng.random() < 0.6:
            chosen = " ".join(chosen.split()[: rng.randint(0, 12)])
        return chosen.split(" ") if words else chosen

    def argument() -> Any:
        return text() if count is None else [text() for _ in range(count)]

    arguments: dict[str, Any] = {"is_split_into_words": words, "verbose": False}
    choices = {
        "add_special_tokens": [True, True, False],
        "padding": [False, True, "longest", "max_length", "do_not_pad"],
        "truncation": [None, False, True, "longest_first", "only_first", "only_second", "do_not_truncate"],
        "max_length": [None, 2, 3, 4, 5, 8, 13, 16, 24, 64, 512],
        "stride": [0, 0, 1, 2, 5],
        "pad_to_multiple_of": [None, None, 8, 3],
        "padding_side": [None, "left", "right"],
        "return_tensors": [None, None, "np"],
        "return_token_type_ids": [None, True, False],
        "return_attention_mask": [None, True, False],
        "return_overflowing_tokens": [False, True],
        "return_special_tokens_mask": [False, True],
        "return_offsets_mapping": [False, True],
        "return_length": [False, True],
    }
    arguments |= {name: rng.choice(values) for name, values in choices.items() if rng.random() < 0.6}
    if rng.random() < 0.5:
        return (argument(),), arguments
    if arguments.get("max_length") == 2:  # theirs computes 2 - 3 without a sign, and does not truncate
        arguments["max_length"] = 3
    return (argument(), argument()), arguments


def assert_equal(ours: Any, theirs: Any, texts: tuple[Any, ...], arguments: dict[str, Any]) -> str:
    """Make the same call on both and compare everything that comes back."""
    label = f"{texts!r:.300} {arguments}"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            expected = theirs(*texts, **arguments)
        except BaseException as error:  # the library's panic is no Exception
            if isinstance(error, KeyboardInterrupt):
                raise
            try:
                ours(*texts, **arguments)
            except ValueError:
                return "both raise"
            assert "stride" in str(error) and arguments["add_special_tokens"] is False, (
                label
            )  # counts tokens it does not add
            return "only theirs raises"
        if any(getattr(value, "dtype", None) == np.dtype(object) for value in expected.values()):
            with pytest.raises(ValueError, match="differ in length"):  # theirs makes an array of lists
                ours(*texts, **arguments)
            return "ragged"
        result = ours(*texts, **arguments)
    assert set(result) == set(expected), label
    for name, value in expected.items():
        if isinstance(value, np.ndarray):
            assert result[name].dtype == value.dtype or not value.size, label
            np.testing.assert_array_equal(result[name], value, err_msg=label)
        else:
            assert result[name] == value, f"{name} of {label}"
    assert len(result.encodings) == len(expected.encodings), label
    for row, (mine, other) in enumerate(zip(result.encodings, expected.encodings, strict=True)):
        for name in (
            "ids",
            "tokens",
            "offsets",
            "word_ids",
            "sequence_ids",
            "type_ids",
            "attention_mask",
            "special_tokens_mask",
        ):
            assert getattr(mine, name) == getattr(other, name), f"{name} of row {row} of {label}"
    compare_ways_back(result, expected, label)
    return "equal"


def compare_ways_back(result: Any, expected: Any, label: str) -> None:
    """Compare the methods that lead from tokens to words and characters and back, on the first row."""
    if not expected.encodings or not len(expected.encodings[0].ids):
        return
    assert result.n_sequences == expected.n_sequences, label
    assert result.word_ids() == expected.word_ids() and result.sequence_ids() == expected.sequence_ids(), label
    for token in range(0, len(expected.encodings[0].ids), 5):
        for name in ("token_to_chars", "token_to_word", "token_to_sequence"):
            assert getattr(result, name)(0, token) == getattr(expected, name)(0, token), f"{name}({token}) of {label}"
    for sequence in range(expected.n_sequences):
        for place in (0, 1, 3, 7, 40):
            for name in ("char_to_token", "char_to_word", "word_to_tokens"):
                mine = getattr(result, name)(0, place, sequence_index=sequence)
                assert mine == getattr(expected, name)(0, place, sequence_index=sequence), f"{name}({place}) of {label}"
            if expected.word_to_tokens(0, place, sequence_index=sequence) is not None:
                mine = result.word_to_chars(0, place, sequence_index=sequence)
                assert mine == expected.word_to_chars(0, place, sequence_index=sequence), label


@cache
def assigned_characters() -> list[str]:
    return [chr(code) for code in range(0x110000) if unicodedata.category(chr(code)) not in ("Cn", "Cs")]


def in_texts(characters: list[str], size: int = 50) -> list[str]:
    """Texts that have each character between letters and as a word of its own."""
    chunks = (characters[start : start + size] for start in range(0, len(characters), size))
    return [" ".join(f"a{char}b {char} ." for char in chunk) for chunk in chunks]


PAIRS = [("a b", "c"), ("New York", ""), ("", "x y z"), ("the [MASK] of it", "don't stop .")]


@pytest.mark.parametrize("kind", [tuple, list])
@pytest.mark.parametrize("arguments", [{}, {"padding": True, "truncation": True, "max_length": 5}], ids=str)
def test_batches_of_pairs_equal_fast(ours: Any, fast: Any, kind: Any, arguments: dict[str, Any]) -> None:
    pairs = [kind(pair) for pair in PAIRS]
    assert_equal(ours, fast, (pairs,), arguments)
    assert_equal(ours, fast, ([*pairs, "alone"],), arguments)
    words = [kind((first.split(), second.split())) for first, second in PAIRS]
    theirs = fast.batch_encode_plus if HAS_SLOW else fast  # the call itself refuses them in version 4
    assert_equal(ours, theirs, (words,), {**arguments, "is_split_into_words": True})


def test_targets_equal_fast(ours: Any, fast: Any) -> None:
    for arguments in ({"text": ["a", "b c"], "text_target": ["x y", "z"]}, {"text_target": "x", "text_pair_target": "y"}):
        assert_equal(ours, fast, (), {**arguments, "padding": "max_length", "max_length": 8})


@pytest.mark.parametrize("seed", range(3))
def test_splitting_special_tokens_equals_fast(vocabulary: Path, seed: int) -> None:
    rng = random.Random(seed)
    theirs = transformers.MobileBertTokenizerFast.from_pretrained(vocabulary)
    tokens = random_tokens(rng)
    theirs.add_tokens(tokens)
    for cls in OURS:
        ours = cls.from_pretrained(vocabulary)
        ours.add_tokens(tokens)
        for text in TEXTS:
            for split in (True, False):
                assert ours.tokenize(text, split_special_tokens=split) == theirs.tokenize(text, split_special_tokens=split)


if HAS_SLOW:

    def test_calls_with_ids_equal_slow(slow: Any, vocabulary: Path) -> None:
        """What the slow tokenizer does with tokens and ids: encode_plus, prepare_for_model, and spaces around added tokens."""
        ours = MobileBertTokenizer.from_pretrained(vocabulary)
        tokens, ids = slow.tokenize("the unbelievable New York"), slow.encode("a question of it", add_special_tokens=False)
        rng = random.Random(0)
        for _ in range(200):
            arguments = {
                "truncation": rng.choice([False, "only_first", "only_second"]),
                "max_length": rng.choice([10, 12, 20]),
                "stride": rng.choice([0, 2]),
                "padding": rng.choice([False, "max_length"]),
                "return_overflowing_tokens": rng.random() < 0.5,
                "return_special_tokens_mask": rng.random() < 0.5,
            }
            ours.truncation_side = slow.truncation_side = rng.choice(["right", "left"])
            pair = rng.choice([tokens, None])
            if pair is None and arguments["truncation"] == "only_second":
                continue  # theirs truncates nothing, ours refuses
            pair_ids = pair and slow.convert_tokens_to_ids(pair)
            for method, second in (("encode_plus", pair), ("prepare_for_model", pair_ids)):
                result, expected = (dict(getattr(tokenizer, method)(ids, second, **arguments)) for tokenizer in (ours, slow))
                if expected.get("overflowing_tokens") == []:  # theirs counts below zero
                    expected["num_truncated_tokens"] = 0
                assert result == expected, (method, arguments)
        slow.truncation_side = "right"
        theirs = transformers.MobileBertTokenizer.from_pretrained(vocabulary)
        for tokenizer in (ours, theirs):
            tokenizer.add_tokens(["<x>", "<extra>"])
        row = theirs.encode("<x> a <x> <extra> unbelievable b <extra>", add_special_tokens=False)
        for spaces in (True, False):
            decoded = theirs.decode(row, spaces_between_special_tokens=spaces, clean_up_tokenization_spaces=False)
            assert ours.decode(row, spaces_between_special_tokens=spaces) == decoded


TASKS: dict[str, tuple[str, int, list[tuple[tuple[Any, ...], dict[str, Any]]]]] = {
    "text-classification": (
        "MobileBertForSequenceClassification",
        3,
        [(({"text": "a", "text_pair": "b c"},), {}), ((["New York", "a"],), {"top_k": None, "batch_size": 2, "padding": True})],
    ),
    "token-classification": (
        "MobileBertForTokenClassification",
        3,
        [
            *(((["John Smith lives in New York, unbelievably!"],), {"aggregation_strategy": name}) for name in ("simple", "first", "max")),
            (("John lives in New York. " * 120,), {"aggregation_strategy": "simple", "stride": 16}),
        ],
    ),
    "question-answering": (
        "MobileBertForQuestionAnswering",
        2,
        [((), {"question": "Who?", "context": "John lives here. " * 20, "max_seq_len": 40, "doc_stride": 8})],
    ),
    "fill-mask": ("MobileBertForMaskedLM", 2, [((["a [MASK]", "[MASK] and [MASK]"],), {"top_k": 2})]),
    "feature-extraction": ("MobileBertModel", 2, [((["a b", "c"],), {})]),
    "zero-shot-classification": (
        "MobileBertForSequenceClassification",
        3,
        [((["a", "b c"], ["good", "bad"]), {"multi_label": True})],
    ),
}
if not HAS_SLOW:
    del TASKS["question-answering"]  # version 5 has no such pipeline


@pytest.mark.parametrize("task", TASKS)
def test_pipelines_equal(ours: Any, fast: Any, task: str) -> None:
    """A pipeline gives the same with our tokenizer as with theirs."""
    name, labels, calls = TASKS[task]
    names = ["contradiction", "O", "entailment"][-labels:]
    config = transformers.MobileBertConfig(
        num_hidden_layers=1, hidden_size=32, intra_bottleneck_size=16, embedding_size=16, intermediate_size=16, num_attention_heads=2
    )
    config.id2label, config.label2id = dict(enumerate(names)), {label: index for index, label in enumerate(names)}
    torch.manual_seed(0)
    model = getattr(transformers, name)(config).eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    results = [
        [transformers.pipeline(task, model=model, tokenizer=tokenizer, device="cpu")(*args, **options) for args, options in calls]
        for tokenizer in (ours, fast)
    ]
    assert json.dumps(results[0], default=float) == json.dumps(results[1], default=float)
    assert results[0]


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("DataCollatorWithPadding", {"pad_to_multiple_of": 8}),
        ("DataCollatorWithPadding", {"return_tensors": "np"}),
        ("DataCollatorForLanguageModeling", {}),
        ("DataCollatorForLanguageModeling", {"mlm": False}),
        ("DataCollatorForTokenClassification", {}),
        *([("DataCollatorForWholeWordMask", {})] if HAS_SLOW else []),
    ],
)
def test_collators_equal(ours: Any, fast: Any, name: str, options: dict[str, Any]) -> None:
    batches = []
    for tokenizer in (ours, fast):
        rows = [dict(tokenizer(text)) for text in ("New York, unbelievably", "a")]
        if "TokenClassification" in name:
            rows = [{**row, "labels": [1] * len(row["input_ids"])} for row in rows]
        random.seed(0)
        np.random.seed(0)
        torch.manual_seed(0)
        batches.append(getattr(transformers, name)(tokenizer, **options)(rows))
    assert set(batches[0]) == set(batches[1])
    for key, value in batches[1].items():
        assert type(batches[0][key]) is type(value)
        np.testing.assert_array_equal(batches[0][key], value, err_msg=key)
