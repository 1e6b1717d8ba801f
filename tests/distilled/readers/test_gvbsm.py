"""G-VBSM's class folders: PNG for small images."""

from __future__ import annotations

from pathlib import Path

from tests.distilled.readers.publishing import TINY, publish_images, read


def test_another_way_of_encoding_than_the_authors_is_said(tmp_path: Path) -> None:
    said: list[str] = []
    read("gvbsm", publish_images(tmp_path / "png", "gvbsm", TINY, 1), TINY, say=said.append)
    assert said == []
    read("gvbsm", publish_images(tmp_path / "jpg", "sre2l", TINY, 1), TINY, say=said.append)
    assert len(said) == 1
    assert "class000_id000.jpg" in said[0]
    assert "PNG" in said[0]
