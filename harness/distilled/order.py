"""The order of a set's classes: as its user states it, else as what the set's folders are called shows.

| stated    | folders                                            | a set that has numbers alone                        |
| --------- | -------------------------------------------------- | --------------------------------------------------- |
| `names`   | are called as the dataset's classes                | counts the dataset's classes by their sorted names  |
| `numbers` | are the dataset's numbers of its classes           | counts them as the dataset does                     |
| `wnid`    | are WordNet ids, and the classes these, sorted     | the same                                            |
| FILE      | its line i has the folder of class i; of numbered folders, and of a set that has numbers alone, the name of the |
|           | class that the set calls i                                                                               |

What is not stated is taken from folders that are called as the dataset's classes, are numbers or begin with them, or are WordNet
ids, which count as they are sorted. Of others, such as prompts, the order cannot be known: they are refused.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.core.errors import BadOption, DataError, suggest
from harness.datasets.cards import Card
from harness.datasets.class_order import are_numbers, number, places
from harness.files import paths

WAYS = ("names", "numbers", "wnid")
#: A class folder's number: 00012 (RDED, CDA on ImageNet-21K), new012 (SRe2L), class012.
NUMBERED = re.compile(r"(?:new|class|cls|label)[_-]?(\d{1,6})|_(\d{1,6})")
WORDNET = re.compile(r"n\d{8}")
#: What a folder's name begins with: the class's number or WordNet id, then its name: 012_ostrich, n01518878-ostrich.
LED = re.compile(r"(\d{1,6}|n\d{8})[ _.-]+(?!\d+$)\S.*")
#: Bytes of a file of class names.
MAX_BYTES = 1 << 24


@dataclass(frozen=True)
class Order:
    """An order that the user states: one of `WAYS`, or the lines of a file of this name."""

    way: str
    lines: tuple[str, ...] = ()

    @classmethod
    def of(cls, text: str) -> Order:
        """Return the order of `--classes`. Raises BadOption for a way that there is not; DataError for a file that is no list."""
        if text in WAYS:
            return cls(text)
        file = Path(text).expanduser()
        if not file.is_file():
            raise BadOption(f"--classes {text}: no such file, and not one of {', '.join(WAYS)}")
        paths.size(file, MAX_BYTES)
        try:
            lines = [line.strip() for line in file.read_text("utf-8-sig").splitlines()]
        except UnicodeDecodeError:
            raise DataError(f"{file}: not UTF-8 text; expected the name of a class on each line") from None
        return cls(file.name, tuple(line for line in lines if line))

    def numbering(self, card: Card) -> list[int]:
        """Return the dataset's number of each class, in the order in which a set that has numbers alone counts them.

        Raises: DataError when the dataset's own names do not tell.
        """
        if self.way == "numbers":
            return list(range(card.classes))
        if not card.names:
            raise DataError(f"--classes {self.way}: the names of {card.name}'s classes are not known without its files")
        if self.way == "wnid" and not all(WORDNET.fullmatch(name) for name in card.names):
            raise DataError(f"--classes wnid: the classes of {card.name} are not known by their WordNet ids")
        return _paired(self.lines or sorted(card.names), card, f"--classes {self.way}")


@dataclass(frozen=True)
class Arrangement:
    """Class folders in the order of the classes, and in words what that order is."""

    folders: tuple[str, ...]
    words: str


def number_of(folder: str) -> int | None:
    """Return the number that a class folder's name is; None where it is none."""
    prefixed = NUMBERED.fullmatch(folder)
    value = int(prefixed[1] or prefixed[2]) if prefixed is not None else number(folder)
    return value if value is None or value >= 0 else None


def arrange(folders: Sequence[str], card: Card, order: Order | None, root: Path, say: Callable[[str], None]) -> Arrangement:
    """Return class folders by class.

    Args:
        folders: their names, sorted.
        order: that is stated; None: folders that are called as the dataset's classes are those, numbers count them, WordNet ids
            are sorted, which is said.
        root: the folder they lie in, for messages.
    Raises: DataError when there is no such order of them, with the line that helps where it has to be stated.
    """
    numbers = {folder: value for folder in folders if (value := number_of(folder)) is not None}
    way = order.way if order is not None else ""
    if order is not None and order.lines:
        return _by_lines(folders, card, order, root)
    if way == "numbers" or (not way and _counts(numbers, folders, card) and set(folders) != set(card.names)):
        return _by_numbers(folders, numbers, card, root)
    if way == "names" or (not way and len(folders) == card.classes and None not in places(folders, card.names)):
        if not card.names:
            raise DataError(f"--classes names: the names of {card.name}'s classes are not known without its files")
        say(f"{root.name}: the folders are called as the classes of {card.name}")
        own = _paired(folders, card, str(root))
        return Arrangement(tuple(folders[own.index(label)] for label in range(card.classes)), "the dataset's names")
    if not way and (led := _led(folders)):
        inner = arrange(sorted(led), card, None, root, say)
        say(f"{root.name}: the classes are what the folders' names begin with, from {led[inner.folders[0]]}")
        return Arrangement(tuple(led[name] for name in inner.folders), f"{inner.words}, at the beginning of longer ones")
    if numbers and not way:
        return _by_numbers(folders, numbers, card, root)
    if way == "wnid" and (odd := next((folder for folder in folders if not WORDNET.fullmatch(folder)), None)) is not None:
        raise DataError(f"{root / odd}: no WordNet id, which --classes wnid says the folders are")
    _check_count(folders, card, root)
    known = [index for index in places(folders, card.names) if index is not None]
    if 2 * len(known) >= len(folders) and not way:
        _paired(folders, card, str(root))  # which names the one that is called otherwise
    if not all(WORDNET.fullmatch(folder) for folder in folders):
        odd = next(folder for folder in folders if not WORDNET.fullmatch(folder))
        names = f"the classes of {card.name}" if card.names else f"classes, whose names {card.name} has in its files,"
        raise DataError(
            f"{root}: folders such as {odd[:60]!r} are called neither as {names} nor by number or WordNet id; state their order "
            "by --classes FILE, on line i the folder of class i (on a board: classes = 'FILE')"
        )
    say(f"{root.name}: the folders are WordNet ids, so the classes are these, sorted, from {folders[0]}")
    return Arrangement(tuple(folders), "the folders' names, sorted")


def _led(folders: Sequence[str]) -> dict[str, str]:
    """Return folders by the numbers or WordNet ids that all their names begin with; nothing where they do not, or share one."""
    matches = [LED.fullmatch(folder) for folder in folders]
    leads = {match[1]: folder for match, folder in zip(matches, folders, strict=True) if match is not None}
    alike = len({WORDNET.fullmatch(lead) is None for lead in leads}) == 1
    return leads if alike and len(leads) == len(folders) else {}


def _counts(numbers: dict[str, int], folders: Sequence[str], card: Card) -> bool:
    return len(numbers) == len(folders) and sorted(numbers.values()) == list(range(card.classes))


def _check_count(folders: Sequence[str], card: Card, root: Path) -> None:
    if len(folders) != card.classes:
        raise DataError(f"{root}: {len(folders)} class folders, {card.name} has {card.classes} classes")


def _by_numbers(folders: Sequence[str], numbers: dict[str, int], card: Card, root: Path) -> Arrangement:
    folder_of: dict[int, str] = {}
    for folder, label in numbers.items():
        if label in folder_of:
            raise DataError(f"{root}: {folder_of[label]} and {folder} are both class {label}")
        folder_of[label] = folder
    if odd := [folder for folder in folders if folder not in numbers]:
        beside = f", beside others that are numbered such as {next(iter(numbers))}" if numbers else ": it is no number"
        raise DataError(f"{root / odd[0]}: no class folder{beside}")
    if missing := sorted({*range(card.classes)} - folder_of.keys()):
        count = f"{len(folder_of)} class folders, {card.name} has {card.classes}"
        hint = "; numbers that count otherwise are stated by --classes FILE, on line i the folder of class i"
        hint = hint if len(folders) == card.classes else ""
        raise DataError(f"{root}: no folder of class {missing[0]}; {count}{hint}")
    if extra := sorted(folder_of.keys() - {*range(card.classes)}):
        raise DataError(f"{root / folder_of[extra[0]]}: a class too many; {card.name} has {card.classes}, numbered from 0")
    return Arrangement(tuple(folder_of[label] for label in range(card.classes)), "the folders' numbers")


def _by_lines(folders: Sequence[str], card: Card, order: Order, root: Path) -> Arrangement:
    """Return folders as a file lists them, or, of numbered folders, the dataset's names of what they count."""
    _check_count(folders, card, root)
    if len(order.lines) != card.classes:
        raise DataError(f"--classes {order.way}: {len(order.lines)} lines, {card.name} has {card.classes} classes")
    listed = places(order.lines, folders)
    if None not in listed:
        return Arrangement(tuple(folders[index] for index in listed if index is not None), f"as {order.way} lists them")
    counted = [number_of(folder) for folder in folders]
    if sorted(value for value in counted if value is not None) != list(range(card.classes)) or are_numbers(order.lines):
        odd = order.lines[listed.index(None)]
        raise DataError(f"--classes {order.way}: no folder {odd!r} in {root}; {suggest(odd, folders)}")
    own = order.numbering(card)  # the dataset's class of each of the set's numbers
    ordered = tuple(folders[counted.index(own.index(label))] for label in range(card.classes))
    return Arrangement(ordered, f"as {order.way} names them")


def _paired(names: Sequence[str], card: Card, place: str) -> list[int]:
    """Return the dataset's class of each name. Raises DataError that names one that is none."""
    own = places(names, card.names)
    for name, index in zip(names, own, strict=True):
        if index is None:
            raise DataError(f"{place}: no class of {card.name} is called {name!r}; {suggest(name, card.names)}")
    if len(own) != card.classes:
        raise DataError(f"{place}: {len(own)} classes, {card.name} has {card.classes}")
    return [index for index in own if index is not None]
