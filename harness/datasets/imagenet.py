"""ImageNet-1K, {train,val}/WNID/*.JPEG, and subsets of its classes."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from harness.core.errors import BadOption, DataError, suggest
from harness.datasets import links
from harness.datasets.base import Dataset
from harness.datasets.cards import IMAGENET_MEAN, IMAGENET_STD
from harness.datasets.class_folders import by_class
from harness.datasets.decoded import LazySplit, decoded_split
from harness.datasets.presence import SMALLER, imagenet_remedy, imagenet_root
from harness.datasets.subsets import SUBSETS
from harness.files import paths
from harness.files.pixels import EXTENSIONS, Form

CLASSES = 1000
MAX_SIZE = 1024


def imagenet_1k(data_dir: Path | None, *, size: int = 224, classes: list[str | int] = []) -> Dataset:  # noqa: B006 (read only)
    """ImageNet-1K, 1,281,167 and 50,000 images (its val/), 3 channels, 224 px (needs its files).

    The classes are the sorted WordNet ids. The shorter side is brought to size * 256/224 px (224: 256; 64: 73) and the centre cut
    out. `classes` takes some of them, by WordNet id or by place among the 1,000, in the order given. train/ is needed only by
    teachers, distillers and ZCA.
    """
    return _load("imagenet-1k", data_dir, size, wordnet_ids(classes) if classes else {})


def imagenette(data_dir: Path | None, *, size: int = 224) -> Dataset:
    """Imagenette, ten easily told classes of ImageNet-1K (needs its files, or ImageNet-1K's)."""
    return _load("imagenette", data_dir, size, _named("imagenette"))


def imagewoof(data_dir: Path | None, *, size: int = 224) -> Dataset:
    """Imagewoof, ten dog breeds of ImageNet-1K (needs its files, or ImageNet-1K's)."""
    return _load("imagewoof", data_dir, size, _named("imagewoof"))


def imagefruit(data_dir: Path | None, *, size: int = 224) -> Dataset:
    """ImageFruit of MTT, ten fruits of ImageNet-1K (needs its files, or ImageNet-1K's)."""
    return _load("imagefruit", data_dir, size, _named("imagefruit"))


def imagemeow(data_dir: Path | None, *, size: int = 224) -> Dataset:
    """ImageMeow of MTT, ten cats of ImageNet-1K (needs its files, or ImageNet-1K's)."""
    return _load("imagemeow", data_dir, size, _named("imagemeow"))


def imagesquawk(data_dir: Path | None, *, size: int = 224) -> Dataset:
    """ImageSquawk of MTT, ten birds of ImageNet-1K (needs its files, or ImageNet-1K's)."""
    return _load("imagesquawk", data_dir, size, _named("imagesquawk"))


def imageyellow(data_dir: Path | None, *, size: int = 224) -> Dataset:
    """ImageYellow of MTT, ten yellow things of ImageNet-1K (needs its files, or ImageNet-1K's)."""
    return _load("imageyellow", data_dir, size, _named("imageyellow"))


def _named(name: str) -> dict[str, int]:
    return {wnid: index for index, wnid in SUBSETS[name].items()}


def synsets() -> list[str]:
    """Return the 1,000 WordNet ids of ImageNet-1K, sorted, from the list that timm ships."""
    import timm.data

    info: Any = timm.data
    return sorted(info.ImageNetInfo("imagenet-1k").label_names())


def wordnet_ids(classes: Sequence[str | int]) -> dict[str, int]:
    """Return the WordNet ids of classes given by id or by place among the 1,000, in the order given, each with its place."""
    known = synsets()
    places = {wnid: index for index, wnid in enumerate(known)}
    ids: dict[str, int] = {}
    for given in classes:
        if isinstance(given, bool) or not isinstance(given, (str, int)):
            raise BadOption(f"dataset imagenet-1k: classes: {given!r} is no WordNet id and no place in 0..{CLASSES - 1}")
        if isinstance(given, int) and not 0 <= given < len(known):
            raise BadOption(f"dataset imagenet-1k: classes: no class {given}; they are 0..{CLASSES - 1}")
        if isinstance(given, str) and given not in places:
            raise BadOption(f"dataset imagenet-1k: classes: no class {given!r} in ImageNet-1K; {suggest(given, known)}")
        wnid = known[given] if isinstance(given, int) else given
        if wnid in ids:
            raise BadOption(f"dataset imagenet-1k: classes: {given!r} is there twice")
        ids[wnid] = places[wnid]
    if len(ids) < 2:
        raise BadOption("dataset imagenet-1k: classes must be two or more")
    return ids


def _load(name: str, data_dir: Path | None, size: int, subset: dict[str, int]) -> Dataset:
    if not 1 <= size <= MAX_SIZE:
        raise BadOption(f"dataset {name}: size must be 1 to {MAX_SIZE} px, not {size}")
    place = imagenet_root(name, data_dir)
    if place is None:
        raise DataError(f"{name}: no val/ in {data_dir or 'a data folder'} or below it; {imagenet_remedy(name, data_dir)}")
    root = links.root(place)
    val, train = paths.inside(root, "val"), root / "train"
    wnids = list(subset) or _thousand(name, root, val)
    if subset:
        _check_folders(name, root, val)
    form = Form((3, size, size), round(size * 256 / 224))
    absent = "" if train.is_dir() else f"{name}: no {train}/WNID/; teachers, distillers and ZCA need the train split"
    test = by_class(f"{name}: val", root, "val", wnids)
    return Dataset(
        name,
        LazySplit(lambda: by_class(f"{name}: train", root, "train", wnids), form, absent),
        decoded_split(test, form),
        tuple(wnids),
        IMAGENET_MEAN,
        IMAGENET_STD,
        class_indices=tuple(subset.values()),
        remarks=(*_small(name, root, form), *test.notes),
    )


def _small(name: str, root: Path, form: Form) -> tuple[str, ...]:
    """Return a remark on images that are enlarged, as the folder of fast.ai's smaller versions says of itself."""
    side = next((side for side in SMALLER if root.name.endswith(f"2-{side}")), form.resize)
    if side >= form.resize:
        return ()
    return (f"{name}: the images of {root.name}/ have {side} px on their shorter side, brought to {form.resize} px",)


def _check_folders(name: str, root: Path, val: Path) -> list[str]:
    """Return the folders of val/. Raises DataError when its images lie there without any."""
    folders = [folder.name for folder in paths.folders(root, val)]
    if not folders and paths.files(root, val, EXTENSIONS):
        raise DataError(
            f"{name}: {val} holds images without class folders; move each into val/WNID/, the WordNet id of its class, "
            "as the development kit's ground truth says"
        )
    return folders


def _thousand(name: str, root: Path, val: Path) -> list[str]:
    """Return the folders of val/, which must be ImageNet-1K's thousand."""
    folders = _check_folders(name, root, val)
    odd = [folder for folder in folders if not re.fullmatch(r"n\d{8}", folder)]
    if odd or len(folders) != CLASSES:
        what = f", and {odd[0]} is no WordNet id" if odd else ""
        raise DataError(
            f"{name}: {val} has {len(folders)} class folders where {CLASSES} are expected{what}; "
            f"take folder:PATH, or some classes by {name}(classes=[WNID, …])"
        )
    return sorted(folders)
