"""How long trials take on machines that are not here: bundles in their order, replayed over so many workers. Nothing is run."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from harness.core.errors import BadOption, GiftbenchError
from harness.running.estimate import Seconds, stacked
from harness.running.scheduling import finish

if TYPE_CHECKING:
    from harness.boards.records import Record
    from harness.boards.trial import Trial
    from harness.running.costs import Costs

#: What records say of a processor that is no GPU begins so.
PROCESSOR = "CPU"
MACHINES = re.compile(r"(?P<name>[A-Za-z][\w.-]{0,39}):(?P<units>[1-9]\d{0,5})x(?P<count>[1-9]\d{0,5})", re.ASCII)
#: A run ends with its longest bundle where that takes so much of it.
NEARLY = 0.99


@dataclass(frozen=True)
class Machines:
    """Machines of one kind: `h200:8x16` are sixteen of eight GPUs, `cpu:2x4` four of two cores.

    Attributes:
        name: of the GPU, or `cpu`, which words of a processor's name may follow: `cpu-epyc`.
        units: GPUs, or cores, of each: so many workers has it.
        count: how many there are.
        price: of one machine for an hour; None where it is not known.
    """

    name: str
    units: int
    count: int
    price: float | None = None

    @classmethod
    def parse(cls, texts: Sequence[str], prices: Sequence[str] = ()) -> list[Machines]:
        """Return the machines that `NAME:UNITSxCOUNT` say, with prices that `NAME=AMOUNT` say. Raises BadOption."""
        amounts = dict(map(_price, prices))
        machines = []
        for text in texts:
            match = MACHINES.fullmatch(text)
            if match is None:
                raise BadOption(
                    "--machines: expected NAME:UNITSxCOUNT, as h200:8x16 (sixteen machines of eight GPUs) or cpu:2x4 "
                    f"(four of two cores), not {text[:60]!r}"
                )
            name = match["name"].lower()
            machines.append(cls(name, int(match["units"]), int(match["count"]), amounts.get(name)))
        unused = sorted(amounts.keys() - {each.name for each in machines})
        if unused:
            raise BadOption(f"--price: {unused[0][:60]!r} is none of the --machines")
        return machines

    def __str__(self) -> str:
        return f"{self.name}:{self.units}x{self.count}"

    @property
    def workers(self) -> int:
        """How many trials, or stacks of them, are trained at a time."""
        return self.units * self.count

    @property
    def device(self) -> str:
        """Return `cpu` or `cuda`."""
        return "cpu" if self._words[0] == "cpu" else "cuda"

    @property
    def _words(self) -> list[str]:
        return re.split(r"[-_]", self.name)

    def fits(self, device: str) -> bool:
        """Whether a record's device is of these."""
        return kind(device) == self.device and all(word in device.lower() for word in self._words)


def _price(text: str) -> tuple[str, float]:
    name, _, amount = text.rpartition("=")
    try:
        price = float(amount)
    except ValueError:
        price = math.nan
    if not name or not 0 <= price < math.inf:
        raise BadOption(f"--price: expected NAME=AMOUNT, of one machine for an hour, as h200=31.5, not {text[:60]!r}")
    return name.lower(), price


def kind(device: str) -> str:
    """Return whether a record's device is a `cpu` or `cuda`; empty where none is stated."""
    return "" if not device else "cpu" if device.startswith(PROCESSOR) else "cuda"


@dataclass(frozen=True)
class Basis:
    """Which records tell the seconds of trials: how many, of which devices; `same`: they are of the device asked for."""

    records: int
    devices: tuple[str, ...]
    same: bool


def learned(
    records: Iterable[Record], costs: Costs, device: str, fits: Callable[[str], bool]
) -> tuple[Callable[[Trial, bool], float], Basis]:
    """Return what tells the seconds of a trial on a device, and what that rests on.

    It is learned as a run does (`harness.running.estimate.Seconds`), from records of this device; where there are none, from
    those of all devices of its kind; where there are none of these either, cost is taken for seconds.

    Args:
        costs: on such a device.
        device: `cpu` or `cuda`.
        fits: whether a record's device is the one asked for.
    """
    alike = [record for record in records if kind(record.environment.device) == device and _tells(record, costs)]
    same = [record for record in alike if fits(record.environment.device)]
    seconds, taken = Seconds(costs), same or alike
    for record in taken:
        seconds.learn(record.trial, record)
    basis = Basis(len(taken), tuple(sorted({record.environment.device for record in taken})), bool(same))
    return seconds if seconds else seconds.cost, basis


def _tells(record: Record, costs: Costs) -> bool:
    """Whether a record tells what trials take: it says what its own took, and what that is to be held against is known."""
    if record.status == "failed" or record.timing.get("total", 0.0) <= 0:
        return False
    try:
        return costs(record.trial) > 0
    except (GiftbenchError, LookupError):  # of a dataset that the board does not name any more
        return False


@dataclass(frozen=True)
class Forecast:
    """How long bundles take: seconds of all workers together, until the last trial ends, and of the longest bundle."""

    work: float
    wall: float
    longest: float

    @property
    def bounded(self) -> bool:
        """Whether more workers would end no sooner, because of the longest bundle."""
        return self.longest > 0 and self.longest >= NEARLY * self.wall


def forecast(bundles: Sequence[Sequence[Trial]], seconds: Callable[[Trial, bool], float], workers: int) -> Forecast:
    """Return how long so many workers take for bundles, which they take in order."""
    shared = [stacked(bundle) for bundle in bundles]
    each = [sum(map(seconds, bundle, together)) for bundle, together in zip(bundles, shared, strict=True)]
    ends = finish(each, [0.0] * max(1, min(workers, len(each))))
    return Forecast(math.fsum(each), max(ends, default=0.0), max(each, default=0.0))
