"""Batch norm, and the ReLU after it, folded into the convolution before them while a student is tested on the CPU.

A student is not taken apart: its own forward runs, and what that asks of torch is answered another way. A convolution gives at
once what the batch norm and the ReLU after it would make of its maps, and those two hand the maps on. Which convolutions are
read by a batch norm and by nothing else is seen in a plain pass; a later pass in which one is read otherwise ends as `Astray`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.utils.fusion import fuse_conv_bn_weights
from torch.overrides import TorchFunctionMode

Function = Callable[..., Any]

#: Names of functions that tell a tensor's form and nothing of its values, and of attributes that do.
FORM = frozenset({"dim", "size", "stride", "numel", "is_contiguous", "is_floating_point", "element_size", "__len__"})
ATTRIBUTES = frozenset({"shape", "dtype", "device", "ndim", "layout", "is_cpu", "is_cuda", "is_mkldnn", "requires_grad"})
IN_PLACE = frozenset({torch.relu_, Tensor.relu_})
RECTIFIES = frozenset({F.relu, torch.relu, Tensor.relu}) | IN_PLACE
#: Values of a convolution's maps from which on a pass over them costs more than it does to answer torch's functions in Python.
LARGE = 2**18
#: The attribute by which a map says what has to read it: what it comes of, and how far that has come.
STAGE = "giftbench_stage"
CONVOLVED, NORMALISED = "convolved", "normalised"


class Astray(RuntimeError):
    """Maps were read by another function than in the pass before."""


@dataclass(frozen=True, eq=False)
class Convolution:
    """A call of `torch.conv2d`: all but its images."""

    weight: Tensor
    bias: Tensor | None = None
    stride: Any = 1
    padding: Any = 0
    dilation: Any = 1
    groups: int = 1

    @classmethod
    def of(cls, function: Function, arguments: tuple[Any, ...], options: dict[str, Any]) -> Convolution | None:
        """Return the call that this one is; None for one of another function, or by a padding that has a name."""
        if function is not torch.conv2d or len(arguments) < 2 or "input" in options:
            return None
        call = cls(*arguments[1:], **options)
        return None if isinstance(call.padding, str) else call

    def same(self, other: Convolution) -> bool:
        """Whether both are made by the same tensors, and in the same way."""
        ours, theirs = ((call.stride, call.padding, call.dilation, call.groups) for call in (self, other))
        return self.weight is other.weight and self.bias is other.bias and ours == theirs


@dataclass(frozen=True, eq=False)
class Norm:
    """A call of `batch_norm` by running statistics: all but its maps."""

    running_mean: Tensor
    running_var: Tensor
    weight: Tensor | None = None
    bias: Tensor | None = None
    training: bool = False
    momentum: float = 0.1
    eps: float = 1e-5

    @classmethod
    def of(cls, function: Function, maps: Tensor, arguments: tuple[Any, ...], options: dict[str, Any]) -> Norm | None:
        """Return the call that this one is, of these maps; None for another one, and for one by the batch's own statistics."""
        if function is not F.batch_norm or arguments[:1] == () or arguments[0] is not maps:
            return None
        call = cls(*arguments[1:], **options)
        return None if call.training or call.running_mean is None or call.running_var is None else call

    def same(self, other: Norm | None) -> bool:
        """Whether both are made by the same tensors."""
        if other is None or self.eps != other.eps:
            return False
        names = ("running_mean", "running_var", "weight", "bias")
        return all(getattr(self, name) is getattr(other, name) for name in names)


@dataclass(eq=False)
class Seen:
    """What became of a convolution's maps in one pass: how many functions have read them before and after the norm."""

    convolution: Convolution
    dtype: torch.dtype
    norm: Norm | None = None
    rectified: bool = False
    convolved: int = 0
    normalised: int = 0


class Fold:
    """A convolution by weights that give what a batch norm, and perhaps a ReLU, would make of its maps."""

    def __init__(self, seen: Seen, norm: Norm) -> None:
        self.convolution, self.norm = seen.convolution, norm
        self.rectified = seen.rectified and seen.normalised == 1
        own, scale, shift = self.convolution, norm.weight, norm.bias
        weight, bias = fuse_conv_bn_weights(own.weight, own.bias, norm.running_mean, norm.running_var, norm.eps, scale, shift)
        self.weight = weight.detach().to(seen.dtype).contiguous(memory_format=torch.channels_last)
        self.bias = bias.detach().to(seen.dtype)

    def __call__(self, images: Tensor) -> Tensor:
        """Return the maps, [B, K, H', W'], of images [B, C, H, W]."""
        own = self.convolution
        padding, stride, dilation = (_pair(size) for size in (own.padding, own.stride, own.dilation))
        after = "relu" if self.rectified else "none"
        maps: Tensor = torch.ops.mkldnn._convolution_pointwise(
            images.to(self.weight.dtype), self.weight, self.bias, padding, stride, dilation, own.groups, after, [], ""
        )
        return maps


class Watch(TorchFunctionMode):
    """A plain pass in which it is seen what can be folded."""

    def __init__(self) -> None:
        super().__init__()
        self._seen: dict[int, list[Seen]] = {}

    def folds(self) -> list[Fold]:
        """Return what can be folded, by the weights as they are now, which are finite then."""
        once = [seen[0] for seen in self._seen.values() if len(seen) == 1]
        folds = [Fold(seen, seen.norm) for seen in once if seen.norm is not None and seen.convolved == 1]
        return [fold for fold in folds if fold.weight.isfinite().all() and fold.norm.running_var.isfinite().all()]

    def __torch_function__(  # type: ignore[no-untyped-def]
        self, function: Function, types: object, arguments: tuple[Any, ...] = (), options: dict[str, Any] | None = None
    ):
        options = options or {}
        answer = function(*arguments, **options)
        if _asks_form(function):
            return answer
        for maps, (seen, kind) in _staged((arguments, options)):
            if kind == CONVOLVED:
                seen.convolved += 1
                norm = Norm.of(function, maps, arguments, options)
                if norm is not None and answer.dtype == seen.dtype:
                    seen.norm = norm
                    setattr(answer, STAGE, (seen, NORMALISED))
            else:
                seen.normalised += 1
                seen.rectified |= function in RECTIFIES
                if answer is maps:  # changed in place: what follows reads what the ReLU has made
                    delattr(maps, STAGE)
        call = Convolution.of(function, arguments, options)
        if call is not None and answer.numel() >= LARGE and answer.dtype in (torch.float32, torch.bfloat16):
            seen = Seen(call, answer.dtype)
            self._seen.setdefault(id(call.weight), []).append(seen)
            setattr(answer, STAGE, (seen, CONVOLVED))
        return answer


class Folded(TorchFunctionMode):
    """Passes in which convolutions give what their norms would make of their maps. Raises Astray."""

    def __init__(self, folds: Iterable[Fold]) -> None:
        super().__init__()
        self._folds = {id(fold.convolution.weight): fold for fold in folds}
        self._unread = 0

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        super().__exit__(kind, *rest)  # type: ignore[no-untyped-call]
        if kind is None and self._unread:
            raise Astray("the maps of a convolution were not read by its batch norm")

    def __torch_function__(  # type: ignore[no-untyped-def]
        self, function: Function, types: object, arguments: tuple[Any, ...] = (), options: dict[str, Any] | None = None
    ):
        options = options or {}
        if _asks_form(function):
            return function(*arguments, **options)
        for maps, (fold, kind) in _staged((arguments, options)):
            if kind == CONVOLVED and fold.norm.same(Norm.of(function, maps, arguments, options)):
                self._unread -= 1
                normalised = maps.detach()
                if fold.rectified:
                    setattr(normalised, STAGE, (fold, NORMALISED))
                return normalised
            if kind == NORMALISED and function in RECTIFIES:
                if not _in_place(function, arguments, options):
                    return maps.detach()
                delattr(maps, STAGE)
                return maps
            raise Astray(f"{function} has read maps that were a batch norm's or a ReLU's alone")
        call = Convolution.of(function, arguments, options)
        fold = None if call is None else self._folds.get(id(call.weight))
        if call is None or fold is None or not fold.convolution.same(call):
            return function(*arguments, **options)
        maps = fold(arguments[0])
        self._unread += 1
        setattr(maps, STAGE, (fold, CONVOLVED))
        return maps


def _asks_form(function: Function) -> bool:
    """Whether a function tells a tensor's form alone."""
    name = getattr(function, "__name__", "")
    return name in FORM or (name == "__get__" and getattr(getattr(function, "__self__", None), "__name__", "") in ATTRIBUTES)


def _staged(values: object) -> Iterator[tuple[Tensor, Any]]:
    """Yield the maps among a function's arguments that say what has to read them, and what they say."""
    if isinstance(values, Tensor):
        stage = getattr(values, STAGE, None)
        if stage is not None:
            yield values, stage
    elif isinstance(values, (tuple, list)):
        for value in values:
            yield from _staged(value)
    elif isinstance(values, dict):
        yield from _staged([*values.values()])


def _in_place(function: Function, arguments: tuple[Any, ...], options: dict[str, Any]) -> bool:
    """Whether a call of a ReLU changes what it reads."""
    return function in IN_PLACE or bool(options.get("inplace", arguments[1:2] == (True,)))


def _pair(size: int | Sequence[int]) -> list[int]:
    return [size, size] if isinstance(size, int) else [*size]
