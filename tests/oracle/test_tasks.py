"""The blocks of docs/tasks/ that call a model print here what they print with transformers: only the package of the import changes."""

from pathlib import Path

import pytest
import transformers

from support.snippets import KERAS, PYTORCH, TASKS, make_models, run, with_transformers


@pytest.mark.parametrize("task", TASKS)
def test_pytorch(task: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_models(tmp_path)
    monkeypatch.chdir(tmp_path)
    assert run(PYTORCH[task]) == run(with_transformers(PYTORCH[task])) != "\n"


if transformers.__version__.startswith("4."):  # 5.x has no TF classes

    @pytest.mark.parametrize("task", TASKS)
    def test_keras(task: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        make_models(tmp_path, to_h5=True)
        monkeypatch.chdir(tmp_path)
        assert run(KERAS[task]) == run(with_transformers(KERAS[task])) != "\n"
