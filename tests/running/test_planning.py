"""From a board to its trials: which, in what order, with what filled in, and what is refused before anything is trained."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from harness import models, scenarios
from harness.boards.board import load_board
from harness.boards.trial import Trial
from harness.core.errors import BoardError, GiftbenchError
from harness.core.plugins import load_files
from harness.datasets.base import Dataset
from harness.datasets.cards import known
from harness.datasets.split import Split
from harness.planning import resolution
from harness.planning.artefacts import Artefacts
from harness.planning.preparation import Preparation
from harness.running import planning
from harness.running.overrides import Overrides
from tests.conftest import Planner

OPTIMIZERS = {"name": "cross-optimizer", "optimizers": ["sgd", "adamw"]}
STUDENTS = {"name": "cross-architecture", "models": ["convnet1(width=8)", "convnet1(width=4)"]}


def test_both_scenarios_of_a_board_are_planned_in_order(plan: Planner) -> None:
    trials = plan(scenarios=[STUDENTS, OPTIMIZERS], losses=["gift", "ce"])
    assert [trial.scenario for trial in trials] == ["cross-architecture"] * 4 + ["cross-optimizer"] * 4
    assert [(trial.labels.model, trial.labels.loss) for trial in trials[:4]] == [
        (model, loss) for model in ("convnet1(width=8)", "convnet1(width=4)") for loss in ("gift", "ce")
    ]
    assert {trial.labels.optimizer for trial in trials[:4]} == {"adamw"}


@pytest.mark.usefixtures("no_teacher")
def test_the_same_board_gives_the_same_ids(plan: Planner) -> None:
    first, second = (plan(scenarios=[STUDENTS], losses=["ce"]) for _ in range(2))
    assert [trial.id for trial in first] == [trial.id for trial in second]


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
            r"scenarios[0].optimizers[0]: no optimizer 'sdg'; did you mean 'sgd'",
        ),
        (
            {"scenarios": [{"name": "cross-optimizer", "optimizers": ["lamb", "timm/kronw"]}]},
            r"scenarios[0]: optimizer: optimizer 'timm/kronw' cannot be used here: it compiles its steps",
        ),
        ({"scenarios": [{"name": "cross-optimizer", "optimizers": [3]}]}, r"scenarios[0].optimizers[0]: expected a name such as"),
        ({"scenarios": [{"name": "cross-optimizer", "optimizers": True}]}, r"scenarios[0].optimizers must be a list, not True"),
        ({"scenarios": [{"name": "cross-architecture", "models": ["convent3"]}]}, r"scenarios[0].models[0]: no model 'convent3'"),
        ({"scenarios": [{"name": "cross-architecture", "models": ["convnet9"]}]}, r"scenarios[0].models[0]: no model 'convnet9'"),
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


#: Committed boards of Fashion-MNIST, and the epochs of their datasets' teachers.
COMMITTED = ("fashion-mnist", "fashion-mnist-fifty", "fashion-mnist-paper", "precision")
TEACHER_EPOCHS = {"digits": 60, "fashion-mnist": 5}


@pytest.mark.parametrize("name", COMMITTED)
def test_a_committed_board_plans_exactly_its_records(name: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
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
