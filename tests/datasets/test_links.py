"""Links that leave a dataset's folder: refused with the remedy, followed where the user allows it, and never for a set."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from harness import datasets
from harness.core.errors import DataError
from harness.datasets import links
from harness.distilled import readers
from harness.distilled.reading import Reading
from tests.datasets.hugging_face import with_rows, with_tables
from tests.datasets.test_folder import picture

LAYOUTS = ["folders", "tables", "parquet"]


@pytest.fixture
def linked(tmp_path: Path, request: pytest.FixtureRequest) -> tuple[Path, Path]:
    """Return a dataset's folder, and one in which links lead to its files."""
    own, other = tmp_path / "own" / "pets", tmp_path / "links" / "pets"
    if request.param == "tables":
        with_tables(own, "csv", ["cat", "dog", "cat"])
    elif request.param == "parquet":
        with_rows(own)
    else:
        for split in ("train", "test"):
            for index, name in enumerate(("cat", "dog")):
                picture(own / split / name / "0.png", 90 * index)
    for file in sorted(own.rglob("*")):
        if file.is_file():
            place = other / file.relative_to(own)
            place.parent.mkdir(parents=True, exist_ok=True)
            place.symlink_to(file)
    return own, other


@pytest.mark.parametrize("linked", LAYOUTS, indirect=True)
def test_links_are_followed_only_where_the_user_allows_it(
    linked: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch, refused
) -> None:
    own, other = linked
    with refused(DataError, other, "symbolic link that leaves", "--follow-links"):
        datasets.load(f"folder:{other}")
    monkeypatch.setenv(links.VARIABLE, "1")
    assert datasets.load(f"folder:{other}").digest == datasets.load(f"folder:{own}").digest


def test_a_folder_of_a_class_may_be_a_link(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for split in ("train", "test"):
        for index, name in enumerate(("cat", "dog")):
            picture(tmp_path / "big disk" / split / name / "0.png", 90 * index)
        (tmp_path / "pets").mkdir(exist_ok=True)
        (tmp_path / "pets" / split).symlink_to(tmp_path / "big disk" / split)
    monkeypatch.setenv(links.VARIABLE, "1")
    assert datasets.load(f"folder:{tmp_path / 'pets'}").classes == ("cat", "dog")


def test_a_name_that_a_file_states_stays_in_the_folder_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, refused
) -> None:
    root = with_tables(tmp_path / "pets", "csv", ["cat", "dog"])
    shutil.copy(root / "test" / "images" / "9.png", tmp_path / "secret.png")
    table = root / "test" / "metadata.csv"
    table.write_text(table.read_text().replace("images/9.png", "../../secret.png"))
    monkeypatch.setenv(links.VARIABLE, "1")
    with refused(DataError, "../../secret.png", "leaves the folder"):
        datasets.load(f"folder:{root}")


def test_links_that_lead_in_a_circle_end_in_a_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, refused) -> None:
    for split in ("train", "test"):
        picture(tmp_path / "pets" / split / "cat" / "0.png", 9)
        (tmp_path / "pets" / split / "cat" / "again").symlink_to(tmp_path / "pets" / split / "cat")
    monkeypatch.setenv(links.VARIABLE, "1")
    with refused(DataError, "folders in one another"):
        datasets.load(f"folder:{tmp_path / 'pets'}")


def test_links_out_of_a_distilled_set_are_never_followed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, refused) -> None:
    picture(tmp_path / "elsewhere" / "class000_id000.jpg", 7, (32, 32))
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "new000").symlink_to(tmp_path / "elsewhere")
    monkeypatch.setenv(links.VARIABLE, "1")
    with refused(DataError, "symbolic link that leaves"):
        readers.create("sre2l")(Reading(tmp_path / "set", datasets.card("cifar10"), 1))
