"""A pickle of protocols 3 to 5 written as one of protocol 2, opcode by opcode: nothing in it is run.

`torch.save(…, pickle_protocol=4)` writes such. What follows pickles here, and torch's weights-only reader, know protocol 2: there
names of modules stand in the opcode that asks for them and not on the stack, texts have one form, and bytes are a call.
"""

from __future__ import annotations

import pickle
import pickletools
import struct
from dataclasses import dataclass, field

from harness.core.errors import DataError
from harness.files.pickles import INSTEAD, MAX_OPCODES

PROTOCOLS = (3, 4, 5)
#: Opcodes that are the same in protocol 2, with the same arguments.
_SAME = {
    *("APPEND", "APPENDS", "BINFLOAT", "BININT", "BININT1", "BININT2", "BINPERSID", "BUILD", "EMPTY_DICT", "EMPTY_LIST"),
    *("EMPTY_TUPLE", "GLOBAL", "LONG1", "MARK", "NEWFALSE", "NEWOBJ", "NEWTRUE", "NONE", "REDUCE", "SETITEM", "SETITEMS"),
    *("TUPLE", "TUPLE1", "TUPLE2", "TUPLE3"),
}
_TEXTS = {"BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8"}
_BYTES = {"BINBYTES", "SHORT_BINBYTES", "BINBYTES8"}


def protocol(content: bytes) -> int:
    """Return the protocol that a pickle says it has; 0 where it says none."""
    return content[1] if content[:1] == pickle.PROTO and len(content) > 1 else 0


def transcribed(content: bytes, limit: int) -> bytes:
    """Return a pickle of protocol 2 that says what `content` does, of a later protocol. As `first`."""
    return first(content, limit)[0]


def first(content: bytes, limit: int) -> tuple[bytes, int]:
    """Return a pickle of protocol 2 that says what the one does that `content` begins with, and the place where that one ends.

    Args:
        limit: bytes of the result above which it is refused: a text that is named often is written out each time.
    Raises: DataError, without the file's name, for opcodes that saved tensors do without, and for what is damaged.
    """
    pen = _Pen(limit)
    try:
        waiting: tuple[str, object, int] | None = None  # an opcode ends where the next one begins
        for count, (opcode, argument, place) in enumerate(pickletools.genops(content)):
            if count >= MAX_OPCODES:
                raise DataError(f"its pickle has more than {MAX_OPCODES} opcodes; {INSTEAD}")
            if waiting is not None:
                pen.take(*waiting[:2], content[waiting[2] : place])
            waiting = opcode.name, argument, place or 0
    except DataError:
        raise
    except (ValueError, KeyError, IndexError, EOFError, OverflowError, struct.error, UnicodeError) as error:
        raise DataError(f"its pickle is damaged ({type(error).__name__})") from None
    assert waiting is not None  # genops goes through to a STOP, or raises
    return pickle.PROTO + b"\x02" + b"".join(pen.parts) + pickle.STOP, waiting[2] + 1


@dataclass
class _Pen:
    """What is written so far.

    Attributes:
        parts: of the new pickle, each one opcode or, of bytes, the few that make them.
        said: the text that a part pushes, None of all others.
        texts: the texts and bytes that the pickle remembers, by number; these are not remembered in the new one.
        memoized: how many things the pickle remembers, which MEMOIZE numbers in order.
    """

    limit: int
    parts: list[bytes] = field(default_factory=list)
    said: list[str | None] = field(default_factory=list)
    texts: dict[int, str | bytes] = field(default_factory=dict)
    last: str | bytes | None = None
    memoized: int = 0
    size: int = 0

    def take(self, name: str, argument: object, written: bytes) -> None:
        """Write what an opcode says."""
        if name in ("PROTO", "FRAME"):
            return
        if name in ("MEMOIZE", "BINPUT", "LONG_BINPUT"):
            number = self.memoized if name == "MEMOIZE" else int(str(argument))
            self.memoized += 1
            if self.last is None:
                self.put(pickle.LONG_BINPUT + struct.pack("<I", number))
            else:
                self.texts[number] = self.last
            return
        if name in ("BINGET", "LONG_BINGET"):
            number = int(str(argument))
            if number in self.texts:
                self.push(self.texts[number])
            else:
                self.last = None
                self.put(pickle.LONG_BINGET + struct.pack("<I", number))
            return
        if name in _TEXTS or name in _BYTES:
            assert isinstance(argument, (str, bytes))
            self.push(argument)
            return
        self.last = None
        if name == "STACK_GLOBAL":
            self.put(pickle.GLOBAL + f"{self.module_and_name()}\n".encode())
        elif name in _SAME:
            self.put(written)
        else:
            raise DataError(f"its pickle has the opcode {name}, which saved tensors do without")

    def push(self, value: str | bytes) -> None:
        """Write a text, or the call that protocol 2 makes bytes by."""
        self.last = value
        if isinstance(value, str):
            self.put(_text(value), value)
        else:
            arguments = _text(value.decode("latin1")) + _text("latin1") + pickle.TUPLE2
            self.put(pickle.GLOBAL + b"_codecs\nencode\n" + arguments + pickle.REDUCE)

    def put(self, part: bytes, said: str | None = None) -> None:
        self.parts.append(part)
        self.said.append(said)
        self.size += len(part)
        if self.size > self.limit:
            raise DataError(f"its pickle says more than {self.limit >> 20} MiB")

    def module_and_name(self) -> str:
        """Take back the two texts that stand on the stack, and return them as GLOBAL has them."""
        module, name = self.said[-2], self.said[-1]
        if module is None or name is None or {*"\n\r "} & {*module, *name}:
            raise DataError("its pickle asks for something that is not named by two words before")
        del self.parts[-2:], self.said[-2:]
        return f"{module}\n{name}"


def _text(value: str) -> bytes:
    encoded = value.encode("utf-8", "surrogatepass")
    return pickle.BINUNICODE + struct.pack("<I", len(encoded)) + encoded
