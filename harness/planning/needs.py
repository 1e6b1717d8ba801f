"""What a board needs from elsewhere, published sets and teachers' weights, and where each is looked for. No file is read."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from harness import datasets
from harness.boards.board import Board, SetSpec
from harness.core.errors import DataError
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
        """Return where a published set is read: what is supplied, else what the board names."""
        if supplied is not None:
            return Path(supplied.place(self._facts(spec, ipc))).expanduser()
        return self.folder / Path(spec.path).expanduser()

    def _facts(self, spec: SetSpec, ipc: int | None) -> dict[str, str]:
        """Return what fills the fields of a supplied path."""
        return {"dataset": dataset_name(self.board), "network": spec.distilled_on} | ({"ipc": str(ipc)} if ipc else {})

    def checkpoint(self, index: int) -> Path | None:
        """Return the file of a teacher network's published weights, None when none is at hand.

        Raises: DataError for a --teacher that names no file.
        """
        spec, model = self.board.teacher, self.board.teacher.models[index]
        supplied = self.supplies.find("teacher", model.name, {"dataset": dataset_name(self.board)})
        if supplied is not None:
            path = Path(supplied.place({"dataset": dataset_name(self.board)})).expanduser()
            if not path.is_file():
                raise DataError(f"--teacher {supplied.text}: {path}: no such file")
            return path
        return find_checkpoint(spec.checkpoints[index], self.checkpoint_folders()) if spec.checkpoints else None

    def checkpoint_folders(self) -> list[Path]:
        """Return the folders that a checkpoint is looked for in, first come first served."""
        data = datasets.folder_of(self.data_dir)
        return [self.folder, *([data, data / "teachers", data / "pretrain_models"] if data else [])]


def dataset_name(board: Board) -> str:
    """Return what a board's dataset is called in `--set` and `--teacher`, without reading a file of it."""
    return board.dataset.name


def find_checkpoint(names: Sequence[str], folders: Sequence[Path]) -> Path | None:
    """Return the first file of these names in these folders, name by name; None when there is none."""
    places = (folder / Path(name).expanduser() for name in names for folder in folders)
    return next((place for place in places if place.is_file()), None)


def ambiguous(board: Board) -> dict[str, frozenset[str]]:
    """Return, by dataset, the slots whose sets were distilled on several networks: a path alone does not say on which."""
    networks: dict[str, dict[str, set[str]]] = {}
    for part in board.boards:
        for spec in part.sets:
            if spec.format and not spec.path:
                networks.setdefault(dataset_name(part), {}).setdefault(spec.supplied_as, set()).add(spec.distilled_on)
    return {dataset: frozenset(s for s, found in slots.items() if len(found) > 1) for dataset, slots in networks.items()}
