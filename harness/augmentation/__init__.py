"""Augmentation: a whole batch at once on its own device, with no host copy and no Python per sample.

Drawing and applying are apart, as in kornia: `draw` returns a value that `apply` can replay and a test can read. What was
not drawn is neutral in it (angle 0, scale 1), so `apply` has no data-dependent branch and can be captured in a CUDA graph.
Every field has one row a sample, so the draws of several batches can be concatenated and applied at once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.core.lazy import exports

if TYPE_CHECKING:
    from harness.augmentation.crops import Crops, Flip, PadCrop, PatchShuffle, RandomResizedCrop, mirrored, resized
    from harness.augmentation.draws import Streams, of_batch, uniforms
    from harness.augmentation.dsa import DSA, DSAParameters, Mode
    from harness.augmentation.mixing import Mix, Mixing, stored
    from harness.augmentation.pipeline import Augmentation, Pipeline, augmentation
    from harness.augmentation.steps import register, registry
    from harness.augmentation.tiles import MosaicCrop, MosaicCropParameters, mosaic
    from harness.augmentation.words import WORDS

__all__ = [
    "DSA",
    "WORDS",
    "Augmentation",
    "Crops",
    "DSAParameters",
    "Flip",
    "Mix",
    "Mixing",
    "Mode",
    "MosaicCrop",
    "MosaicCropParameters",
    "PadCrop",
    "PatchShuffle",
    "Pipeline",
    "RandomResizedCrop",
    "Streams",
    "augmentation",
    "mirrored",
    "mosaic",
    "of_batch",
    "register",
    "registry",
    "resized",
    "stored",
    "uniforms",
]

_HOMES = {
    "harness.augmentation.crops": (
        "Crops",
        "Flip",
        "PadCrop",
        "PatchShuffle",
        "RandomResizedCrop",
        "mirrored",
        "resized",
    ),
    "harness.augmentation.dsa": (
        "DSA",
        "DSAParameters",
        "Mode",
    ),
    "harness.augmentation.mixing": (
        "Mix",
        "Mixing",
        "stored",
    ),
    "harness.augmentation.draws": (
        "Streams",
        "of_batch",
        "uniforms",
    ),
    "harness.augmentation.steps": (
        "register",
        "registry",
    ),
    "harness.augmentation.pipeline": (
        "Augmentation",
        "Pipeline",
        "augmentation",
    ),
    "harness.augmentation.tiles": (
        "MosaicCrop",
        "MosaicCropParameters",
        "mosaic",
    ),
    "harness.augmentation.words": ("WORDS",),
}
__getattr__ = exports(__name__, {name: f"{home}:{name}" for home, names in _HOMES.items() for name in names})
