"""What ships is found where a `scenarios` or a `harness.py` of the user comes first: by the command, its workers, Python."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from harness.boards.records import RecordStore
from harness.core import shipped
from tests.conftest import board_text

SHIPPED = (
    "class-incremental",
    "cross-architecture",
    "cross-optimizer",
    "dd-ranking",
    "gamma-sweep",
    "gradient-scale",
    "label-ablation",
    "label-regime",
    "loss-comparison",
)
BOARD = board_text(teacher=None, losses=["ce"], scenarios=[{"name": "cross-optimizer", "optimizers": ["adamw", "sgd"]}])
HARNESS = 'raise RuntimeError("not the harness that was meant")\n'
#: Imports ours, then lets the user's folder come first on the path, and says what becomes of it.
PROGRAM = r"""
import sys
import harness
from harness.running.executors import local
from harness.running.options import Options
from harness.running.overrides import Overrides
from harness.running.run import run_board

if __name__ == "__main__":
    folder, forked = sys.argv[1:]
    sys.path.insert(0, folder)
    if forked == "spawned":
        local.forks = lambda device: False
    import scenarios.mine
    print(scenarios.mine.WHOSE, scenarios.__file__)
    summary = run_board(folder, Overrides(), Options(device="cpu", jobs=2))
    print(summary.ran, summary.failed)
    print(harness.scenarios.get("gamma-sweep").__module__, harness.scenarios.describe("gamma-sweep").origin)
    print(*harness.scenarios.names(), sep="\n")
"""


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """A folder with a board and the user's own package `scenarios`, one of whose files has the name of one of ours."""
    folder = tmp_path / "mine"
    (folder / "scenarios").mkdir(parents=True)
    (folder / "scenarios" / "__init__.py").write_text("")
    (folder / "scenarios" / "mine.py").write_text('WHOSE = "mine"\n')
    for name in ("cross_optimizer", "gamma_sweep"):
        (folder / "scenarios" / f"{name}.py").write_text("raise RuntimeError('not the scenario that was meant')\n")
    (folder / "board.toml").write_text(BOARD)
    return folder


def ended_well(folder: Path, *command: str, **environment: str) -> list[str]:
    """Run a command in the folder, in an environment whose Python variables are these alone; return the lines it prints."""
    usual = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")} | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=folder, env=usual | environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0 and "Traceback" not in done.stderr, done.stdout + done.stderr
    return done.stdout.splitlines()


def giftbench(folder: Path, *words: str, **environment: str) -> list[str]:
    return ended_well(folder, str(Path(sys.executable).with_name("giftbench")), *words, **environment)


@pytest.mark.parametrize("kind", ["package", "folder"])
def test_lists_show_every_shipped_scenario_with_its_options(own: Path, kind: str) -> None:
    if kind == "folder":
        (own / "scenarios" / "__init__.py").unlink()
    lines = {line.partition(" ")[0]: line for line in giftbench(own, "list", "scenarios", PYTHONPATH=str(own))}
    assert lines.keys() >= {*SHIPPED}
    assert "gammas=[0.0, 0.05," in lines["gamma-sweep"]
    assert lines["gamma-sweep"].rstrip().endswith("giftbench")


@pytest.mark.slow
def test_a_board_runs_in_a_folder_of_both_names(own: Path) -> None:
    """The process that workers are forked from would take `harness` from the folder in which it starts."""
    (own / "harness.py").write_text(HARNESS)
    (own / "scenarios").rename(own.parent / "scenarios")
    giftbench(own, "run", ".", "--device", "cpu", "--jobs", "2", PYTHONPATH=str(own.parent))
    assert [record.status for record in RecordStore(own / "records")] == ["done"] * 2


@pytest.mark.slow
@pytest.mark.parametrize("how", ["forked", "spawned"])
def test_a_process_that_has_imported_ours_finds_what_ships_and_so_do_its_workers(own: Path, how: str) -> None:
    (own / "harness.py").write_text(HARNESS)
    program = own.parent / "program.py"
    program.write_text(PROGRAM)
    users, ran, origin, *names = ended_well(own, sys.executable, str(program), str(own), how)
    assert users == f"mine {own / 'scenarios' / '__init__.py'}"
    assert ran == "2 {}"
    assert origin == "giftbench_scenarios.gamma_sweep giftbench"
    assert {*names} >= {*SHIPPED}


def test_a_users_scenario_cannot_take_the_place_of_one_that_ships(own: Path) -> None:
    """Though package, file and class have the names of ours."""
    text = (
        "from harness import Scenario, scenarios\n@scenarios.register('cross-optimizer')\nclass CrossOptimizer(Scenario): ...\n"
    )
    (own / "scenarios" / "cross_optimizer.py").write_text(text)
    for asked in ("", "harness.scenarios.names(); "):  # before and after the shipped ones are known
        program = f"import sys, harness; sys.path.insert(0, sys.argv[1]); {asked}import scenarios.cross_optimizer as own\n"
        done = subprocess.run(
            [sys.executable, "-c", program + "harness.scenarios.names()", str(own)], capture_output=True, text=True
        )
        assert "two scenarios are named 'cross-optimizer': one from " in done.stderr
        assert done.returncode == 1


def test_the_path_of_processes_is_put_back() -> None:
    before = [*sys.path], dict(os.environ)
    with shipped.first_on_path():
        assert os.environ["PYTHONSAFEPATH"] == "1"
    assert (sys.path, dict(os.environ)) == before
