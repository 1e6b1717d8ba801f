"""Images in one folder a class, listed without being read."""

from __future__ import annotations

import tempfile
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from torchvision.datasets import ImageFolder

from harness.core.errors import DataError
from harness.datasets.class_folders import by_class, images_in, listing


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Return a folder with train/: two images of b, of which one in upper case; one of a, in images/ below it."""
    for name in ("train/b/2.png", "train/b/1.JPG", "train/b/notes.txt", "train/a/images/9.webp"):
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(b"x" * len(name))
    return tmp_path.resolve()


def test_images_are_listed_class_by_class_and_by_name(root: Path) -> None:
    listed = by_class("toy", root, "train", ["b", "a"], inner="images")
    assert [str(Path(str(item)).relative_to(root)) for item in listed.items] == [
        "train/b/1.JPG",
        "train/b/2.png",
        "train/a/images/9.webp",
    ]
    assert listed.labels.tolist() == [0, 0, 1]
    assert [(name, size) for name, size, _ in listed.stamps] == [("b/1.JPG", 13), ("b/2.png", 13), ("a/9.webp", 21)]


def test_an_inner_folder_is_left_out_of_the_names_where_it_is_there_and_asked_for(root: Path) -> None:
    assert len(by_class("toy", root, "train", ["b"], inner="images").items) == 2
    assert by_class("toy", root, "train", ["a"]).stamps[0][0] == "a/images/9.webp"


def test_absent_classes_are_counted_and_one_is_named(root: Path, refused) -> None:
    with refused(DataError, "toy:", root / "train", "lacks 2 of 3 class folders, such as c"):
        by_class("toy", root, "train", ["b", "c", "d"])


def test_a_link_out_of_the_folder_is_refused(root: Path, tmp_path_factory: pytest.TempPathFactory, refused) -> None:
    outside = tmp_path_factory.mktemp("outside") / "secret.png"
    outside.write_bytes(b"x")
    (root / "train" / "b" / "3.png").symlink_to(outside)
    with refused(DataError, root / "train" / "b" / "3.png", "leaves"):
        images_in(root, root / "train" / "b")


def test_two_layouts_of_the_same_images_have_the_same_stamps(root: Path) -> None:
    flat = [(0, "b", image) for image in images_in(root, root / "train" / "b")[0]]
    assert listing("flat", root, flat).stamps == by_class("toy", root, "train", ["b"]).stamps


NAMES = st.text("ab-_1", min_size=1, max_size=3)
ENDINGS = st.sampled_from([".png", ".JPG", ".txt"])
PATHS = st.builds(lambda folders, name, end: "/".join([*folders, name + end]), st.lists(NAMES, max_size=3), NAMES, ENDINGS)
FILES = st.lists(PATHS, min_size=1, max_size=12, unique=True)


@settings(max_examples=25, deadline=None)
@given(names=FILES)
def test_a_class_has_the_images_that_torchvisions_image_folder_has_in_its_order(names: list[str]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder).resolve()
        for name in [*names, "always.png"]:
            with suppress(FileExistsError, NotADirectoryError, IsADirectoryError):  # a file cannot be a folder as well
                file = root / "train" / "b" / name
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_bytes(b"x")
        listed = by_class("toy", root, "train", ["b"])
        assert list(listed.items) == [path for path, _ in ImageFolder(str(root / "train")).samples]
        assert len(listed.items) + listed.passed == sum(file.is_file() for file in (root / "train").rglob("*"))


def test_what_is_passed_over_is_counted_in_a_line(root: Path) -> None:
    (root / "train" / "b" / "more").mkdir()
    for name in ("train/b/more/readme.txt", "train/b/.hidden.png", "train/lone.png", "train/notes.md"):
        (root / name).write_bytes(b"x")
    assert by_class("toy: train", root, "train", ["b"]).notes == ("toy: train: 4 files passed over, no images of a class",)
    assert by_class("toy", root, "train", ["b", "a"]).passed == 4
    for name in ("b/notes.txt", "b/more/readme.txt", "b/.hidden.png", "lone.png"):
        (root / "train" / name).unlink()
    assert by_class("toy", root, "train", ["b", "a"]).notes == ()


def test_folders_that_lead_in_a_circle_are_refused(root: Path, refused) -> None:
    (root / "train" / "b" / "again").symlink_to(root / "train" / "b", target_is_directory=True)
    with refused(DataError, root / "train" / "b", "in one another"):
        images_in(root, root / "train" / "b")
