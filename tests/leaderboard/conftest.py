"""Planted records: a trial's labels and its accuracy are what a test says, everything else is the same."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas
import pytest

from harness.boards.frames import to_frame
from harness.boards.protocol import Protocol
from harness.boards.records import Record, RecordStore
from harness.boards.trial import Trial
from harness.running.scenario import Scenario
from harness.running.scenario import registry as scenarios

LABELS: dict[str, Any] = {
    "dataset": "digits",
    "method": "RDED",
    "ipc": 10,
    "images": 100,
    "model": "convnet3",
    "adaptation": "",
    "loss": "kl",
    "native": "kl",
    "optimizer": "adamw",
    "learning_rate": 0.001,
    "teacher": "convnet3(width=64)",
    "teacher_accuracy": 98.24,
    "protocol": "quick",
    "epochs": 150,
    "batch_size": 50,
    "augmentation": "color_crop",
    "precision": "float32",
}
DEVICE = "CPU Test"
BOARD = """
title = "Planted"
description = "Records planted by a test."
dataset = "digits"
[[sets]]
method = "rded"
ipc = 10
[[scenarios]]
name = "planted"
"""


class Planter:
    """Makes records in the order of the calls; keyword arguments replace the usual labels, or a trial's own fields."""

    def __init__(self) -> None:
        self.records: list[Record] = []

    def plant(self, accuracy: float | None = None, seed: int = 0, status: str = "done", **changes: Any) -> Record:
        """Plant one record."""
        labels = {"order": len(self.records), **LABELS}
        own = {"scenario": "planted", "version": 1, "options": {}, "distilled": "", "data": "d" * 64, "weights": "e" * 64}
        rest = {"error": "", "device": DEVICE, "versions": {"torch": "2.9.1"}, "metrics": {}, "timing": {"total": 2.0}}
        extra = {"loss_spec": None}
        for name, value in changes.items():
            if name in own:
                own[name] = value
            elif name in rest:
                rest[name] = value
            elif name in extra:
                extra[name] = value
            else:
                labels[name] = value
        fields = ("epochs", "batch_size", "augmentation", "precision")
        labels = {name: value for name, value in labels.items() if value is not ...}
        distilled = own["distilled"] or hashlib.sha256(f"{labels.get('method')} {labels.get('ipc')}".encode()).hexdigest()
        trial = Trial(
            scenario=own["scenario"],
            version=own["version"],
            options=own["options"],
            dataset={"name": "digits", "digest": own["data"]},
            distilled=distilled,
            teacher=(own["weights"],) if labels.get("teacher") else (),
            model=str(labels.get("model", "convnet3")),
            loss=extra["loss_spec"] or str(labels.get("loss", "kl")),
            optimizer={"name": str(labels.get("optimizer", "adamw")), "rate": labels.get("learning_rate")},
            protocol=Protocol.model_validate("quick").model_copy(update={k: v for k, v in labels.items() if k in fields}),
            seed=seed,
            labels=labels,
        )
        metrics = {} if accuracy is None else {"accuracy": accuracy, "best_accuracy": accuracy + 1, "top5_accuracy": 99.0}
        record = Record.of(
            trial,
            status,
            metrics={**metrics, **rest["metrics"]},
            error=rest["error"],
            timing=rest["timing"],
            environment={"device": rest["device"], "versions": rest["versions"]},
        )
        self.records.append(record)
        return record

    def cell(self, *accuracies: float, **changes: Any) -> None:
        """Plant one cell: a record for each accuracy, seeds 0, 1, …"""
        for seed, accuracy in enumerate(accuracies):
            self.plant(accuracy, seed=seed, **changes)

    @property
    def frame(self) -> pandas.DataFrame:
        return to_frame(self.records)

    def board(self, folder: Path, text: str = BOARD) -> Path:
        """Write the board and its records; return the board's file."""
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "board.toml").write_text(text, "utf-8")
        store = RecordStore(folder / "records")
        for record in self.records:
            store.write(record)
        return folder / "board.toml"


@pytest.fixture
def planter() -> Planter:
    return Planter()


@pytest.fixture(scope="session")
def new_planter() -> type[Planter]:
    return Planter


@pytest.fixture
def planted() -> Iterator[type[Scenario]]:
    """Register the scenario that planted records belong to."""

    @scenarios.register("planted")
    class Planted(Scenario):
        summary = "What a test planted."

    yield Planted
    scenarios.remove("planted")
