"""What holds for every registered loss: its name, its parameters, its gradients, its range and its refusals."""

from __future__ import annotations

import inspect
from functools import partial

import pytest
import torch

from harness import losses
from harness.core.errors import BadOption, MissingTargets, UnknownName
from harness.losses.targets import Targets

HARD, SOFT = "hard", "soft"
TABLE = {  # name: (what it needs, its parameters and their defaults)
    "ce": ({HARD}, {}),
    "kl": ({SOFT}, {"temperature": 20, "rescale": False}),
    "mse": ({SOFT}, {}),
    "soft_ce": ({SOFT}, {"temperature": 1}),
    "kl_ce": ({HARD, SOFT}, {"temperature": 20, "rescale": False, "weight": 0.1}),
    "calibrated_kl": ({SOFT}, {"temperature": 20, "lowest": 2, "decay": 0.7, "every": 30, "epochs": 300}),
    "mse_ce": ({HARD, SOFT}, {"weight": 0.1}),
    "soft_ce_ce": ({HARD, SOFT}, {"temperature": 1, "weight": 0.1}),
    "cosine": ({SOFT}, {}),
    "gift": ({HARD, SOFT}, {"gamma": 0.1, "alpha": 0.1, "smoothing": "uniform"}),
    "gift_reference": ({HARD, SOFT}, {}),
    "kd": ({HARD, SOFT}, {"temperature": 4, "alpha": 0.9}),
    "wsld": ({HARD, SOFT}, {"temperature": 4, "alpha": 2.25}),
    "dkd": ({HARD, SOFT}, {"temperature": 4, "alpha": 1, "beta": 8, "warmup": 0}),
    "nkd": ({HARD, SOFT}, {"temperature": 1, "gamma": 1.5}),
    "refined": ({HARD, SOFT}, {"native": "kl", "gamma": 0.1, "alpha": 0.1, "smoothing": "uniform"}),
}
every_loss = pytest.mark.parametrize("name", TABLE)
every_soft_loss = pytest.mark.parametrize("name", [name for name, (needs, _) in TABLE.items() if SOFT in needs])


# -- names and parameters ------------------------------------------------------------------------------------------------


def test_the_losses_of_giftbench_are_those_of_the_table():
    assert {name for name in losses.names() if losses.describe(name).origin == "giftbench"} == set(TABLE)


@every_loss
def test_parameters_and_defaults_are_those_of_the_table(name):
    assert losses.registry.parameters(name) == TABLE[name][1]
    assert list(inspect.signature(losses.get(name)).parameters)[:2] == ["logits", "targets"]


@every_loss
def test_a_parameter_that_is_a_number_takes_any_number(name):
    defaults = losses.registry.parameters(name)
    assert not [option for option, default in defaults.items() if type(default) is int], "a whole default would refuse 0.5"


@every_loss
def test_function_has_the_name_it_is_registered_under_and_says_in_a_line_what_it_is(name):
    assert losses.get(name).__name__ == name
    summary = losses.describe(name).summary
    assert summary.endswith(".") and len(summary) < 120
    assert "Returns:" in (losses.get(name).__doc__ or "")


@pytest.mark.parametrize(("wrong", "right"), [("gfit", "gift"), ("kl-ce", "kl_ce"), ("gift-reference", "gift_reference")])
def test_an_unknown_loss_is_answered_with_the_right_one(wrong, right):
    with pytest.raises(UnknownName, match=f"no loss '{wrong}'; did you mean .*'{right}'"):
        losses.create(wrong)


def test_an_unknown_parameter_is_answered_with_the_right_one():
    with pytest.raises(BadOption, match=r"loss 'kl' has no parameter 'temprature'; did you mean 'temperature'\?"):
        losses.create("kl", temprature=4)
    with pytest.raises(BadOption, match=r"loss 'gift_reference' has no parameter 'gamma'"):
        losses.create("gift_reference", gamma=0.2)


def test_created_losses_carry_their_parameters(batch):
    bound = losses.create("kl(rescale, temperature=3)")
    assert bound(batch.z, batch.targets) == losses.get("kl")(batch.z, batch.targets, temperature=3, rescale=True)


NEGATIVE, NAN, INFINITE = -0.5, float("nan"), float("inf")
WRONG = {
    "temperature": (0.0, NEGATIVE, NAN, INFINITE),
    "weight": (NEGATIVE, NAN, INFINITE),
    "smoothing": ("none", "Uniform"),
    "warmup": (NEGATIVE, 1.5, NAN),
    "beta": (NEGATIVE, NAN, INFINITE),
    "gift gamma": (NEGATIVE, 1.01, NAN),
    "gift alpha": (NEGATIVE, 1.0, NAN),
    "refined gamma": (NEGATIVE, 1.01, NAN),
    "refined alpha": (NEGATIVE, 1.0, NAN),
    "kd alpha": (NEGATIVE, 1.01, NAN),
    "lowest": (0.0, NEGATIVE, NAN, INFINITE),
    "decay": (0.0, NEGATIVE, 1.01, NAN),
    "every": (0.5, NEGATIVE, NAN, INFINITE),
    "epochs": (0.5, NEGATIVE, NAN, INFINITE),
    "gamma": (NEGATIVE, NAN, INFINITE),
    "alpha": (NEGATIVE, NAN, INFINITE),
}
OPTIONS = [(name, option) for name, (_, options) in TABLE.items() for option in options if option not in ("rescale", "native")]


@pytest.mark.parametrize(("name", "option"), OPTIONS)
def test_a_value_without_sense_is_refused_by_the_parameters_name(batch, name, option):
    for value in WRONG.get(f"{name} {option}", WRONG[option]):
        with pytest.raises(BadOption) as refusal:
            losses.create(name, **{option: value})(batch.z, batch.targets)
        assert option in str(refusal.value) and repr(value) in str(refusal.value) and "\n" not in str(refusal.value)


# -- what a loss is given ------------------------------------------------------------------------------------------------


@every_loss
def test_absent_labels_are_refused_and_only_where_they_are_needed(batch, name):
    needs, loss = TABLE[name][0], losses.create(name)
    for absent in (HARD, SOFT):
        targets = Targets(hard=None if absent == HARD else batch.y, soft=None if absent == SOFT else batch.t)
        if absent in needs:
            with pytest.raises(MissingTargets, match=f"needs {absent} labels"):
                loss(batch.z, targets)
        else:
            assert loss(batch.z, targets) == loss(batch.z, batch.targets)


@every_soft_loss
def test_no_gradient_reaches_the_soft_labels(batch, name):
    z = batch.z.clone().requires_grad_()
    for kind, soft in (("logits", batch.t.clone()), ("probabilities", batch.t.softmax(dim=1))):
        for options in ({}, {"temperature": 1.0}) if "temperature" in TABLE[name][1] else ({},):
            soft.requires_grad_()
            losses.create(name, **options)(z, Targets(hard=batch.y, soft=soft, kind=kind)).backward()
            assert soft.grad is None and z.grad is not None


@every_loss
def test_targets_are_left_as_they_were(batch, name):
    t, y = batch.t.clone(), batch.y.clone()
    losses.create(name)(batch.z, batch.targets)
    assert batch.t.equal(t) and batch.y.equal(y)


# -- what a loss returns -------------------------------------------------------------------------------------------------


@every_loss
@pytest.mark.parametrize(
    ("given", "returned"),
    [(torch.float64,) * 2, (torch.float32,) * 2, (torch.bfloat16, torch.float32), (torch.float16, torch.float32)],
)
def test_the_loss_is_a_scalar_of_at_least_float32(batch, name, given, returned):
    loss = losses.create(name)(batch.z.to(given), batch.targets)
    assert loss.shape == () and loss.dtype == returned


@every_loss
def test_half_precision_logits_are_computed_on_in_float32(batch, name):
    loss, z = losses.create(name), batch.z.bfloat16()
    soft = batch.t.bfloat16()
    half, single = (loss(a, Targets(hard=batch.y, soft=b)) for a, b in ((z, soft), (z.float(), soft.float())))
    assert half == single


# wsld holds its sample weights constant: test_distillation.py has its finite differences, with the weights fixed.
@pytest.mark.parametrize("name", sorted(set(TABLE) - {"wsld"}))
def test_gradient_is_that_of_finite_differences(batch, name):
    loss = losses.create(name)
    assert torch.autograd.gradcheck(partial(loss, targets=batch.targets), (batch.z.clone().requires_grad_(),))


def extremes():
    """Logits of 1e4 that agree, that contradict each other and the label, that are one-sided, flat and mixed with small ones."""
    b = 1e4
    z = [[b, -b, -b, -b], [-b, b, -b, -b], [b, b, b, b], [-b, -b, -b, -b], [0, 0, 0, 0], [-b, 1, 2, 3], [b, 1, 2, 3]]
    t = [[b, -b, -b, -b], [b, -b, -b, -b], [-b, b, b, b], [b, -b, 0, 1], [b, b, b, b], [1, 2, 3, b], [-b, 0, 0, 0]]
    return torch.tensor(z), torch.tensor(t), torch.tensor([0, 0, 1, 2, 3, 0, 0])


@every_loss
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("kind", ["logits", "probabilities"])
@pytest.mark.parametrize("autocast", [False, True])
def test_value_and_gradient_are_finite_for_logits_of_ten_thousand(name, dtype, kind, autocast):
    z, t, y = extremes()
    z = z.to(dtype).requires_grad_()
    targets = Targets(hard=y, soft=t if kind == "logits" else t.softmax(dim=1), kind=kind)
    for options in ({}, {"temperature": 1.0}) if "temperature" in TABLE[name][1] else ({},):
        with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
            loss = losses.create(name, **options)(z, targets)
        (gradient,) = torch.autograd.grad(loss, z)
        assert loss.isfinite() and gradient.isfinite().all()


@every_loss
def test_autocast_changes_nothing(batch, name):
    loss, z = losses.create(name), batch.z.float()
    targets = Targets(hard=batch.y, soft=batch.t.float())
    with torch.autocast("cpu", torch.bfloat16):
        under = loss(z, targets)
    assert under == loss(z, targets)


# -- how a loss runs -----------------------------------------------------------------------------------------------------


@every_loss
@pytest.mark.parametrize("kind", ["logits", "probabilities"])
def test_no_loss_looks_at_a_number_on_the_device(name, kind):
    """Tensors of the meta device have no numbers: `.item()`, `if tensor` and boolean indexing all raise on them."""
    z, t = torch.empty(4, 3, device="meta", requires_grad=True), torch.empty(4, 3, device="meta")
    y = torch.empty(4, dtype=torch.int64, device="meta")
    losses.create(name)(z, Targets(hard=y, soft=t, kind=kind)).backward()


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@every_loss
def test_no_loss_waits_for_a_cuda_device(batch, name):
    loss, z = losses.create(name), batch.z.float().cuda().requires_grad_()
    targets = Targets(hard=batch.y.cuda(), soft=batch.t.float().cuda())
    torch.cuda.set_sync_debug_mode("error")
    try:
        with torch.autocast("cuda", torch.bfloat16):
            out = loss(z, targets)
        out.backward()
    finally:
        torch.cuda.set_sync_debug_mode("default")
    expected = loss(batch.z, batch.targets)
    assert out.item() == pytest.approx(expected.item(), rel=1e-4)


@every_loss
def test_every_loss_can_be_mapped_over_students_at_once(batch, name):
    """Several students, one a row: what training a bundle in one pass needs."""
    loss = losses.create(name)
    z, t, y = (torch.stack([x, x.flip(0), x.roll(1, 0)]) for x in (batch.z, 2 * batch.t, batch.y))

    def one(a, b, c):
        return loss(a, Targets(hard=c, soft=b))

    together = torch.func.vmap(torch.func.grad(one))(z, t, y)
    for index in range(3):
        alone = torch.func.grad(one)(z[index], t[index], y[index])
        torch.testing.assert_close(together[index], alone)
