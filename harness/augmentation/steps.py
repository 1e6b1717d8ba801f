"""Augmentation steps by name: those that ship, and plugins' (`@augmentations.register("my-noise")`). No torch.

A plugin's step is a function `name(batch, generator, *, option=default) -> batch`, [B, C, H, W] in and out, which protocols
write between others: `random-resized-crop+my-noise(strength=0.2)`. A parameter `factor` of 0 is the set's mosaic factor.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from harness.core.registry import Registry

if TYPE_CHECKING:
    from torch import Tensor

    from harness.augmentation.draws import Streams

    Step = Callable[[Tensor, Streams], Tensor]

registry: Registry[Step] = Registry("augmentation", group="giftbench.augmentations")
register, names, describe = registry.register, registry.names, registry.describe

#: What ships; how it is written, with which parameters, is said in `harness.augmentation.words`.
SHIPPED = {
    "patch-shuffle": "crops:PatchShuffle",
    "mosaic-crop": "tiles:MosaicCrop",
    "random-resized-crop": "crops:RandomResizedCrop",
    "pad-crop": "crops:PadCrop",
    "flip": "crops:Flip",
    "torchvision-rand-augment": "rand_augment:torchvision_rand_augment",
    "color-jitter": "jitter:ColorJitter",
    "lighting": "jitter:Lighting",
    "dsa": "dsa:DSA",
    **dict.fromkeys(("color", "crop", "cutout", "scale", "rotate"), "dsa:DSA"),
    **dict.fromkeys(("cutmix", "mixup"), "mixing:Mixing"),
}
for _name, _target in SHIPPED.items():
    registry.add(_name, f"harness.augmentation.{_target}")


def is_plugged(name: str) -> bool:
    """Return whether a name is that of a step which does not ship."""
    return name not in SHIPPED and name in registry
