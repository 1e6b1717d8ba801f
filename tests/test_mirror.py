"""Every module has the test that its path names: harness/a/b.py has tests/a/test_b.py."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).parents[1]
#: Files without behaviour of their own to test: a package's face, the entry of `python -m`.
UNTESTED = {"__init__.py", "__main__.py"}
#: Modules that another file tests, by where their test is; a module leaves this list when it has a test of its own name.
ELSEWHERE = {
    "harness/cli/options.py": "tests/cli/test_startup.py",
    "harness/planning/published_sets.py": "tests/distilled/readers/test_import_to_table.py",
    "harness/running/executors/libraries.py": "tests/running/executors/test_memory.py",
    "harness/running/executors/local.py": "tests/running/test_run.py",
    "harness/running/workbench.py": "tests/running/executors/test_work.py",
}


def place_of_test(module: Path) -> Path:
    inside = module.relative_to("harness") if module.parts[0] == "harness" else module
    return Path("tests", inside.parent, f"test_{inside.name}")


def modules() -> list[Path]:
    found = [file.relative_to(ROOT) for room in ("harness", "scenarios") for file in (ROOT / room).rglob("*.py")]
    return sorted(module for module in found if module.name not in UNTESTED)


def test_every_module_has_a_test_of_its_name() -> None:
    assert len(modules()) > 100
    missing = {module.as_posix() for module in modules() if not (ROOT / place_of_test(module)).is_file()}
    assert missing - set(ELSEWHERE) == set()


def test_exceptions_are_modules_that_lack_their_own_test_and_name_one_that_is_there() -> None:
    present = {module.as_posix() for module in modules()}
    for module, test in ELSEWHERE.items():
        assert module in present, module
        assert not (ROOT / place_of_test(Path(module))).exists(), f"{module} has a test of its own now; take it off the list"
        assert (ROOT / test).is_file(), test
