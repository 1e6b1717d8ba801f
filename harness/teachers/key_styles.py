"""How authors name the layers of the networks that we build otherwise, and what network a list of names and shapes looks like.

A style is a function of a published state dict and our network that returns the state under our names, or None when it knows
neither. Sources: the released code of RDED, of G-VBSM (networks of RepDistiller, ResNets of kuangliu's), and torchvision.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from harness.models.convnet import ConvNet

State = dict[str, Tensor]
Style = Callable[[Mapping[str, Tensor], nn.Module], State | None]
#: What batch norm counts and nothing uses; older files lack it.
COUNTER = "num_batches_tracked"

_SHUFFLE_DOWN = ("branch1.0", "branch1.1", "branch1.2", "branch1.3", *(f"branch2.{i}" for i in (0, 1, 3, 4, 5, 6)))
_SHUFFLE_BLOCK = tuple(f"branch2.{i}" for i in (0, 1, 3, 4, 5, 6))


def same(state: Mapping[str, Tensor], network: nn.Module) -> State | None:
    """Return the state as it is: MTT's, DATM's and DC-BENCH's ConvNets, G-VBSM's small ones, torchvision's ResNets."""
    return dict(state)


def rded_convnet(state: Mapping[str, Tensor], network: nn.Module) -> State | None:
    """`layers.conv.0.weight`, `layers.norm.0.weight`: RDED's ConvNet, whose layers are grouped by kind."""
    if not isinstance(network, ConvNet) or not any(name.startswith("layers.conv.") for name in state):
        return None
    places: dict[str, list[int]] = {"conv": [], "norm": []}
    for index, layer in enumerate(network.features):
        if isinstance(layer, (nn.Conv2d, nn.BatchNorm2d, nn.GroupNorm)):
            places["conv" if isinstance(layer, nn.Conv2d) else "norm"].append(index)

    def ours(name: str) -> str:
        match = re.fullmatch(r"layers\.(conv|norm)\.(\d{1,3})\.(\w+)", name)
        if not match or int(match[2]) >= len(places[match[1]]):
            return name
        return f"features.{places[match[1]][int(match[2])]}.{match[3]}"

    return {ours(name): tensor for name, tensor in state.items()}


def kuangliu_resnet(state: Mapping[str, Tensor], network: nn.Module) -> State | None:
    """`layer2.0.shortcut.0.weight`, `linear.weight`: the ResNets for small images of kuangliu and of RepDistiller."""
    if "linear.weight" not in state or "layer4.0.conv1.weight" not in state:
        return None
    return _renamed(state, (r"\.shortcut\.", ".downsample."), (r"^linear\.", "fc."))


def small_shufflenet(state: Mapping[str, Tensor], network: nn.Module) -> State | None:
    """`layer1.0.conv1.weight`, `linear.weight`: ShuffleNet-V2 of RepDistiller, for torchvision's `stage2.0.branch1.0`."""
    if "layer1.0.conv5.weight" not in state:
        return None

    def ours(match: re.Match[str]) -> str:
        stage, block, kind, number = int(match[1]), int(match[2]), match[3], int(match[4])
        places = _SHUFFLE_BLOCK if block else _SHUFFLE_DOWN
        place = 2 * (number - 1) + (kind == "bn")
        return f"stage{stage + 1}.{block}.{places[place]}." if place < len(places) else match[0]

    return _renamed(
        state,
        (r"^layer(\d)\.(\d{1,2})\.(conv|bn)(\d)\.", ours),
        (r"^conv1\.", "conv1.0."),
        (r"^bn1\.", "conv1.1."),
        (r"^conv2\.", "conv5.0."),
        (r"^bn2\.", "conv5.1."),
        (r"^linear\.", "fc."),
    )


def torchvision_network(state: Mapping[str, Tensor], network: nn.Module) -> State | None:
    """EfficientNet-B0 and MobileNet-V2 of torchvision, whose layers come in the same order as timm's (see `in_order`)."""
    from torchvision import models

    make: Callable[..., nn.Module]
    if "features.1.0.block.0.0.weight" in state:
        make = models.efficientnet_b0
    elif "features.1.conv.0.0.weight" in state:
        make = models.mobilenet_v2
    else:
        return None
    with torch.device("meta"):
        names = [name for name in make().state_dict() if name in state]
    return in_order({name: state[name] for name in names} | dict(state), network)


def torchvision_swin(state: Mapping[str, Tensor], network: nn.Module) -> State | None:
    """Swin-V2 of torchvision: stages and merges alternate in `features`, and one bias holds those of query, key and value.

    The key's part is left out: torchvision sets it to zero whenever it is used.
    """
    if "features.1.0.attn.cpb_mlp.0.weight" not in state:
        return None
    kept = {name: tensor for name, tensor in state.items() if not name.endswith(("coords_table", "position_index"))}
    renamed = _renamed(
        kept,
        (r"^features\.0\.0\.", "patch_embed.proj."),
        (r"^features\.0\.2\.", "patch_embed.norm."),
        (r"^features\.([1357])\.", lambda match: f"layers.{int(match[1]) // 2}.blocks."),
        (r"^features\.([246])\.", lambda match: f"layers.{int(match[1]) // 2}.downsample."),
        (r"\.mlp\.0\.", ".mlp.fc1."),
        (r"\.mlp\.3\.", ".mlp.fc2."),
        (r"^head\.", "head.fc."),
    )
    for name in [name for name in renamed if name.endswith(".qkv.bias")]:
        bias, place = renamed.pop(name).flatten(), name.removesuffix("qkv.bias")
        third = len(bias) // 3
        renamed |= {f"{place}q_bias": bias[:third], f"{place}v_bias": bias[2 * third :]}
    return renamed


def in_order(state: Mapping[str, Tensor], network: nn.Module) -> State | None:
    """Return the tensors under our names one by one, when both list as many, of the same kinds (`weight`, `running_mean`, …)."""
    theirs = [name for name in state if not name.endswith(COUNTER)]
    ours = [name for name in network.state_dict() if not name.endswith(COUNTER)]
    kinds = [[name.rpartition(".")[2] for name in names] for names in (theirs, ours)]
    return {name: state[other] for name, other in zip(ours, theirs, strict=True)} if kinds[0] == kinds[1] else None


STYLES: tuple[Style, ...] = (
    same,
    rded_convnet,
    kuangliu_resnet,
    small_shufflenet,
    torchvision_network,
    torchvision_swin,
    in_order,
)


def _renamed(state: Mapping[str, Tensor], *rules: tuple[str, Any]) -> State:
    """Return the state under new names; the first rule that matches a name anywhere is applied, and so is each after it."""
    renamed = {}
    for name, tensor in state.items():
        for pattern, replacement in rules:
            name = re.sub(pattern, replacement, name)
        renamed[name] = tensor
    return renamed


def looks_like(state: Mapping[str, Tensor]) -> str:
    """Return the name of the student that a published state dict seems to belong to, or "" when nothing tells."""
    shapes = {name: tuple(tensor.shape) for name, tensor in state.items()}
    if "block1.layer.0.bn1.weight" in shapes and shapes.get("fc.weight", ())[1:] == (128,):
        return "wrn-16-2"
    if "stage2.0.branch1.0.weight" in shapes:
        return "shufflenet-v2-x0.5" if shapes.get("conv1.0.weight", ())[-1:] == (3,) else "shufflenet-v2-x0.5-modified"
    if "layer1.0.conv5.weight" in shapes:
        return "shufflenet-v2-x0.5-modified"
    if "blocks.0.0.conv.0.weight" in shapes:
        return "mobilenet-v2-x0.5-modified"
    for mark, name in (
        ("features.1.0.block.0.0.weight", "efficientnet-b0"),
        ("features.1.conv.0.0.weight", "mobilenet-v2"),
        ("features.1.0.attn.cpb_mlp.0.weight", "swin-v2-tiny"),
    ):
        if mark in shapes:
            return name
    return _resnet(shapes) or _convnet(shapes)


def _resnet(shapes: Mapping[str, tuple[int, ...]]) -> str:
    if "layer4.0.conv1.weight" not in shapes:
        return ""
    blocks = tuple(sum(f"layer{stage}.{block}.conv1.weight" in shapes for block in range(64)) for stage in (1, 2, 3, 4))
    depth = sum(blocks) * (3 if "layer1.0.conv3.weight" in shapes else 2) + 2
    modified = shapes.get("conv1.weight", ())[-1:] == (3,)
    return f"resnet{depth}" + ("-modified" if modified else "")


def _convnet(shapes: Mapping[str, tuple[int, ...]]) -> str:
    convolutions = [shape for name, shape in shapes.items() if len(shape) == 4]
    head = shapes.get("classifier.weight", ())
    if len(head) != 2 or not 1 <= len(convolutions) <= 8 or any(shape[2:] != (3, 3) for shape in convolutions):
        return ""
    if any(before[0] != after[1] for before, after in pairwise(convolutions)):
        return ""
    options = [f"width={convolutions[0][0]}"] if convolutions[0][0] != 128 else []
    if not any(name.endswith("running_mean") for name in shapes):
        norms = sum(len(shape) == 1 for shape in shapes.values()) > len(convolutions) + 1  # beside each layer's bias
        options.append("norm=instance" if norms else "norm='none'")
    return f"convnet{len(convolutions)}" + (f"({', '.join(options)})" if options else "")
