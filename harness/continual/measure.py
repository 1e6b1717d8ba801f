"""What is measured after a step of a stream: accuracy over the classes met so far, and on the classes of each step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import torch

from harness.continual.loop import OnlySeen, Seen
from harness.training.evaluation import Tests, hits
from harness.training.values import NOT_FINITE, Material

if TYPE_CHECKING:
    from torch import nn

    from harness.boards.protocol import Precision


def measure(
    student: nn.Module,
    test: Material,
    groups: Sequence[Sequence[int]],
    classes: int,
    precision: Precision,
    tests: Tests = hits,
) -> dict[str, float]:
    """Return one entry of a record's history, accuracies in percent.

    Args:
        groups: the classes that each step brought, up to now.
        classes: how many there are in all; the student answers with one of those met only.
        tests: what tells which images it gets right.
    Returns: step, classes (met so far), accuracy, top5_accuracy, and `step K` for the test images of step K's classes;
        `NOT_FINITE` where there are images whose logits of these classes are not all finite: how many.
    """
    met = sorted(c for group in groups for c in group)
    seen = Seen(met, classes, test.labels.device)
    index = torch.isin(test.labels, seen.columns).nonzero()[:, 0]
    right, finite = tests(OnlySeen(student, seen), test, index, precision=precision)
    right = right.double().mul(100)
    labels = test.labels.index_select(0, index)
    parts = [right[torch.isin(labels, torch.tensor(group, device=labels.device)), 0].mean() for group in groups]
    top1, top5, odd = torch.cat([right.mean(0), (~finite).sum()[None]]).tolist()
    entry = {"step": len(groups), "classes": len(met), "accuracy": top1, "top5_accuracy": top5}
    entry |= {f"step {k + 1}": value for k, value in enumerate(torch.stack(parts).tolist())}
    return entry | ({NOT_FINITE: odd} if odd else {})


def answered(history: Sequence[Mapping[str, float]]) -> bool:
    """Whether all answers that were measured rest on finite logits."""
    return not any(NOT_FINITE in entry for entry in history)


def forgetting(history: Sequence[Mapping[str, float]]) -> float:
    """Return the mean, over all steps but the last, of how far accuracy on a step's classes fell from its best by the end.

    In points; negative when it rose. Chaudhry et al., ECCV 2018. A stream of one step has none: 0.
    """
    falls = []
    for k in range(1, len(history)):
        seen = [entry[f"step {k}"] for entry in history if f"step {k}" in entry]
        falls.append(max(seen[:-1]) - seen[-1])
    return sum(falls) / len(falls) if falls else 0.0


def summarise(history: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Return a record's metrics: accuracy (after the last step), average_incremental, forgetting, top5_accuracy."""
    return {
        "accuracy": history[-1]["accuracy"],
        "top5_accuracy": history[-1]["top5_accuracy"],
        "average_incremental": sum(entry["accuracy"] for entry in history) / len(history),
        "forgetting": forgetting(history),
    }
