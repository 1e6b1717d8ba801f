"""Trials: one fully resolved unit of work, its id the hash of what its number rests on."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from functools import cached_property
from typing import Any

from pydantic import Field

from harness.boards.protocol import Frozen, Protocol
from harness.core.spec import Spec

#: Fields of a protocol that came after the first records, and the value that says what protocols without them did: it stays out
#: of the trial's id, so that those records keep theirs.
ADDED_LATER = {"mixing": "none"}


class Trial(Frozen):
    """One fully resolved unit of work. `labels` describe it to people and stay out of its id.

    Attributes:
        scenario, version: which plugin runs it, and that plugin's version.
        options: what the scenario itself adds (steps, class order, …).
        dataset, distilled: name and SHA-256 of the data.
        teacher: SHA-256 of each network whose logits are averaged; empty when the loss takes no teacher.
        model, loss, optimizer: names with every parameter filled in.
        protocol: with epochs and batch size filled in.
        seed: the student's.
        labels: columns of the tables: dataset, method, ipc, loss, model, optimizer, native, teacher, adaptation, …
    """

    scenario: str
    version: int = 1
    options: dict[str, Any] = Field(default_factory=dict)
    dataset: dict[str, str]
    distilled: str
    teacher: tuple[str, ...] = ()
    model: Spec
    loss: Spec
    optimizer: Spec
    protocol: Protocol
    seed: int
    labels: dict[str, Any] = Field(default_factory=dict)

    @cached_property
    def _around_seed(self) -> tuple[str, str]:
        """The canonical JSON up to the seed and after it: what trials that differ only in their seed share."""
        content = self.model_dump(mode="json", exclude={"labels": True, "dataset": {"name"}, "protocol": {"name", "optimizer"}})
        for field, absent in ADDED_LATER.items():
            if content["protocol"].get(field) == absent:
                del content["protocol"][field]
        del content["seed"]
        before = _json({name: value for name, value in content.items() if name < "seed"})
        after = _json({name: value for name, value in content.items() if name > "seed"})
        return before.removesuffix("}") + ',"seed":', "," + after.removeprefix("{")

    @cached_property
    def canonical(self) -> str:
        """The canonical JSON that the id is the hash of: keys sorted, no white space."""
        before, after = self._around_seed
        return f"{before}{self.seed}{after}"

    @cached_property
    def id(self) -> str:
        """First 20 hexadecimal digits of the SHA-256 of the canonical JSON."""
        return _short_hash(self.canonical)

    @cached_property
    def bundle(self) -> str:
        """The same for all trials that differ only in their seed."""
        return _short_hash("".join(self._around_seed))

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Trial:
        """Return a copy, some of whose fields may be others; its id is its own."""
        made = super().model_copy(update=update, deep=deep)
        for name in ("_around_seed", "canonical", "id", "bundle"):
            made.__dict__.pop(name, None)
        return made

    def reseeded(self, seed: int, labels: dict[str, Any]) -> Trial:
        """Return the trial under another seed and other labels, neither checked; what the two ids rest on is not made anew."""
        made = Trial.model_construct(
            **{name: self.__dict__[name] for name in Trial.model_fields} | {"seed": seed, "labels": labels}
        )
        made.__dict__["_around_seed"] = self._around_seed
        return made


class Kinds:
    """Knows the trials that it has seen, so that of those that differ only in their seed one makes the text of all their ids."""

    def __init__(self) -> None:
        self._first: dict[tuple[Any, ...], Trial] = {}

    def share(self, trial: Trial) -> None:
        """Give a trial the text that one of its kind has made. Specs and protocols are told apart as objects, by identity."""
        parts = (id(trial.model), id(trial.loss), id(trial.optimizer), id(trial.protocol))
        rest = (trial.scenario, trial.version, repr(trial.options), repr(trial.dataset), trial.distilled, trial.teacher)
        first = self._first.setdefault((*parts, *rest), trial)  # which keeps its parts alive, and their identities its own
        if first is not trial:
            trial.__dict__["_around_seed"] = first._around_seed


def _json(content: Any) -> str:
    return json.dumps(content, sort_keys=True, separators=(",", ":"))


def _short_hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:20]
