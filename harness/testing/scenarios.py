"""`check_scenario`: what giftbench expects of a scenario."""

from __future__ import annotations

import importlib.util
import json
import math
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import torch
from torch.optim.optimizer import register_optimizer_step_pre_hook

from harness.boards.board import Board, ScenarioSpec, checked
from harness.boards.frames import to_frame
from harness.boards.records import Record
from harness.boards.trial import Trial
from harness.core.errors import BoardError, GiftbenchError
from harness.optimizers.probe import TRYING
from harness.planning.artefacts import Artefacts
from harness.planning.plan import Plan
from harness.planning.preparation import Preparation
from harness.running.about import Measure, Paper
from harness.running.executors.work import environment
from harness.running.names import check_names
from harness.running.scenario import Outcome, Scenario, named, registry
from harness.running.workbench import Workbench
from harness.testing.checks import CheckFailed, expect, works

if TYPE_CHECKING:
    import pandas

    from harness.leaderboard.tables import Table

TINY: dict[str, Any] = {
    "dataset": "digits",
    "model": "convnet1(width=8)",
    "teacher": {"model": "convnet1(width=8)", "epochs": 1},
    "protocol": "smoke",
    "losses": ["gift"],
    "seeds": [0],
    "sets": [{"method": "random", "ipc": 1}],
}
UNKNOWN = "no_such_option"


@dataclass(frozen=True)
class _Case:
    """A scenario, the board it is asked on, and the folder for what that board needs."""

    scenario: Scenario
    content: Mapping[str, Any]
    options: Mapping[str, Sequence[Any]]
    folder: Path

    @property
    def name(self) -> str:
        return f"scenario {self.scenario.name!r}"

    def preparation(self, **changes: object) -> Preparation:
        """Return a preparation for the board, keys of its `[[scenarios]]` entry replaced."""
        usual = {name: values[0] for name, values in self.options.items()}
        own = {**_entry(self.content, self.scenario.name), **usual, **changes, "name": self.scenario.name}
        board = checked(Board, {**self.content, "scenarios": [own]}, "board")
        check_names(board.model_copy(update={"scenarios": ()}), "board")
        return Preparation(board, "board", Artefacts(self.folder / "artefacts", self.folder / "cache"))

    def plan(self, preparation: Preparation) -> list[Trial]:
        """Return the trials that the scenario asks of the preparation's board. Raises what the scenario raises."""
        spec: ScenarioSpec = preparation.board.scenarios[0]
        view = Plan(preparation, spec, "board: scenarios[0]", count(), self.scenario.version)
        return list(self.scenario.ask(view))

    def planned(self, where: str, **changes: object) -> list[Trial]:
        with works(self.name, f"to plan {where}"):
            return self.plan(self.preparation(**changes))


def check_scenario(
    scenario: str | type[Scenario] | Scenario,
    *,
    options: Mapping[str, Sequence[object]] | None = None,
    board: Mapping[str, object] | None = None,
) -> None:
    """Check that a scenario keeps what giftbench expects of one, on a tiny board in a temporary folder; takes seconds.

    It says what it is: a docstring, a version, what it ranks by. It plans the same trials each time, under its own name and
    version, without training anything, and others for another seed or another value of an option; one trial of each setup runs,
    twice with equal metrics; and its tables and figures are a pure function of the records, whether there are none, one, all, or
    some that failed or diverged.

    Args:
        scenario: a registered name, a class derived from `harness.Scenario`, or an instance.
        options: values of the scenario's options, {"steps": [[2], [5]]}: the first of each is what the board says, and each
            further one must make other trials.
        board: keys of a board file that replace those of the tiny board (digits, one random image a class, a ConvNet of width 8,
            the `smoke` protocol, one loss, one seed); an entry of its `scenarios` may say more of this one.
    Raises: CheckFailed, in one sentence, at the first thing that is not so. UnknownName for a scenario that there is not,
        BoardError for a board that cannot be read.
    """
    asked = _instance(scenario)
    with tempfile.TemporaryDirectory() as folder, torch.random.fork_rng():
        case = _Case(asked, {**TINY, **(board or {})}, options or {}, Path(folder))
        _says_what_it_is(case)
        case.preparation()
        _plans_without_making_anything(case)
        trials = case.planned("the tiny board")
        _plans_sound_trials(case, trials)
        _plans_other_trials_for_other_words(case, trials)
        _refuses_what_it_does_not_know(case)
        records = [_runs_twice_alike(case, trial) for trial in _one_a_setup(trials)]
        _makes_tables_of_any_records(case, records)


def _instance(scenario: str | type[Scenario] | Scenario) -> Scenario:
    if isinstance(scenario, str):
        return named(scenario)
    instance = scenario() if isinstance(scenario, type) else scenario
    if not isinstance(instance, Scenario):
        raise CheckFailed(f"{scenario!r} is not a scenario; derive it from harness.Scenario")
    instance.name = instance.name or _registered(type(instance)) or "unnamed"
    return instance


def _registered(kind: type[Scenario]) -> str:
    """Return the name under which a class is registered, or nothing."""
    for name in registry.names():
        try:
            if registry.get(name) is kind:
                return name
        except GiftbenchError:  # somebody else's plugin
            continue
    return ""


def _entry(content: Mapping[str, object], name: str) -> dict[str, object]:
    for given in cast("Sequence[object]", content.get("scenarios", ())):
        if isinstance(given, Mapping) and given.get("name") == name:
            return dict(given)
    return {}


# -- what it says of itself ----------------------------------------------------------------------------------------------


def _says_what_it_is(case: _Case) -> None:
    scenario, whole = case.scenario, type(case.scenario.version) is int
    expect(
        bool(scenario.summary), case.name, "has no docstring, whose first line lists and leaderboards show; give its class one"
    )
    expect(whole and scenario.version > 0, case.name, f"has version {scenario.version!r}; make it a whole number from 1")
    paper, measure, axes = scenario.paper, scenario.measure, (scenario.rows, scenario.columns)
    expect(paper is None or isinstance(paper, Paper), case.name, f"has paper = {paper!r}; make it a harness.Paper, or None")
    named = isinstance(measure, (str, Measure)) and bool(Measure.of(measure).name)
    expect(named, case.name, f"has measure = {measure!r}; make it a metric's name, or a harness.Measure")
    expect(all(isinstance(axis, str) for axis in axes), case.name, f"has rows and columns {axes!r}; make them labels")


# -- planning ------------------------------------------------------------------------------------------------------------


@contextmanager
def _no_training(name: str) -> Iterator[None]:
    def refuse(*_: object) -> None:
        if not TRYING.get():
            raise CheckFailed(f"{name} trains something while it plans; leave that to run()")

    hook = register_optimizer_step_pre_hook(refuse)
    try:
        yield
    finally:
        hook.remove()


def _plans_without_making_anything(case: _Case) -> None:
    preparation = case.preparation().rehearsal()
    with _no_training(case.name), works(case.name, "to plan a rehearsal, where teachers and sets are stand-ins"):
        case.plan(preparation)
    files = sorted(path.name for path in case.folder.rglob("*"))
    expect(not files, case.name, f"makes {', '.join(files)} while it plans; leave that to run()")


def _plans_sound_trials(case: _Case, trials: list[Trial]) -> None:
    expect(bool(trials), case.name, "plans no trial on the tiny board; yield some, or give check_scenario a board that it fits")
    own = (case.scenario.name, case.scenario.version)
    for trial in trials:
        good = isinstance(trial, Trial) and (trial.scenario, trial.version) == own
        planned = (trial.scenario, trial.version) if isinstance(trial, Trial) else trial
        expect(good, case.name, f"plans a trial of {planned!r}, not of {own!r}; make trials by self.vary(view, …)")
        with works(case.name, "to give its trials options that JSON can hold"):
            json.dumps(trial.options, allow_nan=False)
    ids = [trial.id for trial in trials]
    twice = len(ids) - len(set(ids))
    expect(not twice, case.name, f"plans {twice} trials twice; put what differs between them into their options")
    again = [trial.id for trial in case.planned("the tiny board a second time")]
    expect(ids == again, case.name, "plans other trials the second time; planning must not draw or remember")


def _plans_other_trials_for_other_words(case: _Case, trials: list[Trial]) -> None:
    ids, seeds = {trial.id for trial in trials}, {trial.seed for trial in trials}
    other = max(seeds) + 1
    reseeded = case.planned(f"with seeds = [{other}]", seeds=[other])
    remedy = "take the seeds from the board, as self.vary does"
    expect(bool(reseeded), case.name, f"plans no trial with seeds = [{other}]; {remedy}")
    expect(ids.isdisjoint(t.id for t in reseeded), case.name, f"plans the same trials for another seed; {remedy}")
    for option, values in case.options.items():
        for value in values[1:]:
            changed = {trial.id for trial in case.planned(f"with {option} = {value!r}", **{option: value})}
            problem = f"plans the same trials with {option} = {value!r}; put it into self.vary(view, options={{…}})"
            expect(changed != ids, case.name, problem)


def _refuses_what_it_does_not_know(case: _Case) -> None:
    try:
        case.plan(case.preparation(**{UNKNOWN: 1}))
    except BoardError as error:
        if UNKNOWN in str(error):
            return
        raise
    raise CheckFailed(f"{case.name} takes the option {UNKNOWN!r}; let its Options forbid what they do not name")


# -- running -------------------------------------------------------------------------------------------------------------


def _one_a_setup(trials: list[Trial]) -> list[Trial]:
    return list({trial.setup.hash: trial for trial in reversed(trials)}.values())[::-1]


def _runs_twice_alike(case: _Case, trial: Trial) -> Record:
    """Run a trial twice, each time on a fresh workbench, and return its record."""
    first, again = (_outcome(case, trial) for _ in range(2))
    for name, value in first.metrics.items():
        then = again.metrics.get(name)
        remedy = "take random numbers from harness.seeds by the trial's seed, and put times into timing"
        expect(then == value, case.name, f"gives {name} = {value} and then {then} for the same trial; {remedy}")
    facts = environment(trial, Workbench("cpu"), None)
    return Record.of(trial, first.status, metrics=first.metrics, history=first.history, timing={"total": 1.0}, environment=facts)


def _outcome(case: _Case, trial: Trial) -> Outcome:
    workbench = Workbench(artefacts=Artefacts(case.folder / "artefacts", case.folder / "cache"))
    with works(case.name, f"to run a trial of loss {trial.labels.loss}, model {trial.labels.model}"):
        outcomes = list(case.scenario.run_bundle((trial,), workbench))
    expect(len(outcomes) == 1, case.name, f"gives {len(outcomes)} outcomes for one trial; run_bundle yields one a trial")
    outcome = outcomes[0]
    kind = type(outcome).__name__
    expect(isinstance(outcome, Outcome), case.name, f"returns a {kind} from run(); return a harness.Outcome")
    accuracy = outcome.metrics.get("accuracy", math.nan)
    percent = isinstance(accuracy, (int, float)) and 0 <= accuracy <= 100
    shown = accuracy if "accuracy" in outcome.metrics else "no accuracy"
    expect(percent, case.name, f"gives {shown} where metrics['accuracy'] must be in percent, from 0 to 100")
    ranked = Measure.of(case.scenario.measure).name
    expect(ranked in outcome.metrics, case.name, f"gives no metric {ranked!r}, which its measure says that it ranks by")
    for name, value in outcome.metrics.items():
        finite = isinstance(value, (int, float)) and math.isfinite(value)
        expect(finite, case.name, f"gives the metric {name} = {value!r}; a metric must be a finite number")
    with works(case.name, "to give a history and timing that JSON can hold"):
        json.dumps([outcome.metrics, outcome.history, outcome.timing], allow_nan=False)
    return outcome


# -- tables and figures --------------------------------------------------------------------------------------------------


def _makes_tables_of_any_records(case: _Case, records: list[Record]) -> None:
    done = to_frame(records)
    trial, history = records[0].trial, records[0].history[:1]
    record_of = partial(Record.of, trial, timing={"total": 1.0}, environment=records[0].environment)
    failed = record_of(status="failed", error="out of memory")
    diverged = record_of(status="diverged", metrics={"accuracy": 10.0}, history=history)
    frames = {"all records": done, "one record": to_frame(records[:1]), "no records": to_frame([])}
    for word, record in (("failed", failed), ("diverged", diverged)):
        frames |= {
            f"records of which one {word}": to_frame([record, *records[1:]]),
            f"one record that {word}": to_frame([record]),
        }
    for where, frame in frames.items():
        tables = _tables(case, frame, f"on {where}")
        shown = _markdown(case, tables, f"on {where}")
        expect(bool(tables) or frame.empty, case.name, f"makes no table of {where}")
        shuffled = _markdown(case, _tables(case, frame.iloc[::-1], f"on {where} in another order"), f"on {where}")
        remedy = 'sort by the columns "order" and "id" first'
        expect(shown == shuffled, case.name, f"makes other tables of {where} in another order; {remedy}")
        _draws(case, tables, f"on {where}")


def _tables(case: _Case, frame: pandas.DataFrame, where: str) -> list[Table]:
    from harness.leaderboard.tables import Table

    given = frame.copy(deep=True)
    before = _content(given)
    with works(case.name, f"to make tables {where}"):
        tables = case.scenario.tables(given)
    good = isinstance(tables, list) and all(isinstance(table, Table) for table in tables)
    expect(good, case.name, f"returns {tables!r} from tables() {where}; return a list of harness.Table")
    expect(_content(given) == before, case.name, f"changes the records that tables() is given {where}; work on a copy")
    return tables


def _content(frame: pandas.DataFrame) -> tuple[object, ...]:
    return list(frame.columns), list(frame.index), repr(frame.to_dict("list"))


def _markdown(case: _Case, tables: list[Table], where: str) -> str:
    from harness.leaderboard.markdown import markdown

    with works(case.name, f"to have its tables written {where}"):
        return "\n".join(markdown(table) for table in tables)


def _draws(case: _Case, tables: list[Table], where: str) -> None:
    with works(case.name, f"to make figures {where}"):
        figures = case.scenario.figures(tables)
    good = isinstance(figures, list)
    if good and importlib.util.find_spec("harness.leaderboard.figures") is not None:
        from harness.leaderboard.figures import Figure

        good = all(isinstance(figure, Figure) for figure in figures)
    expect(good, case.name, f"returns {figures!r} from figures() {where}; return a list of harness.Figure")
