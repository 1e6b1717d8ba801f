"""Stored soft labels as the codes of LPLD, LPQLD and HALD write them, and what a training on them sees, one image at a time.

Both follow the authors' code, and nothing of this project's: files are written by a loader over the sorted images, and replayed
from the files' own content.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy
import torch
from PIL import Image
from timm.data.auto_augment import _RAND_TRANSFORMS, LEVEL_TO_ARG, NAME_TO_OP
from torch import Tensor
from torch.utils.data import DataLoader, RandomSampler
from torchvision.transforms import RandomResizedCrop
from torchvision.transforms.v2.functional import hflip, resized_crop


@dataclass(frozen=True)
class Written:
    """One stored batch: which images it is of, as sorted files count them, and what its file holds."""

    index: list[int]
    parts: list[Any]


def teacher(images: int, classes: int) -> Callable[[list[int]], Tensor]:
    """Return made-up logits of a batch, [B, C], which peak at the image's class and change from call to call."""
    draws = torch.Generator().manual_seed(5)

    def logits(index: list[int]) -> Tensor:
        noise = torch.randn(len(index), classes, generator=draws)
        return noise + 4 * torch.nn.functional.one_hot(torch.tensor(index) * classes // images, classes)

    return logits


def boxed(size: tuple[int, int], lam: float, draws: numpy.random.RandomState) -> list[Any]:
    """The authors' rand_bbox: numpy's whole numbers, the first and third of which run down the image."""
    tall, wide = int(size[0] * numpy.sqrt(1.0 - lam)), int(size[1] * numpy.sqrt(1.0 - lam))
    y, x = draws.randint(size[0]), draws.randint(size[1])
    first = numpy.clip(y - tall // 2, 0, size[0]), numpy.clip(x - wide // 2, 0, size[1])
    return [*first, numpy.clip(y + tall // 2, 0, size[0]), numpy.clip(x + wide // 2, 0, size[1])]


def augmented(count: int, size: tuple[int, int], draws: numpy.random.RandomState, mix: str) -> list[Any]:
    """Crops as shares in single precision, flips, mix index, lam and box of a batch."""
    blank = torch.empty(1, *size)
    crops = [RandomResizedCrop.get_params(blank, [0.2, 1.0], [3 / 4, 4 / 3]) for _ in range(count)]
    coords = torch.tensor([[i / size[0], j / size[1], h / size[0], w / size[1]] for i, j, h, w in crops])
    flips = torch.tensor([bool(flip) for flip in draws.rand(count) < 0.5])
    if mix == "none":
        return [coords, flips, None, None, None]
    lam = draws.beta(1.0, 1.0)
    return [coords, flips, torch.randperm(count), lam, boxed(size, lam, draws) if mix == "cutmix" else None]


def rand_augment(count: int, draws: numpy.random.RandomState, rounds: int = 2) -> list[list[Tensor]]:
    """The rounds of RandAugment of LPQLD's code, by timm's levels: operations, draws and final arguments of a batch, by round."""
    stored = []
    for _ in range(rounds):
        triples = []
        for _ in range(count):
            place, draw = int(draws.choice(len(_RAND_TRANSFORMS))), float(draws.rand())
            level = LEVEL_TO_ARG[_RAND_TRANSFORMS[place]]
            takes = level is not None and draw < 0.5
            argument = level(float(draws.normal(6, 1)), {"translate_pct": 0.45})[0] if takes else -99
            triples.append((place, draw, argument))
        operations, chances, arguments = zip(*triples, strict=True)
        whole = all(isinstance(argument, int) for argument in arguments)
        numbers = torch.tensor(arguments) if whole else torch.tensor(arguments, dtype=torch.float64).half()
        stored.append([torch.tensor(operations), torch.tensor(chances, dtype=torch.float64).half(), numbers])
    return stored


def rand_augmented(pixels: Tensor, stored: list[list[Tensor]], place: int, fill: int) -> Tensor:
    """Return uint8 pixels, [1, H, W], after the stored rounds of the image at a place, by timm's operations on an image."""
    image = Image.fromarray(pixels[0].numpy())
    for operations, chances, arguments in stored:
        name, argument = _RAND_TRANSFORMS[int(operations[place])], arguments[place].item()
        if chances[place].item() < 0.5:
            whole = name in ("Posterize", "Solarize", "SolarizeAdd")
            given = [] if argument == -99 else [int(argument) if whole else argument]
            image = NAME_TO_OP[name](image, *given, fillcolor=fill, resample=Image.Resampling.BICUBIC)
    return torch.from_numpy(numpy.array(image))[None]


def write_lp(
    folder: Path,
    images: int,
    classes: int,
    size: tuple[int, int],
    *,
    batch: int = 4,
    batches: int = 6,
    topk: int = 0,
    flat: bool = True,
    lowest: bool = False,
    probabilities: float = 0.0,
    mix: str = "cutmix",
    drop_last: bool = True,
    named: bool = True,
    rounds: int = 0,
) -> list[Written]:
    """LPQLD's generate_soft_label_pruning_batch.py (`flat`), or LPLD's generate_soft_label_pruning.py: pruned to so many batches.

    Args:
        topk: how many labels are kept; 0 keeps all.
        lowest: whether the lowest logit of each image is stored too (MRS).
        probabilities: the temperature of a softmax that is taken before the largest are (MS); 0 takes none.
        named: whether the order of the images is stored.
        rounds: of RandAugment, before the crop.
    """
    folder.mkdir(parents=True)
    torch.manual_seed(1)
    draws, asked = numpy.random.RandomState(0), teacher(images, classes)
    sampler = RandomSampler(range(images), generator=torch.Generator().manual_seed(42))
    loader: DataLoader[int] = DataLoader(list(range(images)), batch, sampler=sampler, drop_last=drop_last)  # type: ignore[arg-type]
    written: list[Written] = []
    of_epochs: dict[str, list[int]] = {}
    while len(written) < batches:
        epoch = str(len(of_epochs))
        of_epochs[epoch] = []
        for step, chosen in enumerate(loader):
            index = chosen.tolist()
            of_epochs[epoch] += index
            coords, flips, partner, lam, box = augmented(len(index), size, draws, mix)
            output, rest = asked(index), []
            least = output.min(1, keepdim=True).values.half()
            output = (output / probabilities).softmax(1) if probabilities else output
            if topk:
                top = torch.topk(output, topk, dim=1)
                output, rest = top.values, [top.indices.short(), *([least] if lowest else [])]
            if flat:
                coords = coords.half()
                partner = None if partner is None else partner.to(torch.uint8)
                box = None if box is None else [torch.tensor(int(side), dtype=torch.uint8) for side in box]
            strong = [rand_augment(len(index), draws, rounds)] if rounds else []
            parts = [coords, flips, *strong, partner, lam, box, output.half(), *rest]
            place = folder / f"batch_{len(written)}.tar" if flat else folder / f"epoch_{epoch}" / f"batch_{step}.tar"
            place.parent.mkdir(exist_ok=True)
            torch.save(parts, place)
            written.append(Written(index, parts))
            if len(written) == batches:
                break
    if named and flat:
        names = {str(number): one.index for number, one in enumerate(written)}
        (folder / "sampler_indices_batch.json").write_text(json.dumps(names))
    elif named:
        (folder / "sampler_indices_epoch.json").write_text(json.dumps(of_epochs))
    return written


def write_hald(
    folder: Path, images: int, classes: int, size: tuple[int, int], *, batch: int = 4, epochs: int = 3, temperature: float = 20.0
) -> list[Written]:
    """HALD's relabelling: an epoch a file, the order of its images drawn by a seed of its own."""
    folder.mkdir(parents=True)
    torch.manual_seed(1)
    draws, asked, written = numpy.random.RandomState(0), teacher(images, classes), []
    order = {
        str(epoch): torch.randperm(images, generator=torch.Generator().manual_seed(42 + epoch)).tolist()
        for epoch in range(epochs)
    }
    torch.save(order, folder / "sampler_indices_dict.pt")
    for epoch in range(epochs):
        batches = []
        for start in range(0, images, batch):
            index = order[str(epoch)][start : start + batch]
            coords, flips, partner, lam, box = augmented(len(index), size, draws, "cutmix")
            soft = (asked(index) / temperature).softmax(1).half()
            batches.append([coords.half(), flips, partner, numpy.float64(lam), box, soft])
            written.append(Written(index, batches[-1]))
        torch.save(batches, folder / f"epoch_{epoch}.tar")
    return written


def replayed(pictures: Tensor, batch: Written, truncated: bool = False) -> Tensor:
    """Return what a student sees of a stored batch, [B, C, H, W]: cropped, mirrored, mixed, image by image, by torchvision.

    Args:
        pictures: normalised images in the order of the sorted files.
        truncated: whether crops are cut to whole pixels, as HALD does, or rounded by their edges, as Pillow does.
    """
    coords, flips, partner, lam, box = batch.parts[:5]
    height, width = pictures.shape[2:]
    single = []
    for place, image in enumerate(batch.index):
        i, j, h, w = (share.item() * side for share, side in zip(coords[place], (height, width, height, width), strict=True))
        if truncated:
            crop = int(i), int(j), int(h), int(w)
        else:
            top, left = round(i), round(j)
            crop = top, left, round(i + h) - top, round(j + w) - left
        cut = resized_crop(pictures[image], *crop, size=[height, width], antialias=True)
        single.append(hflip(cut) if flips[place] else cut)
    seen = torch.stack(single)
    if partner is None:
        return seen
    other = seen[partner.long()]
    if box is None:
        return lam * seen + (1 - lam) * other
    mixed, (top, left, bottom, right) = seen.clone(), (int(side) for side in box)
    mixed[:, :, top:bottom, left:right] = other[:, :, top:bottom, left:right]
    return mixed


def permuted(count: int, steps: int) -> Iterator[list[int]]:
    """Yield which batches each epoch of HALD's training takes: the pool is filled again, by the next seed, when it is empty."""
    pool: list[int] = []
    times = 0
    while True:
        if not pool:
            pool = torch.randperm(count, generator=torch.Generator().manual_seed(42 + times)).tolist()
            times += 1
        yield pool[:steps]
        pool = pool[steps:]
