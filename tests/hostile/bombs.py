"""Bombs of many small things: what is cheap once, and is there so often, or so long, that all of it together is not.

Each lies beside the configuration of a small model and beside the largest one there can be, whose limits are the widest.
"""

import functools
import json
import struct
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from mobilebert_common.checkpoints import h5, safetensors, torch_bin
from mobilebert_common.checkpoints.hdf5 import NOWHERE
from mobilebert_common.files.shard_index import MAX_SHARDS, MAX_TENSORS
from support.checkpoints import SIZES
from support.crafted import CALL_TENSOR, ORDERED_DICT, Spec, members_of, number, old_bin, pickle_of, text, zip_of
from support.crafted_h5 import LAYOUT, SYMBOLS, File, header, in_chunks, message, nothing, shaped

WIDE = "\U0001f600"
MEGABYTE = 1 << 20
NOTHING = np.zeros(0, np.float32)
LARGEST = {
    **SIZES,
    "num_hidden_layers": 128,
    "num_feedforward_networks": 16,
    "hidden_size": 64,
    "intra_bottleneck_size": 16,
    "intermediate_size": 16,
    "embedding_size": 16,
}
CONFIGS = {"small": SIZES, "largest": LARGEST}
Make = Callable[[], bytes]


# model.safetensors


def safetensors_of(header: str | bytes, data: bytes = b"") -> bytes:
    raw = header if isinstance(header, bytes) else header.encode()
    return struct.pack("<Q", len(raw)) + raw + data


def empty_tensors(names: list[str], **more: object) -> str:
    entry = {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]}
    return json.dumps({**dict.fromkeys(names, entry), **more}, ensure_ascii=False)


def metadata(count: int, text: str) -> Make:
    return lambda: safetensors_of(json.dumps({"__metadata__": {f"{n:x}": text for n in range(count)}}, ensure_ascii=False))


def in_header(value: str, count: int) -> Make:
    """As many shapes, or offsets, of many numbers."""
    return lambda: safetensors_of("{" + ",".join(f'"{n:x}":{value}' for n in range(count)) + "}")


SAFETENSORS: dict[str, Make] = {
    "as many empty tensors as allowed": lambda: safetensors_of(empty_tensors([f"{n:x}" for n in range(MAX_TENSORS)])),
    "more empty tensors than allowed": lambda: safetensors_of(empty_tensors([f"{n:x}" for n in range(45_000)])),
    "long names": lambda: safetensors_of(empty_tensors([f"{n}".rjust(990, "x") for n in range(3900)])),
    "long wide names": lambda: safetensors_of(empty_tensors([f"{n}".rjust(990, WIDE) for n in range(1000)])),
    "many metadata": metadata(100_000, ""),
    "long metadata": metadata(100, "x" * 40_000),
    "wide metadata": metadata(4, WIDE + "x" * 1_000_000),
    "one wide character in spaces": lambda: safetensors_of(('{"a":"' + WIDE + '"').ljust((4 << 20) - 8) + "}"),
    "long shapes": in_header('{"dtype":"F32","shape":[' + "0," * 4000 + '0],"data_offsets":[0,0]}', 200),
    "long numbers": in_header('{"dtype":"F32","shape":[' + "9" * 4000 + '],"data_offsets":[0,0]}', 1000),
    "lists of nothing": in_header("[[],[],[],[],[],[],[]]", 30_000),
    "escapes": in_header('"' + "\\u0041" * 200 + '"', 3000),
}


# pytorch_model.bin


def bin_with(data: bytes) -> bytes:
    return zip_of({**members_of({}), "archive/data.pkl": b"\x80\x04" + data + b"."})


def shared_shape(sides: int, tensors: int) -> bytes:
    """Tensors that have one tuple for their shapes and strides."""
    place = b"(" + text("storage") + b"ctorch\nFloatStorage\n" + text("0") + text("cpu") + number(0) + b"tQ"
    first = CALL_TENSOR + b"q\2(" + place + b"q\1K\0(" + b"K\0" * sides + b"tq\0h\0\x89)tR"
    others = b"".join(text(f"{n:x}") + b"h\2(h\1K\0h\0h\0\x89)tR" for n in range(tensors))
    data = b"\x80\x02}(" + text("first") + first + others + b"u."
    return zip_of({**members_of({"a": Spec(NOTHING, "0")}), "archive/data.pkl": data})


def shared_key(length: int, tensors: int) -> bytes:
    """Storages that have one long name."""
    place = b"(" + text("storage") + b"ctorch\nFloatStorage\nh\0" + text("cpu") + b"K\0tQ"
    others = b"".join(text(f"{n:x}") + place for n in range(tensors))
    return bin_with(b"}(" + text("x" * length) + b"q\0N" + others + b"u")


def shared_storage(tensors: int) -> bytes:
    """Tensors that are all one megabyte."""
    array = np.zeros(MEGABYTE // 4, np.float32)
    return zip_of(members_of({f"{n:x}": Spec(array, "0") for n in range(tensors)}))


def with_metadata(modules: int, name: str = "") -> bytes:
    entries = b"".join(text(f"{n:x}{name}") + b"}" + text("version") + b"K\1s" for n in range(modules))
    return bin_with(ORDERED_DICT + b"}" + text("_metadata") + b"}(" + entries + b"usb")


def many_members(count: int, name: int = 0) -> bytes:
    good = members_of({"a": Spec(NOTHING, "0")})
    return zip_of({**good, **{f"archive/data/{n}".ljust(name, "0"): b"" for n in range(1, count)}})


def many_storages(count: int) -> dict[str, Spec]:
    return {f"{n:x}": Spec(NOTHING, str(n)) for n in range(count)}


BINS: dict[str, Make] = {
    "a shared shape of 90,000 sides": lambda: shared_shape(90_000, 10_000),
    "a shared shape of 8 sides": lambda: shared_shape(8, 15_000),
    "a shared long key": lambda: shared_key(2_000_000, 10_000),
    "a shared storage": lambda: shared_storage(2000),
    "many empty storages": lambda: zip_of(members_of(many_storages(6000))),
    "many empty storages, old": lambda: old_bin(many_storages(6000)),
    "many names of storages, old": lambda: old_bin({}, keys=[str(n) for n in range(250_000)]),
    "a name twice for each": lambda: bin_with(b"}(" + text("x" * 1_000_000) + b"q\0N" + b"h\0N" * 90_000 + b"u"),
    "many modules": lambda: with_metadata(40_000),
    "long names of modules": lambda: with_metadata(4000, "x" * 1000),
    "wide names of modules": lambda: with_metadata(1000, WIDE + "x" * 4000),
    "numbers of 255 bytes": lambda: bin_with(b"](" + (b"\x8a\xff" + b"\x7f" * 255) * 16_000 + b"e"),
    "many marks": lambda: bin_with(b"(" * 400_000),
    "many protocols": lambda: bin_with(b"\x80\x04" * 400_000 + b"}"),
    "many classes": lambda: bin_with(b"](ctorch\nFloatStorage\nq\0" + b"h\0" * 350_000 + b"e"),
    "a list in itself": lambda: bin_with(b"]q\0(" + b"h\0" * 350_000 + b"e"),
    "a list for each": lambda: bin_with(b"](" + b"]" * 350_000 + b"e"),
    "memo of all": lambda: bin_with(b"N" + b"\x94" * 350_000),
    "deep tuples": lambda: bin_with(b"N" + b"\x85" * 290_000),
    "tuples of three": lambda: bin_with(b"Nq\0" + b"h\0h\0h\0\x87q\0" * 70_000),
    "storages of one description": lambda: bin_with(
        b"(" + text("storage") + b"ctorch\nFloatStorage\n" + text("0") + text("cpu") + b"K\0tq\0](" + b"h\0Q" * 150_000 + b"e"
    ),
    "members of long names": lambda: many_members(3000, name=1200),
    "members of a long folder": lambda: zip_of(members_of(many_storages(4000), "x" * 400)),
    "more members than allowed": lambda: many_members(40_000),
}


# tf_model.h5


def shared_heap(groups: int = 600, links: int = 80) -> bytes:
    """Groups that have their long names in one heap."""
    file = File()
    names = b"".join(b"%03d" % n + b"x" * 960 + b"\0" for n in range(links))
    place = file.add(bytes(8) + names)
    members = []
    for _ in range(groups):
        heap = file.add(b"HEAP" + struct.pack("<4x3Q", 8 + len(names), NOWHERE, place))
        leaves = [file.add(header(nothing())) for _ in range(links)]
        entries = b"".join(struct.pack("<2Q2L16x", 8 + 964 * n, leaf, 0, 0) for n, leaf in enumerate(leaves))
        node = file.add(b"SNOD\1\0" + struct.pack("<H", links) + entries)
        tree = file.tree(0, [struct.pack("<2Q", 0, node)])
        members.append(file.add(header([(SYMBOLS, struct.pack("<2Q", tree, heap))])))
    return file.finished(file.group([(b"%06d" % n, group) for n, group in enumerate(members)]))


def one_group(count: int, leaf: Callable[[File], int], name: bytes = b"%08d:0") -> bytes:
    """A group of a layer, one of a class, and in it many objects."""
    file = File()
    members = [(name % n, leaf(file)) for n in range(count)]
    groups = [file.group(members[start : start + 60_000]) for start in range(0, count, 60_000)]
    scope = file.group([(b"%04d" % n, group) for n, group in enumerate(groups)])
    return file.finished(file.group([(b"layer", scope)]))


def empty_dataset(file: File) -> int:
    return file.add(header(nothing()))


def empty_group(file: File) -> int:
    return file.group([])


def many_messages(file: File) -> int:
    return file.add(header([*nothing(), *[(0, b"")] * 65_000]))


def many_blocks(file: File) -> int:
    """A header that goes on in many other places."""
    first = file.add(b"")
    rest = [message(0x10, struct.pack("<2Q", first + 24 * (n + 1), 24)) for n in range(60_000)]
    file.add(b"".join(rest) + bytes(24))
    body = header([*nothing(), (0x10, struct.pack("<2Q", first, 24))])[16:]
    return file.add(struct.pack("<2BH2L4x", 1, 0, 60_005, 1, len(body)) + body)


def nothing_in_chunks(file: File) -> int:
    """Nothing, and yet as many chunks along its second side as there is no room for."""
    layout = struct.pack("<3BQ3L", 3, 2, 3, NOWHERE, 1, 1, 4)
    return file.add(header([*shaped(0, 1 << 40), (LAYOUT, layout)]))


def filtered_in_chunks(file: File) -> int:
    return file.add(in_chunks(1 << 40, NOWHERE))


def large_messages(objects: int = 2700) -> bytes:
    """Objects whose headers lie in one another, so that all have the same messages of 64 kB."""
    file = File()
    size = 24 * objects
    rest = b"".join(message(kind, content.ljust(65_528, b"\0")) for kind, content in [*nothing()[1:], (0x0B, b"\1\0")])
    headers = bytearray()
    for left in range(size, 0, -24):  # a head, and a shape that ends where those of all the others do
        headers += struct.pack("<2BH2L4x", 1, 0, 4, 1, left - 16 + len(rest)) + struct.pack("<2HB3x", 1, left - 24, 0)
    start = file.add(bytes(headers) + rest)
    return file.finished(file.group([(b"%06d:0" % n, start + 24 * n) for n in range(objects)]))


def zeros_in_chunks() -> bytes:
    """A vector of two gigabytes of zeros in chunks of 16 MB, of which gzip makes two megabytes."""
    file = File()
    packer = zlib.compressobj(9)
    piece = packer.compress(bytes(16 << 20)) + packer.flush()
    side, count = 4 << 20, 128
    chunks = [struct.pack("<2L3Q", len(piece), 0, side * n, 0, file.add(piece)) for n in range(count)]
    tree = file.tree(1, chunks, key=24)
    pipeline = struct.pack("<2B6x4H2L", 1, 1, 1, 0, 1, 1, 4, 0)
    layout = struct.pack("<3BQ2L", 3, 2, 2, tree, side, 4)
    place = file.add(header([*shaped(side * count), (LAYOUT, layout), (0x0B, pipeline)]))
    path = b"mobilebert/tf_mobile_bert_model/mobilebert/pooler/dense/bias:0"
    for name in reversed(path.split(b"/")):
        place = file.group([(name, place)])
    return file.finished(place)


H5S: dict[str, Make] = {
    "a shared heap of long names": shared_heap,
    "many empty datasets": lambda: one_group(60_000, empty_dataset),
    "as many empty datasets as allowed": lambda: one_group(MAX_TENSORS, empty_dataset),
    "long names of datasets": lambda: one_group(9000, empty_dataset, b"%08d" + b"x" * 900 + b":0"),
    "many empty groups": lambda: one_group(40_000, empty_group),
    "many messages": lambda: one_group(4, many_messages),
    "many blocks of messages": lambda: one_group(2, many_blocks),
    "nothing in chunks": lambda: one_group(2, nothing_in_chunks),
    "no chunks of very many": lambda: one_group(2, filtered_in_chunks),
    "large messages of all objects": large_messages,
    "two gigabytes of zeros": zeros_in_chunks,
    "a signature far away": lambda: bytes(8 * MEGABYTE) + h5_signature(),
}


def h5_signature() -> bytes:
    return File().finished(0)


# Shards: {name of the shard: its content} and the index


def one_each(count: int, content: Callable[[str], bytes]) -> dict[str, tuple[list[str], bytes]]:
    """Shards of one tensor."""
    return {f"s{n}": ([f"t{n}"], content(f"t{n}")) for n in range(count)}


def padded(name: str) -> bytes:
    """As much space as the header of one tensor may have."""
    raw = empty_tensors([name]).encode()
    return safetensors_of(raw.ljust(safetensors.HEADER + 2 * safetensors.HEADER_EACH))


def more_padded(name: str) -> bytes:
    return safetensors_of(empty_tensors([name]).encode().ljust(safetensors.MAX_HEADER))


def much_metadata(name: str) -> bytes:
    return safetensors_of(empty_tensors([name], __metadata__={f"{n:x}": "" for n in range(60)}))


def many_others(name: str) -> bytes:
    return safetensors_of(empty_tensors([name, *(f"{name}{n:x}" for n in range(25_000))]))


def bin_junk(opcodes: int) -> Callable[[str], bytes]:
    """A tensor, and attributes of its state_dict that mean nothing."""

    def make(name: str) -> bytes:
        good = pickle_of({name: Spec(NOTHING, "0")})
        junk = b"](" + b"N" * opcodes + b"eb."
        return zip_of({**members_of({name: Spec(NOTHING, "0")}), "archive/data.pkl": good[:-1] + junk})

    return make


def old_junk(name: str) -> bytes:
    """A description of the writer's machine that is long."""
    data = old_bin({name: Spec(NOTHING, "0")})
    place = data.index(b"}(") + 2
    return data[:place] + text("x") + b"]" + b"(e" * 400 + data[place:]


def many_empty(name: str) -> bytes:
    return zip_of(members_of({name: Spec(NOTHING, "0"), **{f"{name}{n}": Spec(NOTHING, "0") for n in range(3000)}}))


def h5_junk(messages: int) -> Callable[[str], bytes]:
    def make(name: str) -> bytes:
        file = File()
        place = file.add(header([*nothing(), *[(0, b"")] * messages]))
        return file.finished(file.group([(name.encode(), place)]))

    return make


def h5_many(name: str) -> bytes:
    file = File()
    return file.finished(file.group([(f"{name}{n:06}".encode(), file.add(header(nothing()))) for n in range(10_000)]))


SHARDS: dict[str, tuple[str, int, Callable[[str], bytes]]] = {
    "of many other tensors": (safetensors.WEIGHTS_FILE, 40, many_others),
    "padded": (safetensors.WEIGHTS_FILE, MAX_SHARDS, padded),
    "padded much more": (safetensors.WEIGHTS_FILE, 20, more_padded),
    "with much metadata": (safetensors.WEIGHTS_FILE, MAX_SHARDS, much_metadata),
    "with few attributes": (torch_bin.WEIGHTS_FILE, MAX_SHARDS, bin_junk(150)),
    "with many attributes": (torch_bin.WEIGHTS_FILE, 40, bin_junk(250_000)),
    "of long system pickles": (torch_bin.WEIGHTS_FILE, 200, old_junk),
    "of many other empty tensors": (torch_bin.WEIGHTS_FILE, 40, many_empty),
    "with few messages": (h5.WEIGHTS_FILE, MAX_SHARDS, h5_junk(220)),
    "with many messages": (h5.WEIGHTS_FILE, 40, h5_junk(60_000)),
    "of many other datasets": (h5.WEIGHTS_FILE, 10, h5_many),
}

# Indexes alone


def index_of(names: Mapping[str, str], **more: object) -> bytes:
    return json.dumps({"weight_map": names, **more}, ensure_ascii=False).encode()


INDEXES: dict[str, Make] = {
    "as many tensors as allowed": lambda: index_of({f"t{n}": "s" for n in range(MAX_TENSORS)}),
    "more tensors than allowed": lambda: index_of({f"t{n}": "s" for n in range(100_000)}),
    "long names of tensors": lambda: index_of({f"{n}".rjust(990, "x"): "s" for n in range(4000)}),
    "wide names of tensors": lambda: index_of({f"{n}".rjust(990, WIDE): "s" for n in range(1000)}),
    "a name of megabytes": lambda: index_of({"x" * 4_000_000: "s"}),
    "a wide name of megabytes": lambda: index_of({WIDE + "x" * 4_000_000: "s"}),
    "long names of files": lambda: index_of({f"t{n}": f"{n:x}".rjust(250, "x") for n in range(990)}),
    "more long names of files": lambda: index_of({f"t{n}": f"{n:x}".rjust(250, "x") for n in range(14_000)}),
    "much metadata": lambda: index_of({"t": "s"}, metadata={f"{n:x}": n for n in range(100_000)}),
    "spaces": lambda: index_of({"t": "s"}).ljust(4 * MEGABYTE),
    "variables of many classes": lambda: index_of({f"{n:x}/a:0": "s" for n in range(15_000)}),
}


def bombs() -> dict[str, Callable[[Path], None]]:
    """{name: what writes its folder} of all."""
    files = {safetensors.WEIGHTS_FILE: SAFETENSORS, torch_bin.WEIGHTS_FILE: BINS, h5.WEIGHTS_FILE: H5S}
    found: dict[str, Callable[[Path], None]] = {}
    for size in CONFIGS:
        for file, makes in files.items():
            for name, make in makes.items():
                found[f"{file}: {name}, {size}"] = functools.partial(_write, size, {file: make})
        for name, make in INDEXES.items():
            indexes = {f"{file}.index.json": make for file in (safetensors.WEIGHTS_FILE,)}
            found[f"index: {name}, {size}"] = functools.partial(_write, size, indexes)
        for name, (file, count, content) in SHARDS.items():
            found[f"{file}: shards {name}, {size}"] = functools.partial(_write_shards, size, file, count, content)
    return found


@functools.cache
def _made(make: Make) -> bytes:
    return make()


def _write(size: str, files: Mapping[str, Make], folder: Path) -> None:
    (folder / "config.json").write_text(json.dumps(CONFIGS[size]))
    (folder / "s").write_bytes(safetensors_of(empty_tensors(["t"])))
    for file, make in files.items():
        (folder / file).write_bytes(_made(make))


def _write_shards(size: str, file: str, count: int, content: Callable[[str], bytes], folder: Path) -> None:
    (folder / "config.json").write_text(json.dumps(CONFIGS[size]))
    most = 60 if size == "small" else count  # a small model has so few tensors
    shards = one_each(min(count, most), content)
    for shard, (_, data) in shards.items():
        (folder / shard).write_bytes(data)
    (folder / f"{file}.index.json").write_bytes(index_of({name: shard for shard, (names, _) in shards.items() for name in names}))
