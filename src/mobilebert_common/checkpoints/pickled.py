"""The pickle of a state_dict, read as plain data by a machine that can build nothing else.

pickle.Unpickler runs what a file names. This machine has no way to import or call: it knows the few opcodes that torch.save
emits, and of the names in a pickle only those of GLOBALS, which it never looks up anywhere.
"""

import pickletools
import struct
from collections.abc import Callable
from typing import Any, NamedTuple

import ml_dtypes
import numpy as np

from .archive import MAX_RANK

MAX_PICKLE, PICKLE, PICKLE_EACH = 4 << 20, 4 << 10, 1024  # bytes: at most, at all, and for each tensor; 140 are usual
MAX_OPCODES, OPCODES_AT_ALL, OPCODES_EACH = 300_000, 128, 64  # 45 are usual
MAX_KEY = 64  # characters of a storage's name, which is a number
MAX_GLOBAL = 200  # bytes of the name of a class or function

PROTOCOLS = range(2, 6)

# what a storage is called -> its dtype. Anything else is no weight.
STORAGES = {
    "torch DoubleStorage": np.dtype(np.float64),
    "torch FloatStorage": np.dtype(np.float32),
    "torch HalfStorage": np.dtype(np.float16),
    "torch BFloat16Storage": np.dtype(ml_dtypes.bfloat16),
    "torch LongStorage": np.dtype(np.int64),  # an old checkpoint's embeddings.position_ids
    "torch IntStorage": np.dtype(np.int32),
}


class Global(NamedTuple):
    """The name of a class or function, which stays a name."""

    name: str


class Storage(NamedTuple):
    """The memory behind a tensor: where the file keeps it and how much there is."""

    key: str
    dtype: np.dtype
    size: int  # in elements


class Tensor(NamedTuple):
    """A view of a storage, in elements."""

    storage: Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


def budget(limit: int) -> tuple[int, int]:
    """How many bytes and opcodes the pickle of a state_dict with so many tensors may have."""
    return min(MAX_PICKLE, PICKLE + PICKLE_EACH * limit), min(MAX_OPCODES, OPCODES_AT_ALL + OPCODES_EACH * limit)


def load(data: bytes, opcodes: int = MAX_OPCODES) -> tuple[Any, int]:
    """The object of the first pickle in some bytes, and where that pickle ends.

    Args:
        opcodes: how many of them it may have.
    Returns:
        Tensors, storages, numbers, strings, None, and tuples, lists and dicts of these; an OrderedDict is a dict.
    Raises:
        ValueError: anything else, with the opcode or the name it begins with.
    """
    machine = Machine()
    place = 0
    for _ in range(opcodes):
        if place >= len(data):
            raise ValueError("is truncated: its pickle does not end")
        code, place = data[place], place + 1
        if code == STOP:
            return machine.result(), place
        if code not in OPCODES:
            raise ValueError(f"has the opcode {NAMES.get(code, code)}, which no state_dict needs")
        decode, run = OPCODES[code]
        argument = None
        if decode is not None:
            argument, place = decode(data, place)
        try:
            run(machine, argument)
        except (IndexError, KeyError):
            raise ValueError("takes from its stack or memo what it did not put there") from None
    raise ValueError(f"has more than {opcodes:,} opcodes")


class Machine:
    """A stack, the marks on it, and the memo."""

    def __init__(self) -> None:
        self.stack: list[Any] = []
        self.marks: list[int] = []
        self.memo: dict[int, Any] = {}

    def result(self) -> Any:
        """The one object that is left at the end."""
        if len(self.stack) != 1 or self.marks:
            raise ValueError("ends before its object is complete")
        return self.stack[0]

    def push(self, value: Any) -> None:
        """Put a value on the stack."""
        self.stack.append(value)

    def pop(self, count: int) -> tuple[Any, ...]:
        """Take some values off the stack, not past the last mark."""
        floor = self.marks[-1] if self.marks else 0
        if len(self.stack) - count < floor:
            raise IndexError
        values = tuple(self.stack[len(self.stack) - count :])
        del self.stack[len(self.stack) - count :]
        return values

    def pop_mark(self) -> tuple[Any, ...]:
        """Take all values above the last mark, and the mark."""
        values = self.pop(len(self.stack) - self.marks[-1])
        self.marks.pop()
        return values

    def top(self, kind: type) -> Any:
        """The value on top, of a kind the next opcode can add to."""
        (value,) = self.pop(1)
        if not isinstance(value, kind):
            raise ValueError(f"adds to a {type(value).__name__} as if it were a {kind.__name__}")
        self.push(value)
        return value

    def put(self, index: int) -> None:
        """Remember the value on top."""
        (value,) = self.pop(1)
        self.push(value)
        self.memo[index] = value

    def name(self, name: Any) -> None:
        """Put a name on the stack if it is one a state_dict has."""
        if name not in GLOBALS:
            raise ValueError(f"names {name[:80]!r}, which no state_dict needs and nothing here will run")
        self.push(Global(name))

    def stack_name(self) -> None:
        """The same with module and name from the stack."""
        module, name = self.pop(2)
        if not isinstance(module, str) or not isinstance(name, str):
            raise ValueError("names something by other things than strings")
        self.name(f"{module} {name}")

    def add_items(self, values: tuple[Any, ...]) -> None:
        """Add keys and values in turn to the dict on top."""
        target = self.top(dict)
        if len(values) % 2:
            raise IndexError
        for key, value in zip(values[::2], values[1::2], strict=True):
            if not isinstance(key, str):
                raise ValueError(f"has a key that is a {type(key).__name__}, not a string")
            if key in target:
                raise ValueError(f"holds {key[:200]!r} twice")
            target[key] = value

    def build(self) -> None:
        """Drop the attributes of the OrderedDict on top: versions of modules (_metadata)."""
        self.pop(1)
        self.top(dict)

    def reduce(self) -> None:
        """Put in place of a name and its arguments what they stand for."""
        name, arguments = self.pop(2)
        if not isinstance(name, Global) or name.name not in REDUCTIONS or not isinstance(arguments, tuple):
            raise ValueError("calls what is no function of a state_dict")
        self.push(REDUCTIONS[name.name](arguments))

    def load_storage(self) -> None:
        """Put in place of a storage's description the storage."""
        (found,) = self.pop(1)
        if not isinstance(found, tuple) or len(found) not in (5, 6) or found[5:] not in ((), (None,)):
            raise ValueError("describes a storage in a way torch.save does not, or a view of one")
        kind, name, key, location, count = found[:5]
        if kind != "storage" or not isinstance(name, Global) or name.name not in STORAGES:
            raise ValueError("describes a storage without its type")
        if not isinstance(key, str) or len(key) > MAX_KEY or not isinstance(location, str) or not is_size(count):
            raise ValueError("describes a storage by other things than a key, a device and a size")
        self.push(Storage(key, STORAGES[name.name], count))


def is_size(value: object) -> bool:
    """Whether a value can be a length, an offset or a stride; True is a bool, not 1."""
    return type(value) is int and 0 <= value < 1 << 48


def _ordered_dict(arguments: tuple[Any, ...]) -> dict[str, Any]:
    if arguments:
        raise ValueError("makes an OrderedDict from something, not empty")
    return {}


def _tensor(arguments: tuple[Any, ...]) -> Tensor:
    if len(arguments) != 6:
        raise ValueError("makes a tensor from a number of arguments that is not six")
    storage, offset, shape, strides = arguments[:4]
    if isinstance(shape, tuple) and len(shape) > MAX_RANK:  # at once: many tensors may have one shape
        raise ValueError(f"makes a tensor of {len(shape):,} dimensions")
    sizes = isinstance(shape, tuple) and isinstance(strides, tuple) and len(shape) == len(strides)
    if not isinstance(storage, Storage) or not sizes or not all(map(is_size, (offset, *shape, *strides))):
        raise ValueError("makes a tensor from other things than a storage, an offset, a shape and as many strides")
    return Tensor(storage, offset, shape, strides)


def _parameter(arguments: tuple[Any, ...]) -> Tensor:
    if len(arguments) != 3 or not isinstance(arguments[0], Tensor):
        raise ValueError("makes a parameter from other things than a tensor")
    return arguments[0]


REDUCTIONS: dict[str, Callable[[tuple[Any, ...]], Any]] = {
    "collections OrderedDict": _ordered_dict,
    "torch._utils _rebuild_tensor_v2": _tensor,
    "torch._utils _rebuild_parameter": _parameter,
}
GLOBALS = frozenset({*REDUCTIONS, *STORAGES})

Decode = Callable[[bytes, int], tuple[Any, int]]  # the pickle and a place in it -> an argument and where that ends
Run = Callable[["Machine", Any], None]


def _number(layout: str) -> Decode:
    """An argument of fixed size."""
    form = struct.Struct(layout)

    def decode(data: bytes, place: int) -> tuple[Any, int]:
        if place + form.size > len(data):
            raise ValueError("is truncated: its pickle ends inside an opcode")
        return form.unpack_from(data, place)[0], place + form.size

    return decode


def _counted(layout: str, convert: Callable[[bytes], Any]) -> Decode:
    """An argument after its length."""
    length = _number(layout)

    def decode(data: bytes, place: int) -> tuple[Any, int]:
        count, place = length(data, place)
        if place + count > len(data):
            raise ValueError("is truncated: its pickle ends inside an opcode")
        return convert(data[place : place + count]), place + count

    return decode


def _lines(data: bytes, place: int) -> tuple[str, int]:
    """Two lines, a module and a name in it, joined by a space."""
    parts = data[place : place + MAX_GLOBAL].split(b"\n", 2)
    if len(parts) < 3:
        raise ValueError(f"names {parts[0][:80]!r}, which no state_dict needs, or is truncated there")
    return f"{parts[0].decode()} {parts[1].decode()}", place + len(parts[0]) + len(parts[1]) + 2


def _text(data: bytes) -> str:
    return data.decode("utf-8", "surrogatepass")


def _integer(data: bytes) -> int:
    return int.from_bytes(data, "little", signed=True)


# all that torch.save emits for a state_dict under the protocols 2 to 5: how the argument is written and what is done
NAMED: dict[str, tuple[Decode | None, Run]] = {
    "PROTO": (_number("<B"), lambda machine, version: _check_protocol(version)),
    "FRAME": (_number("<Q"), lambda machine, length: None),
    "NONE": (None, lambda machine, _: machine.stack.append(None)),
    "NEWTRUE": (None, lambda machine, _: machine.stack.append(True)),
    "NEWFALSE": (None, lambda machine, _: machine.stack.append(False)),
    "BININT": (_number("<i"), Machine.push),
    "BININT1": (_number("<B"), Machine.push),
    "BININT2": (_number("<H"), Machine.push),
    "LONG1": (_counted("<B", _integer), Machine.push),
    "BINUNICODE": (_counted("<I", _text), Machine.push),
    "SHORT_BINUNICODE": (_counted("<B", _text), Machine.push),
    "EMPTY_TUPLE": (None, lambda machine, _: machine.push(())),
    "TUPLE1": (None, lambda machine, _: machine.push(machine.pop(1))),
    "TUPLE2": (None, lambda machine, _: machine.push(machine.pop(2))),
    "TUPLE3": (None, lambda machine, _: machine.push(machine.pop(3))),
    "TUPLE": (None, lambda machine, _: machine.push(machine.pop_mark())),
    "EMPTY_LIST": (None, lambda machine, _: machine.push([])),
    "APPEND": (None, lambda machine, _: _extend(machine, machine.pop(1))),
    "APPENDS": (None, lambda machine, _: _extend(machine, machine.pop_mark())),
    "EMPTY_DICT": (None, lambda machine, _: machine.push({})),
    "SETITEM": (None, lambda machine, _: machine.add_items(machine.pop(2))),
    "SETITEMS": (None, lambda machine, _: machine.add_items(machine.pop_mark())),
    "MARK": (None, lambda machine, _: machine.marks.append(len(machine.stack))),
    "BINPUT": (_number("<B"), Machine.put),
    "LONG_BINPUT": (_number("<I"), Machine.put),
    "MEMOIZE": (None, lambda machine, _: machine.put(len(machine.memo))),
    "BINGET": (_number("<B"), lambda machine, index: machine.push(machine.memo[index])),
    "LONG_BINGET": (_number("<I"), lambda machine, index: machine.push(machine.memo[index])),
    "GLOBAL": (_lines, Machine.name),
    "STACK_GLOBAL": (None, lambda machine, _: machine.stack_name()),
    "BINPERSID": (None, lambda machine, _: machine.load_storage()),
    "REDUCE": (None, lambda machine, _: machine.reduce()),
    "BUILD": (None, lambda machine, _: machine.build()),
}
NAMES = {ord(opcode.code): opcode.name for opcode in pickletools.opcodes}
OPCODES = {code: NAMED[name] for code, name in NAMES.items() if name in NAMED}
STOP = ord(".")


def _check_protocol(version: int) -> None:
    if version not in PROTOCOLS:
        raise ValueError(f"has the protocol {version}")


def _extend(machine: Machine, values: tuple[Any, ...]) -> None:
    machine.top(list).extend(values)
