"""What a torch-saved file's pickle says, followed symbolically: nothing is imported, called or allocated from a number in it.

torch's own weights-only reader runs no code of the file's, yet it does allocate what a pickle asks for (`UntypedStorage(10**11)`,
a hundred-gigabyte size over a small storage, bytes that are encoded again and again). Here every opcode is followed with
stand-ins first, so that it is given only pickles whose every call is one of a few that are known to be harmless.
"""

from __future__ import annotations

import pickletools
from collections.abc import Callable, Mapping, Sequence, Sized
from dataclasses import dataclass, field
from math import prod
from typing import Any, TypeVar

from harness.core.errors import DataError

#: Opcodes in one pickle; a state dict of 10,000 tensors has some 400,000.
MAX_OPCODES = 1_000_000
MAX_DIMENSIONS = 16
#: Characters and entries that its calls may copy in all: a large name or dict can be named again at the cost of a few bytes.
MAX_COPIED = 1_000_000
INSTEAD = "save a dict of plain tensors instead"

#: Bytes of one element, by the storage class that torch.save names.
STORAGES = {
    "torch DoubleStorage": 8,
    "torch FloatStorage": 4,
    "torch HalfStorage": 2,
    "torch BFloat16Storage": 2,
    "torch LongStorage": 8,
    "torch IntStorage": 4,
    "torch ShortStorage": 2,
    "torch CharStorage": 1,
    "torch ByteStorage": 1,
    "torch BoolStorage": 1,
}
DTYPES = {
    f"torch {name}"
    for name in (
        "float16",
        "bfloat16",
        "float32",
        "float64",
        "uint8",
        "int8",
        "int16",
        "int32",
        "int64",
        "bool",
        "float",
        "double",
    )
}
#: numpy's plain numbers, by the code that a pickled dtype carries, and their bytes.
NUMBERS = {"b1": 1, **{f"{kind}{size}": size for kind in "iu" for size in (1, 2, 4, 8)}, "f2": 2, "f4": 4, "f8": 8}
NUMPY_SCALARS = ("numpy.core.multiarray scalar", "numpy._core.multiarray scalar")
TENSOR, PARAMETER = "torch._utils _rebuild_tensor_v2", "torch._utils _rebuild_parameter"
ORDERED, COUNTER, NAMESPACE = "collections OrderedDict", "collections Counter", "argparse Namespace"
CALLS = {TENSOR, PARAMETER, ORDERED, COUNTER, "torch Size", "torch device", "_codecs encode", "numpy dtype", *NUMPY_SCALARS}
GLOBALS = {*CALLS, NAMESPACE, *STORAGES, *DTYPES}


@dataclass(frozen=True)
class _Global:
    name: str


@dataclass(frozen=True)
class _Storage:
    """`length` elements of `itemsize` bytes each."""

    length: int
    itemsize: int


@dataclass(eq=False)
class _Made:
    """What a call gave: the name of what was called, and what later calls must know of it."""

    name: str
    fact: object = None


class _Mark:
    pass


Kind = TypeVar("Kind")


_MARK = _Mark()


@dataclass
class _Machine:
    """A pickle machine of stand-ins.

    Attributes:
        storages: bytes of each storage that the file holds, by key; None where they follow the pickle, which has to say them.
        claims: class and elements of each storage that the pickle names, by key.
    """

    storages: Mapping[str, int] | None
    claims: dict[str, tuple[str, int]] = field(default_factory=dict)
    stack: list[object] = field(default_factory=list)
    memo: dict[int, object] = field(default_factory=dict)
    used: set[str] = field(default_factory=set)
    copied: int = 0

    def step(self, opcode: str, argument: Any) -> None:
        stack = self.stack
        if opcode in _PUSHED:
            stack.append(argument)
        elif opcode in _CONSTANTS:
            stack.append(_CONSTANTS[opcode]())
        elif opcode == "MARK":
            stack.append(_MARK)
        elif opcode in ("BINPUT", "LONG_BINPUT"):
            self.memo[argument] = self.top()
        elif opcode in ("BINGET", "LONG_BINGET"):
            stack.append(self.memo[argument])
        elif opcode == "LONG1":
            if not -(2**63) <= argument < 2**64:
                raise DataError("it holds a whole number beyond 64 bits")
            stack.append(argument)
        elif opcode in _TUPLES:
            items = [self.pop() for _ in range(_TUPLES[opcode])]
            stack.append(tuple(reversed(items)))
        elif opcode == "TUPLE":
            stack.append(tuple(self.marked()))
        elif opcode == "GLOBAL":
            self.named(argument)
        elif opcode == "BINPERSID":
            stack.append(self.storage(self.pop()))
        elif opcode in _CHANGES:
            getattr(self, opcode.lower())()
        elif opcode == "PROTO":
            if argument != 2:
                raise DataError(f"its pickle has protocol {argument}, torch.save's is 2")
        else:
            raise DataError(f"its pickle has the opcode {opcode}, which saved tensors do without")

    def pop(self) -> object:
        item = self.stack.pop()
        if item is _MARK:
            raise DataError("its pickle is damaged")
        return item

    def top(self) -> object:
        item = self.stack[-1]
        if item is _MARK:
            raise DataError("its pickle is damaged")
        return item

    def top_of(self, kind: type[Kind]) -> Kind:
        """Return what lies on top, which has to be of this very type."""
        item = self.stack[-1]
        if type(item) is not kind:
            raise DataError("its pickle is damaged")
        return item

    def marked(self) -> list[object]:
        """Take everything above the last mark, and the mark."""
        at = next(i for i in range(len(self.stack) - 1, -1, -1) if self.stack[i] is _MARK)
        items = self.stack[at + 1 :]
        del self.stack[at:]
        return items

    def named(self, name: str) -> None:
        if name not in GLOBALS:
            raise DataError(f"it asks for {'.'.join(name.split(' '))!r}, which is no tensor; {INSTEAD}")
        self.used.add(name)
        self.stack.append(_Global(name))

    # -- what changes a value ----------------------------------------------------------------------------------------------

    def append(self) -> None:
        item = self.pop()
        self.top_of(list).append(item)

    def appends(self) -> None:
        items = self.marked()
        self.top_of(list).extend(items)

    def setitem(self) -> None:
        value, key = self.pop(), self.pop()
        self.put([key, value])

    def setitems(self) -> None:
        self.put(self.marked())

    def put(self, items: list[object]) -> None:
        target = self.top()
        if len(items) % 2 or not (type(target) is dict or (type(target) is _Made and target.name in (ORDERED, COUNTER))):
            raise DataError("its pickle is damaged")
        for key in items[::2]:  # of anything larger a hash can take for ever
            if not (isinstance(key, str) or (type(key) is int and abs(key) < 2**31)):
                raise DataError(f"a dict in it has keys that are neither names nor numbers but {type(key).__name__}")
        if isinstance(target, dict):
            target.update(zip(items[::2], items[1::2], strict=True))
        elif items:
            self.top_of(_Made).fact = "filled"

    # -- what makes a value ------------------------------------------------------------------------------------------------

    def storage(self, identity: object) -> _Storage:
        """Return the storage that a persistent id names: ("storage", class, key, location, elements).

        Where storages follow the pickle there is a sixth part, for parts of others; torch has long left it None.
        """
        parts = identity if type(identity) is tuple else ()
        if self.storages is None and len(parts) == 6 and parts[5] is None:
            parts = parts[:5]
        elif self.storages is None:
            parts = ()
        match parts:
            case ("storage", _Global(name), str(key), str(), int(length)) if name in STORAGES and type(length) is int:
                if self.claims.setdefault(key, (name, length)) != (name, length):
                    raise DataError(f"storage {key[:80]!r} is said to be two things")
                if length < 0 or (self.storages is not None and self.storages.get(key) != length * STORAGES[name]):
                    raise DataError(f"storage {key[:80]!r} is said to have {length} elements, which the file does not hold")
                return _Storage(length, STORAGES[name])
        raise DataError(f"it refers to something outside that is no plain storage of numbers; {INSTEAD}")

    def copies(self, *given: Sized) -> None:
        """Raise DataError when what calls have copied so far, and these, is more than any saved tensors need."""
        self.copied += sum(map(len, given))
        if self.copied > MAX_COPIED:
            raise DataError(f"its pickle copies the same values over and over; {INSTEAD}")

    def reduce(self) -> None:
        arguments, called = self.pop(), self.pop()
        if type(called) is not _Global or called.name not in CALLS or type(arguments) is not tuple:
            raise DataError(f"its pickle calls something that is not a function of torch's; {INSTEAD}")
        self.copies(*(given for given in arguments if type(given) in (str, dict)))
        fact = _checked(called.name, arguments)
        self.stack.append(_Made(called.name, fact))

    def newobj(self) -> None:
        arguments, kind = self.pop(), self.pop()
        if kind != _Global(NAMESPACE) or arguments != ():
            raise DataError(f"its pickle makes an object that is no tensor; {INSTEAD}")
        self.stack.append(_Made(NAMESPACE))

    def build(self) -> None:
        """Follow `state` put into an object: attributes of a state dict or a Namespace, the byte order of a number's dtype."""
        state = self.pop()
        target = self.top_of(_Made)
        if target.name in (ORDERED, NAMESPACE) and type(state) is dict:
            self.copies(state)
            if all(isinstance(key, str) for key in state):
                return
        if target.name == "numpy dtype" and type(state) is tuple and state in _DTYPE_STATES:
            return
        raise DataError(f"its pickle gives a {target.name.split(' ')[-1]} a state that saved tensors do without")


def _checked(name: str, arguments: tuple[object, ...]) -> object:
    """Return what is to be known of what a call gives. Raises DataError for arguments that torch.save does not write."""
    match name, arguments:
        case ("collections OrderedDict", ()) | ("collections Counter", ()):
            return None
        case "collections Counter", (dict(),):
            return "filled"
        case "torch._utils _rebuild_tensor_v2", (
            _Storage() as storage, offset, tuple(size), tuple(stride), bool(), _Made("collections OrderedDict", None), *rest
        ) if rest in ([], [None], [{}]):  # fmt: skip
            _check_place(storage, offset, size, stride)
            return None
        case "torch._utils _rebuild_parameter", (
            _Made("torch._utils _rebuild_tensor_v2"), bool(), _Made("collections OrderedDict", None)
        ):  # fmt: skip
            return None
        case "torch Size", (tuple(size),) if len(size) <= MAX_DIMENSIONS and all(type(n) is int for n in size):
            return None
        case "torch device", ("cpu" | "cuda" | "mps" | "meta",):
            return None
        case "torch device", ("cpu" | "cuda" | "mps", int(index)) if 0 <= index < 128:
            return None
        case "_codecs encode", (str(text), "latin1"):
            return len(text)
        case "numpy dtype", (str(code), bool() | 0 | 1, bool() | 0 | 1) if code in NUMBERS:
            return NUMBERS[code]
        case "numpy.core.multiarray scalar" | "numpy._core.multiarray scalar", (
            _Made("numpy dtype", size), _Made("_codecs encode", length)
        ) if size == length:  # fmt: skip
            return None
    raise DataError(f"its pickle calls {name.split(' ')[-1]} with arguments that torch.save does not write")


def _check_place(storage: _Storage, offset: object, size: Sequence[object], stride: Sequence[object]) -> None:
    """Raise DataError unless a tensor lies within its storage and is not larger than it."""
    numbers = [n for n in (offset, *size, *stride) if type(n) is int and 0 <= n < 2**62]
    if len(numbers) != 1 + len(size) + len(stride) or len(size) != len(stride):
        raise DataError("a tensor in it has sizes or strides that are no whole numbers of at least 0")
    if len(size) > MAX_DIMENSIONS:
        raise DataError(f"a tensor in it has {len(size)} dimensions")
    start, sides, steps = numbers[0], numbers[1 : 1 + len(size)], numbers[1 + len(size) :]
    elements = prod(sides)
    reach = start + sum((n - 1) * step for n, step in zip(sides, steps, strict=True)) + 1 if elements else start
    if elements > storage.length or reach > storage.length:
        shape = " x ".join(map(str, sides)) or "a single number"
        raise DataError(f"a tensor in it claims to be {shape}, its storage holds {storage.length} elements")


_PUSHED = {"BININT", "BININT1", "BININT2", "BINFLOAT", "BINUNICODE"}
_CONSTANTS: dict[str, Callable[[], object]] = {
    "NONE": lambda: None,
    "NEWTRUE": lambda: True,
    "NEWFALSE": lambda: False,
    "EMPTY_TUPLE": tuple,
    "EMPTY_LIST": list,
    "EMPTY_DICT": dict,
}
_TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}
_CHANGES = {"APPEND", "APPENDS", "SETITEM", "SETITEMS", "REDUCE", "NEWOBJ", "BUILD"}
_DTYPE_STATES = [(3, order, None, None, None, -1, -1, 0) for order in "<|="]


@dataclass(frozen=True)
class Followed:
    """What following a pickle told.

    Attributes:
        used: the globals it names ("module name").
        value: what it ends in: plain values as they are, stand-ins for all else.
        claims: class and elements of each storage that it names, by key.
        end: bytes from its start to where it ends.
    """

    used: set[str]
    value: object
    claims: Mapping[str, tuple[str, int]]
    end: int


def check(content: bytes, storages: Mapping[str, int]) -> set[str]:
    """Follow a torch-saved file's pickle without running it, and return the globals it names ("module name").

    Args:
        content: the pickle.
        storages: bytes of each storage that the file holds, by key.
    Raises: as `follow`.
    """
    return follow(content, storages).used


def follow(content: bytes, storages: Mapping[str, int] | None) -> Followed:
    """Follow the pickle that `content` begins with, without running it.

    Args:
        storages: bytes of each storage that the file holds, by key; None where they follow the pickle: whoever asks has to check
            that they are what it claims.
    Raises: DataError, without the file's name, for anything but plain tensors, numbers, names and containers of these.
    """
    machine, end = _Machine(storages), 0
    try:
        for count, (opcode, argument, place) in enumerate(pickletools.genops(content)):
            if count >= MAX_OPCODES:
                raise DataError(f"its pickle has more than {MAX_OPCODES} opcodes; {INSTEAD}")
            if opcode.name != "STOP":
                machine.step(opcode.name, argument)
            elif len(machine.stack) == 1 and machine.stack[0] is not _MARK:
                end = (place or 0) + 1
    except DataError:
        raise
    except (
        ValueError,
        KeyError,
        IndexError,
        TypeError,
        StopIteration,
        EOFError,
        OverflowError,
        RecursionError,
        MemoryError,
    ) as error:
        raise DataError(f"its pickle is damaged ({type(error).__name__})") from None
    if not end:
        raise DataError("its pickle is damaged (it does not end in one value)")
    return Followed(machine.used, machine.stack[0], machine.claims, end)
