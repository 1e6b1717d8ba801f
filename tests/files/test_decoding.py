"""Image files to pixels: the same as torchvision's, whoever decodes them, and one clear line for every bad file."""

from __future__ import annotations

import io
import os
import struct
import subprocess
import sys
import threading
import time
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy
import pytest
import torch
from PIL import Image
from torch import Tensor
from torchvision.transforms import CenterCrop, Compose, PILToTensor, Resize

from harness.core.errors import DataError
from harness.files import decoding

MANY = 2 * decoding.IMAGES_PER_WORKER
#: (width, height): portrait, landscape, square, a line, odd, smaller and larger than what they become.
SIZES = [
    (50, 37),
    (37, 50),
    (40, 40),
    (64, 48),
    (31, 200),
    (200, 31),
    (7, 7),
    (7, 9),
    (33, 32),
    (32, 33),
    (500, 375),
    (375, 501),
    (1, 3),
]


@contextmanager
def refused(*words: object) -> Iterator[None]:
    """A context in which a DataError of one line is raised that holds all these words."""
    with pytest.raises(DataError) as caught:
        yield
    message = str(caught.value)
    assert "\n" not in message
    assert [word for word in map(str, words) if word not in message] == [], message


def noise(width: int, height: int, seed: int = 0, mode: str = "RGB") -> Image.Image:
    channels = len(Image.new(mode, (1, 1)).getbands())
    draws = numpy.random.default_rng([width, height, seed])
    content = draws.integers(0, 256, (height, width, channels), dtype=numpy.uint8)
    return Image.frombytes(mode, (width, height), content.tobytes())


@pytest.fixture
def pictures(tmp_path: Path) -> list[Path]:
    """Enough distinct images for two workers, each of a size of its own."""
    files = [tmp_path / f"{i:03d}.png" for i in range(MANY + 5)]
    for i, file in enumerate(files):
        noise(9 + i % 5, 8 + i % 7, i).save(file)
    return files


def png(width: int, height: int, bits: int, rows: bytes) -> bytes:
    """A colour PNG that claims a size and holds these rows, whatever they are."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", width, height, bits, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def torchvision_pixels(file: Path, resize: int, height: int, width: int, mode: str = "RGB") -> Tensor:
    with Image.open(file) as opened:
        pixels: Tensor = Compose([Resize(resize), CenterCrop((height, width)), PILToTensor()])(opened.convert(mode))
    return pixels


@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
@pytest.mark.parametrize(("resize", "height", "width"), [(32, 28, 28), (32, 32, 32), (48, 17, 40), (21, 20, 5), (40, 31, 40)])
def test_pixels_are_torchvisions(tmp_path: Path, size: tuple[int, int], resize: int, height: int, width: int) -> None:
    file = tmp_path / "image.png"
    noise(*size).save(file)
    found = decoding.decode([file], (3, height, width), resize=resize)
    assert torch.equal(found[0], torchvision_pixels(file, resize, height, width))


def test_pixels_at_the_size_of_imagenet_are_torchvisions(tmp_path: Path) -> None:
    for i, size in enumerate([(500, 375), (375, 500), (500, 333), (640, 427), (256, 256), (120, 90), (2000, 1200)]):
        file = tmp_path / f"{i}.jpg"
        noise(*size).save(file, quality=90)
        found = decoding.decode([file], (3, 224, 224), resize=256)
        assert torch.equal(found[0], torchvision_pixels(file, 256, 224, 224)), size


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(
    ("mode", "ending"),
    [("L", "jpg"), ("RGB", "jpg"), ("CMYK", "jpg"), ("RGBA", "png"), ("LA", "png"), ("1", "png"), ("P", "png"), ("RGB", "bmp"),
     ("RGB", "webp"), ("RGBA", "webp"), ("L", "pgm"), ("RGB", "ppm"), ("RGB", "tif"), ("CMYK", "tif")],
)  # fmt: skip
def test_every_mode_becomes_what_pillow_makes_of_it(tmp_path: Path, mode: str, ending: str, channels: int) -> None:
    file = tmp_path / f"image.{ending}"
    (noise(50, 41).convert(mode) if mode in ("1", "P") else noise(50, 41, mode=mode)).save(file)
    found = decoding.decode([file], (channels, 28, 28), resize=32)
    assert torch.equal(found[0], torchvision_pixels(file, 32, 28, 28, "RGB" if channels == 3 else "L"))


def test_without_resizing_every_image_must_have_the_size_already(tmp_path: Path) -> None:
    file = tmp_path / "image.png"
    noise(9, 7).save(file)
    assert torch.equal(decoding.decode([file], (3, 7, 9))[0], PILToTensor()(Image.open(file)))
    with refused(file, "9x7 px", "9x8"):
        decoding.decode([file], (3, 8, 9))


@pytest.mark.parametrize("workers", [0, 1, 2])
def test_any_number_of_workers_gives_the_same_pixels_in_the_order_of_the_files(pictures: list[Path], workers: int) -> None:
    order = [pictures[i] for i in numpy.random.default_rng(0).permutation(len(pictures))]
    found = decoding.decode(order, (3, 8, 8), resize=8, workers=workers)
    assert found.dtype == torch.uint8
    assert found.shape == (len(order), 3, 8, 8)
    assert torch.equal(found, torch.stack([torchvision_pixels(file, 8, 8, 8) for file in order]))


def test_progress_reaches_the_number_of_images(pictures: list[Path]) -> None:
    for workers in (1, 2):
        told: list[tuple[int, int]] = []
        decoding.decode(pictures, (3, 8, 8), resize=8, workers=workers, progress=lambda *at, to=told: to.append(at))
        assert told[-1] == (len(pictures), len(pictures))
        assert [done for done, _ in told] == sorted(done for done, _ in told)


def test_images_decoded_are_counted_and_refused_ones_are_not(pictures: list[Path]) -> None:
    before = decoding.decoded
    decoding.decode(pictures, (3, 8, 8), resize=8, workers=2)
    assert decoding.decoded == before + len(pictures)
    with refused():
        decoding.decode(pictures, (3, 8, 8))
    assert decoding.decoded == before + len(pictures)


def test_worker_loads_neither_torch_nor_anything_of_the_folder_it_starts_in(tmp_path: Path) -> None:
    (tmp_path / "json.py").write_text("raise SystemExit('loaded from the working folder')")
    root = str(Path(decoding.__file__).parents[2])
    loads = decoding._PROGRAM.format(root=root).replace("serve(sys.stdin.buffer, sys.stdout.buffer)", "print(*sys.modules)")
    done = subprocess.run([sys.executable, "-P", "-c", loads], cwd=tmp_path, capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())
    assert "harness.files.pixels" in loaded
    assert loaded.isdisjoint({"torch", "torchvision", "numpy", "pandas", "pyarrow", "pydantic", "timm"})


@pytest.mark.parametrize("workers", [1, 2])
def test_out_holds_the_pixels(tmp_path: Path, pictures: list[Path], workers: int) -> None:
    out = tmp_path / "out" / "pixels"
    out.parent.mkdir()
    found = decoding.decode(pictures, (3, 8, 8), resize=8, workers=workers, out=out)
    assert torch.equal(found, decoding.decode(pictures, (3, 8, 8), resize=8))
    assert out.read_bytes() == found.numpy().tobytes()
    assert [f.name for f in out.parent.iterdir()] == ["pixels"]
    found[0] = 0  # what is mapped stays private
    assert out.read_bytes() != found.numpy().tobytes()


@pytest.mark.parametrize("workers", [1, 2])
def test_out_is_not_there_and_an_older_one_is_kept_when_an_image_is_bad(
    tmp_path: Path, pictures: list[Path], workers: int
) -> None:
    pictures[-1].write_bytes(b"no image")
    out = tmp_path / "out" / "pixels"
    out.parent.mkdir()
    with refused(pictures[-1]):
        decoding.decode(pictures, (3, 8, 8), resize=8, workers=workers, out=out)
    assert list(out.parent.iterdir()) == []
    out.write_bytes(b"older")
    with refused(pictures[-1]):
        decoding.decode(pictures, (3, 8, 8), resize=8, workers=workers, out=out)
    assert out.read_bytes() == b"older"


@pytest.mark.parametrize("workers", [1, 2])
def test_first_bad_file_in_order_is_the_one_named(pictures: list[Path], workers: int) -> None:
    for place in (70, 33, 31, 100, len(pictures) - 1):
        pictures[place].write_bytes(b"no image")
    for _ in range(3):
        with refused(pictures[31], "not a readable image"):
            decoding.decode(pictures, (3, 8, 8), resize=8, workers=workers)


@pytest.mark.parametrize("workers", [1, 2])
def test_absent_file_folder_and_pipe_are_named_and_never_waited_for(tmp_path: Path, pictures: list[Path], workers: int) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    for odd in (tmp_path / "absent.png", tmp_path, tmp_path / "pipe.png"):
        with refused(odd, "not a readable image"):
            decoding.decode([*pictures[:40], odd, *pictures[40:]], (3, 8, 8), resize=8, workers=workers)


@pytest.mark.parametrize("side", [8200, 12_000, 60_000])
def test_image_that_claims_a_huge_size_is_refused_undecoded(tmp_path: Path, side: int, monkeypatch: pytest.MonkeyPatch) -> None:
    from PIL import ImageFile

    monkeypatch.setattr(ImageFile.ImageFile, "load", lambda _: pytest.fail("decoded"))
    file = tmp_path / "bomb.png"
    file.write_bytes(png(side, side, 8, b""))
    with refused(file, "above the limit of 67108864 pixels"):
        decoding.decode([file], (3, 8, 8), resize=8)


def test_a_line_of_pixels_is_not_resized_to_a_huge_image(tmp_path: Path) -> None:
    file = tmp_path / "line.png"
    Image.new("RGB", (60_000, 1)).save(file)
    with refused(file, "60000x1 px resized to 224 px", "limit"):
        decoding.decode([file], (3, 224, 224), resize=224)


def test_jpeg_cut_at_any_tenth_is_refused_and_pillows_leniency_is_left_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from PIL import ImageFile

    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)  # as many a training script has it
    file = tmp_path / "image.jpg"
    noise(64, 48).save(file)
    whole = file.read_bytes()
    for tenth in range(10):
        file.write_bytes(whole[: len(whole) * tenth // 10])
        with refused(file, "not a readable image"):
            decoding.decode([file], (3, 32, 32), resize=32)
    file.write_bytes(whole)
    decoding.decode([file], (3, 32, 32), resize=32)
    assert ImageFile.LOAD_TRUNCATED_IMAGES is True


@pytest.mark.parametrize("kind", ["GIF", "ICO", "TGA", "PCX", "EPS", "ICNS", "JPEG2000", "DDS", "SGI", "PDF"])
def test_exotic_formats_are_refused_whatever_the_file_is_called(tmp_path: Path, kind: str) -> None:
    stream = io.BytesIO()
    try:
        noise(64, 64).save(stream, kind)
    except (KeyError, OSError):
        pytest.skip(f"this Pillow does not write {kind}")
    file = tmp_path / "image.png"
    file.write_bytes(stream.getvalue())
    with refused(file, "not a readable image", "JPEG, PNG"):
        decoding.decode([file], (3, 32, 32), resize=32)


@pytest.mark.parametrize("ending", ["png", "tif", "ppm", "rgb.png"])
def test_pixels_of_more_than_8_bits_are_refused(tmp_path: Path, ending: str) -> None:
    file = tmp_path / f"image.{ending}"
    if ending == "ppm":
        file.write_bytes(b"P6 4 4 65535\n" + bytes(range(96)))
    elif ending == "rgb.png":
        file.write_bytes(png(4, 4, 16, (b"\0" + bytes(24)) * 4))
    else:
        Image.fromarray(numpy.full((8, 8), 40_000, numpy.uint16)).save(file)
    with refused(file, "8 bits"):
        decoding.decode([file], (3, 4, 4), resize=4)


@pytest.mark.parametrize(
    ("shape", "resize", "word"), [((2, 8, 8), 0, "channels"), ((3, 0, 8), 0, "at least 1 px"), ((3, 8, 9), 8, "do not hold")]
)
def test_impossible_shape_is_refused(pictures: list[Path], shape: tuple[int, int, int], resize: int, word: str) -> None:
    with refused(word):
        decoding.decode(pictures, shape, resize=resize)


def test_nothing_to_decode_is_refused() -> None:
    with refused("no images"):
        decoding.decode([], (3, 8, 8))


@pytest.fixture
def workers(monkeypatch: pytest.MonkeyPatch) -> list[decoding._Worker]:
    """The workers that are started from here on."""
    started: list[decoding._Worker] = []
    start = decoding._Worker.__init__

    def noted(self: decoding._Worker, *arguments: Any) -> None:
        start(self, *arguments)
        started.append(self)

    monkeypatch.setattr(decoding._Worker, "__init__", noted)
    return started


def test_worker_that_dies_between_two_requests_ends_in_one_line(
    pictures: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ask = decoding._Worker.ask

    def killed(self: decoding._Worker, start: int, chunk: list[str]) -> object:
        if start >= 64:
            self._process.kill()
            self._process.wait()
        return ask(self, start, chunk)

    monkeypatch.setattr(decoding._Worker, "ask", killed)
    with refused(pictures[64], "ended with status -9"):
        decoding.decode(pictures, (3, 8, 8), resize=8, workers=2, out=tmp_path / "pixels")
    assert not (tmp_path / "pixels").exists()


def test_worker_killed_while_it_decodes_ends_in_one_line(tmp_path: Path, workers: list[decoding._Worker]) -> None:
    """From outside, as a kernel short of memory does it."""
    file = tmp_path / "image.png"
    noise(900, 900).save(file)

    def kill() -> None:
        while not workers:
            time.sleep(0.01)
        workers[0]._process.kill()

    killer = threading.Thread(target=kill)
    killer.start()
    with refused(file, "ended with status -9"):
        decoding.decode([file] * 400, (3, 8, 8), resize=8, workers=2)
    killer.join()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_images_that_nobody_has_decoded_are_never_taken_for_pixels(
    tmp_path: Path, pictures: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A thread that attends to a worker fails, as no worker and no image can make it do."""
    ask = decoding._Worker.ask

    def failing(self: decoding._Worker, start: int, chunk: Any) -> Any:
        if start == decoding.CHUNK:
            raise RuntimeError("planted")
        return ask(self, start, chunk)

    monkeypatch.setattr(decoding._Worker, "ask", failing)
    with pytest.raises(RuntimeError, match=r"\A\d+ of \d+ images have not been decoded\Z"):
        decoding.decode(pictures, (3, 8, 8), resize=8, workers=2, out=tmp_path / "pixels")
    assert not (tmp_path / "pixels").exists()


def test_no_worker_outlives_a_decode(pictures: list[Path], workers: list[decoding._Worker]) -> None:
    def interrupt(*_: int) -> None:
        raise KeyboardInterrupt

    decoding.decode(pictures, (3, 8, 8), resize=8, workers=2)
    with pytest.raises(KeyboardInterrupt):
        decoding.decode(pictures, (3, 8, 8), resize=8, workers=2, progress=interrupt)
    pictures[3].write_bytes(b"no image")
    with refused(pictures[3]):
        decoding.decode(pictures, (3, 8, 8), resize=8, workers=2)
    assert len(workers) == 6
    assert all(worker._process.returncode is not None for worker in workers)


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="peak memory is read from /proc")
def test_pixels_are_held_in_memory_once(tmp_path: Path) -> None:
    noise(320, 320).save(tmp_path / "image.bmp")
    program = """
import sys
from pathlib import Path
from harness.files.decoding import decode
def peak():
    return next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmHWM"))
file = Path(sys.argv[1])
decode([file] * 128, (3, 320, 320), workers=2)
before = peak()
kept = decode([file] * 640, (3, 320, 320), workers=2)
print((peak() - before) * 1024 / kept.numel())
"""
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path / "image.bmp")], capture_output=True, text=True, check=True
    )
    assert float(done.stdout) < 1.2
