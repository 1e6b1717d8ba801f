"""Memory that a step frees serves the next one, and goes back to the system when a bundle has ended."""

from __future__ import annotations

import subprocess
import sys

import pytest

# In a new process, for the setting lasts until its end. The heap grows until a freed block fits the next request; then pages are
# counted that ten further blocks of 64 MiB are given by the system.
PROGRAM = """
import resource
import torch
from harness.running.executors.memory import keep_freed
said = keep_freed() if {keep} else None
for step in range(30):
    if step == 20:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    torch.ones(16 << 20)
print(said, resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def _pages(keep: bool) -> tuple[str, int]:
    done = subprocess.run([sys.executable, "-c", PROGRAM.format(keep=keep)], capture_output=True, text=True, check=True)
    said, pages = done.stdout.split()
    return said, int(pages)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="counts pages as Linux does")
def test_freed_memory_is_used_again_without_asking_the_system() -> None:
    said, kept = _pages(keep=True)
    if said == "False":
        pytest.skip("this C library has no mallopt")
    _, usual = _pages(keep=False)
    assert usual > 200  # 64 MiB are at least 32 pages, were they the largest
    assert kept < usual / 10


# In a new process, which keeps what it frees: blocks of 1 MiB with small ones between them, as those of a student's weights.
FREED = """
import torch
from harness.running.executors.memory import Freed, _resident, keep_freed
said, freed, megabyte = keep_freed(), Freed(), 1 << 20
assert not freed.give_back()
blocks = [[torch.ones(megabyte // 4), torch.ones(8)] for _ in range(400)]
full = _resident()
small = [block.pop() for block in blocks]
del blocks
held, was_asked = _resident(), freed.give_back()
print(said, full // megabyte, held // megabyte, _resident() // megabyte, was_asked, freed.give_back())
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="counts pages as Linux does")
def test_what_a_bundle_has_freed_is_given_back_once_though_some_of_it_is_still_in_use() -> None:
    done = subprocess.run([sys.executable, "-c", FREED], capture_output=True, text=True, check=True)
    said, full, held, left, *asked = done.stdout.split()
    if said == "False":
        pytest.skip("this C library has no mallopt")
    assert int(held) > int(full) - 50, "else nothing is kept, and nothing has to be given back"
    assert int(left) < int(held) - 300
    assert asked == ["True", "False"]
