"""The datasets of an HDF5 file in the layout that h5py writes by default, found without libhdf5.

libhdf5 follows links out of the file, unpacks without end, and loops for ever in some damaged files. What Keras and
transformers write needs a small part of the format: groups as B-trees of symbols, and datasets in their header, in one piece or
in chunks under gzip. All else is refused. Every structure is visited once, so that no loop of addresses can hold the reader.
All that structures claim to have is counted, for they may overlap, and a step costs little whatever a structure claims.
"""

import itertools
import math
import struct
from array import array
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, BinaryIO

import ml_dtypes
import numpy as np

from .archive import MAX_NAME, MAX_RANK, Entry, is_name, too_many

SIGNATURE = b"\x89HDF\r\n\x1a\n"
NOWHERE = (1 << 64) - 1  # the address of what is not there
HEAD = 96  # bytes of the first structure
MAX_DEPTH = 40
MAX_CHUNK = 16 << 20  # bytes
MAX_MESSAGE = 512  # bytes of a message that are looked at
BLOCK, BLOCKS = 1 << 13, 512  # bytes read at a time, and how many times they are kept
# what a file may have at most, at all, and for each tensor
STEPS = 200_000, 128, 64  # messages, links, nodes and chunks
LINKS = 100_000, 32, 4  # groups and datasets
CHARACTERS = 8 << 20, 4096, 400  # of the paths of all groups and datasets
# how structures begin, and what lies in them
SUPERBLOCK = struct.Struct("<8xB4x2B9x6Q")  # version; bytes of an address, of a length; base, -, end, driver, -, root
OBJECT, LATER = struct.Struct("<BxH4xL"), ord("O")  # version, messages, bytes; later versions begin with OHDR
MESSAGE = struct.Struct("<2HB")  # kind, bytes, flags
HEAP = struct.Struct("<4s4xQ8xQ")  # signature, bytes, where they are
TREE = struct.Struct("<4s2BH")  # signature, kind, level, entries
NODE = struct.Struct("<4sBxH")  # signature, version, entries
ENTRY = struct.Struct("<2QL")  # where the name is, the object, the kind of link
PAIR, ADDRESS, NO_NUMBERS = struct.Struct("<2Q"), struct.Struct("<Q"), struct.Struct("")
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
SPACE, LINK_INFO, TYPE, LINK, LAYOUT, PIPELINE, CONTINUATION, SYMBOLS = 0x01, 0x02, 0x03, 0x06, 0x08, 0x0B, 0x10, 0x11
IGNORED = {0x00, 0x04, 0x05, 0x0C, 0x0D, 0x0E, 0x12}  # nothing, fill values, attributes, a comment, times
COMPACT, CONTIGUOUS, CHUNKED = 0, 1, 2  # where a dataset's data lies: in its header, in one piece, in chunks
KNOWN = {SPACE, TYPE, LAYOUT, PIPELINE, CONTINUATION, SYMBOLS}


class Unknown(ValueError):
    """A part of the format that other writers use and this reader does not know."""


@dataclass(frozen=True, slots=True)
class Dataset(Entry):
    """A dataset and where its data lies.

    Attributes:
        start: where it lies in one piece; 0 where it is empty or in chunks.
        chunk: shape of a chunk.
        filters: as they were applied in writing.
        chunks: start and size of each chunk in turn, in the order of `firsts`.
    """

    start: int = 0
    chunk: tuple[int, ...] | None = None
    filters: tuple[int, ...] = ()
    chunks: "array[int]" = field(default_factory=lambda: array("Q"))

    @property
    def nbytes(self) -> int:
        """Size of the array."""
        return math.prod(self.shape) * self.dtype.itemsize


def datasets(file: BinaryIO, size: int, limit: int) -> dict[str, Dataset]:
    """{path: Dataset} of all in a file of `size` bytes.

    Args:
        limit: how many there may be.
    Raises:
        ValueError, struct.error: a malformed file, or one that needs more of the format, which is Unknown.
    """
    place = 0
    while place + HEAD <= size:  # before the signature, there may be a block of the user's
        file.seek(place)
        if file.read(len(SIGNATURE)) == SIGNATURE:
            return Reader(Blocks(file, place, size), limit).datasets()
        place = 2 * place or 512
    raise ValueError("is truncated or no HDF5 file")


class Blocks:
    """The bytes of a file from `base` on, which is where its addresses count from; those read last are kept."""

    def __init__(self, file: BinaryIO, base: int, size: int) -> None:
        self.file = file
        self.base = base
        self.size = size - base
        self.kept: dict[int, bytes] = {}

    def read(self, place: int, length: int) -> bytes:
        """Some bytes, fewer than a block has."""
        number, start = divmod(place, BLOCK)
        stop = start + length
        if stop > len(block := self.kept.get(number, b"")):  # seldom
            if place + length > self.size:
                raise ValueError("is truncated, or points past its end")
            block = self.block(number) + (self.block(number + 1) if stop > BLOCK else b"")
            if stop > len(block):
                raise ValueError("is truncated")
        return block[start:stop]

    def unpack(self, layout: struct.Struct, place: int) -> tuple[Any, ...]:
        """Numbers at an address."""
        number, start = divmod(place, BLOCK)
        block = self.kept.get(number, b"")
        if start + layout.size <= len(block):
            return layout.unpack_from(block, start)
        return layout.unpack(self.read(place, layout.size))

    def block(self, number: int) -> bytes:
        """BLOCK bytes, or what the file has of them."""
        if number not in self.kept:
            if len(self.kept) == BLOCKS:
                self.kept.clear()
            self.file.seek(self.base + number * BLOCK)
            self.kept[number] = self.file.read(BLOCK)
        return self.kept[number]


class Budget:
    """What a file may still have of some small things."""

    def __init__(self, name: str, allowed: tuple[int, int, int], limit: int) -> None:
        most, at_all, each = allowed
        self.name = name
        self.most = self.left = min(most, at_all + each * limit)

    def spend(self, count: int) -> None:
        """Keep account of what is looked at or kept."""
        self.left -= count
        if self.left < 0:
            raise ValueError(f"has more than {self.most:,} {self.name}")


class Reader:
    """A file, the addresses that were visited, and how much more there may be."""

    def __init__(self, blocks: Blocks, limit: int) -> None:
        self.blocks = blocks
        self.limit = limit
        self.seen: set[int] = set()
        self.steps = Budget("parts", STEPS, limit)
        self.links = Budget("groups and datasets", LINKS, limit)
        self.characters = Budget("characters in the paths of its groups and datasets", CHARACTERS, limit)

    def visit(self, place: int, layout: struct.Struct, signature: bytes | None = None) -> tuple[Any, ...]:
        """Go to a structure for the first and only time; the numbers it begins with, a signature first where it has one."""
        if place in self.seen:
            raise ValueError(f"reaches the structure at {place:,} a second time")
        self.seen.add(place)
        self.steps.spend(1)
        found = self.blocks.unpack(layout, place)
        if signature is not None and found[0] != signature:
            raise ValueError(f"has no {signature.decode()} at {place:,}")
        return found

    def datasets(self) -> dict[str, Dataset]:
        """{path: what and where it is} of every dataset, after a walk over all groups that meets nothing twice."""
        version, offsets, lengths, base, _, end, driver, _, root = self.blocks.unpack(SUPERBLOCK, 0)
        if version:
            raise Unknown("is of a later format than Keras writes")
        if (offsets, lengths) != (8, 8):
            raise ValueError("is no HDF5 file of the kind that Keras writes")
        if (base, end, driver) != (self.blocks.base, self.blocks.base + self.blocks.size, NOWHERE):
            raise ValueError("is truncated, or is in several parts")
        found: dict[str, Dataset] = {}
        objects = [("", root)]
        while objects:
            path, address = objects.pop()
            if path.count("/") > MAX_DEPTH:
                raise ValueError(f"holds too many levels, such as {path[:200]!r}")
            messages = self.messages(address)
            if SYMBOLS in messages:
                objects += reversed([*self.members(path, *messages[SYMBOLS])])
            elif LAYOUT in messages:
                if len(found) == self.limit:
                    raise ValueError(too_many(self.limit))
                found[path] = self.dataset(path, messages)
            else:
                raise ValueError(f"holds {path[:200]!r}, which is no group or dataset")
        self.check_overlap(found)
        return found

    def messages(self, address: int) -> dict[int, tuple[int, int]]:
        """{kind: where its content is and how long} of an object's header."""
        version, count, size = self.visit(address, OBJECT)
        if version == LATER:
            raise Unknown("has an object of a later format than Keras writes")
        if version != 1:
            raise ValueError("has an object that is damaged")
        found: dict[int, tuple[int, int]] = {}
        blocks = [(address + 16, size)]
        for place, left in blocks:  # which grows
            if place + left > self.blocks.size:
                raise ValueError("has an object that ends after the file")
            while left >= 8 and count:
                self.steps.spend(1)
                kind, length, flags = self.blocks.unpack(MESSAGE, place)
                _check_message(kind, flags, length + 8 > left or (kind in KNOWN and kind in found))
                if kind in (CONTINUATION, SYMBOLS) and length < PAIR.size:
                    raise ValueError(f"has an object with a message of kind {kind} that is too short")
                if kind == CONTINUATION:
                    start, more = self.blocks.unpack(PAIR, place + 8)
                    self.visit(start, NO_NUMBERS)
                    blocks.append((start, more))
                elif kind in KNOWN:
                    found[kind] = (place + 8, length)
                place, left, count = place + 8 + length, left - 8 - length, count - 1
        return found

    def content(self, place: int, length: int) -> bytes:
        """The start of a message, which is all that is needed of it."""
        return self.blocks.read(place, min(length, MAX_MESSAGE))

    def members(self, group: str, place: int, length: int) -> Iterator[tuple[str, int]]:
        """The paths and addresses of a group's members."""
        if length < PAIR.size:
            raise ValueError("has a group without members")
        for name, address in self.members_of(*self.blocks.unpack(PAIR, place)):
            path = f"{group}/{name}" if group else name
            if len(path) > MAX_NAME:
                raise ValueError(f"has a path too long, below {group[:200]!r}")
            self.links.spend(1)
            self.characters.spend(len(path))
            yield path, address

    def members_of(self, tree: int, heap: int) -> Iterator[tuple[str, int]]:
        """The names and addresses of a group's members, sorted as HDF5 does."""
        _, length, start = self.visit(heap, HEAP, b"HEAP")
        if start + length > self.blocks.size:
            raise ValueError("has a group whose names lie after the file")
        last = ""
        for node in self.leaves(tree):
            _, version, count = self.visit(node, NODE, b"SNOD")
            self.steps.spend(count)
            for entry in range(node + 8, node + 8 + 40 * count, 40):
                offset, address, cached = self.blocks.unpack(ENTRY, entry)
                name = self.name(start + offset, length - offset)
                if version != 1 or cached not in (0, 1):
                    raise ValueError(f"has a link {name[:200]!r} that leads elsewhere")
                if not is_name(name) or "/" in name or name <= last:
                    raise ValueError(f"has the impossible name {name[:200]!r}, or has it twice or out of order")
                last = name
                yield name, address

    def name(self, place: int, left: int) -> str:
        """A name in a heap, which a zero ends; "" where none does."""
        raw = self.blocks.read(place, min(left, MAX_NAME + 1)) if left > 0 else b""
        return raw.partition(b"\0")[0].decode() if b"\0" in raw else ""

    def leaves(self, tree: int) -> Iterator[int]:
        """What the leaves of a group's B-tree point at."""
        for place in self.leaf_entries(tree, 0, 8):
            yield self.blocks.unpack(ADDRESS, place + 8)[0]

    def leaf_entries(self, address: int, kind: int, key: int) -> Iterator[int]:
        """The places of keys, of `key` bytes, in the leaves of a B-tree, each followed by the address it is for."""
        nodes: list[tuple[int, int | None]] = [(address, None)]
        while nodes:
            place, expected = nodes.pop()
            _, found, level, count = self.visit(place, TREE, b"TREE")
            if found != kind or expected not in (None, level):
                raise ValueError("has a B-tree of another kind or depth than it says")
            self.steps.spend(count)
            entries = range(place + 24, place + 24 + count * (key + 8), key + 8)
            if level:
                nodes += [(self.blocks.unpack(ADDRESS, entry + key)[0], level - 1) for entry in reversed(entries)]
            else:
                yield from entries

    def dataset(self, name: str, messages: dict[int, tuple[int, int]]) -> Dataset:
        """What a dataset's header says, checked."""
        contents = {kind: self.content(*place) for kind, place in messages.items()}
        if not {SPACE, TYPE} <= set(contents):
            raise ValueError(f"dataset {name[:200]!r} has no shape or type")
        dtype = next((dtype for known, dtype in TYPES.items() if contents[TYPE][: len(known)] == known), None)
        if dtype is None:
            raise ValueError(f"dataset {name[:200]!r} has a type that no weight has")
        version, rank = contents[SPACE][:2]
        if version != 1 or rank > MAX_RANK:
            raise ValueError(f"dataset {name[:200]!r} has no shape or too many dimensions")
        shape = struct.unpack_from(f"<{rank}Q", contents[SPACE], 8)
        filters = _filters(contents[PIPELINE]) if PIPELINE in contents else []
        if filters not in FILTERS:
            raise Unknown(f"has the filters {filters} on dataset {name[:200]!r}; only gzip and shuffle are known here")
        version, kind = contents[LAYOUT][:2]
        if version != 3:
            raise Unknown(f"has dataset {name[:200]!r} in a layout of a later format than Keras writes, or one that is virtual")
        if kind == CHUNKED:
            return self.in_chunks(name, dtype, shape, tuple(filters), contents[LAYOUT])
        if kind not in (COMPACT, CONTIGUOUS) or filters:
            raise ValueError(f"dataset {name[:200]!r} keeps its data elsewhere")
        if kind == COMPACT:
            place, inside = messages[LAYOUT]
            start, length = place + 4, struct.unpack_from("<H", contents[LAYOUT], 2)[0]
            end = place + inside
        else:
            start, length = struct.unpack_from("<2Q", contents[LAYOUT], 2)
            end = self.blocks.size
        found = Dataset(dtype, shape, self.blocks.base + start if math.prod(shape) else 0)
        if found.nbytes and (length != found.nbytes or start + length > end):
            raise ValueError(f"dataset {name[:200]!r} of shape {list(shape)} does not lie in the file")
        return found

    def in_chunks(self, name: str, dtype: np.dtype, shape: tuple[int, ...], filters: tuple[int, ...], layout: bytes) -> Dataset:
        """A dataset in chunks, from the message that says where."""
        sides, tree = struct.unpack_from("<BQ", layout, 2)
        *chunk, item = struct.unpack_from(f"<{sides}L", layout, 11)
        sizes = [max(1, side) for side in shape]
        fits = len(chunk) == len(shape) and all(0 < part <= side for side, part in zip(sizes, chunk, strict=True))
        if not fits or item != dtype.itemsize or math.prod(chunk) * item > MAX_CHUNK:
            raise ValueError(f"dataset {name[:200]!r} has chunks of shape {chunk}")
        found = Dataset(dtype, shape, 0, tuple(chunk), filters)
        count = math.prod(-(-side // part) for side, part in zip(shape, chunk, strict=True))
        if count > self.steps.left:  # firsts() would make a list of each side
            raise ValueError(f"dataset {name[:200]!r} is in {count:,} chunks, and there may be {self.steps.left:,} more parts")
        if tree != NOWHERE:
            self.add_chunks(found, tree, count)
        if len(found.chunks) != 2 * count:
            raise ValueError(f"dataset {name[:200]!r} does not have all its chunks")
        return found

    def add_chunks(self, found: Dataset, tree: int, count: int) -> None:
        """Find a dataset's chunks, which are `count`, sorted, and one at each place of a grid."""
        layout = struct.Struct(f"<2L{len(found.shape) + 2}Q")
        places = firsts(found) if count else iter(())
        for entry in self.leaf_entries(tree, 1, layout.size - 8):
            size, skipped, *first, _, start = self.blocks.unpack(layout, entry)
            if skipped or start + size > self.blocks.size:
                raise ValueError("has a chunk that does not lie in the file, or without its filters")
            if tuple(first) != next(places, None):
                raise ValueError("has chunks in other places than its shape says")
            found.chunks.extend((self.blocks.base + start, size))

    def check_overlap(self, found: dict[str, Dataset]) -> None:
        """Every byte of the file is of one dataset at most, and those of its head are of none."""
        spans = [(self.blocks.base, HEAD)]
        spans += [(one.start, one.nbytes) for one in found.values() if one.nbytes and one.chunk is None]
        chunks = [np.frombuffer(one.chunks, np.uint64).reshape(-1, 2) for one in found.values() if one.chunks]
        places = np.concatenate([np.array(spans, np.uint64), *chunks]).astype(np.int64)
        places = places[np.argsort(places[:, 0], kind="stable")]
        if (places[:-1].sum(axis=1) > places[1:, 0]).any():
            raise ValueError("has datasets that overlap")


def firsts(dataset: Dataset) -> Iterator[tuple[int, ...]]:
    """The first elements of all chunks a dataset must have; it has elements."""
    assert dataset.chunk is not None
    return itertools.product(*(range(0, side, part) for side, part in zip(dataset.shape, dataset.chunk, strict=True)))


def _check_message(kind: int, flags: int, damaged: bool) -> None:
    """Refuse a message that is not known, or whose content is not in it."""
    if kind in (LINK_INFO, LINK):
        raise Unknown("has a group of a later format than Keras writes, or a link that leads elsewhere")
    if kind == 0x07:
        raise ValueError("has a dataset that keeps its data elsewhere: external")
    if kind not in KNOWN | IGNORED:
        raise ValueError(f"has an object with a message of kind {kind}, which no model has")
    if damaged or (kind in KNOWN and flags & 2):
        raise ValueError(f"has an object with a message of kind {kind} that is damaged, or kept elsewhere")


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
