"""Every module has the test that its path names: harness/a/b.py has tests/a/test_b.py."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).parents[1]
#: Files without behaviour of their own to test: a package's face, the entry of `python -m`.
UNTESTED = {"__init__.py", "__main__.py"}


def place_of_test(module: Path) -> Path:
    inside = module.relative_to("harness") if module.parts[0] == "harness" else module
    return Path("tests", inside.parent, f"test_{inside.name}")


def modules() -> list[Path]:
    found = [file.relative_to(ROOT) for room in ("harness", "scenarios") for file in (ROOT / room).rglob("*.py")]
    return sorted(module for module in found if module.name not in UNTESTED)


def test_every_module_has_a_test_of_its_name() -> None:
    assert len(modules()) > 100
    assert [module.as_posix() for module in modules() if not (ROOT / place_of_test(module)).is_file()] == []
