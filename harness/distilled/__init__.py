"""Distilled sets: the value, its file, and the distillers that make one.

A distiller plugin is a function `name(source: Source, *, option=default) -> DistilledSet`.
"""

from __future__ import annotations

from typing import Any

from harness.registry import Registry

distillers: Registry[Any] = Registry("distiller", group="giftbench.distillers")
readers: Registry[Any] = Registry("reader", group="giftbench.readers")

distillers.add("random", "harness.distilled.random:random")
distillers.add("rded", "harness.distilled.rded:rded")
distillers.add("herding", "harness.distilled.coresets:herding")
distillers.add("k-center", "harness.distilled.coresets:k_center")
