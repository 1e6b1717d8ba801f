"""What a reader works from: a plugin's reader is given the path, the dataset, the IPC and somebody to tell."""

from __future__ import annotations

from pathlib import Path

import torch

from harness.core.spec import Spec
from harness.datasets.cards import Card
from harness.distilled import readers
from harness.distilled.reading import Reading
from harness.distilled.set import DistilledSet
from harness.planning.published_sets import read

CARD = Card("toy", (1, 2, 2), 2)


def test_of_a_reading_only_path_and_card_have_to_be_given(tmp_path: Path) -> None:
    reading = Reading(tmp_path, CARD)
    assert (reading.ipc, reading.workers) == (None, 0)
    reading.say("nobody listens")
    assert "say" not in repr(reading)


def test_a_plugins_reader_is_given_what_the_importer_was(tmp_path: Path) -> None:
    readings: list[Reading] = []
    said: list[str] = []

    def mine(reading: Reading, *, grey: int = 7) -> DistilledSet:
        readings.append(reading)
        reading.say("took the first")
        return DistilledSet(torch.full((2, 1, 2, 2), grey, dtype=torch.uint8), torch.arange(2), dataset="digits", method="mine")

    readers.register("mine")(mine)
    try:
        (tmp_path / "set").mkdir()
        distilled = read(Spec(name="mine", options={"grey": 9}), tmp_path / "set", CARD, 1, said.append, workers=1)
    finally:
        readers.remove("mine")
    assert distilled.images.unique().tolist() == [9]
    (reading,) = readings
    assert (reading.path, reading.card, reading.ipc, reading.workers) == (tmp_path / "set", CARD, 1, 1)
    assert "took the first" in said
