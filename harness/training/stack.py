"""Several students of one kind as one network: their weights stacked, each training on images of its own in the same pass.

`torch.func` turns each layer into one that works on all students at once: convolutions become grouped ones, linear layers
batched products, and batch norm keeps the statistics of each student apart.
"""

from __future__ import annotations

import copy
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING, Any, Protocol, TypeGuard

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn
from torch.func import functional_call, stack_module_state, vmap
from torch.optim import Optimizer
from torch.overrides import TorchFunctionMode

if TYPE_CHECKING:
    from harness.core.resolved import Resolved
    from harness.optimizers.optimizers import MakeOptimizer


@contextmanager
def undisturbed() -> Iterator[None]:
    """Leave out what torch.func says, to the people who write torch, of operators that it calls once a student."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "There is a performance drop because we have not yet implemented the batching rule")
        yield


class Alone:
    """One student, which needs no stacking.

    Args:
        forward: what gives its logits, where that is not the student itself.
    """

    streams: tuple[Generator, ...] = ()

    def __init__(self, student: nn.Module, forward: Callable[[Tensor], Tensor] | None = None) -> None:
        self.students = (student,)
        self._forward = student if forward is None else forward

    @property
    def weights(self) -> list[Tensor]:
        """What is trained, in the order of the student's parameters."""
        return [*self.students[0].parameters()]

    def __call__(self, images: Tensor) -> Sequence[Tensor]:
        """Return the logits of images [B, C, H, W], as the one member of a sequence, [B, K]."""
        return (self._forward(images),)

    def train(self) -> None:
        self.students[0].train()

    def optimizer(self, resolved: Resolved[MakeOptimizer]) -> Optimizer:
        return resolved.create()(self.students[0])


class Stacked:
    """S students whose weights and buffers become slices of common tensors: training the stack trains the students.

    Args:
        students: at least two of the same architecture, on one device, in train mode.
        streams: for each, what its stochastic depth draws from; the same numbers as from torch's own stream in the same state.
    """

    def __init__(self, students: Sequence[nn.Module], streams: Sequence[Generator] = ()) -> None:
        self.students = tuple(students)
        self.streams = tuple(streams)
        self.parameters, self.buffers = stack_module_state(list(students))
        base = copy.deepcopy(students[0]).to("meta")
        for name, stack in [*self.parameters.items(), *self.buffers.items()]:
            for student, own in zip(students, stack.detach().unbind(0), strict=True):
                _at(student, name).data = own
        if streams:
            _draw_from(base, self.streams)
        base.train()
        self._forward = vmap(lambda weights, state, images: functional_call(base, (weights, state), (images,)))

    @property
    def weights(self) -> list[Tensor]:
        """What is trained, [S, …] each, in the order of a student's parameters."""
        return [self.parameters[name] for name, _ in self.students[0].named_parameters()]

    def __call__(self, images: Tensor) -> Tensor:
        """Return the logits, [S, B, K], of images [S * B, C, H, W], one student's after the other's."""
        apart = images.view(len(self.students), -1, *images.shape[1:])
        with _NormWithoutCudnn() if images.is_cuda else nullcontext():
            logits: Tensor = self._forward(self.parameters, self.buffers, apart)
        return logits

    def train(self) -> None:
        """Nothing to do: it is the students that are put into eval mode and back, not the stack."""

    def optimizer(self, resolved: Resolved[MakeOptimizer]) -> Optimizer:
        """Return the optimizer of all students' weights; its groups are those of one student. An elementwise one."""
        first = self.students[0]
        optimizer = resolved.create()(first)
        stacks = {id(parameter): self.parameters[name] for name, parameter in first.named_parameters()}
        for group in optimizer.param_groups:
            group["params"] = [stacks[id(parameter)] for parameter in group["params"]]
        return optimizer


def agrees(students: Sequence[nn.Module], images: Tensor) -> bool:
    """Try a stack of copies of students on images [B, C, H, W] in train mode: whether it gives what each gives alone.

    False where torch.func cannot stack the model, and where the model draws random numbers in a way that cannot be kept apart.
    """
    copies = [copy.deepcopy(student).double().train() for student in students]
    images = images.double()  # in which float noise is no difference
    streams = [Generator(images.device).manual_seed(number) for number in range(len(copies))]
    with torch.no_grad(), torch.random.fork_rng(_cuda(images)), undisturbed():
        try:
            alone = []
            for number, student in enumerate(copies):
                torch.manual_seed(number)
                alone.append(copy.deepcopy(student)(images))
            torch.manual_seed(0)
            together = Stacked(copies, streams)(torch.cat([images] * len(copies)))
            return all(
                torch.allclose(ours, own, rtol=1e-5, atol=1e-5 * float(own.abs().max()))
                for ours, own in zip(together, alone, strict=True)
            )
        except Exception:  # whatever a model does that torch.func has no rule for
            return False


def _cuda(images: Tensor) -> list[int]:
    return [images.device.index or torch.cuda.current_device()] if images.is_cuda else []


def _at(student: nn.Module, name: str) -> Tensor:
    """Return a parameter or buffer by its dotted name."""
    owner, _, last = name.rpartition(".")
    tensor: Tensor = getattr(student.get_submodule(owner), last)
    return tensor


class _NormWithoutCudnn(TorchFunctionMode):
    """Normalise by torch's own kernels: before it calls cuDNN's, torch asks for a memory format that a stack cannot tell."""

    NORMS = frozenset({F.batch_norm, F.instance_norm, torch.batch_norm, torch.instance_norm})

    def __torch_function__(  # type: ignore[no-untyped-def]
        self, function, types: object, arguments: tuple[object, ...] = (), options: dict[str, object] | None = None
    ):
        if function not in self.NORMS:
            return function(*arguments, **(options or {}))
        before, torch.backends.cudnn.enabled = torch.backends.cudnn.enabled, False
        try:
            return function(*arguments, **(options or {}))
        finally:
            torch.backends.cudnn.enabled = before


class _Depth(nn.Module):
    """Stochastic depth of a stack: whether a sample keeps this branch is drawn from its student's own stream, as by timm."""

    def __init__(self, keep: float, scale: bool, streams: Sequence[Generator]) -> None:
        super().__init__()
        self.keep, self.scale, self.streams = keep, scale, streams

    def forward(self, branch: Tensor) -> Tensor:
        kept: Tensor = _Kept.apply(branch.detach(), self.keep, self.streams)
        return branch * (kept.div(self.keep) if self.keep > 0 and self.scale else kept)


class _Kept(torch.autograd.Function):
    """Zeros and ones [B, 1, …], drawn student by student where a stack of students is at work."""

    @staticmethod
    def forward(branch: Tensor, keep: float, streams: Sequence[Generator]) -> Tensor:
        return _drawn(branch, branch.shape[0], keep, streams[:1])[0]

    @staticmethod
    def setup_context(ctx: object, inputs: object, output: object) -> None:
        """Nothing is kept: what is drawn has no gradient."""

    @staticmethod
    def vmap(info: object, in_dims: tuple[int | None, ...], branch: Tensor, keep: float, streams: Sequence[Generator]):  # type: ignore[no-untyped-def]
        samples = branch.movedim(in_dims[0], 0).shape[1]  # type: ignore[arg-type]
        return _drawn(branch, samples, keep, streams), 0


def _drawn(branch: Tensor, samples: int, keep: float, streams: Iterable[Generator]) -> Tensor:
    shape = (samples,) + (1,) * (branch.dim() - 2)
    return torch.stack([branch.new_empty(shape).bernoulli_(keep, generator=stream) for stream in streams])


class StochasticDepth(Protocol):
    """A layer of timm's that leaves out a branch of a sample now and then."""

    drop_prob: float
    scale_by_keep: bool


def _draw_from(network: nn.Module, streams: Sequence[Generator]) -> None:
    """Let every branch of stochastic depth draw from the students' streams."""
    for parent in list(network.modules()):
        for name, child in list(parent.named_children()):
            if _is_depth(child) and child.drop_prob:
                setattr(parent, name, _Depth(1 - child.drop_prob, child.scale_by_keep, streams))


def _is_depth(layer: nn.Module) -> TypeGuard[StochasticDepth]:
    """Whether a layer is timm's stochastic depth: of a network that has one, timm is loaded, and for no other it needs to be."""
    timm: Any = sys.modules.get("timm.layers.drop")
    return timm is not None and isinstance(layer, timm.DropPath)
