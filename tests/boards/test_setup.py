"""Setups: one hash for all seeds, and what setups are alike in."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import pytest
from pydantic import ValidationError

from harness.boards import setup as module
from harness.boards.setup import DatasetReference, Setup, Setups
from harness.boards.trial import Trial
from harness.running.workbench import recipe
from tests.boards.trials import TRIAL, changed, written_out

STUDENTS = ("student", "student_on_dataset")
ASKED = ("stream", "asked")
KEYS = ("hash", "together", *ASKED, "training", "workload", *STUDENTS, "student_in_scenario", "proves", "neighbours", "step")
#: A change to a setup, and the keys in which both are alike all the same.
ALIKE: dict[tuple[str, Any], tuple[str, ...]] = {
    ("dataset.name", "folder:elsewhere/digits"): KEYS,
    ("protocol.name", "quick"): KEYS,
    ("scenario", "cross-architecture"): ("asked", "training", *STUDENTS),
    ("version", 2): tuple(key for key in KEYS if key not in ("hash", "together", "stream")),
    ("options.steps", 6): ("asked", *STUDENTS, "neighbours", "step"),
    ("dataset.digest", "c" * 64): ("student", "step"),
    ("distilled", "c" * 64): ("workload", *STUDENTS, "student_in_scenario", "proves", "step"),
    ("teacher", ()): (*STUDENTS, "student_in_scenario", "proves", "step"),
    ("model.options.width", 9): ASKED,
    ("loss.name", "kl"): (*ASKED, "together", "workload", *STUDENTS, "student_in_scenario", "neighbours", "step"),
    ("loss.options.gamma", 0.2): (*ASKED, "together", "workload", *STUDENTS, "student_in_scenario", "neighbours", "step"),
    ("optimizer.name", "adam"): (*ASKED, *STUDENTS, "student_in_scenario"),
    ("optimizer.options.lr", 0.01): (*ASKED, "workload", *STUDENTS, "student_in_scenario", "proves"),
    ("protocol.epochs", 3): (*STUDENTS, "student_in_scenario", "proves", "neighbours", "step"),
    ("protocol.batch_size", 20): (*STUDENTS, "student_in_scenario", "proves"),
    ("protocol.schedule", "cosine"): (*ASKED, "workload", *STUDENTS, "student_in_scenario", "proves", "neighbours", "step"),
    ("protocol.augmentation", "none"): ("workload", *STUDENTS, "student_in_scenario", "proves"),
    ("protocol.cutout", "border"): KEYS,  # no square is cut out
    ("protocol.mixing", "cutmix"): ("workload", *STUDENTS, "student_in_scenario", "proves"),
    ("protocol.normalisation", "imagenet"): ("workload", *STUDENTS, "student_in_scenario", "proves", "neighbours", "step"),
    ("protocol.labels", "teacher"): (*STUDENTS, "student_in_scenario", "proves", "neighbours", "step"),
    ("protocol.precision", "bf16"): (),
    ("protocol.evaluations", 2): ("asked", *STUDENTS, "student_in_scenario", "proves", "neighbours", "step"),
    ("protocol.accumulation", 2): (*STUDENTS, "student_in_scenario", "proves"),
    ("protocol.ema", 0.9): (*STUDENTS, "student_in_scenario", "proves"),
}


def of(trial: Trial, key: str) -> object:
    """A key of a trial's setup; the one that is asked for how many images there are is told."""
    return trial.setup.workload(100) if key == "workload" else getattr(trial.setup, key)


@pytest.mark.parametrize(("change", "alike"), ALIKE.items(), ids=[path for path, _ in ALIKE])
def test_setups_are_alike_in_what_the_table_says(change: tuple[str, Any], alike: tuple[str, ...]) -> None:
    trial, other = Trial.model_validate(TRIAL), changed(*change)
    assert {key for key in KEYS if of(trial, key) == of(other, key)} == {*alike}


def test_setups_of_other_stages_or_of_another_network_that_ranks_are_alike_in_student_scenario_and_pilots() -> None:
    plain, mean = Trial.model_validate(TRIAL), changed("protocol.ema", 0.9)
    staged = changed("protocol.stages", [{"soft": 1}, {"hard": 1}])
    others = mean.model_copy(update={"protocol": mean.protocol.model_copy(update={"ranks": "ema"})})
    for one, other in ((plain, staged), (mean, others)):
        assert {key for key in KEYS if of(one, key) == of(other, key)} == {*STUDENTS, "student_in_scenario", "proves"}


def test_the_table_has_every_key_and_no_other() -> None:
    rows = [line.split("|")[1].strip(" `") for line in (module.__doc__ or "").splitlines() if line.startswith("| `")]
    assert sorted(rows) == sorted([*KEYS, "Setups.read"])


def test_keys_can_be_told_apart_and_found_again() -> None:
    trial = Trial.model_validate(TRIAL)
    keys = [of(trial, key) for key in KEYS]
    assert len({*keys}) == len(KEYS)
    assert keys == [of(Trial.model_validate(TRIAL), key) for key in KEYS]


def test_a_trial_that_was_written_and_read_again_is_alike_in_all() -> None:
    options = {"steps": 5, "class_order": [1, 0]}
    trial = Trial.model_validate(TRIAL | {"options": options})
    read = Trial.model_validate_json(json.dumps(trial.model_dump(mode="json"), sort_keys=True))  # as records are
    assert [*read.model.options] != [*trial.model.options]
    assert [*read.options] != [*trial.options]
    assert [of(read, key) for key in KEYS] == [of(trial, key) for key in KEYS]


def test_trials_that_differ_in_their_seed_alone_share_a_hash() -> None:
    trial = Trial.model_validate(TRIAL)
    assert changed("seed", 1).setup == trial.setup
    assert changed("seed", 1).setup.hash == trial.setup.hash
    assert changed("loss.options.gamma", 0.2).setup.hash != trial.setup.hash


def test_the_hash_is_of_the_canonical_json_without_the_seed() -> None:
    trial = Trial.model_validate(TRIAL)
    before, after = written_out(trial).split('"seed":0')
    assert trial.setup.hash == hashlib.sha256(f'{before}"seed":{after}'.encode()).hexdigest()[:20]


def test_a_copy_has_its_own_hash_and_is_checked() -> None:
    setup = Trial.model_validate(TRIAL).setup
    assert setup.hash and setup.student
    other = setup.model_copy(update={"model": "convnet2", "dataset": {"name": "mnist", "digest": "c" * 64}})
    assert other.hash == Setup.model_validate(other.model_dump()).hash != setup.hash
    assert other.student != setup.student
    assert other.dataset == DatasetReference(name="mnist", digest="c" * 64)
    assert setup.model_copy().hash == setup.hash
    with pytest.raises(ValidationError, match="seed"):
        setup.model_copy(update={"seed": 3})


def content(**changes: Any) -> dict[str, Any]:
    """A setup as it stands in a record."""
    return json.loads(json.dumps({name: value for name, value in TRIAL.items() if name not in ("seed", "labels")} | changes))


def test_setups_of_one_text_are_read_once_and_are_one_object(monkeypatch: pytest.MonkeyPatch) -> None:
    checked: list[Any] = []
    validate = Setup.model_validate
    monkeypatch.setattr(Setup, "model_validate", lambda value: checked.append(value) or validate(value))
    setups = Setups()
    first, again, other = (setups.read(content(options={"steps": steps})) for steps in (5, 5, 6))
    assert first is again
    assert first != other
    assert len(checked) == 2


@pytest.mark.parametrize("written", [1.0, True, "1"])
def test_a_number_that_is_written_otherwise_makes_another_setup(written: Any) -> None:
    setups = Setups()
    whole, other = (setups.read(content(options={"steps": steps})) for steps in (1, written))
    assert whole.hash != other.hash
    assert other.options == {"steps": written}


def test_a_setup_that_is_broken_is_refused_each_time() -> None:
    setups = Setups()
    for _ in range(2):
        with pytest.raises(ValidationError):
            setups.read(content(model="nonsense ("))


@pytest.mark.parametrize("change", ALIKE, ids=[path for path, _ in ALIKE])
def test_setups_of_one_step_are_trained_by_one_captured_step(change: tuple[str, Any]) -> None:
    trial, other = Trial.model_validate(TRIAL), changed(*change)
    if of(trial, "step") == of(other, "step"):
        assert recipe(trial).step == recipe(other).step
    if change[0].startswith(
        ("optimizer", "protocol.batch_size", "protocol.augmentation", "protocol.mixing", "protocol.precision")
    ):
        assert recipe(trial).step != recipe(other).step
