"""What was found out about trainings of a kind is kept for other boards, and trusted no further than it can be read."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from harness import losses, models, optimizers
from harness.core.home import home
from harness.training import pilots
from harness.training.pilots import Pilots, kind_of
from harness.training.trainer import Trainer
from harness.training.values import Material, Member, Recipe

SHAPE, CLASSES = (1, 8, 8), 5
MATERIAL = Material.on_device("cpu", torch.randn(20, *SHAPE), torch.arange(20) % CLASSES)
RECIPE = Recipe(2, 10, optimizers.resolve("adamw"), optimizers.schedules.resolve("constant"), "none")


def members(*seeds: int, model: str = "convnet1(width=8)", loss: str = "ce") -> list[Member]:
    return [Member(models.build(model, SHAPE, CLASSES), losses.create(loss), seed) for seed in seeds]


def trainer(folder: Path, monkeypatch: pytest.MonkeyPatch, device: str = "NVIDIA H200") -> tuple[Trainer, list[int]]:
    """Return a trainer whose captured steps take a second each way, and what it has measured so far."""
    made, measured = Trainer("cuda", pilots=Pilots(device, folder)), list[int]()

    class Timed:
        def seconds_per_step(self) -> float:
            return 1.0

    def get(members: Sequence[Any], *_: Any) -> Timed:
        measured.append(len(members))
        return Timed()

    monkeypatch.setattr(made.graphs, "get", get)
    return made, measured


def way(made: Trainer, group: Sequence[Member]) -> str | None:
    return made.way(group, MATERIAL, RECIPE, None, kind="a kind", model="a model")


def test_the_next_run_measures_nothing_on_the_same_device_with_the_same_torch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for device, expected in (("NVIDIA H200", True), ("NVIDIA H200", False), ("NVIDIA A100", True)):
        made, measured = trainer(tmp_path, monkeypatch, device)
        assert way(made, members(0, 1)) == "overlapped"
        assert bool(measured) == expected
    monkeypatch.setattr(torch, "__version__", "99.0")
    made, measured = trainer(tmp_path, monkeypatch)
    assert way(made, members(0, 1)) == "overlapped" and measured


def test_what_is_best_made_one_after_the_other_is_known_as_well(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kind = kind_of(members(0, 1), MATERIAL, RECIPE, "")
    assert kind is not None
    Pilots("NVIDIA H200", tmp_path).put(kind, None)
    made, measured = trainer(tmp_path, monkeypatch)
    assert way(made, members(0, 1)) is None and not measured


def test_a_stack_that_students_cannot_have_is_not_taken_from_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kind = kind_of(members(0, 1), MATERIAL, RECIPE, "")
    assert kind is not None
    Pilots("NVIDIA H200", tmp_path).put(kind, "stacked")
    made, measured = trainer(tmp_path, monkeypatch)
    monkeypatch.setattr(made, "stackable", lambda *_: False)
    assert way(made, members(0, 1)) == "overlapped" and measured


DAMAGE: list[Callable[[bytes], bytes]] = [
    lambda content: content[: len(content) // 2],
    lambda content: b"",
    lambda content: b"\xff\xfe" + content,
    lambda content: b"[" * 100_000,
    lambda content: b'{"format": "giftbench.pilots/1"}',
    lambda content: content.replace(b"NVIDIA H200", b"NVIDIA A100"),
    lambda content: content.replace(b"overlapped", b"sideways"),
    lambda content: content.replace(b'"overlapped"', b'["overlapped"]'),
    lambda content: content.replace(b"giftbench.pilots/1", b"giftbench.pilots/2"),
]


@pytest.mark.parametrize("damage", range(len(DAMAGE)))
def test_what_is_damaged_is_measured_again_and_written_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, damage: int) -> None:
    for repair in (False, True):
        made, measured = trainer(tmp_path, monkeypatch)
        assert way(made, members(0, 1)) == "overlapped" and measured
        (file,) = tmp_path.iterdir()
        whole = file.read_bytes()
        if not repair:
            file.write_bytes(DAMAGE[damage](whole))
    assert json.loads(whole)["ways"]


def test_a_file_in_the_place_of_the_folder_is_no_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "pilots").write_text("")
    made, _ = trainer(tmp_path / "pilots", monkeypatch)
    assert way(made, members(0, 1)) == "overlapped"


def test_so_many_are_kept_and_the_oldest_go_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pilots, "MOST", 3)
    kept = Pilots("NVIDIA H200", tmp_path)
    for kind in ("a", "b", "c", "a", "d"):
        kept.put(kind, "stacked")
    assert [kept.get(kind) for kind in "abcd"] == ["stacked", None, "stacked", "stacked"]


def test_it_lies_in_the_cache() -> None:
    assert Pilots("NVIDIA H200").path.parent == home() / "pilots"


def test_what_takes_another_time_is_another_kind() -> None:
    group = members(0, 1)
    others = [
        kind_of(members(0, 1, 2), MATERIAL, RECIPE, ""),
        kind_of(members(0, 0), MATERIAL, RECIPE, ""),
        kind_of(members(0, 1, model="convnet1(width=4)"), MATERIAL, RECIPE, ""),
        kind_of(members(0, 1, loss="kl"), MATERIAL, RECIPE, ""),
        kind_of(group, MATERIAL, RECIPE, "a teacher"),
        kind_of(group, replace(MATERIAL, factor=2), RECIPE, ""),
        kind_of(group, Material(MATERIAL.images[:13], MATERIAL.labels[:13]), RECIPE, ""),
        *(
            kind_of(group, MATERIAL, replace(RECIPE, **change), "")  # type: ignore[arg-type]
            for change in ({"batch_size": 5}, {"precision": "bf16"}, {"augmentation": "flip"}, {"mixing": "cutmix"})
        ),
        kind_of(group, MATERIAL, replace(RECIPE, optimizer=optimizers.resolve("sgd")), ""),
    ]
    assert None not in others and len({kind_of(group, MATERIAL, RECIPE, ""), *others}) == 1 + len(others)
    same = replace(RECIPE, epochs=99, evaluations=7, schedule=optimizers.schedules.resolve("cosine"))
    assert kind_of(members(7, 5), MATERIAL, same, "") == kind_of(group, MATERIAL, RECIPE, "")


def test_a_loss_without_a_name_has_no_kind() -> None:
    one = Member(members(0)[0].student, lambda logits, targets: logits.sum(), 0)
    assert kind_of([one, one], MATERIAL, RECIPE, "") is None
