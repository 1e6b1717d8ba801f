"""The base class: a scenario is data, and what a subclass says by overriding a method."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import pytest

from harness import Outcome, Scenario, ScenarioOptions, scenarios
from harness.boards.trial import Trial
from harness.core.errors import UnknownName
from harness.running.scenario import describe, named, trainings
from tests.simulated_boards import trial

Planner = Callable[..., list[Trial]]


class Described(Scenario):
    """Its first line is the summary.

    Its second paragraph is not.
    """

    class Options(ScenarioOptions):
        sizes: tuple[int, ...] = (1, 2)

    def trials(self, view: Any, options: Options) -> Iterable[Trial]:
        for size in options.sizes:
            yield from self.vary(view, options={"size": size})

    def trainings(self, trial: Trial, tests: int) -> Iterable[tuple[float, float]]:
        yield from [(1.0, float(tests))] * trial.options["size"]


class Heir(Described):
    class Options(Described.Options):
        more: bool = False


@pytest.fixture
def described() -> Iterable[None]:
    scenarios.register("described")(Described)
    yield
    scenarios.remove("described")


def test_the_summary_is_the_docstrings_first_line_of_the_class_or_of_the_nearest_that_has_one() -> None:
    assert Described().summary == Heir().summary == "Its first line is the summary."
    assert type("Silent", (Scenario,), {})().summary == ""


@pytest.mark.usefixtures("described")
def test_it_is_described_with_its_options(plan: Planner) -> None:
    description = describe("described")
    assert (description.summary, description.parameters) == ("Its first line is the summary.", {"sizes": "[1, 2]"})
    with pytest.raises(UnknownName, match="did you mean 'described'"):
        describe("describd")


def test_one_that_does_not_load_is_listed_all_the_same() -> None:
    scenarios.add("broken", "no_such_module:Thing", origin="somebody")
    try:
        assert (describe("broken").origin, describe("broken").parameters) == ("somebody", {})
    finally:
        scenarios.remove("broken")


@pytest.mark.usefixtures("described")
def test_its_trials_are_given_what_the_board_says(plan: Planner) -> None:
    entry = {"name": "described", "sizes": [3, 5]}
    assert [trial.options for trial in plan(losses=["ce"], scenarios=[entry])] == [{"size": 3}, {"size": 5}]
    assert [trial.options for trial in plan(losses=["ce"], scenarios=["described"])] == [{"size": 1}, {"size": 2}]


def test_an_heir_has_the_options_of_what_it_derives_from() -> None:
    assert Heir.Options.described() == {"sizes": "[1, 2]", "more": "false"}


def test_options_of_another_kind_are_refused_where_the_class_is_made() -> None:
    with pytest.raises(TypeError, match=r"Plain\.Options must be a class derived from harness\.ScenarioOptions"):

        class Plain(Scenario):
            class Options:  # type: ignore[assignment]
                sizes = (1, 2)


@pytest.mark.usefixtures("described")
def test_a_scenario_says_what_its_trials_train_and_test() -> None:
    ours, usual, strange = (trial(scenario=name, options={"size": 3}) for name in ("described", "loss-comparison", "nobody's"))
    assert list(trainings(ours, 500)) == [(1.0, 500.0)] * 3
    assert list(trainings(usual, 500)) == list(trainings(strange, 500)) == [(100.0, 500.0)]


def test_a_run_of_its_own_trains_more_than_one_student_unless_it_says_otherwise() -> None:
    class Own(Scenario):
        def run(self, trial: Trial, workbench: Any) -> Outcome:
            return super().run(trial, workbench)

    class OfOne(Own):
        trains_one_student = True

    class Bundled(Scenario):
        def run_bundle(self, trials: Any, workbench: Any) -> Any:
            return super().run_bundle(trials, workbench)

    assert (Scenario.trains_one_student, Own.trains_one_student, OfOne.trains_one_student) == (True, False, True)
    assert (Scenario.runs_bundles, Own.runs_bundles, Bundled.runs_bundles) == (False, False, True)


def test_an_instance_knows_the_name_it_was_asked_for_by() -> None:
    assert named("cross-optimizer").name == "cross-optimizer"
