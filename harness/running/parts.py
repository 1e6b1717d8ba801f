"""A board's parts, planned together: one preparation each; what is not at hand is left out and said, unless nothing is left."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

from harness.boards.board import Board, SetSpec
from harness.boards.records import Record
from harness.boards.trial import Trial
from harness.core.errors import BoardError, DataError, NotAtHand
from harness.planning.artefacts import Artefacts
from harness.planning.needs import ambiguous, dataset_name
from harness.planning.preparation import Preparation, Survey
from harness.running.names import check_names
from harness.running.planning import plan

if TYPE_CHECKING:
    from harness.running.options import Options, Watcher


class Parts:
    """The preparations of a board's parts, or of the board itself when it has none.

    Args:
        board: with the command line's overrides in place.
        file: the board's file.
        artefacts: shared by all parts.
        options: device, data folder and what the command line supplies.
        watcher: is told each line once.
    """

    def __init__(self, board: Board, file: Path, artefacts: Artefacts, options: Options, watcher: Watcher) -> None:
        self.board, self.file, self.supplies = board, file, options.supplies
        self.said: dict[str, None] = {}  # each line once, in order
        self.left_out: list[str] = []
        self.made = False
        self._watcher = watcher
        self.supplies.check(sorted({spec.supplied_as for spec in self._published()}))
        unclear = ambiguous(board)
        self.preparations = [
            Preparation(
                part,
                place,
                artefacts,
                options.data_dir,
                options.device,
                self._preparing,
                file.parent,
                options.supplies,
                unclear.get(dataset_name(part), frozenset()),
                self.say,
                force=options.force,
            )
            for place, part in self._places()
        ]
        self._whole = self.preparations

    def _places(self) -> Iterator[tuple[str, Board]]:
        for i, part in enumerate(self.board.boards):
            yield (f"{self.file}: parts[{i}]" if self.board.parts else str(self.file)), part

    def _published(self) -> Iterator[SetSpec]:
        for part in self.board.boards:
            yield from (spec for spec in part.sets if spec.format)

    def say(self, line: str) -> None:
        """Tell the watcher a line, once."""
        if line not in self.said:
            self.said[line] = None
            self._watcher.say(line)

    def _preparing(self, what: str, done: int, total: int) -> None:
        self.made = True
        self._watcher.preparing(what, done, total)

    @property
    def settled(self) -> bool:
        """Whether planning again would come to the same and say the same, as long as files stay as they are.

        What the command line does not supply stays left out; what could not be read may be mended without a trace. What is made
        is made once, and so are some lines said.
        """
        waiting = {
            line for preparation in self._whole for spec in preparation.board.sets for line in preparation.not_supplied(spec)
        }
        left_out = {*self.left_out, *(line for preparation in self._whole for line in preparation.left_out)}
        return left_out <= waiting and not (self.made and self.said)

    def noted(self, record: Record) -> Record:
        """Return a record that says what the checks of its trial's distilled set warn of, and how it is stored."""
        distilled = record.trial.distilled
        warnings = {line: None for each in self._whole for line in each.warnings.get(distilled, ())}
        stored = {name: count for each in self._whole for name, count in each.stored.get(distilled, {}).items()}
        return record.warned(tuple(warnings)).stating(**stored)

    def rehearse(self) -> None:
        """Plan every part without making anything, and drop the parts that nothing is at hand for.

        Raises: BoardError and its kin for a mistake, and with the reasons when no part is left.
        """
        for preparation in self.preparations:
            check_names(preparation.board, preparation.source)
        kept = []
        for preparation in self.preparations:
            rehearsal = None
            try:
                if self._supplied(preparation):
                    self._load(preparation)
                    rehearsal = preparation.rehearsal()
                    if rehearsal.sets():
                        plan(rehearsal)
                        kept.append(preparation)
            except NotAtHand as error:
                if not self.board.parts:
                    raise
                self._leave(f"{dataset_name(preparation.board)}: {error}")
            self.left_out += rehearsal.left_out if rehearsal is not None else []
        self.preparations = kept
        for text in self.supplies.unused():
            self.say(f"not used: {text} fits nothing that this board asks for")
        if not kept:
            raise BoardError(f"{self.file}: nothing to run: {'; '.join(dict.fromkeys(self.left_out)) or 'no set is at hand'}")

    def _load(self, preparation: Preparation) -> None:
        """Load the part's dataset. Raises NotAtHand when a board of several parts does not find it."""
        try:
            _ = preparation.dataset
        except DataError as error:
            raise (NotAtHand(str(error)) if self.board.parts else error) from None

    def _supplied(self, preparation: Preparation) -> bool:
        """Return whether a part has any set that a path or a blueprint leads to; its dataset is not read for that."""
        sets = preparation.board.sets
        if any(not spec.format or spec.path for spec in sets):
            return True
        waiting = [line for spec in sets for line in preparation.not_supplied(spec)]
        for line in waiting:
            self._leave(line)
        return len(waiting) < sum(len(spec.ipc or (None,)) for spec in sets)

    def _leave(self, line: str) -> None:
        self.left_out.append(line)
        self.say(f"left out: {line}")

    def plan(self) -> list[Trial]:
        """Return the trials of all parts, in order, each once; what they rest on is made first."""
        return _planned(self.preparations)

    def survey(self) -> tuple[list[Trial], list[Survey]]:
        """Return the trials of all parts as `plan` does, and what they were planned with; nothing is made (`Survey`)."""
        surveys = [preparation.survey() for preparation in self.preparations]
        return _planned(surveys), surveys


def _planned(preparations: Iterable[Preparation]) -> list[Trial]:
    counter = count()
    trials: dict[str, Trial] = {}
    for preparation in preparations:
        for trial in plan(preparation, counter):
            trials.setdefault(trial.id, trial)
    return list(trials.values())
