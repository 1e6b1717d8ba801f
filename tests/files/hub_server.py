"""A server on this machine that speaks the Hugging Face Hub's protocol, as far as a repository's files are asked for."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlsplit


@dataclass
class Repository:
    """Files of one commit, and what else the server does with them.

    Attributes:
        large: names of files that Git keeps by SHA-256, beside itself.
        sent: what is sent of a file in place of its content.
        gated: whether the terms have to be accepted first.
    """

    files: dict[str, bytes]
    kind: str = "datasets"
    large: set[str] = field(default_factory=set)
    sent: dict[str, bytes] = field(default_factory=dict)
    gated: bool = False

    @property
    def commit(self) -> str:
        return hashlib.sha1(json.dumps([(name, len(content)) for name, content in self.files.items()]).encode()).hexdigest()

    def described(self, name: str) -> dict[str, Any]:
        content = self.files[name]
        blob = hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
        about: dict[str, Any] = {"size": len(content), "blobId": blob, "oid": blob}
        if name in self.large:
            sha = hashlib.sha256(content).hexdigest()
            about["lfs"] = {"size": len(content), "sha256": sha, "oid": sha, "pointerSize": 130}
        return about


@dataclass
class Hub:
    """The server's address, its repositories by USER/NAME, and the requests that it had.

    Attributes:
        status: that it answers everything with, 0 for what is right.
        edit: what it does to the JSON that it answers with.
    """

    address: str
    repositories: dict[str, Repository]
    requests: list[str]
    status: int = 0
    edit: Callable[[Any], Any] = field(default=lambda content: content)


@contextmanager
def serving(**repositories: Repository) -> Iterator[Hub]:
    """Serve repositories; a name's first double underscore is its slash."""
    hub = Hub("", {name.replace("__", "/", 1): repository for name, repository in repositories.items()}, [])

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self.answer(body=True)

        def do_HEAD(self) -> None:
            self.answer(body=False)

        def answer(self, body: bool) -> None:
            path = unquote(urlsplit(self.path).path).strip("/")
            hub.requests.append(f"{self.command} {path}")
            status, headers, content = (hub.status, {}, b"") if hub.status else respond(hub, path)
            self.send_response(status)
            for name, value in ({"Content-Length": str(len(content))} | headers).items():
                self.send_header(name, value)
            self.end_headers()
            if body:
                self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    hub.address = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


Response = tuple[int, dict[str, str], bytes]


def respond(hub: Hub, path: str) -> Response:
    parts = path.split("/")
    if parts[0] == "api" and len(parts) >= 4:
        return _api(hub, parts[1], f"{parts[2]}/{parts[3]}", parts[4:])
    if "resolve" in parts:
        at = parts.index("resolve")
        kind = "datasets" if parts[0] == "datasets" else "models"
        return _file(hub, kind, "/".join(parts[at - 2 : at]), parts[at + 1], "/".join(parts[at + 2 :]))
    return _error("EntryNotFound")


def _error(code: str, status: int = 404) -> Response:
    return status, {"X-Error-Code": code, "X-Error-Message": code, "Content-Type": "application/json"}, b'{"error": "none"}'


def _repository(hub: Hub, kind: str, name: str, revision: str) -> Repository | Response:
    repository = hub.repositories.get(name)
    if repository is None or repository.kind != kind:
        return _error("RepoNotFound")
    if revision not in ("main", repository.commit):
        return _error("RevisionNotFound")
    return _error("GatedRepo", 403) if repository.gated else repository


def _api(hub: Hub, kind: str, name: str, rest: list[str]) -> Response:
    repository = _repository(hub, kind, name, rest[1] if len(rest) > 1 else "main")
    if isinstance(repository, tuple):
        return repository
    if rest[:1] == ["tree"]:
        content: Any = [{"type": "file", "path": file, **repository.described(file)} for file in repository.files]
    else:
        siblings = [{"rfilename": file, **repository.described(file)} for file in repository.files]
        content = {"id": name, "_id": "0" * 24, "sha": repository.commit, "private": False, "gated": False, "disabled": False}
        content |= {"downloads": 0, "likes": 0, "tags": [], "siblings": siblings}
    return 200, {"Content-Type": "application/json"}, json.dumps(hub.edit(content)).encode()


def _file(hub: Hub, kind: str, name: str, revision: str, file: str) -> Response:
    repository = _repository(hub, kind, name, revision)
    if isinstance(repository, tuple):
        return repository
    if file not in repository.files:
        return _error("EntryNotFound")
    about = repository.described(file)
    headers = {"ETag": f'"{about.get("lfs", about)["oid"]}"', "X-Repo-Commit": repository.commit}
    return 200, headers, repository.sent.get(file, repository.files[file])
