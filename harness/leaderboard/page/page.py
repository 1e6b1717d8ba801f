"""A board's page: `index.html` beside its README.md."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from markupsafe import Markup

from harness.boards.records import Record
from harness.leaderboard.page.document import document, part, vendored
from harness.leaderboard.page.facts import as_json, facts
from harness.leaderboard.page.inline import html, plain
from harness.leaderboard.page.rows import FILTERS, LongTable, long_table
from harness.leaderboard.summary import Comparison
from harness.leaderboard.tables import Table
from harness.leaderboard.text import fixed


@dataclass(frozen=True)
class Drawing:
    """A figure: its title, plain, its SVG as it may stand in HTML, and what is said below it, Markdown."""

    title: str
    svg: Markup
    caption: str


@dataclass(frozen=True)
class Chapter:
    """One scenario's part of a page, its texts in Markdown.

    Attributes:
        table: all of `tables` as one.
    """

    name: str
    tables: Sequence[Table]
    table: LongTable
    summary: str = ""
    note: str = ""
    figures: Sequence[Drawing] = ()

    @classmethod
    def of(cls, name: str, tables: Sequence[Table], records: Sequence[Record], **parts: Any) -> Chapter:
        """Return a scenario's chapter.

        Args:
            records: all that the tables were made of.
            parts: summary, note, figures.
        """
        taught = {record.id: bool(record.trial.teacher) for record in records}
        return cls(name, tables, long_table(name, tables, taught), **parts)


@dataclass(frozen=True)
class Cover:
    """What a page begins with.

    Attributes:
        title: of the board, plain.
        description: plain; empty lines divide its paragraphs.
        place: how commands name the board.
        status: how many trials ended in which way, Markdown.
        sentence: the board in one sentence, Markdown.
        summary: what is compared over all of the board's cells.
    """

    title: str
    description: str
    place: str
    status: str
    sentence: str = ""
    summary: Sequence[Comparison] = field(default=())


def page(cover: Cover, chapters: Sequence[Chapter], records: Sequence[Record], prices: Sequence[Drawing] = ()) -> str:
    """Return a board's page, the same text for the same records.

    Args:
        records: all that the chapters' tables were made of.
        prices: figures of accuracy against prices, over all chapters.
    """
    tables = [chapter.table for chapter in chapters]
    content = {"board": cover.place, "filters": _filters(tables), **facts(tables, records)}
    return document(
        "board.html",
        scripts=[part("loading.js"), vendored("dataTables.min.js"), part("board.js")],
        styles=[part("page.css")],
        cover=cover,
        paragraphs=[" ".join(text.split()) for text in cover.description.split("\n\n") if text.strip()],
        status=html(cover.status),
        sentence=html(cover.sentence),
        summary=[_grid(comparison) for comparison in cover.summary],
        prices=_figures(prices),
        order=_order,
        chapters=[_shown(chapter, number) for number, chapter in enumerate(chapters)],
        content=as_json(content),
    )


def _shown(chapter: Chapter, number: int) -> dict[str, Any]:
    """Return what the template says of a chapter."""
    rows = chapter.table.rows
    return {
        "id": f"part-{number}",
        "name": chapter.name,
        "summary": html(chapter.summary),
        "note": html(chapter.note),
        "table": chapter.table,
        "shade": _shade(chapter.tables) if any(row.tied for row in rows) else "",
        # where seeds were tested once, the best of their tests is the one there is
        "bests": any(row.best_on_test not in ("", fixed(row.mean, row.decimals)) for row in rows),
        "gains": any(row.gained for row in rows),
        "intervals": any(row.interval for row in rows),
        "statuses": any(row.status for row in rows),
        "notes": [(plain(each.title), [html(note) for note in [*each.footnotes, *each.notes]]) for each in chapter.tables],
        "figures": _figures(chapter.figures),
    }


def _figures(drawings: Sequence[Drawing]) -> list[tuple[str, Markup, Markup]]:
    """Return titles, drawings and captions as the template takes them."""
    return [(drawing.title, drawing.svg, html(drawing.caption)) for drawing in drawings]


def _shade(tables: Sequence[Table]) -> str:
    """Return what the shaded cells are, as the tables know them."""
    told = any("tied" in table.cells for table in tables)
    of = "set" if tables[0].groups == "set" else "group"
    return f"Shaded: the best of a {of} in its column{', and what cannot be told from it' if told else ''}."


def _grid(comparison: Comparison) -> dict[str, Any]:
    """Return heads, rows and notes of a comparison, in text."""
    columns = comparison.columns()
    rows = [list(row) for row in zip(*columns.values(), strict=True)]
    return {"title": f"Summary by {comparison.asked}", "heads": [*columns], "rows": rows, "notes": [html(comparison.note)]}


def _order(value: float) -> str:
    """Return what a cell is sorted by; nothing where there is no number."""
    return "" if value != value else f"{value:.4f}"


def _filters(tables: Sequence[LongTable]) -> dict[str, list[str]]:
    """Return {label: its values, in the order in which rows have them} of what tells rows of this page apart."""
    filters: dict[str, list[str]] = {}
    for name in FILTERS:
        values = dict.fromkeys(row.labels.get(name, "") for table in tables for row in table.rows)
        values.pop("", None)
        if len(values) > 1:
            filters[name] = sorted(values, key=_size) if name == "IPC" else [*values]
    return filters


def _size(text: str) -> tuple[float, str]:
    try:
        return float(text), ""
    except ValueError:
        return float("inf"), text
