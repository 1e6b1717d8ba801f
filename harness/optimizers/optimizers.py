"""Optimizers and learning-rate schedules by name: the three of the paper, and whatever `any_timm` finds."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from harness.core.errors import BadOption
from harness.core.registry import Registry
from harness.core.resolved import Resolved
from harness.core.spec import Named
from harness.optimizers import any_timm

if TYPE_CHECKING:
    from torch import nn
    from torch.optim import Optimizer
    from torch.optim.lr_scheduler import LRScheduler

    MakeOptimizer = Callable[[nn.Module], Optimizer]
    MakeSchedule = Callable[[Optimizer, int], LRScheduler]

#: Optimizers that treat every weight by itself, so that a stack of weights is stepped as each would be alone. Others look at
#: whole tensors (the norms of LAMB and LARS, Muon's matrices), or choose what to do by a tensor's size.
ELEMENTWISE = frozenset({"sgd", "adam", "adamw", "sgd-weights-only", "adamw-weights-only"})
#: A name that is not ours is looked for in timm.
registry: Registry[MakeOptimizer] = Registry(
    "optimizer",
    group="giftbench.optimizers",
    others=lambda name: any_timm.find(name, registry.names()),
    listed=any_timm.LISTED,
)
schedules: Registry[MakeSchedule] = Registry("schedule", group="giftbench.schedules")
resolve, label = registry.resolve, registry.label


@registry.register("sgd")
def sgd(
    model: nn.Module, *, lr: float = 0.1, momentum: float = 0.9, weight_decay: float = 5e-4, nesterov: bool = False
) -> Optimizer:
    """Stochastic gradient descent with momentum and L2 weight decay."""
    from harness.optimizers.eager import SGD

    return SGD(model.parameters(), lr, momentum, weight_decay=weight_decay, nesterov=nesterov, fused=True)


@registry.register("adam")
def adam(
    model: nn.Module, *, lr: float = 1e-3, beta1: float = 0.9, beta2: float = 0.999, weight_decay: float = 1e-4
) -> Optimizer:
    """Adam (Kingma and Ba 2015); weight decay is L2, as torch has it."""
    from harness.optimizers.eager import Adam

    return Adam(model.parameters(), lr, (beta1, beta2), weight_decay=weight_decay, fused=True)


@registry.register("adamw")
def adamw(
    model: nn.Module, *, lr: float = 1e-3, beta1: float = 0.9, beta2: float = 0.999, weight_decay: float = 1e-4
) -> Optimizer:
    """AdamW (Loshchilov and Hutter 2019), the paper's optimizer; learning rate 1e-4 for Swin and ViT unless set."""
    from harness.optimizers.eager import AdamW

    return AdamW(model.parameters(), lr, (beta1, beta2), weight_decay=weight_decay, fused=True)


@registry.register("sgd-weights-only")
def sgd_weights_only(
    model: nn.Module, *, lr: float = 0.1, momentum: float = 0.9, weight_decay: float = 5e-4, nesterov: bool = False
) -> Optimizer:
    """SGD whose weight decay leaves biases and norms alone, as G-VBSM trains."""
    from harness.optimizers.eager import SGD

    return SGD(_decayed_weights(model), lr, momentum, weight_decay=weight_decay, nesterov=nesterov, fused=True)


@registry.register("adamw-weights-only")
def adamw_weights_only(
    model: nn.Module, *, lr: float = 1e-3, beta1: float = 0.9, beta2: float = 0.999, weight_decay: float = 0.01
) -> Optimizer:
    """AdamW whose weight decay leaves biases and norms alone, as RDED trains; learning rate 1e-4 for Swin and ViT unless set."""
    from harness.optimizers.eager import AdamW

    return AdamW(_decayed_weights(model), lr, (beta1, beta2), weight_decay=weight_decay, fused=True)


def _decayed_weights(model: nn.Module) -> list[dict[str, float | Sequence[nn.Parameter]]]:
    """Return two parameter groups: weights of two dimensions or more, and the rest, without weight decay."""
    weights: list[nn.Parameter] = []
    rest: list[nn.Parameter] = []
    for name, parameter in model.named_parameters():
        (weights if "weight" in name and parameter.dim() > 1 else rest).append(parameter)
    return [{"params": weights}, {"params": rest, "weight_decay": 0.0}]


@schedules.register("multistep")
def multistep(
    optimizer: Optimizer, epochs: int, *, milestones: tuple[str | float, ...] = ("2/3", "5/6"), gamma: float = 0.2
) -> LRScheduler:
    """Multiply the learning rate by gamma at each milestone, a share of the epochs.

    A fraction such as "2/3" counts whole epochs, `2 * epochs // 3`, as Table 11 of the GIFT paper does, and one at least; a
    number is rounded to the nearest epoch. Raises BadOption for what is neither.
    """
    from torch.optim.lr_scheduler import MultiStepLR

    return MultiStepLR(optimizer, [_whole_epochs(milestone, epochs) for milestone in milestones], gamma)


def _whole_epochs(milestone: object, epochs: int) -> int:
    """Return after how many epochs a milestone comes."""
    if isinstance(milestone, (int, float)):
        return round(milestone * epochs)
    fraction = re.fullmatch(r"(\d{1,9})/([1-9]\d{0,8})", str(milestone))
    if fraction is None:
        raise BadOption(f"schedule 'multistep': a milestone is a fraction such as \"2/3\", or a number, not {milestone!r}")
    return max(int(fraction[1]) * epochs // int(fraction[2]), 1)


@schedules.register("cosine")
def cosine(optimizer: Optimizer, epochs: int, *, minimum: float = 0.0) -> LRScheduler:
    """Anneal the learning rate along half a cosine to `minimum` at the last epoch."""
    from torch.optim.lr_scheduler import CosineAnnealingLR

    return CosineAnnealingLR(optimizer, epochs, minimum)


@schedules.register("cosine-to-half")
def cosine_to_half(optimizer: Optimizer, epochs: int) -> LRScheduler:
    """Anneal along the first half of the cosine's way down, from the full rate to half of it (RDED)."""
    from torch.optim.lr_scheduler import LambdaLR

    return LambdaLR(optimizer, lambda epoch: (1 + math.cos(math.pi * epoch / epochs / 2)) / 2)


@schedules.register("smoothed-cosine")
def smoothed_cosine(optimizer: Optimizer, epochs: int, *, factor: float = 2.0) -> LRScheduler:
    """Anneal along a cosine that takes `factor` times the epochs to reach 0 (EDC; CV-DD, FADRM and HALD with 1 or 2)."""
    from torch.optim.lr_scheduler import LambdaLR

    _check_factor("smoothed-cosine", factor)
    return LambdaLR(optimizer, lambda epoch: _cosine_share(epoch, factor * epochs))


@schedules.register("cosine-then-line")
def cosine_then_line(optimizer: Optimizer, epochs: int, *, factor: float = 2.0) -> LRScheduler:
    """Anneal as `smoothed-cosine` up to 5/6 of the epochs; then a line from a sixth of what is left there to 0 (EDC)."""
    from torch.optim.lr_scheduler import LambdaLR

    _check_factor("cosine-then-line", factor)

    def share(epoch: int) -> float:
        if epoch <= epochs * 5 / 6:
            return _cosine_share(epoch, factor * epochs)
        return _cosine_share(5, 6 * factor) * (epochs - epoch) / epochs

    return LambdaLR(optimizer, share)


def _cosine_share(epoch: float, epochs: float) -> float:
    """Return the share of the rate that is left on half a cosine of so many epochs; nothing after it."""
    return (1 + math.cos(math.pi * epoch / epochs)) / 2 if epoch <= epochs else 0.0


def _check_factor(schedule: str, factor: float) -> None:
    if not factor > 0:
        raise BadOption(f"schedule {schedule!r}: factor must be above 0, not {factor}")


@schedules.register("warmup-cosine")
def warmup_cosine(optimizer: Optimizer, epochs: int, *, warmup: int = 5, start: float = 0.01) -> LRScheduler:
    """Rise linearly from the share `start` of the rate over `warmup` epochs, then anneal along a cosine to 0."""
    from torch.optim.lr_scheduler import LambdaLR

    if warmup < 0 or not 0 <= start <= 1:
        raise BadOption(f"schedule 'warmup-cosine': warmup must be at least 0 and start in [0, 1], not {warmup} and {start}")

    def share(epoch: int) -> float:
        if epoch < warmup:
            return start + (1 - start) * epoch / warmup
        return (1 + math.cos(math.pi * (epoch - warmup) / max(epochs - warmup, 1))) / 2

    return LambdaLR(optimizer, share)


@schedules.register("constant")
def constant(optimizer: Optimizer, epochs: int) -> LRScheduler:
    """Leave the learning rate as it is."""
    from torch.optim.lr_scheduler import LambdaLR

    return LambdaLR(optimizer, lambda epoch: 1.0)


def create(spec: Named | Resolved[object], model: nn.Module) -> Optimizer:
    """Return the optimizer of all of the model's parameters."""
    return registry.create(spec)(model)


def create_schedule(spec: Named | Resolved[object], optimizer: Optimizer, epochs: int) -> LRScheduler:
    """Return the schedule, to be stepped once after every epoch."""
    return schedules.create(spec)(optimizer, epochs)
