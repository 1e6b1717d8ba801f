"""What an authors' protocol may depend on."""

from __future__ import annotations

import pytest

from harness.boards.cases import Case, adamw, halved


@pytest.mark.parametrize(
    ("dataset", "family"),
    [
        ("cifar10", "small"),
        ("fashion-mnist", "small"),
        ("tiny-imagenet", "tiny-imagenet"),
        ("imagenet-1k", "imagenet"),
        ("imagenette", "imagenet"),
        ("imagewoof", "imagenet"),
    ],
)
def test_datasets_are_of_three_families(dataset: str, family: str) -> None:
    assert Case(100, dataset, 10).family == family


def test_images_a_class_are_counted_over_all_classes() -> None:
    assert (Case(100, "cifar10", 10).ipc, Case(5, "cifar10", 0).ipc) == (10, 5)


@pytest.mark.parametrize(("rate", "own"), [(0.1, 0.1), (1, 1.0), ("0.1", None), (True, None), (0, None), (float("inf"), None)])
def test_a_sets_rate_is_one_that_can_be_trained_at(rate: object, own: float | None) -> None:
    assert Case(1, "digits", 10, provenance={"lr": rate}).learning_rate == own


def test_a_rate_falls_after_half_of_the_epochs_of_the_board() -> None:
    assert halved(Case(1, "digits", 10)).options == {"milestones": ["502/1001"], "gamma": 0.1}
    assert halved(Case(1, "digits", 10, epochs=11)).options == {"milestones": ["7/11"], "gamma": 0.1}
    assert adamw(lr=0.5).options == {"weight_decay": 0.01, "lr": 0.5}
