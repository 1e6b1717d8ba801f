"""A student's pass over a test split as a CUDA graph of one batch, captured once for all students of its kind."""

from __future__ import annotations

import copy
import warnings
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from harness.boards.protocol import Precision
from harness.training.devices import arithmetic, autocast
from harness.training.evaluation import at_once, hits, judged
from harness.training.graphs import WARMUPS, Recorder, copied, cuda_graph, side_stream, tensors
from harness.training.overlap import structure
from harness.training.values import Material

#: How far logits of a replay may lie from those of the pass itself, as a share of the largest.
GAP = 0.01


class CapturedPass:
    """One batch of a split through a student in eval mode, captured; what it reads and writes stays where it is.

    Args:
        student: copied; those tested later are of the same structure.
        size: images of the batch, no more than the material has.
        record: returns a function that repeats the pass; `cuda_graph` unless a test looks into what is captured.

    Raises: RuntimeError, as torch does, when the pass cannot be captured, or when a replay does not answer what the pass does.
    """

    def __init__(self, student: nn.Module, material: Material, precision: Precision, size: int, record: Recorder) -> None:
        device = material.images.device
        self.material, self.precision = material, precision
        self.student = copy.deepcopy(student).eval()
        self.index = torch.arange(size, device=device)
        self.right = torch.zeros(size, 2, dtype=torch.bool, device=device)
        self.finite = torch.zeros(size, dtype=torch.bool, device=device)
        self.logits = torch.empty(0, device=device)
        cast = autocast(device, precision)

        @torch.no_grad()
        def answer() -> None:
            with cast():
                logits = self.student(material.batch(self.index))
            logits = logits.float()
            if self.logits.shape != logits.shape:
                self.logits = torch.empty_like(logits)
            self.logits.copy_(logits)
            right, finite = judged(logits, material.labels.index_select(0, self.index))
            self.right.copy_(right)
            self.finite.copy_(finite)

        with arithmetic(device, precision):
            with side_stream(self.index, None):
                for _ in range(WARMUPS):
                    answer()
                expected, finite = self.logits.nan_to_num(), self.finite.clone()
            self.replay = record(answer, [])
            self.logits.fill_(torch.nan)
            self.replay()
        apart = (self.logits.nan_to_num() - expected).abs().max()
        if not (torch.equal(self.finite, finite) and float(apart) <= GAP * max(1e-6, float(expected.abs().max()))):
            raise RuntimeError(f"a replayed test does not answer what the test does: logits part by {float(apart):.2g}")

    def __call__(self, student: nn.Module, index: Tensor) -> tuple[Tensor, Tensor]:
        """Return what `hits` does, of a student of this structure; a last batch is filled up with images that are not counted."""
        copied(tensors([self.student]), tensors([student]))
        rights: list[Tensor] = []
        answered: list[Tensor] = []
        with arithmetic(index.device, self.precision):
            for part in torch.split(index, len(self.index)):
                self.index[: len(part)].copy_(part)
                self.replay()
                rights.append(self.right[: len(part)].clone())
                answered.append(self.finite[: len(part)].clone())
        return torch.cat(rights), torch.cat(answered)


class CapturedTests:
    """`harness.training.evaluation.hits` by captured passes, of which the latest is kept.

    Where a pass cannot be captured, that is said once, and students of its kind are tested batch by batch.
    """

    def __init__(self, record: Recorder | None = None) -> None:
        self.record = record
        self.latest: CapturedPass | None = None
        self.kind: tuple[Any, ...] = ()
        self.refused: list[tuple[Any, ...]] = []

    def __call__(
        self,
        student: nn.Module,
        material: Material,
        index: Tensor | None = None,
        *,
        precision: Precision = "float32",
        batch_size: int = 0,
    ) -> tuple[Tensor, Tensor]:
        """Return which images a student gets right, and of which all logits are finite; all as `hits` has it."""
        student.eval()
        size = min(batch_size or at_once(material.images.device), len(material.labels))
        captured = self._get(student, material, precision, size)
        if captured is None:
            return hits(student, material, index, precision=precision, batch_size=batch_size)
        everything = torch.arange(len(material.labels), device=material.images.device)
        return captured(student, everything if index is None else index)

    def _get(self, student: nn.Module, material: Material, precision: Precision, size: int) -> CapturedPass | None:
        built = None if _remembers(student) else structure(student)
        kind = (built, id(material), precision, size)
        if self.latest is not None and kind == self.kind:
            return self.latest
        if built is None or kind in self.refused:
            return None
        self.latest = None  # its memory is needed
        try:
            self.latest = CapturedPass(student, material, precision, size, self.record or partial(cuda_graph, at=None))
        except RuntimeError as error:  # out of memory among them: batch by batch, there may be enough
            self.refused.append(kind)
            warnings.warn(f"tested batch by batch, without a CUDA graph: {' '.join(str(error).split())[:300]}", stacklevel=2)
            return None
        self.kind = kind
        return self.latest


def _remembers(student: nn.Module) -> bool:
    """Whether a student has tensors that are neither weights nor buffers: what it answers by them cannot be copied in."""
    return any(isinstance(value, Tensor) for module in student.modules() for value in vars(module).values())
