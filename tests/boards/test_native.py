"""Native protocols: each method's own way to train a student, by dataset and set, and how a board comes by it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from harness import optimizers
from harness.boards.board import Board
from harness.boards.native import NATIVE_PROTOCOLS, STATISTICS
from harness.boards.protocol import PROTOCOLS, Protocol, summary
from harness.boards.trial import Trial
from harness.core.errors import BoardError
from harness.datasets.cards import IMAGENET_MEAN, IMAGENET_STD
from harness.planning.resolution import resolve_optimizer
from harness.running.names import check_names

CLASSES = {"cifar10": 10, "cifar100": 100, "tiny-imagenet": 200, "imagenet-1k": 1000, "imagenette": 10, "digits": 10}
CROP_FLIP = "random-resized-crop(min_scale=0.08)+flip"
SINGLE = "dsa(strategy=color_crop_cutout_flip_scale_rotate, mode=single)"
HALVED = "multistep(milestones=['502/1001'], gamma=0.1)"
ONE_MODEL = {"name": "cross-architecture", "models": ["convnet1(width=8)"]}
CUTMIX, MIXUP = "cutmix(alpha=1.0)", "mixup(alpha=0.8)"


def resolved(
    name: str, dataset: str = "cifar100", ipc: int = 10, changes: dict[str, Any] | None = None, **facts: Any
) -> Protocol:
    protocol = Protocol.model_validate({"name": name, **(changes or {})})
    return protocol.resolved(ipc * CLASSES[dataset], dataset, classes=CLASSES[dataset], **facts)


def trained(protocol: Protocol) -> tuple[Any, ...]:
    """Optimizer (in full), schedule, batch size, epochs, augmentation, mixing."""
    made = optimizers.resolve(protocol.own_optimizer)
    kept = {k: v for k, v in made.options.items() if k in ("lr", "momentum", "weight_decay")}
    return made.name, kept, str(protocol.schedule), protocol.batch_size, protocol.epochs, protocol.augmentation, protocol.mixing


def adamw(name: str = "adamw-weights-only", weight_decay: float = 0.01) -> tuple[str, dict[str, float]]:
    return name, {"lr": 1e-3, "weight_decay": weight_decay}


def sgd(lr: float, weight_decay: float = 5e-4, name: str = "sgd") -> tuple[str, dict[str, float]]:
    return name, {"lr": lr, "momentum": 0.9, "weight_decay": weight_decay}


@pytest.mark.parametrize(
    ("name", "dataset", "expected"),
    [
        ("native:sre2l", "imagenet-1k", (*adamw(), "cosine", 1024, 300, CROP_FLIP, CUTMIX)),
        ("native:sre2l", "imagenette", (*adamw(), "cosine", 1024, 300, CROP_FLIP, CUTMIX)),
        ("native:sre2l", "cifar100", (*adamw("adamw"), "cosine", 128, 400, "pad-crop(padding=4)+flip", MIXUP)),
        ("native:sre2l", "digits", (*adamw("adamw"), "cosine", 128, 400, "pad-crop(padding=4)+flip", MIXUP)),
        ("native:sre2l", "tiny-imagenet", (*sgd(0.2, 1e-4), "warmup-cosine(warmup=5)", 256, 100, CROP_FLIP, "none")),
        ("native:cda", "imagenet-1k", (*adamw(), "cosine", 1024, 300, CROP_FLIP, CUTMIX)),
        ("native:gvbsm", "cifar100", (*sgd(0.1, name="sgd-weights-only"), "cosine", 64, 1000, CROP_FLIP, CUTMIX)),
        ("native:gvbsm", "cifar10", (*adamw(weight_decay=0.0), "cosine", 100, 1000, CROP_FLIP, CUTMIX)),
        ("native:gvbsm", "tiny-imagenet", (*sgd(0.1, name="sgd-weights-only"), "cosine", 100, 100, CROP_FLIP, CUTMIX)),
        ("native:gvbsm", "imagenet-1k", (*adamw(), "cosine", 1024, 300, CROP_FLIP, CUTMIX)),
        ("native:mtt", "cifar10", (*sgd(0.01), HALVED, 256, 1001, SINGLE, "none")),
        ("native:tesla", "cifar100", (*sgd(0.01), HALVED, 256, 1001, SINGLE, "none")),
        ("native:dc", "cifar10", (*sgd(0.01), HALVED, 256, 1001, SINGLE, "none")),
    ],
)
def test_each_method_trains_as_its_authors_do(name: str, dataset: str, expected: tuple[Any, ...]) -> None:
    assert trained(resolved(name, dataset)) == expected


def test_datm_trains_at_the_rate_that_comes_with_the_set() -> None:
    found = resolved("native:datm", "cifar10", 50, provenance={"lr": 0.0123})
    assert trained(found) == (*sgd(0.0123), HALVED, 128, 1001, SINGLE, "none")
    assert trained(resolved("native:mtt", "cifar10", 50, provenance={"lr": 0.02}))[:2] == sgd(0.02)


@pytest.mark.parametrize("epochs", [*range(1, 12), 300, 301, 1001])
@pytest.mark.parametrize("name", ["native:mtt", "native:tesla", "native:dc"])
def test_the_rate_falls_where_the_loop_of_vico_lowers_it(name: str, epochs: int) -> None:
    schedule = resolved(name, "cifar10", changes={"epochs": epochs}).schedule
    weight = torch.nn.Linear(1, 1)
    optimizer = optimizers.create("sgd(lr=1)", weight)
    steps = optimizers.create_schedule(schedule, optimizer, epochs)
    last, rate = epochs - 1, 1.0
    for epoch in range(last + 1):
        assert optimizer.param_groups[0]["lr"] == pytest.approx(rate), epoch
        if epoch == last // 2 + 1:
            rate *= 0.1
        optimizer.step()
        steps.step()


@pytest.mark.parametrize("provenance", [None, {}, {"lr": "fast"}, {"lr": 0}, {"lr": float("nan")}, {"lr": True}])
def test_a_datm_set_without_a_rate_asks_for_an_optimizer(provenance: Any) -> None:
    found = resolved("native:datm", "cifar10", provenance=provenance)
    with pytest.raises(BoardError, match=r"native:datm.*the set states none.*such as \"sgd\(lr=0.01\)\"") as raised:
        _ = found.own_optimizer
    assert "\n" not in str(raised.value)
    given = resolved("native:datm", "cifar10", changes={"optimizer": "sgd(lr=0.5)"}, provenance=provenance)
    assert given.own_optimizer.options == {"lr": 0.5}


@pytest.mark.parametrize(
    ("dataset", "ipc", "batch"),
    [
        *(("cifar10", 1, 10), ("cifar10", 10, 50), ("cifar10", 50, 100), ("imagenette", 10, 50)),
        *(("cifar100", 1, 20), ("cifar100", 10, 100), ("cifar100", 50, 200), ("imagenet-1k", 10, 100), ("imagenet-1k", 50, 200)),
        *(("tiny-imagenet", 1, 100), ("tiny-imagenet", 50, 100), ("digits", 2, 20), ("cifar10", 20, 100)),
    ],
)
def test_rded_takes_its_batch_from_images_per_class_and_classes(dataset: str, ipc: int, batch: int) -> None:
    found = resolved("native:rded", dataset, ipc)
    crop = "random-resized-crop(min_scale=1.0)+flip"
    assert trained(found) == (*adamw(), "cosine-to-half", batch, 300, crop, CUTMIX)


def test_rded_shuffles_and_crops_by_the_factor_of_its_mosaics() -> None:
    found = resolved("native:rded", "imagenet-1k", factor=2)
    assert found.augmentation == "patch-shuffle(factor=2)+random-resized-crop(min_scale=0.5)+flip"


@pytest.mark.parametrize("name", sorted(NATIVE_PROTOCOLS))
def test_every_native_protocol_names_its_source(name: str) -> None:
    assert name in PROTOCOLS
    assert "Source: " in (NATIVE_PROTOCOLS[name].__doc__ or "")
    assert summary(name).endswith(".")
    assert Protocol.model_validate(name).label == name
    full = resolved(name, provenance={"lr": 0.1})
    optimizers.schedules.resolve(full.schedule)
    assert Protocol.model_validate(full.model_dump()) == full


def test_a_board_may_change_fields_of_a_native_protocol() -> None:
    changes = {"epochs": 7, "batch_size": 5, "mixing": "none", "augmentation": "flip", "optimizer": "sgd", "schedule": "constant"}
    found = resolved("native:rded", changes=changes)
    assert (found.epochs, found.batch_size, found.mixing, found.augmentation) == (7, 5, "none", "flip")
    assert (str(found.own_optimizer), str(found.schedule)) == ("sgd", "constant")
    assert Protocol.model_validate({"name": "native:rded", "mixing": "mixup"}).label == "native:rded (mixing=mixup(alpha=0.8))"


@pytest.mark.parametrize(
    ("name", "dataset", "expected"),
    [
        ("native:rded", "cifar10", "imagenet"),
        ("native:rded", "cifar100", "imagenet"),
        ("native:rded", "digits", "dataset"),
        ("native:sre2l", "tiny-imagenet", "sre2l"),
        ("native:cda", "tiny-imagenet", "sre2l"),
        ("native:sre2l", "cifar100", "dataset"),
        ("native:gvbsm", "cifar100", "dataset"),
        ("paper", "cifar100", "dataset"),
        ("paper", "tiny-imagenet", "dataset"),
    ],
)
def test_images_are_normalised_as_by_the_sets_authors(name: str, dataset: str, expected: str) -> None:
    assert resolved(name, dataset).normalisation == expected
    assert resolved(name, dataset, changes={"normalisation": "dataset"}).normalisation == "dataset"
    assert resolved(name, dataset, normalised=True).normalisation == "dataset", "pixels that are normalised are left alone"
    assert set(STATISTICS) >= {expected} - {"dataset"}


def test_statistics_are_those_of_the_authors_code() -> None:
    assert STATISTICS["imagenet"] == (IMAGENET_MEAN, IMAGENET_STD)
    assert STATISTICS["sre2l"] == ((0.4802, 0.4481, 0.3975), (0.2302, 0.2265, 0.2262))


def test_statistics_that_do_not_fit_are_refused(plan: Callable[..., list[Trial]]) -> None:
    with pytest.raises(BoardError, match="normalisation = 'imagenet' is of images with three channels, and digits has 1"):
        plan(protocol={"name": "smoke", "normalisation": "imagenet"}, losses=["ce"], scenarios=[ONE_MODEL])
    with pytest.raises(BoardError, match="normalised already; 'dataset' is right for it"):
        resolved("paper", "cifar10", changes={"normalisation": "imagenet"}, normalised=True)


def test_native_protocols_leave_swin_its_own_rate() -> None:
    spec = resolved("native:rded").own_optimizer
    assert resolve_optimizer(spec, "swin-v2-tiny").spec.options["lr"] == 1e-4
    assert resolve_optimizer(spec, "resnet18").spec.options["lr"] == 1e-3


# -- on boards ---------------------------------------------------------------------------------------------------------------


def test_a_trial_holds_what_the_native_protocol_says(plan: Callable[..., list[Trial]]) -> None:
    (trial,) = plan(protocol="native:sre2l", losses=["ce"], scenarios=[ONE_MODEL])
    assert trial.protocol.augmentation == "pad-crop(padding=4)+flip"
    assert trial.optimizer.name == "adamw"
    assert trial.optimizer.options["weight_decay"] == 0.01
    assert trial.protocol.schedule.options == {"minimum": 0.0}
    assert (trial.labels.protocol, trial.labels.optimizer) == ("native:sre2l", "adamw(weight_decay=0.01)")
    assert trial.labels.augmentation == "pad-crop(padding=4)+flip, mixup(alpha=0.8)"
    assert Trial.model_validate_json(trial.model_dump_json()).id == trial.id
    assert "native" not in trial.canonical


def test_an_optimizer_of_the_scenario_goes_before_the_native_protocols(plan: Callable[..., list[Trial]]) -> None:
    trials = plan(protocol="native:datm", losses=["ce"], scenarios=[{"name": "cross-optimizer", "optimizers": ["sgd", "adam"]}])
    assert {trial.optimizer.name for trial in trials} == {"sgd", "adam"}
    with pytest.raises(BoardError, match=r"board.toml: scenarios\[0\]: optimizer: protocol 'native:datm' trains at the"):
        plan(protocol="native:datm", losses=["ce"], scenarios=[ONE_MODEL])


def test_native_fields_go_with_a_native_protocol(tiny: Callable[..., Board]) -> None:
    for field in ("optimizer", "schedule", "augmentation", "mixing"):
        with pytest.raises(
            BoardError, match=rf"protocol: {field} = 'native' goes with the name of a native protocol: native:rded, .*'smoke'"
        ):
            tiny(protocol={"name": "smoke", field: "native"})
    with pytest.raises(BoardError, match=r"teacher.augmentation: unknown DSA operation 'native'"):
        tiny(teacher={"model": "convnet1", "augmentation": "native"})
    check_names(tiny(protocol="native:rded"), "board.toml")


def test_stored_augmentations_are_asked_of_a_set_that_has_none(plan: Callable[..., list[Trial]]) -> None:
    with pytest.raises(BoardError, match=r"scenarios\[0\]: protocol: .*\"stored\" replays augmentations that come with"):
        plan(protocol={"name": "smoke", "augmentation": "stored"})


@pytest.mark.parametrize("labels", ["auto", "stored"])
def test_a_set_with_stored_augmentations_is_trained_on_by_these(labels: str) -> None:
    found = Protocol.model_validate({"name": "smoke", "labels": labels}).resolved(20, "digits", classes=10, replay_batch=8)
    assert (found.augmentation, found.mixing, found.batch_size, found.epochs) == ("stored", "stored", 8, 2)
    taught = Protocol.model_validate({"name": "smoke", "labels": "teacher"}).resolved(20, "digits", classes=10, replay_batch=8)
    assert (taught.augmentation, taught.mixing, taught.batch_size) == ("color_crop_cutout_flip_scale_rotate", "none", 50)


def test_two_protocols_that_replay_the_same_are_one_trial(plan: Callable[..., list[Trial]]) -> None:
    (trial,) = plan(losses=["ce"], scenarios=[ONE_MODEL])
    dsa, crops = (
        Protocol.model_validate({"name": "smoke", "augmentation": a}).resolved(10, "digits", classes=10, replay_batch=4)
        for a in ("flip", CROP_FLIP)
    )
    assert trial.model_copy(update={"protocol": dsa}).canonical == trial.model_copy(update={"protocol": crops}).canonical


def test_the_plan_passes_the_sets_facts(plan: Callable[..., list[Trial]], monkeypatch: pytest.MonkeyPatch) -> None:
    given: dict[str, Any] = {}
    original = Protocol.resolved

    def watched(self: Protocol, images: int, dataset: str, **facts: Any) -> Protocol:
        given.update(facts, images=images, dataset=dataset)
        return original(self, images, dataset, **facts)

    monkeypatch.setattr(Protocol, "resolved", watched)
    plan(losses=["ce"])
    assert (given["images"], given["dataset"], given["classes"], given["factor"]) == (10, "digits", 10, 1)
    assert given["provenance"]["seed"] == 0
