"""A bundle run to records: who is blamed for an error, and how trials that were made in one pass share its time."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pytest
import torch

from harness import Outcome, Scenario
from harness.boards.trial import Trial
from harness.running.executors import work
from harness.running.executors.work import run_bundle
from harness.running.workbench import Workbench
from tests.simulated_boards import trial

METRICS = {"accuracy": 50.0}
TRIALS = [trial(seed=seed) for seed in range(3)]


class Scripted(Scenario):
    """Runs a bundle by the function that it was given, and notes which seeds it was asked for."""

    def __init__(self, script: Callable[[Sequence[Trial]], Iterator[Outcome]]) -> None:
        self.script = script
        self.asked: list[list[int]] = []

    def run_bundle(self, trials: Sequence[Trial], workbench: Any) -> Iterator[Outcome]:
        self.asked.append([one.seed for one in trials])
        yield from self.script(trials)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time, which tests set."""
    now = [0.0]
    monkeypatch.setattr(work.time, "perf_counter", lambda: now[0])
    return now


def run(scenario: Scenario, trials: Sequence[Trial] = TRIALS) -> list[Any]:
    return list(run_bundle(trials, Workbench("cpu"), scenario=scenario))


def test_every_outcome_is_made_in_the_trials_precision_and_the_caller_keeps_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    inside: list[tuple[str, str]] = []

    @contextmanager
    def watched(device: str, precision: str) -> Iterator[None]:
        inside.append((device, precision))
        try:
            yield
        finally:
            inside.pop()

    monkeypatch.setattr(work, "arithmetic", watched)
    found: list[list[tuple[str, str]]] = []

    def script(trials: Sequence[Trial]) -> Iterator[Outcome]:
        for number, _ in enumerate(trials):
            found.append(list(inside))
            if number == 2:
                raise RuntimeError("planted")
            yield Outcome(METRICS)

    for record in run_bundle(TRIALS, Workbench("cpu"), scenario=Scripted(script)):
        assert not inside
        assert record.status == ("failed" if record.trial.seed == 2 else "done")
    assert found == [[("cpu", TRIALS[0].protocol.precision)]] * 3


def test_trials_made_in_one_pass_share_its_time_and_say_so(clock: list[float]) -> None:
    def script(trials: Sequence[Trial]) -> Iterator[Outcome]:
        clock[0] += 30.0
        yield from (Outcome(METRICS, together=3) for _ in trials)

    records = run(Scripted(script))
    assert [record.timing["total"] for record in records] == [10.0, 10.0, 10.0]
    assert [record.environment.together for record in records] == [3, 3, 3]


def test_trials_made_one_after_the_other_have_each_their_own_time(clock: list[float]) -> None:
    def script(trials: Sequence[Trial]) -> Iterator[Outcome]:
        for one in trials:
            clock[0] += 1.0 + one.seed
            yield Outcome(METRICS)

    records = run(Scripted(script))
    assert [record.timing["total"] for record in records] == [1.0, 2.0, 3.0]
    assert not any("together" in record.environment.stated() for record in records)


def test_two_passes_of_one_bundle_share_each_its_own_time(clock: list[float]) -> None:
    def script(trials: Sequence[Trial]) -> Iterator[Outcome]:
        clock[0] += 8.0
        yield from (Outcome(METRICS, together=2) for _ in range(2))
        clock[0] += 5.0
        yield Outcome(METRICS)

    assert [record.timing["total"] for record in run(Scripted(script))] == [4.0, 4.0, 5.0]


def test_an_error_of_several_trials_at_once_lets_each_run_again_alone() -> None:
    def script(trials: Sequence[Trial]) -> Iterator[Outcome]:
        if any(one.seed == 1 for one in trials):
            raise MemoryError("too many")
        yield from (Outcome(METRICS) for _ in trials)

    scenario = Scripted(script)
    records = run(scenario)
    assert [record.status for record in records] == ["done", "failed", "done"]
    assert records[1].error == "out of memory: too many"
    assert scenario.asked == [[0, 1, 2], [0], [1], [2]]


def test_an_error_after_the_first_outcome_ends_the_trial_whose_turn_it_was() -> None:
    def script(trials: Sequence[Trial]) -> Iterator[Outcome]:
        for one in trials:
            if one.seed == 1:
                raise ValueError("not this one")
            yield Outcome(METRICS)

    scenario = Scripted(script)
    assert [record.status for record in run(scenario)] == ["done", "failed", "done"]
    assert scenario.asked == [[0, 1, 2], [2]]


def test_a_scenario_that_gives_too_few_outcomes_fails_what_it_left_out() -> None:
    records = run(Scripted(lambda trials: iter([Outcome(METRICS)] if trials[0].seed == 0 else [])))
    assert [record.status for record in records] == ["done", "failed", "failed"]
    assert all("fewer outcomes than trials" in record.error for record in records[1:])


def test_trials_are_held_to_operations_that_repeat_themselves_where_that_is_asked_and_records_say_so() -> None:
    held: list[bool] = []

    def script(trials: Sequence[Trial]) -> Iterator[Outcome]:
        for _ in trials:
            held.append(torch.are_deterministic_algorithms_enabled())
            yield Outcome(METRICS)

    before = torch.are_deterministic_algorithms_enabled()
    for asked in (True, False):
        records = list(run_bundle(TRIALS[:2], Workbench("cpu", deterministic=asked), scenario=Scripted(script)))
        assert [record.environment.deterministic for record in records] == [asked] * 2
        assert [record.environment.trained for record in records] == ["alone"] * 2
    assert held == [True, True, False, False]
    assert torch.are_deterministic_algorithms_enabled() == before
