"""The resident loop: what reaches the loss, that it is `fit` with a stream around it, and that it never waits for the device."""

from __future__ import annotations

import copy
import math
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils._python_dispatch import TorchDispatchMode

from harness import losses
from harness.boards.stages import Stage
from harness.boards.trial import Trial
from harness.continual import loop, strategies
from harness.continual.loop import Batches, OnlySeen, Seen, step_seed
from harness.core.errors import DataError
from harness.core.spec import Spec
from harness.losses.targets import Targets
from harness.running.scenario import named
from harness.running.workbench import Workbench, recipe
from harness.training.loop import fit
from harness.training.values import Material

Bench = Callable[..., tuple[list[Trial], Workbench]]


@pytest.fixture
def soft_targets() -> Targets:
    return Targets(torch.tensor([7, 2, 7]), torch.randn(3, 10, generator=torch.Generator().manual_seed(0)))


@pytest.mark.parametrize("name", losses.names())
def test_nothing_of_classes_not_met_reaches_the_loss(name: str, soft_targets: Targets) -> None:
    """Change every soft label and every logit of the other classes: value and gradient stay as they are, to the bit."""
    seen, loss = Seen([7, 2, 4], 10, "cpu"), losses.create(name)
    logits = torch.randn(3, 10, generator=torch.Generator().manual_seed(1))
    unseen = [c for c in range(10) if c not in (7, 2, 4)]
    results = []
    for change in (0.0, 1e3):
        z, soft = logits.clone(), soft_targets.soft.clone()  # type: ignore[union-attr]
        z[:, unseen] += change * torch.randn(3, 7, generator=torch.Generator().manual_seed(2))
        soft[:, unseen] += change
        z.requires_grad_()
        value = loss(seen.logits(z), seen.targets(Targets(soft_targets.hard, soft)))
        (gradient,) = torch.autograd.grad(value, z)
        results.append((value.detach(), gradient))
    assert torch.equal(results[0][0], results[1][0])
    assert torch.equal(results[0][1], results[1][1])
    assert not results[0][1][:, unseen].any()


@pytest.mark.parametrize("name", losses.names())
def test_a_first_step_of_one_class_leaves_every_loss_finite(name: str, soft_targets: Targets) -> None:
    seen, z = Seen([7], 10, "cpu"), torch.randn(2, 10, requires_grad=True)
    value = losses.create(name)(seen.logits(z), seen.targets(Targets(torch.tensor([7, 7]), soft_targets.soft[:2])))  # type: ignore[index]
    (gradient,) = torch.autograd.grad(value, z)
    assert value.isfinite()
    assert gradient.isfinite().all()


def test_unsliced_labels_do_tell_of_classes_not_met(soft_targets: Targets) -> None:
    seen, loss = Seen([7, 2, 4], 10, "cpu", sliced=False), losses.create("kl")
    logits = torch.randn(3, 10)
    changed = soft_targets.soft.clone()  # type: ignore[union-attr]
    changed[:, 0] += 5
    values = [loss(seen.logits(logits), seen.targets(Targets(soft_targets.hard, soft))) for soft in (soft_targets.soft, changed)]
    assert values[0] != values[1]


def test_sliced_probabilities_sum_to_one_again() -> None:
    given = Targets(torch.tensor([1]), torch.tensor([[0.5, 0.2, 0.1, 0.2]]), "probabilities", 0.3)
    found = Seen([3, 1], 4, "cpu").targets(given)
    assert torch.allclose(found.soft, torch.tensor([[0.5, 0.5]]))  # type: ignore[arg-type]
    assert found.hard is not None
    assert (found.hard.tolist(), found.kind, found.progress) == ([0], "probabilities", 0.3)


def test_a_student_answers_with_classes_it_has_met() -> None:
    class Fixed(nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            return torch.tensor([[torch.inf, 1.0, 2.0, -9.0]]).repeat(len(images), 1)

    answer = OnlySeen(Fixed(), Seen([1, 2, 3], 4, "cpu"))(torch.zeros(2, 1))
    assert answer.argmax(1).tolist() == [2, 2]
    assert answer.isfinite().all() and answer[0, 0] < -1e38


def learner(trial: Trial, workbench: Workbench) -> tuple[Any, Any]:
    return named("class-incremental").learner(trial, workbench)  # type: ignore[attr-defined,no-any-return]


@pytest.mark.parametrize(("loss", "mixing"), [("gift", "none"), ("gift", "cutmix"), ("kl", "mixup"), ("ce", "cutmix")])
def test_gdumb_is_fit_on_each_steps_memory_to_the_bit(bench: Bench, loss: str, mixing: str) -> None:
    (trial,), workbench = bench({"steps": 3}, losses=[loss], protocol={"name": "smoke", "epochs": 3, "mixing": mixing})
    material, first = workbench.material(trial), workbench.student(trial)
    strategy, experiences = learner(trial, workbench)
    for step, experience in enumerate(experiences, start=1):
        strategy.train(experience, eval_streams=[])
        met = [c for group in strategy.groups for c in group]
        seen = Seen(met, 10, "cpu")
        chosen = torch.isin(material.labels, seen.columns)
        memory = replace(material, images=material.images[chosen], labels=material.labels[chosen])
        alone = copy.deepcopy(first)
        plain = workbench.loss(trial)

        def sliced(z: Tensor, t: Targets, seen: Seen = seen, plain: Any = plain) -> Tensor:
            return plain(seen.logits(z), seen.targets(t))  # type: ignore[no-any-return]

        fit(alone, memory, sliced, recipe(trial), seed=step_seed(trial.seed, step), teacher=workbench.soft_labels(trial))
        for ours, theirs in zip(strategy.model.parameters(), alone.parameters(), strict=True):
            assert torch.equal(ours, theirs)


def test_what_a_loss_keeps_of_its_batches_ends_with_the_step(bench: Bench) -> None:
    (trial,), workbench = bench({"steps": 5}, losses=["calibrated_kl"], protocol={"name": "smoke", "epochs": 1})
    weights = []
    for kept in ({}, {"temperature": 0.01}):
        strategy, experiences = learner(trial, workbench)
        strategy.train(experiences[0], eval_streams=[])
        (memory,) = strategy._objective.criterion.memories
        assert memory["progress"] == 0
        memory |= kept
        strategy.train(experiences[1], eval_streams=[])
        weights.append(torch.cat([parameter.detach().flatten() for parameter in strategy.model.parameters()]))
    assert torch.equal(*weights)


def test_a_step_does_not_wait_for_the_device(bench: Bench) -> None:
    """No operation whose result the host must see, and no sample by itself, while an epoch runs."""
    (trial,), workbench = bench({"steps": 5}, losses=["gift"], protocol={"name": "smoke", "epochs": 2})
    strategy, experiences = learner(trial, workbench)
    strategy.train(experiences[0], eval_streams=[])
    train_epoch, seen = type(strategy).training_epoch, []

    class NoSync(TorchDispatchMode):
        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            assert func not in (torch.ops.aten._local_scalar_dense.default, torch.ops.aten.nonzero.default), func
            seen.append(func)
            return func(*args, **(kwargs or {}))

    def guarded(self: Any, **kwargs: Any) -> None:
        with NoSync():
            train_epoch(self, **kwargs)

    strategy.training_epoch = guarded.__get__(strategy)
    strategy.train(experiences[1], eval_streams=[])
    assert seen


def test_batches_hold_every_image_once_an_epoch() -> None:
    material = Material(torch.arange(7.0).view(7, 1, 1, 1), torch.arange(7), soft=torch.arange(7.0)[:, None])
    batches = Batches(material, [(torch.tensor([1, 3, 4, 6, 5]), 2)], torch.Generator().manual_seed(0))
    epochs = [list(batches) for _ in range(2)]
    for epoch in epochs:
        assert len(epoch) == len(batches) == 2  # a last batch of one joins the one before it
        images, labels, soft, task = (torch.cat(part) for part in zip(*epoch, strict=True))
        assert sorted(labels.tolist()) == [1, 3, 4, 5, 6]
        assert images.flatten().tolist() == labels.tolist() == soft.flatten().tolist()
        assert not task.any()
    assert [b[1].tolist() for b in epochs[0]] != [b[1].tolist() for b in epochs[1]]


def test_a_memory_that_is_smaller_starts_over_and_the_current_data_decide_the_length() -> None:
    material = Material(torch.arange(9.0).view(9, 1, 1, 1), torch.arange(9))
    batches = Batches(material, [(torch.arange(6), 2), (torch.tensor([6, 7, 8]), 3)], torch.Generator().manual_seed(0))
    epoch = [labels.tolist() for _, labels, _ in batches]
    assert [len(labels) for labels in epoch] == [5, 5, 5]
    assert all(sorted(labels[2:]) == [6, 7, 8] for labels in epoch)
    assert sorted(label for labels in epoch for label in labels[:2]) == list(range(6))


@pytest.mark.parametrize("name", ["GDumb", "Naive", "Replay", "Cumulative"])
def test_strategies_see_what_their_names_say(bench: Bench, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    (trial,), workbench = bench({"steps": 5, "strategies": [name]}, losses=["ce"])
    strategy, experiences = learner(trial, workbench)
    shown: list[set[int]] = []
    iterate = Batches.__iter__

    def watched(self: Batches) -> Iterator[list[Tensor]]:
        for batch in iterate(self):
            shown[-1].update(batch[1].tolist())
            yield batch

    monkeypatch.setattr(Batches, "__iter__", watched)
    for experience in experiences:
        shown.append(set())
        strategy.train(experience, eval_streams=[])
    brought = [set(group) for group in strategy.groups]
    expected = brought if name == "Naive" else [set().union(*brought[: k + 1]) for k in range(5)]
    assert shown == expected


@pytest.mark.parametrize("name", ["GDumb", "Replay"])
def test_a_memory_budget_is_kept(bench: Bench, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    (trial,), workbench = bench({"steps": 5, "strategies": name, "memory": 10}, losses=["ce"])
    strategy, experiences = learner(trial, workbench)
    sizes: list[int] = []
    made = Batches.__init__

    def watched(self: Batches, material: Material, parts: Any, order: torch.Generator) -> None:
        sizes.append(len(parts[-1][0]))
        made(self, material, parts, order)

    monkeypatch.setattr(Batches, "__init__", watched)
    for experience in experiences:
        sizes.clear()
        strategy.train(experience, eval_streams=[])
    assert sizes[-1] == 10  # of 30 images, as the memory of the last step


#: What those need that have a parameter without a default.
GIVEN = {
    "AGEM": "patterns_per_exp=4",
    "AGEMPlugin": "patterns_per_experience=4, sample_size=4",
    "EWC": "ewc_lambda=1.0",
    "EWCPlugin": "ewc_lambda=1.0",
    "GEM": "patterns_per_exp=4",
    "GEMPlugin": "patterns_per_experience=4, memory_strength=0.5",
    "LwF": "alpha=1, temperature=2",
    "MIR": "subsample=10",
    "MIRPlugin": "batch_size_mem=2",
    "RWalkPlugin": "delta_t=2",
    "SynapticIntelligence": "si_lambda=0.1",
    "SynapticIntelligencePlugin": "si_lambda=0.1",
}


@pytest.mark.parametrize("name", strategies.USABLE)
def test_every_strategy_that_is_listed_runs_and_gives_its_number_again(bench: Bench, name: str) -> None:
    board: dict[str, Any] = {"losses": ["ce"], "model": "convnet1(width=4)", "protocol": {"name": "smoke", "epochs": 2}}
    (trial,), workbench = bench({"steps": 3, "strategies": [f"{name}({GIVEN[name]})" if name in GIVEN else name]}, **board)
    random.seed(0)
    outcome = named("class-incremental").run(trial, workbench)
    assert outcome.status == "done"
    assert [entry["classes"] for entry in outcome.history] == [4, 7, 10]
    random.seed(1)
    torch.manual_seed(1)
    assert named("class-incremental").run(trial, workbench).history == outcome.history


@pytest.mark.parametrize("name", ["DER", "ER_ACE", "MIR(subsample=10)", "EWC(ewc_lambda=1.0)", "ICaRL", "MemoryNCMUpdate"])
def test_a_loader_that_is_not_ours_meets_soft_labels_and_large_sets(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """Pixels stay uint8 where floats would take too much room, and soft labels lie in the material beside the images."""
    (trial, *_), workbench = bench({"steps": 3, "strategies": [name]}, losses=["kl"], model="convnet1(width=4)")
    floats = workbench.material(trial)
    pixels = replace(
        floats,
        images=workbench.distilled(trial).images,
        mean=workbench.dataset(trial).mean,
        std=workbench.dataset(trial).std,
        soft=torch.randn(30, 10, generator=torch.Generator().manual_seed(0)),
    )
    outcomes = []
    for material in (replace(floats, soft=pixels.soft), pixels):
        monkeypatch.setattr(workbench, "material", lambda trial, material=material: material)
        outcomes.append(named("class-incremental").run(trial, workbench).history)
    assert outcomes[0] == outcomes[1]


def test_icarl_trains_on_the_step_and_its_exemplars_as_the_protocol_augments_them(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    (trial,), workbench = bench({"steps": 5, "strategies": "ICaRL", "memory": 10}, losses=["gift"])
    strategy, experiences = learner(trial, workbench)
    shown: list[Tensor] = []
    made = Batches.__init__

    def watched(self: Batches, material: Material, parts: Any, order: torch.Generator) -> None:
        ((index, _),) = parts
        shown.append(index)
        made(self, material, parts, order)

    monkeypatch.setattr(Batches, "__init__", watched)
    for experience in experiences:
        strategy.train(experience, eval_streams=[])
        index = shown[-1]
        labels = workbench.material(trial).labels[index].tolist()
        brought = strategy.groups[-1]
        earlier = {c for group in strategy.groups[:-1] for c in group}
        assert len(set(index.tolist())) == len(index)
        assert all(labels.count(c) == 3 for c in brought)
        assert set(labels) == earlier | {*brought}
        assert all(labels.count(c) <= math.ceil(10 / len(earlier)) for c in earlier)
    assert len(shown) == 5


def test_icarl_answers_at_test_with_the_nearest_class_mean(bench: Bench) -> None:
    (trial,), workbench = bench({"steps": 5, "strategies": "ICaRL"}, losses=["ce"])
    strategy, experiences = learner(trial, workbench)
    for experience in list(experiences)[:2]:
        strategy.train(experience, eval_streams=[])
    images = workbench.test_material(trial).batch(torch.arange(20))
    met = sorted(c for group in strategy.groups for c in group)
    answers = OnlySeen(strategy.model, Seen(met, 10, "cpu")).eval()(images).argmax(1)
    features = functional.normalize(strategy.model.feature_extractor(images))
    means = torch.stack([strategy.model.eval_classifier.class_means[c] for c in met])
    assert answers.tolist() == [met[k] for k in torch.cdist(features, means).argmin(1).tolist()]


@pytest.mark.parametrize("strategy", ["Naive", "GDumb"])
def test_a_stream_whose_last_step_leaves_no_answer_has_diverged(bench: Bench, strategy: str) -> None:
    one_step = {"name": "smoke", "epochs": 1, "batch_size": 50}
    (trial,), workbench = bench(
        {"steps": 1, "strategies": strategy}, losses=["ce"], model="convnet1(width=8, norm=none)", protocol=one_step
    )
    trial = trial.model_copy(update={"optimizer": Spec(name="sgd", options={**SGD, "lr": 1e30})})
    outcome = named("class-incremental").run(trial, workbench)
    assert outcome.status == "diverged"
    assert outcome.metrics["steps"] == 1


def test_a_loss_of_a_strategys_own_that_is_not_finite_is_said(bench: Bench) -> None:
    for name in ("ICaRL", "ER_ACE"):
        (trial,), workbench = bench({"steps": 2, "strategies": name}, losses=["ce"], protocol={"name": "smoke", "epochs": 8})
        trial = trial.model_copy(update={"optimizer": Spec(name="sgd", options={**SGD, "lr": 1e38})})
        assert named("class-incremental").run(trial, workbench).status == "diverged"


def test_der_replays_a_batch_that_its_memory_holds_from_the_second_step_on(bench: Bench) -> None:
    for name in ("DER", "ER_ACE"):
        (trial,), workbench = bench({"steps": 5, "strategies": name}, losses=["ce"], sets=[{"method": "random", "ipc": 1}])
        strategy, experiences = learner(trial, workbench)
        assert strategy.batch_size_mem == 2
        loaders = []
        train_epoch = type(strategy).training_epoch

        def watched(self: Any, train_epoch: Any = train_epoch, loaders: Any = loaders, **kwargs: Any) -> None:
            loaders.append(self.replay_loader is not None)
            train_epoch(self, **kwargs)

        strategy.training_epoch = watched.__get__(strategy)
        for experience in experiences:
            strategy.train(experience, eval_streams=[])
        epochs = trial.protocol.epochs
        assert loaders == [False] * epochs + [True] * epochs * 4


def test_a_strategy_that_draws_from_pythons_own_stream_gives_its_number_again(bench: Bench) -> None:
    (trial,), workbench = bench({"steps": 2, "strategies": ["AGEM(patterns_per_exp=4)"]}, losses=["ce"])
    outcomes = []
    for number in range(2):
        random.seed(number)
        outcomes.append(named("class-incremental").run(trial, workbench))
    assert outcomes[0].history == outcomes[1].history


def test_it_trains_in_the_recipes_precision(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    (trial,), workbench = bench({"steps": 2}, losses=["ce"], protocol={"name": "smoke", "precision": "bf16"})
    strategy, experiences = learner(trial, workbench)
    inside: list[tuple[str, str]] = []
    entered: list[int] = []

    @contextmanager
    def watched(device: torch.device, precision: str) -> Iterator[None]:
        inside.append((str(device), precision))
        yield
        inside.pop()

    monkeypatch.setattr(loop, "arithmetic", watched)
    strategy.model.register_forward_hook(lambda *_: entered.append(len(inside)))
    strategy.train(experiences[0], eval_streams=[])
    assert set(entered) == {1}
    assert not inside


def test_a_plugin_is_put_on_the_naive_strategy_with_the_same_memory(bench: Bench) -> None:
    trials, workbench = bench({"steps": 3, "strategies": ["Replay", "ReplayPlugin"]}, losses=["ce"])
    rooms = []
    for trial in trials:
        strategy, _ = learner(trial, workbench)
        rooms += [plugin.mem_size for plugin in strategy.plugins if type(plugin).__name__ == "ReplayPlugin"]
    assert rooms == [30, 30]
    assert [base.__name__ for base in type(strategy).__mro__[1:4]] == ["Replaying", "ResidentLoop", "Naive"]


def test_unequal_classes_keep_all_their_images(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Avalanche's buffer gives every class the same room; the default memory has room for the largest class."""
    (trial,), workbench = bench({"steps": 5}, losses=["ce"])
    material = Material(torch.randn(25, 1, 16, 16), torch.cat([torch.arange(10), torch.zeros(15, dtype=torch.int64)]))
    monkeypatch.setattr(workbench, "material", lambda trial: material)
    strategy, experiences = learner(trial, workbench)
    seen: set[int] = set()
    monkeypatch.setattr(
        loop, "places", lambda data: seen.update(int(i) for i in data.index) or torch.tensor([int(i) for i in data.index])
    )
    for experience in experiences:
        strategy.train(experience, eval_streams=[])
    assert seen == set(range(25))


def test_a_loss_that_is_not_finite_ends_its_step_and_is_said(bench: Bench) -> None:
    (trial,), workbench = bench({"steps": 2}, losses=["mse"], protocol={"name": "smoke", "epochs": 200})
    trial = trial.model_copy(update={"optimizer": Spec(name="sgd", options={**SGD, "lr": 1e6})})
    outcome = named("class-incremental").run(trial, workbench)
    assert outcome.status == "diverged"
    assert outcome.metrics["steps"] < 400
    assert len(outcome.history) == 2


SGD = {"momentum": 0.9, "weight_decay": 0.0, "nesterov": False}


@pytest.mark.parametrize("name", ["GDumb", "Replay"])
def test_a_stream_of_steps_mixes_images_of_classes_met(bench: Bench, name: str) -> None:
    trials, workbench = bench(
        {"steps": 2, "strategies": [name]}, losses=["ce", "gift"], protocol={"name": "smoke", "mixing": "mixup"}
    )
    plain, _ = bench({"steps": 2, "strategies": [name]}, losses=["ce", "gift"])
    for trial, without in zip(trials, plain, strict=True):
        outcome = named("class-incremental").run(trial, workbench)
        assert outcome.status == "done"
        assert outcome.history == named("class-incremental").run(trial, workbench).history
        assert trial.id != without.id


@pytest.mark.parametrize("changes", [{"stages": (Stage(hard=2),)}, {"accumulation": 2}, {"ema": 0.9}], ids=str)
def test_stages_parts_and_means_are_refused_before_training(bench: Bench, changes: dict[str, Any]) -> None:
    (trial,), workbench = bench({"steps": 2}, losses=["ce"])
    strategy, _ = learner(trial, workbench)
    with pytest.raises(DataError, match=r"\Aa class-incremental stream .*stages = \[\], accumulation = 1, ema = 0\Z"):
        strategy.prepare(strategy.material, replace(recipe(trial), **changes), losses.create("ce"), None, 10, 0, True)


def test_a_recipe_that_replays_what_the_material_lacks_is_refused(bench: Bench) -> None:
    (trial,), workbench = bench({"steps": 2}, losses=["ce"])
    strategy, _ = learner(trial, workbench)
    for stored in ({"augmentation": "stored"}, {"mixing": "stored"}):
        with pytest.raises(DataError, match=r"replays what comes with a distilled set, and this one has nothing stored"):
            strategy.prepare(strategy.material, replace(recipe(trial), **stored), losses.create("ce"), None, 10, 0, True)
