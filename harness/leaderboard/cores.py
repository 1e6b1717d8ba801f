"""Work done on all cores, in processes that begin with what this one holds."""

from __future__ import annotations

import multiprocessing
import signal
import sys
import threading
from collections.abc import Callable, Sequence
from typing import TypeVar, cast

from harness.core.cores import cores

Done = TypeVar("Done")

_work: Sequence[Callable[[], object]] = ()


def on_cores(work: Sequence[Callable[[], Done]]) -> list[Done]:
    """Call functions and return what they return, which pickle has to know; one after the other where forking is not safe.

    Safe is a process without threads, torch's among them, on Linux.
    """
    workers = min(len(work), cores() if sys.platform == "linux" else 1)
    if workers < 2 or "torch" in sys.modules or threading.active_count() > 1:
        return [one() for one in work]
    with multiprocessing.get_context("fork").Pool(workers, _hold, (work,)) as pool:
        return cast("list[Done]", pool.map(_do, range(len(work)), chunksize=1))


def _hold(work: Sequence[Callable[[], object]]) -> None:
    """Keep what a fork inherits: so it need not be pickled. How its parent takes signals is not kept.

    A pool ends its processes by SIGTERM, and Ctrl-C is for the parent.
    """
    global _work
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _work = work


def _do(index: int) -> object:
    return _work[index]()
