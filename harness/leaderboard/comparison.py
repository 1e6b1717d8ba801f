"""Published numbers and a board's own side by side: what `giftbench compare` writes."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from tabulate import tabulate

from harness.boards.board import Board, board_path, load_board
from harness.boards.labels import Labels
from harness.boards.records import RecordStore
from harness.boards.trial import Trial
from harness.core.errors import BoardError
from harness.files.atomic import update
from harness.leaderboard.markdown import bullets
from harness.leaderboard.reported import COLUMNS, Match, ReportedCell, deviations, load, match, of_tables
from harness.leaderboard.statistics import Summary, summary, welch
from harness.leaderboard.text import csv_cell, escape, fixed, letter, listed, number
from harness.leaderboard.today import Outdated, none_is, of_today

#: Runs behind a published number: three, its standard deviation the population's (ddof 0).
RUNS = 3
ROUNDING = 0.05  # of published numbers, points: what is less is no difference
FIELDS = (
    *COLUMNS,
    *("compared_with", "n", "seeds", "ours_best", "ours_best_std_ddof0", "ours_best_std", "difference", "low", "high", "mark"),
    *("ours_last", "ours_last_std", "diverged", "model", "protocol", "deviations", "other_settings"),
    *("teacher", "teacher_accuracy", "teacher_digest", "distilled"),
)
HOW_TO_READ = (
    "Reported: mean ± standard deviation (ddof 0) of three runs, each the best of four test evaluations. Ours (best of 4): the "
    "same, by the same convention, so that like stands beside like; the best is picked on the test split and flatters.",
    "Ours (last epoch): mean ± standard deviation (ddof 1) after the last epoch. This is what leaderboards here rank by; nothing "
    "is ranked by the best. n: seeds.",
    "Difference: ours less reported, best of 4 against best of 4, with Welch's 95 % interval; both standard deviations are taken "
    f"to ddof 1 for it (the reported one times √({RUNS}/{RUNS - 1})). ↑ ↓: the interval leaves out 0 and the difference is more "
    "than the rounding of the published number. With 3 seeds it is wide; with 1 there is none. It knows the noise of seeds "
    "alone, and of every 20 cells one is marked by chance.",
)
COSINE = (
    "The paper's row GIFT stands beside our cosine: it equals the row of the cosine loss without refined labels in the paper's "
    "own ablation, save where a line below says otherwise."
)
REFINED = (
    "Refinement under another loss than the cosine: the paper gives no formula; ours is (1-gamma) · q_T(t) + gamma · s, so a "
    "difference there may be owed to it alone."
)
UNSTATED = (
    "The paper states no settings for {optimizers}; ours are this project's defaults, so a difference there may be owed to them "
    "alone."
)


class Comparison(NamedTuple):
    """What `compare` made: Markdown for people, and the files that it wrote."""

    text: str
    paths: list[Path]


@dataclass(frozen=True)
class Row:
    """A reported cell and what this board has of it; `match` is None where it has nothing."""

    cell: ReportedCell
    match: Match | None = None

    def values(self, metric: str) -> list[float]:
        """Return a metric of every seed that has it."""
        return [r.metrics[metric] for r in self.match.records if metric in r.metrics] if self.match else []

    @property
    def best(self) -> Summary:
        return summary(self.values("best_accuracy"))

    @property
    def last(self) -> Summary:
        return summary(self.values("accuracy"))

    @property
    def difference(self) -> tuple[float, float, float]:
        """Ours less reported, and the ends of the interval."""
        return welch(self.best, Summary(RUNS, self.cell.accuracy, self.cell.std * math.sqrt(RUNS / (RUNS - 1))))

    @property
    def mark(self) -> str:
        """↑ or ↓ where the two differ by more than noise and rounding."""
        difference, low, high = self.difference
        if abs(difference) <= ROUNDING:
            return ""
        return "↑" if low > 0 else "↓" if high < 0 else ""

    @property
    def diverged(self) -> int:
        return sum(record.status == "diverged" for record in self.match.records) if self.match else 0


def compare(board_file: Path, reported: Path | None = None, outdated: Outdated = none_is) -> Comparison:
    """Write comparison.md and comparison.csv beside a board from its records and published numbers; nothing is trained.

    Args:
        board_file: the board's file, or its folder.
        reported: a CSV file (see `harness.leaderboard.reported.load`) in place of the one that the board names. Of its tables the
            board's `reported_tables` are shown, or all when it has none of them.
        outdated: tells which records were made by plugins as they no longer are; they are left out.
    Returns: the text of comparison.md, and the paths; only a line where the board repeats a figure that prints no numbers.
    Raises: BoardError when the board cannot be read or names no numbers; DataError when these cannot be read.
    """
    file = board_path(board_file).resolve()
    board = load_board(file)
    if reported is None and not board.reported:
        raise BoardError(f'{file}: names no published numbers; give --reported FILE, or reported = "FILE.csv" on the board')
    source = Path(reported).expanduser() if reported is not None else file.parent / Path(board.reported).expanduser()
    everything = load(source)
    tables = [name for name in board.reported_tables if not name.lower().startswith("figure")]
    if board.reported_tables and not tables and reported is None:
        named = " and ".join(name.capitalize() for name in board.reported_tables)
        return Comparison(f"{file}: {named} of the paper prints no numbers, so there is nothing to compare with.\n", [])
    if reported is not None and not {cell.table for cell in everything} & {*tables}:
        tables = []
    cells = of_tables(everything, tables, str(source))
    shown, note = of_today(RecordStore(file.parent / "records").contents(), board, outdated)
    matches = match(cells, shown)
    rows = [Row(cell, matches.get(cell)) for cell in cells]
    text = _markdown(file, board, source.name, rows, everything, note)
    contents = {"comparison.md": text, "comparison.csv": _csv(rows)}
    for name, content in contents.items():
        update(file.parent / name, content)
    return Comparison(text, [file.parent / name for name in contents])


# -- Markdown ------------------------------------------------------------------------------------------------------------


def _markdown(file: Path, board: Board, source: str, rows: Sequence[Row], everything: Sequence[ReportedCell], note: str) -> str:
    parts = [
        f"# {escape(board.title or file.parent.name)}: reported and measured",
        f"{_counts(rows)} Reported numbers: {escape(source)}; ours: the records of this board. Written by "
        f"`giftbench compare {file.parent.name}`.{note}",
    ]
    marks = _footnote_marks(rows)
    groups: dict[tuple[str, str, str], list[Row]] = {}
    for row in rows:
        groups.setdefault((row.cell.table, row.cell.dataset, row.cell.distilled_on), []).append(row)
    for (table, dataset, distilled_on), group in groups.items():
        parts += _section(table, dataset, distilled_on, group, marks)
    parts += ["## How to read this", bullets([*HOW_TO_READ, *_remarks(board, rows, everything)])]
    return "\n\n".join(part for part in parts if part) + "\n"


def _counts(rows: Sequence[Row]) -> str:
    measured = sum(row.best.n > 0 for row in rows)
    above, below = (sum(row.mark == mark for row in rows) for mark in "↑↓")
    differ = above + below
    which = f" ({above} above, {below} below)" if differ else ""
    return f"{measured} of {len(rows)} cells measured; {differ} differ{'s' if differ == 1 else ''} by more than noise{which}."


def _section(table: str, dataset: str, distilled_on: str, rows: list[Row], marks: dict[str, str]) -> list[str]:
    named = f"Table {table}" if table.isdecimal() else table
    where = f", distilled on {distilled_on}" if distilled_on else ""
    axes = {"IPC": [str(r.cell.ipc) for r in rows], "network": [r.cell.network for r in rows]}
    axes["optimizer"] = [r.cell.optimizer for r in rows]
    varying = {name: values for name, values in axes.items() if len({*values}) > 1}
    constant = [f"{name} {values[0]}" for name, values in axes.items() if name not in varying]
    heads = ["method", "loss", *varying, "reported", "ours (best of 4)", "difference [95 %]", "ours (last epoch)", "n"]
    lines = [
        [
            escape(row.cell.method),
            escape(_loss(row.cell)),
            *(escape(values[i]) for values in varying.values()),
            _value(row.cell.accuracy, row.cell.std),
            *_ours(row, marks),
        ]
        for i, row in enumerate(rows)
    ]
    grid = tabulate(
        lines,
        headers=heads,
        tablefmt="pipe",
        colalign=["left", "left", *["right" if name == "IPC" else "left" for name in varying], *["right"] * 5],
        disable_numparse=True,
    )
    used = {mark: note for note, mark in marks.items() if any(note in _flags(row) for row in rows)}
    return [
        f"## {escape(named)}: {escape(dataset)}{escape(where)}",
        f"{escape(', '.join(constant))}." if constant else "",
        grid,
        bullets([f"({mark}) {note}" for mark, note in used.items()]),
    ]


def _loss(cell: ReportedCell) -> str:
    if cell.native:
        return f"{cell.loss} (native)"
    if cell.ours == "cosine" and cell.loss == "gift":
        return "cosine (the paper's GIFT)"
    if cell.refine and cell.loss == "cosine":
        return "gift"
    return f"{cell.loss} + refinement" if cell.refine and cell.loss != "gift" else cell.loss


def _ours(row: Row, marks: dict[str, str]) -> list[str]:
    best, last, (difference, low, high) = row.best, row.last, row.difference
    if not last.n:
        return ["—", "—", "—", "0"]
    interval = "" if math.isnan(low) else f" [{fixed(low, 1)}, {fixed(high, 1)}]"
    sign = "+" if difference > 0 and fixed(difference, 1) != "0.0" else ""
    flags = ", ".join(marks[note] for note in _flags(row))
    return [
        _value(best.mean, _population(best) if best.n > 1 else math.nan) if best.n else "—",
        f"{sign}{fixed(difference, 1)}{interval}{' ' + row.mark if row.mark else ''}" if best.n else "—",
        _value(last.mean, last.std),
        f"{last.n}{f' ({flags})' if flags else ''}",
    ]


def _population(sample: Summary) -> float:
    """Return the standard deviation of ddof 0; 0 for one value."""
    return 0.0 if sample.n == 1 else sample.std * math.sqrt((sample.n - 1) / sample.n)


def _value(mean: float, std: float) -> str:
    return fixed(mean, 1) + ("" if math.isnan(std) else f" ± {fixed(std, 1)}")


def _flags(row: Row) -> list[str]:
    """Return what a reader must know of this cell alone."""
    if row.match is None:
        return []
    trial, changed = row.match.trial, deviations(row.match.trial)
    words = [f"{name} {change}" for name, change in changed.items()]
    flags = [f"ours: protocol {escape(trial.protocol.name)}, not the paper's: {escape(', '.join(words))}."] if changed else []
    if row.diverged:
        flags.append(f"the loss became non-finite in {row.diverged} of {len(row.match.records)} seeds, which count as they are.")
    if row.match.others:
        flags.append(
            f"other settings of this board that fit this cell too: {row.match.others}; shown: {escape(_setting(trial))}."
        )
    return flags


def _setting(trial: Trial) -> str:
    protocol = trial.labels.protocol or trial.protocol.name
    return f"{trial.labels.model}, set {trial.distilled[:8]}, protocol {protocol}"


def _footnote_marks(rows: Sequence[Row]) -> dict[str, str]:
    notes = dict.fromkeys(note for row in rows for note in _flags(row))
    return {note: letter(i) for i, note in enumerate(notes)}


def _remarks(board: Board, rows: Sequence[Row], everything: Sequence[ReportedCell]) -> Iterator[str]:
    """Yield the notes that only some boards need."""
    if any(row.cell.loss == "gift" and row.cell.ours == "cosine" for row in rows):
        yield COSINE
    if any(row.cell.refine and row.cell.ours.startswith("refined") for row in rows):
        yield REFINED
    others = [name for name in dict.fromkeys(row.cell.optimizer for row in rows) if name != "adamw"]
    if others:
        yield UNSTATED.format(optimizers=" and ".join({"sgd": "SGD", "adam": "Adam"}.get(name, name) for name in others))
    yield from _contradictions(rows, everything)
    yield from _teachers(board, rows)


def _contradictions(rows: Sequence[Row], everything: Sequence[ReportedCell]) -> Iterator[str]:
    """Yield the cells for which other tables of the same file have another number."""
    for row in rows:
        cell = row.cell
        same = [c for c in everything if c.place == cell.place and c.table != cell.table and c.accuracy != cell.accuracy]
        if same:
            where = f"{cell.method}, {cell.dataset}, IPC {cell.ipc}, {_loss(cell)}"
            tables: dict[str, list[str]] = {}
            for other in same:
                tables.setdefault(fixed(other.accuracy, 1), []).append(other.table)
            elsewhere = ", ".join(f"{value} in Table{'s'[: len(t) - 1]} {listed(t)}" for value, t in tables.items())
            yield f"{escape(where)}: the paper has {fixed(cell.accuracy, 1)} in Table {cell.table} and {escape(elsewhere)}."


def _teachers(board: Board, rows: Iterable[Row]) -> Iterator[str]:
    """Yield the teachers that gave our soft labels, beside what they are known for."""
    expected = {
        (part.dataset.name, model.name): known
        for part in board.boards
        for model, known in zip(part.teacher.models, part.teacher.expect, strict=False)
    }
    lines: dict[str, None] = {}
    for row in rows:
        labels = row.match.trial.labels if row.match else Labels()
        if labels.teacher and labels.teacher_accuracy is not None:
            known = expected.get((row.cell.dataset, labels.teacher))
            shown = f" ({known:g} in the paper)" if known is not None else ""
            accuracy = fixed(labels.teacher_accuracy, 2)
            lines[f"{escape(row.cell.dataset)}: {escape(labels.teacher)}, {accuracy} %{shown}"] = None
    if lines:
        yield f"Our teachers, accuracy on the test split: {'; '.join(lines)}."


# -- CSV -----------------------------------------------------------------------------------------------------------------


def _csv(rows: Iterable[Row]) -> str:
    """Return every field of every cell at full precision, one line a cell; what there is not is empty."""
    stream = io.StringIO()
    writer = csv.DictWriter(stream, FIELDS, lineterminator="\n")
    writer.writeheader()
    writer.writerows({name: csv_cell(text) for name, text in _fields(row).items()} for row in rows)
    return stream.getvalue()


def _fields(row: Row) -> dict[str, str]:
    cell = row.cell
    shown: dict[str, str] = {name: str(getattr(cell, name)) for name in COLUMNS}
    shown |= {"refine": str(int(cell.refine)), "native": str(int(cell.native)), "compared_with": cell.ours, "n": "0"}
    shown |= {"accuracy": _full(cell.accuracy), "std": _full(cell.std)}
    if row.match is None:
        return shown
    best, last, (difference, low, high) = row.best, row.last, row.difference
    trial = row.match.trial
    return shown | {
        "n": str(last.n),
        "seeds": " ".join(str(record.trial.seed) for record in row.match.records),
        "ours_best": _full(best.mean),
        "ours_best_std_ddof0": _full(_population(best) if best.n else math.nan),
        "ours_best_std": _full(best.std),
        "difference": _full(difference),
        "low": _full(low),
        "high": _full(high),
        "mark": row.mark,
        "ours_last": _full(last.mean),
        "ours_last_std": _full(last.std),
        "diverged": str(row.diverged),
        "model": trial.labels.model,
        "protocol": trial.labels.protocol or trial.protocol.name,
        "deviations": "; ".join(f"{name} {change}" for name, change in deviations(trial).items()),
        "other_settings": str(row.match.others),
        "teacher": trial.labels.teacher,
        "teacher_accuracy": number(trial.labels.teacher_accuracy),
        "teacher_digest": "+".join(trial.teacher),
        "distilled": trial.distilled,
    }


def _full(value: float) -> str:
    return "" if math.isnan(value) else repr(float(value))
