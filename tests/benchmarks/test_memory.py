"""`memory.py`: what a command holds is counted with what it has started, and what they share once."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.benchmarks import memory

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="what processes share is told by Linux alone")
MB = 1 << 20
#: Holds 64 MB; a child, which it is forked from, shares them and holds 32 MB of its own; both sleep.
SHARES = """
import os, time
kept = bytearray(b"x") * (64 << 20)
child = os.fork()
if not child:
    own = bytearray(b"x") * (32 << 20)
time.sleep(1.0)
os._exit(0) if not child else (os.waitpid(child, 0), os._exit(3))
"""


def test_the_peak_is_of_all_processes_and_counts_shared_pages_once() -> None:
    found = memory.peak([sys.executable, "-S", "-c", SHARES], every=0.05)
    assert 96 * MB < found.bytes < 128 * MB, "64 MB are shared, 32 MB are the child's"
    assert len(found.parts) == 2
    assert sum(amount for _, amount in found.parts) == found.bytes
    assert found.looks > 3
    assert found.status == 3


def test_what_is_started_in_a_block_is_watched() -> None:
    with memory.watched(every=0.05) as most:
        subprocess.run([sys.executable, "-S", "-c", SHARES], check=False)
    assert 96 * MB < most[0] < 128 * MB, "without this process's own"


def test_a_process_that_has_ended_holds_nothing() -> None:
    assert memory.held(2**22 + 1) == 0
    assert memory.name_of(2**22 + 1) == "ended"
    assert [*memory.descendants(2**22 + 1)] == [2**22 + 1]
