"""Students, losses and optimizers as a trial holds them: every parameter filled in, checked before anything is trained."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

from harness import losses, models, optimizers
from harness.core.errors import DataError, GiftbenchError, PluginError
from harness.core.spec import Spec

if TYPE_CHECKING:
    from torch import nn


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
    taught: bool = False


@cache
def resolve_model(spec: str, shape: tuple[int, int, int], classes: int) -> ResolvedModel:
    """Check a student by building it on torch's meta device, which costs no memory."""
    import torch

    given = Spec.model_validate_json(spec)
    full = models.registry.resolve(given)
    try:
        with torch.device("meta"):
            built = models.build(full, shape, classes)
    except GiftbenchError:
        raise
    except Exception:  # a plugin may compute with its tensors while it builds, which meta tensors cannot
        built = _really_built(full, shape, classes)
    return ResolvedModel(full, models.registry.label(given), str(getattr(built, "giftbench_adaptation", "")))


def _really_built(spec: Spec, shape: tuple[int, int, int], classes: int) -> nn.Module:
    import torch

    try:
        with torch.random.fork_rng():
            return models.build(spec, shape, classes)
    except GiftbenchError:
        raise
    except Exception as error:
        raise PluginError(f"model {spec.name!r} cannot be built for images {shape}: {type(error).__name__}: {error}") from error


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
    try:
        with_soft = value(Targets(hard, soft))
    except GiftbenchError:
        raise
    except Exception as error:
        raise PluginError(f"loss {full.name!r} fails on a small batch: {type(error).__name__}: {error}") from error
    try:
        without = value(Targets(hard))
    except Exception:  # MissingTargets from ours; whatever None does to somebody else's
        return ResolvedLoss(full, label, needs_soft=True, uses_soft=True)
    return ResolvedLoss(full, label, needs_soft=False, uses_soft=with_soft != without)


def resolve_optimizer(spec: Any, model: str) -> ResolvedOptimizer:
    """Fill in an optimizer's parameters; AdamW takes the paper's 1e-4 on Swin and ViT unless a rate is given."""
    given = Spec.model_validate(spec)
    label = optimizers.label(given)
    transformer = model.removeprefix("timm/").startswith(("swin", "vit"))
    if given.name in ("adamw", "adamw-weights-only") and "lr" not in given.options and transformer:
        given = Spec(name=given.name, options={"lr": 1e-4, **given.options})
    return ResolvedOptimizer(optimizers.resolve(given), label)
