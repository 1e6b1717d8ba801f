"""How a run is stopped from outside: once by Ctrl-C after the running trials, at once by Ctrl-C again or by another signal.

| signal | comes from | what is done | exit status |
| --- | --- | --- | ---: |
| SIGINT | Ctrl-C | the running trials end, no more begin; the second time, or where none runs: as the others | 130 |
| SIGTERM | `kill`, systems that shut down | running trials are given up | 143 |
| SIGHUP | a terminal that is closed | running trials are given up | 129 |
| SIGUSR2 | Slurm, before it preempts a job or its time is up | running trials are given up | 140 |

Whatever has a record keeps it, and the same command goes on.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

WORDS = {
    "SIGINT": "stopped",
    "SIGTERM": "stopped by SIGTERM",
    "SIGHUP": "stopped by SIGHUP: the terminal is gone",
    "SIGUSR2": "stopped by SIGUSR2: preempted, or out of time",
}


class Stopped(BaseException):
    """A signal has ended the run; `status` is the exit status that says so.

    No KeyboardInterrupt, for the library of the command line would end the process at one without a word.
    """

    def __init__(self, number: int) -> None:
        name = signal.Signals(number).name
        super().__init__(f"{WORDS.get(name, name)}; the same command goes on where it was")
        self.status = 128 + number


class Stop:
    """Whether a run is to end: after its running trials, once `asked`. Away from `signals` nobody asks."""

    def __init__(self, say: Callable[[str], None] = lambda line: None) -> None:
        self.asked = self.running = False
        self._say = say

    def interrupt(self, number: int, frame: FrameType | None = None) -> None:
        """Take a signal. Raises Stopped when the run is to end at once."""
        if number == signal.SIGINT and self.running and not self.asked:
            self.asked = True
            self._say("stopping after the running trials; Ctrl-C again stops now, and the same command goes on where it was")
            return
        raise Stopped(number)

    @contextmanager
    def ending(self) -> Iterator[None]:
        """A block in which trials run, and Ctrl-C waits for them. Raises Stopped after it when that was asked."""
        self.running = True
        try:
            yield
        finally:
            self.running = False
        if self.asked:
            raise Stopped(signal.SIGINT)


def forget() -> None:
    """Have these signals end this process as they end any, where it is forked from one that heard them."""
    for number in _numbers():
        if callable(signal.getsignal(number)):
            signal.signal(number, signal.SIG_DFL)


@contextmanager
def signals(say: Callable[[str], None]) -> Iterator[Stop]:
    """Have this process's signals stop a run while the block lasts; `say` is told a line when one is waited for."""
    stop = Stop(say)
    numbers = _numbers()
    if threading.current_thread() is not threading.main_thread():
        numbers = []  # who runs giftbench from a thread has its own ways
    before = {number: signal.getsignal(number) for number in numbers}
    taken = [number for number in numbers if before[number] != signal.SIG_IGN]  # as under nohup
    for number in taken:
        signal.signal(number, stop.interrupt)
    try:
        yield stop
    finally:
        for number in taken:
            signal.signal(number, before[number])


def _numbers() -> list[int]:
    return [getattr(signal, name) for name in WORDS if hasattr(signal, name)]
