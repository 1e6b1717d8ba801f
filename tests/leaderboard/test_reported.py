"""Files of published numbers: what is read, what is refused, and which trials a cell is about."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest

from harness import losses, models
from harness.boards.protocol import Protocol
from harness.boards.records import Record
from harness.boards.trial import Trial
from harness.core.errors import DataError
from harness.leaderboard.reported import COLUMNS, ReportedCell, deviations, load, match, of_tables

HEADER = ",".join(COLUMNS)
ROW = "5,cifar100,RDED,convnet,10,convnet,adamw,kl,0,1,47.5,0.3"
CELL: dict[str, Any] = {
    "table": "5",
    "dataset": "cifar100",
    "method": "RDED",
    "distilled_on": "convnet",
    "ipc": 10,
    "network": "convnet",
    "optimizer": "adamw",
    "loss": "kl",
    "refine": False,
    "native": True,
    "accuracy": 47.5,
    "std": 0.3,
}
LABELS: dict[str, Any] = {
    "dataset": "cifar100",
    "method": "RDED",
    "distilled_on": "convnet",
    "ipc": 10,
    "images": 1000,
    "model": "convnet3",
    "optimizer": "adamw",
    "loss": "kl",
}


def cell(**changes: Any) -> ReportedCell:
    return ReportedCell(**(CELL | changes))


def trial(seed: int = 0, order: int = 0, protocol: Any = "paper", **changes: Any) -> Trial:
    """A trial as planning makes them; keyword arguments replace labels, or its scenario, options, set and dataset's spec."""
    own = {"scenario": "cross-optimizer", "options": {}, "distilled": "d" * 64, "spec": ""}
    own |= {name: changes.pop(name) for name in list(changes) if name in own}
    labels = {name: value for name, value in (LABELS | changes | {"order": order}).items() if value is not None}
    return Trial(
        scenario=own["scenario"],
        options=own["options"],
        dataset={"name": own["spec"] or labels["dataset"], "digest": "a" * 64},
        distilled=own["distilled"],
        model=labels["model"],
        loss=labels["loss"],
        optimizer=labels["optimizer"],
        protocol=Protocol.model_validate(protocol).resolved(labels["images"], labels["dataset"]),
        seed=seed,
        labels=labels,
    )


def record(made: Trial, status: Any = "done", accuracy: float = 47.0) -> Record:
    metrics = {} if status == "failed" else {"accuracy": accuracy, "best_accuracy": accuracy + 1}
    return Record.of(made, status, metrics=metrics)


@pytest.fixture
def file(tmp_path: Path):
    def write(*rows: str, header: str = HEADER) -> Path:
        path = tmp_path / "numbers.csv"
        path.write_text("\n".join([header, *rows]) + "\n", "utf-8")
        return path

    return write


# -- the file ------------------------------------------------------------------------------------------------------------


def test_a_row_is_read_with_its_types(file):
    (found,) = load(file(ROW))
    assert found == cell()


def test_columns_may_stand_in_any_order_and_others_are_ignored(file):
    names, values = [*reversed(HEADER.split(",")), "remark"], [*reversed(ROW.split(",")), "hm"]
    assert load(file(",".join(values), header=",".join(names))) == [cell()]


def test_a_missing_deviation_is_no_zero(file):
    (found,) = load(file(ROW.replace("0.3", "")))
    assert math.isnan(found.std)


def test_a_further_column_may_name_the_loss_to_compare_with(file):
    (found,) = load(file(ROW + ",kl(rescale)", header=HEADER + ",compared_with"))
    assert found.ours == "kl(rescale)"


@pytest.mark.parametrize(
    ("rows", "header", "message"),
    [
        ([ROW], HEADER.replace("network,", ""), "no column 'network'; it needs table, dataset"),
        ([], HEADER, "no cells"),
        ([ROW, ROW.replace("adamw", "sgd").replace("47.5", "good")], HEADER, "line 3: accuracy must be a number from 0 to 100"),
        ([ROW.replace("47.5", "nan")], HEADER, "line 2: accuracy must be"),
        ([ROW.replace("47.5", "101")], HEADER, "line 2: accuracy must be"),
        ([ROW.replace("0.3", "-1")], HEADER, "line 2: std must be"),
        ([ROW.replace(",10,", ",ten,")], HEADER, "line 2: ipc must be a whole number above 0, not 'ten'"),
        ([ROW.replace(",10,", ",0,")], HEADER, "line 2: ipc must be"),
        ([ROW.replace(",10,", f",{'9' * 5000},")], HEADER, "line 2: ipc must be"),
        ([ROW.replace(",0,1,", ",yes,1,")], HEADER, "line 2: refine must be 0 or 1, not 'yes'"),
        ([ROW.replace("cifar100", "")], HEADER, "line 2: dataset is empty"),
        ([ROW[: ROW.index(",adamw")]], HEADER, "line 2: optimizer is empty"),
        ([ROW, ROW.replace("47.5", "47.6")], HEADER, "line 3: the same cell as line 2: table 5, cifar100, RDED"),
        ([ROW.replace("RDED", "x" * 200_000)], HEADER, "not CSV: field larger than"),
    ],
)
def test_what_is_wrong_is_one_line_with_its_place(file, rows, header, message):
    path = file(*rows, header=header)
    with pytest.raises(DataError) as caught:
        load(path)
    assert message in str(caught.value)
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)


def test_what_is_no_text_is_refused(tmp_path: Path):
    (tmp_path / "numbers.csv").write_bytes(b"\xff\xfe\x00table")
    with pytest.raises(DataError, match="cannot be read as UTF-8 text"):
        load(tmp_path / "numbers.csv")
    with pytest.raises(DataError, match="no such file"):
        load(tmp_path / "none.csv")


def test_tables_are_chosen_by_name(file):
    cells = load(file(ROW, ROW.replace("5,", "7,", 1)))
    assert [c.table for c in of_tables(cells, ["7"], "numbers.csv")] == ["7"]
    assert of_tables(cells, [], "numbers.csv") == cells
    with pytest.raises(DataError, match=r"^numbers.csv: no table '8'; valid: 5, 7$"):
        of_tables(cells, ["8"], "numbers.csv")


# -- which loss of ours --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("table", "loss", "refine", "ours"),
    [
        ("7", "kl", False, "kl"),
        ("7", "kl", True, "refined(native=kl)"),
        ("13", "mse_ce", True, "refined(native=mse_ce)"),
        ("7", "cosine", False, "cosine"),
        ("7", "cosine", True, "gift"),
        ("1", "gift", True, "gift"),
        ("6", "gift", True, "cosine"),
        ("6", "soft_ce_ce", False, "soft_ce_ce"),
    ],
)
def test_a_reported_loss_is_compared_with_the_label_that_trials_carry(table, loss, refine, ours):
    assert cell(table=table, loss=loss, refine=refine).ours == losses.registry.label(ours)


# -- which trials --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("network", ["efficientnet-b0", "mobilenet-v2", "swin-v2-tiny"])
def test_a_network_of_torchvision_is_compared_before_timms_of_the_same_name(network: str):
    """Both are trained on a board; the released code's is torchvision's, and timm's is taken where that is all there is."""
    published = cell(network=network)
    theirs = next(label for label in published.networks if "init=torchvision" in label)
    assert models.registry.label(theirs) == theirs  # as trials are labelled
    timms, torchvisions = record(trial(model=network)), record(trial(model=theirs, order=1))
    assert match([published], [timms, torchvisions])[published].records == (torchvisions,)
    assert match([published], [timms])[published].records == (timms,)


def test_a_trial_of_the_same_place_fits():
    assert cell().fits(trial())


@pytest.mark.parametrize(
    "changes",
    [
        {"method": "SRe2L"},
        {"ipc": 1},
        {"loss": "kl(rescale)"},
        {"loss": "kl_ce"},
        {"optimizer": "adam"},
        {"optimizer": "adamw(lr=0.01)"},
        {"model": "convnet4"},
        {"model": "convnet3(width=64)"},
        {"model": "resnet18"},
        {"distilled_on": "resnet18"},
        {"dataset": "cifar10"},
        {"options": {"steps": 5}},
    ],
)
def test_a_trial_that_differs_in_one_thing_does_not_fit(changes):
    assert not cell().fits(trial(**changes))


@pytest.mark.parametrize(
    ("reported", "changes"),
    [
        ({"method": "G-VBSM"}, {"method": "gvbsm"}),
        ({}, {"distilled_on": None}),
        ({"distilled_on": ""}, {"distilled_on": "resnet18"}),
        ({"method": "DATM"}, {"method": "DATM", "model": "convnet3(norm=instance)"}),
        ({"network": "resnet18"}, {"model": "resnet18-modified"}),
        ({"network": "resnet18"}, {"model": "resnet18"}),
        ({"network": "resnet101"}, {"model": "resnet101-modified"}),
        ({"network": "swin-v2-tiny"}, {"model": "swin-v2-tiny"}),
        ({"dataset": "tiny-imagenet"}, {"dataset": "tiny-imagenet", "model": "convnet4"}),
        ({"dataset": "mine"}, {"dataset": "mine", "model": "convnet5"}),
        ({"dataset": "folder"}, {"dataset": "folder", "spec": "folder:(odd", "model": "convnet5"}),
    ],
)
def test_names_that_mean_the_same_fit(reported, changes):
    assert cell(**reported).fits(trial(**changes))


@pytest.mark.parametrize(
    ("network", "spec", "model", "fits"),
    [
        ("convnet", "imagenet-1k(size=64)", "convnet4", True),
        ("convnet", "imagenet-1k", "convnet4", False),
        ("resnet18", "imagenet-1k", "resnet18", True),
        ("resnet18", "imagenet-1k(size=224)", "resnet18", True),
        ("resnet18", "imagenet-1k(size=64)", "resnet18", False),
        ("resnet18", "imagenet-1k", "resnet18-modified", False),
    ],
)
def test_imagenet_is_compared_at_the_size_that_the_network_of_the_paper_sees(network, spec, model, fits):
    found = trial(dataset="imagenet-1k", spec=spec, model=model)
    assert cell(dataset="imagenet-1k", network=network).fits(found) is fits


def test_a_protocol_as_in_the_paper_deviates_in_nothing():
    assert not deviations(trial())
    assert not deviations(trial(dataset="imagenet-1k"))


def test_what_a_protocol_changes_is_named():
    assert deviations(trial(protocol={"name": "quick", "evaluations": 2, "schedule": "cosine"})) == {
        "epochs": "100 instead of 1000",
        "schedule": "cosine instead of multistep",
        "evaluations": "2 instead of 4",
    }


def test_the_seeds_of_a_cell_are_found_and_failed_ones_do_not_count():
    records = [record(trial(seed)) for seed in (2, 0, 1)] + [record(trial(3), "failed")]
    (found,) = match([cell()], records).values()
    assert [r.trial.seed for r in found.records] == [0, 1, 2]
    assert found.others == 0


def test_a_cell_without_records_is_not_there():
    assert match([cell(ipc=50)], [record(trial())]) == {}


def test_two_scenarios_that_train_the_same_count_once():
    records = [record(trial(seed, scenario=name)) for name in ("cross-optimizer", "loss-comparison") for seed in (0, 1)]
    (found,) = match([cell()], records).values()
    assert (len(found.records), found.others) == (2, 0)


def test_of_several_settings_the_one_by_the_paper_is_taken_and_the_others_are_counted():
    records = [record(trial(protocol="quick", order=0)), record(trial(order=1)), record(trial(order=2, distilled="e" * 64))]
    (found,) = match([cell()], records).values()
    assert (found.trial.labels.order, found.others) == (1, 2)


def test_datm_is_compared_with_instance_norm_where_both_were_run():
    datm = {"method": "DATM", "loss": "soft_ce"}
    records = [record(trial(**datm, order=0)), record(trial(**datm, model="convnet3(norm=instance)", order=1))]
    (found,) = match([cell(**datm)], records).values()
    assert (found.trial.labels.model, found.others) == ("convnet3(norm=instance)", 1)
