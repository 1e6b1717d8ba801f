"""Protocols by name: those that ship, and plugins' (`@protocols.register("my-protocol")`). No torch.

A plugin's protocol is a function `name(case: Case) -> NativeProtocol`, as each of `native:METHOD` is: of the set's size, dataset
and provenance, and the student, it makes epochs, batch size, optimizer, schedule and what is done to batches. A board names it as
it does `paper`, and may say any field otherwise. A trial keeps the values that come of it, and rests on these alone.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from harness.boards.cases import Case, NativeProtocol
from harness.boards.native import NATIVE_PROTOCOLS, STATISTICS
from harness.core.errors import BadOption, PluginError, UnknownName, suggest
from harness.core.registry import Registry
from harness.core.spec import Spec

Recipe = Callable[[Case], NativeProtocol]
registry: Registry[Recipe] = Registry("protocol", group="giftbench.protocols")
register, names, describe = registry.register, registry.names, registry.describe

#: Protocols that are the same for all sets.
FIXED = ("paper", "quick", "smoke", "neutral:soft", "neutral:hard")
for _name in FIXED:
    registry.add(_name, "harness.boards.protocol:Protocol")
for _name, _recipe in NATIVE_PROTOCOLS.items():
    registry.add(_name, f"{_recipe.__module__}:{_recipe.__qualname__}")


def check_prefix(name: str) -> None:
    """Raise UnknownName for a name that nothing has and that only giftbench's own may have, `native:NAME`.

    Of other names this is told once plugins are loaded: a record, or a board, is read where its plugin is not.
    """
    if name.startswith(("native:", "neutral:")) and name not in registry:
        raise UnknownName(f"no protocol {name!r}; {suggest(name, names())}")


def asked(name: str, case: Case) -> NativeProtocol:
    """Return what a protocol, none of the fixed ones, says of a case.

    Raises: UnknownName with a suggestion; PluginError, one line, for a plugin that returns something else, or fails.
    """
    recipe = registry.create(name)
    if name in NATIVE_PROTOCOLS:
        return recipe(case)
    try:
        said = recipe(case)
        if not isinstance(said, NativeProtocol):
            raise BadOption(f"it returns a {type(said).__name__}; a NativeProtocol is right")
        if said.epochs < 1 or said.batch_size < 1:
            raise BadOption(f"it has {said.epochs} epochs and batches of {said.batch_size}; 1 is the least")
        if said.normalisation not in ("dataset", *STATISTICS):
            raise BadOption(f"normalisation {said.normalisation!r}; {suggest(said.normalisation, ('dataset', *STATISTICS))}")
        optimizer = None if said.optimizer is None else Spec.model_validate(said.optimizer)
        return replace(said, optimizer=optimizer, schedule=Spec.model_validate(said.schedule))
    except Exception as error:
        words = " ".join(str(error).split())
        kind = "" if isinstance(error, BadOption) else f"{type(error).__name__}: "
        raise PluginError(f"protocol {name!r}: {kind}{words}") from error


def authors_statistics(name: str, dataset: str) -> tuple[tuple[float, ...], tuple[float, ...]] | None:
    """Return the mean and std that a protocol's authors normalise a dataset's images by, where they are not its own."""
    return STATISTICS.get(asked(name, Case(1, dataset, 1)).normalisation) if name in registry else None
