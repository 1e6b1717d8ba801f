"""Published numbers in a leaderboard: marked reported, ranked with nothing."""

from __future__ import annotations

import csv
import io

import pytest

from harness.leaderboard.render import render
from harness.running.scenario import named
from tests.leaderboard.conftest import BOARD
from tests.leaderboard.page.reading import read

HEAD = "table,dataset,method,distilled_on,ipc,network,optimizer,loss,refine,native,accuracy,std\n"
ROWS = """5,digits,RDED,convnet,10,convnet,sgd,kl,0,1,90.4,0.2
5,digits,RDED,convnet,10,convnet,adamw,kl,0,1,91.25,
5,digits,RDED,convnet,10,convnet,sgd,kl,1,0,93.0,0.1
5,fashion-mnist,RDED,convnet,1,convnet,sgd,kl,0,1,60.0,0.2
7,digits,RDED,convnet,10,convnet,sgd,mse,0,0,50.0,0.2
"""


def rendered(planter, folder, rows=ROWS, keys='reported = "../reported.csv"\nreported_tables = ["5"]\n'):
    (folder / "board").mkdir(parents=True)
    (folder / "reported.csv").write_text(HEAD + rows, "utf-8")
    render(planter.board(folder / "board", keys + BOARD), named)
    return {name: (folder / "board" / name).read_text("utf-8") for name in ("README.md", "table.csv", "index.html", "table.tex")}


def test_they_stand_in_tables_of_their_own_each_cell_marked_reported(planter, tmp_path):
    planter.cell(85.0, 86.0, loss="kl", optimizer="sgd")
    planter.cell(80.0, 81.0, loss="ce", optimizer="sgd")
    files = rendered(planter, tmp_path)
    section = files["README.md"].partition("## reported\n")[2]
    lines = [[word.strip() for word in line.strip("|").split("|")] for line in section.splitlines() if line.startswith("| ")]
    assert lines[:3] == [
        ["set", "loss", "sgd", "adamw"],
        ["RDED", "kl (native)", "90.4 ± 0.2", "91.2"],
        ["", "kl + refinement", "93.0 ± 0.1", ""],
    ]
    assert "### digits — table 5" in section and "### fashion-mnist — table 5" in section and "mse" not in section
    assert "**" not in section and "Nobody has trained it here" in section
    rows = [*csv.DictReader(io.StringIO(files["table.csv"]))]
    reported = [row for row in rows if row["evidence"] == "reported"]
    assert [(row["scenario"], row["mean"], row["best_on_test_mean"], row["rank"], row["tied"]) for row in reported][:2] == [
        ("reported", "", "90.4000", "", ""),
        ("reported", "", "91.2500", "", ""),
    ]
    assert {row["evidence"] for row in rows if row["scenario"] == "planted"} == {"claimed"}
    tables = [table for table in read(files["index.html"]).all("table") if table.attributes.get("data-name") == "reported"]
    cells = [[cell.text for cell in row.all("td")] for row in tables[0].find("tbody").all("tr")]
    assert {row[-1] for row in cells} == {"reported"}
    assert r"\pm$ 0.2" in files["table.tex"]


def test_a_board_of_which_nothing_has_run_has_them_too(planter, tmp_path):
    readme = rendered(planter, tmp_path)["README.md"]
    assert "No records yet" in readme and "| 90.4 ± 0.2 |" in readme


@pytest.mark.parametrize("keys", ["", 'reported = "../reported.csv"\nreported_tables = ["figure 1"]\n'])
def test_without_published_numbers_there_is_no_such_section(planter, tmp_path, keys):
    assert "## reported" not in rendered(planter, tmp_path, keys=keys)["README.md"]


def test_numbers_that_cannot_be_read_are_said_to_be_so_and_the_rest_is_rendered(planter, tmp_path):
    planter.cell(85.0, 86.0)
    readme = rendered(planter, tmp_path, rows="5,digits,RDED,,ten,convnet,sgd,kl,0,1,90.4,0.2\n")["README.md"]
    assert (
        "The reported numbers cannot be read (`…/reported.csv: line 2: ipc must be a whole number above 0, not 'ten'`)." in readme
    )
    assert "85.5 ± 0.7" in readme
