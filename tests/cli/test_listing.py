"""What `giftbench list` prints: names with parameters, and where they come from."""

from __future__ import annotations

import pytest

from harness import optimizers
from harness.cli.listing import entries, show
from harness.core.errors import UnknownName


def test_an_entry_has_its_parameters_with_defaults_and_its_origin() -> None:
    (gift,) = [entry for entry in entries("losses") if entry.name == "gift"]
    assert "gamma" in gift.parameters
    assert gift.summary
    assert gift.origin == "giftbench"


def test_optimizers_of_timm_are_one_entry_that_says_whose_defaults_they_have() -> None:
    (timms,) = [entry for entry in entries("optimizers") if entry.name == "timm/*"]
    assert "create_optimizer_v2" in timms.summary
    options = optimizers.resolve("timm/momentum").options
    assert options["weight_decay"] == float(timms.parameters["weight_decay"])
    assert options["filter_bias_and_bn"] is (timms.parameters["filter_bias_and_bn"] == "true")
    assert options["momentum"] == float(timms.summary.partition("momentum ")[2].split()[0])


def test_augmentations_have_the_parameters_that_protocols_may_say() -> None:
    listed = {entry.name: entry for entry in entries("augmentations")}
    assert listed["random-resized-crop"].parameters == {"min_scale": "0.08"}
    assert listed["mixup"].parameters["alpha"] == "0.8"
    assert listed["rand-m6-n2-mstd1.0"].summary
    assert "DSA" in listed["color"].summary
    assert all(entry.summary for entry in listed.values())


def test_protocols_are_listed_with_what_they_are() -> None:
    assert {"paper", "quick", "smoke"} <= {entry.name for entry in entries("protocols")}


def test_one_kind_is_printed_alone_and_all_under_their_names(capsys: pytest.CaptureFixture[str]) -> None:
    show("optimizers")
    alone = capsys.readouterr().out
    assert "adamw" in alone
    assert "optimizers:" not in alone
    show("all")
    assert {"losses:", "optimizers:", "protocols:"} <= set(capsys.readouterr().out.splitlines())


def test_an_unknown_kind_is_refused(refused) -> None:
    with refused(UnknownName, "'modles'", "'models'"):
        entries("modles")
