"""pytorch_model.bin without torch: files made by hand. tests/pt/test_bin.py reads what torch writes."""

import ast
import os
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest

from mobilebert_common.checkpoints import checkpoint, pickled, torch_bin, zipped
from mobilebert_common.errors import CheckpointError
from mobilebert_common.model import dtypes
from support.checkpoints import BASE, equal, make_config, make_weights
from support.crafted import (
    CALL_TENSOR,
    ORDERED_DICT,
    Spec,
    bin_of,
    members_of,
    number,
    old_bin,
    old_bin_of,
    pickle_of,
    specs,
    tensor,
    text,
    zip_of,
)

WEIGHT = np.arange(12, dtype=np.float32).reshape(3, 4)
ITEMS = {"weight": Spec(WEIGHT, "0")}
ARRAYS = {
    "matrix": WEIGHT,
    "transposed": WEIGHT.copy().T,
    "cube": np.arange(24.0).reshape(2, 3, 4).transpose(2, 0, 1),
    "number": np.array(3),
    "empty": np.zeros((0, 3), np.float32),
    "row": np.ones((1, 5), np.float16).T,
    "brain": np.ones(3, ml_dtypes.bfloat16),
}


def open_bytes(folder: Path, data: bytes) -> Any:
    path = folder / "pytorch_model.bin"
    path.write_bytes(data)
    return torch_bin.open_file(path)


@pytest.mark.parametrize("make", [bin_of, old_bin_of])
def test_every_kind_of_tensor(make: Callable[..., bytes], tmp_path: Path) -> None:
    archive = open_bytes(tmp_path, make(ARRAYS))
    found = archive.read(archive.entries)
    assert list(found) == list(archive.entries) == list(ARRAYS)
    for name, array in ARRAYS.items():
        assert (archive.entries[name].dtype, archive.entries[name].shape) == (array.dtype, array.shape)
        assert found[name].dtype == array.dtype and np.array_equal(found[name], array)
    assert list(archive.read(["cube"])) == ["cube"]


@pytest.mark.parametrize("make", [bin_of, old_bin_of])
def test_tensors_may_share_a_storage(make: Callable[..., bytes], tmp_path: Path) -> None:
    data = make({"one": WEIGHT, "other": WEIGHT})
    archive = open_bytes(tmp_path, data)
    assert data.count(WEIGHT.tobytes()) == 1
    assert all(np.array_equal(array, WEIGHT) for array in archive.read(["one", "other"]).values())


@pytest.mark.parametrize("make", [bin_of, old_bin_of])
def test_tensors_that_share_are_not_far_larger_than_the_file(make: Callable[..., bytes], tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="has 144 bytes of tensors that share 48 bytes of storages"):
        open_bytes(tmp_path, make(dict.fromkeys("abc", WEIGHT)))
    open_bytes(tmp_path, make({**dict.fromkeys("abc", WEIGHT), "d": WEIGHT + 1, "e": WEIGHT + 2}))


def test_what_an_opcode_takes_is_bounded() -> None:
    data = b"\x80\x02" + b"N" * 9 + b"."
    with pytest.raises(ValueError, match="before its object"):
        pickled.load(data, 11)
    with pytest.raises(ValueError, match="more than 10 opcodes"):
        pickled.load(data, 10)


@pytest.mark.parametrize("dtype", dtypes.DTYPES)
@pytest.mark.parametrize("make", [bin_of, old_bin_of])
def test_a_checkpoint(make: Callable[..., bytes], dtype: str, tmp_path: Path) -> None:
    weights = make_weights(dtype=dtypes.DTYPES[dtype])
    make_config().save_pretrained(tmp_path)
    (tmp_path / "pytorch_model.bin").write_bytes(make(weights))
    assert equal(checkpoint.load(tmp_path, BASE, "auto").tensors, weights)


def test_only_what_is_asked_for_is_read(tmp_path: Path) -> None:
    """A flipped bit in one tensor's data is found when that one is read."""
    data = bytearray(bin_of({"one": WEIGHT, "other": WEIGHT + 100}))
    data[data.index(WEIGHT.tobytes()) + 5] ^= 1
    archive = open_bytes(tmp_path, bytes(data))
    assert np.array_equal(archive.read(["other"])["other"], WEIGHT + 100)
    with pytest.raises(CheckpointError, match="does not have its checksum"):
        archive.read(["one"])


def test_protocol_4(tmp_path: Path) -> None:
    """Frames, short strings, names from the stack, the memo without numbers."""

    def short(value: str) -> bytes:
        return b"\x8c" + bytes([len(value)]) + value.encode() + b"\x94"

    frame = b"\x95" + (9).to_bytes(8, "little")
    place = b"(" + short("storage") + short("torch") + short("FloatStorage") + b"\x93\x94" + short("0") + short("cpu") + b"K\x0ct\x94Q"
    call = short("torch._utils") + short("_rebuild_tensor_v2") + b"\x93\x94"
    value = call + b"(" + place + b"K\x00K\x03K\x04\x86\x94K\x04K\x01\x86\x94\x89}tR"
    members = members_of(ITEMS)
    members["archive/data.pkl"] = b"\x80\x04" + frame + b"}\x94" + short("weight") + value + b"s."
    assert np.array_equal(open_bytes(tmp_path, zip_of(members)).read(["weight"])["weight"], WEIGHT)


CANARY = "canary"
TOUCH = f"open({CANARY!r}, 'w').close()"
STOP = b"."
CODE: dict[str, bytes] = {  # opcodes that pickle.loads would run
    "os.system": b"cos\nsystem\n(" + text(f"touch {CANARY}") + b"tR",
    "posix.system": b"cposix\nsystem\n(" + text(f"touch {CANARY}") + b"tR",
    "exec": b"cbuiltins\nexec\n(" + text(TOUCH) + b"tR",
    "eval of Python 2": b"c__builtin__\neval\n(" + text(f"open({CANARY!r}, 'w')") + b"tR",
    "named from the stack": text("builtins") + text("exec") + b"\x93(" + text(TOUCH) + b"tR",
    "INST": b"(" + text(f"touch {CANARY}") + b"ios\nsystem\n",
    "OBJ": b"(cos\nsystem\n" + text(f"touch {CANARY}") + b"o",
    "NEWOBJ": b"ccollections\nCounter\n)\x81",
    "NEWOBJ_EX": b"ccollections\nCounter\n)}\x92",
    "EXT1": b"\x82\x01",
    "EXT2": b"\x83\x01\x00",
    "EXT4": b"\x84\x01\x00\x00\x00",
    "copyreg": b"ccopyreg\n_reconstructor\n(cos\nsystem\ncbuiltins\nobject\nNtR",
    "getattr": b"cbuiltins\ngetattr\n(cos\nsystem\n" + text("x") + b"tR",
    "a module of torch": b"ctorch.serialization\nload\n(" + text("x") + b"tR",
    "hub": b"ctorch.hub\nload\n(" + text("x") + b"tR",
    "a path into a known module": b"ctorch._utils\nos.system\n(" + text(f"touch {CANARY}") + b"tR",
    "text persistent id": b"Psomewhere\n",
    "a function called as a type": b"ctorch\nFloatStorage\n)R",
    "a tensor built upon": b"}" + b"ccollections\nOrderedDict\n" + b"}b",
}


@pytest.mark.parametrize("code", CODE)
@pytest.mark.parametrize("place", ["value", "metadata", "hooks", "alone"])
def test_no_code_runs(code: str, place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    pickles = {
        "value": pickle_of({**ITEMS, "bad": CODE[code]}),
        "metadata": pickle_of(ITEMS)[:-2] + CODE[code] + b"bb.",
        "hooks": pickle_of({"weight": tensor(ITEMS["weight"])[: -len(ORDERED_DICT + b"tR")] + CODE[code] + b"tR"}),
        "alone": b"\x80\x02" + CODE[code] + STOP,
    }
    members = {**members_of(ITEMS), "archive/data.pkl": pickles[place]}
    with pytest.raises(CheckpointError):
        open_bytes(tmp_path, zip_of(members))
    assert os.listdir() == ["pytorch_model.bin"]


def test_names_are_told() -> None:
    with pytest.raises(ValueError, match="names 'os system'"):
        pickled.load(b"\x80\x02cos\nsystem\n.")
    with pytest.raises(ValueError, match="opcode INST"):
        pickled.load(b"\x80\x02(ios\nsystem\n.")


def test_the_reader_imports_nothing_that_runs_code() -> None:
    for module in (torch_bin, pickled, zipped):
        tree = ast.parse(Path(module.__file__ or "").read_text())
        imported = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
        imported |= {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
        called = {node.func.id for node in ast.walk(tree) if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)}
        assert not {"pickle", "torch", "importlib", "zipfile"} & imported
        assert not {"eval", "exec", "getattr", "__import__"} & called


PICKLES: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "does not end"),
    "no end": (pickle_of(ITEMS)[:-1], "does not end"),
    "cut": (pickle_of(ITEMS)[:40], "ends inside"),
    "more after the end": (pickle_of(ITEMS) + b"N", "after its pickle"),
    "pops an empty stack": (b"\x80\x02s.", "did not put there"),
    "pops past a mark": (b"\x80\x02}(ss.", "did not put there"),
    "an unknown memo": (b"\x80\x02h\x07.", "did not put there"),
    "an open mark": (b"\x80\x02}(.", "before its object"),
    "two objects": (b"\x80\x02}}.", "before its object"),
    "a list": (b"\x80\x02].", "holds a list"),
    "nested": (b"\x80\x02}" + text("state_dict") + b"}" + text("a") + b"Nss.", "save the state_dict alone"),
    "itself": (b"\x80\x02}q\x00" + text("a") + b"h\x00s.", "holds a dict"),
    "a key twice": (b"\x80\x02}" + (text("a") + tensor(ITEMS["weight"]) + b"s") * 2 + b".", "'a' twice"),
    "a number as key": (b"\x80\x02}K\x01Ns.", "is a int"),
    "a list as key": (b"\x80\x02}]Ns.", "is a list"),
    "odd items": (b"\x80\x02}(" + text("a") + b"u.", "did not put there"),
    "adds to a number": (b"\x80\x02K\x01" + text("a") + b"Ns.", "as if it were a dict"),
    "huge bytes": (b"\x80\x05\x96" + (1 << 62).to_bytes(8, "little") + b".", "BYTEARRAY8"),
    "huge text": (b"\x80\x02X\xff\xff\xff\xff.", "ends inside"),
    "digits": (b"\x80\x02I" + b"9" * 10_000 + b"\n.", ""),
    "too many opcodes": (b"\x80\x02" + b"N" * 500_000 + b".", "opcodes"),
    "too large": (b"\x80\x02" + b"N" * (5 << 20) + b".", "allowed"),
    "bad UTF-8": (b"\x80\x02X\x01\x00\x00\x00\xff.", ""),
    "five arguments": (b"\x80\x02}" + text("a") + CALL_TENSOR + b"(NNNNNtRs.", "not six"),
    "no storage": (b"\x80\x02}" + text("a") + CALL_TENSOR + b"(NK\x00))\x89}tRs.", "other things than a storage"),
    "an unknown storage": (pickle_of({"a": Spec(WEIGHT, "0", "torch\nBoolStorage")}), "'torch BoolStorage'"),
    "a class for a storage": (pickle_of({"a": Spec(WEIGHT, "0", "collections\nOrderedDict")}), "without its type"),
    "a view of a storage": (pickle_of(ITEMS, text("view")), "or a view"),
    "a long name of a storage": (pickle_of({"a": Spec(WEIGHT, "0" * 65)}), "other things than a key"),
    "a long name of a class": (b"\x80\x02c" + b"x" * 500 + b"\ny\n.", "names b'xxx"),
    "a wide name": (pickle_of({"\U0001f600": ITEMS["weight"]}), "impossible name"),
    "a full OrderedDict": (b"\x80\x02ccollections\nOrderedDict\n(]tR.", "from something, not empty"),
}


@pytest.mark.parametrize("wrong", PICKLES)
def test_malformed_pickles(wrong: str, tmp_path: Path) -> None:
    data, reason = PICKLES[wrong]
    with pytest.raises(CheckpointError, match=reason or None):
        open_bytes(tmp_path, zip_of({**members_of(ITEMS), "archive/data.pkl": data}))


TENSORS: dict[str, tuple[dict[str, Spec], str]] = {
    "stride 0": ({"a": Spec(WEIGHT, "0", strides=(0, 1), shape=(9, 4), count=12)}, "storage of 12"),
    "stride 0 of its storage's size": ({"a": Spec(WEIGHT, "0", strides=(0, 0))}, "strides"),
    "a gap": ({"a": Spec(WEIGHT, "0", strides=(8, 1))}, "strides"),
    "rows that overlap": ({"a": Spec(WEIGHT, "0", strides=(2, 1))}, "strides"),
    "an offset": ({"a": Spec(WEIGHT, "0", offset=4, shape=(2, 4))}, "save a clone"),
    "a part": ({"a": Spec(WEIGHT, "0", shape=(2, 4))}, "save a clone"),
    "a storage too short": ({"a": Spec(WEIGHT, "0", count=16, shape=(4, 4), strides=(4, 1))}, "needs 64 bytes"),
    "huge": ({"a": Spec(WEIGHT, "0", count=1 << 46, shape=(1 << 23,) * 2, strides=(1 << 23, 1))}, "needs"),
    "overflow": ({"a": Spec(WEIGHT, "0", shape=(1 << 32, 1 << 32))}, "save a clone"),
    "too huge": ({"a": Spec(WEIGHT, "0", shape=(1 << 64, 1))}, "other things"),
    "negative": ({"a": Spec(WEIGHT, "0", shape=(-3, -4))}, "other things"),
    "negative stride": ({"a": Spec(WEIGHT, "0", strides=(-4, 1))}, "other things"),
    "rank": ({"a": Spec(WEIGHT, "0", shape=(1,) * 10 + (12,), strides=(1,) * 11)}, "dimensions"),
    "fewer strides": ({"a": Spec(WEIGHT, "0", strides=(1,))}, "as many strides"),
    "of two types": ({"a": Spec(WEIGHT, "0"), "b": Spec(WEIGHT, "0", "torch\nIntStorage")}, "differently"),
    "of two sizes": ({"a": Spec(WEIGHT, "0"), "b": Spec(WEIGHT, "0", count=3, shape=(3,), strides=(1,))}, "differently"),
    "no name": ({"": Spec(WEIGHT, "0")}, "impossible name"),
    "NUL in a name": ({"a\0": Spec(WEIGHT, "0")}, "impossible name"),
    "a lone surrogate": ({"\ud800": Spec(WEIGHT, "0")}, "impossible name"),
    "a huge name": ({"a" * 2000: Spec(WEIGHT, "0")}, "impossible name"),
}


@pytest.mark.parametrize("wrong", TENSORS)
@pytest.mark.parametrize("make", [lambda items: zip_of(members_of(items)), old_bin])
def test_tensors_that_do_not_fit_their_storage(make: Callable[..., bytes], wrong: str, tmp_path: Path) -> None:
    items, reason = TENSORS[wrong]
    with pytest.raises(CheckpointError, match=reason or None):
        open_bytes(tmp_path, make(items))


GOOD = members_of(ITEMS)
PAIRS = list(GOOD.items())


def changed(find: bytes, replacement: bytes, last: bool = False) -> bytes:
    data = zip_of(GOOD)
    place = data.rindex(find) if last else data.index(find)
    assert len(find) == len(replacement)
    return data[:place] + replacement + data[place + len(find) :]


def patched(signature: bytes, offset: int, value: bytes, last: bool = False) -> bytes:
    data = zip_of(GOOD)
    place = (data.rindex(signature) if last else data.index(signature)) + offset
    return data[:place] + value + data[place + len(value) :]


CENTRAL, LOCAL, END = b"PK\1\2", b"PK\3\4", b"PK\5\6"
ZIPS: dict[str, tuple[Callable[[], bytes], str]] = {
    "deflated": (lambda: zip_of(GOOD, zipfile.ZIP_DEFLATED), "compresses"),
    "a folder above": (lambda: zip_of({**GOOD, "../x": b""}), "outside the one folder"),
    "two folders": (lambda: zip_of({**GOOD, "other/version": b"3"}), "outside the one folder"),
    "no folder": (lambda: zip_of({name.removeprefix("archive/"): data for name, data in PAIRS}), "outside|which no"),
    "a path upwards": (lambda: zip_of({**GOOD, "archive/../x": b""}), "which no state_dict has"),
    "code": (lambda: zip_of({**GOOD, "archive/code/model.py": b""}), "which no state_dict has"),
    "constants": (lambda: zip_of({**GOOD, "archive/constants.pkl": b""}), "which no state_dict has"),
    "a storage without a number": (lambda: zip_of({**GOOD, "archive/data/x": b""}), "which no state_dict has"),
    "a spare storage": (lambda: zip_of({**GOOD, "archive/data/1": b""}), "no tensor uses"),
    "no storage": (lambda: zip_of([pair for pair in PAIRS if pair[0] != "archive/data/0"]), "has no storage"),
    "no pickle": (lambda: zip_of(PAIRS[1:]), "without data.pkl"),
    "big-endian": (lambda: zip_of({**GOOD, "archive/byteorder": b"big"}), "byteorder"),
    "huge byteorder": (lambda: zip_of({**GOOD, "archive/byteorder": b"little" * 99}), "are allowed"),
    "nothing": (lambda: zip_of({}), "without data.pkl"),
    "twice": (lambda: changed(b"archive/version", b"archive/data/00", True).replace(b"data/00", b"data/0"), ""),
    "encrypted": (lambda: patched(CENTRAL, 8, b"\1"), "encrypted"),
    "on another disk": (lambda: patched(CENTRAL, 34, b"\1"), "damaged"),
    "another size in the header": (lambda: patched(LOCAL, 22, b"\1"), "other sizes"),
    "another name in the header": (lambda: changed(b"archive/data.pkl", b"archive/data.pkx"), "calls itself"),
    "compressed in the header only": (lambda: patched(LOCAL, 8, b"\x08"), "header is not"),
    "flags in the header only": (lambda: patched(LOCAL, 6, b"\x08"), "header is not"),
    "a member on another": (lambda: patched(CENTRAL, 42, b"\0\0\0\0", True), "overlaps"),
    "a member past the end": (lambda: patched(CENTRAL, 42, b"\xff\xff\xff\x7f", True), "overlaps"),
    "a wide size that is not there": (lambda: patched(CENTRAL, 20, b"\xff" * 8), "zip64"),
    "a huge directory": (lambda: patched(END, 12, b"\xff\xff\xff\xff"), "does not end"),
    "many members": (lambda: patched(END, 8, b"\xff\xff\xff\xff"), "zip directory"),
    "one member less": (lambda: patched(END, 8, b"\3\0\3\0"), "no member owns"),
    "a comment": (lambda: zip_of(GOOD)[:-2] + b"\1\0x", "does not end as one"),
    "bytes before": (lambda: b"x" + zip_of(GOOD), "opcode"),
    "bytes after": (lambda: zip_of(GOOD) + b"x", "does not end as one"),
    "a damaged pickle": (lambda: changed(b"_metadata", b"_metadatb"), "checksum"),
    "the start of one": (lambda: b"PK\3\4", "too short"),
    "other bytes before": (lambda: b"PK" + zip_of(GOOD), "zip directory"),
    "empty file": (lambda: b"", "does not end"),
    "another format": (lambda: b"\x89HDF\r\n\x1a\n" + bytes(100), "opcode"),
    "tar": (lambda: bytes(257) + b"ustar" + bytes(300), "opcode"),
    "a bare pickle": (lambda: pickle_of(ITEMS), "no file of torch.save"),
}


@pytest.mark.parametrize("wrong", ZIPS)
def test_malformed_zips(wrong: str, tmp_path: Path) -> None:
    make, reason = ZIPS[wrong]
    with pytest.raises(CheckpointError, match=reason or None):
        open_bytes(tmp_path, make())


OLD = old_bin(ITEMS)
OLDS: dict[str, tuple[bytes, str]] = {
    "big-endian": (old_bin(ITEMS, little=False), "little-endian"),
    "another protocol": (OLD.replace(b"M\xe9\x03.", b"M\xe8\x03."), "not written by torch"),
    "bytes after": (OLD + b"x", "no tensor owns"),
    "truncated": (OLD[:-1], "truncated"),
    "a huge storage": (OLD[: -len(WEIGHT.tobytes()) - 8] + struct.pack("<q", 1 << 62) + WEIGHT.tobytes(), "truncated"),
    "a negative storage": (OLD[: -len(WEIGHT.tobytes()) - 8] + struct.pack("<q", -12) + WEIGHT.tobytes(), "truncated"),
    "a shorter storage": (OLD[: -len(WEIGHT.tobytes()) - 8] + struct.pack("<q", 11) + WEIGHT.tobytes()[:-4], "needs 48"),
    "no storages": (old_bin(ITEMS, keys=[]), "no tensor owns"),
    "a spare storage": (old_bin(ITEMS, keys=["0", "1"]), "no tensor uses"),
    "a storage twice": (old_bin(ITEMS, keys=["0", "0"]), "no list of storages"),
    "code": (OLD.replace(b"ccollections\nOrderedDict", b"cposix\nsystem", 1), "'posix system'"),
    "only the magic number": (OLD[:15], "does not end"),
}


@pytest.mark.parametrize("wrong", OLDS)
def test_malformed_old_files(wrong: str, tmp_path: Path) -> None:
    data, reason = OLDS[wrong]
    with pytest.raises(CheckpointError, match=reason or None):
        open_bytes(tmp_path, data)


@pytest.mark.parametrize("make", [bin_of, old_bin_of])
def test_every_truncation_is_refused(make: Callable[..., bytes], tmp_path: Path) -> None:
    data = make({"weight": WEIGHT})
    for length in range(len(data)):
        with pytest.raises(CheckpointError):
            open_bytes(tmp_path, data[:length])


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="cannot be read"):
        torch_bin.open_file(tmp_path / "pytorch_model.bin")


def test_numbers_are_as_wide_as_written() -> None:
    assert pickled.load(b"\x80\x02" + number(-5) + b".")[0] == -5
    assert specs({"a": WEIGHT, "b": WEIGHT})["a"].key == specs({"a": WEIGHT, "b": WEIGHT})["b"].key


@pytest.mark.parametrize(("length", "fits"), [(64, True), (65, False)])
def test_how_long_the_name_of_a_storage_may_be(length: int, fits: bool, tmp_path: Path) -> None:
    """A number in a zip file, any text before torch 1.6."""
    data = old_bin({"weight": Spec(WEIGHT, "k" * length)})
    if fits:
        assert np.array_equal(open_bytes(tmp_path, data).read(["weight"])["weight"], WEIGHT)
        return
    with pytest.raises(CheckpointError, match="by other things than a key"):
        open_bytes(tmp_path, data)


@pytest.mark.parametrize(("opcode", "count"), [(b")", 0), (b"\x85", 1), (b"\x86", 2), (b"\x87", 3)])
def test_short_tuples_have_opcodes_of_their_own(opcode: bytes, count: int) -> None:
    """As torch.save writes the shapes of vectors, matrices and cubes."""
    data = b"\x80\x02N" + b"".join(b"K" + bytes([number]) for number in range(count)) + opcode + b"\x86."
    assert pickled.load(data)[0] == (None, tuple(range(count)))
