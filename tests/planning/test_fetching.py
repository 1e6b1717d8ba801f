"""Places on the Hub are read as the files that they are; a set says which it comes from, a teacher is put into its model."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from harness import models, teachers
from harness.core.errors import DataError
from harness.core.spec import Spec
from harness.planning import fetching
from harness.planning.artefacts import Artefacts
from harness.planning.published_sets import kept, read
from tests.conftest import Giftbench, board_text, toml
from tests.distilled.readers.layouts import rethinkdc
from tests.distilled.readers.published_files import DIGITS
from tests.files.hub_server import Repository, serving

pytestmark = pytest.mark.usefixtures("cache")


def quiet(line: str) -> None:
    pass


def test_a_board_reads_a_set_from_the_hub_and_its_record_says_which(
    tmp_path: Path, giftbench: Giftbench, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = rethinkdc(tmp_path / "set", DIGITS, 2)
    files = {path.relative_to(root).as_posix(): path.read_bytes() for path in root.rglob("*") if path.is_file()}
    large = {name for name in files if name.endswith(".parquet")}
    (tmp_path / "board").mkdir()
    published = {"title": "random", "format": "parquet", "path": "hub:he-yang/random-ipc-2", "ipc": 2, "native_loss": "ce"}
    sets = "\n[[sets]]\n" + "".join(f"{key} = {toml(value)}\n" for key, value in published.items())
    (tmp_path / "board" / "board.toml").write_text(board_text(sets=None, losses=["ce"]) + sets)
    with serving(**{"he-yang__random-ipc-2": Repository(files, large=large)}) as server:
        monkeypatch.setenv("HF_ENDPOINT", server.address)
        told = giftbench("doctor", tmp_path / "board").out
        assert "downloaded by the run: hub:he-yang/random-ipc-2" in " ".join(told.split()), told  # however long lines are folded
        giftbench("run", tmp_path / "board", "--jobs", 1)
        commit = server.repositories["he-yang/random-ipc-2"].commit
        pinned = f"hub:he-yang/random-ipc-2@{commit}"
        file = kept(Spec(name="parquet"), Path(pinned), DIGITS, 2, Artefacts(tmp_path / "artefacts"), quiet)
        assert file.metadata["provenance"]["hub"] == pinned
        server.requests.clear()
        again = kept(Spec(name="parquet"), Path(pinned), DIGITS, 2, Artefacts(tmp_path / "artefacts"), quiet)
        assert again.digest == file.digest and server.requests == []
    assert torch.equal(read(Spec(name="parquet"), Path(pinned), DIGITS, 1, quiet).labels, torch.arange(10))
    assert "random" in (tmp_path / "board" / "README.md").read_text()


# -- teachers' weights ---------------------------------------------------------------------------------------------------------


def weights(ending: str, tmp_path: Path) -> bytes:
    """A network's weights as its repository has them."""
    state = models.build("convnet1(width=4)", DIGITS.shape, 10).state_dict()
    file = tmp_path / f"weights{ending}"
    if ending == ".safetensors":
        save_file(state, str(file))
    else:
        torch.save(state, file)
    return file.read_bytes()


@pytest.mark.parametrize(("name", "ending"), [("model.safetensors", ".safetensors"), ("pytorch_model.bin", ".bin")])
def test_a_teacher_of_timms_name_is_downloaded_and_put_into_its_model(
    name: str, ending: str, tmp_path: Path, giftbench: Giftbench, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = {name: weights(ending, tmp_path), "config.json": b"{}", "README.md": b"# a network"}
    (tmp_path / "board").mkdir()
    teacher = {"model": "convnet1(width=4)", "checkpoint": "hf-hub:timm/net.a1"}
    (tmp_path / "board" / "board.toml").write_text(board_text(teacher=teacher, losses=["gift"]))
    with serving(**{"timm__net.a1": Repository(files, kind="models")}) as server:
        monkeypatch.setenv("HF_ENDPOINT", server.address)
        assert "downloaded by the run: hf-hub:timm/net.a1" in giftbench("doctor", tmp_path / "board").out
        giftbench("run", tmp_path / "board", "--jobs", 1)
        commit = server.repositories["timm/net.a1"].commit
        place = fetching.checkpoint(Path(f"hf-hub:timm/net.a1@{commit}"), quiet)
        assert place.name == name and place.read_bytes() == files[name]
        assert fetching.checkpoint(Path(f"hub:timm/net.a1/{name}"), quiet).read_bytes() == files[name]
    (file,) = (tmp_path / "board" / "artefacts").glob("teacher*.safetensors")
    assert teachers.read_header(file)[0].blueprint["checkpoint"] == hashlib.sha256(files[name]).hexdigest()
    assert " 0 failed" in (tmp_path / "board" / "README.md").read_text()


def test_a_repository_without_weights_is_named_with_what_they_are_called(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, refused
) -> None:
    with serving(**{"timm__net.a1": Repository({"open_clip.bin": b"x"}, kind="models")}) as server:
        monkeypatch.setenv("HF_ENDPOINT", server.address)
        with refused(DataError, "hf-hub:timm/net.a1", "model.safetensors nor pytorch_model.bin", "/FILE"):
            fetching.checkpoint(Path("hf-hub:timm/net.a1"), quiet)
        with refused(DataError, "hub:timm/other"):
            fetching.checkpoint(Path("hf-hub:timm/other"), quiet)


def test_a_path_is_taken_as_it_is() -> None:
    assert fetching.checkpoint(Path("some/net.pth"), quiet) == Path("some/net.pth")
