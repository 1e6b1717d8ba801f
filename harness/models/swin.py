"""Swin-V2-Tiny, and the patch and windows with which it meets an image."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import timm
import torch
from timm.models.swin_transformer_v2 import SwinTransformerV2Block, window_partition, window_reverse
from torch import Tensor, nn
from torch.nn import functional

from harness.core.errors import BadOption, suggest
from harness.models import Shape
from harness.models.fitting import checked_init, checked_rate, fit, next_multiple, remark

STAGES = 4
PATCH, WINDOW = 4, 8  # of the published model at 256 px (Liu et al., 2022)
WINDOWS = ("shrink", "pad")


@dataclass(frozen=True)
class Settings:
    """How Swin-V2 sees an image: its size once resized, pixels a patch, tokens a window, and whether windows are padded.

    Attributes:
        windows: what becomes of windows that a grid of tokens does not hold a whole number of, a word of WINDOWS.
        whole: whether every grid holds a whole number of the published windows, so that nothing does.
    """

    size: tuple[int, int]
    patch: int
    window: int
    padded: bool
    windows: str
    whole: bool

    @property
    def changes(self) -> tuple[str, ...]:
        """What differs from the published model."""
        return (
            f"patch {self.patch}" if self.patch != PATCH else "",
            f"window {self.window}" if self.window != WINDOW else "",
            "windows padded" if self.padded else "",
        )

    @property
    def remark(self) -> str:
        """What whoever puts published weights into the network should know of its windows."""
        if self.whole:
            return ""
        if self.windows == "pad":
            return "windows=pad: grids of tokens are padded to whole windows, as in torchvision's network"
        return "windows=shrink: windows shrink to the grids of tokens, as in timm's network; torchvision's pads the grids"


class PaddedBlock(SwinTransformerV2Block):
    """A block of Swin-V2 that pads its grid with zeros to whole windows before it shifts them, as torchvision's does.

    timm's makes the windows of a small grid as small as it, and shifts a grid that they do not divide before it pads it.
    """

    @classmethod
    def take(cls, block: SwinTransformerV2Block) -> None:
        """Make a padded block of one of timm's that keeps its windows at every grid."""
        block.__class__ = cls
        height, width = next_multiple(block.input_resolution, WINDOW)
        down, right = block.shift_size
        block.input_resolution = height, width
        block.shift_size = down if height > WINDOW else 0, right if width > WINDOW else 0
        block.register_buffer("attn_mask", block.get_attn_mask(), persistent=False)

    def _attn(self, tokens: Tensor) -> Tensor:
        """[B, H, W, C] -> [B, H, W, C]."""
        (height, width), (down, right) = tokens.shape[1:3], self.window_size
        grid = functional.pad(tokens, (0, 0, 0, -width % right, 0, -height % down))
        whole = grid.shape[1:3]
        if any(self.shift_size):
            grid = torch.roll(grid, shifts=tuple(-shift for shift in self.shift_size), dims=(1, 2))
        windows = window_partition(grid, self.window_size).flatten(1, 2)
        seen = self.attn(windows, mask=self.attn_mask).unflatten(1, self.window_size)
        grid = window_reverse(seen, self.window_size, whole)
        if any(self.shift_size):
            grid = torch.roll(grid, shifts=self.shift_size, dims=(1, 2))
        return grid[:, :height, :width]


def settings(height: int, width: int, patch: int = 0, windows: str = "shrink") -> Settings:
    """Decide how Swin-V2-Tiny meets an image of height x width pixels, as near to the published model as works.

    Patch: `patch` when it is given, else the largest of 4 (published), 2 and 1 that leaves the last stage two tokens a
    side; a single token attends to itself alone, and the weights that compare tokens would learn nothing. An image whose
    sides the patch does not divide, or that is too small for patch 1, is upsampled bilinearly.

    Windows, where they shrink: the largest of 8 (published) to 4 that divides the token grid of each stage that is larger
    than it; when none does, 8, and timm pads the grids with zeros (as it does before merging an odd grid). A stage whose grid
    is no larger than the window attends to all of it. Where they are padded: 8, and every grid is padded to whole ones.

    | pixels | tokens a side at each stage | patch | window | recorded |
    | ---: | --- | ---: | ---: | --- |
    | 8 | 16 8 4 2 | 1 | 8 | patch 1, input upsampled 8 -> 16 px |
    | 16 | 16 8 4 2 | 1 | 8 | patch 1 |
    | 28 | 14 7 4 2 | 2 | 7 | patch 2, window 7 |
    | 32 | 16 8 4 2 | 2 | 8 | patch 2 |
    | 50 | 13 7 4 2 | 4 | 8 | windows padded, input upsampled 50 -> 52 px |
    | 64 | 16 8 4 2 | 4 | 8 | |
    | 96 | 24 12 6 3 | 4 | 6 | window 6 |
    | 224 | 56 28 14 7 | 4 | 7 | window 7 |
    | 256 | 64 32 16 8 | 4 | 8 | |
    """
    if patch == 0:
        smallest = 2 ** (STAGES - 1) + 1  # tokens a side that, halved and rounded up between the stages, end as two
        if min(height, width) < smallest:
            enlarge = 2 * -(-smallest // (2 * min(height, width)))
            height, width = height * enlarge, width * enlarge
        patch = next(p for p in (4, 2, 1) if -(-min(height, width) // p) >= smallest)
    size = next_multiple((height, width), patch)
    grids = [-(-side // (patch * 2**stage)) for side in size for stage in range(STAGES)]
    whole = not any(grid % WINDOW for grid in grids)
    if windows == "pad":
        return Settings(size, patch, WINDOW, not whole, windows, whole)
    dividing = [w for w in range(WINDOW, 3, -1) if all(grid <= w or grid % w == 0 for grid in grids)]
    return Settings(size, patch, dividing[0] if dividing else WINDOW, not dividing, windows, whole)


def swin_v2_tiny(
    shape: Shape, classes: int, *, patch: int = 0, drop_path: float = 0.1, init: str = "timm", windows: str = "shrink"
) -> nn.Module:
    """Swin-V2-Tiny fitted to the image (Liu et al., 2022); torchvision's is init=torchvision, drop_path=0.2, windows=pad.

    Args:
        shape: (channels, height, width) of the images; `settings` says what they change.
        classes: width of the logits.
        patch: pixels a side of a token, up to the image's smaller side; 0 lets `settings` choose. Twice the patch trains
            about four times faster. torchvision has 4, which is what is chosen from 36 px.
        drop_path: rate of stochastic depth in the last block, in [0, 1); 0.1 is timm's, torchvision has 0.2.
        init: "timm" starts the 24 norms after attention and after the layers between at 0; "torchvision" at 1.
        windows: what becomes of windows larger than a stage's grid of tokens: "shrink" to it, or "pad" the grid to whole ones.
    Raises: BadOption for another word, and for a patch or a rate outside its range.
    """
    if not 0 <= patch <= min(shape[1:]):
        raise BadOption(f"model 'swin-v2-tiny': patch must be from 1 to {min(shape[1:])} px here, or 0 to choose, not {patch}")
    if windows not in WINDOWS:
        raise BadOption(f"model 'swin-v2-tiny': windows must be 'shrink' or 'pad', not {windows!r}; {suggest(windows, WINDOWS)}")
    checked_init("swin-v2-tiny", init)
    chosen = settings(shape[1], shape[2], patch, windows)
    keywords: dict[str, Any] = {"always_partition": True} if windows == "pad" else {}
    model = timm.create_model(
        "swinv2_tiny_window8_256",
        pretrained=False,
        in_chans=shape[0],
        num_classes=classes,
        img_size=chosen.size,
        patch_size=chosen.patch,
        window_size=chosen.window,
        drop_path_rate=checked_rate("model 'swin-v2-tiny': drop_path", drop_path),
        **keywords,
    )
    for layer in list(model.modules()):
        if windows == "pad" and isinstance(layer, SwinTransformerV2Block):
            PaddedBlock.take(layer)
        if init == "torchvision" and isinstance(layer, nn.LayerNorm):
            nn.init.ones_(layer.weight)
    for name, table in model.named_buffers():
        if name.endswith("relative_coords_table"):
            table.nan_to_num_(0.0)  # some releases of timm divide by zero where a window is one token, which lies 0 from itself
    return remark(fit(model, shape[1:], chosen.size, *chosen.changes), chosen.remark)
