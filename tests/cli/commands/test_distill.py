"""`giftbench distill`: a distilled set, made here."""

from __future__ import annotations

from pathlib import Path

from tests.conftest import Giftbench


def test_a_set_is_made_and_named(giftbench: Giftbench, tmp_path: Path) -> None:
    from harness import DistilledSet

    file = tmp_path / "set.safetensors"
    printed = giftbench("distill", "--dataset", "digits", "--method", "random", "--ipc", 2, "--device", "cpu", "-o", file).out
    assert printed.startswith(f"{file}: ")
    loaded = DistilledSet.load(file)
    assert (len(loaded), loaded.method, loaded.dataset) == (20, "random", "digits")
