"""The order of classes: one rule for folders, tables and columns, on the side of datasets and on that of distilled sets.

1. Names that are equal belong together, spelled alike or folded: case, spaces, `/`, `_` and `-` do not count.
2. Where all are whole numbers, in any spelling ("10", "10.0", 10, "007"), they are in the order of the numbers.
3. Other names are sorted, and whoever reads them says so.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Collection, Sequence

#: What a file may call a class.
Name = int | float | str

#: Digits of a class's number; what is longer is a name.
MAX_DIGITS = 9
_WHOLE = re.compile(rf"([+-]?)0*([0-9]{{1,{MAX_DIGITS}}})(?:\.0*)?")
_UNCOUNTED = re.compile(r"[\s/_\-]+")


def number(name: Name) -> int | None:
    """Return the whole number that a name spells; None where it spells none."""
    if isinstance(name, bool):
        return None
    if isinstance(name, int):
        return name
    if isinstance(name, float):
        return int(name) if name.is_integer() and abs(name) < 10**MAX_DIGITS else None
    digits = _WHOLE.fullmatch(name.strip())
    return None if digits is None else int(digits[1] + digits[2])


def folded(name: Name) -> str:
    """Return a name as it is compared with others: a number by its value, else without case, spaces, `/`, `_` and `-`."""
    value = number(name)
    if value is not None:
        return str(value)
    text = unicodedata.normalize("NFKC", str(name))
    return _UNCOUNTED.sub("", text).casefold() or text


def are_numbers(names: Collection[Name]) -> bool:
    """Return whether all of these names are whole numbers, in whatever spelling; no names are none."""
    return bool(names) and all(number(name) is not None for name in names)


def in_order(names: Collection[str]) -> list[str]:
    """Return different names in order: by their numbers where all are whole numbers, else sorted."""
    if are_numbers(names):
        return sorted(names, key=lambda name: (number(name) or 0, name))
    return sorted(names)


def places(names: Sequence[Name], classes: Sequence[str]) -> list[int | None]:
    """Return which class each name is: the one spelled alike, else the only one that is equal folded; None where there is none.

    A class of two names, T-shirt/top, is called by either. Two names that would be one class are none, but for the one that is
    spelled alike.
    """
    spelled = {name: index for index, name in enumerate(classes)}
    callings = [{folded(name), *(folded(part) for part in name.split("/") if part.strip())} for name in classes]
    folds = Counter(fold for folds in callings for fold in folds)
    alone = {fold: index for index, called in enumerate(callings) for fold in called if folds[fold] == 1}
    exact = [spelled.get(str(name)) for name in names]
    taken = {index for index in exact if index is not None}
    loose = [None if index is not None else alone.get(folded(name)) for name, index in zip(names, exact, strict=True)]
    asked = Counter(loose)
    return [
        index if index is not None else other if other is not None and other not in taken and asked[other] == 1 else None
        for index, other in zip(exact, loose, strict=True)
    ]


def twice(names: Sequence[Name]) -> tuple[Name, Name] | None:
    """Return two of these names that are one number, where all are numbers; None where there are none such."""
    seen: dict[int | None, Name] = {}
    for name in names if are_numbers(names) else ():
        other = seen.setdefault(number(name), name)
        if other is not name:
            return other, name
    return None
