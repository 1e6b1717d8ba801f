"""Teachers: trained once, known by their weights, used without being changed."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from harness import teachers
from harness.boards.board import TeacherSpec
from harness.core.errors import DataError, UnknownName
from harness.datasets.base import Dataset, normalise
from harness.datasets.split import Split
from harness.teachers.files import FORMAT, TeacherFile
from harness.training.evaluation import evaluate
from harness.training.values import Material

MODEL = "convnet1(width=8)"


def split(count: int, seed: int) -> Split:
    """Three classes told apart by where the bright quarter is; noise makes some of them hard."""
    draws = torch.Generator().manual_seed(seed)
    labels = torch.arange(count) % 3
    images = torch.randint(0, 200, (count, 1, 8, 8), dtype=torch.uint8, generator=draws)
    for image, label in zip(images, labels.tolist(), strict=True):
        image[0, 4 * (label // 2) :, 4 * (label % 2) :][:4, :4] += 40
    return Split(images, labels)


@pytest.fixture(scope="module")
def quarters() -> Dataset:
    return Dataset("quarters", split(60, 0), split(45, 1), ("a", "b", "c"), (0.4,), (0.25,), teacher_epochs=2)


def recipe(dataset: Dataset, **changes: Any) -> dict[str, Any]:
    return teachers.recipes(TeacherSpec.model_validate({"model": MODEL, "epochs": 2, "batch_size": 10} | changes), dataset)[0]


def trained(dataset: Dataset, folder: Path, **changes: Any) -> TeacherFile:
    return teachers.train(recipe(dataset, **changes), dataset, folder, "cpu")


@pytest.fixture(scope="module")
def file(quarters: Dataset, tmp_path_factory: pytest.TempPathFactory) -> TeacherFile:
    """A trained teacher; tests that damage it work on a copy."""
    return trained(quarters, tmp_path_factory.mktemp("teacher"))


@pytest.fixture
def copied(file: TeacherFile, tmp_path: Path) -> TeacherFile:
    path = tmp_path / file.path.name
    path.write_bytes(file.path.read_bytes())
    return replace(file, path=path)


def inputs(dataset: Dataset) -> torch.Tensor:
    return normalise(dataset.test.images, dataset.mean, dataset.std)


# -- recipes ---------------------------------------------------------------------------------------------------------------


def test_a_recipe_is_resolved_and_can_be_written_as_json(quarters: Dataset) -> None:
    found = teachers.recipes(TeacherSpec.model_validate(MODEL), quarters)[0]
    assert json.loads(json.dumps(found)) == found
    assert found["epochs"] == quarters.teacher_epochs
    assert found["dataset_digest"] == quarters.digest
    assert found["model"]["options"] == {"width": 8, "norm": "batch"}
    assert found["optimizer"]["options"]["weight_decay"] == 0.01
    assert "lr" in found["optimizer"]["options"]


@pytest.mark.parametrize(
    "changes",
    [
        {"model": "convnet1(width=4)"},
        {"epochs": 3},
        {"batch_size": 20},
        {"optimizer": "sgd"},
        {"schedule": "constant"},
        {"augmentation": "flip"},
        {"precision": "bf16"},
        {"seed": 1},
    ],
)
def test_every_choice_makes_another_recipe(quarters: Dataset, changes: dict[str, Any]) -> None:
    assert recipe(quarters, **changes) != recipe(quarters)


def test_another_dataset_of_the_same_name_makes_another_recipe(quarters: Dataset) -> None:
    assert recipe(replace(quarters, train=split(60, 5))) != recipe(quarters)


def test_an_ensemble_has_a_recipe_a_network(quarters: Dataset) -> None:
    spec = TeacherSpec.model_validate({"models": [MODEL, "convnet2(width=4)"], "epochs": 1})
    assert [r["model"]["name"] for r in teachers.recipes(spec, quarters)] == ["convnet1", "convnet2"]


# -- training --------------------------------------------------------------------------------------------------------------


def test_weights_are_saved_by_their_digest_and_nothing_else_is_left(quarters: Dataset, file: TeacherFile) -> None:
    assert [path.name for path in file.path.parent.iterdir()] == [f"teacher-{file.digest[:20]}.safetensors"]
    read, _ = teachers.read_header(file.path)
    assert read == file
    assert (read.model, read.recipe) == (MODEL, recipe(quarters))


def test_the_same_recipe_gives_the_same_weights_and_another_seed_others(
    quarters: Dataset, file: TeacherFile, tmp_path: Path
) -> None:
    torch.manual_seed(5)
    again = trained(quarters, tmp_path)
    assert (again.digest, again.accuracy) == (file.digest, file.accuracy)
    assert trained(quarters, tmp_path, seed=1).digest != file.digest


def test_the_accuracy_it_states_is_that_of_a_fresh_evaluation_on_the_test_split(quarters: Dataset, file: TeacherFile) -> None:
    network = teachers.load([file], quarters, "cpu").networks[0]
    test = Material.on_device("cpu", quarters.test.images, quarters.test.labels, mean=quarters.mean, std=quarters.std)
    assert evaluate(network, test)["accuracy"] == file.accuracy
    assert 0 < file.accuracy <= 100


def test_a_teacher_learns(quarters: Dataset, tmp_path: Path) -> None:
    assert trained(quarters, tmp_path, epochs=15, augmentation="none").accuracy > 60  # chance is 33


def test_the_test_split_is_not_trained_on(quarters: Dataset, file: TeacherFile, tmp_path: Path) -> None:
    other = replace(quarters, test=split(45, 9))
    assert trained(other, tmp_path).digest == file.digest


def test_every_epoch_is_reported(quarters: Dataset, tmp_path: Path) -> None:
    ticks: list[None] = []
    teachers.train(recipe(quarters, epochs=3), quarters, tmp_path, "cpu", lambda: ticks.append(None))
    assert len(ticks) == 3


def test_training_leaves_the_callers_random_stream_alone(quarters: Dataset, file: TeacherFile, tmp_path: Path) -> None:
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    trained(quarters, tmp_path, epochs=1)
    teachers.load([file], quarters, "cpu")
    assert torch.equal(torch.rand(2), expected)


def test_a_teacher_that_diverges_is_refused_and_not_kept(quarters: Dataset, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="convnet1 diverged on quarters"):
        trained(quarters, tmp_path, optimizer={"name": "sgd", "lr": 1e30}, model={"name": "convnet1", "width": 8, "norm": "none"})
    assert list(tmp_path.iterdir()) == []


# -- use -------------------------------------------------------------------------------------------------------------------


def test_a_loaded_teacher_is_in_eval_mode_without_gradients(quarters: Dataset, file: TeacherFile) -> None:
    teacher = teachers.load([file], quarters, "cpu")
    assert not any(module.training for network in teacher.networks for module in network.modules())
    assert not any(p.requires_grad for network in teacher.networks for p in network.parameters())
    logits = teacher.logits(inputs(quarters).requires_grad_())
    assert not logits.requires_grad
    assert logits.shape == (45, 3)


def test_use_changes_nothing_about_a_teacher(quarters: Dataset, file: TeacherFile) -> None:
    teacher = teachers.load([file], quarters, "cpu")
    first = teacher.logits(inputs(quarters))
    teacher.logits(torch.randn(50, 1, 8, 8) * 9)
    assert torch.equal(teacher.logits(inputs(quarters)), first)
    alone = teacher.logits(inputs(quarters)[:1])
    assert torch.allclose(alone, first[:1], atol=1e-5)  # whatever else is in the batch


def test_a_teacher_normalises_as_its_dataset_does(quarters: Dataset, file: TeacherFile) -> None:
    assert torch.equal(teachers.load([file], quarters, "cpu").normalise(quarters.test.images), inputs(quarters))


def test_several_networks_give_the_mean_of_their_logits(quarters: Dataset, file: TeacherFile, tmp_path: Path) -> None:
    other = trained(quarters, tmp_path, model="convnet2(width=4)", seed=1)
    first, second = (teachers.load([f], quarters, "cpu").logits(inputs(quarters)) for f in (file, other))
    both = teachers.load([file, other], quarters, "cpu")
    assert torch.allclose(both.logits(inputs(quarters)), (first + second) / 2, atol=1e-6)
    assert both.label == f"{MODEL} + convnet2(width=4)"
    assert (both.digests, both.accuracies) == ((file.digest, other.digest), (file.accuracy, other.accuracy))


# -- files -----------------------------------------------------------------------------------------------------------------


def edit(file: TeacherFile, change: Callable[[dict[str, Any], dict[str, torch.Tensor]], None]) -> TeacherFile:
    """Edit what a file says (its facts) or holds (its tensors), keep the rest, and read it again."""
    with safe_open(str(file.path), framework="pt") as opened:
        header = dict(opened.metadata())
    facts, state = json.loads(header["teacher"]), {name: t.clone() for name, t in load_file(str(file.path)).items()}
    change(facts, state)
    file.path.unlink()
    save_file(state, str(file.path), metadata=header | {"teacher": json.dumps(facts)})
    return teachers.read_header(file.path)[0]


def one_line(error: pytest.ExceptionInfo[DataError], path: Path) -> bool:
    return str(error.value).startswith(f"{path}: ") and "\n" not in str(error.value)


@pytest.mark.parametrize(
    "change",
    [
        lambda facts, state: state["classifier.bias"].add_(1e-6),
        lambda facts, state: state.pop("classifier.bias"),
        lambda facts, state: state.update(more=torch.zeros(1)),
        lambda facts, state: state.update({"classifier.bias": state["classifier.bias"].double()}),
        lambda facts, state: facts["recipe"]["model"]["options"].update(norm="instance"),
        lambda facts, state: facts.update(digest="0" * 64),
    ],
)
def test_edited_weights_are_refused(quarters: Dataset, copied: TeacherFile, change) -> None:
    edited = edit(copied, change)
    with pytest.raises(DataError, match="do not have the digest") as caught:
        teachers.load([edited], quarters, "cpu")
    assert one_line(caught, copied.path)


def test_a_teacher_of_another_number_of_classes_is_refused(quarters: Dataset, file: TeacherFile) -> None:
    with pytest.raises(DataError, match="does not fit") as caught:
        teachers.load([file], replace(quarters, classes=("a", "b", "c", "d")), "cpu")
    assert one_line(caught, file.path)


@pytest.mark.parametrize("content", [None, b"", b"weights", 100, -1])
def test_a_file_that_is_absent_or_cut_short_is_refused(
    quarters: Dataset, copied: TeacherFile, content: bytes | int | None
) -> None:
    whole = copied.path.read_bytes()
    copied.path.unlink()
    if content is not None:
        copied.path.write_bytes(whole[:content] if isinstance(content, int) else content)
    for read in (lambda: teachers.read_header(copied.path), lambda: teachers.load([copied], quarters, "cpu")):
        with pytest.raises(DataError) as caught:
            read()
        assert one_line(caught, copied.path)


@pytest.mark.parametrize(
    "metadata",
    [
        None,
        {"format": "giftbench.distilled-set/1"},
        {"format": FORMAT},
        {"format": FORMAT, "teacher": "{"},
        {"format": FORMAT, "teacher": "[]"},
        {"format": FORMAT, "teacher": "{}"},
        {"format": FORMAT, "teacher": "[" * 100_000},
    ],
)
def test_safetensors_that_are_no_teacher_are_refused(tmp_path: Path, metadata: dict[str, str] | None) -> None:
    save_file({"weight": torch.zeros(1)}, str(tmp_path / "x.safetensors"), metadata=metadata)
    with pytest.raises(DataError, match="not a teacher file") as caught:
        teachers.read_header(tmp_path / "x.safetensors")
    assert one_line(caught, tmp_path / "x.safetensors")


def test_a_teacher_whose_model_nobody_has_is_refused(quarters: Dataset, file: TeacherFile, tmp_path: Path) -> None:
    from harness import models

    network = models.build(MODEL, quarters.shape, 3)
    models.registry.register("visiting")(lambda shape, classes: network)
    try:
        made = teachers.save(network, recipe(quarters) | {"model": {"name": "visiting", "options": {}}}, 50.0, tmp_path)
    finally:
        models.registry.remove("visiting")
    with pytest.raises(UnknownName, match="visiting"):
        teachers.load([made], quarters, "cpu")
