"""Where a board stands: what its last run planned and rendered, taken up again while all that this rests on is as it was.

Two notes in the user's cache, which anyone may delete. One has the ids of a board's trials, the other the leaderboard's files and
which records are of failed trials; each has a hash of what that came from. While the hash is the same, a run that has nothing to
do finds that out without torch, and renders nothing.

| rests on | plan | leaderboard |
| --- | --- | --- |
| bytes of the board, of plugins, of harness and scenarios, and of all else that is imported from no package | yes | yes |
| Python, installed packages by version and time, and what else can be imported by name | yes | yes |
| bytes of the packages that plugins came from | yes | yes |
| what the command line says instead of the board; devices; the folder of data | yes | |
| files of the dataset, published sets, checkpoints and artefacts by name, size and time, those too that are not there | yes | |
| records, what of them was verified and who brought them, the leaderboard's own files, by name, size and time | | yes |

What the plan of a plugin's scenario, dataset, distiller or reader rests on beside its code, a file that it reads, say, nobody can
tell: a board that names one is planned and rendered anew each time. So is a board that lacks something, which may come.
"""

from __future__ import annotations

import hashlib
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ConfigDict

from harness import datasets
from harness.boards import evidence, submissions
from harness.boards.board import Board, load_board
from harness.boards.records import Contents, Record, RecordStore
from harness.boards.setup import Setup
from harness.boards.trial import Trial
from harness.core import plugins
from harness.core.digests import digest_json
from harness.core.home import home
from harness.core.registry import Registry
from harness.distilled import distillers, readers
from harness.files import atomic, paths
from harness.planning.needs import Needs, ambiguous, dataset_name
from harness.planning.supplies import Supplies
from harness.running import plugged, surroundings
from harness.running.options import Options
from harness.running.overrides import Overrides
from harness.running.scenario import registry as scenarios
from harness.running.surroundings import sha256

N = TypeVar("N", bound="Note")


class Note(BaseModel):
    """What was found out, a hash of what that rests on, and the files of code among it that no package brought."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    hash: str
    outside: tuple[str, ...]


class Planned(Note):
    """A plan: the ids of its trials, in order, and the lines that were said while it was made."""

    ids: tuple[str, ...]
    said: tuple[str, ...]


class Rendered(Note):
    """A leaderboard: its files, the folder that holds its figures alone, and the error of each failed trial, by id."""

    files: tuple[Path, ...]
    figures: str
    failed: dict[str, str]


@dataclass(frozen=True)
class Reading:
    """What a board's folder of records holds, and a hash of what its files were before they were read."""

    contents: Contents
    stamps: str

    @property
    def records(self) -> list[Record]:
        """The records that can be read."""
        return self.contents.records


class Standing:
    """A board as a run is asked for it: what it consists of is taken in at once, so that what changes later is not missed.

    Args:
        file: the board's.
        overrides, options: of the run; jobs, threads and stack change neither plan nor leaderboard.

    Raises: BoardError when the board cannot be read.
    """

    def __init__(self, file: Path, overrides: Overrides, options: Options) -> None:
        self.file, self.overrides, self.options = file.resolve(), overrides, options
        self.board = load_board(file)
        self._began = time.time_ns()
        self._code = {
            "board": [str(self.file), sha256(self.file)],
            "plugins": [[plugin, sha256(Path(plugin))] for plugin in self._plugins],
            "sources": [*surroundings.sources()],
            "installed": [*surroundings.installed()],
        }

    def planned(self) -> Planned | None:
        """Return the board's plan as it was noted; None where there is no note that holds."""
        note = _read(Planned, self._note("plan", self._asked))
        return note if note is not None and note.hash == self._plan_hash(note.outside) else None

    def look(self, board: Board) -> bool:
        """Take in what a board's trials are read from, before they are planned; return whether that is all they rest on.

        Args:
            board: with the command line's overrides in place.
        """
        return _ours(board) and bool(self._needs)

    def note_plan(self, trials: Sequence[Trial], said: Iterable[str]) -> None:
        """Note the plan that was made since `look` said that it can be noted."""
        outside = self._outside(trial.setup for trial in trials)
        if outside is not None:
            ids = tuple(trial.id for trial in trials)
            note = Planned(hash=self._plan_hash(outside), outside=outside, ids=ids, said=tuple(said))
            _write(self._note("plan", self._asked), note)

    def rendered(self) -> Rendered | None:
        """Return the board's leaderboard as it was noted; None where there is no note that holds."""
        note = _read(Rendered, self._note("leaderboard", self._plugins))
        if note is None or note.hash != self._leaderboard_hash(note.outside, note.files, note.figures, self._records()):
            return None
        return note

    def note_rendering(self, files: Sequence[Path], figures: str, reading: Reading) -> None:
        """Note the leaderboard that has just been rendered, where it rests on nothing that cannot be seen.

        Args:
            files: all that it consists of.
            figures: the folder beside the board that holds nothing but its figures.
            reading: of the records that it was rendered from.
        """
        outside = self._outside(record.trial.setup for record in reading.records)
        shown = {spec.name for part in self.board.boards for spec in part.scenarios}
        shown |= {record.trial.scenario for record in reading.records}
        if outside is not None and all(_our(scenarios, name) for name in shown):
            failed = {record.id: record.error for record in reading.records if record.status == "failed"}
            digest = self._leaderboard_hash(outside, files, figures, reading.stamps)
            note = Rendered(hash=digest, outside=outside, files=tuple(files), figures=figures, failed=failed)
            _write(self._note("leaderboard", self._plugins), note)

    def read(self, store: RecordStore) -> Reading:
        """Return the board's records; a broken one is set aside."""
        stamps = self._records()
        return Reading(store.contents(), stamps)

    def _records(self) -> str:
        return _stamped(self.file.parent / "records", ".json")

    def _note(self, what: str, asked: object) -> Path:
        """Return where a note lies. A board in another place, or run by another installation, has its own."""
        here = [sys.prefix, str(Path(__file__).resolve())]
        return home() / "standing" / f"{digest_json([what, str(self.file), asked, here])[:32]}.json"

    @cached_property
    def _asked(self) -> dict[str, object]:
        """What the command line says of the plan."""
        supplies = self.options.supplies
        return asdict(self.overrides) | {
            "device": self.options.device,
            "data": str(datasets.folder_of(self.options.data_dir)),
            "supplies": [[supply.text for supply in kind] for kind in (supplies.sets, supplies.teachers)],
            "plugins": self._plugins,
            **({"force": True} if self.options.force else {}),
        }

    @cached_property
    def _plugins(self) -> list[str]:
        """The plugin files of command line and board."""
        beside = [self.file.parent / plugin for plugin in self.board.plugins]
        return [str(plugin.expanduser().resolve()) for plugin in (*map(Path, self.options.plugins), *beside)]

    @cached_property
    def _needs(self) -> dict[str, object]:
        """What the trials rest on, as it is when first asked for; artefacts are not among it, which planning makes."""
        places = dict.fromkeys(place.absolute() for needs in self._parts() for place in needs.places())
        stamps = [[str(place), _stamped(place)] for place in places]
        return {"asked": self._asked, "devices": surroundings.devices(), "places": stamps}

    def _parts(self) -> Iterator[Needs]:
        unclear, given = ambiguous(self.board), self.options.supplies
        supplies = Supplies(given.sets, given.teachers)  # which notes by itself what of it is used
        for part in self.board.boards:
            slots = unclear.get(dataset_name(part), frozenset())
            yield Needs(part, self.file.parent, self.options.data_dir, supplies, slots)

    def _plan_hash(self, outside: Sequence[str]) -> str:
        return self._hash(outside, [self._needs, _stamped(self.file.parent / "artefacts", ".safetensors")])

    def _leaderboard_hash(self, outside: Sequence[str], files: Sequence[Path], figures: str, records: str) -> str:
        folder = self.file.parent / figures
        drawn = [_stamped(folder, ending) for ending in (".svg", ".png")]
        beside = [_stamped(self.file.parent / name) for name in (evidence.NAME, submissions.FOLDER)]
        return self._hash(outside, [records, [_stamped(file) for file in files if file.parent != folder], drawn, beside])

    def _hash(self, outside: Sequence[str], rest: Sequence[object]) -> str:
        return digest_json([self._code, [[name, sha256(Path(name))] for name in outside], rest])

    def _outside(self, setups: Iterable[Setup]) -> tuple[str, ...] | None:
        """Return the files of code that the harness did not bring; None where that is not all there may be.

        Of packages there are those of plugins that setups rest on; that others are installed anew is seen without.
        That is so in a notebook, whose code lies in no file, where a plugin failed that may load the next time, and where a file
        has changed since this process began: nobody knows whether before it was loaded.
        """
        if plugins.failures or not getattr(sys.modules["__main__"], "__file__", None):
            return None
        files = sorted({*surroundings.imported(), *plugged.files({id(setup): setup for setup in setups}.values())})
        changed = any(file.stat().st_mtime_ns >= self._began for file in files)
        return None if changed else tuple(str(file) for file in files)


def _our(registry: Registry[object], name: str) -> bool:
    return name in registry and registry.origin(name) == "giftbench"


def _ours(board: Board) -> bool:
    """Whether all is the harness's own whose part in a plan may rest on more than its code."""
    return all(
        _our(datasets.registry, part.dataset.name)
        and all(_our(scenarios, spec.name) for spec in part.scenarios)
        and all(_our(distillers, spec.method) if spec.method else True for spec in part.sets)
        and all(_our(readers.registry, spec.format) if spec.format else True for spec in part.sets)
        for part in board.boards
    )


def _stamped(place: Path, ending: str = "") -> str:
    """Return a hash of the names, sizes and times of a file, or of every file in and below a folder.

    Args:
        ending: only of the files in the folder itself whose names end so.
    """
    total = hashlib.sha256()
    for name, size, changed in paths.stamps(place):
        if not ending or (name.endswith(ending) and "/" not in name):
            total.update(f"{name}\0{size}\0{changed}\n".encode(errors="surrogateescape"))
    return total.hexdigest()


def _read(kind: type[N], note: Path) -> N | None:
    """Return what a note holds; None where there is none, or none that can be read."""
    try:
        return kind.model_validate_json(note.read_bytes())
    except (OSError, ValueError):
        return None


def _write(path: Path, note: Note) -> None:
    with suppress(OSError):  # a cache that cannot be written; the next run plans by itself
        atomic.make_folder(path.parent)
        atomic.write(path, note.model_dump_json())
