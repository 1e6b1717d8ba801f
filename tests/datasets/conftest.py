"""What the tests of datasets share: each has a cache of its own."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def own_cache(cache: Path) -> Path:
    """Have every test of this room start from an empty cache."""
    return cache
