"""Train, distil, evaluate and predict in a few lines of Python, in Keras. mobilebert_pt/api.py is its translation."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # training is imported when it is used: it takes half as long as all the rest
    from mobilebert_common.tasks.metrics import Scores
    from mobilebert_common.training.fine_tuning import Trained

FRAMEWORK = "tf"


def train(model: Any, task: str | None, data: Any, *, progress: bool = True, **options: Any) -> "Trained":
    """Fine-tune a model for a task: `model, scores = train(None, "classification", "reviews.csv")`.

    Args:
        model: a checkpoint directory, owner/name on the hub, "mobilebert-small-uncased", which comes with this package, a name from
            the zoo for fresh weights, or a model with its tokenizer=; None for the one that comes with this package if the texts
            are English, otherwise fresh weights.
        task: classification, regression, multi-label, tokens, answers, choices, or GLUE's name of one of its tasks; None to
            guess it from the data.
        data: a .csv, .tsv, .jsonl or .parquet file, a pandas DataFrame, a dataset of the library `datasets`, columns or rows.
        progress: show a progress bar.
        options: see mobilebert_common.training.preparation.Options: output, validation, epochs, learning_rate, batch_size and more.
    Returns:
        the model and its scores on the validation data, which also unpack from it.
    Raises:
        ConfigError, DataError, CheckpointError, DivergedError: see mobilebert_common.training.fine_tuning.fine_tune.
    """
    from mobilebert_common.training import api

    return api.train(FRAMEWORK, model, task, data, progress, **options)


def distill(teacher: str | Path, student: Any, task: str | None, data: Any, *, progress: bool = True, **options: Any) -> "Trained":
    """Train a student to give a teacher's answers: `model, scores = distill("my-model", "mobilebert-mini", None, "reviews.csv")`.

    Args:
        teacher: a checkpoint directory, or owner/name on the hub.
        student: a checkpoint with the teacher's vocabulary, a name from the zoo for fresh weights, or a model, with its tokenizer=
            where that is not the teacher's.
        task: as for `train`; None for the teacher's.
        data: as for `train`; for pre-training, a file or folder of plain text, or a list of them.
        progress: show a progress bar.
        options: see mobilebert_common.training.preparation.Options: strategy, form, share, alpha, temperature, factors, alone, and
            those of `train`.
    Returns:
        the student and its scores on the validation data, which also unpack from it; report["gain"] has what the student alone comes to.
    Raises:
        ConfigError, DataError, CheckpointError, DivergedError: see mobilebert_common.training.fine_tuning.fine_tune.
    """
    from mobilebert_common.training import api

    return api.distill(FRAMEWORK, teacher, student, task, data, progress, **options)


def evaluate(model: "str | Path | Trained", data: Any, **options: Any) -> "Scores":
    """The metrics of a model on labelled data, beside those of a baseline.

    Args:
        model: a checkpoint directory, owner/name on the hub, or what `train` returned.
        data: as for `train`.
        options: task, encoding and the names of columns: text, text_pair, label, choices, label_style, header.
    """
    from mobilebert_common.training import api

    return api.evaluate(FRAMEWORK, model, data, **options)


def predict(model: "str | Path | Trained", data: Any, *, all: bool = False, **options: Any) -> dict[str, Sequence[Any]]:
    """What a model says of each text or row: {column: values}, those of the data first.

    Args:
        model: a checkpoint directory, owner/name on the hub, or what `train` returned.
        data: a list of texts, or as for `train`.
        all: give all probabilities.
        options: task, encoding and the names of columns: text, text_pair, choices, header.
    """
    from mobilebert_common.training import api

    return api.predict(FRAMEWORK, model, data, all, **options)
