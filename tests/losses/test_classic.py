"""The classic losses against their formulas, written out with numpy and scipy."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.special import log_softmax, softmax
from scipy.stats import entropy

from harness.losses.classic import ce, kl, kl_ce, kl_divergence, mse, mse_ce, smoothed, soft_ce, soft_ce_ce
from harness.losses.targets import Targets


def plain_ce(z, y):
    return np.mean([-log_softmax(row)[label] for row, label in zip(z, y, strict=True)])


def plain_kl(z, t, temperature):
    return np.mean([entropy(softmax(b / temperature), softmax(a / temperature)) for a, b in zip(z, t, strict=True)])


def plain_soft_ce(z, t, temperature):
    total = 0.0
    for a, b in zip(z / temperature, t / temperature, strict=True):
        total -= sum(p * log_q for p, log_q in zip(softmax(b), log_softmax(a), strict=True))
    return total / len(z)


def plain_mse(z, t):
    return sum((a - b) ** 2 for a, b in zip(z.flat, t.flat, strict=True)) / z.size


def test_ce_is_minus_the_mean_log_probability_of_the_class(batch):
    z, _, y = batch.arrays
    assert ce(batch.z, batch.targets).item() == pytest.approx(plain_ce(z, y), rel=1e-12)


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.8])
def test_smoothed_cross_entropy_spreads_its_share_over_all_classes(batch, smoothing):
    z, _, y = batch.arrays
    classes, total = z.shape[1], 0.0
    for row, label in zip(z, y, strict=True):
        target = np.full(classes, smoothing / classes)
        target[label] += 1 - smoothing
        total -= (target * log_softmax(row)).sum()
    assert smoothed(smoothing)(batch.z, batch.targets).item() == pytest.approx(total / len(z), rel=1e-12)


def test_mse_is_the_mean_over_samples_and_classes(batch):
    z, t, _ = batch.arrays
    assert mse(batch.z, batch.targets).item() == pytest.approx(plain_mse(z, t), rel=1e-12)


@pytest.mark.parametrize("temperature", [0.5, 1, 20])
def test_soft_ce_is_the_cross_entropy_at_its_temperature(batch, temperature):
    z, t, _ = batch.arrays
    loss = soft_ce(batch.z, batch.targets, temperature=temperature)
    assert loss.item() == pytest.approx(plain_soft_ce(z, t, temperature), rel=1e-12)


@pytest.mark.parametrize("temperature", [0.5, 1, 20])
def test_kl_is_the_divergence_of_the_student_from_the_teacher(batch, temperature):
    z, t, _ = batch.arrays
    loss = kl(batch.z, batch.targets, temperature=temperature)
    assert loss.item() == pytest.approx(plain_kl(z, t, temperature), rel=1e-11)


def test_defaults_are_temperature_20_for_kl_and_1_for_soft_ce(batch):
    z, t, _ = batch.arrays
    assert kl(batch.z, batch.targets).item() == pytest.approx(plain_kl(z, t, 20), rel=1e-10)
    assert soft_ce(batch.z, batch.targets).item() == pytest.approx(plain_soft_ce(z, t, 1), rel=1e-12)


def test_rescaled_kl_is_temperature_squared_times_kl(batch):
    plain, rescaled = kl(batch.z, batch.targets), kl(batch.z, batch.targets, rescale=True)
    assert rescaled.item() == pytest.approx(400 * plain.item(), rel=1e-12)
    at_3 = kl(batch.z, batch.targets, temperature=3, rescale=True)
    assert at_3.item() == pytest.approx(9 * plain_kl(*batch.arrays[:2], 3), rel=1e-11)


@pytest.mark.parametrize(
    ("loss", "plain", "options"),
    [
        (kl_ce, lambda z, t: plain_kl(z, t, 20), {}),
        (kl_ce, lambda z, t: 25 * plain_kl(z, t, 5), {"temperature": 5, "rescale": True}),
        (soft_ce_ce, lambda z, t: plain_soft_ce(z, t, 1), {}),
        (soft_ce_ce, lambda z, t: plain_soft_ce(z, t, 3), {"temperature": 3}),
        (mse_ce, plain_mse, {}),
    ],
)
def test_compound_losses_add_a_tenth_of_ce_or_what_weight_says(batch, loss, plain, options):
    z, t, y = batch.arrays
    assert loss(batch.z, batch.targets, **options).item() == pytest.approx(plain(z, t) + 0.1 * plain_ce(z, y), rel=1e-11)
    weighted = loss(batch.z, batch.targets, **options, weight=0.7)
    assert weighted.item() == pytest.approx(plain(z, t) + 0.7 * plain_ce(z, y), rel=1e-11)


def test_kl_to_itself_is_zero_and_soft_ce_to_itself_is_the_entropy(batch):
    same = Targets(soft=batch.z)
    assert kl(batch.z, same, temperature=2).item() == pytest.approx(0, abs=1e-15)
    assert soft_ce(batch.z, same).item() == pytest.approx(np.mean(entropy(softmax(batch.z.numpy(), axis=1), axis=1)), rel=1e-12)


def test_kl_divergence_takes_zero_probabilities():
    target = torch.tensor([[1.0, 0.0, 0.0], [0.5, 0.5, 0.0]], dtype=torch.float64)
    log_q = torch.full((2, 3), -np.log(3), dtype=torch.float64)
    assert kl_divergence(target, log_q).item() == pytest.approx((np.log(3) + np.log(1.5)) / 2, rel=1e-12)


# -- stored probabilities ------------------------------------------------------------------------------------------------


def stored(batch):
    """Probabilities as a file holds them: in half precision, so that they sum to 1 only nearly, and with a hard zero."""
    p = batch.t.softmax(dim=1).half()
    p[0] = torch.tensor([0.5, 0.0, 0.25, 0.25, 0.0])
    return p, p.double().numpy()


def test_stored_probabilities_are_taken_as_they_are_at_temperature_1(batch):
    halves, p = stored(batch)
    assert abs(p.sum(axis=1) - 1).max() > 1e-5
    targets, z = Targets(soft=halves, kind="probabilities"), batch.z.numpy()
    expected = np.mean(-(p * log_softmax(z, axis=1)).sum(axis=1))
    assert soft_ce(batch.z, targets).item() == pytest.approx(expected, rel=1e-9)
    minus_entropy = np.mean([sum(x * np.log(x) for x in row if x > 0) for row in p])
    assert kl(batch.z, targets, temperature=1).item() == pytest.approx(minus_entropy + expected, rel=1e-9)


def test_stored_probabilities_are_softened_through_their_logarithm(batch):
    p = batch.t.softmax(dim=1)
    for loss in (soft_ce, kl):
        by_logits = loss(batch.z, Targets(soft=batch.t), temperature=4)
        by_probabilities = loss(batch.z, Targets(soft=p, kind="probabilities"), temperature=4)
        assert by_probabilities.item() == pytest.approx(by_logits.item(), rel=1e-9)


def test_mse_compares_stored_probabilities_as_centred_log_probabilities(batch):
    p = batch.t.softmax(dim=1)
    logs = np.log(p.numpy())
    centred = logs - logs.mean(axis=1, keepdims=True)
    loss = mse(batch.z, Targets(soft=p, kind="probabilities"))
    assert loss.item() == pytest.approx(plain_mse(batch.z.numpy(), centred), rel=1e-10)
