"""Freed memory kept for the next step, instead of given back to the system and asked for again; given back between bundles."""

from __future__ import annotations

import ctypes
import mmap
from pathlib import Path

#: Parameters of glibc's `mallopt` (malloc.h): how many requests are answered by mapping memory, and how much freed memory at
#: the top of the heap is kept; -1 keeps all.
_TRIM_THRESHOLD, _MMAP_MAX = -1, -4
#: Bytes that a process may have grown by in a bundle and not be asked what of it is free: what most steps ask for again.
SPARE = 32 << 20


def keep_freed() -> bool:
    """Let this process keep the memory that it frees, unless it is made to give it back; return whether its C library can.

    glibc maps every request above 32 MiB anew and gives freed memory back to the system. A training step on the CPU frees its
    activations and asks for the same again in the next step, and the system hands each page out zeroed, at its first touch:
    100,000 pages a step of ConvNet-3 on 100 images of 32 px, a quarter of the step's time in float32. No number changes.
    """
    try:
        set_option = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):  # another C library, or Windows
        return False
    return bool(set_option(_MMAP_MAX, 0)) and bool(set_option(_TRIM_THRESHOLD, -1))


class Freed:
    """The memory that this process has freed and keeps: a worker that has trained a large student would hold it to its end."""

    def __init__(self) -> None:
        self._resident = _resident()

    def give_back(self) -> bool:
        """Give it back to the system, where this process has grown by more than `SPARE`; return whether it was asked to."""
        if _resident() - self._resident <= SPARE:
            return False
        try:
            ctypes.CDLL(None).malloc_trim(0)
        except (AttributeError, OSError, TypeError):  # another C library
            return False
        self._resident = _resident()
        return True


def _resident() -> int:
    """Return the bytes that this process has in memory, 0 where the system does not tell."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * mmap.PAGESIZE
    except OSError:
        return 0
