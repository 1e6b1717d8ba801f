"""Records of a board that was made again are paired with those of the same training, and with no other."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.compared import accuracies, main


def record(accuracy: float, dataset: str = "digits", **labels: Any) -> bytes:
    trial = {
        "scenario": "cross-optimizer",
        "dataset": {"name": dataset},
        "labels": {"method": "random", "ipc": 1, "loss": "kl", "precision": "float32"} | labels,
        "options": {},
        "seed": 0,
    }
    return json.dumps({"status": "done", "trial": trial, "metrics": {"accuracy": accuracy}}).encode()


@pytest.mark.parametrize("other", [{"precision": "bf16"}, {"dataset": "fashion-mnist"}, {"loss": "ce"}, {"ipc": 10}], ids=str)
def test_trainings_that_differ_are_told_apart(other: dict[str, Any]) -> None:
    assert sorted(accuracies([record(50.0), record(60.0, **other)]).values()) == [50.0, 60.0]


def test_two_that_cannot_be_told_apart_are_refused() -> None:
    with pytest.raises(ValueError, match="two records of cross-optimizer, random, 1, kl, float32, digits"):
        accuracies([record(50.0), record(60.0)])


def test_two_folders_of_a_board_are_compared(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for folder, accuracies_of in (("now", (52.0, 65.0)), ("before", (50.0, 60.0))):
        (tmp_path / folder / "records").mkdir(parents=True)
        for loss, accuracy in zip(("kl", "ce"), accuracies_of, strict=True):
            (tmp_path / folder / "records" / f"{loss}.json").write_bytes(record(accuracy, loss=loss))
    monkeypatch.setattr(sys, "argv", ["compared", str(tmp_path / "now"), "--other", str(tmp_path / "before")])
    main()
    cells = [cell.strip() for cell in capsys.readouterr().out.splitlines()[-1].split("|")]
    assert cells[1:6] == ["random", "all", "3.50", "1.50", "2"]


def test_a_folder_without_records_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["compared", str(tmp_path), "--other", str(tmp_path)])
    with pytest.raises(SystemExit):
        main()
    assert "no trial has a good record on both sides" in capsys.readouterr().err
