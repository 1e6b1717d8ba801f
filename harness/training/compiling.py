"""torch.compile of a student's passes on the CPU, where a training is long enough to pay for it by what has been measured."""

from __future__ import annotations

import copy
import logging
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from harness.boards.protocol import Precision
from harness.training.devices import autocast, device_name

log = logging.getLogger("giftbench")

#: Whether passes are compiled: where it pays, nowhere, or wherever it can be, as a record says that its own were.
Compiling = Literal["auto", "never", "always"]


@dataclass(frozen=True)
class Gain:
    """CPU seconds of compiling a student, once a size of its batches, and of forward and backward passes, plain and compiled.

    The passes are of `batch` images of `side` pixels.
    """

    side: int
    batch: int
    compiling: float
    plain: float
    compiled: float

    @property
    def spared(self) -> float:
        """Seconds that a compiled pass spares, a pixel."""
        return (self.plain - self.compiled) / (self.batch * self.side**2)


#: What `python -m tests.benchmarks.compiled` has measured to be faster, by processor and by student as a board writes it: in
#: float32, inductor's cache empty. Its table says where nothing was.
GAINS: dict[tuple[str, str], Gain] = {
    ("CPU Intel(R) Xeon(R) Processor", "convnet3(width=32)"): Gain(16, 50, compiling=47.9, plain=0.0108, compiled=0.00862),
    ("CPU AMD EPYC", "swin-v2-tiny(patch=2)"): Gain(16, 50, compiling=161, plain=0.504, compiled=0.439),
}
#: How many times over compiling has to be paid for.
PAID = 2.0
#: How far what a compiled pass gives may be from what a plain one does, as a share of the largest value.
NOISE: dict[Precision, float] = {"float32": 1e-3, "bf16": 0.1}


def pays(model: str, side: int, passed: int, sizes: Collection[int]) -> bool:
    """Whether compiling a student pays in one training on this machine's processor.

    Args:
        model: as a board writes it.
        side: pixels of an image's side.
        passed: how many images pass through it in all.
        sizes: of its batches; it is compiled for each.
    """
    gain = GAINS.get((device_name("cpu"), model))
    return gain is not None and gain.spared * side**2 * passed >= PAID * gain.compiling * len(sizes)


class Compiler:
    """Compiles students of one device. A student of which it cannot be done is trained as it is; that is said once."""

    def __init__(self) -> None:
        self._said = False

    def forward(
        self, student: nn.Module, shape: tuple[int, ...], sizes: Collection[int], precision: Precision
    ) -> Callable[[Tensor], Tensor] | None:
        """Return what gives a student's logits in train mode; None where compiling fails or changes more than float noise.

        A copy of it makes one pass of every size, forward and back, compiled and plain.

        Args:
            shape: of an image, (C, H, W).
            sizes: of the batches.
        """
        try:
            with torch.random.fork_rng([]):
                for size in sorted(sizes):
                    self._check(student, shape, size, precision)
        except Exception as error:  # whatever a student does that cannot be compiled, or no compiler to do it with
            if not self._said:
                log.warning("trained without torch.compile: %s", " ".join(str(error).split())[:200])
            self._said = True
            return None
        return _compiled(student)

    def _check(self, student: nn.Module, shape: tuple[int, ...], size: int, precision: Precision) -> None:
        """Raises RuntimeError where a compiled pass is not what a plain one is."""
        images = torch.randn(size, *shape).contiguous(memory_format=torch.channels_last)
        plain, twin = (copy.deepcopy(student).train() for _ in range(2))
        ways = ((plain, plain), (twin, _compiled(twin)))
        expected, values = (_passed(own, forward, images, precision) for own, forward in ways)
        largest = max(float(value.abs().max()) for value in expected)
        for value, own in zip(values, expected, strict=True):
            if not torch.allclose(value, own, rtol=0, atol=NOISE[precision] * largest):
                raise RuntimeError("a compiled pass gives other numbers than a plain one")


def _compiled(student: nn.Module) -> Callable[[Tensor], Tensor]:
    """Return what is compiled at its first call; random numbers are drawn as they are of the student itself."""
    options: Any = {"fallback_random": True}
    compiled: Callable[[Tensor], Tensor] = torch.compile(student, dynamic=False, options=options)
    return compiled


def _passed(student: nn.Module, forward: Callable[[Tensor], Tensor], images: Tensor, precision: Precision) -> list[Tensor]:
    """Return the logits of one pass and the gradients of their mean square."""
    torch.manual_seed(0)
    with autocast(images.device, precision)():
        logits = forward(images).float()
    logits.square().mean().backward()  # type: ignore[no-untyped-call]
    return [logits.detach(), *(parameter.grad for parameter in student.parameters() if parameter.grad is not None)]
