"""Claims: files by which processes, on any machines that see a folder, agree who does what; a heartbeat says that one still does.

`flock` is not dependable on network file systems; a file that is made only where there is none (O_EXCL), and times that all come
from the file system's own clock, are. A claim of NAME is a file NAME.0.claim, made so by one of those who want it. One whose
holder is gone does not stand in the way: who takes it over makes NAME.1.claim, and of two who do so at once one succeeds. Names
may have become free and been taken meanwhile, so whoever has made such a file looks once more, and steps back where another's
claim of the name is alive: of two who held a name, the later would have seen the earlier's.
"""

from __future__ import annotations

import json
import os
import socket
import sys
import threading
import time
from collections.abc import Callable, Container, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from pathlib import Path

from harness.files import atomic

#: Seconds between two heartbeats, and after how many without one a claim is taken over: above the minute for which clients of
#: network file systems may keep a file's old time.
BEAT, STALE = 15.0, 150.0
#: Seconds between two looks at a claim that is waited for.
POLL = 0.5
ENDING = ".claim"
#: What the file by which a folder's clock is read ends in.
PROBE = ".clock"


@dataclass(frozen=True)
class Holder:
    """Who made a claim: process `pid` on `host`, at `since`.

    `place` and `began` tell the process from others that have, or had, its number; `token` tells the claim from all others.
    """

    host: str = "?"
    pid: int = 0
    since: str = ""
    place: str = ""
    began: str = ""
    token: str = ""

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host}"

    @classmethod
    def this(cls) -> Holder:
        """Return this process, from now on."""
        pid, now = os.getpid(), datetime.now(UTC).isoformat(timespec="seconds")
        return cls(socket.gethostname(), pid, now, _place(), _began(pid), os.urandom(8).hex())

    @property
    def dead(self) -> bool:
        """Whether the process is known to have ended: that can be said of this host's alone."""
        return self.place == _place() and _began(self.pid) != self.began


@cache
def _place() -> str:
    """Return what names this host, since it was started, and its view of processes: containers may share the rest."""
    facts = [socket.gethostname()]
    with suppress(OSError):
        facts.append(Path("/proc/sys/kernel/random/boot_id").read_text().strip())
        facts.append(str(Path("/proc/self/ns/pid").readlink()))
    return " ".join(facts)


def _began(pid: int) -> str:
    """Return when a process of this host began, in the system's own words; empty where there is none, or it has ended."""
    try:
        state, *words = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return "" if state in "ZX" else words[18]
    except FileNotFoundError:
        if Path("/proc/self/stat").exists():
            return ""
    except OSError:
        pass
    if sys.platform != "win32":  # where signal 0 ends a process
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return ""
        except OSError:
            pass
    return "running"


@dataclass(frozen=True)
class _Claim:
    """A claim's file as it was listed."""

    path: Path
    name: str
    number: int

    @classmethod
    def of(cls, entry: os.DirEntry[str], names: Container[str] | None = None) -> _Claim | None:
        """Return the claim that a file is; None for what is none, or of none of these names."""
        name, _, number = entry.name.removesuffix(ENDING).rpartition(".")
        if not entry.name.endswith(ENDING) or not name or not number.isdecimal() or (names is not None and name not in names):
            return None
        return cls(Path(entry.path), name, int(number))

    def holder(self) -> Holder:
        """Return who made it; nobody known where that has not been written yet."""
        try:
            return Holder(**json.loads(self.path.read_text("utf-8")))
        except (OSError, ValueError, TypeError):
            return Holder()

    def alive(self, now: float, stale: float) -> bool:
        """Whether somebody holds it: its heartbeat is not old, and its process not known to have ended."""
        try:
            return now - self.path.stat().st_mtime <= stale and not self.holder().dead
        except OSError:
            return False


def clock(folder: Path) -> float:
    """Return the time by the clock of a folder's file system, maybe another machine's; by this one's where it is read-only."""
    probe = folder / f".{os.urandom(6).hex()}{PROBE}"
    try:
        descriptor = os.open(probe, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666)
        try:
            return os.fstat(descriptor).st_mtime  # whoever lets go of the folder may have removed the file already
        finally:
            os.close(descriptor)
    except OSError:
        return time.time()
    finally:
        with suppress(OSError):
            probe.unlink(missing_ok=True)


class Claims:
    """Claims of names in a folder, which is made with the first and goes with the last; a context manager that lets go of all.

    Args:
        beat: seconds between two heartbeats of what is held.
        stale: after how many seconds without one another's claim is taken over; by default GIFTBENCH_STALE, else `STALE`.
    """

    def __init__(self, folder: Path, beat: float | None = None, stale: float | None = None) -> None:
        self.folder = folder
        self.stale = float(os.environ.get("GIFTBENCH_STALE") or STALE) if stale is None else stale
        self.beat = min(BEAT, self.stale / 5) if beat is None else beat
        self._held: dict[str, tuple[Path, bytes]] = {}
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None

    def __enter__(self) -> Claims:
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        if self._thread is not None:
            self._thread.join()
        self.release([*self._held])
        self._sweep()
        with suppress(OSError):
            self.folder.rmdir()

    def take(self, names: Sequence[str]) -> bool:
        """Claim all of these names, or none where another holds one; return whether they are held now. Raises WriteError."""
        self._beat()
        paths: dict[str, Path] = {}
        taken = False
        try:
            for name in sorted(set(names)):  # in one order, so that of two who want some of the same one gets on
                path = self._make(name)
                if path is None:
                    return False
                paths[name] = path
            taken = not self._contested(paths)
        finally:
            if not taken:
                self.release(paths)
        return taken

    def release(self, names: Iterable[str]) -> None:
        """Let go of names that are held; what was done under them must be there for all to see by now."""
        with self._lock:
            claims = [self._held.pop(name) for name in names if name in self._held]
        for path, content in claims:
            with suppress(OSError):
                if path.read_bytes() == content:  # else it was taken over, while this process was stopped
                    path.unlink()

    def holders(self) -> dict[str, Holder]:
        """Return who holds which name, this process too; claims whose holder is gone are nobody's."""
        claims = self._listed()
        now = clock(self.folder) if claims else 0.0
        return {claim.name: claim.holder() for claim in claims if claim.alive(now, self.stale)}

    @contextmanager
    def held(self, name: str, waiting: Callable[[Holder], None] = lambda holder: None) -> Iterator[None]:
        """Hold a name, once whoever has it lets it go or is gone; `waiting` is told who that is, once. Raises WriteError."""
        told = False
        while not self.take([name]):
            holder = None if told else self.holders().get(name)
            if holder is not None:
                told = True
                waiting(holder)
            time.sleep(POLL * (0.5 + os.urandom(1)[0] / 255))
        try:
            yield
        finally:
            self.release([name])

    def _make(self, name: str) -> Path | None:
        """Make the file of a claim; None where another has made it."""
        path, content = self.folder / f"{name}.0{ENDING}", json.dumps(vars(Holder.this())).encode()
        if name in self._held:
            return None
        if not self._create(path, content):
            claims = self._listed([name])
            now = clock(self.folder)
            if any(claim.alive(now, self.stale) for claim in claims):
                return None
            path = self.folder / f"{name}.{max((claim.number for claim in claims), default=-1) + 1}{ENDING}"
            if not self._create(path, content):
                return None
        with self._lock:
            self._held[name] = path, content
        return path

    def _create(self, path: Path, content: bytes) -> bool:
        """Make a file, unless there is one; return whether it was made. Raises WriteError."""
        with atomic.told(path):
            while True:
                try:
                    descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666)
                    break
                except FileExistsError:
                    return False
                except FileNotFoundError:  # the folder, which whoever let go of its last claim has removed
                    self.folder.mkdir(parents=True, exist_ok=True)
            try:
                rest = memoryview(content)
                while rest:  # a disk that is nearly full takes a part of it, and refuses the next
                    rest = rest[os.write(descriptor, rest) :]
            except OSError:
                with suppress(OSError):
                    path.unlink()
                raise
            finally:
                os.close(descriptor)
        return True

    def _contested(self, paths: dict[str, Path]) -> bool:
        """Whether another's claim of one of these names is alive; those that are not are removed where nobody's is."""
        others = [claim for claim in self._listed(paths) if claim.path != paths[claim.name]]
        if not others:
            return False
        now = clock(self.folder)
        if any(claim.alive(now, self.stale) for claim in others):
            return True
        for claim in others:
            with suppress(OSError):
                claim.path.unlink()
        return False

    def _sweep(self) -> None:
        """Remove what those have left who were killed: claims that nobody will take over, and probes of the clock."""
        claims = {claim: claim.holder() for claim in self._listed()}
        now = clock(self.folder) if claims else 0.0
        for claim, holder in claims.items():
            if not claim.alive(now, self.stale) and claim.holder() == holder:
                with suppress(OSError):
                    claim.path.unlink()
        with suppress(OSError):
            for probe in self.folder.glob(f".*{PROBE}"):
                probe.unlink(missing_ok=True)

    def _listed(self, names: Container[str] | None = None) -> list[_Claim]:
        """Return the claims that there are, of these names where some are asked for; all in work are listed for each bundle."""
        try:
            with os.scandir(self.folder) as entries:
                claims = [_Claim.of(entry, names) for entry in entries]
        except OSError:
            return []
        return [claim for claim in claims if claim is not None]

    def _beat(self) -> None:
        """Have a thread touch what is held, from now on."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._touch, daemon=True)
            self._thread.start()

    def _touch(self) -> None:
        while not self._ended.wait(self.beat):
            with self._lock:
                paths = [path for path, _ in self._held.values()]
            for path in paths:
                with suppress(OSError):  # released meanwhile, or taken over while this process was stopped
                    os.utime(path)


@contextmanager
def lock(path: Path, waiting: Callable[[Holder], None] = lambda holder: None) -> Iterator[None]:
    """Let one process at a time into the block, of all that name this path; see `Claims.held`. Raises WriteError.

    Claims lie in a folder beside the path's, so that nothing is left where the path is.
    """
    with Claims(path.parent / ".claims") as claims, claims.held(path.name, waiting):
        yield
