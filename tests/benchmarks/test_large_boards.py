"""Boards of 1,000 and 10,000 trials: planned, rendered, and their records read and written.

    pytest tests/benchmarks/test_large_boards.py --benchmark-only -p no:xdist

Sets and teacher lie ready, and so do the libraries: `giftbench table` and `giftbench run`, as they are typed, are timed with
everything that they import. Records are written with their fsync, into a folder that holds as many already as the board has.
The ratios are of the time a trial at 10,000 to that at 1,000, taken in turn.
"""

from __future__ import annotations

import multiprocessing
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from harness.boards.records import RecordStore
from harness.leaderboard.render import render
from harness.running.scenario import named
from tests.benchmarks.ratios import Row
from tests.large_boards import fill, large_board, parts_of, planned

SMALL, LARGE = 1_000, 10_000
ROUNDS = 3
#: Why no limit stands beside these rows.
NO_LIMIT = "(Python and files: no arithmetic, little memory)"
WRITTEN = 200  # records of each board that are written again
GIFTBENCH = Path(sys.executable).parent / "giftbench"


@pytest.fixture(scope="module")
def boards(tmp_path_factory: pytest.TempPathFactory) -> dict[int, Path]:
    """Return the file of a board of each size, with a record of every trial."""
    files = {}
    for size in (SMALL, LARGE):
        files[size] = large_board(tmp_path_factory.mktemp("boards") / str(size), size)
        fill(files[size], planned(files[size]))
    return files


def grown(
    benchmark: Any, what: str, work: Callable[[Path], object], boards: dict[int, Path], counts: dict[int, int], target: str = ""
) -> list[Row]:
    """Time `work` on both boards in turn; note and return two rows.

    Args:
        what: is done to how many trials.
        counts: how many trials (or records) `work` goes through on each board.
        target: of the seconds that the large board takes.
    """
    small: list[float] = []

    def before() -> None:
        started = time.perf_counter()
        work(boards[SMALL])
        small.append(time.perf_counter() - started)

    benchmark.pedantic(lambda: work(boards[LARGE]), setup=before, rounds=ROUNDS, warmup_rounds=1, iterations=1)
    large = list(benchmark.stats.stats.data)
    each = [[seconds / counts[size] for seconds in taken] for size, taken in ((LARGE, large), (SMALL, small[-ROUNDS:]))]
    ratio = Row.of(f"{what}: a trial at {LARGE:,} / at {SMALL:,}", each[0], each[1], limit=NO_LIMIT)
    rows = [amount(what, large, "s", target), ratio]
    benchmark.extra_info["ratios"] = [asdict(row) for row in rows]
    return rows


def amount(what: str, values: list[float], unit: str, target: str = "") -> Row:
    """Return a row of an amount: the median of `values` and their range."""
    ordered = sorted(values)
    return Row(what, ordered[len(ordered) // 2], ordered[0], ordered[-1], 0, len(values), target, unit, limit=NO_LIMIT)


def rate(benchmark: Any, what: str, rows: list[Row], count: int) -> None:
    """Note how many records a second there were, too; `rows` are those of `grown`."""
    seconds = rows[0]
    a_second = amount(what, [count / taken for taken in (seconds.ratio, seconds.lowest, seconds.highest)], "a second")
    benchmark.extra_info["ratios"] = [asdict(row) for row in (a_second, rows[1])]


def every(boards: dict[int, Path]) -> dict[int, int]:
    return {size: size for size in boards}


@pytest.mark.benchmark(group="large boards")
class TestLargeBoards:
    def test_planning(self, benchmark: Any, boards: dict[int, Path]) -> None:
        def plan(file: Path) -> None:
            parts = parts_of(file)
            parts.rehearse()
            parts.plan()

        grown(benchmark, f"plan {LARGE:,} trials", plan, boards, every(boards), "< 3 s")

    def test_rendering(self, benchmark: Any, boards: dict[int, Path]) -> None:
        with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as own:  # without torch, as `giftbench table` is

            def rendered(file: Path) -> None:
                own.submit(render, file, named).result()

            grown(benchmark, f"render {LARGE:,} records, figures too", rendered, boards, every(boards), "< 5 s")

    def test_reading_records(self, benchmark: Any, boards: dict[int, Path]) -> None:
        def read(file: Path) -> None:
            RecordStore(file.parent / "records").read()

        rate(benchmark, "records read", grown(benchmark, "read records", read, boards, every(boards)), LARGE)

    def test_writing_records(self, benchmark: Any, boards: dict[int, Path]) -> None:
        stores = {file: RecordStore(file.parent / "records") for file in boards.values()}
        again = {file: store.read()[:WRITTEN] for file, store in stores.items()}

        def write(file: Path) -> None:
            for record in again[file]:
                stores[file].write(record)

        rate(
            benchmark,
            "records written",
            grown(benchmark, "write records", write, boards, dict.fromkeys(boards, WRITTEN)),
            WRITTEN,
        )


@pytest.fixture
def command(boards: dict[int, Path]) -> Callable[[str, int], None]:
    """Return what runs `giftbench` on a board, in a process of its own, as it is typed."""

    def run(word: str, size: int) -> None:
        where = [str(GIFTBENCH), word, str(boards[size])]
        done = subprocess.run(where, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False)
        assert done.returncode == (1 if word == "run" else 0)  # some of the records are of failed trials, which `run` tells

    return run


@pytest.mark.benchmark(group="large boards, whole commands")
@pytest.mark.parametrize(("word", "what"), [("table", "giftbench table"), ("run", "giftbench run, all have a record, again")])
def test_a_whole_command(benchmark: Any, command: Callable[[str, int], None], word: str, what: str) -> None:
    if word == "run":
        command(word, LARGE)  # which plans and renders: a run that has done so once finds both noted
    benchmark.pedantic(lambda: command(word, LARGE), rounds=1, warmup_rounds=0, iterations=1)
    benchmark.extra_info["ratios"] = [asdict(amount(f"{what} on {LARGE:,} records", list(benchmark.stats.stats.data), "s"))]
