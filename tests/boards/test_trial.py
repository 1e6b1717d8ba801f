"""Trials: a setup and a seed, one flat JSON, and an id that is the hash of what the number rests on."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from harness.boards.labels import Labels
from harness.boards.protocol import Protocol
from harness.boards.setup import OPTIONAL, Setup
from harness.boards.trial import Trial
from harness.core.errors import BadOption
from harness.running.workbench import recipe
from tests.boards.trials import TRIAL, changed, written_out


def test_the_id_of_a_trial_stays_the_same_over_releases() -> None:
    assert Trial.model_validate(TRIAL).id == "7a8a51eb03af1c0e1802"


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("scenario", "cross-architecture"),
        ("version", 2),
        ("options", {}),
        ("options.steps", 6),
        ("dataset.digest", "c" * 64),
        ("distilled", "c" * 64),
        ("teacher", []),
        ("teacher", ["b" * 64, "a" * 64]),
        ("model.name", "convnet2"),
        ("model.options.width", 9),
        ("loss.name", "gift_reference"),
        ("loss.options.gamma", 0.2),
        ("optimizer.name", "adam"),
        ("optimizer.options.lr", 0.01),
        ("protocol.epochs", 3),
        ("protocol.batch_size", 20),
        ("protocol.schedule.name", "cosine"),
        ("protocol.schedule.options.gamma", 0.5),
        ("protocol.augmentation", "none"),
        ("protocol.mixing", "cutmix"),
        ("protocol.normalisation", "imagenet"),
        ("protocol.labels", "teacher"),
        ("protocol.precision", "bf16"),
        ("protocol.evaluations", 2),
        ("protocol.stages", [{"soft": 1}, {"hard": 1}]),
        ("protocol.accumulation", 2),
        ("protocol.ema", 0.9),
        ("plugins", {"loss my-loss": {"source": "losses.py", "digest": "c" * 64}}),
        ("versions", {"loss gift": 2}),
        ("seed", 1),
    ],
)
def test_a_change_to_what_a_trial_does_changes_its_id(path: str, value: Any) -> None:
    assert changed(path, value).id != Trial.model_validate(TRIAL).id


def test_a_plugin_is_known_by_its_digest_whatever_its_file_is_called_and_not_at_all_where_the_board_says_so() -> None:
    digest = "c" * 64
    plugin = {"source": "losses.py", "digest": digest}
    trials = [
        changed("plugins", {"loss my-loss": plugin | others})
        for others in ({}, {"source": "renamed.py"}, {"digest": "d" * 64}, {"hashed": False})
    ]
    assert trials[0].id == trials[1].id != trials[2].id
    assert trials[3].id == Trial.model_validate(TRIAL).id
    assert f'"plugins":{{"loss my-loss":"{digest}"}}' in trials[0].canonical
    assert all(Trial.model_validate_json(trial.model_dump_json()) == trial for trial in trials)
    assert trials[0].setup.together == Trial.model_validate(TRIAL).setup.together  # losses are trained together all the same


def test_the_test_of_changes_leaves_no_field_out() -> None:
    assert {*TRIAL, *OPTIONAL} == {*Setup.model_fields, "seed", "labels"}  # those are not written where they are empty
    assert set(TRIAL["protocol"]) == set(Protocol.model_fields) - {"optimizer"}  # the trial's own optimizer is what counts


@pytest.mark.parametrize("augmentation", ["cutout", "color_cutout_flip", "pad-crop+dsa(strategy=crop_cutout)"])
def test_squares_as_the_authors_draw_them_make_another_trial_than_those_of_records_that_do_not_say(augmentation: str) -> None:
    trial = changed("protocol.augmentation", augmentation)
    content = json.loads(trial.model_dump_json())
    del content["protocol"]["cutout"]
    unsaid = Trial.model_validate(content)
    assert (unsaid.id, unsaid.protocol.squares) == (trial.id, "inner")
    assert "cutout" not in json.loads(unsaid.model_dump_json())["protocol"]
    theirs = Trial.model_validate(content | {"protocol": content["protocol"] | {"cutout": "border"}})
    assert theirs.setup.hash != trial.setup.hash
    assert theirs.setup.step != trial.setup.step
    assert '"cutout":"border"' in theirs.canonical
    assert Trial.model_validate_json(theirs.model_dump_json()).id == theirs.id


@pytest.mark.parametrize("augmentation", ["none", "color_flip", "pad-crop+dsa(strategy=crop)", "stored"])
def test_where_no_square_is_cut_out_the_id_does_not_say_how(augmentation: str) -> None:
    trial = changed("protocol.augmentation", augmentation)
    other = trial.model_copy(update={"protocol": trial.protocol.model_copy(update={"cutout": "border"})})
    assert (other.id, other.setup.step, recipe(other).step) == (trial.id, trial.setup.step, recipe(trial).step)


def test_every_committed_record_keeps_its_id() -> None:
    files = sorted(Path(__file__).parents[2].glob("leaderboards/*/records/**/*.json"))
    assert len(files) > 100
    for file in files:
        content = json.loads(file.read_text("utf-8"))
        assert Trial.model_validate(content["trial"]).id == content["id"], file


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("labels", {}),
        ("labels.method", "RDED"),
        ("dataset.name", "folder:elsewhere/digits"),
        ("protocol.name", "quick"),
    ],
)
def test_what_only_describes_a_trial_leaves_its_id(path: str, value: Any) -> None:
    assert changed(path, value).id == Trial.model_validate(TRIAL).id


def test_the_order_of_parameters_leaves_the_id() -> None:
    assert changed("loss", "gift(alpha=0.1, gamma=0.1)").id == (Trial.model_validate(TRIAL).id)


def test_a_trial_keeps_its_id_through_json() -> None:
    trial = Trial.model_validate(TRIAL)
    again = Trial.model_validate_json(trial.model_dump_json())
    assert again == trial
    assert (again.id, again.setup.hash) == (trial.id, trial.setup.hash)


@pytest.mark.parametrize(("path", "value"), [("seed", 12345), ("options", {"z": [1, 2.5], "a": {"seed": "ü"}}), ("teacher", [])])
def test_an_id_is_the_hash_of_the_canonical_json(path: str, value: Any) -> None:
    trial = changed(path, value)
    assert trial.canonical == written_out(trial)
    assert trial.id == hashlib.sha256(written_out(trial).encode()).hexdigest()[:20]


def test_json_is_flat_and_has_the_setup_beside_seed_and_labels() -> None:
    trial = Trial.model_validate(TRIAL)
    content = json.loads(trial.model_dump_json())
    assert set(content) == set(TRIAL)
    assert {name: content[name] for name in ("dataset", "teacher", "seed", "labels")} == {
        name: TRIAL[name] for name in ("dataset", "teacher", "seed", "labels")
    }
    assert trial.model_dump()["dataset"] == TRIAL["dataset"]


def test_the_fields_of_the_setup_are_a_trials_own() -> None:
    trial = Trial.model_validate(TRIAL)
    assert all(getattr(trial, name) is getattr(trial.setup, name) for name in Setup.model_fields)


def test_a_field_that_a_trial_does_not_have_is_refused() -> None:
    with pytest.raises(ValidationError, match="sed"):
        Trial.model_validate(TRIAL | {"sed": 1})
    with pytest.raises(ValidationError, match="epochs"):
        Trial.model_validate(TRIAL).model_copy(update={"epochs": 3})


def test_a_trial_of_a_setup_and_another_seed_has_the_id_that_it_would_have_had() -> None:
    trial, other = Trial.model_validate(TRIAL), changed("seed", 7)
    made = Trial(setup=trial.setup, seed=7, labels=Labels(method="RDED"))
    assert (made.id, made.canonical) == (other.id, other.canonical)
    assert made.setup is trial.setup
    assert made.model_copy(update={"labels": other.labels}) == other


def test_a_copy_with_other_fields_has_its_own_id() -> None:
    trial = Trial.model_validate(TRIAL)
    assert len({trial.id, trial.setup.hash}) == 2  # which are kept
    copy = trial.model_copy(update={"seed": 9, "options": {"noise": 0.5}})
    assert copy.canonical == written_out(copy)
    assert copy.id != trial.id
    assert copy.setup.hash != trial.setup.hash
    assert copy.labels is trial.labels
    assert trial.model_copy().id == trial.id


def test_a_copy_under_another_seed_shares_its_setup() -> None:
    trial = Trial.model_validate(TRIAL)
    assert trial.model_copy(update={"seed": 9}).setup is trial.setup


def test_a_deep_copy_shares_nothing_that_can_be_changed() -> None:
    trial = Trial.model_validate(TRIAL)
    copy = trial.model_copy(deep=True)
    assert copy == trial
    assert copy.options is not trial.options
    assert copy.loss.options is not trial.loss.options


def test_a_trial_is_given_further_labels_and_keeps_its_id() -> None:
    trial = Trial.model_validate(TRIAL)
    labelled = trial.labelled({"gamma": 0.1, "method": "RDED"})
    assert labelled.labels.stated() == {"method": "RDED", "gamma": 0.1}
    assert labelled.id == trial.id
    assert trial.labels.stated() == {"method": "random"}


def test_labels_of_a_copy_are_checked() -> None:
    trial = Trial.model_validate(TRIAL)
    assert trial.model_copy(update={"labels": {"method": "RDED"}}).labels == Labels(method="RDED")
    with pytest.raises(BadOption, match=r"label 'size' must be text, a finite number, true, false or none, not \[1\]"):
        trial.model_copy(update={"labels": {"size": [1]}})


def test_how_many_images_a_set_has_tells_workloads_apart() -> None:
    trial = Trial.model_validate(TRIAL)
    small, large = (trial.labelled({"images": images}) for images in (10, 100))
    assert small.workload != large.workload
    assert small.workload == small.model_copy(update={"seed": 1, "distilled": "f" * 64}).workload
