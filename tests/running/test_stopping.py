"""Signals: Ctrl-C once waits for the running trials, all else stops now, each with the exit status that shells know."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.boards.records import RecordStore
from harness.running.stopping import Stop, Stopped, signals
from tests.runners import lines, logged_board, recorded, started, until, workers


@pytest.fixture(autouse=True)
def _heard() -> Iterator[None]:
    """Ignore no signal, whatever these tests are run by: `nohup`, or a shell's background; what they start inherits it."""
    handlers = {signal.SIGINT: signal.default_int_handler, signal.SIGHUP: signal.SIG_DFL}
    before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def test_the_first_ctrl_c_is_asked_and_said_while_trials_run_and_ends_the_block_when_they_have() -> None:
    said: list[str] = []
    with signals(said.append) as stop:
        with pytest.raises(Stopped) as stopped, stop.ending():
            assert not stop.asked
            os.kill(os.getpid(), signal.SIGINT)
            assert stop.asked
        assert stopped.value.status == 130
        assert str(stopped.value) == "stopped; the same command goes on where it was"
    (line,) = said
    assert "after the running trials" in line


def test_the_second_ctrl_c_stops_now_and_so_does_the_first_where_nothing_runs() -> None:
    with signals(lambda line: None) as stop:
        with pytest.raises(Stopped):
            os.kill(os.getpid(), signal.SIGINT)
        with pytest.raises(Stopped), stop.ending():
            os.kill(os.getpid(), signal.SIGINT)
            os.kill(os.getpid(), signal.SIGINT)
            pytest.fail("went on")


@pytest.mark.parametrize(
    ("name", "status", "words"), [("SIGTERM", 143, "SIGTERM"), ("SIGHUP", 129, "terminal"), ("SIGUSR2", 140, "preempted")]
)
def test_other_signals_stop_now_with_a_line_of_their_own(name: str, status: int, words: str) -> None:
    with signals(lambda line: None) as stop, pytest.raises(Stopped, match=words) as stopped, stop.ending():
        os.kill(os.getpid(), getattr(signal, name))
        pytest.fail("went on")
    assert stopped.value.status == status
    assert str(stopped.value).endswith("the same command goes on where it was")


def test_signals_are_as_they_were_after_the_block_and_one_that_is_ignored_stays_so() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR2)}
        with signals(lambda line: None) as stop, stop.ending():
            os.kill(os.getpid(), signal.SIGHUP)
            assert signal.getsignal(signal.SIGTERM) == stop.interrupt
        assert handlers == {number: signal.getsignal(number) for number in handlers}
    finally:
        signal.signal(signal.SIGHUP, before)


def test_a_run_of_nobody_is_never_asked_to_stop() -> None:
    with Stop().ending():
        pass


def test_ctrl_c_in_a_terminal_keeps_what_was_running_and_begins_nothing_and_sigterm_gives_up(tmp_path: Path) -> None:
    """A terminal sends it to every process of the run."""
    board = logged_board(tmp_path / "board", 12)
    run = started("run", board, "--jobs", 2, "--device", "cpu", LOGGED_SECONDS="1.5")
    assert until(lambda: len(lines(board, "begin")) >= 2)
    os.killpg(run.pid, signal.SIGINT)
    _, said = run.communicate()
    assert run.returncode == 130, said
    assert "stopping after the running trials" in said
    assert said.endswith("giftbench: stopped; the same command goes on where it was\n")
    assert 2 <= len(lines(board, "begin")) < 12
    assert set(lines(board, "begin")) == set(lines(board, "end")) == recorded(board)
    assert {record.status for record in RecordStore(board / "records")} == {"done"}
    assert [path.name for path in (board / "claims").iterdir()] == ["planned.json"], "what is left is known, and nobody's"

    kept = recorded(board)
    run = started("run", board, "--jobs", 2, "--device", "cpu", LOGGED_SECONDS="60")
    assert until(lambda: len(lines(board, "begin")) >= len(kept) + 2)
    assert len(workers(run.pid)) == 2
    os.kill(run.pid, signal.SIGTERM)
    _, said = run.communicate()
    assert run.returncode == 143
    assert said.endswith("giftbench: stopped by SIGTERM; the same command goes on where it was\n")
    assert "Traceback" not in said
    assert recorded(board) == kept
    assert [path.name for path in (board / "claims").iterdir()] == ["planned.json"], "what is left is known, and nobody's"
    assert until(lambda: not workers(run.pid), 20)
