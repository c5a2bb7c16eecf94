"""Truncation with overflow, and padding."""

from collections.abc import Sequence
from dataclasses import dataclass

from .encoding import Encoding, Part, SharedSegment

SIDES = ("right", "left")
TRUNCATIONS = ("longest_first", "only_first", "only_second", "do_not_truncate")
PADDINGS = ("longest", "max_length", "do_not_pad")


@dataclass(frozen=True)
class Truncation:
    """Truncate texts so that a row has at most `max_length` tokens; None means no limit.

    What is cut off can become further rows, each of which repeats `stride` tokens of the row before it.
    """

    max_length: int | None
    strategy: str
    stride: int
    side: str

    def __call__(
        self, first: Part, second: Part | None, special: int, overflow: bool
    ) -> list[tuple[Part, Part | None]]:
        """Return the texts of the row, then those of its overflow.

        The overflow is every later part of the first text with each part of the second, then the first part with each later one.

        Args:
            special: how many special tokens the row has.
            overflow: whether to make rows of what is cut off.
        """
        if self.max_length is None:
            return [(first, second)]
        limit = self.max_length - special
        if limit < 0:
            raise ValueError(f"max_length={self.max_length} leaves no room for the {special} special tokens of a row")
        if special and self.stride > self.max_length - 2:
            raise ValueError(
                f"stride={self.stride} must be smaller than what max_length={self.max_length} leaves to a text"
            )
        if len(first.ids) + (len(second.ids) if second else 0) <= limit:
            return [(first, second)]
        room, second_room = self._share(len(first.ids), None if second is None else len(second.ids), limit)
        firsts = self._cut(first, room, overflow)
        if second is None:
            return [(part, None) for part in firsts]
        assert second_room is not None
        seconds = self._cut(second, second_room, overflow)
        later = [(part, other) for part in firsts[1:] for other in seconds]
        return [(firsts[0], seconds[0]), *later, *((firsts[0], other) for other in seconds[1:])]

    def removed(self, first: Part, second: Part | None, count: int) -> list[int]:
        """Return the `count` ids that are cut off, with `stride` of those before them."""
        part = second if self.strategy == "only_second" else first
        if count <= 0 or part is None:
            return []
        if second is not None and self.strategy == "longest_first":
            raise ValueError("the overflow of a pair needs truncation='only_first' or 'only_second'")
        window = min(len(part.ids), count + self.stride)
        return part.ids[-window:] if self.side == "right" else part.ids[:window]

    def _share(self, first: int, second: int | None, limit: int) -> tuple[int, int | None]:
        """Return how many tokens each text keeps when they do not fit."""
        if limit == 0 or (second is None and self.strategy != "only_second"):
            return limit, None if second is None else 0
        if self.strategy == "longest_first":
            assert second is not None
            shorter = min(first, second)
            if 2 * shorter > limit:  # both are cut; of an odd number of tokens the longer text keeps one more
                shorter = limit // 2
            return (limit - shorter, shorter) if first > second else (shorter, limit - shorter)
        if second is None:
            raise ValueError("truncation='only_second' needs a second text")
        room = limit - (second if self.strategy == "only_first" else first)
        if room < 1:
            raise ValueError(
                f"truncation={self.strategy!r} cannot cut {first} + {second} tokens to {limit}: the other is too long"
            )
        return (room, second) if self.strategy == "only_first" else (first, room)

    def _cut(self, part: Part, room: int, overflow: bool) -> list[Part]:
        length = len(part.ids)
        if room >= length:
            return [part]
        if room and self.stride >= room:
            raise ValueError(f"stride={self.stride} must be smaller than the {room} tokens that a text keeps")
        spans = windows(length, room, self.stride) if overflow else [(0, room)]
        if self.side == "left":
            spans = [(length - stop, length - start) for start, stop in spans]
        if len(spans) > 1:
            part = part._replace(segment=SharedSegment(part.segment))
        return [part.cut(start, stop) for start, stop in spans]


@dataclass(frozen=True)
class Padding:
    """Pad rows to the length of the longest or to `max_length`, rounded up to a multiple of `multiple`."""

    strategy: str
    max_length: int | None
    multiple: int | None
    side: str

    def __call__(self, rows: list[list[Encoding]]) -> list[list[Encoding]]:
        """Pad the rows of every sample; "longest" means the longest first row of a sample."""
        if self.strategy == "do_not_pad":
            return rows
        length = self.length([len(sample[0]) for sample in rows])
        return [[row.padded(length, self.side) for row in sample] for sample in rows]

    def length(self, lengths: Sequence[int]) -> int:
        length = max(lengths, default=0) if self.strategy == "longest" else self.max_length or 0
        return length + -length % self.multiple if self.multiple else length


def windows(length: int, room: int, stride: int) -> list[tuple[int, int]]:
    """Return (start, stop) of windows of `room` tokens that cover `length`; each repeats `stride` tokens of the one before."""
    if room == 0:
        return [(0, 0), (0, length)]
    count = 1 + -(-(length - room) // (room - stride))
    return [(start, min(start + room, length)) for start in range(0, count * (room - stride), room - stride)]
