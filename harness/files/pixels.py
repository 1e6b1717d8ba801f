"""One encoded image to pixels, and the process that does so for many. Loads Pillow only, so that it starts at once."""

from __future__ import annotations

import hashlib
import io
import json
import math
import os
import signal
import stat
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, NamedTuple

# Registering the parsers here keeps Pillow from loading all of its others, many of them rarely used and rarely tested.
from PIL import (
    BmpImagePlugin,
    Image,
    ImageFile,
    JpegImagePlugin,
    PngImagePlugin,
    PpmImagePlugin,
    TiffImagePlugin,
    UnidentifiedImageError,
    WebPImagePlugin,
)

from harness.core.errors import DataError

_PARSERS = (JpegImagePlugin, PngImagePlugin, BmpImagePlugin, WebPImagePlugin, PpmImagePlugin, TiffImagePlugin)
FORMATS = ("JPEG", "PNG", "BMP", "WEBP", "PPM", "TIFF")
EXTENSIONS = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".webp", ".ppm", ".pgm", ".tif", ".tiff"})
#: Pixels of an image, before and after resizing.
MAX_PIXELS = 1 << 26
#: The last chunk of a PNG, with its checksum.
PNG_END = b"IEND\xaeB`\x82"
#: Bytes of an encoded image.
MAX_BYTES = 1 << 28

#: Where an encoded image lies: a file; or a parquet file, a row group in it, and a row of that group.
Item = str | tuple[str, int, int]


class Form(NamedTuple):
    """What every image becomes: `shape` is (channels, height, width), `resize` the shorter side before the crop or 0."""

    shape: tuple[int, int, int]
    resize: int = 0


class Done(NamedTuple):
    """What came of a run of images: the SHA-256 of each one's bytes, when asked for; and why the next one failed, if it did."""

    images: int
    digests: list[str]
    error: str = ""


@contextmanager
def strict() -> Iterator[None]:
    """Have Pillow refuse truncated images and decompression bombs, and print nothing, whatever the program around has set."""
    before = ImageFile.LOAD_TRUNCATED_IMAGES, Image.MAX_IMAGE_PIXELS
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        ImageFile.LOAD_TRUNCATED_IMAGES, Image.MAX_IMAGE_PIXELS = False, MAX_PIXELS * 2
        try:
            yield
        finally:
            ImageFile.LOAD_TRUNCATED_IMAGES, Image.MAX_IMAGE_PIXELS = before


@contextmanager
def _opened(encoded: bytes, place: str) -> Iterator[ImageFile.ImageFile]:
    """Give an image whose header has been read and found sound; whatever goes wrong with it is a DataError."""
    try:
        with Image.open(io.BytesIO(encoded), formats=FORMATS) as opened:
            _check_header(opened, place)
            if opened.format == "PNG" and encoded.rfind(PNG_END) < 0:  # Pillow does without it when all pixels are there
                raise DataError(f"{place}: not a readable image: truncated")
            yield opened
    except DataError:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise DataError(f"{place}: its size is above the limit of {MAX_PIXELS} pixels") from None
    except UnidentifiedImageError:
        raise DataError(f"{place}: not a readable image: none of {', '.join(FORMATS)}") from None
    except Exception as error:  # a broken file may raise anything in Pillow: OSError, SyntaxError, ValueError, struct.error, …
        raise DataError(f"{place}: not a readable image: {_line(error)}") from None


def image(encoded: bytes, place: str, form: Form) -> bytes:
    """Return the pixels of an encoded image, [C, H, W]. Raises DataError that begins with `place`; see `strict`."""
    channels, height, width = form.shape
    mode = "RGB" if channels == 3 else "L"
    with _opened(encoded, place) as opened:
        picture: Image.Image = opened if opened.mode == mode else opened.convert(mode)
        if form.resize:
            picture = _centre(picture, form, place)
        if picture.size != (width, height):
            raise DataError(f"{place}: {picture.width}x{picture.height} px where {width}x{height} are expected")
        return b"".join(band.tobytes() for band in picture.split())


def dimensions(encoded: bytes, place: str) -> tuple[int, int]:
    """Return (width, height) of an encoded image from its header. Raises DataError that begins with `place`."""
    with strict(), _opened(encoded, place) as opened:
        return opened.size


def _check_header(opened: ImageFile.ImageFile, place: str) -> None:
    """Refuse what the header says before anything is decoded: too many pixels, or more than 8 bits each."""
    if opened.width * opened.height > MAX_PIXELS:
        raise DataError(f"{place}: {opened.width}x{opened.height} px is above the limit of {MAX_PIXELS} pixels")
    raw = [str(tile[3]) for tile in opened.tile]
    deep = opened.mode in ("I", "F") or opened.mode.startswith("I;16") or any(";16" in args for args in raw)
    if opened.format == "PPM":  # ("RGB", 65535): the largest value, which Pillow would scale down
        deep |= any(isinstance(t[3], tuple) and isinstance(t[3][-1], int) and t[3][-1] > 255 for t in opened.tile)
    if deep:
        raise DataError(f"{place}: pixels of more than 8 bits (mode {opened.mode}) would be cut off; convert it to 8 bits")


def _centre(picture: Image.Image, form: Form, place: str) -> Image.Image:
    """Return the centre of the image brought to `form.resize` px on its shorter side, by torchvision's arithmetic.

    Bilinear with antialiasing. Pillow resizes along the rows first, then along the columns; here each pass is given only what
    the crop needs of it, which changes no pixel and saves a quarter of the work.
    """
    _, height, width = form.shape
    short, long = sorted(picture.size)
    side, other = form.resize, int(form.resize * long / short)
    if side * other > MAX_PIXELS:  # a line of pixels would become a huge image
        raise DataError(
            f"{place}: {picture.width}x{picture.height} px resized to {side} px is above the limit of {MAX_PIXELS} pixels"
        )
    wide, high = (side, other) if picture.width <= picture.height else (other, side)
    left, top = round((wide - width) / 2), round((high - height) / 2)
    if picture.size == (wide, high):
        return picture.crop((left, top, left + width, top + height))
    if long >= 2 * short:  # of tall images some releases of Pillow do the columns first, which rounds otherwise
        return picture.resize((wide, high), Image.Resampling.BILINEAR).crop((left, top, left + width, top + height))
    scale = picture.height / high
    reach = max(scale, 1) + 1  # how far from its centre an output row looks, and one more for rounding
    first = max(0, math.floor((top + 0.5) * scale - reach))
    last = min(picture.height, math.ceil((top + height - 0.5) * scale + reach))
    strip = picture.crop((0, first, picture.width, last)).resize((wide, last - first), Image.Resampling.BILINEAR)
    canvas = Image.new(picture.mode, (width, picture.height))
    canvas.paste(strip.crop((left, 0, left + width, last - first)), (0, first))
    return canvas.resize((width, high), Image.Resampling.BILINEAR).crop((0, top, width, top + height))


def content(file: str) -> bytes:
    """Return the bytes of a regular file of at most MAX_BYTES. Raises DataError."""
    try:
        status = os.stat(file)  # noqa: PTH116 (a Path for each of a million files costs more than the call)
        if not stat.S_ISREG(status.st_mode):
            raise DataError(f"{file}: not a readable image: no regular file")
        if status.st_size > MAX_BYTES:
            raise DataError(f"{file}: {status.st_size} bytes are above the limit of {MAX_BYTES} for one image")
        with open(file, "rb") as stream:  # noqa: PTH123
            read = stream.read(MAX_BYTES)
    except OSError as error:
        raise DataError(f"{file}: not a readable image: {error.strerror.lower() if error.strerror else _line(error)}") from None
    if not read:
        raise DataError(f"{file}: not a readable image: empty")
    return read


class Reader:
    """Reads the bytes of items; keeps the row group it read last."""

    def __init__(self) -> None:
        self._group: tuple[tuple[str, int], list[Any]] | None = None

    def read(self, item: Item) -> tuple[str, bytes]:
        """Return how errors name the item, and its bytes. Raises DataError."""
        if isinstance(item, str):
            return item, content(item)
        file, group, row = item
        if self._group is None or self._group[0] != (file, group):
            from harness.files.parquet import encoded_images

            self._group = (file, group), encoded_images(Path(file), group)
        place = f"{file}: row {row} of row group {group}"
        rows = self._group[1]
        encoded = rows[row] if row < len(rows) else None
        if not encoded:
            raise DataError(f"{place}: no image bytes")
        if len(encoded) > MAX_BYTES:
            raise DataError(f"{place}: {len(encoded)} bytes are above the limit of {MAX_BYTES} for one image")
        return place, bytes(encoded)


def fill(items: Sequence[Item], put: Callable[[int, bytes], None], form: Form, hashed: bool, reader: Reader) -> Done:
    """Decode items until one fails, and `put` the pixels of each by its place among them."""
    digests: list[str] = []
    with strict():
        for position, item in enumerate(items):
            try:
                place, encoded = reader.read(item)
                pixels = image(encoded, place, form)
            except DataError as error:
                return Done(position, digests, _line(error))
            put(position, pixels)
            if hashed:
                digests.append(hashlib.sha256(encoded).hexdigest())
    return Done(len(items), digests)


def _line(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__


def _write(descriptor: int, content: bytes, place: int) -> None:
    """Write at a place of a file; costs less than a mapping of it, every page of which has to be asked for."""
    if hasattr(os, "pwrite"):
        written = os.pwrite(descriptor, content, place)
    else:
        os.lseek(descriptor, place, os.SEEK_SET)
        written = os.write(descriptor, content)
    if written != len(content):
        raise OSError(f"{written} of {len(content)} bytes written")


def serve(requests: IO[bytes], answers: IO[bytes]) -> None:
    """Decode what each line of JSON asks for, into a file that the asker shares; the first line says which, and the form."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the asker ends its workers; they need not say that they were interrupted
    setup = json.loads(requests.readline())
    shape, buffer = tuple(setup["shape"]), setup["buffer"]
    descriptor = buffer if isinstance(buffer, int) else os.open(buffer, os.O_RDWR | getattr(os, "O_BINARY", 0))
    form, reader, size = Form(shape[1:], setup["resize"]), Reader(), math.prod(shape[1:])
    for line in requests:
        start, items = json.loads(line)
        named: list[Item] = [item if isinstance(item, str) else (item[0], item[1], item[2]) for item in items]

        def put(position: int, pixels: bytes, start: int = start) -> None:
            _write(descriptor, pixels, (start + position) * size)

        done = fill(named, put, form, setup["hashed"], reader)
        answers.write(json.dumps(done).encode() + b"\n")
        answers.flush()


if __name__ == "__main__":
    serve(sys.stdin.buffer, sys.stdout.buffer)
