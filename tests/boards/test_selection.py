"""Some of a board's records, by what they say of themselves."""

from __future__ import annotations

import pytest

from harness.boards.protocol import Protocol
from harness.boards.records import Record
from harness.boards.selection import Selection
from harness.core.errors import UnknownName
from tests.simulated_boards import trial

SMOKE = Protocol(name="smoke", epochs=3, batch_size=50, evaluations=1)


def record(method: str = "RDED", protocol: str = "quick", **changes: object) -> Record:
    made = trial(**changes)  # type: ignore[arg-type]
    labels = {"method": method, "loss": made.loss.name, "model": "ConvNet-3", "optimizer": "adamw", "protocol": protocol}
    return Record.of(made.model_copy(update={"labels": type(made.labels).of(labels)}), "done", metrics={"accuracy": 1.0})


RECORDS = [
    record(),
    record(loss="kl"),
    record(seed=1),
    record("Random", loss="kl", images=10),
    record(protocol="smoke, 3 epochs", scenario="cross-optimizer", epochs=3),
]
RECORDS[-1] = Record.of(
    RECORDS[-1].trial.model_copy(update={"setup": RECORDS[-1].trial.setup.model_copy(update={"protocol": SMOKE})}), "done"
)


@pytest.mark.parametrize(
    ("fields", "places"),
    [
        ({}, [0, 1, 2, 3, 4]),
        ({"loss": ["kl"]}, [1, 3]),
        ({"loss": ["KL", "gift"]}, [0, 1, 2, 3, 4]),
        ({"loss": ["kl"], "set": ["rded"]}, [1]),
        ({"set": ["Random"], "seed": ["1"]}, []),
        ({"seed": ["1"]}, [2]),
        ({"scenario": ["cross-optimizer"]}, [4]),
        ({"protocol": ["smoke"]}, [4]),
        ({"protocol": ["smoke, 3 epochs"]}, [4]),
        ({"protocol": ["quick"]}, [0, 1, 2, 3]),
        ({"model": ["convnet-3"], "optimizer": ["adamw"]}, [0, 1, 2, 3, 4]),
    ],
)
def test_a_record_is_meant_that_fits_all_that_is_said(fields: dict[str, list[str]], places: list[int]) -> None:
    assert Selection(**fields).of(RECORDS) == [RECORDS[place] for place in places]


def test_trials_are_meant_as_records_are_and_one_at_least(refused) -> None:
    trials = [record.trial for record in RECORDS]
    assert Selection().of_trials(trials) == trials
    assert Selection(loss=["kl"], set=["rded"]).of_trials(trials) == [trials[1]]
    with refused(UnknownName, "no trial of this board has the loss 'gfit'; did you mean 'gift'"):
        Selection(loss=["gfit"]).of_trials(trials)
    with refused(UnknownName, "none with the set 'Random' has the seed '1'; valid: 0"):
        Selection(set=["Random"], seed=["1"]).of_trials(trials)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"loss": ["gfit"]}, "no record here has the loss 'gfit'; did you mean 'gift'"),
        ({"protocol": ["smok"]}, "no record here has the protocol 'smok'; did you mean 'smoke'"),
        ({"seed": ["7"]}, "no record here has the seed '7'; valid: 0, 1"),
    ],
)
def test_a_name_that_no_record_has_is_refused(fields: dict[str, list[str]], words: str, refused) -> None:
    with refused(UnknownName, words):
        Selection(**fields).of(RECORDS)
