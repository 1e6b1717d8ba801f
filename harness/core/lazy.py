"""Faces of rooms whose parts load when they are first named: a package's `__getattr__`."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping


def exports(package: str, targets: Mapping[str, str]) -> Callable[[str], object]:
    """Return a package's `__getattr__`, which imports what a name stands for on first use.

    Args:
        package: its name, for the error.
        targets: public name -> "module:attribute", or "module" for the module itself.
    """

    def load(name: str) -> object:
        if name not in targets:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        module, _, attribute = targets[name].partition(":")
        loaded = importlib.import_module(module)
        return getattr(loaded, attribute) if attribute else loaded

    return load
