"""A package's face: names load what they stand for when they are first named."""

from __future__ import annotations

import fractions
import sys
from pathlib import Path

import pytest

from harness.core.lazy import exports


def test_a_name_is_an_attribute_of_a_module_or_the_module_itself() -> None:
    load = exports("room", {"Fraction": "fractions:Fraction", "numbers": "fractions"})
    assert load("Fraction") is fractions.Fraction
    assert load("numbers") is fractions


def test_a_module_is_imported_when_one_of_its_names_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "loaded_late.py").write_text("value = 7\n")
    monkeypatch.syspath_prepend(tmp_path)
    load = exports("room", {"value": "loaded_late:value"})
    assert "loaded_late" not in sys.modules
    assert load("value") == 7
    monkeypatch.delitem(sys.modules, "loaded_late")


def test_another_name_is_no_attribute_of_the_package() -> None:
    with pytest.raises(AttributeError, match="module 'room' has no attribute 'garden'"):
        exports("room", {"value": "fractions"})("garden")
