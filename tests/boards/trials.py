"""A trial that tests change one thing of."""

from __future__ import annotations

import json
from typing import Any

from harness.boards.trial import Trial

TRIAL: dict[str, Any] = {
    "scenario": "cross-optimizer",
    "version": 1,
    "options": {"steps": 5},
    "dataset": {"name": "digits", "digest": "d" * 64},
    "distilled": "e" * 64,
    "teacher": ["a" * 64, "b" * 64],
    "model": {"name": "convnet1", "options": {"width": 8, "norm": "batch"}},
    "loss": {"name": "gift", "options": {"gamma": 0.1, "alpha": 0.1}},
    "optimizer": {"name": "adamw", "options": {"lr": 0.001, "weight_decay": 0.0001}},
    "protocol": {
        "name": "smoke",
        "epochs": 2,
        "batch_size": 10,
        "schedule": {"name": "multistep", "options": {"milestones": [0.5], "gamma": 0.2}},
        "augmentation": "flip",
        "mixing": "none",
        "cutout": "inner",
        "normalisation": "dataset",
        "labels": "auto",
        "precision": "float32",
        "evaluations": 1,
        "stages": [],
        "accumulation": 1,
        "ema": 0.0,
        "ranks": "raw",
    },
    "seed": 0,
    "labels": {"method": "random"},
}


def changed(path: str, value: Any) -> Trial:
    """The trial above with one thing changed; `path` has dots."""
    content = json.loads(json.dumps(TRIAL))
    place = content
    *folders, key = path.split(".")
    for folder in folders:
        place = place[folder]
    assert place.get(key) != value
    place[key] = value
    return Trial.model_validate(content)


def written_out(trial: Trial) -> str:
    """The canonical JSON as DESIGN.md has it: all but what describes, keys sorted, no white space."""
    content = json.loads(trial.model_dump_json())
    del content["labels"], content["dataset"]["name"], content["protocol"]["name"], content["protocol"]["optimizer"]
    absent: list[tuple[str, Any]] = [("mixing", "none"), ("cutout", "inner"), ("normalisation", "dataset")]
    absent += [("stages", []), ("accumulation", 1), ("ema", 0.0), ("ranks", "raw")]  # what protocols did before they said so
    content["protocol"] = {name: value for name, value in content["protocol"].items() if (name, value) not in absent}
    return json.dumps(content, sort_keys=True, separators=(",", ":"))
