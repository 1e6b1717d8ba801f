"""What each kind of process may load: help, lists, a board that is done, a table, the parent of a run, its workers, decoding."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

import harness
from harness import losses
from harness.boards.records import RecordStore
from harness.cli.registries import LISTED
from harness.files import decoding
from harness.files.pixels import Form
from tests.conftest import board_text
from tests.large_boards import fill, planned
from tests.processes import command_line, giftbench, loaded_by

HEAVY = (
    "torch",
    "torchvision",
    "timm",
    "kornia",
    "avalanche",
    "pandas",
    "matplotlib",
    "sklearn",
    "scipy",
    "numpy",
    "safetensors",
)
KINDS = (
    "losses",
    "models",
    "optimizers",
    "schedules",
    "augmentations",
    "datasets",
    "distillers",
    "readers",
    "scenarios",
    "executors",
    "protocols",
    "strategies",
)


@pytest.mark.parametrize("words", [["--help"], ["run", "--help"], ["list", "losses"], ["list", "models"], ["list", "scenarios"]])
def test_help_and_lists_load_nothing_heavy(words: list[str]) -> None:
    modules, printed = loaded_by(command_line(*words))
    assert not modules & set(HEAVY)
    assert "harness" in modules
    assert printed


def test_help_loads_no_checked_boards_either() -> None:
    modules, printed = loaded_by(command_line("--help"))
    assert not modules & {"pydantic", "scenarios"}
    assert all(command in printed for command in ("run", "table", "list", "distill", "inspect"))


def test_the_help_of_list_names_every_kind_that_it_shows() -> None:
    printed = " ".join(loaded_by(command_line("list", "--help"))[1].split())
    assert all(kind in printed for kind in KINDS)
    assert set(KINDS) == set(LISTED)


def test_every_list_loads_nothing_heavy_and_names_what_ships() -> None:
    modules, printed = loaded_by(f"from harness.cli.listing import show\nfor kind in {KINDS!r}: show(kind)")
    assert not modules & set(HEAVY)
    for name in ("gift", "convnet3", "timm/*", "adamw", "multistep", "digits", "rded", "cross-optimizer", "smoke", "ICaRL"):
        assert name in printed


def test_lists_of_scenarios_show_their_options_with_defaults() -> None:
    _, printed = loaded_by(command_line("list", "scenarios"))
    (line,) = [line for line in printed.splitlines() if line.startswith("cross-optimizer ")]
    assert "optimizers=[sgd, adam, adamw]" in line
    assert "Accuracy under optimizers that the set was not distilled with" in line


def test_a_list_shows_parameters_and_where_a_thing_comes_from() -> None:
    _, printed = loaded_by(command_line("list", "losses"))
    (line,) = [line for line in printed.splitlines() if line.startswith("gift ")]
    assert "gamma=0.1" in line
    assert "Cosine distance to refined soft labels" in line
    assert line.rstrip().endswith("giftbench")


def test_a_list_shows_brackets_as_they_are(tmp_path) -> None:
    file = tmp_path / "plugin.py"
    file.write_text(
        "from harness import losses\n@losses.register('bracketed')\n"
        "def bracketed(logits, targets, *, parts=('one', 'two')):\n    '''Logits [b, c] in [/all] parts.'''\n"
    )
    _, printed = loaded_by(command_line("list", "losses", "--plugin", str(file)))
    (line,) = [line for line in printed.splitlines() if line.startswith("bracketed ")]
    assert "parts=[one, two]" in line
    assert "Logits [b, c] in [/all] parts." in line


def test_importing_the_package_loads_nothing_heavy() -> None:
    modules, _ = loaded_by(
        "import harness, harness.running.scenario, harness.losses, harness.models, harness.datasets, harness.optimizers"
    )
    assert not modules & set(HEAVY)


@pytest.mark.parametrize("name", harness.__all__)
def test_every_public_name_resolves(name: str) -> None:
    assert getattr(harness, name) is not None


def test_the_public_names_are_what_the_design_promises() -> None:
    promised = {"losses", "scenarios", "models", "datasets", "distillers", "readers", "Targets", "Scenario", "Trial", "Outcome"}
    promised |= {"DistilledSet", "Paper", "ScenarioOptions", "Spec", "evaluate", "optimizers", "records"}
    assert promised <= set(harness.__all__)
    assert dir(harness) == sorted(harness.__all__)
    with pytest.raises(AttributeError, match="module 'harness' has no attribute 'nonsense'"):
        _ = harness.nonsense


def test_a_list_of_everything_names_every_kind_and_loads_nothing_heavy():
    modules, printed = loaded_by("from harness.cli.listing import show\nshow('all')")
    assert not {"torch", "timm", "avalanche"} & set(modules)
    for kind in ("losses", "models", "distillers", "scenarios", "protocols"):
        assert f"\n{kind}:\n" in "\n" + printed
    assert "k-center" in printed


# -- boards ----------------------------------------------------------------------------------------------------------------

TWO_OPTIMIZERS = [{"name": "cross-optimizer", "optimizers": ["sgd", "adamw"]}]
BOARD = board_text(losses=["gift", "telling"], seeds=2, plugins=["plugin.py"], scenarios=TWO_OPTIMIZERS)
#: The same without the plugin.
PLAIN = board_text(seeds=2, scenarios=TWO_OPTIMIZERS)
#: Tells, each time it is called in a worker, what that has loaded.
PLUGIN = """
import json, multiprocessing, os, sys
from pathlib import Path
from harness import losses

@losses.register("telling")
def telling(logits, targets, *, scale=1.0):
    if multiprocessing.parent_process() is not None:
        told = Path(__file__).with_name(f"worker-{os.getpid()}.json")
        told.write_text(json.dumps(sorted(sys.modules)))
    return scale * logits.square().mean()
"""
#: What trains, and what an installer of it brings.
TRAINS = {"torch", "torchvision", "timm", "kornia", "avalanche", "sympy", "numpy", "safetensors"}
#: What loads for other datasets, students, scenarios and strategies than these.
OTHERS = {"timm", "torchvision", "torch._dynamo", "sympy", "kornia", "avalanche", "sklearn", "scipy", "matplotlib", "ray"}
#: What shows, and what prints.
SHOWS = {"pandas", "matplotlib", "tabulate", "typer", "rich"}


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a board with its artefacts made, to be copied."""
    folder = tmp_path_factory.mktemp("prepared") / "board"
    folder.mkdir()
    (folder / "board.toml").write_text(PLAIN)
    planned(folder / "board.toml")
    return folder


@pytest.fixture
def board(prepared: Path, tmp_path: Path) -> Iterator[Path]:
    """Give a board with a plugin that this process loads when it plans, and forgets: another test's has the same loss."""
    folder = Path(shutil.copytree(prepared, tmp_path / "board"))
    (folder / "board.toml").write_text(BOARD)
    (folder / "plugin.py").write_text(PLUGIN)
    yield folder
    losses.registry.remove("telling")


def workers(board: Path) -> list[set[str]]:
    """Return what each worker of a run has loaded."""
    return [set(json.loads(file.read_text())) for file in board.glob("worker-*.json")]


def test_a_run_on_digits_loads_torch_and_no_other_library_that_trains(board: Path, tmp_path: Path) -> None:
    parent, done = giftbench(tmp_path, "run", str(board), "--jobs", "1", "--device", "cpu")
    assert done.returncode == 0, done.stderr
    statuses = {record.status for record in RecordStore(board / "records")}
    assert statuses <= {"done", "diverged"}
    assert "torch" in parent
    assert not parent & (OTHERS - {"matplotlib", "scipy"}), "which its leaderboard takes, for a figure and for intervals"
    (worker,) = workers(board)
    assert {"torch", "harness.running.workbench", "harness.training.stack"} <= worker
    assert not worker & (OTHERS | SHOWS - {"typer", "rich"}), "it is forked from the parent, whose command line they read"


def test_workers_of_a_board_with_records_are_forked_from_a_process_that_knows_no_command_line(
    board: Path, tmp_path: Path
) -> None:
    """Whether there is anything to train is known once this process has planned, and so computed."""
    *others, missing = planned(board / "board.toml")
    fill(board / "board.toml", others)
    parent, done = giftbench(tmp_path, "run", str(board), "--jobs", "1", "--device", "cpu")
    assert (board / "records" / f"{missing.id}.json").exists(), done.stderr
    assert not parent & {"harness.running.workbench", "harness.running.executors.work", "harness.training.graphs"}
    (worker,) = workers(board)
    assert not worker & (OTHERS | SHOWS)
    assert not worker & {"harness.leaderboard", "harness.planning.preparation", "harness.cli.main", "harness.running.planning"}


@pytest.mark.slow
def test_a_worker_with_a_network_of_timm_loads_timm_and_nothing_that_it_does_not_need(board: Path, tmp_path: Path) -> None:
    one_training = [{"name": "cross-optimizer", "optimizers": ["sgd"]}]
    text = board_text(model="resnet18", losses=["telling"], plugins=["plugin.py"], scenarios=one_training)
    (board / "board.toml").write_text(text)
    _, done = giftbench(tmp_path, "run", str(board), "--jobs", "1", "--device", "cpu")
    assert done.returncode == 0, done.stderr
    (worker,) = workers(board)
    assert {"torch", "timm"} <= worker
    assert not worker & ({"kornia", "avalanche", "sklearn", "scipy"} | SHOWS - {"typer", "rich"})


def test_a_table_loads_nothing_that_trains_once_the_operations_of_its_networks_are_counted(board: Path, tmp_path: Path) -> None:
    (board / "board.toml").write_text(PLAIN)
    fill(board / "board.toml", planned(board / "board.toml"))
    giftbench(tmp_path, "table", str(board))
    modules, done = giftbench(tmp_path, "table", str(board))
    assert done.returncode == 0, done.stderr
    assert "pandas" in modules
    assert not modules & (TRAINS - {"numpy"} | OTHERS - {"matplotlib", "scipy"})


@pytest.fixture
def done_board(board: Path) -> Path:
    """Return a board with a figure and a record of every trial."""
    (board / "board.toml").write_text(board_text(seeds=2, scenarios=["gamma-sweep"]))
    fill(board / "board.toml", planned(board / "board.toml"))
    return board


def test_a_board_that_is_done_loads_nothing_heavy_to_find_that_out_and_says_the_same(done_board: Path, tmp_path: Path) -> None:
    first, told = giftbench(tmp_path, "run", str(done_board), "--device", "cpu")
    second, again = giftbench(tmp_path, "run", str(done_board), "--device", "cpu")
    assert {"torch", "pandas", "matplotlib"} <= first
    assert not second & {*HEAVY, *TRAINS, *OTHERS, "pandas", "tabulate", "multiprocessing.forkserver"}
    assert not any(name.startswith("harness.leaderboard") for name in second)
    assert (again.returncode, again.stdout, again.stderr) == (told.returncode, told.stdout, told.stderr)
    assert "0 to run" in again.stderr
    assert again.stdout.count("\n") == 7


def test_a_plugin_that_has_nothing_to_do_is_not_even_imported(board: Path, tmp_path: Path) -> None:
    fill(board / "board.toml", planned(board / "board.toml"))
    first, _ = giftbench(tmp_path, "run", str(board), "--device", "cpu")
    second, _ = giftbench(tmp_path, "run", str(board), "--device", "cpu")
    assert any(name.startswith("giftbench_plugin_") for name in first)
    assert not any(name.startswith("giftbench_plugin_") for name in second)
    (board / "plugin.py").write_text(PLUGIN.replace("scale=1.0", "scale=2.0"))
    third, done = giftbench(tmp_path, "run", str(board), "--jobs", "1", "--device", "cpu")
    assert "torch" in third
    assert "to run" in done.stderr and " 0 to run" not in done.stderr


# -- images ----------------------------------------------------------------------------------------------------------------

#: The program of a process that decodes, which tells what it has loaded before it answers.
DECODING = """
import json, pathlib, sys
sys.path.insert(0, {root!r})
from harness.files.pixels import serve

class Telling:
    def write(self, content):
        pathlib.Path(MODULES).write_text(json.dumps(sorted(sys.modules)))
        return sys.stdout.buffer.write(content)

    def flush(self):
        sys.stdout.buffer.flush()

serve(sys.stdin.buffer, Telling())
"""


def test_a_process_that_decodes_images_loads_pillow_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told = tmp_path / "modules.json"
    monkeypatch.setattr(decoding, "_PROGRAM", DECODING.replace("MODULES", repr(str(told))))
    monkeypatch.setattr(decoding, "IMAGES_PER_WORKER", 1)
    for number in range(4):
        Image.new("RGB", (12, 9), (number, 2, 3)).save(tmp_path / f"{number}.png")
    items = [str(tmp_path / f"{number}.png") for number in range(4)]
    images = decoding.read(items, Form((3, 8, 8), 8), workers=2).images
    assert images[:, 0, 0, 0].tolist() == [0, 1, 2, 3]
    modules = set(json.loads(told.read_text()))
    assert "PIL" in modules
    assert not modules & {*HEAVY, *OTHERS, *SHOWS, "pydantic"}
