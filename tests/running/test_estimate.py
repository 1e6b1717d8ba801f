"""The time left of a run: right after the first tenth, whatever a board is made of, and what that rests on."""

from __future__ import annotations

from typing import Any

import pytest

from harness.boards.records import Record
from harness.running.estimate import Estimate, Seconds
from tests.simulated_boards import BOARDS, COSTS, MODELS, Run, trial


def wrong_by(run: Run) -> float:
    """Return by which share the time left is wrong when both a tenth of the trials and a tenth of the time have passed."""
    told = [(run.now, ended, run.estimate.left()) for ended in run.events()]
    end = run.now
    at, left = next((now, left) for now, ended, left in told if ended >= len(run.trials) / 10 and now >= end / 10)
    assert left is not None
    return abs(left - (end - at)) / (end - at)


@pytest.mark.parametrize("board", BOARDS)
@pytest.mark.parametrize(
    "how",
    [{}, {"jobs": 1}, {"jobs": 4}, {"load": 5.0, "start": 5.0}],
    ids=["two workers", "one worker", "four workers", "slow to load"],
)
def test_after_the_first_tenth_the_time_left_is_right_within_a_fifth(board: str, how: dict[str, Any]) -> None:
    found = sorted(wrong_by(Run(BOARDS[board], seed=seed, **how)) for seed in range(10))
    assert found[8] <= 0.2, found  # the times are drawn; one draw in ten may be further off


@pytest.mark.parametrize("board", ["one kind", "several sizes", "several scenarios"])
def test_the_time_left_is_right_where_trainings_are_stacked(board: str) -> None:
    runs = [Run(BOARDS[board], seed=seed, stack=3, load=2.0) for seed in range(10)]
    assert any(len(bundle) == 3 for bundle in runs[0].order)
    found = sorted(map(wrong_by, runs))
    assert found[8] <= 0.2, found


@pytest.mark.parametrize("stack", [0, 3])
def test_the_time_left_is_right_where_trainings_are_made_beside_each_other(stack: int) -> None:
    runs = [Run(BOARDS["several students"], seed=seed, stack=stack, load=2.0, beside=True) for seed in range(10)]
    assert max(map(len, runs[0].order)) > 6
    wrong = sorted(map(wrong_by, runs))
    assert wrong[5] <= 0.3 and wrong[8] <= 0.5, wrong  # a bundle is a sixth of the board, so that few have ended


def test_without_noise_the_time_left_is_right_from_when_every_kind_has_ended() -> None:
    trials = BOARDS["several students"]
    run = Run(trials, noise=0.0)
    told = [(run.now, run.estimate.left()) for _ in run.events() if len(run.met) == len(MODELS)]
    assert len(told) > 50
    assert all(left == pytest.approx(run.now - now, abs=1e-6 * run.now) for now, left in told)


def test_before_a_trial_has_ended_costs_alone_tell_the_time_left_and_then_it_does() -> None:
    now = [0.0]
    given = trial()
    estimate = Estimate(COSTS, [[given], [trial(seed=1)]], 1, clock=lambda: now[0])
    cost = COSTS(given)
    assert estimate.left() == pytest.approx(2 * cost), "a cost is about a second"
    estimate.started(given)
    now[0] = cost / 4
    assert estimate.left() == pytest.approx(1.75 * cost)
    now[0] = 4.0
    estimate.ended(given, Record.of(given, "done", timing={"total": 4.0}))
    assert estimate.left() == 4.0


def test_time_passes_while_trials_run_and_a_late_one_keeps_a_rest() -> None:
    now = [0.0]
    first, second = trial(), trial(seed=1)
    estimate = Estimate(COSTS, [[first], [second]], 1, clock=lambda: now[0])
    estimate.started(first)
    estimate.ended(first, Record.of(first, "done", timing={"total": 10.0}))
    estimate.started(second)
    now[0] = 7.0
    assert estimate.left() == 3.0
    now[0] = 40.0
    assert estimate.left() == 15.0


def test_workers_share_what_is_left_as_they_will_take_it() -> None:
    now = [0.0]
    known, *rest = trial(), *(trial(seed=seed) for seed in range(1, 6))
    estimate = Estimate(COSTS, [[known], *([one] for one in rest)], 2, clock=lambda: now[0])
    estimate.started(known, 0)
    estimate.ended(known, Record.of(known, "done", timing={"total": 10.0}), 0)
    assert estimate.left() == 30.0  # five of ten seconds on two workers, and not 25


def test_the_first_trial_of_a_worker_tells_what_loading_takes_and_not_what_its_kind_takes() -> None:
    now = [0.0]
    first, second, third = (trial(seed=seed) for seed in range(3))
    estimate = Estimate(COSTS, [[first], [second], [third]], 2, clock=lambda: now[0])
    for number, one in enumerate((first, second)):
        estimate.started(one, number)
    timing = {"train": 9.0, "evaluate": 1.0, "total": 25.0}
    estimate.ended(first, Record.of(first, "done", timing=timing), 0)
    assert estimate.seconds(third) == 10.0
    assert estimate.left() == 25.0  # the second worker loads too; the third trial, on the first, takes 10


def test_trials_whose_worker_died_are_counted_once_when_they_run_again() -> None:
    now = [0.0]
    bundle = [trial(seed=seed) for seed in range(3)]
    last = trial(seed=3)
    estimate = Estimate(COSTS, [bundle, [last]], 1, clock=lambda: now[0])
    for one in bundle:
        estimate.started(one, 0)
    for one in bundle:  # each alone, on the next worker
        estimate.started(one, 0)
        now[0] += 10.0
        estimate.ended(one, Record.of(one, "done", timing={"total": 10.0}), 0)
    assert estimate.left() == 10.0


def test_what_another_runner_has_ended_is_not_waited_for() -> None:
    now = [0.0]
    trials = [trial(seed=seed) for seed in range(4)]
    estimate = Estimate(COSTS, [[trials[0]], [trials[1]], trials[2:]], 1, clock=lambda: now[0])
    estimate.started(trials[0])
    now[0] = 10.0
    estimate.ended(trials[0], Record.of(trials[0], "done", timing={"total": 10.0}))
    left = estimate.left()
    assert left is not None
    estimate.elsewhere(trials[1])
    estimate.elsewhere(trials[1])
    assert estimate.left() == pytest.approx(left - 10.0)
    estimate.elsewhere(trials[2])
    estimate.elsewhere(trials[3])
    assert estimate.left() == 0
    estimate.started(trials[2])  # to make its stack whole


def test_failed_trials_teach_nothing() -> None:
    seconds, given = Seconds(COSTS), trial()
    seconds.learn(given, Record.of(given, "failed", error="", timing={"total": 0.1}))
    assert not seconds
    seconds.learn(given, Record.of(given, "diverged", timing={"total": 3.0}))
    assert seconds(given) == 3.0


def test_a_kind_that_has_not_run_is_taken_at_the_rate_of_its_student_and_a_student_at_the_mean_rate() -> None:
    seconds = Seconds(COSTS)
    for model, rate in (("convnet3(width=32)", 2.0), ("convnet1(width=8)", 8.0)):
        given = trial(model)
        seconds.learn(given, Record.of(given, "done", timing={"total": rate * COSTS(given)}))
    longer, other = trial(epochs=1000), trial("convnet2(width=16)")
    assert seconds(longer) == pytest.approx(2.0 * COSTS(longer))
    assert seconds(other) == pytest.approx(4.0 * COSTS(other))  # the geometric mean of 2 and 8
