"""Trainings that are cut off where they were kept, and taken up: the same numbers come of them, to the bit."""

from __future__ import annotations

import logging
import random
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy
import pytest
import torch
from torch import Tensor, nn

from harness import losses, models, optimizers
from harness.boards.stages import Stage
from harness.core import seeds
from harness.training.checkpoints import CannotKeep, Checkpoint, State
from harness.training.evaluation import evaluate
from harness.training.graphs import Captured
from harness.training.in_step import Part, fit_in_step
from harness.training.loop import fit_together
from harness.training.overlap import Overlapped
from harness.training.values import Fit, Material, Member, Recipe
from tests.training.small import CLASSES, SHAPE, dropping, weights
from tests.training.test_overlap import repeated

DSA = "color_crop_cutout_flip_scale_rotate"
RECIPE = Recipe(6, 4, optimizers.resolve("adamw"), optimizers.schedules.resolve("multistep"), DSA, evaluations=3, mixing="cutmix")


class CutOff(Exception):
    """Stands for the end of a process."""


def member(material: Material, seed: int, model: str = "convnet2(width=8, norm=batch)") -> Member:
    seeds.begin(seed, "init")
    student = dropping() if model == "dropout" else models.build(model, SHAPE, CLASSES)
    student = student.to(memory_format=torch.channels_last)
    seeds.begin(seed, "dropout")
    return Member(student, losses.create("ce"), seed, lambda network: evaluate(network, material))


def interrupted(members: Sequence[Member], after: int) -> list[Member]:
    """Let the first member's evaluation of this number, 1 the first, end all."""
    count = 0
    first = members[0]

    def measured(network: nn.Module) -> dict[str, float]:
        nonlocal count
        count += 1
        if count == after:
            raise CutOff
        assert first.evaluate is not None
        return first.evaluate(network)

    return [replace(first, evaluate=measured), *members[1:]]


def checkpoint(folder: Path, **maker: object) -> Checkpoint:
    return Checkpoint(folder / "checkpoints" / "abc.safetensors", lambda: {"trials": ["abc"], **maker}, every=0)


def plain(members: Sequence[Member], material: Material, recipe: Recipe, kept: Checkpoint | None) -> list[Fit]:
    return fit_together(members, material, recipe, checkpoint=kept)


def captured(members: Sequence[Member], material: Material, recipe: Recipe, kept: Checkpoint | None) -> list[Fit]:
    return Captured(members, material, recipe, None, repeated).fit(members, recipe, kept)


def side_by_side(members: Sequence[Member], material: Material, recipe: Recipe, kept: Checkpoint | None) -> list[Fit]:
    return Overlapped(members, material, recipe, None, repeated).fit(members, recipe, kept)


def beside(members: Sequence[Member], material: Material, recipe: Recipe, kept: Checkpoint | None) -> list[Fit]:
    names = ["adamw", "sgd(lr=0.05)", "adam"]
    parts = [
        Part([member], replace(recipe, optimizer=optimizers.resolve(name))) for member, name in zip(members, names, strict=True)
    ]
    return fit_in_step(parts, material, checkpoint=kept)


def told(fits: Sequence[Fit]) -> list[tuple[Any, ...]]:
    return [(fit.history, fit.epochs, fit.steps, fit.diverged) for fit in fits]


def check(make: Callable[[], list[Member]], train: Any, material: Material, recipe: Recipe, folder: Path) -> None:
    """Hold a training that is cut off, in a process whose streams have moved on, against one that is not."""
    whole = make()
    expected = train(whole, material, recipe, None)
    for after in (2, 3):
        with pytest.raises(CutOff):
            tests = (after - 1) * (2 if recipe.ema else 1) + 1  # of the weights, and of their mean
            train(interrupted(make(), tests), material, recipe, checkpoint(folder / str(after)))
        members = make()
        torch.rand(3), numpy.random.rand(3), random.random()
        fits = train(members, material, recipe, checkpoint(folder / str(after)))
        assert [fit.taken_up for fit in fits] == [2 * (after - 1)] * len(members)
        assert told(fits) == told(expected)
        for one, other in zip(members, whole, strict=True):
            assert torch.equal(weights(one.student), weights(other.student))
            assert all(torch.equal(a, b) for a, b in zip(one.student.buffers(), other.student.buffers(), strict=True))


@pytest.mark.parametrize(
    ("model", "changes"),
    [
        ("convnet2(width=8, norm=batch)", {}),
        ("convnet2(width=8)", {"optimizer": "sgd", "schedule": "warmup-cosine(warmup=2)", "mixing": "none"}),
        ("convnet1(width=8)", {"optimizer": "timm/lamb", "schedule": "cosine"}),
        ("convnet1(width=8)", {"optimizer": "timm/adabelief", "schedule": "cosine-to-half"}),
        ("dropout", {"mixing": "mixup"}),
    ],
)
def test_a_training_that_is_taken_up_ends_as_one_that_was_never_cut_off(
    material: Material, tmp_path: Path, model: str, changes: dict[str, str]
) -> None:
    kinds = {"optimizer": optimizers.resolve, "schedule": optimizers.schedules.resolve}
    recipe = replace(RECIPE, **{name: kinds.get(name, str)(value) for name, value in changes.items()})
    check(lambda: [member(material, 3, model)], plain, material, recipe, tmp_path)


COURSES: list[dict[str, Any]] = [
    {"ema": 0.9},
    {"ema": 0.5, "ranks": "ema", "accumulation": 2},
    {"stages": (Stage(hard=1), Stage(soft=2, mixing="none"), Stage(hard=3, smoothing=0.5))},
]


@pytest.mark.parametrize("changes", COURSES, ids=str)
@pytest.mark.parametrize("seeds_together", [1, 2])
def test_means_parts_and_stages_are_taken_up_where_they_were(
    material: Material, tmp_path: Path, changes: dict[str, Any], seeds_together: int
) -> None:
    soft = torch.randn(len(material.labels), CLASSES, generator=torch.Generator().manual_seed(1))
    recipe = replace(RECIPE, **changes)
    check(
        lambda: [member(material, seed) for seed in range(seeds_together)], plain, replace(material, soft=soft), recipe, tmp_path
    )


@pytest.mark.parametrize("seeds_together", [1, 2])
def test_what_a_loss_keeps_of_its_training_is_taken_up(material: Material, tmp_path: Path, seeds_together: int) -> None:
    """The labels are what the first student says at its beginning, a hundred times surer: its temperature falls below 1."""
    with torch.no_grad():
        soft = 100 * member(material, 0).student.train()(material.images)
    loss = losses.create("calibrated_kl")

    def make() -> list[Member]:
        return [replace(member(material, seed), loss=loss) for seed in range(seeds_together)]

    check(make, plain, replace(material, soft=soft), replace(RECIPE, mixing="none"), tmp_path)
    kept = Checkpoint(tmp_path / "3" / "checkpoints" / "abc.safetensors", lambda: {"trials": ["abc"]}).load()
    assert kept is not None
    temperatures = [float(kept.tensors[f"0.memory.{place}.temperature"]) for place in range(seeds_together)]
    assert 0 < temperatures[0] < 1


@pytest.mark.parametrize("train", [plain, captured, side_by_side])
def test_several_that_are_made_together_are_taken_up_together(material: Material, tmp_path: Path, train: Any) -> None:
    recipe = replace(RECIPE, mixing="none")
    check(lambda: [member(material, seed) for seed in range(3)], train, material, recipe, tmp_path)


def test_trainings_beside_each_other_are_taken_up_where_each_was_in_its_streams(material: Material, tmp_path: Path) -> None:
    def make() -> list[Member]:
        members = []
        for model in ("dropout", "convnet1(width=8)", "dropout"):
            members.append(member(material, 3, model))
            members[-1].place = seeds.Place()
        return members

    check(make, beside, material, RECIPE, tmp_path)


def test_captured_steps_that_have_trained_others_take_a_training_up(material: Material, tmp_path: Path) -> None:
    """Tensors stay where they were captured: what is taken up is copied to them."""
    recipe = replace(RECIPE, mixing="none")
    (expected,) = captured([member(material, 1)], material, recipe, None)
    with pytest.raises(CutOff):
        captured(interrupted([member(material, 1)], 2), material, recipe, checkpoint(tmp_path))
    made = Captured([member(material, 0)], material, recipe, None, repeated)
    made.fit([member(material, 0)], recipe)
    (taken_up,) = made.fit([member(material, 1)], recipe, checkpoint(tmp_path))
    assert (taken_up.history, taken_up.taken_up) == (expected.history, 2)


def cut_off(material: Material, folder: Path, **maker: object) -> Path:
    """Return the file of a training that was cut off after it was kept."""
    kept = checkpoint(folder, **maker)
    with pytest.raises(CutOff):
        plain(interrupted([member(material, 3)], 2), material, RECIPE, kept)
    assert kept.path.is_file()
    return kept.path


def flipped(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


def truncated(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def foreign(path: Path) -> None:
    path.write_bytes(b"\x80\x04.")


@pytest.mark.parametrize("damage", [flipped, truncated, foreign])
def test_a_damaged_checkpoint_is_named_and_left_alone(
    material: Material, tmp_path: Path, damage: Callable[[Path], None], caplog: pytest.LogCaptureFixture
) -> None:
    path = cut_off(material, tmp_path)
    damage(path)
    (fit,) = plain([member(material, 3)], material, RECIPE, checkpoint(tmp_path))
    assert fit.taken_up == 0
    (line,) = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    assert str(path) in line and line.endswith("the trial starts anew") and "\n" not in line


@pytest.mark.parametrize(
    ("maker", "other"),
    [({"trials": ["abc", "def"]}, "trials"), ({"code": "1"}, "code"), ({"versions": {"torch": "0"}}, "versions")],
)
def test_a_checkpoint_of_another_making_is_not_taken_up(
    material: Material, tmp_path: Path, maker: dict[str, Any], other: str, caplog: pytest.LogCaptureFixture
) -> None:
    cut_off(material, tmp_path, **maker)
    (fit,) = plain([member(material, 3)], material, RECIPE, checkpoint(tmp_path))
    assert fit.taken_up == 0
    assert f"of another {other}; the trial starts anew" in caplog.text


def test_nothing_is_written_before_its_time(material: Material, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = Checkpoint(tmp_path / "checkpoints" / "abc.safetensors", dict)
    assert kept.every >= 60
    plain([member(material, 0)], material, RECIPE, kept)
    assert not kept.path.parent.exists()
    monkeypatch.setenv("GIFTBENCH_CHECKPOINT_SECONDS", "0.5")
    assert Checkpoint(kept.path, dict).every == 0.5


def test_steps_are_not_waited_for_to_be_kept(material: Material, tmp_path: Path, asked: list[str]) -> None:
    """A training that might be kept, and is not yet, asks for nothing more on the host."""
    plain([member(material, 0)], material, RECIPE, None)
    without = len(asked)
    asked.clear()
    plain([member(material, 0)], material, RECIPE, Checkpoint(tmp_path / "abc.safetensors", dict, every=1e9))
    assert len(asked) == without


def test_a_folder_that_cannot_be_written_costs_no_training(
    material: Material, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "checkpoints").write_text("a file")
    (fit,) = plain([member(material, 0)], material, RECIPE, checkpoint(tmp_path))
    assert fit.epochs == RECIPE.epochs
    assert caplog.text.count("starts anew if it is cut off") == 1


def test_what_is_neither_a_tensor_nor_json_cannot_be_kept() -> None:
    with pytest.raises(CannotKeep, match="name"):
        State().add("name", object())


def test_tensors_come_back_as_they_were_laid_out() -> None:
    state = State()
    laid = torch.randn(2, 3, 4, 5).to(memory_format=torch.channels_last)
    state.add("laid", laid)
    state.tensors = {name: tensor.contiguous() for name, tensor in state.tensors.items()}
    back: Tensor = state.tensor("laid", torch.device("cpu"))
    assert torch.equal(back, laid) and back.stride() == laid.stride()
