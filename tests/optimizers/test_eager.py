"""Torch's optimizers without its compiler: the same numbers, and torch as it was."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.optim.optimizer import register_optimizer_step_post_hook

from harness.optimizers import eager
from tests.processes import loaded_by

KINDS: dict[str, dict[str, Any]] = {
    "SGD": {"lr": 0.1, "momentum": 0.9, "weight_decay": 5e-4, "nesterov": True},
    "Adam": {"lr": 0.01, "weight_decay": 1e-4},
    "AdamW": {"lr": 0.01, "weight_decay": 0.1, "amsgrad": True},
}


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(2, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(64, 5))


def optimizer(home: Any, name: str, model: nn.Module, **options: Any) -> torch.optim.Optimizer:
    made: torch.optim.Optimizer = getattr(home, name)(model.parameters(), **KINDS[name], **options)
    return made


def trained(home: Any, name: str, form: torch.memory_format = torch.contiguous_format, **options: Any) -> Tensor:
    """Return the weights after steps under a schedule, with the state saved and loaded half way."""
    model, draws = network().to(memory_format=form), torch.Generator().manual_seed(1)
    made = optimizer(home, name, model, **options)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(made, 8)
    for number in range(8):
        made.zero_grad(set_to_none=number % 2 == 0)
        model(torch.randn(6, 2, 6, 6, generator=draws)).square().mean().backward()
        made.step()
        schedule.step()
        if number == 3:
            assert {*made.state} == {*model.parameters()}
            state = copy.deepcopy(made.state_dict())
            made = optimizer(home, name, model, **options)
            made.load_state_dict(state)
            schedule.optimizer = made
    return torch.cat([weight.detach().flatten() for weight in model.parameters()])


@pytest.mark.parametrize("form", [torch.contiguous_format, torch.channels_last], ids=str)
@pytest.mark.parametrize("options", [{"fused": True}, {"foreach": True}, {"foreach": False}], ids=str)
@pytest.mark.parametrize("name", KINDS)
def test_numbers_are_those_of_torch_to_the_bit(name: str, options: dict[str, bool], form: torch.memory_format) -> None:
    ours, theirs = trained(eager, name, form, **options), trained(torch.optim, name, form, **options)
    assert torch.equal(ours, theirs)
    assert not torch.equal(ours, torch.cat([weight.detach().flatten() for weight in network().parameters()]))


@pytest.mark.parametrize("name", KINDS)
def test_gradients_in_channels_last_order_are_not_copied(name: str) -> None:
    model = network().to(memory_format=torch.channels_last)
    made = optimizer(eager, name, model, fused=True)
    for _ in range(2):
        model(torch.ones(2, 2, 6, 6)).square().mean().backward()
        with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profile:
            made.step()
        assert "aten::contiguous" not in {event.key for event in profile.key_averages()}
    assert all(moment.stride() == weight.stride() for weight in model.parameters() for moment in moments(made, weight))


def moments(optimizer: torch.optim.Optimizer, weight: nn.Parameter) -> list[Tensor]:
    """Return what an optimizer keeps of a weight, a number for each of its own."""
    return [kept for kept in optimizer.state[weight].values() if kept.shape == weight.shape]


@pytest.mark.parametrize("name", KINDS)
def test_a_step_is_made_without_gradients_and_gives_what_its_closure_gives(name: str) -> None:
    model = network()
    made, modes = optimizer(eager, name, model), []

    def closure() -> Tensor:
        modes.append(torch.is_grad_enabled())
        loss = model(torch.ones(2, 2, 6, 6)).square().mean()
        loss.backward()
        return loss

    assert isinstance(made.step(closure), Tensor)
    assert modes == [True]
    assert torch.is_grad_enabled()
    assert all(weight.is_leaf for weight in model.parameters())


def test_a_differentiable_step_keeps_its_graph() -> None:
    weight = torch.ones(3, requires_grad=True)
    inner = weight.clone()
    inner.retain_grad()
    inner.square().sum().backward(retain_graph=True)
    made = eager.SGD([inner], lr=0.1, differentiable=True)
    made.step()
    assert inner.grad_fn is not None


@pytest.mark.parametrize("name", KINDS)
def test_it_is_a_torch_optimizer_whose_hooks_are_called(name: str) -> None:
    model, seen = network(), []
    made = optimizer(eager, name, model)
    hook = register_optimizer_step_post_hook(lambda optimizer, *_: seen.append(optimizer))
    try:
        made.step()
    finally:
        hook.remove()
    assert seen == [made]
    assert isinstance(made, getattr(torch.optim, name))
    assert pickle.loads(pickle.dumps(made)).param_groups[0]["lr"] == KINDS[name]["lr"]


def test_no_compiler_is_loaded_and_torchs_own_classes_stay_as_they_are() -> None:
    modules, printed = loaded_by(
        "import torch\n"
        "kinds = [torch.optim.Optimizer, torch.optim.SGD, torch.optim.Adam, torch.optim.AdamW]\n"
        "own = {kind: dict(vars(kind)) for kind in kinds}\n"
        "from harness import optimizers\n"
        "for name in ('sgd', 'adam', 'adamw', 'sgd-weights-only', 'adamw-weights-only'):\n"
        "    layer = torch.nn.Linear(3, 2)\n"
        "    made = optimizers.create(name, layer)\n"
        "    schedule = optimizers.create_schedule('cosine', made, 4)\n"
        "    for _ in range(2):\n"
        "        made.zero_grad()\n"
        "        layer(torch.ones(4, 3)).sum().backward()\n"
        "        made.step()\n"
        "        schedule.step()\n"
        "print(all(dict(vars(kind)) == before for kind, before in own.items()), 'torch._dynamo' in sys.modules)",
    )
    assert printed.splitlines()[-1] == "True False"
    assert not modules & {"timm", "torchvision", "sympy"}
