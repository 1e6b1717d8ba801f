"""What a trial says of itself, for tables, costs and messages; its id rests on none of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_serializer

from harness.core.errors import BadOption

#: What a label may be: whatever JSON writes without brackets.
Scalar = str | int | float | bool | None


class Stated(BaseModel):
    """A frozen value of facts, each of which may be left unsaid. What no field names is kept as it stands.

    Its JSON is flat, holds the facts that were stated and no others, and reads back as it was written: 10 is not 10.0.
    """

    model_config = ConfigDict(frozen=True, extra="allow", strict=True, allow_inf_nan=False)

    @model_serializer
    def stated(self) -> dict[str, object]:
        """Return the facts that were stated, by name: the fields' in their order, then the others in theirs."""
        names = self.__pydantic_fields_set__
        return {name: value for name, value in self.__dict__.items() if name in names} | (self.__pydantic_extra__ or {})


class Labels(Stated):
    """What a trial says of itself: the columns that every scenario's tables have, and beside them the scenario's own by name.

    Attributes:
        order: its place among the trials that the board planned.
        dataset, method: names, as tables show them.
        ipc: images per class; their mean where classes differ.
        distilled_on: the network that the set was made on; empty when the board does not say.
        images: how many images the set has in all.
        model, adaptation: the student, and what was changed in it for images of this size.
        loss, native: the loss, and the one that the set's authors train with.
        optimizer, learning_rate: the optimizer, and its rate where it has one.
        teacher, teacher_accuracy: the networks that give the soft labels, and their mean test accuracy in percent.
        protocol: its name, and what the board changed of it.
        epochs, batch_size, augmentation, precision: of the protocol, filled in.
    """

    __pydantic_extra__: dict[str, Scalar] = Field(init=False)

    order: int = 0
    dataset: str = ""
    method: str = ""
    ipc: int | float | None = None
    distilled_on: str = ""
    images: int | None = None
    model: str = ""
    adaptation: str = ""
    loss: str = ""
    native: str = ""
    optimizer: str = ""
    learning_rate: int | float | None = None
    teacher: str = ""
    teacher_accuracy: int | float | None = None
    protocol: str = ""
    epochs: int | None = None
    batch_size: int | None = None
    augmentation: str = ""
    precision: str = ""

    @property
    def own(self) -> Mapping[str, Scalar]:
        """The labels that the scenario adds (stream, gamma, multiplier, …), by name."""
        return self.__pydantic_extra__

    @classmethod
    def of(cls, content: Mapping[str, object]) -> Self:
        """Return the labels of a mapping. Raises BadOption, in one line, for a value that no label can be."""
        try:
            return cls.model_validate(content)
        except ValidationError as error:
            name = str(error.errors(include_url=False)[0]["loc"][0])
            raise BadOption(f"label {name!r} must be {_wanted(name)}, not {content[name]!r}") from None

    def changed(self, others: Mapping[str, object]) -> Self:
        """Return these labels with others beside them, or in their place. Raises BadOption as `of` does."""
        return self.of({**self.stated(), **others}) if others else self

    def numbered(self, order: int) -> Self:
        """Return these labels with another place in the plan."""
        return self.model_copy(update={"order": order})


def _wanted(name: str) -> str:
    """Return what a label of this name may be, in words."""
    if name not in Labels.model_fields:
        return "text, a finite number, true, false or none"
    kind = Labels.model_fields[name].annotation
    return "text" if kind is str else "a whole number" if kind in (int, int | None) else "a finite number"
