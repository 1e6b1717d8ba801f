"""Protocols of authors since 2024, by dataset, IPC and student, held against what their scripts and tables say."""

from __future__ import annotations

from typing import Any

import pytest

from harness import optimizers
from harness.augmentation.words import known_augmentation, known_mixing
from harness.boards.native import STATISTICS
from harness.boards.protocol import PROTOCOLS, Protocol, summary
from harness.boards.stages import Stage
from harness.core.errors import BoardError

CLASSES = {"cifar10": 10, "cifar100": 100, "tiny-imagenet": 200, "imagenet-1k": 1000, "imagenette": 10, "imagewoof": 10}
RECENT = ("edc", "delt", "cv-dd", "fadrm", "hald", "lpqld", "ncfm", "minimax")
CROPS = "random-resized-crop(min_scale={})+flip"
CUTMIX, HALF_CUTMIX = "cutmix(alpha=1.0)", "cutmix(alpha=1.0, probability=0.5)"
TORCHVISION = "torchvision-rand-augment(operations=2, magnitude=9)+"
DSA = "color_crop_cutout_flip_scale_rotate"


def resolved(name: str, dataset: str, ipc: int = 10, model: str = "resnet18", **changes: Any) -> Protocol:
    protocol = Protocol.model_validate({"name": f"native:{name}", **changes})
    return protocol.resolved(ipc * CLASSES[dataset], dataset, classes=CLASSES[dataset], model=model)


def trained(full: Protocol) -> tuple[Any, ...]:
    made = optimizers.resolve(full.own_optimizer)
    settings = {name: made.options[name] for name in ("lr", "momentum", "weight_decay") if name in made.options}
    return made.name, settings, str(full.schedule), full.epochs, full.batch_size, full.augmentation, full.mixing


def adamw(lr: float = 1e-3, name: str = "adamw-weights-only") -> tuple[str, dict[str, float]]:
    return name, {"lr": lr, "weight_decay": 0.01}


def sgd(lr: float, momentum: float = 0.9, weight_decay: float = 5e-4, name: str = "sgd") -> tuple[str, dict[str, float]]:
    return name, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay}


SMOOTH, BENT = "smoothed-cosine(factor=2.0)", "cosine-then-line(factor=2.0)"
EDC_SGD = sgd(0.1, 0.875, name="sgd-weights-only")
SIXTHS = "multistep(milestones=['2/3', '5/6'], gamma=0.2)"
FIFTHS = "multistep(milestones=['1/5', '2/5', '3/5', '4/5'], gamma=0.5)"
JITTER = CROPS.format(0.5) + "+color-jitter(strength=0.4)+lighting(deviation=0.1)"
DELT = "rand-m6-n2-mstd1.0+" + CROPS.format(0.25)


@pytest.mark.parametrize(
    ("name", "dataset", "ipc", "expected"),
    [
        ("edc", "imagenet-1k", 10, (*adamw(), SMOOTH, 300, 100, "patch-shuffle(factor=2)+" + CROPS.format(0.5), CUTMIX)),
        ("edc", "imagenette", 10, (*adamw(), BENT, 300, 50, TORCHVISION + CROPS.format(0.5), CUTMIX)),
        ("edc", "tiny-imagenet", 10, (*EDC_SGD, SMOOTH, 300, 100, TORCHVISION + CROPS.format(0.5), CUTMIX)),
        ("edc", "tiny-imagenet", 1, (*EDC_SGD, SMOOTH, 1000, 100, TORCHVISION + CROPS.format(0.5), CUTMIX)),
        ("edc", "cifar100", 50, (*EDC_SGD, BENT, 1000, 50, TORCHVISION + CROPS.format(0.5), CUTMIX)),
        (
            *("edc", "cifar10", 1),
            (
                *(*adamw(), "multistep(milestones=['4/5', '9/10', '19/20'], gamma=0.5)", 1000, 10),
                *(TORCHVISION + CROPS.format(0.08), CUTMIX),
            ),
        ),
        ("delt", "imagenet-1k", 50, (*adamw(), "cosine-to-half", 300, 200, DELT, CUTMIX)),
        ("delt", "imagenet-1k", 10, (*adamw(), "cosine-to-half", 300, 100, DELT, CUTMIX)),
        ("delt", "cifar10", 1, (*adamw(), "cosine-to-half", 300, 10, DELT, CUTMIX)),
        ("delt", "cifar100", 30, (*adamw(), "cosine-to-half", 300, 200, DELT, CUTMIX)),
        ("delt", "tiny-imagenet", 1, (*adamw(), "cosine-to-half", 300, 100, DELT, CUTMIX)),
        ("cv-dd", "cifar100", 10, (*adamw(), SMOOTH, 300, 16, CROPS.format(0.08), CUTMIX)),
        ("fadrm", "cifar100", 50, (*adamw(), "smoothed-cosine(factor=1.0)", 1000, 16, CROPS.format(0.08), CUTMIX)),
        ("fadrm", "imagewoof", 10, (*adamw(5e-4), "smoothed-cosine(factor=1.0)", 300, 10, CROPS.format(0.08), CUTMIX)),
        ("hald", "imagenet-1k", 10, (*adamw(), SMOOTH, 300, 16, CROPS.format(0.08), CUTMIX)),
        ("lpqld", "imagenet-1k", 10, (*adamw(), "cosine", 300, 128, CROPS.format(0.08), CUTMIX)),
        ("ncfm", "cifar10", 10, (*adamw(name="adamw"), FIFTHS, 2000, 128, DSA, HALF_CUTMIX)),
        ("ncfm", "tiny-imagenet", 50, (*adamw(name="adamw"), FIFTHS, 40, 128, DSA, HALF_CUTMIX)),
        ("minimax", "imagewoof", 10, (*sgd(0.01), SIXTHS, 2000, 64, JITTER, CUTMIX)),
        ("minimax", "imagenette", 100, (*sgd(0.01), SIXTHS, 1000, 64, JITTER, CUTMIX)),
        ("minimax", "imagenet-1k", 50, (*sgd(0.1, weight_decay=1e-4), SIXTHS, 1500, 128, JITTER, CUTMIX)),
        ("minimax", "cifar10", 10, (*sgd(0.01), SIXTHS, 1000, 64, "color_crop_flip_scale_rotate", HALF_CUTMIX)),
    ],
)
def test_each_method_trains_as_its_authors_do(name: str, dataset: str, ipc: int, expected: tuple[Any, ...]) -> None:
    assert trained(resolved(name, dataset, ipc)) == expected


@pytest.mark.parametrize(
    ("name", "dataset", "ipc", "model", "rate", "factor"),
    [
        ("cv-dd", "tiny-imagenet", 1, "resnet18-modified", 1e-3, 2),
        ("cv-dd", "tiny-imagenet", 10, "resnet18-modified", 1e-3, 1),
        ("cv-dd", "imagenette", 50, "resnet101", 1e-3, 2),
        ("cv-dd", "imagenet-1k", 50, "resnet101", 5e-4, 2),
        ("cv-dd", "cifar10", 10, "convnet3", 1e-3, 1),
        ("fadrm", "imagenet-1k", 1, "resnet101", 3.5e-3, 2),
        ("fadrm", "imagewoof", 10, "timm/resnet50", 5e-3, 1),
        ("fadrm", "cifar100", 1, "resnet50", 1e-3, 1),
        ("hald", "imagenet-1k", 50, "mobilenet-v2", 1e-3, 2),
        ("hald", "imagenet-1k", 30, "resnet18", 1e-3, 2),
        ("hald", "imagenet-1k", 50, "resnet18", 1e-3, 1),
        ("delt", "imagenet-1k", 10, "efficientnet-b0", 2e-3, None),
        ("delt", "cifar10", 10, "mobilenet-v2", 2.5e-3, None),
        ("delt", "imagenet-1k", 10, "swin-v2-tiny", 1e-4, None),
    ],
)
def test_settings_are_those_of_the_authors_table_by_student_and_ipc(
    name: str, dataset: str, ipc: int, model: str, rate: float, factor: float | None
) -> None:
    full = resolved(name, dataset, ipc, model)
    assert full.own_optimizer.options["lr"] == rate
    if factor is not None:
        assert full.schedule.options == {"factor": factor}


def test_delts_batch_is_halved_for_a_large_student_of_a_large_dataset() -> None:
    assert resolved("delt", "imagenet-1k", 50, "resnet101").batch_size == 100
    assert resolved("delt", "cifar100", 50, "resnet101").batch_size == 200


def test_batches_pass_in_two_parts_where_the_scripts_say_so() -> None:
    sets = ("imagenette", "imagenet-1k")
    found = {(name, dataset): resolved(name, dataset).accumulation for name in RECENT for dataset in sets}
    twice = {("cv-dd", "imagenette"), ("cv-dd", "imagenet-1k"), ("fadrm", "imagenette")}
    assert {key for key, parts in found.items() if parts == 2} == twice
    assert {*found.values()} == {1, 2}


def test_edc_ranks_by_the_mean_of_the_weights_but_on_imagenet_1k() -> None:
    found = {dataset: (full.ema, full.ranks) for dataset in CLASSES for full in [resolved("edc", dataset)]}
    assert found.pop("imagenet-1k") == (0.0, "raw")
    assert {*found.values()} == {(0.99, "ema")}


LENGTHS = [(0, (75, 150, 75)), (5, (1, 3, 1)), (4, (1, 2, 1)), (3, (2, 1)), (2, (1, 1)), (1, (1,))]


@pytest.mark.parametrize(("epochs", "lengths"), LENGTHS)
def test_halds_stages_are_a_quarter_a_half_and_a_quarter(epochs: int, lengths: tuple[int, ...]) -> None:
    full = resolved("hald", "imagenet-1k", **({"epochs": epochs} if epochs else {}))
    assert tuple(stage.epochs for stage in full.stages) == lengths
    assert [stage for stage in full.stages if stage.hard] == [Stage(hard=max(lengths), smoothing=0.8)]
    assert full.epochs == sum(lengths)


def test_what_the_board_states_goes_before_what_authors_do() -> None:
    stated = resolved("edc", "cifar10", ema=0.5, accumulation=2, ranks="raw")
    assert (stated.ema, stated.accumulation, stated.ranks) == (0.5, 2, "raw")
    off = resolved("edc", "cifar10", ema=0.0, ranks="raw")
    assert (off.ema, off.ranks) == (0.0, "raw")
    with pytest.raises(BoardError, match='ranks = "ema" needs a mean of the weights'):
        resolved("edc", "cifar10", ema=0.0)
    own = resolved("hald", "imagenet-1k", labels=[{"hard": 2}])
    assert (own.epochs, own.stages) == (2, (Stage(hard=2),))


@pytest.mark.parametrize("name", [f"native:{name}" for name in RECENT] + ["neutral:soft", "neutral:hard"])
@pytest.mark.parametrize("dataset", CLASSES)
def test_what_a_protocol_fills_in_is_as_trials_keep_it(name: str, dataset: str) -> None:
    full = Protocol.model_validate(name).resolved(10 * CLASSES[dataset], dataset, classes=CLASSES[dataset], model="resnet18")
    assert known_augmentation(full.augmentation) == full.augmentation
    assert known_mixing(full.mixing) == full.mixing
    assert full.normalisation in (*STATISTICS, "dataset")
    assert Protocol.model_validate_json(full.model_dump_json()) == full
    written = full.model_dump(mode="json")
    assert Protocol.of_setup(written).model_dump(mode="json") == written
    optimizers.resolve(full.own_optimizer)
    optimizers.schedules.resolve(full.schedule)


def test_the_neutral_protocols_are_alike_but_for_labels_and_mixing() -> None:
    soft, hard = (Protocol.model_validate(f"neutral:{kind}").resolved(100, "cifar10", classes=10) for kind in ("soft", "hard"))
    assert trained(soft) == (*adamw(), "cosine", 300, 128, CROPS.format(0.08), CUTMIX)
    assert trained(hard) == (*trained(soft)[:-1], "none")
    assert (soft.labels, hard.labels) == ("teacher", "hard")


@pytest.mark.parametrize("name", PROTOCOLS)
def test_every_protocol_is_said_in_one_line(name: str) -> None:
    assert 20 < len(summary(name)) < 130
    assert "\n" not in summary(name)
    assert summary(name).endswith(".")
