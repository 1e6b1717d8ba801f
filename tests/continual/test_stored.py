"""Stored augmentations along a stream: only those of images and partners at hand, each as it was stored, none twice too early."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F
from torchvision.transforms.v2.functional import hflip, resized_crop

from harness import losses
from harness.augmentation.mixing import Paired
from harness.augmentation.rand_augment import OPERATIONS
from harness.continual.loop import Seen
from harness.continual.stored import StoredBatches
from harness.core.errors import DataError
from harness.losses.targets import Targets
from harness.training.batches import Batch, MixedLoss
from harness.training.replay import Replay, Rule, soft_labels
from harness.training.values import Material
from tests.training.test_replay import made_up

SHAPE, CLASSES, IMAGES = (3, 16, 12), 4, 11
#: Images of classes 0 and 2 alone are at hand.
AT_HAND = torch.tensor([0, 2, 4, 6, 8, 10])


def pool(replay: Replay) -> Replay:
    """The same batches, one a row, the last of each epoch with fewer images."""
    epochs, steps, batch = replay.epochs, replay.lam.shape[1], replay.batch
    more = steps * batch - IMAGES

    def rows(tensor: Tensor) -> Tensor:
        filler = torch.zeros(epochs, more, *tensor.shape[2:], dtype=tensor.dtype)
        return torch.cat([tensor, filler], 1).reshape(epochs * steps, batch, *tensor.shape[2:])

    return replace(
        replay,
        **{name: rows(getattr(replay, name)) for name in ("index", "crops", "flips", "partners", "logits")},
        lam=replay.lam.reshape(-1, 1),
        boxes=replay.boxes.reshape(-1, 1, 4),
        counts=torch.tensor([batch] * (steps - 1) + [batch - more]).repeat(epochs),
        rule=Rule("sampled", 2, edges="truncated", kind="probabilities", temperature=20.0),
    )


def material(replay: Replay) -> Material:
    images = torch.randn(IMAGES, *SHAPE, generator=torch.Generator().manual_seed(0)).to(memory_format=torch.channels_last)
    return Material(images, torch.arange(IMAGES) % CLASSES, replay=replay)


def view(images: Tensor, replay: Replay, epoch: int, place: int) -> tuple[Tensor, float]:
    """What was stored at a place, by torchvision: the image that a student sees, and its own share of the label."""
    height, width = SHAPE[1:]

    def cut(place: int) -> Tensor:
        i, j, h, w = (float(s) * n for s, n in zip(replay.crops[epoch, place], (height, width) * 2, strict=True))
        box = (round(i), round(j), round(i + h) - round(i), round(j + w) - round(j))
        if replay.rule.edges == "truncated":
            box = (int(i), int(j), max(1, int(h)), max(1, int(w)))
        image = resized_crop(images[replay.index[epoch, place]], *box, size=[height, width], antialias=True)
        return hflip(image) if replay.flips[epoch, place] else image

    step = place // replay.batch
    own, other = cut(place), cut(step * replay.batch + int(replay.partners[epoch, place]))
    top, left, bottom, right = replay.boxes[epoch, step].tolist()
    if top < 0:
        lam = float(replay.lam[epoch, step])
        return lam * own + (1 - lam) * other, lam
    mixed = own.clone()
    mixed[:, top:bottom, left:right] = other[:, top:bottom, left:right]
    return mixed, 1 - (bottom - top) * (right - left) / (height * width)


def usable(replay: Replay, own: Tensor, at_hand: Tensor) -> list[tuple[int, int]]:
    """The places whose image is one of `own`, and whose partner, where there is one, is at hand."""
    places = []
    for epoch in range(replay.epochs):
        for place in range(replay.index.shape[1] if replay.counts is None else int(replay.counts[epoch])):
            other = place // replay.batch * replay.batch + int(replay.partners[epoch, place])
            alone = float(replay.lam[epoch, place // replay.batch]) == 1
            if replay.index[epoch, place] in own and (alone or replay.index[epoch, other] in at_hand):
                places.append((epoch, place))
    return places


@pytest.mark.parametrize("pooled", [False, True], ids=["epochs", "batches"])
@pytest.mark.parametrize("mix", ["cutmix", "mixup", "none"])
def test_views_are_those_that_were_stored_of_what_is_at_hand(mix: str, pooled: bool) -> None:
    replay = pool(made_up(mix)) if pooled else made_up(mix)
    whole = material(replay)
    absent = torch.tensor([image not in AT_HAND for image in range(IMAGES)])
    missing = replace(whole, images=whole.images.masked_fill(absent[:, None, None, None], torch.nan))
    batches = StoredBatches(missing, [(AT_HAND, 4)], torch.Generator().manual_seed(1))
    expected = {tuple(place): view(whole.images, replay, *place) for place in usable(replay, AT_HAND, AT_HAND)}
    assert 0 < len(expected) <= replay.index.numel()
    seen: list[tuple[int, int]] = []
    for _ in range(6):
        sizes = []
        for images, labels, soft, others, share, task in batches:
            sizes.append(len(images))
            for row in range(len(images)):
                (place,) = [p for p, (image, _) in expected.items() if torch.allclose(images[row], image, atol=1e-4)]
                epoch, at = place
                other = at // replay.batch * replay.batch + int(replay.partners[epoch, at])
                assert torch.equal(soft[row], replay.logits[epoch, at].float())
                assert labels[row] == whole.labels[replay.index[epoch, at]]
                assert others[row] == whole.labels[replay.index[epoch, other]]
                assert float(share[row]) == pytest.approx(expected[place][1], abs=1e-6) and task[row] == 0
                seen.append(place)
        assert sizes == [4, 2] and len(batches) == 2
    for start in range(0, len(seen) // len(expected) * len(expected), len(expected)):
        assert {*seen[start : start + len(expected)]} == {*expected}


def test_a_batch_of_several_parts_may_pair_them() -> None:
    replay = made_up("cutmix")
    step, memory = torch.tensor([1, 5, 9]), AT_HAND
    parts = [(memory, 3), (step, 2)]
    batches = StoredBatches(material(replay), parts, torch.Generator())
    at_hand = torch.cat([step, memory])
    for views, own in zip(batches.views, (memory, step), strict=True):
        width = replay.index.shape[1]
        assert [divmod(int(place), width) for place in views] == usable(replay, own, at_hand)
    images, labels, *_ = next(iter(batches))  # a last batch of one joins the one before it
    assert len(images) == 6 and {*labels[:3].tolist()} <= {0, 2} and {*labels[3:].tolist()} == {1}


def test_what_has_nothing_left_is_refused_in_one_line() -> None:
    replay = made_up("cutmix")
    alone = replace(replay, partners=(replay.partners + 1) % 3, lam=torch.full_like(replay.lam, 0.5))
    with pytest.raises(
        DataError, match=r"\Anothing is stored of the 1 images at hand that was mixed with one of the 1"
    ) as raised:
        StoredBatches(material(alone), [(torch.tensor([3]), 4)], torch.Generator())
    assert "\n" not in str(raised.value)


def test_rounds_of_rand_augment_are_done_to_images_and_partners() -> None:
    """All images but the first are inverted."""
    replay, shape = made_up("cutmix"), (2, IMAGES, 1)
    operations = torch.full(shape, OPERATIONS.index("invert"), dtype=torch.uint8)
    operations[replay.index == 0] = OPERATIONS.index("identity")
    replay = replace(replay, operations=operations, arguments=torch.zeros(shape, dtype=torch.float16))
    pixels = torch.randint(0, 256, (IMAGES, *SHAPE), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    inverted = torch.where(torch.arange(IMAGES).view(-1, 1, 1, 1) == 0, pixels, 255 - pixels)
    labels, mean = torch.arange(IMAGES) % CLASSES, (0.5, 0.5, 0.5)
    made = Material.on_device("cpu", pixels, labels, mean=mean, std=mean, replay=replay)
    seen = (inverted.float() / 255 - 0.5) / 0.5
    expected = [view(seen, replay, *place)[0] for place in usable(replay, AT_HAND, AT_HAND)]
    for images, *_ in StoredBatches(made, [(AT_HAND, 3)], torch.Generator()):
        for image in images:
            assert any(torch.allclose(image, other, atol=1e-4) for other in expected)


# -- labels ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["kl", "kl_ce", "ce", "gift", "dkd", "wsld"])
def test_each_image_counts_by_its_own_share(name: str) -> None:
    """The mean over the images of what the loss says of each: of its own class by its share, of its partner's by the rest."""
    draws = torch.Generator().manual_seed(0)
    z, soft = torch.randn(2, 6, 5, generator=draws)
    hard, others = torch.randint(5, (2, 6), generator=draws)
    share, loss = torch.rand(6, generator=draws), losses.create(name)
    batch = Batch(torch.zeros(6, 1, 1, 1), hard, soft, mix=Paired(others, share), final=True)
    found = MixedLoss(loss)(z, *batch.targets(0.5, None), batch.mix)
    each = [
        float(share[i]) * loss(z[i : i + 1], Targets(hard[i : i + 1], soft[i : i + 1], progress=0.5))
        + (1 - float(share[i])) * loss(z[i : i + 1], Targets(others[i : i + 1], soft[i : i + 1], progress=0.5))
        for i in range(6)
    ]
    assert torch.allclose(found, torch.stack(each).mean(), atol=1e-6)


def test_a_loss_that_vmap_has_no_rule_for_is_asked_image_by_image() -> None:
    def awkward(logits: Tensor, targets: Targets) -> Tensor:
        return F.cross_entropy(logits, targets.labels()) * float(logits.detach().abs().max() > -1)

    z, hard, others, share = torch.randn(4, 3), torch.tensor([0, 1, 2, 0]), torch.tensor([2, 2, 1, 0]), torch.rand(4)
    batch = Batch(torch.zeros(4, 1, 1, 1), hard, None, mix=Paired(others, share), final=True)
    found = MixedLoss(awkward)(z, *batch.targets(0.0, None), batch.mix)
    log_q = z.log_softmax(1)
    each = -(share * log_q[range(4), hard] + (1 - share) * log_q[range(4), others])
    assert torch.allclose(found, each.mean(), atol=1e-6)


@pytest.mark.parametrize("fill", ["mr", "ms", "mrs"])
def test_largest_labels_are_cut_to_the_classes_met_and_say_nothing_where_none_is_left(fill: Any) -> None:
    kind: Any = "probabilities" if fill == "ms" else "logits"
    rule = Rule(kind=kind, temperature=20.0 if fill == "ms" else 1.0, fill=fill, classes=5)
    values, topk = torch.tensor([[0.5, 0.25], [0.5, 0.25]]).half(), torch.tensor([[1, 3], [0, 4]], dtype=torch.int16)
    lowest = torch.tensor([-2.0, 0.125]).half() if fill == "mrs" else None
    whole = soft_labels(values, topk, lowest, rule)
    seen = Seen([3, 1, 2], 5, "cpu", absent=rule.rules_out)
    paired = Paired(torch.tensor([2, 1]), torch.tensor([0.5, 0.5]))
    batch = Batch(torch.zeros(2, 1, 1, 1), torch.tensor([1, 3]), whole, kind, paired, final=True, temperature=rule.temperature)
    cut = seen.batch(batch)
    own, partner = cut.targets(0.0, None)
    assert own.labels().tolist() == [0, 2] and partner is not None and partner.labels().tolist() == [1, 0]
    temperature = 20.0 if fill == "ms" else 1.0
    found = own.probabilities(temperature)
    assert torch.allclose(found.sum(1), torch.ones(2))
    assert torch.allclose(found[1], torch.full((3,), 1 / 3))
    first = torch.tensor([0.5, -torch.inf if fill == "mr" else -2.0, 0.25]).softmax(0)
    assert torch.allclose(found[0], torch.tensor([2 / 3, 0, 1 / 3]) if fill == "ms" else first)
