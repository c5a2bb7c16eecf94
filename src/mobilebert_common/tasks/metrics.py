"""The metrics of each task, beside a baseline that looks at no text: functions of labels and predictions."""

import math
import re
import string
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain
from typing import Any

import numpy as np

from ..errors import ConfigError, DataError, shortened
from ..optional import needs

LOWER_IS_BETTER = {"RMSE", "perplexity"}  # these cannot choose the best model


@dataclass(frozen=True)
class Scores:
    """The metrics of some predictions, beside a baseline that looks at no text.

    Attributes:
        metrics: {title: value}; the first one chooses the best model: higher is better.
        baseline: the metrics of the baseline, as far as it has them.
        baseline_name: what the baseline predicts, e.g. "always 'good'".
        classes: {class, entity type or column: {title: value}}.
        confusion: labels, and how often each true label (row) was predicted as each label (column).
        notes: {title: value} of what is no score, such as the threshold that one is reached with.
    """

    metrics: dict[str, float]
    baseline: dict[str, float]
    baseline_name: str
    classes: dict[str, dict[str, float]] = field(default_factory=dict)
    confusion: tuple[list[str], list[list[int]]] | None = None
    notes: dict[str, float] = field(default_factory=dict)

    def with_first(self, title: str) -> "Scores":
        """Return the same scores with this metric first, so that it chooses the best model.

        Raises:
            ConfigError: there is no such metric, or it is better when lower.
        """
        usable = [name for name in self.metrics if name not in LOWER_IS_BETTER]
        if title not in usable:
            reason = "is better when lower" if title in self.metrics else "is not computed here"
            raise ConfigError(f"the metric {title!r:.80} {reason}: the best model can be chosen by {', '.join(usable)}")
        return replace(self, metrics={title: self.metrics[title], **self.metrics})

    def to_json(self) -> dict[str, Any]:
        """All of it as a JSON object."""
        confusion = None if self.confusion is None else dict(zip(("labels", "counts"), self.confusion, strict=True))
        return {
            "metrics": self.metrics,
            "baseline": self.baseline,
            "baseline_name": self.baseline_name,
            "classes": self.classes,
            "confusion": confusion,
            "notes": self.notes,
        }


def classification(
    labels: Sequence[str], predicted: Sequence[str], names: Sequence[str], positive: str | None = None
) -> Scores:
    """Accuracy, macro F1 over the classes that occur in labels or predictions, and MCC; the baseline is the most frequent label.

    Args:
        names: all classes, in the order of the tables.
        positive: the class whose F1 is a metric of its own; of two classes, the last one by default.
    Raises:
        ConfigError: positive is not a class.
        DataError: there are no labels, or another number of predictions.
    """
    with needs("cli"):
        from sklearn.metrics import confusion_matrix
    _check_lengths(labels, predicted)
    numbers = {name: number for number, name in enumerate(dict.fromkeys([*names, *labels, *predicted]))}
    if positive is None and len(numbers) == 2:
        positive = list(numbers)[-1]
    if positive is not None and positive not in numbers:
        raise ConfigError(f"the positive class {positive!r:.80} is not one of {shortened([*map(repr, numbers)], ', ')}")
    true, found = (np.array([numbers[label] for label in column]) for column in (labels, predicted))
    counts = np.bincount(true, minlength=len(numbers))
    majority = int(counts.argmax())
    return Scores(
        _class_metrics(true, found, positive, numbers),
        _class_metrics(true, np.full_like(true, majority), positive, numbers),
        f"always {list(numbers)[majority]!r}",
        _class_table(true, found, list(numbers)),
        (list(numbers), confusion_matrix(true, found, labels=range(len(numbers))).tolist()),
    )


def _class_metrics(true: np.ndarray, found: np.ndarray, positive: str | None, numbers: Mapping[str, int]) -> dict[str, float]:
    from sklearn.metrics import accuracy_score, f1_score, matthews_corrcoef

    alone = len({*true.tolist(), *found.tolist()}) == 1  # scikit-learn's MCC is 0 then as well, but with a warning
    metrics = {
        "accuracy": float(accuracy_score(true, found)),
        "F1 (macro)": float(f1_score(true, found, average="macro", zero_division=0)),
        "MCC": 0.0 if alone else float(matthews_corrcoef(true, found)),
    }
    if positive is not None:  # setdefault: a class may be called "macro"
        score = f1_score(true, found, labels=[numbers[positive]], average="macro", zero_division=0)
        metrics.setdefault(f"F1 ({positive})", float(score))
    return metrics


def _class_table(true: np.ndarray, found: np.ndarray, names: Sequence[str]) -> dict[str, dict[str, float]]:
    """Precision, recall, F1 and support of each class; true and found are class numbers [n] or indicators [n classes]."""
    from sklearn.metrics import precision_recall_fscore_support

    columns = precision_recall_fscore_support(true, found, labels=range(len(names)), zero_division=0)
    rows = zip(names, *(column.tolist() for column in columns), strict=True)
    return {name: {"precision": p, "recall": r, "F1": f1, "support": support} for name, p, r, f1, support in rows}


def multi_label(labels: Sequence[Collection[str]], predicted: Sequence[Collection[str]], names: Sequence[str]) -> Scores:
    """Micro and macro F1 and the share of exact matches; the baseline is the set of labels that occurs most often.

    The macro F1 is the mean over all names, as scikit-learn computes it from indicators: names that do not occur count as 0.

    Raises:
        DataError: there are no labels, or another number of predictions.
    """
    with needs("cli"):
        from sklearn.metrics import accuracy_score, f1_score
    _check_lengths(labels, predicted)
    numbers = {name: number for number, name in enumerate(dict.fromkeys([*names, *chain(*labels), *chain(*predicted)]))}
    true, found = (_indicators(column, numbers) for column in (labels, predicted))

    def measured(guesses: np.ndarray) -> dict[str, float]:
        classes = range(len(numbers))
        return {
            "F1 (micro)": float(f1_score(true, guesses, labels=classes, average="micro", zero_division=0)),
            "F1 (macro)": float(f1_score(true, guesses, labels=classes, average="macro", zero_division=0)),
            "exact match": float(accuracy_score(true, guesses)),
        }

    (usual, _), *_ = Counter(map(frozenset, labels)).most_common(1)
    title = ", ".join(repr(name) for name in numbers if name in usual) or "no label"
    always = _indicators([usual] * len(labels), numbers)
    return Scores(measured(found), measured(always), f"always {title}", _class_table(true, found, list(numbers)))


def _indicators(rows: Sequence[Collection[str]], numbers: Mapping[str, int]) -> np.ndarray:
    """[n classes] of 0 and 1; a single class gets an empty column beside it, or scikit-learn would take this for two classes."""
    indicators = np.zeros((len(rows), max(2, len(numbers))), np.int64)
    for row, names in enumerate(rows):
        indicators[row, [numbers[name] for name in names]] = 1
    return indicators


def regression(values: Any, predicted: Any, names: Sequence[str] | None = None) -> Scores:
    """Pearson's and Spearman's correlation and the RMSE; of several columns their means, and each column under `classes`.

    A column whose numbers are equal (but for rounding) has no correlation with anything: it is 0 here, not NaN. The baseline is the
    mean of the values: its RMSE is their standard deviation, its correlations are 0.

    Args:
        values, predicted: [n] or [n k] float.
        names: of the k columns; by default "0", "1", ...
    Raises:
        ConfigError: there are not k names.
        DataError: there are no values, or the shapes differ.
    """
    true, found = (np.asarray(column, np.float64) for column in (values, predicted))
    _check_lengths(true, found)
    true, found = (column.reshape(len(column), -1) for column in (true, found))  # [n k]
    if true.shape != found.shape:
        raise DataError(f"there are {true.shape[1]:,} values in each row, but {found.shape[1]:,} predictions")
    titles = [str(number) for number in range(true.shape[1])] if names is None else list(names)
    if len(titles) != true.shape[1] or len(set(titles)) != len(titles):
        raise ConfigError(f"{true.shape[1]:,} columns of values need as many different names, not {shortened([*map(repr, titles)], ', ')}")
    table = {title: _correlations(true[:, number], found[:, number]) for number, title in enumerate(titles)}
    metrics = {title: float(np.mean([row[title] for row in table.values()])) for title in ("Pearson", "Spearman", "RMSE")}
    baseline = {"Pearson": 0.0, "Spearman": 0.0, "RMSE": float(true.std(axis=0).mean())}
    return Scores(metrics, baseline, "the mean score", table if len(table) > 1 else {})


def _correlations(true: np.ndarray, found: np.ndarray) -> dict[str, float]:
    with needs("cli"):
        from scipy.stats import pearsonr, spearmanr
    constant = any(np.ptp(column) <= 1e-12 * np.abs(column).max() for column in (true, found))
    return {
        "Pearson": 0.0 if constant else float(pearsonr(true, found).statistic),
        "Spearman": 0.0 if constant else float(spearmanr(true, found).statistic),
        "RMSE": float(np.sqrt(np.square(true - found).mean())),
    }


TAG = re.compile(r"O|[BIESLUMW](-.+)?", re.DOTALL)
LETTERS = {"L": "E", "M": "I", "U": "S", "W": "S"}  # of BILOU and BMEWO, as IOBES has them
STRICT = {"IOB2": "BI*", "IOBES": "S|BI*E"}  # the letters of a whole entity in the schemes that mark each start


def entities(tags: Sequence[Sequence[str]], predicted: Sequence[Sequence[str]], scheme: str | None = None) -> Scores:
    """F1, precision and recall of entities, and the accuracy of the words' tags; the baseline tags every word O.

    Equal to conlleval, and for IOBES to seqeval's default mode; with a scheme of STRICT, to seqeval's strict mode in that scheme.
    An entity is right if its type, its first and its last word are. The averages are micro averages.

    Args:
        tags, predicted: those of each word, sentence by sentence.
        scheme: see `chunks`.
    Raises:
        ConfigError: the scheme is unknown.
        DataError: there are no words, the lengths differ, or a tag has no known form.
    """
    _check_lengths(tags, predicted)
    for number, (one, other) in enumerate(zip(tags, predicted, strict=True), 1):
        if len(one) != len(other):
            raise DataError(f"sentence {number} has {len(one):,} tags, but {len(other):,} predictions")
    words = list(zip(chain(*tags), chain(*predicted), strict=True))
    if not words:
        raise DataError("there are no words to score")
    true, found = (
        {(row, *chunk) for row, sentence in enumerate(side) for chunk in chunks(sentence, scheme)} for side in (tags, predicted)
    )
    support, guesses, hits = (Counter(kind for _, kind, _, _ in part) for part in (true, found, true & found))
    total = _shares(len(true & found), len(found), len(true))
    metrics = {title: total[title] for title in ("F1", "precision", "recall")}
    accuracy = sum(one == other for one, other in words) / len(words)
    outside = sum(one == "O" for one, _ in words) / len(words)
    return Scores(
        metrics | {"accuracy": accuracy},
        dict.fromkeys(metrics, 0.0) | {"accuracy": outside},
        "every word 'O'",
        {kind: _shares(hits[kind], guesses[kind], support[kind]) for kind in sorted({*support, *guesses})},
    )


def _shares(hits: int, guesses: int, support: int) -> dict[str, float]:
    """Precision, recall and F1 from counts; 0 where there is nothing to divide by."""
    precision, recall = hits / max(guesses, 1), hits / max(support, 1)
    f1 = 2 * precision * recall / (precision + recall) if hits else 0.0
    return {"precision": precision, "recall": recall, "F1": f1, "support": support}


def chunks(tags: Sequence[str], scheme: str | None = None) -> list[tuple[str, int, int]]:
    """The entities of a sentence: (type, first word, last word).

    A word belongs to the entity of the word before if it has the same type, no letter that starts an entity, and the word before has no
    letter that ends one. This reads IOB1, IOB2, IOBES and IOE alike; an entity may start with I. A strict scheme drops entities that are
    not spelled in full, such as I-PER after O.

    Args:
        scheme: a name of STRICT to be strict; None, IOB1 or IOE not to be.
    Raises:
        ConfigError: the scheme is unknown.
        DataError: a tag has no known form, or a letter that the strict scheme does not have.
    """
    if scheme not in (None, "IOB1", "IOE", *STRICT):
        raise ConfigError(f"the scheme of tags must be IOB1, IOE, {', '.join(STRICT)} or None, not {scheme!r:.80}")
    spelled = [_parsed(tag) for tag in tags]
    if scheme in STRICT and (foreign := sorted({letter for letter, _ in spelled} - {"O", *STRICT[scheme]})):
        raise DataError(f"tags with {' or '.join(foreign)} do not belong to the scheme {scheme}")
    found: list[tuple[str, int, int]] = []
    before = "O", ""
    for place, (letter, kind) in enumerate(spelled):
        if before[0] in "BI" and letter in "IE" and before[1] == kind:
            found[-1] = (kind, found[-1][1], place)
        elif letter != "O":
            found.append((kind, place, place))
        before = letter, kind
    if scheme not in STRICT:
        return found
    letters = "".join(letter for letter, _ in spelled)
    return [chunk for chunk in found if re.fullmatch(STRICT[scheme], letters[chunk[1] : chunk[2] + 1])]


def _parsed(tag: str) -> tuple[str, str]:
    """A tag's letter, as IOBES has it, and its type; "_" for tags without one.

    Raises:
        DataError: the tag has no known form.
    """
    if not TAG.fullmatch(tag):
        raise DataError(f"the tag {tag!r:.80} is neither O nor of the form B-TYPE, I-TYPE, E-TYPE or S-TYPE")
    return LETTERS.get(tag[0], tag[0]), tag[2:] or "_"


def check_tags(tags: Iterable[str]) -> list[str]:
    """The tags that have no known form, each once: neither O nor a letter of IOBES, BILOU or BMEWO, alone or with a type (B-PER)."""
    return [tag for tag in dict.fromkeys(tags) if not TAG.fullmatch(tag)]


def scheme_of(tags: Iterable[Sequence[str]]) -> str:
    """Guess the scheme of a data file from the tags of its sentences: IOB1, IOB2, IOBES (also written as BILOU or BMEWO) or IOE.

    It is IOBES if there are E and B, or S; IOE if there are E without B. It is IOB1 if an entity starts with I, and B only divides
    entities of one type; otherwise IOB2, also where it has mistakes, and where there are no entities.

    Raises:
        DataError: a tag has no known form.
    """
    letters: set[str] = set()
    starts: set[str] = set()  # letters that start an entity although nothing has to be divided
    for sentence in tags:
        spelled = [_parsed(tag) for tag in sentence]
        letters.update(letter for letter, _ in spelled)
        for before, (letter, kind) in zip([("O", ""), *spelled], spelled, strict=False):
            if letter in "BI" and (before[0] == "O" or before[1] != kind):
                starts.add(letter)
    if "S" in letters or {"E", "B"} <= letters:
        return "IOBES"
    if "E" in letters:
        return "IOE"
    return "IOB1" if starts == {"I"} else "IOB2"


ARTICLES = re.compile(r"\b(a|an|the)\b")
NO_PUNCTUATION = str.maketrans("", "", string.punctuation)


def answers(
    references: Sequence[Sequence[str]], predicted: Sequence[str], no_answer: Sequence[float] | None = None
) -> Scores:
    """F1 and exact match (EM) of answers, as the official scripts of SQuAD compute them, but from 0 to 1.

    If every question has an answer, this is evaluate-v1.1.py; otherwise evaluate-v2.0.py, with F1 and EM of questions with and without an
    answer under `classes`. F1 and EM judge the predictions as they are: `no_answer` only gives best F1 and best EM, those with the best
    threshold. The baseline gives no answer.

    Args:
        references: the accepted answers to each question; none if it has no answer.
        predicted: "" means that there is no answer.
        no_answer: for each question, a score that is higher the likelier it has no answer.
    Raises:
        DataError: there are no questions, or the lengths differ.
    """
    _check_lengths(references, predicted)
    answerable = [len(accepted) > 0 for accepted in references]
    version_2 = not all(answerable)
    rows = _answer_scores(references, predicted, version_2)
    metrics = _mean(rows)
    if version_2 and no_answer is not None:
        for title in list(metrics):
            metrics[f"best {title}"] = best_threshold(references, predicted, no_answer, title)[0]
    groups = {"HasAns": True, "NoAns": False} if version_2 else {}
    parts = {name: [row for row, has in zip(rows, answerable, strict=True) if has == kind] for name, kind in groups.items()}
    return Scores(
        metrics,
        _mean(_answer_scores(references, [""] * len(references), version_2)),
        "always no answer" if version_2 else "no answer",
        {name: {**_mean(part), "support": len(part)} for name, part in parts.items() if part},
    )


def best_threshold(
    references: Sequence[Sequence[str]], predicted: Sequence[str], no_answer: Sequence[float], title: str = "F1"
) -> tuple[float, float]:
    """The best F1 or EM that a threshold of no_answer reaches, and the threshold: above it there is no answer.

    As in evaluate-v2.0.py, also where scores are equal: these are taken one by one, in the order of the questions, so that the best score
    can lie between two of them. Without a gain over no answers at all, the threshold is 0.

    Args:
        title: "F1" or "EM".
    """
    _check_lengths(references, predicted)
    _check_lengths(references, no_answer)
    scores = [row[title] for row in _answer_scores(references, predicted, True)]
    current = best = float(sum(not accepted for accepted in references))
    threshold = 0.0
    for row in sorted(range(len(references)), key=lambda row: no_answer[row]):
        current += scores[row] if references[row] else -bool(predicted[row])
        if current > best:
            best, threshold = current, float(no_answer[row])
    return best / len(references), threshold


def _answer_scores(references: Sequence[Sequence[str]], predicted: Sequence[str], version_2: bool) -> list[dict[str, float]]:
    """F1 and EM of each question, the best over its accepted answers. Version 2 ignores those that are empty once normalized."""
    rows = []
    for accepted, answer in zip(references, predicted, strict=True):
        said, golds = normalized(answer), [normalized(gold) for gold in accepted]
        if version_2:
            golds = [gold for gold in golds if gold] or [""]
        f1 = max(_overlap(gold.split(), said.split()) for gold in golds)
        rows.append({"F1": float(said in golds) if version_2 and not said else f1, "EM": float(said in golds)})
    return rows


def _overlap(gold: Sequence[str], said: Sequence[str]) -> float:
    """The F1 of the words in common."""
    common = sum((Counter(gold) & Counter(said)).values())
    if common == 0:
        return 0.0
    precision, recall = common / len(said), common / len(gold)
    return 2 * precision * recall / (precision + recall)


def normalized(answer: str) -> str:
    """An answer as the scripts of SQuAD compare it: in lower case, without (ASCII) punctuation, articles and extra spaces.

    >>> normalized("The  Cat's, a hat!")
    'cats hat'
    """
    return " ".join(ARTICLES.sub(" ", answer.lower().translate(NO_PUNCTUATION)).split())


def _mean(rows: Sequence[Mapping[str, float]]) -> dict[str, float]:
    return {title: sum(row[title] for row in rows) / len(rows) for title in rows[0]}


def choices(labels: Sequence[int], predicted: Sequence[int], counts: Sequence[int]) -> Scores:
    """The accuracy of choices; the baseline is a random choice.

    Args:
        counts: the number of choices of each question.
    Raises:
        DataError: there are no labels, or the lengths differ.
    """
    _check_lengths(labels, predicted)
    _check_lengths(labels, counts)
    accuracy = sum(int(label) == int(guess) for label, guess in zip(labels, predicted, strict=True)) / len(labels)
    chance = sum(1 / int(count) for count in counts) / len(counts)
    return Scores({"accuracy": accuracy}, {"accuracy": chance}, "a random choice")


def masked_words(log_likelihood: float, hits: int, words: Mapping[str, int]) -> Scores:
    """Accuracy and perplexity of predicting masked words; the baseline is the most frequent of them.

    Args:
        log_likelihood: the sum over the masked words, in nats.
        hits: how many were predicted right.
        words: how often each token was masked.
    Raises:
        DataError: no word was masked, or the likelihood is not finite or too small for a perplexity.
    """
    if not (total := sum(words.values())):
        raise DataError("no words were masked")
    if not -700 < log_likelihood / total < 1e-3:  # a little above 0 by rounding
        raise DataError(f"the mean log-likelihood of the masked words is {log_likelihood / total:.6g}, which gives no perplexity")
    usual = max(words, key=lambda word: words[word])
    metrics = {"accuracy": float(hits / total), "perplexity": math.exp(-log_likelihood / total)}
    return Scores(metrics, {"accuracy": words[usual] / total}, f"always {usual!r}")


def _check_lengths(labels: Any, predicted: Any) -> None:
    """Require as many predictions as labels, and at least one."""
    if not len(labels):
        raise DataError("there is nothing to score")
    if len(labels) != len(predicted):
        raise DataError(f"there are {len(labels):,} labels, but {len(predicted):,} predictions")
