"""A test split of JPEGs decoded by `harness.files.decoding` against a plain DataLoader over ImageFolder, with as many workers.

    pytest tests/benchmarks/test_decoding_speed.py --benchmark-only -p no:xdist
    GIFTBENCH_DECODE_IMAGES=50000 pytest tests/benchmarks/test_decoding_speed.py --benchmark-only -p no:xdist

A few hundred distinct photograph-like JPEGs of 500x375 px stand, as hard links, for as many images as are asked for. The plain
way is what the authors' test loaders do. As in `test_hot_loop`, both sides are timed in turn, and the median of the ratios is
printed; nothing is asserted of seconds.
"""

from __future__ import annotations

import os
import shutil
from functools import partial
from pathlib import Path
from typing import Any

import numpy
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader
from torchvision import transforms
from torchvision.datasets import ImageFolder

from harness import datasets
from harness.datasets.subsets import SUBSETS
from harness.files import decoding
from tests.benchmarks.ratios import paired

IMAGES = int(os.environ.get("GIFTBENCH_DECODE_IMAGES", "2000"))
DISTINCT, WORKERS, BATCH = 200, 2, 100
ROUNDS, WARMUPS = (5, 1) if IMAGES <= 5000 else (1, 0)
WNIDS = sorted(SUBSETS["imagenette"].values())
SHAPE, RESIZE = (3, 224, 224), 256


def photograph(seed: int) -> Image.Image:
    """Smooth shapes, finer ones upon them, and grain: about 90 kB at quality 92, near to ImageNet's 110."""
    draws = numpy.random.default_rng(seed)
    size = (500, 375) if seed % 3 else (375, 500)
    coarse, fine = (
        Image.fromarray(draws.integers(0, 256, (*cells, 3), dtype=numpy.uint8)).resize(size, Image.Resampling.BICUBIC)
        for cells in ((12, 16), (60, 80))
    )
    grain = draws.normal(0, 8, (size[1], size[0], 1))
    return Image.fromarray((numpy.asarray(Image.blend(coarse, fine, 0.3)) + grain).clip(0, 255).astype(numpy.uint8))


def split(folder: Path, images: int, distinct: int) -> Path:
    """Write CLASS/IMAGE.JPEG, `images` names for `distinct` files."""
    for index in range(images):
        file = folder / WNIDS[index % 10] / f"{index:06d}.JPEG"
        file.parent.mkdir(parents=True, exist_ok=True)
        if index < distinct:
            photograph(index).save(file, "JPEG", quality=92)
        else:
            os.link(folder / WNIDS[index % distinct % 10] / f"{index % distinct:06d}.JPEG", file)
    return folder


@pytest.fixture(scope="module")
def photographs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return split(tmp_path_factory.mktemp("data") / "imagenette" / "val", IMAGES, DISTINCT)


def plain(folder: Path, to_tensor: Any) -> None:
    """What a user's test loader does, as far as the pixels."""
    steps = [transforms.Resize(RESIZE), transforms.CenterCrop(SHAPE[1:]), to_tensor]
    for _ in DataLoader(ImageFolder(folder, transforms.Compose(steps)), batch_size=BATCH, num_workers=WORKERS):
        pass


@pytest.mark.benchmark(group=f"{IMAGES} JPEGs of 500x375 px to 224 px, {WORKERS} workers")
@pytest.mark.parametrize("to_tensor", [transforms.PILToTensor(), transforms.ToTensor()], ids=lambda step: type(step).__name__)
def test_decoding_against_a_plain_dataloader(benchmark: Any, photographs: Path, tmp_path: Path, to_tensor: Any) -> None:
    what = f"decode {IMAGES} JPEGs / DataLoader over ImageFolder, {type(to_tensor).__name__}"
    listed = [Path(file) for file, _ in ImageFolder(photographs).samples]
    out = tmp_path / "pixels"

    def ours() -> None:
        decoding.decode(listed, SHAPE, resize=RESIZE, workers=WORKERS, out=out)

    plainly = partial(plain, photographs, to_tensor)
    paired(benchmark, what, ours, plainly, rounds=ROUNDS, warmups=WARMUPS, limit="(JPEG's decoder takes the time, in both)")
    assert out.stat().st_size == IMAGES * 3 * 224 * 224
    out.unlink()


@pytest.mark.benchmark(group=f"{IMAGES} JPEGs of 500x375 px to 224 px, {WORKERS} workers")
def test_second_evaluation_decodes_nothing(
    benchmark: Any, photographs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """ImageNet's layout through `datasets.load`: the first evaluation decodes, the others map what it left."""
    monkeypatch.setenv("GIFTBENCH_HOME", str(tmp_path))
    before = decoding.decoded
    first = datasets.load("imagenette", photographs.parents[1])
    assert decoding.decoded == before + IMAGES
    second = benchmark.pedantic(lambda: datasets.load("imagenette", photographs.parents[1]), rounds=3)
    assert decoding.decoded == before + IMAGES
    assert torch.equal(first.test.images[::97], second.test.images[::97])
    shutil.rmtree(tmp_path / "decoded")
