"""What a loss is given: soft labels as logits or probabilities, cut off from any graph."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from harness.core.errors import MissingTargets
from harness.losses.targets import Kind, Targets

SOFT = torch.tensor([[0.7, 0.2, 0.1], [0.0, 0.5, 0.5]])


def asked(targets: Targets) -> list[Tensor]:
    return [
        targets.logits(),
        targets.probabilities(),
        targets.probabilities(4.0),
        targets.log_probabilities(),
        targets.log_probabilities(4.0),
    ]


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64])
@pytest.mark.parametrize("kind", ["logits", "probabilities"])
def test_what_is_asked_of_soft_labels_is_cut_off_from_the_graph_that_made_them(kind: Kind, dtype: torch.dtype) -> None:
    soft = SOFT.to(dtype).requires_grad_()
    assert not any(answer.requires_grad for answer in asked(Targets(soft=soft, kind=kind)))
    assert soft.requires_grad


@pytest.mark.parametrize("kind", ["logits", "probabilities"])
def test_cutting_them_off_changes_no_number(kind: Kind) -> None:
    attached, alone = Targets(soft=SOFT.clone().requires_grad_(), kind=kind), Targets(soft=SOFT, kind=kind)
    assert all(torch.equal(one, other) for one, other in zip(asked(attached), asked(alone), strict=True))
    as_given = alone.logits() if kind == "logits" else alone.probabilities()
    assert as_given.data_ptr() == SOFT.data_ptr()  # nothing is copied


def test_absent_labels_are_said_to_be_missing() -> None:
    with pytest.raises(MissingTargets, match="soft labels"):
        Targets(hard=torch.tensor([0])).logits()
    with pytest.raises(MissingTargets, match="hard labels"):
        Targets(soft=SOFT).labels()
