"""The same job from Python."""

from __future__ import annotations

import os
import random
import statistics
import subprocess
import sys
from pathlib import Path

import numpy
import pytest
import torch

import harness
from harness.core.errors import DataError, GiftbenchError, UnknownName

SMALL = {"model": "convnet1(width=4)", "teacher": {"model": "convnet1(width=4)", "epochs": 1}, "protocol": "smoke"}


@pytest.fixture
def mine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> harness.DistilledSet:
    monkeypatch.setenv("GIFTBENCH_HOME", str(tmp_path))
    train = harness.datasets.load("digits").train
    index = torch.cat([(train.labels == label).nonzero()[:2, 0] for label in range(10)])
    return harness.DistilledSet(train.images[index], train.labels[index], dataset="digits", method="mine")


def test_a_set_in_memory_is_evaluated_over_seeds(mine: harness.DistilledSet) -> None:
    result = harness.evaluate(mine, loss="gift", optimizer="sgd", seeds=3, **SMALL)
    found = [record.metrics["accuracy"] for record in result.records]
    assert [record.trial.seed for record in result.records] == [0, 1, 2]
    assert result.mean == pytest.approx(statistics.fmean(found))
    assert result.std == pytest.approx(statistics.stdev(found))
    assert str(result).endswith("(n = 3)")
    assert result.records[0].trial.optimizer.name == "sgd"
    assert result.records[0].trial.loss.options["gamma"] == 0.1
    assert result.records[0].trial.labels.method == "mine"


def test_a_file_and_the_set_that_it_holds_give_the_same_numbers(mine: harness.DistilledSet, tmp_path: Path) -> None:
    path = mine.save(tmp_path / "mine.safetensors")
    first, second = (harness.evaluate(d, loss="ce", seeds=(7,), **SMALL).records[0] for d in (mine, path))
    assert first.id == second.id
    assert first.metrics == second.metrics


def test_stored_soft_labels_need_no_teacher(mine: harness.DistilledSet, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("harness.teachers.teacher.train", lambda *a, **k: pytest.fail("trained a teacher that nobody needs"))
    soft = torch.nn.functional.one_hot(mine.labels, 10).float() * 5
    labelled = harness.DistilledSet(mine.images, mine.labels, soft, dataset="digits", method="mine")
    result = harness.evaluate(labelled, loss="gift", seeds=1, **SMALL)
    assert result.std == 0.0
    assert result.records[0].trial.teacher == ()


def test_the_callers_random_streams_are_left_alone(mine: harness.DistilledSet) -> None:
    states = random.getstate(), numpy.random.get_state()[1].copy(), torch.get_rng_state()  # type: ignore[union-attr]
    shuffling = {"name": "class-incremental", "steps": 2, "strategies": ["AGEM(patterns_per_exp=4)"]}  # by Python's own stream
    harness.evaluate(mine, loss="ce", seeds=1, scenario=shuffling, **SMALL)
    assert random.getstate() == states[0]
    assert (numpy.random.get_state()[1] == states[1]).all()  # type: ignore[union-attr]
    assert torch.equal(torch.get_rng_state(), states[2])


@pytest.mark.parametrize("fails", [False, True])
def test_the_callers_torch_and_warnings_are_left_as_they_were(mine: harness.DistilledSet, fails: bool) -> None:
    """In a process of its own, where all is as it comes; the libraries are loaded first, for some set filters as they load."""
    path = mine.save(Path(os.environ["GIFTBENCH_HOME"]) / "mine.safetensors")
    code = f"""
import warnings, torch, kornia, timm, pandas, harness
cudnn, matmul = torch.backends.cudnn, torch.backends.cuda.matmul

def state():
    flags = cudnn.benchmark, cudnn.deterministic, cudnn.allow_tf32, matmul.allow_tf32, matmul.fp32_precision
    threads = torch.get_num_threads(), torch.get_num_interop_threads(), torch.get_default_dtype(), torch.is_grad_enabled()
    return [*flags, *threads, list(warnings.filters)]

cudnn.benchmark = matmul.allow_tf32 = True
before = state()

@harness.losses.register("failing")
def failing(logits, targets):
    "Fails on the batches of a trial, and not where it is tried out."
    if len(logits) >= 10:
        raise RuntimeError("planted")
    return logits.square().mean()

try:
    harness.evaluate({str(path)!r}, loss={"failing" if fails else "ce"!r}, seeds=2, **{SMALL!r})
    assert not {fails}
except harness.core.errors.GiftbenchError as error:
    assert {fails} and "planted" in str(error), error
assert state() == before, [pair for pair in zip(before, state()) if pair[0] != pair[1]]
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr


def test_a_scenario_can_be_run_instead(mine: harness.DistilledSet) -> None:
    result = harness.evaluate(
        mine, loss="ce", seeds=1, scenario={"name": "cross-optimizer", "optimizers": ["sgd", "adam"]}, **SMALL
    )
    assert [record.trial.optimizer.name for record in result.records] == ["sgd", "adam"]


def test_a_loss_registered_here_works_at_once(mine: harness.DistilledSet) -> None:
    @harness.losses.register("doubled")
    def doubled(logits, targets, *, beta=1.0):  # type: ignore[no-untyped-def]
        return beta * torch.nn.functional.cross_entropy(logits, targets.hard)

    try:
        result = harness.evaluate(mine, loss="doubled(beta=2)", seeds=1, **SMALL)
        assert result.records[0].trial.loss.options == {"beta": 2.0}
        assert result.records[0].status == "done"
    finally:
        harness.losses.registry.remove("doubled")


def test_mistakes_are_refused_before_anything_is_trained(mine: harness.DistilledSet, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("harness.training.loop.fit", lambda *a, **k: pytest.fail("trained"))
    with pytest.raises(UnknownName, match="did you mean 'gift'"):
        harness.evaluate(mine, loss="gfit", **SMALL)
    with pytest.raises(DataError, match="images are 3x8x8"):
        wrong = harness.DistilledSet(torch.zeros(2, 3, 8, 8), torch.tensor([0, 9]), dataset="digits", method="mine")
        harness.evaluate(wrong, loss="ce", **SMALL)
    with pytest.raises(GiftbenchError, match="no protocol"):
        harness.evaluate(mine, **{**SMALL, "protocol": "quik"})  # type: ignore[arg-type]


def test_when_every_seed_fails_the_error_is_raised(mine: harness.DistilledSet, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*arguments: object, **options: object) -> None:
        raise MemoryError

    monkeypatch.setattr("harness.training.trainer.fit_together", broken)
    with pytest.raises(GiftbenchError, match="every trial failed: out of memory"):
        harness.evaluate(mine, loss="ce", seeds=2, **SMALL)
