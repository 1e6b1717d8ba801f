"""What a step is made of: order, augmentation, mixing, targets; and the losses of one training, of several, of mixed images."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from harness import losses, models, optimizers
from harness.augmentation import DSA, Mix
from harness.augmentation.mixing import mixing
from harness.core import seeds
from harness.losses.targets import Targets
from harness.training.batches import Batch, Criterion, MixedLoss, Shuffled, batch_sizes, partners, parts
from harness.training.loop import fit
from harness.training.values import Material, Recipe
from tests.training.small import CLASSES, SHAPE, student, trained, weights

RECIPE = Recipe(3, 5, optimizers.resolve("sgd"), optimizers.schedules.resolve("constant"), "none", mixing="cutmix(alpha=1.0)")


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def drawn(text: str = "cutmix", samples: int = 6) -> Mix:
    kind = mixing(text)
    assert kind is not None
    return kind.draw(samples, 16, 12, generator=generator())


# -- epochs ------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("count", "batch", "sizes"),
    [(10, 10, [10]), (100, 50, [50, 50]), (11, 10, [11]), (21, 10, [10, 11]), (12, 10, [10, 2]), (1, 10, [1]), (3, 10, [3])],
)
def test_a_last_batch_of_one_joins_the_batch_before(count: int, batch: int, sizes: list[int]) -> None:
    assert batch_sizes(count, batch) == sizes


PLAIN = replace(RECIPE, batch_size=4, mixing="none")


def epochs(material: Material, trainings: list[int], count: int = 2) -> Tensor:
    """Return which images each training is given over its first epochs, [S, N * count]."""
    shuffled = Shuffled(material, PLAIN, trainings)
    return torch.cat([index for epoch in range(1, count + 1) for index in shuffled.epoch(epoch)], dim=1)


def test_each_training_sees_every_image_once_an_epoch_in_an_order_of_its_seed_alone(material: Material) -> None:
    together = epochs(material, [3, 8])
    assert torch.equal(together.view(2, 2, 10).sort(2).values, torch.arange(10).expand(2, 2, 10))
    for seed, order in zip((3, 8), together, strict=True):
        assert torch.equal(order, epochs(material, [seed])[0])
        stream = seeds.generator(seed, "order")
        assert torch.equal(order, torch.cat([torch.randperm(10, generator=stream) for _ in range(2)]))
    assert not torch.equal(together[0, :10], together[0, 10:])


def test_beginning_anew_gives_the_same_epochs_and_the_same_augmentation(material: Material) -> None:
    shuffled = Shuffled(material, replace(RECIPE, augmentation="flip_crop"), [3])

    def epoch() -> list[Tensor]:
        return [shuffled.step(index).images for index in shuffled.epoch(1)]

    first, second = epoch(), epoch()
    shuffled.restart([3])
    assert all(torch.equal(ours, own) for ours, own in zip(epoch(), first, strict=True))
    assert not torch.equal(first[0], second[0])


@pytest.mark.parametrize("mix", ["none", "cutmix", "mixup"])
def test_a_step_of_several_trainings_is_the_steps_of_each(material: Material, mix: str) -> None:
    recipe = replace(RECIPE, augmentation="color_crop_cutout_flip_scale_rotate", mixing=mix)
    labelled = replace(material, soft=torch.randn(10, CLASSES, generator=generator(2)), soft_kind="probabilities")

    def step(trainings: list[int]) -> Any:
        shuffled = Shuffled(labelled, recipe, trainings)
        return shuffled.step(next(shuffled.epoch(1)))

    together = step([0, 1, 2])
    assert torch.equal(together.images, torch.cat([batch.images for batch in together.batches]))
    for seed, batch in enumerate(together.batches):
        (alone,) = step([seed]).batches
        torch.testing.assert_close(batch.images, alone.images)
        assert torch.equal(batch.labels, alone.labels)
        assert torch.equal(batch.soft, alone.soft)
        assert (batch.kind, batch.mix is None) == ("probabilities", mix == "none")
        if batch.mix is not None:
            assert torch.equal(batch.mix.partner, alone.mix.partner)


# -- targets -----------------------------------------------------------------------------------------------------------------


def test_what_a_teacher_says_of_the_batch_goes_before_the_labels_that_are_stored() -> None:
    images, labels, soft, taught = torch.zeros(6, 1, 2, 2), torch.arange(6), torch.rand(6, 6), torch.randn(6, 6)
    mix = drawn()
    own, partner = Batch(images, labels, soft, "probabilities", mix).targets(0.5, taught)
    assert partner is not None
    assert own.soft is partner.soft is taught  # which is of the mixed images, and so of both
    assert own.kind == partner.kind == "logits"
    own, partner = Batch(images, labels, soft, "probabilities", mix).targets(0.5, None)
    assert partner is not None and own.soft is soft and partner.soft is not None and partner.hard is not None
    assert torch.equal(partner.soft, soft[mix.partner])
    assert torch.equal(partner.hard, labels[mix.partner])
    assert (own.kind, partner.kind, own.progress, partner.progress) == ("probabilities", "probabilities", 0.5, 0.5)
    own, partner = Batch(images, labels, soft, "logits", mix, final=True).targets(0.5, None)
    assert partner is not None and own.soft is partner.soft is soft
    assert Batch(images, labels).targets(0.5, None)[1] is None


# -- losses of several trainings ---------------------------------------------------------------------------------------------


def several(count: int, mix: Mix | None = None) -> tuple[Tensor, list[Batch], Tensor]:
    """Return logits [S, 6, 4], batches of 6, and what a teacher says of all of them, [S * 6, 4]."""
    draws = generator(3)
    logits = torch.randn(count, 6, 4, generator=draws)
    batches = [Batch(torch.zeros(6, 1, 2, 2), torch.randint(0, 4, (6,), generator=draws), mix=mix) for _ in range(count)]
    return logits, batches, torch.randn(count * 6, 4, generator=draws)


@pytest.mark.parametrize("mix", [None, drawn()], ids=["plain", "mixed"])
def test_each_training_has_the_value_of_its_own_loss_on_its_own_batch(mix: Mix | None) -> None:
    logits, batches, taught = several(5, mix)
    kl, ce = losses.create("kl"), losses.create("ce")
    mine = [kl, kl, ce, kl, ce]
    values = Criterion(mine)(logits, batches, 0.25, taught)
    expected = [
        MixedLoss(loss)(z, *batch.targets(0.25, soft), batch.mix)
        for loss, z, batch, soft in zip(mine, logits, batches, taught.split(6), strict=True)
    ]
    torch.testing.assert_close(values, torch.stack(expected))
    assert len(set(values.tolist())) == 5


def test_a_loss_of_neighbours_is_called_once_a_step_for_all_of_them() -> None:
    logits, batches, taught = several(3)
    progress: list[float] = []

    def loss(z: Tensor, targets: Targets) -> Tensor:
        progress.append(targets.progress)
        return F.kl_div(z.log_softmax(1), targets.logits().softmax(1), reduction="batchmean")

    Criterion([loss] * 3)(logits, batches, 0.5, taught)
    assert progress == [0.5]
    Criterion([loss, losses.create("ce"), loss])(logits, batches, 0.5, taught)
    assert progress == [0.5] * 3  # they are no neighbours


def test_a_loss_that_vmap_has_no_rule_for_is_called_once_for_each_and_the_attempt_is_not_made_again() -> None:
    logits, batches, taught = several(2)
    calls: list[int] = []

    def loss(z: Tensor, targets: Targets) -> Tensor:
        calls.append(len(z))
        return z.square().mean() * (1 if z.mean() > 0 else 2)  # a question that vmap cannot answer for all at once

    criterion = Criterion([loss, loss])
    expected = [z.square().mean() * (1 if z.mean() > 0 else 2) for z in logits]
    for calls_so_far in (3, 5):
        torch.testing.assert_close(criterion(logits, batches, 0.0, taught), torch.stack(expected))
        assert len(calls) == calls_so_far


def test_a_fault_of_the_losss_own_is_not_hidden_by_the_attempt_to_call_it_for_all() -> None:
    logits, batches, taught = several(2)

    def wrong(z: Tensor, targets: Targets) -> Tensor:
        raise ZeroDivisionError("planted")

    with pytest.raises(ZeroDivisionError, match="planted"):
        Criterion([wrong, wrong])(logits, batches, 0.0, taught)


# -- losses of mixed images --------------------------------------------------------------------------------------------------


def case(kind: str = "logits") -> tuple[Tensor, Targets, Mix]:
    draws = generator(7)
    logits, soft = torch.randn(6, 4, generator=draws), torch.randn(6, 4, generator=draws)
    soft = soft.softmax(1) if kind == "probabilities" else soft
    return logits, Targets(torch.randint(0, 4, (6,), generator=draws), soft, kind, 0.5), drawn()  # type: ignore[arg-type]


def test_cross_entropy_is_that_of_both_labels_by_their_shares() -> None:
    logits, own, mix = case()
    own = Targets(own.hard, None, "logits", 0.5)
    found = MixedLoss(losses.create("ce"))(logits, own, partners(own, mix, final=False), mix)
    assert own.hard is not None
    both = mix.share * F.one_hot(own.hard, 4) + (1 - mix.share) * F.one_hot(own.hard[mix.partner], 4)
    assert torch.allclose(found, -(both * logits.log_softmax(1)).sum(1).mean(), atol=1e-6)


def test_fixed_soft_labels_are_mixed_with_their_images() -> None:
    logits, own, mix = case("probabilities")
    found = MixedLoss(losses.create("soft_ce"))(logits, own, partners(own, mix, final=False), mix)
    assert own.soft is not None
    both = mix.share * own.soft + (1 - mix.share) * own.soft[mix.partner]
    assert torch.allclose(found, -(both * logits.log_softmax(1)).sum(1).mean(), atol=1e-6)


def test_the_teachers_labels_of_mixed_images_are_taken_as_they_are() -> None:
    logits, own, mix = case()
    loss, calls = losses.create("kl_ce(weight=0.3, temperature=2)"), []
    found = MixedLoss(lambda z, t: (calls.append(t), loss(z, t))[1])(logits, own, partners(own, mix, final=True), mix)
    assert own.soft is not None and own.hard is not None
    kl = F.kl_div((logits / 2).log_softmax(1), (own.soft / 2).softmax(1), reduction="batchmean")
    hard = mix.share * F.cross_entropy(logits, own.hard) + (1 - mix.share) * F.cross_entropy(logits, own.hard[mix.partner])
    assert torch.allclose(found, kl + 0.3 * hard, atol=1e-6)


def test_a_loss_without_hard_labels_is_called_once_a_step() -> None:
    logits, own, mix = case()
    loss, calls = losses.create("kl"), []
    mixed = MixedLoss(lambda z, t: (calls.append(1), loss(z, t))[1])
    values = [mixed(logits, own, partners(own, mix, final=True), mix) for _ in range(4)]
    assert torch.equal(values[0], loss(logits, own))
    assert len(calls) == 4 + 9  # one a step; to find out, four with either hard label, and one that soft labels are missing for
    assert len(set(map(float, values))) == 1


# -- mixed images in training ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["cutmix", "mixup"])
def test_training_on_mixed_images_is_deterministic_and_not_training_without(material: Material, text: str) -> None:
    recipe = replace(RECIPE, mixing=text)
    assert torch.equal(trained(material, recipe), trained(material, recipe))
    assert not torch.equal(trained(material, recipe), trained(material, replace(RECIPE, mixing="none")))
    assert not torch.equal(trained(material, recipe), trained(material, recipe, seed=1))


def test_the_teacher_is_asked_of_the_mixed_batch_that_the_student_sees(material: Material) -> None:
    seen: list[Tensor] = []
    network = student()
    network.register_forward_pre_hook(lambda module, arguments: seen.append(arguments[0].clone()))
    taught: list[Tensor] = []

    def teacher(images: Tensor) -> Tensor:
        taught.append(images.clone())
        return images.mean((2, 3)).repeat(1, CLASSES)

    fit(network, material, losses.create("gift"), RECIPE, seed=0, teacher=teacher)
    assert len(seen) == 6
    assert all(torch.equal(a, b) for a, b in zip(seen, taught, strict=True))
    originals = {tuple(image.flatten().tolist()) for image in material.images}
    assert any(tuple(image.flatten().tolist()) not in originals for image in seen[0])


def test_a_step_is_the_step_by_hand(material: Material) -> None:
    """One epoch of one batch with CutMix and cross-entropy, done again here from the streams that training draws from."""
    recipe = replace(RECIPE, epochs=1, batch_size=10, optimizer=optimizers.resolve("sgd(lr=0.5, weight_decay=0)"))
    network = student().train()
    order = torch.randperm(10, generator=seeds.generator(3, "order"))
    images, labels = material.images[order], material.labels[order]
    made = mixing("cutmix")
    assert made is not None
    mix = made.draw(10, 16, 16, generator=seeds.generator(3, "augmentation"))
    logits = network(torch.where(mix.own.bool(), images, images[mix.partner]))
    share = 1 - (mix.own == 0).sum() / 256
    loss = share * F.cross_entropy(logits, labels) + (1 - share) * F.cross_entropy(logits, labels[mix.partner])
    gradients = torch.autograd.grad(loss, list(network.parameters()))
    expected = torch.cat([(p - 0.5 * g).detach().reshape(-1) for p, g in zip(network.parameters(), gradients, strict=True)])
    assert torch.allclose(trained(material, recipe, seed=3), expected, atol=1e-5)


def test_images_are_mixed_after_they_are_augmented(material: Material) -> None:
    def first_batch(text: str) -> Tensor:
        seen: list[Tensor] = []

        def teacher(images: Tensor) -> Tensor:
            seen.append(images.clone())
            return images.mean((2, 3)).repeat(1, CLASSES)

        trained(material, replace(RECIPE, augmentation="flip_crop", mixing=text, batch_size=10), "kl", teacher=teacher)
        return seen[0]

    augmented = first_batch("none")
    stream, made = seeds.generator(0, "augmentation"), mixing("mixup")
    assert made is not None
    DSA("flip_crop").draw(10, 16, 16, generator=stream)
    assert torch.equal(first_batch("mixup"), made.draw(10, 16, 16, generator=stream).apply(augmented))


@pytest.mark.parametrize("text", ["cutmix", "mixup"])
def test_mixing_asks_for_no_value_on_the_host_but_once(material: Material, asked: list[str], text: str) -> None:
    recipe = replace(RECIPE, epochs=6, mixing=text)
    trained(material, recipe, "gift", teacher=lambda x: x.mean((2, 3)).repeat(1, 3))
    assert asked == ["tolist"]


# -- parts of a batch ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mixing", ["none", "cutmix", "mixup"])
@pytest.mark.parametrize("loss", ["ce", "kl", "kl_ce"])
def test_a_batch_in_parts_has_the_gradient_of_its_parts_each_for_a_share(material: Material, mixing: str, loss: str) -> None:
    """A student without batch norm, so that the gradient of equal parts is that of the whole."""
    recipe = Recipe(2, 10, optimizers.resolve("sgd(lr=0.1)"), optimizers.schedules.resolve("constant"), "none", mixing=mixing)
    soft = torch.randn(10, CLASSES, generator=torch.Generator().manual_seed(1))
    ends = []
    for shares, taught in ((1, False), (5, False), (1, True), (5, True)):
        torch.manual_seed(0)
        network = models.build("convnet1(width=4, norm=none)", SHAPE, CLASSES)
        own = replace(material, soft=None if taught else soft)
        teacher = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(256, CLASSES)) if taught else None
        if teacher is not None:
            torch.nn.init.constant_(teacher[1].weight, 0.01)
        fit(network, own, losses.create(loss), replace(recipe, accumulation=shares), seed=0, teacher=teacher)
        ends.append(weights(network))
    assert torch.allclose(ends[0], ends[1], atol=1e-5)
    assert torch.allclose(ends[2], ends[3], atol=1e-5)


def test_parts_are_cut_as_batches_are_and_a_short_batch_counts_for_less(material: Material) -> None:
    recipe = Recipe(1, 4, optimizers.resolve("sgd"), optimizers.schedules.resolve("constant"), "none", accumulation=2)
    source = Shuffled(material, recipe, [0, 1])
    widths = []
    for given in source.epoch(1):
        step = source.step(given)
        taught = torch.arange(len(step.images) * CLASSES).view(-1, CLASSES).float()
        cut = [*parts(step, taught, 2)]
        widths.append([len(part.batches[0].labels) for part, _ in cut])
        for number in range(2):
            images = torch.cat([part.batches[number].images for part, _ in cut])
            assert torch.equal(images, step.batches[number].images)
            said = torch.cat([torch.split(logits, len(logits) // 2)[number] for _, logits in cut if logits is not None])
            assert torch.equal(said, torch.split(taught, len(taught) // 2)[number])
    assert widths == [[2, 2], [2, 2], [2]]


@pytest.mark.parametrize("how", ["by name", "made of another"])
def test_a_loss_that_remembers_has_a_memory_of_each_training(how: str) -> None:
    """Also one that a scenario made of another, of which nothing is known before it is called."""
    named = losses.create("calibrated_kl")
    loss = named if how == "by name" else lambda logits, targets: 2 * named(logits, targets)
    criterion, alone = Criterion([loss, loss]), [Criterion([loss]), Criterion([loss])]
    for epoch in range(3):
        taught = torch.randn(12, 6, generator=generator(epoch))
        logits = torch.stack([0.02 * taught[:6], 0.01 * taught[6:]])
        batches = [Batch(torch.zeros(6, 1, 2, 2), torch.arange(6))] * 2
        values = criterion(logits, batches, epoch / 3, taught)
        parts = zip(alone, logits, batches, taught.split(6), strict=True)
        each = [one([z], [batch], epoch / 3, said) for one, z, batch, said in parts]
        torch.testing.assert_close(values, torch.cat(each))
    assert [memory["temperature"] for memory in criterion.memories] == [one.memories[0]["temperature"] for one in alone]
    softened = 20 * 0.7**3  # the temperature of the labels a third of the way, at the last batch that was searched
    searched = [float(memory["temperature"]) for memory in criterion.memories]
    assert searched == pytest.approx([0.02 * softened, 0.01 * softened], abs=0.005)
