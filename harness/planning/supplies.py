"""What the command line brings to a board: `--set rded=PATH`, `--set rded/cifar100/convnet=PATH`, `--teacher convnet3=PATH`."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from harness.core.errors import BoardError, suggest

_FIELDS = re.compile(r"\{(\w+)\}")


@dataclass(frozen=True)
class Supply:
    """A path, for which name, and what else it is limited to.

    Attributes:
        text: as it was given, for messages.
        name: a slot of the board's sets, or a teacher's model; "" for whatever there is.
        qualifiers: a dataset, a network, an IPC (`ipc10`): it serves only what has all of them.
        path: may hold {dataset}, {network} and {ipc}.
    """

    text: str
    name: str
    qualifiers: frozenset[str]
    path: str

    def fits(self, name: str, facts: Mapping[str, str]) -> bool:
        """Return whether this serves a thing of this name and these facts."""
        return self.name in ("", name) and self.qualifiers <= frozenset(facts.values())

    def place(self, facts: Mapping[str, str]) -> str:
        """Return the path with its fields filled in."""
        return _FIELDS.sub(lambda field: facts.get(field[1], field[0]), self.path)

    def tells(self, fact: str, value: str) -> bool:
        """Return whether this says of itself that it is for this value of a fact, by a qualifier or in its path."""
        return value in self.qualifiers or fact in _FIELDS.findall(self.path)


@dataclass(frozen=True)
class Supplies:
    """All that was given."""

    sets: tuple[Supply, ...] = ()
    teachers: tuple[Supply, ...] = ()
    used: set[str] = field(default_factory=set, compare=False)

    @classmethod
    def parse(cls, sets: Iterable[str] = (), teachers: Iterable[str] = ()) -> Supplies:
        """Read what stands behind --set (NAME[/DATASET][/NETWORK][/ipcK]=PATH) and --teacher ([NAME[/DATASET]=]PATH)."""
        return cls(tuple(_each("--set", sets, named=True)), tuple(_each("--teacher", teachers, named=False)))

    def find(self, kind: str, name: str, facts: Mapping[str, str]) -> Supply | None:
        """Return the supply that serves a thing best: the one with most qualifiers, of equals the last given.

        Args:
            kind: `set` or `teacher`.
            name: the slot, or the teacher's model.
            facts: dataset, network and ipc of the thing.
        """
        fitting = [s for s in (self.sets if kind == "set" else self.teachers) if s.fits(name, facts)]
        if not fitting:
            return None
        best = max(enumerate(fitting), key=lambda pair: (bool(pair[1].name), len(pair[1].qualifiers), pair[0]))[1]
        self.used.add(best.text)
        return best

    def check(self, slots: Collection[str]) -> None:
        """Raise BoardError for a --set whose name no set of the board waits for."""
        for supply in self.sets:
            if supply.name not in slots:
                answer = suggest(supply.name, slots) if slots else "its sets are all made or named by the board itself"
                raise BoardError(f"--set {supply.text}: the board has no set {supply.name!r} to supply; {answer}")

    def unused(self) -> list[str]:
        """Return what was given and served nothing, after a plan."""
        return [supply.text for supply in (*self.sets, *self.teachers) if supply.text not in self.used]


def _each(option: str, texts: Iterable[str], named: bool) -> Iterator[Supply]:
    for text in texts:
        key, equals, path = text.partition("=")
        if not named and (not equals or text.startswith(("/", "./", "../", "~"))):  # a path alone, which may have an = in it
            key, path = "", text
        name, *qualifiers = key.strip().split("/")
        if not named and name == "timm" and qualifiers:  # whose names have two parts
            name = f"timm/{qualifiers.pop(0)}"
        if not path or (named and not (equals and name)):
            form = "NAME=PATH or NAME/DATASET/NETWORK=PATH" if named else "PATH or MODEL=PATH"
            raise BoardError(f"{option} {text}: write it as {form}")
        odd = {*_FIELDS.findall(path)} - {"dataset", "network", "ipc"}
        if odd:
            raise BoardError(f"{option} {text}: {{{odd.pop()}}} is no field of a path; valid: {{dataset}}, {{network}}, {{ipc}}")
        yield Supply(text, name, frozenset(q for q in qualifiers if q), path)
