"""Students, losses and optimizers as a trial holds them: every parameter filled in, checked before anything is trained."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from typing import TYPE_CHECKING

from harness import losses, models, optimizers
from harness.core.errors import BadOption, BoardError, GiftbenchError, PluginError
from harness.core.resolved import Resolved
from harness.core.spec import Named, Spec, read

if TYPE_CHECKING:
    from torch import nn

    from harness.losses.looks import Looks
    from harness.losses.targets import Loss
    from harness.models import MakeModel, Shape
    from harness.optimizers.optimizers import MakeOptimizer, MakeSchedule


@dataclass(frozen=True)
class ResolvedModel:
    """A student, and how it was changed to meet images of the dataset's size."""

    resolved: Resolved[MakeModel]
    adaptation: str

    @property
    def spec(self) -> Spec:
        return self.resolved.spec

    @property
    def label(self) -> str:
        return self.resolved.label


@dataclass(frozen=True)
class ResolvedLoss:
    """A loss, what it looks at, and whether a teacher gives its soft labels."""

    resolved: Resolved[Loss]
    looks: Looks
    taught: bool = False

    @property
    def spec(self) -> Spec:
        return self.resolved.spec

    @property
    def label(self) -> str:
        return self.resolved.label

    @property
    def bears_absent(self) -> bool:
        """Whether it can do with soft labels that give some classes no share."""
        from harness.losses.looks import bears_absent

        return bears_absent(self.resolved.create())


def resolve_model(spec: Named | Resolved[object], shape: Shape, classes: int) -> ResolvedModel:
    """Check a student by building it, once, on torch's meta device, which costs no memory."""
    return _built(models.registry.resolve(spec), shape, classes)


@cache
def _built(model: Resolved[MakeModel], shape: Shape, classes: int) -> ResolvedModel:
    import torch

    try:
        with torch.device("meta"):
            built = models.build(model, shape, classes)
    except GiftbenchError:
        raise
    except Exception:  # a plugin may compute with its tensors while it builds, which meta tensors cannot
        built = _really_built(model, shape, classes)
    return ResolvedModel(model, models.adaptation(built))


def check_lone_batch(model: ResolvedModel, shape: Shape, classes: int) -> None:
    """Raise BoardError for a student that cannot train on a single image: batch norm that has one value of each channel."""
    if not _trains_alone(model.resolved, shape, classes):
        raise BoardError(
            f"model {model.label!r} cannot train on a batch of one image: its batch norm would see one value of each channel"
        )


def try_student(model: ResolvedModel, shape: Shape, classes: int, check: Callable[[nn.Module], object]) -> None:
    """Call `check` with the student, on torch's meta device where it can be built there."""
    import torch

    try:
        with torch.device("meta"):
            check(models.build(model.resolved, shape, classes))
    except GiftbenchError:
        raise
    except Exception:  # as in `_built`
        with torch.random.fork_rng():
            check(_really_built(model.resolved, shape, classes))


@cache
def _trains_alone(model: Resolved[MakeModel], shape: Shape, classes: int) -> bool:
    import torch

    def answer(student: nn.Module) -> None:
        place = next(student.parameters()).device
        try:
            with torch.no_grad():
                student.train()(torch.zeros((1, *shape), device=place))
        except ValueError as error:
            if "more than 1 value per channel" in str(error):
                raise BoardError(str(error)) from None
            raise

    try:
        try_student(ResolvedModel(model, ""), shape, classes, answer)
    except BoardError:
        return False
    return True


def _really_built(model: Resolved[MakeModel], shape: Shape, classes: int) -> nn.Module:
    import torch

    try:
        with torch.random.fork_rng():
            return models.build(model, shape, classes)
    except GiftbenchError:
        raise
    except Exception as error:
        raise PluginError(f"model {model.name!r} cannot be built for images {shape}: {type(error).__name__}: {error}") from error


def resolve_loss(spec: Named | Resolved[object]) -> ResolvedLoss:
    """Check a loss by calling it, once, on a small batch. Raises as `harness.losses.looks.probe_small` does."""
    return _probed(losses.registry.resolve(spec))


@cache
def _probed(loss: Resolved[Loss]) -> ResolvedLoss:
    from harness.losses.looks import probe_small

    return ResolvedLoss(loss, probe_small(loss.create()))


def check_optimizer(spec: Named) -> Resolved[MakeOptimizer]:
    """Check an optimizer by letting it make steps, once, on a small network; a plugin's may be made for other networks.

    Raises: UnknownName or BadOption, with suggestions; BadOption for one that cannot run here, and for values it refuses.
    """
    resolved = optimizers.resolve(spec)
    if resolved.name not in optimizers.registry or optimizers.registry.origin(resolved.name) == "giftbench":
        _stepped(resolved)
    return resolved


@cache
def _stepped(optimizer: Resolved[MakeOptimizer]) -> None:
    from harness.optimizers.probe import probe_small

    probe_small(optimizer)


@cache
def check_schedule(schedule: Resolved[MakeSchedule], epochs: int) -> None:
    """Check a schedule by making it, once, for so many epochs; a plugin's may be made for other optimizers.

    Raises: BadOption with what it says, for values it refuses.
    """
    import torch

    from harness.optimizers.eager import SGD

    if optimizers.schedules.origin(schedule.name) != "giftbench":
        return
    try:
        schedule.create()(SGD([torch.zeros((), requires_grad=True)], 0.1), epochs)
    except GiftbenchError:
        raise
    except Exception as error:
        said = " ".join(f"{type(error).__name__}: {error}".split())
        raise BadOption(f"schedule {schedule.label!r} cannot be made: {said}") from error


def resolve_optimizer(spec: Named, model: str) -> Resolved[MakeOptimizer]:
    """Fill in an optimizer's parameters; AdamW takes the paper's 1e-4 on Swin and ViT unless a rate is given.

    Raises: as `check_optimizer` does.
    """
    resolved = check_optimizer(spec)
    transformer = model.removeprefix("timm/").startswith(("swin", "vit"))
    if resolved.name in ("adamw", "adamw-weights-only") and transformer and "lr" not in read(spec)[1]:
        return replace(optimizers.resolve(spec, lr=1e-4), label=resolved.label)
    return resolved
