"""What a loss looks at beside the student's logits: found out by calling it, here and nowhere else."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache
from typing import cast

import torch
from torch import Tensor

from harness.core.errors import DataError, GiftbenchError, PluginError
from harness.core.resolved import Resolved, resolved_from
from harness.losses.targets import Loss, Memory, Targets

#: Shares of a training already done at which a loss is asked.
PROGRESS = (0.0, 0.1, 0.5, 1.0)


@dataclass(frozen=True)
class Looks:
    """What a loss looks at: its value changes with soft labels, hard labels, progress; and whether it needs soft labels.

    `remembers` says whether it keeps anything of one batch for the next.
    """

    needs_soft: bool = True
    soft: bool = True
    hard: bool = True
    progress: bool = True
    remembers: bool = False


def probe(loss: Loss, logits: Tensor, targets: Targets) -> Looks:
    """Find out what a loss looks at by calling it on a batch: as it is, with other hard labels, and without soft ones.

    A loss may do other things with other numbers of classes, or with labels that it does not know, so that the answer is about
    batches of this kind. It waits for the device.

    Args:
        logits, targets: of the batch, [B, C], with hard and soft labels; the progress of `targets` does not matter.
    Raises: what the loss raises with hard and soft labels; DataError for a value that is no scalar.
    """
    logits, hard, memory = logits.detach(), targets.labels(), Memory()
    others = (hard + 1) % logits.shape[1]
    with torch.random.fork_rng([logits.device.index] if logits.is_cuda else []):  # a loss that draws leaves what follows alone
        usual = _values(loss, logits, replace(targets, memory=memory))
        changed = _values(loss, logits, replace(targets, hard=others, memory={}))
        try:
            without = _values(loss, logits, replace(targets, soft=None, memory={}))
        except Exception:  # MissingTargets from ours; whatever None does to somebody else's
            without = None
    return Looks(
        needs_soft=without is None,
        soft=without is None or not torch.equal(usual, without),
        hard=logits.shape[1] == 1 or not torch.equal(usual, changed),  # of one class there is no other label to try
        progress=not all(torch.equal(value, usual[0]) for value in usual),
        remembers=bool(memory),
    )


def probe_small(loss: Loss) -> Looks:
    """Find out what a loss looks at on four images of three classes, the same each time.

    Raises: what giftbench's losses raise (a parameter out of its range); DataError for a value that is no scalar; PluginError
        for any other error.
    """
    logits, soft = torch.randn(2, 4, 3, generator=torch.Generator().manual_seed(0))
    try:
        return probe(loss, logits, Targets(torch.tensor([0, 1, 2, 1]), soft))
    except GiftbenchError:
        raise
    except Exception as error:
        raise PluginError(f"loss {_name(loss)} fails on a small batch: {type(error).__name__}: {error}") from error


def looks(loss: Loss) -> Looks:
    """Return what a loss looks at on a small batch; everything for a loss that fails there, being made for other batches, say.

    One that was made by its name is asked once a process.
    """
    resolved = resolved_from(loss)
    return _asked(loss) if resolved is None else _asked_once(cast("Resolved[Loss]", resolved))


@cache
def _asked_once(resolved: Resolved[Loss]) -> Looks:
    return _asked(resolved.create())


def _asked(loss: Loss) -> Looks:
    try:
        return probe_small(loss)
    except GiftbenchError:
        return Looks()


def bears_absent(loss: Loss) -> bool:
    """Return whether a loss can do with soft labels that give some classes no share, their logits minus infinity.

    Cosines and squared differences of logits cannot. One that was made by its name is asked once a process.
    """
    resolved = resolved_from(loss)
    return _bears(loss) if resolved is None else _bears_once(cast("Resolved[Loss]", resolved))


@cache
def _bears_once(resolved: Resolved[Loss]) -> bool:
    return _bears(resolved.create())


def _bears(loss: Loss) -> bool:
    """Return whether value and gradient are finite on a small batch: of images whose own class has no share, or all there is."""
    logits, soft = torch.randn(2, 4, 4, generator=torch.Generator().manual_seed(0))
    absent = torch.tensor([[0, 0, 1, 1], [1, 0, 1, 1], [1, 1, 1, 0], [1, 1, 1, 0]], dtype=torch.bool)
    targets = Targets(torch.tensor([0, 1, 2, 3]), soft.masked_fill(absent, -torch.inf))
    logits.requires_grad_()
    try:
        with torch.random.fork_rng([]):
            values = [loss(logits, replace(targets, progress=progress)) for progress in PROGRESS]
            gradients = [torch.autograd.grad(value, logits, allow_unused=True)[0] for value in values]
    except Exception:  # of another kind of batch, perhaps: what it does with these is not known
        return False
    return all(bool(value.isfinite().all()) for value in (*values, *gradients) if value is not None)


def _values(loss: Loss, logits: Tensor, targets: Targets) -> Tensor:
    """Return the loss of a batch in the course of a training, one value for each of PROGRESS."""
    values: list[object] = [loss(logits, replace(targets, progress=progress)) for progress in PROGRESS]
    for value in values:
        if not isinstance(value, Tensor) or value.dim() != 0:
            raise DataError(f"loss {_name(loss)} must return a scalar tensor, not {value!r}")
    return torch.stack(cast("list[Tensor]", values)).detach()


def _name(loss: Loss) -> str:
    resolved = resolved_from(loss)
    return repr(loss) if resolved is None else repr(resolved.name)
