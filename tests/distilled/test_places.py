"""Archives are read as the folders that they are, also the images beside labels, and a set says which it comes from."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

import pytest

from harness.core.errors import DataError
from harness.core.home import home
from harness.core.spec import Spec
from harness.distilled import places
from harness.planning.artefacts import Artefacts
from harness.planning.published_sets import kept, read
from tests.distilled.readers.layouts import folder_tar, sre2l_zip
from tests.distilled.readers.published_files import DIGITS, LABELS, SMALL, imported, write
from tests.files.hub_server import Repository, serving

pytestmark = pytest.mark.usefixtures("cache")


def quiet(line: str) -> None:
    pass


@pytest.mark.parametrize(("layout", "reader"), [(sre2l_zip, "cda"), (folder_tar, "folder")])
def test_a_set_from_an_archive_is_that_of_its_folder_and_names_the_archive(tmp_path: Path, layout, reader: str) -> None:
    path = layout(tmp_path / "set", DIGITS, 2)
    shutil.unpack_archive(path, tmp_path / "by-hand")
    spec, said = Spec(name=reader), []
    made, by_hand = read(spec, path, DIGITS, None, said.append), read(spec, tmp_path / "by-hand", DIGITS, None, quiet)
    assert made.digest == by_hand.digest and made.provenance["sha256"] == by_hand.provenance["sha256"]
    assert made.provenance["archive"] == {path.name: hashlib.sha256(path.read_bytes()).hexdigest()}
    assert made.provenance["folder"] in ("syn", "set")
    assert any("passed over, such as thumbnails and logs" in line for line in said) == (reader == "cda")
    assert [*(home() / "unpacked").iterdir()] == []


@pytest.mark.parametrize("form", ["datm", "gift", "dc", "npz", "ncfm", "rded"])
def test_every_reader_is_given_what_is_in_an_archive(tmp_path: Path, form: str) -> None:
    write(form, tmp_path / "set", DIGITS, 2)
    archive = Path(shutil.make_archive(str(tmp_path / "packed"), "zip", tmp_path, "set"))
    made = read(Spec(name=form), archive, DIGITS, None, quiet)
    assert made.digest == read(Spec(name=form), tmp_path / "set", DIGITS, None, quiet).digest


def test_an_error_in_an_archive_names_it_and_not_where_it_was_unpacked(tmp_path: Path, refused) -> None:
    (tmp_path / "set" / "0").mkdir(parents=True)
    for label in range(10):
        (tmp_path / "set" / f"{label}").mkdir(exist_ok=True)
        (tmp_path / "set" / f"{label}" / "0.png").write_bytes(b"no image")
    archive = Path(shutil.make_archive(str(tmp_path / "packed"), "gztar", tmp_path, "set"))
    with refused(DataError, f"{archive}/set/0/0.png: not a readable image"):
        read(Spec(name="folder"), archive, DIGITS, None, quiet)
    assert [*(home() / "unpacked").iterdir()] == []


def test_what_is_absent_is_refused(tmp_path: Path, refused) -> None:
    with refused(DataError, tmp_path / "absent.zip", "no such file or folder"):
        places.fetched(tmp_path / "absent.zip", quiet)


# -- images beside stored labels -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", LABELS)
@pytest.mark.parametrize("kind", ["zip", "gztar"])
def test_images_of_stored_labels_lie_in_an_archive_as_they_do_in_a_folder(tmp_path: Path, form: str, kind: str) -> None:
    labels = write(form, tmp_path / form)
    by_hand = imported(form, labels)
    images = labels.parent / "images"
    archive = Path(shutil.make_archive(str(labels.parent / "pictures"), kind, images.parent, "images"))
    shutil.rmtree(images)
    made = imported(form, labels, images=archive.name)
    assert made.digest == by_hand.digest
    assert made.provenance["images"]["archive"] == {archive.name: hashlib.sha256(archive.read_bytes()).hexdigest()}
    assert "archive" not in made.provenance and made.image_bytes == by_hand.image_bytes
    assert [*(home() / "unpacked").iterdir()] == []


def test_labels_and_images_lie_in_archives_beside_each_other_or_in_one(tmp_path: Path) -> None:
    labels = write("fkd", tmp_path / "set")
    by_hand = imported("fkd", labels)
    both = Path(shutil.make_archive(str(tmp_path / "one"), "zip", tmp_path / "set"))
    apart = [Path(shutil.make_archive(str(tmp_path / name), "zip", tmp_path / "set", name)) for name in ("labels", "images")]
    shutil.rmtree(tmp_path / "set")
    assert imported("fkd", apart[0], images="images.zip").digest == by_hand.digest
    shutil.unpack_archive(both, tmp_path / "two")
    assert imported("fkd", tmp_path / "two" / "labels", images=f"../../{apart[1].name}").digest == by_hand.digest


def test_images_of_stored_labels_may_be_a_file_of_any_reader(tmp_path: Path) -> None:
    labels = write("fkd", tmp_path / "set")
    images = write("npz", tmp_path / "npz")
    made = imported("fkd", labels, images=str(images / "set.npz"), images_format="npz")
    assert made.labels.tolist() == [0, 0, 1, 1] and made.replay is not None


def test_images_of_stored_labels_lie_on_the_hub_and_another_commit_is_read_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    labels = write("fkd", tmp_path / "set")
    by_hand = imported("fkd", labels)
    root, spec = labels.parent / "images", Spec(name="fkd", options={"images": "hub:somebody/pictures"})
    files = {path.relative_to(root).as_posix(): path.read_bytes() for path in root.rglob("*") if path.is_file()}
    with serving(somebody__pictures=Repository(files)) as server:
        monkeypatch.setenv("HF_ENDPOINT", server.address)
        artefacts = Artefacts(tmp_path / "artefacts")
        first = kept(spec, labels, SMALL, None, artefacts, quiet)
        assert first.digest == by_hand.digest
        assert str(first.metadata["provenance"]["images"]["hub"]).startswith("hub:somebody/pictures@")
        other, (one, *_) = dict(files), sorted(files)
        other[one] = files[sorted(files)[-1]]
        server.repositories["somebody/pictures"] = Repository(other)
        assert kept(spec, labels, SMALL, None, artefacts, quiet).digest != first.digest


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("images.zip", b"no archive", "damaged or truncated"),
        ("images.rar", b"Rar!", "such archives are not read"),
        ("absent.zip", None, "no such folder or archive there, beside it or here"),
    ],
)
def test_images_in_no_archive_are_named(tmp_path: Path, name: str, content: bytes | None, words: str, refused) -> None:
    labels = write("fkd", tmp_path / "set")
    if content is not None:
        (labels / name).write_bytes(content)
    with refused(DataError, name, words):
        imported("fkd", labels, images=name)


def test_what_is_wrong_with_an_image_in_an_archive_names_the_archive_and_it(tmp_path: Path, refused) -> None:
    labels = write("hald", tmp_path / "set")
    (labels.parent / "images" / "new001" / "class001_id001.jpg").write_bytes(b"no image")
    archive = Path(shutil.make_archive(str(tmp_path / "pictures"), "zip", labels.parent, "images"))
    with refused(DataError, f"{archive}/images/new001/class001_id001.jpg: not a readable image"):
        imported("hald", labels, images=str(archive))
