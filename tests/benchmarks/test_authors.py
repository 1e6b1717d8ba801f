"""The authors' loop of `authors.py`: its losses are ours to rounding, it learns, and a difference that is planted is found."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from harness import losses
from harness.losses.targets import Targets
from tests.benchmarks import authors


@pytest.mark.parametrize(("theirs", "ours"), [("gift", "gift_reference"), ("kl", "kl"), ("ce", "ce")])
def test_their_losses_are_the_ones_that_ours_are_named_for(theirs: str, ours: str) -> None:
    draws = torch.Generator().manual_seed(3)
    z, t = torch.randn(2, 32, 10, generator=draws, dtype=torch.float64) * 4
    y = torch.randint(0, 10, (32,), generator=draws)
    assert float(authors.LOSSES[theirs](z, t, y)) == pytest.approx(float(losses.create(ours)(z, Targets(y, t))), rel=1e-9)


def test_their_students_learn_what_a_teacher_tells() -> None:
    draws = torch.Generator().manual_seed(0)
    labels = torch.arange(60) % 3
    images = torch.randn(60, 1, 16, 16, generator=draws) * 0.3 + (labels.view(-1, 1, 1, 1) - 1.0)
    task = authors.Task(
        images[:30], labels[:30], images[30:], labels[30:], lambda x: 5 * x.mean((1, 2, 3))[:, None].repeat(1, 3), 3
    )
    torch.set_num_threads(1)
    assert authors.accuracy(task, authors.LOSSES["ce"], "adamw", seed=1, epochs=40, batch=10) > 60


def test_both_train_on_one_set_under_one_teacher(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("GIFTBENCH_HOME", str(tmp_path))
    rows = authors.compare("digits", seeds=2, epochs=1, teacher_epochs=1, optimizers=("sgd",))
    assert [(row["optimizer"], row["loss"]) for row in rows] == [("sgd", loss) for loss in ("gift", "kl", "ce")]
    assert all(len(row[side]) == 2 and all(0 < a < 100 for a in row[side]) for row in rows for side in ("ours", "theirs"))
    assert len(list((tmp_path / "artefacts").glob("teacher-*.safetensors"))) == 1


def test_an_interval_holds_a_difference_and_leaves_none_out_that_is_not_there() -> None:
    middle, low, high = authors.interval([90.0, 91.0, 92.0], [80.0, 81.0, 82.0])
    assert middle == 10 and 5 < low < 10 < high < 15
    assert authors.interval([1.0, 2.0, 3.0], [1.0, 2.0, 3.0])[0] == 0
