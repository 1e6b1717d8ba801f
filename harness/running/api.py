"""`evaluate`: the job of a board, from a notebook or a distiller's own training script."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Mapping, Sequence
from itertools import count
from pathlib import Path

from harness.boards.board import Board, ScenarioSpec, checked
from harness.boards.records import Record, RecordStore
from harness.boards.trial import Trial
from harness.core import seeds as streams
from harness.core.code import Code
from harness.core.errors import GiftbenchError
from harness.core.spec import Spec
from harness.distilled.set import DistilledSet
from harness.planning.artefacts import Artefacts
from harness.running.evaluation import Evaluation

log = logging.getLogger("giftbench")


def evaluate(
    distilled: DistilledSet | str | Path,
    *,
    loss: str | Mapping[str, object] = "gift",
    model: str | Mapping[str, object] = "convnet3",
    optimizer: str | Mapping[str, object] | None = None,
    protocol: str | Mapping[str, object] = "quick",
    seeds: int | tuple[int, ...] = 3,
    teacher: str | Mapping[str, object] = "convnet3",
    dataset: str | None = None,
    scenario: str | Mapping[str, object] | None = None,
    device: str = "auto",
    data_dir: str | Path | None = None,
    mean: Sequence[float] = (),
    std: Sequence[float] = (),
    force: bool = False,
    keep_students: bool = False,
    board: str | Path | None = None,
    progress: bool | None = None,
) -> Evaluation:
    """Train students on a distilled set, one a seed, and test them on the dataset's real test split.

    Args:
        distilled: a set, or the path of its file.
        loss, model, optimizer, teacher: as boards write them, `"gift(gamma=0.2)"`; the optimizer defaults to the protocol's.
        protocol: `paper`, `quick`, `smoke`, or a table of a name and changed fields.
        seeds: how many (0 to n-1), or which.
        teacher: gives the soft labels when the loss takes them and the set stores none; trained once and cached.
        dataset: defaults to the one the set names.
        scenario: a scenario to run instead of training once; see `giftbench list scenarios`.
        mean, std: what the set's images were normalised by, a number a channel, where the set does not say so itself.
        force: whether a set is taken whose classes another order fits far better; else that is an error.
        keep_students: whether the result's `students` are the trained networks; all are trained then, whatever has a record.
        progress: whether bars show how far teacher and students are; None for in a notebook alone.
        board: a folder in which records, teacher and set are kept: a second call with the same set finds what it trained.
        device: auto, cpu, cuda or cuda:N. Runs in this process, with torch's number of threads.
    Returns: an Evaluation; `mean` and `std` are in percent.
    Raises: GiftbenchError and its kin when the input is wrong, or when every seed failed.
    """
    from harness.planning.plan import Plan
    from harness.planning.preparation import Preparation
    from harness.running.bars import Bars, Tests, WatchedWorkbench
    from harness.running.executors.work import run_bundle
    from harness.running.names import check_names
    from harness.running.scenario import Scenario, code_of, named

    loaded = distilled if isinstance(distilled, DistilledSet) else DistilledSet.load(distilled)
    if mean or std:
        loaded = loaded.changed(mean=mean, std=std)
    content = {
        "dataset": dataset or loaded.dataset,
        "model": model,
        "losses": [loss],
        "protocol": protocol,
        "teacher": teacher,
        "seeds": seeds,
        "sets": [{"file": "memory.safetensors", "title": loaded.method}],
        "scenarios": [{"name": "evaluate"} if scenario is None else scenario],
    }
    asked_of: Board = checked(Board, content, "evaluate")
    spec: ScenarioSpec = asked_of.scenarios[0]
    if optimizer is not None:
        spec = spec.model_copy(update={"optimizer": Spec.model_validate(optimizer)})
    check_names(asked_of.model_copy(update={"scenarios": () if scenario is None else (spec,)}), "evaluate")
    with tempfile.TemporaryDirectory() as folder, streams.kept(), Bars(progress) as bars:
        artefacts = Artefacts(Path(folder if board is None else board) / "artefacts")
        preparation = Preparation(asked_of, "evaluate", artefacts, data_dir, device, bars.show, say=log.warning, force=force)
        preparation.use(loaded)
        asked = Scenario() if scenario is None else named(spec.name)
        asked.name = spec.name
        plan = Plan(preparation, spec, "evaluate", count(), asked.version, Code() if scenario is None else code_of(spec.name))
        trials = list(asked.ask(plan))
        workbench = WatchedWorkbench(device, artefacts, data_dir, {loaded.digest: loaded}, keep_students=keep_students)
        warnings, stored = preparation.warnings.get(loaded.digest, ()), preparation.stored.get(loaded.digest, {})
        store = None if board is None else RecordStore(Path(board) / "records")
        done = {} if store is None or keep_students else _done(store, trials)
        missing = [trial for trial in trials if trial.id not in done]
        workbench.watcher = tests = Tests(bars, missing)
        for record in run_bundle(missing, workbench, scenario=asked):
            tests.ended(record.id)
            done[record.id] = record.warned(warnings).stating(**stored)
            if store is not None:
                store.write(done[record.id])
    records = tuple(done[trial.id] for trial in trials)
    if all(record.status == "failed" for record in records):
        raise GiftbenchError(f"every trial failed: {records[0].error}" if records else "no trials")
    students = tuple(workbench.students.get(record.id) for record in records) if keep_students else ()
    return Evaluation(records, students)


def _done(store: RecordStore, trials: Sequence[Trial]) -> dict[str, Record]:
    """Return the records that trials have and that did not fail, by id."""
    records = {trial.id: store.get(trial.id) for trial in trials}
    return {name: record for name, record in records.items() if record is not None and record.status != "failed"}
