"""What the tests of the kit expect of a plugin that is bad in one way."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from harness.testing import CheckFailed


@dataclass
class Fails:
    """Expects a check to fail with one sentence that holds these words."""

    words: str

    def __call__(self, check: Callable[..., None], *given: Any, **options: Any) -> None:
        with pytest.raises(CheckFailed, match=re.escape(self.words)) as failure:
            check(*given, **options)
        assert "\n" not in str(failure.value)
