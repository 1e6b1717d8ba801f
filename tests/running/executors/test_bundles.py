"""What is to be run, after workers have died: every trial is handed out again, and none for ever."""

from __future__ import annotations

from collections.abc import Iterator

from hypothesis import given, settings
from hypothesis import strategies as st

from harness.running.executors.bundles import Bundles
from tests.simulated_boards import trial

TRIALS = [trial(seed=seed) for seed in range(6)]


def seeds(bundles: Bundles) -> Iterator[list[int]]:
    while (bundle := bundles.take()) is not None:
        yield [one.seed for one in bundle]


def test_a_bundle_is_pulled_when_it_is_taken_and_not_before() -> None:
    pulled = iter([TRIALS[:2], TRIALS[2:3]])
    bundles = Bundles(pulled)
    assert bundles.take() == TRIALS[:2]
    assert next(pulled) == TRIALS[2:3]
    assert bundles.take() is None


def test_trials_that_a_worker_was_on_come_next_each_alone_and_the_rest_after_them() -> None:
    bundles = Bundles(iter([TRIALS[5:]]))
    assert bundles.lost(TRIALS[:5], 2, "killed") is None
    assert [*seeds(bundles)] == [[0], [1], [2, 3, 4], [5]]


def test_what_kills_a_second_worker_alone_has_failed_with_the_reason() -> None:
    bundles = Bundles(iter([]))
    assert bundles.lost(TRIALS[:1], 1, "killed") is None
    assert bundles.lost(TRIALS[:2], 2, "killed") is None, "two: nobody knows whose fault it is"
    failed = bundles.lost(TRIALS[:1], 1, "killed again")
    assert failed is not None
    assert (failed.trial, failed.status, failed.error) == (TRIALS[0], "failed", "killed again")


def test_a_trial_that_took_too_long_has_failed_at_once_and_of_several_each_runs_alone() -> None:
    bundles = Bundles(iter([]))
    assert bundles.lost(TRIALS[:2], 2, "too long", late=True) is None
    assert [*seeds(bundles)] == [[0], [1]]
    failed = bundles.lost(TRIALS[2:4], 1, "too long", late=True)
    assert failed is not None
    assert failed.trial.seed == 2
    assert [*seeds(bundles)] == [[3]]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(1, 4), min_size=1, max_size=4), st.data())
def test_workers_that_always_die_are_given_each_trial_a_few_times_at_most(sizes: list[int], data: st.DataObject) -> None:
    trials = [trial(seed=seed) for seed in range(sum(sizes))]
    starts = [sum(sizes[:number]) for number in range(len(sizes))]
    bundles = Bundles(iter([trials[start : start + size] for start, size in zip(starts, sizes, strict=True)]))
    failed, workers = [], 0
    while (bundle := bundles.take()) is not None:
        workers += 1
        assert workers <= 3 * len(trials)
        record = bundles.lost(bundle, data.draw(st.integers(0, len(bundle))), "dead")
        failed += [] if record is None else [record.trial.seed]
    assert sorted(failed) == [*range(len(trials))]
