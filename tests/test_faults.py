"""Every store and cache while the disk fails it: at each write, at each moment when content goes to the disk, at each rename.

What was finished before stays, what is there afterwards is whole, the failure is a WriteError or costs nothing, and the next
try brings what an undisturbed one brings.
"""

from __future__ import annotations

import errno
import json
import os
import resource
import shutil
import subprocess
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from PIL import Image

from harness import DistilledSet, models, teachers
from harness.boards.records import Record, RecordStore
from harness.cli.scaffold import scaffold
from harness.core.errors import WriteError
from harness.datasets import decoded, whitening
from harness.datasets.cards import Card
from harness.distilled import inspection
from harness.files import claims
from harness.files.pixels import Form
from harness.leaderboard.render import render
from harness.planning import checking
from harness.planning.artefacts import Artefacts
from harness.running import standing
from harness.running.scenario import named
from tests.leaderboard.conftest import Planter

BLUEPRINT: dict[str, Any] = {"model": {"name": "convnet1", "options": {"width": 4}}, "seed": 0}


@cache
def records() -> tuple[Record, ...]:
    planter = Planter()
    planter.cell(50.0, 51.0)
    return tuple(planter.records)


@cache
def distilled() -> DistilledSet:
    images = torch.arange(2 * 64, dtype=torch.uint8).reshape(2, 1, 8, 8)
    return DistilledSet(images, torch.tensor([0, 1]), dataset="digits", method="mine")


def teacher(folder: Path) -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        teachers.save(models.build(BLUEPRINT["model"], (1, 8, 8), 2), BLUEPRINT, 50.0, folder)


def board(folder: Path) -> None:
    planter = Planter()
    planter.records = list(records())
    planter.board(folder)


def white(folder: Path) -> None:
    images = torch.arange(4 * 12, dtype=torch.uint8).reshape(4, 3, 2, 2)
    dataset: Any = SimpleNamespace(digest="d" * 64, train=SimpleNamespace(images=images), shape=(3, 2, 2), name="tiny")
    whitening.whitening(dataset, "cpu")


def pictures(folder: Path) -> None:
    for number in range(3):
        Image.new("L", (4, 4), number).save(folder / f"{number}.png")


def decode(folder: Path) -> None:
    files = [folder / f"{number}.png" for number in range(3)]
    stamps = [(file.name, file.stat().st_size, 0) for file in files]
    listing = decoded.Listing("tiny: test", folder, [str(file) for file in files], torch.tensor([0, 1, 2]), stamps)
    split = decoded.decoded_split(listing, Form((1, 4, 4)), workers=1)
    assert split.images[:].flatten(1).max(1).values.tolist() == [0, 1, 2]


def check(folder: Path) -> None:
    dataset: Any = SimpleNamespace(digest="d" * 64)
    assert checking.check("e" * 64, lambda: distilled(), Card("digits", (1, 8, 8), 2, (0.0,), (1.0,)), dataset).lines


def note(folder: Path) -> None:
    standing._write(folder / "home" / "note.json", standing.Note(hash="h", outside=()))


def aside(folder: Path) -> None:
    store = RecordStore(folder / "records")
    store.set_aside(store.ids(), folder / "removed")


def plugin(folder: Path) -> None:
    if not any(folder.glob("*.py")):
        scaffold("loss", "loss-of-faults", folder)


def locked(folder: Path) -> None:
    with claims.lock(folder / "locks" / "one"):
        pass


def known(folder: Path) -> None:
    store = RecordStore(folder / "records")
    store.write(records()[0])


Step = Callable[[Path], Any]
#: What lies there before, and what is done while the disk fails.
STORES: dict[str, tuple[Step, Step]] = {
    "record": (known, lambda folder: RecordStore(folder / "records").write(records()[1])),
    "record anew": (known, lambda folder: RecordStore(folder / "records").write(records()[0].warned(("odd",)))),
    "records set aside": (known, aside),
    "set": (lambda folder: None, lambda folder: distilled().save(folder / "sets" / "one.safetensors")),
    "set beside a board": (lambda folder: None, lambda folder: Artefacts(folder / "artefacts").add(distilled())),
    "teacher": (lambda folder: None, teacher),
    "teacher from the cache": (
        lambda folder: teacher(folder / "home" / "artefacts"),
        lambda folder: Artefacts(folder / "artefacts").teacher(BLUEPRINT, lambda _: pytest.fail("made again")),
    ),
    "leaderboard": (board, lambda folder: render(folder, named)),
    "picture": (lambda folder: None, lambda folder: inspection.draw(distilled(), folder / "pictures" / "set.png")),
    "plugin": (lambda folder: None, plugin),
    "whitening": (lambda folder: None, white),
    "decoded images": (pictures, decode),
    "note of a board": (lambda folder: None, note),
    "lock": (lambda folder: None, locked),
}


def contents(folder: Path) -> dict[str, bytes]:
    """Return what lies in a folder by name; locks are empty, and may stay."""
    files = (path for path in sorted(folder.rglob("*")) if path.is_file() and path.suffix != ".lock")
    return {str(path.relative_to(folder)): _content(path) for path in files}


def _content(path: Path) -> bytes:
    """Return a file's bytes; of safetensors with the header in one order, which the library changes from time to time."""
    content = path.read_bytes()
    if path.suffix != ".safetensors" or len(content) < 8:
        return content
    end = 8 + int.from_bytes(content[:8], "little")
    return json.dumps(json.loads(content[8:end]), sort_keys=True).encode() + content[end:]


@contextmanager
def failing(what: str, number: int) -> Iterator[list[int]]:
    """Let the call of this number fail as on a full disk; gives a list that holds the number once it has."""
    calls, failed = [0], []
    places = {
        "fsync": [(os, "fsync")],
        "rename": [(Path, "replace"), (Path, "rename"), (os, "replace")],
        "folder": [(Path, "mkdir")],
    }
    with pytest.MonkeyPatch.context() as patch:
        for owner, name in places[what]:
            usual = getattr(owner, name)

            def call(*given: Any, _usual: Any = usual, **more: Any) -> Any:
                calls[0] += 1
                if calls[0] == number:
                    failed.append(number)
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
                return _usual(*given, **more)

            patch.setattr(owner, name, call)
        yield failed


@contextmanager
def room(size: int) -> Iterator[None]:
    """Let no file grow beyond so many bytes: whoever writes, torch's and safetensors' own code too, is refused by the system."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def faults() -> Iterator[tuple[str, Callable[[], Any]]]:
    for size in (0, 1, 100, 1000):
        yield f"no more than {size} bytes", lambda size=size: room(size)
    for what in ("fsync", "rename", "folder"):
        for number in range(1, 9):
            yield f"{what} {number}", lambda what=what, number=number: failing(what, number)


@pytest.mark.parametrize("name", STORES)
def test_a_store_on_a_failing_disk_keeps_what_it_had_and_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    prepare, act = STORES[name]
    folder = tmp_path / "place"
    monkeypatch.setenv("GIFTBENCH_HOME", str(folder / "home"))

    def start() -> dict[str, bytes]:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        prepare(folder)
        return contents(folder)

    start()
    act(folder)
    whole, failures, passed = contents(folder), 0, set()
    for said, fault in faults():
        kind = said.split()[0]
        if kind in passed:
            continue
        before = start()
        with ExitStack() as stack:
            failed = stack.enter_context(fault())
            try:
                act(folder)
            except WriteError as error:
                failures += 1
                assert "\n" not in str(error)
            else:
                if failed == []:  # there is no call of this number, nor of any that is higher
                    passed.add(kind)
        _whole(contents(folder), before, whole, said)
        act(folder)
        assert contents(folder) == whole, said
    assert failures or name == "note of a board"  # which is a cache alone, and done without


def _whole(now: Mapping[str, bytes], before: Mapping[str, bytes], after: Mapping[str, bytes], said: str) -> None:
    """Check that each file is as it was, or as it shall be, and that nothing else lies there."""
    moved = before.keys() - after.keys()
    assert before.keys() - moved <= now.keys(), said
    for name, content in now.items():
        assert content in (before.get(name), after.get(name)), f"{said}: {name}"


def test_a_checked_set_needs_no_room_for_what_was_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "home").write_text("a file")
    monkeypatch.setenv("GIFTBENCH_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(checking, "_lines", lambda *_: ("a line",))
    check(tmp_path)
    note(tmp_path)


def test_a_full_disk_keeps_every_finished_record_and_goes_on_once_there_is_room(tmp_path: Path) -> None:
    """On a file system of 64 KiB of its own, filled by records until it is full."""
    small = tmp_path / "small"
    small.mkdir()
    words = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(small)]
    if shutil.which("mount") is None or subprocess.run(words, capture_output=True, check=False).returncode:
        pytest.skip("no file system may be mounted here")
    try:
        planter, written = Planter(), []
        store = RecordStore(small / "records")
        with pytest.raises(WriteError, match="no space left on device; free some space, and the same command goes on"):
            for seed in range(200):
                record = planter.plant(50.0, seed=seed)
                store.write(record)
                written.append(record)
        assert written
        assert {one.id: one.metrics for one in store} == {one.id: one.metrics for one in written}
        assert not [*store.folder.glob(".*")]
        (store.folder / f"{written.pop().id}.json").unlink()
        store.write(record)
        assert {one.id for one in store} == {one.id for one in [*written, record]}
    finally:
        subprocess.run(["umount", str(small)], check=True)


MODES = {
    "record": lambda folder: RecordStore(folder / "records").write(records()[0]),
    **{
        name: step
        for name, (_, step) in STORES.items()
        if name in ("set", "set beside a board", "teacher", "picture", "whitening")
    },
    "decoded images": decode,
    "note of a board": note,
}


@pytest.mark.parametrize(("mask", "mode"), [(0o002, 0o664), (0o022, 0o644), (0o077, 0o600)])
def test_whatever_is_written_has_the_mode_that_its_user_asks_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mask: int, mode: int
) -> None:
    monkeypatch.setenv("GIFTBENCH_HOME", str(tmp_path / "home"))
    before = os.umask(mask)
    try:
        pictures(tmp_path)
        for act in MODES.values():
            act(tmp_path)
    finally:
        os.umask(before)
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len(files) >= len(MODES)
    assert {path.name: oct(path.stat().st_mode & 0o777) for path in files} == dict.fromkeys(
        (path.name for path in files), oct(mode)
    )
