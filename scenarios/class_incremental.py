"""What is a distilled set worth as the memory of a learner that meets the classes step by step?"""

from __future__ import annotations

import time
import warnings
from collections.abc import Generator, Hashable, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import AfterValidator, Field

import harness
from harness import Measure, Outcome, Paper, Scenario, ScenarioOptions, Spec, at, continual, scenarios, specs

if TYPE_CHECKING:
    import pandas

    from harness import Figure, Plan, Table, Trial, Workbench

#: A strategy that can be used, under the name that Avalanche has for it.
StrategySpec = Annotated[Spec, AfterValidator(continual.strategies.resolve)]
MEASURES = {
    "average": Measure("average_incremental", unit="%"),
    "final": Measure("accuracy"),
    "forgetting": Measure("forgetting", lowest=True, unit="points"),
}
#: What stands under each of them in a table.
QUANTITIES = {label: measure.quantity for label, measure in MEASURES.items()} | {"average": "average incremental accuracy in %"}
SUMMARY = (
    "Test accuracy in percent over the classes met so far, mean ± standard deviation (ddof 1): average over the steps; final, "
    "after the last one. Forgetting: by how many points accuracy on the classes of an earlier step has, on average, fallen from "
    "its best when all classes are there; the lowest is best."
)
STEPS = "Test accuracy in percent over the classes met so far, by how many these are, mean ± standard deviation (ddof 1)."
SOFT = {
    "sliced": "Logits and soft labels are cut to the classes met so far, in the loss and at test.",
    "unsliced": "Logits and soft labels are whole in the loss, and so tell of classes not met yet; at test only those met count.",
}
REPLAYED = (
    " Of stored augmentations those are replayed whose image and partner are at hand; an epoch takes as many as there are images "
    "at hand."
)
#: By strategy, the images of how many steps it trains on at most; of 1 where none is named, of all so far for 0.
KEPT = {"GDumb": 0, "Cumulative": 0, "ICaRL": 0, "Replay": 2}
#: Labels that tell one stream from another, and how a class order is called.
STREAM = ("stream", "soft labels", "class order", "memory")
ORDERS = {"seed": "drawn by each seed", "sorted": "0, 1, 2, …", "given": "the board's"}


@scenarios.register("class-incremental")
class ClassIncremental(Scenario):
    """Accuracy as classes arrive step by step, the distilled images being the memory (GIFT paper, Figure 2)."""

    version = 1
    paper = Paper("arXiv 2405.14736", figures=("2",))
    measure = MEASURES["average"]
    packages = ("avalanche-lib",)
    runs_bundles = False
    side_by_side = True

    class Options(ScenarioOptions):
        steps: tuple[int, ...] = (5, 10)
        strategies: tuple[StrategySpec, ...] = specs("GDumb")
        class_order: str | tuple[int, ...] = "seed"
        soft_labels: Literal["sliced", "unsliced"] = "sliced"
        memory: Annotated[int, Field(ge=0)] = 0  # images; 0 is room for all

    def trials(self, view: Plan, options: Options) -> Iterator[Trial]:
        stream, classes, memory = continual.stream, len(view.dataset.classes), options.memory
        order = options.class_order if isinstance(options.class_order, str) else list(options.class_order)
        with at(f"{view.place}.class_order"):
            stream.class_order(order, 0, classes)
        for prepared in view.sets:
            with at(f"{view.place}: set {prepared.name!r}"):
                stored = "replay_batch" in prepared.file.metadata and view.protocol.labels in ("auto", "stored")
                for strategy in options.strategies:
                    continual.strategies.check_stored(strategy, stored)
        for spec in options.strategies:
            with at(f"{view.place}: strategy {spec.name!r} takes the student apart"):
                if continual.strategies.strategy(spec.name).student != "whole":
                    view.try_student(lambda student: continual.parts.Parts(student, view.dataset.shape))
        for steps in options.steps:
            with at(f"{view.place}.steps"):
                counts = stream.class_counts(classes, steps)
            for strategy in options.strategies:
                labels = {
                    "stream": stream.describe(counts),
                    "strategy": continual.strategies.label(strategy),
                    "soft labels": options.soft_labels,
                    "class order": order if isinstance(order, str) else "given",
                    "memory": f"{memory} images" if memory else "all images",
                }
                own = {"steps": steps, "strategy": strategy.model_dump(), "class_order": order}
                own |= {"soft_labels": options.soft_labels, "memory": memory}
                if continual.strategies.strategy(strategy.name).own_loss:  # one trial, whatever losses the board names
                    own, labels = own | {"loss": "own"}, labels | {"loss": continual.strategies.OWN_LOSS, "native": ""}
                    trials = self.vary(view, losses=["ce"], options=own, labels=labels)
                else:
                    trials = self.vary(view, options=own, labels=labels)
                for trial in trials:
                    _check(trial, strategy, counts, view)
                    yield trial

    def trainings(self, trial: Trial, tests: int) -> Iterator[tuple[float, float]]:
        """Yield a training a step of the stream, tested on the classes met so far.

        GDumb, Cumulative and ICaRL train on the images of those, Replay on the step's and as many of its memory, others on the
        step's.
        """
        images, steps = float(trial.labels.images or 1), trial.options["steps"]
        for step in range(1, steps + 1):
            met = min(step, KEPT.get(trial.options["strategy"]["name"], 1) or step)
            yield images * met / steps, tests * step / steps

    def asks(self, trial: Trial) -> Hashable:
        """Return a key of trials whose steps train on the same images: those of the step, or of memories chosen in one way."""
        options, strategy = trial.options, trial.options["strategy"]
        kept, chosen = KEPT.get(strategy["name"], 1), ""
        if kept != 1 and (options.get("memory") or strategy.get("options")):
            chosen = f"{strategy} {options.get('memory')}"
        return trial.setup.asked, options["steps"], str(options.get("class_order")), kept, chosen

    def run(self, trial: Trial, workbench: Workbench) -> Outcome:
        """Train along the stream with the trial's strategy; after each step, test on the classes met so far."""
        with warnings.catch_warnings(record=True):  # Avalanche's own deprecations, which it shows whatever the filter says
            course = self.course(trial, workbench)
            while True:
                try:
                    next(course)
                except StopIteration as end:
                    outcome: Outcome = end.value
                    return outcome

    def run_bundle(self, trials: Sequence[Trial], workbench: Workbench) -> Iterator[Outcome]:
        """Yield the outcome of each trial; on a GPU, of some of them side by side where that can be and pays."""
        most = continual.side_by_side.MOST if len(trials) > 1 and self._side_by_side(trials[0], workbench) else 1
        for first in range(0, len(trials), most):
            group = trials[first : first + most]
            if len(group) == 1 or workbench.graphs is None:
                yield self.run(group[0], workbench)
                continue
            with warnings.catch_warnings(record=True):
                courses = [self.course(trial, workbench, lane) for lane, trial in enumerate(group)]
                device = self.material(group[0], workbench).images.device
                outcomes = continual.side_by_side.in_turns(courses, workbench.graphs, device)
            for outcome in outcomes:
                shares = {phase: seconds / len(group) for phase, seconds in outcome.timing.items()}
                yield replace(outcome, together=len(group), timing=shares)

    def _side_by_side(self, trial: Trial, workbench: Workbench) -> bool:
        """Whether trials such as this one can be replayed side by side, and train long enough for it to pay."""
        strategy = continual.strategies.strategy(Spec.model_validate(trial.options["strategy"]).name)
        if workbench.graphs is None or not strategy.plain:
            return False
        material, protocol = self.material(trial, workbench), trial.protocol
        brought = len(material.labels) // trial.options["steps"]
        steps = protocol.epochs * -(-brought // protocol.batch_size)
        images = material.batch(material.labels.new_tensor([0, 1]))
        return steps >= continual.side_by_side.WORTH and not continual.side_by_side.draws(workbench.student(trial), images)

    def course(self, trial: Trial, workbench: Workbench, lane: int | None = None) -> Generator[None, None, Outcome]:
        """Go along a trial's stream; as one of several in turns where it has a number, a `lane`, else each step in one go."""
        test, classes = workbench.test_material(trial), len(workbench.dataset(trial).classes)
        kept = workbench.checkpoint([trial], [self.loss(trial, workbench)])
        strategy, experiences = self.learner(trial, workbench)
        strategy.lane = lane
        name = Spec.model_validate(trial.options["strategy"]).name
        course = continual.checkpoints.Course(strategy, kept, continual.strategies.strategy(name).goes_on)
        history, seconds = course.history, course.seconds
        for number, experience in enumerate(experiences):
            started = time.perf_counter()
            if lane is None:
                strategy.train(experience, eval_streams=[])
            else:
                yield from strategy.epochs(experience)
            if number < course.again:  # gone through again without training: it was measured then
                continue
            trained = time.perf_counter()
            precision, groups = trial.protocol.precision, strategy.groups
            history.append(continual.measure.measure(strategy.model, test, groups, classes, precision, strategy.tests))
            seconds["train"] += trained - started
            seconds["evaluate"] += time.perf_counter() - trained
            course.keep()
        metrics = {**continual.measure.summarise(history), "steps": float(strategy.steps)}
        sound = not strategy.diverged and continual.measure.answered(history)
        facts: dict[str, object] = {"trained": strategy.trained, **({"taken_up": course.again} if course.again else {})}
        if strategy.uncaptured:
            facts["uncaptured"] = {str(step): reason for step, reason in strategy.uncaptured.items()}
        return Outcome(metrics, history, "done" if sound else "diverged", seconds, facts=facts)

    def learner(
        self, trial: Trial, workbench: Workbench
    ) -> tuple[continual.loop.ResidentLoop, Iterable[continual.stream.Experience]]:
        """Return the trial's strategy, ready to train, and the experiences of its stream."""
        stream, options, material = continual.stream, trial.options, self.material(trial, workbench)
        spec = Spec.model_validate(options["strategy"])
        if continual.strategies.strategy(spec.name).own_loss:
            material = replace(material, soft=None)  # it looks at none
        dataset, images = workbench.dataset(trial), material.labels.bincount()
        classes = len(dataset.classes)
        order = stream.class_order(options["class_order"], trial.seed, classes)
        counts = stream.class_counts(classes, options["steps"])
        experiences = stream.benchmark(material, order, counts).train_stream
        room = continual.loop.Room(
            memory=options["memory"] or classes * int(images.max()),
            first=int(images[order[: counts[0]]].sum()),
            batch=trial.protocol.batch_size,
        )
        strategy = continual.loop.create(spec, workbench.student(trial), room, workbench.device, dataset.shape)
        strategy.prepare(
            material,
            harness.recipe(trial),
            loss=self.loss(trial, workbench),
            teacher=workbench.soft_labels(trial),
            classes=classes,
            seed=trial.seed,
            sliced=options["soft_labels"] == "sliced",
        )
        strategy.graphs = workbench.graphs
        if continual.strategies.strategy(spec.name).plain:  # others may answer by what no weight or buffer holds
            strategy.tests = workbench.tests
        return strategy, experiences

    def tables(self, records: pandas.DataFrame) -> list[Table]:
        tables = []
        records = records.sort_values(["order", "id"], kind="stable") if len(records) else records
        for stream_labels, part in records.groupby([*STREAM], sort=False) if len(records) else ():
            name = _title(dict(zip(STREAM, map(str, stream_labels), strict=True)))
            tables += [replace(t, title=f"{t.title} — {name}") for t in _pivot(_measures(part), "measure", SUMMARY)]
            tables += [replace(t, title=f"{t.title} — {name}, step by step") for t in _pivot(_steps(part), "classes met", STEPS)]
        return tables

    def figures(self, tables: Sequence[Table]) -> list[Figure]:
        shown = [table for table in tables if table.columns == "classes met"]
        return harness.curves(shown, name=self.name, title="Accuracy as classes arrive", x_label="classes met so far")


def _check(trial: Trial, strategy: Spec, counts: Sequence[int], view: Plan) -> None:
    """Raise, before anything is trained, for a stream whose steps are too small for the trial's strategy or student."""
    stream, strategies = continual.stream, continual.strategies
    prepared = next(prepared for prepared in view.sets if prepared.file.digest == trial.distilled)
    with at(f"{view.place}: set {prepared.name!r}"):
        images = prepared.file.class_counts()
        brought = stream.step_images(images, stream.class_order(trial.options["class_order"], trial.seed, len(images)), counts)
        memory = min(trial.options["memory"] or sum(images), brought[0])
        stream.refuse_stages(bool(trial.protocol.stages) or trial.protocol.accumulation > 1 or bool(trial.protocol.ema))
        strategies.check_replay(strategy, memory)
        strategies.check_iterations(strategy, trial.protocol.epochs * -(-min(brought) // trial.protocol.batch_size))
        strategies.check_sample(strategy, len(counts))
        if strategies.learns_of_one(strategy):
            with at(f"strategy {strategies.label(strategy)!r} learns of one image at a time"):
                view.check_lone_batch()
        if 1 in (brought[:1] if strategies.strategy(strategy.name).keeps else brought):
            with at("a step of the stream brings one image"):
                view.check_lone_batch()


def _measures(records: pandas.DataFrame) -> pandas.DataFrame:
    """Return one row a record and measure, its value in the place of the accuracy."""
    import pandas

    parts = [harness.measured(records, measure.name).assign(measure=label) for label, measure in MEASURES.items()]
    return pandas.concat(parts, ignore_index=True)


def _steps(records: pandas.DataFrame) -> pandas.DataFrame:
    """Return one row a record and step of the stream, the accuracy after that step in place of the last."""
    done = records[records["history"].map(len) > 0].explode("history", ignore_index=True)
    if done.empty:
        return done
    entries = done["history"]
    return done.assign(
        **{
            "classes met": [int(entry["classes"]) for entry in entries],
            "accuracy": [entry["accuracy"] for entry in entries],
            "top5_accuracy": [entry["top5_accuracy"] for entry in entries],
        }
    )


def _pivot(records: pandas.DataFrame, columns: str, measure: str) -> list[Table]:
    """Return the tables of these rows; where there are several strategies, they stand beside each other."""
    if records.empty:
        return []
    several = records["strategy"].nunique() > 1
    if several:
        records = records.assign(**{"strategy, loss": records["strategy"] + ", " + records["loss"]})
    tables = harness.pivot(
        records,
        "strategy, loss" if several else "loss",
        columns,
        decided=["options", *STREAM, *(["strategy", "loss"] if several else [])],
        lowest=[label for label, measure in MEASURES.items() if measure.lowest],
        measure=measure,
        quantities=QUANTITIES,
    )
    first = records.iloc[0]
    words = f"Stream: {first['stream']}" + ("" if several else f"; strategy {first['strategy']}") + f", memory {first['memory']}"
    order = ORDERS.get(first["class order"], ORDERS["given"])
    said = SOFT[first["soft labels"]] + (REPLAYED if "stored" in {*records["augmentation"]} else "")
    for table in tables:
        table.notes.insert(1, f"{words}; class order {order}; the protocol holds for each step. {said}")
    return tables


def _title(labels: dict[str, str]) -> str:
    """Return what tells a stream from another: its steps, and what is not as usual."""
    unusual = [
        labels["soft labels"] if labels["soft labels"] != "sliced" else "",
        f"memory {labels['memory']}" if labels["memory"] != "all images" else "",
        f"class order {ORDERS[labels['class order']]}" if labels["class order"] != "seed" else "",
    ]
    return ", ".join([labels["stream"], *filter(None, unusual)])
