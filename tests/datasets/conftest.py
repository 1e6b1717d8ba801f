"""What the dataset tests share: a cache of their own, and what a clear refusal looks like."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest

from harness.core.errors import GiftbenchError

Refused = Callable[..., AbstractContextManager[None]]


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("GIFTBENCH_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("GIFTBENCH_DATA", raising=False)
    return tmp_path / "home"


@pytest.fixture
def refused() -> Refused:
    """Return a context in which exactly this error is raised, in one line that holds all these words."""

    @contextmanager
    def context(kind: type[GiftbenchError], *words: object) -> Iterator[None]:
        with pytest.raises(GiftbenchError) as caught:
            yield
        message = str(caught.value)
        assert type(caught.value) is kind, message
        assert "\n" not in message
        assert [word for word in map(str, words) if word not in message] == [], message

    return context
