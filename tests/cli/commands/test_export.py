"""`giftbench export`: a set's folder for others, from the command line."""

from __future__ import annotations

from pathlib import Path

from harness.distilled import exporting
from tests.conftest import Giftbench
from tests.distilled.test_exporting import a_set


def test_a_set_is_exported_and_read_back(giftbench: Giftbench, tmp_path: Path) -> None:
    original = a_set("logits")
    file = original.save(tmp_path / "mine.safetensors")
    said = giftbench("export", file, "-o", tmp_path / "out", "--licence", "cc-by-4.0", "--title", "Mine, of CIFAR-10")
    assert said.out.splitlines()[0] == str(tmp_path / "out" / "README.md")
    assert exporting.read(tmp_path / "out").digest == original.digest
    assert "Mine, of CIFAR-10" in (tmp_path / "out" / "README.md").read_text()


def test_a_licence_has_to_be_stated(giftbench: Giftbench, tmp_path: Path) -> None:
    file = a_set().save(tmp_path / "mine.safetensors")
    assert "--licence" in giftbench("export", file, "-o", tmp_path / "out", status=2).err
    said = giftbench("export", file, "-o", tmp_path / "out", "--licence", " ", status=2)
    assert "state a licence" in said.err and said.err.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_what_is_no_set_is_a_line(giftbench: Giftbench, tmp_path: Path) -> None:
    (tmp_path / "x.safetensors").write_bytes(b"nothing")
    said = giftbench("export", tmp_path / "x.safetensors", "-o", tmp_path / "out", "--licence", "mit", status=2)
    assert said.err.count("\n") == 1
