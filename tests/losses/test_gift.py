"""GIFT, its parts and its released code against their formulas, sample by sample."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import cosine as scipy_cosine

from harness.core.errors import BadOption
from harness.losses.gift import cosine, gift, gift_reference, refine, smooth, unit
from harness.losses.targets import Targets


def plain_smooth(label, classes, alpha, smoothing):
    if smoothing == "uniform":
        return np.array([(1 - alpha) * (c == label) + alpha / classes for c in range(classes)])
    return np.array([1 - alpha if c == label else alpha / (classes - 1) for c in range(classes)])


def plain_gift(z, t, y, gamma=0.1, alpha=0.1, smoothing="uniform"):
    distances = []
    for student, teacher, label in zip(z, t, y, strict=True):
        s = plain_smooth(label, len(student), alpha, smoothing)
        r = gamma * s / np.sqrt(np.sum(s**2)) + (1 - gamma) * teacher / np.sqrt(np.sum(teacher**2))
        distances.append(scipy_cosine(student, r))
    return np.mean(distances)


# -- values --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("smoothing", ["uniform", "off-target"])
@pytest.mark.parametrize(("gamma", "alpha"), [(0.1, 0.1), (0.5, 0.0), (0.9, 0.4), (0.0, 0.1), (1.0, 0.3)])
def test_gift_is_the_cosine_distance_to_the_refined_label(batch, gamma, alpha, smoothing):
    loss = gift(batch.z, batch.targets, gamma=gamma, alpha=alpha, smoothing=smoothing)
    assert loss.item() == pytest.approx(plain_gift(*batch.arrays, gamma, alpha, smoothing), rel=1e-12)


def test_gift_defaults_to_a_tenth_of_uniform_smoothing_at_a_tenth(batch):
    assert gift(batch.z, batch.targets).item() == pytest.approx(plain_gift(*batch.arrays, 0.1, 0.1, "uniform"), rel=1e-12)


def test_cosine_is_the_cosine_distance_to_the_teacher_and_needs_no_hard_labels(batch):
    z, t, _ = batch.arrays
    expected = np.mean([scipy_cosine(a, b) for a, b in zip(z, t, strict=True)])
    assert cosine(batch.z, Targets(soft=batch.t)).item() == pytest.approx(expected, rel=1e-12)


def test_cosine_is_gift_without_hard_labels(batch):
    assert cosine(batch.z, batch.targets).item() == pytest.approx(gift(batch.z, batch.targets, gamma=0).item(), rel=1e-14)


def test_gift_reference_is_gift_with_an_eleventh_of_off_target_smoothing(batch):
    same = gift(batch.z, batch.targets, gamma=1 / 11, smoothing="off-target")
    assert gift_reference(batch.z, batch.targets).item() == pytest.approx(same.item(), rel=1e-14)


def test_gift_reference_is_what_the_released_code_computes(batch):
    s = torch.full((6, 5), 0.1 / 4, dtype=torch.float64)
    for row, label in enumerate(batch.y.tolist()):
        s[row, label] = 0.9
    target = F.normalize(batch.t) + 0.1 * F.normalize(s)
    expected = 1 - F.cosine_similarity(batch.z, target).mean()
    assert gift_reference(batch.z, batch.targets).item() == pytest.approx(expected.item(), rel=1e-12)


def test_the_two_smoothings_differ(batch):
    uniform, off_target = (gift(batch.z, batch.targets, smoothing=s) for s in ("uniform", "off-target"))
    assert abs(uniform.item() - off_target.item()) > 1e-6


@pytest.mark.parametrize("loss", [gift, cosine])
def test_stored_probabilities_become_centred_log_probabilities(batch, loss):
    p = batch.t.softmax(dim=1)
    logs = p.log()
    centred = logs - logs.mean(dim=1, keepdim=True)
    by_probabilities = loss(batch.z, Targets(hard=batch.y, soft=p, kind="probabilities"))
    by_logits = loss(batch.z, Targets(hard=batch.y, soft=centred))
    assert by_probabilities.item() == pytest.approx(by_logits.item(), rel=1e-9)
    assert abs(by_probabilities.item() - loss(batch.z, Targets(hard=batch.y, soft=p)).item()) > 1e-3


# -- properties ----------------------------------------------------------------------------------------------------------

numbers = st.lists(st.floats(-1e4, 1e4, width=32), min_size=12, max_size=12)
shares = {"gamma": st.floats(0, 1), "alpha": st.floats(0, 0.99), "smoothing": st.sampled_from(["uniform", "off-target"])}


@settings(max_examples=60, deadline=None)
@given(z=numbers, t=numbers, options=st.fixed_dictionaries(shares))
def test_gift_stays_within_0_and_2(z, t, options):
    targets = Targets(hard=torch.tensor([0, 3, 1]), soft=torch.tensor(t).view(3, 4))
    loss = gift(torch.tensor(z).view(3, 4), targets, **options)
    assert -1e-5 <= loss.item() <= 2 + 1e-5


@settings(max_examples=40, deadline=None)
@given(of_student=st.floats(1e-3, 1e3), of_teacher=st.floats(1e-3, 1e3))
def test_gift_ignores_the_length_of_both_logits(of_student, of_teacher):
    generator = torch.Generator().manual_seed(3)
    z, t = torch.randn(2, 4, 5, generator=generator, dtype=torch.float64)
    y = torch.tensor([0, 1, 2, 3])
    plain = gift(z, Targets(hard=y, soft=t))
    scaled = gift(of_student * z, Targets(hard=y, soft=of_teacher * t))
    assert scaled.item() == pytest.approx(plain.item(), rel=1e-10)


# -- smooth and refine ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("smoothing", ["uniform", "off-target"])
@pytest.mark.parametrize("alpha", [0.0, 0.1, 0.75])
def test_smoothed_labels_are_distributions_as_published(smoothing, alpha):
    labels = torch.tensor([2, 0, 6])
    s = smooth(labels, 7, alpha, smoothing, torch.float64)
    expected = np.stack([plain_smooth(label, 7, alpha, smoothing) for label in labels.tolist()])
    assert s.dtype == torch.float64
    np.testing.assert_allclose(s.numpy(), expected, rtol=1e-14)
    np.testing.assert_allclose(s.sum(dim=1).numpy(), 1, rtol=1e-14)


def test_smoothed_labels_have_the_type_asked_for():
    assert smooth(torch.tensor([1]), 3, 0.1, "uniform", torch.float32).dtype == torch.float32


@pytest.mark.parametrize("smoothing", ["uniform", "off-target"])
def test_smoothing_a_single_class_stays_finite(smoothing):
    assert smooth(torch.tensor([0, 0]), 1, 0.1, smoothing, torch.float32).isfinite().all()


@pytest.mark.parametrize("gamma", [0.0, 0.3, 1.0])
def test_refine_weighs_the_hard_label_by_gamma(batch, gamma):
    q, s = batch.t.softmax(dim=1), smooth(batch.y, 5, 0.1, "uniform", torch.float64)
    refined = refine(q, s, gamma)
    np.testing.assert_allclose(refined.numpy(), (1 - gamma) * q.numpy() + gamma * s.numpy(), rtol=1e-14)
    np.testing.assert_allclose(refined.sum(dim=1).numpy(), 1, rtol=1e-12)


@pytest.mark.parametrize("gamma", [-0.1, 1.5, float("nan")])
def test_refine_and_gift_refuse_a_gamma_outside_0_and_1(batch, gamma):
    for call in (lambda: refine(batch.t, batch.t, gamma), lambda: gift(batch.z, batch.targets, gamma=gamma)):
        with pytest.raises(BadOption, match=r"^gamma must be in \[0, 1\], not "):
            call()


@pytest.mark.parametrize("alpha", [-0.1, 1.0, float("nan")])
def test_smooth_and_gift_refuse_an_alpha_outside_0_and_1(batch, alpha):
    calls = lambda: smooth(batch.y, 5, alpha, "uniform", torch.float32), lambda: gift(batch.z, batch.targets, alpha=alpha)
    for call in calls:
        with pytest.raises(BadOption, match=r"^alpha must be in \[0, 1\), not "):
            call()


def test_an_unknown_smoothing_is_answered_with_the_right_one(batch):
    with pytest.raises(BadOption, match=r"no smoothing 'off_target'; did you mean 'off-target'\?"):
        gift(batch.z, batch.targets, smoothing="off_target")


# -- unit ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [1e-6, 1.0, 1e4, 1e19, 1e37])
def test_unit_has_length_1_and_the_same_direction_whatever_the_size(size):
    v = torch.tensor([[3.0, -4.0, 0.0], [0.0, 0.0, 1.0]])
    expected = torch.tensor([[0.6, -0.8, 0.0], [0.0, 0.0, 1.0]])
    torch.testing.assert_close(unit(v * size), expected, rtol=1e-6, atol=0)


def test_unit_agrees_with_torch_down_to_the_shortest_vectors():
    v = torch.tensor([[3.0, -4.0, 0.0]], dtype=torch.float64)
    for size in (1e-10, 2.1e-9, 1e-8, 1e-3):
        torch.testing.assert_close(unit(v * size), F.normalize(v * size, eps=1e-8), rtol=1e-12, atol=0)


def test_unit_of_zero_is_zero_with_a_finite_gradient():
    v = torch.zeros(2, 3, requires_grad=True)
    out = unit(v)
    (gradient,) = torch.autograd.grad(out.sum(), v)
    assert (out == 0).all() and gradient.isfinite().all()


def test_unit_has_the_gradient_of_the_quotient():
    v = torch.tensor([[3.0, -4.0, 1.0], [5.0, 0.0, 0.0], [2.0, 2.0, -2.0]], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(unit, (v,))


@pytest.mark.parametrize("loss", [gift, gift_reference, cosine])
def test_zero_logits_of_student_or_teacher_give_finite_numbers(loss):
    y, some = torch.tensor([0, 1]), torch.tensor([[1.0, 2.0], [3.0, -1.0]])
    for z, t in ((torch.zeros(2, 2), some), (some, torch.zeros(2, 2)), (torch.zeros(2, 2), torch.zeros(2, 2))):
        z = z.clone().requires_grad_()
        out = loss(z, Targets(hard=y, soft=t))
        (gradient,) = torch.autograd.grad(out, z)
        assert out.isfinite() and gradient.isfinite().all()
    assert cosine(some, Targets(soft=torch.zeros(2, 2))).item() == 1
