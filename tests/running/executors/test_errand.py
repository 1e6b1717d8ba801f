"""What executors are made for, and how one whose engine is not installed says so."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from harness import executors
from harness.core.errors import BadOption, UnknownName
from harness.running.executors.errand import Errand, NotInstalled, engine
from harness.running.executors.local import Workers
from harness.running.executors.protocol import Settings
from harness.running.options import Options, default_jobs
from harness.running.overrides import Overrides
from harness.running.run import words
from tests.conftest import Giftbench, Refused, board_text
from tests.processes import loaded_by

SETTINGS = Settings("cpu", 1, Path("artefacts"))


@pytest.mark.parametrize(("jobs", "workers"), [(3, 3), (0, default_jobs("cpu", 1))])
def test_an_executor_is_made_by_name_for_an_errand(jobs: int, workers: int) -> None:
    made = executors.create("local")(Errand(SETTINGS, jobs, Path("board.toml")))
    assert isinstance(made, Workers)
    assert (made.jobs, made.settings) == (workers, SETTINGS)


def test_what_an_executor_does_not_take_is_named(refused: Refused) -> None:
    with refused(UnknownName, "no executor 'rya'", "did you mean 'ray'"):
        executors.create("rya")
    with refused(BadOption, "executor 'ray' has no parameter 'adress'", "did you mean 'address'"):
        executors.create("ray(adress=auto)")


def test_an_engine_that_is_not_installed_is_a_line_with_the_command_that_brings_it(
    monkeypatch: pytest.MonkeyPatch, refused: Refused
) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with refused(NotInstalled, "executor 'ray' needs ray", "pip install 'giftbench[ray]'"):
        executors.create("ray")(Errand(SETTINGS, 0, Path("board.toml")))
    with refused(NotInstalled, "'giftbench[slurm]'"):
        engine("no_such_engine", "slurm")


def test_executors_are_listed_and_made_without_their_engines() -> None:
    code = "from harness.cli.listing import show\nfrom harness import executors\nshow('executors')\n"
    code += "executors.resolve('ray(gpus=0.5)')"
    modules, printed = loaded_by(code)
    assert not modules & {"ray", "submitit", "torch"}
    assert {line.split()[0] for line in printed.splitlines()[1:]} >= {"local", "ray"}


PLUGIN = '''
from harness import executors
from harness.running.executors.local import Workers


@executors.register("own")
def own(errand, *, note=""):
    """Workers of its own."""
    with open(note, "w") as file:
        file.write(" ".join(errand.words))
    return Workers(errand.settings, 1)
'''


def test_a_plugin_brings_an_executor_and_is_told_how_to_work(tmp_path: Path, giftbench: Giftbench) -> None:
    (tmp_path / "plugin.py").write_text(PLUGIN)
    (tmp_path / "board.toml").write_text(board_text(teacher=None, losses=["ce"]))
    note = tmp_path / "note"
    try:
        executor = f'own(note="{note}")'
        giftbench("run", tmp_path, "--plugin", tmp_path / "plugin.py", "--executor", executor, "--seeds", 1, "--device", "cpu")
        assert note.read_text() == f"--seeds 1 --device cpu --jobs 0 --threads 1 --stack 0 --plugin {tmp_path / 'plugin.py'}"
        assert " 0 failed" in (tmp_path / "README.md").read_text()
    finally:
        executors.registry.remove("own")


def test_a_flag_that_an_executor_does_not_take_is_named_before_anything_is_made(tmp_path: Path, giftbench: Giftbench) -> None:
    (tmp_path / "board.toml").write_text(board_text())
    said = giftbench("run", tmp_path, "--address", "auto", status=2)
    assert said.err == "giftbench: executor 'local' has no parameter 'address'; valid: none\n"
    assert [path.name for path in tmp_path.iterdir()] == ["board.toml"]


def test_a_runner_elsewhere_is_told_all_that_the_plan_rests_on() -> None:
    overrides = Overrides(("a", "b"), ("gift(gamma=0.2)",), 3, "quick", "bf16")
    options = Options("cuda", 2, 4, 6, Path("/data"), retry=True, force=True)
    assert words(overrides, options, ("/p.py",)) == (
        *("--scenario", "a", "--scenario", "b", "--loss", "gift(gamma=0.2)", "--seeds", "3", "--protocol", "quick"),
        *("--precision", "bf16", "--device", "cuda", "--jobs", "2", "--threads", "4", "--stack", "6", "--data-dir", "/data"),
        *("--plugin", "/p.py", "--force", "--retry"),
    )
