"""Boards and trials: TOML in, checked values and trial ids out."""

from __future__ import annotations

import hashlib
import json
import re
import tomllib
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from harness.errors import BoardError, GiftbenchError, suggest
from harness.spec import Spec

M = TypeVar("M", bound=BaseModel)
Precision = Literal["float32", "bf16"]


def _listed(value: Any) -> Any:
    return value if isinstance(value, (list, tuple)) else [value]


Count = Annotated[int, Field(gt=0, strict=True)]
Counts = Annotated[tuple[Count, ...], BeforeValidator(_listed)]
Specs = Annotated[tuple[Spec, ...], BeforeValidator(_listed), Field(min_length=1)]


def _seeds(value: Any) -> Any:
    if isinstance(value, (list, tuple)):
        return value
    if isinstance(value, int) and not isinstance(value, bool) and value > 0:
        return list(range(value))
    raise ValueError(f"must be how many (1 or more) or a list such as [4, 7], not {value!r}")


def _known_operations(value: str) -> str:
    words = {"color", "crop", "cutout", "flip", "scale", "rotate"}
    for word in value.split("_") if value not in ("", "none") else ():
        if word not in words:
            raise ValueError(f"unknown DSA operation {word!r}; {suggest(word, words)}")
    return value


Augmentation = Annotated[str, AfterValidator(_known_operations)]
Seeds = Annotated[tuple[Annotated[int, Field(ge=0, strict=True)], ...], BeforeValidator(_seeds), Field(min_length=1)]


class Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Protocol(Frozen):
    """How a student is trained.

    `epochs` and `batch_size` of 0 mean the paper's rule: 1000 epochs (300 on ImageNet-1K) and a batch by the number of
    distilled images. `labels` says where soft labels come from: `auto` (the set's own when it stores them, else the teacher),
    `teacher` (its logits on every augmented batch), `fixed` (its logits on each clean image, computed once), `stored`, or
    `hard` (none). `evaluations` is how often the student is tested, evenly over the epochs, the last epoch always among them.
    """

    name: str = "paper"
    epochs: Annotated[int, Field(ge=0, strict=True)] = 0
    batch_size: Annotated[int, Field(ge=0, strict=True)] = 0
    optimizer: Spec = Spec(name="adamw")
    schedule: Spec = Spec(name="multistep")
    augmentation: Augmentation = "color_crop_cutout_flip_scale_rotate"
    labels: Literal["auto", "teacher", "fixed", "stored", "hard"] = "auto"
    precision: Precision = "float32"
    evaluations: Count = 4

    @model_validator(mode="before")
    @classmethod
    def _named(cls, value: Any) -> Any:
        if isinstance(value, str):
            value = {"name": value}
        if isinstance(value, Mapping) and isinstance(value.get("name", "paper"), str):
            name = value.get("name", "paper")
            if name not in PROTOCOLS:
                raise ValueError(f"no protocol {name!r}; {suggest(name, PROTOCOLS)}")
            return {**PROTOCOLS[name], **value, "name": name}
        return value

    def resolved(self, images: int, dataset: str) -> Protocol:
        """Return the protocol with epochs and batch size filled in for `images` distilled images (Table 11 of the paper)."""
        by_size = 10 if images <= 10 else 50 if images <= 500 else 100 if images <= 20_000 else 200
        epochs = self.epochs or (300 if dataset.startswith("imagenet-1k") else 1000)
        return self.model_copy(update={"epochs": epochs, "batch_size": self.batch_size or by_size})

    @cached_property
    def label(self) -> str:
        """Return the name and what a board changed of it, for tables."""
        usual = Protocol.model_validate(self.name)
        parts = [f"{k}={v}" for k, v in self if k not in ("name", "optimizer") and v != getattr(usual, k)]
        return self.name + (f" ({', '.join(parts)})" if parts else "")


#: Protocols by name: `paper` is Table 11 of the GIFT paper; the others shorten it.
PROTOCOLS: dict[str, dict[str, Any]] = {
    "paper": {},
    "quick": {"epochs": 100},
    "smoke": {"epochs": 2, "evaluations": 1},
}


class SetSpec(BaseModel):
    """A distilled set that a board asks for: a distiller's `method` with its options at each IPC, or a `file`.

    `title` is what tables call it; `native` is the loss its authors train with; `seed` is the distiller's.
    """

    model_config = ConfigDict(frozen=True, extra="allow")

    method: str = ""
    file: str = ""
    ipc: Counts = ()
    title: str = ""
    native: Spec | None = None
    seed: Annotated[int, Field(ge=0, strict=True)] = 0

    @model_validator(mode="after")
    def _one_source(self) -> SetSpec:
        if bool(self.method) == bool(self.file):
            raise ValueError('needs either method = "…" (a distiller) or file = "….safetensors"')
        if self.method and not self.ipc:
            raise ValueError(f'method = "{self.method}" needs ipc = [images per class, …]')
        if self.file and self.model_extra:
            raise ValueError(f"unknown key {next(iter(self.model_extra))!r}; a file takes title, native and ipc")
        return self

    @property
    def options(self) -> dict[str, Any]:
        """The distiller's own parameters."""
        return dict(self.model_extra or {})

    @property
    def name(self) -> str:
        return self.title or self.method or Path(self.file).stem


class TeacherSpec(Frozen):
    """A teacher: one student architecture or several whose logits are averaged, trained on the dataset's train split.

    `epochs` of 0 takes the dataset's own number (`Dataset.teacher_epochs`).
    """

    models: Specs
    epochs: Annotated[int, Field(ge=0, strict=True)] = 0
    batch_size: Count = 128
    optimizer: Spec = Spec(name="adamw", options={"weight_decay": 0.01})
    schedule: Spec = Spec(name="cosine")
    augmentation: Augmentation = "color_crop_cutout_flip_scale_rotate"
    precision: Precision = "float32"
    seed: Annotated[int, Field(ge=0, strict=True)] = 0

    @model_validator(mode="before")
    @classmethod
    def _short(cls, value: Any) -> Any:
        if isinstance(value, Mapping) and ("models" in value or "model" in value):
            value = dict(value)
            return {"models": value.pop("model")} | value if "model" in value else value
        return {"models": value}


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
    def _short(cls, value: Any) -> Any:
        return {"name": value} if isinstance(value, str) else value

    @property
    def options(self) -> dict[str, Any]:
        """What is left for the scenario itself."""
        return dict(self.model_extra or {})


class Board(Frozen):
    """What a board file says. A scenario may override losses, seeds, protocol, model, optimizer, sets and ipc for itself."""

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
        content = tomllib.loads(file.read_text("utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise BoardError(f"{file}: not valid TOML: {error}") from None
    except OSError as error:
        raise BoardError(f"{file}: cannot be read: {error.strerror}") from None
    return checked(Board, content, str(file))


def checked(model: type[M], content: Any, source: str) -> M:
    """Validate `content`; the first thing that is wrong becomes one line: source, place, reason."""
    try:
        return model.model_validate(content)
    except GiftbenchError as error:
        raise BoardError(f"{source}: {error}") from None
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = f"{source}: {_place(first['loc'])}" if first["loc"] else source
        raise BoardError(f"{place}: {_reason(model, dict(first))}") from None


def _place(location: tuple[Any, ...]) -> str:
    text = ""
    for step in location:
        text += f"[{step}]" if isinstance(step, int) else f".{step}" if text else str(step)
    return text


def _reason(model: type[BaseModel], error: dict[str, Any]) -> str:
    if error["type"] == "extra_forbidden":
        owner: Any = model
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


def _field_model(owner: Any, step: Any) -> Any:
    fields = getattr(owner, "model_fields", {})
    if step not in fields:
        return owner
    found = re.findall(r"harness\.board\.(\w+)", str(fields[step].annotation))
    return globals()[found[0]] if found else getattr(fields[step].annotation, "__mro__", [None])[0]


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
    def canonical(self) -> str:
        """The canonical JSON that the id is the hash of."""
        content = self.model_dump(mode="json", exclude={"labels": True, "dataset": {"name"}, "protocol": {"name", "optimizer"}})
        return json.dumps(content, sort_keys=True, separators=(",", ":"))

    @cached_property
    def id(self) -> str:
        """First 20 hexadecimal digits of the SHA-256 of the canonical JSON."""
        return hashlib.sha256(self.canonical.encode()).hexdigest()[:20]

    @cached_property
    def bundle(self) -> str:
        """The same for all trials that differ only in their seed."""
        content = json.loads(self.canonical)
        del content["seed"]
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:20]
