"""What changes in a leaderboard when records join it."""

from __future__ import annotations

import pytest

from harness.leaderboard.files import table_csv
from harness.leaderboard.ranks import Scale, cells, changes, scales
from harness.leaderboard.tables import pivot

HEAD = "scenario,table,method,loss,optimizer,n,mean,std\n"
ROWS = ["a,digits,RDED,gift,adamw,3,80.0000,1\n", "a,digits,RDED,kl,adamw,3,70.0000,1\n", "a,digits,RDED,gift,sgd,3,60.0000,1\n"]


def test_the_same_table_changes_nothing() -> None:
    assert changes(HEAD + "".join(ROWS), HEAD + "".join(ROWS[::-1]), {}) == "No cell of the leaderboard changes.\n"


def test_a_loss_that_overtakes_another_is_told_for_both_and_for_no_other_column() -> None:
    better = ROWS[1].replace("3,70.0000", "5,85.0000")
    said = changes(HEAD + "".join(ROWS), HEAD + ROWS[0] + better + ROWS[2], {})
    assert said.startswith("0 cells are new, 2 change, 2 of them their place; 0 go.")
    assert "| a, digits, RDED, adamw | gift | 80.0 (n = 3) → 80.0 (n = 3) | **1 → 2** |" in said
    assert "| a, digits, RDED, adamw | kl | 70.0 (n = 3) → 85.0 (n = 5) | **2 → 1** |" in said
    assert "sgd" not in said


def test_cells_that_come_and_go_are_told_whatever_their_labels_hold() -> None:
    odd = 'a,digits,"x|<b>",ce,adamw,1,50.0000,0\n'
    said = changes(HEAD + "".join(ROWS), HEAD + ROWS[0] + ROWS[1] + odd, {})
    assert said.startswith("1 cells are new, 0 change, 0 of them their place; 1 go.")
    assert r"x\|\<b>" in said
    assert "60.0 → gone" in said
    assert changes("", HEAD + odd, {}).startswith("1 cells are new")


def test_where_the_lowest_is_best_the_lower_one_has_the_first_place() -> None:
    lower = {("a", "digits"): ("optimizer", {"adamw": Scale(lowest=True, decimals=2)})}
    better = ROWS[0].replace("80.0000", "69.9960")
    said = changes(HEAD + "".join(ROWS), HEAD + better + ROWS[1] + ROWS[2], lower)
    assert said.startswith("0 cells are new, 1 change, 1 of them their place; 0 go.")  # equal as printed: both are first
    assert "| gift | 80.00 (n = 3) → 70.00 (n = 3) | **2 → 1** |" in said
    assert "| kl |" not in said


@pytest.mark.parametrize("lowest", [(), True, ("adamw",), ("sgd", "adamw")])
def test_places_are_those_that_the_table_itself_ranks_by(planter, lowest) -> None:
    for loss, accuracy in (("gift", 85.0), ("kl", 80.0), ("ce", 90.0)):
        for optimizer in ("sgd", "adamw"):
            planter.cell(accuracy, accuracy + 1, accuracy + 2, loss=loss, optimizer=optimizer)
    tables = [("a", table) for table in pivot(planter.frame, lowest=lowest)]
    ranks = {(cell["loss"], cell["optimizer"]): cell["rank"] for _, table in tables for cell in table.cells.to_dict("records")}
    placed = [(dict(cell.labels), cell.place) for cell in cells(table_csv(tables), scales(tables)).values()]
    assert len(placed) == len(ranks) == 6
    assert {(labels["loss"], labels["optimizer"]): place % 3 for labels, place in placed} == ranks
