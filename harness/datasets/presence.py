"""Whether a dataset's files are there, by their names alone: nothing is read or downloaded."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from harness.datasets.subsets import SUBSETS

if TYPE_CHECKING:
    from harness.core.spec import Spec

#: Where an archive of each dataset may have been unpacked, below the data folder.
TINY_PLACES = (".", "tiny-imagenet-200", "tiny-imagenet")
IMAGENET_PLACES = (".", "imagenet-1k", "imagenet", "ILSVRC2012", "ILSVRC/Data/CLS-LOC")
#: The binary version, which is read as it is, comes before the pickled one.
CIFAR_FOLDERS = {
    "cifar10": ("cifar-10-batches-bin", "cifar-10-batches-py"),
    "cifar100": ("cifar-100-binary", "cifar-100-python"),
}
#: Where Debian's dataset-fashion-mnist puts its four files.
DEBIAN = Path("/usr/share/datasets/fashion-mnist")
#: Images and labels of its two splits, each perhaps gzipped.
FASHION_FILES = {
    "train": ("train-images-idx3-ubyte", "train-labels-idx1-ubyte"),
    "test": ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"),
}


def find(spec: Spec, data_dir: Path | None) -> tuple[bool, str]:
    """Return whether a dataset's files are there, and where, or what to do in one line."""
    name = spec.name
    if name == "digits":
        there = digits_file() is not None
        return there, "comes with scikit-learn" if there else "it comes with scikit-learn: pip install scikit-learn"
    if name.startswith(("folder:", "folder/")):
        return _folder(name[len("folder:") :], data_dir)
    if name == "fashion-mnist":
        remedy = _remedy("put its four IDX files into the data folder's fashion-mnist/", data_dir)
        return _first(_fashion_places(data_dir), remedy)
    if name in ("cifar10", "cifar100"):
        remedy = _remedy(f"put {'/ or '.join(CIFAR_FOLDERS[name])}/ into the data folder", data_dir)
        return _first(_cifar_places(name, data_dir), remedy)
    if name == "tiny-imagenet":
        places = [(folder, folder / "wnids.txt") for folder in tiny_places(data_dir)]
        return _first(places, tiny_remedy(data_dir))
    if name == "imagenet-1k" or name in SUBSETS:
        root = imagenet_root(name, data_dir)
        return (True, str(root)) if root is not None else (False, imagenet_remedy(name, data_dir))
    return True, "a plugin's own"


def places(spec: Spec, data_dir: Path | None) -> list[Path]:
    """Return every file and folder that tells what a dataset of the harness's own holds, also those that are not there.

    As long as none of them changes or appears, it is read from the same files.
    """
    name = spec.name
    if name == "digits":
        return [file for file in (digits_file(),) if file is not None]
    if name.startswith(("folder:", "folder/")):
        return [_folder_root(name[len("folder:") :], data_dir)]
    if name == "fashion-mnist":
        files = [f"{file}{ending}" for split in FASHION_FILES.values() for file in split for ending in (".gz", "")]
        return [folder / file for folder in dict(_fashion_places(data_dir)) for file in files]
    if name in ("cifar10", "cifar100"):
        return [folder for folder, _ in _cifar_places(name, data_dir)]
    if name == "tiny-imagenet":
        signs = [place / "wnids.txt" for place in tiny_places(data_dir)]
        root = next((sign.parent for sign in signs if sign.is_file()), None)
        return signs + [root / part for part in ("words.txt", "val", "train") if root is not None]
    roots = _imagenet_places(name, data_dir)
    root = imagenet_root(name, data_dir)
    others = roots[: roots.index(root)] if root is not None else roots
    signs = [sign for place in others for sign in (place / "val" / _first_class(name), place / "wnids.txt")]
    return signs + [root / part for part in ("val", "train", "wnids.txt") if root is not None]


def digits_file() -> Path | None:
    """Return the file of the digits inside scikit-learn, which is not imported; None where it is not installed."""
    package = find_spec("sklearn")
    folders = package.submodule_search_locations if package is not None else None
    places = [Path(folder, "datasets", "data", "digits.csv.gz") for folder in folders or ()]
    return next((place for place in places if place.is_file()), None)


def tiny_places(data_dir: Path | None) -> list[Path]:
    """Return where Tiny-ImageNet may lie."""
    return [data_dir / place for place in TINY_PLACES] if data_dir is not None else []


def tiny_remedy(data_dir: Path | None) -> str:
    """Return what to do when it lies nowhere."""
    return _remedy("put tiny-imagenet-200/ (wnids.txt, val/ and, for teachers, train/) into the data folder", data_dir)


def imagenet_root(name: str, data_dir: Path | None) -> Path | None:
    """Return the folder that holds ImageNet-1K's val/, or that of a named subset of it; None when there is none."""
    for root in _imagenet_places(name, data_dir):
        if (root / "val" / _first_class(name)).is_dir() and not (root / "wnids.txt").exists():  # which is Tiny-ImageNet's
            return root
    return None


def _imagenet_places(name: str, data_dir: Path | None) -> list[Path]:
    own: tuple[str, ...] = (name, f"{name}2") if name in SUBSETS else ()
    return [data_dir / place for place in (*own, *IMAGENET_PLACES)] if data_dir is not None else []


def _first_class(name: str) -> str:
    """Return the first class folder of a named subset, which tells it from others; of all of ImageNet-1K there is none."""
    return next(iter(SUBSETS[name].values())) if name in SUBSETS else ""


def imagenet_remedy(name: str, data_dir: Path | None) -> str:
    """Return what to do when it lies nowhere."""
    own = f"{name}/ or " if name in SUBSETS else ""
    return _remedy(f"put {own}imagenet-1k/ (val/WNID/ and, for teachers, train/WNID/) into the data folder", data_dir)


def _remedy(what: str, data_dir: Path | None) -> str:
    return what if data_dir is not None else f"give --data-dir or set GIFTBENCH_DATA, and {what}"


def _cifar_places(name: str, data_dir: Path | None) -> list[tuple[Path, Path]]:
    from harness.core.home import home

    folders = [data_dir] if data_dir is not None else [home() / "data"]
    return [(folder / part, folder / part) for folder in folders for part in CIFAR_FOLDERS[name]]


def _fashion_places(data_dir: Path | None) -> list[tuple[Path, Path]]:
    from harness.core.home import home

    if data_dir is not None:
        folders = [data_dir, data_dir / "fashion-mnist", data_dir / "FashionMNIST" / "raw"]
    else:
        folders = [DEBIAN, home() / "data" / "FashionMNIST" / "raw"]
    return [(folder, folder / f"train-images-idx3-ubyte{ending}") for folder in folders for ending in (".gz", "")]


def _first(places: Sequence[tuple[Path, Path]], remedy: str) -> tuple[bool, str]:
    """Return the first place whose sign is there; else the remedy."""
    first = next((place for place, sign in places if sign.exists()), None)
    return (True, str(first)) if first is not None else (False, remedy)


def _folder(path: str, data_dir: Path | None) -> tuple[bool, str]:
    root = _folder_root(path, data_dir)
    return (True, str(root)) if root.is_dir() else (False, f"no folder {root}")


def _folder_root(path: str, data_dir: Path | None) -> Path:
    return (data_dir / path if data_dir is not None else Path(path)).expanduser()
