"""Distilled sets: the value, its file, the distillers that make one; the readers of published ones are in `readers`.

A distiller plugin is a function `name(source: Source, *, option=default) -> DistilledSet`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from harness.core.registry import Registry

if TYPE_CHECKING:
    from harness.distilled.set import DistilledSet
    from harness.distilled.source import Source

    Distil = Callable[[Source], DistilledSet]

distillers: Registry[Distil] = Registry("distiller", group="giftbench.distillers")

distillers.add("random", "harness.distilled.random:random")
distillers.add("rded", "harness.distilled.rded:rded")
distillers.add("herding", "harness.distilled.coresets:herding")
distillers.add("k-center", "harness.distilled.coresets:k_center")
