"""What report.json has of a training; report.py shows it."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

import numpy as np

from ..tasks.base import Data, Predictions, Task
from ..tasks.examples import Examples
from ..tasks.metrics import Scores
from .plan import Plan
from .preparation import Attempt, Options, Prepared
from .recipe import Recipe
from .report import environment
from .trial import Trial

WORST = 20  # examples in a report
FEW = 10  # steps whose losses say little of where they go


def make_report(
    framework: str,
    ready: Prepared,
    trial: Trial,
    evaluated: tuple[Scores, Predictions],
    trials: Sequence[Trial],
    options: Options,
    seconds: float,
    snapshots: Sequence[float],
) -> dict[str, Any]:
    """What report.json has; see report.py.

    Args:
        trial: the one that is kept, and `evaluated` its best evaluation.
        seconds: of training, and those of each snapshot.
    """
    scores, predictions = evaluated
    setup, task, recipe = ready.begin.setup, ready.begin.setup.task, replace(ready.recipe, learning_rate=trial.rate)
    phases, gain = ready.phases(Attempt(trial.rate), trial.steps), gain_of(next(iter(scores.metrics)), trial, trials)
    rates = [[step + 1, phase.rate(step, recipe)] for phase in phases for step in range(phase.start, min(phase.stop, trial.done))]
    done = sum(len(each.losses) for each in trials)
    rows = done * len(ready.examples) / Plan(ready.examples.lengths, recipe).steps_per_epoch  # the last step of an epoch may be smaller
    return {
        "title": f"{task.name}: {ready.training.path.name}",
        "task": task.name,
        "model": ready.begin.name,
        "framework": framework,
        "command": options.command,
        "data": {
            "training": _described(task, ready.training, ready.examples),
            "validation": _described(task, ready.held_out, ready.held_examples),
            "truncated": {"training": len(ready.examples.truncated), "validation": len(ready.held_examples.truncated)},
            "dropped": {reason: len(found) for reason, found in ready.examples.dropped.items()},
            "max_length": setup.lengths.max_length,
            "cut": task.cut(setup.lengths),
            "unit": task.unit,
        },
        "settings": {
            **_told(recipe),
            **asdict(setup.columns),
            **asdict(setup.lengths),
            "patience": options.patience,
            "evaluate_every": trial.every,
        },
        "environment": environment(),
        "losses": [[number, loss] for number, loss in enumerate(trial.losses, 1)],
        "rates": rates,
        "phases": [[phase.title, phase.start + 1, phase.stop] for phase in phases],
        "teacher": None if ready.teacher is None else ready.teacher.name,
        "gain": gain,
        "evaluations": [each._asdict() for each in trial.evaluations],
        "best_step": trial.best_step,
        "stopped": trial.stopped,
        "scores": scores.to_json(),
        "worst": worst(task, ready.held_out, predictions),
        "warnings": warnings_of(trial, scores, gain),
        "trials": [
            {
                "learning_rate": each.rate,
                "metric": each.best_score if each.best_step else None,
                "kept": each is trial,
                **({"alone": True} if each.alone else {}),
            }
            for each in trials
        ],
        "seconds": seconds,
        "examples_per_second": rows / max(seconds, 1e-9),
        "steps_per_second": done / max(seconds, 1e-9),
        "snapshots": len(snapshots),
        "snapshot_seconds": sum(snapshots),
        "saved": None if options.output is None else str(options.output),
    }


def _told(recipe: Recipe) -> dict[str, Any]:
    """The values of a recipe, with those of its transfer among them."""
    found = asdict(recipe)
    transfer = found.pop("transfer")
    return {**found, **(transfer or {})}


def gain_of(metric: str, kept: Trial, trials: Sequence[Trial]) -> dict[str, Any] | None:
    """The best score of the student alone beside the one with its teacher; None without both."""
    alone = [each.best_score for each in trials if each.alone and each.best_step and not each.failed]
    return {"metric": metric, "alone": max(alone), "taught": kept.best_score} if alone else None


def _described(task: Task, data: Data, examples: Examples) -> dict[str, Any]:
    """The size of a data source, and how often it has each label."""
    counts = task.label_counts(data)
    return {"path": str(data.path), "examples": len(data), "rows": len(examples), "labels": dict(counts.most_common())}


def worst(task: Any, data: Data, predictions: Predictions) -> list[dict[str, Any]]:
    """The examples on which the model is farthest from the label; documents have none, but a score of their own."""
    if predictions.losses is None:
        return []
    order = np.argsort(predictions.losses, kind="stable")[::-1][:WORST].tolist()
    texts, labels = task.shown(data), next(iter(task.labels(data).values()), data.labels)
    title = next(iter(predictions.columns))
    return [
        {
            "text": texts[row],
            "label": None if labels is None else _joined(labels[row]),
            "prediction": f"{title} {predictions.columns[title][row]}" if labels is None else str(predictions.columns[title][row]),
            "loss": float(predictions.losses[row]),
        }
        for row in order
    ]


def _joined(label: Any) -> str:
    """A label, or a list of them, as text; tags are written as predictions are."""
    return ", ".join(map(str, label)) if type(label) in (list, tuple) else str(label)


def warnings_of(trial: Trial, scores: Scores, gain: Mapping[str, Any] | None = None) -> list[str]:
    """What the user should know of a training that ended."""
    found = []
    losses = trial.losses[trial.first :] or trial.losses  # in a phase before, the loss is another one
    count = max(1, len(losses) // 10)
    before, after = float(np.mean(losses[:count])), float(np.mean(losses[-count:]))
    if len(losses) >= FEW and after > 1.25 * before:  # a loss that stays where it was shows in the metrics
        found.append(f"the loss rose from {before:.3g} to {after:.3g}: try a smaller learning rate than {trial.rate:g}")
    title = next(iter(scores.metrics))
    if title in scores.baseline and not scores.metrics[title] > scores.baseline[title]:
        found.append(
            f"{title} {scores.metrics[title]:.3f} is no better than {scores.baseline[title]:.3f} for {scores.baseline_name}: "
            "train longer, or try other learning rates"
        )
    if gain is not None and gain["alone"] >= gain["taught"]:
        found.append(
            f"the student alone has {gain['metric']} {gain['alone']:.3f}, no less than {gain['taught']:.3f} with its teacher: "
            "train longer, or try another strategy, alpha or temperature"
        )
    return found


