"""What looks wrong with a set is found where it enters: by import, by a run and by evaluate alike."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

import harness
from harness import DistilledSet, datasets
from harness.boards.board import load_board
from harness.boards.records import Record
from harness.core.errors import DataError
from harness.core.spec import Spec
from harness.datasets.cards import Card
from harness.distilled.order import Order
from harness.planning import checking
from harness.planning.artefacts import Artefacts
from harness.planning.checking import Checked, check
from harness.planning.published_sets import import_set, read
from harness.running.options import Options, Silent
from harness.running.overrides import Overrides
from harness.running.parts import Parts
from harness.running.run import leaderboard, run_board
from tests.distilled.readers.published_files import DIGITS, write

PER_CLASS = 10
HARD = torch.arange(10).repeat_interleave(PER_CLASS)
ORDER = torch.tensor([3, 7, 0, 1, 2, 9, 8, 4, 6, 5])
SOFT = 8 * torch.nn.functional.one_hot(HARD, 10).float() + torch.randn(100, 10, generator=torch.Generator().manual_seed(0))
SMALL = {"model": "convnet1(width=4)", "teacher": {"model": "convnet1(width=4)", "epochs": 1}, "protocol": "smoke", "loss": "ce"}


def real() -> Tensor:
    """The first digits of each class, pixels in [0, 1]."""
    train = datasets.load("digits").train
    return train.images[torch.cat([(train.labels == label).nonzero()[:PER_CLASS, 0] for label in range(10)])].float() / 255


#: {fault: (what it does to images, labels and soft labels; what is said of it; whether it is refused)}
FAULTS: dict[str, tuple[Callable[[Tensor], tuple[Any, ...]], str, bool]] = {
    "order": (lambda images: (images, ORDER[HARD], None), "another order of the classes", True),
    "order of soft labels": (lambda images: (images, HARD, SOFT.roll(1, 1)), "another order of the classes", True),
    "permuted": (
        lambda images: (images, HARD[torch.randperm(100, generator=torch.Generator().manual_seed(1))], None),
        "the classes may be in another order",
        False,
    ),
    "divided twice": (lambda images: (images / 255, HARD, None), "divided by 255 twice", False),
    "duplicates": (lambda images: (images[(torch.arange(100) // 5) * 5], HARD, None), "occur more than once", False),
}


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIFTBENCH_HOME", str(tmp_path / "home"))


def faulty(fault: str) -> DistilledSet:
    images, labels, soft = FAULTS[fault][0](real())
    return DistilledSet(images, labels, soft, dataset="digits", method="mine")


class Hearing(Silent):
    """A watcher that keeps what it is told."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def say(self, line: str) -> None:
        self.lines.append(line)


def board(folder: Path, entry: str) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "board.toml").write_text(
        'dataset = "digits"\nmodel = "convnet1(width=4)"\nprotocol = "smoke"\nlosses = ["ce"]\nseeds = 1\n'
        f'[[sets]]\n{entry}\n[[scenarios]]\nname = "loss-comparison"\n'
    )
    return folder / "board.toml"


def by_import(fault: str, folder: Path, force: bool) -> list[str]:
    distilled, said = faulty(fault), []
    labels = distilled.labels if distilled.soft_labels is None else distilled.soft_labels
    torch.save({"dataset": "digits", "data": distilled.images, "label": labels}, folder / "data.pt")
    import_set("gift", folder / "data.pt", "digits", force=force, say=said.append)
    return said


def by_run(fault: str, folder: Path, force: bool) -> list[str]:
    faulty(fault).save(folder / "mine.safetensors")
    watcher = Hearing()
    file = board(folder, 'file = "mine.safetensors"')
    parts = Parts(load_board(file), file, Artefacts(folder / "artefacts"), Options(device="cpu", force=force), watcher)
    parts.rehearse()
    record = parts.noted(Record.of(parts.plan()[0], "done"))
    assert any(FAULTS[fault][1] in line for line in record.provenance.warnings)
    return watcher.lines


def by_evaluate(fault: str, folder: Path, force: bool) -> list[str]:
    class Lines(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            lines.append(record.getMessage())

    lines: list[str] = []
    handler = Lines()
    logging.getLogger("giftbench").addHandler(handler)
    try:
        result = harness.evaluate(faulty(fault), seeds=1, device="cpu", force=force, **SMALL)
    finally:
        logging.getLogger("giftbench").removeHandler(handler)
    assert any(FAULTS[fault][1] in line for line in result.records[0].provenance.warnings)
    return lines


DOORS = {"import": by_import, "run": by_run, "evaluate": by_evaluate}


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("fault", FAULTS)
def test_what_looks_wrong_is_said_by_all_three_and_another_order_refused(tmp_path: Path, door: str, fault: str) -> None:
    _, words, refused = FAULTS[fault]
    if door == "import" and fault == "order of soft labels":
        pytest.skip("GIFT's files have no hard labels beside soft ones")
    if refused:
        with pytest.raises(DataError, match=words) as error:
            DOORS[door](fault, tmp_path, False)
        assert "force" in str(error.value) and "\n" not in str(error.value)
    lines = DOORS[door](fault, tmp_path, refused)
    assert any("warning: " in line and words in line for line in lines)


def test_probabilities_given_as_logits_are_said_of_a_file_and_of_a_set_in_memory(tmp_path: Path) -> None:
    distilled = DistilledSet(real(), HARD, SOFT.softmax(1), dataset="digits", method="mine")
    checked = check(distilled.digest, lambda: distilled, datasets.card("digits"), datasets.load("digits"))
    assert any("said to be logits, by their numbers they are probabilities" in line for line in checked.warnings)


def test_a_set_is_looked_at_once(tmp_path: Path) -> None:
    distilled, looks = faulty("duplicates"), []

    def load() -> DistilledSet:
        looks.append(1)
        return distilled

    card, digits = datasets.card("digits"), datasets.load("digits")
    first = check(distilled.digest, load, card, digits)
    assert check(distilled.digest, load, card, digits) == first
    assert len(looks) == 1
    assert check("another", load, card, digits) == first and len(looks) == 2


def test_a_stated_order_is_taken_and_kept_with_the_set(tmp_path: Path) -> None:
    distilled = faulty("order")
    torch.save({"dataset": "digits", "data": distilled.images, "label": distilled.labels}, tmp_path / "data.pt")
    (tmp_path / "order.txt").write_text("\n".join(str(int(label)) for label in ORDER.argsort()))
    said: list[str] = []
    mended = import_set("gift", tmp_path / "data.pt", "digits", order=str(tmp_path / "order.txt"), say=said.append)
    assert mended.labels.equal(HARD) and mended.provenance["order"] == "order.txt"
    assert not any(line.startswith("warning: another order") for line in said)
    kept = import_set("gift", tmp_path / "data.pt", "digits", order="numbers", say=said.append)
    assert kept.labels.equal(distilled.labels) and kept.provenance["order"] == "numbers"
    file = board(tmp_path / "board", 'file = "kept.safetensors"')
    kept.save(tmp_path / "board" / "kept.safetensors")
    watcher = Hearing()
    run = run_board(file, Overrides(), Options(device="cpu", jobs=1), watcher)  # who imported it has said so already
    assert any(line.startswith("warning: ") and "another order" in line for line in watcher.lines)
    record = json.loads(next((file.parent / "records").glob("*.json")).read_text())
    assert any("another order" in line for line in record["provenance"]["warnings"])
    assert any("Warning of gift" in path.read_text() for path in leaderboard(run) if path.name == "README.md")


def test_a_board_states_the_order_of_a_published_set(tmp_path: Path) -> None:
    distilled = faulty("order")
    folder = tmp_path / "board"
    folder.mkdir()
    torch.save({"dataset": "digits", "data": distilled.images, "label": distilled.labels}, folder / "data.pt")
    (folder / "order.txt").write_text("\n".join(str(int(label)) for label in ORDER.argsort()))
    file = board(folder, 'format = "gift"\npath = "data.pt"')
    with pytest.raises(DataError, match="another order"):
        run_board(file, Overrides(), Options(device="cpu", jobs=1))
    board(folder, 'format = "gift"\npath = "data.pt"\nclasses = "order.txt"')
    watcher = Hearing()
    assert run_board(file, Overrides(), Options(device="cpu", jobs=1), watcher).ran == 1
    assert not any("another order" in line for line in watcher.lines)


def test_a_sound_set_has_a_record_as_ever(tmp_path: Path) -> None:
    distilled = DistilledSet(real(), HARD, dataset="digits", method="mine")
    result = harness.evaluate(distilled, seeds=1, device="cpu", **SMALL)
    assert "warnings" not in json.loads(result.records[0].model_dump_json(by_alias=True)).get("provenance", {})


def test_an_order_of_numbers_alone_renumbers_labels(tmp_path: Path) -> None:
    torch.save({"dataset": "digits", "data": real(), "label": HARD}, tmp_path / "data.pt")
    card = datasets.card("digits")
    same = read(Spec(name="gift"), tmp_path / "data.pt", card, None, print, order=Order("names"))
    assert same.labels.equal(HARD)  # the digits' names, sorted, are their numbers


def test_another_order_is_refused_unless_one_is_stated() -> None:
    checked = Checked(("fine", "warning: odd", "warning: another order of the classes would agree"))
    assert checked.warnings == ("odd", "another order of the classes would agree")
    checked.accept("mine", "numbers", "Help")
    with pytest.raises(DataError, match=r"^mine: another order of the classes would agree Help$"):
        checked.accept("mine", "", "Help")


def test_a_mean_and_deviation_of_ones_own_make_the_same_pixels(tmp_path: Path) -> None:
    pixels = DistilledSet(real(), HARD, dataset="digits", method="mine")
    own = DistilledSet((real() - 0.5) / 0.25, HARD, dataset="digits", method="mine", mean=[0.5], std=[0.25])
    unsaid = DistilledSet((real() - 0.5) / 0.25, HARD, dataset="digits", method="mine", normalised=True)
    expected = harness.evaluate(pixels, seeds=1, device="cpu", **SMALL).records[0].metrics["accuracy"]
    assert harness.evaluate(own, seeds=1, device="cpu", **SMALL).records[0].metrics["accuracy"] == pytest.approx(expected, abs=1)
    said = harness.evaluate(unsaid, seeds=1, device="cpu", mean=[0.5], std=[0.25], **SMALL).records[0]
    assert said.trial.distilled == own.digest


@pytest.mark.parametrize(
    ("form", "most_fitted", "compared"), [("mtt", 256, True), ("dc", 256, True), ("dc", 255, False), ("gift", 256, False)]
)
def test_normalised_images_that_are_small_are_compared_with_whitened_ones_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, form: str, most_fitted: int, compared: bool
) -> None:
    """MTT says that its images are whitened; those of DC may be though nobody says so; GIFT's are pixels."""
    whitened: list[bool] = []

    def findings(distilled: Any, card: Any, dataset: Any, teacher: Any, whiten: Callable[[Any], Any] | None) -> list[str]:
        whitened.append(whiten is not None)
        return []

    monkeypatch.setattr(checking, "findings", findings)
    monkeypatch.setattr(checking, "MOST_FITTED", most_fitted)
    import_set(form, write(form, tmp_path / form, DIGITS, 1), "digits")
    assert whitened == [compared]


@pytest.mark.parametrize("content", ["", "null", '{"a": 1}', "[1, 2]", '"text"'])
def test_a_foreign_note_among_the_checks_is_no_answer(cache: Path, monkeypatch: pytest.MonkeyPatch, content: str) -> None:
    dataset = SimpleNamespace(digest="d" * 64)
    card = Card("digits", (1, 8, 8), 10)

    monkeypatch.setattr(checking, "_lines", lambda *_: ("a line",))

    def lines(load: Callable[[], Any]) -> tuple[str, ...]:
        return check("e" * 64, load, card, dataset).lines  # type: ignore[arg-type]

    assert lines(lambda: None) == ("a line",)
    (note,) = (cache / "checks").iterdir()
    note.write_text(content)
    assert lines(lambda: None) == ("a line",)
    assert lines(lambda: pytest.fail("loaded again")) == ("a line",)
