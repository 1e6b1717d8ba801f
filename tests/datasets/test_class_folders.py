"""Images in one folder a class, listed without being read."""

from __future__ import annotations

from pathlib import Path

import pytest

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


def test_an_inner_folder_is_taken_only_where_it_is_there_and_asked_for(root: Path, refused) -> None:
    assert len(by_class("toy", root, "train", ["b"], inner="images").items) == 2
    with refused(DataError, "toy: no images in", root / "train" / "a", ".png"):
        by_class("toy", root, "train", ["a"])


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
    flat = [(0, "b", image) for image in images_in(root, root / "train" / "b")]
    assert listing("flat", root, flat).stamps == by_class("toy", root, "train", ["b"]).stamps
