"""The kinds of things that can be named, and where each one's registry is. It loads when it is asked for: help loads none."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from harness.core.errors import UnknownName, suggest

if TYPE_CHECKING:
    from harness.core.registry import Registry

#: Kinds, in the plural, and their registries as "module:object".
REGISTRIES = {
    "losses": "harness.losses:registry",
    "models": "harness.models:registry",
    "optimizers": "harness.optimizers:registry",
    "schedules": "harness.optimizers:schedules",
    "augmentations": "harness.augmentation:registry",
    "datasets": "harness.datasets:registry",
    "distillers": "harness.distilled:distillers",
    "readers": "harness.distilled.readers:registry",
    "scenarios": "harness.running.scenario:registry",
    "executors": "harness.running.executors:registry",
    "protocols": "harness.boards.recipes:registry",
}
#: What `giftbench list` shows: Avalanche's strategies have names too, and no registry.
LISTED = (*REGISTRIES, "strategies")


def registry(kind: str) -> Registry[object]:
    """Return the registry of a kind (its plural). Raises UnknownName with a suggestion."""
    if kind not in REGISTRIES:
        raise UnknownName(f"nothing is called {kind!r}; {suggest(kind, LISTED)}")
    module, _, attribute = REGISTRIES[kind].partition(":")
    entries: Registry[object] = getattr(importlib.import_module(module), attribute)
    return entries
