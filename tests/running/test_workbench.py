"""What a trial runs with: the data that it names, loaded once; a student of its seed; a training by its protocol."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy
import pytest
import torch

from harness import DistilledSet, datasets, losses, optimizers, teachers
from harness.boards.native import STATISTICS
from harness.boards.records import RecordStore
from harness.boards.setup import PluginSource
from harness.boards.trial import Trial
from harness.core.errors import DataError
from harness.datasets import whitening
from harness.datasets.base import Dataset, normalise
from harness.datasets.split import Split
from harness.planning.artefacts import Artefacts
from harness.running import workbench
from harness.running.executors.work import run_bundle
from harness.running.reruns import repeats
from harness.running.workbench import Workbench, recipe
from harness.teachers.teacher import Teacher
from harness.training import compiling as compiler
from harness.training import loop
from harness.training.batches import batch_sizes
from harness.training.compiling import Compiling, Gain
from harness.training.convolutions import Convolution, Convolutions
from harness.training.devices import device_name
from harness.training.values import Recipe
from tests.boards.trials import changed
from tests.conftest import Planner

ONE_OPTIMIZER = {"name": "cross-optimizer", "optimizers": ["adamw"]}


@pytest.fixture(scope="module")
def digits() -> Dataset:
    return datasets.load("digits")


@pytest.fixture
def bench(artefacts: Artefacts) -> Workbench:
    return Workbench("cpu", artefacts)


@pytest.fixture
def trials(plan: Planner) -> list[Trial]:
    """GIFT and cross-entropy, two seeds each."""
    return plan(losses=["gift", "ce"], seeds=2, scenarios=[ONE_OPTIMIZER])


def labelled(trial: Trial, kind: str) -> Trial:
    """The trial with soft labels from elsewhere."""
    return trial.model_copy(update={"protocol": trial.protocol.model_copy(update={"labels": kind})})


# -- what is loaded ----------------------------------------------------------------------------------------------------------


def test_what_trials_share_is_loaded_once(bench: Workbench, trials: list[Trial]) -> None:
    taught, *others = trials
    for trial in others:
        assert bench.dataset(trial) is bench.dataset(taught)
        assert bench.distilled(trial) is bench.distilled(taught)
        assert bench.material(trial) is bench.material(taught)
        assert bench.test_material(trial) is bench.test_material(taught)
    assert bench.teacher(others[0]) is bench.teacher(taught) is not None
    assert bench.soft_labels(others[0]) is bench.soft_labels(taught) is not None  # so that captured steps are known again
    assert bench.teacher(others[1]) is bench.soft_labels(others[1]) is None


def test_another_content_of_the_dataset_than_the_trials_is_refused(
    bench: Workbench, trials: list[Trial], digits: Dataset
) -> None:
    other = trials[0].model_copy(update={"dataset": {"name": "digits", "digest": "f" * 64}})
    with pytest.raises(DataError, match=f"dataset digits has digest {digits.digest[:12]}, the trial names {'f' * 12}"):
        bench.dataset(other)


def test_a_set_in_memory_goes_before_artefacts_and_what_lies_nowhere_is_named(
    bench: Workbench, trials: list[Trial], artefacts: Artefacts
) -> None:
    on_disk = bench.distilled(trials[0])
    assert Workbench("cpu", artefacts, sets={trials[0].distilled: on_disk}).distilled(trials[0]) is on_disk
    nowhere = Workbench("cpu", sets={"another": on_disk})
    with pytest.raises(DataError, match=f"no distilled set {trials[0].distilled[:12]} at hand"):
        nowhere.distilled(trials[0])
    with pytest.raises(DataError, match="no teacher at hand"):
        nowhere.teacher(trials[0])


def test_the_test_split_is_normalised_by_the_datasets_statistics(bench: Workbench, trials: list[Trial], digits: Dataset) -> None:
    material = bench.test_material(trials[0])
    expected = (digits.test.images.double() / 255 - digits.mean[0]) / digits.std[0]
    assert torch.equal(material.labels, digits.test.labels)
    torch.testing.assert_close(material.batch(torch.arange(len(expected))).double(), expected, rtol=0, atol=1e-5)


# -- labels ------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("kind", "stored"), [("auto", True), ("stored", True), ("teacher", False), ("hard", False)])
def test_a_sets_own_soft_labels_are_learned_where_the_protocol_says_so(trials: list[Trial], kind: str, stored: bool) -> None:
    pixels = torch.randint(0, 256, (10, 1, 16, 16), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    soft = torch.rand(10, 10, generator=torch.Generator().manual_seed(1)).softmax(1)
    distilled = DistilledSet(pixels, torch.arange(10), soft, dataset="digits", method="soft", soft_kind="probabilities")
    material = Workbench("cpu", sets={trials[0].distilled: distilled}).material(labelled(trials[-1], kind))
    assert (material.soft is not None) == stored
    if material.soft is not None:
        assert torch.equal(material.soft, soft)
        assert material.soft_kind == "probabilities"


def test_fixed_labels_are_the_teachers_logits_on_the_clean_images(bench: Workbench, trials: list[Trial]) -> None:
    fixed = labelled(trials[0], "fixed")
    material, teacher = bench.material(fixed), bench.teacher(fixed)
    assert teacher is not None and material.soft is not None
    images = bench.distilled(fixed).images
    torch.testing.assert_close(material.soft, teacher.logits(teacher.normalise(images)), rtol=0, atol=1e-5)
    assert bench.soft_labels(fixed) is None  # nobody asks the teacher again
    assert bench.material(trials[0]).soft is None


@pytest.fixture
def whitened(digits: Dataset, cache: Path, tmp_path: Path) -> Path:
    """A whitened set of ten real digits."""
    whitening._load.cache_clear()
    chosen = torch.stack([(digits.train.labels == label).nonzero()[0, 0] for label in range(10)])
    images = whitening.whitening(digits, "cpu").apply(digits.train.images[chosen])
    distilled = DistilledSet(
        images, digits.train.labels[chosen], dataset="digits", method="datm", normalised=True, whitening="zca", native_loss="ce"
    )
    return distilled.save(tmp_path / "set.safetensors")


def test_a_trial_on_a_whitened_set_is_tested_on_whitened_images(
    digits: Dataset, whitened: Path, plan: Callable[..., list[Trial]], tmp_path: Path
) -> None:
    (trial, *_) = plan(sets=[{"file": str(whitened)}], losses=["ce"])
    workbench = Workbench("cpu", Artefacts(tmp_path / "artefacts"))
    test, train = workbench.test_material(trial), workbench.material(trial)
    expected = whitening.whitening(digits, "cpu").apply(digits.test.images)
    torch.testing.assert_close(test.batch(torch.arange(len(digits.test.labels))), expected, rtol=0, atol=1e-5)
    assert torch.equal(train.batch(torch.arange(10)), DistilledSet.load(whitened).images)
    real = workbench.train_material(trial)
    expected = whitening.whitening(digits, "cpu").apply(digits.train.images[:50])
    torch.testing.assert_close(real.batch(torch.arange(50)), expected, rtol=0, atol=1e-5)
    assert torch.equal(real.labels, digits.train.labels)


def test_the_teacher_of_a_whitened_set_sees_the_pixels_it_was_trained_on(
    digits: Dataset, whitened: Path, plan: Callable[..., list[Trial]], tmp_path: Path
) -> None:
    (trial, *_) = plan(sets=[{"file": str(whitened)}], losses=["gift"])
    workbench = Workbench("cpu", Artefacts(tmp_path / "artefacts"))
    teacher, taught = workbench.teacher(trial), workbench.soft_labels(trial)
    assert teacher is not None and taught is not None
    chosen = torch.stack([(digits.train.labels == label).nonzero()[0, 0] for label in range(10)])
    seen = normalise(digits.train.images[chosen], digits.mean, digits.std)
    assert torch.allclose(taught(workbench.material(trial).batch(torch.arange(10))), teacher.logits(seen), atol=1e-3)


# -- students and trainings --------------------------------------------------------------------------------------------------


def test_a_students_weights_are_those_of_its_seed_whatever_was_drawn_before(bench: Workbench, trials: list[Trial]) -> None:
    def weights(trial: Trial) -> torch.Tensor:
        torch.rand(3), numpy.random.rand(3)
        return torch.cat([weight.detach().flatten() for weight in bench.student(trial).parameters()])

    first, second, first_again, _ = map(weights, trials)  # two seeds under GIFT, then under cross-entropy
    assert torch.equal(first, first_again)
    assert not torch.equal(first, second)
    assert torch.equal(first, weights(trials[0].model_copy(update={"optimizer": "sgd"})))


def test_a_training_follows_the_trials_protocol_and_is_tested_on_the_test_split(bench: Workbench, trials: list[Trial]) -> None:
    trial = trials[1]
    student, plain = bench.student(trial), bench.student(trial)
    fit = bench.fit(student, bench.material(trial), trial)
    loop.fit(
        plain,
        bench.material(trial),
        losses.create(trial.loss),
        recipe(trial),
        seed=trial.seed,
        teacher=bench.soft_labels(trial),
    )
    assert all(torch.equal(ours, own) for ours, own in zip(student.parameters(), plain.parameters(), strict=True))
    assert (fit.epochs, fit.steps) == (trial.protocol.epochs, trial.protocol.epochs)  # ten images are one batch
    assert len(fit.history) == trial.protocol.evaluations
    measured = bench.evaluate(student, trial)
    assert {name: fit.history[-1][name] for name in measured} == measured


def test_what_a_scenario_changes_of_a_training_goes_before_the_trials_own(bench: Workbench, trials: list[Trial]) -> None:
    trial, said = trials[0], list[str]()

    def loss(logits: torch.Tensor, targets: Any) -> torch.Tensor:
        said.append("soft" if targets.soft is not None else "hard")
        return logits.square().mean()

    changes = {"loss": loss, "seed": 9, "evaluate": lambda network: {"accuracy": 12.5}, "teacher": None}
    fit = bench.fit(bench.student(trial), bench.material(trial), trial, **changes)
    assert set(said) == {"hard"}
    assert [entry["accuracy"] for entry in fit.history] == [12.5]


def test_a_recipe_holds_every_field_of_the_protocol_and_the_trials_own_optimizer(trials: list[Trial]) -> None:
    changes: dict[str, Any] = {
        "epochs": 7,
        "batch_size": 3,
        "augmentation": "flip",
        "mixing": "cutmix(alpha=1.0)",
        "precision": "bf16",
    }
    changes |= {"evaluations": 2, "schedule": {"name": "multistep", "options": {"milestones": [0.5], "gamma": 0.3}}}
    protocol = {**trials[0].protocol.model_dump(), **changes}
    trial = trials[0].model_copy(update={"protocol": protocol, "optimizer": "sgd(lr=0.25)"})
    assert recipe(trial) == Recipe(
        epochs=7,
        batch_size=3,
        optimizer=optimizers.resolve("sgd(lr=0.25)"),
        schedule=optimizers.schedules.resolve("multistep(milestones=[0.5], gamma=0.3)"),
        augmentation="flip",
        precision="bf16",
        evaluations=2,
        mixing="cutmix(alpha=1.0)",
    )


# -- normalisation ------------------------------------------------------------------------------------------------------------

OWN = (0.5, 0.4, 0.3), (0.2, 0.3, 0.25)


def split(count: int, seed: int) -> Split:
    pixels = torch.randint(0, 256, (count, 3, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(seed))
    return Split(pixels, torch.arange(count) % 3)


@pytest.fixture
def colours(monkeypatch: pytest.MonkeyPatch) -> Dataset:
    """A dataset of three channels with statistics of its own, known as `colours`."""
    dataset = Dataset("colours", split(6, 0), split(9, 1), ("a", "b", "c"), *OWN)
    monkeypatch.setattr(datasets, "load", lambda name, data_dir: dataset)
    return dataset


@pytest.mark.parametrize("normalisation", ["dataset", "imagenet", "sre2l"])
@pytest.mark.parametrize("labels", ["teacher", "fixed"])
def test_student_and_test_split_are_normalised_as_the_protocol_says_and_the_teacher_as_its_own(
    colours: Dataset, monkeypatch: pytest.MonkeyPatch, normalisation: str, labels: str
) -> None:
    pixels = split(3, 2)
    distilled = DistilledSet(pixels.images, pixels.labels, dataset="folder:colours", method="random", classes=3)
    network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3 * 8 * 8, 3))
    teacher = Teacher("linear", (network,), ("a",), (90.0,), *OWN)
    bench = Workbench("cpu", sets={distilled.digest: distilled})
    monkeypatch.setattr(bench, "teacher", lambda trial: teacher)
    trial = changed("protocol.labels", labels).model_copy(
        update={"dataset": {"name": "colours", "digest": colours.digest}, "distilled": distilled.digest, "teacher": ("a",)}
    )
    protocol = trial.protocol.model_copy(update={"normalisation": normalisation})
    trial = trial.model_copy(update={"protocol": protocol})

    statistics: Any = STATISTICS.get(normalisation, OWN)
    for material, images in ((bench.material(trial), pixels.images), (bench.test_material(trial), colours.test.images)):
        assert torch.allclose(material.images, normalise(images, *statistics), atol=1e-6)
    expected = teacher.logits(normalise(pixels.images, *OWN))
    material, taught = bench.material(trial), bench.soft_labels(trial)
    found = material.soft if taught is None else taught(material.images)
    assert (taught is None) == (labels == "fixed")
    assert found is not None and torch.allclose(found, expected, atol=1e-5)
    other = trial.model_copy(update={"protocol": trial.protocol.model_copy(update={"normalisation": "dataset"})})
    assert (bench.material(other) is bench.material(trial)) == (normalisation == "dataset")


def test_a_teacher_that_is_trained_here_may_have_statistics_of_its_own(colours: Dataset, tmp_path: Any) -> None:
    from harness.boards.board import TeacherSpec

    said = {"model": "convnet1(width=4)", "epochs": 1, "batch_size": 3}
    mean, std = STATISTICS["imagenet"]
    plain, own = (
        teachers.blueprints(TeacherSpec.model_validate(said | more), colours)[0] for more in ({}, {"mean": mean, "std": std})
    )
    assert plain == {name: value for name, value in own.items() if name not in ("mean", "std")}
    files = [teachers.train(blueprint, colours, tmp_path, "cpu") for blueprint in (plain, own)]
    assert files[0].digest != files[1].digest
    assert files[1].statistics(colours) == STATISTICS["imagenet"]
    images = colours.test.images
    network = teachers.load(files[1:], colours, "cpu").networks[0]
    inner = getattr(network, "model")  # noqa: B009
    expected = inner(normalise(images, mean, std))
    assert torch.allclose(network(normalise(images, *OWN)), expected, atol=1e-4)


# -- kept while it lasts -----------------------------------------------------------------------------------------------------


class CutOff(BaseException):
    """Stands for the end of a process."""


@pytest.mark.parametrize("together", [1, 3])
def test_a_trial_that_is_cut_off_goes_on_to_the_numbers_it_would_have_had(
    plan: Planner, artefacts: Artefacts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, together: int
) -> None:
    protocol = {"name": "quick", "epochs": 4, "batch_size": 5, "evaluations": 4}
    sets = [{"method": "random", "ipc": 1}]
    trials = plan(
        losses=["ce"], seeds=together, model="convnet1(width=8)", protocol=protocol, sets=sets, scenarios=["loss-comparison"]
    )
    folder = tmp_path / "checkpoints"
    monkeypatch.setenv("GIFTBENCH_CHECKPOINT_SECONDS", "0")

    def bench() -> Workbench:
        return Workbench("cpu", artefacts, stack=together, checkpoints=folder)

    expected = list(run_bundle(trials, Workbench("cpu", artefacts, stack=together)))
    cut = bench()
    measured, count = cut.evaluate, 0

    def evaluate(student: Any, trial: Trial) -> dict[str, float]:
        nonlocal count
        count += 1
        if count > 2 * together:
            raise CutOff
        return measured(student, trial)

    monkeypatch.setattr(cut, "evaluate", evaluate)
    with pytest.raises(CutOff):
        list(run_bundle(trials, cut))
    assert [path.name for path in folder.iterdir()] == [f"{trials[0].id}.safetensors"]
    records = list(run_bundle(trials, bench()))
    assert [record.environment.taken_up for record in records] == [2] * together
    assert [(r.metrics, r.history, r.status) for r in records] == [(r.metrics, r.history, r.status) for r in expected]
    if together > 1:  # what a stack has kept is not taken up by one of it
        (alone,) = run_bundle(trials[:1], bench())
        assert alone.environment.taken_up == 0


def test_what_may_remember_more_than_a_checkpoint_holds_is_not_kept(
    trials: list[Trial], artefacts: Artefacts, tmp_path: Path
) -> None:
    class Remembering:
        """A loss that counts its calls."""

        def __call__(self, logits: torch.Tensor, targets: Any) -> torch.Tensor:
            return logits.sum()

    losses.register("remembering")(Remembering)
    try:
        bench = Workbench("cpu", artefacts, checkpoints=tmp_path)
        plain = losses.create("ce")
        assert bench.checkpoint(trials[:1], [plain]) is not None
        assert bench.checkpoint(trials[:1], [lambda logits, targets: plain(logits, targets)]) is None
        assert bench.checkpoint(trials[:1], [plain, losses.create("remembering")]) is None
        assert Workbench("cpu", artefacts).checkpoint(trials[:1], [plain]) is None
    finally:
        losses.registry.remove("remembering")


def test_the_trainings_of_a_trial_are_kept_apart_and_begin_anew_with_it(
    trials: list[Trial], artefacts: Artefacts, tmp_path: Path
) -> None:
    bench = Workbench("cpu", artefacts, checkpoints=tmp_path)
    for _ in range(2):
        bench.begin(trials)
        names = [kept.path.name for kept in (bench.checkpoint(trials[:1]), bench.checkpoint(trials[:1])) if kept is not None]
        assert names == [f"{trials[0].id}.safetensors", f"{trials[0].id}-2.safetensors"]


# -- soft labels that are kept in files ----------------------------------------------------------------------------------------


@pytest.fixture
def large(plan: Planner) -> Callable[..., list[Trial]]:
    """Return a maker of trials whose teacher costs far more than their student."""
    keys = {"model": "convnet1(width=4)", "teacher": {"model": "convnet3(width=64)", "epochs": 1}, "losses": ["gift", "kl"]}
    return lambda **changes: plan(**keys | changes)


def run_in_files(trials: Sequence[Trial], artefacts: Artefacts, labels: Path | None) -> tuple[list[Any], int]:
    """What trials give, each in a bundle and a process of its own, and how often a teacher was asked."""
    calls, logits = 0, Teacher.logits

    def counted(self: Teacher, images: torch.Tensor) -> torch.Tensor:
        nonlocal calls
        calls += 1
        return logits(self, images)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Teacher, "logits", counted)
        records = [record for trial in trials for record in run_bundle([trial], Workbench("cpu", artefacts, labels=labels))]
    return [(record.id, record.status, record.error, record.metrics, record.history) for record in records], calls


SCENARIOS = [ONE_OPTIMIZER, "loss-comparison", {"name": "class-incremental", "steps": 2}]


def test_what_a_large_teacher_has_said_is_read_by_other_students_scenarios_and_runs_to_the_bit(
    large: Callable[..., list[Trial]], artefacts: Artefacts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workbench, "WORTH_A_FILE", 0.0)  # testing is most of such short trials
    trials = large(scenarios=SCENARIOS, sets=[{"method": "random", "ipc": 3}])
    trials += large(scenarios=[ONE_OPTIMIZER], sets=[{"method": "random", "ipc": 3}], model="convnet2(width=4)")
    expected, asked = run_in_files(trials, artefacts, None)
    given, fewer = run_in_files(trials, artefacts, tmp_path / "labels")
    assert given == expected
    _, once = run_in_files([trials[0]], artefacts, None)
    (stream,) = [trial for trial in trials if trial.scenario == "class-incremental" and trial.loss.name == "gift"]
    _, along = run_in_files([stream], artefacts, None)
    assert fewer == once + along < asked
    assert run_in_files(trials, artefacts, tmp_path / "labels") == (expected, 0)


def test_soft_labels_lie_in_files_where_asking_for_them_is_a_good_part_of_the_work(
    large: Callable[..., list[Trial]], artefacts: Artefacts, tmp_path: Path
) -> None:
    protocol = {"name": "quick", "epochs": 500, "evaluations": 1}
    sets = [{"method": "random", "ipc": 10}]
    dear, soon = (large(protocol=protocol, sets=sets, model=model)[0] for model in ("convnet1(width=16)", "convnet3(width=64)"))
    bench = Workbench("cpu", artefacts, labels=tmp_path)
    assert [bench._worth_a_file(trial) for trial in (dear, soon)] == [True, False]
    assert not Workbench("cpu", artefacts)._worth_a_file(dear)
    run_in_files(large(losses=["kl"], model="convnet3(width=64)"), artefacts, tmp_path / "labels")
    assert not (tmp_path / "labels").exists()


def test_what_is_kept_is_not_read_under_other_threads_or_another_plugin(
    large: Callable[..., list[Trial]], artefacts: Artefacts, tmp_path: Path
) -> None:
    (trial, *_) = large()
    bench = Workbench("cpu", artefacts, labels=tmp_path)
    plugin = PluginSource(source="model.py", digest="a" * 64)
    others = [trial, *(trial.model_copy(update={"setup": trial.setup.model_copy(update={"plugins": {name: plugin}})})
              for name in ("model my-net", "loss my-loss"))]  # fmt: skip
    names = [bench._name(other, "stream") for other in others]
    assert names[0] == names[2] != names[1]
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(threads + 1)
        assert Workbench("cpu", artefacts, labels=tmp_path)._name(trial, "stream") != names[0]
    finally:
        torch.set_num_threads(threads)


# -- compiled students -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("asked", "gain", "compiled"), [("never", 9.0, False), ("auto", 9.0, True), ("auto", 1.0, False), ("always", 0.0, True)]
)
def test_a_student_is_compiled_where_its_own_training_pays_for_it_and_the_record_says_so(
    artefacts: Artefacts, trials: list[Trial], monkeypatch: pytest.MonkeyPatch, asked: Compiling, gain: float, compiled: bool
) -> None:
    """A gain of nine seconds in all of the training against four of compiling; one of one second."""
    trial = trials[0]
    plain = Workbench("cpu", artefacts, stack=1)
    material = plain.material(trial)
    passed, side = trial.protocol.epochs * len(material.labels), material.images.shape[-1]
    sizes = {*batch_sizes(len(material.labels), trial.protocol.batch_size)}
    monkeypatch.setattr(
        compiler, "GAINS", {(device_name("cpu"), str(trial.model)): Gain(side, 1, 4.0 / len(sizes), gain / passed, 0.0)}
    )
    bench = Workbench("cpu", artefacts, stack=1, compiling=asked)
    monkeypatch.setattr(torch, "compile", lambda student, **_: student.forward)
    (record,) = run_bundle([trial], bench)
    (own,) = run_bundle([trial], plain)
    assert record.environment.compiled == compiled
    assert record.id == own.id
    assert record.metrics == own.metrics


# -- convolutions made in fewer operations -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("student", "asked", "noted"),
    [("convnet3(width=64)", "fast", "fast"), ("convnet3(width=64)", "torch", ""), ("convnet3(width=8)", "fast", "")],
)
def test_a_record_says_how_its_convolutions_were_made_and_is_made_again_so(
    plan: Planner, artefacts: Artefacts, tmp_path: Path, student: str, asked: Convolutions, noted: str
) -> None:
    (trial,) = plan(losses=["ce"], seeds=1, model=student, scenarios=[ONE_OPTIMIZER])
    bench = Workbench("cpu", artefacts, convolutions=asked, keep_students=True)
    (record,) = run_bundle([trial], bench)
    assert (record.status, record.environment.convolutions) == ("done", noted)
    assert any(isinstance(module, Convolution) for module in bench.students[trial.id].modules()) == bool(noted)
    (repeat,) = repeats([record], tmp_path / "board.toml", store=RecordStore(tmp_path / "records"), keep=True)
    assert repeat.new.environment.convolutions == noted
    assert repeat.equal
