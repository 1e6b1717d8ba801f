"""What a board needs from elsewhere, published sets and teachers' weights, and where each is looked for. No file is read."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from harness import datasets
from harness.boards.board import Board, SetSpec
from harness.core.errors import DataError
from harness.core.spec import Spec
from harness.datasets.presence import places
from harness.files.hub import is_remote
from harness.planning.fetching import TIMM, is_hub_checkpoint
from harness.planning.supplies import Supplies, Supply


@dataclass(frozen=True)
class Needs:
    """The needs of a board, or of a part of one.

    Attributes:
        board: of one dataset and one teacher.
        folder: the board's; paths that it names start there.
        data_dir: of the datasets' files, else the environment's.
        supplies: what the command line brings.
        ambiguous: slots for which a path alone does not say which network its set was distilled on.
    """

    board: Board
    folder: Path = Path()
    data_dir: str | Path | None = None
    supplies: Supplies = field(default_factory=Supplies)
    ambiguous: frozenset[str] = frozenset()

    def wanted(self, spec: SetSpec) -> Iterator[tuple[int | None, Supply | None, str]]:
        """Yield each IPC of a published set, what the command line supplies for it, and what keeps it from being read, or ""."""
        for ipc in spec.ipc or (None,):
            facts, what = self._facts(spec, ipc), self.called(spec, ipc)
            supplied = self.supplies.find("set", spec.supplied_as, facts | ({"ipc": f"ipc{ipc}"} if ipc else {}))
            if supplied is None:
                yield ipc, None, "" if spec.path else f"{what}: not supplied; give --set {spec.supplied_as}=PATH"
            elif spec.supplied_as in self.ambiguous and not supplied.tells("network", spec.distilled_on):
                form = f"--set {spec.supplied_as}/{spec.distilled_on}=PATH"
                yield ipc, supplied, f"{what}: say which network it was distilled on, as {form}"
            else:
                yield ipc, supplied, ""

    def called(self, spec: SetSpec, ipc: int | None) -> str:
        """Return a set in words, for messages."""
        made_on = f" (distilled on {spec.distilled_on})" if spec.distilled_on else ""
        return f"{spec.name} of {dataset_name(self.board)}{f' at IPC {ipc}' if ipc else ''}{made_on}"

    def place(self, spec: SetSpec, ipc: int | None, supplied: Supply | None) -> Path:
        """Return where a published set is read: what is supplied, else what the board names; a place on the Hub as it stands."""
        if supplied is not None:
            return Path(supplied.place(self._facts(spec, ipc))).expanduser()
        path = Path(spec.path).expanduser()
        return path if is_remote(path) else self.folder / path

    def _facts(self, spec: SetSpec, ipc: int | None) -> dict[str, str]:
        """Return what fills the fields of a supplied path."""
        return {"dataset": dataset_name(self.board), "network": spec.distilled_on} | ({"ipc": str(ipc)} if ipc else {})

    def checkpoint(self, index: int) -> Path | None:
        """Return the file of a teacher network's published weights, a place on the Hub as it stands; None when none is at hand.

        A file comes before a place on the Hub, in whichever order a board names them.

        Raises: DataError for a --teacher that names no file.
        """
        supplied = self._supplied_checkpoint(index)
        if supplied is not None:
            path = self._supplied_place(supplied)
            if not is_hub_checkpoint(path) and not path.is_file():
                raise DataError(f"--teacher {supplied.text}: {path}: no such file")
            return path
        names = [Path(name) for name in self._checkpoint_names(index)]
        files = [str(name) for name in names if not is_hub_checkpoint(name)]
        return find_checkpoint(files, self.checkpoint_folders()) or next(filter(is_hub_checkpoint, names), None)

    def _supplied_checkpoint(self, index: int) -> Supply | None:
        model = self.board.teacher.models[index]
        return self.supplies.find("teacher", model.name, {"dataset": dataset_name(self.board)})

    def _supplied_place(self, supplied: Supply) -> Path:
        return Path(supplied.place({"dataset": dataset_name(self.board)})).expanduser()

    def _checkpoint_names(self, index: int) -> tuple[str, ...]:
        checkpoints = self.board.teacher.checkpoints
        return checkpoints[index] if checkpoints else ()

    def checkpoint_folders(self) -> list[Path]:
        """Return the folders that a checkpoint is looked for in, first come first served."""
        data = datasets.folder_of(self.data_dir)
        return [self.folder, *([data, data / "teachers", data / "pretrain_models"] if data else [])]

    def places(self) -> Iterator[Path]:
        """Yield every file and folder, there or not, that what the board's trials rest on is read from."""
        yield from places(self.board.dataset, datasets.folder_of(self.data_dir))
        for spec in self.board.sets:
            if spec.classes:
                yield self.folder / Path(spec.classes).expanduser()
            if spec.file:
                yield self.folder / Path(spec.file).expanduser()
            elif spec.format:
                reader = Spec(name=spec.format, options=spec.options)
                for ipc, supplied, missing in self.wanted(spec):
                    if not missing and not is_remote(path := self.place(spec, ipc, supplied)):
                        yield from read_places(reader, path.resolve())
        for index in range(len(self.board.teacher.models)):
            supplied = self._supplied_checkpoint(index)
            if supplied is not None:
                places_of = [self._supplied_place(supplied)]
            else:
                places_of = [*checkpoint_places(self._checkpoint_names(index), self.checkpoint_folders())]
            yield from (place for place in places_of if TIMM not in str(place) and not is_remote(place))


def read_places(reader: Spec, path: Path) -> list[Path]:
    """Return where a reader looks for a published set: at its path, and for what its options name, there, beside it and here."""
    named = [Path(value).expanduser() for value in reader.options.values() if isinstance(value, str) and value]
    others = (start / name for name in named for start in (path, path.parent, Path()))
    return [path, *(place for place in others if place.exists())]


def dataset_name(board: Board) -> str:
    """Return what a board's dataset is called in `--set` and `--teacher`, without reading a file of it."""
    return board.dataset.name


def find_checkpoint(names: Sequence[str], folders: Sequence[Path]) -> Path | None:
    """Return the first file of these names in these folders, name by name; None when there is none."""
    return next((place for place in checkpoint_places(names, folders) if place.is_file()), None)


def checkpoint_places(names: Sequence[str], folders: Sequence[Path]) -> Iterator[Path]:
    """Yield where a checkpoint of these names may lie, name by name."""
    return (folder / Path(name).expanduser() for name in names for folder in folders)


def ambiguous(board: Board) -> dict[str, frozenset[str]]:
    """Return, by dataset, the slots whose sets were distilled on several networks: a path alone does not say on which."""
    networks: dict[str, dict[str, set[str]]] = {}
    for part in board.boards:
        for spec in part.sets:
            if spec.format and not spec.path:
                networks.setdefault(dataset_name(part), {}).setdefault(spec.supplied_as, set()).add(spec.distilled_on)
    return {dataset: frozenset(s for s, names in slots.items() if len(names) > 1) for dataset, slots in networks.items()}
