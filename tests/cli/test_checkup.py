"""What a board needs, told without its data: the artefacts that a run would take. Whole boards are examined with doctor."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harness.boards.board import Board
from harness.cli.checkup import Finding, check_up
from harness.core.errors import BadOption
from harness.planning.artefacts import Artefacts
from harness.planning.preparation import Preparation
from harness.planning.supplies import Supplies

SETS = [{"method": "random", "ipc": [1, 2]}]


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIFTBENCH_HOME", str(tmp_path / "home"))


def findings(board: Board, folder: Path, kind: str) -> list[Finding]:
    return check_up(folder / "board.toml", board, Supplies(), None).of(kind)


def test_a_board_of_nothing_but_names_is_ready(tiny: Callable[..., Board], tmp_path: Path) -> None:
    examined = check_up(tmp_path / "board.toml", tiny(sets=SETS), Supplies(), None)
    assert examined.missing == []
    assert [(finding.state, finding.ipc, finding.ok) for finding in examined.of("set")] == [
        ("made by the run: random", 1, True),
        ("made by the run: random", 2, True),
    ]
    assert [finding.state for finding in examined.of("teacher")] == ["trained by the run"]
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("changes", "known"), [({}, True), ({"ipc": [1], "seed": 3}, False), ({"method": "herding"}, False)])
def test_a_set_is_at_hand_when_a_run_would_take_it_and_only_then(
    tiny: Callable[..., Board], tmp_path: Path, changes: dict[str, Any], known: bool
) -> None:
    artefacts = Artefacts(tmp_path / "artefacts")
    (made, _) = Preparation(tiny(sets=SETS), "board.toml", artefacts, device="cpu").sets()
    board = tiny(sets=[SETS[0] | changes])
    first = findings(board, tmp_path, "set")[0]
    assert (first.state == f"made: artefacts/{made.file.path.name}") == known
    before = sorted(path.name for path in artefacts.folder.iterdir())
    Preparation(board, "board.toml", artefacts, device="cpu").sets()
    assert (sorted(path.name for path in artefacts.folder.iterdir()) == before) == known


def test_a_set_made_with_another_teacher_is_made_again(tiny: Callable[..., Board], tmp_path: Path) -> None:
    sets, teacher = [{"method": "rded", "ipc": 1}], {"model": "convnet1(width=4)", "epochs": 1}
    board = tiny(sets=sets, teacher=teacher)
    (made,) = Preparation(board, "board.toml", Artefacts(tmp_path / "artefacts"), device="cpu").sets()
    assert [finding.state for finding in findings(board, tmp_path, "set")] == [f"made: artefacts/{made.file.path.name}"]
    other = tiny(sets=sets, teacher=teacher | {"seed": 1})
    assert [finding.state for finding in findings(other, tmp_path, "set")] == ["made by the run: rded"]


def test_what_lies_in_the_cache_is_named_by_its_whole_path(tiny: Callable[..., Board], tmp_path: Path) -> None:
    cache = tmp_path / "home" / "artefacts"
    (made, _) = Preparation(tiny(sets=SETS), "board.toml", Artefacts(cache, cache), device="cpu").sets()
    assert findings(tiny(sets=SETS), tmp_path / "board", "set")[0].state == f"made: {cache / made.file.path.name}"


def test_a_parameter_of_the_wrong_type_is_refused_without_loading_the_model(tiny: Callable[..., Board], tmp_path: Path) -> None:
    with pytest.raises(BadOption, match=r"board\.toml: model: model 'convnet1': width must be a whole number"):
        check_up(tmp_path / "board.toml", tiny(model="convnet1(width=wide)"), Supplies(), None)
