"""giftbench: how much is a distilled dataset worth? What a plugin or a notebook imports, loaded when it is used."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from harness import datasets, losses, models
    from harness.boards.board import Board
    from harness.boards.protocol import Protocol
    from harness.boards.records import Record, RecordStore
    from harness.boards.trial import Trial
    from harness.distilled import distillers, readers
    from harness.distilled.set import DistilledSet
    from harness.distilled.source import Source
    from harness.losses.targets import Targets
    from harness.running.api import Evaluation, evaluate
    from harness.running.scenario import Outcome, Scenario
    from harness.running.scenario import registry as scenarios

_PUBLIC = {
    "Board": "harness.boards.board:Board",
    "DistilledSet": "harness.distilled.set:DistilledSet",
    "Evaluation": "harness.running.api:Evaluation",
    "Outcome": "harness.running.scenario:Outcome",
    "Protocol": "harness.boards.protocol:Protocol",
    "Record": "harness.boards.records:Record",
    "RecordStore": "harness.boards.records:RecordStore",
    "Scenario": "harness.running.scenario:Scenario",
    "Source": "harness.distilled.source:Source",
    "Targets": "harness.losses.targets:Targets",
    "Trial": "harness.boards.trial:Trial",
    "distillers": "harness.distilled:distillers",
    "evaluate": "harness.running.api:evaluate",
    "scenarios": "harness.running.scenario:registry",
}

__all__ = [
    "Board",
    "DistilledSet",
    "Evaluation",
    "Outcome",
    "Protocol",
    "Record",
    "RecordStore",
    "Scenario",
    "Source",
    "Targets",
    "Trial",
    "datasets",
    "distillers",
    "evaluate",
    "losses",
    "models",
    "readers",
    "scenarios",
]


def __getattr__(name: str) -> Any:
    if name in ("datasets", "losses", "models"):
        return importlib.import_module(f"harness.{name}")
    if name == "readers":
        return importlib.import_module("harness.distilled.readers")
    if name not in _PUBLIC:
        raise AttributeError(f"module 'harness' has no attribute {name!r}")
    module, _, attribute = _PUBLIC[name].partition(":")
    return getattr(importlib.import_module(module), attribute)


def __dir__() -> list[str]:
    return __all__
