"""What trainings of several seeds are given, captured: on the CPU with a recorder that repeats it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest
import torch
from torch import Generator, Tensor

from harness import losses, optimizers
from harness.training.captured_feed import CapturedFeed, distinct, pattern
from harness.training.feed import Feed
from harness.training.graphs import Step
from harness.training.values import Material, Member, Recipe

IMAGES = torch.randn(23, 3, 8, 8, generator=Generator().manual_seed(1))
MATERIAL = Material.on_device("cpu", IMAGES, torch.arange(23) % 5)
RECIPE = Recipe(2, 5, optimizers.resolve("adamw"), optimizers.schedules.resolve("constant"), "color_crop_flip", mixing="cutmix")


def teacher(images: Tensor) -> Tensor:
    return images.mean((2, 3)) @ torch.arange(15.0).view(3, 5)


def repeated(step: Step, streams: Iterable[Generator]) -> Step:
    return step


def members(*seeds: int) -> list[Member]:
    return [Member(torch.nn.Identity(), losses.create("ce"), seed) for seed in seeds]


def test_replays_make_what_the_feed_makes_to_the_bit() -> None:
    captured, feed = CapturedFeed([3, 8], MATERIAL, RECIPE, teacher, repeated), Feed(MATERIAL, RECIPE, [4, 5], teacher)
    captured.source.restart([4, 5])
    for epoch in (1, 2):
        for given, index in zip(feed.epoch(epoch), captured.feed.epoch(epoch), strict=True):
            assert isinstance(index, Tensor)
            captured(index)
            made, expected = captured.of(index.shape[1]), feed.step(given)
            assert torch.equal(made.images, expected.images)
            assert made.taught is not None and expected.taught is not None and torch.equal(made.taught, expected.taught)
            for ours, own in zip(made.batches, expected.batches, strict=True):
                assert torch.equal(ours.labels, own.labels)


@pytest.mark.parametrize("fault", ["nothing", "other numbers"])
def test_a_replay_that_makes_something_else_is_refused(fault: str) -> None:
    def wrong(step: Step, streams: Iterable[Generator]) -> Step:
        held = list(streams)
        step()

        def replay() -> None:
            for stream in held:
                stream.manual_seed(5)
            if fault == "other numbers":
                step()

        return replay

    with pytest.raises(RuntimeError, match="does not make what the feed does"):
        CapturedFeed([3, 8], MATERIAL, RECIPE, teacher, wrong)


@pytest.mark.parametrize(
    ("seeds", "expected"), [((4, 4, 9), ((4, 9), (0, 0, 1))), ((7, 1, 7), ((7, 1), (0, 1, 0))), ((2,), ((2,), (0,)))]
)
def test_who_shares_a_seed(seeds: tuple[int, ...], expected: Any) -> None:
    assert (tuple(distinct(members(*seeds))), pattern(members(*seeds))) == expected
