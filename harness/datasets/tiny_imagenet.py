"""Tiny-ImageNet as its archive unpacks: wnids.txt, words.txt, train/WNID/images/, and val/images/ with val_annotations.txt."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from harness.core.errors import DataError
from harness.datasets import links
from harness.datasets.base import Dataset
from harness.datasets.cards import IMAGENET_MEAN, IMAGENET_STD
from harness.datasets.class_folders import by_class, images_in, listing
from harness.datasets.decoded import LazySplit, Listing, decoded_split
from harness.datasets.presence import tiny_places, tiny_remedy
from harness.files import paths
from harness.files.pixels import Form

CLASSES = 200
FORM = Form((3, 64, 64))
#: Bytes of wnids.txt, words.txt (2.7 MB as published) and val_annotations.txt.
MAX_TEXT = 1 << 24


def tiny_imagenet(data_dir: Path | None) -> Dataset:
    """Tiny-ImageNet, 100,000 and 10,000 images (its val/), 3 channels, 64 px (needs the files of tiny-imagenet-200.zip).

    The classes are the sorted WordNet ids, not in the order of wnids.txt. A val/ that was sorted into val/WNID/ or
    val/WNID/images/ is the same dataset. train/ is needed only by teachers, distillers and ZCA.
    """
    root = _root(data_dir)
    wnids = _wnids(root)
    part = root / "train"
    absent = "" if part.is_dir() else f"tiny-imagenet: no {part}/WNID/images/; teachers, distillers and ZCA need the train split"
    train = LazySplit(lambda: by_class("tiny-imagenet: train", root, "train", wnids, "images"), FORM, absent)
    names = _names(root, wnids)
    test, mean, std = _val(root, wnids), IMAGENET_MEAN, IMAGENET_STD
    return Dataset("tiny-imagenet", train, decoded_split(test, FORM), names, mean, std, remarks=test.notes)


def _root(data_dir: Path | None) -> Path:
    for place in tiny_places(data_dir):
        if (place / "wnids.txt").is_file():
            return links.root(place)
    raise DataError(f"tiny-imagenet: no wnids.txt in {data_dir or 'a data folder'} or below it; {tiny_remedy(data_dir)}")


def _wnids(root: Path) -> list[str]:
    wnids = sorted(set(_text(root, "wnids.txt").split()))
    if len(wnids) != CLASSES:
        raise DataError(f"{root / 'wnids.txt'}: {len(wnids)} classes where Tiny-ImageNet has {CLASSES}")
    return wnids


def _names(root: Path, wnids: Sequence[str]) -> tuple[str, ...]:
    """Return the classes' names: the first word that words.txt has for each, its WordNet id where there is none."""
    if not (root / "words.txt").is_file():
        return tuple(wnids)
    rows = (line.partition("\t") for line in _text(root, "words.txt").splitlines())
    words = {wnid: said.partition(",")[0].strip() for wnid, _, said in rows}
    return tuple(words.get(wnid) or wnid for wnid in wnids)


def _text(root: Path, name: str) -> str:
    file = paths.inside(root, name)
    paths.size(file, MAX_TEXT)
    return file.read_text("utf-8-sig", errors="replace")


def _val(root: Path, wnids: Sequence[str]) -> Listing:
    """List the test split, class by class and by name, whichever way it is laid out."""
    part, title = root / "val", "tiny-imagenet: val"
    if not part.is_dir():
        raise DataError(f"{title}: no {part}; unpack tiny-imagenet-200.zip again")
    paths.inside(root, "val")
    folders = {folder.name for folder in paths.folders(root, part)}
    if folders & set(wnids):
        return by_class(title, root, "val", wnids, "images")
    if "images" not in folders or not (part / "val_annotations.txt").is_file():
        needed = f"{part}/images/ with {part}/val_annotations.txt"
        raise DataError(f"{title}: neither {needed} nor {part}/WNID/; unpack tiny-imagenet-200.zip again")
    there = {image[0]: image for image in images_in(root, part / "images")[0]}
    labels = _annotations(root, there, wnids)
    unlabelled = sorted(set(there) - set(labels))
    if unlabelled:
        raise DataError(f"{part / 'val_annotations.txt'}: no line for {len(unlabelled)} images, such as {unlabelled[0]}")
    order = sorted(labels, key=lambda name: (labels[name], name))
    return listing(title, root, [(labels[name], wnids[labels[name]], there[name]) for name in order])


def _annotations(root: Path, there: Mapping[str, object], wnids: Sequence[str]) -> dict[str, int]:
    """Return the class index of each image, by its name, from lines of: name, tab, WordNet id, tab, a box."""
    file, images = root / "val" / "val_annotations.txt", root / "val" / "images"
    places = {wnid: index for index, wnid in enumerate(wnids)}
    labels: dict[str, int] = {}
    for number, line in enumerate(_text(root, "val/val_annotations.txt").splitlines(), 1):
        if not line.strip():
            continue
        name, _, rest = line.partition("\t")
        wnid = rest.partition("\t")[0].strip()
        if name not in there:
            paths.inside(images, name)  # says so of a name that leaves the folder
            raise DataError(f"{file}: line {number}: no image {name!r} in {images}")
        if wnid not in places:
            raise DataError(f"{file}: line {number}: {wnid!r} is no class of wnids.txt")
        if name in labels:
            raise DataError(f"{file}: line {number}: {name!r} is labelled twice")
        labels[name] = places[wnid]
    if not labels:
        raise DataError(f"{file}: no line; expected one for each image: its name, a tab and its WordNet id")
    return labels
