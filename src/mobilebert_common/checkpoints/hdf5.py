"""The datasets of an HDF5 file in the layout that h5py writes by default, found without libhdf5.

libhdf5 follows links out of the file, unpacks without end, and loops for ever in some damaged files. What Keras and
transformers write needs a small part of the format: groups as B-trees of symbols, and datasets in one piece or in chunks under
gzip. All else is refused. Every structure is visited once, so that no loop of addresses can hold the reader, and all that
structures claim to have is counted, for they may overlap.
"""

import itertools
import math
import mmap
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field

import ml_dtypes
import numpy as np

from .archive import MAX_NAME, MAX_RANK, Entry, is_name

SIGNATURE = b"\x89HDF\r\n\x1a\n"
NOWHERE = (1 << 64) - 1  # the address of what is not there
HEAD = 96  # bytes of the first structure
MAX_DEPTH = 40
MAX_STEPS = 200_000  # messages, links, nodes and chunks of a file
MAX_CHUNK = 16 << 20  # bytes
SHUFFLE, DEFLATE = 2, 1
FILTERS: tuple[list[int], ...] = ([], [SHUFFLE], [DEFLATE], [SHUFFLE, DEFLATE])


def _float(size: int, exponent: int, mantissa: int) -> bytes:
    """How HDF5 spells a little-endian IEEE type."""
    bits = 8 * size
    layout = struct.pack("<2H4BL", 0, bits, mantissa, exponent, 0, mantissa, (1 << (exponent - 1)) - 1)
    return struct.pack("<4BL", 0x11, 0x20, bits - 1, 0, size) + layout


def _integer(size: int, signed: bool) -> bytes:
    return struct.pack("<4BL2H", 0x10, 8 * signed, 0, 0, size, 0, 8 * size)


TYPES: dict[bytes, np.dtype] = {  # weights are the floats, the rest a Keras file keeps for its optimizer
    _float(2, 5, 10): np.dtype("<f2"),
    _float(4, 8, 23): np.dtype("<f4"),
    _float(8, 11, 52): np.dtype("<f8"),
    struct.pack("<4BL", 0x15, 0, 0, 0, 2): np.dtype(ml_dtypes.bfloat16),  # two opaque bytes, as Keras writes it
    _integer(4, True): np.dtype("<i4"),
    _integer(4, False): np.dtype("<u4"),
    _integer(8, True): np.dtype("<i8"),
}
# messages of an object's header
SPACE, TYPE, LAYOUT, PIPELINE, CONTINUATION, SYMBOLS = 0x01, 0x03, 0x08, 0x0B, 0x10, 0x11
IGNORED = {0x00, 0x04, 0x05, 0x0C, 0x0D, 0x0E, 0x12}  # nothing, fill values, attributes, a comment, times
STRANGE = {
    **dict.fromkeys((0x02, 0x06), "has a link that leads elsewhere: soft or external, or a group of a later format"),
    0x07: "has a dataset that keeps its data elsewhere: external",
}
KNOWN = {SPACE, TYPE, LAYOUT, PIPELINE, CONTINUATION, SYMBOLS}


@dataclass(frozen=True)
class Dataset(Entry):
    """A dataset and where its data lies.

    Attributes:
        start: where it lies in one piece; 0 where it is empty or in chunks.
        chunk: shape of a chunk.
        filters: as they were applied in writing.
        chunks: {first element: (start, bytes)}.
    """

    start: int = 0
    chunk: tuple[int, ...] | None = None
    filters: tuple[int, ...] = ()
    chunks: dict[tuple[int, ...], tuple[int, int]] = field(default_factory=dict)

    @property
    def nbytes(self) -> int:
        """Size of the array."""
        return math.prod(self.shape) * self.dtype.itemsize


def datasets(data: mmap.mmap) -> dict[str, Dataset]:
    """{path: Dataset} of all in a file.

    Raises:
        ValueError, struct.error: a malformed file, or one that needs more of the format.
    """
    return Reader(data).datasets()


class Reader:
    """A file, the addresses that were visited, and how many small things were."""

    def __init__(self, data: mmap.mmap) -> None:
        self.data = data
        self.seen: set[int] = set()
        self.steps = 0

    def unpack(self, layout: str, place: int) -> tuple[int, ...]:
        """Little-endian numbers at an address."""
        if place > len(self.data):
            raise ValueError("points past its end")
        return struct.unpack_from(f"<{layout}", self.data, place)

    def visit(self, place: int, signature: bytes = b"") -> None:
        """Go to a structure for the first and only time."""
        if place in self.seen or self.data[place : place + len(signature)] != signature:
            raise ValueError(f"reaches a structure a second time, or one at {place:,} that is no {signature.decode() or 'object'}")
        self.seen.add(place)

    def count(self, steps: int) -> None:
        """Keep account of what is looked at one by one."""
        self.steps += steps
        if self.steps > MAX_STEPS:
            raise ValueError(f"has more than {MAX_STEPS:,} parts")

    def datasets(self) -> dict[str, Dataset]:
        """{path: what and where it is} of every dataset, after a walk over all groups that meets nothing twice."""
        if self.data[:9] != SIGNATURE + b"\0" or self.unpack("2B", 13) != (8, 8):
            raise ValueError("is no HDF5 file of the kind that Keras writes")
        base, _, end, driver, _, root = self.unpack("6Q", 24)
        if (base, end, driver) != (0, len(self.data), NOWHERE):
            raise ValueError("is truncated, or is in several parts")
        found: dict[str, Dataset] = {}
        objects = [("", root)]
        while objects:
            place, address = objects.pop()
            if place.count("/") > MAX_DEPTH:
                raise ValueError(f"holds too many levels, such as {place!r:.200}")
            messages = self.messages(address)
            if SYMBOLS in messages:
                objects += reversed([*self.members(place, messages[SYMBOLS])])
            elif LAYOUT in messages:
                found[place] = self.dataset(place, messages)
            else:
                raise ValueError(f"holds {place!r:.200}, which is no group or dataset")
        self.check_overlap(found)
        return found

    def messages(self, address: int) -> dict[int, bytes]:
        """{kind: content} of an object's header."""
        self.visit(address)
        version, _, count, _, size = self.unpack("2BHLL", address)
        if version != 1:
            raise ValueError("has an object of a later format than Keras writes")
        found: dict[int, bytes] = {}
        blocks = [(address + 16, size)]
        for place, left in blocks:  # which grows
            if place + left > len(self.data):
                raise ValueError("has an object that ends after the file")
            while left >= 8 and count:
                self.count(1)
                kind, length, flags = self.unpack("2HB", place)
                if kind not in KNOWN | IGNORED:
                    raise ValueError(STRANGE.get(kind, f"has an object with a message of kind {kind}, which no model has"))
                if length + 8 > left or (kind in KNOWN and (flags & 2 or kind in found)):
                    raise ValueError(f"has an object with a message of kind {kind} that is damaged, or kept elsewhere")
                content = self.data[place + 8 : place + 8 + length]
                if kind == CONTINUATION:
                    start, more = struct.unpack_from("<2Q", content)
                    self.visit(start)
                    blocks.append((start, more))
                elif kind in KNOWN:
                    found[kind] = content
                place, left, count = place + 8 + length, left - 8 - length, count - 1
        return found

    def members(self, group: str, content: bytes) -> Iterator[tuple[str, int]]:
        """The paths and addresses of a group's members."""
        for name, address in self.links(content):
            if len(group) + len(name) >= MAX_NAME:
                raise ValueError(f"has a path too long, below {group!r:.200}")
            yield f"{group}/{name}".removeprefix("/"), address

    def links(self, content: bytes) -> Iterator[tuple[str, int]]:
        """The names and addresses of a group's members."""
        tree, heap = struct.unpack_from("<2Q", content)
        self.visit(heap, b"HEAP")
        _, length, _, start = self.unpack("L3Q", heap + 4)
        if start + length > len(self.data):
            raise ValueError("has a group whose names lie after the file")
        names: set[str] = set()
        for node in self.leaves(tree, 0, 8):
            self.visit(node, b"SNOD")
            version, _, count = self.unpack("2BH", node + 4)
            self.count(count)
            for entry in range(node + 8, node + 8 + 40 * count, 40):
                offset, address, cached = self.unpack("2QL", entry)
                longest = min(length, offset + 4 * MAX_NAME + 1)  # in UTF-8, and the zero that ends it
                end = self.data.find(b"\0", start + offset, start + longest) if offset < length else -1
                raw = self.data[start + offset : end] if end >= 0 else b""
                name = raw.decode("utf-8")
                if version != 1 or cached not in (0, 1):
                    raise ValueError(f"has a link {name!r:.200} that leads elsewhere")
                if not is_name(name) or "/" in name or name in names:
                    raise ValueError(f"has the impossible name {name!r:.200}, or has it twice")
                names.add(name)
                yield name, address

    def leaves(self, address: int, kind: int, key: int) -> Iterator[int]:
        """What the leaves of a B-tree point at; keys, of `key` bytes, are not needed."""
        for place in self.leaf_entries(address, kind, key):
            yield self.unpack("Q", place + key)[0]

    def leaf_entries(self, address: int, kind: int, key: int) -> Iterator[int]:
        """The places of keys in the leaves of a B-tree, each followed by the address it is for."""
        nodes: list[tuple[int, int | None]] = [(address, None)]
        while nodes:
            place, expected = nodes.pop()
            self.visit(place, b"TREE")
            found, level, count = self.unpack("2BH", place + 4)
            if found != kind or expected not in (None, level):
                raise ValueError("has a B-tree of another kind or depth than it says")
            self.count(count)
            entries = range(place + 24, place + 24 + count * (key + 8), key + 8)
            if level:
                nodes += [(self.unpack("Q", entry + key)[0], level - 1) for entry in reversed(entries)]
            else:
                yield from entries

    def dataset(self, name: str, messages: dict[int, bytes]) -> Dataset:
        """What a dataset's header says, checked."""

        def wrong(reason: str) -> ValueError:
            return ValueError(f"dataset {name!r:.200} {reason}")

        if not {SPACE, TYPE} <= set(messages):
            raise wrong("has no shape or type")
        dtype = next((dtype for known, dtype in TYPES.items() if messages[TYPE][: len(known)] == known), None)
        if dtype is None:
            raise wrong("has a type that no weight has")
        version, rank = messages[SPACE][:2]
        if version != 1 or rank > MAX_RANK:
            raise wrong("has no shape or too many dimensions")
        shape = struct.unpack_from(f"<{rank}Q", messages[SPACE], 8)
        version, kind = messages[LAYOUT][:2]
        filters = _filters(messages[PIPELINE]) if PIPELINE in messages else []
        if filters not in FILTERS:
            raise wrong(f"has the filters {filters}; only gzip and shuffle are known here")
        if version != 3 or kind not in (1, 2) or (kind == 1 and filters):
            raise wrong("keeps its data elsewhere: external, virtual or in its header")
        if kind == 1:
            start, length = struct.unpack_from("<2Q", messages[LAYOUT], 2)
            found = Dataset(dtype, shape, start if math.prod(shape) else 0)
            if found.nbytes and (length != found.nbytes or start + length > len(self.data)):
                raise wrong(f"of shape {list(shape)} does not lie in the file")
            return found
        sides, tree = struct.unpack_from("<BQ", messages[LAYOUT], 2)
        *chunk, item = struct.unpack_from(f"<{sides}L", messages[LAYOUT], 11)
        sizes = [max(1, side) for side in shape]
        fits = len(chunk) == rank and all(0 < part <= side for side, part in zip(sizes, chunk, strict=True))
        if not fits or item != dtype.itemsize or math.prod(chunk) * item > MAX_CHUNK:
            raise wrong(f"has chunks of shape {chunk}")
        found = Dataset(dtype, shape, 0, tuple(chunk), tuple(filters), self.chunks(tree, rank) if tree != NOWHERE else {})
        if math.prod(-(-side // part) for side, part in zip(shape, chunk, strict=True)) != len(found.chunks):
            raise wrong("does not have all its chunks")
        if any(first not in found.chunks for first in firsts(found)):
            raise wrong("has chunks in other places than its shape says")
        return found

    def chunks(self, tree: int, rank: int) -> dict[tuple[int, ...], tuple[int, int]]:
        """{first element: (start, bytes)} of a dataset's chunks."""
        found = {}
        for entry in self.leaf_entries(tree, 1, 16 + 8 * rank):
            size, skipped, *first, _, start = self.unpack(f"2L{rank + 2}Q", entry)
            if skipped or start + size > len(self.data):
                raise ValueError("has a chunk that does not lie in the file, or without its filters")
            found[tuple(first)] = (start, size)
        return found

    def check_overlap(self, found: dict[str, Dataset]) -> None:
        """Every byte of the file is of one dataset at most, and those of its head are of none."""
        spans = [(0, HEAD)]
        spans += [(one.start, one.start + one.nbytes) for one in found.values() if one.nbytes and one.chunk is None]
        spans += [(start, start + size) for one in found.values() for start, size in one.chunks.values()]
        if any(start < stop for (_, stop), (start, _) in itertools.pairwise(sorted(spans))):
            raise ValueError("has datasets that overlap")


def firsts(dataset: Dataset) -> Iterator[tuple[int, ...]]:
    """The first elements of all chunks a dataset must have."""
    assert dataset.chunk
    return itertools.product(*(range(0, side, part) for side, part in zip(dataset.shape, dataset.chunk, strict=True)))


def _filters(content: bytes) -> list[int]:
    """The numbers of a pipeline's filters."""
    version, count = content[:2]
    if version != 1 or count > 8:
        return [-1]
    found, place = [], 8
    for _ in range(count):
        number, name, _, values = struct.unpack_from("<4H", content, place)
        found.append(number)
        place += 8 + -(-name // 8) * 8 + 4 * (values + values % 2)
    return found
