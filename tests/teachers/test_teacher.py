"""Teachers: trained once, known by their weights, used without being changed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from harness import teachers
from harness.core.errors import DataError
from harness.datasets.base import Dataset, normalise
from harness.teachers.files import TeacherFile
from harness.training.evaluation import evaluate
from harness.training.values import Material
from tests.teachers.training import MODEL, blueprint, split, trained


def inputs(dataset: Dataset) -> torch.Tensor:
    return normalise(dataset.test.images, dataset.mean, dataset.std)


# -- training --------------------------------------------------------------------------------------------------------------


def test_the_same_blueprint_gives_the_same_weights_and_another_seed_others(
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
    teachers.train(blueprint(quarters, epochs=3), quarters, tmp_path, "cpu", lambda: ticks.append(None))
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


class Given(nn.Module):
    """Answers with the same logits whatever it is shown."""

    def __init__(self, logits: list[list[float]]) -> None:
        super().__init__()
        self.register_buffer("logits", torch.tensor(logits))

    def forward(self, images: Tensor) -> Tensor:
        return self.logits


def ensemble(average: Any) -> teachers.Teacher:
    networks = Given([[3.0, 0.0], [0.0, 4.0]]), Given([[0.0, 0.0], [15.0, 0.0]])  # norms 5 and 15, 10 on average
    return teachers.Teacher("two", networks, ("a", "b"), (0.0, 0.0), (0.5,), (0.5,), average)


def test_logits_are_averaged_plainly_or_after_each_network_is_brought_to_the_mean_norm() -> None:
    images = torch.zeros(2, 1, 4, 4)
    assert torch.equal(ensemble("mean").logits(images), torch.tensor([[1.5, 0.0], [7.5, 2.0]]))
    assert torch.allclose(ensemble("norm").logits(images), torch.tensor([[3.0, 0.0], [5.0, 4.0]]))


def test_a_network_that_answers_zero_leaves_the_others() -> None:
    networks = Given([[3.0, 0.0], [0.0, 4.0]]), Given([[0.0, 0.0], [0.0, 0.0]])
    found = teachers.Teacher("two", networks, ("a", "b"), (0.0, 0.0), (0.5,), (0.5,), "norm").logits(torch.zeros(2, 1, 4, 4))
    assert torch.allclose(found, torch.tensor([[0.75, 0.0], [0.0, 1.0]]))


def test_trials_of_ensembles_averaged_otherwise_are_not_the_same(plan: Any) -> None:
    two = {"models": ["convnet1(width=8)", "convnet1(width=4)"], "epochs": 1}
    plain, norm = (plan(teacher=two | {"average": average}, losses=["gift"]) for average in ("mean", "norm"))
    assert {trial.id for trial in plain}.isdisjoint({trial.id for trial in norm})
