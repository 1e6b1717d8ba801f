"""A registered name with its parameters, once it has been checked: what is passed on from the door to where it is made."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Generic, TypeVar, cast

from harness.core.errors import UnknownName
from harness.core.spec import Spec

T = TypeVar("T", covariant=True)

#: Under which attribute a thing that `Resolved.create` made says what it is.
_ATTRIBUTE = "_giftbench_resolved"


@dataclass(frozen=True, eq=False)
class Resolved(Generic[T]):
    """A name with every parameter filled in and checked. A registry has one of it for a name with the same parameters.

    Attributes:
        kind: what it is the name of, such as "loss".
        spec: the name and its parameters, as trials keep them: all but those at defaults that were not always there.
        label: the short form: only the parameters that differ from their defaults.
        target: the registered object.
    """

    kind: str
    spec: Spec
    label: str
    target: Callable[..., object] = field(repr=False)

    @property
    def name(self) -> str:
        return self.spec.name

    @property
    def options(self) -> dict[str, object]:
        return self.spec.options

    def create(self) -> T:
        """Return the object with its parameters bound: an instance of a class, a partial of a function.

        Raises: UnknownName for a name such as `timm/*`, which stands for many.
        """
        if self.name.endswith("/*"):
            usual = self.name[:-1] + "NAME"
            raise UnknownName(f"{self.kind} {self.name!r} stands for many; name one of them, such as {usual!r}")
        options = dict(self.options)
        thing = self.target(**options) if isinstance(self.target, type) else partial(self.target, **options)
        with suppress(AttributeError):  # an instance of a class with slots keeps what it is to itself
            object.__setattr__(thing, _ATTRIBUTE, (self, id(thing)))
        return cast(T, thing)


def resolved_from(thing: object) -> Resolved[object] | None:
    """Return what a thing was made of by `Resolved.create`; None where it was made in another way, or of such a thing."""
    resolved, own = getattr(thing, _ATTRIBUTE, (None, 0))
    return resolved if own == id(thing) else None  # functools.wraps copies attributes
