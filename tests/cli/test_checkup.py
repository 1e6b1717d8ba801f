"""What a board needs, read from headers: a broken file is passed over. Whole boards are examined with `giftbench doctor`."""

from __future__ import annotations

from pathlib import Path

import torch

from harness import DistilledSet
from harness.cli.checkup import headers


def test_files_of_a_kind_are_given_with_what_they_say_and_broken_ones_passed_over(tmp_path: Path) -> None:
    pixels = torch.zeros(2, 1, 4, 4, dtype=torch.uint8)
    kept = DistilledSet(pixels, torch.arange(2), dataset="toy", method="mine").save(tmp_path / "set-b.safetensors")
    (tmp_path / "set-a.safetensors").write_bytes(b"broken")
    (tmp_path / "teacher-c.safetensors").write_bytes(kept.read_bytes())
    ((path, facts),) = headers(tmp_path, "set")
    assert path == kept
    assert (facts["dataset"], facts["method"]) == ("toy", "mine")
    assert headers(tmp_path, "teacher") == ()


def test_a_folder_that_is_not_there_has_none(tmp_path: Path) -> None:
    assert headers(tmp_path / "absent", "set") == ()
