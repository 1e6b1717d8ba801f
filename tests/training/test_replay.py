"""Training on stored augmentations: the very batches that were stored, against one image at a time by torchvision."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.transforms.v2.functional import hflip, resized_crop

from harness import losses, models, optimizers
from harness.augmentation import RandomResizedCrop
from harness.boards.board import Board
from harness.boards.trial import Trial
from harness.core.errors import DataError, GiftbenchError
from harness.datasets.base import normalise
from harness.distilled.set import DistilledSet
from harness.losses.targets import Targets
from harness.planning.artefacts import Artefacts
from harness.planning.preparation import Preparation
from harness.running.planning import plan
from harness.training.loop import fit
from harness.training.replay import Replay, Rule
from harness.training.values import Material, Recipe
from tests.training.small import weights

SHAPE, CLASSES, IMAGES, BATCH, EPOCHS = (3, 16, 12), 4, 11, 4, 2
RECIPE = Recipe(3, 50, optimizers.resolve("sgd"), optimizers.schedules.resolve("constant"), "stored", mixing="stored")


def made_up(mix: str = "cutmix", images: int = IMAGES, height: int = 16, width: int = 12, classes: int = CLASSES) -> Replay:
    """What FKD's code would have stored: crops of whole pixels as shares, one mix a step."""
    draws = torch.Generator().manual_seed(3)
    steps = -(-images // BATCH)
    boxes, partners, lam = (
        torch.full((EPOCHS, steps, 4), -1),
        torch.empty(EPOCHS, images, dtype=torch.int64),
        torch.ones(EPOCHS, steps),
    )
    shares = []
    for epoch in range(EPOCHS):
        drawn = RandomResizedCrop(0.2).draw(images, height, width, generator=draws)
        shares.append(torch.stack([drawn.top / height, drawn.left / width, drawn.height / height, drawn.width / width], 1))
        for step in range(steps):
            size = min(BATCH, images - step * BATCH)
            order = torch.randperm(size, generator=draws)
            partners[epoch, step * BATCH : step * BATCH + size] = torch.arange(size) if mix == "none" else order
            if mix != "none":
                lam[epoch, step] = torch.rand((), generator=draws)
            if mix == "cutmix":
                top, left = (int(v) for v in torch.randint(0, 6, (2,), generator=draws))
                boxes[epoch, step] = torch.tensor([top, left, top + 3 + step, left + 5])
    return Replay(
        index=torch.stack([torch.randperm(images, generator=draws) for _ in range(EPOCHS)]),
        crops=torch.stack(shares),
        flips=torch.rand(EPOCHS, images, generator=draws) < 0.5,
        partners=partners,
        lam=lam,
        boxes=boxes,
        logits=(3 * torch.randn(EPOCHS, images, classes, generator=draws)).half(),
        batch=BATCH,
    )


def reference(images: Tensor, labels: Tensor, replay: Replay, epoch: int) -> list[tuple[Tensor, Tensor, Tensor, Tensor, float]]:
    """An epoch, image by image: images, labels, partners' labels, soft labels and the share of the own label of each batch."""
    height, width = images.shape[2:]
    found = []
    for step, places in enumerate(torch.arange(len(labels)).split(replay.batch)):
        index = replay.index[epoch, places]
        single = []
        for place, image in zip(places, images[index], strict=True):
            top, left, tall, wide = (
                float(s) * n for s, n in zip(replay.crops[epoch, place], (height, width, height, width), strict=True)
            )
            box = round(top), round(left), round(top + tall) - round(top), round(left + wide) - round(left)
            cropped = resized_crop(image, *box, size=[height, width], antialias=True)
            single.append(hflip(cropped) if replay.flips[epoch, place] else cropped)
        before, partner = torch.stack(single), replay.partners[epoch, places]
        top, left, bottom, right = replay.boxes[epoch, step].tolist()
        lam, mixed = float(replay.lam[epoch, step]), before.clone()
        if top < 0:
            mixed = lam * before + (1 - lam) * before[partner]
        else:
            mixed[:, :, top:bottom, left:right] = before[partner][:, :, top:bottom, left:right]
            lam = 1 - (bottom - top) * (right - left) / (height * width)
        found.append((mixed, labels[index], labels[index][partner], replay.logits[epoch, places].float(), lam))
    return found


@pytest.fixture(params=["cutmix", "mixup", "none"])
def material(request: pytest.FixtureRequest) -> Material:
    images = torch.randn(IMAGES, *SHAPE, generator=torch.Generator().manual_seed(0)).to(memory_format=torch.channels_last)
    return Material(images, torch.arange(IMAGES) % CLASSES, replay=made_up(request.param))


def student() -> nn.Module:
    torch.manual_seed(0)
    return models.build("convnet1(width=8)", SHAPE, CLASSES).to(memory_format=torch.channels_last)


def trained(material: Material, loss: Any = "kl", recipe: Recipe = RECIPE, **changes: Any) -> tuple[Tensor, list[Tensor]]:
    """Weights after training, and the batches that the student saw."""
    network, seen = student(), []
    network.register_forward_pre_hook(lambda module, arguments: seen.append(arguments[0].clone()))
    fit(network, material, losses.create(loss) if isinstance(loss, str) else loss, recipe, **{"seed": 0, **changes})
    return weights(network), seen


def test_every_batch_is_the_one_that_was_stored_and_stored_epochs_come_round_again(material: Material) -> None:
    _, seen = trained(material)
    assert material.replay is not None
    expected = [b for epoch in (0, 1, 0) for b in reference(material.images, material.labels, material.replay, epoch)]
    assert [len(batch) for batch in seen] == [4, 4, 3] * 3
    for batch, (images, *_) in zip(seen, expected, strict=True):
        assert torch.allclose(batch, images, atol=1e-4)


def test_labels_are_the_stored_ones_and_hard_labels_those_of_image_and_partner(material: Material) -> None:
    given: list[Targets] = []
    trained(material, lambda z, t: (given.append(t), F.cross_entropy(z, t.labels()))[1])
    assert material.replay is not None
    expected = [b for epoch in (0, 1, 0) for b in reference(material.images, material.labels, material.replay, epoch)]
    steps = [t for t in given if t.progress in (0, 1 / 3, 2 / 3)][
        -18:
    ]  # the rest is how the loop finds out what the loss looks at
    for step, (_, own, partner, soft, _) in enumerate(expected[1:], start=1):
        found = steps[2 * step : 2 * step + 2]
        assert {tuple(t.hard.tolist()) for t in found if t.hard is not None} == {tuple(own.tolist()), tuple(partner.tolist())}
        assert all(t.soft is not None and torch.equal(t.soft, soft) and t.kind == "logits" for t in found)


@pytest.mark.parametrize("loss", ["kl(temperature=4)", "mse_ce(weight=0.2)", "ce"])
def test_training_is_the_reference_loop(material: Material, loss: str) -> None:
    """Plain SGD over the reference's batches gives the same weights."""
    recipe = replace(RECIPE, optimizer=optimizers.resolve("sgd(lr=0.05, momentum=0, weight_decay=0)"))
    network, made = student().train(), losses.create(loss)
    optimizer = torch.optim.SGD(network.parameters(), 0.05)
    assert material.replay is not None
    for epoch in (0, 1, 0):
        for images, own, partner, soft, share in reference(material.images, material.labels, material.replay, epoch):
            logits = network(images)
            value = share * made(logits, Targets(own, soft)) + (1 - share) * made(logits, Targets(partner, soft))
            optimizer.zero_grad()
            value.backward()
            optimizer.step()
    assert torch.allclose(trained(material, loss, recipe)[0], weights(network), atol=1e-4)


def test_neither_seed_nor_recipe_nor_teacher_changes_what_is_replayed(material: Material) -> None:
    first, _ = trained(material)
    assert torch.equal(first, trained(material)[0])
    assert torch.equal(first, trained(material, seed=7)[0])
    other = replace(RECIPE, batch_size=3, augmentation="color_crop", mixing="cutmix")
    assert torch.equal(first, trained(material, recipe=other)[0])

    def teacher(images: Tensor) -> Tensor:
        raise AssertionError("the stored labels are those of these batches")

    assert torch.equal(first, trained(material, teacher=teacher)[0])


def test_uint8_images_are_normalised_before_they_are_cropped() -> None:
    pixels = torch.randint(0, 256, (IMAGES, *SHAPE), dtype=torch.uint8)
    statistics = {"mean": (0.4, 0.5, 0.6), "std": (0.2, 0.3, 0.2)}
    by_batch = Material(pixels, torch.arange(IMAGES) % CLASSES, replay=made_up(), **statistics)
    before = replace(by_batch, images=normalise(pixels, **statistics), mean=(), std=())
    for one, other in zip(trained(by_batch)[1], trained(before)[1], strict=True):
        assert torch.allclose(one, other, atol=1e-5)


def test_the_loop_asks_for_one_value_a_check_and_one_about_the_loss(material: Material, asked: list[str]) -> None:
    fit(student(), material, losses.create("gift"), replace(RECIPE, epochs=6), seed=0)
    assert asked == ["tolist"]


def test_a_replay_of_other_images_and_a_recipe_without_one_are_refused(material: Material) -> None:
    with pytest.raises(DataError, match="the stored augmentations are of 11 images, and there are 10"):
        trained(replace(material, labels=material.labels[:10]))
    with pytest.raises(DataError, match=r"replays what comes with a distilled set, and this one has nothing stored"):
        trained(replace(material, replay=None))


# -- from a board ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def stored_set() -> DistilledSet:
    pixels = torch.randint(0, 256, (IMAGES, 1, 16, 16), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    replay = made_up(height=16, width=16, classes=10)
    return DistilledSet(
        pixels, torch.arange(IMAGES) % 10, dataset="digits", method="sre2l", classes=10, native_loss="kl", replay=replay
    )


def test_a_set_with_stored_augmentations_is_trained_on_without_a_teacher(stored_set: DistilledSet) -> None:
    from harness import evaluate

    found = evaluate(stored_set, loss="kl", model="convnet1(width=8)", protocol="smoke", seeds=2, teacher="convnet1(width=8)")
    trial = found.records[0].trial
    assert (trial.protocol.augmentation, trial.protocol.batch_size, trial.teacher) == ("stored", BATCH, ())
    assert found.records[0].metrics["steps"] == 2 * 3
    assert trial.labels.augmentation == "stored"
    assert Trial.model_validate_json(trial.model_dump_json()).id == trial.id


def test_it_may_be_trained_on_without_them(stored_set: DistilledSet) -> None:
    from harness import evaluate

    found = evaluate(
        stored_set, loss="ce", model="convnet1(width=8)", protocol={"name": "smoke", "labels": "hard", "batch_size": 4}, seeds=1
    )
    assert found.records[0].trial.protocol.augmentation == "color_crop_cutout_flip_scale_rotate"
    assert found.records[0].metrics["steps"] == 2 * 3


def test_a_strategy_that_looks_at_no_soft_labels_says_so_before_training(
    stored_set: DistilledSet, tiny: Callable[..., Board], tmp_path: Any
) -> None:
    words = r"scenarios\[0\]: set 'sre2l': strategy 'ICaRL' trains by a loss of its own"
    with pytest.raises(GiftbenchError, match=words) as raised:
        planned(stored_set, tiny, tmp_path, "kl", {"name": "class-incremental", "steps": 2, "strategies": ["GDumb", "ICaRL"]})
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("fill", ["mr", "ms", "mrs"])
@pytest.mark.parametrize("loss", ["gift", "mse", "kl", "ce"])
def test_a_loss_that_needs_every_class_is_refused_where_some_have_no_share(
    stored_set: DistilledSet, tiny: Callable[..., Board], tmp_path: Any, loss: str, fill: Any
) -> None:
    replay = stored_set.replay
    assert replay is not None
    kind: Any = "probabilities" if fill == "ms" else "logits"
    largest = stored_set.changed(
        replay=replace(
            pooled(replay),
            logits=torch.rand(EPOCHS * 3, BATCH, 2).half() / 2,
            topk=torch.tensor([3, 1], dtype=torch.int16).repeat(EPOCHS * 3, BATCH, 1),
            lowest=torch.zeros(EPOCHS * 3, BATCH).half() if fill == "mrs" else None,
            rule=Rule("sampled", 2, kind=kind, temperature=20.0 if fill == "ms" else 1.0, fill=fill, classes=10),
        )
    )
    if loss in ("kl", "ce") or fill == "mrs":
        assert len(planned(largest, tiny, tmp_path, loss, {"name": "loss-comparison"})) == 1
        return
    words = rf"scenarios\[0\]: losses: loss '{loss}' needs a number of every class; of set 'sre2l' .*\(fill = {fill}\): use"
    with pytest.raises(GiftbenchError, match=words) as raised:
        planned(largest, tiny, tmp_path, loss, {"name": "loss-comparison"})
    assert "\n" not in str(raised.value)


def pooled(replay: Replay) -> Replay:
    """Batches of 4 images of which epochs draw, of the same shapes as three steps of each stored epoch."""
    rows, shape = EPOCHS * 3, (EPOCHS * 3, BATCH)
    return replace(
        replay,
        index=torch.arange(BATCH).repeat(rows, 1),
        crops=torch.tensor([0.0, 0.0, 1.0, 1.0]).repeat(*shape, 1),
        flips=torch.zeros(shape, dtype=torch.bool),
        partners=torch.arange(BATCH).repeat(rows, 1),
        lam=torch.ones(rows, 1),
        boxes=torch.full((rows, 1, 4), -1),
        logits=torch.zeros(*shape, 10).half(),
        counts=torch.full((rows,), BATCH),
        rule=Rule("sampled", 2),
    )


def planned(distilled: DistilledSet, tiny: Callable[..., Board], folder: Any, loss: str, scenario: dict[str, Any]) -> list[Trial]:
    """Return the trials of a board over a set, as far as they are planned."""
    file = distilled.save(folder / "set.safetensors")
    board = tiny(sets=[{"file": str(file)}], losses=[loss], seeds=1, scenarios=[scenario])
    return plan(Preparation(board, "board.toml", Artefacts(folder / "artefacts"), device="cpu"))
