"""Whether an optimizer can make steps with the parameters that were given, tried on a small network."""

from __future__ import annotations

import warnings
from contextvars import ContextVar
from typing import TYPE_CHECKING

import torch
from torch import nn

from harness.core.errors import BadOption, GiftbenchError

if TYPE_CHECKING:
    from harness.core.resolved import Resolved
    from harness.optimizers.optimizers import MakeOptimizer

#: Some optimizers only look around in their first step.
STEPS = 2
#: Whether a step that is made now is a trial of the optimizer, and trains nothing.
TRYING = ContextVar("TRYING", default=False)


def probe_small(resolved: Resolved[MakeOptimizer]) -> None:
    """Let an optimizer make steps on a convolution, a norm and a linear layer on the CPU, channels last as students are.

    Gradients are set, not computed, so that no thread of torch's is started. Raises: BadOption with what the optimizer says.
    """
    with torch.random.fork_rng(devices=[]):
        network = nn.Sequential(nn.Conv2d(2, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(4, 3))
    network = network.to(memory_format=torch.channels_last)
    for parameter in network.parameters():
        parameter.grad = torch.full_like(parameter, 0.5)
    trying = TRYING.set(True)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            optimizer = resolved.create()(network)
            for _ in range(STEPS):
                optimizer.step()
    except GiftbenchError:
        raise
    except Exception as error:
        said = " ".join(f"{type(error).__name__}: {error}".split())
        raise BadOption(f"optimizer {resolved.label!r} cannot make a step: {said}") from error
    finally:
        TRYING.reset(trying)
