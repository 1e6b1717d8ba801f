"""`check_optimizer` and `check_schedule`: what giftbench expects of an optimizer, and of a learning-rate schedule."""

from __future__ import annotations

import math

import torch
from torch import nn

from harness import optimizers
from harness.core.spec import Named, read
from harness.testing.checks import expect, no_waiting, works

EPOCHS = 12


def _student() -> nn.Module:
    """A small network with weights, biases and a norm."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 36, 3))


def _train(spec: Named, name: str, steps: int = 8, state: bool = False) -> list[torch.Tensor]:
    """Return the weights after some steps on the same batch; with `state` the optimizer is made anew half way, of its state."""
    model = _student()
    with works(name, "to be made"):
        optimizer = optimizers.create(spec, model)
    draws = torch.Generator().manual_seed(1)
    images, labels = torch.randn(12, 1, 8, 8, generator=draws), torch.arange(12) % 3
    for step in range(steps):
        if state and step == steps // 2:
            kept = optimizer.state_dict()
            optimizer = optimizers.create(spec, model)
            with works(name, "to take up its state_dict()"):
                optimizer.load_state_dict(kept)
        loss = nn.functional.cross_entropy(model(images), labels)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        with works(name, "in step()"), no_waiting(name):
            optimizer.step()
    return [parameter.detach().clone() for parameter in model.parameters()]


def check_optimizer(optimizer: str, **options: object) -> None:
    """Check that an optimizer keeps what giftbench expects of one.

    It is made of a model, steps all of its parameters, to finite values and by its learning rate, which schedules change in its
    `param_groups`; the same steps give the same weights; it goes on from its `state_dict()` as if it had never stopped; a step
    does not make the host wait for the device.

    Args:
        optimizer: its name, as boards write it, "lion(lr=1e-4)".
        options: parameters beside those in the name.
    Raises: CheckFailed (an AssertionError) of one sentence; UnknownName and BadOption for a name that there is not.
    """
    spec = optimizers.registry.resolve(optimizer, **options).spec
    name = f"optimizer {read(optimizer)[0]!r}"
    model = _student()
    with works(name, "to be made"):
        made = optimizers.create(spec, model)
    expect(isinstance(made, torch.optim.Optimizer), name, f"is a {type(made).__name__}; return a torch.optim.Optimizer")
    stepped = {id(parameter) for group in made.param_groups for parameter in group["params"]}
    left = [label for label, parameter in model.named_parameters() if id(parameter) not in stepped]
    expect(not left, name, f"leaves {', '.join(left[:3])} out; it is given a model and steps all of its parameters")
    rates = [group.get("lr") for group in made.param_groups]
    right = all(isinstance(rate, (int, float)) and rate > 0 for rate in rates)
    expect(right, name, f"has the learning rates {rates} in its param_groups; schedules change numbers there")
    before, after = [parameter.detach() for parameter in _student().parameters()], _train(spec, name)
    expect(all(bool(values.isfinite().all()) for values in after), name, "steps to weights that are not finite")
    moved = any(not torch.equal(old, new) for old, new in zip(before, after, strict=True))
    expect(moved, name, "changes no weight in eight steps")
    again = _train(spec, name)
    same = all(torch.equal(one, other) for one, other in zip(after, again, strict=True))
    expect(same, name, "gives other weights for the same steps; draw nothing, or from a seed")
    resumed = _train(spec, name, state=True)
    goes_on = all(torch.allclose(one, other, rtol=1e-4, atol=1e-6) for one, other in zip(after, resumed, strict=True))
    expect(goes_on, name, "does not go on from its state_dict(); keep there what a step rests on")


def check_schedule(schedule: str, **options: object) -> None:
    """Check that a schedule keeps what giftbench expects of one.

    Stepped once after every epoch it gives each parameter group a finite rate of at least 0, the same ones each time, for one
    epoch as for many, and all groups in proportion; it goes on from its `state_dict()`.

    Args:
        schedule: its name, as boards write it, "cosine(minimum=1e-5)".
        options: parameters beside those in the name.
    Raises: CheckFailed (an AssertionError) of one sentence; UnknownName and BadOption for a name that there is not.
    """
    spec = optimizers.schedules.resolve(schedule, **options).spec
    name = f"schedule {read(schedule)[0]!r}"
    for epochs in (1, 2, EPOCHS):
        rates = _rates(spec, name, epochs)
        fitting = all(math.isfinite(rate) and rate >= 0 for pair in rates for rate in pair)
        expect(fitting, name, f"gives the rates {rates} over {epochs} epochs; rates are finite and at least 0")
    usual = _rates(spec, name, EPOCHS)
    expect(usual == _rates(spec, name, EPOCHS), name, "gives other rates the second time")
    shares = all(math.isclose(small, 0.1 * large, rel_tol=1e-6, abs_tol=1e-12) for large, small in usual)
    expect(shares, name, "does not change the rates of all parameter groups in proportion")
    resumed = _rates(spec, name, EPOCHS, state=True)
    near = all(
        math.isclose(a, b, rel_tol=1e-9, abs_tol=1e-12)
        for one, two in zip(usual, resumed, strict=True)
        for a, b in zip(one, two, strict=True)
    )
    expect(near, name, "does not go on from its state_dict(); keep there what the next rate rests on")


def _rates(spec: Named, name: str, epochs: int, state: bool = False) -> list[tuple[float, float]]:
    """Return the rates of two groups, 0.1 and 0.01 to begin with, of each epoch; with `state` it is made anew half way."""

    def groups() -> torch.optim.Optimizer:
        one, other = (nn.Parameter(torch.zeros(1)) for _ in range(2))
        return torch.optim.SGD([{"params": [one], "lr": 0.1}, {"params": [other], "lr": 0.01}], lr=0.1)

    optimizer = groups()
    with works(name, f"to be made for {epochs} epochs"):
        schedule = optimizers.create_schedule(spec, optimizer, epochs)
    rates = []
    for epoch in range(epochs):
        if state and epoch == epochs // 2:
            kept, of_optimizer = schedule.state_dict(), optimizer.state_dict()
            optimizer = groups()
            schedule = optimizers.create_schedule(spec, optimizer, epochs)
            with works(name, "to take up its state_dict()"):
                optimizer.load_state_dict(of_optimizer)
                schedule.load_state_dict(kept)
        rates.append((float(optimizer.param_groups[0]["lr"]), float(optimizer.param_groups[1]["lr"])))
        optimizer.step()
        with works(name, f"to be stepped after epoch {epoch}"):
            schedule.step()
    return rates
