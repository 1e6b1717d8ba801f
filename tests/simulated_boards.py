"""Boards on digits, and runs of them that take no time: each trial takes seconds that are drawn."""

from __future__ import annotations

import heapq
import math
import random
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import product
from typing import Any

from harness.boards.protocol import Protocol
from harness.boards.records import Record
from harness.boards.trial import Trial
from harness.core.spec import Spec
from harness.running.costs import Costs, Facts
from harness.running.estimate import Estimate
from harness.running.scenario import trainings
from harness.running.scheduling import bundles

TEACHERS = {("teacher",): [Spec(name="convnet3", options={"width": 32})]}
COSTS = Costs("cpu", {"digits": Facts((1, 16, 16), 10, 500)}, TEACHERS, trainings)
MODELS = ("convnet1(width=8)", "convnet2(width=16)", "convnet3(width=32)", "convnet3(width=64)", "convnet2(width=96)", "convnet4")


def trial(model: str = "convnet3(width=32)", seed: int = 0, images: int = 100, loss: str = "gift", **changes: Any) -> Trial:
    """A trial on digits; `changes` are of its fields, and `epochs` of its protocol."""
    epochs, batch = changes.pop("epochs", 100), 10 if images <= 10 else 50
    fields: dict[str, Any] = {
        "scenario": "loss-comparison",
        "dataset": {"name": "digits", "digest": "digits"},
        "distilled": f"set of {images}",
        "teacher": () if loss == "ce" else ("teacher",),
        "model": Spec.model_validate(model),
        "loss": Spec(name=loss),
        "optimizer": Spec(name="adamw"),
        "protocol": Protocol(name="quick", epochs=epochs, batch_size=batch, evaluations=1),
        "seed": seed,
        "labels": {"images": images},
    }
    return Trial(**fields | changes)


def streams(steps: Sequence[int], strategies: Sequence[str] = ("GDumb",), **changes: Any) -> list[Trial]:
    """Class-incremental trials, three seeds each."""
    return [
        trial(scenario="class-incremental", seed=seed, options={"steps": n, "strategy": {"name": name}}, **changes)
        for n, name, seed in product(steps, strategies, range(3))
    ]


def crossed(**axes: Sequence[Any]) -> list[Trial]:
    """All combinations, three seeds each."""
    return [trial(seed=seed, **dict(zip(axes, values, strict=True))) for *values, seed in product(*axes.values(), range(3))]


TAUGHT = ("gift", "kl", "mse", "soft_ce", "kd", "dkd", "nkd", "wsld")
BOARDS: dict[str, list[Trial]] = {
    "one kind": crossed(loss=TAUGHT, optimizer=[Spec(name="adamw"), Spec(name="adam")]),
    "several students": crossed(model=MODELS, loss=TAUGHT[:4]),
    "several sizes": crossed(model=MODELS[:4], images=(10, 100, 500), epochs=(20, 100), loss=("gift", "kl")),
    "several scenarios": crossed(loss=("gift", "kl", "ce"), images=(10, 100), epochs=(50, 100)) + streams((2, 5, 10), images=100),
    "streams": streams((2, 5, 10), ("GDumb", "Naive", "Replay"), loss="ce") + streams((2, 5, 10), ("GDumb", "Naive", "Replay")),
}


@dataclass
class Run:
    """A simulated run: what it is made of, its time, its estimate, and the students of the trials that have ended."""

    trials: list[Trial]
    jobs: int = 2
    stack: int = 1
    beside: bool = False
    noise: float = 0.1
    load: float = 0.0
    start: float = 0.0
    seed: int = 0
    now: float = 0.0
    order: list[list[Trial]] = field(default_factory=list)
    met: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.random = random.Random(self.seed)
        self.factors: dict[Any, float] = {}
        self.order = bundles(self.trials, COSTS, "cpu", self.stack, workers=self.jobs if self.beside else 10_000)
        self.estimate = Estimate(COSTS, self.order, self.jobs, clock=lambda: self.now)

    def factor(self, key: Any, spread: float) -> float:
        if key not in self.factors:
            self.factors[key] = math.exp(self.random.gauss(0, spread))
        return self.factors[key]

    def seconds(self, given: Trial) -> float:
        """By how much a student and a kind of trial differ from their cost is drawn once; noise, for every trial."""
        usual = 3 * COSTS(given) * self.factor(str(given.model), 0.2) * self.factor(given.scenario, 0.2)
        return usual * self.factor(given.workload, 0.1) * math.exp(self.random.gauss(0, self.noise))

    def events(self) -> Iterator[int]:
        """Play the run; yield how many trials have ended, whenever one has."""
        queue, ended = [*self.order], 0
        workers = [(self.start, number) for number in range(self.jobs)]
        loaded: dict[int, set[str]] = {number: set() for number in range(self.jobs)}
        pending: list[tuple[float, int, int, list[tuple[Trial, float, float]]]] = []
        while queue or pending:
            if queue and workers and (not pending or workers[0][0] <= pending[0][0]):
                self.now, worker = heapq.heappop(workers)
                bundle = queue.pop(0)
                for one in bundle:
                    self.estimate.started(one, worker)
                new = {bundle[0].scenario, *bundle[0].teacher} - loaded[worker]
                loaded[worker] |= new
                passes = Counter(one.setup.together for one in bundle)
                beside = 0.8 if len(passes) > 1 else 1.0
                times = [self.seconds(one) * beside * (0.6 if passes[one.setup.together] > 1 else 1.0) for one in bundle]
                around = self.load * len(new) / len(bundle)
                if len(passes) == 1:
                    times = [sum(times) / len(times)] * len(times)
                end = self.now + sum(times) + around * len(bundle)
                done = [(one, inside, inside + around) for one, inside in zip(bundle, times, strict=True)]
                heapq.heappush(pending, (end, len(queue), worker, done))
                continue
            self.now, _, worker, done = heapq.heappop(pending)
            for one, inside, total in done:
                count = sum(one.setup.together == other.setup.together for other, _, _ in done)
                together = {"together": count} if count > 1 else {}
                timing = {"train": 0.9 * inside, "evaluate": 0.1 * inside, "total": total}
                self.estimate.ended(one, Record.of(one, "done", timing=timing, environment=together), worker)
                ended += 1
                self.met.add(str(one.model))
                yield ended
            heapq.heappush(workers, (self.now, worker))
