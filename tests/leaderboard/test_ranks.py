"""What changes in a leaderboard when records join it."""

from __future__ import annotations

from harness.leaderboard.ranks import changes

HEAD = "scenario,table,method,loss,optimizer,n,mean,std\n"
ROWS = ["a,digits,RDED,gift,adamw,3,80.0000,1\n", "a,digits,RDED,kl,adamw,3,70.0000,1\n", "a,digits,RDED,gift,sgd,3,60.0000,1\n"]


def test_the_same_table_changes_nothing() -> None:
    assert changes(HEAD + "".join(ROWS), HEAD + "".join(ROWS[::-1])) == "No cell of the leaderboard changes.\n"


def test_a_loss_that_overtakes_another_is_told_for_both_and_for_no_other_column() -> None:
    better = ROWS[1].replace("3,70.0000", "5,85.0000")
    said = changes(HEAD + "".join(ROWS), HEAD + ROWS[0] + better + ROWS[2])
    assert said.startswith("0 cells are new, 2 change, 2 of them their place; 0 go.")
    assert "| a, digits, RDED, adamw | gift | 80.0 (n = 3) → 80.0 (n = 3) | **1 → 2** |" in said
    assert "| a, digits, RDED, adamw | kl | 70.0 (n = 3) → 85.0 (n = 5) | **2 → 1** |" in said
    assert "sgd" not in said


def test_cells_that_come_and_go_are_told_whatever_their_labels_hold() -> None:
    odd = 'a,digits,"x|<b>",ce,adamw,1,50.0000,0\n'
    said = changes(HEAD + "".join(ROWS), HEAD + ROWS[0] + ROWS[1] + odd)
    assert said.startswith("1 cells are new, 0 change, 0 of them their place; 1 go.")
    assert r"x\|\<b>" in said
    assert "60.0 → gone" in said
    assert changes("", HEAD + odd).startswith("1 cells are new")
