"""What trials cost before any has run: operations against a count by hand, and costs against these."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import product
from typing import Any

import pytest
import torch
from torch import nn

from harness import datasets, models
from harness.boards.trial import Trial
from harness.core.spec import Spec
from harness.planning.artefacts import Artefacts
from harness.running import costs
from harness.running.costs import Costs, Facts, Operations, Rates, forward_operations, one_training, operations
from tests.simulated_boards import COSTS, trial

NOTHING = float("inf")  # so many a second that they cost nothing
FACTS = {"digits": Facts((1, 16, 16), 10, 500)}
TEACHER = {("teacher",): [Spec.model_validate("convnet2(width=8)")]}


# -- operations --------------------------------------------------------------------------------------------------------------


def counted_anew(model: str, shape: tuple[int, int, int], classes: int) -> Operations:
    """The operations of a model, whatever was counted before."""
    costs._operations.cache_clear()
    return operations(model, shape, classes)


def test_operations_are_those_of_the_layers() -> None:
    found = operations(Spec.model_validate("convnet1(width=8)").model_dump_json(), (3, 16, 16), 10)
    convolution, linear = 16 * 16 * 8 * (3 * 9), 10 * (8 * 8 * 8)
    assert found.multiplications == convolution + linear
    assert found.parameters == 8 * 27 + 8 + 2 * 8 + 10 * 512 + 10
    assert found.calls == 5  # convolution, norm, ReLU, pool, linear
    assert found.elements == 3 * (8 * 16 * 16) + 8 * 8 * 8 + 10


def test_a_large_model_is_counted_without_computing_it(monkeypatch: pytest.MonkeyPatch) -> None:
    small, large = (Spec.model_validate(f"convnet3(width={width})").model_dump_json() for width in (16, 24))
    computed = counted_anew(small, (3, 32, 32), 10)
    monkeypatch.setattr("harness.running.costs.SMALL", 0)
    assert counted_anew(small, (3, 32, 32), 10) == computed
    assert counted_anew(large, (3, 32, 32), 10).multiplications > 1.5 * computed.multiplications


def test_a_model_that_cannot_be_counted_costs_by_its_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("harness.running.costs._counted", lambda *given: 1 / 0)
    found = counted_anew(Spec.model_validate("convnet1(width=8)").model_dump_json(), (1, 16, 16), 10)
    assert found.parameters > 0
    assert found.multiplications > found.parameters


def test_what_a_student_holds_in_training_are_four_numbers_a_weight() -> None:
    weights = models.parameters_count(models.build("convnet3(width=64)", (1, 16, 16), 10))
    assert COSTS.held(trial("convnet3(width=64)", images=1000, loss="ce")) == 4 * 4 * weights


def test_costs_follow_images_epochs_and_teachers() -> None:
    usual = COSTS(trial())
    assert COSTS(trial(epochs=200)) == pytest.approx(2 * usual, rel=0.1)
    assert COSTS(trial(images=200)) == pytest.approx(2 * usual, rel=0.1)
    assert COSTS(trial(loss="ce")) < 0.85 * usual
    assert COSTS(trial("convnet3(width=64)")) > 1.5 * usual


def test_floating_point_operations_are_two_a_multiplication() -> None:
    """ConvNet-1: a 3x3 convolution and a linear layer, two operations a multiplication."""
    model = models.registry.resolve("convnet1(width=8)").spec.model_dump_json()
    assert forward_operations(model, (1, 8, 8), 10) == 2 * (64 * 9 * 8 + 8 * 16 * 10)
    assert forward_operations('{"name": "no such model"}', (1, 8, 8), 10) == float("inf")


def of(name: str, shape: tuple[int, int, int] = (1, 16, 16), classes: int = 10) -> Operations:
    return operations(Spec.model_validate(name).model_dump_json(), shape, classes)


@pytest.fixture
def odd() -> Iterator[str]:
    """A student that counts 2 weights and runs on no zeros."""

    @models.register("odd")
    def odd(shape: tuple[int, int, int], classes: int) -> nn.Module:
        class Odd(nn.Linear):
            def forward(self, images: torch.Tensor) -> torch.Tensor:
                raise ZeroDivisionError

        return Odd(2, 1, bias=False)

    yield "odd"
    models.registry.remove("odd")


def test_a_students_pass_that_fails_is_one_over_its_weights_and_never_taken_for_small(odd: str) -> None:
    assert of(odd).parameters == 2
    assert of(odd).multiplications == 50 * 2
    assert forward_operations(Spec(name=odd).model_dump_json(), (1, 16, 16), 10) == float("inf")


def test_counting_draws_from_nobodys_stream() -> None:
    costs._operations.cache_clear()
    state = torch.get_rng_state()
    of("convnet2(width=8)")
    assert torch.equal(torch.get_rng_state(), state)


# -- costs -------------------------------------------------------------------------------------------------------------------


def only(monkeypatch: pytest.MonkeyPatch, test_batch: int = 100, **rates: float) -> Costs:
    """Return costs of which one part alone takes time: its rate is given, and all others are endless."""
    usual = dict.fromkeys(("multiplications", "elements", "calls", "parameters"), NOTHING)
    monkeypatch.setitem(costs.RATES, "cpu", Rates(**usual | rates, test_batch=test_batch, stacked=1.0))
    return Costs("cpu", FACTS, TEACHER)


@pytest.mark.parametrize(("images", "epochs", "loss"), list(product((10, 120), (3, 8), ("gift", "ce"))))
def test_a_cost_is_that_of_three_passes_a_training_image_one_of_the_teacher_and_one_a_test_image(
    monkeypatch: pytest.MonkeyPatch, images: int, epochs: int, loss: str
) -> None:
    asked = trial("convnet1(width=8)", images=images, epochs=epochs, loss=loss)
    student, teacher = of("convnet1(width=8)"), of("convnet2(width=8)")
    steps = epochs * {10: 1, 120: 3}[images]
    taught = 1 if loss == "gift" else 0
    by_multiplication = only(monkeypatch, multiplications=2.0)(asked)
    multiplications = epochs * images * (3 * student.multiplications + taught * teacher.multiplications)
    assert by_multiplication == pytest.approx((multiplications + 500 * student.multiplications) / 2)
    by_call = only(monkeypatch, calls=4.0)(asked)
    assert by_call == pytest.approx((steps * (3 * student.calls + taught * teacher.calls + 60) + 5 * student.calls) / 4)
    assert only(monkeypatch, parameters=8.0)(asked) == pytest.approx(steps * student.parameters / 8)


def test_fixed_labels_are_asked_of_no_teacher_in_training() -> None:
    taught = trial()
    fixed = trial(protocol=taught.protocol.model_copy(update={"labels": "fixed"}))
    assert COSTS(fixed) == COSTS(trial(teacher=())) < COSTS(taught)


def test_what_a_scenario_trains_and_tests_is_asked_of_it() -> None:
    twice = Costs("cpu", FACTS, TEACHER, lambda given, tests: [*one_training(given, tests)] * 2)
    assert twice(trial()) == pytest.approx(2 * Costs("cpu", FACTS, TEACHER)(trial()))
    nothing = Costs("cpu", FACTS, TEACHER, lambda given, tests: [])
    assert 0 < nothing(trial()) < 1e-6  # shares are taken of it


def test_trials_of_one_workload_are_reckoned_once(monkeypatch: pytest.MonkeyPatch) -> None:
    reckoned: list[int] = []

    def trainings(given: Trial, tests: int) -> Any:
        reckoned.append(given.seed)
        return one_training(given, tests)

    costs_of = Costs("cpu", FACTS, TEACHER, trainings)
    assert len({costs_of(trial(seed=seed, loss=loss)) for seed in range(3) for loss in ("gift", "kl")}) == 1
    assert reckoned == [0]


@pytest.mark.parametrize(("device", "kind"), [("cpu", "cpu"), ("cuda", "cuda"), ("cuda:1", "cuda")])
def test_every_gpu_has_the_rates_of_one(device: str, kind: str) -> None:
    assert Costs(device, FACTS).rates is costs.RATES[kind]


def test_costs_of_trials_rest_on_their_dataset_and_on_the_models_of_their_teachers(
    plan: Callable[..., list[Trial]], artefacts: Artefacts
) -> None:
    trials, digits = plan(losses=["gift", "ce"], scenarios=["loss-comparison"]), datasets.load("digits")
    (teacher,) = {one.teacher for one in trials if one.teacher}
    found = Costs.of(trials, [digits], artefacts, "cpu", one_training)
    assert found.datasets == {digits.digest: Facts(digits.shape, 10, len(digits.test))}
    (model,) = found.teachers[teacher]
    assert (model.name, model.options["width"]) == ("convnet1", 8)
    assert found.teachers[()] == []
    assert len({found(one) for one in trials}) == 2
