"""Students, losses and optimizers as a trial holds them: every parameter filled in, checked before anything is trained."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

from harness import losses, models, optimizers
from harness.errors import DataError, MissingTargets
from harness.spec import Spec


@dataclass(frozen=True)
class ResolvedModel:
    spec: Spec
    label: str
    adaptation: str


@dataclass(frozen=True)
class ResolvedOptimizer:
    spec: Spec
    label: str


@dataclass(frozen=True)
class ResolvedLoss:
    """A loss, whether it cannot do without soft labels, whether it looks at them, and whether a teacher gives them."""

    spec: Spec
    label: str
    needs_soft: bool
    uses_soft: bool
    online: bool = False


@cache
def resolve_model(spec: str, shape: tuple[int, int, int], classes: int) -> ResolvedModel:
    """Check a student by building it on torch's meta device, which costs no memory."""
    import torch

    given = Spec.model_validate_json(spec)
    full = models.registry.resolve(given)
    with torch.device("meta"):
        built = models.build(full, shape, classes)
    return ResolvedModel(full, models.registry.label(given), str(getattr(built, "giftbench_adaptation", "")))


@cache
def probe_loss(spec: str) -> ResolvedLoss:
    """Find out what a loss takes by calling it on a small batch with and without soft labels."""
    import torch

    from harness.losses.targets import Targets

    given = Spec.model_validate_json(spec)
    full = losses.registry.resolve(given)
    loss, draws = losses.create(full), torch.Generator().manual_seed(0)
    logits, soft = torch.randn(2, 4, 3, generator=draws)
    hard = torch.tensor([0, 1, 2, 1])

    def value(targets: Targets) -> float:
        found = loss(logits, targets)
        if not isinstance(found, torch.Tensor) or found.dim() != 0:
            raise DataError(f"loss {full.name!r} must return a scalar tensor, not {found!r}")
        return float(found)

    label = losses.registry.label(given)
    with_soft = value(Targets(hard, soft))
    try:
        without = value(Targets(hard))
    except (MissingTargets, AttributeError, TypeError):
        return ResolvedLoss(full, label, needs_soft=True, uses_soft=True)
    return ResolvedLoss(full, label, needs_soft=False, uses_soft=with_soft != without)


def resolve_optimizer(spec: Any, model: str) -> ResolvedOptimizer:
    """Fill in an optimizer's parameters; AdamW takes the paper's 1e-4 on Swin and ViT unless a rate is given."""
    given = Spec.model_validate(spec)
    label = optimizers.label(given)
    if given.name == "adamw" and "lr" not in given.options and model.removeprefix("timm/").startswith(("swin", "vit")):
        given = Spec(name="adamw", options={"lr": 1e-4, **given.options})
    return ResolvedOptimizer(optimizers.resolve(given), label)
