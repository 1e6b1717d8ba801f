"""Options of a scenario as data: typed fields with defaults, read from a board's entry; what is wrong there is one line."""

from __future__ import annotations

import re
import types
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Self, Union, get_args, get_origin

from pydantic import AfterValidator, BaseModel, ConfigDict, ValidationError, ValidationInfo, field_validator
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from harness import losses, models, optimizers
from harness.augmentation.words import NATIVE
from harness.boards.board import ScenarioSpec
from harness.core.errors import BadOption, BoardError, GiftbenchError, PluginError, suggest
from harness.core.registry import Registry
from harness.core.spec import Spec, write

#: What a value of a wrong type should have been, by pydantic's name of the error.
KINDS = {
    "bool_type": "true or false",
    "dict_type": "a table",
    "finite_number": "finite",
    "float_type": "a number",
    "int_type": "a whole number",
    "list_type": "a list",
    "string_type": "a word",
    "tuple_type": "a list",
}
#: The same for a value out of its range, which the error's context tells.
RANGES = {
    "greater_than": "above {gt}",
    "greater_than_equal": "{ge} or more",
    "less_than": "below {lt}",
    "less_than_equal": "{le} or less",
    "literal_error": "{expected}",
}


def _known(registry: Registry[Any]) -> AfterValidator:
    def check(spec: Spec) -> Spec:
        native = registry is losses.registry and spec.name == NATIVE and not spec.options
        if not native and registry.as_written(spec) is None:  # the sources do not tell
            registry.resolve(spec)
        return spec

    return AfterValidator(check)


#: What an option that names a loss, a student or an optimizer is typed as: the name and its parameters are checked as it is read.
LossSpec = Annotated[Spec, _known(losses.registry)]
ModelSpec = Annotated[Spec, _known(models.registry)]
OptimizerSpec = Annotated[Spec, _known(optimizers.registry)]


class ScenarioOptions(BaseModel):
    """What a board may say of a scenario beside what every `[[scenarios]]` entry has; a scenario nests its own `Options`.

    A field is typed as anything that pydantic checks, and strictly: a number is no word, true no number. A tuple or a list is
    written as a list, or as one value where it is of one; a `Spec` as `"gift(gamma=0.2)"` or `{name = "gift", gamma = 0.2}`, its
    default too; a `LossSpec`, a `ModelSpec` and an `OptimizerSpec` name something that there is. A field without a default has to
    be given. Checks that a type cannot say are pydantic's `field_validator`s.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, validate_default=True, allow_inf_nan=False)

    @field_validator("*", mode="before")
    @classmethod
    def _fitted(cls, value: object, info: ValidationInfo) -> object:
        field = cls.model_fields.get(info.field_name or "")
        return value if field is None else fitted(value, field.annotation)

    @classmethod
    def read(cls, scenario: str, given: Mapping[str, object], place: str) -> Self:
        """Return the options of a board's entry.

        Args:
            scenario: its name.
            given: what the entry says beside what every entry may say.
            place: of the entry, "board.toml: scenarios[1]".
        Raises: BoardError for an option that there is not, or one that is missing; BadOption for a value that it cannot have;
            PluginError where an option has the name of something that every entry may say.
        """
        taken = sorted(cls.model_fields.keys() & ScenarioSpec.model_fields.keys())
        if taken:
            raise PluginError(f"scenario {scenario!r}: every entry of a board has the key {taken[0]!r}; rename the option")
        try:
            return cls.model_validate(dict(given))
        except ValidationError as error:
            raise _fault(cls, error, scenario, place) from None

    @classmethod
    def described(cls) -> dict[str, str]:
        """Return {option: its default, as a board writes it}; `required` where it has none."""
        return {name: _shown(field) for name, field in cls.model_fields.items()}


def _shown(field: FieldInfo) -> str:
    return "required" if field.is_required() else write(field.get_default(call_default_factory=True))


# -- reading -------------------------------------------------------------------------------------------------------------


def fitted(value: object, annotation: object) -> object:
    """Return a value as the annotation wants it: a list as a tuple, one value as a list of one, 2.0 as 2; the rest unchanged."""
    container = _container(annotation)
    if isinstance(value, (list, tuple)):
        if container is None:
            return value
        return container[0](fitted(item, each) for item, each in zip(value, _elements(container, len(value)), strict=True))
    if container is not None and _only(annotation) and value is not None:
        flag = isinstance(value, bool) and bool not in _choices(_elements(container, 1)[0])
        return value if flag else fitted([value], annotation)
    if isinstance(value, float) and value.is_integer() and int in _choices(annotation) and float not in _choices(annotation):
        return int(value)
    return value


Container = tuple[type, tuple[Any, ...]]


def _choices(annotation: object) -> list[object]:
    """Return what a value may be: the members of a union, or the annotation itself."""
    while get_origin(annotation) is Annotated:
        annotation = get_args(annotation)[0]
    if get_origin(annotation) in (Union, types.UnionType):
        return [choice for member in get_args(annotation) for choice in _choices(member)]
    return [annotation]


def _container(annotation: object) -> Container | None:
    """Return the tuple or list that a value may be, and what it holds."""
    for choice in _choices(annotation):
        origin = get_origin(choice) or choice
        if origin in (tuple, list):
            return origin, get_args(choice)
    return None


def _only(annotation: object) -> bool:
    """Return whether a value can be nothing else than a tuple or a list, or None."""
    return all((get_origin(choice) or choice) in (tuple, list, type(None)) for choice in _choices(annotation))


def _elements(container: Container, count: int) -> list[object]:
    """Return the annotation of each of so many elements."""
    kind, arguments = container
    if kind is list or arguments[1:] == (...,):
        return list(arguments[:1] or (Any,)) * count
    return [*arguments[:count], *[Any] * (count - len(arguments))]


# -- what is wrong -------------------------------------------------------------------------------------------------------


def _fault(options: type[ScenarioOptions], error: ValidationError, scenario: str, place: str) -> GiftbenchError:
    """Return the first thing that is wrong, as one line."""
    errors = error.errors(include_url=False)
    if not errors[0]["loc"]:  # a check of several fields
        return BadOption(f"{place}: scenario {scenario!r}: {_reason(errors[0])}")
    option = str(errors[0]["loc"][0])
    if errors[0]["type"] == "extra_forbidden":
        valid = {*options.model_fields, *ScenarioSpec.model_fields} - {"name"}
        return BoardError(f"{place}: scenario {scenario!r} has no option {option!r}; {suggest(option, valid)}")
    if errors[0]["type"] == "missing":
        return BoardError(f"{place}: scenario {scenario!r} needs the option {option!r}")
    own = [one for one in errors if one["loc"][:1] == (option,)]
    steps = max((_steps(one) for one in own), key=len)  # of the members of a union, what the value came closest to
    wrong = [one for one in own if _steps(one) == steps]
    where = f"{place}.{option}" + "".join(f"[{step}]" for step in steps)
    inner = (wrong[0].get("ctx") or {}).get("error")
    if isinstance(inner, GiftbenchError):
        return type(inner)(f"{where}: {inner}")
    wanted = [text for one in wrong for text in _wanted(one)]
    if not wanted:
        reason = _reason(wrong[0])
        return BadOption(f"{where} {reason}" if reason.startswith("must ") else f"{where}: {reason}")
    return BadOption(f"{where} must be {' or '.join(dict.fromkeys(wanted))}, not {wrong[0]['input']!r}{_near(wrong[0])}")


def _steps(error: ErrorDetails) -> list[int]:
    return [step for step in error["loc"] if isinstance(step, int)]


def _wanted(error: ErrorDetails) -> Iterator[str]:
    """Yield what a value should have been, where that can be said in a few words."""
    kind = error["type"]
    if kind in KINDS:
        yield KINDS[kind]
    elif kind in RANGES:
        yield RANGES[kind].format(**error["ctx"])


def _near(error: ErrorDetails) -> str:
    """Return a did-you-mean clause for a word that is none of a few."""
    if error["type"] != "literal_error" or not isinstance(error["input"], str):
        return ""
    hint = suggest(error["input"], re.findall(r"'([^']*)'", error["ctx"]["expected"]))
    return f"; {hint}" if hint.startswith("did you mean") else ""


def _reason(error: ErrorDetails) -> str:
    return re.sub(r"^(Value error, |Assertion failed, )", "", str(error["msg"])).replace("Input should be", "must be")
