"""Plugins in packages of their own: built into wheels, installed into a folder, found by their entry points."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.boards.records import RecordStore
from tests.conftest import board_text

PLUGIN = '''
from harness import Scenario, ScenarioOptions, losses, scenarios


@losses.register("pack-loss")
def pack_loss(logits, targets, *, weight=2.0):
    """A loss of a package."""
    return weight * (logits - targets.logits()).square().mean()


@scenarios.register("pack-scenario")
class PackScenario(Scenario):
    """A scenario of a package."""

    columns = "epochs"

    class Options(ScenarioOptions):
        epochs: tuple[int, ...] = (1, 2)

    def trials(self, view, options):
        for epochs in options.epochs:
            yield from self.vary(view, protocol={"epochs": epochs}, labels={"protocol": view.protocol.label})
'''
PROJECT = """
[build-system]
requires = ["hatchling"]
build-backend = "hatchling.build"

[project]
name = "{name}"
version = "1.0"

[project.entry-points."giftbench.losses"]
{loss} = "{module}:pack_loss"

[project.entry-points."giftbench.scenarios"]
{scenario} = "{module}:PackScenario"

[tool.hatch.build.targets.wheel]
packages = ["{folder}"]
"""
Command = Callable[..., subprocess.CompletedProcess[str]]


def installed(folder: Path, name: str, files: dict[str, str], loss: str = "pack-loss", scenario: str = "pack-scenario") -> Path:
    """Build a package of these files, `plugin.py` among them, and return the folder that its wheel was installed into."""
    source, target, package = folder / name, folder / f"{name}-installed", name.replace("-", "_")
    (source / package).mkdir(parents=True)
    module = f"{package}.plugin" if "plugin.py" in files else package
    project = PROJECT.format(name=name, loss=loss, scenario=scenario, module=module, folder=package)
    (source / "pyproject.toml").write_text(project)
    for file, text in files.items():
        (source / package / file).write_text(text)
    python(source, "-m", "hatchling", "build", "-t", "wheel", "-d", str(source / "dist"))
    (wheel,) = (source / "dist").glob("*.whl")
    quiet = ("--quiet", "--disable-pip-version-check", "--no-cache-dir")
    python(source, "-m", "pip", "install", *quiet, "--no-deps", "--no-index", "--target", str(target), str(wheel))
    return target


def python(folder: Path, *words: str) -> None:
    done = subprocess.run([sys.executable, *words], cwd=folder, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("packages")


@pytest.fixture(scope="module")
def good(folder: Path) -> Path:
    """A package that exports its plugins at its top, though they are made in a module inside."""
    files = {"__init__.py": "from gift_pack.inside import PackScenario, pack_loss\n", "inside.py": PLUGIN}
    return installed(folder, "gift-pack", files)


@pytest.fixture(scope="module")
def broken(folder: Path) -> Path:
    """A package that raises when it is imported, under names of its own."""
    files = {"__init__.py": "", "plugin.py": "raise RuntimeError('no luck today')\n"}
    return installed(folder, "broken-pack", files, loss="broken-loss", scenario="broken-scenario")


@pytest.fixture(scope="module")
def twin(folder: Path) -> Path:
    """Another package, with the same names."""
    return installed(folder, "twin-pack", {"__init__.py": "", "plugin.py": PLUGIN})


@pytest.fixture
def giftbench(tmp_path: Path) -> Command:
    """Return a function that runs the command line in a Python of its own, which has these packages installed."""

    def run(*words: object, packages: tuple[Path, ...] = ()) -> subprocess.CompletedProcess[str]:
        paths = os.pathsep.join(map(str, packages))
        command = [sys.executable, "-m", "harness.cli", *map(str, words)]
        environment = os.environ | {"PYTHONPATH": paths, "OMP_NUM_THREADS": "1"}
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300, env=environment)
        assert "Traceback" not in done.stderr, done.stderr
        return done

    return run


def board(folder: Path, loss: str = "pack-loss", scenario: str = "pack-scenario") -> Path:
    """Write a tiny board. Its folder's name is in its leaderboard, hence always the same one."""
    place = folder / "tiny"
    place.mkdir(parents=True)
    (place / "board.toml").write_text(board_text(losses=[loss], seeds=2, scenarios=[scenario]))
    return place


def line(printed: str, name: str) -> str:
    (found,) = [line for line in printed.splitlines() if line.startswith(f"{name} ")]
    return found


def test_lists_show_what_a_package_offers_and_where_it_comes_from(giftbench: Command, good: Path) -> None:
    for kind, name in (("losses", "pack-loss"), ("scenarios", "pack-scenario")):
        done = giftbench("list", kind, packages=(good,))
        assert (done.returncode, done.stderr) == (0, "")
        assert line(done.stdout, name).rstrip().endswith("gift-pack")
        assert name not in giftbench("list", kind).stdout


@pytest.mark.slow
def test_a_package_and_a_file_of_the_same_code_give_equal_accuracies_and_equal_tables(
    giftbench: Command, good: Path, tmp_path: Path
) -> None:
    packaged, filed = board(tmp_path / "packaged"), board(tmp_path / "filed")
    (tmp_path / "mine.py").write_text(PLUGIN)
    for done in (
        giftbench("run", packaged, "--jobs", "2", packages=(good,)),
        giftbench("run", filed, "--jobs", "2", "--plugin", "mine.py"),
    ):
        assert done.returncode == 0, done.stderr
    records = [RecordStore(place / "records").read() for place in (packaged, filed)]
    found = [{(r.trial.seed, r.trial.protocol.epochs): r.metrics["accuracy"] for r in kept} for kept in records]
    assert len(found[0]) == 4
    assert found[0] == found[1]
    assert not {r.id for r in records[0]} & {r.id for r in records[1]}  # a package's version is part of what it is
    assert (packaged / "table.csv").read_bytes() == (filed / "table.csv").read_bytes()
    texts = [(place / "README.md").read_text("utf-8").splitlines() for place in (packaged, filed)]
    named = [[line for line in text if line.startswith("- Plugins: ")] for text in texts]
    others = [[line for line in text if not line.startswith("- Plugins: ")] for text in texts]
    assert others[0] == others[1]
    assert all("loss pack-loss of gift-pack 1.0 (" in line for line in named[0]) and named[0]
    assert all("loss pack-loss of mine.py (" in line for line in named[1]) and named[1]
    assert "A scenario of a package." in (packaged / "README.md").read_text("utf-8")


@pytest.mark.slow
def test_a_package_that_raises_is_named_when_it_is_used_and_the_rest_goes_on(
    giftbench: Command, broken: Path, good: Path, tmp_path: Path
) -> None:
    packages = (broken, good)
    done = giftbench("list", "losses", packages=packages)
    assert (done.returncode, done.stderr) == (0, "")
    assert line(done.stdout, "broken-loss").rstrip().endswith("broken-pack")
    assert line(done.stdout, "pack-loss") and line(done.stdout, "gift")
    for loss, scenario, named in (
        ("broken-loss", "pack-scenario", "losses[0]: loss 'broken-loss'"),
        ("gift", "broken-scenario", "scenarios[0].name: scenario 'broken-scenario'"),
    ):
        file = board(tmp_path / named[:6], loss, scenario)
        done = giftbench("run", file, packages=packages)
        reason = "of broken-pack does not load: RuntimeError: no luck today"
        assert (done.returncode, done.stdout) == (2, "")
        assert done.stderr == f"giftbench: {file / 'board.toml'}: {named} {reason}\n"
    done = giftbench("run", board(tmp_path / "whole", "pack-loss", "loss-comparison"), "--jobs", "2", packages=packages)
    assert done.returncode == 0, done.stderr
    assert "broken-pack" not in done.stderr


def test_of_two_packages_with_one_name_one_is_left_out_and_named_in_a_line_for_each_name(
    giftbench: Command, good: Path, twin: Path
) -> None:
    done = giftbench("list", "losses", packages=(good, twin))
    assert done.returncode == 0
    assert line(done.stdout, "pack-loss").rstrip().endswith("gift-pack")
    said = "two losses are named 'pack-loss': one from gift-pack, one from twin-pack; rename one of them"
    assert done.stderr == f"plugin twin-pack (giftbench.losses) is left out: {said}\n"


def test_a_file_goes_before_a_package_of_the_same_name_which_is_left_out_and_named(
    giftbench: Command, good: Path, tmp_path: Path
) -> None:
    (tmp_path / "mine.py").write_text(PLUGIN)
    done = giftbench("list", "scenarios", "--plugin", "mine.py", packages=(good,))
    assert done.returncode == 0
    assert line(done.stdout, "pack-scenario").rstrip().endswith("mine.py")
    said = "two scenarios are named 'pack-scenario': one from mine.py, one from gift-pack; rename one of them"
    assert done.stderr == f"plugin gift-pack (giftbench.scenarios) is left out: {said}\n"


@pytest.mark.parametrize(("kind", "name"), [("loss", "gift"), ("scenario", "cross-optimizer")])
def test_what_ships_cannot_be_replaced_by_a_file(giftbench: Command, tmp_path: Path, kind: str, name: str) -> None:
    (tmp_path / "mine.py").write_text(PLUGIN.replace(f"pack-{kind}", name))
    done = giftbench("list", "scenarios" if kind == "scenario" else "losses", "--plugin", "mine.py")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.count("\n") == 1
    assert f"are named '{name}': one from " in done.stderr
    assert "giftbench" in done.stderr and "mine.py" in done.stderr
