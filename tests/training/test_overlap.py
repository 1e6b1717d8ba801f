"""Trainings side by side, and the captured trainings that are kept; on the CPU with a recorder that repeats the step itself."""

from __future__ import annotations

import copy
import functools
import warnings
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Generator, Tensor, nn

from harness import losses, models, optimizers
from harness.core import seeds
from harness.losses.targets import Targets
from harness.training.batches import Criterion
from harness.training.devices import on_device
from harness.training.evaluation import evaluate
from harness.training.graphs import Captured, Step
from harness.training.loop import fit
from harness.training.overlap import AskedTogether, Graphs, Overlapped, signature, structure
from harness.training.values import Fit, Material, Member, Recipe

SHAPE, CLASSES = (3, 8, 8), 5
MATERIAL = Material.on_device("cpu", torch.randn(23, *SHAPE, generator=Generator().manual_seed(1)), torch.arange(23) % CLASSES)
RECIPE = Recipe(
    epochs=4,
    batch_size=5,  # the last batch has three
    optimizer=optimizers.resolve("adamw"),
    schedule=optimizers.schedules.resolve("multistep"),
    augmentation="color_crop_cutout_flip_scale_rotate",
    evaluations=2,
)


def repeated(step: Step, streams: Iterable[Generator], at: Any = None) -> Step:
    return step


def student(seed: int, model: str = "convnet2(width=8)") -> nn.Module:
    torch.manual_seed(seeds.derive(seed, "init"))
    built = models.build(model, SHAPE, CLASSES)
    torch.manual_seed(seeds.derive(seed, "dropout"))
    return on_device(built, "cpu")


def teacher() -> nn.Module:
    return student(99).eval()


def member(seed: int, loss: str = "gift", model: str = "convnet2(width=8)") -> Member:
    return Member(student(seed, model), losses.create(loss), seed, lambda network: evaluate(network, MATERIAL))


def weights(network: nn.Module) -> Tensor:
    return torch.cat([value.double().flatten() for value in network.state_dict().values()])


def one_at_a_time(group: list[Member]) -> list[tuple[Tensor, Fit]]:
    """Train each of a group by captured steps of its own."""
    found = []
    for one in group:
        made = Captured([one], MATERIAL, RECIPE, teacher(), repeated)
        found.append((made.fit([one], RECIPE)[0], weights(one.student)))
    return [(after, fitted) for fitted, after in found]


def test_trainings_side_by_side_do_what_each_does_alone_to_the_bit() -> None:
    made = Overlapped([member(0), member(0, "kl"), member(0)], MATERIAL, RECIPE, teacher(), repeated)
    for first in (0, 10):  # made once, used twice
        group, same = ([member(first), member(first + 1, "kl"), member(first + 2)] for _ in range(2))
        fits = made.fit(group, RECIPE)
        for one, found, (expected, fitted) in zip(group, fits, one_at_a_time(same), strict=True):
            assert torch.equal(weights(one.student), expected)
            assert found.history == fitted.history
            assert (found.epochs, found.steps) == (4, 20)


@pytest.mark.parametrize("mixing", ["none", "cutmix"])
def test_a_teacher_that_is_asked_for_all_at_once_teaches_what_it_teaches_each(mixing: str) -> None:
    """In float64, in which the teacher's larger batch, of another kernel, adds no difference that training could magnify."""
    material, recipe = replace(MATERIAL, images=MATERIAL.images.double()), replace(RECIPE, mixing=mixing)
    asked: list[int] = []
    taught = teacher().double()

    def teach(images: Tensor) -> Tensor:
        asked.append(len(images))
        return taught(images)

    def group(*numbers: int) -> list[Member]:
        made = [member(seed, loss) for seed, loss in zip(numbers, ("gift", "kl", "gift"), strict=True)]
        return [replace(one, student=one.student.double(), evaluate=None) for one in made]

    together = AskedTogether(group(0, 0, 1), material, recipe, teach, repeated)
    for numbers in ((3, 3, 8), (5, 5, 4)):  # made once, used twice; the first two share a seed
        asked.clear()
        trained = group(*numbers)
        fits = together.fit(trained, recipe)
        assert [fit.steps for fit in fits] == [20] * 3
        assert sorted({*asked}) == [6, 10] and len(asked) == 20  # for two seeds, once a step
        for one, same in zip(trained, group(*numbers), strict=True):
            Captured([same], material, recipe, teach, repeated).fit([same], recipe)
            torch.testing.assert_close(weights(one.student), weights(same.student), rtol=1e-6, atol=1e-8)


def test_without_a_teacher_those_of_a_seed_are_given_what_each_is_given_alone_to_the_bit() -> None:
    group, same = ([member(seed, "ce") for seed in (2, 2, 6)] for _ in range(2))
    group[1] = replace(group[1], student=student(7))
    same[1] = replace(same[1], student=student(7))
    AskedTogether(group, MATERIAL, RECIPE, None, repeated).fit(group, RECIPE)
    for one, other in zip(group, same, strict=True):
        Captured([other], MATERIAL, RECIPE, None, repeated).fit([other], RECIPE)
        assert torch.equal(weights(one.student), weights(other.student))


def test_one_that_diverges_leaves_the_others_alone() -> None:
    def rocket(logits: Tensor, targets: Any) -> Tensor:
        return logits.sum() * torch.inf

    group = [member(0), member(1)]
    made = Overlapped([member(0), member(0)], MATERIAL, RECIPE, teacher(), repeated)
    made.parts[1].job.objective.criterion = Criterion([rocket])
    fits = made.fit(group, RECIPE)
    assert [found.diverged for found in fits] == [False, True]
    assert torch.equal(weights(group[0].student), one_at_a_time([member(0)])[0][0])


def test_students_that_draw_from_torchs_own_stream_are_refused() -> None:
    deep = "timm/convnext_atto(drop_path=0.5)"
    with pytest.raises(RuntimeError, match="own random stream"):
        Overlapped([member(0, model=deep), member(1, model=deep)], MATERIAL, RECIPE, teacher(), repeated)


@pytest.mark.parametrize("kind", [Overlapped, AskedTogether])
def test_timing_them_leaves_the_weights_alone(kind: type[Overlapped]) -> None:
    made = kind([member(0), member(1)], MATERIAL, RECIPE, teacher(), repeated)
    before = [weights(part.job.network.students[0]) for part in made.parts]
    assert made.seconds_per_step(2) > 0
    assert all(torch.equal(weights(part.job.network.students[0]), was) for part, was in zip(made.parts, before, strict=True))


def test_signatures_tell_losses_apart() -> None:
    assert signature(losses.create("gift")) == signature(losses.create("gift"))
    assert signature(losses.create("gift")) == signature(losses.create({"name": "gift", "gamma": 0.1}))
    assert signature(losses.create("gift")) != signature(losses.create("gift(gamma=0.2)"))
    assert signature(losses.create("gift")) != signature(losses.create("gift_reference"))


def test_what_is_made_of_a_loss_has_a_signature_of_its_own() -> None:
    plain = losses.create("gift")

    @functools.wraps(plain)  # which copies what the loss says of itself
    def doubled(logits: Tensor, targets: Targets) -> Tensor:
        return 2 * plain(logits, targets)

    assert len({signature(loss) for loss in (plain, doubled, functools.partial(plain), copy.copy(plain))}) == 4


class Distance:
    """A loss that is a class."""

    def __init__(self, *, power: float = 2.0) -> None:
        self.power = power

    def __call__(self, logits: Tensor, targets: Targets) -> Tensor:
        return (logits - targets.logits()).abs().pow(self.power).mean()


class Module(nn.Module):
    """A loss that is a module."""

    def __init__(self, *, power: float = 2.0) -> None:
        super().__init__()
        self.power = power

    def forward(self, logits: Tensor, targets: Targets) -> Tensor:
        return (logits - targets.logits()).abs().pow(self.power).mean()


@pytest.fixture(params=[Distance, Module])
def distance(request: pytest.FixtureRequest) -> Iterator[str]:
    losses.register("distance")(request.param)
    yield "distance"
    losses.registry.remove("distance")


def test_two_instances_of_a_class_are_one_loss_where_their_parameters_are_the_same(distance: str) -> None:
    one, other = losses.create(distance), losses.create(distance)
    assert one is not other
    assert signature(one) == signature(other) != signature(losses.create(f"{distance}(power=3)"))
    assert signature(Distance()) != signature(Distance())


def test_a_name_that_was_given_to_something_else_is_another_loss(distance: str) -> None:
    before = losses.create(distance)
    losses.registry.remove(distance)
    losses.register(distance)(lambda logits, targets: logits.square().mean())
    assert signature(losses.create(distance)) != signature(before)


def test_structures_tell_students_apart() -> None:
    assert structure(student(0)) == structure(student(1))
    assert structure(student(0)) != structure(student(0, "convnet2(width=8, norm=instance)"))
    hooked = student(0)
    hooked.register_forward_hook(lambda *given: None)
    assert structure(hooked) is None


class TestGraphs:
    @pytest.fixture(autouse=True)
    def _on_the_cpu(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("harness.training.graphs.cuda_graph", repeated)

    def test_the_latest_is_kept_for_its_kind(self) -> None:
        graphs, taught = Graphs(), teacher()
        first = graphs.get([member(0)], MATERIAL, RECIPE, taught)
        assert first is not None
        assert graphs.get([member(1)], MATERIAL, replace(RECIPE, epochs=99, evaluations=1), taught) is first
        assert graphs.get([member(1, "kl")], MATERIAL, RECIPE, taught) is not first

    def test_those_that_are_asked_together_are_kept_for_others_that_share_seeds_alike(self) -> None:
        graphs, taught = Graphs(repeated), teacher()

        def get(*numbers: int) -> Any:
            return graphs.get([member(number) for number in numbers], MATERIAL, RECIPE, taught, "asked together")

        first = get(0, 0, 1)
        assert isinstance(first, AskedTogether)
        assert get(4, 4, 2) is first
        assert get(4, 2, 2) is not first

    def test_a_loss_that_is_a_class_is_kept_like_a_function(self, distance: str) -> None:
        graphs, taught = Graphs(), teacher()
        first = graphs.get([member(0, distance)], MATERIAL, RECIPE, taught)
        assert first is not None
        assert graphs.get([member(1, distance)], MATERIAL, RECIPE, taught) is first
        assert graphs.get([member(1, f"{distance}(power=3)")], MATERIAL, RECIPE, taught) is not first

    def test_a_refusal_is_said_once(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def refuse(step: Step, streams: Iterable[Generator], at: Any = None) -> Step:
            raise RuntimeError("operation not permitted when stream is capturing")

        monkeypatch.setattr("harness.training.graphs.cuda_graph", refuse)
        graphs, taught = Graphs(), teacher()
        with pytest.warns(UserWarning, match="not permitted when stream is capturing"):
            assert graphs.get([member(0)], MATERIAL, RECIPE, taught) is None
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            assert graphs.get([member(0)], MATERIAL, RECIPE, taught) is None


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("kind", [Overlapped, AskedTogether])
def test_on_a_gpu_streams_train_what_each_trains_alone(kind: type[Overlapped]) -> None:
    material = replace(MATERIAL, images=MATERIAL.images.cuda(), labels=MATERIAL.labels.cuda())
    taught = teacher().cuda()

    def group(first: int) -> list[Member]:
        return [replace(member(first + k), student=student(first + k).cuda(), evaluate=None) for k in range(4)]

    made = kind(group(0), material, RECIPE, taught)
    for first in (0, 10):
        found, same = group(first), group(first)
        made.fit(found, RECIPE)
        for one, other in zip(found, same, strict=True):
            fit(other.student, material, other.loss, RECIPE, seed=other.seed, teacher=taught)
            torch.testing.assert_close(weights(one.student), weights(other.student), rtol=1e-3, atol=1e-4)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_on_a_gpu_a_stack_in_float32_normalises_without_cudnn() -> None:
    """Batch norm in float32 would be cuDNN's, which a stack cannot have; in float64 it never is."""
    material = replace(MATERIAL, images=MATERIAL.images.cuda(), labels=MATERIAL.labels.cuda())
    taught, group = teacher().cuda(), [replace(member(k), student=student(k).cuda(), evaluate=None) for k in range(3)]
    Captured(group, material, RECIPE, taught).fit(group, RECIPE)
    for one in group:
        other = student(one.seed).cuda()
        fit(other, material, one.loss, RECIPE, seed=one.seed, teacher=taught)
        close = torch.isclose(weights(one.student), weights(other), rtol=1e-2, atol=1e-2)
        assert close.float().mean() > 0.95  # Adam turns the float noise of a bias before a batch norm into steps
