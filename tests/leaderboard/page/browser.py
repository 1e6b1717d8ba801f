"""A browser for the tests of pages: GIFTBENCH_CHROMIUM's, Debian's chromium, or the one that Playwright brings.

`python -m tests.leaderboard.page.browser` has Playwright bring one where there is no other.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


def executable() -> str | None:
    """Return the browser of this machine; None where there is Playwright's own at most."""
    return os.environ.get("GIFTBENCH_CHROMIUM") or shutil.which("chromium")


def missing() -> str:
    """Return why no browser can be driven here; empty when one can."""
    if importlib.util.find_spec("playwright") is None:
        return "no playwright; `tox run -e page` has it"
    from playwright.sync_api import sync_playwright

    place = executable()
    if place is None:
        with sync_playwright() as playwright:
            place = playwright.chromium.executable_path
    return "" if Path(place).is_file() else f"no browser at {place}; install Debian's chromium, or set GIFTBENCH_CHROMIUM"


@contextmanager
def started() -> Iterator[Any]:
    """Start the browser, without a window, and end it."""
    from playwright.sync_api import sync_playwright

    apart = [] if os.geteuid() else ["--no-sandbox"]  # which root cannot have
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable(), args=apart)
        yield browser
        browser.close()


if __name__ == "__main__" and executable() is None:
    sys.exit(subprocess.run([sys.executable, "-m", "playwright", "install", "--with-deps", "chromium"]).returncode)
