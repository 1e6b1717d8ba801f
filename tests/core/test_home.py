"""Where caches live."""

from __future__ import annotations

from pathlib import Path

import platformdirs
import pytest

from harness.core.home import home


def test_the_environment_says_where_caches_live(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("GIFTBENCH_HOME", str(tmp_path))
    assert home() == tmp_path


@pytest.mark.parametrize("value", [None, ""])
def test_else_they_live_in_the_users_cache_folder(monkeypatch: pytest.MonkeyPatch, value: str | None) -> None:
    if value is None:
        monkeypatch.delenv("GIFTBENCH_HOME", raising=False)
    else:
        monkeypatch.setenv("GIFTBENCH_HOME", value)
    assert home() == Path(platformdirs.user_cache_dir("giftbench"))
