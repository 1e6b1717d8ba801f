"""Cross-entropy, mean squared error and KL divergence, and what the other losses share with them."""

from __future__ import annotations

import math

import torch.nn.functional as F
from torch import Tensor

from harness.core.errors import BadOption
from harness.losses import register
from harness.losses.targets import Loss, Targets

# -- shared by every loss ------------------------------------------------------------------------------------------------


def require(good: bool, name: str, value: object, allowed: str) -> None:
    """Raise BadOption unless `good`; `allowed` says which values the parameter `name` may have.

    `good` is computed from Python numbers only. Written as comparisons, it also turns NaN down.
    """
    if not good:
        raise BadOption(f"{name} must be {allowed}, not {value!r}")


def require_weight(name: str, value: float) -> None:
    """Raise BadOption unless `value` can weigh a term of a loss: a negative weight would reward errors."""
    require(0 <= value < math.inf, name, value, "a finite number, 0 or more")


def full_precision(logits: Tensor) -> Tensor:
    """Return the student's logits in float32 when they are half precision, else as they are (float64 stays float64).

    Half precision has 8 to 11 significant bits: at 1e4, where logits may well be, bfloat16 steps by 64.
    """
    return logits.float() if logits.dtype.itemsize < 4 else logits


def scaled(logits: Tensor, temperature: float) -> Tensor:
    """Return the student's logits / temperature, [B, C], in full precision. Raises BadOption unless temperature > 0."""
    require(0 < temperature < math.inf, "temperature", temperature, "a finite number above 0")
    return full_precision(logits) / temperature


def log_student(logits: Tensor, temperature: float = 1.0) -> Tensor:
    """Return log q_T(z) = log softmax(z / temperature), [B, C]. Raises BadOption unless temperature > 0."""
    return scaled(logits, temperature).log_softmax(dim=1)


def teacher_logits(targets: Targets, like: Tensor) -> Tensor:
    """Return the soft labels as logits, [B, C], in the precision of `like`."""
    return targets.logits().to(like.dtype)


def teacher_probabilities(targets: Targets, temperature: float, like: Tensor) -> Tensor:
    """Return q_T(t), [B, C], in the precision of `like`."""
    return targets.probabilities(temperature).to(like.dtype)


def cross_entropies(target: Tensor, log_q: Tensor) -> Tensor:
    """Return -sum target * log_q of each sample, [B], for probabilities `target` [B, C] and log-probabilities `log_q` [B, C]."""
    return -(target * log_q).sum(dim=1)


def smoothed(smoothing: float) -> Loss:
    """Return cross-entropy with hard labels of which `smoothing`, in [0, 1), is spread evenly over all classes."""

    def loss(logits: Tensor, targets: Targets) -> Tensor:
        return F.cross_entropy(full_precision(logits), targets.labels(), label_smoothing=smoothing)

    return loss


def kl_divergence(target: Tensor, log_q: Tensor) -> Tensor:
    """Return KL(target || exp(log_q)), batch mean, for probabilities `target` [B, C], zeros allowed, and `log_q` [B, C]."""
    return F.kl_div(log_q, target, reduction="batchmean")  # takes 0 * log 0 as 0


# -- the losses ----------------------------------------------------------------------------------------------------------


@register("ce")
def ce(logits: Tensor, targets: Targets) -> Tensor:
    """Cross-entropy with the hard labels.

    CE(z, y) = -mean log softmax(z)[y].

    Args:
        logits: student outputs z, [B, C].
        targets: hard labels y, [B].
    Returns: a scalar, 0 or more.
    Raises: MissingTargets when hard labels are absent.
    """
    return F.cross_entropy(full_precision(logits), targets.labels())


@register("mse")
def mse(logits: Tensor, targets: Targets) -> Tensor:
    """Mean squared error between the logits (G-VBSM; GIFT's code).

    Mean over B and C of (z - t)^2. Stored probabilities are compared as centred log-probabilities.

    Args:
        logits: student outputs z, [B, C].
        targets: soft labels t, [B, C].
    Returns: a scalar, 0 or more.
    Raises: MissingTargets when soft labels are absent.
    """
    z = full_precision(logits)
    return F.mse_loss(z, teacher_logits(targets, z))


@register("mse_ce")
def mse_ce(logits: Tensor, targets: Targets, *, weight: float = 0.1) -> Tensor:
    """Mean squared error between the logits, plus cross-entropy with the hard labels (GIFT's code).

    mse(z, t) + weight * CE(z, y).

    Args:
        logits: student outputs z, [B, C].
        targets: hard labels y, [B], and soft labels t, [B, C].
        weight: weight of the hard labels' cross-entropy, 0 or more.
    Returns: a scalar, 0 or more.
    Raises: MissingTargets when hard or soft labels are absent; BadOption for a weight out of range.
    """
    require_weight("weight", weight)
    return mse(logits, targets) + weight * ce(logits, targets)


@register("soft_ce")
def soft_ce(logits: Tensor, targets: Targets, *, temperature: float = 1.0) -> Tensor:
    """Cross-entropy with the soft labels (DATM).

    Mean over B of -sum q_T(t) log q_T(z), where q_T(.) = softmax(. / T).

    Args:
        logits: student outputs z, [B, C].
        targets: soft labels t, [B, C].
        temperature: T, above 0.
    Returns: a scalar, 0 or more.
    Raises: MissingTargets when soft labels are absent; BadOption for a temperature out of range.
    """
    log_q = log_student(logits, temperature)
    return cross_entropies(teacher_probabilities(targets, temperature, log_q), log_q).mean()


@register("soft_ce_ce")
def soft_ce_ce(logits: Tensor, targets: Targets, *, temperature: float = 1.0, weight: float = 0.1) -> Tensor:
    """Cross-entropy with the soft labels, plus cross-entropy with the hard labels (GIFT's code).

    soft_ce(z, t) + weight * CE(z, y).

    Args:
        logits: student outputs z, [B, C].
        targets: hard labels y, [B], and soft labels t, [B, C].
        temperature: T of the soft labels' part, above 0.
        weight: weight of the hard labels' cross-entropy, 0 or more.
    Returns: a scalar, 0 or more.
    Raises: MissingTargets when hard or soft labels are absent; BadOption for a parameter out of range.
    """
    require_weight("weight", weight)
    return soft_ce(logits, targets, temperature=temperature) + weight * ce(logits, targets)


@register("kl")
def kl(logits: Tensor, targets: Targets, *, temperature: float = 20.0, rescale: bool = False) -> Tensor:
    """KL divergence from the softened soft labels (SRe2L, RDED, GIFT's code).

    Mean over B of KL(q_T(t) || q_T(z)), where q_T(.) = softmax(. / T); times T^2 when `rescale`.
    As published there is no T^2, which makes the gradients at T = 20 about 400 times smaller than those of cross-entropy:
    an adaptive optimizer hides it, SGD does not.

    Args:
        logits: student outputs z, [B, C].
        targets: soft labels t, [B, C].
        temperature: T, above 0.
        rescale: multiply by T^2, as Hinton et al. do.
    Returns: a scalar, 0 or more.
    Raises: MissingTargets when soft labels are absent; BadOption for a temperature out of range.
    """
    log_q = log_student(logits, temperature)
    divergence = kl_divergence(teacher_probabilities(targets, temperature, log_q), log_q)
    return temperature**2 * divergence if rescale else divergence


@register("kl_ce")
def kl_ce(logits: Tensor, targets: Targets, *, temperature: float = 20.0, rescale: bool = False, weight: float = 0.1) -> Tensor:
    """KL divergence from the softened soft labels, plus cross-entropy with the hard labels (GIFT's code).

    kl(z, t) + weight * CE(z, y).

    Args:
        logits: student outputs z, [B, C].
        targets: hard labels y, [B], and soft labels t, [B, C].
        temperature: T of the KL divergence, above 0.
        rescale: multiply the KL divergence by T^2.
        weight: weight of the hard labels' cross-entropy, 0 or more.
    Returns: a scalar, 0 or more.
    Raises: MissingTargets when hard or soft labels are absent; BadOption for a parameter out of range.
    """
    require_weight("weight", weight)
    return kl(logits, targets, temperature=temperature, rescale=rescale) + weight * ce(logits, targets)
