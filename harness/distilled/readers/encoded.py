"""What readers of encoded images share, files or parquet rows: their pixels, those of another size resized, which is said."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from harness.core.errors import DataError
from harness.distilled.reading import Reading
from harness.distilled.set import MAX_BYTES
from harness.files import decoding
from harness.files.decoding import Decoded
from harness.files.pixels import Form, Item, Reader, dimensions


def check_room(count: int, reading: Reading, place: Path) -> None:
    """Raise DataError for more pixels than a set may have, before memory is taken."""
    size = count * math.prod(reading.card.shape)
    if size > MAX_BYTES:
        raise DataError(f"{place}: {size / 2**30:.0f} GiB of pixels, above the limit of {MAX_BYTES >> 30} GiB; give an IPC")


def pixels(items: Sequence[Item], reading: Reading, place: Path) -> tuple[Decoded, str]:
    """Return images of the card's shape, uint8 [N, C, H, W], their digests, and in words how they were resized, "" for not.

    Where some are of another size, the shorter side of each is brought to the card's and the centre is cropped, bilinear and
    antialiased, as torchvision's Resize and CenterCrop do it; `reading` is told.

    Args:
        items: files or parquet rows.
        place: what they lie in, for messages.
    Raises: DataError that names the first one that cannot be used.
    """
    check_room(len(items), reading, place)
    whole = Form(reading.card.shape)
    try:
        return decoding.read(items, whole, workers=reading.workers, hashed=True), ""
    except DataError as error:
        if "px where" not in str(error):
            raise
    sizes = _sizes(items)
    words = _resized(sizes, reading)
    reading.say(f"{place.name}: {words}")
    form = Form(reading.card.shape, max(reading.card.shape[1:]))
    return decoding.read(items, form, workers=reading.workers, hashed=True), words


def _sizes(items: Sequence[Item]) -> Counter[tuple[int, int]]:
    """Return how many images are of each width and height."""
    reader = Reader()
    sizes: Counter[tuple[int, int]] = Counter()
    for item in items:
        place, content = reader.read(item)
        sizes[dimensions(content, place)] += 1
    return sizes


def _resized(sizes: Counter[tuple[int, int]], reading: Reading) -> str:
    """Return in words what images are resized, with a warning where that makes pixels up."""
    height, width = reading.card.shape[1:]
    low, high = min(sizes, key=min), max(sizes, key=max)
    each = f"{low[0]}x{low[1]} px" if len(sizes) == 1 else f"{len(sizes)} sizes, {low[0]}x{low[1]} to {high[0]}x{high[1]} px"
    words = f"images of {each} are resized to {width}x{height} px, bilinear, the centre cropped"
    return f"warning: {words}, which enlarges some" if min(low) < max(height, width) else words
