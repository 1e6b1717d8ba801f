"""What readers of stored soft labels share: the sampler's order, numbered files, and one batch's augmentation, checked."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils.data import RandomSampler

from harness.core.errors import DataError
from harness.distilled.readers import stored

SIZE = (32, 32)


def batch(**changes: Any) -> list[object]:
    parts: dict[str, object] = {
        "crops": torch.tensor([[0.1, 0.2, 0.5, 0.6], [0.0, 0.0, 1.0, 1.0]]),
        "flips": torch.tensor([True, False]),
        "partners": torch.tensor([1, 0]),
        "lam": 0.3,
        "box": (4, 8, 12, 24),
    }
    return [*(parts | changes).values()]


def test_the_order_is_that_of_torchs_sampler_seeded_once_for_all_epochs() -> None:
    ours = stored.SamplerOrder(7)
    theirs = RandomSampler(range(7), generator=torch.Generator().manual_seed(42))
    assert [ours.next().tolist() for _ in range(3)] == [list(theirs) for _ in range(3)]


def test_files_follow_their_numbers_and_a_gap_is_named(tmp_path: Path) -> None:
    files = [tmp_path / f"batch_{number}.tar" for number in (10, 2, 0, 1, *range(3, 10))]
    ordered = stored.numbered(tmp_path, [*files, tmp_path / "batch_x.tar"], r"batch_(\d+)\.tar", "batch")
    assert [path.name for path in ordered] == [f"batch_{number}.tar" for number in range(11)]
    with pytest.raises(DataError, match=r"batch_1 is missing; there are 10, up to batch_10"):
        stored.numbered(tmp_path, [file for file in files if file.name != "batch_1.tar"], r"batch_(\d+)\.tar", "batch")
    with pytest.raises(DataError, match="no batch_0"):
        stored.numbered(tmp_path, [], r"batch_(\d+)\.tar", "batch")


def test_under_cutmix_the_share_is_what_the_box_leaves_and_else_the_stored_one() -> None:
    boxed = stored.augmented("x", batch(), SIZE)
    assert boxed.box == (4, 8, 12, 24)
    assert boxed.lam == pytest.approx(1 - 8 * 16 / (32 * 32))
    blended = stored.augmented("x", batch(box=None), SIZE)
    assert (blended.box, blended.lam) == ((-1, -1, -1, -1), 0.3)
    plain = stored.augmented("x", batch(partners=None), SIZE)
    assert (plain.partners.tolist(), plain.lam) == ([0, 1], 1.0)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"crops": torch.zeros(2, 3)}, "crops must be"),
        ({"crops": torch.tensor([[0.6, 0.0, 0.5, 0.5], [0.0, 0.0, 1.0, 1.0]])}, "within the image"),
        ({"crops": torch.full((2, 4), float("nan"))}, "finite"),
        ({"flips": torch.tensor([1, 0])}, "flips must be"),
        ({"partners": torch.tensor([2, 0])}, "mix index must lie in 0..1"),
        ({"partners": torch.tensor([1, 0], dtype=torch.uint8)}, "mix index must be"),
        ({"box": (4, 8, 40, 24)}, "the box must be 4 whole numbers"),
        ({"lam": 1.5, "box": None}, "lam must be a number"),
    ],
)
def test_what_a_batch_cannot_hold_is_refused_by_name(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(DataError, match=f"batch 7: .*{words}"):
        stored.augmented("batch 7", batch(**changes), SIZE)


def test_halves_are_for_those_that_store_them() -> None:
    halves = batch(crops=batch()[0].half(), partners=torch.tensor([1, 0], dtype=torch.uint8))  # type: ignore[attr-defined]
    made = stored.augmented("x", halves, SIZE, halves=True)
    assert (made.crops.dtype, made.partners.dtype) == (torch.float32, torch.int64)
    with pytest.raises(DataError, match="crops must be"):
        stored.augmented("x", halves, SIZE)


def test_a_ledger_tells_files_by_name_and_content_and_counts_their_bytes(tmp_path: Path) -> None:
    def entered(*names: str) -> stored.Ledger:
        ledger = stored.Ledger(tmp_path)
        for name in names:
            ledger.enter(tmp_path / name)
        return ledger

    for name in ("a", "b"):
        (tmp_path / name).write_bytes(b"12345")
    line: Callable[[str], bytes] = lambda name: f"{name} {hashlib.sha256(b'12345').hexdigest()}\n".encode()  # noqa: E731
    assert entered("a", "b").facts == {"sha256": hashlib.sha256(line("a") + line("b")).hexdigest(), "bytes": {"labels": 10}}
    assert entered("a").facts != entered("b").facts
