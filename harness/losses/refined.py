"""Any loss on refined soft labels: the paper's ablation "native + refinement"."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import torch
from torch import Tensor

from harness.losses import register
from harness.losses import registry as losses
from harness.losses.classic import full_precision, teacher_logits, teacher_probabilities
from harness.losses.gift import refine, smooth
from harness.losses.targets import Loss, Targets


@register("refined")
def refined(
    logits: Tensor, targets: Targets, *, native: str = "kl", gamma: float = 0.1, alpha: float = 0.1, smoothing: str = "uniform"
) -> Tensor:
    """Another loss, its soft labels refined with the smoothed hard ones (GIFT paper, Tables 7 and 13).

    The target distribution becomes (1-gamma) * q_T(t) + gamma * s, at the temperature T of the native loss (1 where it has
    none); the native loss is given logits of that distribution, with the mean over classes that the teacher's had. Refinement
    under KL has no published code: this formula is this project's.

    Args:
        logits: student outputs z, [B, C].
        targets: hard labels y, [B], and soft labels t, [B, C].
        native: the loss, as a board names it: `kl`, `kl(rescale)`, `soft_ce`.
        gamma: weight of the smoothed hard label, in [0, 1]; at 0 this is the native loss itself.
        alpha: label smoothing, in [0, 1).
        smoothing: `uniform` or `off-target`, as in `gift`.
    Returns: what the native loss returns, a scalar.
    Raises: MissingTargets when hard or soft labels are absent; BadOption for a parameter out of range; UnknownName for a loss
        that there is not.
    """
    loss, temperature = _native(native)
    z = full_precision(logits)
    smoothed = smooth(targets.labels(), z.shape[1], alpha, smoothing, z.dtype)
    taught = teacher_logits(targets, z)
    mixed = refine(teacher_probabilities(targets, temperature, z), smoothed, gamma)
    if gamma == 0:
        return loss(logits, targets)
    labels = temperature * mixed.clamp_min(torch.finfo(z.dtype).tiny).log()
    level = torch.where(taught.isfinite(), taught, labels)  # a class that the teacher rules out, -inf, has no part in the mean
    shift = level.mean(dim=1, keepdim=True) - labels.mean(dim=1, keepdim=True)
    return loss(logits, replace(targets, soft=labels + shift, kind="logits"))


@cache
def _native(spec: str) -> tuple[Loss, float]:
    """Return the loss of this name, its parameters bound, and its temperature."""
    native = losses.resolve(spec)
    temperature = native.options.get("temperature")
    return native.create(), float(temperature) if isinstance(temperature, (int, float)) else 1.0
