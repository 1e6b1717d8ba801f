"""`check_loss`: what giftbench expects of a loss."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import NamedTuple, cast

import torch
from torch import Tensor
from torch.autograd.gradcheck import GradcheckError, gradcheck
from torch.overrides import TorchFunctionMode

from harness import losses
from harness.core.errors import MissingTargets
from harness.losses.targets import Kind, Targets
from harness.testing.checks import CheckFailed, Function, expect, no_waiting, works

SIZES = ((4, 10), (1, 2), (5, 2), (1, 10), (3, 1000), (1, 1000))
LARGE = 1e4
DRAWS = 3  # of gradients that are compared with finite differences
KINDS: tuple[Kind, ...] = ("logits", "probabilities")
STORED_AT = 20.0  # the temperature of stored probabilities


class _Loss(NamedTuple):
    name: str
    function: Callable[[Tensor, Targets], Tensor]

    def __call__(self, logits: Tensor, targets: Targets, where: str) -> Tensor:
        with works(self.name, where):
            value = self.function(logits, targets)
        scalar = isinstance(value, Tensor) and value.dim() == 0 and value.is_floating_point()
        shape = list(value.shape) if isinstance(value, Tensor) else type(value).__name__
        expect(scalar, self.name, f"returns {shape} {where}; return a scalar tensor, such as the mean over the batch")
        return value

    def gradient(self, logits: Tensor, targets: Targets, where: str) -> Tensor:
        """Return the gradient at `logits`, a leaf, [B, C]."""
        value = self(logits, targets, where)
        remedy = "compute it from them by differentiable operations, without detach, no_grad or item"
        expect(value.requires_grad, self.name, f"returns what does not depend on the student's logits; {remedy}")
        with works(self.name, f"in its backward pass {where}"):
            (gradient,) = torch.autograd.grad(value, logits, allow_unused=True)
        expect(gradient is not None, self.name, f"has no gradient at the student's logits; {remedy}")
        assert gradient is not None
        return gradient


def check_loss(loss: str | Callable[..., Tensor], /, *, stop_gradient: bool = False, **options: object) -> None:
    """Check that a loss keeps what giftbench expects of one; takes about a second.

    A scalar of the student's logits [B, C] for any B and C, finite up to ±1e4 in float32 and in bf16, whose gradient is that of
    finite differences and reaches nothing but the student's logits; without waits for the device, random draws, memory of
    earlier calls or changes of what it is given; with soft labels of either kind, probabilities at whatever temperature they were
    stored, and MissingTargets where labels that it needs are absent.

    Args:
        loss: a registered name, with parameters perhaps, such as "gift(gamma=0.2)", or the function itself.
        stop_gradient: the loss holds part of what depends on the logits constant on purpose, by `detach()`; the finite
            differences then hold it too.
        options: parameters of the loss, by name.
    Raises: CheckFailed, in one sentence, at the first thing that is not so. UnknownName or BadOption for a loss or a parameter
        that there is not.
    """
    loss_ = _made(loss, options)
    _returns_a_scalar_at_every_size(loss_)
    _is_a_pure_function(loss_)  # what it remembers or draws would look like a wrong gradient further down
    _is_finite_at_large_logits(loss_)
    _leaves_the_targets_without_gradient(loss_)
    _has_the_gradient_of_finite_differences(loss_, stop_gradient)
    _does_not_wait(loss_)
    _says_which_labels_are_missing(loss_)
    _minds_the_temperature(loss_)


def _made(loss: str | Callable[..., Tensor], options: dict[str, object]) -> _Loss:
    if isinstance(loss, str):
        resolved = losses.registry.resolve(loss, **options)
        return _Loss(f"loss {resolved.label!r}", resolved.create())
    return _Loss(f"loss {getattr(loss, '__name__', repr(loss))!r}", partial(loss, **options))


def _batch(size: tuple[int, int], seed: int = 0, dtype: torch.dtype = torch.float32) -> tuple[Tensor, Tensor, Tensor]:
    """Return student logits [B, C], a leaf, teacher logits [B, C] and hard labels [B]."""
    draws = torch.Generator().manual_seed(seed)
    z, t = 3 * torch.randn(2, *size, generator=draws, dtype=dtype)
    return z.requires_grad_(), t, torch.randint(size[1], size[:1], generator=draws)


def _targets(t: Tensor, y: Tensor, kind: Kind = "logits") -> Targets:
    return Targets(hard=y, soft=t if kind == "logits" else t.softmax(dim=1), kind=kind)


def _returns_a_scalar_at_every_size(loss: _Loss) -> None:
    for size in SIZES:
        for kind in KINDS:
            z, t, y = _batch(size)
            where = f"on logits {list(size)} with soft labels that are {kind}"
            gradient = loss.gradient(z, _targets(t, y, kind), where)
            expect(bool(loss(z, _targets(t, y, kind), where).isfinite()), loss.name, f"is not finite {where}")
            expect(bool(gradient.isfinite().all()), loss.name, f"has a gradient that is not finite {where}")
    expect(any(_gradients(loss)), loss.name, "has a gradient of zero at the student's logits; no student could learn under it")


def _gradients(loss: _Loss) -> Iterator[bool]:
    for seed in range(DRAWS):
        z, t, y = _batch((4, 10), seed)
        yield bool(loss.gradient(z, _targets(t, y), "on logits [4, 10]").any())


def _extremes() -> tuple[Tensor, Tensor, Tensor]:
    """Return logits of ±1e4 that agree, contradict each other or the label, are one-sided, flat, and mixed with small ones."""
    b = LARGE
    z = [[b, -b, -b, -b], [-b, b, -b, -b], [b, b, b, b], [-b, -b, -b, -b], [0, 0, 0, 0], [-b, 1, 2, 3], [b, 1, 2, 3]]
    t = [[b, -b, -b, -b], [b, -b, -b, -b], [-b, b, b, b], [b, -b, 0, 1], [b, b, b, b], [1, 2, 3, b], [-b, 0, 0, 0]]
    return torch.tensor(z), torch.tensor(t), torch.tensor([0, 0, 1, 2, 3, 0, 0])


def _is_finite_at_large_logits(loss: _Loss) -> None:
    for dtype, name in ((torch.float32, "float32"), (torch.bfloat16, "bf16 under autocast")):
        for kind in KINDS:
            z, t, y = _extremes()
            z = z.to(dtype).requires_grad_()
            where = f"on logits of ±1e4 in {name}"
            with torch.autocast("cpu", torch.bfloat16, enabled=dtype == torch.bfloat16):
                value = loss(z, _targets(t, y, kind), where)
                gradient = loss.gradient(z, _targets(t, y, kind), where)
            remedy = "work with log_softmax and logsumexp rather than log(softmax), and in float32"
            expect(bool(value.isfinite()), loss.name, f"is not finite {where}; {remedy}")
            expect(bool(gradient.isfinite().all()), loss.name, f"has a gradient that is not finite {where}; {remedy}")


# -- gradients -----------------------------------------------------------------------------------------------------------


class _Held(TorchFunctionMode):
    """Gives what is detached the values that it had on the first call: finite differences of a loss that holds them constant."""

    def __init__(self, kept: list[Tensor], first: bool) -> None:
        super().__init__()
        self.kept, self.first, self.place = kept, first, 0

    def __torch_function__(
        self, func: Function, types: Sequence[type], args: tuple[object, ...] = (), kwargs: Mapping[str, object] | None = None
    ) -> object:
        if func is not Tensor.detach:
            return func(*args, **(kwargs or {}))
        if self.first:
            self.kept.append(cast(Tensor, args[0]).detach().clone())
        self.place += 1
        return self.kept[self.place - 1]


def _has_the_gradient_of_finite_differences(loss: _Loss, stop_gradient: bool) -> None:
    for seed in range(DRAWS):
        z, t, y = _batch((3, 4), seed, torch.float64)
        targets = _targets(t, y)

        def function(logits: Tensor, targets: Targets = targets) -> Tensor:
            return loss(logits, targets, "on float64 logits")

        eps, atol, rtol = 1e-6, 1e-5, 1e-3
        aside = 1e-10 * torch.linspace(-1, 1, z.numel(), dtype=z.dtype).view_as(z)
        if function(z + aside).equal(function(z)):  # a loss may compute in float32, where so small a step is lost
            eps, atol, rtol = 1e-2, 1e-3, 1e-2
        try:
            gradcheck(_holding(function, z) if stop_gradient else function, (z,), eps=eps, atol=atol, rtol=rtol)
        except GradcheckError as error:
            raise CheckFailed(
                f"{loss.name} has another gradient than finite differences: part of it is detached, or its backward pass is "
                "wrong; where it holds a part constant on purpose, say stop_gradient=True"
            ) from error


def _holding(function: Callable[[Tensor], Tensor], z: Tensor) -> Callable[[Tensor], Tensor]:
    kept: list[Tensor] = []
    with _Held(kept, first=True):
        function(z)

    def held(logits: Tensor) -> Tensor:
        with _Held(kept, first=False):
            return function(logits)

    return held


def _leaves_the_targets_without_gradient(loss: _Loss) -> None:
    for kind in KINDS:
        z, t, y = _batch((4, 10))
        soft = _targets(t, y, kind).soft
        assert soft is not None
        soft.requires_grad_()
        value = loss(z, Targets(hard=y, soft=soft, kind=kind), "on soft labels that require a gradient")
        reached = torch.autograd.grad(value, [z, soft], allow_unused=True)[1] is not None
        remedy = "ask for them by targets.logits(), which detaches them: a teacher is not trained"
        expect(not reached, loss.name, f"has a gradient at soft labels that are {kind}; {remedy}")


def _minds_the_temperature(loss: _Loss) -> None:
    """Stored probabilities may have been taken at a temperature (HALD: 20): they tell what the logits do, centred."""
    z, t, y = (tensor.detach() for tensor in _batch((4, 10)))
    where = f"on probabilities at temperature {STORED_AT:g}"
    kept = Targets(hard=y, soft=(t / STORED_AT).softmax(1), kind="probabilities", temperature=STORED_AT)
    value, meant = loss(z, kept, where), loss(z, _targets(t - t.mean(1, keepdim=True), y), "on logits [4, 10]")
    remedy = "ask for them by targets.logits(), or by targets.probabilities(temperature)"
    expect(torch.allclose(value, meant, rtol=1e-3, atol=1e-4), loss.name, f"takes what it is given {where} for others; {remedy}")


# -- how it runs ---------------------------------------------------------------------------------------------------------


def _does_not_wait(loss: _Loss) -> None:
    for device in ("cpu", "cuda") if torch.cuda.is_available() else ("cpu",):
        for kind in KINDS:
            z, t, y = (tensor.detach().to(device) for tensor in _batch((4, 10)))
            z, targets = z.requires_grad_(), _targets(t, y, kind)
            with works(loss.name, f"on tensors of the device {device}"), no_waiting(loss.name):
                torch.autograd.backward(loss.function(z, targets))


def _is_a_pure_function(loss: _Loss) -> None:
    for kind in KINDS:
        z, t, y = _batch((4, 10))
        z = z.detach()
        targets = _targets(t, y, kind)
        soft = targets.soft
        assert soft is not None
        before, state = (z.clone(), soft.clone(), y.clone()), torch.get_rng_state()
        first = loss(z, targets, "on logits without gradient")
        for what, then, now in zip(("student's logits", "soft labels", "hard labels"), before, (z, soft, y), strict=True):
            expect(then.equal(now), loss.name, f"changes the {what} in place; work on a copy")
        drawn = not state.equal(torch.get_rng_state())
        expect(not drawn, loss.name, "draws from torch's global random stream; a loss is a function of logits and targets alone")
        again = loss(z, targets, "on logits without gradient")
        expect(first.equal(again), loss.name, "gives two values for the same input; it must not remember earlier calls or draw")


def _says_which_labels_are_missing(loss: _Loss) -> None:
    z, t, y = _batch((4, 10))
    for absent, targets, call in (("soft", Targets(hard=y), "logits()"), ("hard", Targets(soft=t), "labels()")):
        try:
            loss.function(z, targets)
        except MissingTargets:
            continue
        except Exception as error:
            raise CheckFailed(
                f"{loss.name} raises {type(error).__name__} without {absent} labels; ask for them by targets.{call}, which says "
                "that they are missing"
            ) from error
        loss(z, targets, f"without {absent} labels")
