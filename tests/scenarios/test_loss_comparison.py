"""loss-comparison: every loss on every set."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from harness.boards.records import Record
from harness.boards.trial import Trial
from harness.running.scenario import named
from tests.scenarios.looking import RANDOM, RDED, cell, tables_of

Planner = Callable[..., list[Trial]]
Run = Callable[..., list[Record]]


def test_every_loss_meets_every_set_and_ipc_makes_the_columns(run: Run) -> None:
    sets = [RDED, {**RANDOM, "ipc": [1, 2]}]
    records = run({"name": "loss-comparison"}, losses=["gift", "kl", "ce"], sets=sets)
    assert len(records) == 3 * 3
    (table,) = tables_of(records)
    assert table.column_labels == (("1", ""), ("2", ""))
    assert table.row_labels[:3] == (("RDED", "kl"), ("RDED", "gift"), ("RDED", "ce"))  # native first
    assert cell(table, method="RDED", row="kl", ipc="1")["native"]
    gains = cell(table, method="Random", row="ce", ipc="2")["gain"]
    by_loss = {r.trial.loss.name: r.metrics["accuracy"] for r in records if r.trial.labels.ipc == 2}
    assert gains == pytest.approx(by_loss["ce"] - by_loss["kl"])
    (figure,) = named("loss-comparison").figures([table])
    assert figure.categories == ("kl", "gift", "ce")
