"""The ablation's "native + refinement": what the native loss is given."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from harness import losses
from harness.core.errors import BadOption, MissingTargets, UnknownName
from harness.losses.targets import Targets


@pytest.fixture
def batch() -> tuple[Tensor, Targets]:
    draws = torch.Generator().manual_seed(0)
    logits, soft = torch.randn(2, 6, 5, generator=draws, dtype=torch.float64) * 3
    return logits, Targets(torch.tensor([0, 1, 2, 3, 4, 0]), soft)


@pytest.mark.parametrize("gamma", [0.1, 0.5, 1.0])
def test_under_kl_the_target_is_a_mixture_of_distributions(batch: tuple[Tensor, Targets], gamma: float) -> None:
    logits, targets = batch
    assert targets.soft is not None
    assert targets.hard is not None
    smoothed = functional.one_hot(targets.hard, 5).double() * 0.9 + 0.1 / 5
    target = (1 - gamma) * (targets.soft / 20).softmax(1) + gamma * smoothed
    expected = functional.kl_div((logits / 20).log_softmax(1), target, reduction="batchmean")
    assert losses.create("refined", gamma=gamma)(logits, targets) == pytest.approx(float(expected), rel=1e-9)


def test_the_natives_own_parameters_count(batch: tuple[Tensor, Targets]) -> None:
    logits, targets = batch
    plain, scaled = (
        losses.create("refined", native=n)(logits, targets) for n in ("kl(temperature=4)", "kl(temperature=4, rescale)")
    )
    assert float(scaled / plain) == pytest.approx(16)


@pytest.mark.parametrize("native", ["kl", "soft_ce", "mse", "gift", "dkd"])
def test_without_hard_labels_it_is_the_native_loss(batch: tuple[Tensor, Targets], native: str) -> None:
    logits, targets = batch
    assert losses.create("refined", native=native, gamma=0)(logits, targets) == losses.create(native)(logits, targets)


@pytest.mark.parametrize("native", ["kl", "soft_ce"])
def test_a_little_refinement_changes_little(batch: tuple[Tensor, Targets], native: str) -> None:
    logits, targets = batch
    near = losses.create("refined", native=native, gamma=1e-6)(logits, targets)
    assert float(near) == pytest.approx(float(losses.create(native)(logits, targets)), rel=1e-3)


@pytest.mark.parametrize("lacking", ["hard", "soft"])
def test_it_needs_both_kinds_of_labels(batch: tuple[Tensor, Targets], lacking: str) -> None:
    logits, targets = batch
    given = Targets(None, targets.soft) if lacking == "hard" else Targets(targets.hard)
    with pytest.raises(MissingTargets):
        losses.create("refined", native="ce")(logits, given)


def test_what_is_wrong_is_refused(batch: tuple[Tensor, Targets]) -> None:
    logits, targets = batch
    with pytest.raises(BadOption, match="gamma"):
        losses.create("refined", gamma=1.5)(logits, targets)
    with pytest.raises(UnknownName, match="did you mean 'kl'"):
        losses.create("refined", native="kll")(logits, targets)


@pytest.mark.parametrize("native", ["kl", "soft_ce", "kd", "dkd"])
def test_a_class_that_the_teacher_rules_out_counts_as_one_of_probability_0(batch: tuple[Tensor, Targets], native: str) -> None:
    logits, targets = batch
    assert targets.soft is not None
    ruled_out, far = targets.soft.clone(), targets.soft.clone()
    ruled_out[:, 2], far[:, 2] = -torch.inf, -1e4
    logits.requires_grad_()
    value, expected = (losses.create("refined", native=native)(logits, Targets(targets.hard, soft)) for soft in (ruled_out, far))
    assert value.item() == pytest.approx(expected.item(), rel=1e-9)
    assert torch.autograd.grad(value, logits)[0].isfinite().all()
