"""Soft labels written in FKD's format: read by the reader of that format, they give the batches that were asked about."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from harness import DistilledSet, losses, models, optimizers
from harness.boards.protocol import Protocol
from harness.boards.stages import Stage
from harness.core.errors import DataError
from harness.core.spec import Spec
from harness.datasets.cards import Card
from harness.distilled import exporting, fkd_files
from harness.planning.published_sets import read
from harness.training.batches import Replayed, Shuffled
from harness.training.loop import fit
from harness.training.values import Material, Recipe
from tests.training.small import weights

SHAPE, CLASSES, IMAGES = (1, 16, 16), 10, 20
FORMAT = "fkd(images=images, images_format=parquet)"
RECIPE = Recipe(2, 8, optimizers.resolve("sgd(lr=0.01)"), optimizers.schedules.resolve("constant"), "none")


@pytest.fixture(scope="module")
def distilled() -> DistilledSet:
    drawn = torch.Generator().manual_seed(4)
    pixels = torch.randint(0, 256, (IMAGES, *SHAPE), dtype=torch.uint8, generator=drawn)
    return DistilledSet(pixels, torch.arange(IMAGES) % CLASSES, dataset="digits", method="mine", classes=CLASSES)


def material(distilled: DistilledSet) -> Material:
    on = Material.on_device("cpu", distilled.input((0.4,), (0.3,)), distilled.labels, mean=(0.4,), std=(0.3,))
    return replace(on, replay=distilled.replay)


def teach(images: Tensor) -> Tensor:
    return images.flatten(1)[:, 40 : 40 + CLASSES] * 2


def published(distilled: DistilledSet, recipe: Recipe, folder: Path, seed: int = 3) -> DistilledSet:
    exporting.write(distilled, folder / "images")
    fkd_files.write(folder / "seed-3", material(distilled), recipe, seed, teach)
    card = Card("digits", SHAPE, CLASSES)
    return read(Spec.model_validate(FORMAT), folder / "seed-3", card, None, lambda line: None)


SAID = [
    ("none", "none"),
    ("none", "mixup"),
    ("random-resized-crop(min_scale=0.2)", "cutmix"),
    ("random-resized-crop(min_scale=0.2)+flip", "cutmix(probability=0.5)"),
    ("random-resized-crop(min_scale=1.0)+flip", "mixup(alpha=0.4)"),
]


@pytest.mark.parametrize(("augmentation", "mixing"), SAID)
def test_what_is_written_is_read_back_as_the_batches_and_soft_labels_of_the_training(
    distilled: DistilledSet, tmp_path: Path, augmentation: str, mixing: str
) -> None:
    recipe = replace(RECIPE, augmentation=augmentation, mixing=mixing)
    again = published(distilled, recipe, tmp_path)
    assert torch.equal(again.images, distilled.images)
    source, replayed = Shuffled(material(distilled), recipe, [3]), Replayed(material(again), 3)
    for epoch in (1, 2):
        for given, batch in zip(source.epoch(epoch), replayed.epoch(epoch), strict=True):
            step = source.step(given)
            assert torch.allclose(batch.images, step.images, atol=1e-5)
            assert torch.equal(batch.labels, step.batches[0].labels)
            assert batch.soft is not None
            assert torch.equal(batch.soft, teach(step.images).half().float())
            own, partner = batch.targets(0.0, None)
            expected, other = step.batches[0].targets(0.0, batch.soft)
            assert (partner is None) == (other is None) or bool((own.labels() == partner.labels()).all())  # type: ignore[union-attr]
            if other is not None and partner is not None:
                assert torch.equal(partner.labels(), other.labels())
                assert float(batch.mix.share) == pytest.approx(float(step.batches[0].mix.share), abs=1e-6)  # type: ignore[union-attr]
            assert torch.equal(own.labels(), expected.labels())


def test_a_training_on_what_was_published_ends_where_the_one_that_asked_ended(distilled: DistilledSet, tmp_path: Path) -> None:
    recipe = replace(RECIPE, augmentation="random-resized-crop(min_scale=0.2)+flip", mixing="cutmix", epochs=4)
    again = published(distilled, recipe, tmp_path)
    asking, replaying = (models.build("convnet2(width=8)", SHAPE, CLASSES) for _ in range(2))
    replaying.load_state_dict(asking.state_dict())
    before = weights(asking).clone()
    fit(asking, material(distilled), losses.create("kl"), recipe, seed=3, teacher=teach)
    stored = replace(recipe, augmentation="stored", mixing="stored")
    fit(replaying, material(again), losses.create("kl"), stored, seed=3)
    moved = (weights(asking) - before).norm()
    assert (weights(replaying) - weights(asking)).norm() < 0.01 * moved


@pytest.mark.parametrize(
    ("changes", "factor", "words"),
    [
        (
            {"augmentation": "color_crop_cutout_flip_scale_rotate"},
            1,
            "'color_crop_.*' cannot be said in FKD",
        ),
        ({"augmentation": "flip"}, 1, "cannot be said"),
        ({"augmentation": "flip+random-resized-crop"}, 1, "none, random-resized-crop and random-resized-crop.flip can"),
        ({"augmentation": "pad-crop+flip"}, 1, "cannot be said"),
        ({"augmentation": "none"}, 2, "cannot be said"),
        ({"augmentation": "none", "batch_size": 19}, 1, "20 images in batches of 19 leave a last one of one image"),
        ({"augmentation": "none", "stages": (Stage(soft=1), Stage(hard=1))}, 1, "stages of labels cannot be said"),
    ],
)
def test_what_the_format_cannot_say_is_refused_in_one_line(changes: dict[str, object], factor: int, words: str) -> None:
    protocol = Protocol(name="smoke", epochs=2, batch_size=8, evaluations=1).model_copy(update=changes)
    with pytest.raises(DataError, match=words) as caught:
        fkd_files.check(protocol, IMAGES, factor)
    assert "\n" not in str(caught.value)


def test_logits_that_half_precision_does_not_hold_are_refused(distilled: DistilledSet, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="more than half precision holds"):
        fkd_files.write(tmp_path / "seed-3", material(distilled), RECIPE, 3, lambda images: teach(images) * 1e6)
