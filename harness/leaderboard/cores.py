"""Work done on all cores, in processes that begin with what this one holds."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.process import BaseProcess
from typing import TypeVar, cast

from harness.core.cores import cores
from harness.core.errors import GiftbenchError

Done = TypeVar("Done")

_work: Sequence[Callable[[], object]] = ()


def on_cores(work: Sequence[Callable[[], Done]]) -> list[Done]:
    """Call functions and return what they return, which pickle has to know; one after the other where forking is not safe.

    Safe is a process without threads, torch's among them, on Linux. Raises what a function raises, and GiftbenchError where a
    process was killed. Processes end when they are told that no work is left, not by a signal: one that came
    before a new process takes signals its own way would be lost, and waited for.
    """
    workers = min(len(work), cores() if sys.platform == "linux" else 1)
    if workers < 2 or "torch" in sys.modules or threading.active_count() > 1:
        return [one() for one in work]
    try:
        with ProcessPoolExecutor(workers, multiprocessing.get_context("fork"), _hold, (work,)) as pool:
            return cast("list[Done]", list(pool.map(_do, range(len(work)))))
    except BrokenProcessPool as error:
        raise GiftbenchError(
            "a process on another core was killed, perhaps for want of memory; `taskset -c 0 giftbench …` works on one core alone"
        ) from error


def _hold(work: Sequence[Callable[[], object]]) -> None:
    """Keep what a fork inherits: so it need not be pickled. How its parent takes signals is not kept.

    SIGTERM ends one, Ctrl-C is for the parent, and a parent that was killed takes its processes with it.
    """
    global _work
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with, args=(multiprocessing.parent_process(),), daemon=True).start()
    _work = work


def _end_with(parent: BaseProcess) -> None:
    parent.join()
    os._exit(1)


def _do(index: int) -> object:
    return _work[index]()
