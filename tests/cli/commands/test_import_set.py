"""`giftbench import`: a published set, read, checked and written."""

from __future__ import annotations

from pathlib import Path

from tests.conftest import Giftbench


def test_a_published_set_is_written_with_its_digest_named(giftbench: Giftbench, tmp_path: Path) -> None:
    from harness import DistilledSet
    from tests.distilled.readers.published_files import DIGITS, write

    path, file = write("dc", tmp_path / "published", DIGITS, 2), tmp_path / "set.safetensors"
    printed = giftbench("import", "dc", path, "--dataset", "digits", "-o", file, "--no-check").out.splitlines()
    assert printed[-1] == f"digest {DistilledSet.load(file).digest}"
    assert printed[-2].startswith(f"{file}: ")
