"""Labels over time: how boards write them, what is refused, what they say of themselves."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from harness.boards.board import load_board
from harness.boards.protocol import Protocol
from harness.boards.stages import Stage, epochs_of, said
from harness.core.errors import BoardError

HALD = [{"soft": 75}, {"hard": 150, "smoothing": 0.8}, {"soft": 75}]
BOARD = """
dataset = "digits"
losses = ["kl"]
protocol = {{ {} }}

[[sets]]
method = "random"
ipc = [1]

[[scenarios]]
name = "loss-comparison"
"""


def answer(folder: Path, protocol: str) -> str:
    (folder / "board.toml").write_text(BOARD.format(protocol))
    with pytest.raises(BoardError) as raised:
        load_board(folder).protocol.resolved(100, "digits", classes=10)
    assert "\n" not in str(raised.value)
    return str(raised.value).removeprefix(f"{folder}/")


def test_labels_as_a_list_are_the_stages_and_the_epochs_are_theirs() -> None:
    protocol = Protocol.model_validate({"name": "paper", "labels": HALD})
    assert protocol.stages == (Stage(soft=75), Stage(hard=150, smoothing=0.8), Stage(soft=75))
    assert (protocol.labels, protocol.epochs) == ("auto", 0)
    full = protocol.resolved(100, "digits", classes=10)
    assert (full.epochs, full.soft_epochs, epochs_of(full.stages)) == (300, 150, 300)
    assert protocol == Protocol.model_validate({"name": "paper", "stages": HALD})
    assert protocol.label == "paper (labels: soft 75, hard 150 (smoothing 0.8), soft 75)"
    taught = Protocol.model_validate({"labels": "teacher", "stages": HALD})
    assert (taught.labels, taught.stages) == ("teacher", protocol.stages)


def test_stages_are_written_as_they_were_stated_and_read_back_alike() -> None:
    protocol = Protocol.model_validate({"name": "paper", "labels": [*HALD, {"hard": 1, "mixing": "cutmix"}]})
    written = protocol.model_dump(mode="json")
    assert written["stages"] == [*HALD, {"hard": 1, "mixing": "cutmix(alpha=1.0)"}]
    assert Protocol.model_validate_json(protocol.model_dump_json()) == protocol == Protocol.of_setup(written)
    assert said(protocol.stages) == "soft 75, hard 150 (smoothing 0.8), soft 75, hard 1 (mixing cutmix(alpha=1.0))"


def test_a_stage_has_the_augmentation_and_the_mixing_that_it_states_with_the_sets_factor() -> None:
    stages = [{"soft": 1}, {"hard": 2, "augmentation": "patch-shuffle+flip", "mixing": "mixup"}]
    full = Protocol.model_validate({"labels": stages, "mixing": "cutmix"}).resolved(100, "digits", classes=10, factor=2)
    assert full.stages[1] == Stage(hard=2, augmentation="patch-shuffle(factor=2)+flip", mixing="mixup(alpha=0.8)")
    assert full.stages[0].mixing == ""
    assert full.mixing == "cutmix(alpha=1.0)"


def test_where_soft_labels_are_stored_hard_ones_are_learned_from_what_the_protocol_does_itself() -> None:
    protocol = Protocol.model_validate({"augmentation": "flip", "mixing": "cutmix", "labels": HALD})
    full = protocol.resolved(100, "digits", classes=10, replay_batch=16)
    assert (full.augmentation, full.mixing, full.batch_size) == ("stored", "stored", 16)
    assert full.stages[1] == Stage(hard=150, smoothing=0.8, augmentation="flip", mixing="cutmix(alpha=1.0)")
    assert full.stages[0] == full.stages[2] == Stage(soft=75)
    with pytest.raises(BoardError, match=r"cannot replay what is stored.*\{hard = 150, augmentation = "):
        Protocol.model_validate({"augmentation": "stored", "labels": HALD}).resolved(100, "digits", replay_batch=16)


@pytest.mark.parametrize(
    ("protocol", "said"),
    [
        ("labels = [{ soft = 0 }]", "protocol.stages[0]: a stage is {soft = EPOCHS} or {hard = EPOCHS}, of one epoch or more"),
        ("labels = [{ soft = 1, hard = 1 }]", "protocol.stages[0]: a stage is {soft = EPOCHS} or {hard = EPOCHS}"),
        ("labels = [{ soft = 1 }, { hard = -2 }]", "protocol.stages[1].hard: Input should be greater than or equal to 0, not -2"),
        ("labels = []", "protocol: labels = [] has no stage; one is {soft = EPOCHS} or {hard = EPOCHS}"),
        ("labels = [{ soft = 1.5 }]", "protocol.stages[0].soft: Input should be a valid integer, not 1.5"),
        ("labels = [{ hard = 1, smoothign = 0.1 }]", "protocol.stages[0].smoothign: unknown key; did you mean 'smoothing'?"),
        ("labels = [{ soft = 1, smoothing = 0.1 }]", "protocol.stages[0]: smoothing goes with hard = EPOCHS"),
        ("labels = [{ hard = 1, smoothing = 1 }]", "protocol.stages[0].smoothing: Input should be less than 1"),
        ('labels = [{ hard = 1, mixing = "cutmx" }]', "protocol.stages[0].mixing: "),
        ("stages = [{ soft = 1 }], labels = [{ soft = 1 }]", "protocol: labels = [{soft = …}, …] and stages are the same thing"),
        ('stages = [{ soft = 1 }], labels = "hard"', 'protocol: labels = "hard" leaves nothing for a stage of soft labels'),
        ("epochs = 2, labels = [{ soft = 1 }]", "protocol: the stages have 1 epochs in all (soft 1), and epochs = 2"),
        ("ema = 1", "protocol.ema: Input should be less than 1"),
        ("ema = -0.5", "protocol.ema: Input should be greater than or equal to 0"),
        ('ranks = "ema"', 'protocol: ranks = "ema" needs a mean of the weights; ema = 0.99 makes one'),
        ('ranks = "mean"', "protocol.ranks: Input should be 'raw' or 'ema', not 'mean'"),
        ("accumulation = 0", "protocol.accumulation: Input should be greater than 0, not 0"),
        ("batch_size = 4, accumulation = 5", "protocol 'paper': accumulation = 5 parts of a batch of 4 images; at most 4"),
        ("accumulaton = 2", "protocol.accumulaton: unknown key; did you mean 'accumulation' or 'augmentation'?"),
    ],
)
def test_what_cannot_be_is_refused_in_a_line_that_says_where_and_what_is_right(tmp_path: Path, protocol: str, said: str) -> None:
    assert said in answer(tmp_path, protocol)


@pytest.mark.parametrize("stages", [[{"soft": 2}], [{"hard": 1}, {"soft": 1}]])
def test_a_native_protocol_is_overridden_by_what_the_board_states(stages: Any) -> None:
    named = Protocol.model_validate({"name": "native:mtt", "labels": stages})
    assert named.resolved(100, "cifar10", classes=10).epochs == 2
