"""KL divergence whose two temperatures move as a training goes on, as LPQLD's authors train (Xiao and He)."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from harness.losses import register
from harness.losses.classic import full_precision, kl_divergence, require, scaled
from harness.losses.targets import Memory, Targets

#: Temperatures of the student that are tried: a hundred, from 0.01 to 1.
LOWEST, HIGHEST, TRIED = 0.01, 1.0, 100


@register("calibrated_kl")
def calibrated_kl(
    logits: Tensor,
    targets: Targets,
    *,
    temperature: float = 20.0,
    lowest: float = 2.0,
    decay: float = 0.7,
    every: float = 30.0,
    epochs: float = 300.0,
) -> Tensor:
    """KL divergence whose temperatures move (LPQLD's code): the labels' falls in steps, the student's is searched each epoch.

    Mean over B of KL(q_T(t) || q_S(z)), where q_T(.) = softmax(. / T). In epoch e, 1 the first, T = max(lowest, temperature *
    decay ** (e // every)). S is 1 in the first epoch, and in each other one that of a hundred numbers from 0.01 to 1 at which the
    divergence on the last batch of the epoch before was least, by the logits that the student gave in that step. No factor of T
    makes up for either. Probabilities that are stored (MS) that code takes as they are: `calibrated_kl(decay=1)`.

    Source: he-y/soft-label-pruning-quantization-for-dataset-distillation (train_FKD_LPQLD.py, scripts/reproduce/lpqld_in1k.sh).

    Args:
        logits: student outputs z, [B, C].
        targets: soft labels t, [B, C], the progress of the training, and what was kept of its batches: without that S is 1.
        temperature: of the labels at first, above 0.
        lowest: temperature of the labels that it does not fall below, above 0.
        decay: factor by which it falls, in (0, 1].
        every: epochs, 1 or more, from one fall to the next.
        epochs: of the training that these falls are stated for, 1 or more; another falls at the same shares of its epochs.
    Returns: a scalar, 0 or more, but for what probabilities that do not sum to 1 take off.
    Raises: MissingTargets when soft labels are absent; BadOption for a parameter out of range.
    """
    require(0 < decay <= 1, "decay", decay, "in (0, 1]")
    for name, value in (("every", every), ("epochs", epochs)):
        require(1 <= value < math.inf, name, value, "a finite number, 1 or more")
    for name, value in (("lowest", lowest), ("temperature", temperature)):
        require(0 < value < math.inf, name, value, "a finite number above 0")
    fallen = temperature * decay ** (int(targets.progress * epochs + 1 + 1e-6) // every)
    z = full_precision(logits)
    labels = targets.probabilities(max(lowest, fallen)).to(z.dtype)
    memory = targets.memory
    if memory is None:
        return kl_divergence(labels, scaled(z, 1.0).log_softmax(dim=1))
    _begin_epoch(memory, targets.progress)
    of_student = memory.get("temperature", 1.0)
    memory |= {"logits": z.detach(), "labels": labels}
    return kl_divergence(labels, (z / of_student).log_softmax(dim=1))


def _begin_epoch(memory: Memory, progress: float) -> None:
    """At the first batch of another epoch, search the student's temperature on the last batch of the one before."""
    if "progress" in memory and memory["progress"] != progress:
        memory["temperature"] = calibrated(torch.as_tensor(memory["logits"]), torch.as_tensor(memory["labels"]))
    memory["progress"] = progress


def calibrated(logits: Tensor, labels: Tensor) -> Tensor:
    """Return the student's temperature at which the divergence from `labels` is least, the lowest of several; nothing waits.

    Args:
        logits, labels: the student's, and probabilities, of one batch, [B, C].
    Returns: a number in [0.01, 1] on the device, [].
    """
    tried = torch.linspace(LOWEST, HIGHEST, TRIED, dtype=logits.dtype, device=logits.device)
    divergences = torch.stack([kl_divergence(labels, (logits / each).log_softmax(dim=1)) for each in tried])
    return tried.take(divergences.argmin())  # an index would wait for the device
