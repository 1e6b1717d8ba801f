"""Whether a dataset's files are there, by their names alone: nothing is read or downloaded."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from harness.datasets.subsets import SUBSETS

if TYPE_CHECKING:
    from harness.core.spec import Spec

#: Where an archive of each dataset may have been unpacked, below the data folder.
TINY_PLACES = (".", "tiny-imagenet-200", "tiny-imagenet")
#: Pixels of the shorter side of fast.ai's smaller versions, best first.
SMALLER = (320, 160)
IMAGENET_PLACES = (".", "imagenet-1k", "imagenet", "ILSVRC2012", "ILSVRC/Data/CLS-LOC")
#: The binary version, which is read as it is, comes before the pickled one.
CIFAR_FOLDERS = {
    "cifar10": ("cifar-10-batches-bin", "cifar-10-batches-py"),
    "cifar100": ("cifar-100-binary", "cifar-100-python"),
}
SVHN_FILES = ("train_32x32.mat", "test_32x32.mat")
STL_FOLDER = "stl10_binary"
CINIC_FOLDERS = ("CINIC-10", "cinic-10", "cinic10")
#: Archives that people leave as they were downloaded.
ARCHIVES = {
    "cifar10": ("cifar-10-python.tar.gz", "cifar-10-binary.tar.gz"),
    "cifar100": ("cifar-100-python.tar.gz", "cifar-100-binary.tar.gz"),
    "tiny-imagenet": ("tiny-imagenet-200.zip",),
    "stl10": ("stl10_binary.tar.gz",),
    "cinic10": ("CINIC-10.tar.gz",),
    "imagenette": ("imagenette2.tgz", "imagenette2-320.tgz", "imagenette2-160.tgz"),
    "imagewoof": ("imagewoof2.tgz", "imagewoof2-320.tgz", "imagewoof2-160.tgz"),
}
#: Where Debian's dataset-fashion-mnist puts its four files.
DEBIAN = Path("/usr/share/datasets/fashion-mnist")
#: Images and labels of the two splits of Fashion-MNIST and MNIST, each perhaps gzipped.
IDX_FILES = {
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
        return _first(_cifar_places(name, data_dir), cifar_remedy(name, data_dir))
    if name == "mnist":
        signs = [(place, place / f"{IDX_FILES['train'][0]}{end}") for place in mnist_places(data_dir) for end in (".gz", "")]
        return _first(signs, _remedy("put its four IDX files into the data folder's mnist/", data_dir))
    if name == "svhn":
        return _first([(place, place / SVHN_FILES[0]) for place in svhn_places(data_dir)], svhn_remedy(data_dir))
    if name == "stl10":
        return _first([(place, place) for place in stl_places(data_dir)], stl_remedy(data_dir))
    if name == "cinic10":
        place = next((place for place in cinic_places(data_dir) if is_cinic(place)), None)
        return (True, str(place)) if place is not None else (False, cinic_remedy(data_dir))
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
        files = [f"{file}{ending}" for split in IDX_FILES.values() for file in split for ending in (".gz", "")]
        return [folder / file for folder in dict(_fashion_places(data_dir)) for file in files]
    if name in ("cifar10", "cifar100"):
        return [folder for folder, _ in _cifar_places(name, data_dir)]
    if name == "mnist":
        files = [f"{file}{ending}" for split in IDX_FILES.values() for file in split for ending in (".gz", "")]
        return [folder / file for folder in mnist_places(data_dir) for file in files]
    if name == "svhn":
        return [folder / file for folder in svhn_places(data_dir) for file in SVHN_FILES]
    if name == "stl10":
        return [place / f"{split}_{part}.bin" for place in stl_places(data_dir) for split in ("train", "test") for part in "Xy"]
    if name == "cinic10":
        return [place / part for place in cinic_places(data_dir) for part in ("train", "test")]
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
    return [data_dir / place for place in _doubled(TINY_PLACES)] if data_dir is not None else []


def _doubled(places: Sequence[str]) -> list[str]:
    """Return places, and each as it is where an archive's folder was unpacked into one of its own name."""
    return [each for place in places for each in ((place, f"{place}/{Path(place).name}") if place != "." else (place,))]


def tiny_remedy(data_dir: Path | None) -> str:
    """Return what to do when it lies nowhere."""
    what = "put tiny-imagenet-200/ (wnids.txt, val/ and, for teachers, train/) into the data folder"
    return misplaced("tiny-imagenet", ("tiny-imagenet-200/wnids.txt",), data_dir) or _remedy(what, data_dir)


def imagenet_root(name: str, data_dir: Path | None) -> Path | None:
    """Return the folder that holds ImageNet-1K's val/, or that of a named subset of it; None when there is none."""
    for root in _imagenet_places(name, data_dir):
        if (root / "val" / _first_class(name)).is_dir() and not (root / "wnids.txt").exists():  # which is Tiny-ImageNet's
            return root
    return None


def _imagenet_places(name: str, data_dir: Path | None) -> list[Path]:
    own: tuple[str, ...] = (name, f"{name}2", *(f"{name}2-{size}" for size in SMALLER)) if name in SUBSETS else ()
    return [data_dir / place for place in _doubled((*own, *IMAGENET_PLACES))] if data_dir is not None else []


def _first_class(name: str) -> str:
    """Return the first class folder of a named subset, which tells it from others; of all of ImageNet-1K there is none."""
    return next(iter(SUBSETS[name].values())) if name in SUBSETS else ""


def imagenet_remedy(name: str, data_dir: Path | None) -> str:
    """Return what to do when it lies nowhere."""
    own = f"{name}/ or " if name in SUBSETS else ""
    what = f"put {own}imagenet-1k/ (val/WNID/ and, for teachers, train/WNID/) into the data folder"
    first = _first_class(name)
    places = [f"{name}2{size}/val/{first}" for size in ("", *(f"-{size}" for size in SMALLER))] if first else []
    return misplaced(name, places, data_dir) or _remedy(what, data_dir)


def cifar_remedy(name: str, data_dir: Path | None) -> str:
    """Return what to do when neither version lies in the data folder."""
    what = f"put {'/ or '.join(CIFAR_FOLDERS[name])}/ into the data folder"
    return misplaced(name, CIFAR_FOLDERS[name], data_dir) or _remedy(what, data_dir)


def mnist_places(data_dir: Path | None) -> list[Path]:
    """Return where MNIST's files may lie; in the data folder itself only where its path says so, as Fashion-MNIST's would."""
    from harness.core.home import home

    if data_dir is None:
        return [home() / "data" / "MNIST" / "raw"]
    own = data_dir.name.casefold() == "mnist" or data_dir.parts[-2:] == ("MNIST", "raw")
    return [*([data_dir] if own else []), data_dir / "mnist", data_dir / "MNIST" / "raw"]


def svhn_places(data_dir: Path | None) -> list[Path]:
    """Return where SVHN's files may lie."""
    from harness.core.home import home

    return [home() / "data"] if data_dir is None else [data_dir, data_dir / "svhn", data_dir / "SVHN"]


def svhn_remedy(data_dir: Path | None) -> str:
    """Return what to do when they lie nowhere."""
    what = f"put {' and '.join(SVHN_FILES)} into the data folder's svhn/"
    return misplaced("svhn", [f"svhn/{SVHN_FILES[0]}"], data_dir) or _remedy(what, data_dir)


def stl_places(data_dir: Path | None) -> list[Path]:
    """Return where STL-10 may lie."""
    from harness.core.home import home

    folder = home() / "data" if data_dir is None else data_dir
    return [folder / place for place in _doubled((STL_FOLDER,))][::-1]


def stl_remedy(data_dir: Path | None) -> str:
    """Return what to do when it lies nowhere."""
    return misplaced("stl10", (STL_FOLDER,), data_dir) or _remedy(f"put {STL_FOLDER}/ into the data folder", data_dir)


def cinic_places(data_dir: Path | None) -> list[Path]:
    """Return where CINIC-10 may lie."""
    return [data_dir / place for place in (".", *_doubled(CINIC_FOLDERS))] if data_dir is not None else []


def is_cinic(place: Path) -> bool:
    """Return whether a folder looks like CINIC-10's, by names of CIFAR-10's classes that hardly another set has together."""
    return all((place / "test" / name).is_dir() for name in ("airplane", "automobile", "frog"))


def cinic_remedy(data_dir: Path | None) -> str:
    """Return what to do when it lies nowhere."""
    what = "put CINIC-10/ (test/ and, for teachers, train/) into the data folder"
    return misplaced("cinic10", [f"{folder}/test/airplane" for folder in CINIC_FOLDERS], data_dir) or _remedy(what, data_dir)


def misplaced(name: str, places: Sequence[str], data_dir: Path | None) -> str:
    """Return what to do about files that lie one folder off, or in their archive; "" where there is no sign of them.

    Args:
        name: of the dataset.
        places: what is looked for in the data folder: a folder, and what in it is its sign.
        data_dir: the data folder.
    """
    if data_dir is None or not data_dir.is_dir():
        return ""
    for place in places:
        head, _, sign = place.partition("/")
        if data_dir.resolve().name == head and (data_dir / sign).exists():
            return f"{data_dir} is {head}/ itself: give the folder that holds it, --data-dir {data_dir.resolve().parent}"
    try:
        inner = sorted(folder for folder in data_dir.iterdir() if folder.is_dir())
    except OSError:
        return ""
    for folder in inner:
        for place in places:
            if (folder / place).exists():
                return f"{place.partition('/')[0]}/ lies in {folder}: give --data-dir {folder}"
    for archive in ARCHIVES.get(name, ()):
        if (data_dir / archive).is_file():
            source, into = shlex.quote(str(data_dir / archive)), shlex.quote(str(data_dir))
            unpack = f"unzip {source} -d {into}" if archive.endswith(".zip") else f"tar -xf {source} -C {into}"
            return f"only its archive is there: {unpack}"
    return ""


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
