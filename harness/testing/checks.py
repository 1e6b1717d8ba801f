"""What the checks of losses, models and scenarios share: the error, and watching for waits on the device."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, cast

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

if TYPE_CHECKING:
    from torch._ops import OpOverload

#: Tensor operations that need a number, or a size that depends on numbers, on the host.
WAITING = (
    "_local_scalar_dense",
    "is_nonzero",
    "equal",
    "nonzero",
    "masked_select",
    "_unique2",
    "unique_dim",
    "unique_consecutive",
)
#: Methods that read a CPU tensor without any operation, and that would copy from a GPU.
READING = {Tensor.tolist: "tolist", Tensor.numpy: "numpy", Tensor.cpu: "cpu", Tensor.__array__: "__array__"}


#: A function or method of torch, as `__torch_function__` is given it.
Function = Callable[..., object]


class CheckFailed(AssertionError):
    """A plugin does not do what giftbench expects of it; the message says what it did and what would be right."""


class Waited(Exception):
    """An operation that would make the host wait for a GPU; the message names it."""


def expect(good: bool, name: str, problem: str) -> None:
    """Raise CheckFailed with `problem`, said of the plugin `name`, unless `good`."""
    if not good:
        raise CheckFailed(f"{name} {problem}")


@contextmanager
def works(name: str, where: str) -> Iterator[None]:
    """Turn any error inside into CheckFailed: `name` fails `where`."""
    try:
        yield
    except CheckFailed:
        raise
    except Exception as error:
        text = " ".join(str(error).split())
        raise CheckFailed(f"{name} fails {where}: {type(error).__name__}: {text}") from error


@contextmanager
def no_waiting(name: str) -> Iterator[None]:
    """Raise CheckFailed when something inside would make the host wait for the device: tensors on the CPU, or on CUDA.

    On the CPU nothing waits, so that the operations are watched; on CUDA torch itself tells.
    """
    before = torch.cuda.get_sync_debug_mode() if torch.cuda.is_available() else 0
    try:
        if torch.cuda.is_available():
            torch.cuda.set_sync_debug_mode("error")
        with _Methods(), _Operations():  # type: ignore[no-untyped-call]
            yield
    except Exception as error:
        if isinstance(error, Waited) or "called a synchronizing CUDA operation" in str(error):
            what = str(error).splitlines()[0]
            remedy = "keep to tensor operations such as torch.where, clamp and masked_fill"
            raise CheckFailed(f"{name} makes the host wait for the device ({what}): {remedy}") from error
        raise
    finally:
        if torch.cuda.is_available():
            torch.cuda.set_sync_debug_mode(before)


class _Operations(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Refuses operations that bring numbers to the host."""

    def __torch_dispatch__(
        self, func: OpOverload, types: Sequence[type], args: tuple[object, ...] = (), kwargs: Mapping[str, object] | None = None
    ) -> object:
        word = func.overloadpacket.__name__
        if word in WAITING:
            raise Waited({"_local_scalar_dense": "item(), or an if on a tensor"}.get(word, word))
        if word.startswith("index") and len(args) > 1 and isinstance(args[1], (list, tuple)) and any(map(_is_mask, args[1])):
            if word == "index":
                raise Waited("indexing by a mask")
            if word.startswith("index_put") and cast(Tensor, args[2]).numel() > 1:
                raise Waited("assigning many values by a mask")
        result: object = func(*args, **(kwargs or {}))
        return result


class _Methods(TorchFunctionMode):
    """Refuses the methods that read a tensor on the CPU unseen."""

    def __torch_function__(
        self, func: Function, types: Sequence[type], args: tuple[object, ...] = (), kwargs: Mapping[str, object] | None = None
    ) -> object:
        if func in READING:
            raise Waited(f"{READING[func]}()")
        return func(*args, **(kwargs or {}))


def _is_mask(index: object) -> bool:
    return isinstance(index, Tensor) and index.dtype in (torch.bool, torch.uint8)
