"""The scenario in which classes arrive step by step: what a board may say, and what its tables and figures show."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from harness.boards.records import Record
from harness.boards.trial import Trial
from harness.continual.loop import ResidentLoop
from harness.core.errors import BadOption, BoardError, DataError, UnknownName
from harness.planning.artefacts import Artefacts
from harness.running.executors.work import run_bundle
from harness.running.scenario import named
from harness.running.workbench import Workbench
from harness.teachers.teacher import Teacher
from tests.scenarios.looking import cell, tables_of
from tests.simulated_boards import streams

Planner = Callable[..., list[Trial]]
Run = Callable[..., list[Record]]


def scenario(**options: Any) -> dict[str, Any]:
    return {"scenarios": [{"name": "class-incremental", **options}], "sets": [{"method": "random", "ipc": 2}]}


def test_five_and_ten_steps_of_gdumb_are_the_default(plan: Planner) -> None:
    trials = plan(**scenario())
    assert [(t.labels.own["stream"], t.labels.own["strategy"]) for t in trials] == [
        ("5 steps of 2 classes", "GDumb"),
        ("10 steps of 1 class", "GDumb"),
    ]
    assert [t.options for t in trials] == [
        {"steps": n, "strategy": {"name": "GDumb", "options": {}}, "class_order": "seed", "soft_labels": "sliced", "memory": 0}
        for n in (5, 10)
    ]


@pytest.mark.parametrize(
    ("name", "value"),
    [("steps", 4), ("strategies", "naive"), ("class_order", "sorted"), ("soft_labels", "unsliced"), ("memory", 10)],
)
def test_every_option_changes_the_id(plan: Planner, name: str, value: object) -> None:
    usual = {t.id for t in plan(**scenario())}
    assert not usual & {t.id for t in plan(**scenario(**{name: value}))}


def test_names_of_strategies_are_one_whatever_their_case(plan: Planner) -> None:
    first, second = (plan(**scenario(strategies=name, steps=2))[0] for name in ("gdumb", "GDumb"))
    assert first.id == second.id


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"steps": 11}, BoardError, r"scenarios\[0\]\.steps: steps must lie between 1 and the number of classes, 10; not 11"),
        ({"steps": [5, "6"]}, BadOption, r"scenarios\[0\]\.steps\[1\] must be a whole number, not '6'"),
        ({"steps": 2.5}, BadOption, r"steps\[0\] must be a whole number, not 2.5"),
        (
            {"class_order": [0, 1, 2]},
            BoardError,
            r"scenarios\[0\]\.class_order: a class order must hold each of the classes 0 to 9 once",
        ),
        ({"class_order": [*range(9), 8]}, BoardError, "9 is missing"),
        ({"class_order": 3}, BadOption, r"scenarios\[0\]\.class_order must be a word or a list, not 3"),
        ({"class_order": "sorte"}, BoardError, r"scenarios\[0\]\.class_order: a class order is \"seed\", \"sorted\" or"),
        ({"class_order": [3, "one"]}, BadOption, r"scenarios\[0\]\.class_order\[1\] must be a whole number, not 'one'"),
        (
            {"strategies": ["gdum"]},
            UnknownName,
            r"scenarios\[0\]\.strategies\[0\]: no Avalanche strategy or plugin 'gdum'; did you mean 'GDumb'",
        ),
        ({"strategies": ["GDumb(size=3)"]}, BadOption, "strategy 'GDumb' has no parameter 'size'; did you mean 'mem_size'"),
        ({"strategies": ["EWC"]}, BadOption, r"strategy 'EWC' needs ewc_lambda, as EWC\(ewc_lambda=…\)"),
        ({"strategies": ["GDumb(mem_size=many)"]}, BadOption, "mem_size must be a whole number, not 'many'"),
        ({"strategies": "JointTraining"}, BadOption, "trains on the whole stream at once"),
        ({"soft_labels": "whole"}, BadOption, r"scenarios\[0\]\.soft_labels must be 'sliced' or 'unsliced', not 'whole'"),
        ({"memory": "much"}, BadOption, "memory must be a whole number, not 'much'"),
        ({"memory": -1}, BadOption, "memory must be 0 or more, not -1"),
    ],
)
def test_a_mistake_is_one_line_with_its_place(plan: Planner, options: dict[str, Any], error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words) as caught:
        plan(**scenario(**options))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("options", "board", "words"),
    [
        ({"steps": 10}, {}, "set 'random': a step of the stream brings one image: "),
        ({"steps": 6, "strategies": "naive"}, {}, "set 'random': a step of the stream brings one image: "),
        ({"steps": 5}, {"protocol": {"name": "smoke", "batch_size": 1}}, ""),
        *(
            ({"steps": 2, "strategies": text}, {}, r"set 'random': strategy '.*' learns of one image at a time: ")
            for text in ("GEM(patterns_per_exp=1)", "AGEM(patterns_per_exp=1)", "AGEM(patterns_per_exp=8, sample_size=1)")
        ),
    ],
)
def test_a_batch_of_one_image_is_refused_where_batch_norm_cannot_learn_of_it(
    plan: Planner, options: dict[str, Any], board: dict[str, Any], words: str
) -> None:
    """Whatever ends in maps of one pixel: the ResNet does on 16 px, the ConvNet does not."""
    keys = {**scenario(**options), "sets": [{"method": "random", "ipc": 1}], **board}
    assert plan(**keys, model="convnet1(width=4)")
    with pytest.raises(
        BoardError, match=rf"scenarios\[0\]: {words}.*model 'resnet18' cannot train on a batch of one image"
    ) as caught:
        plan(**keys, model="resnet18")
    assert "\n" not in str(caught.value)


def test_steps_that_bring_one_image_are_no_matter_to_a_strategy_that_keeps_those_before(plan: Planner) -> None:
    assert plan(**scenario(steps=6, strategies="GDumb") | {"sets": [{"method": "random", "ipc": 1}]}, model="resnet18")


@pytest.mark.parametrize(
    ("strategy", "error", "words"),
    [
        (
            "DER(batch_size_mem=50)",
            BadOption,
            "set 'random': strategy 'DER': batch_size_mem 50 is more than the 4 images in memory",
        ),
        ("RWalkPlugin", BadOption, "set 'random': strategy 'RWalkPlugin': delta_t 10 is more than the 2 steps of training"),
        ("BiC(T=1.5)", BadOption, r"strategies\[0\]: strategy 'BiC' cannot be used here: it holds distilled images back"),
        ("er_aml(feature_extractor=x)", BadOption, "'ER_AML' cannot be used here: it draws full batches of each class's memory"),
    ],
)
def test_a_strategy_that_cannot_learn_from_the_memory_is_refused_before_anything_is_trained(
    plan: Planner, strategy: str, error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words) as caught:
        plan(**scenario(steps=5, strategies=[strategy]))
    assert "\n" not in str(caught.value)


def test_a_strategy_with_a_loss_of_its_own_is_one_trial_whatever_losses_there_are(plan: Planner) -> None:
    trials = plan(**scenario(steps=5, strategies=["GDumb", "ICaRL"]), losses=["gift", "ce"], seeds=2)
    own = [trial for trial in trials if trial.options["strategy"]["name"] == "ICaRL"]
    assert len(trials) == 6
    assert [(trial.labels.loss, trial.seed, trial.teacher) for trial in own] == [("its own", 0, ()), ("its own", 1, ())]


@pytest.fixture(scope="module")
def streamed(tmp_path_factory: pytest.TempPathFactory) -> list[Record]:
    """Records of two losses, two seeds and two streams."""
    from harness.boards.board import Board, checked
    from harness.planning.artefacts import Artefacts
    from harness.planning.preparation import Preparation
    from harness.running.executors.work import run_bundle
    from harness.running.planning import plan as planned
    from harness.running.workbench import Workbench

    board = checked(
        Board,
        {
            "dataset": "digits",
            "model": "convnet1(width=8)",
            "teacher": {"model": "convnet1(width=8)", "epochs": 1},
            "protocol": "smoke",
            "losses": ["gift", "ce"],
            "seeds": 2,
            **scenario(steps=[3, 10]),
        },
        "board.toml",
    )
    artefacts = Artefacts(tmp_path_factory.mktemp("streamed"))
    return list(run_bundle(planned(Preparation(board, "board.toml", artefacts, device="cpu")), Workbench("cpu", artefacts)))


def test_a_record_tells_every_step(streamed: list[Record]) -> None:
    record = streamed[0]
    assert [entry["classes"] for entry in record.history] == [4, 7, 10]
    assert [sorted(k for k in entry if k.startswith("step ")) for entry in record.history][-1] == ["step 1", "step 2", "step 3"]
    accuracies = [entry["accuracy"] for entry in record.history]
    assert record.metrics["average_incremental"] == pytest.approx(sum(accuracies) / 3)
    assert record.metrics["accuracy"] == accuracies[-1]
    assert "avalanche-lib" in record.environment.versions


def test_seeds_bring_orders_and_one_class_is_always_right(streamed: list[Record]) -> None:
    ten = [r for r in streamed if r.trial.options["steps"] == 10]
    assert all(r.history[0]["accuracy"] == 100 for r in ten)
    two = [r.history[1]["accuracy"] for r in ten if r.trial.loss.name == "ce"]
    assert two[0] != two[1]


def test_each_stream_has_a_table_of_measures_and_one_of_steps(streamed: list[Record]) -> None:
    tables = tables_of(streamed)
    assert [table.title for table in tables] == [
        "digits, IPC 2 — 3 steps of 4, 3 and 3 classes",
        "digits, IPC 2 — 3 steps of 4, 3 and 3 classes, step by step",
        "digits, IPC 2 — 10 steps of 1 class",
        "digits, IPC 2 — 10 steps of 1 class, step by step",
    ]
    measures, steps = tables[:2]
    assert [c for _, c in measures.column_labels] == ["average", "final", "forgetting"]
    assert [c for _, c in steps.column_labels] == ["4", "7", "10"]
    mine = [r for r in streamed if r.trial.options["steps"] == 3 and r.trial.loss.name == "gift"]
    for column, metric in (("average", "average_incremental"), ("final", "accuracy"), ("forgetting", "forgetting")):
        assert cell(measures, row="gift", column=column)["mean"] == pytest.approx(sum(r.metrics[metric] for r in mine) / 2)
    assert cell(steps, row="gift", column="7")["mean"] == pytest.approx(sum(r.history[1]["accuracy"] for r in mine) / 2)
    assert any("strategy GDumb" in note and "cut to the classes met so far" in note for note in measures.notes)


def test_tables_say_which_stored_augmentations_are_replayed(streamed: list[Record]) -> None:
    def with_stored(record: Record) -> Record:
        labels = record.trial.labels.model_copy(update={"augmentation": "stored"})
        return record.model_copy(update={"trial": record.trial.model_copy(update={"labels": labels})})

    for records, said in ((streamed, False), ([with_stored(record) for record in streamed], True)):
        assert all(("image and partner are at hand" in " ".join(table.notes)) == said for table in tables_of(records))


def test_the_least_forgetting_is_the_best(streamed: list[Record]) -> None:
    measures = tables_of(streamed)[0]
    by_loss = {row: cell(measures, row=row, column="forgetting") for row in ("gift", "ce")}
    best = min(by_loss, key=lambda row: by_loss[row]["mean"])
    assert by_loss[best]["rank"] == 1


def test_figures_show_accuracy_as_classes_arrive(streamed: list[Record]) -> None:
    tables = tables_of(streamed)
    first, second = named("class-incremental").figures(tables)
    assert first.name != second.name
    lines = {line.label: line for line in first.panels[0].lines}
    assert set(lines) == {"gift", "ce"}
    assert lines["ce"].x == (4.0, 7.0, 10.0)
    assert lines["ce"].y[1] == pytest.approx(cell(tables[1], row="ce", column="7")["mean"])
    assert lines["ce"].spread[1] == pytest.approx(cell(tables[1], row="ce", column="7")["std"])


def test_strategies_stand_beside_each_other(run: Run) -> None:
    options = {"name": "class-incremental", "steps": 2, "strategies": ["gdumb", "naive"]}
    records = run(options, losses=["ce"], sets=[{"method": "random", "ipc": 2}])
    measures, _ = tables_of(records)
    assert [row for _, row in measures.row_labels] == ["GDumb, ce", "Naive, ce"]


def test_unsliced_labels_have_tables_of_their_own(plan: Planner, run: Run) -> None:
    board = {"losses": ["gift"], "sets": [{"method": "random", "ipc": 2}]}
    records = [
        r for soft in ("sliced", "unsliced") for r in run({"name": "class-incremental", "steps": 2, "soft_labels": soft}, **board)
    ]
    tables = tables_of(records)
    assert len(tables) == 4
    assert len({table.title for table in tables}) == 4
    assert sum("tell of classes not met yet" in " ".join(table.notes) for table in tables) == 2


@pytest.mark.parametrize(("strategy", "seen"), [("GDumb", 300.0), ("Cumulative", 300.0), ("Replay", 180.0), ("Naive", 100.0)])
def test_a_stream_trains_at_every_step_on_what_its_strategy_keeps(strategy: str, seen: float) -> None:
    (trial, *_) = streams((5,), (strategy,), images=100)
    trainings = list(named("class-incremental").trainings(trial, 500))
    assert len(trainings) == 5
    assert sum(images for images, _ in trainings) == pytest.approx(seen)
    assert [tests for _, tests in trainings] == [100.0, 200.0, 300.0, 400.0, 500.0]


@pytest.mark.parametrize("changes", [{"labels": [{"hard": 2}]}, {"accumulation": 2}, {"ema": 0.9}], ids=str)
def test_a_protocol_that_a_stream_cannot_follow_is_refused_before_anything_is_trained(plan: Planner, changes: Any) -> None:
    options = {"name": "class-incremental", "steps": [5], "protocol": {"name": "paper", "batch_size": 5, **changes}}
    with pytest.raises(DataError, match=r"scenarios\[0\]: set 'random': a class-incremental stream trains.*knows no stages"):
        plan(scenarios=[options], losses=["ce"])


def test_a_given_order_is_part_of_the_trial_as_the_list_that_it_is(plan: Planner) -> None:
    order = [3, 1, 0, 2, 4, 5, 6, 7, 9, 8]
    (trial,) = plan(**scenario(class_order=order, steps=5))
    assert trial.options["class_order"] == order
    assert trial.labels.own["class order"] == "given"


# -- what a teacher has said in another trial --------------------------------------------------------------------------------


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many images each batch holds that a teacher has been asked about."""
    counts: list[int] = []
    logits = Teacher.logits

    def counted(self: Teacher, images: torch.Tensor) -> torch.Tensor:
        counts.append(len(images))
        return logits(self, images)

    monkeypatch.setattr(Teacher, "logits", counted)
    return counts


def told(record: Record) -> tuple[Any, ...]:
    return record.id, record.status, record.error, record.metrics, record.history


def alone(trials: Sequence[Trial], artefacts: Artefacts) -> list[tuple[Any, ...]]:
    return [told(record) for trial in trials for record in run_bundle([trial], Workbench("cpu", artefacts))]


PROTOCOL = {"name": "smoke", "epochs": 2, "batch_size": 7}
#: What decides on the images that are asked about: memories of several kinds, a head that is taken off, losses of their own.
STRATEGIES = ["Naive", "GDumb(mem_size=6)", "Replay(mem_size=6)", "MIR(subsample=2)", "ICaRL"]


@pytest.mark.parametrize(("mixing", "strategies", "streams"), [("none", STRATEGIES, 4), ("cutmix", ["GDumb", "Cumulative"], 1)])
def test_trials_that_ask_the_same_have_the_numbers_that_each_has_alone_to_the_bit(
    plan: Planner, artefacts: Artefacts, asked: list[int], mixing: str, strategies: list[str], streams: int
) -> None:
    """Of whatever strategy: whether two ask the same is found out by what they ask."""
    keys = {**scenario(steps=2, strategies=strategies), "losses": ["gift", "kl"], "protocol": {**PROTOCOL, "mixing": mixing}}
    trials = plan(**keys, model="convnet1(width=4)")
    expected = alone(trials, artefacts)
    each, asked[:] = len(asked), []
    same: dict[Any, list[Trial]] = {}
    for trial in trials:
        same.setdefault(named(trial.scenario).asks(trial), []).append(trial)
    assert len(same) == streams  # Naive and MIR in one, and GDumb and Cumulative
    records = [told(record) for bundle in same.values() for record in run_bundle(bundle, Workbench("cpu", artefacts))]
    assert sorted(records) == sorted(expected)
    assert len(asked) <= 0.55 * each


def test_bundles_that_mix_what_is_not_the_same_change_no_number(plan: Planner, artefacts: Artefacts, asked: list[int]) -> None:
    """A key that two trials share by mistake is no harm."""
    trials = plan(**scenario(steps=2, strategies=["GDumb", "Naive", "LwF(alpha=1.0, temperature=2.0)"]), protocol=PROTOCOL)
    expected = alone(trials, artefacts)
    workbench = Workbench("cpu", artefacts)
    one = named("class-incremental")
    one.asks = lambda trial: "all the same"  # type: ignore[method-assign]
    assert [told(record) for record in run_bundle(trials, workbench, scenario=one)] == expected


def test_a_trial_that_diverges_or_is_taken_up_leaves_the_numbers_of_the_next_as_they_are(
    plan: Planner, artefacts: Artefacts, asked: list[int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GIFTBENCH_CHECKPOINT_SECONDS", "0")
    monkeypatch.setattr("harness.training.loop.STEPS_PER_CHECK", 4)
    keys = {**scenario(steps=3), "losses": ["mse", "gift"], "protocol": {**PROTOCOL, "epochs": 6}}
    (lost,) = plan(**keys | {"losses": ["mse"], "protocol": {**PROTOCOL, "epochs": 6, "optimizer": "sgd(lr=1e20)"}})
    others = plan(**keys)
    expected = alone([lost, *others], artefacts)
    assert [status for _, status, *_ in expected] == ["diverged", "done", "done"]
    assert [told(record) for record in run_bundle([lost, *others], Workbench("cpu", artefacts))] == expected

    train, trials = ResidentLoop._train_exp, [others[0], lost, others[1]]

    class CutOff(BaseException):
        """Stands for the end of a process."""

    def until(self: Any, *given: Any, **options: Any) -> None:
        if len(self.groups) > 2:
            raise CutOff
        train(self, *given, **options)

    with monkeypatch.context() as patch, pytest.raises(CutOff):
        patch.setattr(ResidentLoop, "_train_exp", until)
        list(run_bundle(trials, Workbench("cpu", artefacts, checkpoints=tmp_path / "checkpoints")))
    records = list(run_bundle(trials, Workbench("cpu", artefacts, checkpoints=tmp_path / "checkpoints")))
    assert records[0].environment.taken_up == 2
    assert [told(record) for record in records] == [expected[1], expected[0], expected[2]]


def test_a_teacher_is_asked_by_one_of_those_that_a_run_puts_together(run: Run, asked: list[int]) -> None:
    board = {"losses": ["gift", "kl", "mse"], "sets": [{"method": "random", "ipc": 2}], "protocol": PROTOCOL}
    run({"name": "class-incremental", "steps": 5, "strategies": "GDumb"}, **board | {"losses": ["gift"]})
    once, asked[:] = len(asked), []
    run({"name": "class-incremental", "steps": 5, "strategies": "GDumb"}, **board)
    assert len(asked) == once
