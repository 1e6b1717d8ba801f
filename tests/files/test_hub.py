"""Places on the Hub are downloaded once, by commit, and compared with what the Hub says of them; offline is one line."""

from __future__ import annotations

import os
import shutil
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as some

from harness.core.errors import DataError
from harness.files import hub
from harness.files.hub import Remote
from tests.files.hub_server import Hub, Repository, serving
from tests.test_mutations import anywhere

FILES = {
    "README.md": b"---\nlicense: mit\n---\n",
    "data/train-00000-of-00001.parquet": b"rows" * 1000,
    "cda/set.zip": b"zip" * 1000,
    "load.py": b"import os",
    ".gitattributes": b"*.zip",
    "data/Thumbs.db": b"x",
}


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    sets = Repository(dict(FILES), large={"cda/set.zip"})
    with serving(user__sets=sets, user__weights=Repository({"a.pt": b"x"}, kind="models")) as running:
        monkeypatch.setenv("HF_ENDPOINT", running.address)
        yield running


def fetched(place: str, cache: Path) -> tuple[hub.Copy, list[str]]:
    said: list[str] = []
    return hub.fetch(Remote.of(Path(place)), cache, said.append), said


def test_a_repository_is_downloaded_without_code_and_strays_and_its_commit_is_named(server: Hub, tmp_path: Path) -> None:
    commit = server.repositories["user/sets"].commit
    copy, said = fetched("hub:user/sets", tmp_path)
    there = {path.relative_to(copy.path).as_posix() for path in copy.path.rglob("*") if path.is_file()}
    assert {name for name in there if not name.startswith(".")} == {
        "README.md",
        "data/train-00000-of-00001.parquet",
        "cda/set.zip",
    }
    assert (copy.path / "cda/set.zip").read_bytes() == FILES["cda/set.zip"]
    assert copy.pinned == f"hub:user/sets@{commit}"
    assert any("3 files, 0.00702 MB, are downloaded" in line for line in said) and copy.pinned in said[-1]


@pytest.mark.parametrize("file", ["cda/set.zip", "data"])
def test_a_file_or_a_folder_of_it_is_downloaded_alone(server: Hub, tmp_path: Path, file: str) -> None:
    copy, _ = fetched(f"hub:user/sets@main/{file}", tmp_path)
    assert copy.path.is_file() == (file == "cda/set.zip") and copy.pinned.endswith(f"/{file}")
    loaded = [request for request in server.requests if request.startswith("GET") and "/resolve/" in request]
    assert len(loaded) == 1


def test_a_commit_is_asked_for_once_and_read_without_the_hub(server: Hub, tmp_path: Path) -> None:
    commit = server.repositories["user/sets"].commit
    first, _ = fetched(f"hub:user/sets@{commit}", tmp_path)
    server.requests.clear()
    again, said = fetched(f"hub:user/sets@{commit}", tmp_path)
    assert (again, said, server.requests) == (first, [], [])
    (again.path / "cda/set.zip").write_bytes(b"")  # a copy that is not whole is none
    assert (fetched(f"hub:user/sets@{commit}", tmp_path)[0].path / "cda/set.zip").read_bytes() == FILES["cda/set.zip"]


def test_a_later_commit_is_another_copy(server: Hub, tmp_path: Path) -> None:
    first, _ = fetched("hub:user/sets", tmp_path)
    server.repositories["user/sets"].files["new.npz"] = b"new"
    later, _ = fetched("hub:user/sets", tmp_path)
    assert later.pinned != first.pinned and (later.path / "new.npz").is_file() and not (first.path / "new.npz").exists()


def test_a_repository_of_models_is_taken_where_none_of_data_is(server: Hub, tmp_path: Path) -> None:
    assert fetched("hub:user/weights/a.pt", tmp_path)[0].path.read_bytes() == b"x"


@pytest.mark.parametrize(
    ("place", "words"),
    [
        ("hub:user/none", "no such repository on the Hub, or a private one"),
        ("hub:user/sets@v2", "no revision 'v2'"),
        ("hub:user/sets/cda/sett.zip", "'cda/sett.zip' is not in it; did you mean 'cda/set.zip'"),
        ("hub:user/gated", "terms to be accepted first"),
        ("hub:user/empty", "it has no data"),
        ("hub:user", "is written as hub:USER/NAME"),
        ("hub:user/sets/../../x", "is written as hub:USER/NAME"),
        ("hub:a b/c", "is written as hub:USER/NAME"),
        ("hub:../c", "is written as hub:USER/NAME"),
    ],
)
def test_what_is_not_there_is_refused_in_one_line(server: Hub, tmp_path: Path, place: str, words: str, refused) -> None:
    server.repositories["user/gated"] = Repository({"a": b"x"}, gated=True)
    server.repositories["user/empty"] = Repository({".gitattributes": b"x"})
    with refused(DataError, place, words):
        fetched(place, tmp_path)


@pytest.mark.parametrize("name", ["cda/set.zip", "data/train-00000-of-00001.parquet"])
def test_a_file_that_is_not_what_the_hub_says_is_refused_and_downloaded_again(
    server: Hub, tmp_path: Path, name: str, refused
) -> None:
    server.repositories["user/sets"].sent[name] = FILES[name][:-1] + b"!"
    with refused(DataError, f"hub:user/sets: {name} is not what the Hub says"):
        fetched("hub:user/sets", tmp_path)
    server.repositories["user/sets"].sent.clear()
    assert (fetched("hub:user/sets", tmp_path)[0].path / name).read_bytes() == FILES[name]


@pytest.mark.parametrize("name", ["../outside", "a/../../outside", "a\\b", "a\nb"])
def test_names_that_lead_out_are_refused_before_anything_is_downloaded(server: Hub, tmp_path: Path, name: str, refused) -> None:
    server.repositories["user/sets"].files[name] = b"x"
    with refused(DataError, "hub:user/sets", "none that a file should have"):
        fetched("hub:user/sets", tmp_path / "cache")
    assert [*tmp_path.rglob("*")] == []


def test_more_than_the_limit_is_refused_before_it_is_downloaded(
    server: Hub, tmp_path: Path, refused, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub, "MAX_BYTES", 5000)
    with refused(DataError, "hub:user/sets", "above the limit", "give a file or folder of it"):
        fetched("hub:user/sets", tmp_path)
    assert fetched("hub:user/sets/cda/set.zip", tmp_path)[0].path.is_file()


@pytest.mark.parametrize("status", [400, 401, 403, 404, 429, 500, 503])
def test_a_status_of_the_hub_is_one_line(
    server: Hub, tmp_path: Path, status: int, refused, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    server.status = status
    with refused(DataError, "hub:user/sets"):
        fetched("hub:user/sets", tmp_path)


def test_whatever_the_hub_answers_is_a_copy_or_one_line(server: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its JSON changed anywhere, a few dozen times; `GIFTBENCH_FUZZ=5000` makes it so many."""
    monkeypatch.setattr("time.sleep", lambda seconds: None)

    @settings(
        max_examples=int(os.environ.get("GIFTBENCH_FUZZ", "50")), derandomize=True, deadline=None, database=None,
        phases=[Phase.generate], suppress_health_check=[*HealthCheck],
    )  # fmt: skip
    @given(data=some.data())
    def one(data: some.DataObject) -> None:
        server.edit = lambda content: anywhere(content, data.draw)
        cache = tmp_path / "cache"
        try:
            copy, _ = fetched("hub:user/sets", cache)
        except DataError as error:
            assert str(error).startswith("hub:user/sets") and len(str(error)) < 500 and str(error).isprintable(), error
        else:
            assert copy.path.is_relative_to(cache) and copy.pinned.startswith("hub:user/sets@")
        assert {path.name for path in tmp_path.iterdir()} <= {"cache"}
        shutil.rmtree(cache, ignore_errors=True)

    one()


def closed() -> str:
    """Return an address at which nobody listens."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{taken.getsockname()[1]}"


def test_offline_is_one_line_and_a_copy_serves(server: Hub, tmp_path: Path, refused, monkeypatch: pytest.MonkeyPatch) -> None:
    first, _ = fetched("hub:user/sets", tmp_path)
    monkeypatch.setenv("HF_ENDPOINT", closed())
    copy, said = fetched("hub:user/sets", tmp_path)
    assert copy == first and "cannot be reached; the copy that was downloaded last is taken" in said[0]
    for place in ("hub:user/other", f"hub:user/sets@{'0' * 40}", "hub:user/sets/cda/set.zip"):
        with refused(DataError, place, "the Hub cannot be reached", "there is no copy of it here"):
            fetched(place, tmp_path)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with refused(DataError, "hub:user/other: the Hub cannot be reached (offline)"):
        fetched("hub:user/other", tmp_path)


def test_without_the_library_the_remedy_is_said(tmp_path: Path, refused, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with refused(DataError, "pip install 'giftbench[huggingface]'"):
        fetched("hub:user/sets", tmp_path)
