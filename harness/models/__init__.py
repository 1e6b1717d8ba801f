"""Students by name: `models.build("convnet3(norm=instance)", shape=(3, 32, 32), classes=10)`, `@models.register("my-model")`.

An entry is a function `model(shape, classes, *, option=default) -> nn.Module` with `shape` = (channels, height, width); its
keyword-only parameters are the ones that a board may set. `timm/NAME` is any classifier of timm, from scratch.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from harness.core.errors import DataError, PluginError, UnknownName
from harness.core.registry import Registry
from harness.core.resolved import Resolved
from harness.core.spec import Named

if TYPE_CHECKING:
    from torch import nn

    MakeModel = Callable[["Shape", int], nn.Module]

Shape = tuple[int, int, int]

registry: Registry[MakeModel] = Registry("model", group="giftbench.models")
register, create, get, names, describe = registry.register, registry.create, registry.get, registry.names, registry.describe

for _depth in range(1, 9):
    registry.add(f"convnet{_depth}", f"harness.models.convnet:convnet{_depth}", later=("padding",))

#: Parameters that came after students had been recorded without them.
_LATER = {"efficientnet-b0": ("init",), "mobilenet-v2": ("init",), "swin-v2-tiny": ("init", "windows")}

for _name, _target in {
    "resnet18": "timm_models:resnet18",
    "resnet18-modified": "timm_models:resnet18_modified",
    "resnet101": "timm_models:resnet101",
    "resnet101-modified": "timm_models:resnet101_modified",
    "efficientnet-b0": "timm_models:efficientnet_b0",
    "mobilenet-v2": "timm_models:mobilenet_v2",
    "swin-v2-tiny": "swin:swin_v2_tiny",
    "wrn-16-2": "small_nets:wrn_16_2",
    "mobilenet-v2-x0.5-modified": "small_nets:mobilenet_v2_half_modified",
    "shufflenet-v2-x0.5": "small_nets:shufflenet_v2_half",
    "shufflenet-v2-x0.5-modified": "small_nets:shufflenet_v2_half_modified",
    "resnetap10": "resnet_ap:resnetap10",
    "timm/*": "any_timm:any_timm",
}.items():
    registry.add(_name, f"harness.models.{_target}", later=_LATER.get(_name, ()))


def build(spec: Named | Resolved[object], shape: Shape, classes: int) -> nn.Module:
    """Return a new student for images of `shape`, its weights drawn from torch's global random stream.

    Args:
        spec: a registered name with its parameters, such as `"resnet18"` or `"convnet3(width=64)"`.
        shape: (channels, height, width) of the images in pixels.
        classes: width of the logits.
    Returns: a module on the default device in train mode, [B, channels, height, width] -> [B, classes]. How it was changed to
        meet images of this size is its attribute `giftbench_adaptation` (see `adaptation`). Batch norm wants batches of two
        or more in train mode.
    Raises: UnknownName or BadOption, with suggestions; DataError for a shape that no image has; PluginError when the
        registered function returns something else than a module.
    """
    if len(shape) != 3 or min(shape) < 1 or classes < 1:
        raise DataError(f"no model takes images of shape {tuple(shape)} in {classes} classes; shape is (channels, height, width)")
    full = registry.resolve(spec)
    if full.name.endswith("/*"):
        raise UnknownName(f"model {full.name!r} stands for many; name one of them, such as 'timm/resnet10t'")
    model = full.create()((int(shape[0]), int(shape[1]), int(shape[2])), int(classes))

    from torch import nn

    from harness.models.fitting import record

    if not isinstance(model, nn.Module):
        raise PluginError(f"model {full.name!r} made a {type(model).__name__}, not a torch.nn.Module")
    return record(model, adaptation(model)).train()


def adaptation(model: nn.Module) -> str:
    """Return how `model` differs from the published one to meet its images, such as "patch 2"; "" when it does not."""
    return str(getattr(model, "giftbench_adaptation", ""))


def remarks(model: nn.Module) -> tuple[str, ...]:
    """Return what whoever puts published weights into `model` should know: where its authors' networks compute something else."""
    return tuple(getattr(model, "giftbench_remarks", ()))


def parameters_count(model: nn.Module) -> int:
    """Return how many numbers `model` learns."""
    return sum(p.numel() for p in model.parameters() if p.requires_grad)
