"""KD, WSLD, DKD and NKD against their formulas, sample by sample, with the true class really removed."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.special import log_softmax, softmax
from scipy.stats import entropy

from harness.losses.distillation import dkd, kd, nkd, other_classes, true_class, true_or_other, wsld
from harness.losses.targets import Targets


def plain_ce(z, y):
    return np.array([-log_softmax(row)[label] for row, label in zip(z, y, strict=True)])


def plain_soft_ce(z, t, temperature):
    return -np.sum(softmax(t / temperature, axis=1) * log_softmax(z / temperature, axis=1), axis=1)


def plain_kd(z, t, y, temperature=4.0, alpha=0.9):
    divergence = np.mean([entropy(softmax(b / temperature), softmax(a / temperature)) for a, b in zip(z, t, strict=True)])
    return (1 - alpha) * plain_ce(z, y).mean() + alpha * temperature**2 * divergence


def plain_focus(z, t, y):
    return np.array([1 - math.exp(-s / (c + 1e-7)) for s, c in zip(plain_ce(z, y), plain_ce(t, y), strict=True)])


def plain_wsld(z, t, y, temperature=4.0, alpha=2.25, focus=None):
    focus = plain_focus(z, t, y) if focus is None else focus
    return plain_ce(z, y).mean() + alpha * temperature**2 * np.mean(focus * plain_soft_ce(z, t, temperature))


def plain_dkd(z, t, y, temperature=4.0, alpha=1.0, beta=8.0, w=1.0):
    tckd = nckd = 0.0
    for student, teacher, label in zip(z / temperature, t / temperature, y, strict=True):
        p, q = softmax(teacher)[label], softmax(student)[label]
        tckd += entropy([p, 1 - p], [q, 1 - q])
        nckd += entropy(softmax(np.delete(teacher, label)), softmax(np.delete(student, label)))
    return plain_ce(z, y).mean() + w * temperature**2 * (alpha * tckd + beta * nckd) / len(z)


def plain_nkd(z, t, y, temperature=1.0, gamma=1.5):
    total = 0.0
    for student, teacher, label in zip(z, t, y, strict=True):
        total -= softmax(teacher)[label] * log_softmax(student)[label]
        other_z, other_t = np.delete(student, label) / temperature, np.delete(teacher, label) / temperature
        total -= gamma * temperature**2 * np.sum(softmax(other_t) * log_softmax(other_z))
    return total / len(z)


CASES = [
    (kd, plain_kd, {}),
    (kd, plain_kd, {"temperature": 2.0, "alpha": 0.3}),
    (wsld, plain_wsld, {}),
    (wsld, plain_wsld, {"temperature": 2.0, "alpha": 0.5}),
    (dkd, plain_dkd, {}),
    (dkd, plain_dkd, {"temperature": 1.5, "alpha": 0.4, "beta": 2.0}),
    (nkd, plain_nkd, {}),
    (nkd, plain_nkd, {"temperature": 3.0, "gamma": 0.6}),
]
NAMES = [f"{loss.__name__}-{'set' if options else 'default'}" for loss, _, options in CASES]


@pytest.mark.parametrize(("loss", "plain", "options"), CASES, ids=NAMES)
def test_value_is_that_of_the_formula(batch, loss, plain, options):
    assert loss(batch.z, batch.targets, **options).item() == pytest.approx(plain(*batch.arrays, **options), rel=1e-11)


@pytest.mark.parametrize(("loss", "plain", "options"), CASES, ids=NAMES)
def test_stored_probabilities_give_the_same_as_the_logits_behind_them(batch, loss, plain, options):
    targets = Targets(hard=batch.y, soft=batch.t.softmax(dim=1), kind="probabilities")
    assert loss(batch.z, targets, **options).item() == pytest.approx(plain(*batch.arrays, **options), rel=1e-9)


@pytest.mark.parametrize("loss", [kd, wsld, dkd, nkd])
def test_stored_one_hot_probabilities_give_finite_numbers(batch, loss):
    one_hot = torch.eye(5)[batch.y]
    z = batch.z.float().requires_grad_()
    for temperature in (1.0, 4.0):
        out = loss(z, Targets(hard=batch.y, soft=one_hot, kind="probabilities"), temperature=temperature)
        assert out.isfinite() and torch.autograd.grad(out, z)[0].isfinite().all()


# -- wsld ----------------------------------------------------------------------------------------------------------------


def slope(function, z, step=1e-6):
    """Central finite differences of a scalar function of a matrix."""
    out = np.zeros_like(z)
    for index in np.ndindex(*z.shape):
        up, down = z.copy(), z.copy()
        up[index] += step
        down[index] -= step
        out[index] = (function(up) - function(down)) / (2 * step)
    return out


def test_wsld_holds_its_sample_weights_constant(batch):
    z, t, y = batch.arrays
    focus = plain_focus(z, t, y)
    leaf = batch.z.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(wsld(leaf, batch.targets), leaf)
    np.testing.assert_allclose(gradient.numpy(), slope(lambda v: plain_wsld(v, t, y, focus=focus), z), atol=1e-7)
    moving = slope(lambda v: plain_wsld(v, t, y), z)
    assert abs(gradient.numpy() - moving).max() > 0.1  # the test above can tell the two apart


def test_wsld_weight_ignores_the_temperature_and_falls_with_the_teachers_doubt():
    z = torch.tensor([[0.0, 0.0]], dtype=torch.float64)
    y = torch.tensor([0])
    for teacher_margin in (-3.0, 0.0, 3.0):
        t = torch.tensor([[teacher_margin, 0.0]], dtype=torch.float64)
        ratio = math.log(2) / (math.log1p(math.exp(-teacher_margin)) + 1e-7)
        for temperature in (1.0, 4.0):  # the soft part of a flat student is log 2 at any temperature
            expected = math.log(2) + 2.25 * temperature**2 * (1 - math.exp(-ratio)) * math.log(2)
            assert wsld(z, Targets(hard=y, soft=t), temperature=temperature).item() == pytest.approx(expected, rel=1e-12)


# -- dkd -----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("progress", "warmup", "w"),
    [(0.0, 0.0, 1.0), (0.0, 0.5, 0.0), (0.25, 0.5, 0.5), (0.5, 0.5, 1.0), (1.0, 0.5, 1.0), (0.3, 1.0, 0.3)],
)
def test_dkd_warms_up_over_a_share_of_the_training(batch, progress, warmup, w):
    targets = Targets(hard=batch.y, soft=batch.t, progress=progress)
    assert dkd(batch.z, targets, warmup=warmup).item() == pytest.approx(plain_dkd(*batch.arrays, w=w), rel=1e-11)


@pytest.mark.parametrize("impossible", [0, 2])
@pytest.mark.parametrize("loss", [kd, wsld, dkd, nkd])
def test_a_class_that_the_teacher_rules_out_counts_as_one_of_probability_0(loss, impossible):
    z, y = torch.tensor([[0.3, -0.2, 0.5, 1.0]], dtype=torch.float64, requires_grad=True), torch.tensor([1])
    t = torch.tensor([[0.1, 0.7, -0.4, 0.2]], dtype=torch.float64)
    t[0, impossible] = -math.inf
    value = loss(z, Targets(hard=y, soft=t))
    far = loss(z, Targets(hard=y, soft=t.clamp_min(-1e5)))
    assert value.item() == pytest.approx(far.item(), rel=1e-12)
    for found, expected in zip(torch.autograd.grad(value, z), torch.autograd.grad(far, z), strict=True):
        assert torch.allclose(found, expected, rtol=1e-10)


def trick(logits, label):
    """The non-target distribution as the official code makes it: 1000 taken from the true class's logit."""
    return log_softmax(logits - 1000 * np.eye(len(logits))[label])


def test_dkd_removes_the_true_class_where_subtracting_1000_would_not():
    z, t, y = np.array([[0.0, -3000.0, -3002.0]]), np.array([[0.0, -3001.0, -3000.0]]), np.array([0])
    assert trick(z[0], 0)[0] == 0  # the "removed" class still takes everything
    loss = dkd(torch.from_numpy(z), Targets(hard=torch.from_numpy(y), soft=torch.from_numpy(t)), temperature=1.0, alpha=0.0)
    expected = 8 * entropy(softmax([-1.0, 0.0]), softmax([0.0, -2.0]))
    assert expected > 5
    assert loss.item() == pytest.approx(expected, rel=1e-11)


def test_nkd_removes_the_true_class_where_subtracting_1000_would_not():
    z, t = torch.tensor([[0.0, -3000.0, -3002.0]]).double(), torch.tensor([[0.0, -3001.0, -3000.0]]).double()
    expected = -1.5 * np.sum(softmax([-1.0, 0.0]) * log_softmax([0.0, -2.0]))
    assert nkd(z, Targets(hard=torch.tensor([0]), soft=t)).item() == pytest.approx(expected, rel=1e-11)


def test_dkd_keeps_the_others_differences_beside_a_huge_true_logit_in_float32():
    z, t, y = torch.tensor([[1e4, 0.1, 0.2, 0.3]]), torch.tensor([[1e4, 0.3, 0.2, 0.1]]), torch.tensor([0])
    loss = dkd(z, Targets(hard=y, soft=t), temperature=1.0, alpha=0.0)
    expected = 8 * entropy(softmax([0.3, 0.2, 0.1]), softmax([0.1, 0.2, 0.3]))
    assert loss.item() == pytest.approx(expected, rel=1e-3)


# -- helpers -------------------------------------------------------------------------------------------------------------


def test_true_class_and_other_classes_part_every_row():
    values, labels = torch.arange(12.0).view(3, 4), torch.tensor([0, 3, 1])
    assert true_class(values, labels).tolist() == [0, 7, 9]
    assert other_classes(values, labels).tolist() == [[1, 2, 3], [4, 5, 6], [8, 10, 11]]


def test_true_or_other_keeps_a_tiny_remainder():
    log_q = torch.tensor([[40.0, 0.0, 0.0]]).log_softmax(dim=1)
    pair = true_or_other(log_q, torch.tensor([0]))
    assert pair[0, 1].item() == pytest.approx(math.log(2) - 40, rel=1e-6)  # 1 - q[y] is 0 in float32
