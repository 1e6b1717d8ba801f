"""Where and in which precision networks run: the device that a name stands for, a GPU's arithmetic, autocast, channels-last."""

from __future__ import annotations

import os
import platform
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, TypeVar, cast

import torch
from torch import nn

from harness.boards.protocol import Precision
from harness.core.errors import DataError

Answer = TypeVar("Answer")


@contextmanager
def arithmetic(device: str | torch.device, precision: Precision) -> Iterator[None]:
    """Have a GPU compute as a precision asks for and by kernels that repeat themselves; then put torch's settings back.

    Products and convolutions of float32 are done in TF32 (10 bits after the point) if that is the precision, and in full float32
    if not; torch's own default is TF32 for convolutions. cuDNN takes deterministic kernels, and tries none to find the fastest.
    On the CPU there is nothing to set. Raises DataError for TF32 on the CPU.
    """
    tf32 = precision == "tf32"
    if torch.device(device).type != "cuda":
        if tf32:
            raise DataError("precision tf32 is a GPU's; take float32 or bf16 on the CPU")
        yield
        return
    cudnn, before = torch.backends.cudnn, _Settings.now()
    try:
        cudnn.benchmark, cudnn.deterministic = False, True
        torch.backends.cuda.matmul.allow_tf32 = cudnn.allow_tf32 = tf32
        for kernels in _kernels():
            kernels.fp32_precision = "tf32" if tf32 else "ieee"
        yield
    finally:
        before.restore()


#: What cuBLAS reads before it does its first product: buffers of which size and number it works in.
WORKSPACE = "CUBLAS_WORKSPACE_CONFIG"


@contextmanager
def deterministic() -> Iterator[None]:
    """Hold torch to operations that repeat themselves, to the bit, where it has such; then put its settings back.

    An operation that has none is done all the same, and torch warns of it. On a GPU to be entered before the first product.
    """
    held, lenient = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    stated = os.environ.get(WORKSPACE)
    os.environ.setdefault(WORKSPACE, ":4096:8")
    torch.use_deterministic_algorithms(True, warn_only=True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(held, warn_only=lenient)
        if stated is None:
            os.environ.pop(WORKSPACE, None)


def _kernels() -> tuple[Any, Any, Any]:
    """Return where torch keeps the precision of products, convolutions and recurrent layers."""
    cudnn: Any = torch.backends.cudnn
    return torch.backends.cuda.matmul, cudnn.conv, cudnn.rnn


@dataclass(frozen=True)
class _Settings:
    """Torch's settings that `arithmetic` changes.

    TF32 has names of two generations, and torch refuses to answer for the older ones where the newer have been set to what these
    cannot say. Of the newer, "none" follows what is set for all kernels.

    Attributes:
        search, repeat: whether cuDNN looks for the fastest kernels, and whether for deterministic ones alone.
        convolutions, products: the older names, `cudnn.allow_tf32` and the float32 matmul precision.
        kernels: the newer ones, in the order of `_kernels`.
    """

    search: bool
    repeat: bool
    convolutions: bool
    products: str
    kernels: tuple[str, ...]

    @classmethod
    def now(cls) -> _Settings:
        cudnn = torch.backends.cudnn
        products, convolutions, _ = precisions = [kernels.fp32_precision for kernels in _kernels()]
        return cls(
            cudnn.benchmark,
            cudnn.deterministic,
            _answer(lambda: cudnn.allow_tf32, convolutions == "tf32"),
            _answer(torch.get_float32_matmul_precision, "high" if products == "tf32" else "highest"),
            tuple("none" if own == cudnn.fp32_precision else own for own in precisions),
        )

    def restore(self) -> None:
        cudnn, processor = torch.backends.cudnn, cast(Any, torch.backends.mkldnn).matmul
        cudnn.benchmark, cudnn.deterministic, cudnn.allow_tf32 = self.search, self.repeat, self.convolutions
        kept = processor.fp32_precision
        torch.set_float32_matmul_precision(self.products)
        processor.fp32_precision = kept  # which that sets as well
        for kernels, precision in zip(_kernels(), self.kernels, strict=True):
            kernels.fp32_precision = precision


def _answer(ask: Callable[[], Answer], otherwise: Answer) -> Answer:
    try:
        return ask()
    except RuntimeError:
        return otherwise


#: Makes the context that forward passes run under.
Cast = Callable[[], AbstractContextManager[object]]


def autocast(device: torch.device, precision: Precision) -> Cast:
    """Return a maker of the context that forward passes run under: bf16 autocast, or nothing."""
    return lambda: torch.autocast(device.type, dtype=torch.bfloat16, enabled=precision == "bf16")


def on_device(network: nn.Module, device: str | torch.device) -> nn.Module:
    """Move a network to the device, its weights in channels-last order."""
    return network.to(device).to(memory_format=torch.channels_last)


def resolve_device(device: str) -> str:
    """Return `cpu` or a CUDA device for `auto`, and check that a device asked for is there."""
    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if device != "cpu" and device.partition(":")[0] != "cuda":
        raise DataError(f"device must be auto, cpu, cuda or cuda:N, not {device!r}")
    if device != "cpu" and not torch.cuda.is_available():
        raise DataError(f"device {device} was asked for, and torch finds no CUDA device; use auto or cpu")
    _, _, index = device.partition(":")
    if index and not (index.isdecimal() and int(index) < torch.cuda.device_count()):
        raise DataError(f"device {device}: there is no such CUDA device; torch finds {torch.cuda.device_count()}")
    return device


@cache
def device_name(device: str) -> str:
    """Return the processor's name, as `CPU AMD EPYC`, or the GPU's."""
    if device.startswith("cuda"):
        return torch.cuda.get_device_name(device)
    information = Path("/proc/cpuinfo")
    for line in information.read_text().splitlines() if information.exists() else ():
        if line.startswith("model name"):
            return f"CPU {line.partition(':')[2].strip()}"
    return f"CPU {platform.processor() or platform.machine()}"
