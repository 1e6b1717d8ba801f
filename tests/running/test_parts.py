"""Boards of several parts, and sets that the command line supplies: what is at hand runs, what is not is said."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest
import torch

from harness import DistilledSet, models, readers, scenarios
from harness.boards.board import load_board
from harness.boards.records import RecordStore
from harness.cli.registries import REGISTRIES
from harness.cli.registries import registry as registry_of
from harness.core import registry
from harness.core.errors import BadOption, BoardError, DataError
from harness.core.spec import Spec
from harness.distilled.reading import Reading
from harness.planning.artefacts import Artefacts
from harness.planning.supplies import Supplies
from harness.running.options import Options, Silent
from harness.running.overrides import Overrides
from harness.running.parts import Parts
from harness.running.run import run_board
from tests.conftest import board_text
from tests.large_boards import large_board, parts_of

HEAD = board_text(
    dataset=None, losses=["native", "ce"], sets=None, scenarios=[{"name": "cross-optimizer", "optimizers": ["adamw"]}]
)

PARTS = (
    HEAD
    + """
[[parts]]
dataset = "digits"
sets = [{ format = "stripes", title = "Stripes", ipc = [1, 2], distilled_on = "convnet" }]

[[parts]]
dataset = "cifar10"
sets = [{ format = "stripes", title = "Stripes", ipc = 1, distilled_on = "convnet" }]
"""
)


@pytest.fixture(autouse=True)
def stripes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):  # type: ignore[no-untyped-def]
    """A format whose file holds one number, the grey value of class 0, and whose images are made up."""
    monkeypatch.setenv("GIFTBENCH_HOME", str(tmp_path / "home"))

    @readers.register("stripes")
    def stripes(reading: Reading, *, shade: int = 0) -> DistilledSet:
        """Made-up images."""
        if reading.ipc is not None and reading.ipc > 2:
            raise DataError(f"{reading.path}: 2 images a class, {reading.ipc} asked for")
        count, low = reading.ipc or 2, int(reading.path.read_text()) + shade
        labels = torch.arange(reading.card.classes).repeat_interleave(count)
        images = (labels + low).to(torch.uint8).view(-1, 1, 1, 1).expand(-1, *reading.card.shape)
        reading.say(f"stripes from {low}")
        return DistilledSet(images, labels, dataset=reading.card.name, method="stripes", native_loss="kl")

    yield stripes
    readers.remove("stripes")


class Listening(Silent):
    def __init__(self) -> None:
        self.lines: list[str] = []

    def say(self, line: str) -> None:
        self.lines.append(line)


def board(folder: Path, text: str = PARTS) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "board.toml").write_text(text)
    (folder.parent / "file").write_text("7")
    (folder.parent / "empty").mkdir(exist_ok=True)
    return folder


def planned(folder: Path, *sets: str) -> tuple[set[tuple[str, float, str, str]], list[str]]:
    """Return what a run would train, by dataset, IPC, loss and network, and the lines that it says; trains teachers only."""
    watcher = Listening()
    file = folder / "board.toml"
    options = Options(supplies=Supplies.parse(sets), data_dir=folder.parent / "empty", device="cpu")
    parts = Parts(load_board(file), file, Artefacts(folder / "artefacts"), options, watcher)
    parts.rehearse()
    labels = [trial.labels for trial in parts.plan()]
    return {(label.dataset, label.ipc, label.loss, label.distilled_on) for label in labels}, watcher.lines


def test_a_supplied_set_runs_at_each_ipc_and_a_part_without_its_dataset_is_left_out(tmp_path: Path) -> None:
    folder, watcher = board(tmp_path / "board"), Listening()
    supplies, empty = Supplies.parse([f"stripes={tmp_path}/file"]), tmp_path / "empty"
    run_board(folder, Overrides(), Options(jobs=1, supplies=supplies, data_dir=empty), watcher)
    lines, records = watcher.lines, list(RecordStore(folder / "records"))
    assert [record.error for record in records if record.status != "done"] == []
    labels = [record.trial.labels for record in records]
    trained = {(label.dataset, label.ipc, label.loss, label.distilled_on) for label in labels}
    assert trained == {("digits", ipc, loss, "convnet") for ipc in (1, 2) for loss in ("kl", "ce")}
    assert any(line.startswith("left out: cifar10: ") and "put cifar-10-batches-bin/" in line for line in lines), lines
    assert lines.count("stripes from 7") == 1


def test_nothing_supplied_is_one_line_that_says_what_to_give(tmp_path: Path) -> None:
    with pytest.raises(BoardError) as caught:
        planned(board(tmp_path / "board"))
    message = str(caught.value)
    assert "\n" not in message
    assert "nothing to run" in message and "Stripes of digits at IPC 1" in message and "give --set stripes=PATH" in message


def test_an_ipc_that_the_files_do_not_hold_is_left_out_with_the_reason(tmp_path: Path) -> None:
    folder = board(tmp_path / "board", PARTS.replace("ipc = [1, 2]", "ipc = [1, 3]"))
    trials, lines = planned(folder, f"stripes={tmp_path}/file")
    assert {ipc for _, ipc, _, _ in trials} == {1}
    assert any(
        f"left out: Stripes of digits at IPC 3 (distilled on convnet): {tmp_path}/file: 2 images" in line for line in lines
    )


def test_a_path_that_the_board_itself_names_must_fit(tmp_path: Path) -> None:
    text = PARTS.replace('format = "stripes", title', 'format = "stripes", path = "../file", title').replace("[1, 2]", "[1, 3]")
    text = text.partition('[[parts]]\ndataset = "cifar10"')[0]
    with pytest.raises(DataError, match="2 images a class, 3 asked for"):
        planned(board(tmp_path / "board", text))


def test_a_set_of_two_networks_must_say_which(tmp_path: Path) -> None:
    other = 'sets = [{ format = "stripes", title = "Stripes", ipc = 1, distilled_on = "resnet18" }]'
    text = PARTS.partition('[[parts]]\ndataset = "cifar10"')[0] + f'[[parts]]\ndataset = "digits"\n{other}\n'
    folder = board(tmp_path / "board", text)
    with pytest.raises(BoardError, match="say which network it was distilled on, as --set stripes/convnet=PATH"):
        planned(folder, f"stripes={tmp_path}/file")
    trials, _ = planned(folder, f"stripes/resnet18={tmp_path}/file")
    assert trials == {("digits", 1, loss, "resnet18") for loss in ("kl", "ce")}


def test_files_are_read_once_until_they_change(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[int | None] = []
    reader = readers.get("stripes")

    def counting(reading: Reading, *, shade: int = 0) -> DistilledSet:
        read.append(reading.ipc)
        return reader(reading, shade=shade)  # type: ignore[no-any-return]

    readers.remove("stripes")
    readers.register("stripes")(counting)
    folder = board(tmp_path / "board")
    planned(folder, f"stripes={tmp_path}/file")
    assert read == [1, 2]
    assert "stripes from 7" in planned(folder, f"stripes={tmp_path}/file")[1]
    assert read == [1, 2]
    (tmp_path / "file").write_text("8")
    assert "stripes from 8" in planned(folder, f"stripes={tmp_path}/file")[1]
    assert read == [1, 2, 1, 2]


def test_native_twice_is_trained_once_and_an_unstated_one_is_refused(tmp_path: Path) -> None:
    folder = board(tmp_path / "board", PARTS.replace('["native", "ce"]', '["native", "kl"]').replace("[1, 2]", "1"))
    assert planned(folder, f"stripes={tmp_path}/file")[0] == {("digits", 1, "kl", "convnet")}
    text = HEAD + 'dataset = "digits"\nsets = [{ method = "random", ipc = 1 }]\n'
    with pytest.raises(BoardError, match="set 'random' states no native loss"):
        planned(board(tmp_path / "other", text))


def test_a_wrong_name_is_refused_and_a_path_that_serves_nothing_is_said(tmp_path: Path) -> None:
    folder = board(tmp_path / "board")
    with pytest.raises(BoardError, match="did you mean 'stripes'"):
        planned(folder, f"stripe={tmp_path}/file")
    _, lines = planned(folder, f"stripes={tmp_path}/file", f"stripes/mnist={tmp_path}/file")
    assert any("not used: stripes/mnist=" in line for line in lines)


def test_the_parts_of_one_board_are_checked_with_their_place(tmp_path: Path) -> None:
    folder = board(tmp_path / "board", PARTS.replace('title = "Stripes", ipc = 1,', 'titel = "Stripes", ipc = 1,'))
    with pytest.raises(BadOption, match=r"parts\[1\]: sets\[0\]: reader 'stripes' has no parameter 'titel'"):
        planned(folder, f"stripes={tmp_path}/file")


def test_a_scenario_may_name_a_set_and_an_ipc_that_are_not_at_hand(tmp_path: Path) -> None:
    two = '{ format = "stripes", title = "Other", slot = "other", ipc = 3, distilled_on = "convnet" }'
    text = PARTS.partition('[[parts]]\ndataset = "cifar10"')[0].replace("sets = [{", f"sets = [{two}, {{")
    text = text.replace('optimizers = ["adamw"]', 'optimizers = ["adamw"], sets = ["Other", "Stripes"], ipc = [1, 3]')
    trials, lines = planned(board(tmp_path / "board", text), f"stripes={tmp_path}/file")
    assert trials == {("digits", 1, loss, "convnet") for loss in ("kl", "ce")}
    assert any("Other of digits at IPC 3" in line and "give --set other=PATH" in line for line in lines)


def test_a_rehearsal_checks_each_name_with_its_parameters_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many sets, losses and scenarios meet: four times as many trials rest on the same names."""
    for scenario in scenarios:
        scenarios.get(scenario)  # its options have names for defaults, which are read once
    for model in models.registry:
        models.registry.get(model)  # one that is not loaded is read from its source at first
    checked: list[tuple[str, str, str]] = []
    validated: list[object] = []
    fill, validate = registry.filled, Spec.model_validate

    def counted(
        kind: str, name: str, defaults: Mapping[str, object], given: Mapping[str, object], annotations: Mapping[str, str]
    ) -> dict[str, object]:
        checked.append((kind, name, repr(given)))
        return fill(kind, name, defaults, given, annotations)

    monkeypatch.setattr(registry, "filled", counted)
    monkeypatch.setattr(Spec, "model_validate", lambda content: validated.append(content) or validate(content))
    counts = []
    for trials in (100, 400):
        for kind in REGISTRIES:
            monkeypatch.setattr(registry_of(kind), "_resolved", {})
        checked.clear(), validated.clear()
        parts_of(large_board(tmp_path / str(trials), trials, seeds=1)).rehearse()
        assert len(checked) == len(set(checked))
        counts.append(len(checked))
    assert counts[0] == counts[1]
    assert not validated  # the board was read before
