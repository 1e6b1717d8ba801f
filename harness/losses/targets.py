"""What a loss is given beside the student's logits."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from harness.core.errors import MissingTargets

Kind = Literal["logits", "probabilities"]
#: What a loss keeps of a training from one batch to the next, by names of its own.
Memory = dict[str, Tensor | float]


@dataclass(frozen=True)
class Targets:
    """Hard and soft labels of one batch. What its methods return is cut off from any graph: a teacher is not trained.

    Args:
        hard: class indices, [B] int64, or None.
        soft: soft labels, [B, C], or None.
        kind: what `soft` holds: raw `logits` (the default) or `probabilities` that sum to 1; where all but the largest were left
            out and stored as 0 (LPQLD's MS), to less.
        progress: share of the training already done, in [0, 1]; for losses that warm up.
        temperature: at which probabilities were taken: they are softmax(logits / temperature).
        memory: what the loss has kept of this very training, which it may read and write; a training that is cut off is taken up
            with it. None where batches are no training's.
    """

    hard: Tensor | None = None
    soft: Tensor | None = None
    kind: Kind = "logits"
    progress: float = 1.0
    temperature: float = 1.0
    memory: Memory | None = None

    def labels(self) -> Tensor:
        """Return the hard labels, [B]. Raises MissingTargets when there are none."""
        if self.hard is None:
            raise MissingTargets("this loss needs hard labels, and there are none")
        return self.hard

    def _soft(self) -> Tensor:
        if self.soft is None:
            raise MissingTargets(
                "this loss needs soft labels, and there are none: give a teacher, or a distilled set that stores them"
            )
        soft = self.soft.detach()
        return soft.float() if soft.dtype.itemsize < 4 else soft

    def logits(self) -> Tensor:
        """Return the soft labels as logits, [B, C], detached.

        Probabilities become the logits that they were taken of, as far as they tell: log-probabilities, times their temperature,
        centred per sample.
        """
        soft = self._soft()
        if self.kind == "logits":
            return soft
        logs = soft.clamp_min(1e-12).log()
        logs = logs if self.temperature == 1.0 else self.temperature * logs
        return logs - logs.mean(dim=1, keepdim=True)

    def probabilities(self, temperature: float = 1.0) -> Tensor:
        """Return softmax(logits / temperature), [B, C], detached; stored probabilities are taken as they are at their own."""
        if self.kind == "probabilities" and temperature == self.temperature:
            return self._soft()
        return (self.logits() / temperature).softmax(dim=1)

    def log_probabilities(self, temperature: float = 1.0) -> Tensor:
        """Return log_softmax(logits / temperature), [B, C], detached."""
        return (self.logits() / temperature).log_softmax(dim=1)


#: What a loss is: the student's logits, [B, C], and the targets -> a scalar.
Loss = Callable[[Tensor, Targets], Tensor]
