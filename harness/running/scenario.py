"""The base class of scenarios: which trials a board asks for, how one runs, how records become tables."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Unpack

from harness.core.code import Code
from harness.core.errors import PluginError, UnknownName
from harness.core.registry import Description, Registry
from harness.core.spec import Spec
from harness.running.about import Measure, Paper
from harness.running.costs import one_training
from harness.running.scenario_options import ScenarioOptions

if TYPE_CHECKING:
    import pandas
    from torch import Tensor

    from harness.boards.trial import Trial
    from harness.leaderboard.figures import Figure
    from harness.leaderboard.tables import Table
    from harness.losses.targets import Targets
    from harness.planning.plan import Changes, Plan
    from harness.running.workbench import Workbench
    from harness.training.values import Fit, Material


@dataclass
class Outcome:
    """What a trial gave.

    `metrics` hold at least `accuracy`, in percent; `history` one entry an evaluation; `timing` seconds by phase; `together`
    how many trainings were made in the same pass, of whose time this one's is a share; `beside` how many were made beside each
    other, step by step, in the time of which this one's share is `share`; `facts` what else the record's environment shall say
    of how it was made.
    """

    metrics: dict[str, float]
    history: list[dict[str, float]] = field(default_factory=list)
    status: Literal["done", "diverged"] = "done"
    timing: dict[str, float] = field(default_factory=dict)
    together: int = 1
    beside: int = 0
    share: float = 0.0
    facts: dict[str, object] = field(default_factory=dict)


class Scenario:
    """A question asked of distilled sets. Subclasses give data first, then `trials`; the rest has defaults.

    The first line of a subclass's docstring is its summary, wherever one is shown.

    Class attributes:
        name: the name it was registered under, set on every instance.
        version: raised whenever a score would change under the same name.
        paper: where the question was asked first, if in a paper.
        measure: the metric that tables show and rank by; a `Measure` where the lowest is the best.
        packages: what a record states the versions of, beside torch and its kin.
        rows, columns: the labels that make a table's rows and columns, beside method and IPC.
        trains_one_student: whether a trial is one training of one student under one loss, so that several can be made at once. A
            class with a `run` of its own says False by that, unless it says otherwise.
        trains_as_said: whether a trial is trained by what it says, whichever scenario asks, so that one training answers all that
            ask for it. A class with a `run`, `material` or `loss` of its own says False by that.
        runs_bundles: whether `run_bundle` goes through trials that differ only in their seed by itself; a class that has one of
            its own says so by that.
        side_by_side: whether `run_bundle` makes trials that differ in seed and loss alone at the same time on a GPU, so that each
            gives what it gives alone; such are handed to a worker together there.
        Options: what a board may say of it, `class Options(ScenarioOptions)`; none by default.
    """

    name: str = ""
    version: ClassVar[int] = 1
    paper: ClassVar[Paper | None] = None
    measure: ClassVar[str | Measure] = "accuracy"
    packages: ClassVar[tuple[str, ...]] = ()
    rows: ClassVar[str] = "loss"
    columns: ClassVar[str] = "optimizer"
    trains_one_student: ClassVar[bool] = True
    trains_as_said: ClassVar[bool] = True
    runs_bundles: ClassVar[bool] = False
    side_by_side: ClassVar[bool] = False
    Options: ClassVar[type[ScenarioOptions]] = ScenarioOptions

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        if not (isinstance(cls.Options, type) and issubclass(cls.Options, ScenarioOptions)):
            raise TypeError(f"{cls.__name__}.Options must be a class derived from harness.ScenarioOptions")
        own = vars(cls)
        cls.trains_one_student = own.get("trains_one_student", cls.trains_one_student and not {"run", "run_bundle"} & own.keys())
        changed = {"run", "run_bundle", "material", "loss"} & own.keys()
        cls.trains_as_said = own.get("trains_as_said", cls.trains_as_said and not changed)
        cls.runs_bundles = own.get("runs_bundles", cls.runs_bundles or "run_bundle" in own)

    @property
    def summary(self) -> str:
        """The first line of the class's docstring, or of the class's that it derives from; empty where none has one."""
        own = type(self).__mro__[: type(self).__mro__.index(Scenario)]
        return next((cls.__doc__.strip().partition("\n")[0] for cls in own if cls.__doc__), "")

    def trials(self, view: Plan, options: Any) -> Iterable[Trial]:
        """Yield the trials that a board asks for. The default: every set, loss and seed once.

        Args:
            view: the board as this scenario sees it.
            options: an instance of `Options`: what the board says of this scenario, checked.
        """
        yield from self.vary(view)

    def ask(self, view: Plan) -> Iterable[Trial]:
        """Return the trials that a board asks for, the options of its entry read. Raises BoardError or BadOption for these."""
        return self.trials(view, self.Options.read(view.spec.name, view.spec.options, view.place))

    def trainings(self, trial: Trial, tests: int) -> Iterable[tuple[float, float]]:
        """Yield what each training of a trial costs: how many images it trains on, and how many it tests in all.

        The default: one training on the distilled set, and a test at each evaluation of the protocol.

        Args:
            tests: images of the dataset's test split.
        """
        yield from one_training(trial, tests)

    def asks(self, trial: Trial) -> Hashable:
        """Return a key: trials of this scenario and of one seed that share it ask their teacher about the same images.

        Where a trial is more than one training, they are handed to a worker together, and what the teacher has said in one is
        read in the others. Whether the images are the same is looked at in any case. The default: set, teacher, protocol and
        options, whichever scenario asks.
        """
        return trial.setup.asked, repr(sorted(trial.options.items()))

    def run(self, trial: Trial, workbench: Workbench) -> Outcome:
        """Train one student on the trial's distilled set and test it on the dataset's test split."""
        student = workbench.student(trial)
        return _outcome(workbench.fit(student, self.material(trial, workbench), trial, loss=self.loss(trial, workbench)))

    def material(self, trial: Trial, workbench: Workbench) -> Material:
        """Return what `run` trains on: the trial's distilled set. Override it to train on something made of that."""
        return workbench.material(trial)

    def loss(self, trial: Trial, workbench: Workbench) -> Callable[[Tensor, Targets], Tensor]:
        """Return what `run` trains under: the trial's loss. Override it to change what that gives."""
        return workbench.loss(trial)

    def run_bundle(self, trials: Sequence[Trial], workbench: Workbench) -> Iterator[Outcome]:
        """Yield the outcome of each of several trials: of those that differ only in seed and loss, or that are given the same.

        The default makes them at once where `run` is the default's too and that pays, and else one after the other.
        """
        fits = None
        if len(trials) > 1 and self.trains_one_student:
            materials = [self.material(trial, workbench) for trial in trials]
            if all(material is materials[0] for material in materials):
                fits = workbench.fit_together(trials, materials[0], [self.loss(trial, workbench) for trial in trials])
        if fits is not None:
            whole = sum(fit.train_seconds + fit.evaluate_seconds for fit in fits)
            for fit in fits:
                outcome = _outcome(fit, tuple(trials[number].id for number in fit.stack))
                outcome.beside, outcome.share = len(fits), (fit.train_seconds + fit.evaluate_seconds) / whole
                yield outcome
            return
        for trial in trials:
            yield self.run(trial, workbench)

    def tables(self, records: pandas.DataFrame) -> list[Table]:
        """Return the tables of a DataFrame of records (`harness.records`), a pure function of it."""
        from harness.leaderboard.tables import measured, pivot

        measure = Measure.of(self.measure)
        if measure == Measure():
            return pivot(records, rows=self.rows, columns=self.columns)
        shown = measured(records, measure.name)
        how: dict[str, Any] = {"lowest": measure.lowest, "measure": measure.sentence, "quantity": measure.quantity}
        return pivot(shown, rows=self.rows, columns=self.columns, **how)

    def figures(self, tables: Sequence[Table]) -> list[Figure]:
        """Return the figures of these tables, which are what `tables` returned; none by default."""
        return []

    def vary(self, view: Plan, **changes: Unpack[Changes]) -> Iterator[Trial]:
        """Yield a trial for every set, loss and seed of the board.

        `changes` replace what the board says: model, optimizer, losses, seeds, sets, protocol (a mapping of changed fields),
        options (what the trial's id shall also rest on), labels (more columns for tables).
        """
        yield from view.vary(**changes)


def _outcome(fit: Fit, together: tuple[str, ...] = ()) -> Outcome:
    """Return what a training of the whole protocol gave; `together` are the ids of all that were made in its pass."""
    last = fit.history[-1]
    return Outcome(
        metrics={
            "accuracy": last["accuracy"],
            "best_accuracy": max(entry["accuracy"] for entry in fit.history),
            "top5_accuracy": last["top5_accuracy"],
            "epochs": fit.epochs,
            "steps": fit.steps,
            **{name: value for name, value in last.items() if name.startswith(("raw_", "ema_"))},
        },
        history=fit.history,
        status="diverged" if fit.diverged else "done",
        timing={"train": fit.train_seconds, "evaluate": fit.evaluate_seconds},
        together=len(together) or 1,
        facts={
            "trained": fit.way,
            **({"trained_with": together} if together else {}),
            **({"taken_up": fit.taken_up} if fit.taken_up else {}),
            **({"compiled": True} if fit.compiled else {}),
        },
    )


registry: Registry[Scenario] = Registry("scenario", group="giftbench.scenarios", base=Scenario)


def named(name: str) -> Scenario:
    """Return an instance of the scenario of this name. Raises UnknownName with a suggestion."""
    scenario = registry.create(Spec(name=name))
    scenario.name = name
    return scenario


def made_at_once(scenario: Scenario) -> bool:
    """Return whether several trials of a scenario may be made at once, rather than one after the other."""
    return scenario.trains_one_student and not scenario.runs_bundles


def as_said(name: str) -> bool:
    """Return whether what a scenario's trials train follows from what they say of it; False where the scenario is not at hand."""
    try:
        return named(name).trains_as_said
    except (UnknownName, PluginError):
        return False


def code_of(name: str) -> Code:
    """Return the code of the scenario of this name. Raises UnknownName."""
    return Code.of((registry, Spec(name=name)))


def trainings(trial: Trial, tests: int) -> Iterable[tuple[float, float]]:
    """Return what a trial's scenario says that it trains and tests; where that is not to be had here, one training."""
    try:
        return named(trial.scenario).trainings(trial, tests)
    except (UnknownName, PluginError):
        return one_training(trial, tests)


def describe(name: str) -> Description:
    """Return what lists show of a scenario, its options among it; its module is imported for them. Raises UnknownName."""
    entry = registry.describe(name)
    try:
        scenario = named(name)
    except PluginError:  # it is listed all the same; whoever uses it is told
        return entry
    return replace(entry, summary=scenario.summary, parameters=scenario.Options.described())
