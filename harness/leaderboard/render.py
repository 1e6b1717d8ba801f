"""From a board's records to its leaderboard files. A pure function of the records: the same ones give the same bytes."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Protocol

import pandas

from harness.boards import submissions
from harness.boards.board import Board, board_path, load_board
from harness.boards.evidence import evidence
from harness.boards.frames import to_frame
from harness.boards.protocol import TRIED_OUT
from harness.boards.records import Contents, Record, RecordStore, uncollected
from harness.core.errors import BoardError, DataError, PluginError, UnknownName, suggest
from harness.files.atomic import told, update
from harness.leaderboard import joined
from harness.leaderboard.cores import on_cores
from harness.leaderboard.drawing import draw_all
from harness.leaderboard.figures import Figure, slug, unused
from harness.leaderboard.files import table_csv, timing_csv
from harness.leaderboard.latex import table_tex
from harness.leaderboard.markdown import markdown
from harness.leaderboard.page.boards import Listed
from harness.leaderboard.page.drawings import inlined
from harness.leaderboard.page.page import Chapter, Cover, Drawing, page
from harness.leaderboard.papers import REPORTED, reported_tables
from harness.leaderboard.prices import COLUMNS, Prices, beside, priced, unknown
from harness.leaderboard.ranks import Scales, scales
from harness.leaderboard.summary import Summary, summary
from harness.leaderboard.tables import Table, pivot
from harness.leaderboard.text import code, escape, paragraphs, short_error
from harness.leaderboard.today import Outdated, none_is, of_today
from harness.leaderboard.training import training_curves
from harness.leaderboard.worth import worth

log = logging.getLogger("giftbench")

#: The folder beside a board that its figures are drawn into; every SVG and PNG there is the leaderboard's.
FOLDER = "figures"
#: Records from which sections are made on all cores.
MANY = 2000


class Tabulates(Protocol):
    """What a section is made by: a scenario, as far as leaderboards know one."""

    @property
    def summary(self) -> str: ...
    def tables(self, records: pandas.DataFrame) -> list[Table]: ...
    def figures(self, tables: Sequence[Table]) -> list[Figure]: ...


#: Gives the scenario of a name. Raises UnknownName or PluginError when there is none here.
Scenarios = Callable[[str], Tabulates]


@dataclass
class Section:
    """One scenario's part of a leaderboard."""

    name: str
    summary: str = ""
    tables: list[Table] = field(default_factory=list)
    note: str = ""
    figures: list[Figure] = field(default_factory=list)

    def markdown(self, level: int, fold: bool = False) -> str:
        """Return heading, summary, note, tables and links to the figures; `level` is the heading's."""
        parts = [f"{'#' * level} {escape(self.name)}", self.summary, self.note]
        parts += [markdown(table, level + 1, fold).rstrip("\n") for table in self.tables] or ["No records yet."]
        parts += _pictures(self.figures)
        return "\n\n".join(part for part in parts if part) + "\n"


def _pictures(figures: Sequence[Figure]) -> list[str]:
    """Return links to figures and their captions, Markdown."""
    parts = []
    for figure in figures:
        title = re.sub(r"[\[\]]", r"\\\g<0>", escape(" ".join(figure.title.split())))
        parts += [f"![{title or figure.name}]({FOLDER}/{figure.name}.svg)", figure.caption.strip()]
    return parts


@dataclass(frozen=True)
class Rendered:
    """A leaderboard as it was written: its files, what a list of boards says of it, and how figures in table.csv are ordered."""

    files: list[Path]
    listed: Listed
    scales: Scales


def render(
    board_file: Path,
    scenarios: Scenarios,
    contents: Contents | None = None,
    outdated: Outdated = none_is,
    prices: Prices = unknown,
) -> list[Path]:
    """Write README.md, index.html, table.csv, timing.csv and figures beside a board from its records, and return their paths.

    Figures are drawn into `figures/`, from which SVG and PNG files that no section names any more are removed.

    Args:
        board_file: the board's file, or its folder.
        scenarios: gives the scenarios that the records name.
        contents: of the board's folder of records, where that has been read already.
        outdated: tells which of them were made by plugins as they no longer are.
        prices: tells what each of them cost.
    Raises: BoardError when the board cannot be read.
    """
    return rendered(board_file, scenarios, contents, outdated, prices).files


def rendered(
    board_file: Path,
    scenarios: Scenarios,
    contents: Contents | None = None,
    outdated: Outdated = none_is,
    prices: Prices = unknown,
) -> Rendered:
    """Do what `render` does, and return what a list of boards says of this one, too."""
    file = board_path(board_file).resolve()
    with uncollected():
        board = load_board(file)
        contents = contents or _contents(file)
        shown, note = of_today(contents, board, outdated)
        known = evidence(file.parent)
        frame = beside(tried_out_last(to_frame(shown, known)), prices(shown))
        sections = [*sections_of(board, frame, scenarios), *_of_papers(board, file.parent)]
        overall = summary(table for section in sections for table in section.tables) if len(frame) else None
        price = Section("price", figures=worth(frame))
        _apart([price, *sections])
        tables = [(section.name, table) for section in sections for table in section.tables]
        texts = {
            "README.md": _readme(
                file,
                board,
                frame,
                price,
                sections,
                note,
                overall,
                joined.section(submissions.joined(file.parent), known),
            ),
            "table.csv": table_csv(tables),
            "table.tex": table_tex(tables),
            "timing.csv": timing_csv(frame),
        }
        drawn = draw_all([figure for section in [price, *sections] for figure in section.figures], file.parent / FOLDER)
        chapters = [_chapter(file, section, shown) for section in sections]
        sentence, compared = ("", ()) if overall is None else (escape(overall.sentence), overall.comparisons)
        cover = Cover(_title(file, board), board.description, _place(file, file), _status(frame, note), sentence, compared)
        texts["index.html"] = page(cover, chapters, shown, _drawings(file, price.figures))
    for name, text in texts.items():
        update(file.parent / name, text)
    _remove_others(file.parent / FOLDER, drawn)
    cells = sum(len(chapter.table.rows) for chapter in chapters)
    listed = Listed(file.parent.name, cover.title, sentence or "No records yet.", len(shown), cells)
    return Rendered([*(file.parent / name for name in texts), *drawn], listed, scales(tables))


def _contents(file: Path) -> Contents:
    """Return what a board's folder of records holds; that a newer giftbench made some is said."""
    folder = file.parent / "records"
    contents = RecordStore(folder).contents()
    if contents.said:
        log.warning("%s: %s", folder, contents.said)
    return contents


def insert(readme: Path, board_file: Path, scenarios: Scenarios, outdated: Outdated = none_is, prices: Prices = unknown) -> bool:
    """Put a board's tables between `<!-- giftbench: NAME -->` and `<!-- /giftbench -->` in a Markdown file.

    NAME is the board's folder, for all scenarios, or `FOLDER/SCENARIO` for one. Returns whether the file changed.
    Raises: BoardError when the file or the markers are not there.
    """
    return update(Path(readme), inserted(Path(readme), board_file, scenarios, outdated, prices))


def inserted(readme: Path, board_file: Path, scenarios: Scenarios, outdated: Outdated = none_is, prices: Prices = unknown) -> str:
    """Return the text of a Markdown file with a board's tables between its markers; nothing is written. As `insert`."""
    file = board_path(board_file).resolve()
    name = file.parent.name
    if not readme.is_file():
        raise BoardError(f"{readme}: no such file to put tables into")
    try:
        text = readme.read_bytes().decode("utf-8")
    except UnicodeDecodeError:
        raise BoardError(f"{readme}: not UTF-8 text, so no tables can be put into it") from None
    start, end = f"<!-- giftbench: {name} -->", "<!-- /giftbench -->"
    marked = re.compile(
        rf"(<!-- giftbench: {re.escape(name)}(?:/([\w-]+))? -->)((?:(?!<!-- giftbench: ).)*?)({re.escape(end)})", re.DOTALL
    )
    if not marked.search(text):
        raise BoardError(f"{readme}: no place for board {name!r}; put the lines {start} and {end} where its tables shall stand")
    with uncollected():
        board = load_board(file)
        shown, note = of_today(_contents(file), board, outdated)
        frame = beside(tried_out_last(to_frame(shown)), prices(shown))
    sections = [replace(section, figures=[]) for section in sections_of(board, frame, scenarios)]

    def block(match: re.Match[str]) -> str:
        """Return the marked part with its tables, in the file's own line ends."""
        wanted = [section for section in sections if match[2] in (None, section.name)]
        if not wanted:
            raise BoardError(
                f"{readme}: {match[1]}: no scenario {match[2]!r} here; {suggest(match[2], {s.name for s in sections})}"
            )
        trials = frame if match[2] is None else frame[frame["scenario"] == match[2]]
        body = [f"{_status(trials, note)} Rendered from the records by {code(f'giftbench table {_place(file, readme)}')}."]
        body += [section.markdown(3, fold=True).rstrip("\n") for section in wanted]
        lines = "\n\n" + "\n\n".join(body) + "\n\n"
        return match[1] + (lines.replace("\n", "\r\n") if "\r\n" in text else lines) + match[4]

    return marked.sub(block, text)


def tried_out_last(frame: pandas.DataFrame) -> pandas.DataFrame:
    """Return a frame of records in which those of a protocol that only tries a board out are marked, and come after all others.

    A board that was tried out and not run yet is left as it is.
    """
    if frame.empty or "protocol" not in frame:
        return frame
    tried = frame["protocol"].astype(str).str.match(rf"{TRIED_OUT}\b")
    if tried.all() or not tried.any():
        return frame
    marked = frame.assign(protocol=frame["protocol"].mask(tried, frame["protocol"].astype(str) + " (only tried out)"))
    marked["order"] += tried * (int(frame["order"].max()) + 1)
    return marked.sort_values(["order", "id"], kind="stable", ignore_index=True)


def sections_of(board: Board, frame: pandas.DataFrame, scenarios: Scenarios) -> list[Section]:
    """Return the sections: the board's scenarios in its order, then what else there are records of, by name."""
    parts = {str(name): part.reset_index(drop=True) for name, part in frame.groupby("scenario")} if len(frame) else {}
    specs = [spec for part in board.boards for spec in part.scenarios]
    planned = list(dict.fromkeys(spec.name for spec in specs if not spec.on_request or spec.name in parts))
    names = [*planned, *sorted(parts.keys() - {*planned})]
    makers = [partial(section, name, parts.get(name, frame.iloc[:0]), scenarios) for name in names]
    return _apart(on_cores(makers) if len(frame) >= MANY else [one() for one in makers])


def section(name: str, frame: pandas.DataFrame, scenarios: Scenarios) -> Section:
    """Return a scenario's section; one that is not to be had here, or whose own tables fail, gets the default layout."""
    try:
        scenario = scenarios(name)
    except (UnknownName, PluginError) as error:
        why = "is not installed here" if isinstance(error, UnknownName) else "does not load here"
        shown = ": its records are shown in the default layout" if len(frame) else ""
        return Section(name, "", _default(frame), f"The scenario {why}{shown}.")
    if frame.empty:
        return Section(name, scenario.summary)
    try:
        tables = scenario.tables(frame.drop(columns=COLUMNS, errors="ignore"))
        if not all(isinstance(table, Table) for table in tables):
            raise TypeError("tables() must return a list of harness.Table")
    except Exception as error:  # a plugin's code may fail in any way; its records are shown all the same
        why = code(short_error(f"{type(error).__name__}: {error}"))
        note = f"The scenario's own tables failed ({why}): this is the default layout."
        return Section(name, scenario.summary, _default(frame), note)
    tables = [priced(table, frame) for table in tables]
    figures, note = _figures(scenario, tables)
    return Section(name, scenario.summary, tables, note, [*figures, *training_curves(name, tables, frame)])


def _of_papers(board: Board, folder: Path) -> list[Section]:
    """Return a section of the numbers that papers report, where the board names some; a note says why they are not to be had."""
    if not board.reported:
        return []
    summary = "What a paper reports of such sets: not trained here, and marked so."
    try:
        tables = reported_tables(board, folder)
    except DataError as error:
        return [Section(REPORTED, summary, note=f"The reported numbers cannot be read ({code(short_error(str(error)))}).")]
    return [Section(REPORTED, summary, tables)] if tables else []


def _default(frame: pandas.DataFrame) -> list[Table]:
    """Return the tables of the default layout."""
    return [priced(table, frame) for table in pivot(frame.drop(columns=COLUMNS, errors="ignore"))]


def _figures(scenario: Tabulates, tables: Sequence[Table]) -> tuple[list[Figure], str]:
    """Return a scenario's figures, and a note in their place when they fail."""
    try:
        # copies of the cells: making a figure changes no table
        figures = list(scenario.figures([replace(table, cells=table.cells.copy()) for table in tables]))
        if not all(isinstance(figure, Figure) for figure in figures):
            raise TypeError("figures() must return a list of harness.Figure")
    except Exception as error:  # as with tables: a plugin's code may fail in any way
        return (
            [],
            f"The scenario's figures failed ({code(short_error(f'{type(error).__name__}: {error}'))}): there are tables only.",
        )
    return figures, ""


def _apart(sections: list[Section]) -> list[Section]:
    """Give figures of one name names of their own: the first keeps it, others get the scenario's in front, or a number."""
    taken: list[str] = []
    for section in sections:
        for i, figure in enumerate(section.figures):
            taken.append(unused([figure.name, slug(f"{section.name} {figure.name}")], taken))
            section.figures[i] = replace(figure, name=taken[-1])
    return sections


def _remove_others(folder: Path, drawn: Sequence[Path]) -> None:
    """Remove the figures that are not among those drawn, and the folder when nothing is left in it."""
    stale = {path for kind in ("svg", "png") for path in folder.glob(f"*.{kind}")} - {*drawn}
    for path in sorted(stale):
        with told(path):
            path.unlink()
    if stale and not any(folder.iterdir()):
        with told(folder):
            folder.rmdir()


def _readme(
    file: Path,
    board: Board,
    frame: pandas.DataFrame,
    price: Section,
    sections: Sequence[Section],
    note: str,
    overall: Summary | None,
    brought: str,
) -> str:
    name = _place(file, file)
    failed = len(frame) and (frame["status"] == "failed").any()
    parts = [
        f"# {escape(_title(file, board))}",
        paragraphs(board.description),
        f"Run or continue this board with {code(f'giftbench run {name}')}; {code(f'giftbench table {name}')} renders its records "
        "again.",
        _status(frame, note) + (f" {code(f'giftbench run {name} --retry')} repeats the failed ones." if failed else ""),
        "" if overall is None else overall.markdown().rstrip("\n"),
        *(["## Price and worth", *_pictures(price.figures)] if price.figures else []),
        *(section.markdown(2).rstrip("\n") for section in sections),
        brought,
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _title(file: Path, board: Board) -> str:
    return board.title.strip() or file.parent.name


def _chapter(file: Path, section: Section, records: Sequence[Record]) -> Chapter:
    """Return a section as a page shows it. Its figures have been drawn."""
    how = {"summary": section.summary, "note": section.note, "figures": _drawings(file, section.figures)}
    return Chapter.of(section.name, section.tables, records, **how)


def _drawings(file: Path, figures: Sequence[Figure]) -> list[Drawing]:
    """Return figures that have been drawn as a page shows them."""
    drawings = []
    for figure in figures:
        svg = (file.parent / FOLDER / f"{figure.name}.svg").read_bytes()
        drawings.append(Drawing(" ".join(figure.title.split()) or figure.name, inlined(svg, figure.name), figure.caption))
    return drawings


def _status(frame: pandas.DataFrame, note: str) -> str:
    """Return how many trials ended in which way, and the note on records that are not shown."""
    if frame.empty and not note:
        return "No records yet: nothing has been run."
    ended = [] if frame.empty else frame["status"].tolist()
    statuses = (f"{ended.count(status)} {status}" for status in ("done", "diverged", "failed"))
    return f"Trials: {', '.join(statuses)}.{note}"


def _place(file: Path, readme: Path) -> str:
    """Return how a command names the board: its folder, from the folder of `readme` when that lies above it."""
    place = file.parent if file.name == "board.toml" else file
    above = readme.resolve().parent
    if place.is_relative_to(above) and place != above and above != file.parent:
        return place.relative_to(above).as_posix()
    return file.parent.name if place == file.parent else f"{file.parent.name}/{file.name}"
