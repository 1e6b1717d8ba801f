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

ROUNDS, WARMUPS = 7, 2
NOTE = "Median of rounds in which all sides were timed in turn, and their range."
START, END = "<!-- giftbench-benchmarks -->", "<!-- /giftbench-benchmarks -->"


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

    @classmethod
    def of(cls, what: str, mine: Sequence[float], its: Sequence[float], target: str = "") -> Row:
        """Compare the seconds of two sides, round by round."""
        ratios = [a / b for a, b in zip(mine, its, strict=True)]
        times = (statistics.median(mine), statistics.median(its))
        median = statistics.median(ratios)
        return cls(what, median, min(ratios), max(ratios), torch.get_num_threads(), len(ratios), target, times=times)


def in_turn(
    benchmark: Any,
    what: str,
    sides: Mapping[str, Callable[[], object]],
    ratios: Mapping[tuple[str, str], str],
    rounds: int = ROUNDS,
    warmups: int = WARMUPS,
) -> None:
    """Time several sides one after the other in every round, and note ratios between them.

    Args:
        benchmark: pytest-benchmark's fixture; its own table shows the side that is named last.
        what: begins every row's name.
        sides: what to call, by name, in the order in which a round runs them. Sides that are close to each other, and whose ratio
            matters, are best named one after the other.
        ratios: pairs of names, and the target of each ratio or "".
    """
    *others, last = sides
    seconds: dict[str, list[float]] = {name: [] for name in sides}

    def before() -> None:
        for name in others:
            started = time.perf_counter()
            sides[name]()
            seconds[name].append(time.perf_counter() - started)

    benchmark.pedantic(sides[last], setup=before, rounds=rounds, warmup_rounds=warmups, iterations=1)
    seconds[last] = list(benchmark.stats.stats.data)
    rows = [
        Row.of(f"{what}{mine} / {its}", seconds[mine][-rounds:], seconds[its][-rounds:], target)
        for (mine, its), target in ratios.items()
    ]
    benchmark.extra_info["ratios"] = [asdict(row) for row in rows]


def paired(
    benchmark: Any,
    what: str,
    ours: Callable[[], object],
    other: Callable[[], object],
    rounds: int = ROUNDS,
    warmups: int = WARMUPS,
    target: str = "",
) -> None:
    """Benchmark `ours`, timing `other` before each round, and note their ratio under the name `what`."""
    in_turn(benchmark, "", {"other": other, "ours": ours}, {("ours", "other"): target}, rounds, warmups)
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
    from harness.running.executors.work import device_name, versions

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
    return [[_escaped(row.what), _amount(row), _range(row), row.target, _times(row), str(row.rounds)] for row in rows]


def _table(cells: Sequence[Sequence[str]], made_on: str) -> str:
    head = ("what", "ratio", "range", "target", "seconds, median", "rounds")
    table = tabulate(cells, head, "pipe", colalign=("left", *["right"] * 5), disable_numparse=True)
    return f"{table}\n\n{NOTE} Measured on {made_on}.\n"


def place(file: Path) -> tuple[str, str]:
    """Return what stands before and after the table in a Markdown file, with the markers.

    Raises: ValueError when the file or the markers are not there, the markers once and in order.
    """
    text = file.read_text(encoding="utf-8") if file.is_file() else ""
    found = re.fullmatch(f"(.*{re.escape(START)}).*({re.escape(END)}.*)", text, re.DOTALL)
    if not found or text.count(START) != 1 or text.count(END) != 1:
        raise ValueError(f"{file}: no place for the table; put the lines {START} and {END} where it shall stand")
    return found[1], found[2]


def insert(file: Path, rows: Sequence[Row], made_on: str) -> None:
    """Put the table between the markers of a Markdown file. Raises ValueError as `place` does.

    Of a table that was made on the same machine, the rows of benchmarks that were not run again stay.
    """
    before, after = place(file)
    held = file.read_text(encoding="utf-8")[len(before) :].removesuffix(after)
    lines = [line for line in held.splitlines() if line.startswith("|")][2:] if f"Measured on {made_on}.\n" in held else []
    cells = {row[0]: row for row in [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]}
    cells |= {row[0]: row for row in _cells(rows)}
    file.write_text(f"{before}\n\n{_table([*cells.values()], made_on)}\n{after}", encoding="utf-8")


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
