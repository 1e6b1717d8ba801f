"""What differs is never averaged, and never stands in one table."""

from __future__ import annotations

import pytest

from harness.boards.labels import Labels
from harness.leaderboard.settings import WITHIN
from harness.leaderboard.tables import pivot


def titles(frame, **axes) -> list[str]:
    return [table.title for table in pivot(frame, **axes)]


def counts(frame, **axes) -> list[list[int]]:
    """Return the seeds in each cell of each table."""
    return [table.cells["n"].tolist() for table in pivot(frame, **axes)]


DIFFERENT = {
    "dataset": ({"dataset": "digits"}, {"dataset": "cifar10"}, ["digits, IPC 10", "cifar10, IPC 10"]),
    "protocol": ({}, {"protocol": "paper"}, ["digits, IPC 10 — protocol quick", "digits, IPC 10 — protocol paper"]),
    "epochs": ({}, {"epochs": 100}, ["digits, IPC 10 — 150 epochs", "digits, IPC 10 — 100 epochs"]),
    "precision": ({}, {"precision": "bf16"}, ["digits, IPC 10 — float32", "digits, IPC 10 — bf16"]),
    "augmentation": (
        {},
        {"augmentation": "flip"},
        ["digits, IPC 10 — augmentation color_crop", "digits, IPC 10 — augmentation flip"],
    ),
    "model": ({}, {"model": "resnet18"}, ["digits, IPC 10 — model convnet3", "digits, IPC 10 — model resnet18"]),
    "teacher": (
        {"weights": "1" * 64},
        {"weights": "2" * 64, "teacher": "resnet18"},
        [
            "digits, IPC 10 — teacher convnet3(width=64) (98.24 %) [11111111]",
            "digits, IPC 10 — teacher resnet18 (98.24 %) [22222222]",
        ],
    ),
    "teacher accuracy": (
        {},
        {"teacher_accuracy": 97.123456, "weights": "2" * 64},
        [
            "digits, IPC 10 — teacher convnet3(width=64) (98.24 %) [eeeeeeee]",
            "digits, IPC 10 — teacher convnet3(width=64) (97.12 %) [22222222]",
        ],
    ),
    "device": ({}, {"device": "NVIDIA H200", "seed": 7}, ["digits, IPC 10 — on the CPU", "digits, IPC 10 — on the GPU"]),
    "version": ({}, {"version": 2}, ["digits, IPC 10 — scenario version 1", "digits, IPC 10 — scenario version 2"]),
    "options": ({"options": {"steps": 5}}, {"options": {"steps": 10}}, ["digits, IPC 10 — steps=5", "digits, IPC 10 — steps=10"]),
    "options added": ({}, {"options": {"steps": 10}}, ["digits, IPC 10 — no options", "digits, IPC 10 — steps=10"]),
    "batch size": ({}, {"batch_size": 100}, ["digits, IPC 10 — batch size 50", "digits, IPC 10 — batch size 100"]),
    "learning rate": ({}, {"learning_rate": 0.5}, ["digits, IPC 10 — learning rate 0.001", "digits, IPC 10 — learning rate 0.5"]),
    "adaptation": ({}, {"adaptation": "upsampled", "seed": 7}, ["digits, IPC 10 — not adapted", "digits, IPC 10 — upsampled"]),
    "a plugin's label": ({"stream": "x"}, {"stream": "y", "seed": 7}, ["digits, IPC 10 — stream x", "digits, IPC 10 — stream y"]),
}


@pytest.mark.parametrize("what", DIFFERENT)
def test_records_that_differ_are_kept_apart(planter, what):
    first, second, expected = DIFFERENT[what]
    planter.plant(80.0, **{"seed": 0, **first})
    planter.plant(20.0, **{"seed": 1, **second})
    assert titles(planter.frame) == expected
    assert counts(planter.frame) == [[1], [1]]


def test_a_heading_says_no_more_than_tells_settings_apart(planter):
    planter.cell(80.0, protocol="quick", epochs=150, precision="float32")
    planter.cell(80.0, protocol="paper", epochs=1000, precision="float32")
    assert titles(planter.frame) == ["digits, IPC 10 — protocol quick", "digits, IPC 10 — protocol paper"]
    planter.cell(80.0, protocol="paper", epochs=1000, precision="bf16")
    assert titles(planter.frame)[1:] == ["digits, IPC 10 — protocol paper, float32", "digits, IPC 10 — protocol paper, bf16"]


def test_what_is_an_axis_is_no_setting(planter):
    for model in ("convnet3", "resnet18"):
        planter.cell(80.0, model=model, learning_rate=0.001 if model == "convnet3" else 0.1)
    assert len(pivot(planter.frame, columns="model")) == 1
    assert len(pivot(planter.frame, rows="model", columns="loss")) == 1
    assert len(pivot(planter.frame)) == 2


def test_losses_are_a_setting_when_they_are_no_axis(planter):
    planter.cell(80.0, loss="kl", model="a")
    planter.cell(70.0, loss="gift", model="a")
    assert titles(planter.frame, rows="model") == ["digits, IPC 10 — loss kl", "digits, IPC 10 — loss gift"]


def test_batch_size_may_go_by_ipc(planter):
    planter.cell(80.0, ipc=1, batch_size=10)
    planter.cell(80.0, ipc=10, batch_size=50)
    assert titles(planter.frame) == ["digits"]


def test_a_loss_without_a_teacher_belongs_with_every_teacher(planter):
    for weights, accuracy in (("1" * 64, 98.0), ("2" * 64, 97.0)):
        planter.cell(80.0, 81.0, loss="kl", weights=weights, teacher_accuracy=accuracy)
    planter.cell(60.0, 61.0, loss="ce", teacher="", teacher_accuracy=None)
    assert titles(planter.frame) == [
        "digits, IPC 10 — teacher convnet3(width=64) (98.00 %) [11111111]",
        "digits, IPC 10 — teacher convnet3(width=64) (97.00 %) [22222222]",
    ]
    assert counts(planter.frame) == [[2, 2], [2, 2]]


def test_a_loss_without_a_teacher_follows_its_distilled_set(planter):
    for weights, distilled in (("1" * 64, "a" * 64), ("2" * 64, "b" * 64)):
        planter.cell(80.0, loss="kl", weights=weights, distilled=distilled)
        planter.cell(60.0, loss="ce", teacher="", teacher_accuracy=None, distilled=distilled)
    frame = planter.frame
    digests = {r.id: "+".join(r.trial.teacher) for r in planter.records}
    found = pivot(frame.assign(teacher_digest=frame["id"].map(digests)))
    assert [sorted(table.cells["distilled"].unique()) for table in found] == [["a" * 64], ["b" * 64]]


def test_a_seed_that_diverged_early_stays_in_its_cell(planter):
    planter.cell(80.0, 82.0, metrics={"epochs": 150.0})
    planter.plant(10.0, seed=2, status="diverged", metrics={"epochs": 37.0})
    planter.plant(None, seed=3, status="failed", error="boom")
    assert counts(planter.frame) == [[3]]


def test_seeds_that_all_diverged_share_a_table(planter):
    for seed, epochs in ((0, 37.0), (1, 41.0)):
        planter.plant(10.0, seed=seed, status="diverged", metrics={"epochs": epochs})
    assert counts(planter.frame) == [[2]]
    assert "41 epochs" in "".join(pivot(planter.frame)[0].notes)


def test_a_record_that_does_not_name_its_device_stays_with_the_others(planter):
    planter.plant(80.0, seed=0)
    planter.plant(82.0, seed=1, device="")
    assert counts(planter.frame) == [[2]]


def test_two_processors_are_one_kind_of_device(planter):
    planter.plant(80.0, seed=0, device="CPU A")
    planter.plant(82.0, seed=1, device="CPU B")
    assert counts(planter.frame) == [[2]]


def test_two_sets_of_one_name_are_kept_apart_and_named(planter):
    planter.cell(80.0, 82.0, distilled="a" * 64)
    planter.cell(20.0, 22.0, distilled="b" * 64)
    planter.cell(50.0, 52.0, method="Other", distilled="c" * 64)
    first, second = pivot(planter.frame)
    assert (first.title, second.title) == ("digits, IPC 10 — set aaaaaaaa", "digits, IPC 10 — set bbbbbbbb")
    assert first.cells["mean"].tolist() == [81.0, 51.0]
    assert second.cells["mean"].tolist() == [21.0]
    assert "here RDED at IPC 10 is `bbbbbbbb`" in second.notes[0]


def test_sets_are_kept_apart_even_when_no_seed_repeats(planter):
    planter.plant(80.0, seed=0, distilled="a" * 64)
    planter.plant(20.0, seed=1, distilled="b" * 64)
    assert counts(planter.frame) == [[1], [1]]


def test_trials_that_no_label_tells_apart_are_never_averaged(planter):
    planter.plant(80.0, seed=0, loss_spec="kl(temperature=4)")
    planter.plant(20.0, seed=0, loss_spec="kl(temperature=1)")
    first, second = pivot(planter.frame)
    assert (first.title, second.title) == ("digits, IPC 10 — variant 1", "digits, IPC 10 — variant 2")
    assert (first.cells["mean"].tolist(), second.cells["mean"].tolist()) == ([80.0], [20.0])
    assert "no label shows" in first.notes[0]


def test_setups_tell_trials_apart_where_no_seed_repeats(planter):
    planter.plant(80.0, seed=0, loss_spec="kl(temperature=4)")
    planter.plant(20.0, seed=1, loss_spec="kl(temperature=1)")
    assert counts(planter.frame) == [[1], [1]]
    assert counts(planter.frame.drop(columns="setup")) == [[2]]


def test_digests_of_data_and_teachers_tell_settings_apart(planter):
    planter.plant(80.0, seed=0)
    planter.plant(20.0, seed=1)
    frame = planter.frame
    assert titles(frame.assign(dataset_digest=["1" * 64, "2" * 64])) == [
        "digits, IPC 10 — dataset files 11111111",
        "digits, IPC 10 — dataset files 22222222",
    ]
    assert titles(frame.assign(teacher_digest=["1" * 64, "2" * 64])) == [
        "digits, IPC 10 — teacher convnet3(width=64) (98.24 %) [11111111]",
        "digits, IPC 10 — teacher convnet3(width=64) (98.24 %) [22222222]",
    ]


def test_a_scenarios_own_axis_carries_its_options_and_epochs(planter):
    for stream, steps in (("5 steps", 5), ("10 steps", 10)):
        for loss in ("kl", "gift"):
            options = {"steps": steps, "buffer": 0}
            planter.cell(80.0, 81.0, loss=loss, stream=stream, options=options, metrics={"epochs": 30.0 * steps})
    assert titles(planter.frame, columns="stream") == ["digits, IPC 10"]
    assert [c for _, c in pivot(planter.frame, columns="stream")[0].column_labels] == ["5 steps", "10 steps"]
    planter.cell(70.0, stream="5 steps", options={"steps": 5, "buffer": 9}, metrics={"epochs": 150.0})
    assert titles(planter.frame, columns="stream") == ["digits, IPC 10 — buffer=0", "digits, IPC 10 — buffer=9"]


def test_an_option_may_be_an_axis(planter):
    for steps in (5, 10):
        planter.cell(80.0, steps=steps, options={"steps": steps})
    assert titles(planter.frame, columns="steps") == ["digits, IPC 10"]


def test_a_plugins_metrics_are_no_settings(planter):
    planter.plant(80.0, seed=0, metrics={"forgetting": 3.0})
    planter.plant(82.0, seed=1, metrics={"forgetting": 4.0})
    assert counts(planter.frame) == [[2]]


def test_a_plugins_label_that_goes_with_a_row_is_no_setting(planter):
    planter.cell(80.0, loss="kl", family="divergence")
    planter.cell(80.0, loss="mse", family="distance")
    assert titles(planter.frame) == ["digits, IPC 10"]


def test_one_set_may_have_its_native_loss_written_down_later(planter):
    planter.cell(80.0, 81.0, 82.0, loss="kl", native="kl")
    planter.cell(84.0, 85.0, 86.0, loss="gift", native="")
    (table,) = pivot(planter.frame)
    assert table.cells.query("row == 'gift'")["gain"].iloc[0] == pytest.approx(4.0)


def test_what_a_set_was_distilled_on_tells_settings_apart(planter):
    for network in ("convnet3", "resnet18"):
        planter.cell(80.0, distilled_on=network)
    assert titles(planter.frame) == ["digits, IPC 10 — distilled_on convnet3", "digits, IPC 10 — distilled_on resnet18"]
    assert titles(planter.frame, columns="distilled_on") == ["digits, IPC 10"]


def test_everything_that_trials_state_tells_settings_apart_or_is_said_not_to(planter):
    assert {*WITHIN} <= {*Labels.model_fields}
    for name in Labels.model_fields.keys() - {*WITHIN, "order", "batch_size", "learning_rate", "adaptation"}:
        made = type(planter)()
        for value in {"epochs": (20, 30), "augmentation": ("flip", "crop")}.get(name, ("one", "two")):
            made.cell(80.0, **{name: value})
        assert len(titles(made.frame, rows="method", columns="ipc")) == 2, name
