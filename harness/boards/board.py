"""Boards: TOML in, checked values out; what is wrong is one line that says where."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Literal, TypeVar, get_args

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator
from pydantic_core import ErrorDetails

from harness.augmentation.words import BORDER, Cutout
from harness.boards.protocol import Augmentation, Count, Frozen, Precision, Protocol, is_native
from harness.boards.recipes import authors_statistics
from harness.boards.trial import SEEDS
from harness.core.errors import BoardError, DataError, GiftbenchError, suggest
from harness.core.spec import Spec
from harness.files import paths

M = TypeVar("M", bound=BaseModel)

#: Bytes of a board's file; those of the paper have four thousand.
MAX_BYTES = 16 << 20
#: Tables and arrays in one another; a board of parts has five.
MAX_DEPTH = 32
#: Seeds of a board or a scenario.
MAX_SEEDS = 100_000


def _listed(value: object) -> object:
    return value if isinstance(value, (list, tuple)) else [value]


Counts = Annotated[tuple[Count, ...], BeforeValidator(_listed)]
Specs = Annotated[tuple[Spec, ...], BeforeValidator(_listed), Field(min_length=1)]


def _seeds(value: object) -> object:
    counted = isinstance(value, int) and not isinstance(value, bool)
    count = value if counted else len(value) if isinstance(value, (list, tuple)) else 0
    if isinstance(count, int) and count > MAX_SEEDS:
        raise ValueError(f"{count} seeds; a board has at most {MAX_SEEDS}")
    if isinstance(value, (list, tuple)):
        return value
    if isinstance(value, int) and counted and value > 0:
        return list(range(value))
    raise ValueError(f"must be how many (1 or more) or a list such as [4, 7], not {value!r}")


#: Where a stream of random numbers starts.
Seed = Annotated[int, Field(ge=0, lt=SEEDS, strict=True)]
Seeds = Annotated[tuple[Seed, ...], BeforeValidator(_seeds), Field(min_length=1)]


def _own_protocol(value: object) -> dict[str, object]:
    """Return what a set says of its protocol as a table, checked. Raises ValueError, in one line."""
    given = {"name": value} if isinstance(value, str) else value
    if not isinstance(given, Mapping):
        raise ValueError('a name such as "native:edc", or a table of a protocol\'s fields')
    try:
        Protocol.model_validate(given)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = f"{_place(first['loc'])}: " if first["loc"] else ""
        raise ValueError(place + _reason(Protocol, first)) from None
    return dict(given)


#: What a set has in place of its board's protocol: another one by name, or some fields.
OwnProtocol = Annotated[dict[str, object], BeforeValidator(_own_protocol)]


class SetSpec(BaseModel):
    """A distilled set that a board asks for: a distiller's `method` with its options at each IPC, a `file`, or a `format`.

    `title` is what tables call it; `native` is the loss its authors train with; `seed` is the distiller's; `distilled_on` the
    network it was made with. A `format` is read from `path`, at each IPC (none: all images there are), with the reader's own
    options; without a path it waits for `giftbench run --set NAME=PATH`, NAME being the format's unless `slot` says another.
    `classes` states the order of its classes: names, numbers, wnid, or a file of them, from the board's folder. `protocol` is the
    set's own: a name takes the place of the board's and of a scenario's protocol, a table without one changes fields of these.
    """

    model_config = ConfigDict(frozen=True, extra="allow")

    method: str = ""
    file: str = ""
    format: str = ""
    path: str = ""
    slot: str = ""
    classes: str = ""
    ipc: Counts = ()
    title: str = ""
    native: Spec | None = None
    distilled_on: str = ""
    seed: Seed = 0
    protocol: OwnProtocol = {}

    @model_validator(mode="after")
    def _one_source(self) -> SetSpec:
        if [bool(self.method), bool(self.file), bool(self.format)].count(True) != 1:
            raise ValueError('needs method = "…" (a distiller), file = "….safetensors" or format = "…" (a reader)')
        if (self.path or self.slot) and not self.format:
            raise ValueError(f'{"path" if self.path else "slot"} goes with format = "…"')
        if self.classes and not (self.format or self.file):
            raise ValueError('classes goes with format = "…" or file = "…"')
        if self.method and not self.ipc:
            raise ValueError(f'method = "{self.method}" needs ipc = [images per class, …]')
        if self.file and self.model_extra:
            raise ValueError(
                f"unknown key {next(iter(self.model_extra))!r}; a file takes title, classes, native, ipc and protocol"
            )
        return self

    @property
    def options(self) -> dict[str, object]:
        """The distiller's or the reader's own parameters."""
        return dict(self.model_extra or {})

    @property
    def name(self) -> str:
        return self.title or self.method or self.format or Path(self.file).stem

    @property
    def supplied_as(self) -> str:
        """What `--set` calls a set of a published format."""
        return self.slot or self.format


class TeacherSpec(Frozen):
    """A teacher: one student architecture or several whose logits are averaged, trained on the dataset's train split.

    `epochs` of 0 takes the dataset's own number (`Dataset.teacher_epochs`).

    `checkpoints` are published weights, one file a model, each the name of a file or several names of which the first that is
    found counts: beside the board, then in the data folder, its `teachers/` and its `pretrain_models/`; where none is there,
    `hf-hub:USER/NAME` among them is downloaded. Where none is found and `required` is false, the teacher is trained here.
    `expect` is the test accuracy in percent that they are known for, one a model: a measured one that is off by more than
    `tolerance` points stops the run. `mean` and `std` are what a teacher's images are normalised by, published or trained here;
    where they are not stated, they are the dataset's own, or those of the authors on a board under their native protocol
    (`Board.teacher_on`). `average` is `mean` of the logits, or `norm` (G-VBSM on ImageNet-1K: each network's logits are first
    scaled to the mean of their batch norms). `cutout` is as in a protocol.
    """

    models: Specs
    checkpoints: tuple[Annotated[tuple[str, ...], BeforeValidator(_listed)], ...] = ()
    required: Annotated[bool, Field(strict=True)] = False
    expect: Annotated[tuple[float, ...], BeforeValidator(_listed)] = ()
    tolerance: Annotated[float, Field(gt=0)] = 1.0
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    average: Literal["mean", "norm"] = "mean"
    epochs: Annotated[int, Field(ge=0, strict=True)] = 0
    batch_size: Count = 128
    optimizer: Spec = Spec(name="adamw", options={"weight_decay": 0.01})
    schedule: Spec = Spec(name="cosine")
    augmentation: Augmentation = "color_crop_cutout_flip_scale_rotate"
    cutout: Cutout = BORDER
    precision: Precision = "float32"
    seed: Seed = 0

    @model_validator(mode="before")
    @classmethod
    def _short(cls, value: object) -> object:
        if isinstance(value, Mapping) and ("models" in value or "model" in value):
            value = dict(value)
            if "checkpoint" in value:
                value["checkpoints"] = [value.pop("checkpoint")]
            return {"models": value.pop("model")} | value if "model" in value else value
        return {"models": value}

    @model_validator(mode="after")
    def _one_each(self) -> TeacherSpec:
        for name, given in (("checkpoints", self.checkpoints), ("expect", self.expect)):
            if given and len(given) != len(self.models):
                raise ValueError(f"{name}: {len(given)} for {len(self.models)} models; give one a model")
        if self.required and not self.checkpoints:
            raise ValueError('required goes with checkpoints = ["…"]')
        if len(self.mean) != len(self.std):
            raise ValueError("mean and std go together, one number a channel each")
        return self


class ScenarioSpec(BaseModel):
    """A scenario on a board: its name, what it overrides of the board, and its own options.

    One that is `on_request` runs only when the command line names it.
    """

    model_config = ConfigDict(frozen=True, extra="allow")

    name: str
    losses: Specs | None = None
    seeds: Seeds | None = None
    protocol: Protocol | None = None
    model: Spec | None = None
    optimizer: Spec | None = None
    sets: Annotated[tuple[str, ...], BeforeValidator(_listed)] | None = None
    ipc: Counts | None = None
    on_request: Annotated[bool, Field(strict=True)] = False

    @model_validator(mode="before")
    @classmethod
    def _short(cls, value: object) -> object:
        return {"name": value} if isinstance(value, str) else value

    @property
    def options(self) -> dict[str, object]:
        """What is left for the scenario itself."""
        return dict(self.model_extra or {})


class Board(Frozen):
    """What a board file says. A scenario may override losses, seeds, protocol, model, optimizer, sets and ipc for itself.

    A board about several datasets or teachers has `[[parts]]`: each is a board of its own, in which its keys replace those of
    the whole. `reported` is a CSV file of published numbers, from the board's folder, and `reported_tables` those of its tables
    that this board repeats (see `harness.leaderboard.reported`). `unnoted` says of plugins, `"losses.py" = "SHA-256"`, which ones
    made the records of a time when records did not say so: at that digest a plugin stays out of the trials' ids. `timeout` is how
    many seconds a trial may take, 0 for any number; it is the whole board's, and no part of what a trial is.
    """

    title: str = ""
    description: str = ""
    dataset: Spec
    model: Spec = Spec(name="convnet3")
    teacher: TeacherSpec = TeacherSpec(models=(Spec(name="convnet3"),))
    protocol: Protocol = Protocol()
    losses: Specs = (Spec(name="gift"),)
    seeds: Seeds = (0, 1, 2)
    sets: Annotated[tuple[SetSpec, ...], Field(min_length=1)]
    scenarios: Annotated[tuple[ScenarioSpec, ...], Field(min_length=1)]
    plugins: tuple[str, ...] = ()
    unnoted: dict[str, str] = Field(default_factory=dict)
    timeout: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.0
    reported: str = ""
    reported_tables: Annotated[tuple[str, ...], BeforeValidator(_listed)] = ()
    parts: tuple[Board, ...] = ()

    @model_validator(mode="before")
    @classmethod
    def _merged(cls, value: object) -> object:
        """Fill in each part with what the board says for all; a board of parts is itself its first part."""
        if not isinstance(value, Mapping) or not value.get("parts"):
            return value
        common = {key: given for key, given in value.items() if key != "parts"}
        parts = value["parts"]
        if not isinstance(parts, (list, tuple)) or not all(isinstance(part, Mapping) for part in parts):
            raise ValueError("parts must be [[parts]] tables")
        if any("parts" in part for part in parts):
            raise ValueError("a part has no parts of its own")
        if any("timeout" in part for part in parts):
            raise ValueError("timeout is the whole board's: it goes above [[parts]]")
        merged = [{**common, **part} for part in parts]
        return {**merged[0], "parts": merged}

    @property
    def boards(self) -> tuple[Board, ...]:
        """Return the boards of one dataset and one teacher that this one is made of: its parts, or itself."""
        return self.parts or (self,)

    def teacher_on(self, dataset: str) -> TeacherSpec:
        """Return the teacher, as it is trained on or read for the dataset of this name.

        Where the board's protocol is a native one whose authors normalise by other statistics than the dataset's, and the
        teacher states none, these are its own: theirs saw the same images as their students. A scenario's protocol has no say.
        """
        protocol, stated = self.protocol, bool(self.teacher.mean)
        statistics = None if stated or not is_native(protocol.normalisation) else authors_statistics(protocol.name, dataset)
        if statistics is None:
            return self.teacher
        mean, std = statistics
        return self.teacher.model_copy(update={"mean": mean, "std": std})


def board_path(path: str | Path) -> Path:
    """Return the board file of `path`, which may name the file or its folder."""
    path = Path(path)
    file = path / "board.toml" if path.is_dir() else path
    if not file.is_file():
        raise BoardError(f"{path}: no board here; expected a folder with board.toml, or the file itself")
    return file


def load_board(path: str | Path) -> Board:
    """Read and check a board file. Raises BoardError that names the place in the file and what would be right."""
    file = board_path(path)
    try:
        content = tomllib.loads(paths.content(file, MAX_BYTES).decode("utf-8-sig"))
    except (DataError, FileNotFoundError) as error:
        raise BoardError(str(error)) from None
    except RecursionError:
        raise BoardError(f"{file}: {TOO_DEEP}") from None
    except ValueError as error:  # not TOML, not UTF-8, or a number of thousands of digits
        raise BoardError(f"{file}: not valid TOML: {error}") from None
    if _too_deep(content):
        raise BoardError(f"{file}: {TOO_DEEP}")
    return checked(Board, content, str(file))


TOO_DEEP = f"arrays or tables nested too deep; at most {MAX_DEPTH} stand in one another"


def _too_deep(content: object) -> bool:
    """Tell whether more than `MAX_DEPTH` arrays and tables stand in one another."""
    level = [content]
    for _ in range(MAX_DEPTH + 1):
        inner = [part for part in level if isinstance(part, (dict, list))]
        level = [value for part in inner for value in (part.values() if isinstance(part, dict) else part)]
    return bool(level)


def checked(model: type[M], content: object, source: str) -> M:
    """Validate `content`; the first thing that is wrong becomes one line: source, place, reason."""
    try:
        return model.model_validate(content)
    except GiftbenchError as error:
        raise BoardError(f"{source}: {error}") from None
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = f"{source}: {_place(first['loc'])}" if first["loc"] else source
        raise BoardError(f"{place}: {_reason(model, first)}") from None


def _place(location: tuple[int | str, ...]) -> str:
    text = ""
    for step in location:
        text += f"[{step}]" if isinstance(step, int) else f".{step}" if text else str(step)
    return text


def _reason(model: type[BaseModel], error: ErrorDetails) -> str:
    if error["type"] == "extra_forbidden":
        owner: object = model
        for step in error["loc"][:-1]:
            owner = _field_model(owner, step)
        valid = getattr(owner, "model_fields", {})
        return f"unknown key; {suggest(str(error['loc'][-1]), valid)}"
    if error["type"] == "missing":
        return "missing; a board needs dataset, [[sets]] and [[scenarios]]" if len(error["loc"]) == 1 else "missing"
    reason = re.sub(r"^Value error, ", "", str(error["msg"]))
    got = error.get("input")
    shown = isinstance(got, (str, int, float, bool)) and error["type"] != "value_error"
    return reason + (f", not {got!r}" if shown else "")


def _field_model(owner: object, step: object) -> object:
    """Return the model that a field holds, one or many of; the owner itself where `step` is no field: an index, say."""
    fields = getattr(owner, "model_fields", {})
    return next(_models_in(fields[step].annotation), None) if step in fields else owner


def _models_in(annotation: object) -> Iterator[type[BaseModel]]:
    """Yield the models that an annotation names: `tuple[SetSpec, ...] | None` names SetSpec."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for argument in get_args(annotation):
        yield from _models_in(argument)
