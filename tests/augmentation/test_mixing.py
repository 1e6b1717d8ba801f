"""CutMix and mixup: what is drawn, what becomes of images and labels, and what the loss of both is."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional as F

from harness import losses, models, optimizers
from harness.augmentation import DSA, Mix
from harness.augmentation.mixing import mixing
from harness.augmentation.words import known_mixing
from harness.core import seeds
from harness.core.errors import GiftbenchError
from harness.losses.targets import Targets
from harness.training.batches import MixedLoss, partners
from harness.training.loop import fit
from harness.training.values import Material, Recipe

SHAPE, CLASSES = (1, 16, 16), 3
RECIPE = Recipe(3, 5, optimizers.resolve("sgd"), optimizers.schedules.resolve("constant"), "none", mixing="cutmix(alpha=1.0)")


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def drawn(text: str, samples: int = 6, height: int = 16, width: int = 12, seed: int = 0) -> Mix:
    made = mixing(text)
    assert made is not None
    return made.draw(samples, height, width, generator=generator(seed))


@pytest.mark.parametrize(
    ("text", "kept"),
    [("none", "none"), ("cutmix", "cutmix(alpha=1.0)"), ("mixup", "mixup(alpha=0.8)"), ("mixup(alpha=1)", "mixup(alpha=1.0)")],
)
def test_a_mixing_is_kept_with_its_alpha_filled_in(text: str, kept: str) -> None:
    assert known_mixing(text) == known_mixing(kept) == kept


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("cutmx", "no mixing 'cutmx'; did you mean 'cutmix'?"),
        ("blend", "no mixing 'blend'; valid: cutmix, mixup, none"),
        ("cutmix(alpha=0)", "mixing 'cutmix': alpha must be above 0, not 0"),
        ("mixup(alpha=much)", "mixing 'mixup': alpha must be a number, not 'much'"),
        ("mixup(beta=1)", "mixing 'mixup' has no parameter 'beta'"),
    ],
)
def test_what_cannot_be_is_answered_in_one_line(text: str, message: str) -> None:
    with pytest.raises(GiftbenchError, match=rf"\A{message.replace('?', '[?]')}") as raised:
        known_mixing(text)
    assert "\n" not in str(raised.value)


# -- what is drawn -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("alpha", [0.2, 0.8, 1.0, 3.0])
def test_shares_are_distributed_as_beta(alpha: float) -> None:
    from scipy.stats import beta, kstest

    made, stream = mixing(f"mixup(alpha={alpha})"), generator()
    assert made is not None
    shares = torch.stack([made.draw(1, 1, 1, generator=stream).share for _ in range(4000)])
    assert kstest(shares.numpy(), beta(alpha, alpha).cdf).pvalue > 1e-3


def rand_bbox(side: int, lam: float, centre: int) -> tuple[int, int]:
    """One side of the box as the authors of RDED and SRe2L cut it."""
    cut = int(side * numpy.sqrt(1.0 - lam))
    return int(numpy.clip(centre - cut // 2, 0, side)), int(numpy.clip(centre + cut // 2, 0, side))


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 40), st.integers(1, 40), st.integers(0, 2**32))
def test_the_box_is_the_authors_and_its_area_the_partners_share(height: int, width: int, seed: int) -> None:
    mix = drawn("cutmix", 3, height, width, seed)
    lam, v, h = torch.rand(6, generator=generator(seed))[:3].tolist()
    top, bottom = rand_bbox(height, lam, int(v * height))
    left, right = rand_bbox(width, lam, int(h * width))
    expected = torch.ones(height, width)
    expected[top:bottom, left:right] = 0
    assert torch.equal(mix.own, expected)
    assert mix.share.item() == pytest.approx(1 - (bottom - top) * (right - left) / (height * width), abs=1e-6)


def test_partners_are_a_permutation_and_all_come_alike() -> None:
    made, stream = mixing("cutmix"), generator()
    assert made is not None
    orders = torch.stack([made.draw(4, 8, 8, generator=stream).partner for _ in range(6000)])
    assert torch.equal(orders.sort(1).values, torch.arange(4).expand(6000, 4))
    for place in range(4):
        assert (orders[:, place].bincount() - 1500).abs().max() < 200


@pytest.mark.parametrize("text", ["cutmix", "mixup", "mixup(alpha=1)", "cutmix(alpha=0.3)"])
def test_the_generator_alone_decides(text: str) -> None:
    first, again, other = drawn(text), drawn(text), drawn(text, seed=1)
    assert torch.equal(first.partner, again.partner)
    assert torch.equal(first.own, again.own)
    assert not torch.equal(first.own, other.own)


# -- what becomes of images --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_cutmix_pastes_and_mixup_blends(memory_format: torch.memory_format) -> None:
    batch = torch.randn(6, 3, 16, 12, generator=generator(5)).contiguous(memory_format=memory_format)
    cut, blend = drawn("cutmix"), drawn("mixup")
    pasted = cut.apply(batch)
    assert torch.equal(pasted, torch.where(cut.own.bool(), batch, batch[cut.partner]))
    assert 0 < cut.share < 1
    assert torch.allclose(blend.apply(batch), blend.share * batch + (1 - blend.share) * batch[blend.partner], atol=1e-6)
    assert pasted.stride() == blend.apply(batch).stride() == batch.stride()


# -- what becomes of the loss ------------------------------------------------------------------------------------------------


def case(kind: str = "logits") -> tuple[Tensor, Targets, Mix]:
    draws = generator(7)
    logits, soft = torch.randn(6, 4, generator=draws), torch.randn(6, 4, generator=draws)
    soft = soft.softmax(1) if kind == "probabilities" else soft
    return logits, Targets(torch.randint(0, 4, (6,), generator=draws), soft, kind, 0.5), drawn("cutmix")  # type: ignore[arg-type]


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


# -- in training -------------------------------------------------------------------------------------------------------------


@pytest.fixture
def material() -> Material:
    images = torch.randn(10, *SHAPE, generator=generator()).to(memory_format=torch.channels_last)
    return Material(images, torch.arange(10) % CLASSES)


def student() -> nn.Module:
    torch.manual_seed(0)
    return models.build("convnet2(width=8)", SHAPE, CLASSES).to(memory_format=torch.channels_last)


def weights(network: nn.Module) -> Tensor:
    return torch.cat([p.detach().reshape(-1) for p in network.parameters()])


def trained(material: Material, recipe: Recipe = RECIPE, loss: Any = "ce", seed: int = 0, **changes: Any) -> Tensor:
    network = student()
    fit(network, material, losses.create(loss) if isinstance(loss, str) else loss, recipe, seed=seed, **changes)
    return weights(network)


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
def test_mixing_asks_for_no_value_on_the_host_but_once(material: Material, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    asked: list[str] = []

    def spy(name: str) -> None:
        original = getattr(Tensor, name)
        monkeypatch.setattr(Tensor, name, lambda self, *a, **k: (asked.append(name), original(self, *a, **k))[1])

    for name in ("item", "tolist", "cpu", "numpy", "__bool__", "__float__", "__int__"):
        spy(name)
    recipe = replace(RECIPE, epochs=6, mixing=text)
    trained(material, recipe, "gift", teacher=lambda x: x.mean((2, 3)).repeat(1, 3))
    assert asked == ["tolist"]


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("text", ["cutmix", "mixup"])
def test_drawing_and_mixing_on_a_gpu_never_wait(text: str) -> None:
    made, stream, batch = mixing(text), torch.Generator("cuda").manual_seed(0), torch.randn(8, 3, 16, 16, device="cuda")
    assert made is not None
    made.draw(8, 16, 16, device="cuda", generator=stream).apply(batch)
    torch.cuda.set_sync_debug_mode("error")
    try:
        made.draw(8, 16, 16, device="cuda", generator=stream).apply(batch)
    finally:
        torch.cuda.set_sync_debug_mode("default")
