"""Where caches live: GIFTBENCH_HOME, else the user's cache folder."""

from __future__ import annotations

import os
from pathlib import Path


def home() -> Path:
    """Return the cache folder."""
    from platformdirs import user_cache_dir

    return Path(os.environ.get("GIFTBENCH_HOME") or user_cache_dir("giftbench"))
