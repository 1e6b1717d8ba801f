"""A board held against itself: whatever is changed in a record is told, each kind by what tells of it."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from harness import scenarios
from harness.boards import seals
from harness.core.errors import UnknownName
from harness.running.options import Options
from harness.running.verification import Report, seal, verify
from tests.committed import copied, spoil

OPTIONS = Options(device="cpu", allow_plugins=True)
#: Of rded-choices: gift on whole images at IPC 10, seed 0, with two evaluations.
Content = dict[str, Any]


def _without_plugins() -> None:
    for name in ("epochs", "precision"):
        with suppress(UnknownName):
            scenarios.remove(name)


@pytest.fixture(autouse=True)
def own_plugins() -> Iterator[None]:
    """Take out the scenarios of committed boards' plugins, of which each test has copies of its own, as others have."""
    _without_plugins()
    yield
    _without_plugins()


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A committed board as it is, with a seal."""
    folder = copied("rded-choices", tmp_path_factory.mktemp("whole"))
    seals.write(folder, seals.made(folder))
    return folder


@pytest.fixture
def board(whole: Path, tmp_path: Path) -> Path:
    """A copy of it with six of its records, to be spoilt."""
    folder = tmp_path / "rded-choices"
    shutil.copytree(whole, folder, ignore=shutil.ignore_patterns("records", seals.NAME))
    (folder / "records").mkdir()
    for path in sorted((whole / "records").glob("*.json"))[:6]:
        shutil.copy(path, folder / "records")
    seals.write(folder, seals.made(folder))
    return folder


def first(board: Path) -> Path:
    return sorted((board / "records").glob("*.json"))[0]


def lines(report: Report) -> list[str]:
    return [str(fault) for fault in report.faults]


def test_a_committed_board_has_no_fault_and_nothing_is_touched(whole: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in whole.rglob("*")}
    report = verify(whole, OPTIONS)
    assert (lines(report), len(report.records), report.sealed, report.verified) == ([], 72, 72, 0)
    assert {path: path.stat().st_mtime_ns for path in whole.rglob("*")} == before


def accuracy(content: Content) -> None:
    content["metrics"]["accuracy"] += 2.0


def everywhere(content: Content) -> None:
    """A likely accuracy, wherever it stands."""
    content["metrics"]["accuracy"] += 0.2
    content["history"][-1]["accuracy"] += 0.2
    content["metrics"]["best_accuracy"] = max(entry["accuracy"] for entry in content["history"])


def unlikely(content: Content) -> None:
    everywhere(content)
    content["metrics"]["accuracy"] += 0.05
    content["history"][-1]["accuracy"] += 0.05
    content["metrics"]["best_accuracy"] += 0.05


def seed(content: Content) -> None:
    content["trial"]["seed"] += 40


def loss(content: Content) -> None:
    content["trial"]["loss"] = {"name": "gift", "options": {"gamma": 0.5, "alpha": 0.1, "smoothing": "uniform"}}


def digest(content: Content) -> None:
    content["trial"]["distilled"] = "0" * 64


def teacher(content: Content) -> None:
    content["trial"]["teacher"] = ["0" * 64]


def images(content: Content) -> None:
    content["trial"]["labels"]["images"] = 7


def called(content: Content) -> None:
    content["trial"]["labels"]["method"] = "another set"


def schema(content: Content) -> None:
    content["schema"] = "giftbench.record/0"


@pytest.mark.parametrize(
    ("change", "renamed", "words"),
    [
        (accuracy, False, ["and its history says"]),
        (everywhere, False, ["does not have the SHA-256 of records.sha256"]),
        (unlikely, False, ["no whole number of 500 test images"]),
        (seed, False, ["its id is not the hash of its trial", "the trial that it states has the id"]),
        (loss, False, ["its id is not the hash of its trial"]),
        (digest, False, ["its id is not the hash of its trial"]),
        (seed, True, ["the board does not plan its trial (trial.seed: 4"]),
        (loss, True, ["the board does not plan its trial (trial.loss: gift {", "where the board has"]),
        (digest, True, ["artefacts/set-00000000000000000000.safetensors: gone", "1 record names it"]),
        (teacher, True, ["artefacts/teacher-00000000000000000000.safetensors: gone"]),
        (images, False, ["trial.labels.images: 7; the board says 10"]),
        (called, False, ["trial.labels.method: 'another set'; the board says '"]),
        (schema, False, ["schema: 'giftbench.record/0', expected 'giftbench.record/1'"]),
    ],
)
def test_what_is_changed_in_a_record_is_told(
    board: Path, change: Callable[[Content], None], renamed: bool, words: list[str]
) -> None:
    assert lines(verify(board, OPTIONS)) == []
    spoil(first(board), change, renamed=renamed)
    said = lines(verify(board, OPTIONS))
    assert all(any(word in line for line in said) for word in words), said


def test_an_outcome_that_is_copied_from_another_record_is_told(board: Path) -> None:
    one, other = sorted((board / "records").glob("*.json"))[:2]
    source = json.loads(one.read_text())
    spoil(other, lambda content: content.update({name: source[name] for name in ("metrics", "history", "timing")}))
    seals.write(board, seals.made(board))
    assert any(f"took the same seconds as records/{one.name}" in line for line in lines(verify(board, OPTIONS)))


def test_a_set_whose_bytes_are_changed_is_told_once_with_how_many_records_name_it(board: Path) -> None:
    for path in (board / "artefacts").glob("set-*.safetensors"):
        content = bytearray(path.read_bytes())
        content[-1] ^= 1
        path.write_bytes(content)
    said = [line for line in lines(verify(board, OPTIONS)) if "artefacts/" in line]
    named = {json.loads(path.read_text())["trial"]["distilled"] for path in (board / "records").glob("*.json")}
    assert {line.partition(":")[0] for line in said} == {f"artefacts/set-{name[:20]}.safetensors" for name in named}
    assert all("record" in line and "restore it" in line for line in said)


def test_a_plugin_that_is_not_the_one_that_a_record_was_made_by_is_told(tmp_path: Path) -> None:
    folder = copied("longer-at-one-image", tmp_path)
    kept = sorted((folder / "records").glob("*.json"))[0]
    for path in (folder / "records").glob("*.json"):
        if path != kept:
            path.unlink()
    stated = hashlib.sha256((folder / "epochs.py").read_bytes()).hexdigest()
    spoil(kept, lambda content: content["trial"]["plugins"]["scenario epochs"].update(digest="1" * 64))
    said = lines(verify(folder, OPTIONS))
    assert any("made by another epochs.py (11111111) than is here" in line for line in said), (said, stated)


def test_a_board_without_a_seal_says_so_and_is_sealed_only_when_nothing_else_is_wrong(board: Path) -> None:
    (board / seals.NAME).unlink()
    assert "no records.sha256" in verify(board, OPTIONS).notes[0]
    report, place = seal(board, OPTIONS)
    assert (place, report.sealed, lines(report)) == (board / seals.NAME, 6, [])
    before = place.read_bytes()
    spoil(first(board), everywhere)
    assert len(verify(board, OPTIONS).faults) == 1
    assert seal(board, OPTIONS)[1] == place  # what is meant is what is here
    assert place.read_bytes() != before
    assert verify(board, OPTIONS).faults == ()
    spoil(first(board), accuracy)
    sealed = place.read_bytes()
    report, nowhere = seal(board, OPTIONS)
    assert nowhere is None
    assert any("its history says" in line for line in lines(report))
    assert place.read_bytes() == sealed


def test_records_that_are_new_since_the_seal_are_counted(board: Path) -> None:
    kept = dict([*seals.made(board).items()][:4])
    seals.write(board, kept)
    report = verify(board, OPTIONS)
    assert (lines(report), report.sealed) == ([], 4)
    assert "2 records are not in records.sha256 yet" in report.notes[0]


def test_a_board_whose_data_are_not_here_is_checked_as_far_as_can_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = copied("fashion-mnist-paper", tmp_path)
    monkeypatch.setenv("GIFTBENCH_DATA", str(tmp_path / "nowhere"))
    monkeypatch.setattr("harness.datasets.load", _absent)
    report = verify(folder, OPTIONS)
    assert lines(report) == []
    assert any("not planned here" in note for note in report.notes)
    spoil(first(folder), accuracy)
    assert any("its history says" in line for line in lines(verify(folder, OPTIONS)))


def _absent(*words: object, **rest: object) -> object:
    from harness.core.errors import DataError

    raise DataError("fashion-mnist: its files are not here")
