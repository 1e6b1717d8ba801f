"""What the dataset tests share: a cache of their own."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("GIFTBENCH_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("GIFTBENCH_DATA", raising=False)
    return tmp_path / "home"
