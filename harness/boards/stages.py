"""Labels over time: which epochs of a training learn soft labels, and which hard ones."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    model_serializer,
    model_validator,
)

from harness.augmentation.words import STORED, known_augmentation, known_mixing


def _unless_the_protocols(known: object) -> object:
    def checked(text: str) -> str:
        return text if text in ("", STORED) else known(text)  # type: ignore[operator]

    return AfterValidator(checked)


class Stage(BaseModel):
    """So many epochs of soft labels, `{soft = 75}`, or of hard ones, `{hard = 150, smoothing = 0.8}`.

    Soft labels are learned under the trial's loss, hard ones under cross-entropy, whatever that is: with `smoothing` s, a class
    has 1 - s + s/C of the target and every other one s/C. `augmentation` and `mixing`, where they are stated, take the place of
    the protocol's.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    soft: Annotated[int, Field(ge=0, strict=True)] = 0
    hard: Annotated[int, Field(ge=0, strict=True)] = 0
    smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.0
    augmentation: Annotated[str, _unless_the_protocols(known_augmentation)] = ""
    mixing: Annotated[str, _unless_the_protocols(known_mixing)] = ""

    @model_validator(mode="after")
    def _one_kind(self) -> Stage:
        if (self.soft > 0) == (self.hard > 0):
            raise ValueError("a stage is {soft = EPOCHS} or {hard = EPOCHS}, of one epoch or more")
        if self.smoothing and not self.hard:
            raise ValueError("smoothing goes with hard = EPOCHS")
        return self

    @model_serializer(mode="wrap")
    def _as_stated(self, write: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return {name: value for name, value in write(self).items() if value != Stage.model_fields[name].default}

    @property
    def epochs(self) -> int:
        return self.soft or self.hard

    def __str__(self) -> str:
        own = [f"smoothing {self.smoothing:g}"] if self.smoothing else []
        own += [text for text in (self.augmentation, self.mixing and f"mixing {self.mixing}") if text]
        return f"{'soft' if self.soft else 'hard'} {self.epochs}" + (f" ({', '.join(own)})" if own else "")


def epochs_of(stages: Sequence[Stage]) -> int:
    """Return how many epochs stages have in all."""
    return sum(stage.epochs for stage in stages)


def said(stages: Sequence[Stage]) -> str:
    """Return stages in words, one after the other."""
    return ", ".join(map(str, stages))
