"""How much memory a command's processes hold at their peak, all of them together, pages that they share counted once.

`python -m tests.benchmarks.memory BOARD` runs `giftbench run BOARD`, reads the proportional set size (PSS) of all its processes
several times a second, and prints the peak and what each process had of it. `--command OTHER/bin/giftbench` runs another version.
Linux only.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import subprocess
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.benchmarks.startup import GIFTBENCH

#: Seconds between two looks: a step takes less, what a worker holds changes slower.
EVERY = 0.2
PROC = Path("/proc")


@dataclass(frozen=True)
class Peak:
    """The most that the processes held at once, and each one's part of it by its name, in bytes; how often it was looked.

    `status` is the command's exit status.
    """

    bytes: int = 0
    parts: tuple[tuple[str, int], ...] = field(default=())
    looks: int = 0
    status: int = 0


def descendants(root: int) -> Iterator[int]:
    """Yield a process and all that it has started, and those that they have."""
    children: dict[int, list[int]] = {}
    for entry in PROC.iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                # the name, in brackets, may hold anything; after it come the state and the parent
                parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
                children.setdefault(parent, []).append(int(entry.name))
    waiting = [root]
    while waiting:
        process = waiting.pop()
        yield process
        waiting += children.get(process, ())


def held(process: int) -> int:
    """Return a process's PSS in bytes: its own pages, and of those that it shares its share. 0 once it has ended."""
    with contextlib.suppress(OSError):
        for line in (PROC / str(process) / "smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024
    return 0


def name_of(process: int) -> str:
    """Return a process's name, of 15 characters at most."""
    with contextlib.suppress(OSError):
        return (PROC / str(process) / "comm").read_text().strip()
    return "ended"


def parts_of(processes: Iterable[int]) -> tuple[tuple[str, int], ...]:
    """Return what each of some processes holds, in bytes, by its name; those that have ended are left out."""
    return tuple((name_of(process), amount) for process in processes if (amount := held(process)))


def peak(command: Sequence[str], every: float = EVERY) -> Peak:
    """Run a command to its end and return the most memory that it and what it has started held together."""
    most, looks = Peak(), 0
    with subprocess.Popen(command) as started:
        while started.poll() is None:
            parts = parts_of(descendants(started.pid))
            looks += 1
            if (total := sum(amount for _, amount in parts)) > most.bytes:
                most = Peak(total, parts)
            time.sleep(every)
    return Peak(most.bytes, tuple(sorted(most.parts, key=lambda part: -part[1])), looks, started.returncode)


@contextlib.contextmanager
def watched(every: float = 1.0) -> Iterator[list[int]]:
    """Look in the block, each so many seconds, at what this process has started: yield a list of one entry, the peak in bytes."""
    most, end, watcher = [0], threading.Event(), os.getpid()

    def look() -> None:
        while not end.wait(every):
            parts = parts_of(process for process in descendants(watcher) if process != watcher)
            most[0] = max(most[0], sum(amount for _, amount in parts))

    looking = threading.Thread(target=look)
    looking.start()
    try:
        yield most
    finally:
        end.set()
        looking.join()


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("board", help="its file, or the folder that holds it")
    parser.add_argument("--command", default=GIFTBENCH, metavar="GIFTBENCH", help="the command of another version")
    parser.add_argument("--every", type=float, default=EVERY, metavar="SECONDS")
    chosen, rest = parser.parse_known_args()
    found = peak([chosen.command, "run", chosen.board, *rest], chosen.every)
    parts = ", ".join(f"{name} {amount / 1e6:.0f}" for name, amount in found.parts)
    print(
        f"peak PSS of all processes: {found.bytes / 1e9:.2f} GB ({parts} MB), of {found.looks} looks; exit status {found.status}"
    )
    raise SystemExit(found.status)


if __name__ == "__main__":
    main()
