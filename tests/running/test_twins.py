"""One training, several questions: trials that differ only in the scenario that asks are trained once."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from harness.boards import faults
from harness.boards.records import Record, RecordStore
from harness.boards.trial import Trial
from harness.core.errors import BoardError
from harness.running import executors
from harness.running.again import again, trained_id
from harness.running.executors import local
from harness.running.executors.protocol import Event
from harness.running.options import Options, Silent
from harness.running.overrides import Overrides
from harness.running.run import run_board
from harness.running.scenario import as_said
from harness.running.twins import Twins, taken
from tests.conftest import board_text

SCENARIOS = [{"name": "cross-optimizer", "optimizers": ["adamw", "sgd"]}, {"name": "loss-comparison"}]


@pytest.fixture
def board(tmp_path: Path) -> Path:
    folder = tmp_path / "board"
    folder.mkdir()
    (folder / "board.toml").write_text(board_text(losses=["gift", "ce"], seeds=2, scenarios=SCENARIOS), "utf-8")
    return folder


def run(board: Path, **options: object) -> tuple[int, list[Record]]:
    done = run_board(board, Overrides(), Options(device="cpu", jobs=1, **options), Silent())  # type: ignore[arg-type]
    return done.ran, RecordStore(board / "records").read()


def test_scenarios_that_train_otherwise_than_trials_say_have_no_twins() -> None:
    assert as_said("cross-optimizer") and as_said("loss-comparison")
    assert not any(map(as_said, ("gradient-scale", "class-incremental", "dd-ranking", "no-such-scenario")))


def test_each_training_is_made_once_and_each_scenario_has_its_record(board: Path) -> None:
    ran, records = run(board)
    assert (ran, len(records)) == (8, 12)
    by_id = {record.id: record for record in records}
    copies = [record for record in records if record.environment.taken_from]
    assert [record.trial.scenario for record in copies] == ["loss-comparison"] * 4
    for record in copies:
        source = by_id[record.environment.taken_from]
        assert source.trial.scenario == "cross-optimizer"
        assert (record.trial.setup.training, record.trial.seed) == (source.trial.setup.training, source.trial.seed)
        assert (record.metrics, record.history) == (source.metrics, source.history)
    assert [*faults.copies(records)] == []
    assert run(board)[0] == 0


def test_what_one_scenario_has_trained_another_takes_in_a_later_run(board: Path) -> None:
    _, records = run(board)
    first = next(
        record for record in records if record.trial.scenario == "cross-optimizer" and record.trial.optimizer.name == "adamw"
    )
    (board / "records" / f"{first.id}.json").unlink()
    ran, after = run(board)
    assert ran == 0
    restored = next(record for record in after if record.id == first.id)
    assert (restored.metrics, restored.history) == (first.metrics, first.history)


def test_a_run_ends_where_a_newer_giftbench_has_made_the_training_that_others_would_be_taken_from(board: Path) -> None:
    """What is newer is nobody's to repeat or to copy; the run says so another time, and does not break here."""

    class Newer(local.Workers):
        def run(self, bundles: Iterator[Sequence[Trial]]) -> Iterator[Event]:
            for bundle in bundles:
                for trial in bundle:
                    record = {"schema": "giftbench.record/2", "id": trial.id}
                    (board / "records").mkdir(exist_ok=True)
                    (board / "records" / f"{trial.id}.json").write_text(json.dumps(record))
            return iter(())

    executors.register("newer")(lambda errand: Newer(errand.settings, errand.jobs))
    try:
        ran, records = run(board, executor="newer")
    finally:
        executors.registry.remove("newer")
    assert (ran, records) == (0, [])
    assert len([*(board / "records").glob("*.json")]) == 8


def test_trained_again_is_what_was_trained(board: Path) -> None:
    run(board)
    store = RecordStore(board / "records")
    copy = next(record for record in store if record.environment.taken_from)
    assert trained_id(copy) in {trial.id for trial in again(copy, store).trials}
    (board / "records" / f"{trained_id(copy)}.json").unlink()
    with pytest.raises(BoardError, match=f"is of the training of {trained_id(copy)}, of which there is no record"):
        again(copy, store)


def test_a_record_that_claims_anothers_numbers_has_them(board: Path) -> None:
    _, records = run(board)
    copy = next(record for record in records if record.environment.taken_from)
    source = next(record for record in records if record.id == copy.environment.taken_from)
    other = next(record for record in records if record.trial.seed != source.trial.seed and not record.environment.taken_from)
    forged = [copy.model_copy(update={"metrics": copy.metrics | {"accuracy": 99.0}}), taken(other, copy.trial)]
    for record, what in zip(forged, ("another outcome", "another training"), strict=True):
        (wrong,) = faults.copies([source, other, record])
        assert what in str(wrong)


def test_the_first_of_twins_is_trained_whatever_is_missing(board: Path) -> None:
    _, records = run(board)
    trials = [record.trial for record in sorted(records, key=lambda record: record.trial.labels.order)]
    twins = Twins(trials)
    assert len(twins.first(trials)) == 8
    late = [trial for trial in trials if trial.scenario == "loss-comparison"]
    assert twins.first(late) == late
    assert all(len(twins.of(trial)) == 1 for trial in late)
