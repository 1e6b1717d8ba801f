"""When labels and guesses prove an order of the classes: far above chance, and no other order far better."""

from __future__ import annotations

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from harness.distilled.agreement import agreement


def guesses(labels: Tensor, classes: int, share: float, seed: int) -> Tensor:
    """Right for a share of the labels, evenly wrong elsewhere."""
    draws = torch.Generator().manual_seed(seed)
    right = torch.rand(len(labels), generator=draws) < share
    wrong = (labels + 1 + torch.randint(0, classes - 1, labels.shape, generator=draws)) % classes
    return torch.where(right, labels, wrong)


@settings(max_examples=40, deadline=None)
@given(classes=st.sampled_from([10, 20, 100]), share=st.floats(0.3, 1.0), seed=st.integers(0, 99), data=st.data())
def test_a_weak_teacher_proves_the_order_and_disproves_all_others(
    classes: int, share: float, seed: int, data: st.DataObject
) -> None:
    labels = torch.arange(classes).repeat_interleave(1000 // classes)
    seen = agreement(labels, guesses(labels, classes, share, seed), classes)
    assert seen.proves and not seen.reordered
    order = torch.tensor(data.draw(st.permutations(range(classes))))
    kept = float((order == torch.arange(classes)).float().mean())
    other = agreement(order[labels], guesses(labels, classes, share, seed), classes)
    if kept < 0.3:
        assert other.reordered >= 0.9 * seen.hits and not other.proves


@settings(max_examples=40, deadline=None)
@given(classes=st.sampled_from([2, 10, 100]), seed=st.integers(0, 99))
def test_chance_proves_nothing_and_no_order_is_found_in_it(classes: int, seed: int) -> None:
    draws = torch.Generator().manual_seed(seed)
    labels, others = (torch.randint(0, classes, (1000,), generator=draws) for _ in range(2))
    seen = agreement(labels, others, classes)
    assert not seen.reordered
    assert seen.chance == 1000 / classes and seen.hits <= seen.enough * 1.3


def test_half_need_not_agree() -> None:
    labels = torch.arange(100).repeat_interleave(10)
    seen = agreement(labels, guesses(labels, 100, 0.49, 0), 100)
    assert 400 < seen.hits < 500 and seen.proves
