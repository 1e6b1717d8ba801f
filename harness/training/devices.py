"""Where and in which precision networks run: the device that a name stands for, autocast, channels-last weights."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from harness.boards.protocol import Precision
from harness.core.errors import DataError

if TYPE_CHECKING:
    pass


def autocast(device: torch.device, precision: Precision) -> Callable[[], AbstractContextManager[Any]]:
    """Return a maker of the context that forward passes run under: bf16 autocast, or nothing.

    From here on a GPU's products and convolutions of float32 are done in TF32 (10 bits after the point) if that is the
    precision, and in full float32 if not; torch's own default is TF32 for convolutions. Raises DataError for TF32 on the CPU.
    """
    tf32 = precision == "tf32"
    if tf32 and device.type == "cpu":
        raise DataError("precision tf32 is a GPU's; take float32 or bf16 on the CPU")
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = tf32
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
