"""What a teacher is trained by: the blueprint whose hash finds it again. Nothing here needs torch, nor the data."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Protocol

from harness import models, optimizers
from harness.augmentation import words
from harness.augmentation.steps import registry as augmentations
from harness.augmentation.words import INNER, draws_cutout
from harness.core.code import Code
from harness.core.registry import Registry
from harness.core.spec import Spec

if TYPE_CHECKING:
    from harness.boards.board import TeacherSpec

#: Raised whenever the same blueprint would train another network.
BLUEPRINT_VERSION = 1

Fill = Callable[[Registry[object], Spec], Spec]


class Subject(Protocol):
    """What a blueprint says of the dataset that a teacher is trained on."""

    @property
    def name(self) -> str: ...

    @property
    def digest(self) -> str: ...

    @property
    def teacher_epochs(self) -> int: ...


def resolved(registry: Registry[object], spec: Spec) -> Spec:
    """Return a name with every parameter."""
    return registry.resolve(spec).spec


def blueprints(spec: TeacherSpec, dataset: Subject, fill: Fill = resolved) -> list[dict[str, object]]:
    """Return one resolved blueprint for each network of the teacher: what its cache key is the hash of.

    `fill` gives a name every parameter; as it comes, what stands behind the names is loaded. Squares that are centred as those
    of the first teachers were (`inner`) are not mentioned, so that these are found again.
    """
    return [
        {
            "version": BLUEPRINT_VERSION,
            "dataset": dataset.name,
            "dataset_digest": dataset.digest,
            "model": fill(models.registry, model).model_dump(),
            "epochs": spec.epochs or dataset.teacher_epochs,
            "batch_size": spec.batch_size,
            "optimizer": fill(optimizers.registry, spec.optimizer).model_dump(),
            "schedule": fill(optimizers.schedules, spec.schedule).model_dump(),
            "augmentation": words.planned(spec.augmentation),
            **({"cutout": spec.cutout} if spec.cutout != INNER and draws_cutout(spec.augmentation) else {}),
            **({"mean": list(spec.mean), "std": list(spec.std)} if spec.mean else {}),
            "precision": spec.precision,
            "seed": spec.seed,
            **_code(spec, model).facts,
        }
        for model in spec.models
    ]


def _code(spec: TeacherSpec, model: Spec) -> Code:
    named = ((models.registry, model), (optimizers.registry, spec.optimizer), (optimizers.schedules, spec.schedule))
    return Code.of(*named, *_steps(spec.augmentation)) | Code(versions=words.versions(spec.augmentation))


def _steps(augmentation: str) -> list[tuple[Registry[object], Spec]]:
    return [(augmentations, step) for step in words.plugged(augmentation)]


def code_of(blueprint: Mapping[str, Any]) -> Code:
    """Return the code that a blueprint's network rests on, as it is here: of its model, its optimizer, its schedule."""
    kinds: dict[str, Registry[object]] = {
        "model": models.registry,
        "optimizer": optimizers.registry,
        "schedule": optimizers.schedules,
    }
    named = [(registry, Spec(**blueprint[part])) for part, registry in kinds.items() if part in blueprint]
    augmentation = blueprint.get("augmentation", "none")
    return Code.of(*named, *_steps(augmentation)) | Code(versions=words.versions(augmentation))
