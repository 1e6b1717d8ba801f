"""A board's page, read as text: what it holds, what it may do, how large it is."""

from __future__ import annotations

import base64
import hashlib
import json
import random
import re
from pathlib import Path

import pytest

from harness.leaderboard.page.page import Chapter, Cover, page
from harness.leaderboard.render import render
from harness.leaderboard.summary import summary
from harness.leaderboard.tables import pivot
from harness.running.scenario import named
from tests.leaderboard.conftest import BOARD
from tests.leaderboard.looking import a_few
from tests.leaderboard.page.planted import HOSTILE, LABEL, SHOWN, hostile, many, page_of
from tests.leaderboard.page.reading import read

pytestmark = pytest.mark.usefixtures("planted")
BOARDS = Path(__file__).parents[3] / "leaderboards"
#: Bytes of a committed board's page, at most.
LARGEST = 600_000


def executed(root):
    return [node.text for node in root.all("script") if node.attributes.get("type") != "application/json"]


def digests(texts):
    return " ".join(f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'" for text in texts)


def test_its_policy_allows_what_it_holds_and_nothing_else(planter, tmp_path):
    a_few(planter)
    render(planter.board(tmp_path), named)
    root = read((tmp_path / "index.html").read_text("utf-8"))
    policy = root.find("meta", **{"http-equiv": "Content-Security-Policy"}).attributes["content"]
    assert len(executed(root)) == 3
    assert policy == (
        f"default-src 'none'; script-src {digests(executed(root))}; "
        f"style-src {digests(node.text for node in root.all('style'))}; base-uri 'none'; form-action 'none'"
    )


def test_nothing_in_it_is_loaded_from_elsewhere_or_run_from_an_attribute(planter, tmp_path):
    hostile(planter)
    render(planter.board(tmp_path), named)
    root = read((tmp_path / "index.html").read_text("utf-8"))
    for node in root.walk():
        assert node.name not in ("img", "link", "iframe", "object", "embed", "audio", "video", "base", "form"), node.name
        assert not [name for name in node.attributes if name.startswith("on") or name in ("src", "style", "srcset")], node
    assert {node.attributes["href"] for node in root.all("a")} == {"#tables", "README.md", "table.csv", "board.toml", "records/"}


def test_names_are_text_whatever_they_hold(planter, tmp_path):
    hostile(planter)
    title = "T </title><script>1</script>"
    text = BOARD.replace('"Planted"', json.dumps(title)).replace('"Records planted by a test."', json.dumps(f"D {HOSTILE}"))
    render(planter.board(tmp_path, text), named)
    root = read((tmp_path / "index.html").read_text("utf-8"))
    assert root.find("title").text == root.find("h1").text == title
    assert root.find("header").all("p")[0].text == f"D {SHOWN}"
    cells = root.find("table", **{"class": "cells"}).find("tbody").all("tr")
    assert len(cells) == 4
    assert {row.all("td")[0].text for row in cells} == {LABEL, "kl"}
    assert {span.attributes["data-value"] for span in root.all("span") if "data-label" in span.attributes} >= {LABEL}
    content = json.loads(root.find("script", id="content").text)
    assert content["filters"]["loss"] == ["kl", LABEL]
    assert len(executed(root)) == 3


def test_it_is_a_table_that_needs_no_script(planter):
    a_few(planter)
    root = read(page_of(planter))
    table = root.find("table")
    assert table.find("caption").text.startswith("4 cells. All of dataset digits, set RDED, IPC 10, student convnet3")
    heads = table.find("thead").all("th")
    assert [head.text for head in heads] == [
        "optimizer",
        "loss",
        "mean ± std",
        "95 % interval",
        "gain",
        "best on test",
        "n",
        "status",
    ]
    assert {head.attributes["scope"] for head in heads} == {"col"}
    for row in table.find("tbody").all("tr"):
        assert [head.attributes["scope"] for head in row.all("th")] == ["row"]
        assert len(row.children) - sum(isinstance(child, str) for child in row.children) == len(heads)
    assert root.find("div", id="filters").attributes.get("hidden") == ""  # until there is a script
    assert root.find("html").attributes["lang"] == "en"


def test_tables_of_a_scenario_may_differ_in_nothing_but_their_columns(planter):
    """As class-incremental's of one set and one loss: a row has no label in the column of the other table."""
    tables = []
    for column, texts in (("measure", ("last", "average")), ("classes met", ("2", "4"))):
        for text in texts:
            planter.cell(80.0, 82.0, **{column: text})
        tables += pivot(planter.frame[planter.frame[column].notna()], "loss", column)
    root = read(page(Cover("T", "", "t", ""), [Chapter.of("planted", tables, planter.records)], planter.records))
    heads = [head.text for head in root.find("thead").all("th")]
    assert {"measure", "classes met"} <= {*heads}
    rows = [[part.text for part in row.children if not isinstance(part, str)] for row in root.find("tbody").all("tr")]
    shown = [dict(zip(heads, row, strict=True)) for row in rows]
    pairs = [("last", ""), ("average", ""), ("", "2"), ("", "4")]
    assert sorted((row["measure"], row["classes met"]) for row in shown) == sorted(pairs)


def test_numbers_are_sorted_by_value(planter):
    planter.cell(9.5, 9.7, loss="kl")
    planter.cell(85.0, 86.0, loss="gift")
    rows = read(page_of(planter)).find("tbody").all("tr")
    orders = [[cell.attributes.get("data-order") for cell in row.all("td")] for row in rows]
    assert [order[0] for order in orders] == ["9.6000", "85.5000"]
    assert [order[2] for order in orders] == ["", "75.9000"]


def test_best_cells_are_shaded_and_it_is_said_what_that_means(planter):
    a_few(planter)
    root = read(page_of(planter))
    tied = [row for row in root.find("tbody").all("tr") if row.attributes.get("class") == "tied"]
    assert {row.all("td")[0].text for row in tied} == {"gift"}
    assert "Shaded: the best of a set in its column, and what cannot be told from it." in root.find("caption").text
    tables = pivot(planter.frame)
    del tables[0].cells["tied"]  # of a scenario that makes its tables itself
    root = read(page(Cover("T", "", "t", ""), [Chapter.of("planted", tables, planter.records)], planter.records))
    assert "Shaded: the best of a set in its column." in root.find("caption").text


def test_best_on_test_has_a_labelled_column_of_its_own_where_it_is_not_the_mean(planter):
    for loss, accuracy in (("gift", 85.0), ("kl", 80.0)):
        planter.cell(accuracy, accuracy + 1, loss=loss)  # whose best is one point above
    text = page_of(planter)
    assert '<th scope="col" class="number" data-label="best on test">best on test</th>' in text
    assert re.findall(r'<td class="number" data-order="([\d.]+)">(8\d\.\d)</td>', text) == [
        ("81.5000", "81.5"),
        ("86.5000", "86.5"),
    ]
    assert "as papers report it; nothing is ranked by it." in text
    planter.records = [
        record.model_copy(update={"metrics": {**record.metrics, "best_accuracy": record.metrics["accuracy"]}})
        for record in planter.records
    ]
    assert "best on test</th>" not in page_of(planter)


def test_notes_say_what_the_numbers_rest_on(planter):
    a_few(planter)
    root = read(page_of(planter))
    assert any(item.text.startswith("Accuracy in percent on the test split") for item in root.find("details").all("li"))


def test_a_sentence_and_a_summary_come_first(planter):
    a_few(planter)
    root = read(page_of(planter, sentence="`gift` is best.", summary=summary(pivot(planter.frame)).comparisons))
    assert root.find("p", **{"class": "sentence"}).text == "gift is best."
    table = root.find("table", **{"class": "summary"})
    heads = [head.text for head in table.find("thead").all("th")]
    assert heads[:4] == ["loss", "mean rank", "wins", "probability of improvement"]
    assert {row.find("th").text for row in table.find("tbody").all("tr")} == {*planter.frame["loss"]}


def test_a_board_without_records_has_a_page(planter, tmp_path):
    render(planter.board(tmp_path), named)
    root = read((tmp_path / "index.html").read_text("utf-8"))
    assert root.all("table") == []
    assert "No records yet." in root.find("main").text


def test_the_order_of_records_changes_nothing(planter, tmp_path):
    a_few(planter)
    render(planter.board(tmp_path / "a"), named)
    random.Random(4).shuffle(planter.records)
    render(planter.board(tmp_path / "b"), named)
    one, two = ((tmp_path / name / "index.html").read_text("utf-8") for name in "ab")
    assert one.replace('"board":"a"', '"board":"b"') == two


def test_committed_boards_pages_are_as_small_as_was_asked():
    pages = sorted(BOARDS.glob("*/index.html"))
    assert {page.parent.name: page.stat().st_size for page in pages if page.stat().st_size > LARGEST} == {}


def test_a_record_takes_few_bytes_and_elements_more(planter):
    many(planter, 2_400)
    text = page_of(planter)
    fixed = len(page_of(type(planter)()))
    assert len(text) - fixed < 250 * 2_400
    assert len(re.findall(r"<\w", text)) < 15 * 800 + 1000
    assert text.count("<button>") == 800
