"""Pushing to the Hub, spoken with by HTTP: a loopback server that takes a repository and a commit as the Hub does."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from harness.core.errors import BadOption, GiftbenchError
from harness.distilled.pushing import push, repository


class Hub(ThreadingHTTPServer):
    """What the Hub was asked: repositories that were made, files of the commits, the tokens that came with them."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.made: list[dict[str, Any]] = []
        self.files: dict[str, bytes] = {}
        self.tokens: set[str] = set()
        self.status = 0
        self.address = f"http://127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    server: Hub

    def log_message(self, *_: object) -> None: ...

    def answer(self, content: object, status: int = 200) -> None:
        body = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self) -> None:
        self.answer({"sha": "0" * 40, "siblings": [], "id": "ada/mine"})

    def do_POST(self) -> None:
        size = self.headers.get("Content-Length")
        body = self.rfile.read(int(size)) if size else self.chunks()
        self.server.tokens.add(self.headers.get("Authorization", ""))
        if self.server.status:
            return self.answer({"error": "no"}, self.server.status)
        if self.path.startswith("/api/repos/create"):
            self.server.made.append(json.loads(body))
            return self.answer({"url": f"{self.server.address}/datasets/ada/mine"})
        if "/preupload/" in self.path:
            files = [{"path": f["path"], "uploadMode": "regular", "shouldIgnore": False} for f in json.loads(body)["files"]]
            return self.answer({"files": files})
        if "/commit/" in self.path:
            for line in body.decode().splitlines():
                said = json.loads(line)
                if said["key"] == "file":
                    self.server.files[said["value"]["path"]] = base64.b64decode(said["value"]["content"])
            return self.answer({"commitUrl": f"{self.server.address}/datasets/ada/mine/commit/{0:040}", "commitOid": "0" * 40})
        return self.answer({})

    def chunks(self) -> bytes:
        parts = []
        while size := int(self.rfile.readline().strip() or b"0", 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        return b"".join(parts)


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    server = Hub()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("HF_ENDPOINT", server.address)
    monkeypatch.setenv("HF_TOKEN", "hf_a_token_for_the_test")
    monkeypatch.setenv("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    hosts = frozenset(("hf.co", "127.0.0.1"))  # told from HF_ENDPOINT as the library loads, which another test may have had it do
    monkeypatch.setattr("huggingface_hub.constants.HF_URL_HOSTS", hosts, raising=False)
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "out" / "data").mkdir(parents=True)
    (tmp_path / "out" / "README.md").write_text("---\nlicense: mit\n---\n")
    (tmp_path / "out" / "croissant.json").write_text("{}\n")
    (tmp_path / "out" / "data" / "train-00000-of-00001.parquet").write_bytes(bytes(range(256)))
    return tmp_path / "out"


def test_every_file_of_the_folder_arrives_in_a_dataset_repository(hub: Hub, folder: Path) -> None:
    address = push(folder, "hub:ada/mine", private=True)
    assert "ada/mine" in address
    (made,) = hub.made
    assert (made["type"], made["name"], made.get("organization")) == ("dataset", "mine", "ada")
    assert made.get("private") is True or made.get("visibility") == "private"
    expected = {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    assert hub.files == expected
    assert hub.tokens == {"Bearer hf_a_token_for_the_test"}


@pytest.mark.parametrize(("status", "words"), [(401, "hf auth login"), (403, "HF_TOKEN"), (400, "status 400")])
def test_a_refusal_is_one_line_that_says_what_to_do(status: int, words: str, hub: Hub, folder: Path, refused) -> None:
    hub.status = status
    with refused(GiftbenchError, "hub:ada/mine", "not pushed", words, folder):
        push(folder, "hub:ada/mine")


def test_nobody_who_answers_is_one_line(hub: Hub, folder: Path, monkeypatch: pytest.MonkeyPatch, refused) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    with refused(GiftbenchError, "hub:ada/mine", "not pushed", folder):
        push(folder, "hub:ada/mine")


def test_a_place_is_written_in_one_way(refused) -> None:
    assert repository("hub:ada/mine-10.v2") == "ada/mine-10.v2"
    for place in ("ada/mine", "hub:ada", "hub:ada/mine/file", "hub:ada/..", "hub:ada/mi ne", "https://x/ada/mine"):
        with refused(BadOption, "--push", "hub:USER/NAME"):
            repository(place)


def test_a_status_is_found_behind_what_the_library_stumbles_over_next(
    hub: Hub, folder: Path, monkeypatch: pytest.MonkeyPatch, refused
) -> None:
    """Of a refusal to make a repository it asks whether there is one, by an address that it may not take for the Hub's."""
    from huggingface_hub import HfApi

    create = HfApi.create_repo

    def stumbling(self: Any, *given: Any, **options: Any) -> Any:
        try:
            return create(self, *given, **options)
        except Exception:
            raise ValueError("Unrecognized host")  # noqa: B904 (as it does)

    monkeypatch.setattr(HfApi, "create_repo", stumbling)
    hub.status = 401
    with refused(GiftbenchError, "status 401", "hf auth login"):
        push(folder, "hub:ada/mine")
