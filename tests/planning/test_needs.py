"""What a board needs from elsewhere: checkpoints are looked for in order, and a slot of two networks is known as such."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.boards.board import Board, checked
from harness.core.errors import DataError
from harness.core.spec import Spec
from harness.planning.needs import Needs, ambiguous, read_places
from harness.planning.supplies import Supplies

SET = {"format": "rded", "ipc": [1], "distilled_on": "convnet"}
BOARD = {
    "dataset": "cifar100",
    "teacher": {"models": ["convnet3", "resnet18"], "checkpoints": [["first.pth", "second.pth"], "other.pth"]},
    "sets": [SET],
    "scenarios": ["cross-optimizer"],
}


@pytest.fixture
def needs(tmp_path: Path) -> Needs:
    for folder in ("board", "data/teachers", "data/pretrain_models"):
        (tmp_path / folder).mkdir(parents=True)
    return Needs(checked(Board, BOARD, "board.toml"), tmp_path / "board", tmp_path / "data")


def test_a_checkpoint_is_the_first_name_in_the_first_folder(needs: Needs, tmp_path: Path) -> None:
    assert needs.checkpoint(0) is None
    for place in ("data/pretrain_models/second.pth", "data/teachers/second.pth", "data/second.pth", "board/second.pth"):
        (tmp_path / place).write_bytes(b"x")
        assert needs.checkpoint(0) == tmp_path / place
    (tmp_path / "data/pretrain_models/first.pth").write_bytes(b"x")
    assert needs.checkpoint(0) == tmp_path / "data/pretrain_models/first.pth"
    assert needs.checkpoint(1) is None


def test_without_a_data_folder_checkpoints_lie_beside_the_board(
    needs: Needs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    alone = Needs(needs.board, needs.folder)
    monkeypatch.delenv("GIFTBENCH_DATA", raising=False)
    assert alone.checkpoint_folders() == [tmp_path / "board"]
    monkeypatch.setenv("GIFTBENCH_DATA", str(tmp_path / "data"))
    assert alone.checkpoint_folders() == needs.checkpoint_folders()


def test_a_place_on_the_hub_is_taken_where_no_file_is_at_hand(tmp_path: Path) -> None:
    teacher = {"model": "timm/resnet18", "checkpoint": ["hf-hub:timm/resnet18.a1_in1k", "own.pth"]}
    needs = Needs(checked(Board, {**BOARD, "teacher": teacher}, "board.toml"), tmp_path)
    assert str(needs.checkpoint(0)) == "hf-hub:timm/resnet18.a1_in1k"
    assert not [place for place in needs.places() if "hf-hub" in str(place)]
    (tmp_path / "own.pth").write_bytes(b"x")
    assert needs.checkpoint(0) == tmp_path / "own.pth"
    supplies = Supplies.parse((), ("timm/resnet18=hf-hub:timm/resnet18.tv_in1k@main",))
    supplied = Needs(needs.board, needs.folder, None, supplies)
    assert str(supplied.checkpoint(0)) == "hf-hub:timm/resnet18.tv_in1k@main"


def test_the_command_line_comes_first_and_must_name_a_file(needs: Needs, tmp_path: Path) -> None:
    (tmp_path / "board/first.pth").write_bytes(b"x")
    (tmp_path / "mine_cifar100.pth").write_bytes(b"x")
    given = Supplies.parse((), (f"convnet3={tmp_path}/mine_{{dataset}}.pth", "resnet18=/nowhere.pth"))
    supplied = Needs(needs.board, needs.folder, needs.data_dir, given)
    assert supplied.checkpoint(0) == tmp_path / "mine_cifar100.pth"
    with pytest.raises(DataError, match=r"--teacher resnet18=/nowhere.pth: /nowhere.pth: no such file"):
        supplied.checkpoint(1)


def test_a_slot_is_ambiguous_where_one_dataset_has_sets_of_two_networks() -> None:
    tiny = {"dataset": "tiny-imagenet", "sets": [SET]}
    both = {"sets": [SET, SET | {"distilled_on": "resnet18"}]}
    found = ambiguous(checked(Board, BOARD | {"parts": [tiny, both]}, "board.toml"))
    assert found == {"tiny-imagenet": frozenset(), "cifar100": frozenset({"rded"})}


def test_places_are_all_where_something_is_looked_for_there_or_not(needs: Needs, tmp_path: Path) -> None:
    sets = [{"file": "own.safetensors"}, SET | {"path": "published", "ipc": [1, 10]}, SET, {"method": "random", "ipc": 1}]
    given = Supplies.parse((f"rded={tmp_path}/supplied/{{ipc}}",), ("resnet18=mine.pth",))
    board = checked(Board, BOARD | {"sets": sets[:3]}, "board.toml")
    places = [*Needs(board, needs.folder, needs.data_dir, given).places()]
    data, beside = tmp_path / "data", tmp_path / "board"
    assert places[:2] == [data / "cifar-100-binary", data / "cifar-100-python"]
    assert beside / "own.safetensors" in places
    assert {tmp_path / "supplied" / "1", tmp_path / "supplied" / "10"} <= {*places}
    folders = (beside, data, data / "teachers", data / "pretrain_models")
    assert [place for place in places if place.suffix == ".pth"] == [
        *(folder / name for name in ("first.pth", "second.pth") for folder in folders),
        Path("mine.pth"),
    ]
    unsupplied = [*Needs(checked(Board, BOARD | {"sets": [*sets[1:]]}, "board.toml"), needs.folder, needs.data_dir).places()]
    assert beside / "published" in unsupplied
    assert given.used == {f"rded={tmp_path}/supplied/{{ipc}}", "resnet18=mine.pth"}


def test_a_reader_looks_for_what_its_options_name_where_that_is_there(tmp_path: Path) -> None:
    reader = Spec(name="fkd", options={"images": "pictures", "crop": 3})
    assert read_places(reader, tmp_path / "labels") == [tmp_path / "labels"]
    (tmp_path / "pictures").mkdir()
    assert read_places(reader, tmp_path / "labels") == [tmp_path / "labels", tmp_path / "pictures"]
