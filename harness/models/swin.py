"""Swin-V2-Tiny, and the patch and window with which it meets an image."""

from __future__ import annotations

from dataclasses import dataclass

import timm
from torch import nn

from harness.core.errors import BadOption
from harness.models import Shape
from harness.models.fitting import checked_rate, fit, next_multiple

STAGES = 4
PATCH, WINDOW = 4, 8  # of the published model at 256 px (Liu et al., 2022)


@dataclass(frozen=True)
class Settings:
    """How Swin-V2 sees an image: its size once resized, pixels a patch, tokens a window, and whether windows are padded."""

    size: tuple[int, int]
    patch: int
    window: int
    padded: bool

    @property
    def changes(self) -> tuple[str, ...]:
        """What differs from the published model."""
        return (
            f"patch {self.patch}" if self.patch != PATCH else "",
            f"window {self.window}" if self.window != WINDOW else "",
            "windows padded" if self.padded else "",
        )


def settings(height: int, width: int, patch: int = 0) -> Settings:
    """Decide how Swin-V2-Tiny meets an image of height x width pixels, as near to the published model as works.

    Patch: `patch` when it is given, else the largest of 4 (published), 2 and 1 that leaves the last stage two tokens a
    side; a single token attends to itself alone, and the weights that compare tokens would learn nothing. Window: the
    largest of 8 (published) to 4 that divides the token grid of each stage that is larger than it; when none does, 8, and
    timm pads the grids with zeros (as it does before merging an odd grid). A stage whose grid is no larger than the window
    attends to all of it. An image whose sides the patch does not divide, or that is too small for patch 1, is upsampled
    bilinearly.

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
    whole = [w for w in range(WINDOW, 3, -1) if all(grid <= w or grid % w == 0 for grid in grids)]
    return Settings(size, patch, whole[0] if whole else WINDOW, padded=not whole)


def swin_v2_tiny(shape: Shape, classes: int, *, patch: int = 0, drop_path: float = 0.1) -> nn.Module:
    """Swin-V2-Tiny with patch and window fitted to the image (Liu et al., 2022).

    Args:
        shape: (channels, height, width) of the images; `settings` says what they change.
        classes: width of the logits.
        patch: pixels a side of a token, up to the image's smaller side; 0 lets `settings` choose. Twice the patch trains
            about four times faster.
        drop_path: rate of stochastic depth in the last block, in [0, 1); 0.1 is timm's, torchvision has 0.2.
    Raises: BadOption for a patch or a rate outside its range.
    """
    if not 0 <= patch <= min(shape[1:]):
        raise BadOption(f"model 'swin-v2-tiny': patch must be from 1 to {min(shape[1:])} px here, or 0 to choose, not {patch}")
    chosen = settings(shape[1], shape[2], patch)
    model = timm.create_model(
        "swinv2_tiny_window8_256",
        pretrained=False,
        in_chans=shape[0],
        num_classes=classes,
        img_size=chosen.size,
        patch_size=chosen.patch,
        window_size=chosen.window,
        drop_path_rate=checked_rate("model 'swin-v2-tiny': drop_path", drop_path),
    )
    for name, table in model.named_buffers():
        if name.endswith("relative_coords_table"):
            table.nan_to_num_(0.0)  # some releases of timm divide by zero where a window is one token, which lies 0 from itself
    return fit(model, shape[1:], chosen.size, *chosen.changes)
