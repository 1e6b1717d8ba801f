"""Two ways of doing a thing, timed in turn, and the table of how they compare.

    tox run -e benchmark -- --ratios ratios.md            # the table, in a file of its own
    tox run -e benchmark -- --ratios-into tests/benchmarks/README.md # between its markers, <!-- giftbench-benchmarks --> and the
    closing one

Machines are shared and noisy, so nothing is asserted of seconds: a round times all sides one after the other, a ratio is made of
two times of one round, and the table shows the median of the rounds and their range.

A benchmark puts a row into the table by `paired` or `in_turn`, or by itself: `benchmark.extra_info.update(...)` with the fields
of `Row`, of which `what`, `ratio`, `lowest`, `highest` and `threads` must be there.
"""

from __future__ import annotations

import re
import statistics
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import torch
from tabulate import tabulate

from harness.core.cores import cores
from tests.benchmarks.limits import Limit

ROUNDS, WARMUPS = 7, 2
NOTE = (
    "Median of rounds in which all sides were timed in turn, and their range. The last columns: what nothing here can be faster\n"
    "than, timed in the same rounds, and how much of its speed the side named first has; in brackets, why there is no such thing."
)


@dataclass(frozen=True)
class Row:
    """One line of the table.

    Attributes:
        what: what is compared, "ours / theirs".
        ratio: the median; an amount of `unit` where that is set.
        lowest, highest: the range over the rounds.
        threads: torch's threads while it was measured; 0 where they do not matter.
        rounds: how many there were.
        target: what it should be, as the table shows it ("≤ 1.05"), or "".
        unit: of an amount that is no ratio, such as "s".
        times: median seconds of both sides of a ratio, or ().
        limit: what nothing here can be faster than, or why there is no such thing to hold the row against.
        reached: the share of that limit's speed that the side named first has; 0 where there is none.
    """

    what: str
    ratio: float
    lowest: float
    highest: float
    threads: int
    rounds: int = 1
    target: str = ""
    unit: str = ""
    times: Sequence[float] = ()
    limit: str = ""
    reached: float = 0.0

    @classmethod
    def of(cls, what: str, mine: Sequence[float], its: Sequence[float], target: str = "", limit: Held | str = "") -> Row:
        """Compare the seconds of two sides, round by round; `limit` is what the first is held against, or why nothing is."""
        ratios = [a / b for a, b in zip(mine, its, strict=True)]
        times = (statistics.median(mine), statistics.median(its))
        median = statistics.median(ratios)
        held = (limit, 0.0) if isinstance(limit, str) else (limit.name, limit.reached(mine))
        return cls(what, median, min(ratios), max(ratios), torch.get_num_threads(), len(ratios), target, "", times, *held)


@dataclass(frozen=True)
class Held:
    """A limit by its name, and the seconds that a side's work takes at the least by it, round by round."""

    name: str
    seconds: Sequence[float]

    def reached(self, mine: Sequence[float]) -> float:
        """Return the median share of the limit's speed that a side has which took so many seconds."""
        return statistics.median(least / taken for least, taken in zip(self.seconds, mine, strict=True))


def in_turn(
    benchmark: Any,
    what: str,
    sides: Mapping[str, Callable[[], object]],
    ratios: Mapping[tuple[str, str], str],
    rounds: int = ROUNDS,
    warmups: int = WARMUPS,
    limits: Mapping[tuple[str, str], Limit | str] | None = None,
) -> None:
    """Time several sides one after the other in every round, and note ratios between them.

    Args:
        benchmark: pytest-benchmark's fixture; its own table shows the side that is named last.
        what: begins every row's name.
        sides: what to call, by name, in the order in which a round runs them. Sides that are close to each other, and whose ratio
            matters, are best named one after the other.
        ratios: pairs of names, and the target of each ratio or "".
        limits: what the first of a pair is held against: a limit, which is timed in each round too; the name of a side that does
            nothing but what it must; or, in other words, why there is nothing.
    """
    *others, last = sides
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    limits = limits or {}
    timed = {limit: [] for limit in limits.values() if isinstance(limit, Limit)}

    def before() -> None:
        for limit, least in timed.items():
            least.append(limit.pieces * _seconds(limit.run))
        for name in others:
            seconds[name].append(_seconds(sides[name]))

    benchmark.pedantic(sides[last], setup=before, rounds=rounds, warmup_rounds=warmups, iterations=1)
    seconds[last] = list(benchmark.stats.stats.data)

    def held(pair: tuple[str, str]) -> Held | str:
        limit = limits.get(pair, "")
        if isinstance(limit, Limit):
            return Held(limit.name, timed[limit][-rounds:])
        return Held(limit, seconds[limit][-rounds:]) if limit in sides else limit

    rows = [
        Row.of(f"{what}{mine} / {its}", seconds[mine][-rounds:], seconds[its][-rounds:], target, held((mine, its)))
        for (mine, its), target in ratios.items()
    ]
    benchmark.extra_info["ratios"] = [asdict(row) for row in rows]


def _seconds(run: Callable[[], object]) -> float:
    started = time.perf_counter()
    run()
    return time.perf_counter() - started


def paired(
    benchmark: Any,
    what: str,
    ours: Callable[[], object],
    other: Callable[[], object],
    rounds: int = ROUNDS,
    warmups: int = WARMUPS,
    target: str = "",
    limit: Limit | str = "",
) -> None:
    """Benchmark `ours`, timing `other` before each round, and note their ratio under the name `what`; `limit` is that of ours."""
    pair = ("ours", "other")
    in_turn(benchmark, "", {"other": other, "ours": ours}, {pair: target}, rounds, warmups, {pair: limit})
    (row,) = benchmark.extra_info.pop("ratios")
    benchmark.extra_info.update(row | {"what": what})


def rows_of(extra_infos: Iterable[Mapping[str, Any]]) -> list[Row]:
    """Return what benchmarks noted, in their order; a benchmark that noted no ratio has no row."""
    known = {field.name for field in fields(Row)}
    found: list[Row] = []
    for facts in extra_infos:
        noted = facts.get("ratios", [facts] if "ratio" in facts else [])
        found += [Row(**{name: value for name, value in row.items() if name in known}) for row in noted]
    return found


def machine() -> str:
    """Say what the times were measured on: processor, cores, threads, bf16 instructions, and the versions that matter."""
    from harness.running.executors.work import versions
    from harness.training.devices import device_name

    bf16 = "with" if has_bf16() else "without"
    packages = ", ".join(f"{name} {number}" for name, number in versions(("avalanche-lib",)).items())
    return f"{device_name('cpu')}, {cores()} cores, {torch.get_num_threads()} threads, {bf16} bf16 instructions; {packages}"


def has_bf16() -> bool:
    """Whether this CPU multiplies in bf16 (AVX-512 BF16 or AMX), so that autocast can pay."""
    probes = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
    return any(bool(getattr(torch.cpu, probe, bool)()) for probe in probes)


def markdown(rows: Sequence[Row], made_on: str) -> str:
    """Return the table, and below it the machine that it was made on."""
    return _table(_cells(rows), made_on)


def _cells(rows: Sequence[Row]) -> list[list[str]]:
    return [
        [_escaped(row.what), _amount(row), _range(row), row.target, _times(row), str(row.rounds), row.limit, _reached(row)]
        for row in rows
    ]


def _table(cells: Sequence[Sequence[str]], made_on: str) -> str:
    head = ("what", "ratio", "range", "target", "seconds, median", "rounds", "limit", "of it")
    table = tabulate(cells, head, "pipe", colalign=("left", *["right"] * 5, "left", "right"), disable_numparse=True)
    return f"{table}\n\n{NOTE} Measured on {made_on}.\n"


@dataclass(frozen=True)
class Place:
    """Where a table stands in a Markdown file: between two comments that bear its name."""

    name: str

    @property
    def start(self) -> str:
        return f"<!-- {self.name} -->"

    @property
    def end(self) -> str:
        return f"<!-- /{self.name} -->"

    def around(self, file: Path) -> tuple[str, str]:
        """Return what stands before and after the table in a file, with the markers.

        Raises: ValueError when the file or the markers are not there, the markers once and in order.
        """
        text = file.read_text(encoding="utf-8") if file.is_file() else ""
        found = re.fullmatch(f"(.*{re.escape(self.start)}).*({re.escape(self.end)}.*)", text, re.DOTALL)
        if not found or text.count(self.start) != 1 or text.count(self.end) != 1:
            raise ValueError(f"{file}: no place for the table; put the lines {self.start} and {self.end} where it shall stand")
        return found[1], found[2]

    def insert(self, file: Path, cells: Sequence[Sequence[str]], made_on: str, table: Callable[[list[list[str]]], str]) -> None:
        """Put a table of these rows there, as `table` makes it of them. Raises ValueError as `around` does.

        Of a table that says that it was "Measured on {made_on}.", rows that begin with none of the new ones' first cells stay.
        """
        before, after = self.around(file)
        held = file.read_text(encoding="utf-8")[len(before) :].removesuffix(after)
        lines = [line for line in held.splitlines() if line.startswith("|")][2:] if f"Measured on {made_on}.\n" in held else []
        rows = {row[0]: row for row in [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]}
        rows |= {row[0]: [*row] for row in cells}
        file.write_text(f"{before}\n\n{table([*rows.values()])}\n{after}", encoding="utf-8")


#: Where the table of the benchmarks stands.
PLACE = Place("giftbench-benchmarks")


def insert(file: Path, rows: Sequence[Row], made_on: str) -> None:
    """Put the table between the markers of a Markdown file, among the rows of the same machine that were not measured again.

    Raises: ValueError as `Place.around` does.
    """
    PLACE.insert(file, _cells(rows), made_on, lambda cells: _table(cells, made_on))


def _escaped(text: str) -> str:
    return text.replace("|", "\\|")


def _number(value: float, unit: str = "") -> str:
    """Two decimals, and more where these would leave less than two digits: 1.04, 0.31, 0.0046."""
    digits = 2
    while abs(value) * 10**digits < 10 and digits < 6 and value:
        digits += 1
    return f"{value:.{digits}f} {unit}".rstrip()


def _amount(row: Row) -> str:
    return _number(row.ratio, row.unit)


def _range(row: Row) -> str:
    return f"{_number(row.lowest)} to {_number(row.highest)}"


def _times(row: Row) -> str:
    return " / ".join(_number(seconds) for seconds in row.times)


def _reached(row: Row) -> str:
    return f"{100 * row.reached:.{0 if row.reached >= 0.095 else 1}f} %" if row.reached else "–"
