"""A board whose every name is hostile, and one of any size, as pages show them."""

from __future__ import annotations

import random

from harness.leaderboard.page.page import Chapter, Cover, page
from harness.leaderboard.tables import pivot
from harness.leaderboard.text import without_paths

#: What names may hold, and how a page shows them: text on one line.
HOSTILE = "<script>alert('x')</script>|\"quoted\" 'so'\n& <img src=http://a.invalid/x onerror=alert(1)> </table>"
SHOWN = " ".join(HOSTILE.split())
#: The same as a label: what looks like a path is cut to its end, as in all tables.
LABEL = without_paths(SHOWN)


def hostile(planter) -> None:
    """Plant two losses under two optimizers; set, dataset, teacher and one loss have the hostile name."""
    for loss, accuracy in ((HOSTILE, 85.0), ("kl", 80.0)):
        for optimizer in ("sgd", "adamw"):
            labels = {"loss": loss, "loss_spec": "ce" if loss == HOSTILE else loss, "optimizer": optimizer}
            labels |= {"method": HOSTILE, "dataset": HOSTILE, "teacher": HOSTILE, "device": HOSTILE}
            planter.cell(accuracy, accuracy + 1, accuracy + 2, **labels)


def many(planter, records: int) -> None:
    """Plant so many records, three seeds a cell, of 60 sets and 8 losses under several optimizers and IPCs."""
    draws = random.Random(1)
    count = 0
    for ipc in range(1, 1000):
        for method in range(60):
            for loss in ("gift", "kl", "mse", "soft_ce", "ce", "kd", "dkd", "nkd"):
                labels = {"method": f"Method {method}", "loss": loss, "ipc": ipc, "native": "kl"}
                planter.cell(*(draws.uniform(20, 95) for _ in range(min(3, records - count))), **labels)
                count += 3
                if count >= records:
                    return


def page_of(planter, **cover) -> str:
    """Return the page of what was planted, one scenario."""
    chapters = [Chapter.of("planted", pivot(planter.frame), planter.records, summary="What a test planted.")]
    return page(
        Cover(**{"title": "Planted", "description": "", "place": "planted", "status": "", **cover}), chapters, planter.records
    )
