"""What the readers of all dialects have in common: stable files, memory of their own, and a limit on what a file may list."""

import ast
import hashlib
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest
from safetensors.numpy import save as library_save

import mobilebert_common
from mobilebert_common.checkpoints import checkpoint, h5, safetensors, torch_bin
from mobilebert_common.checkpoints.archive import Archive
from mobilebert_common.checkpoints.shards import open_shards
from mobilebert_common.errors import CheckpointError
from mobilebert_common.files import folder as files
from mobilebert_common.files.folder import Folder
from mobilebert_common.files.reading import StableFile
from mobilebert_common.files.shard_index import MAX_TENSORS, read_index
from mobilebert_common.model.architectures import ARCHITECTURES
from mobilebert_common.model.config import CONFIG_FILE
from mobilebert_common.model.schema import expand, expand_optional, most_tensors
from mobilebert_conversion import h5_files
from support.checkpoints import BASE, SIZES, equal, make_config, make_weights
from support.crafted import bin_of, old_bin_of

WEIGHTS = make_weights()
NAME = "pooler.dense.bias"


def write_h5(path: Path) -> None:
    h5_files.write(path, make_config(), BASE, WEIGHTS)


# name of the dialect -> the file, what writes it, what opens it
DIALECTS: dict[str, tuple[str, Callable[[Path], object], Callable[..., Archive]]] = {
    "safetensors": (safetensors.WEIGHTS_FILE, lambda path: safetensors.write(path, WEIGHTS), safetensors.open_file),
    "bin": (torch_bin.WEIGHTS_FILE, lambda path: path.write_bytes(bin_of(WEIGHTS)), torch_bin.open_file),
    "old bin": (torch_bin.WEIGHTS_FILE, lambda path: path.write_bytes(old_bin_of(WEIGHTS)), torch_bin.open_file),
    "h5": (h5.WEIGHTS_FILE, write_h5, h5.open_file),
    "datasets": (h5.WEIGHTS_FILE, write_h5, h5.open_datasets),
}
EVERY = pytest.mark.parametrize("dialect", DIALECTS)


def made(dialect: str, folder: Path) -> Path:
    file, write, _ = DIALECTS[dialect]
    write(folder / file)
    return folder / file


@EVERY
def test_arrays_have_memory_of_their_own(dialect: str, tmp_path: Path) -> None:
    path = made(dialect, tmp_path)
    for file in (path, StableFile(path), StableFile(path, digest=hashlib.sha256(path.read_bytes()).hexdigest())):
        archive = DIALECTS[dialect][2](file)
        arrays = archive.read(archive.entries)
        assert archive.path == path and list(arrays) == list(archive.entries) and len(arrays) == len(WEIGHTS)
        for name, array in arrays.items():
            assert array.flags.writeable and array.flags.aligned and array.dtype == archive.entries[name].dtype
            array[...] = 1
        assert not any((array == 1).all() for array in archive.read(archive.entries).values())


def replace(path: Path) -> None:
    (path.parent / "other").write_bytes(path.read_bytes())
    os.replace(path.parent / "other", path)


def rewrite(path: Path) -> None:
    data, before = path.read_bytes(), path.stat()
    path.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns + 1))


CHANGES: dict[str, tuple[Callable[[Path], object], str]] = {
    "truncated": (lambda path: os.truncate(path, path.stat().st_size // 2), "changed while it was being read"),
    "emptied": (lambda path: os.truncate(path, 0), "changed while it was being read"),
    "longer": (lambda path: os.truncate(path, path.stat().st_size + 1), "changed while it was being read"),
    "replaced by its copy": (replace, "changed while it was being read"),
    "written to": (rewrite, "changed while it was being read"),
    "gone": (Path.unlink, "cannot be read"),
}


@EVERY
@pytest.mark.parametrize("change", CHANGES)
def test_a_file_that_changes_after_its_header_was_read(change: str, dialect: str, tmp_path: Path) -> None:
    path = made(dialect, tmp_path)
    archive = DIALECTS[dialect][2](path)
    CHANGES[change][0](path)
    with pytest.raises(CheckpointError, match=CHANGES[change][1]) as error:
        archive.read(archive.entries)
    assert error.value.path == path


@EVERY
def test_a_file_that_is_truncated_while_its_data_is_read(dialect: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Which would be the end of a process that had mapped it."""
    path = made(dialect, tmp_path)
    archive = DIALECTS[dialect][2](path)
    empty = np.empty

    def cut(*arguments: object) -> np.ndarray:
        os.truncate(path, 100)
        return empty(*arguments)  # type: ignore[call-overload, no-any-return]

    monkeypatch.setattr(np, "empty", cut)
    with pytest.raises(CheckpointError, match=r"truncated|changed while") as error:
        archive.read(archive.entries)
    assert error.value.path == path


@EVERY
def test_a_renamed_file_is_the_same(dialect: str, tmp_path: Path) -> None:
    """As when a save finishes that a crash interrupted."""
    path = made(dialect, tmp_path)
    hidden = path.with_name(".hidden")
    path.rename(hidden)
    archive = DIALECTS[dialect][2](StableFile(path, (hidden, path)))
    hidden.rename(path)
    assert len(archive.read(archive.entries)) == len(WEIGHTS)


@EVERY
def test_a_file_that_is_not_the_one_that_was_saved(dialect: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = made(dialect, tmp_path)
    hashed: list[Path] = []
    compare = StableFile._compare_digest
    monkeypatch.setattr(StableFile, "_compare_digest", lambda self, found: (hashed.append(self.path), compare(self, found))[1])
    archive = DIALECTS[dialect][2](StableFile(path, digest="a" * 64))
    assert hashed == []  # the header is checked first: a hash takes as long as the file is large
    with pytest.raises(CheckpointError, match=r"SHA-256 differs from manifest\.json"):
        archive.read(archive.entries)
    archive = DIALECTS[dialect][2](StableFile(path, digest=hashlib.sha256(path.read_bytes()).hexdigest()))
    archive.read(archive.entries)
    archive.read(archive.entries)
    assert hashed == [path] * 2


@EVERY
def test_no_more_tensors_than_expected(dialect: str, tmp_path: Path) -> None:
    path = made(dialect, tmp_path)
    assert len(DIALECTS[dialect][2](path, len(WEIGHTS)).entries) == len(WEIGHTS)
    with pytest.raises(CheckpointError, match=f"lists more than {len(WEIGHTS) - 1} tensors"):
        DIALECTS[dialect][2](path, len(WEIGHTS) - 1)


def save_shards(folder: Path) -> None:
    names = list(WEIGHTS)
    shards = {"a.safetensors": names[::2], "b.safetensors": names[1::2]}
    for shard, inside in shards.items():
        safetensors.write(folder / shard, {name: WEIGHTS[name] for name in inside})
    index = {name: shard for shard, inside in shards.items() for name in inside}
    contents = {path.name: path.read_bytes() for path in folder.iterdir()}
    contents[f"{safetensors.WEIGHTS_FILE}.index.json"] = json.dumps({"weight_map": index}).encode()
    files.save_files(folder, {**contents, CONFIG_FILE: json.dumps(SIZES).encode()})


def test_shards_are_held_against_the_manifest(tmp_path: Path) -> None:
    save_shards(tmp_path)
    assert equal(checkpoint.load(tmp_path, BASE).tensors, WEIGHTS)
    rewrite(tmp_path / "b.safetensors")
    with pytest.raises(CheckpointError, match=r"b\.safetensors: is not the file that was saved"):
        checkpoint.load(tmp_path, BASE)


def test_a_shard_is_compared_as_soon_as_it_is_open(tmp_path: Path) -> None:
    """And no more of it is kept than the index lists."""
    save_shards(tmp_path)
    opened: list[tuple[str, int]] = []

    def open_shard(file: StableFile | Path, limit: int) -> Archive:
        opened.append((file.name, limit))
        return safetensors.open_file(file, limit)

    path = tmp_path / f"{safetensors.WEIGHTS_FILE}.index.json"
    assert len(open_shards(Folder.open(path.parent), path.name, open_shard=open_shard).entries) == len(WEIGHTS)
    more, fewer = -(-len(WEIGHTS) // 2), len(WEIGHTS) // 2
    assert opened == [("a.safetensors", more + 1), ("b.safetensors", fewer + 1)]  # one more, which an error can name
    safetensors.write(tmp_path / "a.safetensors", {f"{n}": np.zeros(1, np.float32) for n in range(60)})
    with pytest.raises(CheckpointError, match=r"a\.safetensors: (lists|holds) more than"):
        open_shards(Folder.open(path.parent), path.name, open_shard=safetensors.open_file)


def test_an_index_lists_no_more_than_expected(tmp_path: Path) -> None:
    path = tmp_path / "index.json"
    path.write_text(json.dumps({"weight_map": dict.fromkeys("abc", "shard")}))
    assert len(read_index(path, 3)) == 3
    with pytest.raises(CheckpointError, match="lists 3 tensors where at most 2"):
        read_index(path, 2)
    path.write_text(json.dumps({"weight_map": {"one/a:0": "x", "other/a:0": "x"}}))
    with pytest.raises(CheckpointError, match="two model classes"):
        read_index(path)


@pytest.mark.parametrize(
    "case",
    [
        {},
        {"normalization_type": "layer_norm", "num_feedforward_networks": 1},
        {"num_hidden_layers": 24, "num_feedforward_networks": 4, "tie_word_embeddings": False},
        {"num_hidden_layers": 128, "num_feedforward_networks": 16},
    ],
    ids=str,
)
def test_every_file_of_a_configuration_is_within_its_limit(case: dict[str, int]) -> None:
    config = make_config(**case)
    everything = {name for architecture in ARCHITECTURES for name in expand(config, architecture)} | set(expand_optional(config))
    rooted = {f"mobilebert.{name.removeprefix('mobilebert.')}" for name in everything}
    assert len(rooted) + 2 <= most_tensors(config) <= MAX_TENSORS  # position_ids, and the bias of a tied decoder


def test_nothing_is_mapped() -> None:
    """A mapped file that another process truncates ends this one with SIGBUS."""
    for path in Path(mobilebert_common.__file__).parent.rglob("*.py"):
        tree = ast.parse(path.read_text())
        named = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
        imported = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import | ast.ImportFrom) for alias in node.names}
        assert not {"mmap", "memmap"} & (named | imported), path


@pytest.mark.skipif(sys.platform == "win32", reason="no pipes there")
def test_what_is_no_regular_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    before = len(os.listdir("/dev/fd"))
    for name in ("pipe", "folder"):
        with pytest.raises(CheckpointError, match="is not a regular file"), StableFile(tmp_path / name).open():
            pass
    assert len(os.listdir("/dev/fd")) == before


@pytest.mark.parametrize("index", [[], {"a": 5}, {"a": "shard", "b": 5}, {"a": None, "b": "shard"}], ids=str)
def test_an_index_maps_names_to_files(index: object, tmp_path: Path) -> None:
    path = tmp_path / "index.json"
    path.write_text(json.dumps({"weight_map": index}))
    with pytest.raises(CheckpointError, match="does not map tensor names to file names"):
        read_index(path)


def test_safetensors_are_written_as_by_the_library(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    shapes = [(), (0,), (3,), (2, 5), (1, 1, 7)]
    tensors = {
        f"{dtype}.ü{number}": generator.integers(0, 2, shape).astype(dtype)
        for dtype in (ml_dtypes.bfloat16 if name == "bfloat16" else name for name in safetensors.WRITTEN)
        for number, shape in enumerate(shapes)
    }
    tensors["transposed"] = generator.normal(size=(4, 3)).T
    safetensors.write(tmp_path / "ours", tensors)
    arrays = {name: np.ascontiguousarray(array).reshape(array.shape) for name, array in tensors.items()}
    assert (tmp_path / "ours").read_bytes() == library_save(arrays, metadata={"format": "pt"})
