"""`giftbench inspect`: what a set is, and its images."""

from __future__ import annotations

from pathlib import Path

from tests.conftest import Giftbench


def test_a_set_is_described_and_drawn_beside_its_file(giftbench: Giftbench, small_set: Path) -> None:
    printed = giftbench("inspect", small_set).out
    assert "digits" in printed
    assert f"images: {small_set.with_suffix('.png')}" in printed
    assert small_set.with_suffix(".png").read_bytes().startswith(b"\x89PNG")


def test_the_picture_goes_where_it_is_told(giftbench: Giftbench, small_set: Path, tmp_path: Path) -> None:
    giftbench("inspect", small_set, "--png", tmp_path / "grid.png")
    assert (tmp_path / "grid.png").exists()
    assert not small_set.with_suffix(".png").exists()
