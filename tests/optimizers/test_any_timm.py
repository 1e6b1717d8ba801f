"""Every optimizer of timm: what timm's own factory gives for a name is what the name means, and what cannot run says so."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from harness import losses, models, optimizers
from harness.core.errors import BadOption
from harness.core.resolved import Resolved
from harness.core.spec import Spec
from harness.planning.resolution import check_optimizer
from harness.training.loop import fit
from harness.training.values import Material, Recipe

#: Options with a fraction, tried on every name that has them; weight decay is what every name has.
FRACTIONS = {"weight_decay": 5e-4, "momentum": 0.85, "eps": 1e-7, "alpha": 0.75, "rho": 0.75, "lr_decay": 0.5}
RATE = 0.005
#: Names that cannot run on the CPU, or at all, and what is said of them.
REFUSED = {
    r"bnb.*": "timm says '(CUDA required for bitsandbytes optimizers|bitsandbytes optimizers require bitsandbytes)",
    r"fused.*": "timm says '(CUDA required for APEX optimizers|APEX optimizers require apex)",
    r"adahessian": "it needs gradients of gradients",
    r"kron.*": "it compiles its steps",
}


def material() -> Material:
    draws = torch.Generator().manual_seed(0)
    images = torch.randn(8, 2, 8, 8, generator=draws).to(memory_format=torch.channels_last)
    return Material(images, torch.arange(8) % 3)


def trained(optimizer: Resolved[Any]) -> list[Tensor]:
    """Return a student's weights after six steps of the hot loop."""
    torch.manual_seed(0)
    student = models.build("convnet1(width=4)", (2, 8, 8), 3).to(memory_format=torch.channels_last)
    recipe = Recipe(3, 4, optimizer, optimizers.schedules.resolve("cosine"), "none")
    fit(student, material(), losses.create("ce"), recipe, seed=0)
    return [weight.detach() for weight in student.parameters()]


def timms(name: str, **options: Any) -> Resolved[Any]:
    """Return what timm's factory makes of a name and nothing but these options."""

    def make(model: nn.Module) -> Any:
        from timm.optim import create_optimizer_v2

        return create_optimizer_v2(model, opt=name, lr=RATE, **options)

    return Resolved("optimizer", Spec(name=f"theirs/{name}"), name, make)


def names() -> list[str]:
    from timm.optim import list_optimizers

    return [*list_optimizers()]


def refusal(name: str) -> str:
    return next((said for pattern, said in REFUSED.items() if re.fullmatch(pattern, name)), "")


def test_every_name_trains_to_the_bit_as_timms_factory_makes_it_with_its_defaults_and_with_fractions() -> None:
    other, same = [], 0
    for name in names():
        if refusal(name):
            continue
        known = optimizers.resolve(f"timm/{name}").options
        fractions = {option: value for option, value in FRACTIONS.items() if option in known}
        for options in ({}, fractions):
            ours = trained(check_optimizer(Spec(name=f"timm/{name}", options={"lr": RATE, **options})))
            theirs = trained(timms(name, **options))
            equal = all(torch.equal(one, two) for one, two in zip(ours, theirs, strict=True))
            same += equal
            other += [] if equal else [(name, options)]
    assert not other
    assert same > 120  # timm has some sixty that run, each trained twice


def test_a_fraction_is_not_lost_on_the_way() -> None:
    """The comparison above would also hold if neither side heard of the options."""
    plain = trained(optimizers.resolve(f"timm/momentum(lr={RATE})"))
    for options in ("momentum=0.5", "weight_decay=0.5"):
        assert not torch.equal(plain[0], trained(optimizers.resolve(f"timm/momentum(lr={RATE}, {options})"))[0])


def test_what_cannot_run_here_says_so_in_one_line() -> None:
    refused = [name for name in names() if refusal(name)]
    assert {"adahessian", "kron", "kronc", "kronw", "bnbadam", "fusedsgd"} <= {*refused}
    for name in refused:
        for asked in (name, f"timm/{name}"):
            with pytest.raises(BadOption, match=rf"\Aoptimizer '{asked}' cannot be used here: {refusal(name)}") as error:
                check_optimizer(asked)
            assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("momentum", {"lr": 1e-3, "momentum": 0.9, "nesterov": False, "weight_decay": 0.0}),
        ("nesterov", {"lr": 1e-3, "momentum": 0.9, "nesterov": True, "weight_decay": 0.0}),
        ("timm/sgd", {"lr": 1e-3, "momentum": 0.9, "nesterov": True, "weight_decay": 0.0}),
        ("rmsprop", {"lr": 0.01, "momentum": 0.9, "alpha": 0.9, "weight_decay": 0.0}),
        ("lars", {"lr": 1.0, "momentum": 0.9, "trust_coeff": 0.001, "weight_decay": 0.0}),
        ("muon", {"lr": 0.02, "momentum": 0.9, "weight_decay": 0.0}),
        ("lamb", {"lr": 1e-3, "betas": [0.9, 0.999], "weight_decay": 0.0}),
        ("adafactor", {"lr": 1e-3, "betas": None, "weight_decay": 0.0}),
        ("sgdp", {"lr": 1e-3, "momentum": 0.9, "nesterov": True, "wd_ratio": 0.1}),
    ],
)
def test_defaults_are_those_of_timms_factory(name: str, expected: dict[str, Any]) -> None:
    options = optimizers.resolve(name).options
    assert {option: options[option] for option in expected} == expected


def test_weight_decay_leaves_biases_and_norms_alone_unless_that_is_switched_off() -> None:
    model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 2))
    rest, weights = optimizers.create("timm/nadamw(weight_decay=0.5)", model).param_groups
    assert (rest["weight_decay"], weights["weight_decay"]) == (0.0, 0.5)
    assert [parameter.dim() for parameter in weights["params"]] == [2, 2]
    (group,) = optimizers.create("timm/nadamw(weight_decay=0.5, filter_bias_and_bn=false)", model).param_groups
    assert group["weight_decay"] == 0.5


def test_a_trial_tells_that_its_optimizer_is_as_the_factory_makes_it() -> None:
    """Trials from before, which had the defaults of classes and weight decay everywhere, have other options, hence other ids."""
    for name in ("momentum", "nadamw(weight_decay=0.01)", "adadelta"):
        assert optimizers.resolve(name).options["filter_bias_and_bn"] is True


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        (
            "timm/sgdw(momentum=0)",
            "optimizer 'timm/sgdw(momentum=0.0)' cannot make a step: ValueError: Nesterov momentum",
        ),
        ("lion(betas=[2, 3])", "optimizer 'lion(betas=[2, 3])' cannot make a step: ValueError: Invalid beta"),
        ("nadamw(clipping_threshold=high)", "optimizer 'nadamw(clipping_threshold=high)' cannot make a step: "),
        ("sgd(lr=-1)", "optimizer 'sgd(lr=-1.0)' cannot make a step: ValueError: Invalid learning rate: -1.0"),
        ("sgd(momentum=0, nesterov)", "cannot make a step: ValueError: Nesterov momentum requires"),
    ],
)
def test_values_that_an_optimizer_refuses_are_found_before_anything_is_trained(
    refused: Callable[..., Any], spec: str, message: str
) -> None:
    with refused(BadOption, message):
        check_optimizer(spec)


def test_a_plugins_optimizer_is_not_tried_on_a_network_that_it_may_not_be_made_for() -> None:
    @optimizers.register("head-only")
    def head_only(model: nn.Module, *, lr: float = 0.1) -> torch.optim.Optimizer:
        head = model.get_submodule("classifier")
        return torch.optim.SGD(head.parameters(), lr)

    try:
        assert check_optimizer("head-only").options == {"lr": 0.1}
    finally:
        optimizers.registry.remove("head-only")


def test_a_check_leaves_torchs_random_stream_alone() -> None:
    before = torch.get_rng_state()
    check_optimizer("sgd(lr=0.123)")
    assert torch.equal(before, torch.get_rng_state())
