"""Published numbers: a CSV file of them, and which of a board's records measure the same thing."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from harness.boards.protocol import Protocol
from harness.boards.records import Record
from harness.boards.trial import Trial
from harness.core.errors import DataError, GiftbenchError, at, suggest
from harness.core.spec import Spec
from harness.files import paths
from harness.optimizers.optimizers import schedules

COLUMNS = (
    *("table", "dataset", "method", "distilled_on", "ipc", "network", "optimizer", "loss", "refine", "native", "accuracy", "std"),
)
#: What may stand beside them: our loss to compare a cell with, where the rule (`ReportedCell.ours`) would say another.
OPTIONAL = ("compared_with",)
LIMIT = 16 * 2**20
#: Depth of the ConvNet that papers mean, by dataset: three blocks for 32 px, four for 64 px; any depth on other datasets.
DEPTHS = {"cifar10": 3, "cifar100": 3, "tiny-imagenet": 4, "imagenet-1k": 4}
#: Networks that papers give a stem without stride and pooling on images of 32 and 64 px.
WITH_SMALL_STEM = ("resnet18", "resnet101")
#: Networks that papers take from torchvision, with its rates of dropout and stochastic depth, and its initial weights.
OF_TORCHVISION = {
    "efficientnet-b0": ("efficientnet-b0(dropout=0.2, drop_path=0.2, init=torchvision)",),
    "mobilenet-v2": ("mobilenet-v2(dropout=0.2, init=torchvision)",),
    "swin-v2-tiny": ("swin-v2-tiny(drop_path=0.2, init=torchvision, windows=pad)",),
}
#: Methods whose ConvNets have instance norm.
WITH_INSTANCE_NORM = ("datm", "mtt", "tesla", "dc", "dsa", "dm")
SIZES = {"convnet": 64}  # of imagenet-1k in pixels, by network; 224 for all others


@dataclass(frozen=True)
class ReportedCell:
    """One published number.

    Attributes:
        table: of the paper, as text; `6` is the GIFT paper's Table 6 (see `ours`).
        dataset, method, distilled_on, ipc, network, optimizer: the cell's place; `distilled_on` is a network or empty.
        loss, refine: the loss, and whether its soft labels are refined.
        native: whether it is the method's own loss.
        accuracy: mean over three runs of the best of four test evaluations, percent.
        std: standard deviation over these runs (ddof 0), points; NaN where none was published.
        compared_with: our loss to compare with; empty for what `ours` says.
    """

    table: str
    dataset: str
    method: str
    distilled_on: str
    ipc: int
    network: str
    optimizer: str
    loss: str
    refine: bool
    native: bool
    accuracy: float
    std: float
    compared_with: str = ""

    @cached_property
    def ours(self) -> str:
        """The label of our loss to compare with.

        `cosine` with refined labels is `gift`, another loss with refined labels is `refined`. The row that the GIFT paper's
        Table 6 calls GIFT equals the row "cosine loss only" of its Tables 7 and 13: it is `cosine`.
        """
        if self.compared_with:
            return self.compared_with
        if self.loss == "gift":
            return "cosine" if self.table == "6" else "gift"
        if not self.refine:
            return self.loss
        if self.loss == "cosine":
            return "gift"
        return "refined" if self.loss == "kl" else f"refined(native={self.loss})"

    @property
    def place(self) -> tuple[str | int, ...]:
        """What tells cells apart, without the table: the same place in two tables is the same experiment."""
        return (self.dataset, self.method, self.distilled_on, self.ipc, self.network, self.optimizer, self.ours)

    @cached_property
    def networks(self) -> tuple[str, ...]:
        """The labels of our students that are this network, the likeliest first."""
        if self.network == "convnet":
            depths = [DEPTHS[self.dataset]] if self.dataset in DEPTHS else range(1, 9)
            norms = ["", "(norm=instance)"]
            if plain(self.method) in WITH_INSTANCE_NORM:
                norms.reverse()
            return tuple(f"convnet{depth}{norm}" for norm in norms for depth in depths)
        if self.network in WITH_SMALL_STEM:
            return (self.network,) if self.dataset == "imagenet-1k" else (f"{self.network}-modified", self.network)
        return (*OF_TORCHVISION.get(self.network, ()), self.network)

    def fits(self, trial: Trial) -> bool:
        """Return whether a trial does what this cell is about, its protocol aside.

        A trial with options of its scenario (steps of a stream, a multiplier) does something else.
        """
        labels = trial.labels
        made_on = labels.distilled_on or self.distilled_on
        return (
            not trial.options
            and plain(labels.method) == plain(self.method)
            and labels.ipc == self.ipc
            and labels.loss == self.ours
            and labels.optimizer == self.optimizer
            and labels.model in self.networks
            and (not self.distilled_on or made_on == self.distilled_on)
            and self._is_on(trial)
        )

    def _is_on(self, trial: Trial) -> bool:
        try:
            named = Spec.model_validate(trial.dataset.name)
        except GiftbenchError:  # a folder's path, perhaps
            named = Spec(name=trial.labels.dataset)
        if self.dataset not in (named.name, trial.labels.dataset):
            return False
        return self.dataset != "imagenet-1k" or named.options.get("size", 224) == SIZES.get(self.network, 224)


@dataclass(frozen=True)
class Match:
    """The records of one cell, one a seed, all of trials that differ in nothing else.

    `others` counts further settings of the board that the cell's description fits too: the one nearest to the protocol, with
    the likeliest network, was taken.
    """

    records: tuple[Record, ...]
    others: int

    @property
    def trial(self) -> Trial:
        return self.records[0].trial


def load(path: Path) -> list[ReportedCell]:
    """Read and check a CSV file of published numbers: one cell a row, the columns in any order, further ones ignored.

    Raises: DataError, in one line, that names the file, the line and what would be right.
    """
    paths.size(path, LIMIT)
    try:
        text = path.read_text("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: cannot be read as UTF-8 text ({type(error).__name__})") from None
    reader = csv.DictReader(io.StringIO(text, newline=""))
    try:
        header = list(reader.fieldnames or ())
        for name in COLUMNS:
            if name not in header:
                raise DataError(f"{path}: no column {name!r}; it needs {', '.join(COLUMNS)}")
        return _checked(path, reader)
    except csv.Error as error:
        raise DataError(f"{path}: line {reader.line_num}: not CSV: {error}") from None


def _checked(path: Path, reader: csv.DictReader[str]) -> list[ReportedCell]:
    cells: list[ReportedCell] = []
    lines: dict[tuple[Any, ...], int] = {}
    for row in reader:
        with at(f"{path}: line {reader.line_num}"):
            cell = _cell(row)
            key = (cell.table, *cell.place, cell.loss, cell.refine)
            if key in lines:
                raise DataError(f"the same cell as line {lines[key]}: {describe(cell)}")
            lines[key] = reader.line_num
            cells.append(cell)
    if not cells:
        raise DataError(f"{path}: no cells; a row each under the names of the columns")
    return cells


def _cell(row: Mapping[str, str | None]) -> ReportedCell:
    words = {name: " ".join((row.get(name) or "").split()) for name in (*COLUMNS, *OPTIONAL)}
    for name in ("table", "dataset", "method", "network", "optimizer", "loss"):
        if not words[name]:
            raise DataError(f"{name} is empty")
    ipc = words["ipc"]
    if not (ipc.isascii() and ipc.isdecimal() and len(ipc) < 9 and int(ipc) > 0):
        raise DataError(f"ipc must be a whole number above 0, not {ipc!r}")
    return ReportedCell(
        **{name: words[name] for name in ("table", "dataset", "method", "distilled_on", "network", "optimizer", "loss")},
        ipc=int(ipc),
        refine=_flag(words, "refine"),
        native=_flag(words, "native"),
        accuracy=_number(words, "accuracy"),
        std=_number(words, "std") if words["std"] else math.nan,
        compared_with=words["compared_with"],
    )


def _flag(words: Mapping[str, str], name: str) -> bool:
    if words[name] not in ("0", "1"):
        raise DataError(f"{name} must be 0 or 1, not {words[name]!r}")
    return words[name] == "1"


def _number(words: Mapping[str, str], name: str) -> float:
    try:
        value = float(words[name])
    except ValueError:
        value = math.nan
    if not 0 <= value <= 100:
        raise DataError(f"{name} must be a number from 0 to 100 (percent), not {words[name]!r}")
    return value


def of_tables(cells: Sequence[ReportedCell], tables: Sequence[str], source: str) -> list[ReportedCell]:
    """Return the cells of some tables, all when none is named. Raises DataError for a table that there is not."""
    there = list(dict.fromkeys(cell.table for cell in cells))
    for name in tables:
        if name not in there:
            raise DataError(f"{source}: no table {name!r}; {suggest(name, there)}")
    return [cell for cell in cells if not tables or cell.table in tables]


def match(cells: Iterable[ReportedCell], records: Iterable[Record]) -> dict[ReportedCell, Match]:
    """Return the records of each cell that has any; failed ones and those without an accuracy do not count."""
    counting = [r for r in records if r.status != "failed" and "accuracy" in r.metrics]
    counting.sort(key=lambda record: (record.trial.labels.order, record.id))
    matches = {cell: _matched(cell, [record for record in counting if cell.fits(record.trial)]) for cell in cells}
    return {cell: matched for cell, matched in matches.items() if matched is not None}


def _matched(cell: ReportedCell, fitting: Sequence[Record]) -> Match | None:
    groups: dict[str, dict[int, Record]] = {}
    for record in fitting:  # two scenarios may ask for the same training: its seeds count once
        groups.setdefault(record.trial.setup.training, {}).setdefault(record.trial.seed, record)
    if not groups:
        return None

    def distance(seeds: Mapping[int, Record]) -> tuple[int, int]:
        trial = next(iter(seeds.values())).trial
        return len(deviations(trial)), cell.networks.index(trial.labels.model)

    nearest: Callable[[Mapping[int, Record]], tuple[int, int]] = distance
    best = min(groups.values(), key=nearest)  # the first planned of equals
    return Match(tuple(best[seed] for seed in sorted(best)), len(groups) - 1)


def deviations(trial: Trial) -> dict[str, str]:
    """Return what of a trial's protocol is not the paper's: {field: "ours instead of theirs"}; optimizers are not looked at."""
    images = trial.labels.images
    theirs = Protocol.model_validate("paper").resolved(1 if images is None else images, trial.labels.dataset)
    differences = {}
    for name in Protocol.model_fields:
        if name in ("name", "optimizer") or (name == "batch_size" and images is None):
            continue
        if name == "cutout" and not trial.protocol.squares:
            continue
        ours, usual = getattr(trial.protocol, name), getattr(theirs, name)
        if name == "schedule":
            ours, usual = schedules.label(ours), schedules.label(usual)
        if ours != usual:
            differences[name] = f"{ours} instead of {usual}"
    return differences


def describe(cell: ReportedCell) -> str:
    """Return a cell's place in a few words."""
    where = f"distilled on {cell.distilled_on}" if cell.distilled_on else ""
    words = [f"table {cell.table}", cell.dataset, cell.method, where, f"IPC {cell.ipc}", cell.network, cell.optimizer, cell.loss]
    return ", ".join(word for word in words if word) + (" + refinement" if cell.refine and cell.loss != "gift" else "")


def plain(name: str) -> str:
    """Return a method's name without case and punctuation: G-VBSM and gvbsm are one."""
    return "".join(letter for letter in name.lower() if letter.isalnum())
