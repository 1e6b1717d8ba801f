"""The kit's check of a scenario: what is wrong is told, what is right passes."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from pydantic import ConfigDict
from torch import nn

from harness import Measure, Outcome, Scenario, ScenarioOptions, scenarios
from harness.core.errors import BoardError, UnknownName
from harness.testing import CheckFailed, check_scenario
from tests.testing.fails import Fails

TAUGHT_BY_NOBODY = {"losses": ["ce"], "model": "convnet1(width=4)"}  # no teacher to train
TEACHER = {"name": "smoke", "labels": "teacher"}
HALF = {"accuracy": 50.0, "best_accuracy": 50.0, "top5_accuracy": 90.0}


class Good(Scenario):
    """A scenario that is good in every way, and trains nothing, to be quick."""

    name = "good"
    columns = "size"

    class Options(ScenarioOptions):
        sizes: tuple[int, ...] = (1, 2)

    def trials(self, view: Any, options: Any) -> Iterator[Any]:
        for size in options.sizes:
            yield from self.vary(view, options={"size": size}, labels={"size": size})

    def run(self, trial: Any, workbench: Any) -> Any:
        return Outcome(dict(HALF), [{"epoch": 1, **HALF}], timing={"train": 1.0})


class Undescribed(Scenario):
    name = "undescribed"


class Unversioned(Good):
    version = "2"  # type: ignore[assignment]


class Unread(Good):
    paper = "arXiv 2405.14736"  # type: ignore[assignment]


class Unmeasured(Good):
    measure = 3  # type: ignore[assignment]


class Axeless(Good):
    columns = None  # type: ignore[assignment]


class Ranked(Good):
    measure = Measure("forgetting", lowest=True)


class Taken(Good):
    class Options(Good.Options):
        model: str = ""


class Empty(Good):
    def trials(self, view: Any, options: Any) -> Iterator[Any]:
        return iter(())


class Aged(Good):
    def trials(self, view: Any, options: Any) -> Iterator[Any]:
        for trial in super().trials(view, options):
            yield trial.model_copy(update={"version": 7})


class Stranger(Good):
    def trials(self, view: Any, options: Any) -> Iterator[Any]:
        for trial in super().trials(view, options):
            yield trial.model_copy(update={"scenario": "another"})


class NoTrial(Good):
    def trials(self, view: Any, options: Any) -> Iterator[Any]:
        yield {"seed": 0}


class Doubled(Good):
    def trials(self, view: Any, options: Any) -> Iterator[Any]:
        yield from self.vary(view)
        yield from self.vary(view)


class Dicing(Good):
    def trials(self, view: Any, options: Any) -> Iterator[Any]:
        yield from self.vary(view, options={"draw": random.random()})


class Listing(Good):
    def trials(self, view: Any, options: Any) -> Iterator[Any]:
        yield from self.vary(view, labels={"size": {1, 2}})


class NotJson(Good):
    def trials(self, view: Any, options: Any) -> Iterator[Any]:
        yield from self.vary(view, options={"size": {1, 2}})


class Eager(Good):
    def trials(self, view: Any, options: Any) -> Iterator[Any]:
        layer = nn.Linear(1, 1)
        layer(torch.ones(1)).sum().backward()
        torch.optim.SGD(layer.parameters(), 0.1).step()
        yield from super().trials(view, options)


class Making(Good):
    def trials(self, view: Any, options: Any) -> Iterator[Any]:
        view.preparation.artefacts.folder.mkdir(parents=True, exist_ok=True)
        (view.preparation.artefacts.folder / "notes.txt").write_text("mine")
        yield from super().trials(view, options)


class Seedless(Good):
    def trials(self, view: Any, options: Any) -> Iterator[Any]:
        yield from self.vary(view, seeds=[0])


class Deaf(Good):
    def trials(self, view: Any, options: Any) -> Iterator[Any]:
        for size in options.sizes:
            yield from self.vary(view, model=f"convnet1(width={3 if size else 4})", seeds=view.seeds)
            return


class Easy(Good):
    class Options(Good.Options):
        model_config = ConfigDict(extra="ignore")


class Broken(Good):
    def run(self, trial: Any, workbench: Any) -> Any:
        raise RuntimeError("no luck\nat all")


class Dictionary(Good):
    def run(self, trial: Any, workbench: Any) -> Any:
        return {"accuracy": 1.0}


class Silent(Good):
    def run_bundle(self, trials: Any, workbench: Any) -> Iterator[Any]:
        return iter(())


def giving(**metrics: Any) -> type[Scenario]:
    """Return a scenario whose outcomes hold these metrics."""

    class Giving(Good):
        def run(self, trial: Any, workbench: Any) -> Any:
            return Outcome({name: value for name, value in {**HALF, **metrics}.items() if value is not None})

    return Giving


class Wandering(Good):
    def run(self, trial: Any, workbench: Any) -> Any:
        return Outcome({**HALF, "top5_accuracy": random.random()})


class BadHistory(Good):
    def run(self, trial: Any, workbench: Any) -> Any:
        return Outcome(dict(HALF), [{"epoch": 1, "weights": torch.ones(2)}])  # type: ignore[dict-item]


class NeedsRecords(Good):
    def tables(self, records: Any) -> Any:
        records["accuracy"].max()
        return super().tables(records)


class NeedsMetrics(Good):
    def tables(self, records: Any) -> Any:
        if len(records):
            records["top5_accuracy"].max()
        return super().tables(records)


class NeedsSuccess(Good):
    def tables(self, records: Any) -> Any:
        return super().tables(records[records["status"] == "done"]) if len(records) else []


class Marking(Good):
    def tables(self, records: Any) -> Any:
        if len(records):
            records["accuracy"] = 0.0
        return super().tables(records)


class Ordered(Good):
    def tables(self, records: Any) -> Any:
        made = super().tables(records)
        for table in made:
            table.notes.append(f"First: {records['size'].iloc[0]}.")
        return made


class Markdown(Good):
    def tables(self, records: Any) -> Any:
        return ["| a | b |"]


class Painting(Good):
    def figures(self, tables: Any) -> Any:
        return "figure.png"


class Sketching(Good):
    def figures(self, tables: Any) -> Any:
        return ["figure.png"]


BAD_SCENARIOS: dict[str, tuple[type[Scenario], str]] = {
    "no docstring": (Undescribed, "has no docstring, whose first line lists and leaderboards show"),
    "no version": (Unversioned, "has version '2'; make it a whole number from 1"),
    "no paper": (Unread, "has paper = 'arXiv 2405.14736'; make it a harness.Paper, or None"),
    "no measure": (Unmeasured, "has measure = 3; make it a metric's name, or a harness.Measure"),
    "no axes": (Axeless, "has rows and columns ('loss', None); make them labels"),
    "a measure that is not there": (Ranked, "gives no metric 'forgetting', which its measure says that it ranks by"),
    "an option of every entry": (Taken, "every entry of a board has the key 'model'; rename the option"),
    "no trial": (Empty, "plans no trial on the tiny board"),
    "another version": (Aged, "plans a trial of ('good', 7), not of ('good', 1)"),
    "another name": (Stranger, "plans a trial of ('another', 1), not of ('good', 1)"),
    "something else": (NoTrial, "plans a trial of {'seed': 0}"),
    "twins": (Doubled, "plans 1 trials twice; put what differs between them into their options"),
    "dice": (Dicing, "plans other trials the second time"),
    "labels": (Listing, "board: scenarios[0]: label 'size' must be text, a finite number, true, false or none, not {1, 2}"),
    "options": (NotJson, "options that JSON can hold: TypeError"),
    "training in a plan": (Eager, "trains something while it plans"),
    "files in a plan": (Making, "makes artefacts, notes.txt while it plans"),
    "no seeds": (Seedless, "plans the same trials for another seed"),
    "an option unheard": (Deaf, "plans the same trials with sizes = [3]"),
    "any option": (Easy, "takes the option 'no_such_option'"),
    "an error": (Broken, "fails to run a trial of loss ce, model convnet1(width=4): RuntimeError: no luck at all"),
    "a dictionary": (Dictionary, "returns a dict from run(); return a harness.Outcome"),
    "no outcome": (Silent, "gives 0 outcomes for one trial"),
    "no accuracy": (giving(accuracy=None), "gives no accuracy where metrics['accuracy'] must be in percent"),
    "an accuracy too high": (giving(accuracy=120.0), "gives 120.0 where metrics['accuracy'] must be in percent"),
    "an accuracy that is no number": (giving(accuracy="high"), "gives high where metrics['accuracy'] must be in percent"),
    "a metric that is not finite": (giving(gain=float("nan")), "gives the metric gain = nan"),
    "a metric that is no number": (giving(gain="much"), "gives the metric gain = 'much'"),
    "a history with tensors": (BadHistory, "history and timing that JSON can hold: TypeError"),
    "numbers that wander": (Wandering, "for the same trial; take random numbers from harness.seeds"),
    "no records": (NeedsRecords, "fails to make tables on no records: KeyError"),
    "metrics that failed": (NeedsMetrics, "fails to make tables on one record that failed: KeyError"),
    "failures left out": (NeedsSuccess, "makes no table of one record that failed"),
    "records changed": (Marking, "changes the records that tables() is given on all records"),
    "order": (Ordered, "makes other tables of all records in another order"),
    "no tables": (Markdown, "return a list of harness.Table"),
    "no list of figures": (Painting, "returns 'figure.png' from figures()"),
    "no figures": (Sketching, "return a list of harness.Figure"),
}


@pytest.mark.parametrize("what", BAD_SCENARIOS)
def test_a_bad_scenario_is_told_what_is_wrong(what: str) -> None:
    scenario, words = BAD_SCENARIOS[what]
    options = {"sizes": [[1, 2], [3]]} if scenario is Deaf else {}
    Fails(words)(check_scenario, scenario, options=options, board=TAUGHT_BY_NOBODY)


def test_a_good_scenario_passes_as_class_instance_and_name() -> None:
    check_scenario(Good, options={"sizes": [[1, 2], [3]]}, board=TAUGHT_BY_NOBODY)
    check_scenario(Good(), board=TAUGHT_BY_NOBODY)

    @scenarios.register("kit-scenario")
    class Registered(Good):
        name = ""

        def trials(self, view: Any, options: Any) -> Iterator[Any]:
            assert self.name == "kit-scenario"
            yield from super().trials(view, options)

    try:
        check_scenario(Registered, board=TAUGHT_BY_NOBODY)
        check_scenario("kit-scenario", board=TAUGHT_BY_NOBODY)
    finally:
        scenarios.remove("kit-scenario")


def test_a_scenarios_options_and_its_entry_on_the_board_are_heard() -> None:
    heard: list[tuple[Any, ...]] = []

    class Heard(Good):
        def trials(self, view: Any, options: Any) -> Iterator[Any]:
            heard.append((options.sizes, tuple(map(str, view.losses)), view.seeds))
            yield from super().trials(view, options)

    entry = {"name": "good", "losses": ["mse"], "sizes": [9]}
    check_scenario(Heard, options={"sizes": [[5], [6]]}, board={**TAUGHT_BY_NOBODY, "scenarios": [entry], "protocol": TEACHER})
    assert heard[0] == ((5,), ("mse",), (0,))
    assert ((6,), ("mse",), (0,)) in heard
    assert {seeds for _, _, seeds in heard} == {(0,), (1,)}


def test_a_scenario_that_is_none_and_a_board_that_is_wrong_are_named() -> None:
    with pytest.raises(CheckFailed, match=r"is not a scenario; derive it from harness\.Scenario"):
        check_scenario(int)  # type: ignore[arg-type]
    with pytest.raises(UnknownName, match="did you mean 'cross-optimizer'"):
        check_scenario("cross-optimiser")
    with pytest.raises(BoardError, match="board: sedes: unknown key; did you mean 'seeds'"):
        check_scenario(Good, board={"sedes": 3})


def test_an_option_that_the_scenario_does_not_read_is_named() -> None:
    Fails("has no option 'colours'")(check_scenario, Good, options={"colours": [1]}, board=TAUGHT_BY_NOBODY)
