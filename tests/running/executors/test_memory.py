"""Memory that a step frees serves the next one."""

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
