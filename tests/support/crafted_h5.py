"""HDF5 files built byte by byte, as h5py never writes them: structures that lie in one another or claim to be endless."""

import struct
from collections.abc import Callable, Iterable

from mobilebert_common.checkpoints import hdf5
from mobilebert_common.checkpoints.hdf5 import NOWHERE

SPACE, TYPE, LAYOUT, SYMBOLS = 0x01, 0x03, 0x08, 0x11
FLOAT = next(code for code, dtype in hdf5.TYPES.items() if dtype == "<f4")
MOST = 60_000  # entries of one node, which counts them in two bytes
WIDE = "\U0001f600".encode()  # one character in four bytes
Message = tuple[int, bytes]


class File:
    """A file that grows; `finished` puts the head in front that names its root."""

    def __init__(self) -> None:
        self.data = bytearray(hdf5.HEAD)

    def add(self, content: bytes) -> int:
        """Append a structure; its address."""
        self.data += bytes(-len(self.data) % 8)
        self.data += content
        return len(self.data) - len(content)

    def tree(self, kind: int, entries: Iterable[bytes], level: int = 0, key: int = 8) -> int:
        """A node of a B-tree: keys with the addresses after them, and a last key."""
        listed = [*entries]
        return self.add(node(kind, level, len(listed)) + b"".join(listed) + bytes(key))

    def group(self, members: list[tuple[bytes, int]]) -> int:
        """A group of named addresses."""
        names, offsets = bytearray(8), []
        for name, _ in members:
            offsets.append(len(names))
            names += name + b"\0"
        heap = self.add(b"HEAP" + struct.pack("<4x3Q", len(names), NOWHERE, self.add(bytes(names))))
        links = [
            struct.pack("<2Q2L16x", offset, address, 0, 0) for offset, (_, address) in zip(offsets, members, strict=True)
        ]
        nodes = [self.add(b"SNOD\1\0" + struct.pack("<H", len(links)) + b"".join(links))]
        tree = self.tree(0, [struct.pack("<2Q", 0, place) for place in nodes])
        return self.add(header([(SYMBOLS, struct.pack("<2Q", tree, heap))]))

    def finished(self, root: int) -> bytes:
        """The file's bytes."""
        versions = hdf5.SIGNATURE + bytes([0, 0, 0, 0, 0, 8, 8, 0]) + struct.pack("<2HL", 4, 16, 0)
        places = struct.pack("<4Q", 0, NOWHERE, len(self.data), NOWHERE)
        self.data[: hdf5.HEAD] = versions + places + struct.pack("<2Q2L16x", 0, root, 0, 0)
        return bytes(self.data)


def node(kind: int, level: int, count: int) -> bytes:
    """The head of a node of a B-tree."""
    return b"TREE" + struct.pack("<2BH16x", kind, level, count)


def message(kind: int, content: bytes) -> bytes:
    """One message of an object's header."""
    return struct.pack("<2HB3x", kind, len(content), 0) + content


def header(messages: list[Message]) -> bytes:
    """An object's header."""
    body = b"".join(message(*one) for one in messages)
    return struct.pack("<2BH2L4x", 1, 0, len(messages), 1, len(body)) + body


def shaped(*shape: int) -> list[Message]:
    """The messages of an array of floats."""
    return [(SPACE, struct.pack("<3B5x", 1, len(shape), 0) + struct.pack(f"<{len(shape)}Q", *shape)), (TYPE, FLOAT)]


def nothing() -> list[Message]:
    """The messages of an empty dataset."""
    return [*shaped(0), (LAYOUT, struct.pack("<2B2Q", 3, 1, 0, 0))]


def in_chunks(length: int, tree: int) -> bytes:
    """The header of a vector in chunks of one element."""
    return header([*shaped(length), (LAYOUT, struct.pack("<3BQ2L", 3, 2, 2, tree, 1, 4))])


def long_paths(links: int = 2000) -> bytes:
    """Nested groups with long names, and links in the innermost: each would have a path of 16 kB."""
    file = File()
    leaf = file.add(header(nothing()))
    group = file.group([(b"%05d" % number, leaf) for number in range(links)])
    for _ in range(38):
        group = file.group([(b"x" * 100, group)])
    return file.finished(group)


def long_name(megabytes: int = 16) -> bytes:
    """A name as long as the file."""
    file = File()
    return file.finished(file.group([(b"x" * (megabytes << 20) + WIDE, file.add(header(nothing())))]))


def many_chunks(count: int = 300_000) -> bytes:
    """A vector with a chunk for each of its elements."""
    file = File()
    chunks = [struct.pack("<2L3Q", 0, 0, number, 0, 0) for number in range(count)]
    leaves = [file.tree(1, chunks[start : start + MOST], key=24) for start in range(0, count, MOST)]
    tree = file.tree(1, [struct.pack("<2L3Q", 0, 0, 0, 0, leaf) for leaf in leaves], level=1, key=24)
    return file.finished(file.group([(b"a", file.add(in_chunks(count, tree)))]))


def leaves_in_leaves(count: int = 500) -> bytes:
    """Leaves of a B-tree that begin inside of one another, each with all that follow as its entries."""
    file = File()
    slot = bytes(8) + node(1, 0, MOST)
    slots = file.add(slot * count + bytes(len(slot) * (MOST + 4)))
    addresses = [slots + len(slot) * number + 8 for number in range(count)]
    tree = file.tree(1, [struct.pack("<2L3Q", 0, 0, 0, 0, address) for address in addresses], level=1, key=24)
    return file.finished(file.group([(b"a", file.add(in_chunks(5, tree)))]))


def headers_in_headers(count: int = 3000) -> bytes:
    """Objects whose headers lie in a message of the one before, each with all that follow as its messages."""
    file = File()
    last = b"".join(message(*one) for one in nothing())
    headers = bytearray()
    for left in range(count - 1, -1, -1):
        headers += message(0, struct.pack("<2BH2L4x", 1, 0, left + 3, 1, 24 * left + len(last)))
    start = file.add(bytes(headers) + last)
    return file.finished(file.group([(b"%05d" % number, start + 24 * number + 8) for number in range(count)]))


def nodes_in_nodes(levels: int = 255) -> bytes:
    """Nodes of a B-tree in one another, each with the next one and all that follows as its children."""
    file = File()
    start = file.add(b"")
    nodes = [
        node(0, level, MOST) + struct.pack("<2Q8x", 0, start + 48 * (levels - level)) for level in range(levels - 1, -1, -1)
    ]
    file.add(b"".join(nodes) + bytes(16 * MOST + 24))
    heap = file.add(b"HEAP" + struct.pack("<4x3Q", 0, NOWHERE, 0))
    return file.finished(file.add(header([(SYMBOLS, struct.pack("<2Q", start, heap))])))


# how it is made, and what refuses it
CRAFTED: dict[str, tuple[Callable[[], bytes], str]] = {
    "long paths": (long_paths, "a path too long"),
    "a long name": (long_name, "impossible name"),
    "many chunks": (many_chunks, "is in 300,000 chunks"),
    "leaves in leaves": (leaves_in_leaves, "in other places"),
    "headers in headers": (headers_in_headers, "more than 200,000 parts"),
    "nodes in nodes": (nodes_in_nodes, "more than 200,000 parts"),
}
