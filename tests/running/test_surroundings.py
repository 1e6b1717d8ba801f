"""What a process consists of, and how each part of that shows when it changes."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import harness
from harness.running import surroundings
from tests.installed import entry_point
from tests.processes import loaded_by


def test_the_harness_consists_of_every_file_of_its_packages() -> None:
    sources = dict(surroundings.sources())
    here = Path(harness.__file__).resolve().parent
    assert {str(here / "core" / "errors.py"), str(here / "datasets" / "digits_split.json")} <= sources.keys()
    assert any(name.endswith("scenarios/cross_optimizer.py") for name in sources)
    assert not any("__pycache__" in name for name in sources)
    assert all(len(digest) == 64 for digest in sources.values())


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder that modules are looked for in, with one package."""
    (tmp_path / "one-1.0.dist-info").mkdir()
    (tmp_path / "one").mkdir()
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path


CHANGES: dict[str, Callable[[Path], object]] = {
    "another": lambda site: (site / "two-1.0.dist-info").mkdir(),
    "newer": lambda site: (site / "one-1.0.dist-info").rename(site / "one-2.0.dist-info"),
    "installed again": lambda site: os.utime(site / "one-1.0.dist-info", ns=(1, 1)),
    "a path": lambda site: (site / "path.pth").write_text("/elsewhere"),
    "a package without a distribution": lambda site: (site / "timm").mkdir(),
    "a module": lambda site: (site / "scipy.py").write_text(""),
    "looked for first": lambda site: sys.path.insert(0, str(site / "one")),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_another_installation_shows(site: Path, change: Callable[[Path], object]) -> None:
    before = [*surroundings.installed()]
    assert [*surroundings.installed()] == before
    change(site)
    assert [*surroundings.installed()] != before


def test_what_nobody_can_import_does_not_show(site: Path) -> None:
    before = [*surroundings.installed()]
    (site / "notes.txt").write_text("mine")
    (site / "__pycache__").mkdir()
    assert [*surroundings.installed()] == before


def test_a_folder_that_is_not_there_is_passed_over(site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = [*surroundings.installed()]
    monkeypatch.setattr(sys, "path", [*sys.path, str(site / "absent"), str(site / "archive.zip")])
    assert [*surroundings.installed()] == before


def test_other_code_is_what_neither_python_nor_a_package_nor_the_harness_brought(site: Path) -> None:
    (site / "surroundings_helper.py").write_text("")
    import surroundings_helper  # type: ignore[import-not-found]  # noqa: F401

    files = surroundings.imported()
    assert site / "surroundings_helper.py" in files
    assert Path(__file__).resolve() in files
    names = {file.name for file in files}
    assert not names & {"errors.py", "cross_optimizer.py", "pathlib.py"}
    assert not any("site-packages" in file.parts for file in files)


def test_a_package_that_brings_plugins_shows_though_it_is_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    site = tmp_path / "site-packages"
    monkeypatch.syspath_prepend(site)
    for name, group in (("surroundings_plugs", "giftbench.losses"), ("surroundings_plain", "console_scripts")):
        entry_point(site, name, group, f"x = {name}.part:x")
        (site / name).mkdir()
        for module in ("__init__.py", "part.py"):
            (site / name / module).write_text("x = None\n")
        importlib.import_module(f"{name}.part")
    names = {str(file.relative_to(site)) for file in surroundings.imported() if site in file.parents}
    assert names == {"surroundings_plugs/__init__.py", "surroundings_plugs/part.py"}


def test_another_choice_of_gpus_shows(monkeypatch: pytest.MonkeyPatch) -> None:
    before = surroundings.devices()
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "5")
    assert surroundings.devices() != before


def test_nothing_of_it_is_loaded_to_tell() -> None:
    modules, _ = loaded_by(
        "from harness.running import surroundings\n"
        "[*surroundings.sources()], [*surroundings.installed()], surroundings.imported(), surroundings.devices()"
    )
    assert not modules & {"torch", "numpy", "scenarios", "sklearn"}
