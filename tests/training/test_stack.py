"""Trainings made in one pass give what each gives alone: float64, so that what is left is no float noise."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import replace
from functools import cache, partial
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from harness import losses, models, optimizers
from harness.core import seeds
from harness.core.errors import DataError
from harness.losses.targets import Targets
from harness.optimizers.optimizers import ELEMENTWISE
from harness.training.devices import on_device
from harness.training.evaluation import evaluate
from harness.training.loop import fit, fit_together
from harness.training.stack import agrees
from harness.training.values import Fit, Material, Member, Recipe

SHAPE, CLASSES = (3, 8, 8), 5
CONVNET, RESNET = "convnet3(width=8)", "resnet18-modified"
RECIPE = Recipe(
    epochs=3,
    batch_size=5,
    optimizer=optimizers.resolve("adamw"),
    schedule=optimizers.schedules.resolve("multistep"),
    augmentation="color_crop_cutout_flip_scale_rotate",
    evaluations=3,
)


def material(count: int = 13) -> Material:
    draws = torch.Generator().manual_seed(1)
    images = torch.randn(count, *SHAPE, dtype=torch.float64, generator=draws)
    return Material.on_device("cpu", images, torch.arange(count) % CLASSES)


def student(seed: int, model: str) -> nn.Module:
    torch.manual_seed(seeds.derive(seed, "init"))
    built = on_device(models.build(model, SHAPE, CLASSES).double(), "cpu")
    torch.manual_seed(seeds.derive(seed, "dropout"))
    return built


@cache
def teacher() -> nn.Module:
    return student(99, CONVNET).eval()


@cache
def loss(name: str) -> Any:
    return losses.create(name)


def member(seed: int, name: str, model: str) -> Member:
    return Member(student(seed, model), loss(name), seed, lambda network: evaluate(network, material()))


def alone(seed: int, name: str, model: str, recipe: Recipe, given: Material) -> tuple[nn.Module, Fit]:
    one = member(seed, name, model)  # just before it trains, as a worker does: its stochastic depth draws from torch's own stream
    found = fit(one.student, given, one.loss, recipe, seed=seed, teacher=teacher(), evaluate=one.evaluate)
    return one.student, found


def check(model: str, kinds: Sequence[tuple[int, str]], recipe: Recipe = RECIPE, given: Material | None = None) -> None:
    """Every tensor of every student, batch-norm statistics among them, and every accuracy."""
    given = given or material()
    members = [member(seed, name, model) for seed, name in kinds]
    together = fit_together(members, given, recipe, teacher=teacher())
    for one, found, (seed, name) in zip(members, together, kinds, strict=True):
        network, expected = alone(seed, name, model, recipe, given)
        same_but_for_noise(found, expected)
        assert (found.epochs, found.steps, found.diverged) == (expected.epochs, expected.steps, expected.diverged)
        for (key, ours), own in zip(one.student.state_dict().items(), network.state_dict().values(), strict=True):
            torch.testing.assert_close(ours, own, rtol=1e-6, atol=1e-6, msg=f"{name}, seed {seed}: {key}")


def same_but_for_noise(found: Fit, expected: Fit) -> None:
    """The tests say the same to the digit, and mean losses, sums of floats, as far as float64 can tell."""
    for entry, other in zip(found.history, expected.history, strict=True):
        assert {**entry, "loss": 0.0} == {**other, "loss": 0.0}
        assert entry["loss"] == pytest.approx(other["loss"], rel=1e-6)


def test_every_loss_and_seed_of_a_convnet_in_one_stack() -> None:
    check(CONVNET, [(seed, name) for name in losses.names() for seed in (0, 1)])


@pytest.mark.parametrize("name", losses.names())
def test_every_loss_of_a_resnet18(name: str) -> None:
    check(RESNET, [(0, name), (1, name)], replace(RECIPE, epochs=1), material(8))


def test_losses_of_a_resnet18_in_one_stack() -> None:
    check(
        RESNET, [(0, "gift"), (0, "kl"), (0, "ce")], replace(RECIPE, epochs=1, optimizer=optimizers.resolve("sgd")), material(8)
    )


@pytest.mark.parametrize("optimizer", sorted(ELEMENTWISE))
def test_every_optimizer_that_may_be_stacked(optimizer: str) -> None:
    check(CONVNET, [(0, "gift"), (1, "gift"), (0, "kl")], replace(RECIPE, optimizer=optimizers.resolve(optimizer)))


@pytest.mark.parametrize("optimizer", ["lamb", "muon", "timm/adamw"])
def test_optimizers_that_may_look_at_whole_tensors_are_not_stacked(optimizer: str) -> None:
    members = [member(seed, "ce", CONVNET) for seed in (0, 1)]
    with pytest.raises(DataError, match=f"trainings under '{optimizer}' are made one at a time"):
        fit_together(members, material(), replace(RECIPE, optimizer=optimizers.resolve(optimizer)))


@pytest.mark.parametrize(
    "model", ["convnet2(width=8, norm=instance)", "convnet2(width=8, norm=none)", "wrn-16-2", "shufflenet-v2-x0.5-modified"]
)
def test_other_norms_and_networks(model: str) -> None:
    check(model, [(0, "gift"), (1, "kl")], replace(RECIPE, epochs=1), material(8))


@pytest.mark.parametrize(
    "augmentation", ["none", "pad-crop(padding=1)+flip", "random-resized-crop", "patch-shuffle+mosaic-crop+dsa"]
)
@pytest.mark.parametrize("mixing", ["none", "cutmix", "mixup(alpha=0.8)"])
def test_augmentation_and_mixing_draw_from_each_trainings_stream(augmentation: str, mixing: str) -> None:
    recipe = replace(RECIPE, augmentation=augmentation, mixing=mixing, epochs=2)
    check(CONVNET, [(0, "gift"), (1, "gift"), (2, "soft_ce")], recipe, replace(material(), factor=2))


@pytest.mark.slow
def test_stochastic_depth_draws_from_each_trainings_stream() -> None:
    model = "timm/convnext_atto(drop_path=0.5)"
    check(model, [(0, "gift"), (1, "kl")], replace(RECIPE, epochs=1), material(6))


def test_stored_soft_labels() -> None:
    soft = torch.randn(13, CLASSES, dtype=torch.float64, generator=torch.Generator().manual_seed(5))
    given = replace(material(), soft=soft)
    members = [member(seed, "kl", CONVNET) for seed in (0, 1)]
    fit_together(members, given, RECIPE)
    for one in members:
        other = student(one.seed, CONVNET)
        fit(other, given, one.loss, RECIPE, seed=one.seed)
        for ours, own in zip(one.student.parameters(), other.parameters(), strict=True):
            torch.testing.assert_close(ours, own, rtol=1e-6, atol=1e-6)


def test_a_training_that_diverges_leaves_the_others_alone() -> None:
    def broken(logits: Tensor, targets: Any) -> Tensor:
        return logits.sum() * float("nan")

    recipe = replace(RECIPE, epochs=120, evaluations=2)
    members = [Member(student(0, CONVNET), broken, 0, lambda network: {"accuracy": 0.0}), member(1, "gift", CONVNET)]
    lost, kept = fit_together(members, material(), recipe, teacher=teacher())
    assert lost.diverged and lost.epochs < 60 and len(lost.history) == 1
    network, expected = alone(1, "gift", CONVNET, recipe, material())
    assert not kept.diverged
    same_but_for_noise(kept, expected)
    for ours, own in zip(members[1].student.parameters(), network.parameters(), strict=True):
        torch.testing.assert_close(ours, own, rtol=1e-6, atol=1e-6)


def test_a_loss_that_vmap_has_no_rule_for_is_called_once_for_each() -> None:
    def counted(logits: Tensor, targets: Any) -> Tensor:
        return loss("gift")(logits, targets) * (1.0 if logits.isfinite().all() else 2.0)  # looks at a value

    members = [Member(student(seed, CONVNET), counted, seed) for seed in (0, 1)]
    fit_together(members, material(), RECIPE, teacher=teacher())
    network, _ = alone(1, "gift", CONVNET, RECIPE, material())
    for ours, own in zip(members[1].student.parameters(), network.parameters(), strict=True):
        torch.testing.assert_close(ours, own, rtol=1e-6, atol=1e-6)


def test_a_loss_that_fails_fails_in_a_stack_too() -> None:
    def wrong(logits: Tensor, targets: Any) -> Tensor:
        raise DataError("no such class")

    with pytest.raises(DataError, match="no such class"):
        fit_together([Member(student(seed, CONVNET), wrong, seed) for seed in (0, 1)], material(), RECIPE)


def test_students_that_cannot_be_stacked_are_found_out() -> None:
    images = torch.randn(4, *SHAPE)

    class Remembers(nn.Module):
        """Looks at a value of its input."""

        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(192, CLASSES)

        def forward(self, images: Tensor) -> Tensor:
            return self.layer(images.flatten(1) * (1 if images.sum() > 0 else 2))

    assert agrees([student(seed, CONVNET).float() for seed in (0, 1)], images)
    assert not agrees([Remembers(), Remembers()], images)
    dropout = "efficientnet-b0(dropout=0.5)"
    assert not agrees([student(seed, dropout).float() for seed in (0, 1)], images)


def test_trying_a_stack_changes_neither_students_nor_random_numbers() -> None:
    pair = [student(seed, CONVNET).float() for seed in (0, 1)]
    before = [value.clone() for network in pair for value in network.state_dict().values()]
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    agrees(pair, torch.ones(4, *SHAPE))
    assert torch.equal(torch.rand(2), expected)
    after = [value for network in pair for value in network.state_dict().values()]
    assert all(torch.equal(ours, own) for ours, own in zip(after, before, strict=True))


def margin(logits: Tensor, targets: Targets) -> Tensor:
    """A loss that torch.func has no rule for, and says so."""
    return nn.functional.multi_margin_loss(logits, targets.labels())


def test_what_torch_says_to_its_own_people_is_left_out_and_filters_stay() -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        before = list(warnings.filters)
        members = [Member(student(seed, CONVNET), margin, seed) for seed in range(2)]
        fit_together(members, material(), RECIPE)
        assert not [str(one.message) for one in caught if "batching rule" in str(one.message)]
        assert warnings.filters == before
        torch.func.vmap(partial(nn.functional.multi_margin_loss, target=torch.tensor([0, 1])))(torch.randn(3, 2, 4))
        assert [str(one.message) for one in caught if "batching rule" in str(one.message)]  # which it would say
