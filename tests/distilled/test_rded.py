"""RDED with a teacher whose taste is known: it finds bright crops typical of class 1 and dark ones of class 0."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from harness import DistilledSet
from harness.core.errors import BadOption, DataError
from harness.datasets.base import Dataset, normalise
from harness.datasets.split import Split
from harness.distilled import distillers
from harness.distilled.source import Source


class Taste:
    """Stands in for a Teacher; keeps what it was shown."""

    label, digests = "taste", ("d1", "d2")

    def __init__(self) -> None:
        self.shown: list[Tensor] = []

    def normalise(self, images: Tensor) -> Tensor:
        return normalise(images, (0.5,), (0.25,))

    def logits(self, images: Tensor) -> Tensor:
        self.shown.append(images.clone())
        return torch.stack([torch.zeros(len(images)), images.mean((1, 2, 3))], 1)


def rded(dataset: Dataset, ipc: int = 2, seed: int = 0, teacher: Any = None, **options: Any) -> DistilledSet:
    source = Source(dataset, ipc, seed, make_teacher=lambda: teacher or Taste())
    made: DistilledSet = distillers.create({"name": "rded", **options})(source)
    return made


def values(distilled: DistilledSet) -> list[int]:
    """The grey value of each image of one value."""
    assert torch.equal(distilled.images.amin((1, 2, 3)), distilled.images.amax((1, 2, 3)))
    return distilled.images[:, 0, 0, 0].tolist()


@pytest.fixture
def ramps() -> Dataset:
    """Two classes of 8 images of 16 px whose columns run from dark to bright, each over a range of its own."""
    column = torch.arange(16, dtype=torch.float32)
    images = torch.stack([(column * (4 + i % 8) + 5 * (i % 8)).expand(1, 16, 16) for i in range(16)]).to(torch.uint8)
    split = Split(images, torch.arange(16) // 8)
    return Dataset("ramps", split, split, ("dark", "bright"), (0.5,), (0.25,), min_scale=0.3)


def test_each_class_keeps_what_the_teacher_knows_best_in_ascending_cross_entropy(toy: Dataset) -> None:
    own = [sorted(toy.train.images[toy.train.labels == label, 0, 0, 0].tolist()) for label in (0, 1)]
    distilled = rded(toy, ipc=3)
    assert distilled.labels.tolist() == [0, 0, 0, 1, 1, 1]
    assert values(distilled) == own[0][:3] + own[1][:-4:-1]  # the darkest of class 0, the brightest of class 1


def test_the_best_crop_of_each_image_is_kept_and_the_best_images_win(ramps: Dataset) -> None:
    taste = Taste()
    distilled = rded(ramps, ipc=3, teacher=taste, crops=4)
    assert [len(batch) for batch in taste.shown] == [8 * 4, 8 * 4]  # crops of one image follow one another
    for label, (batch, sign) in enumerate(zip(taste.shown, (1, -1), strict=True)):
        brightness = (sign * batch.mean((1, 2, 3))).view(8, 4)
        best = batch.view(8, 4, 1, 16, 16)[torch.arange(8), brightness.argmin(1)]
        expected = best[brightness.amin(1).argsort(stable=True)[:3]]
        assert torch.allclose(taste.normalise(distilled.images[3 * label : 3 * label + 3]), expected)


def test_crops_are_scored_at_full_size_with_zeros_around_them_after_normalisation(ramps: Dataset) -> None:
    taste = Taste()
    rded(ramps, teacher=taste, factor=2)
    batch = taste.shown[0]
    assert batch.shape[1:] == (1, 16, 16)
    inside = torch.zeros(16, 16, dtype=torch.bool)
    inside[4:12, 4:12] = True
    assert not batch[:, 0, ~inside].any()
    assert bool((batch[:, 0, inside] != 0).all())


def test_tile_k_of_image_i_has_rank_k_times_ipc_plus_i(toy: Dataset) -> None:
    bright = sorted(toy.train.images[:, 0, 0, 0].tolist(), reverse=True)
    single = replace(toy, train=Split(toy.train.images, torch.ones(12, dtype=torch.int64)), classes=("none", "bright"))
    both = replace(single, train=Split(torch.cat([toy.train.images] * 2), torch.arange(24) // 12))
    distilled = rded(both, ipc=3, factor=2)
    assert distilled.factor == 2
    assert distilled.images.shape == (6, 1, 8, 8)
    for i, image in enumerate(distilled.images[3:, 0]):
        tiles = [image[:4, :4], image[:4, 4:], image[4:, :4], image[4:, 4:]]
        assert [int(tile.min()) for tile in tiles] == [int(tile.max()) for tile in tiles]
        assert [int(tile[0, 0]) for tile in tiles] == [bright[k * 3 + i] for k in range(4)]


@pytest.mark.parametrize(("ipc", "factor"), [(1, 1), (4, 1), (2, 2)])
def test_the_number_of_images_is_ipc_a_class_whatever_the_factor(ramps: Dataset, ipc: int, factor: int) -> None:
    distilled = rded(ramps, ipc=ipc, factor=factor)
    assert distilled.labels.bincount().tolist() == [ipc, ipc]
    assert distilled.images.dtype == torch.uint8
    assert distilled.shape == ramps.shape
    assert (distilled.method, distilled.native_loss, distilled.soft_labels) == ("rded", "kl", None)


def test_same_seed_same_set_and_another_seed_another(ramps: Dataset) -> None:
    assert rded(ramps, seed=3).digest == rded(ramps, seed=3).digest
    assert len({rded(ramps, seed=seed).digest for seed in range(4)}) == 4


def test_the_global_random_stream_plays_no_part(ramps: Dataset) -> None:
    torch.manual_seed(0)
    first = rded(ramps).digest
    torch.manual_seed(1)
    assert rded(ramps).digest == first


def test_no_more_than_the_candidates_compete(ramps: Dataset) -> None:
    taste = Taste()
    rded(ramps, teacher=taste, candidates=5, crops=2)
    assert [len(batch) for batch in taste.shown] == [10, 10]


def test_crops_cover_at_least_the_smallest_area(ramps: Dataset) -> None:
    def spans(min_scale: float) -> Tensor:
        """How much of its image's width each crop covers, by the range of its columns."""
        taste, steep = Taste(), ramps.train.images[:1].float() / 4 * 16
        steep_images = steep.clamp(0, 255).to(torch.uint8).expand(16, 1, 16, 16).contiguous()
        same = replace(ramps, train=Split(steep_images, ramps.train.labels))
        rded(same, teacher=taste, min_scale=min_scale, crops=40)
        batch = torch.cat(taste.shown)
        return (batch.amax((1, 2, 3)) - batch.amin((1, 2, 3))) * 0.25 * 255 / 16 + 1

    assert float(spans(0.9).min()) > 14
    assert 7 < float(spans(0.25).min()) < 10  # half a side
    assert float(spans(0.01).min()) < 4
    assert float(spans(0.01).max()) > 14


def test_crops_of_all_the_area_are_the_images_themselves(ramps: Dataset) -> None:
    real = {image.numpy().tobytes() for image in ramps.train.images}
    assert all(image.numpy().tobytes() in real for image in rded(ramps, min_scale=1.0).images)


def test_without_min_scale_the_datasets_own_is_taken(ramps: Dataset) -> None:
    unsaid = rded(ramps)
    assert unsaid.provenance["min_scale"] == 0.3
    assert unsaid.digest == rded(ramps, min_scale=0.3).digest
    assert unsaid.digest != rded(ramps, min_scale=0.8).digest
    assert rded(replace(ramps, min_scale=0.8)).digest == rded(ramps, min_scale=0.8).digest


def test_a_set_says_which_teacher_and_options_made_it(ramps: Dataset) -> None:
    distilled = rded(ramps, seed=4, crops=2, candidates=7, factor=2, ipc=1)
    assert distilled.provenance["teacher_digest"] == ["d1", "d2"]
    assert distilled.provenance["teacher"] == "taste"
    assert distilled.provenance["dataset_digest"] == ramps.digest
    assert {k: distilled.provenance[k] for k in ("seed", "ipc", "crops", "candidates")} == {
        "seed": 4,
        "ipc": 1,
        "crops": 2,
        "candidates": 7,
    }


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"min_scale": 0.0}, "min_scale"),
        ({"min_scale": 1.1}, "min_scale"),
        ({"min_scale": "half"}, "min_scale must lie above 0 and be at most 1, not 'half'"),
        ({"factor": 0}, "factor must divide 16x16 px"),
        ({"factor": 3}, "factor must divide 16x16 px; 3 does not"),
        ({"candidates": 1}, "at least ipc * factor^2 = 2"),
        ({"candidates": 7, "factor": 2}, "at least ipc * factor^2 = 8"),
        ({"crops": 0}, "crops at least 1"),
        ({"crop": 1}, "did you mean 'crops'?"),
        ({"crops": 1.5}, "whole number"),
    ],
)
def test_options_outside_their_range_are_refused_before_a_teacher_is_made(
    ramps: Dataset, options: dict[str, Any], words: str, refused
) -> None:
    source = Source(ramps, 2, make_teacher=lambda: pytest.fail("made a teacher for options that cannot be"))
    with refused(BadOption, "rded", words):
        distillers.create({"name": "rded", **options})(source)


def test_more_images_than_a_class_has_are_refused(ramps: Dataset, refused) -> None:
    with refused(DataError, "ramps", "8 training images", "ipc 9"):
        rded(ramps, ipc=9)
    with refused(DataError, "class 0 has 8 training images", "ipc 3 at factor 2 takes 12"):
        rded(ramps, ipc=3, factor=2)


def test_a_source_without_a_teacher_is_refused(ramps: Dataset, refused) -> None:
    with refused(DataError, "needs a teacher"):
        distillers.create("rded")(Source(ramps, 1))


def test_the_score_is_the_teachers_cross_entropy_to_the_true_class(ramps: Dataset) -> None:
    from harness.distilled.rded import _scores

    taste, tiles = Taste(), ramps.train.images[:5]
    expected = functional.cross_entropy(taste.logits(taste.normalise(tiles)), torch.full((5,), 1), reduction="none")
    assert torch.allclose(_scores(taste, tiles, 1, (16, 16), "cpu"), expected)  # type: ignore[arg-type]
