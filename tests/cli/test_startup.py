"""What is loaded when: help and lists stay light, and every public name is there."""

from __future__ import annotations

import pytest

import harness
from harness.cli.registries import LISTED
from tests.processes import command_line, loaded_by

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
KINDS = ("losses", "models", "optimizers", "schedules", "datasets", "distillers", "readers", "scenarios", "protocols")


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
    for name in ("gift", "convnet3", "timm/*", "adamw", "multistep", "digits", "rded", "cross-optimizer", "smoke"):
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
