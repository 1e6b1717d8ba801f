"""Claims: one holder at a time, taken over when the holder is gone, whatever the clocks and whoever else takes over."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from harness.files import claims as module
from harness.files.claims import Claims, Holder, clock, lock

ELSEWHERE = {"host": "far", "pid": 1, "since": "2026-01-01", "place": "another host", "began": "7"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "claims"


def planted(folder: Path, name: str, age: float = 0.0, number: int = 0, **holder: object) -> Path:
    """Write a claim as another host has it, whose last heartbeat is this old."""
    folder.mkdir(exist_ok=True)
    path = folder / f"{name}.{number}.claim"
    path.write_text(json.dumps(ELSEWHERE | holder))
    os.utime(path, (clock(folder) - age,) * 2)
    return path


def test_a_name_is_held_by_one_until_it_is_released_and_the_folder_goes_with_the_last(folder: Path) -> None:
    with Claims(folder) as one, Claims(folder) as other:
        assert one.take(["a"])
        assert not other.take(["a"])
        assert not one.take(["a"]), "nor twice by the same"
        assert other.take(["b"])
        one.release(["a"])
        assert other.take(["a"])
        assert {name: holder.pid for name, holder in one.holders().items()} == {"a": os.getpid(), "b": os.getpid()}
    assert not folder.exists()


def test_of_several_names_all_are_taken_or_none(folder: Path) -> None:
    with Claims(folder) as one, Claims(folder) as other:
        assert one.take(["b"])
        assert not other.take(["a", "b", "c"])
        assert other.holders().keys() == {"b"}
        one.release(["b"])
        assert other.take(["a", "b", "c"])


@pytest.mark.parametrize(("age", "taken"), [(0.0, False), (80.0, False), (120.0, True)])
def test_a_claim_of_another_host_is_taken_over_when_its_heartbeat_is_older_than_the_bound(
    folder: Path, age: float, taken: bool
) -> None:
    left = planted(folder, "a", age)
    with Claims(folder, stale=100) as claims:
        assert claims.take(["a"]) is taken
        assert left.exists() is not taken


def test_heartbeats_are_held_against_the_clock_of_the_file_system(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    planted(folder, "a")
    planted(folder, "b", age=200)
    for wrong in (1e6, -1e6):
        with monkeypatch.context() as patch:
            patch.setattr(module.time, "time", lambda wrong=wrong, now=time.time: now() + wrong)
            with Claims(folder, stale=100) as claims:
                assert claims.holders().keys() == {"a"}


def test_a_claim_that_is_held_is_touched_and_stays_its_holders(folder: Path) -> None:
    with Claims(folder, beat=0.05, stale=0.5) as one, Claims(folder, stale=0.5) as other:
        assert one.take(["a"])
        (path,) = folder.iterdir()
        os.utime(path, (0, 0))
        deadline = time.monotonic() + 20
        while path.stat().st_mtime == 0 and time.monotonic() < deadline:
            time.sleep(0.01)
        assert not other.take(["a"])


def test_a_claim_whose_process_has_ended_on_this_host_is_taken_over_at_once(folder: Path) -> None:
    code = "import sys, time; from pathlib import Path; from harness.files.claims import Claims\n"
    code += "print(Claims(Path(sys.argv[1])).take(['a']), flush=True); time.sleep(60)"
    process = subprocess.Popen([sys.executable, "-c", code, str(folder)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "True\n"
    with Claims(folder) as claims:
        assert not claims.take(["a"])
        assert claims.holders()["a"].pid == process.pid
        process.send_signal(signal.SIGKILL)
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)  # a process that nobody has taken leave of is none either
        assert claims.take(["a"])
    process.communicate()


def test_who_lets_go_of_a_folder_removes_what_those_have_left_who_were_killed_and_nothing_of_the_living(folder: Path) -> None:
    gone = planted(folder, "done", **{**vars(Holder.this()), "began": "1"})
    silent = planted(folder, "silent", age=200)
    alive, unwritten = planted(folder, "alive"), planted(folder, "unwritten")
    unwritten.write_text("")
    probe = folder / ".0123456789ab.clock"
    probe.touch()
    with Claims(folder, stale=100) as claims:
        assert claims.take(["mine"])
    assert not gone.exists() and not silent.exists() and not probe.exists()
    assert alive.exists() and unwritten.exists()
    alive.unlink()
    unwritten.unlink()
    with Claims(folder):
        pass
    assert not folder.exists()


def test_the_clock_is_read_though_another_removes_the_file_that_it_is_read_by(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder.mkdir()
    opened = os.open

    def removed(path: Path, *how: int) -> int:
        descriptor = opened(path, *how)
        Path(path).unlink()
        return descriptor

    monkeypatch.setattr(os, "open", removed)
    monkeypatch.setattr(time, "time", lambda: pytest.fail("the file system's clock was not read"))
    assert clock(folder) > 0


def test_another_process_of_the_same_number_is_not_the_holder(folder: Path) -> None:
    this = vars(Holder.this())
    planted(folder, "old", **{**this, "began": "1"})
    planted(folder, "new", **this)
    with Claims(folder) as claims:
        assert claims.holders().keys() == {"new"}


def test_a_claim_that_is_not_written_yet_is_somebodys(folder: Path) -> None:
    path = planted(folder, "a")
    path.write_text("")
    with Claims(folder, stale=100) as claims:
        assert not claims.take(["a"])
        os.utime(path, (0, 0))
        assert claims.take(["a"])


@pytest.mark.parametrize("left", [0, 1])
def test_of_many_who_take_over_at_once_exactly_one_wins(folder: Path, left: int) -> None:
    """`left` claims of a holder that is gone lie there; then the winner lets go, and another wins."""
    for turn in range(30):
        name, many = f"name {turn}", [Claims(folder, stale=100) for _ in range(6)]
        for number in range(left):
            planted(folder, name, 1000, number)
        barrier, winners = threading.Barrier(len(many)), []

        def take(claims: Claims, name: str = name, barrier: threading.Barrier = barrier, winners: list[Claims] = winners) -> None:
            barrier.wait()
            if claims.take([name]):
                winners.append(claims)

        threads = [threading.Thread(target=take, args=(claims,)) for claims in many]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(winners) == 1
        for claims in many:
            claims.__exit__()
    assert not folder.exists()


def test_who_looked_long_ago_steps_back_from_a_claim_that_has_been_taken_over_and_released_since(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The slow one saw a claim number 0 that nobody holds; by the time it makes number 1, a third holds number 0."""
    planted(folder, "a", 1000)
    slow, quick, third = (Claims(folder, stale=100) for _ in range(3))
    create = Claims._create

    def late(self: Claims, path: Path, content: bytes) -> bool:
        if self is slow and path.name == "a.1.claim":
            assert quick.take(["a"])
            quick.release(["a"])
            assert third.take(["a"])
        return create(self, path, content)

    monkeypatch.setattr(Claims, "_create", late)
    assert not slow.take(["a"])
    assert [path.name for path in folder.iterdir()] == ["a.0.claim"]
    slow.release(["a"])
    assert not quick.take(["a"])
    third.release(["a"])


def test_who_was_stopped_and_taken_over_does_not_remove_the_others_claim(folder: Path) -> None:
    with Claims(folder, beat=1000, stale=100) as stopped, Claims(folder, stale=100) as other:
        assert stopped.take(["a"])
        os.utime(folder / "a.0.claim", (0, 0))
        assert other.take(["a"])
        (folder / "a.1.claim").rename(folder / "a.0.claim")  # as where it had been released and claimed again
        stopped.release(["a"])
        assert (folder / "a.0.claim").exists()
        (folder / "a.0.claim").unlink()


def test_a_name_that_is_held_is_waited_for_and_its_holder_is_told_once(folder: Path) -> None:
    told: list[Holder] = []
    with Claims(folder) as one, Claims(folder) as other:
        assert one.take(["plan"])
        threading.Timer(1.2, one.release, [["plan"]]).start()
        with other.held("plan", told.append):
            assert not one.take(["plan"])
        assert one.take(["plan"])
    assert [holder.pid for holder in told] == [os.getpid()]
    assert str(told[0]).startswith(f"process {os.getpid()} on ")


def test_a_lock_lets_one_in_at_a_time_and_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "POLL", 0.01)
    within: list[int] = []
    most: list[int] = []

    def enter() -> None:
        with lock(tmp_path / "cache" / "teacher"):
            within.append(1)
            most.append(len(within))
            time.sleep(0.02)
            within.pop()

    threads = [threading.Thread(target=enter) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == [1] * 5
    assert not list((tmp_path / "cache").iterdir())


def test_the_clock_of_a_folder_that_cannot_be_written_is_this_machines(tmp_path: Path) -> None:
    assert abs(clock(tmp_path) - time.time()) < 60
    assert abs(clock(tmp_path / "gone") - time.time()) < 60
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("said", "expected"), [(None, module.STALE), ("7", 7.0)])
def test_the_bound_may_be_said_by_the_environment(
    folder: Path, monkeypatch: pytest.MonkeyPatch, said: str | None, expected: float
) -> None:
    monkeypatch.delenv("GIFTBENCH_STALE", raising=False)
    if said:
        monkeypatch.setenv("GIFTBENCH_STALE", said)
    assert Claims(folder).stale == expected
    assert Claims(folder).beat <= expected / 5


def test_who_takes_a_name_makes_nothing_of_the_claims_of_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[str] = []
    made = module.Path
    monkeypatch.setattr(module, "Path", lambda path: (read.append(path), made(path))[1])
    with Claims(tmp_path / "claims") as claims:
        assert claims.take([f"name-{number}" for number in range(100)])
        read.clear()
        assert claims.take(["another"])
        assert [path for path in read if "name-" in str(path)] == []
        assert not Claims(tmp_path / "claims").take(["another"])
