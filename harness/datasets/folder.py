"""Any dataset in a folder: one folder a class, a table of labels beside the images, or parquet files as on Hugging Face."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import torch

from harness.core.errors import BadOption, DataError
from harness.datasets import links, parquet
from harness.datasets.base import Dataset, statistics
from harness.datasets.class_folders import by_class
from harness.datasets.class_order import are_numbers, in_order, places, twice
from harness.datasets.decoded import LazySplit, Listing, decoded_split
from harness.datasets.label_tables import NAMES as TABLES
from harness.datasets.label_tables import by_table, listings, table_of
from harness.datasets.split import Split
from harness.files import decoding, paths
from harness.files.pixels import Form, Reader, dimensions

#: How the folder of a test split may be called, best first.
TEST = ("test", "val", "valid", "validation")
#: What stands for a label that is not published, as in the test split of ImageNet-1K.
HIDDEN = -1
MAX_SIZE = 1024
#: Bytes of a split's pixels above which the test split is decoded into the cache, and the train split only as it is needed.
RESIDENT = 1 << 28
#: Train images, evenly spaced, that tell the normalisation of a dataset whose train split is not decoded.
SAMPLE = 2000


def folder(path: str, data_dir: Path | None, *, size: int = 0, column: str = "") -> Dataset:
    """A folder with train/ and test/ (or val/, valid/, validation/); every image is brought to `size` px.

    The splits lie in the folder, in its data/, or in the only folder in it that has such, as configurations and doubled folders
    do. Each is one folder a class, read as torchvision's ImageFolder reads it, folders below it too; or images with a
    metadata.csv or metadata.jsonl (`file_name` and a label); or parquet files, train/*.parquet or train-00000-of-00001.parquet,
    with the columns `image` and `label` (needs pyarrow). `column` says which is the label where that is open; of CIFAR-100's two
    it is `fine_label`. A test split without labels (-1) is passed over where there is a validation split. Classes that are whole
    numbers are in their order, others sorted. `folder:PATH` is relative to --data-dir when one is given. With size 0 the images
    agree in size already; others are reached by resizing the shorter side and cropping the centre. Images that are all grey give
    one channel, up to 256 MiB a split; larger test splits are decoded once, into the cache, and of larger train splits what is
    needed.
    """
    if not 0 <= size <= MAX_SIZE:
        raise BadOption(
            f"dataset folder:{path}: size must be 1 to {MAX_SIZE} px, or 0 to take the images as they are, not {size}"
        )
    root = (data_dir / path if data_dir is not None else Path(path)).expanduser()
    name = f"folder:{root.name}"
    listed = _listed(root, column)
    train, test, classes = listed.train, listed.test, listed.classes
    try:
        form = _form(path, root, train, test, size)
        room = form.shape[1] * form.shape[2] * form.shape[0]
        if max(len(train.items), len(test.items)) * room <= RESIDENT:
            return _resident(name, listed, form)
        seen = decoded_split(test, form)
        mean, std = statistics(decoded_split(_sample(train), form).images)
        return Dataset(name, LazySplit(lambda: train, form), seen, classes, mean, std, remarks=(*listed.remarks, *test.notes))
    except DataError as error:
        if not size and "px where" in str(error):
            raise DataError(f"{error}; give folder:{path}(size=PIXELS)") from None
        raise


@dataclass(frozen=True)
class Listed:
    """Both splits, none of their images read, and the classes; `named` where the files state these in an order of their own."""

    train: Listing
    test: Listing
    classes: tuple[str, ...]
    named: bool = False
    passed: str = ""  # a test split that was passed over, in words

    @property
    def remarks(self) -> tuple[str, ...]:
        """What is to be said of how the files were read; of the classes' order nothing where the files, or numbers, tell it."""
        said = (self.passed,) if self.passed else ()
        if self.named or are_numbers(self.classes):
            return said
        shown = ", ".join(self.classes[:3]) + (", …" if len(self.classes) > 3 else "")
        return (*said, f"{self.train.title.rpartition(':')[0]}: the classes are their names, sorted: {shown}")


@dataclass(frozen=True)
class _Splits:
    """Where the splits of a dataset lie: in folders, or in parquet files beside each other."""

    base: Path
    folders: dict[str, Path]
    shards: dict[str, list[Path]]

    @property
    def train(self) -> bool:
        return "train" in self.folders or "train" in self.shards


def _listed(root: Path, column: str) -> Listed:
    """Return both splits, none of their images read, and the classes."""
    if not root.is_dir():
        raise DataError(f"dataset folder {root}: no such folder; expected one with train/ and test/, one folder a class")
    place = f"dataset folder {root}"
    inside = links.root(root)
    splits = _splits(place, inside)
    tests = [name for name in TEST if name in splits.folders]
    if "train" in splits.folders and tests:
        bare = [name for name in tests[:-1] if _is_bare(inside, splits.folders[name])]
        test = next(name for name in tests if name not in bare)
        listed = _folders(place, inside, splits.folders["train"], splits.folders[test], column)
        return replace(listed, passed=f"{place}: {', '.join(bare)}/ has no labels; {test}/ is its test split") if bare else listed
    shards = [name for name in TEST if name in splits.shards]
    if "train" in splits.shards and shards:
        return _shards(place, inside, splits.shards["train"], {name: splits.shards[name] for name in shards}, column)
    raise DataError(f"{place}: no test/ with one folder a class (nor val/, valid/, validation/), nor such parquet files")


def _splits(place: str, root: Path) -> _Splits:
    """Return where the splits lie: in the folder, in its data/, or in the only other folder in it that has a train split."""
    inner = sorted(paths.folders(root), key=lambda folder: (folder.name != "data", folder.name))
    own, *others = (_splits_in(root, base) for base in (root, *inner))
    if own.train:
        return own
    fitting = [splits for splits in others if splits.train]
    if not fitting:
        raise DataError(f"{place}: no train/ with one folder a class, nor train-*.parquet, in it or in a folder in it")
    if len(fitting) > 1 and fitting[0].base.name != "data":
        names = [splits.base.name for splits in fitting]
        raise DataError(f"{place}: {', '.join(names)[:200]} have a train split each; which is it? Give folder:PATH/{names[0]}")
    return fitting[0]


def _splits_in(root: Path, base: Path) -> _Splits:
    parts = {part.name: part for part in paths.folders(root, base) if part.name in ("train", *TEST)}
    return _Splits(base, parts, parquet.shards(root, base))


def _is_bare(root: Path, part: Path) -> bool:
    """Return whether a split's folder has images and nothing that labels them, as competitions hand out their test images."""
    entries = paths.entries(root, part)
    labelled = any(entry.is_dir() or entry.name in TABLES or entry.name.endswith(".parquet") for entry in entries)
    return bool(entries) and not labelled


def _folders(place: str, root: Path, train: Path, test: Path, column: str) -> Listed:
    shards = [paths.files(root, part, {".parquet"}) for part in (train, test)]
    if all(shards):
        return _shards(place, root, shards[0], {test.name: shards[1]}, column)
    tables = [table_of(root, part) for part in (train, test)]
    if tables[0] is not None and tables[1] is not None:
        labelled = [
            by_table(f"{place}: {part.name}", root, part, file, column)
            for part, file in zip((train, test), tables, strict=True)
            if file
        ]
        return Listed(*listings(labelled[0], labelled[1]))
    if tables[0] is not None or tables[1] is not None:
        lone = train if tables[0] is None else test
        raise DataError(f"{place}: {lone.name}/ lacks the metadata.csv or metadata.jsonl that the other split has")
    if column:
        raise BadOption(f"{place}: its classes are folders, which have no column {column!r}")
    classes, others = _classes(root, train), _classes(root, test)
    same = dict(zip(places(others, classes), others, strict=True))
    if None in same or len(same) != len(classes):
        odd = [name for index, name in enumerate(classes) if index not in same]
        odd += [name for name in others if name not in same.values() or same.get(None) == name]
        raise DataError(f"{place}: {train.name}/ and {test.name}/ differ in their classes: {', '.join(sorted(odd)[:5])}")
    names = ((train, classes), (test, [same[index] for index in range(len(classes))]))
    split_listings = [by_class(f"{place}: {part.name}", root, str(part.relative_to(root)), called) for part, called in names]
    return Listed(split_listings[0], split_listings[1], classes)


def _shards(place: str, root: Path, train: list[Path], tests: dict[str, list[Path]], column: str) -> Listed:
    """Return the splits of parquet files; of several that may be the test split the first that has labels."""
    train_rows = parquet.by_rows(f"{place}: {train[0].name}", root, train, column)
    hidden = []
    for name, files in tests.items():
        rows = parquet.by_rows(f"{place}: {files[0].name}", root, files, column)
        if all(label == HIDDEN for label in rows.labels):
            hidden.append(name)
            continue
        passed = f"{place}: {', '.join(hidden)} has no labels (all are {HIDDEN}); {name} is its test split" if hidden else ""
        return Listed(*listings(train_rows, rows), named=bool(train_rows.names), passed=passed)
    raise DataError(f"{place}: {', '.join(hidden)} has no labels (all are {HIDDEN}), and there is no other test split")


def _classes(root: Path, part: Path) -> tuple[str, ...]:
    """Return the names of a split's class folders, in the order of the classes."""
    names = [folder.name for folder in paths.folders(root, part)]
    if not names:
        raise DataError(f"dataset folder {part}: empty; expected one folder a class, a metadata.csv or .parquet files")
    if (same := twice(names)) is not None:
        raise DataError(f"dataset folder {part}: {same[0]} and {same[1]} are one number, so one class; put them together")
    return tuple(in_order(names))


def _form(path: str, root: Path, train: Listing, test: Listing, size: int) -> Form:
    """Return what every image is decoded to: of the size asked for, else of that of the first ones."""
    if size:
        return Form((3, size, size), size)
    reader = Reader()
    sizes = []
    for listing in (train, test):
        place, encoded = reader.read(listing.items[0])
        sizes.append(dimensions(encoded, place))
    if sizes[0] != sizes[1]:
        raise DataError(f"dataset folder {root}: train and test images differ in size; give folder:{path}(size=PIXELS)")
    width, height = sizes[0]
    return Form((3, height, width))


def _resident(name: str, listed: Listed, form: Form) -> Dataset:
    """Decode both splits into memory."""
    listings_of = (listed.train, listed.test)
    splits = [Split(decoding.read(listing.items, form).images, listing.labels) for listing in listings_of]
    if all(bool((s.images[:, :1] == s.images).all()) for s in splits):
        splits = [Split(s.images[:, :1].contiguous(), s.labels) for s in splits]
    mean, std = statistics(splits[0].images)
    remarks = (*listed.remarks, *listed.train.notes, *listed.test.notes)
    return Dataset(name, splits[0], splits[1], listed.classes, mean, std, remarks=remarks)


def _sample(train: Listing) -> Listing:
    """Return at most SAMPLE images of a listing, evenly spaced."""
    count = len(train.items)
    chosen = sorted({i * count // SAMPLE for i in range(SAMPLE)})
    stamps = [train.stamps[i] for i in chosen] if len(train.stamps) == count else train.stamps
    return Listing(train.title, train.root, [train.items[i] for i in chosen], train.labels[torch.tensor(chosen)], stamps)
