"""How long a board still takes: what trials cost, learned from those that have ended, and which worker will run which."""

from __future__ import annotations

import heapq
import math
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass, field
from statistics import fmean
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from harness.boards.records import Record
    from harness.boards.trial import Trial
    from harness.running.costs import Costs

#: Tells the seconds of a workload, of which this is a trial, stacked or not.
Expected = Callable[[Hashable, "Trial", bool], float]
#: What is left of a bundle that takes longer than expected: this share of the time that it is late.
OVERRUN = 0.5


@dataclass
class _Seen:
    """A trial of one workload, and the seconds that such trials took: where something had to be loaded first, and else."""

    trial: Trial
    first: list[float] = field(default_factory=list)
    later: list[float] = field(default_factory=list)

    @property
    def mean(self) -> float:
        return fmean(self.later or self.first)


class Seconds:
    """Tells how long trials take: what those of their workload took, else their cost at the rate of those nearest to them."""

    def __init__(self, costs: Costs) -> None:
        self.costs = costs
        self._workloads: dict[tuple[Hashable, bool], _Seen] = {}
        self._around: list[float] = []  # what a trial takes beside training and testing
        self._loading: dict[frozenset[str], list[float]] = defaultdict(list)
        self._rates: dict[Hashable, float] = {}

    def __bool__(self) -> bool:
        """Whether anything has been learned."""
        return bool(self._workloads)

    def learn(self, trial: Trial, record: Record, loads: frozenset[str] = frozenset()) -> None:
        """Take in what a trial took; `loads` are the kinds of things that its worker met for the first time."""
        if record.status == "failed":
            return
        together = record.environment.together
        total, phases = record.timing.get("total", 0.0), [record.timing.get(name) for name in ("train", "evaluate")]
        inside = None if None in phases else sum(filter(None, phases))
        seen = self._workloads.setdefault((trial.workload, together > 1), _Seen(trial))
        self._rates = {}
        if not loads:
            seen.later.append(total)
            if inside is not None:
                self._around.append(max(0.0, total - inside))
            return
        usual = fmean(self._around) if self._around else 0.0
        steady = total if inside is None else min(total, inside + usual)
        seen.first.append(steady)
        self._loading[loads].append((total - steady) * together)

    def loading(self, loads: frozenset[str]) -> float:
        """Return the seconds that a worker takes to load what it meets for the first time."""
        seconds = self._loading.get(loads)
        return fmean(seconds) if seconds else 0.0

    def knows(self, trial: Trial) -> bool:
        """Whether a trial of this workload has ended."""
        return any((trial.workload, stacked) in self._workloads for stacked in (False, True))

    def __call__(self, trial: Trial, stacked: bool = False) -> float:
        """Return the expected seconds of a trial; of one that is trained in one pass with others, its share."""
        own = trial.workload
        if (own, stacked) in self._workloads:
            return self._workloads[own, stacked].mean
        rates: dict[Hashable, float] = self._learned() if self else {"all": 1.0}  # a cost is about a second
        return self.cost(trial, stacked) * next((rates[level] for level in _levels(trial, stacked) if level in rates), 0.0)

    def cost(self, trial: Trial, stacked: bool = False) -> float:
        """Return the cost of a trial; of one that is trained in one pass with others, its share."""
        return self.costs(trial) * (self.costs.rates.stacked if stacked else 1.0)

    def _learned(self) -> dict[Hashable, float]:
        """Return seconds per unit of cost, by what a trial has in common with others; over all, each student counts the same."""
        if not self._rates:
            sums: dict[Hashable, list[float]] = defaultdict(lambda: [0.0, 0.0])
            for (_, stacked), seen in self._workloads.items():
                for level in _levels(seen.trial, stacked):
                    sums[level][0] += seen.mean
                    sums[level][1] += self.cost(seen.trial, stacked)
            self._rates = {level: seconds / cost for level, (seconds, cost) in sums.items() if seconds > 0}
            students = [rate for level, rate in self._rates.items() if isinstance(level, tuple) and level[0] == "student"]
            self._rates["all"] = math.exp(fmean(map(math.log, students))) if students else 0.0
        return self._rates


def _levels(trial: Trial, stacked: bool) -> Iterator[Hashable]:
    """Yield what a trial has in common with others, from the most to the least telling."""
    setup = trial.setup
    yield "workload", trial.workload
    yield "scenario", setup.student_in_scenario, stacked
    yield "dataset", setup.student_on_dataset, stacked
    yield "student", setup.student, stacked
    yield "student", setup.student
    yield "all"


def stacked(bundle: Sequence[Trial]) -> list[bool]:
    """Return which trials of a bundle are trained in one pass with others of it: they differ in seed and loss alone."""
    counts = Counter(trial.setup.together for trial in bundle)
    return [counts[trial.setup.together] > 1 for trial in bundle]


@dataclass
class _Bundle:
    """Trials that are handed out together: one of each workload with how many there are, and what they need to be loaded."""

    trials: dict[str, Trial]
    workloads: list[tuple[Hashable, Trial, bool, int]]
    needs: dict[str, str]

    @classmethod
    def of(cls, trials: Sequence[Trial]) -> _Bundle:
        samples = [((trial.workload, together), trial) for trial, together in zip(trials, stacked(trials), strict=True)]
        counts = Counter(key for key, _ in samples)
        needs = {f"scenario {trial.scenario}": "scenario" for trial in trials}
        needs |= {trial.dataset.digest: "dataset" for trial in trials}
        needs |= {digest: "teacher" for trial in trials for digest in trial.teacher}
        kinds = [(*key, trial, counts[key]) for key, trial in dict(samples).items()]
        return cls({trial.id: trial for trial in trials}, [(key, trial, on, count) for key, on, trial, count in kinds], needs)

    def seconds(self, expected: Expected) -> float:
        """Return how long the bundle is expected to take."""
        return sum(count * expected(key, trial, together) for key, trial, together, count in self.workloads)

    def loads(self, loaded: set[str]) -> frozenset[str]:
        """Return the kinds of things that a worker has not loaded yet."""
        return frozenset(what for name, what in self.needs.items() if name not in loaded)


@dataclass
class _Worker:
    """What a worker has loaded, its bundle without the trials that have ended, and since when it has been on what is left.

    `made` of these trials have been made, in one pass with one that has ended, and are about to end.
    """

    loaded: set[str] = field(default_factory=set)
    bundle: _Bundle | None = None
    begun: set[str] = field(default_factory=set)
    loads: frozenset[str] = frozenset()
    since: float = 0.0
    made: int = 0


class Estimate:
    """The time left of a run; told of every trial that starts and ends, it replays in thought how workers take the others.

    Args:
        costs: what trials cost.
        bundles: in the order in which workers take them.
        jobs: how many workers there are.
        clock: seconds, for tests.
    """

    def __init__(
        self,
        costs: Costs,
        bundles: Sequence[Sequence[Trial]],
        jobs: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.seconds = Seconds(costs)
        self.jobs, self.clock = jobs, clock
        self._waiting = {number: _Bundle.of(bundle) for number, bundle in enumerate(bundles)}
        self._number = {trial.id: number for number, bundle in enumerate(bundles) for trial in bundle}
        self._workers: dict[int, _Worker] = defaultdict(_Worker)

    def started(self, trial: Trial, worker: int = 0) -> None:
        """Note that a worker has started a trial, perhaps one that another, or its predecessor, died of."""
        at = self._workers[worker]
        if at.bundle is not None and trial.id in at.bundle.trials and trial.id not in at.begun:
            at.begun.add(trial.id)
            return
        bundle = self._waiting.pop(self._number[trial.id], None)
        if bundle is None:
            self._remove(trial)
            at.loaded = set()
        at.bundle, at.begun, at.since, at.made = bundle or _Bundle.of([trial]), {trial.id}, self.clock(), 0
        at.loads = at.bundle.loads(at.loaded)
        at.loaded |= at.bundle.needs.keys()

    def ended(self, trial: Trial, record: Record, worker: int = 0) -> None:
        """Note that a worker has ended a trial, and learn what it took."""
        at = self._workers[worker]
        together = record.environment.together
        self.seconds.learn(trial, record, at.loads)
        if at.made:
            at.made -= 1
        else:
            at.made, at.since = together - 1, self.clock()
        if not at.made:
            at.loads = frozenset()
        self._remove(trial)

    def elsewhere(self, trial: Trial) -> None:
        """Note that another runner of the board has ended a trial, which no worker here has begun."""
        bundle = self._waiting.get(self._number[trial.id])
        if bundle is not None and bundle.trials.pop(trial.id, None) is not None:
            rest = list(bundle.trials.values())
            if rest:
                self._waiting[self._number[trial.id]] = _Bundle.of(rest)
            else:
                del self._waiting[self._number[trial.id]]

    def _remove(self, trial: Trial) -> None:
        """Take a trial out of the bundle that holds it."""
        for worker in self._workers.values():
            if worker.bundle is not None and worker.bundle.trials.pop(trial.id, None) is not None:
                rest = list(worker.bundle.trials.values())
                worker.bundle = _Bundle.of(rest) if rest else None

    def left(self) -> float:
        """Return the seconds until the last trial ends; before any has ended, by what trials cost alone."""
        now, expected = self.clock(), self._expected()
        free = [(self._rest(worker, now, expected), set(worker.loaded)) for worker in self._workers.values()]
        free += [(0.0, set()) for _ in range(self.jobs - len(free))]
        queue = [(at, place) for place, (at, _) in enumerate(free)]
        heapq.heapify(queue)
        for bundle in self._waiting.values():
            at, place = queue[0]
            loaded = free[place][1]
            needed = bundle.seconds(expected)
            if not bundle.needs.keys() <= loaded:
                needed += self.seconds.loading(bundle.loads(loaded))
                loaded |= bundle.needs.keys()
            heapq.heapreplace(queue, (at + needed, place))
        return max(at for at, _ in queue)

    def _expected(self) -> Expected:
        """Return what tells the seconds of a trial; where one of its workload is still running, more than that one's."""
        known: dict[tuple[Hashable, bool], float] = {}
        now = self.clock()
        for worker in self._workers.values():
            running = list(worker.bundle.trials.values()) if worker.bundle is not None else []
            if running and not self.seconds.knows(running[0]):
                share = (now - worker.since) / len(running)
                key = running[0].workload, stacked(running)[0]
                known[key] = max(known.get(key, 0.0), share, self.seconds(running[0], key[1]))

        def expected(key: Hashable, trial: Trial, stacked: bool) -> float:
            if (key, stacked) not in known:
                known[key, stacked] = self.seconds(trial, stacked)
            return known[key, stacked]

        return expected

    def _rest(self, worker: _Worker, now: float, expected: Expected) -> float:
        if worker.bundle is None:
            return 0.0
        count = len(worker.bundle.trials)
        loading = 0.0 if worker.made else self.seconds.loading(worker.loads)
        needed = worker.bundle.seconds(expected) * max(0, count - worker.made) / count + loading
        taken = now - worker.since
        return max(needed - taken, OVERRUN * (taken - needed))
