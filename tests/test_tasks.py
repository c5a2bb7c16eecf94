"""The blocks of docs/tasks/ that call a model run, and the two of a task print the same."""

from pathlib import Path

import pytest

from support.snippets import KERAS, PYTORCH, TASKS, make_models, run


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    make_models(folder)
    return folder


@pytest.mark.parametrize("task", TASKS)
def test_both_twins_print_the_same(task: str, models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(models)
    printed = run(PYTORCH[task])
    assert printed.strip() not in ("", "[]", "0.000", "1.000")
    assert run(KERAS[task]) == printed


def test_blocks_differ_little() -> None:
    assert len(TASKS) == 6
    for task in TASKS:
        assert "mobilebert_pt" in PYTORCH[task] and "mobilebert_tf" in KERAS[task]
        assert abs(len(PYTORCH[task].splitlines()) - len(KERAS[task].splitlines())) <= 1
