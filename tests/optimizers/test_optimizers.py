"""Optimizers and schedules: the defaults of the paper, parameters that arrive, and timm's by name."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import nn

from harness import optimizers
from harness.core.errors import BadOption, UnknownName


@pytest.fixture
def model() -> nn.Module:
    return nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 2))


def group(spec: Any, model: nn.Module) -> dict[str, Any]:
    """The one parameter group of an optimizer, which holds all of the model."""
    made = optimizers.create(spec, model)
    (found,) = made.param_groups
    assert {id(p) for p in found["params"]} == {id(p) for p in model.parameters()}
    return found


@pytest.mark.parametrize(
    ("name", "kind", "expected"),
    [
        ("sgd", torch.optim.SGD, {"lr": 0.1, "momentum": 0.9, "weight_decay": 5e-4, "nesterov": False, "dampening": 0}),
        ("adam", torch.optim.Adam, {"lr": 1e-3, "betas": (0.9, 0.999), "weight_decay": 1e-4, "eps": 1e-8, "amsgrad": False}),
        ("adamw", torch.optim.AdamW, {"lr": 1e-3, "betas": (0.9, 0.999), "weight_decay": 1e-4, "eps": 1e-8, "amsgrad": False}),
    ],
)
def test_the_three_of_the_paper_have_the_documented_defaults(
    model: nn.Module, name: str, kind: type, expected: dict[str, Any]
) -> None:
    made = optimizers.create(name, model)
    assert isinstance(made, kind)
    assert type(made).__name__ == kind.__name__
    found = group(name, model)
    assert {key: found[key] for key in expected} == expected


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        (
            "sgd(lr=1, momentum=0.5, weight_decay=0.25, nesterov)",
            {"lr": 1.0, "momentum": 0.5, "weight_decay": 0.25, "nesterov": True},
        ),
        ("adam(lr=0.5, beta1=0.8, beta2=0.9, weight_decay=0)", {"lr": 0.5, "betas": (0.8, 0.9), "weight_decay": 0.0}),
        ({"name": "adamw", "lr": 0.5, "beta1": 0.8, "weight_decay": 1}, {"lr": 0.5, "betas": (0.8, 0.999), "weight_decay": 1.0}),
        (
            "lion(lr=0.5, weight_decay=0.25, filter_bias_and_bn=false)",
            {"lr": 0.5, "weight_decay": 0.25, "betas": (0.9, 0.99)},
        ),
        ("timm/lion(lr=0.5, betas=[0.8, 0.7])", {"lr": 0.5, "betas": (0.8, 0.7)}),
        ("timm/adamw(lr=0.5, eps=0.125)", {"lr": 0.5, "eps": 0.125}),
    ],
)
def test_parameters_arrive_in_the_optimizer(model: nn.Module, spec: Any, expected: dict[str, Any]) -> None:
    found = group(spec, model)
    assert {key: found[key] for key in expected} == expected


@pytest.mark.parametrize("spec", ["sgd", "adam", "adamw", "lion", "timm/nadamw"])
def test_a_step_changes_every_parameter(model: nn.Module, spec: str) -> None:
    made = optimizers.create(spec, model)
    before = [p.detach().clone() for p in model.parameters()]
    nn.functional.cross_entropy(model(torch.randn(8, 3)).square(), torch.arange(8) % 2).backward()
    made.step()
    unchanged = [name for (name, p), old in zip(model.named_parameters(), before, strict=True) if torch.equal(p, old)]
    assert unchanged in ([], ["0.bias"])  # batch norm takes away what the first bias gives


@pytest.mark.parametrize(
    ("spec", "kind", "expected"),
    [
        ("adamw-weights-only", torch.optim.AdamW, {"lr": 1e-3, "betas": (0.9, 0.999), "weight_decay": 0.01}),
        ("sgd-weights-only", torch.optim.SGD, {"lr": 0.1, "momentum": 0.9, "weight_decay": 5e-4, "nesterov": False}),
        ("adamw-weights-only(lr=0.5, beta1=0.8, weight_decay=0)", torch.optim.AdamW, {"lr": 0.5, "betas": (0.8, 0.999)}),
    ],
)
def test_weight_decay_may_leave_biases_and_norms_alone(model: nn.Module, spec: str, kind: type, expected: dict[str, Any]) -> None:
    made = optimizers.create(spec, model)
    assert isinstance(made, kind)
    assert type(made).__name__ == kind.__name__
    weights, rest = made.param_groups
    assert {key: weights[key] for key in expected} == expected
    assert rest["weight_decay"] == 0
    assert {k: v for k, v in rest.items() if k not in ("params", "weight_decay")} == {
        k: v for k, v in weights.items() if k not in ("params", "weight_decay")
    }
    named = dict(model.named_parameters())
    assert [id(p) for p in weights["params"]] == [id(named["0.weight"]), id(named["2.weight"])]
    assert {id(p) for p in rest["params"]} == {id(named[k]) for k in ("0.bias", "1.weight", "1.bias", "2.bias")}


def test_an_optimizer_of_timm_has_one_meaning_with_and_without_its_prefix() -> None:
    bare, prefixed = optimizers.resolve("lion(lr=0.5)"), optimizers.resolve("timm/lion(lr=0.5)")
    assert bare.options == prefixed.options
    assert bare.options["betas"] == [0.9, 0.99]
    assert bare.options["lr"] == 0.5


def test_a_whole_number_and_a_float_make_the_same_optimizer() -> None:
    assert repr(optimizers.resolve("lion(lr=1)").options) == repr(optimizers.resolve("lion(lr=1.0)").options)
    assert repr(optimizers.resolve("sgd(lr=1)").options) == repr(optimizers.resolve("sgd(lr=1.0)").options)


def test_what_is_no_hyperparameter_cannot_be_set() -> None:
    for name in ("params", "foreach", "fused", "capturable", "maximize"):
        assert name not in optimizers.resolve("timm/adamw").options


def test_a_label_shows_what_differs_from_the_defaults() -> None:
    assert optimizers.label("adamw") == optimizers.label("adamw(lr=0.001)") == "adamw"
    assert optimizers.label("sgd(nesterov, lr=1)") == "sgd(nesterov, lr=1.0)"
    assert optimizers.label("timm/lion") == "timm/lion"
    assert optimizers.label("lion(lr=0.5)") == "lion(lr=0.5)"


@pytest.mark.parametrize(
    ("spec", "error", "message"),
    [
        ("admw", UnknownName, "no optimizer 'admw'; did you mean 'adamw'"),
        ("timm/loin", UnknownName, "no optimizer 'timm/loin'; did you mean 'lion'"),
        ("sgd(rate=1)", BadOption, "optimizer 'sgd' has no parameter 'rate'; valid: lr, momentum, nesterov, weight_decay"),
        ("lion(beta=1)", BadOption, "optimizer 'lion' has no parameter 'beta'; did you mean 'betas'"),
        ("sgd(lr=fast)", BadOption, "optimizer 'sgd': lr must be a number, not 'fast'"),
        ("lion(lr=fast)", BadOption, "optimizer 'lion': lr must be a number, not 'fast'"),
        ("lion(betas=0.9)", BadOption, "optimizer 'lion': betas must be a list, not 0.9"),
        ("sgd(", BadOption, r"cannot read 'sgd\('"),
        (3, BadOption, "expected a name"),
    ],
)
def test_an_unknown_name_or_parameter_is_answered(spec: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=rf"\A{message}"):
        optimizers.resolve(spec)


# -- schedules ------------------------------------------------------------------------------------------------------------


def rates(spec: str, epochs: int, model: nn.Module) -> list[float]:
    """The learning rate in every epoch, and the one after the last."""
    optimizer = optimizers.create("sgd(lr=1)", model)
    schedule = optimizers.create_schedule(spec, optimizer, epochs)
    found = []
    for _ in range(epochs + 1):
        found.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    return found


def test_multistep_takes_a_fifth_at_two_thirds_and_at_five_sixths(model: nn.Module) -> None:
    assert rates("multistep", 12, model) == pytest.approx([1.0] * 8 + [0.2] * 2 + [0.04] * 3)
    assert rates("multistep", 6, model) == pytest.approx([1.0] * 4 + [0.2] + [0.04] * 2)


@pytest.mark.parametrize("epochs", [*range(2, 25), 100, 300, 1000])
def test_multistep_counts_whole_epochs_as_the_paper_does(model: nn.Module, epochs: int) -> None:
    first, second = 2 * epochs // 3, 5 * epochs // 6
    expected = [1.0] * first + [0.2] * (second - first) + [0.04] * (epochs - second + 1)
    assert rates("multistep", epochs, model) == pytest.approx(expected)


@pytest.mark.parametrize("epochs", [50, 100, 1000])
def test_multistep_rounds_milestones_that_are_numbers_as_those_of_the_first_records_are(model: nn.Module, epochs: int) -> None:
    found = rates(f"multistep(milestones=[{2 / 3!r}, {5 / 6!r}])", epochs, model)
    assert [found.index(pytest.approx(rate)) for rate in (0.2, 0.04)] == [round(2 / 3 * epochs), round(5 / 6 * epochs)]


@pytest.mark.parametrize("milestone", ["'2/0'", "half", "'-1/2'", "'0.5'"])
def test_a_milestone_that_is_no_share_is_refused(model: nn.Module, milestone: str) -> None:
    with pytest.raises(BadOption, match=r"\Aschedule 'multistep': a milestone is a fraction such as \"2/3\", or a number, not "):
        rates(f"multistep(milestones=[{milestone}])", 6, model)


def test_multistep_takes_its_milestones_and_its_factor(model: nn.Module) -> None:
    assert rates("multistep(milestones=[0.5], gamma=0.1)", 4, model) == pytest.approx([1, 1, 0.1, 0.1, 0.1])


@pytest.mark.parametrize("epochs", [1, 2, 3])
def test_multistep_works_for_few_epochs(model: nn.Module, epochs: int) -> None:
    found = rates("multistep", epochs, model)
    assert found[0] == 1.0
    assert found[-1] == pytest.approx(0.04)


def test_cosine_goes_down_half_a_wave(model: nn.Module) -> None:
    assert rates("cosine", 8, model) == pytest.approx([(1 + math.cos(math.pi * epoch / 8)) / 2 for epoch in range(9)], abs=1e-9)


def test_cosine_ends_at_its_minimum(model: nn.Module) -> None:
    found = rates("cosine(minimum=0.5)", 8, model)
    assert found == pytest.approx([0.5 + 0.25 * (1 + math.cos(math.pi * epoch / 8)) for epoch in range(9)])


def test_cosine_to_half_ends_at_half_the_rate(model: nn.Module) -> None:
    found = rates("cosine-to-half", 8, model)
    assert found == pytest.approx([0.5 * (1 + math.cos(math.pi * epoch / 16)) for epoch in range(9)])
    assert found[-1] == pytest.approx(0.5)


@pytest.mark.parametrize("factor", [1, 1.5, 2, 0.5])
def test_a_smoothed_cosine_takes_its_factor_times_the_epochs(model: nn.Module, factor: float) -> None:
    spread = factor * 8
    expected = [0.5 * (1 + math.cos(math.pi * epoch / spread)) if epoch <= spread else 0.0 for epoch in range(9)]
    assert rates(f"smoothed-cosine(factor={factor})", 8, model) == pytest.approx(expected, abs=1e-9)
    assert rates("smoothed-cosine", 8, model) == pytest.approx(rates("cosine-to-half", 8, model))


def test_a_cosine_becomes_a_line_at_five_sixths(model: nn.Module) -> None:
    found, left = rates("cosine-then-line", 12, model), 0.5 * (1 + math.cos(math.pi * 5 / 12))
    assert found[:11] == pytest.approx([0.5 * (1 + math.cos(math.pi * epoch / 24)) for epoch in range(11)])
    assert found[11:] == pytest.approx([left / 12, 0.0])


@pytest.mark.parametrize("schedule", ["smoothed-cosine", "cosine-then-line"])
@pytest.mark.parametrize("factor", ["0", "-1"])
def test_a_cosine_of_no_length_is_refused(model: nn.Module, schedule: str, factor: str) -> None:
    with pytest.raises(BadOption, match=rf"\Aschedule '{schedule}': factor must be above 0, not "):
        rates(f"{schedule}(factor={factor})", 4, model)


@pytest.mark.parametrize(("epochs", "warmup", "start"), [(12, 5, 0.01), (12, 0, 0.01), (10, 3, 0.5), (3, 5, 0.01)])
def test_warmup_cosine_rises_and_then_goes_down_half_a_wave(model: nn.Module, epochs: int, warmup: int, start: float) -> None:
    """As torch's LinearLR and CosineAnnealingLR do one after the other."""
    up = [start + (1 - start) * epoch / warmup for epoch in range(min(warmup, epochs + 1))]
    down = [(1 + math.cos(math.pi * epoch / (epochs - warmup))) / 2 for epoch in range(epochs - warmup + 1)]
    assert rates(f"warmup-cosine(warmup={warmup}, start={start})", epochs, model) == pytest.approx(up + down, abs=1e-9)
    if warmup == 5:
        assert rates("warmup-cosine", epochs, model) == pytest.approx(up + down, abs=1e-9)


@pytest.mark.parametrize("spec", ["warmup-cosine(warmup=-1)", "warmup-cosine(start=2)"])
def test_a_warmup_that_cannot_be_is_refused(model: nn.Module, spec: str) -> None:
    with pytest.raises(BadOption, match="warmup must be at least 0 and start in"):
        rates(spec, 4, model)


def test_constant_leaves_the_rate(model: nn.Module) -> None:
    assert rates("constant", 5, model) == [1.0] * 6


def test_an_unknown_schedule_is_answered_with_the_nearest(model: nn.Module) -> None:
    with pytest.raises(UnknownName, match=r"no schedule 'cosin'; did you mean 'cosine'\?"):
        rates("cosin", 2, model)
