"""Stages: which epoch learns which labels from which images, who is asked for them, and what goes on from stage to stage."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from harness import losses, optimizers
from harness.augmentation.mixing import mixing
from harness.boards.stages import Stage
from harness.core.seeds import derive
from harness.training.graphs import capturable
from harness.training.loop import fit, fit_together
from harness.training.replay import Replay
from harness.training.values import Material, Member, Recipe
from tests.training.small import CLASSES, student, trained, weights

STAGES = (Stage(soft=1), Stage(hard=2, smoothing=0.5, mixing="none"), Stage(soft=1))
RECIPE = Recipe(
    4, 4, optimizers.resolve("sgd(lr=0.1)"), optimizers.schedules.resolve("cosine"), "none", mixing="mixup", stages=STAGES
)
TEACHER = student(7).eval()


def teacher(images: Tensor) -> Tensor:
    logits: Tensor = TEACHER(images)
    return logits


def oracle(material: Material, recipe: Recipe, seed: int) -> Tensor:
    """A training step by step, in torch's own words; SGD's momentum and weight decay are those of the recipe."""
    network = student()
    optimizer = torch.optim.SGD(network.parameters(), 0.1, momentum=0.9, weight_decay=5e-4)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, recipe.epochs)
    order, draws = (
        torch.Generator().manual_seed(derive(seed, "order")),
        torch.Generator().manual_seed(derive(seed, "augmentation")),
    )
    kinds = [stage for stage in recipe.stages for _ in range(stage.epochs)]
    for stage in kinds:
        shuffled = torch.randperm(len(material.labels), generator=order)
        for index in torch.split(shuffled, recipe.batch_size):
            images, labels = material.images[index], material.labels[index]
            mixer = mixing(stage.mixing or recipe.mixing)
            mix = None if mixer is None else mixer.draw(len(index), *images.shape[2:], generator=draws)
            images = images if mix is None else mix.apply(images)
            logits = network(images)
            if stage.soft:
                told = functional.softmax(teacher(images).detach() / 20, dim=1)
                loss = functional.kl_div(functional.log_softmax(logits / 20, dim=1), told, reduction="batchmean")
            else:
                target = functional.one_hot(labels, CLASSES).float() * (1 - stage.smoothing) + stage.smoothing / CLASSES
                if mix is not None:
                    target = mix.share * target + (1 - mix.share) * target[mix.partner]
                loss = -(target * functional.log_softmax(logits, dim=1)).sum(1).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        schedule.step()
    return weights(network)


@pytest.mark.parametrize("hard", [Stage(hard=2, smoothing=0.5, mixing="none"), Stage(hard=2, smoothing=0.8)])
def test_every_epoch_learns_its_stages_labels_from_images_mixed_as_the_stage_says(material: Material, hard: Stage) -> None:
    recipe = replace(RECIPE, stages=(STAGES[0], hard, STAGES[2]))
    assert torch.allclose(trained(material, recipe, "kl", seed=3, teacher=teacher), oracle(material, recipe, 3), atol=1e-5)


def test_no_teacher_is_asked_in_a_stage_of_hard_labels(material: Material) -> None:
    asked: list[int] = []

    def counting(images: Tensor) -> Tensor:
        asked.append(len(images))
        return teacher(images)

    trained(material, RECIPE, "kl", teacher=counting)
    assert len(asked) == 2 * 3  # of 4 epochs of 3 steps, those of soft labels
    trained(material, replace(RECIPE, stages=(Stage(hard=4),)), "kl", teacher=counting)
    assert len(asked) == 2 * 3


def test_stages_of_several_that_are_made_together_are_those_of_each_alone(material: Material) -> None:
    together = [student() for _ in range(3)]
    members = [Member(network, losses.create("kl"), seed) for seed, network in enumerate(together)]
    fit_together(members, material, RECIPE, teacher=teacher)
    for seed, network in enumerate(together):
        assert torch.allclose(weights(network), trained(material, RECIPE, "kl", seed=seed, teacher=teacher), atol=1e-4)


def test_one_stage_of_soft_labels_is_a_training_without_stages(material: Material) -> None:
    plain = replace(RECIPE, stages=())
    whole = replace(RECIPE, stages=(Stage(soft=4),))
    assert torch.equal(trained(material, plain, "kl", teacher=teacher), trained(material, whole, "kl", teacher=teacher))


def replayed(material: Material, epochs: int) -> Material:
    """Material with stored epochs of whole images, mixed with nothing; their logits tell which epoch they are of."""
    count = len(material.labels)
    index = torch.stack([torch.randperm(count, generator=torch.Generator().manual_seed(epoch)) for epoch in range(epochs)])
    crops = torch.tensor([0.0, 0.0, 1.0, 1.0]).expand(epochs, count, 4).contiguous()
    logits = torch.stack([torch.full((count, CLASSES), float(epoch), dtype=torch.float16) for epoch in range(epochs)])
    replay = Replay(
        index,
        crops,
        torch.zeros(epochs, count, dtype=torch.bool),
        torch.arange(count).remainder(4).expand(epochs, count).contiguous(),
        torch.ones(epochs, 3),
        torch.full((epochs, 3, 4), -1),
        logits,
        4,
    )
    return replace(material, replay=replay)


def test_stored_epochs_go_on_where_the_stage_before_of_soft_labels_has_ended(material: Material) -> None:
    seen: list[tuple[float, int]] = []

    def noting(logits: Tensor, targets: object) -> Tensor:
        soft = targets.soft  # type: ignore[attr-defined]
        seen.append((float(soft[0, 0]), len(soft)))
        return logits.sum() * 0

    stages = (Stage(soft=2), Stage(hard=1, augmentation="none", mixing="none"), Stage(soft=2))
    recipe = replace(RECIPE, epochs=5, stages=stages, augmentation="stored", mixing="stored")
    result = fit(student(), replayed(material, 3), noting, recipe, seed=0, teacher=teacher)
    assert [epoch for epoch, size in seen if size == 2] == [0, 1, 2, 0], "the third of 3 stored epochs, then the first again"
    assert result.steps == 5 * 3


def test_steps_of_stages_parts_and_means_are_not_captured(material: Material) -> None:
    ce = [losses.create("ce")]
    plain = replace(RECIPE, stages=())
    assert capturable(material, plain, ce)
    for changes in ({"stages": STAGES}, {"accumulation": 2}, {"ema": 0.9}):
        assert not capturable(material, replace(plain, **changes), ce)  # type: ignore[arg-type]
