"""What the page of plugin authors says that they are given is there: names of values, and columns of a frame of records."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path

import pytest

import harness
from harness.boards.frames import FACTS, REST, to_frame
from harness.boards.labels import Labels
from harness.cli.registries import REGISTRIES, registry
from harness.leaderboard.columns import METRICS
from harness.training.values import Fit
from tests.boards.test_records import record

PAGE = Path(harness.__file__).with_name("README.md").read_text("utf-8").partition("## What a plugin is given")[2]


def told(table: str) -> list[str]:
    """Return the names in the first column of a table, which its heading tells."""
    lines = PAGE.partition(f"| {table} |")[2].partition("\n\n")[0].splitlines()[2:]
    assert len(lines) > 5
    return [name for line in lines for name in re.findall(r"`(\w+)`", line.split("|")[1])]


@pytest.mark.parametrize("name", ["Plan", "Workbench", "Material", "Dataset"])
def test_a_value_has_what_the_page_says(name: str) -> None:
    value = getattr(harness, name)
    known = {*dir(value), *(vars(value()) if name == "Workbench" else (field.name for field in fields(value)))}
    assert [each for each in told(f"`{name}`") if each not in known] == []


def test_a_frame_of_records_has_the_columns_that_the_page_says() -> None:
    columns = {*Labels.model_fields, *FACTS, *REST, *METRICS}
    assert [name for name in told("column") if name not in columns] == []
    assert [name for name in (*FACTS, *REST, *METRICS) if name not in told("column")] == []
    assert {*to_frame([record(0)]).columns} <= columns


def test_a_fit_has_what_the_page_says() -> None:
    (line,) = [line for line in PAGE.splitlines() if line.startswith("| `fit` |")]
    named = re.findall(r"`(\w+)`", line.split("|")[2].partition("`Fit`:")[2])
    assert len(named) > 3
    assert {*named} <= {field.name for field in fields(Fit)}


@pytest.mark.parametrize("kind", REGISTRIES)
def test_every_kind_is_registered_from_harness_alone_and_by_entry_point(kind: str) -> None:
    public = getattr(harness, kind)
    assert callable(public.register)
    assert registry(kind).group == f"giftbench.{kind}"
