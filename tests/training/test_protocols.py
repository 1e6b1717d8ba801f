"""Five epochs of each protocol of authors since 2024 and of the two neutral ones, held against what their scripts do in them.

What the scripts do is written out here once more, in torch's words and numbers of its own: rates, label kinds, batches and the
parts they pass in, whether they are mixed, and the weights, raw and averaged, after every epoch. How one image is augmented, and
where CutMix cuts, is tested where that is done; here both sides draw it from the same stream.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from harness import losses, optimizers
from harness.augmentation.mixing import mixing
from harness.augmentation.pipeline import augmentation
from harness.boards.protocol import Protocol
from harness.core.seeds import derive
from harness.training.feed import Feed
from harness.training.loop import fit
from harness.training.values import Material, Recipe

EPOCHS, SEED, SHAPE = 5, 3, (3, 8, 8)
IMAGES = 22
STATISTICS = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
CUTMIX = "cutmix(alpha=1.0)"
CROPS = "random-resized-crop(min_scale={})+flip"

Params = Sequence[nn.Parameter]


def adamw(weights: Params, rest: Params) -> torch.optim.Optimizer:
    """As SRe2L's `get_parameters` has it, on which most of these rest: no decay of biases and norms."""
    return torch.optim.AdamW([{"params": weights}, {"params": rest, "weight_decay": 0.0}], 1.0, weight_decay=0.01)


def adamw_everywhere(weights: Params, rest: Params) -> torch.optim.Optimizer:
    return torch.optim.AdamW([*weights, *rest], 1.0, weight_decay=0.01)


def sgd(weights: Params, rest: Params) -> torch.optim.Optimizer:
    return torch.optim.SGD([*weights, *rest], 1.0, momentum=0.9, weight_decay=5e-4)


def sgd_of_edc(weights: Params, rest: Params) -> torch.optim.Optimizer:
    groups = [{"params": weights}, {"params": rest, "weight_decay": 0.0}]
    return torch.optim.SGD(groups, 1.0, momentum=0.875, weight_decay=5e-4)


def cosine(rate: float, factor: float) -> list[float]:
    return [rate * 0.5 * (1 + math.cos(math.pi * epoch / (factor * EPOCHS))) for epoch in range(EPOCHS)]


@dataclass(frozen=True)
class Script:
    """What a script does: `hard` is the smoothing of hard labels in each epoch, None where they are soft."""

    rates: list[float]
    optimizer: Callable[[Params, Params], torch.optim.Optimizer]
    sizes: list[int]
    augmentation: str
    mix: str = CUTMIX
    hard: Sequence[float | None] = (None,) * EPOCHS
    loss: str = "kl"
    parts: int = 1
    part: int = 0
    mean: float = 0.0


ALL_HARD: Any = {"hard": (0.0,) * EPOCHS, "loss": "ce"}
OF_22 = {128: [22], 100: [22], 64: [22], 50: [22], 16: [16, 6], 10: [10, 10, 2]}
SCRIPTS: dict[tuple[str, str, int], Script] = {
    ("native:edc", "imagenette", 10): Script(
        cosine(1e-3, 2),
        adamw,
        OF_22[50],
        "torchvision-rand-augment(operations=2, magnitude=9)+" + CROPS.format(0.5),
        loss="mse_ce",
        mean=0.99,
    ),
    ("native:edc", "cifar10", 22): Script(
        [1e-3, 1e-3, 1e-3, 1e-3, 1e-3 / 8],
        adamw,
        OF_22[10],
        "torchvision-rand-augment(operations=2, magnitude=9)+" + CROPS.format(0.08),
        loss="mse_ce",
        mean=0.99,
    ),
    ("native:edc", "tiny-imagenet", 200): Script(
        cosine(0.1, 2),
        sgd_of_edc,
        OF_22[100],
        "torchvision-rand-augment(operations=2, magnitude=9)+" + CROPS.format(0.5),
        loss="mse_ce",
        mean=0.99,
    ),
    ("native:delt", "imagenette", 2): Script(cosine(1e-3, 2), adamw, OF_22[50], "rand-m6-n2-mstd1.0+" + CROPS.format(0.25)),
    ("native:cv-dd", "cifar100", 100): Script(cosine(1e-3, 1), adamw, OF_22[16], CROPS.format(0.08), parts=2, part=8),
    ("native:fadrm", "imagewoof", 10): Script(cosine(5e-4, 2), adamw, OF_22[10], CROPS.format(0.08), parts=2, part=5),
    ("native:hald", "imagenet-1k", 1000): Script(
        cosine(1e-3, 2), adamw, OF_22[16], CROPS.format(0.08), hard=(None, 0.8, 0.8, 0.8, None)
    ),
    ("native:lpqld", "imagenet-1k", 1000): Script(cosine(1e-3, 1), adamw, OF_22[128], CROPS.format(0.08)),
    ("native:ncfm", "cifar10", 10): Script(
        [1e-3 / 2**epoch for epoch in range(EPOCHS)],
        adamw_everywhere,
        OF_22[128],
        "color_crop_cutout_flip_scale_rotate",
        mix="cutmix(alpha=1.0, probability=0.5)",
        **ALL_HARD,
    ),
    ("native:minimax", "imagewoof", 10): Script(
        [0.01, 0.01, 0.01, 0.002, 0.0004],
        sgd,
        OF_22[64],
        CROPS.format(0.5) + "+color-jitter(strength=0.4)+lighting(deviation=0.1)",
        **ALL_HARD,
    ),
    ("neutral:soft", "imagenet-1k", 1000): Script(cosine(1e-3, 1), adamw, OF_22[128], CROPS.format(0.08)),
    ("neutral:hard", "imagenet-1k", 1000): Script(cosine(1e-3, 1), adamw, OF_22[128], CROPS.format(0.08), mix="none", **ALL_HARD),
}


def student() -> nn.Module:
    """A student with batch norm, which tells a batch from its parts, and no weight whose gradient is float noise alone."""
    torch.manual_seed(0)
    layers = (nn.Conv2d(3, 4, 3, bias=False), nn.BatchNorm2d(4), nn.ReLU(), nn.AvgPool2d(3), nn.Flatten(), nn.Linear(16, 4))
    return nn.Sequential(*layers).to(memory_format=torch.channels_last)


def teacher(images: Tensor) -> Tensor:
    """A teacher that is sure of something about every image."""
    return torch.stack([images.mean((1, 2, 3)), images[:, 0].amax((1, 2)), images[:, 1].mean((1, 2)), images[:, 2, 0, 0]], 1) * 5


@pytest.fixture
def material() -> Material:
    pixels = torch.randint(0, 256, (IMAGES, *SHAPE), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
    return Material.on_device("cpu", pixels, torch.arange(IMAGES) % 4, mean=STATISTICS[0], std=STATISTICS[1])


def flat(tensors: Any) -> Tensor:
    return torch.cat([tensor.detach().reshape(-1) for tensor in tensors])


def value(loss: str, smoothing: float | None, logits: Tensor, labels: Tensor, told: Tensor) -> Tensor:
    """The loss of images with these hard labels, of whose mixture the teacher has told."""
    if smoothing is not None:
        return functional.cross_entropy(logits, labels, label_smoothing=smoothing)
    if loss == "mse_ce":
        return (logits - told).square().mean() + 0.025 * functional.cross_entropy(logits, labels)
    target = (told / 20).softmax(1)
    return (target * (target.log() - (logits / 20).log_softmax(1))).sum(1).mean()


def by_script(script: Script, material: Material) -> list[tuple[Tensor, Tensor]]:
    """The weights after each epoch, and their mean."""
    network = student()
    named = [*network.named_parameters()]
    weights = [p for name, p in named if "weight" in name and p.dim() > 1]
    rest = [p for name, p in named if not ("weight" in name and p.dim() > 1)]
    optimizer, mean = script.optimizer(weights, rest), flat(network.parameters())
    order, draws = (torch.Generator().manual_seed(derive(SEED, role)) for role in ("order", "augmentation"))
    augment, mixer = augmentation(script.augmentation, statistics=STATISTICS), mixing(script.mix)
    after = []
    for rate, smoothing in zip(script.rates, script.hard, strict=True):
        for group in optimizer.param_groups:
            group["lr"] = rate
        shuffled = torch.randperm(IMAGES, generator=order)
        for index in torch.split(shuffled, script.sizes):
            images, labels = augment(material.images[index], generator=draws), material.labels[index]
            share, others = torch.tensor(1.0), labels
            if mixer is not None:
                mix = mixer.draw(len(index), *SHAPE[1:], generator=draws)
                images, share, others = mix.apply(images), mix.share, labels[mix.partner]
            told = teacher(images)
            optimizer.zero_grad()
            width = script.part or len(index)
            for start in range(0, len(index), width):
                here = slice(start, start + width)
                logits = network(images[here])
                own = value(script.loss, smoothing, logits, labels[here], told[here])
                other = value(script.loss, smoothing, logits, others[here], told[here])
                ((share * own + (1 - share) * other) / script.parts).backward()
            optimizer.step()
            mean = script.mean * mean + (1 - script.mean) * flat(network.parameters())
        after.append((flat(network.parameters()).clone(), mean.clone()))
    return after


def recipe_of(protocol: Protocol) -> Recipe:
    made = optimizers.resolve(protocol.own_optimizer)
    schedule = optimizers.schedules.resolve(protocol.schedule)
    fields = ("epochs", "batch_size", "augmentation", "precision", "mixing", "cutout", "stages", "accumulation", "ema", "ranks")
    own = {name: getattr(protocol, name) for name in fields}
    return Recipe(optimizer=made, schedule=schedule, evaluations=EPOCHS, **own)


@pytest.fixture(params=SCRIPTS, ids=lambda key: f"{key[0]} on {key[1]}")
def case(request: pytest.FixtureRequest) -> tuple[Script, Recipe, str]:
    name, dataset, classes = request.param
    protocol = Protocol.model_validate({"name": name, "epochs": EPOCHS})
    full = protocol.resolved(IMAGES, dataset, classes=classes, model="resnet18")
    return SCRIPTS[request.param], recipe_of(full), full.labels


def test_weights_after_every_epoch_are_those_of_the_script(case: tuple[Script, Recipe, str], material: Material) -> None:
    script, recipe, labels = case
    raw: list[Tensor] = []
    means: list[Tensor] = []

    def noted(network: nn.Module) -> dict[str, float]:
        (means if len(means) < len(raw) and recipe.ema else raw).append(flat(network.parameters()).clone())
        return {"accuracy": 0.0}

    loss = losses.create(script.loss, **({"weight": 0.025} if script.loss == "mse_ce" else {}))
    fit(student(), material, loss, recipe, seed=SEED, evaluate=noted, teacher=None if labels == "hard" else teacher)
    for epoch, (weights, mean) in enumerate(by_script(script, material)):
        assert torch.allclose(raw[epoch], weights, atol=2e-5), epoch
        if script.mean:
            assert torch.allclose(means[epoch], mean, atol=2e-5), epoch
    assert len(raw) == EPOCHS
    assert len(means) == (EPOCHS if script.mean else 0)


def test_rates_batches_labels_and_mixing_are_those_of_the_script(case: tuple[Script, Recipe, str], material: Material) -> None:
    script, recipe, _ = case
    optimizer = optimizers.create(recipe.optimizer, student())
    schedule = optimizers.create_schedule(recipe.schedule, optimizer, recipe.epochs)
    feed = Feed(material, recipe, [SEED], teacher)
    mixed = 0
    for epoch, (rate, smoothing) in enumerate(zip(script.rates, script.hard, strict=True), 1):
        assert [group["lr"] for group in optimizer.param_groups] == pytest.approx([rate] * len(optimizer.param_groups))
        steps = [feed.step(given) for given in feed.epoch(epoch)]
        assert [len(step.batches[0].labels) for step in steps] == script.sizes
        assert (feed.hard is None) == (smoothing is None or script.loss == "ce")
        assert all((step.taught is None) == (feed.hard is not None) for step in steps)
        mixes = [step.batches[0].mix for step in steps]
        assert all((mix is None) == (script.mix == "none") for mix in mixes)
        mixed += sum(mix is not None and bool(mix.share < 1) for mix in mixes)
        optimizer.step()
        schedule.step()
    assert (recipe.accumulation, recipe.ema) == (script.parts, script.mean)
    total = EPOCHS * len(script.sizes)
    assert 0 < mixed < total if "probability" in script.mix else mixed >= 0.7 * total * (script.mix != "none")


def test_the_scripts_are_of_every_protocol_since_2024() -> None:
    from harness.boards.native import NATIVE_PROTOCOLS
    from harness.boards.recent import RECENT

    recent = {name for name, protocol in NATIVE_PROTOCOLS.items() if protocol in RECENT}
    assert {name for name, _, _ in SCRIPTS} == recent | {"neutral:soft", "neutral:hard"}
