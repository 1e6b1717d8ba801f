"""What opens behind a cell: its records' facts and curves, as compact JSON, each said once."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup

from harness.boards.records import LOSS, Record
from harness.leaderboard.page.rows import LongTable
from harness.leaderboard.text import short_error, without_paths

#: Points of a curve that a page holds at most; of more, as many are chosen at even distances, the last among them.
POINTS = 40
#: What a curve runs over, the first of these that a record's history has.
ACROSS = ("epoch", "classes", "step")


def facts(tables: Sequence[LongTable], records: Sequence[Record]) -> dict[str, Any]:
    """Return what a page's script is given.

    `records` are lists: id, seed, status, seconds, number of the environment, best on test, error, number of the curve's
    places, its accuracies, and its training losses where there are any. `environments` are lists of (name, text); `places` are
    what curves run over, and its values. `cells` are, by a row's key, the numbers of its records and their values.
    """
    numbers: dict[str, int] = {}
    environments: dict[tuple[tuple[str, str], ...], int] = {}
    places: dict[tuple[Any, ...], int] = {}
    by_id = {record.id: record for record in records}
    listed: list[list[Any]] = []
    cells: dict[str, list[list[Any]]] = {}
    for table in tables:
        for row in table.rows:
            seeds = []
            for name, value in row.seeds:
                if name not in numbers:
                    numbers[name] = len(listed)
                    listed.append(_record(by_id[name], environments, places))
                seeds.append([numbers[name], _number(value)])
            if seeds:
                cells[row.key] = seeds
    return {"records": listed, "environments": [*environments], "places": [*places], "cells": cells}


def as_json(content: object) -> Markup:
    """Return JSON that may stand in a script element: it holds nothing that ends one."""
    text = json.dumps(content, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return Markup(text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029"))


def _record(record: Record, environments: dict[Any, int], places: dict[Any, int]) -> list[Any]:
    where = environments.setdefault(_environment(record), len(environments))
    name = next((name for name in ACROSS if record.history and name in record.history[0]), "")
    points = [point for point in record.history if name in point and "accuracy" in point] if name else []
    chosen = _thinned(points)
    curve: list[Any] = []
    if len(chosen) > 1:
        across = (name, *(_number(point[name]) for point in chosen))
        curve = [places.setdefault(across, len(places)), [_number(point["accuracy"]) for point in chosen]]
        losses = [_loss(point.get(LOSS)) for point in chosen]
        curve += [losses] if any(loss is not None for loss in losses) else []
    best = record.metrics.get("best_accuracy")
    seconds = record.timing.get("total")
    return [
        record.id,
        record.trial.seed,
        record.status,
        None if seconds is None else round(seconds, 1),
        where,
        None if best is None else _number(best),
        short_error(record.error) if record.error else "",
        *curve,
    ]


def _environment(record: Record) -> tuple[tuple[str, str], ...]:
    environment = record.environment
    stated: Mapping[str, str] = {
        "Device": environment.device,
        "Commit": environment.commit,
        "Versions": ", ".join(f"{name} {version}" for name, version in environment.versions.items()),
        "Threads": str(environment.threads or ""),
        "Trained": environment.trained,
    }
    return tuple((name, without_paths(text)) for name, text in stated.items() if text)


def _thinned(points: Sequence[Mapping[str, float]]) -> list[Mapping[str, float]]:
    if len(points) <= POINTS:
        return [*points]
    return [points[round(i * (len(points) - 1) / (POINTS - 1))] for i in range(POINTS)]


def _loss(value: float | None) -> float | None:
    """Return a loss in four digits that count: losses have any size."""
    return None if value is None or not math.isfinite(value) else float(f"{value:.4g}")


def _number(value: float) -> float | int | None:
    if value is None or math.isnan(value):
        return None
    short = round(float(value), 2)
    return int(short) if short.is_integer() else short
