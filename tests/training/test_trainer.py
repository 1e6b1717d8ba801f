"""Which way trainings are made together, and that the way does not change what they give; on a GPU's rules without a GPU."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
import torch
from torch import Tensor

from harness import losses, models, optimizers
from harness.core import seeds
from harness.training import trainer
from harness.training.devices import on_device
from harness.training.evaluation import evaluate
from harness.training.graphs import Captured
from harness.training.loop import fit
from harness.training.trainer import Trainer
from harness.training.values import Material, Member, Recipe

SHAPE, CLASSES = (1, 8, 8), 5
IMAGES = torch.randn(20, *SHAPE, generator=torch.Generator().manual_seed(0))
MATERIAL = Material.on_device("cpu", IMAGES, torch.arange(20) % CLASSES)
RECIPE = Recipe(2, 10, optimizers.resolve("adamw"), optimizers.schedules.resolve("constant"), "none")
KIND = {"kind": "a kind", "model": "a model"}
CROSS_ENTROPY = losses.create("ce")


def member(seed: int) -> Member:
    seeds.begin(seed, "init")
    student = on_device(models.build("convnet1(width=8)", SHAPE, CLASSES), "cpu")
    return Member(student, CROSS_ENTROPY, seed, lambda network: evaluate(network, MATERIAL))


def members(count: int = 2) -> list[Member]:
    return [member(seed) for seed in range(count)]


class Timed:
    """Captured steps that take so long; infinite where memory does not suffice."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds

    def seconds_per_step(self) -> float:
        if self.seconds == float("inf"):
            raise torch.OutOfMemoryError
        return self.seconds


def timed(monkeypatch: pytest.MonkeyPatch, made: Trainer, seconds: dict[str, float]) -> list[str]:
    """Let a trainer find captured steps of these seconds, by way; return what it asks for, as it asks."""
    asked: list[str] = []

    def get(members: Sequence[Any], material: Any, recipe: Any, teacher: Any, way: str) -> Timed | None:
        asked.append(way if len(members) > 1 else "alone")
        return Timed(seconds[asked[-1]]) if asked[-1] in seconds else None

    monkeypatch.setattr(made.graphs, "get", get)
    return asked


# Seconds of a step: of one alone, of two stacked or side by side; and the way that is taken.
WAYS: list[tuple[dict[str, float], str | None]] = [
    ({"alone": 1.0, "stacked": 1.5, "overlapped": 1.9}, "stacked"),
    ({"alone": 1.0, "stacked": 1.9, "overlapped": 1.8}, "overlapped"),
    ({"alone": 1.0, "stacked": 1.9, "overlapped": 2.1}, None),  # a stack has to be the faster by a tenth
    ({"alone": 1.0, "stacked": float("inf"), "overlapped": 1.8}, "overlapped"),
    ({"stacked": 1.0, "overlapped": 1.0}, "stacked"),  # one cannot be captured, and so none is
]


@pytest.mark.parametrize(("seconds", "expected"), WAYS)
def test_on_a_gpu_the_fastest_way_is_taken(
    monkeypatch: pytest.MonkeyPatch, seconds: dict[str, float], expected: str | None
) -> None:
    made = Trainer("cuda")
    timed(monkeypatch, made, seconds)
    assert made.way(members(), MATERIAL, RECIPE, None, **KIND) == expected


@pytest.mark.parametrize(
    ("together", "overlapped", "expected"), [(1.5, 1.8, "asked together"), (1.7, 1.8, "overlapped"), (2.0, 2.5, None)]
)
def test_a_teacher_is_asked_for_all_at_once_where_that_is_the_faster_by_a_tenth(
    monkeypatch: pytest.MonkeyPatch, together: float, overlapped: float, expected: str | None
) -> None:
    seconds = {"alone": 1.0, "stacked": 9.0, "asked together": together, "overlapped": overlapped}
    made = Trainer("cuda")
    timed(monkeypatch, made, seconds)
    assert made.way(members(), MATERIAL, RECIPE, lambda images: images, **KIND) == expected


def test_what_is_made_once_is_measured_where_there_is_a_teacher_or_a_seed_is_shared(monkeypatch: pytest.MonkeyPatch) -> None:
    for group, teacher, expected in (
        (members(), None, False),
        (members(), lambda images: images, True),
        ([member(3), member(3)], None, True),
    ):
        made = Trainer("cuda")
        asked = timed(monkeypatch, made, {"alone": 1.0, "stacked": 1.0, "overlapped": 1.0, "asked together": 1.0})
        made.way(group, MATERIAL, RECIPE, teacher, **KIND)
        assert ("asked together" in asked) == expected


def test_where_students_cannot_be_stacked_a_gpu_has_them_side_by_side_or_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trainer, "agrees", lambda students, images: False)
    for seconds, expected in (({"alone": 1.0, "overlapped": 1.0}, "overlapped"), ({}, None)):
        made = Trainer("cuda")
        asked = timed(monkeypatch, made, seconds)  # type: ignore[arg-type]
        assert made.way(members(), MATERIAL, RECIPE, None, **KIND) == expected
        assert "stacked" not in asked


def test_a_kind_is_measured_once_and_a_model_tried_once(monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[int] = []
    monkeypatch.setattr(trainer, "agrees", lambda students, images: tried.append(len(students)) or True)
    made = Trainer("cuda")
    asked = timed(monkeypatch, made, {"alone": 1.0, "stacked": 1.0, "overlapped": 1.0})
    for kind in ("one", "one", "other"):
        assert made.way(members(3), MATERIAL, RECIPE, None, kind=kind, model="a model") == "overlapped"
    assert asked == ["alone", "stacked", "overlapped"] * 2
    assert tried == [2]
    made.way(members(3), MATERIAL, RECIPE, None, kind="one", model="another model")
    assert tried == [2, 2]


@pytest.mark.parametrize(
    ("device", "stack", "capture"), [("cpu", 0, True), ("cpu", 4, True), ("cuda", 4, True), ("cuda", 0, False)]
)
def test_where_nothing_is_measured_what_can_be_stacked_is(
    monkeypatch: pytest.MonkeyPatch, device: str, stack: int, capture: bool
) -> None:
    for agrees, expected in ((True, "stacked"), (False, None)):
        monkeypatch.setattr(trainer, "agrees", lambda students, images, agrees=agrees: agrees)
        assert Trainer(device, stack, capture).way(members(), MATERIAL, RECIPE, None, **KIND) == expected


def test_finding_out_trains_nobody_and_draws_from_nobodys_stream() -> None:
    chosen = members()
    before = [weight.clone() for one in chosen for weight in one.student.parameters()]
    state = torch.get_rng_state()
    assert Trainer("cpu").way(chosen, MATERIAL, RECIPE, None, **KIND) == "stacked"
    after = [weight for one in chosen for weight in one.student.parameters()]
    assert all(torch.equal(ours, own) for ours, own in zip(after, before, strict=True))
    assert torch.equal(torch.get_rng_state(), state)


def test_together_each_gives_what_it_gives_alone() -> None:
    together = Trainer("cpu").train_together(members(), MATERIAL, RECIPE, None, **KIND)
    assert together is not None
    for found, one in zip(together, members(), strict=True):
        alone = fit(one.student, MATERIAL, one.loss, RECIPE, seed=one.seed, evaluate=one.evaluate)
        assert (found.epochs, found.steps) == (alone.epochs, alone.steps)
        assert found.history[-1]["accuracy"] == pytest.approx(alone.history[-1]["accuracy"], abs=5.1)  # an image of twenty


def test_where_memory_does_not_suffice_for_several_none_is_trained_and_captured_steps_are_let_go(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made = Trainer("cuda")
    assert made.graphs is not None
    timed(monkeypatch, made, {"alone": 2.0, "stacked": 1.0, "overlapped": 9.0})
    made.graphs.latest = object()  # type: ignore[assignment]

    def train(*_: object, **__: object) -> None:
        raise torch.OutOfMemoryError

    monkeypatch.setattr(made, "train", train)
    assert made.train_together(members(), MATERIAL, RECIPE, None, **KIND) is None
    assert made.graphs.latest is None


def test_captured_steps_train_where_they_are_asked_for() -> None:
    made = Trainer("cuda")
    assert made.graphs is not None
    used: list[str] = []

    def get(members: Sequence[Member], material: Material, recipe: Recipe, teacher: Any, way: str) -> Captured:
        used.append(way)
        return Captured(members, material, recipe, teacher, lambda step, streams: step)

    made.graphs.get = get  # type: ignore[method-assign]
    by_captures, step_by_step = (made.train([member(0)], MATERIAL, RECIPE, None, capture=capture) for capture in (True, False))
    assert used == ["stacked"]
    assert by_captures[0].history == step_by_step[0].history


def test_a_teacher_is_asked_whichever_way_is_taken() -> None:
    asked: list[int] = []

    def teach(images: Tensor) -> Tensor:
        asked.append(len(images))
        return torch.zeros(len(images), CLASSES)

    made = Trainer("cpu")
    made.train([member(0)], MATERIAL, RECIPE, teach)
    assert asked == [10] * 4
    asked.clear()
    made.train_together(members(), MATERIAL, RECIPE, teach, **KIND)
    assert asked == [20] * 4
