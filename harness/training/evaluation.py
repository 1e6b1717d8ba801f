"""What a student gets right of a test split. Nothing here waits for the device before the last batch."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor, nn

from harness.boards.protocol import Precision
from harness.training.devices import arithmetic, autocast
from harness.training.values import NOT_FINITE, Material


class Tests(Protocol):
    """What tells which images a student gets right: `hits`, or what does the same another way."""

    def __call__(
        self,
        student: nn.Module,
        material: Material,
        index: Tensor | None = None,
        *,
        precision: Precision = "float32",
        batch_size: int = 0,
    ) -> tuple[Tensor, Tensor]: ...


def evaluate(
    student: nn.Module,
    material: Material,
    precision: Precision = "float32",
    batch_size: int = 0,
    tests: Tests | None = None,
) -> dict[str, float]:
    """Return top-1 and top-5 accuracy of a student in eval mode, in percent: {"accuracy", "top5_accuracy"}.

    `NOT_FINITE` stands beside them where there are images whose logits are not all finite: how many.

    `batch_size` of 0 takes what `at_once` says. `tests` is asked in the place of `hits`.
    """
    right, finite = (tests or hits)(student, material, precision=precision, batch_size=batch_size)
    top1, top5, odd = torch.cat([100 * right.sum(0).double() / len(material.labels), (~finite).sum()[None]]).tolist()
    return {"accuracy": top1, "top5_accuracy": top5, **({NOT_FINITE: odd} if odd else {})}


def hits(
    student: nn.Module,
    material: Material,
    index: Tensor | None = None,
    *,
    precision: Precision = "float32",
    batch_size: int = 0,
) -> tuple[Tensor, Tensor]:
    """Return which images a student in eval mode gets right, top-1 and among its first five, [N, 2] bool on the device.

    Beside it, of which images all logits are finite, [N] bool: no answer is right that others are not.

    Args:
        index: which of the material's images, [N] int64 on the device; all of them by default.
        batch_size: as in `evaluate`.
    """
    device = material.images.device
    batch_size = batch_size or at_once(device)
    cast = autocast(device, precision)
    index = torch.arange(len(material.labels), device=device) if index is None else index
    parts: list[Tensor] = []
    answered: list[Tensor] = []
    student.eval()
    with torch.inference_mode(), arithmetic(device, precision):
        for part in torch.split(index, batch_size):
            with cast():
                logits = student(material.batch(part))
            right, finite = judged(logits.float(), material.labels.index_select(0, part))
            parts.append(right)
            answered.append(finite)
        return torch.cat(parts), torch.cat(answered)


def judged(logits: Tensor, true: Tensor) -> tuple[Tensor, Tensor]:
    """Return which logits, [B, C], are right about labels, [B]: top-1 and among five, [B, 2]; and which are finite, [B]."""
    finite = logits.isfinite().all(1)
    right = logits.topk(min(5, logits.shape[1]), dim=1).indices == true[:, None]
    return torch.stack([right[:, 0], right.any(1)], dim=1) & finite[:, None], finite


def at_once(device: torch.device) -> int:
    """Return how many images are tested at once: 200 on the CPU, where more are no faster and take more memory, else 1000."""
    return 200 if device.type == "cpu" else 1000
