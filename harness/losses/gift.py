"""GIFT: cosine distance to refined soft labels (Shang et al.), its two parts alone, and its released code."""

from __future__ import annotations

import torch
from torch import Tensor

from harness.core.errors import BadOption, suggest
from harness.losses import register
from harness.losses.classic import full_precision, require, teacher_logits
from harness.losses.targets import Targets

SMOOTHINGS = ("uniform", "off-target")
SHORTEST = 1e-8  # a shorter vector counts as having no direction


def smooth(labels: Tensor, classes: int, alpha: float, smoothing: str, dtype: torch.dtype) -> Tensor:
    """Return the smoothed hard labels s, [B, C]; every row sums to 1.

    Args:
        labels: class indices y, [B] int64, in [0, classes).
        classes: C, 1 or more.
        alpha: how much is taken from the class, in [0, 1).
        smoothing: `uniform`, (1-alpha) * onehot + alpha/C (Szegedy et al.), or `off-target`, 1-alpha on the class and
            alpha/(C-1) elsewhere (GIFT's released code).
        dtype: of the result.
    Raises: BadOption for another smoothing or an alpha out of range.
    """
    require(0 <= alpha < 1, "alpha", alpha, "in [0, 1)")
    if smoothing not in SMOOTHINGS:
        raise BadOption(f"no smoothing {smoothing!r}; {suggest(str(smoothing), SMOOTHINGS)}")
    if smoothing == "uniform":
        elsewhere, on_class = alpha / classes, 1 - alpha + alpha / classes
    else:
        elsewhere, on_class = alpha / max(classes - 1, 1), 1 - alpha  # with one class there is no elsewhere
    return labels.new_full((len(labels), classes), elsewhere, dtype=dtype).scatter(1, labels.unsqueeze(1), on_class)


def refine(soft: Tensor, smoothed: Tensor, gamma: float) -> Tensor:
    """Return (1-gamma) * soft + gamma * smoothed, [B, C]: soft labels refined with hard ones.

    GIFT (section 4) refines unit vectors: `refine(unit(t), unit(s), gamma)`. Refinement under KL has no published code; this
    project refines distributions there: `refine(q_T(t), s, gamma)`.

    Args:
        soft: soft labels, [B, C].
        smoothed: what `smooth` returns, [B, C], brought to the same scale as `soft`.
        gamma: weight of the hard labels, in [0, 1].
    Raises: BadOption for a gamma out of range.
    """
    require(0 <= gamma <= 1, "gamma", gamma, "in [0, 1]")
    return (1 - gamma) * soft + gamma * smoothed


def unit(vectors: Tensor) -> Tensor:
    """Return v / max(L2 norm over classes, 1e-8), [B, C]: vectors of length 1, and zero where v is zero.

    1e-8 is where torch's cosine similarity stops too; it keeps value and gradient finite at zero. Dividing by the largest
    magnitude first keeps the squares of big values from overflowing; it may be held constant, since the direction does not
    depend on it.
    """
    largest = vectors.detach().abs().amax(dim=1, keepdim=True).clamp_min(2 * SHORTEST)
    bounded = vectors / largest
    length: Tensor = torch.linalg.vector_norm(bounded, dim=1, keepdim=True)
    # At least 1 unless v is shorter than 2e-8; a bound of 1 would be met, and the gradient lost, by (5, 0, 0).
    return bounded / length.clamp_min(0.5)


def cosine_distance(logits: Tensor, directions: Tensor) -> Tensor:
    """Return 1 - mean cos(logits, directions), a scalar in [0, 2], for two [B, C] tensors."""
    return 1 - (unit(logits) * unit(directions)).sum(dim=1).mean()


@register("cosine")
def cosine(logits: Tensor, targets: Targets) -> Tensor:
    """Cosine distance to the soft labels (GIFT's loss module alone).

    1 - mean cos(z, t): what `gift` is at gamma = 0. Stored probabilities are taken as centred log-probabilities.

    Args:
        logits: student outputs z, [B, C].
        targets: soft labels t, [B, C].
    Returns: a scalar in [0, 2].
    Raises: MissingTargets when soft labels are absent.
    """
    z = full_precision(logits)
    return cosine_distance(z, teacher_logits(targets, z))


@register("gift")
def gift(logits: Tensor, targets: Targets, *, gamma: float = 0.1, alpha: float = 0.1, smoothing: str = "uniform") -> Tensor:
    """Cosine distance to refined soft labels (Shang et al., section 4).

    1 - mean cos(z, r), r = gamma * unit(s) + (1-gamma) * unit(t), where s is the smoothed hard label and unit(v) = v / L2
    norm. Stored probabilities are taken as centred log-probabilities.

    Args:
        logits: student outputs z, [B, C].
        targets: hard labels y, [B], and soft labels t, [B, C]; both are needed at any gamma.
        gamma: weight of the smoothed hard label, in [0, 1].
        alpha: label smoothing, in [0, 1).
        smoothing: `uniform` (Szegedy et al.) or `off-target` (the released code); `smooth` says what they are.
    Returns: a scalar in [0, 2].
    Raises: MissingTargets when hard or soft labels are absent; BadOption for a parameter out of range.
    """
    z = full_precision(logits)
    smoothed = smooth(targets.labels(), z.shape[1], alpha, smoothing, z.dtype)
    return cosine_distance(z, refine(unit(teacher_logits(targets, z)), unit(smoothed), gamma))


@register("gift_reference")
def gift_reference(logits: Tensor, targets: Targets) -> Tensor:
    """Cosine distance to refined soft labels, with the weights of GIFT's released code.

    1 - mean cos(z, unit(t) + 0.1 * unit(s)), s with 0.9 on the class and 0.1/(C-1) elsewhere. The cosine ignores the target's
    length, so this is gift(gamma=1/11, smoothing="off-target").

    Args:
        logits: student outputs z, [B, C].
        targets: hard labels y, [B], and soft labels t, [B, C].
    Returns: a scalar in [0, 2].
    Raises: MissingTargets when hard or soft labels are absent.
    """
    return gift(logits, targets, gamma=1 / 11, alpha=0.1, smoothing="off-target")
