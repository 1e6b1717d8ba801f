"""A record says how its trial was trained, and trained again that way it has the same number."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from harness import optimizers
from harness.boards.records import Record, RecordStore
from harness.boards.trial import Trial
from harness.core.errors import BoardError
from harness.planning.artefacts import Artefacts
from harness.running.again import again, trained_again
from harness.running.executors.work import run_bundle
from harness.running.workbench import Workbench
from tests.conftest import Planner

Make = Callable[..., list[Record]]


@pytest.fixture
def trials(plan: Planner) -> list[Trial]:
    """Six trials that differ in their seed alone."""
    protocol = {"name": "quick", "epochs": 4, "batch_size": 5, "evaluations": 2}
    return plan(
        losses=["ce"],
        seeds=6,
        scenarios=["loss-comparison"],
        model="convnet1(width=8)",
        protocol=protocol,
        sets=[{"method": "random", "ipc": 1}],
    )


@pytest.fixture
def store(tmp_path: Path) -> RecordStore:
    return RecordStore(tmp_path / "records")


def numbers(record: Record) -> tuple[object, ...]:
    return record.status, record.metrics, record.history


def test_a_trial_of_a_stack_of_six_is_trained_again_to_the_bit(
    trials: list[Trial], store: RecordStore, artefacts: Artefacts
) -> None:
    for record in run_bundle(trials, Workbench("cpu", artefacts, stack=6)):
        store.write(record)
    ids = [trial.id for trial in trials]
    record = next(each for each in store if each.id == ids[4])  # as it comes from the disk
    assert (record.environment.trained, record.environment.together) == ("stacked", 6)
    assert list(record.environment.trained_with) == ids
    way = again(record, store)
    assert [trial.id for trial in way.trials] == ids
    assert numbers(trained_again(record, store, Workbench("cpu", artefacts, stack=way.stack))) == numbers(record)


def test_a_trial_that_was_made_alone_is_trained_again_alone_to_the_bit(
    trials: list[Trial], store: RecordStore, artefacts: Artefacts
) -> None:
    records = list(run_bundle(trials[:2], Workbench("cpu", artefacts, stack=1)))
    assert [record.environment.trained for record in records] == ["alone", "alone"]
    way = again(records[1], store)
    assert ([trial.id for trial in way.trials], way.stack) == ([trials[1].id], 1)
    assert numbers(trained_again(records[1], store, Workbench("cpu", artefacts, stack=way.stack))) == numbers(records[1])


def test_a_record_that_does_not_say_enough_is_refused(trials: list[Trial], store: RecordStore) -> None:
    older = Record.of(trials[0], "done", metrics={"accuracy": 1.0}, environment={"together": 6})
    with pytest.raises(BoardError, match=f"record {trials[0].id}: 6 trainings were made in its pass, and it does not say which"):
        again(older, store)
    told = older.environment.model_copy(update={"trained": "stacked", "trained_with": tuple(trial.id for trial in trials[:2])})
    record = older.model_copy(update={"environment": told})
    store.write(record)
    with pytest.raises(BoardError, match=f"together with {trials[1].id}, of which there is no record"):
        again(record, store)
    beside = Record.of(trials[0], "done", environment={"together": 6, "trained": "side by side", "trained_with": ["x", "y"]})
    assert again(beside, store).trials == (trials[0],)


def test_threads_and_stacks_change_last_digits_alone(trials: list[Trial], artefacts: Artefacts) -> None:
    plain = optimizers.resolve("sgd(lr=0.01)").spec  # Adam would make a whole step of noise where a gradient is nothing else
    trials = [trial.model_copy(update={"optimizer": plain}) for trial in trials]

    def weights(threads: int, stack: int) -> torch.Tensor:
        before = torch.get_num_threads()
        torch.set_num_threads(threads)
        try:
            bench = Workbench("cpu", artefacts, stack=stack)
            students = [bench.student(trial) for trial in trials[:stack]]
            if stack == 1:
                bench.fit(students[0], bench.material(trials[0]), trials[0])
            else:
                bench.student = lambda trial: students[[one.id for one in trials].index(trial.id)]  # type: ignore[method-assign]
                bench.fit_together(trials[:stack], bench.material(trials[0]), [bench.loss(trial) for trial in trials[:stack]])
            return torch.cat([weight.detach().flatten() for weight in students[0].parameters()])
        finally:
            torch.set_num_threads(before)

    alone = weights(1, 1)
    assert torch.equal(alone, weights(1, 1))
    torch.testing.assert_close(weights(2, 1), alone, rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(weights(1, 3), alone, rtol=1e-3, atol=1e-4)
