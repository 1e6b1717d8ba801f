"""Every optimizer of timm, as timm's factory makes it: what `timm.optim.create_optimizer_v2` gives for a name, the name means."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from harness.core.errors import BadOption, UnknownName, suggest
from harness.core.options import annotations_of
from harness.core.registry import Description

if TYPE_CHECKING:
    from torch import nn
    from torch.optim import Optimizer

#: What a constructor takes that is no hyperparameter, or that boards have another word for.
_NOT_SETTABLE = {"params", "self", "foreach", "fused", "capturable", "differentiable", "maximize", "fallback_list", "verbose"}
#: The learning rate of a class that has none, or that would set its own, which no schedule could change.
_RATE = 1e-3
#: What the factory gives every optimizer, whatever its class has: no weight decay, and of biases and norms never any.
_FACTORY = {"weight_decay": 0.0, "filter_bias_and_bn": True}
#: What the factory gives an optimizer with momentum.
_MOMENTUM = 0.9
#: What `giftbench list` says of all of them; timm is not loaded for that.
LISTED = Description(
    "timm/*",
    "timm",
    "Any optimizer of timm.optim.list_optimizers() that runs here, as timm's create_optimizer_v2 makes it: momentum 0.9 where "
    "there is one, the rest as its class has it. Its name alone does, too, but for sgd, adam and adamw.",
    {"lr": "its own", "weight_decay": "0.0", "filter_bias_and_bn": "true"},
)


def find(name: str, ours: Iterable[str]) -> tuple[Callable[..., Optimizer], dict[str, object], dict[str, str]]:
    """Return what makes an optimizer of timm, the parameters that may be set with their defaults, and their annotations.

    Args:
        name: as timm.optim.list_optimizers() has it, or with `timm/` before it.
        ours: names of other optimizers, for a suggestion.
    Raises: UnknownName with a suggestion; BadOption for an optimizer that cannot run here, with the reason. One that compiles
        its steps shows that when it is made, which raises BadOption then.
    """
    timm, short = importlib.import_module("timm.optim"), name.removeprefix("timm/")  # its optimizers are not typed
    if short not in timm.list_optimizers():
        raise UnknownName(f"no optimizer {name!r}; {suggest(short, {*ours, *timm.list_optimizers()})}")
    info = timm.get_optimizer_info(short)
    if info.second_order:
        raise _unusable(name, "it needs gradients of gradients (create_graph), which a step here does not make")
    try:
        kind = timm.get_optimizer_class(short, bind_defaults=False)
    except (AssertionError, ImportError) as error:  # those of apex and bitsandbytes
        raise _unusable(name, f"timm says {' '.join(str(error).split())!r}") from error

    def make(model: nn.Module, **options: object) -> Optimizer:
        given = {option: tuple(value) if isinstance(value, list) else value for option, value in options.items()}
        optimizer: Optimizer = timm.create_optimizer_v2(model, short, **given)
        if any(hasattr(part, "_torchdynamo_orig_callable") for part in vars(optimizer).values()):
            raise _unusable(name, "it compiles its steps (torch.compile), which takes minutes")
        return optimizer

    return make, _defaults(info, kind), annotations_of(kind.__init__)


def _defaults(info: Any, kind: type) -> dict[str, object]:
    """Return the parameters of a class that the factory passes on, with the defaults that it gives them."""
    plain = (int, float, str, bool, tuple, list, type(None))
    ignored = {option for option, taken in (("eps", info.has_eps), ("betas", info.has_betas)) if not taken}
    own = {
        p.name: p.default
        for p in inspect.signature(kind.__init__).parameters.values()  # type: ignore[misc]
        if p.name not in _NOT_SETTABLE | ignored and p.default is not p.empty and isinstance(p.default, plain)
    }
    if own.get("lr") is None:
        own["lr"] = _RATE
    if info.has_momentum:
        own["momentum"] = _MOMENTUM
    merged = {**own, **(info.defaults or {}), **_FACTORY}
    return {option: list(default) if isinstance(default, tuple) else default for option, default in merged.items()}


def _unusable(name: str, reason: str) -> BadOption:
    return BadOption(f"optimizer {name!r} cannot be used here: {reason}")
