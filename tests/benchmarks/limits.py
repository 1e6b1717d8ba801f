"""What no program can beat here: products of matrices, copies of memory. Timed in the rounds of what is held against them.

A limit is a piece of work that does nothing else, and how many such pieces a benchmark's work amounts to: so many operations, as
`harness.running.costs` counts them, or so many bytes read and written. It is timed in each round, on the threads of that moment,
so that a busy machine slows both.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import torch

from harness import models
from harness.boards.protocol import Precision
from harness.running.costs import PASSES, forward_operations

#: Rows and columns of the matrices, and bytes of a copy's source, which no cache holds.
SIDE, COPIED = 1024, 128 << 20
PRODUCT, BANDWIDTH = "matrix product", "memory bandwidth"


@dataclass(frozen=True)
class Limit:
    """A piece of work that keeps one part of the machine busy, and nothing else.

    Attributes:
        name: of the limit, as the table shows it.
        run: does the piece.
        pieces: how many of them a benchmark's work amounts to.
    """

    name: str
    run: Callable[[], object]
    pieces: float


def product(operations: float, precision: Precision = "float32") -> Limit:
    """Return the limit of so many floating-point operations: a product of two matrices of `SIDE` rows."""
    a, b = _matrices(torch.bfloat16 if precision == "bf16" else torch.float32)
    return Limit(PRODUCT, lambda: torch.mm(a, b), operations / (2 * SIDE**3))


def bandwidth(moved: float) -> Limit:
    """Return the limit of so many bytes read or written: a copy of `COPIED` bytes, which are read and written once each."""
    source, copy = _buffers()
    return Limit(BANDWIDTH, lambda: copy.copy_(source), moved / (2 * COPIED))


@cache
def _matrices(kind: torch.dtype) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.randn(SIDE, SIDE).to(kind), torch.randn(SIDE, SIDE).to(kind)


@cache
def _buffers() -> tuple[torch.Tensor, torch.Tensor]:
    return torch.zeros(COPIED, dtype=torch.uint8), torch.ones(COPIED, dtype=torch.uint8)


def forward(model: str, shape: tuple[int, int, int], classes: int) -> float:
    """Return the operations of a network's forward pass on one image; `model` is written as on a board."""
    return forward_operations(models.registry.resolve(model).spec.model_dump_json(), shape, classes)


def step(student: float, teacher: float) -> float:
    """Return the operations of an image in a training step: forward and backward, and what the teacher says of it."""
    return PASSES * student + teacher
