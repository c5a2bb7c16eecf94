"""What a folder's manifest makes of files that are not those that were saved: damage, edits, and saves of other programs."""

import json
import logging
import random
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mobilebert_common import MobileBertTokenizer, MobileBertTokenizerFast
from mobilebert_common.checkpoints import checkpoint, h5, safetensors, torch_bin
from mobilebert_common.errors import CheckpointError
from mobilebert_common.files.folder import CONFIG_FILE, MANIFEST_FILE, Folder, read_consistently, save_files
from mobilebert_common.files.reading import POINTER
from mobilebert_common.model.config import MobileBertConfig
from support.checkpoints import CLASSIFIER, VOCABULARY, make_config, make_weights, save

WEIGHTS = safetensors.WEIGHTS_FILE
POINTER_FILE = POINTER + b"v1\noid sha256:" + b"0" * 64 + b"\nsize 147000000\n"


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint with a tokenizer, saved as models do."""
    folder = tmp_path_factory.mktemp("saved")
    save(folder, CLASSIFIER)
    MobileBertTokenizerFast(vocab=VOCABULARY).save_pretrained(folder)
    return folder


@pytest.fixture
def folder(saved: Path, tmp_path: Path) -> Path:
    shutil.copytree(saved, tmp_path / "model")
    return tmp_path / "model"


def open_all(folder: Path) -> checkpoint.Weights:
    MobileBertTokenizer.from_pretrained(folder)
    MobileBertTokenizerFast.from_pretrained(folder)
    return checkpoint.load(folder, CLASSIFIER)


def edit(folder: Path, **values: Any) -> None:
    file = folder / CONFIG_FILE
    file.write_text(json.dumps({**json.loads(file.read_text()), **values}, indent=1))


def replace_weights(folder: Path, scale: float = 2.0) -> None:
    weights = {name: array * np.float32(scale) for name, array in make_weights(CLASSIFIER).items()}
    safetensors.write(folder / WEIGHTS, weights)


def outcome(folder: Path, file: str, caplog: pytest.LogCaptureFixture) -> str:
    """What opening everything makes of a change in a file."""
    caplog.clear()
    try:
        open_all(folder)
    except CheckpointError:
        return "error"
    warned = [record for record in caplog.records if record.levelno >= logging.WARNING and file in record.getMessage()]
    return "warning" if warned else "silence"


def test_an_untouched_folder_is_silent(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    open_all(folder)
    assert not caplog.text and len(list(folder.iterdir())) >= 6


def test_a_changed_bit_is_never_silent(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    generator = random.Random(0)
    for path in sorted(folder.iterdir()):
        good, found = path.read_bytes(), set()
        for _ in range(40):
            bad, place = bytearray(good), generator.randrange(len(good))
            bad[place] ^= 1 << generator.randrange(8)
            path.write_bytes(bad)
            found.add(outcome(folder, path.name, caplog))
        path.write_bytes(good)
        assert found <= ({"error"} if path.name in (WEIGHTS, MANIFEST_FILE) else {"error", "warning"}), path


@pytest.mark.parametrize(
    ("change", "file"),
    [
        (lambda folder: edit(folder, finetuning_task="mine"), CONFIG_FILE),
        (lambda folder: edit(folder, id2label={"0": "a", "1": "b", "2": "c"}, label2id=None), CONFIG_FILE),
        (lambda folder: (folder / "vocab.txt").write_text("\n".join(VOCABULARY)), "vocab.txt"),
        (lambda folder: (folder / "tokenizer_config.json").write_text('{"model_max_length": 5}'), "tokenizer_config.json"),
    ],
)
def test_an_edit_is_one_warning(
    change: Callable[[Path], object], file: str, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    change(folder)
    for read in (
        lambda: MobileBertTokenizerFast.from_pretrained(folder),
        lambda: MobileBertConfig.from_pretrained(folder),
        lambda: checkpoint.load(folder, CLASSIFIER),
    ):
        caplog.clear()
        read()
        said = [record.getMessage() for record in caplog.records]
        assert len(said) <= 1
        for text in said:
            assert file in text and f"`mobilebert verify --accept {folder}`" in text and WEIGHTS not in text
    assert outcome(folder, file, caplog) == "warning"
    assert checkpoint.accept(folder) == [file]
    assert outcome(folder, file, caplog) == "silence"


@pytest.mark.parametrize("file", [CONFIG_FILE, "tokenizer.json", "tokenizer_config.json"])
def test_an_edit_that_does_not_parse_is_an_error(file: str, folder: Path) -> None:
    (folder / file).write_bytes((folder / file).read_bytes()[:-3])
    with pytest.raises(CheckpointError, match=re.escape(file)):
        open_all(folder)


def test_an_edit_that_does_not_validate_is_an_error(folder: Path) -> None:
    edit(folder, hidden_size=0)
    with pytest.raises(CheckpointError, match=r"config\.json: hidden_size"):
        checkpoint.load(folder, CLASSIFIER)
    assert checkpoint.load(folder, CLASSIFIER, hidden_size=make_config().hidden_size)


def test_other_weights_beside_the_same_configuration(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    replace_weights(folder)
    with pytest.raises(CheckpointError, match="is not the file that was saved") as error:
        checkpoint.load(folder, CLASSIFIER)
    assert error.value.path == folder / WEIGHTS and f"`mobilebert verify --accept {folder}`" in str(error.value)
    with pytest.raises(CheckpointError, match="is not the file that was saved"):
        checkpoint.load(folder, CLASSIFIER, config=make_config())
    caplog.clear()
    assert checkpoint.accept(folder) == [WEIGHTS]
    name, array = next(iter(checkpoint.load(folder, CLASSIFIER).tensors.items()))
    assert np.array_equal(array, make_weights(CLASSIFIER)[name] * np.float32(2.0)) and not caplog.text


@pytest.mark.parametrize("gone", [True, False])
def test_other_weights_beside_no_configuration(gone: bool, folder: Path) -> None:
    replace_weights(folder)
    (folder / CONFIG_FILE).unlink() if gone else (folder / CONFIG_FILE).write_bytes(POINTER_FILE)
    with pytest.raises(CheckpointError, match="is not the file that was saved"):
        checkpoint.load(folder, CLASSIFIER, config=make_config())


def test_another_program_saved_here(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    replace_weights(folder)
    edit(folder, transformers_version="5.23.0")
    checkpoint.load(folder, CLASSIFIER)
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert f"{CONFIG_FILE}, {WEIGHTS}; another program saved here" in caplog.text
    edit(folder, hidden_size=make_config().hidden_size * 2)  # which the weights do not fit
    with pytest.raises(CheckpointError, match="does not fit"):
        checkpoint.load(folder, CLASSIFIER)


def test_what_is_not_usable_is_not_accepted(folder: Path) -> None:
    manifest = (folder / MANIFEST_FILE).read_bytes()
    for change in (
        lambda: replace_weights(folder, np.nan),
        lambda: (folder / WEIGHTS).write_bytes(b"x"),
        lambda: edit(folder, vocab_size=12),
    ):
        change()
        with pytest.raises(CheckpointError):
            checkpoint.accept(folder)
        assert (folder / MANIFEST_FILE).read_bytes() == manifest
    for absent in (folder / WEIGHTS, folder / "nowhere", "owner/name"):
        with pytest.raises(CheckpointError, match="not a folder on this machine"):
            checkpoint.accept(absent)


def test_accept_replaces_a_damaged_manifest(folder: Path) -> None:
    (folder / MANIFEST_FILE).write_text((folder / MANIFEST_FILE).read_text().replace("a", "b", 1))
    with pytest.raises(CheckpointError, match=r"manifest\.json: .*`mobilebert verify --accept"):
        open_all(folder)
    assert set(checkpoint.accept(folder)) == {path.name for path in folder.iterdir()} - {MANIFEST_FILE}
    open_all(folder)
    assert checkpoint.accept(folder) == []


def test_a_folder_without_a_manifest_has_nothing_to_accept(folder: Path) -> None:
    (folder / MANIFEST_FILE).unlink()
    assert checkpoint.accept(folder) == [] and not (folder / MANIFEST_FILE).exists()


def test_a_save_between_is_no_edit(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A reader that finds another file than its manifest says looks again before it warns."""
    save_files(tmp_path, {CONFIG_FILE: b"1", "weights": b"1"})
    saves = iter([b"2", b"3"])

    def read(folder: Folder) -> bytes:
        if data := next(saves, None):
            save_files(tmp_path, {CONFIG_FILE: data, "weights": data})
        with folder.file("weights").open(verify=True) as file:
            return folder.read(CONFIG_FILE) + file.read()

    assert read_consistently(tmp_path, read) == b"33" and not caplog.text



@pytest.mark.parametrize("file", [WEIGHTS, torch_bin.WEIGHTS_FILE, h5.WEIGHTS_FILE, f"{WEIGHTS}.index.json", CONFIG_FILE])
def test_a_git_lfs_pointer_says_so(file: str, folder: Path) -> None:
    (folder / MANIFEST_FILE).unlink()
    if file != CONFIG_FILE:
        (folder / WEIGHTS).unlink()
    (folder / file).write_bytes(POINTER_FILE)
    with pytest.raises(CheckpointError, match=r"is a git-lfs pointer, not the file itself: run `git lfs pull`") as error:
        checkpoint.load(folder, CLASSIFIER)
    assert error.value.path == folder / file


@pytest.mark.parametrize("file", ["vocab.txt", "tokenizer.json", "tokenizer_config.json"])
@pytest.mark.parametrize("kind", [MobileBertTokenizer, MobileBertTokenizerFast])
def test_a_git_lfs_pointer_in_place_of_a_tokenizer_file(kind: Any, file: str, folder: Path) -> None:
    (folder / MANIFEST_FILE).unlink()
    if file == "vocab.txt":
        (folder / "tokenizer.json").unlink()
    (folder / file).write_bytes(POINTER_FILE)
    with pytest.raises(CheckpointError, match=r"is a git-lfs pointer") as error:
        kind.from_pretrained(folder)
    assert error.value.path == folder / file
    if file != "tokenizer_config.json":
        with pytest.raises(CheckpointError, match=r"is a git-lfs pointer"):
            kind(**{"vocab_file" if file == "vocab.txt" else "tokenizer_file": folder / file})


def test_a_folder_without_config_json_names_it(folder: Path) -> None:
    (folder / CONFIG_FILE).unlink()
    for read in (lambda: checkpoint.load(folder, CLASSIFIER), lambda: MobileBertConfig.from_pretrained(folder)):
        with pytest.raises(CheckpointError, match=r"config\.json: is missing: .*config="):
            read()
    assert checkpoint.load(folder, CLASSIFIER, config=make_config()).tensors
