"""A board as one scenario sees it: whose word goes before whose, and what a trial holds of set, loss, teacher and protocol."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any

import pytest
import torch

from harness import DistilledSet, datasets, models
from harness.boards.board import Board
from harness.boards.protocol import PROTOCOLS, Protocol
from harness.core.errors import BadOption, BoardError, GiftbenchError, MissingTargets
from harness.planning import plan as plans
from harness.planning.artefacts import Artefacts
from harness.planning.plan import Plan
from harness.planning.preparation import Preparation
from harness.running.names import check_names
from tests.conftest import Planner

View = Callable[..., Plan]

OPTIMIZERS = {"name": "cross-optimizer", "optimizers": ["sgd", "adamw"]}


@pytest.fixture
def forbidden_teacher(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make asking for a teacher an error."""

    def refuse(self: Preparation) -> None:
        raise AssertionError("a teacher was asked for")

    monkeypatch.setattr(Preparation, "teacher_files", refuse)


@pytest.fixture
def view(tiny: Callable[..., Board], artefacts: Artefacts) -> View:
    """Return a maker of plans: keys of the one scenario of a tiny board on cross-entropy, and of the board."""

    def make(scenario: dict[str, Any] | None = None, **board: Any) -> Plan:
        scenarios = [{"name": "cross-optimizer", **(scenario or {})}]
        checked = tiny(**{"losses": ["ce"], **board, "scenarios": scenarios})
        preparation = Preparation(checked, "board.toml", artefacts, device="cpu")
        return Plan(preparation, checked.scenarios[0], "board.toml: scenarios[0]", count(), version=3)

    return make


@pytest.fixture
def soft_set(tmp_path: Path) -> dict[str, str]:
    """A set with soft labels of its own, as a board names it."""
    pixels = torch.randint(0, 256, (10, 1, 16, 16), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    distilled = DistilledSet(pixels, torch.arange(10), torch.eye(10), dataset="digits", method="soft", soft_kind="probabilities")
    return {"file": str(distilled.save(tmp_path / "soft.safetensors")), "title": "Soft"}


def labels(trials: list[Any], *names: str) -> list[tuple[Any, ...]]:
    return [tuple(trial.labels.stated()[name] for name in names) for trial in trials]


# -- which trials ------------------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("no_teacher")
def test_trials_come_by_what_varies_then_set_then_loss_then_seed(plan: Planner) -> None:
    trials = plan(scenarios=[OPTIMIZERS], losses=["ce"], seeds=[4, 7], sets=[{"method": "random", "ipc": [1, 2]}])
    found = [
        (optimizer, ipc, trial.seed) for trial, (optimizer, ipc) in zip(trials, labels(trials, "optimizer", "ipc"), strict=True)
    ]
    assert found == [(optimizer, ipc, seed) for optimizer in ("sgd", "adamw") for ipc in (1, 2) for seed in (4, 7)]
    assert [trial.labels.order for trial in trials] == list(range(8))
    assert len({trial.id for trial in trials}) == 8


@pytest.mark.usefixtures("no_teacher")
def test_a_trial_has_every_parameter_filled_in(plan: Planner) -> None:
    (trial,) = plan(scenarios=[{"name": "cross-optimizer", "optimizers": ["sgd(lr=1)"]}], losses=["ce"])
    assert trial.optimizer.options == {"lr": 1.0, "momentum": 0.9, "weight_decay": 5e-4, "nesterov": False}
    assert trial.model.options["width"] == 8
    assert trial.model.options.keys() == models.registry.parameters("convnet1").keys() - {"padding"}  # which came later
    assert trial.protocol.schedule.options.keys() == {"milestones", "gamma"}
    assert trial.dataset.model_dump() == {"name": "digits", "digest": datasets.load("digits").digest}


def test_trials_are_of_the_scenarios_version_and_numbered_on_from_one_call_to_the_next(view: View) -> None:
    plan = view(seeds=2)
    trials = [*plan.vary(optimizer="sgd"), *plan.vary(optimizer="adam"), *plan.vary(seeds=[9])]
    assert [trial.labels.order for trial in trials] == list(range(5))
    assert [(trial.optimizer.name, trial.seed) for trial in trials] == [
        *(("sgd", 0), ("sgd", 1), ("adam", 0), ("adam", 1)),
        ("adamw", 9),
    ]
    assert {trial.version for trial in trials} == {3}


def test_options_and_labels_of_a_scenario_are_the_trials_and_a_label_of_its_own_goes_before_the_usual_one(view: View) -> None:
    plan = view()
    (usual,), (own,) = (
        [*plan.vary()],
        [*plan.vary(options={"steps": 2}, labels={"stream": "two steps", "optimizer": "any"})],
    )
    assert (own.options, own.labels.own["stream"], own.labels.optimizer) == ({"steps": 2}, "two steps", "any")
    assert own.optimizer == usual.optimizer
    assert own.id != usual.id
    (labelled,) = plan.vary(labels={"stream": "two steps"})
    assert labelled.id == usual.id


def test_a_label_that_no_table_can_show_is_refused_with_its_place(view: View) -> None:
    with pytest.raises(BadOption, match=r"\Aboard\.toml: scenarios\[0\]: .*stream"):
        list(view().vary(labels={"stream": [1, 2]}))


def test_a_scenario_may_ask_about_some_sets_only(view: View) -> None:
    plan = view(sets=[{"method": "random", "ipc": [1, 2]}])
    assert [trial.labels.ipc for trial in plan.vary(sets=plan.sets[1:])] == [2]


# -- teachers ----------------------------------------------------------------------------------------------------------------


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


@pytest.mark.usefixtures("forbidden_teacher")
@pytest.mark.parametrize(
    ("kind", "of_plain_sets", "of_soft_sets"),
    [
        ("auto", True, False),
        ("teacher", True, True),
        ("fixed", True, True),
        ("stored", None, False),
        ("hard", None, None),
    ],
)
def test_soft_labels_come_from_set_or_teacher_as_the_protocol_says(
    view: View, soft_set: dict[str, str], kind: str, of_plain_sets: bool | None, of_soft_sets: bool | None
) -> None:
    """Whether the teacher gives them; None where nobody does, which only a loss on hard labels can do without."""
    protocol = Protocol.model_validate({"name": "smoke", "labels": kind})
    plan = view(sets=[{"method": "random", "ipc": 1}, soft_set])
    for prepared, taught in zip(plan.sets, (of_plain_sets, of_soft_sets), strict=True):
        assert plan.resolve_loss("ce", prepared, protocol).taught is False
        if taught is None:
            with pytest.raises(MissingTargets, match=f"set {prepared.name!r} stores none and the protocol's labels are '{kind}'"):
                plan.resolve_loss("gift", prepared, protocol)
        else:
            assert plan.resolve_loss("gift", prepared, protocol).taught is taught


@pytest.mark.usefixtures("forbidden_teacher")
def test_a_trial_on_stored_soft_labels_names_no_teacher(view: View, soft_set: dict[str, str]) -> None:
    (trial,) = view(sets=[soft_set], losses=["gift"]).vary()
    assert (trial.teacher, trial.labels.teacher, trial.labels.teacher_accuracy) == ((), "", None)


# -- native losses -----------------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("no_teacher")
def test_a_native_loss_is_each_sets_own_and_left_out_where_it_is_named_too(view: View) -> None:
    sets = [{"method": "random", "ipc": ipc, "native": native} for ipc, native in ((1, "ce"), (2, "mse_ce(weight=0.5)"))]
    trials = list(view(sets=sets, losses=["native", "ce"]).vary())
    assert labels(trials, "ipc", "loss", "native") == [
        (1, "ce", "ce"),
        (2, "mse_ce(weight=0.5)", "mse_ce(weight=0.5)"),
        (2, "ce", "mse_ce(weight=0.5)"),
    ]


def test_a_set_that_states_no_native_loss_is_named(view: View) -> None:
    with pytest.raises(BoardError, match=r"board\.toml: scenarios\[0\]: losses: set 'random' states no native loss"):
        list(view(losses=["native"]).vary())


# -- whose word goes before whose --------------------------------------------------------------------------------------------


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


def test_what_a_scenario_asks_for_goes_before_its_entry_and_the_board(view: View) -> None:
    own = {"optimizer": "sgd", "model": "convnet1(width=4)", "losses": ["kl"], "seeds": [5], "protocol": "quick"}
    plan = view(own)
    asked = {"optimizer": "adam", "model": "convnet1(width=2)", "losses": ["ce"], "seeds": [7], "protocol": {"epochs": 3}}
    (trial,) = plan.vary(**asked)
    assert (trial.optimizer.name, trial.model.options["width"], trial.loss.name, trial.seed) == ("adam", 2, "ce", 7)
    assert (trial.protocol.epochs, trial.protocol.evaluations) == (3, plan.protocol.evaluations)
    assert trial.labels.protocol == "quick (epochs=3)"


def test_an_optimizer_of_the_protocol_is_taken_where_nobody_names_another(view: View) -> None:
    protocol = {"name": "smoke", "optimizer": "adam(lr=0.5)"}
    assert [trial.labels.learning_rate for trial in view(protocol=protocol).vary()] == [0.5]
    assert [trial.optimizer.name for trial in view({"optimizer": "sgd"}, protocol=protocol).vary()] == ["sgd"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model": "convent3"}, "model: no model 'convent3'"),
        ({"optimizer": "sgd(rate=1)"}, "optimizer: optimizer 'sgd' has no parameter 'rate'"),
        ({"losses": ["gfit"]}, "losses: no loss 'gfit'"),
        ({"protocol": {"augmentation": "stored"}}, "protocol: protocol 'smoke': \"stored\" replays"),
    ],
)
def test_what_a_scenario_asks_for_wrongly_is_answered_with_its_place(view: View, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(GiftbenchError) as raised:
        list(view().vary(**changes))
    assert str(raised.value).startswith(f"board.toml: scenarios[0]: {message}")


# -- the paper's rules -------------------------------------------------------------------------------------------------------


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


def test_a_set_has_a_protocol_of_its_own_by_name_or_in_some_fields(plan: Planner) -> None:
    sets = [
        {"title": "A", "method": "random", "ipc": [1]},
        {"title": "B", "method": "random", "ipc": [1], "protocol": "native:mtt"},
        {"title": "C", "method": "random", "ipc": [1], "protocol": {"epochs": 3, "ema": 0.9, "ranks": "ema"}},
    ]
    plain = {"name": "loss-comparison"}
    trials = plan(scenarios=[plain], sets=sets, losses=["ce"], protocol="smoke", seeds=1)
    assert [(t.labels.method, t.protocol.name, t.protocol.epochs, t.labels.protocol) for t in trials] == [
        ("A", "smoke", 2, "smoke"),
        ("B", "native:mtt", 1001, "native:mtt"),
        ("C", "smoke", 3, "smoke (epochs=3, ema=0.9, ranks=ema)"),
    ]
    assert trials[2].labels.augmentation.endswith(", mean of the weights 0.9 ranks, the raw ones beside it")
    assert "weights" not in trials[0].labels.augmentation
    quick = plain | {"protocol": "quick"}
    trials = plan(scenarios=[quick], sets=sets, losses=["ce"], protocol="smoke", seeds=1)
    assert [(t.protocol.name, t.protocol.epochs) for t in trials] == [("quick", 100), ("native:mtt", 1001), ("quick", 3)]


def test_what_a_scenario_changes_is_changed_in_a_sets_own_protocol(view: View) -> None:
    sets = [{"method": "random", "ipc": [1], "protocol": {"name": "quick", "epochs": 3}}]
    (trial,) = view(sets=sets, losses=["ce"], seeds=1).vary(protocol={"labels": "hard"})
    assert (trial.protocol.name, trial.protocol.epochs, trial.protocol.labels) == ("quick", 3, "hard")
    staged = [{"method": "random", "ipc": [1], "protocol": {"labels": [{"soft": 1}, {"hard": 1}]}}]
    with pytest.raises(BoardError, match=r"protocol: labels = \"hard\" leaves nothing for a stage of soft labels") as raised:
        list(view(sets=staged, losses=["ce"], protocol="paper").vary(protocol={"labels": "hard"}))
    assert "\n" not in str(raised.value)


def test_what_works_on_pixels_is_refused_for_whitened_images(view: View, tmp_path: Path) -> None:
    images = torch.randn(10, 1, 16, 16, generator=torch.Generator().manual_seed(0))
    whitened = DistilledSet(images, torch.arange(10), dataset="digits", method="own", normalised=True, whitening="zca")
    sets = [{"file": str(whitened.save(tmp_path / "set.safetensors"))}]
    for changes in ({"augmentation": "rand-m6+flip"}, {"labels": [{"hard": 1, "augmentation": "color-jitter"}]}):
        with pytest.raises(BoardError, match=r"changes pixels, and the images of set 'own' are whitened: they have none"):
            list(view(sets=sets, protocol={"name": "paper", **changes}).vary())


def test_labels_that_are_hard_all_along_ask_no_teacher(view: View) -> None:
    hard = view(losses=["kl"], seeds=1, protocol={"name": "paper", "labels": [{"hard": 2, "smoothing": 0.1}]})
    (trial,) = hard.vary()
    assert trial.teacher == ()
    assert trial.labels.augmentation.endswith(", labels hard 2 (smoothing 0.1)")


@pytest.mark.parametrize(
    ("protocol", "said"),
    [
        ("native:mt", r"sets\[0\]\.protocol: no protocol 'native:mt'; did you mean 'native:mtt'"),
        ({"epoch": 3}, r"sets\[0\]\.protocol: epoch: unknown key; did you mean 'epochs'"),
        ({"ema": 2}, r"sets\[0\]\.protocol: ema: Input should be less than 1, not 2"),
        ({"labels": [{"sof": 3}]}, r"sets\[0\]\.protocol: stages\[0\]\.sof: unknown key; did you mean 'soft'"),
        ({"schedule": "cosin"}, r"sets\[0\]\.protocol\.schedule: no schedule 'cosin'"),
        (3, r"sets\[0\]\.protocol: a name such as \"native:edc\", or a table"),
    ],
)
def test_a_mistake_in_a_sets_protocol_is_named(tiny: Callable[..., Board], protocol: Any, said: str) -> None:
    with pytest.raises(GiftbenchError, match=said) as raised:
        check_names(tiny(sets=[{"method": "random", "ipc": [1], "protocol": protocol}]), "board.toml")
    assert "\n" not in str(raised.value)


def test_a_student_with_batch_norm_is_refused_batches_of_one_image_however_they_come_about(view: View) -> None:
    lone = {"model": "resnet18", "losses": ["ce"], "sets": [{"method": "random", "ipc": 1}]}
    for protocol in ({"name": "smoke", "batch_size": 1}, {"name": "quick", "epochs": 1, "batch_size": 1}):
        with pytest.raises(BoardError, match="cannot train on a batch of one image"):
            list(view(protocol=protocol, **lone).vary())
    stored = Protocol(batch_size=3, augmentation="stored", mixing="stored")
    assert [images for images in range(1, 8) if plans._meets_one_image(stored, images)] == [1, 4, 7]
    assert not plans._meets_one_image(Protocol(batch_size=3), 4)  # its last batch joins the one before it
    assert [parts for parts in range(1, 5) if plans._meets_one_image(Protocol(batch_size=4, accumulation=parts), 8)] == [4]
