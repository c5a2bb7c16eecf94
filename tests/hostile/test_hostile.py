"""Every file of the corpus is refused: one CheckpointError, soon, nothing run, nothing outside read."""

import pickle
import signal
from pathlib import Path
from types import FrameType

import pytest

from mobilebert_common.errors import CheckpointError

from ..common.test_torch_bin import CODE
from .corpus import LOADERS, SENTINEL, Case, cases, folder_of, harm, prepare

CASES = cases()


def test_there_are_enough() -> None:
    assert len(CASES) >= 200


def test_the_sentinel_tells(tmp_path: Path) -> None:
    prepare(tmp_path)
    assert harm(tmp_path) is None
    (tmp_path / SENTINEL).read_bytes()
    assert harm(tmp_path) and harm(tmp_path) is None


@pytest.mark.parametrize("code", ["os.system", "exec", "named from the stack", "INST", "OBJ"])
def test_the_codes_would_run(code: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    prepare(tmp_path)
    monkeypatch.chdir(tmp_path)
    pickle.loads(b"\x80\x04" + CODE[code] + b".")
    assert harm(tmp_path)


def too_long(signum: int, frame: FrameType | None) -> None:
    raise TimeoutError("more than 5 seconds of the processor, or a minute of waiting")


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_refused(case: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    prepare(tmp_path)
    folder = folder_of(tmp_path, case)
    monkeypatch.chdir(folder)
    for number in (signal.SIGPROF, signal.SIGALRM):
        signal.signal(number, too_long)
    signal.setitimer(signal.ITIMER_PROF, 5)  # which others on a busy machine do not use up
    signal.alarm(60)
    try:
        with pytest.raises(CheckpointError) as error:
            LOADERS[case.loader](folder)
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.alarm(0)
    assert len(str(error.value)) < 20_000
    assert harm(tmp_path) is None
