"""Readers of published distilled sets, by name: one file a format; what they share is beside them.

A reader plugin is a function `name(reading: Reading, *, option=default) -> DistilledSet` (see `harness.distilled.reading`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from harness.core.registry import Registry

if TYPE_CHECKING:
    from harness.distilled.reading import Reading
    from harness.distilled.set import DistilledSet

registry: Registry[Callable[[Reading], DistilledSet]] = Registry("reader", group="giftbench.readers")
register, create, get, names, describe = registry.register, registry.create, registry.get, registry.names, registry.describe
resolve, add, remove = registry.resolve, registry.add, registry.remove

for _name, _target in {
    "rded": "rded:rded",
    "sre2l": "sre2l:sre2l",
    "cda": "sre2l:cda",
    "gvbsm": "gvbsm:gvbsm",
    "datm": "datm:datm",
    "mtt": "mtt:mtt",
    "tesla": "tesla:tesla",
    "dc": "dc:dc",
    "gift": "gift:gift",
    "fkd": "fkd:fkd",
    "lpld": "lpld:lpld",
    "lpqld": "lpld:lpqld",
    "hald": "hald:hald",
    "folder": "folder:folder",
    "parquet": "parquet:parquet",
    "npz": "npz:npz",
    "ncfm": "ncfm:ncfm",
}.items():
    registry.add(_name, f"harness.distilled.readers.{_target}")
