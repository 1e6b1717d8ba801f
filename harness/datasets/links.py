"""Links that leave a dataset's folder: followed where its user allows it, by `--follow-links` or GIFTBENCH_FOLLOW_LINKS."""

from __future__ import annotations

import os
from pathlib import Path

from harness.files import paths

VARIABLE = "GIFTBENCH_FOLLOW_LINKS"


def followed() -> bool:
    """Return whether the user of this process allows it."""
    return os.environ.get(VARIABLE, "") not in ("", "0")


def root(path: Path) -> Path:
    """Return a dataset's folder, resolved, as one that links may leave or not. Raises DataError when there is none."""
    resolved = paths.folder(path)
    return paths.Open(resolved) if followed() else paths.Closed(resolved)
