"""In which order, and in which bundles, a board's missing trials are handed to workers.

What a trial gives depends on neither; what a worker keeps between trials, and when they all are done, does.
"""

from __future__ import annotations

import heapq
from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from math import ceil
from typing import TYPE_CHECKING

from harness.running.scenario import named

if TYPE_CHECKING:
    from harness.boards.trial import Trial
    from harness.running.costs import Costs
    from harness.running.scenario import Scenario


#: Passes that are made step by step beside each other, at most; how many bundles there are a worker, at least, if that many pay.
BESIDE, BUNDLES_A_WORKER = 9, 3
#: The share of a trial's work that making its batches and asking its teacher has to be for it to be made beside others.
WORTH_SHARING = 0.04


@dataclass(frozen=True)
class Bundle:
    """Trials that one worker is given at once, and what they cost."""

    trials: tuple[Trial, ...]
    cost: float


def bundles(
    trials: Sequence[Trial],
    costs: Costs,
    device: str = "cpu",
    stack: int = 0,
    planned: Sequence[Trial] = (),
    workers: int = 1,
) -> list[list[Trial]]:
    """Return the trials in bundles, in the order in which workers should take them.

    The first bundles of a board try every student in each precision, scenario, loss and optimizer once, the dearest first: what
    is wrong shows early, and how long it all takes. The others are ordered by what they share (dataset, teacher, training step,
    distilled set), long ones before short ones, so that workers end together.

    What is trained in one pass follows from the board alone, neither from the number of workers nor from what a run that was cut
    off has left: float noise depends on it, and the same board is to give the same numbers. A stack of which some trials have a
    record is made whole again, so that its bundle holds these trials too.

    On the CPU, passes of the same seeds that are given the same (`Setup.stream`) make one bundle, where what they are given is
    a good part of their work: each gives the same to the bit, in whichever bundle. So do trials of a seed that are more than one
    training and ask the teacher the same (`harness.Scenario.asks`), one after the other. Where they make several bundles, as dear
    ones of other seeds come between these.

    Args:
        costs: tells what trials cost.
        device, stack: as `harness.running.grouping.group` takes them.
        planned: all trials of the board, in order, when some have a record already.
        workers: how many will take them: no bundle holds more than a part of the work of one.
    """
    passes = [*_bundled(trials, costs, device, stack, planned or trials)]
    together = [*_apart([*_sharing(passes, costs, stack, workers)], costs, stack)] if device == "cpu" else passes
    return [list(bundle.trials) for bundle in _ordered(together)]


def share(trials: Sequence[Trial], costs: Costs, device: str, stack: int, index: int, count: int) -> list[Trial]:
    """Return the trials of one of a board's `count` shares, in the board's order: every `count`-th bundle, from `index` on.

    All shares together are the board, and none has a trial of another's, where all are asked for on machines of the same kind: on
    a GPU other trials may be bundled than on a CPU. What has a record already plays no part, so that a share stays what it is.
    """
    ids = {trial.id for bundle in bundles(trials, costs, device, stack, workers=count)[index::count] for trial in bundle}
    return [trial for trial in trials if trial.id in ids]


def _bundled(trials: Sequence[Trial], costs: Costs, device: str, stack: int, planned: Sequence[Trial]) -> Iterator[Bundle]:
    """Yield bundles: of a scenario that trains seeds together by itself, of one training pass, or of one trial."""
    from harness.running.grouping import limit

    def bundle(members: Sequence[Trial]) -> Bundle:
        return Bundle(tuple(members), sum(map(costs, members)))

    groups: dict[tuple[str, str], list[Trial]] = defaultdict(list)
    key, missing = _keys(costs, device, stack), {trial.id for trial in trials}
    for trial in planned:
        if trial.id in missing or key(trial)[0] == "stack":
            groups[key(trial)].append(trial)
    for (how, _), members in groups.items():
        if how == "seeds":
            yield bundle(members)
        elif how in ("stack", "beside"):
            chunks = _evenly(members, limit(members[0], device, stack))
            yield from (bundle(chunk) for chunk in chunks if any(trial.id in missing for trial in chunk))
        else:
            yield from (bundle([trial]) for trial in members)


def _sharing(passes: Sequence[Bundle], costs: Costs, stack: int, workers: int) -> Iterator[Bundle]:
    """Yield bundles of passes that are made step by step beside each other or in turn, and the other passes."""
    groups: dict[Hashable, list[Bundle]] = defaultdict(list)
    for number, bundle in enumerate(passes):
        key, _ = _shared_with(bundle, costs, stack)
        groups[number if key is None else key].append(bundle)
    most = sum(bundle.cost for bundle in passes) / (workers * BUNDLES_A_WORKER)
    for group in groups.values():
        parts: list[list[Bundle]] = []
        for bundle in sorted(group, key=lambda bundle: -bundle.cost):
            part = next((part for part in parts if _fits(bundle, part, most)), None)
            if part is None:
                parts.append([bundle])
            else:
                part.append(bundle)
        for part in parts:
            _, shared = _shared_with(part[0], costs, stack)
            cost = sum(bundle.cost for bundle in part) - (len(part) - 1) * shared
            yield Bundle(tuple(trial for bundle in part for trial in bundle.trials), cost)


def _apart(given: Sequence[Bundle], costs: Costs, stack: int) -> Iterator[Bundle]:
    """Yield bundles so that those that ask a teacher the same are not begun together: the later ones read what it has said."""
    groups: dict[Hashable, list[Bundle]] = defaultdict(list)
    for number, bundle in enumerate(given):
        key, _ = _shared_with(bundle, costs, stack)
        groups[number if key is None else key].append(bundle)
    rows = [*groups.values()]
    for turn in range(max(map(len, rows), default=0)):
        first = turn % len(rows)
        yield from (group[turn] for group in (*rows[first:], *rows[:first]) if turn < len(group))


def _shared_with(bundle: Bundle, costs: Costs, stack: int) -> tuple[Hashable | None, float]:
    """Return a key of passes that share what they are given, None where that does not pay, and what each but one is spared."""
    first = bundle.trials[0]
    scenario = _scenario(first.scenario)
    numbers = frozenset(trial.seed for trial in bundle.trials)
    if scenario.runs_bundles:
        return None, 0.0
    if scenario.trains_one_student:
        pays = stack != 1 and costs.given(first) >= WORTH_SHARING * costs(first)
        return (first.setup.stream, numbers) if pays else None, 0.0
    asked = costs.asked(first)
    return (first.scenario, scenario.asks(first), numbers) if asked >= WORTH_SHARING * costs(first) else None, asked


def _fits(bundle: Bundle, part: Sequence[Bundle], most: float) -> bool:
    """Whether a pass may be made beside others: not beside one that it would be stacked with, nor too many, nor too long."""
    alike = {other.trials[0].setup.together for other in part if len(other.trials) > 1 or len(bundle.trials) > 1}
    return (
        bundle.trials[0].setup.together not in alike
        and len(part) < BESIDE
        and sum(other.cost for other in part) + bundle.cost <= most
    )


def _evenly(trials: Sequence[Trial], most: int) -> Iterator[Sequence[Trial]]:
    """Yield as few parts as can be of at most `most` trials, whose sizes differ by one at most."""
    each, longer = divmod(len(trials), count := ceil(len(trials) / most))
    at = 0
    for part in range(count):
        end = at + each + (part < longer)
        yield trials[at:end]
        at = end


def _keys(costs: Costs, device: str, stack: int) -> Callable[[Trial], tuple[str, str]]:
    """Return what tells how a trial is bundled, and with which others; looked up once a setup."""
    from harness.running.grouping import group

    known: dict[str, tuple[str, str]] = {}

    def key(trial: Trial) -> tuple[str, str]:
        setup = trial.setup
        if setup.hash not in known:
            facts = costs.datasets[setup.dataset.digest]
            scenario = _scenario(setup.scenario)
            beside = scenario.side_by_side and device != "cpu"
            together = scenario.trains_one_student or beside
            stacked = group(trial, device, stack, facts.shape, facts.classes) if together else ""
            seeds = setup.hash if scenario.runs_bundles else ""
            how = "beside" if beside else "stack"
            known[setup.hash] = ("seeds", seeds) if seeds else (how, stacked) if stacked else ("alone", "")
        return known[setup.hash]

    return key


@cache
def _scenario(name: str) -> Scenario:
    return named(name)


# -- order -------------------------------------------------------------------------------------------------------------------


def finish(seconds: Sequence[float], free: Sequence[float]) -> list[float]:
    """Return when each bundle ends, when workers that become free at these times take them in order."""
    workers, ends = [*free], []
    heapq.heapify(workers)
    for needed in seconds:
        ends.append(workers[0] + needed)
        heapq.heapreplace(workers, ends[-1])
    return ends


def _ordered(given: Sequence[Bundle]) -> list[Bundle]:
    pilots: list[Bundle] = []
    rest: list[Bundle] = []
    tried: set[Hashable] = set()
    for bundle in sorted(given, key=lambda bundle: -bundle.cost):  # stable: as planned where costs are equal
        new = {part for trial in bundle.trials for part in trial.setup.proves} - tried
        tried |= new
        (pilots if new else rest).append(bundle)
    return [*pilots, *_shared(rest)]


def _shared(given: Sequence[Bundle], level: int = 0) -> list[Bundle]:
    """Order bundles by what they share, level by level; as they come, dearest first, where they share all."""
    if len(given) < 2 or level == len(given[0].trials[0].setup.neighbours):
        return [*given]
    groups: dict[Hashable, list[Bundle]] = defaultdict(list)  # in the order of their dearest bundles
    for bundle in given:
        groups[bundle.trials[0].setup.neighbours[level]].append(bundle)
    return [bundle for group in groups.values() for bundle in _shared(group, level + 1)]


# -- what may be let go ------------------------------------------------------------------------------------------------------


class Needed:
    """Which datasets, teachers and distilled sets bundles still need that no worker has taken yet, by digest."""

    def __init__(self, given: Iterable[Sequence[Trial]]) -> None:
        self._waiting = Counter(digest for bundle in given for digest in digests(bundle))

    def take(self, bundle: Sequence[Trial]) -> None:
        """Note that a worker has taken a bundle."""
        self._waiting.subtract(digests(bundle))

    def put(self, bundle: Sequence[Trial]) -> None:
        """Note that a bundle has come back."""
        self._waiting.update(digests(bundle))

    def __contains__(self, digest: str) -> bool:
        return self._waiting[digest] > 0


def digests(bundle: Sequence[Trial]) -> set[str]:
    """Return the digests of what a bundle's trials rest on."""
    return {digest for trial in bundle for digest in (trial.dataset.digest, trial.distilled, *trial.teacher)}
