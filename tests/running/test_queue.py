"""The queue that a board's runners share: each trial is trained by one, whatever bundles they plan, and none is left."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from harness.boards.records import Record, RecordStore
from harness.boards.trial import Trial
from harness.core.errors import BoardError
from harness.files.claims import Claims
from harness.running.queue import CLAIMS, PLAN, Queue, alone, stamp
from tests.conftest import Refused
from tests.simulated_boards import trial

TRIALS = [trial(seed=seed) for seed in range(6)]


@pytest.fixture
def store(tmp_path: Path) -> RecordStore:
    return RecordStore(tmp_path / "records")


@pytest.fixture
def claims(tmp_path: Path) -> Iterator[list[Claims]]:
    """The claims of four runners."""
    runners = [Claims(tmp_path / CLAIMS) for _ in range(4)]
    yield runners
    for runner in runners:
        runner.__exit__()


def queue(store: RecordStore, claims: Claims, *bundles: Sequence[int], **changes: object) -> Queue:
    missing = {TRIALS[seed].id: None for bundle in bundles for seed in bundle}
    return Queue([[TRIALS[seed] for seed in bundle] for bundle in bundles], missing, store.folder, claims, **changes)  # type: ignore[arg-type]


def seeds(bundles: Iterator[Sequence[Trial]]) -> list[list[int]]:
    return [[one.seed for one in bundle] for bundle in bundles]


def end(queue: Queue, store: RecordStore, *numbers: int) -> None:
    for number in numbers:
        assert queue.owns(TRIALS[number])
        store.write(Record.of(TRIALS[number], "done"))
        queue.recorded(TRIALS[number])


def test_what_another_has_claimed_is_skipped_and_offered_again_when_it_is_let_go(
    store: RecordStore, claims: list[Claims]
) -> None:
    one, other = (queue(store, each, [0], [1], [2]) for each in claims[:2])
    first = one.free()
    assert [trial.seed for trial in next(first)] == [0]
    assert seeds(other.free()) == [[1], [2]]
    assert seeds(first) == []
    assert one
    claims[1].release([TRIALS[1].id])  # as when its runner is stopped
    assert seeds(one.free()) == [[1]]


def test_one_large_bundle_is_under_way_at_a_time_while_there_are_others(store: RecordStore, claims: list[Claims]) -> None:
    def is_large(bundle: Sequence[Trial]) -> bool:
        return bundle[0].seed in (1, 2, 5)

    bundles = queue(store, claims[0], [0], [1], [2], [3], [4], [5], is_large=is_large)
    free = bundles.free()
    assert [next(free)[0].seed for _ in range(2)] == [1, 0]  # two workers
    end(bundles, store, 0)
    assert next(free)[0].seed == 3  # 1 is still under way
    end(bundles, store, 1)
    assert next(free)[0].seed == 2
    assert [next(free)[0].seed for _ in range(2)] == [4, 5], "where nothing else is left, no worker waits"
    assert seeds(free) == []


def test_nothing_is_claimed_before_it_is_pulled(store: RecordStore, claims: list[Claims]) -> None:
    bundles = queue(store, claims[0], [0, 1], [2]).free()
    assert claims[0].holders() == {}
    next(bundles)
    assert claims[0].holders().keys() == {TRIALS[0].id, TRIALS[1].id}


def test_runners_that_bundle_the_same_trials_otherwise_never_share_one(store: RecordStore, claims: list[Claims]) -> None:
    assert seeds(queue(store, claims[0], [0, 1], [2, 3]).free()) == [[0, 1], [2, 3]]
    assert seeds(queue(store, claims[1], [5, 0], [1, 2], [4], [3]).free()) == [[4]]
    assert claims[2].take([TRIALS[5].id]), "of a bundle that could not be had nothing is kept"


def test_what_another_has_recorded_is_told_once_and_not_run_again(store: RecordStore, claims: list[Claims]) -> None:
    told: list[int] = []
    one = queue(store, claims[0], [0], [1, 2])
    other = queue(store, claims[1], [0], [1, 2], elsewhere=lambda trial: told.append(trial.seed) or True)
    assert seeds(one.free()) == [[0], [1, 2]]
    end(one, store, 0, 1)
    assert seeds(other.free()) == []
    assert (told, bool(other), bool(one)) == ([0, 1], True, False)
    claims[0].release([TRIALS[2].id])
    assert seeds(other.free()) == [[1, 2]], "a stack is made whole again"
    assert [other.owns(TRIALS[seed]) for seed in (1, 2)] == [False, True]
    end(other, store, 2)
    assert (told, bool(other)) == ([0, 1], False)


def test_a_trial_that_is_recorded_while_it_is_claimed_is_let_go(
    store: RecordStore, claims: list[Claims], monkeypatch: pytest.MonkeyPatch
) -> None:
    take = Claims.take

    def late(self: Claims, names: Sequence[str]) -> bool:
        store.write(Record.of(TRIALS[0], "done"))
        return take(self, names)

    monkeypatch.setattr(Claims, "take", late)
    assert seeds(queue(store, claims[0], [0]).free()) == []
    assert claims[0].holders() == {}


def test_a_record_that_was_there_counts_once_it_has_been_written_anew(store: RecordStore, claims: list[Claims]) -> None:
    path = store.write(Record.of(TRIALS[0], "failed", error="once"))
    before = {TRIALS[0].id: stamp(path)}
    one, other = (Queue([[TRIALS[0]]], before, store.folder, each) for each in claims[:2])
    assert seeds(one.free()) == [[0]]
    end(one, store, 0)
    assert (seeds(other.free()), bool(other)) == ([], False)


def test_what_is_no_record_does_not_count_as_one(store: RecordStore, claims: list[Claims]) -> None:
    (store.folder / f"{TRIALS[0].id}.json").mkdir(parents=True)
    (store.folder / f"{TRIALS[1].id}.json").write_text("{")
    one = queue(store, claims[0], [0], [1], elsewhere=lambda trial: store.get(trial.id) is not None)
    assert seeds(one.free()) == [[0], [1]]


def test_four_runners_at_once_train_every_trial_once(store: RecordStore, claims: list[Claims]) -> None:
    trained: list[str] = []
    trials = [trial(seed=seed) for seed in range(100)]

    def work(number: int) -> None:
        size = (1, 2, 3, 5)[number]
        bundles = [trials[at : at + size] for at in range(0, 100, size)]
        own = Queue(bundles, dict.fromkeys([one.id for one in trials]), store.folder, claims[number])
        while own:
            for bundle in own.free():
                for one in filter(own.owns, bundle):
                    trained.append(one.id)
                    store.write(Record.of(one, "done"))
                    own.recorded(one)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert Counter(trained) == Counter(one.id for one in trials)


def test_records_are_not_set_aside_under_a_runner(tmp_path: Path, claims: list[Claims], refused: Refused) -> None:
    for name in ("a trial", PLAN):
        assert claims[0].take([name])
        with refused(BoardError, tmp_path, "is at work on this board; wait for it, or stop it"), alone(tmp_path):
            pytest.fail("not alone")
        claims[0].release([name])
    with alone(tmp_path):
        assert not claims[0].take([PLAN])


def test_who_only_looks_claims_nothing_and_sees_what_others_have_recorded(store: RecordStore, claims: list[Claims]) -> None:
    told: list[int] = []

    def elsewhere(one: Trial) -> bool:
        told.append(one.seed)
        return True

    watched, other = queue(store, claims[0], [0, 1], [2], elsewhere=elsewhere), queue(store, claims[1], [0, 1], [2])
    watched.look()
    assert seeds(other.free()) == [[0, 1], [2]]
    for done, seen, left in ((0, [0], True), (1, [0, 1], True), (2, [0, 1, 2], False)):
        end(other, store, done)
        watched.look()
        assert (told, bool(watched)) == (seen, left)
