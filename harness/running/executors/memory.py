"""Freed memory kept for the next step, instead of given back to the system and asked for again."""

from __future__ import annotations

import ctypes

#: Parameters of glibc's `mallopt` (malloc.h): how many requests are answered by mapping memory, and how much freed memory at
#: the top of the heap is kept; -1 keeps all.
_TRIM_THRESHOLD, _MMAP_MAX = -1, -4


def keep_freed() -> bool:
    """Let this process keep the memory that it frees, until it ends; return whether its C library can.

    glibc maps every request above 32 MiB anew and gives freed memory back to the system. A training step on the CPU frees its
    activations and asks for the same again in the next step, and the system hands each page out zeroed, at its first touch:
    100,000 pages a step of ConvNet-3 on 100 images of 32 px, a quarter of the step's time in float32. No number changes.
    """
    try:
        set_option = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):  # another C library, or Windows
        return False
    return bool(set_option(_MMAP_MAX, 0)) and bool(set_option(_TRIM_THRESHOLD, -1))
