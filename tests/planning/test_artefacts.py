"""Artefacts: made once, found by blueprint, checked by digest, and carried beside the board."""

from __future__ import annotations

import os
import shutil
import threading
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from harness import DistilledSet, models, teachers
from harness.core.digests import digest_json
from harness.core.errors import DataError
from harness.distilled.files import read_set_header
from harness.planning import artefacts as planning
from harness.planning.artefacts import Artefacts
from harness.teachers.files import TeacherFile

MODEL = {"name": "convnet1", "options": {"width": 4, "norm": "batch"}}
BLUEPRINT: dict[str, Any] = {"model": MODEL, "seed": 0}


class Maker:
    """Makes untrained teachers of two classes and counts them."""

    def __init__(self, blueprint: dict[str, Any] = BLUEPRINT, seed: int = 0) -> None:
        self.blueprint, self.seed, self.calls = blueprint, seed, 0

    def __call__(self, folder: Path) -> TeacherFile:
        self.calls += 1
        with torch.random.fork_rng():
            torch.manual_seed(self.seed)
            network = models.build(MODEL, (1, 8, 8), 2)
        return teachers.save(network, self.blueprint, 50.0, folder)


def distilled(value: int = 0, **provenance: Any) -> DistilledSet:
    images = torch.full((2, 1, 8, 8), value, dtype=torch.uint8)
    return DistilledSet(images, torch.tensor([0, 1]), dataset="digits", method="mine", provenance=provenance)


def never(*_: Any) -> Any:
    pytest.fail("made what lies there already, or what nobody needs")


@pytest.fixture
def artefacts(tmp_path: Path) -> Artefacts:
    return Artefacts(tmp_path / "board", tmp_path / "cache")


# -- teachers --------------------------------------------------------------------------------------------------------------


def test_a_teacher_is_made_once_and_kept_beside_the_board_and_in_the_cache(artefacts: Artefacts) -> None:
    make = Maker()
    first, second = artefacts.teacher(BLUEPRINT, make), artefacts.teacher(BLUEPRINT, make)
    assert make.calls == 1
    assert first == second
    assert first.path == artefacts.folder / f"teacher-{first.digest[:20]}.safetensors"
    assert [path.name for path in artefacts.folder.iterdir()] == [first.path.name]
    assert (artefacts.cache / first.path.name).read_bytes() == first.path.read_bytes()


def test_another_blueprint_is_another_teacher(artefacts: Artefacts) -> None:
    first = artefacts.teacher(BLUEPRINT, Maker())
    other = BLUEPRINT | {"seed": 1}
    second = artefacts.teacher(other, Maker(other, 1))
    assert first.digest != second.digest
    assert artefacts.teacher(BLUEPRINT, never).digest == first.digest


def test_a_board_finds_its_teacher_without_the_cache(artefacts: Artefacts) -> None:
    made = artefacts.teacher(BLUEPRINT, Maker())
    shutil.rmtree(artefacts.cache)
    assert artefacts.teacher(BLUEPRINT, never) == made


def test_a_second_board_takes_the_teacher_from_the_cache_and_keeps_a_copy(artefacts: Artefacts, tmp_path: Path) -> None:
    made = artefacts.teacher(BLUEPRINT, Maker())
    found = Artefacts(tmp_path / "second", artefacts.cache).teacher(BLUEPRINT, never)
    assert found.digest == made.digest
    assert found.path == tmp_path / "second" / made.path.name
    shutil.rmtree(artefacts.cache)
    assert Artefacts(tmp_path / "second", artefacts.cache).teacher(BLUEPRINT, never) == found


def test_the_cache_lies_in_giftbench_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIFTBENCH_HOME", str(tmp_path / "home"))
    assert Artefacts(tmp_path / "board").cache == tmp_path / "home" / "artefacts"


def test_one_folder_can_be_both_board_and_cache(tmp_path: Path) -> None:
    both, make = Artefacts(tmp_path / "both", tmp_path / "both"), Maker()
    assert both.teacher(BLUEPRINT, make) == both.teacher(BLUEPRINT, never)
    assert make.calls == 1


def test_boards_that_ask_at_the_same_time_train_once(tmp_path: Path) -> None:
    make, started = Maker(), threading.Barrier(4)
    found: list[str] = []

    def ask(board: int) -> None:
        started.wait()
        found.append(Artefacts(tmp_path / f"board {board}", tmp_path / "cache").teacher(BLUEPRINT, make).digest)

    threads = [threading.Thread(target=ask, args=(board,)) for board in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert make.calls == 1
    assert len(found) == 4
    assert len(set(found)) == 1


def test_a_teacher_that_fails_to_train_leaves_nothing_and_is_tried_again(artefacts: Artefacts) -> None:
    def fail(folder: Path) -> TeacherFile:
        raise DataError("diverged")

    with pytest.raises(DataError, match="diverged"):
        artefacts.teacher(BLUEPRINT, fail)
    make = Maker()
    artefacts.teacher(BLUEPRINT, make)
    assert make.calls == 1


def test_a_damaged_teacher_file_is_named(artefacts: Artefacts) -> None:
    made = artefacts.teacher(BLUEPRINT, Maker())
    made.path.write_bytes(made.path.read_bytes()[:-5])
    with pytest.raises(DataError, match="truncated") as caught:
        artefacts.teacher(BLUEPRINT, never)
    assert str(caught.value).startswith(f"{made.path}: ")


# -- distilled sets --------------------------------------------------------------------------------------------------------

SET_BLUEPRINT = {"method": "mine", "ipc": 1}


def test_a_set_is_made_once_and_kept_beside_the_board_by_digest(artefacts: Artefacts) -> None:
    calls: list[DistilledSet] = []

    def make() -> DistilledSet:
        calls.append(distilled())
        return calls[-1]

    first = artefacts.distilled(SET_BLUEPRINT, never, make)
    second = artefacts.distilled(SET_BLUEPRINT, never, make)
    assert len(calls) == 1
    assert first == second
    assert first.path == artefacts.folder / f"set-{distilled().digest[:20]}.safetensors"
    assert DistilledSet.load(first.path).digest == first.digest == distilled().digest


def test_another_blueprint_is_another_set(artefacts: Artefacts) -> None:
    first = artefacts.distilled(SET_BLUEPRINT, never, lambda: distilled(1))
    second = artefacts.distilled(SET_BLUEPRINT | {"ipc": 2}, never, lambda: distilled(2))
    assert first.digest != second.digest
    assert artefacts.distilled(SET_BLUEPRINT, never, never) == first


def test_a_set_in_the_cache_is_taken_and_kept_beside_the_board(artefacts: Artefacts) -> None:
    cached = Artefacts(artefacts.cache, artefacts.cache).distilled(SET_BLUEPRINT, never, distilled)
    found = artefacts.distilled(SET_BLUEPRINT, never, never)
    assert found.digest == cached.digest
    assert found.path.parent == artefacts.folder


def test_a_set_made_with_a_teacher_is_found_for_that_teacher_only(artefacts: Artefacts) -> None:
    first = artefacts.distilled(SET_BLUEPRINT, lambda: ["t1"], lambda: distilled(1, teacher_digest=["t1"]))
    assert artefacts.distilled(SET_BLUEPRINT, lambda: ["t1"], never) == first
    second = artefacts.distilled(SET_BLUEPRINT, lambda: ["t2"], lambda: distilled(2, teacher_digest=["t2"]))
    assert second.digest != first.digest
    assert artefacts.distilled(SET_BLUEPRINT, lambda: ["t1"], never) == first
    assert artefacts.distilled(SET_BLUEPRINT, lambda: ["t2"], never) == second


def test_finding_a_set_made_without_a_teacher_trains_none(artefacts: Artefacts) -> None:
    artefacts.distilled(SET_BLUEPRINT, never, distilled)
    artefacts.distilled(SET_BLUEPRINT, never, never)  # the second argument would train the teacher


def test_a_sets_header_is_read_once_however_many_are_looked_for_and_again_when_its_file_changes(
    artefacts: Artefacts, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(4):
        artefacts.distilled({"number": number}, never, lambda number=number: distilled(number))
    again, seen = Artefacts(artefacts.folder, artefacts.cache), []
    read = planning.read_set_header
    monkeypatch.setattr(planning, "read_set_header", lambda path: seen.append(path.name) or read(path))
    for number in range(4):
        again.distilled({"number": number}, never, never)
    assert len(seen) == 4 + 4  # each once in passing, and each as it is kept
    os.utime(artefacts.folder / seen[0], ns=(1, 1))
    again.distilled({"number": 0}, never, never)
    assert len(seen) > 9


def test_a_set_that_a_person_put_there_is_no_blueprints_answer(artefacts: Artefacts) -> None:
    artefacts.add(distilled(9, note="mine"))
    assert artefacts.distilled(SET_BLUEPRINT, never, lambda: distilled(1)).digest == distilled(1).digest


def test_images_per_class_come_from_the_header(artefacts: Artefacts) -> None:
    assert artefacts.add(distilled()).ipc == 1
    uneven = DistilledSet(torch.zeros(4, 1, 8, 8), torch.tensor([0, 0, 1, 2]), dataset="digits", method="mine")
    assert artefacts.add(uneven).ipc == 1.33


def test_a_damaged_set_file_is_named(artefacts: Artefacts) -> None:
    made = artefacts.distilled(SET_BLUEPRINT, never, distilled)
    made.path.write_bytes(made.path.read_bytes()[:-5])
    with pytest.raises(DataError, match="not a distilled set, or truncated") as caught:
        artefacts.distilled(SET_BLUEPRINT, never, never)
    assert str(caught.value).startswith(f"{made.path}: ")


def test_a_set_file_whose_labels_are_one_number_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "set-x.safetensors"
    save_file({"labels": torch.tensor(1)}, str(file), metadata={"format": "giftbench.distilled-set/1", "set": "{}"})
    with pytest.raises(DataError, match="not a distilled set"):
        read_set_header(file)


# -- by digest -------------------------------------------------------------------------------------------------------------


def test_files_are_found_by_digest(artefacts: Artefacts) -> None:
    teacher, made = artefacts.teacher(BLUEPRINT, Maker()), artefacts.add(distilled())
    assert artefacts.find("teacher", teacher.digest) == teacher.path
    assert artefacts.find("set", made.digest) == made.path


@pytest.mark.parametrize("kind", ["set", "teacher"])
def test_a_file_that_is_gone_is_named_with_the_remedy(artefacts: Artefacts, kind: str) -> None:
    with pytest.raises(DataError, match=f"{kind}-0000.*: gone; run the board again"):
        artefacts.find(kind, "0" * 64)


def test_a_file_under_anothers_name_is_refused(artefacts: Artefacts) -> None:
    first, second = artefacts.add(distilled(1)), artefacts.add(distilled(2))
    shutil.copyfile(second.path, first.path)
    with pytest.raises(DataError, match=f"holds the set {second.digest[:20]}") as caught:
        artefacts.find("set", first.digest)
    assert str(first.path) in str(caught.value)
    other = BLUEPRINT | {"seed": 1}
    one, two = artefacts.teacher(BLUEPRINT, Maker()), artefacts.teacher(other, Maker(other, 1))
    shutil.copyfile(two.path, one.path)
    with pytest.raises(DataError, match=f"holds the teacher {two.digest[:20]}"):
        artefacts.find("teacher", one.digest)


def test_nothing_half_written_is_left_beside_the_board(artefacts: Artefacts) -> None:
    artefacts.teacher(BLUEPRINT, Maker())
    artefacts.distilled(SET_BLUEPRINT, never, distilled)
    assert sorted(path.name.split("-")[0] for path in artefacts.folder.iterdir()) == ["set", "teacher"]


# -- what a run would take ---------------------------------------------------------------------------------------------------


def test_what_would_be_taken_is_told_without_keeping_it(artefacts: Artefacts) -> None:
    assert artefacts.known_teacher(lambda _: digest_json(BLUEPRINT)) is None
    made = Maker()(artefacts.cache)
    known = artefacts.known_teacher(lambda file: digest_json(BLUEPRINT | {"seed": file.blueprint["seed"]}))
    assert known is not None
    assert (known.path, known.digest) == (made.path, made.digest)
    assert not artefacts.folder.exists()
    assert artefacts.teacher(BLUEPRINT, never).digest == known.digest
    beside = artefacts.known_teacher(lambda _: digest_json(BLUEPRINT))
    assert beside is not None and beside.path.parent == artefacts.folder


def test_a_set_is_asked_about_its_teacher_only_where_it_has_one(artefacts: Artefacts) -> None:
    key = digest_json(SET_BLUEPRINT)
    assert artefacts.known_set(lambda _: key, never) is None
    plain = artefacts.distilled(SET_BLUEPRINT, never, distilled)
    assert artefacts.known_set(lambda _: key, never) == plain
    other = SET_BLUEPRINT | {"ipc": 2}
    taught = artefacts.distilled(other, lambda: ["t1", "t2"], lambda: distilled(1, teacher_digest=["t1", "t2"]))
    assert artefacts.known_set(lambda _: digest_json(other), lambda: ("t1", "t2")) == taught
    assert artefacts.known_set(lambda _: digest_json(other), lambda: ("t2", "t1")) is None


@pytest.mark.parametrize("content", ["", "not safetensors", "pipe", "folder"])
def test_what_is_no_artefact_in_the_cache_stops_no_board_that_does_not_need_it(
    artefacts: Artefacts, caplog: pytest.LogCaptureFixture, content: str
) -> None:
    artefacts.cache.mkdir()
    odd = [artefacts.cache / f"{kind}-0.safetensors" for kind in ("set", "teacher")]
    for path in odd:
        if content == "pipe":
            os.mkfifo(path)
        elif content == "folder":
            path.mkdir()
        else:
            path.write_text(content)
    make = Maker()
    assert artefacts.teacher(BLUEPRINT, make).path.parent == artefacts.folder
    assert artefacts.distilled({"method": "mine"}, never, distilled).path.parent == artefacts.folder
    assert make.calls == 1
    for path in odd:
        lines = [line for line in caplog.messages if line.startswith(f"{path}: not a ")]
        assert len(lines) == 1
        assert lines[0].endswith("; passed over")
        assert path.exists()
