"""Whether a dataset's files are there, by their names alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness import datasets


@pytest.mark.parametrize(
    ("spec", "sign", "place"),
    [
        ("cifar10", "cifar-10-batches-py", "cifar-10-batches-py"),
        ("cifar10", "cifar-10-batches-bin", "cifar-10-batches-bin"),
        ("cifar100", "cifar-100-binary", "cifar-100-binary"),
        ("fashion-mnist", "FashionMNIST/raw/train-images-idx3-ubyte", "FashionMNIST/raw"),
        ("tiny-imagenet", "tiny-imagenet-200/wnids.txt", "tiny-imagenet-200"),
        ("imagenet-1k(size=64)", "imagenet/val/x", "imagenet"),
        ("imagenette", "imagenette2/val/n01440764/x", "imagenette2"),
        ("imagenette", "ILSVRC2012/val/n01440764/x", "ILSVRC2012"),
        ("folder:pets", "pets/x", "pets"),
    ],
)
def test_files_are_found_by_their_names(spec: str, sign: str, place: str, tmp_path: Path) -> None:
    present, remedy = datasets.at_hand(spec, tmp_path)
    assert not present
    assert remedy
    assert "\n" not in remedy
    (tmp_path / sign).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / sign).touch()
    assert datasets.at_hand(spec, tmp_path) == (True, str(tmp_path / place))


def test_without_a_data_folder_the_remedy_says_how_to_give_one() -> None:
    for name in ("cifar10", "tiny-imagenet", "imagenet-1k", "imagewoof"):
        present, remedy = datasets.at_hand(name)
        assert not present
        assert "--data-dir" in remedy
        assert "GIFTBENCH_DATA" in remedy


def test_digits_are_always_there() -> None:
    assert datasets.at_hand("digits")[0]


def test_tiny_imagenet_is_not_taken_for_imagenet(tmp_path: Path) -> None:
    (tmp_path / "val" / "n01440764").mkdir(parents=True)
    (tmp_path / "wnids.txt").write_text("n01440764\n")
    assert datasets.at_hand("tiny-imagenet", tmp_path)[0]
    assert not datasets.at_hand("imagenet-1k", tmp_path)[0]
    assert not datasets.at_hand("imagenette", tmp_path)[0]
