"""Documents, what they may do, and what is vendored."""

from __future__ import annotations

import base64
import hashlib
import json
from importlib import resources

import pytest

from harness.leaderboard.page import document
from harness.leaderboard.page.document import part, policy, vendored
from tests.leaderboard.page.reading import read


def test_only_what_has_a_digest_may_run_or_give_looks() -> None:
    digest = base64.b64encode(hashlib.sha256(b"let x = 1;").digest()).decode()
    assert policy(["let x = 1;"], []) == (
        f"default-src 'none'; script-src 'sha256-{digest}'; style-src 'none'; base-uri 'none'; form-action 'none'"
    )


def test_what_is_filled_in_is_text() -> None:
    board = {"title": "<script>alert(1)</script>", "sentence": "", "size": "", "link": '"><b>', "text": "", "csv": ""}
    page = read(document.document("boards.html", scripts=[], styles=[part("page.css")], boards=[board]))
    assert [node.text for node in page.all("h2")] == ["<script>alert(1)</script>"]
    assert page.all("h2")[0].find("a").attributes["href"] == '"><b>'


def test_every_vendored_file_is_what_was_published_and_has_its_licence() -> None:
    folder = resources.files("harness.leaderboard.page") / "vendor"
    names = {file.name for file in folder.iterdir()} - {"digests.json"}
    assert names == {*json.loads((folder / "digests.json").read_text("utf-8"))}
    for name in names:
        assert vendored(name).encode() == (folder / name).read_bytes()
    assert "MIT" in vendored("License.txt")
    assert "</script" not in vendored("dataTables.min.js").lower()


def test_a_vendored_file_that_was_changed_is_refused(tmp_path, monkeypatch) -> None:
    (tmp_path / "vendor").mkdir()
    (tmp_path / "vendor" / "a.js").write_text("changed")
    (tmp_path / "vendor" / "digests.json").write_text(json.dumps({"a.js": {"sha256": hashlib.sha256(b"as it was").hexdigest()}}))
    monkeypatch.setattr(document, "HERE", tmp_path)
    with pytest.raises(ValueError, match="not the file that"):
        vendored("a.js")
