"""The table of ratios: what benchmarks note, how it is shown, and where it is put."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.benchmarks.limits import Limit
from tests.benchmarks.ratios import PLACE, Row, in_turn, insert, machine, markdown, paired, rows_of

START, END = PLACE.start, PLACE.end
ROWS = [
    Row("ours / naive", 0.4, 0.3, 0.5, 2, 7, "≤ 0.80", times=(0.2, 0.5), limit="matrix product", reached=0.931),
    Row("DSA / step", 0.00456, 0.004, 0.01, 2, 15),
    Row("10,000 trials planned", 2.5, 2.4, 2.75, 2, 3, "≤ 3 s", "s", limit="(no arithmetic)"),
]


def test_a_ratio_is_the_median_over_rounds_not_of_the_medians() -> None:
    row = Row.of("a / b", [1.0, 9.0, 3.0], [1.0, 3.0, 6.0], "≤ 1")
    assert (row.ratio, row.lowest, row.highest, row.rounds) == (1.0, 0.5, 3.0, 3)
    assert tuple(row.times) == (3.0, 3.0)


class Bench:
    """As much of pytest-benchmark's fixture as rounds in turn need."""

    def __init__(self) -> None:
        self.extra_info: dict[str, Any] = {}

    def pedantic(self, run: Callable[[], object], setup: Callable[[], object], rounds: int, **_: object) -> None:
        data = []
        for _ in range(rounds):
            setup()
            began = time.perf_counter()
            run()
            data.append(time.perf_counter() - began)
        self.stats = SimpleNamespace(stats=SimpleNamespace(data=data))


def test_a_side_is_held_against_a_limit_that_is_timed_in_the_same_rounds(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [0.0]
    monkeypatch.setattr(time, "perf_counter", lambda: clock[0])

    def takes(*seconds: float) -> Callable[[], None]:
        each = iter(seconds)
        return lambda: clock.__setitem__(0, clock[0] + next(each))

    bench = Bench()
    limit = Limit("matrix product", takes(1.0, 2.0, 1.0), pieces=3)
    sides = {"bare": takes(4.0, 4.0, 4.0), "naive": takes(8.0, 8.0, 8.0), "ours": takes(5.0, 10.0, 5.0)}
    held: dict[tuple[str, str], Limit | str] = {("ours", "bare"): limit, ("ours", "naive"): "bare"}
    in_turn(bench, "a job: ", sides, {("ours", "bare"): "", ("ours", "naive"): "", ("naive", "bare"): ""}, 3, 0, held)
    rows = rows_of([bench.extra_info])
    assert [(row.what, row.limit, round(row.reached, 3)) for row in rows] == [
        ("a job: ours / bare", "matrix product", 0.6),  # 3 x 1 of 5, 3 x 2 of 10, 3 x 1 of 5
        ("a job: ours / naive", "bare", 0.8),  # 4 of 5, 4 of 10, 4 of 5
        ("a job: naive / bare", "", 0.0),
    ]


def test_a_reason_stands_where_nothing_can_be_held_against_a_row() -> None:
    bench = Bench()
    paired(bench, "a / b", lambda: None, lambda: None, rounds=2, warmups=0, limit="(no arithmetic)")
    (row,) = rows_of([bench.extra_info])
    assert (row.limit, row.reached) == ("(no arithmetic)", 0.0)


def test_rows_are_what_benchmarks_noted_however_they_did() -> None:
    noted = [
        {"what": "a / b", "ratio": 1.0, "lowest": 0.9, "highest": 1.1, "threads": 2, "something": "else"},
        {},
        {"ratios": [{"what": "c / d", "ratio": 2.0, "lowest": 1.0, "highest": 3.0, "threads": 1, "rounds": 5}]},
    ]
    assert rows_of(noted) == [Row("a / b", 1.0, 0.9, 1.1, 2), Row("c / d", 2.0, 1.0, 3.0, 1, 5)]


def test_the_table_has_a_line_for_every_row_and_says_where_it_was_made() -> None:
    lines = markdown(ROWS, "a machine").splitlines()
    assert len({len(line) for line in lines[:5]}) == 1, "columns are aligned"
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:5]]
    assert cells == [
        ["ours / naive", "0.40", "0.30 to 0.50", "≤ 0.80", "0.20 / 0.50", "7", "matrix product", "93 %"],
        ["DSA / step", "0.0046", "0.0040 to 0.010", "", "", "15", "", "–"],
        ["10,000 trials planned", "2.50 s", "2.40 to 2.75", "≤ 3 s", "", "3", "(no arithmetic)", "–"],
    ]
    assert lines[-1].endswith("Measured on a machine.")


def test_the_machine_is_named_with_its_threads_and_versions() -> None:
    found = machine()
    assert found.startswith("CPU ")
    assert all(word in found for word in ("cores", "threads", "torch ", "kornia ", "avalanche-lib "))


def test_the_table_takes_the_place_of_the_one_of_another_machine(tmp_path: Path) -> None:
    file = tmp_path / "README.md"
    file.write_text(f"before\n\n{START}\n{END}\n\nafter\n", encoding="utf-8")
    insert(file, ROWS, "a machine")
    insert(file, ROWS[:1], "another machine")
    text = file.read_text(encoding="utf-8")
    assert text == f"before\n\n{START}\n\n{markdown(ROWS[:1], 'another machine')}\n{END}\n\nafter\n"


def test_rows_take_the_place_of_those_of_their_name_from_the_same_machine(tmp_path: Path) -> None:
    file = tmp_path / "README.md"
    file.write_text(f"{START}\n{END}\n", encoding="utf-8")
    insert(file, [*ROWS, replace(ROWS[0], what="a | b")], "a machine")
    again, added = replace(ROWS[1], rounds=3), replace(ROWS[0], what="new")
    insert(file, [again, added], "a machine")
    rows = [ROWS[0], again, *ROWS[2:], replace(ROWS[0], what="a | b"), added]
    assert file.read_text(encoding="utf-8") == f"{START}\n\n{markdown(rows, 'a machine')}\n{END}\n"


@pytest.mark.parametrize("text", ["no markers", START, f"{END} {START}", f"{START}{END}{START}{END}", f"{START}{END}{END}"])
def test_a_file_without_a_place_for_the_table_is_left_as_it_is(tmp_path: Path, text: str) -> None:
    file = tmp_path / "README.md"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(ValueError, match="no place for the table"):
        insert(file, ROWS, "a machine")
    assert file.read_text(encoding="utf-8") == text


def test_a_file_that_is_not_there_is_not_made(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no place for the table"):
        insert(tmp_path / "none.md", ROWS, "a machine")
    assert not [*tmp_path.iterdir()]
