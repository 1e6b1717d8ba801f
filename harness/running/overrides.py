"""What the command line says instead of a board. Nothing heavy is loaded for it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from harness.boards.board import MAX_SEEDS, Board, ScenarioSpec, checked
from harness.boards.protocol import Protocol
from harness.boards.recipes import registry as protocols
from harness.core.errors import BoardError, suggest
from harness.core.spec import Spec
from harness.running.scenario import named


@dataclass(frozen=True)
class Overrides:
    """What the command line says instead of the board; None leaves the board's word."""

    scenarios: Sequence[str] = ()
    losses: Sequence[str] = ()
    seeds: int | None = None
    protocol: str | None = None
    precision: str | None = None

    def apply(self, board: Board) -> Board:
        """Return the board, its parts too, with the overrides in place. Raises BoardError for an unknown scenario or protocol."""
        present = {s.name for part in board.boards for s in part.scenarios}
        parts = tuple(self._apply(part, present) for part in board.parts)
        return self._apply(board, present).model_copy(update={"parts": parts})

    def _apply(self, board: Board, present: set[str]) -> Board:
        scenarios = list(board.scenarios)
        if self.scenarios:
            extra = [ScenarioSpec(name=name) for name in self.scenarios if name not in present]
            for spec in extra:
                named(spec.name)
            scenarios = [s for s in scenarios if s.name in self.scenarios] + extra
        else:
            scenarios = [s for s in scenarios if not s.on_request]
        changes: dict[str, Any] = {}
        if self.losses:
            changes["losses"] = tuple(Spec.model_validate(loss) for loss in self.losses)
        if self.seeds is not None:
            if self.seeds > MAX_SEEDS:
                raise BoardError(f"--seeds: {self.seeds} seeds; a board has at most {MAX_SEEDS}")
            changes["seeds"] = tuple(range(self.seeds))

        if self.protocol:
            name = checked(Protocol, self.protocol, "--protocol").name
            if name not in protocols:
                raise BoardError(f"--protocol: no protocol {name!r}; {suggest(name, protocols.names())}")

        def protocol(current: Protocol) -> Protocol:
            chosen = checked(Protocol, self.protocol, "--protocol") if self.protocol else current
            fields = chosen.model_dump() | ({"precision": self.precision} if self.precision else {})
            return checked(Protocol, fields, "--precision")

        scenarios = [
            s.model_copy(
                update={
                    **({"losses": None} if self.losses else {}),
                    **({"seeds": None} if self.seeds is not None else {}),
                    **({"protocol": protocol(s.protocol)} if s.protocol is not None else {}),
                }
            )
            for s in scenarios
        ]
        sets = tuple(spec.model_copy(update={"protocol": self._own(spec.protocol)}) for spec in board.sets)
        changes |= {"scenarios": tuple(scenarios), "sets": sets, "protocol": protocol(board.protocol)}
        return board.model_copy(update=changes)

    def _own(self, protocol: Mapping[str, object]) -> dict[str, object]:
        """Return what is left of a set's own protocol: nothing beside one that the command line names."""
        if self.protocol or not protocol:
            return {}
        return {**protocol, **({"precision": self.precision} if self.precision else {})}
