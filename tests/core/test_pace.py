"""Looks that are repeated take no more than their share of the time."""

from __future__ import annotations

import pytest

from harness.core.pace import SHARE, pause


@pytest.mark.parametrize("taken", [0.0, 0.001, 0.5, 60.0])
def test_long_looks_are_seldom_and_short_ones_as_often_as_is_asked_for(taken: float) -> None:
    assert pause(taken, 1.0) >= 1.0
    assert taken / (taken + pause(taken, 1.0)) <= SHARE * (1 + 1e-9)
    assert pause(0.001, 1.0) == 1.0
