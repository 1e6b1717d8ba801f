"""What a person wants to see of a distilled set: its facts, and its images."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from torch import Tensor

from harness.core.errors import DataError
from harness.distilled.files import published_bytes
from harness.distilled.set import DistilledSet
from harness.files import atomic

MAX_CLASSES, MAX_PER_CLASS = 20, 20


def describe(distilled: DistilledSet) -> str:
    """Return the facts of a set, one a line."""
    images, channels_height_width = distilled.images, "x".join(map(str, distilled.shape))
    counts = distilled.labels.bincount(minlength=distilled.classes)
    soft = (
        "none; a teacher gives them"
        if distilled.soft_labels is None
        else f"{distilled.soft_kind}, {list(distilled.soft_labels.shape)}"
    )
    if distilled.replay is not None:
        soft = distilled.replay.said()
    spread = (
        f"{int(counts.min())} to {int(counts.max())} a class" if counts.min() != counts.max() else f"{int(counts[0])} a class"
    )
    facts = {
        "method": distilled.method,
        "dataset": distilled.dataset,
        "images": f"{len(distilled)} of {channels_height_width} {str(images.dtype).removeprefix('torch.')}, "
        + _normalisation(distilled),
        "values": f"{float(images.min()):.4g} to {float(images.max()):.4g}, mean {_mean(images):.4g}",
        "classes": f"{distilled.classes}, {spread}",
        "soft labels": soft,
        "bytes": f"images {distilled.image_bytes:,}, labels {distilled.label_bytes:,}, as they are stored"
        + (" by its authors" if published_bytes(distilled.provenance) else "")
        + (f"; images as 8-bit pixels {distilled.pixel_bytes:,}" if distilled.pixel_bytes != distilled.image_bytes else ""),
        "mosaic factor": str(distilled.factor),
        "native loss": distilled.native_loss or "none stated",
        "provenance": json.dumps(distilled.provenance, sort_keys=True),
        "digest": distilled.digest,
    }
    width = max(map(len, facts))
    return "\n".join(f"{name:<{width}}  {value}" for name, value in facts.items())


def _normalisation(distilled: DistilledSet) -> str:
    if distilled.whitening:
        return f"{distilled.whitening.upper()}-whitened"
    return "normalised already" if distilled.normalised else "pixels"


def _mean(images: Tensor) -> float:
    """Return the mean value, image by image: a large set as floats would be four times its size."""
    return float(torch.stack([image.float().mean() for image in images]).double().mean())


def draw(distilled: DistilledSet, path: Path) -> Path:
    """Write a PNG grid, one row a class (at most 20 classes and 20 images each), and return its path."""
    from PIL import Image
    from torchvision.utils import make_grid

    if distilled.shape[0] not in (1, 3):
        raise DataError(f"images of {distilled.shape[0]} channels cannot be drawn; 1 or 3 can")
    rows = []
    columns = min(MAX_PER_CLASS, int(distilled.labels.bincount(minlength=distilled.classes).max()))
    low, high = float(distilled.images.min()), float(distilled.images.max())
    if not distilled.normalised:
        low, high = 0, 255 if distilled.images.dtype == torch.uint8 else 1
    for label in range(min(distilled.classes, MAX_CLASSES)):
        images = distilled.images[distilled.labels == label][:columns].float()
        images = (images - low) / max(high - low, 1e-12)
        blank = torch.ones(columns - len(images), *distilled.shape)
        rows.append(torch.cat([images, blank]))
    grid = make_grid(torch.cat(rows), nrow=columns, padding=1, pad_value=0.5)
    pixels = (grid * 255).round().clamp(0, 255).to(torch.uint8).permute(1, 2, 0).numpy()
    zoom = max(1, min(4, 64 // distilled.shape[1]))
    picture = Image.fromarray(pixels).resize((pixels.shape[1] * zoom, pixels.shape[0] * zoom), Image.Resampling.NEAREST)
    atomic.make_folder(path.parent)
    with atomic.writing(path) as stream:
        picture.save(stream, format="PNG")
    return path
