"""Whether a dataset's files are there, by their names alone; `places` are all that tell what it holds, there or not."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness import datasets
from harness.core.errors import DataError
from harness.core.spec import Spec
from harness.datasets.presence import places
from harness.files import paths
from tests.datasets import test_cinic10, test_fashion_mnist, test_folder, test_svhn
from tests.datasets.test_imagenet import nette  # noqa: F401
from tests.datasets.test_tiny_imagenet import archive  # noqa: F401
from tests.processes import loaded_by

#: Prints which files below a folder are opened, and which folders are listed, while a dataset is loaded.
OPENED = """
import json
from harness import datasets
from harness.files import decoding

decoding.IMAGES_PER_WORKER = 1 << 20
opened = []
sys.addaudithook(lambda event, args: opened.append(args[0]) if event in ("open", "os.scandir", "os.listdir") else None)
dataset = datasets.load({spec!r}, {folder!r})
dataset.digest
print(json.dumps(sorted({{str(path) for path in opened if str(path).startswith({folder!r})}})))
"""


def opened(spec: str, folder: Path) -> set[str]:
    """Return what loading a dataset opens and lists in a folder."""
    _, printed = loaded_by(OPENED.format(spec=spec, folder=str(folder)))
    return set(json.loads(printed.strip().splitlines()[-1]))


def state(spec: str, folder: Path) -> list[tuple[str, list[tuple[str, int, int]]]]:
    return [(str(place), paths.stamps(place)) for place in places(Spec.model_validate(spec), folder)]


@pytest.fixture
def folder(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[tuple[str, Path]]:
    """Return a dataset and the folder that holds it."""
    name, data = request.param, tmp_path / "data"
    if name == "fashion-mnist":
        test_fashion_mnist.write(data / "fashion-mnist", packed=True)
    elif name == "mnist":
        test_fashion_mnist.write(data / "MNIST" / "raw", packed=False)
    elif name == "svhn":
        test_svhn.write(data / "svhn")
    elif name == "cinic10":
        test_cinic10.write(data / "CINIC-10")
    elif name.startswith("folder:"):
        for part in ("train", "test"):
            for label in ("cat", "dog"):
                test_folder.picture(data / "pets" / part / label / "0.png", 20)
    elif name.startswith("imagenette"):
        shutil.copytree(request.getfixturevalue("nette"), data / "imagenet")
    else:
        shutil.copytree(request.getfixturevalue("archive"), data / "tiny-imagenet-200")
    yield name, data


ALL = ["fashion-mnist", "mnist", "svhn", "cinic10", "folder:pets", "imagenette(size=32)", "tiny-imagenet"]


@pytest.mark.parametrize("folder", ALL, indirect=True)
def test_places_hold_all_that_loading_a_dataset_opens(folder: tuple[str, Path]) -> None:
    spec, data = folder
    known = [str(place) for place in places(Spec.model_validate(spec), data)]
    files = {path for path in opened(spec, data) if Path(path).is_file()}
    assert files
    assert {path for path in files if not any(path == place or path.startswith(f"{place}/") for place in known)} == set()


@pytest.mark.parametrize("folder", ALL, indirect=True)
def test_a_changed_an_added_and_a_removed_file_show(folder: tuple[str, Path]) -> None:
    spec, data = folder
    before = state(spec, data)
    assert state(spec, data) == before
    assert sum(len(stamps) for _, stamps in before) >= (2 if spec == "svhn" else 4)
    file = Path(next(place for place, stamps in before if stamps))
    file = file if file.is_file() else next(path for path in sorted(file.rglob("*")) if path.is_file())
    content = file.read_bytes()
    file.write_bytes(content + b" ")
    changed = state(spec, data)
    file.unlink()
    removed = state(spec, data)
    assert before != changed != removed != before


@pytest.mark.parametrize(
    ("spec", "better"),
    [
        ("fashion-mnist", "train-images-idx3-ubyte.gz"),
        ("cifar10", "cifar-10-batches-bin/data_batch_1.bin"),
        ("cifar100", "cifar-100-binary/train.bin"),
        ("tiny-imagenet", "wnids.txt"),
        ("imagenet-1k", "val/n01440764/a.JPEG"),
        ("imagenette", "imagenette/val/n01440764/a.JPEG"),
        ("imagenette", "imagenette2/val/n01440764/a.JPEG"),
        ("imagenette", "imagenette2-320/val/n01440764/a.JPEG"),
        ("mnist", "mnist/train-images-idx3-ubyte.gz"),
        ("svhn", "svhn/train_32x32.mat"),
        ("stl10", "stl10_binary/stl10_binary/train_X.bin"),
        ("cinic10", "cinic10/test/airplane/a.png"),
        ("folder:pets", "pets/data/train/cat/a.png"),
    ],
)
def test_a_file_that_would_be_read_first_shows_when_it_comes(spec: str, better: str, tmp_path: Path) -> None:
    for other in ("fashion-mnist/train-images-idx3-ubyte", "cifar-10-batches-py/data_batch_1", "tiny-imagenet-200/wnids.txt"):
        (tmp_path / other).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / other).write_bytes(b"there")
    (tmp_path / "imagenet" / "val" / "n01440764").mkdir(parents=True)
    before = state(spec, tmp_path)
    (tmp_path / better).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / better).write_bytes(b"better")
    assert state(spec, tmp_path) != before


def test_the_digits_lie_in_one_file() -> None:
    (file,) = places(Spec(name="digits"), None)
    assert file.name == "digits.csv.gz"
    assert paths.stamps(file)[0][1] > 10_000


# -- whether they are there -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("spec", "sign", "place"),
    [
        ("cifar10", "cifar-10-batches-py", "cifar-10-batches-py"),
        ("cifar10", "cifar-10-batches-bin", "cifar-10-batches-bin"),
        ("cifar100", "cifar-100-binary", "cifar-100-binary"),
        ("fashion-mnist", "FashionMNIST/raw/train-images-idx3-ubyte", "FashionMNIST/raw"),
        ("tiny-imagenet", "tiny-imagenet-200/wnids.txt", "tiny-imagenet-200"),
        ("imagenet-1k(size=64)", "imagenet/val/x", "imagenet"),
        ("imagenette", "imagenette2/val/n01440764/x", "imagenette2"),
        ("imagenette", "imagenette2-160/val/n01440764/x", "imagenette2-160"),
        ("imagewoof", "imagewoof2-320/val/n02086240/x", "imagewoof2-320"),
        ("imagenette", "imagenette2-320/imagenette2-320/val/n01440764/x", "imagenette2-320/imagenette2-320"),
        ("tiny-imagenet", "tiny-imagenet-200/tiny-imagenet-200/wnids.txt", "tiny-imagenet-200/tiny-imagenet-200"),
        ("mnist", "MNIST/raw/train-images-idx3-ubyte", "MNIST/raw"),
        ("svhn", "SVHN/train_32x32.mat", "SVHN"),
        ("stl10", "stl10_binary/train_X.bin", "stl10_binary"),
        ("imagenette", "ILSVRC2012/val/n01440764/x", "ILSVRC2012"),
        ("folder:pets", "pets/x", "pets"),
    ],
)
def test_files_are_found_by_their_names(spec: str, sign: str, place: str, tmp_path: Path) -> None:
    present, remedy = datasets.at_hand(spec, tmp_path)
    assert not present
    assert remedy
    assert "\n" not in remedy
    (tmp_path / sign).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / sign).touch()
    assert datasets.at_hand(spec, tmp_path) == (True, str(tmp_path / place))


def test_without_a_data_folder_the_remedy_says_how_to_give_one() -> None:
    for name in ("cifar10", "tiny-imagenet", "imagenet-1k", "imagewoof"):
        present, remedy = datasets.at_hand(name)
        assert not present
        assert "--data-dir" in remedy
        assert "GIFTBENCH_DATA" in remedy


def test_digits_are_always_there() -> None:
    assert datasets.at_hand("digits")[0]


def test_tiny_imagenet_is_not_taken_for_imagenet(tmp_path: Path) -> None:
    (tmp_path / "val" / "n01440764").mkdir(parents=True)
    (tmp_path / "wnids.txt").write_text("n01440764\n")
    assert datasets.at_hand("tiny-imagenet", tmp_path)[0]
    assert not datasets.at_hand("imagenet-1k", tmp_path)[0]
    assert not datasets.at_hand("imagenette", tmp_path)[0]


# -- one folder off, or in an archive ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("spec", "sign"),
    [
        ("cifar10", "cifar-10-batches-py/data_batch_1"),
        ("cifar10", "cifar-10-batches-bin/data_batch_1.bin"),
        ("cifar100", "cifar-100-python/train"),
        ("tiny-imagenet", "tiny-imagenet-200/wnids.txt"),
        ("imagenette", "imagenette2-160/val/n01440764/x"),
        ("imagewoof", "imagewoof2/val/n02086240/x"),
        ("stl10", "stl10_binary/train_X.bin"),
        ("svhn", "svhn/train_32x32.mat"),
    ],
)
def test_files_one_folder_off_are_answered_by_the_folder_to_give(spec: str, sign: str, tmp_path: Path, refused) -> None:
    (tmp_path / "my data" / sign).parent.mkdir(parents=True)
    (tmp_path / "my data" / sign).touch()
    present, remedy = datasets.at_hand(spec, tmp_path)
    assert not present
    assert f"--data-dir {tmp_path / 'my data'}" in remedy
    with refused(DataError, spec, f"--data-dir {tmp_path / 'my data'}"):
        datasets.load(spec, tmp_path)
    assert datasets.at_hand(spec, tmp_path / "my data")[0]


@pytest.mark.parametrize("name", ["cifar-10-batches-py", "cifar-10-batches-bin"])
def test_a_folder_that_is_given_itself_is_answered_by_its_parent(name: str, tmp_path: Path, refused) -> None:
    (tmp_path / name).mkdir()
    (tmp_path / name / "data_batch_1").touch()
    with refused(DataError, f"{tmp_path / name} is {name}/ itself", f"--data-dir {tmp_path}"):
        datasets.load("cifar10", tmp_path / name)
    assert datasets.at_hand("cifar10", tmp_path)[0]


@pytest.mark.parametrize(
    ("spec", "packed", "command"),
    [
        ("cifar10", "cifar-10-python.tar.gz", "tar -xf {} -C"),
        ("cifar100", "cifar-100-binary.tar.gz", "tar -xf {} -C"),
        ("tiny-imagenet", "tiny-imagenet-200.zip", "unzip {} -d"),
        ("imagewoof", "imagewoof2-160.tgz", "tar -xf {} -C"),
    ],
)
def test_an_archive_alone_is_answered_by_the_command_that_unpacks_it(
    spec: str, packed: str, command: str, tmp_path: Path, refused
) -> None:
    (tmp_path / packed).touch()
    line = f"only its archive is there: {command.format(tmp_path / packed)} {tmp_path}"
    assert datasets.at_hand(spec, tmp_path) == (False, line)
    with refused(DataError, spec, line):
        datasets.load(spec, tmp_path)
