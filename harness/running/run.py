"""Running a board: what is missing is made, what is done is left alone."""

from __future__ import annotations

import logging
import os
import subprocess
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

from harness.boards.board import board_path
from harness.boards.records import NewerRecord, Record, RecordStore
from harness.core.errors import BadOption, BoardError, GiftbenchError, at
from harness.core.home import home
from harness.core.pace import pause
from harness.core.resolved import Resolved
from harness.core.spec import Named, read
from harness.datasets import links
from harness.files.claims import Claims, Holder
from harness.planning.artefacts import Artefacts
from harness.running import executors, label_streams, plugged, readiness
from harness.running.ahead import modules
from harness.running.costs import Costs
from harness.running.estimate import Estimate
from harness.running.executors import local
from harness.running.executors.errand import Errand
from harness.running.executors.protocol import Event, Executor, Runners, Settings
from harness.running.opening import check_scenarios, open_board
from harness.running.options import Options, Silent, Summary, Watcher
from harness.running.queue import CLAIMS, PLAN, Queue, forget, note, stamp
from harness.running.scenario import trainings
from harness.running.scheduling import bundles, share
from harness.running.standing import Reading, Rendered, Standing
from harness.running.stopping import Stop
from harness.running.twins import Twins, taken

if TYPE_CHECKING:
    from harness.boards.trial import Trial
    from harness.running.overrides import Overrides

log = logging.getLogger("giftbench")

#: Bytes of weights in training from which on a bundle is not begun beside another such one of this machine's, if it can wait.
LARGE = 256 << 20
#: How many workers are reckoned with, at least, where others may take bundles too that this run does not know of.
MANY = 64


@dataclass(kw_only=True)
class Run(Summary):
    """A run that is over, and what rendering its board's leaderboard may take up.

    Attributes:
        standing: of the board as it was asked for.
        rendered: the leaderboard, when it is known to be that of the records.
        reading: the records, when they were read and none has been added.
        taken: the ids of records whose numbers are those of the same training, asked for by another scenario.
        streams: a trial for each stream of soft labels that is to be published (`harness.running.label_streams`).
    """

    standing: Standing
    rendered: Rendered | None = None
    reading: Reading | None = None
    taken: set[str] = field(default_factory=set)
    streams: Sequence[Trial] = ()

    def keep(self, store: RecordStore, watcher: Watcher, record: Record) -> None:
        """Write a record whose numbers are those of another one."""
        store.write(record)
        self.taken.add(record.id)
        self.take(record)
        watcher.ended(record.trial, record)


def early(path: str | Path, options: Options) -> bool:
    """Whether workers are to load what they need before it is known what there is to do: no record makes them unnecessary."""
    folder = Path(path) if Path(path).is_dir() else Path(path).parent
    return _name(options.executor) == "local" and (options.rerun or not any((folder / "records").glob("*.json")))


def _name(executor: Named | Resolved[object]) -> str:
    return executor.name if isinstance(executor, Resolved) else read(executor)[0]


#: Seconds between two looks at what other runners have claimed, when nothing else is left; more where a look takes long.
POLL = 1.0


def run_board(
    path: str | Path, overrides: Overrides, options: Options, watcher: Watcher | None = None, stop: Stop | None = None
) -> Run:
    """Run every trial of a board that has no record yet, beside whoever else is at it.

    Records are written beside the board as trials end; a run that is cut off is continued by the same call. Other runners of the
    board, on any machine that sees its folder, are waited for to the end, and what they leave is taken over.
    Raises: BoardError and its kin before anything is trained, when the input is wrong; Stopped when a signal ends it.
    """
    watcher, file, stop = watcher or Silent(), board_path(path), stop or Stop()
    standing, store = Standing(file, overrides, options), RecordStore(file.parent / "records")
    done = _nothing_to_do(standing, store, options, watcher)
    if done is not None:
        return done
    fresh = local.fresh()
    _, board, plugin_files = open_board(file, options.plugins, options.allow_plugins)
    # A plugin may compute while it loads, by threads that a forked process lacks and waits for, unless it has but one itself.
    unused = fresh and (options.threads == 1 or not plugin_files)
    check_scenarios(board, str(file), overrides.scenarios)
    board = overrides.apply(board)
    hurried = early(file, options)
    if hurried and not unused:
        local.preload(options.device, options.threads)  # while this process loads torch and plans
    from harness.running.parts import Parts
    from harness.training.devices import resolve_device

    device = resolve_device(options.device)
    artefacts, facts, held = Artefacts(file.parent / "artefacts"), {"commit": commit()}, file.parent / "checkpoints"
    settings = Settings(
        device,
        options.threads,
        artefacts.folder,
        options.data_dir,
        plugin_files,
        facts,
        options.stack,
        timeout=board.timeout,
        checkpoints=held,
        deterministic=options.deterministic,
        labels=None if options.rerun else home() / "labels",
        compiling=options.compiling,
    )
    ahead = modules(board) if hurried else ()
    errand = Errand(settings, options.jobs, file, words(overrides, options, plugin_files), unused, ahead)
    with Claims(file.parent / CLAIMS) as claims, executors.create(options.executor)(errand) as workers:
        if options.rerun and isinstance(workers, Runners):
            raise BadOption(
                "--rerun: each of several runners would run all trials again; giftbench remove sets records aside, "
                "and then they are run"
            )
        if hurried:
            workers.prepare()
        parts, seen = Parts(board, file, artefacts, options, watcher), standing.look(board)
        parts.rehearse()
        with claims.held(PLAN, lambda holder: watcher.say(_waiting(holder))):
            trials = parts.plan()
        if seen and parts.settled:
            standing.note_plan(trials, parts.said)
        device = workers.settings.device  # of the workers, which may be on other machines
        costs = Costs.of(trials, (preparation.dataset for preparation in parts.preparations), artefacts, device, trainings)
        wanted = trials if options.shard is None else share(trials, costs, device, options.stack, *options.shard)
        with at(str(file)):
            wanted = options.selection.of_trials(wanted)
        store.sweep()
        again = options.rerun or options.retry
        stamps = {name: stamp(store.folder / f"{name}.json") for name in store.ids()} if again else {}
        reading = standing.read(store)
        known = {} if options.rerun else {record.id: record for record in reading.records}
        kept = {i: record for i, record in known.items() if record.status != "failed" or not options.retry}
        missing = [trial for trial in wanted if trial.id not in kept]
        _check_newer(reading, missing, store)
        for line in plugged.said(missing, reading.records, board.unnoted):
            watcher.say(line)
        watcher.planned(len(wanted), missing)
        failed = {t.id: kept[t.id].error for t in wanted if t.id in kept and kept[t.id].status == "failed"}
        streams = label_streams.streams(wanted, artefacts) if options.keep_labels else ()
        summary = Run(standing=standing, planned=len(wanted), failed=failed, streams=streams)
        if not missing:
            summary.reading = reading
            forget(file.parent, store.ids())
            return summary
        twins = Twins(trials)
        for trial in missing:
            if source := twins.answered(trial, known):
                summary.keep(store, watcher, parts.noted(taken(source, trial)))
        missing = [trial for trial in missing if trial.id not in summary.taken]
        firsts = twins.first(missing)
        readiness.check(firsts, device, artefacts, str(file))
        takers = workers.jobs if isinstance(workers, local.Workers) and options.wait else max(workers.jobs, MANY)
        wanted_first = {trial.id for trial in (*twins.first(trials), *firsts)}
        planned = [trial for trial in trials if trial.id in wanted_first]
        order = bundles(firsts, costs, device, options.stack, planned, takers)
        estimate = Estimate(costs, order, workers.jobs)
        watcher.scheduled(estimate)

        def elsewhere(trial: Trial) -> bool:
            try:
                record = store.get(trial.id)
            except NewerRecord:  # which is not repeated, and is named where records are read
                return True
            if record is not None:
                summary.take(record)
                estimate.elsewhere(trial)
                watcher.ended(trial, record)
            return record is not None

        here = {record.id for record in reading.records}
        before = {trial.id: stamps.get(trial.id) if trial.id in here else None for trial in firsts}
        waiting = {trial.id: trial for trial in missing if trial.id not in before}
        one_memory = device == "cpu" and isinstance(workers, local.Workers) and workers.jobs > 1

        def is_large(bundle: Sequence[Trial]) -> bool:
            return one_memory and sum(map(costs.held, bundle)) > LARGE

        queue = Queue(order, before, store.folder, claims, elsewhere, is_large)
        note(file.parent, [trial.id for trial in trials])
        with stop.ending():
            for event in _events(queue, workers, stop, options.wait):
                if event.record is None:
                    estimate.started(event.trial, event.worker)
                    if queue.owns(event.trial):
                        watcher.started(event.trial)
                    continue
                estimate.ended(event.trial, event.record, event.worker)
                if not queue.owns(event.trial):  # it has a record, and was made again only to complete a stack
                    continue
                store.write(parts.noted(event.record))
                let_go(held, event.trial)
                queue.recorded(event.trial)
                summary.ran += 1
                summary.take(event.record)
                watcher.ended(event.trial, event.record)
                for other in twins.of(event.trial):
                    if waiting.pop(other.id, None) is not None:
                        summary.keep(store, watcher, parts.noted(taken(event.record, other)))
        for trial in waiting.values():  # whose training another runner has made
            with suppress(NewerRecord):  # which is left alone, and was named where records were read
                twin = next(filter(None, (store.get(other.id) for other in twins.of(trial))), None)
                if twin is not None and store.get(trial.id) is None:
                    summary.keep(store, watcher, parts.noted(taken(twin, trial)))
        forget(file.parent, store.ids())
    with suppress(OSError):
        held.rmdir()  # unless another trial is kept there
    return summary


def published_labels(ended: Run, folder: Path, options: Options) -> Iterator[Path]:
    """Publish the soft labels of a run that was to keep them; yield the folder of each stream.

    Args:
        folder: where to; `true` for `labels` beside the board.
    """
    import torch

    from harness.running.workbench import Workbench

    torch.set_num_threads(options.threads)
    beside = ended.standing.file.parent
    workbench = Workbench(options.device, Artefacts(beside / "artefacts"), options.data_dir, labels=home() / "labels")
    yield from label_streams.publish(ended.streams, beside / "labels" if str(folder) == "true" else folder, workbench)


def let_go(folder: Path, trial: Trial) -> None:
    """Remove what was kept of a trial while it lasted, in a board's folder of checkpoints."""
    names: list[str] = []
    with suppress(OSError), os.scandir(folder) as entries:  # a pattern would be compiled anew for each trial
        names = [entry.name for entry in entries if entry.name.startswith((trial.id, f".{trial.id}"))]
    for name in names:
        if name.endswith(".tmp" if name.startswith(".") else ".safetensors"):
            (folder / name).unlink(missing_ok=True)


def _events(queue: Queue, executor: Executor, stop: Stop, wait: bool) -> Iterator[Event]:
    """Yield what becomes of the bundles that are free, and, where `wait` says so, of those that others claim and leave."""

    def free() -> Iterator[Sequence[Trial]]:
        for bundle in queue.free():
            yield bundle
            if stop.asked:
                return

    if isinstance(executor, Runners):
        yield from _beside(queue, executor, stop)
        return
    while queue and not stop.asked:
        bundles, began = free(), time.process_time()
        first = next(bundles, None)
        if first is not None:
            yield from executor.run(chain([first], bundles))
        elif not wait:
            return
        elif queue:
            time.sleep(pause(time.process_time() - began, POLL))


def _beside(queue: Queue, runners: Runners, stop: Stop) -> Iterator[Event]:
    """Have runners elsewhere make what is missing, and look into the folder of records until they have.

    Raises: GiftbenchError when they have all ended and trials are left.
    """
    runners.submit()
    while not stop.asked:
        alive, began = runners.alive(), time.process_time()
        queue.look()
        if not queue:
            return
        if not alive:
            raise GiftbenchError(f"trials are left: {runners.why()}; the same command goes on")
        time.sleep(pause(time.process_time() - began, POLL))
    yield from ()


def script(path: str | Path, overrides: Overrides, options: Options) -> str:
    """Return what an executor would submit for a board; nothing is planned or made.

    Raises: GiftbenchError for one that submits nothing.
    """
    file, board, plugin_files = open_board(path, options.plugins, options.allow_plugins)
    check_scenarios(board, str(file), overrides.scenarios)
    settings = Settings(options.device, options.threads, file.parent / "artefacts", options.data_dir, plugin_files)
    executor = executors.create(options.executor)(Errand(settings, options.jobs, file, words(overrides, options, plugin_files)))
    if not isinstance(executor, Runners):
        raise GiftbenchError(f"executor {_name(options.executor)!r} submits no script")
    return executor.script()


def _waiting(holder: Holder) -> str:
    return f"waiting for {holder}, which is making what this board's trials rest on"


def _nothing_to_do(standing: Standing, store: RecordStore, options: Options, watcher: Watcher) -> Run | None:
    """Return what a run comes to whose plan is noted and whose trials all have a record; None where it may be otherwise."""
    plan = None if options.rerun or options.selection or options.keep_labels else standing.planned()
    if plan is None or not store.ids().issuperset(plan.ids):
        return None
    store.sweep()
    if (standing.file.parent / CLAIMS).exists():
        forget(standing.file.parent, store.ids())
    rendered, reading = standing.rendered(), None
    if rendered is not None:
        ids, failed = store.ids(), rendered.failed
    else:
        reading = standing.read(store)
        ids = {record.id for record in reading.records}
        failed = {record.id: record.error for record in reading.records if record.status == "failed"}
    failed = {name: failed[name] for name in plan.ids if name in failed}
    if not ids.issuperset(plan.ids) or (options.retry and failed):
        return None
    if reading is not None:
        _check_newer(reading, (), store)
    for line in plan.said:
        watcher.say(line)
    watcher.planned(len(plan.ids), [])
    return Run(standing=standing, planned=len(plan.ids), failed=failed, rendered=rendered, reading=reading)


def leaderboard(run: Run) -> list[Path]:
    """Render a board's records after a run, unless its leaderboard is theirs already, and return its files."""
    standing = run.standing
    rendered = run.rendered or standing.rendered()
    if rendered is not None:
        return [*rendered.files]
    from harness.leaderboard.render import FOLDER, render  # pandas loads once the work is done, and a mistake is answered sooner
    from harness.running.prices import prices
    from harness.running.scenario import named

    open_board(standing.file, standing.options.plugins, standing.options.allow_plugins)
    reading = run.reading or standing.read(RecordStore(standing.file.parent / "records"))
    files = render(standing.file, named, reading.contents, plugged.outdated, prices)
    standing.note_rendering(files, FOLDER, reading)
    return files


def _check_newer(reading: Reading, missing: Sequence[Trial], store: RecordStore) -> None:
    """Say that a newer giftbench made some of the records. Raises BoardError when those of missing trials are among them."""
    contents = reading.contents
    repeated = sum(trial.id in contents.newer for trial in missing)
    if repeated:
        raise BoardError(
            f"{store.folder}: {contents.said}; {repeated} of them are trials of this run, which does not repeat them: "
            "update giftbench, or move them elsewhere"
        )
    if contents.said:
        log.warning("%s: %s", store.folder, contents.said)


def words(overrides: Overrides, options: Options, plugins: Sequence[str]) -> tuple[str, ...]:
    """Return what follows `giftbench work BOARD`, for a runner elsewhere to take up the same trials in the same way.

    Args:
        plugins: all files that are loaded, the board's among them: on another machine nobody has allowed them yet.
    """
    supplies = options.supplies
    values: dict[str, Iterable[object]] = {
        "scenario": overrides.scenarios,
        "loss": overrides.losses,
        "seeds": [] if overrides.seeds is None else [overrides.seeds],
        "protocol": [overrides.protocol] if overrides.protocol else [],
        "precision": [overrides.precision] if overrides.precision else [],
        "device": [options.device],
        "jobs": [options.jobs],
        "threads": [options.threads],
        "stack": [options.stack],
        "compile": [options.compiling] if options.compiling != "never" else [],
        "data-dir": [] if options.data_dir is None else [options.data_dir.absolute()],
        "plugin": plugins,
        "set": [*(supply.text for supply in supplies.sets), *options.selection.set],
        "model": options.selection.model,
        "optimizer": options.selection.optimizer,
        "seed": options.selection.seed,
        "teacher": [supply.text for supply in supplies.teachers],
    }
    said = [word for name, several in values.items() for value in several for word in (f"--{name}", str(value))]
    flags = {
        "--force": options.force,
        "--retry": options.retry,
        "--deterministic": options.deterministic,
        "--follow-links": links.followed(),
    }
    return (*said, *(flag for flag, asked in flags.items() if asked))


def commit() -> str:
    """Return the commit of the checkout that the harness runs from, with a plus when it was changed; empty outside of one."""
    here = Path(__file__).parent

    def git(*words: str) -> str:
        done = subprocess.run(["git", "-C", str(here), *words], capture_output=True, text=True, timeout=10, check=True)
        return done.stdout.strip()

    try:
        if not git("ls-files", "--", "__init__.py"):
            return ""
        return git("rev-parse", "--short=12", "HEAD") + ("+" if git("status", "--porcelain", "--", ".", "../scenarios") else "")
    except (OSError, subprocess.SubprocessError):
        return ""
