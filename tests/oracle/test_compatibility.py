"""The scripts of docs/compatibility.md run with transformers and with our classes, as its table says."""

import contextlib
import re
import shutil
import tempfile
import warnings
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
import transformers

from support.snippets import ROOT, make_models

TEXT = (ROOT / "docs" / "compatibility.md").read_text(encoding="utf-8")
SCRIPTS = ROOT / "tests" / "compatibility"
RELEASE = transformers.__version__[:4]
RUNS = {"4.57": ("pytorch", "keras"), "5.23": ("pytorch",)}  # 5.x has no TF classes
TOLERANCE = 1e-3  # absolute, and relative to the largest number of an array: float32, sometimes after steps of training


class Script(NamedTuple):
    """A script of the table, beside one release.

    Attributes:
        path: of the file, below SCRIPTS.
        theirs: whether it runs with transformers.
        ours: "works", "one change" or "no".
    """

    path: str
    theirs: bool
    ours: str


def scripts(framework: str, release: str) -> list[Script]:
    """The scripts of a framework, with what the table says of them beside a release."""
    found = []
    tables = re.findall(r"^\| pattern (.*?)(?:\n\n|\Z)", TEXT, re.MULTILINE | re.DOTALL)
    for line in (line for table in tables for line in table.splitlines()[2:]):
        _, *cells = (cell.strip() for cell in line.strip("|\n").split(" | "))
        row = dict(zip(("4.57", "5.23", "pytorch", "keras"), cells, strict=True))
        if linked := re.match(r"\[(.+?)\]\(\.\./tests/compatibility/(.+?)\)", row[framework]):
            verdict, path = linked.groups()
            ours = verdict.replace(f"{release} only", "works")
            both, _, of_tf = row[release].partition("; TF ")
            theirs = of_tf if framework == "keras" and of_tf else both
            found.append(Script(path, theirs.startswith("works"), ours if ours in ("works", "one change") else "no"))
    return found


def rates() -> list[str]:
    """The rows of the table of rates."""
    found = []
    for release, frameworks in RUNS.items():
        for framework in frameworks:
            ours = [script.ours for script in scripts(framework, release) if script.theirs]
            works, changed = ours.count("works"), ours.count("one change")
            share = f"{100 * (works + changed) / max(len(ours), 1):.0f}%"
            twin = {"pytorch": "PyTorch", "keras": "Keras"}[framework]
            found.append(f"| {release} | {twin} | {len(ours)} | {works} | {changed} | {share} |")
    return found


@cache
def models(to_h5: bool) -> Path:
    """A folder with the random models that the scripts open."""
    folder = Path(tempfile.mkdtemp())
    layers = 1 if to_h5 else 2  # of few networks: most of the time goes into tracing graphs
    make_models(folder, to_h5, num_hidden_layers=layers, num_feedforward_networks=1, attention_probs_dropout_prob=0.0)
    return folder


def without_change(code: str) -> str:
    """A script as it was for transformers but for its import: without the changes that `# transformers:` marks."""
    return re.sub(r"^( *).*  # transformers: (.*)$", r"\1\2", code, flags=re.MULTILINE)


def with_transformers(code: str) -> str:
    """A script as it was for transformers."""
    return re.sub(r"^from mobilebert_(pt|tf) import", "from transformers import", without_change(code), flags=re.MULTILINE)


def run(script: str, code: str, folder: Path, prepare: Callable[[], Any]) -> Any:
    """What a script leaves in `result`, in a folder of its own with the models; the exception if it raises one."""
    with contextlib.chdir(folder), warnings.catch_warnings(), isolated(), open("printed", "w") as file:
        warnings.simplefilter("ignore")
        prepare()
        torch.manual_seed(0)
        names = {"__name__": "__main__"}
        try:
            with contextlib.redirect_stdout(file), contextlib.redirect_stderr(file):
                exec(compile(code, script, "exec"), names)
        except Exception as error:
            return error
        return names["result"]


@contextlib.contextmanager
def isolated() -> Iterator[None]:
    """Take back what a script registers with transformers' Auto classes."""
    auto = [value for name, value in vars(transformers.models.auto.modeling_auto).items() if name.endswith("_MAPPING")]
    auto += [transformers.models.auto.configuration_auto.CONFIG_MAPPING, transformers.models.auto.tokenization_auto.TOKENIZER_MAPPING]
    extra = [(mapping, dict(mapping._extra_content)) for mapping in auto if hasattr(mapping, "_extra_content")]
    try:
        yield
    finally:
        for mapping, before in extra:
            mapping._extra_content = before


def difference(ours: Any, theirs: Any) -> str:
    """Where two results differ; "" if nowhere."""
    if isinstance(theirs, Mapping):
        if set(ours) != set(theirs):
            return f"{sorted(map(str, ours))} is not {sorted(map(str, theirs))}"
        return "; ".join(filter(None, (difference(ours[name], theirs[name]) for name in theirs)))
    if isinstance(theirs, list | tuple):
        if len(ours) != len(theirs):
            return f"{len(ours)} instead of {len(theirs)} parts"
        return "; ".join(filter(None, map(difference, ours, theirs)))
    if isinstance(theirs, str | bool | None):
        return "" if ours == theirs else f"{ours!r} is not {theirs!r}"
    ours, theirs = (np.asarray(x.detach() if isinstance(x, torch.Tensor) else x) for x in (ours, theirs))
    if ours.shape != theirs.shape:
        return f"shape {ours.shape} is not {theirs.shape}"
    gap = np.abs(ours.astype(np.float64) - theirs.astype(np.float64)).max(initial=0)
    return "" if gap <= TOLERANCE * max(1.0, np.abs(theirs).max(initial=0)) else f"numbers differ by {gap:.2g}"


def faults(script: Script, folder: Path, ours_first: Callable[[], Any], theirs_first: Callable[[], Any], to_h5: bool) -> list[str]:
    """Where the table is wrong about a script."""
    written = (SCRIPTS / script.path).read_text(encoding="utf-8")
    theirs, unchanged = with_transformers(written), without_change(written)
    assert theirs != unchanged, f"{script.path} imports neither twin"

    def outcome(code: str, side: str, prepare: Callable[[], Any]) -> Any:
        shutil.copytree(models(to_h5), folder / side)
        return run(script.path, code, folder / side, prepare)

    expected = outcome(theirs, "theirs", theirs_first)
    runs = not isinstance(expected, Exception)
    found = [] if runs == script.theirs else [f"with transformers it {'runs' if runs else f'fails: {expected!r}'}"]

    def verdict(code: str, side: str) -> str:
        result = outcome(code, side, ours_first)
        if isinstance(result, Exception):
            return f"fails: {result!r}"
        return difference(result, expected) if runs else ""

    wrong = verdict(unchanged, "unchanged")
    if script.ours == "works" and wrong:
        found.append(f"with our import it {wrong}")
    if script.ours != "works" and not wrong:
        found.append("it works with our import and nothing else changed")
    if script.ours == "one change":
        assert unchanged != written, f"{script.path} shows no change"
        if wrong := verdict(written, "changed"):
            found.append(f"with the change it {wrong}")
    return found


@pytest.mark.parametrize("script", scripts("pytorch", RELEASE), ids=lambda script: script.path)
def test_pytorch(script: Script, tmp_path: Path) -> None:
    assert not faults(script, tmp_path, lambda: None, lambda: None, to_h5=False)


if "keras" in RUNS[RELEASE]:
    import keras
    import tensorflow as tf
    import tf_keras

    @pytest.mark.parametrize("script", scripts("keras", RELEASE), ids=lambda script: script.path)
    def test_keras(script: Script, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        # transformers' users set TF_USE_LEGACY_KERAS, ours do not: tf.keras is then Keras 3
        def use(package: Any) -> Callable[[], None]:
            return lambda: (monkeypatch.setattr(tf, "keras", package), package.backend.clear_session(), package.utils.set_random_seed(0))

        assert not faults(script, tmp_path, use(keras), use(tf_keras), to_h5=True)


def test_every_script_has_a_row() -> None:
    linked = re.findall(r"\(\.\./tests/compatibility/(.+?)\)", TEXT)
    assert sorted(linked) == sorted(str(path.relative_to(SCRIPTS)) for path in SCRIPTS.glob("*/*.py"))


def test_the_rates(record_property: Callable[[str, object], None]) -> None:
    for row in rates():
        record_property("rate", row)  # in the junit report
        assert row in TEXT, f"docs/compatibility.md must say {row}"
