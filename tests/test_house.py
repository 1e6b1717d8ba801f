"""The house is as its map says: the drawing is today's, and what the drawing tells of circles can tell them."""

from __future__ import annotations

import re

import pytest

from tests.house import ROOT, circles, counts, drawn, height, house, insert


def test_the_map_in_the_document_is_what_the_command_draws() -> None:
    text = (ROOT / "harness" / "README.md").read_text("utf-8")
    assert insert(text, drawn(house())) == text, "python -m tests.house --into harness/README.md"


def test_every_folder_of_the_engine_is_a_room_on_a_floor_and_nothing_lies_loose() -> None:
    folders = {f"harness/{path.parent.name}" for path in (ROOT / "harness").glob("*/__init__.py")}
    assert {*house().rooms} == folders | {"scenarios"}
    assert [path.name for path in (ROOT / "harness").glob("*.py")] == ["__init__.py"]


def test_the_house_has_no_circle_and_ten_floors_at_most() -> None:
    lines = counts(house()).splitlines()
    assert "circles of files: 0" in lines
    assert "circles of rooms: 0" in lines
    assert len(house().floors) <= 10
    assert height(house().room_imports) <= len(house().floors)


def test_circles_are_found_where_there_are_some() -> None:
    assert circles({"a": ["b"], "b": ["c"], "c": ["a"], "d": ["a"], "e": []}) == [frozenset("abc")]
    assert circles({"a": ["b"], "b": []}) == []
    assert height({"a": ["b", "c"], "b": ["c"], "c": []}) == 3


def test_a_page_without_a_place_for_the_map_is_refused() -> None:
    with pytest.raises(ValueError, match="no place for the map"):
        insert("# The house", "map")


def test_every_line_on_what_is_equal_names_a_test_that_there_is() -> None:
    part = (ROOT / "harness" / "README.md").read_text().partition("## What is equal to the bit")[2].partition("\n## ")[0]
    rows = [line for line in part.splitlines() if line.startswith("| ") and not line.startswith(("| ---", "| two trainings"))]
    assert len(rows) >= 10
    for row in rows:
        (path, name), *_ = re.findall(r"`(tests/[\w/]+\.py)::(test_\w+)`", row) or [("", "")]
        assert path and f"\ndef {name}(" in (ROOT / path).read_text(), row
