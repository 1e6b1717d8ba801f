"""Losses of knowledge distillation: KD, WSLD, DKD, NKD."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from harness.losses import register
from harness.losses.classic import (
    ce,
    cross_entropies,
    kl,
    log_student,
    require,
    require_weight,
    scaled,
    teacher_logits,
    teacher_probabilities,
)
from harness.losses.targets import Targets


def true_class(values: Tensor, labels: Tensor) -> Tensor:
    """Return each sample's value at its hard label, [B], of `values` [B, C]."""
    return values.gather(1, labels.unsqueeze(1)).squeeze(1)


def other_classes(values: Tensor, labels: Tensor) -> Tensor:
    """Return each sample's values at the other classes, in order, [B, C-1], of `values` [B, C].

    Gathered rather than masked by a large negative number, which would win over logits that are lower still.
    """
    index = torch.arange(values.shape[1] - 1, device=values.device).expand(len(labels), -1)
    return values.gather(1, index + (index >= labels.unsqueeze(1)).long())


def true_or_other(log_q: Tensor, labels: Tensor) -> Tensor:
    """Return [log q[y], log(1 - q[y])], [B, 2], of log-probabilities [B, C], without the cancellation of 1 - q[y]."""
    return torch.stack([true_class(log_q, labels), other_classes(log_q, labels).logsumexp(dim=1)], dim=1)


def log_kl_divergence(log_p: Tensor, log_q: Tensor) -> Tensor:
    """Return KL(p || q), batch mean, of log-probabilities, both [B, K]; where p is 0, log p may be minus infinity."""
    finite = log_p.clamp_min(torch.finfo(log_p.dtype).min)  # 0 times a difference from minus infinity would be no number
    return F.kl_div(log_q, finite, reduction="batchmean", log_target=True)


@register("kd")
def kd(logits: Tensor, targets: Targets, *, temperature: float = 4.0, alpha: float = 0.9) -> Tensor:
    """Knowledge distillation: cross-entropy and softened KL divergence (Hinton et al.; mdistiller's defaults).

    (1-alpha) * CE(z, y) + alpha * T^2 * KL(q_T(t) || q_T(z)), where q_T(.) = softmax(. / T).

    Args:
        logits: student outputs z, [B, C].
        targets: hard labels y, [B], and soft labels t, [B, C].
        temperature: T, above 0.
        alpha: weight of the soft labels, in [0, 1].
    Returns: a scalar, 0 or more.
    Raises: MissingTargets when hard or soft labels are absent; BadOption for a parameter out of range.
    """
    require(0 <= alpha <= 1, "alpha", alpha, "in [0, 1]")
    return (1 - alpha) * ce(logits, targets) + alpha * kl(logits, targets, temperature=temperature, rescale=True)


@register("wsld")
def wsld(logits: Tensor, targets: Targets, *, temperature: float = 4.0, alpha: float = 2.25) -> Tensor:
    """Weighted soft labels: samples that the student finds harder than the teacher weigh more (Zhou et al. 2021).

    CE(z, y) + alpha * T^2 * mean[w * SCE_T], SCE_T = -sum q_T(t) log q_T(z) of a sample, and
    w = 1 - exp(-CE(z, y) / (CE(t, y) + 1e-7)) of the same sample: at T = 1 whatever the temperature, and held constant.
    The authors' code has T = 2 and alpha = 2.5 on ImageNet: `wsld(temperature=2, alpha=2.5)`.

    Args:
        logits: student outputs z, [B, C].
        targets: hard labels y, [B], and soft labels t, [B, C].
        temperature: T of the soft labels' cross-entropy, above 0.
        alpha: weight of the soft labels, 0 or more.
    Returns: a scalar, 0 or more.
    Raises: MissingTargets when hard or soft labels are absent; BadOption for a parameter out of range.
    """
    require_weight("alpha", alpha)
    labels = targets.labels()
    log_q = log_student(logits, temperature)
    of_student = -true_class(log_student(logits).detach(), labels)
    of_teacher = -true_class(targets.log_probabilities().to(log_q.dtype), labels)
    focus = -torch.expm1(-of_student / (of_teacher + 1e-7))  # 1 - exp(-x), exact for small x too
    soft = cross_entropies(teacher_probabilities(targets, temperature, log_q), log_q)
    return ce(logits, targets) + alpha * temperature**2 * (focus * soft).mean()


@register("dkd")
def dkd(
    logits: Tensor, targets: Targets, *, temperature: float = 4.0, alpha: float = 1.0, beta: float = 8.0, warmup: float = 0.0
) -> Tensor:
    """Decoupled distillation: the true class and the others apart, each with its weight (Zhao et al. 2022).

    CE(z, y) + w * T^2 * (alpha * TCKD + beta * NCKD). TCKD is the KL divergence between teacher and student of [p_y, 1-p_y],
    NCKD that of the distributions with the true class removed, both at temperature T. w = min(progress / warmup, 1), and 1
    when there is no warm-up. The authors' code warms up over the first 20 of 240 epochs on CIFAR-100: `dkd(warmup=0.0833)`;
    it counts the epoch that runs, here those that are done.

    Args:
        logits: student outputs z, [B, C]; with one class, which has no others, only the cross-entropy is left.
        targets: hard labels y, [B], soft labels t, [B, C], and the progress of the training.
        temperature: T, above 0.
        alpha: weight of the true class, 0 or more.
        beta: weight of the other classes, 0 or more.
        warmup: share of the training over which w grows from 0 to 1, in [0, 1].
    Returns: a scalar, 0 or more.
    Raises: MissingTargets when hard or soft labels are absent; BadOption for a parameter out of range.
    """
    require_weight("alpha", alpha)
    require_weight("beta", beta)
    require(0 <= warmup <= 1, "warmup", warmup, "in [0, 1]")
    labels = targets.labels()
    z = scaled(logits, temperature)
    t = teacher_logits(targets, z) / temperature
    if z.shape[1] == 1:  # the first step of a class-incremental stream
        return ce(logits, targets)
    tckd = log_kl_divergence(true_or_other(t.log_softmax(1), labels), true_or_other(z.log_softmax(1), labels))
    nckd = log_kl_divergence(other_classes(t, labels).log_softmax(1), other_classes(z, labels).log_softmax(1))
    w = min(targets.progress / warmup, 1.0) if warmup > 0 else 1.0
    return ce(logits, targets) + w * temperature**2 * (alpha * tckd + beta * nckd)


@register("nkd")
def nkd(logits: Tensor, targets: Targets, *, temperature: float = 1.0, gamma: float = 1.5) -> Tensor:
    """Normalised distillation: the true class by the teacher's confidence, the others normalised (Yang et al. 2023).

    -mean(p_t[y] * log p_z[y]) + gamma * T^2 * mean[-sum q_T(t') log q_T(z')], p at T = 1, and t', z' the logits of the classes
    other than y. As in the official code there is no further cross-entropy: the first term is the true class's part.

    Args:
        logits: student outputs z, [B, C].
        targets: hard labels y, [B], and soft labels t, [B, C].
        temperature: T of the other classes' part, above 0.
        gamma: weight of the other classes' part, 0 or more.
    Returns: a scalar, 0 or more.
    Raises: MissingTargets when hard or soft labels are absent; BadOption for a parameter out of range.
    """
    require_weight("gamma", gamma)
    labels = targets.labels()
    z = scaled(logits, temperature)
    t = teacher_logits(targets, z) / temperature
    confidence = true_class(teacher_probabilities(targets, 1.0, z), labels)
    of_true = -(confidence * true_class(log_student(logits), labels)).mean()
    of_others = cross_entropies(other_classes(t, labels).softmax(1), other_classes(z, labels).log_softmax(1)).mean()
    return of_true + gamma * temperature**2 * of_others
