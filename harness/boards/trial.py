"""Trials: one fully resolved unit of work, a setup and a seed."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from functools import cached_property
from typing import Annotated, Any

from pydantic import Field, model_serializer, model_validator

from harness.boards.labels import Labels
from harness.boards.protocol import Frozen, Protocol
from harness.boards.setup import OPTIONAL, DatasetReference, PluginSource, Setup, short_hash
from harness.core.spec import Spec

#: Seeds are below this: tables hold them in 64 bits, with a sign.
SEEDS = 2**63


class Trial(Frozen):
    """One fully resolved unit of work: same setup and seed, same id, same numbers.

    As JSON it is flat: the fields of its setup stand beside seed and labels. So it may be read, and may be written in Python.

    Attributes:
        setup: all that the number rests on but the seed; one object for the seeds that were planned, or read, together.
        seed: the student's, in [0, 2**63).
        labels: what it says of itself to people; its id does not rest on them.
    """

    setup: Setup
    seed: Annotated[int, Field(ge=0, lt=SEEDS)]
    labels: Labels = Field(default_factory=Labels)

    @model_validator(mode="before")
    @classmethod
    def _of_flat(cls, value: object) -> object:
        if not isinstance(value, Mapping) or "setup" in value:
            return value
        own = {name: value[name] for name in ("seed", "labels") if name in value}
        return {"setup": {name: part for name, part in value.items() if name not in own}, **own}

    @model_serializer
    def _flat(self) -> dict[str, object]:
        values = {name: getattr(self.setup, name) for name in Setup.model_fields}
        fields = {name: value for name, value in values.items() if name not in OPTIONAL or value}
        return {**fields, "seed": self.seed, "labels": self.labels}

    @property
    def canonical(self) -> str:
        """The canonical JSON that the id is the hash of: keys sorted, no white space."""
        return self.setup.canonical(self.seed)

    @cached_property
    def id(self) -> str:
        """First 20 hexadecimal digits of the SHA-256 of the canonical JSON."""
        return short_hash(self.canonical)

    @property
    def workload(self) -> Hashable:
        """What trials that take the same time are alike in (`Setup.workload`)."""
        return self.setup.workload(self.labels.images)

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Trial:
        """Return a copy, some of whose fields, or of its setup's, are others; they are checked. Its id is its own.

        Raises: ValidationError for a field that there is not, or a value that it cannot have; BadOption for such a label.
        """
        others = dict(update or {})
        setup, seed, labels = (others.pop(name, getattr(self, name)) for name in ("setup", "seed", "labels"))
        setup = setup.model_copy(update=others, deep=deep) if others or deep else setup
        return Trial(setup=setup, seed=seed, labels=Labels.of(labels) if isinstance(labels, Mapping) else labels)

    def labelled(self, others: Mapping[str, object]) -> Trial:
        """Return the trial with other labels beside its own, or in their place. Raises BadOption for what no label can be."""
        return Trial(setup=self.setup, seed=self.seed, labels=self.labels.changed(others))

    # -- its setup's fields ------------------------------------------------------------------------------------------------------

    @property
    def scenario(self) -> str:
        return self.setup.scenario

    @property
    def version(self) -> int:
        return self.setup.version

    @property
    def options(self) -> dict[str, Any]:
        return self.setup.options

    @property
    def dataset(self) -> DatasetReference:
        return self.setup.dataset

    @property
    def distilled(self) -> str:
        return self.setup.distilled

    @property
    def teacher(self) -> tuple[str, ...]:
        return self.setup.teacher

    @property
    def model(self) -> Spec:
        return self.setup.model

    @property
    def loss(self) -> Spec:
        return self.setup.loss

    @property
    def optimizer(self) -> Spec:
        return self.setup.optimizer

    @property
    def protocol(self) -> Protocol:
        return self.setup.protocol

    @property
    def plugins(self) -> dict[str, PluginSource]:
        return self.setup.plugins

    @property
    def versions(self) -> dict[str, int]:
        return self.setup.versions


def describe(trial: Trial) -> str:
    """Return a trial in a few words, for messages."""
    labels = trial.labels
    words = [labels.method, f"IPC {labels.ipc}", labels.loss, labels.model, labels.optimizer]
    return ", ".join(str(word) for word in words if word) + f", seed {trial.seed}"
