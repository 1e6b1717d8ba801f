"""A board on paper: what of it is done and left, and how long that takes here and on other machines. Nothing is made."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from harness.boards.records import RecordStore
from harness.leaderboard.power import Reach, reach
from harness.planning.artefacts import Artefacts
from harness.running.costs import Costs, Facts
from harness.running.executors import local
from harness.running.forecast import Basis, Forecast, Machines, forecast, learned
from harness.running.opening import check_scenarios, open_board
from harness.running.options import Options, Silent
from harness.running.scenario import trainings
from harness.running.scheduling import bundles
from harness.running.twins import Twins

if TYPE_CHECKING:
    from harness.boards.records import Record
    from harness.boards.trial import Trial
    from harness.core.spec import Spec
    from harness.planning.preparation import Survey
    from harness.running.options import Watcher
    from harness.running.overrides import Overrides


@dataclass(frozen=True)
class Place:
    """What is left of a board on some machines, None for this one.

    Attributes:
        workers: how many take bundles.
        device: `cpu` or `cuda`.
        forecast: how long they take.
        basis: which records that rests on.
    """

    machines: Machines | None
    workers: int
    device: str
    forecast: Forecast
    basis: Basis


@dataclass(frozen=True)
class Outlook:
    """What is known of a board before it is run.

    Attributes:
        planned: how many trials it has.
        done, failed: how many have such a record; where what they rest on is not at hand, one that fits in all but its digests.
        left: how many a run would train.
        absent: what they rest on that is not at hand; a run makes it first, and ids of trials follow from it.
        places: this machine, then all that were asked for.
        reach: the smallest difference that the planned seeds can tell, by the spread in the records.
    """

    planned: int
    done: int
    failed: int
    left: int
    absent: tuple[str, ...]
    places: tuple[Place, ...]
    reach: Reach


def outlook(
    path: str | Path, overrides: Overrides, options: Options, machines: Sequence[Machines] = (), watcher: Watcher | None = None
) -> Outlook:
    """Return what is left of a board and how long it takes, by what its records took.

    Raises: BoardError and its kin when the input is wrong.
    """
    file, board, _ = open_board(path, options.plugins, options.allow_plugins)
    check_scenarios(board, str(file), overrides.scenarios)
    from harness.running.parts import Parts
    from harness.training.devices import device_name, resolve_device

    device = resolve_device(options.device)
    parts = Parts(overrides.apply(board), file, Artefacts(file.parent / "artefacts"), options, watcher or Silent())
    parts.rehearse()
    trials, surveys = parts.survey()
    contents = RecordStore(file.parent / "records").contents()
    if contents.said:
        parts.say(contents.said)
    records = {record.id: record for record in contents.records}
    done = {name for name, record in records.items() if record.status != "failed"} | contents.newer.keys()
    absent = tuple(dict.fromkeys(what for survey in surveys for what in survey.absent))
    if absent:
        records |= _recorded(trials, records)
        done |= {name for name, record in records.items() if record.status != "failed"}
    failed = [trial for trial in trials if trial.id in records and trial.id not in done]
    kept = done if options.retry else done | records.keys()
    missing = [trial for trial in trials if trial.id not in kept]
    twins = Twins(trials)
    firsts = twins.first(trial for trial in missing if twins.answered(trial, records) is None)
    trained = {trial.id for trial in (*twins.first(trials), *firsts)}
    planned = [trial for trial in trials if trial.id in trained]
    costs = _costs(surveys, contents.records)

    def place(of: Machines | None, kind: str, workers: int, fits: Callable[[str], bool]) -> Place:
        seconds, basis = learned(contents.records, costs(kind), kind, fits)
        order = bundles(firsts, costs(kind), kind, options.stack, planned, workers)
        return Place(of, workers, kind, forecast(order, seconds, workers), basis)

    here, kind = device_name(device), "cpu" if device == "cpu" else "cuda"
    workers = local.workers(device, options.jobs, options.threads, local.visible(device))
    places = [
        place(None, kind, workers, lambda name: name == here),
        *(place(each, each.device, each.workers, each.fits) for each in machines),
    ]
    ended = sum(trial.id in done for trial in trials)
    seeds: dict[str, set[int]] = {}
    for trial in trials:
        seeds.setdefault(trial.setup.hash, set()).add(trial.seed)
    told = reach(contents.records, min(map(len, seeds.values()), default=0))
    return Outlook(len(trials), ended, len(failed), len(missing), absent, tuple(places), told)


def _recorded(trials: Sequence[Trial], records: Mapping[str, Record]) -> dict[str, Record]:
    """Return the records, by their trials' ids as planned, that trials on stand-ins have: those alike in all but what these are.

    The digest of a set or a teacher that is not at hand is not known, and so neither is the id of a trial that rests on it.
    """
    planned = {trial.id for trial in trials}
    others = {_likeness(record.trial): record for name, record in records.items() if name not in planned}
    likenesses = {trial.id: _likeness(trial) for trial in trials if trial.id not in records}
    return {name: others[likeness] for name, likeness in likenesses.items() if likeness in others}


def _likeness(trial: Trial) -> str:
    """Return what a trial is but for the digests of its set and its teacher, by which tables call these."""
    content = json.loads(trial.model_dump_json())
    for name in ("distilled", "teacher", "labels"):
        content.pop(name, None)
    labels = trial.labels
    return json.dumps([content, labels.method, labels.ipc, labels.images, bool(trial.teacher)], sort_keys=True)


def _costs(surveys: Sequence[Survey], records: Sequence[Record]) -> Callable[[str], Costs]:
    """Return a maker of the costs of a board's trials and records on a device.

    A record's teacher that is not the board's as it is now is taken to have the models of the one that its dataset has now.
    """
    datasets = [survey.dataset for survey in surveys]
    facts = {data.digest: Facts(data.shape, len(data.classes), len(data.test)) for data in datasets}
    teachers: dict[tuple[str, ...], Sequence[Spec]] = {}
    models: dict[str, Sequence[Spec]] = {}
    for survey in surveys:
        for teacher, networks in survey.networks().items():
            teachers[teacher] = models[survey.dataset.digest] = networks
    for trial in (record.trial for record in records):
        if trial.teacher and trial.teacher not in teachers:
            teachers[trial.teacher] = models.get(trial.dataset.digest, ())
    made: dict[str, Costs] = {}

    def costs(device: str) -> Costs:
        if device not in made:
            made[device] = Costs(device, facts, teachers, trainings)
        return made[device]

    return costs
