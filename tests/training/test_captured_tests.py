"""Captured passes over a test split: on the CPU with a recorder that repeats the pass itself."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable

import pytest
import torch
from torch import Generator, Tensor, nn

from harness import models
from harness.continual.loop import OnlySeen, Seen
from harness.training.captured_tests import CapturedTests
from harness.training.devices import on_device
from harness.training.evaluation import evaluate, hits
from harness.training.values import Material

SHAPE, CLASSES = (3, 8, 8), 7
MATERIAL = Material.on_device("cpu", torch.randn(43, *SHAPE, generator=Generator().manual_seed(1)), torch.arange(43) % CLASSES)
Step = Callable[[], None]


@pytest.fixture
def passes() -> list[Step]:
    return []


@pytest.fixture
def tests(passes: list[Step]) -> CapturedTests:
    def record(step: Step, streams: Iterable[Generator]) -> Step:
        passes.append(step)
        return step

    return CapturedTests(record)


def student(seed: int, model: str = "convnet2(width=8)") -> nn.Module:
    torch.manual_seed(seed)
    return on_device(models.build(model, SHAPE, CLASSES), "cpu")


@pytest.mark.parametrize("batch_size", [0, 10, 43, 100])
def test_a_captured_pass_answers_what_the_test_does(tests: CapturedTests, passes: list[Step], batch_size: int) -> None:
    for seed in range(3):  # one capture for all of them
        network = student(seed).train()
        expected = evaluate(network, MATERIAL, batch_size=batch_size)
        assert evaluate(network.train(), MATERIAL, batch_size=batch_size, tests=tests) == expected
        assert 0 < expected["accuracy"] < expected["top5_accuracy"] and not network.training
    assert len(passes) == 1


def test_some_images_are_tested_as_all_are(tests: CapturedTests, passes: list[Step]) -> None:
    network, index = student(0), torch.tensor([42, 3, 3, 17, 0, 9])
    for part in (index, index[:1], torch.cat([index, index])):
        for ours, own in zip(tests(network, MATERIAL, part, batch_size=4), hits(network, MATERIAL, part), strict=True):
            assert torch.equal(ours, own)
    assert len(passes) == 1


def test_classes_met_so_far_are_another_answer_of_the_same_capture(tests: CapturedTests, passes: list[Step]) -> None:
    network = student(0)
    for met in ([1, 4], [0, 1, 4, 6], [*range(CLASSES)]):
        seen = OnlySeen(network, Seen(met, CLASSES, "cpu"))
        assert all(map(torch.equal, tests(seen, MATERIAL), hits(seen, MATERIAL)))
    assert len(passes) == 1


def test_answers_that_are_not_finite_are_counted(tests: CapturedTests) -> None:
    network = student(0)
    next(network.parameters()).data.fill_(torch.nan)
    assert evaluate(network, MATERIAL, tests=tests) == {"accuracy": 0.0, "top5_accuracy": 0.0, "not_finite": 43.0}


def test_a_replay_that_answers_something_else_is_refused_once_and_tested_batch_by_batch() -> None:
    tried: list[Step] = []

    def forgetful(step: Step, streams: Iterable[Generator]) -> Step:
        tried.append(step)
        return lambda: None

    tests, network = CapturedTests(forgetful), student(0)
    with pytest.warns(UserWarning, match="does not answer what the test does"):
        assert evaluate(network, MATERIAL, tests=tests) == evaluate(network, MATERIAL)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert evaluate(student(1), MATERIAL, tests=tests) == evaluate(student(1), MATERIAL)
    assert len(tried) == 1


class Remembering(nn.Module):
    """Answers by a tensor that is neither a weight nor a buffer."""

    def __init__(self, table: Tensor) -> None:
        super().__init__()
        self.table = table

    def forward(self, images: Tensor) -> Tensor:
        return images.flatten(1)[:, :CLASSES] * self.table


def test_students_that_answer_by_what_cannot_be_copied_in_are_not_captured(tests: CapturedTests, passes: list[Step]) -> None:
    for seed in range(2):
        network = Remembering(torch.randn(CLASSES, generator=Generator().manual_seed(seed)))
        assert evaluate(network, MATERIAL, tests=tests) == evaluate(network, MATERIAL)
    assert not passes


def test_other_kinds_take_the_place_of_the_one_that_is_kept(tests: CapturedTests, passes: list[Step]) -> None:
    for model in ("convnet1(width=4)", "convnet2(width=8)", "convnet2(width=8)", "convnet1(width=4)"):
        assert evaluate(student(0, model), MATERIAL, tests=tests) == evaluate(student(0, model), MATERIAL)
    assert len(passes) == 3


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("precision", ["float32", "bf16"])
def test_on_a_gpu_a_captured_pass_answers_what_the_test_does(precision: str) -> None:
    material, tests = Material.on_device("cuda", MATERIAL.images, MATERIAL.labels), CapturedTests()
    for seed in range(2):
        network = student(seed).cuda()
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            ours = evaluate(network, material, precision, batch_size=10, tests=tests)  # type: ignore[arg-type]
        own = evaluate(network, material, precision, batch_size=10)  # type: ignore[arg-type]
        assert abs(ours["accuracy"] - own["accuracy"]) < 5  # the last batch is filled up: other kernels, other last digits
