"""What a whole board says: losses, and sets, over all cells that they share; a pure function of its tables."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from typing import Any, NamedTuple

import numpy
import numpy.typing
from tabulate import tabulate

from harness.leaderboard import statistics
from harness.leaderboard.columns import AXES, each
from harness.leaderboard.statistics import LEVEL, Numbers, holm, mean_ranks, signed_rank, smallest_p, trimmed_mean
from harness.leaderboard.tables import Table
from harness.leaderboard.text import escape, fixed, listed

Whole = numpy.typing.NDArray[numpy.int64]

#: Times that blocks are drawn for an interval, and the seed of the draws: the same tables give the same bytes.
DRAWS, SEED = 2000, 0
#: What is compared, and what several of it are called.
ASKED = {"loss": "losses", "set": "sets"}


class Block(NamedTuple):
    """What is drawn anew as one: cells that share these are kin. `set` is empty where sets are compared, within each loss."""

    dataset: str
    set: str
    ipc: str
    student: str
    optimizer: str
    setting: str


@dataclass(frozen=True)
class Entrant:
    """How a loss or a set did over the cells that all share.

    Attributes:
        rank: mean rank, 1 the best; equal means share theirs. `rank_low` and `rank_high`: 95 % bootstrap interval over blocks.
        wins: cells in which its mean, as printed, is the highest or one of the highest.
        improvement: probability that one of its seeds is above one of a rival's in the same cell, all rivals alike, in [0, 1],
            with its interval over blocks (Agarwal et al. 2021, section 4.3; equal accuracies count half).
        middle: interquartile mean of its accuracies, percent (Agarwal et al. 2021, section 4.3), with its interval over seeds
            drawn anew within each cell (their stratified bootstrap).
        accuracy: mean over the cells of settings that hold several students or optimizers, of which each seed gives one;
            Student's interval over seeds. NaN where there is no such setting.
        gap: accuracy on other students less that on the one that the set was distilled on, in points, by seed in the same way.
    """

    name: str
    rank: float
    rank_low: float
    rank_high: float
    wins: int
    improvement: float
    improvement_low: float
    improvement_high: float
    middle: float
    middle_low: float
    middle_high: float
    accuracy: float = math.nan
    accuracy_low: float = math.nan
    accuracy_high: float = math.nan
    gap: float = math.nan
    gap_low: float = math.nan
    gap_high: float = math.nan


@dataclass(frozen=True)
class Comparison:
    """Losses, or sets, over the cells that all of them share, best first.

    Attributes:
        asked: `loss` or `set`.
        cells, blocks: how many the comparison rests on.
        left_out: those that stand in fewer blocks.
        sentence: which is best, or that it cannot be told.
    """

    asked: str
    entrants: tuple[Entrant, ...]
    cells: int
    blocks: int
    left_out: tuple[str, ...]
    sentence: str

    def columns(self) -> dict[str, list[str]]:
        """Return the columns of its table, plain text, by what they are called; those in which nothing stands are left out."""
        columns = {
            self.asked: [entrant.name for entrant in self.entrants],
            "mean rank": [_shown(e.rank, e.rank_low, e.rank_high) for e in self.entrants],
            "wins": [str(e.wins) for e in self.entrants],
            "probability of improvement": [
                _shown(e.improvement, e.improvement_low, e.improvement_high, 2) for e in self.entrants
            ],
            "interquartile mean": [_shown(e.middle, e.middle_low, e.middle_high) for e in self.entrants],
            "all students and optimizers": [_shown(e.accuracy, e.accuracy_low, e.accuracy_high) for e in self.entrants],
            "gap to its own student": [_shown(e.gap, e.gap_low, e.gap_high) for e in self.entrants],
        }
        return {name: values for name, values in columns.items() if any(values)}

    @property
    def note(self) -> str:
        """What the comparison rests on, Markdown."""
        return _note(self)


@dataclass(frozen=True)
class Summary:
    """What a board says over all its tables; `sentence` is plain text."""

    comparisons: tuple[Comparison, ...]

    @property
    def sentence(self) -> str:
        return " ".join(comparison.sentence for comparison in self.comparisons) or (
            "Nothing here is compared in cells that share everything else."
        )

    def markdown(self, level: int = 2) -> str:
        """Return the section that opens a board."""
        parts = [f"{'#' * level} Summary", escape(self.sentence)]
        for comparison in self.comparisons:
            parts += [_table(comparison), _note(comparison)]
        return "\n\n".join(parts) + "\n"


def summary(tables: Iterable[Table]) -> Summary:
    """Return what the tables of a board say of its losses and of its sets, each over the cells that all compared ones share.

    A loss is compared within one set, IPC, student, optimizer and setting, a set within one loss and the rest. A training that
    several tables show counts once; tables that a scenario made without records, and columns of which the lowest is the best,
    are left out. Of losses (sets) that stand in different cells those are compared for which their number times that of their
    blocks is largest.
    """
    tables = [table for table in tables if table.records is not None and len(table.cells)]
    return Summary(tuple(filter(None, (_compared(tables, asked) for asked in ASKED))))


# -- what is compared ----------------------------------------------------------------------------------------------------


class _Cell(NamedTuple):
    name: str
    block: Block
    at: str
    distilled_on: str
    seeds: dict[int, float]


def _cells(table: Table, asked: str) -> Iterable[_Cell]:
    axes = {"method": table.groups, "row": table.rows, "column": table.columns}
    own = next((field for field, axis in axes.items() if axis == asked), "")
    sets = next((field for field, axis in axes.items() if axis == "set"), "")
    if not own or {"loss", "optimizer", "model"} - {*table.cells.columns}:
        return
    setting = table.title.partition(" — ")[2]
    names = ["method", "row", "ipc", "column", "dataset", "loss", "optimizer", "model", "distilled_on"]
    places_of = each(table.cells.reindex(columns=names), *names)
    for method, row, ipc, column, dataset, loss, optimizer, model, distilled_on in places_of:
        seeds = table.seeds(method, row, ipc, column)
        if not seeds or table.has_lowest(column):
            continue
        places = {"method": method, "row": row, "column": column}
        name, others = str(places[own]), {"set": places.get(sets, ""), "loss": loss} | {asked: ""}
        known = {own, sets} | {field for field, axis in axes.items() if axis in AXES}
        rest = " / ".join(value for field, value in places.items() if field not in known)
        block = Block(dataset, others["set"], ipc, model, optimizer, setting)
        yield _Cell(name, block, f"{others['loss']} / {rest}", distilled_on, seeds)


def _compared(tables: Sequence[Table], asked: str) -> Comparison | None:
    cells: dict[tuple[Block, str], dict[str, _Cell]] = {}
    for cell in (cell for table in tables for cell in _cells(table, asked)):
        cells.setdefault((cell.block, cell.at), {}).setdefault(cell.name, cell)
    names, shared = _shared(_once(cells))
    if len(names) < 2:
        return None
    rows = [[cells[place][name] for name in names] for place in shared]
    blocks = {block: number for number, block in enumerate(dict.fromkeys(block for block, _ in shared))}
    of = numpy.array([blocks[block] for block, _ in shared])
    entrants = _entrants(names, rows, of, asked)
    left_out = tuple(name for name in dict.fromkeys(name for row in cells.values() for name in row) if name not in names)
    means = numpy.array([[numpy.mean([*cell.seeds.values()]) for cell in row] for row in rows])
    order = [names.index(entrant.name) for entrant in entrants]
    sentence = _sentence(asked, entrants, _by_block(means[:, order], of))
    return Comparison(asked, entrants, len(rows), len(blocks), left_out, sentence)


def _once(cells: dict[tuple[Block, str], dict[str, _Cell]]) -> dict[tuple[Block, str], dict[str, _Cell]]:
    """Return the cells without those of a block that hold the same accuracies of the same seeds: the same trainings."""
    first: dict[object, tuple[Block, str]] = {}
    for (block, at), row in cells.items():
        content = frozenset((name, *sorted(cell.seeds.items())) for name, cell in row.items())
        first.setdefault((block, content), (block, at))
    return {place: cells[place] for place in first.values()}


def _shared(cells: dict[tuple[Block, str], dict[str, _Cell]]) -> tuple[list[str], list[tuple[Block, str]]]:
    """Return names, and the cells that hold all of them: those of the largest product of names and blocks."""
    best: tuple[tuple[int, int], list[str], list[tuple[Block, str]]] = ((0, 0), [], [])
    for wanted in dict.fromkeys(frozenset(row) for row in cells.values() if len(row) > 1):
        places = [place for place, row in cells.items() if wanted <= row.keys()]
        size = len(wanted) * len({block for block, _ in places}), len(wanted)
        if size > best[0]:
            best = size, [name for name in cells[places[0]] if name in wanted], places
    return best[1], best[2]


# -- figures -------------------------------------------------------------------------------------------------------------


FIGURES = [field.name for field in fields(Entrant)][1:]


def _entrants(names: list[str], rows: list[list[_Cell]], of: Whole, asked: str) -> tuple[Entrant, ...]:
    values = [[numpy.array([*cell.seeds.values()]) for cell in row] for row in rows]
    means = numpy.array([[runs.mean() for runs in row] for row in values])
    ranks = mean_ranks(-numpy.round(means, 9))
    printed = numpy.array([[float(fixed(mean, 1)) for mean in row] for row in means])
    wins = (printed == printed.max(axis=1, keepdims=True)).sum(axis=0)
    improvement = numpy.array([_above(row) for row in values])
    draws = numpy.random.default_rng(SEED)
    drawn = draws.integers(of.max() + 1, size=(DRAWS, of.max() + 1))
    ranks_at, improvement_at = _interval(ranks, of, drawn), _interval(improvement, of, drawn)
    spread = _spread(rows)
    entrants = []
    for i, name in enumerate(names):
        middle = _middle([row[i] for row in values], draws)
        own = [row[i] for row in rows]
        accuracy = _over(spread, own)
        gap = _gap(own) if asked == "set" else (math.nan,) * 3
        facts = (ranks[:, i].mean(), *ranks_at[i], int(wins[i]), improvement[:, i].mean(), *improvement_at[i], *middle)
        values_of: dict[str, Any] = dict(zip(FIGURES, (*facts, *accuracy, *gap), strict=True))
        entrants.append(Entrant(name=name, **values_of))
    return tuple(sorted(entrants, key=lambda entrant: (entrant.rank, -entrant.middle)))


def _above(row: Sequence[Numbers]) -> Numbers:
    """Return the probability that a seed of each is above one of a rival's: Mann and Whitney's U over the number of pairs."""
    bounds = numpy.cumsum([0, *map(len, row)])[:-1]
    every = numpy.concatenate(row)
    signs = numpy.sign(every[:, None] - every[None, :])
    sums = numpy.add.reduceat(numpy.add.reduceat(signs, bounds, axis=0), bounds, axis=1)
    sizes = numpy.array([*map(len, row)], dtype="float64")
    rivals = (sums / (sizes[:, None] * sizes[None, :]))[~numpy.eye(len(row), dtype=bool)].reshape(len(row), -1)
    chances: Numbers = (rivals.mean(axis=1) + 1) / 2
    return chances


def _by_block(values: Numbers, of: Whole) -> Numbers:
    sums = numpy.zeros((of.max() + 1, values.shape[1]))
    numpy.add.at(sums, of, values)
    return sums / numpy.bincount(of)[:, None]


def _interval(values: Numbers, of: Whole, drawn: Whole) -> Numbers:
    """Return the ends of the 95 % interval of each column's mean over cells, blocks being drawn with what they hold.

    Source: Efron (1979), Bootstrap methods, Ann. Statist. 7; percentiles. NaN for one block.
    """
    if of.max() == 0:
        return numpy.full((values.shape[1], 2), math.nan)
    counts = numpy.bincount(of)
    sums = _by_block(values, of) * counts[:, None]
    means = sums[drawn].sum(axis=1) / counts[drawn].sum(axis=1)[:, None]
    ends: Numbers = numpy.percentile(means, [2.5, 97.5], axis=0).T
    return ends


def _middle(cells: Sequence[Numbers], draws: numpy.random.Generator) -> tuple[float, float, float]:
    """Return the interquartile mean of all runs, and its interval by drawing seeds anew within each cell; none for one seed."""
    value = float(trimmed_mean(numpy.concatenate(cells), 0.25))
    if max(len(runs) for runs in cells) < 2:
        return value, math.nan, math.nan
    times = max(200, min(DRAWS, 2_000_000 // sum(map(len, cells))))
    drawn = numpy.concatenate([runs[draws.integers(len(runs), size=(times, len(runs)))] for runs in cells], axis=1)
    low, high = numpy.percentile(trimmed_mean(drawn, 0.25), [2.5, 97.5])
    return value, float(low), float(high)


def _spread(rows: list[list[_Cell]]) -> set[int]:
    """Return which rows belong to a setting that holds several students or optimizers."""
    kinds: dict[object, list[int]] = {}
    for number, row in enumerate(rows):
        kinds.setdefault((row[0].block._replace(student="", optimizer=""), row[0].at), []).append(number)
    several = [numbers for numbers in kinds.values() if len(numbers) > 1]
    return {number for numbers in several for number in numbers}


def _over(numbers: set[int], own: Sequence[_Cell]) -> tuple[float, float, float]:
    cells = [own[number].seeds for number in sorted(numbers)]
    if not cells:
        return (math.nan,) * 3
    seeds = set.intersection(*({*cell} for cell in cells))
    return _with_interval([float(numpy.mean([cell[seed] for cell in cells])) for seed in sorted(seeds)])


def _gap(own: Sequence[_Cell]) -> tuple[float, float, float]:
    """Return accuracy on other students less that on the student that the set was distilled on; NaN where one of them lacks."""
    home = [cell for cell in own if cell.distilled_on and cell.block.student == cell.distilled_on]
    away = [cell for cell in own if cell.distilled_on and cell.block.student != cell.distilled_on]
    if not home or not away:
        return (math.nan,) * 3
    seeds = set.intersection(*({*cell.seeds} for cell in (*home, *away)))
    means = [[float(numpy.mean([cell.seeds[seed] for cell in cells])) for seed in sorted(seeds)] for cells in (away, home)]
    return _with_interval([other - there for other, there in zip(*means, strict=True)])


def _with_interval(values: Sequence[float]) -> tuple[float, float, float]:
    sample = statistics.summary(values)
    half = statistics.half_width(sample)
    return sample.mean, sample.mean - half, sample.mean + half


# -- words ---------------------------------------------------------------------------------------------------------------


def _sentence(asked: str, entrants: Sequence[Entrant], blocks: Numbers) -> str:
    """Return which is best, or that it cannot be told; `blocks` are mean accuracies, [block, entrant], the entrants in order.

    The one of the lowest mean rank is best where it is above each other one by the signed-rank test over blocks, Holm-corrected.
    """
    top, rivals, count = entrants[0], entrants[1:], len(blocks)
    differences = blocks[:, :1] - blocks[:, 1:]
    p = holm([signed_rank(column) for column in differences.T])
    alike = [
        rival.name
        for rival, value, gap in zip(rivals, p, differences.mean(axis=0), strict=True)
        if not (value < LEVEL and gap > 0)
    ]
    over = f"over {count} block{'s' * (count != 1)} the mean rank of {top.name} is {fixed(top.rank, 1)} of {len(entrants)}"
    if not alike:
        return f"{top.name} is the best {asked}: {over}, and every other one is told from it."
    few = smallest_p(count) * len(rivals) >= LEVEL
    why = "too few blocks to tell" if few else f"not told from {listed(alike[:4])}{' and others' * (len(alike) > 4)}"
    return f"Which {asked} is best cannot be told: {over}, {why}."


def _table(comparison: Comparison) -> str:
    columns = {name: [escape(value) for value in values] for name, values in comparison.columns().items()}
    aligned = ["left", *["right"] * (len(columns) - 1)]
    text: str = tabulate(columns, headers="keys", tablefmt="pipe", colalign=aligned, disable_numparse=True)
    return text


def _shown(value: float, low: float, high: float, decimals: int = 1) -> str:
    if math.isnan(value):
        return ""
    return fixed(value, decimals) + ("" if math.isnan(low) else f" [{fixed(low, decimals)}, {fixed(high, decimals)}]")


def _note(comparison: Comparison) -> str:
    blocks = f"{comparison.blocks} block{'s' * (comparison.blocks != 1)}"
    left = f" Left out, standing in fewer blocks: {escape(listed(comparison.left_out))}." if comparison.left_out else ""
    of = "dataset, set, IPC" if comparison.asked == "loss" else "dataset, IPC"
    few = " So few blocks bear no interval to be relied on." if comparison.blocks < 6 else ""
    return (
        f"{ASKED[comparison.asked].capitalize()} over the {comparison.cells} cells that all of them share, in {blocks} of one "
        f"{of}, student, optimizer and setting. Intervals are of 95 %, by drawing blocks anew; that of the "
        "interquartile mean by drawing seeds within each cell; that over all students and optimizers is Student's, over seeds."
        f"{few}{left}"
    )
