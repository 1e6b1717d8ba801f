"""From a board to its trials: which, in what order, with what filled in, and what is refused before anything is trained."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from harness import datasets, losses, models, scenarios
from harness.boards.board import load_board
from harness.boards.protocol import PROTOCOLS
from harness.boards.trial import Trial
from harness.core.errors import BoardError, GiftbenchError, MissingTargets, PluginError
from harness.core.plugins import load_files
from harness.datasets.base import Dataset
from harness.datasets.cards import known
from harness.datasets.split import Split
from harness.planning import resolution
from harness.planning.artefacts import Artefacts
from harness.planning.preparation import Preparation
from harness.planning.resolution import resolve_loss, resolve_optimizer
from harness.running import planning
from harness.running.overrides import Overrides

Planner = Callable[..., list[Trial]]

OPTIMIZERS = {"name": "cross-optimizer", "optimizers": ["sgd", "adamw"]}
STUDENTS = {"name": "cross-architecture", "models": ["convnet1(width=8)", "convnet1(width=4)"]}


@pytest.fixture
def no_teacher(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have no teacher, so that none is trained where a test is about something else."""
    monkeypatch.setattr(Preparation, "teacher_files", lambda self: [])


@pytest.fixture
def forbidden_teacher(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make asking for a teacher an error."""

    def refuse(self: Preparation) -> None:
        raise AssertionError("a teacher was asked for")

    monkeypatch.setattr(Preparation, "teacher_files", refuse)


def labels(trials: list[Any], *names: str) -> list[tuple[Any, ...]]:
    return [tuple(trial.labels.stated()[name] for name in names) for trial in trials]


@pytest.mark.usefixtures("no_teacher")
def test_trials_come_by_what_varies_then_set_then_loss_then_seed(plan: Planner) -> None:
    trials = plan(scenarios=[OPTIMIZERS], losses=["ce"], seeds=[4, 7], sets=[{"method": "random", "ipc": [1, 2]}])
    found = [
        (optimizer, ipc, trial.seed) for trial, (optimizer, ipc) in zip(trials, labels(trials, "optimizer", "ipc"), strict=True)
    ]
    assert found == [(optimizer, ipc, seed) for optimizer in ("sgd", "adamw") for ipc in (1, 2) for seed in (4, 7)]
    assert [trial.labels.order for trial in trials] == list(range(8))
    assert len({trial.id for trial in trials}) == 8


def test_both_scenarios_of_a_board_are_planned_in_order(plan: Planner) -> None:
    trials = plan(scenarios=[STUDENTS, OPTIMIZERS], losses=["gift", "ce"])
    assert [trial.scenario for trial in trials] == ["cross-architecture"] * 4 + ["cross-optimizer"] * 4
    assert labels(trials[:4], "model", "loss") == [
        (model, loss) for model in ("convnet1(width=8)", "convnet1(width=4)") for loss in ("gift", "ce")
    ]
    assert {trial.labels.optimizer for trial in trials[:4]} == {"adamw"}


@pytest.mark.usefixtures("no_teacher")
def test_the_same_board_gives_the_same_ids(plan: Planner) -> None:
    first, second = (plan(scenarios=[STUDENTS], losses=["ce"]) for _ in range(2))
    assert [trial.id for trial in first] == [trial.id for trial in second]


@pytest.mark.usefixtures("no_teacher")
def test_a_trial_has_every_parameter_filled_in(plan: Planner) -> None:
    (trial,) = plan(scenarios=[{"name": "cross-optimizer", "optimizers": ["sgd(lr=1)"]}], losses=["ce"])
    assert trial.optimizer.options == {"lr": 1.0, "momentum": 0.9, "weight_decay": 5e-4, "nesterov": False}
    assert trial.model.options["width"] == 8
    assert trial.model.options.keys() == models.registry.parameters("convnet1").keys()
    assert trial.protocol.schedule.options.keys() == {"milestones", "gamma"}
    assert trial.dataset.model_dump() == {"name": "digits", "digest": datasets.load("digits").digest}


# -- teachers -------------------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("forbidden_teacher")
def test_a_loss_on_hard_labels_has_no_teacher_trained(plan: Planner) -> None:
    trials = plan(losses=["ce"], sets=[{"method": "random", "ipc": 3}])
    assert {trial.teacher for trial in trials} == {()}
    assert {trial.labels.teacher for trial in trials} == {""}


@pytest.mark.usefixtures("forbidden_teacher")
def test_a_set_made_without_a_teacher_is_found_again_without_one(plan: Planner) -> None:
    for _ in range(2):
        plan(losses=["ce"], sets=[{"method": "random", "ipc": 4}])


def test_a_loss_on_soft_labels_names_the_teacher(plan: Planner) -> None:
    gift, ce = plan(losses=["gift", "ce"], scenarios=[{"name": "cross-optimizer", "optimizers": ["adamw"]}])
    assert [len(digest) for digest in gift.teacher] == [64]
    assert gift.labels.teacher == "convnet1(width=8)"
    assert 0 < gift.labels.teacher_accuracy <= 100
    assert ce.teacher == ()


@pytest.mark.usefixtures("no_teacher")
@pytest.mark.parametrize("kind", ["hard", "stored"])
def test_soft_labels_that_are_nowhere_are_missed_by_name_of_loss_and_set(plan: Planner, kind: str) -> None:
    sets = [{"method": "random", "ipc": 1, "title": "Random"}]
    with pytest.raises(MissingTargets) as raised:
        plan(losses=["ce", "gift(gamma=0.2)"], protocol={"name": "smoke", "labels": kind}, sets=sets)
    message = str(raised.value)
    assert message.startswith(
        "board.toml: scenarios[0]: losses: loss 'gift(gamma=0.2)' needs soft labels; set 'Random' stores none"
    )
    assert f"the protocol's labels are '{kind}'" in message
    assert plan(losses=["ce"], protocol={"name": "smoke", "labels": kind}, sets=sets)


# -- what a scenario says for itself ----------------------------------------------------------------------------------------


@pytest.mark.usefixtures("no_teacher")
def test_a_scenarios_own_words_go_before_the_boards(plan: Planner) -> None:
    own = {
        "name": "cross-optimizer",
        "optimizers": ["sgd"],
        "losses": "ce",
        "seeds": [5],
        "model": "convnet1(width=4)",
        "protocol": "quick",
    }
    (trial,) = plan(scenarios=[own])
    assert (trial.loss.name, trial.seed, trial.model.options["width"], trial.protocol.epochs) == (
        "ce",
        5,
        4,
        PROTOCOLS["quick"]["epochs"],
    )
    (trial,) = plan(
        scenarios=[{"name": "cross-architecture", "models": ["convnet1(width=4)"], "optimizer": "sgd", "losses": "ce"}]
    )
    assert trial.optimizer.name == "sgd"


@pytest.mark.usefixtures("no_teacher")
def test_a_scenario_takes_the_sets_and_ipc_that_it_names(plan: Planner) -> None:
    sets = [{"method": "random", "ipc": [1, 2], "title": "A"}, {"method": "random", "ipc": [1, 2], "seed": 1, "title": "B"}]
    base = {"name": "cross-optimizer", "optimizers": ["sgd"]}
    for own, expected in [
        ({}, [("A", 1), ("A", 2), ("B", 1), ("B", 2)]),
        ({"sets": "B"}, [("B", 1), ("B", 2)]),
        ({"ipc": 2}, [("A", 2), ("B", 2)]),
        ({"sets": ["A"], "ipc": [1]}, [("A", 1)]),
    ]:
        assert labels(plan(sets=sets, losses=["ce"], scenarios=[base | own]), "method", "ipc") == expected


# -- paper's rules ----------------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("no_teacher")
def test_epochs_and_batch_size_follow_the_paper_unless_set(plan: Planner) -> None:
    scenarios, sets = [{"name": "cross-optimizer", "optimizers": ["sgd"]}], [{"method": "random", "ipc": [1, 2, 51]}]
    trials = plan(scenarios=scenarios, sets=sets, losses=["ce"], protocol="paper")
    assert [(t.labels.images, t.protocol.batch_size, t.protocol.epochs) for t in trials] == [
        (10, 10, 1000),
        (20, 50, 1000),
        (510, 100, 1000),
    ]
    trials = plan(scenarios=scenarios, sets=sets, losses=["ce"], protocol={"name": "paper", "epochs": 3, "batch_size": 7})
    assert {(t.protocol.batch_size, t.protocol.epochs) for t in trials} == {(7, 3)}


@pytest.mark.parametrize("model", ["swin-v2-tiny", "timm/swin_tiny_patch4_window7_224", "timm/vit_tiny_patch16_224"])
def test_adamw_takes_the_papers_rate_on_transformers_unless_set(model: str) -> None:
    assert resolve_optimizer("adamw", model).spec.options["lr"] == 1e-4
    assert resolve_optimizer("adamw", model).label == "adamw"
    assert resolve_optimizer("adamw(lr=0.001)", model).spec.options["lr"] == 1e-3
    assert resolve_optimizer("adam", model).spec.options["lr"] == 1e-3
    assert resolve_optimizer("adamw", "convnet3").spec.options["lr"] == 1e-3


# -- refused before anything is trained -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"losses": ["gift", "gfit"]}, r"losses[1]: no loss 'gfit'; did you mean 'gift'?"),
        ({"losses": ["gift(gama=1)"]}, r"losses[0]: loss 'gift' has no parameter 'gama'; did you mean 'gamma'?"),
        ({"losses": ["gift(gamma=high)"]}, r"losses[0]: loss 'gift': gamma must be a number, not 'high'"),
        (
            {"scenarios": ["cross-optimizer", {"name": "cross-optimizer", "losses": "gfit"}]},
            r"scenarios[1].losses[0]: no loss 'gfit'; did you mean 'gift'?",
        ),
        ({"model": "convent3"}, r"model: no model 'convent3'; did you mean 'convnet3' or "),
        ({"teacher": ["convnet1", "resnet81"]}, r"teacher.models[1]: no model 'resnet81'; did you mean 'resnet18'"),
        (
            {"teacher": {"model": "convnet1", "optimizer": "admw"}},
            r"teacher.optimizer: no optimizer 'admw'; did you mean 'adamw'",
        ),
        (
            {"teacher": {"model": "convnet1", "schedule": "cosin"}},
            r"teacher.schedule: no schedule 'cosin'; did you mean 'cosine'?",
        ),
        ({"dataset": "digit"}, r"dataset: no dataset 'digit'; did you mean 'digits'?"),
        ({"protocol": {"name": "smoke", "optimizer": "sdg"}}, r"protocol.optimizer: no optimizer 'sdg'; did you mean 'sgd'"),
        (
            {"protocol": {"name": "smoke", "schedule": "cosine(min=1)"}},
            r"protocol.schedule: schedule 'cosine' has no parameter 'min'",
        ),
        ({"sets": [{"method": "randm", "ipc": 1}]}, r"sets[0]: no distiller 'randm'; did you mean 'random'?"),
        ({"sets": [{"method": "rded", "ipc": 1, "scale": 1}]}, r"sets[0]: distiller 'rded' has no parameter 'scale'"),
        ({"sets": [{"method": "random", "ipc": 1, "native": "gfit"}]}, r"sets[0]: no loss 'gfit'"),
        ({"sets": [{"method": "random", "ipc": 10_000}]}, r"sets[0]: dataset digits has a class with "),
        ({"scenarios": ["cross-optimiser"]}, r"scenarios[0].name: no scenario 'cross-optimiser'; did you mean 'cross-optimizer'"),
        ({"scenarios": [{"name": "cross-optimizer", "model": "convent3"}]}, r"scenarios[0].model: no model 'convent3'"),
        ({"scenarios": [{"name": "cross-architecture", "optimizer": "sdg"}]}, r"scenarios[0].optimizer: no optimizer 'sdg'"),
        (
            {"scenarios": [{"name": "cross-architecture", "protocol": {"name": "smoke", "optimizer": "sdg"}}]},
            r"scenarios[0].protocol.optimizer: no optimizer 'sdg'",
        ),
        (
            {"scenarios": [{"name": "cross-optimizer", "optimizers": ["sdg"]}]},
            r"scenarios[0]: optimizer: no optimizer 'sdg'; did you mean 'sgd'",
        ),
        (
            {"scenarios": [{"name": "cross-optimizer", "optimizers": ["lamb", "timm/kronw"]}]},
            r"scenarios[0]: optimizer: optimizer 'timm/kronw' cannot be used here: it compiles its steps",
        ),
        ({"scenarios": [{"name": "cross-optimizer", "optimizers": [3]}]}, r"scenarios[0].optimizers[0]: expected a name such as"),
        ({"scenarios": [{"name": "cross-optimizer", "optimizers": True}]}, r"scenarios[0].optimizers must be a list, not True"),
        ({"scenarios": [{"name": "cross-architecture", "models": ["convent3"]}]}, r"scenarios[0]: model: no model 'convent3'"),
        ({"scenarios": [{"name": "cross-architecture", "models": ["convnet9"]}]}, r"scenarios[0]: model: no model 'convnet9'"),
        (
            {"scenarios": [{"name": "cross-optimizer", "sets": "Randm"}]},
            r"scenarios[0].sets: no set 'Randm' on this board; did you mean 'random'?",
        ),
        ({"scenarios": [{"name": "cross-optimizer", "ipc": [7, 8]}]}, r"scenarios[0].ipc: no set of this board has IPC 7 or 8"),
        (
            {"scenarios": [{"name": "cross-optimizer", "optimisers": ["sgd"]}], "losses": ["ce"]},
            r"scenarios[0]: scenario 'cross-optimizer' has no option 'optimisers'; did you mean 'optimizers'",
        ),
        (
            {"losses": ["ce", "ce"]},
            r"scenarios[0]: scenario 'cross-optimizer' yields two trials with one id (random, IPC 1, ce, ",
        ),
    ],
)
@pytest.mark.usefixtures("no_teacher")
def test_a_wrong_name_or_value_is_answered_with_its_place(plan: Planner, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(GiftbenchError) as raised:
        plan(**changes)
    assert str(raised.value).startswith(f"board.toml: {message}")
    assert "\n" not in str(raised.value)


def test_one_loss_under_two_spellings_is_refused(plan: Planner) -> None:
    with pytest.raises(BoardError, match=r"yields two trials with one id .*gift.*; name a thing once"):
        plan(losses=["gift", "gift(gamma=0.1)"])


#: Committed boards that keep squares as their records drew them, and the epochs of their datasets' teachers.
KEPT = ("fashion-mnist", "fashion-mnist-paper", "precision")
TEACHER_EPOCHS = {"digits": 60, "fashion-mnist": 5}


@pytest.mark.parametrize("name", KEPT)
def test_a_board_that_keeps_an_old_drawing_plans_exactly_its_records(
    name: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """Its datasets are told by name and digest alone; teachers and sets lie beside it, and none is made."""
    request.addfinalizer(lambda: scenarios.remove("precision"))  # which the plugin of one of them enters
    folder = Path(__file__).parents[2] / "leaderboards" / name
    board = load_board(folder)
    load_files(folder / plugin for plugin in board.plugins)
    records = {path.stem: json.loads(path.read_text("utf-8"))["trial"] for path in (folder / "records").glob("*.json")}
    digests = {trial["dataset"]["name"]: trial["dataset"]["digest"] for trial in records.values()}
    planned: list[Trial] = []
    for part in board.boards:
        card = known(part.dataset)
        nothing = Split(torch.zeros(1, *card.shape, dtype=torch.uint8), torch.zeros(1, dtype=torch.long))
        classes = tuple(map(str, range(card.classes)))
        dataset = Dataset(card.name, nothing, nothing, classes, card.mean, card.std, TEACHER_EPOCHS[card.name])
        vars(dataset)["digest"] = digests[card.name]
        preparation = Preparation(part, name, Artefacts(folder / "artefacts", tmp_path), device="cpu")
        preparation._kept["dataset"] = dataset
        planned += planning.plan(preparation)
    assert {trial.id for trial in planned} == set(records)


# -- plugins that misbehave -------------------------------------------------------------------------------------------------


def test_a_loss_that_fails_is_named_before_anything_is_trained() -> None:
    @losses.register("failing")
    def failing(logits: Any, targets: Any) -> Any:
        raise RuntimeError("no luck")

    try:
        with pytest.raises(PluginError, match="loss 'failing' fails on a small batch: RuntimeError: no luck"):
            resolve_loss("failing")
    finally:
        losses.registry.remove("failing")


def test_a_loss_that_returns_no_scalar_is_refused() -> None:
    losses.register("vector")(lambda logits, targets: logits)
    try:
        with pytest.raises(GiftbenchError, match="loss 'vector' must return a scalar tensor"):
            resolve_loss("vector")
    finally:
        losses.registry.remove("vector")


@pytest.mark.parametrize(("loss", "needs", "uses"), [("ce", False, False), ("gift", True, True), ("kl(rescale)", True, True)])
def test_what_a_loss_takes_is_found_out_by_calling_it(loss: str, needs: bool, uses: bool) -> None:
    found = resolve_loss(loss).looks
    assert (found.needs_soft, found.soft) == (needs, uses)


@pytest.mark.usefixtures("no_teacher")
def test_a_student_that_computes_while_it_is_built_is_planned_all_the_same(plan: Planner) -> None:
    import torch

    @models.register("computing")
    def computing(shape: tuple[int, int, int], classes: int) -> torch.nn.Module:
        rates = [rate.item() for rate in torch.linspace(0, 0.1, 2)]  # impossible on the meta device
        return torch.nn.Sequential(
            torch.nn.Flatten(), torch.nn.Dropout(rates[1]), torch.nn.Linear(shape[0] * shape[1] * shape[2], classes)
        )

    @models.register("hopeless")
    def hopeless(shape: tuple[int, int, int], classes: int) -> torch.nn.Module:
        raise RuntimeError("no luck")

    try:
        state = torch.get_rng_state()
        assert plan(model="computing", losses=["ce"])
        assert bool((torch.get_rng_state() == state).all())
        with pytest.raises(
            PluginError, match=r"scenarios\[0\]: model: model 'hopeless' cannot be built .*: RuntimeError: no luck"
        ):
            plan(model="hopeless", losses=["ce"])
    finally:
        models.registry.remove("computing")
        models.registry.remove("hopeless")


# -- size -------------------------------------------------------------------------------------------------------------------


def calls(work: Callable[[], list[Any]]) -> tuple[int, int]:
    """Return how many trials `work` gives and how many Python functions it calls."""
    made = 0

    def count(frame: Any, event: str, argument: Any) -> None:
        nonlocal made
        made += event == "call"

    sys.setprofile(count)
    try:
        trials = work()
    finally:
        sys.setprofile(None)
    return len(trials), made


@pytest.mark.usefixtures("no_teacher")
def test_planning_does_a_fixed_amount_of_work_a_trial(plan: Planner) -> None:
    board = {"scenarios": [OPTIMIZERS], "losses": ["ce"]}
    plan(seeds=1, **board)  # sets are made, caches are warm
    (few, small), (some, middle), (many, large) = (calls(lambda n=n: plan(seeds=n, **board)) for n in (20, 770, 1520))
    assert (few, some, many) == (40, 1540, 3040)
    assert large - middle == pytest.approx(middle - small, rel=0.05)


@pytest.mark.usefixtures("no_teacher")
def test_planning_builds_each_student_once(plan: Planner, monkeypatch: pytest.MonkeyPatch) -> None:
    built = []
    build = models.build
    monkeypatch.setattr(models, "build", lambda spec, *rest: built.append(str(spec)) or build(spec, *rest))
    resolution._built.cache_clear()
    plan(scenarios=[STUDENTS, OPTIMIZERS], losses=["ce"], seeds=5)
    assert len(built) == 2


def test_a_scenario_on_request_is_planned_when_it_is_named(plan):
    entries = ["cross-optimizer", {"name": "loss-comparison", "on_request": True}]
    assert {t.scenario for t in plan(Overrides(), losses=["ce"], scenarios=entries)} == {"cross-optimizer"}
    assert {t.scenario for t in plan(Overrides(scenarios=["loss-comparison"]), losses=["ce"], scenarios=entries)} == {
        "loss-comparison"
    }


def test_one_value_stands_for_a_list_of_one(plan):
    one, several = (plan(losses=["ce"], scenarios=[{"name": "cross-optimizer", "optimizers": o}]) for o in ("sgd", ["sgd"]))
    assert [t.id for t in one] == [t.id for t in several]
