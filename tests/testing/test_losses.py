"""The kit's check of a loss: what is wrong is told, what is right passes."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from harness import losses
from harness.core.errors import BadOption, UnknownName
from harness.losses.targets import Targets
from harness.testing import check_loss
from tests.testing.fails import Fails


def good(logits: Tensor, targets: Targets, *, weight: float = 1.0) -> Tensor:
    return weight * (logits - targets.logits()).square().mean()


def in_float32(logits: Tensor, targets: Targets) -> Tensor:
    return good(logits.float(), targets)


def holding_its_weights(logits: Tensor, targets: Targets) -> Tensor:
    weights = logits.softmax(1).detach()
    return (weights * (logits - targets.logits()).square()).mean()


class Twice(torch.autograd.Function):
    """Twice the gradient of what it is."""

    @staticmethod
    def forward(context: Any, x: Tensor) -> Tensor:
        return x.clone()

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> Tensor:
        return 2 * gradient


class Looking(Twice):
    """Looks at a number in its backward pass."""

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> Tensor:
        return gradient if gradient.sum().item() < 1e9 else 0 * gradient


calls = itertools.count()


def with_item(z: Tensor, t: Targets) -> Tensor:
    return good(z, t) + 0 * z.detach().max().item()


def with_an_if(z: Tensor, t: Targets) -> Tensor:
    return good(z, t) if z.sum() > -1e9 else z.mean()


def with_a_mask(z: Tensor, t: Targets) -> Tensor:
    return (z - t.logits())[z < 1e9].square().mean()


def with_a_list(z: Tensor, t: Targets) -> Tensor:
    return good(z, t) + 0 * len(z.detach().tolist())


def with_numpy(z: Tensor, t: Targets) -> Tensor:
    return good(z, t) + 0 * float(z.detach().float().numpy().sum())


def changing_logits(z: Tensor, t: Targets) -> Tensor:
    with torch.no_grad():
        z.sub_(z.mean(dim=1, keepdim=True))
    return good(z, t)


def changing_soft(z: Tensor, t: Targets) -> Tensor:
    t.logits().mul_(0.5)
    return t.probabilities().mul(z).sum(1).square().mean()


def changing_hard(z: Tensor, t: Targets) -> Tensor:
    t.labels().zero_()
    return good(z, t)


def drawing(z: Tensor, t: Targets) -> Tensor:
    return good(z, t) + 0 * torch.rand(())


def refusing_probabilities(z: Tensor, t: Targets) -> Tensor:
    if t.kind != "logits":
        raise NotImplementedError("logits, please")
    return good(z, t)


BAD_LOSSES: dict[str, tuple[Callable[[Tensor, Targets], Any], str]] = {
    "a vector": (lambda z, t: (z - t.logits()).square().mean(1), "returns [4] on logits [4, 10]"),
    "a number": (lambda z, t: 1.0, "returns float on logits [4, 10]"),
    "whole numbers": (lambda z, t: z.argmax(), "return a scalar tensor, such as the mean over the batch"),
    "a batch of one": (lambda z, t: good(z, t) + z.std(dim=0).mean(), "is not finite on logits [1, 2]"),
    "two classes": (lambda z, t: good(z, t) + z.topk(3, dim=1).values.mean(), "fails on logits [1, 2]"),
    "no gradient": (lambda z, t: good(z.detach(), t), "does not depend on the student's logits"),
    "zero gradient": (lambda z, t: 0 * good(z, t), "has a gradient of zero"),
    "soft labels alone": (lambda z, t: torch.ones((), requires_grad=True) + 0, "has no gradient at the student's logits"),
    "large logits": (
        lambda z, t: -(z.softmax(1).log() * t.probabilities()).sum(1).mean(),
        "on logits of ±1e4 in float32",
    ),
    "bf16": (lambda z, t: good(z, t) if z.dtype != torch.bfloat16 else good(z, t) / 0, "on logits of ±1e4 in bf16"),
    "part detached": (lambda z, t: good(z, t) * z.detach().square().mean(), "another gradient than finite differences"),
    "wrong backward": (lambda z, t: good(Twice.apply(z), t), "another gradient than finite differences"),
    "a taught teacher": (lambda z, t: good(z, t) + (z - t.soft).square().mean(), "has a gradient at soft labels that are logits"),
    "item": (with_item, "makes the host wait for the device (item(), or an if on a tensor)"),
    "if": (with_an_if, "makes the host wait for the device (item(), or an if on a tensor)"),
    "item in backward": (lambda z, t: good(Looking.apply(z), t), "makes the host wait for the device (item()"),
    "mask": (with_a_mask, "makes the host wait for the device (indexing by a mask)"),
    "tolist": (with_a_list, "makes the host wait for the device (tolist())"),
    "numpy": (with_numpy, "makes the host wait for the device (numpy())"),
    "cpu": (lambda z, t: good(z.cpu(), t), "makes the host wait for the device (cpu())"),
    "memory": (lambda z, t: good(z, t) + next(calls), "gives two values for the same input"),
    "random": (drawing, "draws from torch's global random stream"),
    "logits in place": (changing_logits, "changes the student's logits in place"),
    "soft in place": (changing_soft, "changes the soft labels in place"),
    "hard in place": (changing_hard, "changes the hard labels in place"),
    "soft unasked": (lambda z, t: (z - t.soft.detach()).square().mean(), "without soft labels; ask for them by targets.logits()"),
    "hard unasked": (lambda z, t: good(z, t) + z[:, 0].mul(len(t.hard)).mean(), "ask for them by targets.labels()"),
    "temperature": (
        lambda z, t: -(z.log_softmax(1) * (t.probabilities() if t.kind == "logits" else t.soft.detach())).sum(1).mean(),
        "takes what it is given on probabilities at temperature 20 for others; ask for them by targets.logits()",
    ),
    "probabilities": (refusing_probabilities, "with soft labels that are probabilities: NotImplementedError: logits, please"),
}


@pytest.mark.parametrize("what", BAD_LOSSES)
def test_a_bad_loss_is_told_what_is_wrong(what: str) -> None:
    loss, words = BAD_LOSSES[what]
    Fails(words)(check_loss, loss)


def test_good_losses_pass() -> None:
    check_loss(good)
    check_loss(good, weight=0.1)
    check_loss(in_float32)
    check_loss("gift(gamma=0.2)", alpha=0.0)
    check_loss("ce")


def test_what_a_loss_holds_constant_on_purpose_is_declared_and_the_rest_still_checked() -> None:
    Fails("say stop_gradient=True")(check_loss, holding_its_weights)
    check_loss(holding_its_weights, stop_gradient=True)

    def wrong_besides(z: Tensor, t: Targets) -> Tensor:
        return holding_its_weights(Twice.apply(z), t)

    Fails("another gradient than finite differences")(check_loss, wrong_besides, stop_gradient=True)


def test_a_loss_is_named_with_its_parameters_and_leaves_no_trace() -> None:
    with pytest.raises(UnknownName, match="did you mean 'gift'"):
        check_loss("gfit")
    with pytest.raises(BadOption, match="has no parameter 'gama'"):
        check_loss("gift", gama=1)

    @losses.register("kit-loss")
    def vector(logits: Tensor, targets: Targets, *, power: float = 2.0) -> Tensor:
        return (logits - targets.logits()).abs().pow(power).mean(1)

    try:
        Fails("loss 'kit-loss(power=3.0)' returns [4]")(check_loss, "kit-loss", power=3)
    finally:
        losses.registry.remove("kit-loss")
    state = torch.get_rng_state()
    check_loss(good)
    assert state.equal(torch.get_rng_state())
