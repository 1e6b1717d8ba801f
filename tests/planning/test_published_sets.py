"""Published sets: what a reader may return, what is compared with it, and that files are read once as long as they stay."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from harness import DistilledSet, datasets
from harness.core.errors import BadOption, DataError, UnknownName
from harness.core.spec import Spec
from harness.distilled import readers
from harness.distilled.files import SetFile
from harness.distilled.order import Order
from harness.distilled.reading import Reading
from harness.planning import published_sets
from harness.planning.artefacts import Artefacts
from harness.planning.published_sets import import_set, kept, read
from tests.distilled.readers.published_files import DIGITS, SMALL, pixels, write

#: Digits of 4 by 4 pixels, in two classes.
CARD = replace(SMALL, name="digits")


@pytest.fixture
def readings() -> Iterator[list[Reading]]:
    """Register `grey`, whose sets are as grey as its file says, and `number`, which makes none; return what `grey` is given."""
    asked: list[Reading] = []

    @readers.register("grey")
    def grey(reading: Reading, *, shade: int = 0) -> DistilledSet:
        asked.append(reading)
        value = int(reading.path.read_text()) + shade
        reading.say(f"grey of {value}")
        images = torch.full((CARD.classes, *CARD.shape), value, dtype=torch.uint8)
        return DistilledSet(images, torch.arange(CARD.classes), dataset=CARD.name, method="grey")

    @readers.register("number")
    def number(reading: Reading) -> int:
        return 3

    yield asked
    readers.remove("grey")
    readers.remove("number")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    (tmp_path / "file").write_text("7")
    return tmp_path / "file"


GREY = Spec(name="grey")


def silent(line: str) -> None:
    pass


# -- read --------------------------------------------------------------------------------------------------------------------


def test_a_path_that_is_not_there_is_named_before_a_reader_is_asked(tmp_path: Path, readings: list[Reading]) -> None:
    with pytest.raises(DataError, match=f"{tmp_path}/absent: no such file or folder"):
        read(GREY, tmp_path / "absent", CARD, None, silent)
    assert not readings


def test_a_path_below_home_is_found_and_handed_over_whole(
    file: Path, readings: list[Reading], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(file.parent))
    assert read(GREY, Path("~/file"), CARD, None, silent).images.unique().tolist() == [7]
    monkeypatch.chdir(file.parent)
    read(GREY, Path("file"), CARD, None, silent)
    assert [reading.path for reading in readings] == [file, file]


@pytest.mark.usefixtures("readings")
def test_a_reader_that_returns_something_else_is_named(file: Path) -> None:
    with pytest.raises(DataError, match="reader 'number' returned int, not a DistilledSet"):
        read(Spec(name="number"), file, CARD, None, silent)


@pytest.mark.usefixtures("readings")
@pytest.mark.parametrize("change", [{"classes": 3}, {"shape": (1, 4, 8)}, {"shape": (3, 4, 4)}])
def test_a_set_of_other_images_or_classes_than_the_datasets_is_refused(file: Path, change: dict[str, Any]) -> None:
    with pytest.raises(DataError) as raised:
        read(GREY, file, replace(CARD, **change), None, silent)
    assert "digits" in str(raised.value) and "\n" not in str(raised.value)


# -- import ------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("format_", "error", "message"),
    [("rdde", UnknownName, "did you mean 'rded'"), ("datm(zac=false)", BadOption, "did you mean 'zca'")],
)
def test_a_format_is_checked_before_its_files_are_looked_for(format_: str, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        import_set(format_, Path("nowhere"), "digits")


def test_a_set_is_compared_with_its_dataset_where_that_is_at_hand_and_not_where_nobody_asks(tmp_path: Path) -> None:
    path, said = write("dc", tmp_path / "dc", DIGITS, 2), list[str]()
    checked = import_set("dc", path, "digits", 1, say=said.append)
    unchecked, fewer = import_set("dc", path, "digits", 1, check=False), list[str]()
    import_set("dc", path, "digits", 1, check=False, say=fewer.append)
    assert checked.digest == unchecked.digest
    assert len(checked) == 10
    assert set(fewer) < set(said)
    assert not any(line.startswith("not compared") for line in said)


def test_a_dataset_that_is_not_at_hand_leaves_out_the_comparison_and_cannot_be_asked_of_a_teacher(
    tmp_path: Path, cache: Path
) -> None:
    card = datasets.card("cifar10")
    path, said = write("dc", tmp_path / "dc", replace(card, classes=10), 1), list[str]()
    _, remedy = datasets.at_hand("cifar10")
    distilled = import_set("dc", path, "cifar10", say=said.append)
    assert distilled.images.shape == (10, 3, 32, 32)
    assert f"not compared with cifar10: {remedy}" in said
    with pytest.raises(DataError, match="--teacher: cifar10 is not at hand, and a teacher is read with it"):
        import_set("dc", path, "cifar10", teacher=tmp_path / "teacher.safetensors")


# -- kept --------------------------------------------------------------------------------------------------------------------


Keep = Callable[..., tuple[SetFile, list[str]]]


@pytest.fixture
def keep(file: Path, artefacts: Artefacts, cache: Path) -> Keep:
    """Return a keeper of what `grey` reads: its file in the artefacts, and what is said; arguments replace the usual ones."""

    def run(**changes: Any) -> tuple[SetFile, list[str]]:
        said: list[str] = []
        given = {"spec": GREY, "path": file, "card": CARD, "ipc": None, "artefacts": artefacts} | changes
        return kept(**given, say=said.append), said

    return run


def test_files_are_read_once_and_what_was_said_is_said_again(keep: Keep, readings: list[Reading], artefacts: Artefacts) -> None:
    first, second = keep(), keep()
    assert first == second
    assert first[1] == ["grey of 7"]
    assert len(readings) == 1
    assert first[0].path == artefacts.find("set", first[0].digest)
    assert DistilledSet.load(first[0].path).images.unique().tolist() == [7]


@pytest.mark.parametrize(
    "changes",
    [
        {"spec": Spec(name="grey", options={"shade": 1})},
        {"ipc": 1},
        {"card": replace(CARD, mean=(0.4,))},
        {"card": replace(CARD, std=(0.4,))},
        {"card": replace(CARD, names=("1", "0"))},
        {"order": Order("numbers")},
        {"order": Order("mine.txt", ("1", "0")), "card": replace(CARD, names=("0", "1"))},
    ],
    ids=["option", "ipc", "mean", "deviation", "names", "order", "file"],
)
def test_they_are_read_again_for_whatever_a_reader_may_make_something_else_of(
    keep: Keep, readings: list[Reading], changes: dict[str, Any]
) -> None:
    keep(), keep(**changes), keep(**changes), keep()
    assert len(readings) == 2


def test_a_usual_option_that_is_spelt_out_is_no_other(keep: Keep, readings: list[Reading]) -> None:
    keep(), keep(spec=Spec(name="grey", options={"shade": 0}))
    assert len(readings) == 1


def test_they_are_read_again_when_they_have_changed(keep: Keep, readings: list[Reading], file: Path) -> None:
    keep()
    file.write_text("8")
    assert keep()[1] == ["grey of 8"]
    assert len(readings) == 2


def test_they_are_read_again_when_reading_has_changed(
    keep: Keep, readings: list[Reading], monkeypatch: pytest.MonkeyPatch
) -> None:
    keep()
    monkeypatch.setattr(published_sets, "VERSION", published_sets.VERSION + 1)
    keep()
    assert len(readings) == 2


@pytest.mark.parametrize("text", ["", "[]", "{}", "null", '{"digest": "' + "0" * 64 + '", "said": []}', '{"digest": 3}'])
def test_a_note_that_says_nothing_is_written_anew(keep: Keep, readings: list[Reading], cache: Path, text: str) -> None:
    first = keep()
    (note,) = (cache / "imports").glob("*.json")
    before = note.read_text()
    note.write_text(text)
    assert keep() == first
    assert (len(readings), note.read_text()) == (2, before)


def test_a_set_that_is_gone_beside_the_board_is_read_again(keep: Keep, readings: list[Reading]) -> None:
    set_file, said = keep()
    set_file.path.unlink()
    assert keep() == (set_file, said)
    assert DistilledSet.load(set_file.path).digest == set_file.digest
    assert len(readings) == 2


@pytest.mark.usefixtures("readings")
def test_a_set_that_is_damaged_beside_the_board_is_named(keep: Keep) -> None:
    set_file, _ = keep()
    set_file.path.write_bytes(set_file.path.read_bytes()[:-1])
    with pytest.raises(DataError, match=f"{set_file.path}: not a distilled set, or truncated"):
        keep()


def test_a_file_that_is_gone_is_named_though_its_set_is_kept(keep: Keep, readings: list[Reading], file: Path) -> None:
    keep()
    file.unlink()
    with pytest.raises(DataError, match=f"{file}: no such file or folder"):
        keep()


def test_images_of_a_set_are_those_that_were_published(tmp_path: Path, artefacts: Artefacts, cache: Path) -> None:
    path = write("gift", tmp_path / "gift", DIGITS, 2)
    set_file = kept(Spec(name="gift"), path, DIGITS, 2, artefacts, silent)
    torch.testing.assert_close(DistilledSet.load(set_file.path).images, pixels(DIGITS, 2) / 255)
