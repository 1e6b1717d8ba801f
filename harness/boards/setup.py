"""A trial without its seed: one value with one hash. What setups may be alike in is said here, and nowhere else.

Whatever puts trials together takes its key from this table; two setups are alike in what the row says where that key is equal.

| key                   | alike in                                               | used for                                  |
| --------------------- | ------------------------------------------------------ | ----------------------------------------- |
| `Setups.read`         | every word, names of dataset and protocol too          | reading: one object for all its records   |
| `hash`                | all that a number rests on but the seed                | ids; bundles of scenarios that go through |
|                       |                                                        | seeds by themselves; cells of tables      |
| `together`            | `hash`, but for the loss                               | trainings that may be made in one pass,   |
|                       |                                                        | and the way in which that is best done    |
| `stream`              | all but loss, optimizer, schedule and student          | trainings that are made step by step      |
|                       |                                                        | beside each other                         |
| `asked`               | `stream`, whichever scenario asks and with whatever    | with what the scenario says of its own:   |
|                       | options, however often it tests                        | trials that read what the teacher has     |
|                       |                                                        | said in one of them                       |
| `training`            | `hash`, but for the scenario's name and version        | records beside a published number         |
| `workload`            | how many images; all else that takes time but the loss | costs; the seconds of trials that ended   |
| `student_in_scenario` | network, precision, dataset; scenario and its options  | seconds where no such workload has ended  |
| `student_on_dataset`  | network, precision, dataset                            | seconds where that tells nothing          |
| `student`             | network, precision                                     | seconds where that tells nothing either   |
| `proves`              | one of: student in scenario; loss; optimizer's name    | pilots: what a board tries first          |
| `neighbours`          | dataset; then teacher; then `step`; then distilled set | order of bundles: what workers keep       |
| `step`                | student, optimizer, batch size, augmentation, stages,  | the same: captured steps, where a recipe  |
|                       | accumulation, mean of the weights, scenario            | is `plain` (`training.values.Recipe`)     |

How many images a set has is said by a trial's labels alone, so that `workload` is given it. Captured steps are kept by what they
are made of, tensors and losses and `harness.training.values.Recipe.step`, which setups that are alike in `step` share.
"""

from __future__ import annotations

import copy
import hashlib
import json
from collections.abc import Hashable, Mapping
from functools import cached_property
from typing import Any

from pydantic import Field, SerializerFunctionWrapHandler, field_validator, model_serializer
from pydantic_core import to_json

from harness.boards.protocol import Frozen, Protocol
from harness.core.spec import Spec

#: Fields of a setup that are not written where they are empty, as in all trials that touch no plugin.
OPTIONAL = ("plugins", "versions")


class DatasetReference(Frozen):
    """The dataset that a trial is tested on: its name as the board writes it, and the SHA-256 of its images and labels."""

    name: str
    digest: str


class PluginSource(Frozen):
    """What a plugin was read from: the name of its file or package, and the SHA-256 of what that holds.

    `hashed` is false where a board says that its oldest records, which do not name this source, are of it (`Board.unnoted`).
    """

    source: str
    digest: str
    hashed: bool = True


class Setup(Frozen):
    """All of a trial but its seed and what it says of itself; everything in it is resolved.

    Attributes:
        scenario, version: which plugin runs it, and that plugin's version.
        options: what the scenario itself adds (steps, class order, …).
        dataset, distilled: the dataset, and the SHA-256 of the distilled set.
        teacher: SHA-256 of each network whose logits are averaged; empty when the loss takes no teacher.
        model, loss, optimizer: names with every parameter filled in.
        protocol: with epochs and batch size filled in.
        plugins: what it rests on that does not ship, by kind and name, `loss my-loss`: teacher and distiller too.
        versions: of what it rests on that ships, by kind and name, where they have been raised above 1.

    The last two are left out of the hash, and of the JSON, where they are empty.
    """

    scenario: str
    version: int = 1
    options: dict[str, Any] = Field(default_factory=dict)
    dataset: DatasetReference
    distilled: str
    teacher: tuple[str, ...] = ()
    model: Spec
    loss: Spec
    optimizer: Spec
    protocol: Protocol
    plugins: dict[str, PluginSource] = Field(default_factory=dict)
    versions: dict[str, int] = Field(default_factory=dict)

    @model_serializer(mode="wrap")
    def _without_what_is_empty(self, write: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return {name: value for name, value in write(self).items() if name not in OPTIONAL or value}

    @field_validator("protocol", mode="before")
    @classmethod
    def _as_it_was_written(cls, value: object) -> object:
        return Protocol.of_setup(value) if isinstance(value, Mapping) else value

    def model_copy(self, *, update: Mapping[str, object] | None = None, deep: bool = False) -> Setup:
        """Return a copy, some of whose fields may be others, and are checked; its hash is its own. Raises ValidationError."""
        fields = {name: self.__dict__[name] for name in Setup.model_fields} | dict(update or {})
        return Setup.model_validate(copy.deepcopy(fields) if deep else fields)

    # -- one hash ------------------------------------------------------------------------------------------------------------

    def _content(self) -> dict[str, Any]:
        """Return what the hash is made of: all but names that only describe, and the protocol's optimizer, which is not used."""
        content = self.model_dump(mode="json", exclude={"dataset": {"name"}, "protocol": {"name", "optimizer"}})
        content["protocol"] = self.protocol.without_what_came_later(content["protocol"])
        digests = {name: plugin.digest for name, plugin in self.plugins.items() if plugin.hashed}
        return {**content, "plugins": digests} if digests else {name: part for name, part in content.items() if name != "plugins"}

    @cached_property
    def _around_seed(self) -> tuple[str, str]:
        """The canonical JSON of a trial up to the seed, and after it."""
        content = self._content()
        before = _json({name: value for name, value in content.items() if name < "seed"})
        after = _json({name: value for name, value in content.items() if name > "seed"})
        return before.removesuffix("}") + ',"seed":', "," + after.removeprefix("{")

    def canonical(self, seed: int) -> str:
        """Return the JSON that a trial's id is the hash of: keys sorted, no white space."""
        before, after = self._around_seed
        return f"{before}{seed}{after}"

    @cached_property
    def hash(self) -> str:
        """Alike in all that a number rests on but the seed."""
        return short_hash("".join(self._around_seed))

    def _hash_without(self, *parts: str) -> str:
        """Return a hash of all but named parts of the setup or of its protocol, with what is said of their code."""
        content = {name: value for name, value in self._content().items() if name not in parts}
        content["protocol"] = {name: value for name, value in content["protocol"].items() if name not in parts}
        for field in OPTIONAL:
            rest = {name: value for name, value in content.pop(field, {}).items() if name.partition(" ")[0] not in parts}
            content |= {field: rest} if rest else {}
        return short_hash(_json(content))

    # -- what setups are alike in ----------------------------------------------------------------------------------------------

    @cached_property
    def together(self) -> str:
        """Alike in all but the loss: such trainings see the same images, and may be made in one pass."""
        return self._hash_without("loss")

    @cached_property
    def stream(self) -> str:
        """Alike in what each step of a seed is given: the batch, altered and mixed, and what the teacher says of it."""
        return self._hash_without("loss", "optimizer", "schedule", "model")

    @cached_property
    def asked(self) -> str:
        """Alike in what the teacher is asked, as far as the scenario and its options do not decide on it."""
        return self._hash_without("loss", "optimizer", "schedule", "model", "scenario", "version", "options", "evaluations")

    @cached_property
    def training(self) -> str:
        """Alike in what is trained and tested, whichever scenario asks for it."""
        return self._hash_without("scenario", "version")

    @cached_property
    def student(self) -> Hashable:
        """Alike in network and precision."""
        return (*_named(self.model), self.protocol.precision)

    @cached_property
    def student_on_dataset(self) -> Hashable:
        """Alike in network, precision and dataset."""
        return self.student, self.dataset.digest

    @cached_property
    def student_in_scenario(self) -> Hashable:
        """Alike in network, precision, dataset and what the scenario does with them."""
        return self.student_on_dataset, self.scenario, _json(self.options)

    def workload(self, images: int | None) -> Hashable:
        """Alike in all that takes time but the loss's own work: such trials cost the same.

        Args:
            images: how many the distilled set has.
        """
        return images, self._work

    @cached_property
    def _work(self) -> Hashable:
        protocol = self.protocol
        counts = (protocol.epochs, protocol.batch_size, protocol.evaluations, *_course(protocol))
        return self.student_in_scenario, counts, protocol.labels, self.teacher, self.optimizer.name

    @cached_property
    def proves(self) -> tuple[Hashable, ...]:
        """What a trial shows, if it is the first that is alike in it, to work and to take so long."""
        return (self.student_in_scenario, ("loss", *_named(self.loss)), ("optimizer", self.optimizer.name))

    @cached_property
    def step(self) -> Hashable:
        """Alike in their training steps, whatever the loss and the images."""
        protocol = self.protocol
        parts = (protocol.batch_size, protocol.augmentation, protocol.squares, protocol.mixing, *_course(protocol))
        return self.student, _named(self.optimizer), parts, self.scenario

    @cached_property
    def neighbours(self) -> tuple[Hashable, ...]:
        """Alike in what a worker keeps between trials, what takes longest to load first."""
        return self.dataset.digest, self.teacher, self.step, self.distilled


class Setups:
    """Setups as they are read, one object for all trials that share one; each is checked once."""

    def __init__(self) -> None:
        self._by_text: dict[bytes, Setup] = {}

    def read(self, content: Mapping[str, object]) -> Setup:
        """Return the setup of its JSON. Raises ValidationError."""
        text = to_json(content)  # of one text, so of one meaning: 1, 1.0 and true are three
        setup = self._by_text.get(text)
        if setup is None:
            setup = self._by_text[text] = Setup.model_validate(content)
        return setup


def short_hash(text: str) -> str:
    """Return the first 20 hexadecimal digits of the SHA-256 of a text."""
    return hashlib.sha256(text.encode()).hexdigest()[:20]


def _course(protocol: Protocol) -> tuple[Hashable, ...]:
    """What makes the steps of one epoch others than those of the next, or more than a pass and an update."""
    return protocol.stages, protocol.accumulation, protocol.ema, protocol.ranks


def _named(spec: Spec) -> tuple[str, str]:
    return spec.name, _json(spec.options)  # whatever their order: records are written with sorted keys


def _json(content: object) -> str:
    return json.dumps(content, sort_keys=True, separators=(",", ":"))
