"""The boards of the GIFT paper: they ask for what its tables report, and `compare` sets each number beside its own."""

from __future__ import annotations

import csv
import shutil
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from harness import losses
from harness.boards.board import Board, load_board
from harness.boards.protocol import Protocol
from harness.boards.records import Record, RecordStore
from harness.boards.trial import Trial
from harness.distilled.files import SetFile
from harness.leaderboard.comparison import compare
from harness.leaderboard.reported import deviations
from harness.planning.artefacts import Artefacts
from harness.planning.preparation import Preparation, PreparedSet
from harness.running.names import check_names
from harness.running.planning import plan
from harness.teachers.files import TeacherFile

PAPER = Path(__file__).parents[2] / "leaderboards" / "paper"
TABLES = ["1", "2", "3", "4", "5", "6", "7", "12", "13"]
FIGURES = ["1", "2", "3", "8"]
CELLS = {"1": 88, "2": 36, "3": 35, "4": 84, "5": 48, "6": 56, "7": 48, "12": 36, "13": 54}
SEEDS = 3
PLACE = ("dataset", "method", "distilled_on", "ipc", "network", "optimizer")
#: Networks that the released code takes from torchvision, as it makes them.
OF_TORCHVISION = {
    "efficientnet-b0": "efficientnet-b0(dropout=0.2, drop_path=0.2, init=torchvision)",
    "mobilenet-v2": "mobilenet-v2(dropout=0.2, init=torchvision)",
    "swin-v2-tiny": "swin-v2-tiny(drop_path=0.2, init=torchvision, windows=pad)",
}


class Key(NamedTuple):
    """What a cell is about, in the words of a trial's labels; `dataset` with its parameters."""

    dataset: str
    method: str
    distilled_on: str
    ipc: int
    model: str
    optimizer: str
    loss: str


def reported() -> list[dict[str, str]]:
    with (PAPER / "reported.csv").open(newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def key(row: dict[str, str]) -> Key:
    """Say by hand, apart from the code under test, which trials a reported row is about."""
    small = row["dataset"] != "imagenet-1k"
    model = row["network"]
    if model == "convnet":
        model = "convnet3" if row["dataset"] == "cifar100" else "convnet4"
        model += "(norm=instance)" if row["method"] == "DATM" else ""
    elif model in ("resnet18", "resnet101") and small:
        model += "-modified"
    model = OF_TORCHVISION.get(model, model)
    loss = row["loss"]
    if row["table"] == "6" and loss == "gift":
        loss = "cosine"
    elif row["table"] in ("7", "13") and row["refine"] == "1":
        loss = {"cosine": "gift", "kl": "refined"}[loss]
    size = "(size=64)" if not small and row["network"] == "convnet" else ""
    place = (row["method"], row["distilled_on"], int(row["ipc"]))
    return Key(row["dataset"] + size, *place, model, row["optimizer"], loss)


def key_of(trial: Trial) -> Key:
    labels = trial.labels
    place = (labels.method, labels.distilled_on, labels.ipc)
    return Key(trial.dataset.name, *place, labels.model, labels.optimizer, labels.loss)


# -- the copy ------------------------------------------------------------------------------------------------------------


def test_the_projects_copy_holds_485_cells_of_nine_tables():
    rows = reported()
    assert len(rows) == 485
    assert Counter(row["table"] for row in rows) == CELLS
    assert {row["dataset"] for row in rows} == {"cifar100", "tiny-imagenet", "imagenet-1k"}
    native = {(row["method"], row["loss"]) for row in rows if row["native"] == "1"}
    assert native == {("SRe2L", "kl"), ("RDED", "kl"), ("DATM", "soft_ce"), ("G-VBSM", "mse_ce")}


# -- the boards ----------------------------------------------------------------------------------------------------------

NAMES = [*(f"table{n}" for n in TABLES), *(f"figure{n}" for n in FIGURES)]


def test_every_table_and_figure_has_its_board_and_there_are_no_others():
    assert sorted(path.parent.name for path in PAPER.glob("*/board.toml")) == sorted(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_a_board_loads_and_all_its_names_are_known(name: str):
    board = load_board(PAPER / name)
    kind, number = ("table", name[5:]) if name.startswith("table") else ("figure", name[6:])
    assert f"{kind.capitalize()} {number}" in board.title and board.description
    assert board.reported_tables == ((number,) if kind == "table" else (f"figure {number}",))
    assert (PAPER / name / board.reported).resolve() == PAPER / "reported.csv"
    for part in board.boards:
        check_names(part, name)
        assert part.protocol == Protocol() and part.seeds == (0, 1, 2)


@pytest.mark.parametrize("name", NAMES)
def test_sets_wait_for_the_command_line_and_teachers_are_the_networks_that_they_were_distilled_on(name: str):
    expected = {
        ("cifar100", "convnet"): ("convnet3", 61.27),
        ("cifar100", "resnet18"): ("resnet18-modified", 72.27),
        ("tiny-imagenet", "convnet"): ("convnet4", 49.73),
        ("tiny-imagenet", "resnet18"): ("resnet18-modified", 61.98),
        ("imagenet-1k", "convnet"): ("convnet4", 43.6),
        ("imagenet-1k", "resnet18"): ("resnet18", 69.31),
    }
    for part in load_board(PAPER / name).boards:
        for spec in part.sets:
            assert (spec.supplied_as, spec.path) == (spec.format, "")
            assert spec.name == {"rded": "RDED", "sre2l": "SRe2L", "datm": "DATM", "gvbsm": "G-VBSM"}[spec.format]
        networks = {spec.distilled_on for spec in part.sets}
        if {spec.format for spec in part.sets} == {"datm"}:  # it brings its soft labels with it
            continue
        (network,) = networks
        model, accuracy = expected[part.dataset.name, network]
        assert [str(each) for each in part.teacher.models] == [model]
        assert part.teacher.expect == (accuracy,)
        assert part.teacher.required == (part.dataset.name == "imagenet-1k")


class Standing:
    """A dataset of which only the facts are there."""

    def __init__(self, board: Board) -> None:
        self.name, size = board.dataset.name, {"cifar100": 32, "tiny-imagenet": 64}.get(board.dataset.name, 224)
        size = board.dataset.options.get("size", size)
        self.shape, self.digest = (3, size, size), f"{self.name} {size}"
        self.classes = range({"cifar100": 100, "tiny-imagenet": 200}.get(self.name, 1000))


class StandIns(Preparation):
    """A preparation where every dataset, published set and teacher is at hand, as a name."""

    @property
    def dataset(self) -> Any:
        return Standing(self.board)

    def teacher_files(self) -> list[TeacherFile]:
        (model,), known = self.board.teacher.models, self.board.teacher.expect
        return [TeacherFile(Path(), f"teacher {model}", str(model), known[0] if known else 0.0, {})]

    def trial_teacher(self) -> tuple[str, ...]:
        return tuple(file.digest for file in self.teacher_files())

    def sets(self) -> list[PreparedSet]:
        found = []
        for spec in self.board.sets:
            for ipc in spec.ipc:
                classes = len(self.dataset.classes)
                facts = {"classes": classes, "method": spec.name, **({"soft_kind": "logits"} if spec.format == "datm" else {})}
                file = SetFile(Path(), f"{spec.name} {spec.distilled_on} {ipc} {self.dataset.digest}", ipc * classes, facts)
                found.append(PreparedSet(spec.name, file, spec.native, spec.distilled_on))
        return found


def planned(name: str) -> Iterator[Trial]:
    for part in load_board(PAPER / name).boards:
        yield from plan(StandIns(part, name, Artefacts(Path("nowhere")), device="cpu"))


@pytest.mark.parametrize("table", TABLES)
def test_a_table_s_board_asks_for_the_cells_of_the_table_and_no_others(table: str):
    trials = list(planned(f"table{table}"))
    asked = Counter(key_of(trial) for trial in trials)
    assert asked == dict.fromkeys((key(row) for row in reported() if row["table"] == table), SEEDS)
    assert not any(deviations(trial) for trial in trials)
    assert {bool(trial.teacher) for trial in trials if trial.labels.method == "DATM"} <= {False}


def test_the_figures_boards_ask_for_what_they_say():
    shown = {name: {(t.labels.dataset, t.labels.method, t.labels.ipc) for t in planned(name)} for name in NAMES[-4:]}
    assert {ipc for found in shown.values() for _, _, ipc in found} == {10}
    assert {dataset for dataset, _, _ in shown["figure1"]} == {"tiny-imagenet", "imagenet-1k"}
    stream = list(planned("figure2"))
    assert {(t.options["steps"], t.labels.loss, t.labels.model) for t in stream} == {
        (steps, loss, "resnet18-modified") for steps in (5, 10) for loss in ("kl", "gift")
    }
    assert {t.loss.options["gamma"] for t in planned("figure3")} >= {0.0, 0.1, 0.5, 1.0}


@pytest.mark.parametrize(
    ("figure", "network", "students"),
    [
        (
            "figure3",
            "resnet18",
            {"cifar100": "resnet18-modified", "tiny-imagenet": "resnet18-modified", "imagenet-1k": "resnet18"},
        ),
        ("figure8", "convnet", {"cifar100": "convnet3", "tiny-imagenet": "convnet4", "imagenet-1k(size=64)": "convnet4"}),
    ],
)
def test_gamma_is_swept_on_one_network_over_three_datasets(figure: str, network: str, students: dict[str, str]):
    norm = "(norm=instance)" if network == "convnet" else ""
    expected = {
        (dataset, method, "convnet" if method == "DATM" else network, 10, model + (norm if method == "DATM" else ""))
        for dataset, model in students.items()
        for method in ("SRe2L", "RDED", "G-VBSM", *(["DATM"] if "imagenet-1k" not in dataset else []))
    }
    assert {key_of(trial)[:5] for trial in planned(figure)} == expected


def test_all_of_datms_sets_were_distilled_on_convnet():
    """The paper, section 5.2. Nobody could supply others: the authors publish none."""
    assert {row["distilled_on"] for row in reported() if row["method"] == "DATM"} == {"convnet"}
    specs = [spec for name in NAMES for part in load_board(PAPER / name).boards for spec in part.sets]
    assert {spec.distilled_on for spec in specs if spec.format == "datm"} == {"convnet"}


def test_the_readme_counts_the_cells_in_which_the_paper_contradicts_itself():
    places: dict[tuple[object, ...], list[dict[str, str]]] = {}
    for row in reported():
        loss = key(row).loss
        places.setdefault(
            (*(row[n] for n in ("dataset", "method", "distilled_on", "ipc", "network", "optimizer")), loss), []
        ).append(row)
    means = [rows for rows in places.values() if len({row["accuracy"] for row in rows}) > 1]
    deviations_only = [rows for rows in places.values() if rows not in means and len({row["std"] for row in rows}) > 1]
    text = (PAPER / "README.md").read_text("utf-8")
    words = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight")
    assert f"contradicts itself in {words[len(means)]} cells" in text
    assert f"{words[len(deviations_only)].capitalize()} more have one mean and two deviations" in text
    for rows in means:
        assert all(row["accuracy"] in text for row in rows)


# -- compare -------------------------------------------------------------------------------------------------------------


def values(index: int) -> list[float]:
    """Return the best accuracy of each seed of a cell; no two cells share one, to one decimal either."""
    middle = 1 + index / 5
    return [middle - 0.01, middle, middle + 0.01]


def plant(folder: Path, what: Key, best: list[float], order: int, **changes: Any) -> None:
    size = {"images": 100 * what.ipc, "order": order, "native": "kl", "teacher": "", **changes.pop("labels", {})}
    named = what.dataset.partition("(")[0]
    full = Protocol.model_validate(changes.pop("protocol", "paper")).resolved(size["images"], named)
    for seed, value in enumerate(best):
        trial = Trial(
            scenario=changes.get("scenario", "planted"),
            options=changes.get("options", {}),
            dataset={"name": what.dataset, "digest": what.dataset},
            distilled=" ".join(map(str, what[:4])),
            model=what.model,
            loss=losses.registry.resolve(what.loss).spec,
            optimizer=what.optimizer,
            protocol=full,
            seed=seed,
            labels={**what._asdict(), "dataset": named, **size},
        )
        # the last epoch is half a point below the best, so that one cannot pass for the other
        metrics = {"accuracy": value - 0.5, "best_accuracy": value}
        RecordStore(folder / "records").write(Record.of(trial, "done", metrics=metrics))


def decoys(folder: Path, what: Key) -> None:
    """Plant what looks like a cell and is another: were one taken, its 99 would show."""
    for i, changes in enumerate(
        [
            {"protocol": "quick"},
            {"options": {"steps": 5}, "scenario": "class-incremental"},
        ]
    ):
        plant(folder, what, [99.0] * 3, 10_000 + i, **changes)
    for changed in (
        {"loss": "gift(gamma=0.2)"},
        {"loss": "kl(rescale)"},
        {"optimizer": "adamw(lr=0.01)"},
        {"ipc": 7},
        {"method": "Random"},
        {"distilled_on": "convnet5"},
        {"dataset": "cifar10"},
        {"model": "convnet5"},
    ):
        plant(folder, what._replace(**changed), [99.0] * 3, 20_000)


def copied(name: str, folder: Path) -> Path:
    (folder / name).mkdir()
    shutil.copy(PAPER / "reported.csv", folder)
    shutil.copy(PAPER / name / "board.toml", folder / name)
    return folder / name


def markdown_rows(text: str) -> Iterator[dict[str, str]]:
    """Yield every row of every table, with the dataset and network of its heading and what all its rows share."""
    heading: dict[str, str] = {}
    names: list[str] = []
    for line in text.splitlines():
        if line.startswith("## Table"):
            dataset, _, network = line.partition(": ")[2].partition(", distilled on ")
            heading, names = {"dataset": dataset, "distilled_on": network}, []
        elif line.startswith(("IPC ", "network ", "optimizer ")):
            heading |= dict(word.split(" ") for word in line.rstrip(".").split(", "))
        elif line.startswith("|:"):
            continue
        elif line.startswith("|"):
            cells = [cell.strip().replace("\\", "") for cell in line.strip("|").split("|")]
            if names:
                yield heading | dict(zip(names, cells, strict=True))
            names = names or cells


#: How `compare` writes a loss in Markdown, in the words of a trial's labels.
SHOWN = {"cosine (the paper's GIFT)": "cosine", "kl + refinement": "refined"}


@pytest.mark.parametrize("table", TABLES)
def test_every_reported_number_stands_beside_ours_of_the_same_cell(table: str, tmp_path: Path):
    folder = copied(f"table{table}", tmp_path)
    rows = [(i, row) for i, row in enumerate(reported()) if row["table"] == table]
    for i, row in rows:
        plant(folder, key(row), values(i), i)
    decoys(folder, key(rows[0][1]))
    if table == "6":  # gift itself was run as well, and is not what the paper's row is
        for i, row in rows:
            if row["loss"] == "gift":
                plant(folder, key(row)._replace(loss="gift"), [99.0] * 3, 30_000 + i)

    text, (_, file) = compare(folder)

    with file.open(newline="", encoding="utf-8") as stream:
        found = list(csv.DictReader(stream))
    assert len(found) == len(rows)
    for (i, row), got in zip(rows, found, strict=True):
        assert {name: got[name] for name in row if name not in ("accuracy", "std")} == {
            name: value for name, value in row.items() if name not in ("accuracy", "std")
        }
        middle = values(i)[1]
        numbers = {"accuracy": float(row["accuracy"]), "std": float(row["std"]), "ours_best": middle, "ours_last": middle - 0.5}
        numbers["difference"] = middle - float(row["accuracy"])
        assert {name: float(got[name]) for name in numbers} == pytest.approx(numbers)
        assert (got["n"], got["deviations"]) == ("3", "")

    assert f"{len(rows)} of {len(rows)} cells measured;" in text
    shown = list(markdown_rows(text))
    assert len(shown) == len(rows)
    places = ("dataset", "distilled_on", "method", "IPC", "network", "optimizer")
    beside = {}
    for line in shown:
        loss = line["loss"].removesuffix(" (native)")
        beside[(*(line[name] for name in places), SHOWN.get(loss, loss))] = line
    for i, row in rows:
        line, middle = beside[(*(row[name.lower()] for name in places), key(row).loss)], values(i)[1]
        assert line["reported"] == f"{float(row['accuracy']):.1f} ± {float(row['std']):.1f}"
        assert line["ours (best of 4)"] == f"{middle:.1f} ± 0.0"
        assert line["ours (last epoch)"] == f"{middle - 0.5:.1f} ± 0.0"
        assert ("(native)" in line["loss"]) == (row["native"] == "1")


def test_table_6_s_gift_row_is_compared_with_cosine_and_says_so(tmp_path: Path):
    folder = copied("table6", tmp_path)
    (row,) = [r for r in reported() if r["table"] == "6" and r["loss"] == "gift" and r["accuracy"] == "42.9"]
    plant(folder, key(row)._replace(loss="gift"), [44.0] * 3, 0)
    assert compare(folder).text.startswith("# GIFT paper, Table 6") and "0 of 56 cells measured" in compare(folder).text
    plant(folder, key(row)._replace(loss="cosine"), [42.9] * 3, 1)
    text = compare(folder).text
    assert "1 of 56 cells measured; 0 differ" in text
    assert "The paper's row GIFT stands beside our cosine" in text


@pytest.mark.parametrize("figure", FIGURES)
def test_a_figure_prints_no_numbers_to_compare_with(figure: str, tmp_path: Path):
    text, paths = compare(copied(f"figure{figure}", tmp_path))
    assert f"Figure {figure} of the paper prints no numbers" in text and not paths
