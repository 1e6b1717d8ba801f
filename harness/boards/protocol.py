"""`Protocol`: how a student is trained, by the paper's rule, shortened, or as a set's own authors do."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    model_serializer,
    model_validator,
)

from harness.augmentation.words import (
    BORDER,
    INNER,
    NATIVE,
    STORED,
    Cutout,
    draws_cutout,
    for_factor,
    known_augmentation,
    known_mixing,
    planned,
)
from harness.boards.cases import Case, NativeProtocol
from harness.boards.native import NATIVE_PROTOCOLS, missing
from harness.boards.recipes import FIXED, asked, check_prefix, describe
from harness.boards.stages import Stage, epochs_of, said
from harness.core.errors import BoardError, UnknownName
from harness.core.spec import Spec

#: "tf32" is for GPUs: float32 whose products and convolutions are rounded to 10 bits after the point.
Precision = Literal["float32", "bf16", "tf32"]
Count = Annotated[int, Field(gt=0, strict=True)]

#: What a protocol says where images are normalised by their dataset's own statistics.
DATASET = "dataset"

#: Fields of a protocol that came after the first records, and the value that says what protocols without them did. At that value
#: they stay out of a setup's hash, and unless they were stated out of its JSON, so that those records keep their ids and bytes.
ADDED_LATER: dict[str, Any] = {
    "mixing": "none",
    "cutout": INNER,
    "normalisation": DATASET,
    "stages": (),
    "accumulation": 1,
    "ema": 0.0,
    "ranks": "raw",
}

#: The fields that a native protocol fills in where they say "native", beside epochs and batch size.
NATIVE_FIELDS = ("optimizer", "schedule", "augmentation", "mixing", "normalisation")
#: Those that it fills in where they are not stated.
UNSTATED_FIELDS = ("stages", "accumulation", "ema", "ranks")


class Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


def _unless_filled_in(value: str, known: Callable[[str], str]) -> str:
    return value if value in (NATIVE, STORED) else known(value)


Augmentation = Annotated[str, AfterValidator(known_augmentation)]
ProtocolAugmentation = Annotated[str, AfterValidator(lambda value: _unless_filled_in(value, known_augmentation))]
ProtocolMixing = Annotated[str, AfterValidator(lambda value: _unless_filled_in(value, known_mixing))]


class Protocol(Frozen):
    """How a student is trained.

    `epochs` and `batch_size` of 0 mean the paper's rule: 1000 epochs (300 on ImageNet-1K) and a batch by the number of
    distilled images; under a name such as `native:rded` they, and every field that says "native", are those of its authors
    (`harness.boards.native`). `augmentation` and `mixing` are written as `harness.augmentation.words` reads them; "stored"
    replays what comes with the set; `cutout` says where DSA's squares are centred, as the authors draw them or, `inner`, as
    the first records were made; `normalisation` says by which statistics images are normalised: their dataset's, or others of
    `harness.boards.native.STATISTICS`. `labels` says where soft labels come from: `auto` (the set's own when it stores them,
    else the teacher), `teacher` (its logits on every augmented batch), `fixed` (its logits on each clean image, computed
    once), `stored`, or `hard` (none). `evaluations` is how often the student is tested, evenly over the epochs, the last
    epoch always among them.

    `stages`, which may be written `labels = [{soft = 75}, {hard = 150, smoothing = 0.8}, {soft = 75}]`, divide the epochs into
    those of soft and those of hard labels (`harness.boards.stages`); none: the trial's loss says what is learned, all along.
    `accumulation` is in how many parts a batch passes through the student before the optimizer's step; each part's loss counts
    for so small a share. With an `ema` above 0 the student's weights are averaged, at each step `ema` of the mean before and the
    rest of the weights, and that mean is tested beside the `raw` weights; `ranks` says which of the two gives the accuracy that
    tables show and the student that is kept.
    """

    name: str = "paper"
    epochs: Annotated[int, Field(ge=0, strict=True)] = 0
    batch_size: Annotated[int, Field(ge=0, strict=True)] = 0
    optimizer: Spec = Spec(name="adamw")
    schedule: Spec = Spec(name="multistep")
    augmentation: ProtocolAugmentation = "color_crop_cutout_flip_scale_rotate"
    mixing: ProtocolMixing = "none"
    cutout: Cutout = BORDER
    normalisation: Literal["dataset", "imagenet", "sre2l", "cifar10", "cifar100", "native"] = "dataset"
    labels: Literal["auto", "teacher", "fixed", "stored", "hard"] = "auto"
    precision: Precision = "float32"
    evaluations: Count = 4
    stages: tuple[Stage, ...] = ()
    accumulation: Count = 1
    ema: Annotated[float, Field(ge=0, lt=1)] = 0.0
    ranks: Literal["raw", "ema"] = "raw"

    @model_validator(mode="before")
    @classmethod
    def _named(cls, value: object) -> object:
        if isinstance(value, str):
            value = {"name": value}
        if isinstance(value, Mapping) and isinstance(value.get("name", "paper"), str):
            name = value.get("name", "paper")
            try:
                check_prefix(name)
            except UnknownName as error:
                raise ValueError(str(error)) from None
            named = PROTOCOLS.get(name, OPEN)
            return _staged({**named, **value, "name": name}, named)
        return value

    @model_validator(mode="after")
    def _is_native(self) -> Protocol:
        open_ = [field for field in NATIVE_FIELDS if is_native(getattr(self, field))]
        if open_ and self.name in FIXED:
            names = ", ".join(NATIVE_PROTOCOLS)
            raise ValueError(f"{open_[0]} = {NATIVE!r} goes with the name of a native protocol: {names}; not {self.name!r}")
        return self

    @model_validator(mode="after")
    def _agrees(self) -> Protocol:
        if self.ranks == "ema" and not self.ema and self.name in FIXED:
            raise ValueError('ranks = "ema" needs a mean of the weights; ema = 0.99 makes one')
        if self.stages and self.labels == "hard" and any(stage.soft for stage in self.stages):
            raise ValueError('labels = "hard" leaves nothing for a stage of soft labels; labels = "auto" is right beside stages')
        if self.stages and self.epochs and self.epochs != epochs_of(self.stages):
            raise ValueError(
                f"the stages have {epochs_of(self.stages)} epochs in all ({said(self.stages)}), and epochs = {self.epochs}; "
                "the two must be equal, or epochs 0"
            )
        return self

    @model_serializer(mode="wrap")
    def _without_what_came_later(self, write: SerializerFunctionWrapHandler) -> dict[str, Any]:
        written = write(self)
        meanings = self.without_what_came_later(written)
        return {name: value for name, value in written.items() if name in meanings or name in self.model_fields_set}

    def without_what_came_later(self, content: Mapping[str, Any]) -> dict[str, Any]:
        """Return this protocol's JSON without the fields of `ADDED_LATER` that say what protocols did before there were any."""
        idle = set() if self._cuts_squares else {"cutout"}
        return {
            name: value
            for name, value in content.items()
            if name not in idle and (name not in ADDED_LATER or _plain(value) != ADDED_LATER[name])
        }

    @classmethod
    def of_setup(cls, content: Mapping[str, object]) -> Protocol:
        """Return the protocol that a setup's JSON holds: what came later, and is not in it, was as `ADDED_LATER` says.

        Raises: ValidationError.
        """
        protocol = cls.model_validate(content)
        absent = {name: value for name, value in ADDED_LATER.items() if name not in content}
        fields = {name: getattr(protocol, name) for name in cls.model_fields} | absent
        return cls.model_construct(_fields_set=protocol.model_fields_set - absent.keys(), **fields)

    @property
    def squares(self) -> str:
        """Where DSA's squares are centred; empty where none are cut out."""
        return self.cutout if self._cuts_squares else ""

    @property
    def _cuts_squares(self) -> bool:
        return any(draws_cutout(text) for text in (self.augmentation, *(stage.augmentation or STORED for stage in self.stages)))

    @property
    def augmentations(self) -> tuple[str, ...]:
        """Its augmentation, and those that stages have of their own."""
        return (self.augmentation, *(stage.augmentation for stage in self.stages if stage.augmentation))

    def resolved(
        self,
        images: int,
        dataset: str,
        *,
        classes: int = 0,
        factor: int = 1,
        provenance: Mapping[str, object] | None = None,
        replay_batch: int = 0,
        normalised: bool = False,
        model: str = "",
    ) -> Protocol:
        """Return the protocol with what depends on the distilled set filled in.

        Args:
            images: distilled images in all; with 0 epochs and batch size, Table 11 of the paper says the rest.
            dataset, classes: the dataset's name, and how many classes it has.
            factor, provenance: the set's mosaic factor, and what it states of itself; native protocols look at both.
            replay_batch: the batch size of the augmentations that are stored with the set; 0 when none are. They are replayed
                in place of the protocol's own where its labels are the set's.
            normalised: whether the set's images are stored as they were normalised, so that no authors' statistics touch them.
            model: the student's name, by which some authors have settings of their own.
        Raises: BoardError when the protocol asks for stored augmentations and the set has none, or for what it cannot do: more
            parts than a batch has images, more stages than epochs.
        """
        by_size = 10 if images <= 10 else 50 if images <= 500 else 100 if images <= 20_000 else 200
        epochs = 300 if dataset.startswith("imagenet-1k") else 1000
        usual = NativeProtocol(epochs, by_size, self.optimizer, self.schedule, self.augmentation, self.mixing, self.normalisation)
        if self.name not in FIXED:
            own_epochs = self.epochs or epochs_of(self.stages)
            usual = asked(self.name, Case(images, dataset, classes, factor, provenance or {}, own_epochs, model))
        filled: dict[str, Any] = {
            "epochs": self.epochs or epochs_of(self.stages) or usual.epochs,
            "batch_size": self.batch_size or usual.batch_size,
        }
        for field in NATIVE_FIELDS:
            given, own = getattr(self, field), getattr(usual, field)
            filled[field] = own if is_native(given) and own is not None else given
        for field in UNSTATED_FIELDS if self.name not in FIXED else ():
            if field not in self.model_fields_set and getattr(usual, field) != ADDED_LATER[field]:
                filled[field] = getattr(usual, field)
        stages: tuple[Stage, ...] = filled.get("stages", self.stages)
        if replay_batch and self.labels in ("auto", "stored"):
            own_ways = {"augmentation": filled["augmentation"], "mixing": filled["mixing"]}
            filled |= {"batch_size": replay_batch, "augmentation": STORED, "mixing": STORED}
            stages = tuple(stage if stage.soft else _in_place_of_stored(stage, own_ways, factor) for stage in stages)
        elif STORED in (filled["augmentation"], filled["mixing"]):
            raise BoardError(
                f'protocol {self.name!r}: "{STORED}" replays augmentations that come with a distilled set and its labels; '
                "this set has none, or labels are taken from elsewhere"
            )
        else:
            filled["augmentation"] = for_factor(planned(filled["augmentation"]), factor)
            filled["mixing"] = known_mixing(filled["mixing"])
            stages = tuple(_for_factor(stage, factor) for stage in stages)
        if stages:
            filled["stages"] = stages
        self._check_filled(filled, stages)
        if normalised and is_native(self.normalisation):
            filled["normalisation"] = DATASET
        elif normalised and filled["normalisation"] != DATASET:
            raise BoardError(
                f"protocol {self.name!r}: normalisation = {self.normalisation!r}, and the set's images are stored as they were "
                f"normalised already; {DATASET!r} is right for it"
            )
        return self.model_copy(update=filled)

    def _check_filled(self, filled: Mapping[str, Any], stages: tuple[Stage, ...]) -> None:
        """Raise BoardError for what a training with these values in place cannot do."""
        parts, batch = filled.get("accumulation", self.accumulation), filled["batch_size"]
        if parts > batch:
            raise BoardError(
                f"protocol {self.name!r}: accumulation = {parts} parts of a batch of {batch} images; at most {batch}"
            )
        if stages and epochs_of(stages) != filled["epochs"]:
            raise BoardError(
                f"protocol {self.name!r}: {len(stages)} stages ({said(stages)}) and {filled['epochs']} epochs; each has one "
                "or more, and together they have all"
            )
        if filled.get("ranks", self.ranks) == "ema" and not filled.get("ema", self.ema):
            raise BoardError(f'protocol {self.name!r}: ranks = "ema" needs a mean of the weights; ema = 0.99 makes one')

    @property
    def soft_epochs(self) -> int:
        """How many epochs of a resolved protocol learn soft labels, where the loss looks at these."""
        return sum(stage.soft for stage in self.stages) if self.stages else self.epochs

    @property
    def networks_tested(self) -> int:
        """How many networks an evaluation tests: the student, and the mean of its weights where there is one."""
        return 2 if self.ema else 1

    @property
    def own_optimizer(self) -> Spec:
        """The optimizer of a resolved protocol. Raises BoardError when it needs a learning rate that the set lacks."""
        if is_native(self.optimizer):
            raise BoardError(missing(self.name))
        return self.optimizer

    @cached_property
    def label(self) -> str:
        """Return the name and what a board changed of it, for tables."""
        usual = Protocol.model_validate(self.name)
        changed = [(k, v) for k, v in self if k not in ("name", "optimizer") and v != getattr(usual, k)]
        parts = [f"labels: {said(v)}" if k == "stages" else f"{k}={v}" for k, v in changed]
        return self.name + (f" ({', '.join(parts)})" if parts else "")


def is_native(value: str | Spec) -> bool:
    """Whether a field of a protocol leaves its value to the set's authors."""
    return value == NATIVE if isinstance(value, str) else value.name == NATIVE and not value.options


def _plain(value: object) -> object:
    """Return a value of JSON as Python has it: a list as a tuple."""
    return tuple(value) if isinstance(value, list) else value


def _staged(value: dict[str, Any], named: Mapping[str, Any]) -> dict[str, Any]:
    """Return a protocol whose `labels`, where these are a list, stand as its `stages`."""
    labels = value.get("labels")
    if not isinstance(labels, (list, tuple)):
        return value
    if not labels:
        raise ValueError("labels = [] has no stage; one is {soft = EPOCHS} or {hard = EPOCHS}")
    if value.get("stages"):
        raise ValueError("labels = [{soft = …}, …] and stages are the same thing; give one of them")
    return {**{name: part for name, part in value.items() if name != "labels"}, **_of(named, "labels"), "stages": labels}


def _of(named: Mapping[str, Any], field: str) -> dict[str, Any]:
    return {field: named[field]} if field in named else {}


def _for_factor(stage: Stage, factor: int) -> Stage:
    """Return a stage with the distilled set's mosaic factor filled in."""
    if not stage.augmentation:
        return stage
    return stage.model_copy(update={"augmentation": for_factor(planned(stage.augmentation), factor)})


def _in_place_of_stored(stage: Stage, ways: Mapping[str, str], factor: int) -> Stage:
    """Return a stage that replays nothing: what the protocol does itself stands where the stage says nothing."""
    augmentation = stage.augmentation or ways["augmentation"]
    mixing = stage.mixing or ways["mixing"]
    if STORED in (augmentation, mixing):
        raise BoardError(
            f"a stage of hard labels cannot replay what is stored with soft ones; give it its own: {{hard = {stage.hard}, "
            'augmentation = "…", mixing = "none"}'
        )
    own = {"augmentation": for_factor(planned(augmentation), factor), "mixing": known_mixing(mixing)}
    return stage.model_copy(update=own)


#: The protocol that only tries out whether all is in place; tables put its records last.
TRIED_OUT = "smoke"
#: What rethinkdc evaluates every set by, whoever made it.
NEUTRAL: dict[str, Any] = {
    "epochs": 300,
    "batch_size": 128,
    "optimizer": "adamw-weights-only(lr=0.001, weight_decay=0.01)",
    "schedule": "cosine",
    "augmentation": "random-resized-crop(min_scale=0.08)+flip",
}
#: What a protocol leaves open that asks a recipe.
OPEN: dict[str, Any] = dict.fromkeys(NATIVE_FIELDS, NATIVE)
#: Protocols that ship, by name: `paper` is Table 11 of the GIFT paper, two shorten it, two are the same for all sets, and each of
#: `harness.boards.native` is one. Those of plugins are in `harness.boards.recipes`.
PROTOCOLS: dict[str, dict[str, Any]] = {
    "paper": {},
    "quick": {"epochs": 100},
    TRIED_OUT: {"epochs": 2, "evaluations": 1},
    "neutral:soft": {**NEUTRAL, "mixing": "cutmix(alpha=1.0)", "labels": "teacher"},
    "neutral:hard": {**NEUTRAL, "labels": "hard"},
    **dict.fromkeys(NATIVE_PROTOCOLS, OPEN),
}
SUMMARIES = {
    "paper": "The GIFT paper's Table 11: 1,000 epochs (300 on ImageNet-1K) of AdamW, DSA, the rate falls at 2/3 and 5/6.",
    "quick": "As paper, with 100 epochs.",
    TRIED_OUT: "As paper, with 2 epochs and one test: whether all is in place.",
    "neutral:soft": "rethinkdc's for every set alike: 300 epochs of AdamW, crops, CutMix, the teacher online; its loss is kl.",
    "neutral:hard": "rethinkdc's for every set alike: 300 epochs of AdamW, crops, hard labels; its loss is ce.",
}


def summary(name: str) -> str:
    """Return what a protocol is, in one line."""
    return SUMMARIES[name] if name in FIXED else describe(name).summary
