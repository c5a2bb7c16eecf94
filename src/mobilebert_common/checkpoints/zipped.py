"""Where the members of a zip file lie that holds them as they are: its directory, checked against its own copy of every fact.

The zip format says everything twice, and readers that trust different copies see different files. A file is refused unless
the directory at its end and the header before each member agree, and members fill the file without overlapping.
"""

import struct
from typing import BinaryIO, NamedTuple

MAX_DIRECTORY = 4 << 20  # bytes
MEMBER = 512  # bytes of the directory for each member; 100 are usual

END, END64, LOCATOR64 = struct.Struct("<4s4H2LH"), struct.Struct("<4sQ2H2L4Q"), struct.Struct("<4sLQL")
CENTRAL, LOCAL = struct.Struct("<4s6H3L5H2L"), struct.Struct("<4s5H3L2H")
FLAGS = 0x0808  # sizes follow the data; the name is UTF-8. Anything else is encryption or a patch
WIDE = 0xFFFFFFFF  # a size of 32 bits that stands for one of 64 in the extra field
MAX_FIELDS = 8  # that are looked at for the sizes of 64 bits
DESCRIPTORS = (0, 12, 16, 20, 24)  # bytes that may follow a member's data: its sizes again


class Member(NamedTuple):
    """One stored file: its bytes are file[start:stop]."""

    start: int
    stop: int
    crc: int


def members(file: BinaryIO, size: int, limit: int) -> dict[str, Member]:
    """{name: Member} of a zip file of `size` bytes.

    Args:
        limit: how many members it may have.
    Raises:
        ValueError: it is not a zip file, compresses or encrypts a member, has two of one name or too many, or contradicts
            itself.
    """
    start, stop, count = directory(file, size)
    if count > limit or stop - start > min(MAX_DIRECTORY, MEMBER * limit):
        raise ValueError(f"has a zip directory of {count:,} members in {stop - start:,} bytes")
    data = _read(file, start, stop - start)
    found: dict[str, Member] = {}
    place = end = 0
    for _ in range(count):
        fields = CENTRAL.unpack_from(data, place)
        signature, _, _, flags, method, _, _, crc, packed, plain, length, extra, comment, disk, _, _, offset = fields
        if signature != b"PK\1\2" or flags & ~FLAGS or disk:
            raise ValueError("has a damaged or encrypted zip directory")
        raw = data[place + CENTRAL.size :][:length]
        name = raw.decode("utf-8")
        if method or packed != plain:
            raise ValueError(f"compresses {name[:80]!r}; torch.save stores its members as they are")
        place += CENTRAL.size + length
        plain, offset = _wide(data[place : place + extra], plain, packed, offset)
        place += extra + comment
        if name in found:
            raise ValueError(f"holds {name[:80]!r} twice")
        if offset - end not in DESCRIPTORS:
            raise ValueError(f"is a zip file where {name[:80]!r} overlaps another member or leaves a gap before it")
        first = _after_header(file, offset, raw, flags, (crc, packed, plain))
        end = first + plain
        found[name] = Member(first, end, crc)
    if place != len(data) or start - end not in DESCRIPTORS:
        raise ValueError("is a zip file with bytes that no member owns, or a member that runs into its directory")
    return found


def directory(file: BinaryIO, size: int) -> tuple[int, int, int]:
    """Where the directory starts and stops and how many members it lists."""
    place = size - END.size
    if place < 0:
        raise ValueError("is too short for a zip file")
    signature, disk, first, here, count, length, start, comment = END.unpack(_read(file, place, END.size))
    if signature != b"PK\5\6" or comment:
        raise ValueError("is truncated or no zip file: it does not end as one")
    found = (disk, first, here, count, length, start)
    if place >= LOCATOR64.size + END64.size:
        locator = LOCATOR64.unpack(_read(file, place - LOCATOR64.size, LOCATOR64.size))
        if locator[0] == b"PK\6\7":
            place -= LOCATOR64.size + END64.size
            wide = END64.unpack(_read(file, place, END64.size))
            if wide[0] != b"PK\6\6" or wide[1] != END64.size - 12 or locator[1:] != (0, place, 1):
                raise ValueError("has a damaged zip64 directory")
            narrow = zip((0xFFFF,) * 4 + (WIDE,) * 2, found, wide[4:], strict=True)
            if any(value not in (escape, full) for escape, value, full in narrow):
                raise ValueError("has two zip directories that contradict each other")
            found = wide[4:]
    disk, first, here, count, length, start = found
    if disk or first or here != count or start + length != place:
        raise ValueError("has a zip directory that does not end where the file does")
    return start, place, count


def _after_header(file: BinaryIO, offset: int, name: bytes, flags: int, facts: tuple[int, int, int]) -> int:
    """Where a member's data starts: after a header that says what the directory says."""
    header = LOCAL.unpack(_read(file, offset, LOCAL.size))
    signature, _, local_flags, method, _, _, crc, packed, plain, length, extra = header
    first = offset + LOCAL.size + int(length) + int(extra)
    if signature != b"PK\3\4" or (local_flags, method, length) != (flags, 0, len(name)):
        raise ValueError(f"has a member {name[:80]!r} whose header is not what the zip directory says")
    if (other := _read(file, offset + LOCAL.size, length)) != name:
        raise ValueError(f"has a member {name[:80]!r} that calls itself {other[:80]!r}")
    more = _read(file, offset + LOCAL.size + length, extra) if WIDE in (plain, packed) else b""
    sizes = _wide(more, plain, packed, 0)[0]
    unsaid = flags & 8 and (crc, packed, plain) == (0, 0, 0)
    if not unsaid and (crc, sizes) != (facts[0], facts[2]):
        raise ValueError(f"has a member {name[:80]!r} whose header and directory entry have other sizes")
    return first


def _wide(extra: bytes, plain: int, packed: int, offset: int) -> tuple[int, int]:
    """Size and offset of a member, from the zip64 field where they do not fit 32 bits."""
    if WIDE not in (plain, packed, offset):
        return plain, offset
    values: list[int] = []
    place = 0
    for _ in range(MAX_FIELDS):
        if place + 4 > len(extra):
            break
        kind, length = struct.unpack_from("<2H", extra, place)
        if kind == 1:
            values = list(struct.unpack(f"<{length // 8}Q", extra[place + 4 : place + 4 + length // 8 * 8]))
        place += 4 + length
    wide = [values.pop(0) if value == WIDE and values else value for value in (plain, packed, offset)]
    if WIDE in wide or wide[0] != wide[1]:
        raise ValueError("has a zip64 member without its size")
    return wide[0], wide[2]


def _read(file: BinaryIO, place: int, length: int) -> bytes:
    file.seek(place)
    data = file.read(length)
    if len(data) != length:
        raise ValueError("is truncated or a zip file that points past its end")
    return data
