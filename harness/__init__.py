"""giftbench: how much is a distilled dataset worth? What a plugin or a notebook imports, loaded when it is used.

Everything public is here: `from harness import Scenario`; `harness.pivot(…)` for what should load no sooner than it is called.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.core.lazy import exports

if TYPE_CHECKING:
    from harness import augmentation as augmentations
    from harness import continual, datasets, losses, models, optimizers
    from harness.boards import recipes as protocols
    from harness.boards.board import Board
    from harness.boards.cases import Case, NativeProtocol
    from harness.boards.frames import records
    from harness.boards.protocol import Protocol
    from harness.boards.records import Record, RecordStore
    from harness.boards.trial import Trial
    from harness.core import plugins, seeds
    from harness.core.errors import BadOption, BoardError, DataError, GiftbenchError, MissingTargets, at, suggest
    from harness.core.spec import Spec, specs
    from harness.datasets.base import Dataset
    from harness.datasets.split import Split
    from harness.distilled import distillers, readers
    from harness.distilled.reading import Reading
    from harness.distilled.set import DistilledSet
    from harness.distilled.source import Source
    from harness.leaderboard import statistics
    from harness.leaderboard.figures import Figure, Line, Panel, curves, dots
    from harness.leaderboard.tables import Table, measured, pivot
    from harness.leaderboard.text import fixed
    from harness.losses.targets import Targets
    from harness.optimizers import schedules
    from harness.planning.plan import Plan
    from harness.running import executors
    from harness.running.about import Measure, Paper
    from harness.running.api import evaluate
    from harness.running.evaluation import Evaluation
    from harness.running.scenario import Outcome, Scenario
    from harness.running.scenario import registry as scenarios
    from harness.running.scenario_options import LossSpec, ModelSpec, OptimizerSpec, ScenarioOptions
    from harness.running.workbench import Workbench, recipe
    from harness.training.values import Material

__all__ = [
    "BadOption",
    "Board",
    "BoardError",
    "Case",
    "DataError",
    "Dataset",
    "DistilledSet",
    "Evaluation",
    "Figure",
    "GiftbenchError",
    "Line",
    "LossSpec",
    "Material",
    "Measure",
    "MissingTargets",
    "ModelSpec",
    "NativeProtocol",
    "OptimizerSpec",
    "Outcome",
    "Panel",
    "Paper",
    "Plan",
    "Protocol",
    "Reading",
    "Record",
    "RecordStore",
    "Scenario",
    "ScenarioOptions",
    "Source",
    "Spec",
    "Split",
    "Table",
    "Targets",
    "Trial",
    "Workbench",
    "at",
    "augmentations",
    "continual",
    "curves",
    "datasets",
    "distillers",
    "dots",
    "evaluate",
    "executors",
    "fixed",
    "losses",
    "measured",
    "models",
    "optimizers",
    "pivot",
    "plugins",
    "protocols",
    "readers",
    "recipe",
    "records",
    "scenarios",
    "schedules",
    "seeds",
    "specs",
    "statistics",
    "suggest",
]

#: Where the public names come from: those of a file, and whole files or rooms.
_NAMES = {
    "harness.boards.board": ("Board",),
    "harness.boards.cases": ("Case", "NativeProtocol"),
    "harness.boards.frames": ("records",),
    "harness.boards.protocol": ("Protocol",),
    "harness.boards.records": ("Record", "RecordStore"),
    "harness.boards.trial": ("Trial",),
    "harness.core.errors": ("BadOption", "BoardError", "DataError", "GiftbenchError", "MissingTargets", "at", "suggest"),
    "harness.core.spec": ("Spec", "specs"),
    "harness.datasets.base": ("Dataset",),
    "harness.datasets.split": ("Split",),
    "harness.distilled": ("distillers",),
    "harness.distilled.reading": ("Reading",),
    "harness.distilled.set": ("DistilledSet",),
    "harness.distilled.source": ("Source",),
    "harness.leaderboard.figures": ("Figure", "Line", "Panel", "curves", "dots"),
    "harness.leaderboard.tables": ("Table", "measured", "pivot"),
    "harness.leaderboard.text": ("fixed",),
    "harness.losses.targets": ("Targets",),
    "harness.planning.plan": ("Plan",),
    "harness.running.about": ("Measure", "Paper"),
    "harness.running.api": ("evaluate",),
    "harness.running.evaluation": ("Evaluation",),
    "harness.running.scenario": ("Outcome", "Scenario"),
    "harness.running.scenario_options": ("LossSpec", "ModelSpec", "OptimizerSpec", "ScenarioOptions"),
    "harness.running.workbench": ("Workbench", "recipe"),
    "harness.training.values": ("Material",),
}
_MODULES = {
    "augmentations": "harness.augmentation",
    "continual": "harness.continual",
    "datasets": "harness.datasets",
    "executors": "harness.running.executors",
    "losses": "harness.losses",
    "models": "harness.models",
    "optimizers": "harness.optimizers",
    "plugins": "harness.core.plugins",
    "protocols": "harness.boards.recipes",
    "readers": "harness.distilled.readers",
    "scenarios": "harness.running.scenario:registry",
    "schedules": "harness.optimizers:schedules",
    "seeds": "harness.core.seeds",
    "statistics": "harness.leaderboard.statistics",
}

__getattr__ = exports(__name__, {name: f"{home}:{name}" for home, names in _NAMES.items() for name in names} | _MODULES)


def __dir__() -> list[str]:
    return __all__
