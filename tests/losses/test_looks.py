"""What a loss looks at is found out by one probe, on a small batch or on one of a training."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from harness import losses
from harness.core.errors import BadOption, DataError, PluginError
from harness.losses.looks import PROGRESS, Looks, bears_absent, looks, probe, probe_small
from harness.losses.targets import Kind, Targets

SOFT_ALONE = {"kl", "calibrated_kl", "mse", "soft_ce", "cosine"}


@pytest.fixture
def named() -> Iterator[Callable[[object], None]]:
    """Return what enters a loss as "own", taken out again afterwards."""
    yield losses.register("own")
    losses.registry.remove("own")


def batch(classes: int, kind: Kind = "logits") -> tuple[Tensor, Targets]:
    """Return logits and targets of six images."""
    z, t = 3 * torch.randn(2, 6, classes, generator=torch.Generator().manual_seed(1))
    return z, Targets(torch.arange(6) % classes, t if kind == "logits" else t.softmax(1), kind, progress=0.0)


@pytest.mark.parametrize("name", losses.names())
def test_the_losses_of_giftbench(name: str) -> None:
    found = looks(losses.create(name))
    moves = name == "calibrated_kl"
    soft, hard = name != "ce", name not in SOFT_ALONE
    assert found == Looks(needs_soft=soft, soft=soft, hard=hard, progress=moves, remembers=moves)
    assert found == probe(losses.create(name), *batch(10)) == probe(losses.create(name), *batch(5, "probabilities"))


def test_parameters_decide_too() -> None:
    assert looks(losses.create("dkd(warmup=0.5)")).progress
    assert not looks(losses.create("refined(gamma=0)")).hard
    assert not looks(losses.create("mse_ce(weight=0)")).hard


def test_what_a_loss_does_late_is_found_out() -> None:
    def late(z: Tensor, t: Targets) -> Tensor:
        return z.mean() + t.progress * F.cross_entropy(z, t.labels())

    assert looks(late) == Looks(needs_soft=False, soft=False, hard=True, progress=True)


def test_soft_labels_that_are_looked_at_where_there_are_any() -> None:
    def either(z: Tensor, t: Targets) -> Tensor:
        return F.cross_entropy(z, t.labels()) if t.soft is None else (z - t.logits()).square().mean()

    assert looks(either) == Looks(needs_soft=False, soft=True, hard=False, progress=False)


def test_a_loss_may_look_at_other_things_with_other_numbers_of_classes() -> None:
    def with_many(z: Tensor, t: Targets) -> Tensor:
        soft = (z - t.logits()).square().mean()
        return soft + F.cross_entropy(z, t.labels()) if z.shape[1] > 5 else soft

    assert not looks(with_many).hard
    assert not probe(with_many, *batch(5)).hard
    assert probe(with_many, *batch(6)).hard
    assert probe(with_many, *batch(1)).hard  # of one class there is no other label to try


def test_a_loss_of_some_classes_alone_is_asked_about_labels_that_it_knows() -> None:
    place = torch.zeros(10, dtype=torch.int64)
    place[torch.tensor([5, 7])] = torch.tensor([0, 1])  # of 5 and 7; all others are taken for 5

    def sliced(z: Tensor, t: Targets) -> Tensor:
        return F.cross_entropy(z[:, [5, 7]], place[t.labels()]) + 0 * t.logits().sum()

    z, t = batch(10)
    assert not probe(sliced, z, t).hard
    assert probe(sliced, z, replace(t, hard=torch.tensor([5, 7, 5, 7, 7, 7]))).hard


def test_a_loss_may_look_at_other_things_with_probabilities() -> None:
    def by_kind(z: Tensor, t: Targets) -> Tensor:
        return (z - t.logits()).square().mean() + (F.cross_entropy(z, t.labels()) if t.kind == "probabilities" else 0)

    assert not probe(by_kind, *batch(3)).hard
    assert probe(by_kind, *batch(3, "probabilities")).hard


def test_a_loss_that_fails_on_a_small_batch_is_taken_to_look_at_everything() -> None:
    def of_ten(z: Tensor, t: Targets) -> Tensor:
        return F.cross_entropy(z, t.labels(), weight=torch.ones(10))

    assert looks(of_ten) == Looks(needs_soft=True, soft=True, hard=True, progress=True)
    assert probe(of_ten, *batch(10)) == Looks(needs_soft=False, soft=False, hard=True, progress=False)


def test_a_probe_says_what_is_wrong(named: Callable[[object], None]) -> None:
    def own(z: Tensor, t: Targets, *, scalar: bool = False) -> Tensor:
        if scalar:
            raise RuntimeError("no luck")
        return z

    named(own)
    with pytest.raises(PluginError, match="loss 'own' fails on a small batch: RuntimeError: no luck"):
        probe_small(losses.create("own(scalar)"))
    with pytest.raises(DataError, match="loss 'own' must return a scalar tensor, not tensor"):
        probe_small(losses.create("own"))
    with pytest.raises(DataError, match=r"loss <function .*own.*> must return a scalar tensor, not tensor"):
        probe(own, *batch(3))
    with pytest.raises(BadOption, match="gamma must be in "):
        probe_small(losses.create("gift(gamma=2)"))


def test_a_named_loss_is_asked_once(named: Callable[[object], None]) -> None:
    calls: list[int] = []

    def own(z: Tensor, t: Targets, *, weight: float = 1.0) -> Tensor:
        calls.append(1)
        return weight * (z - t.logits()).square().mean()

    named(own)
    for _ in range(3):
        assert not looks(losses.create("own")).hard
    once = 2 * len(PROGRESS) + 1  # with either hard label; that soft ones are missing is said at once
    assert len(calls) == once
    looks(losses.create("own(weight=2)"))
    assert len(calls) == 2 * once


def test_nothing_is_drawn_from_torchs_own_stream() -> None:
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    looks(lambda z, t: z.mean() + torch.rand(()))
    assert torch.equal(torch.rand(2), expected)


@pytest.mark.parametrize("name", losses.names())
def test_a_loss_bears_classes_without_a_share_where_it_stays_finite_at_any_such_label(name: str) -> None:
    """Asked of each loss at random labels, of which all but one to three classes have none."""
    loss, draws = losses.create(name), torch.Generator().manual_seed(0)
    finite = True
    for kept in (1, 2, 3):
        z = torch.randn(32, 5, generator=draws, requires_grad=True)
        soft = torch.randn(32, 5, generator=draws)
        absent = torch.rand(32, 5, generator=draws).argsort(1) >= kept
        value = loss(z, Targets(torch.randint(5, (32,), generator=draws), soft.masked_fill(absent, -torch.inf)))
        (gradient,) = torch.autograd.grad(value, z)
        finite &= bool(value.isfinite()) and bool(gradient.isfinite().all())
    assert bears_absent(loss) == finite == (name not in ("cosine", "dkd", "gift", "gift_reference", "mse", "mse_ce", "nkd"))


def test_a_loss_that_fails_or_is_nowhere_differentiable_does_not_bear_them() -> None:
    assert not bears_absent(lambda logits, targets: 1 / 0)  # type: ignore[arg-type, return-value]
    assert not bears_absent(lambda logits, targets: targets.logits().sum() * logits.sum())
    assert bears_absent(lambda logits, targets: logits.square().sum())
