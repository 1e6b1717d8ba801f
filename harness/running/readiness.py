"""Whether missing trials can be trained here, as far as can be known before the first of them: precision, whole artefacts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from harness.core.errors import BoardError

if TYPE_CHECKING:
    from harness.boards.trial import Trial
    from harness.planning.artefacts import Artefacts


def check(missing: Sequence[Trial], device: str, artefacts: Artefacts, source: str) -> None:
    """Raise what would fail trials one after the other, in one line, before any of them is trained.

    Args:
        missing: the trials that are to be trained.
        device: `cpu`, `cuda` or `cuda:N`.
        artefacts: where their distilled sets and teachers lie.
        source: the board's file, for messages.
    Raises: BoardError for a precision that the device lacks; DataError for a set or a teacher whose content is not that of its
        digest, with its file.
    """
    asked = [trial for trial in missing if trial.protocol.precision == "tf32"]
    if asked and not device.startswith("cuda"):
        count = f"{len(asked)} trial{'s' if len(asked) > 1 else ''}"
        raise BoardError(
            f'{source}: protocol.precision = "tf32" is a GPU\'s, and {count} would run on the CPU; '
            'take "float32" or "bf16", or run with --device cuda'
        )
    for digest in sorted({trial.distilled for trial in missing}):
        artefacts.check("set", digest)
    for digest in sorted({part for trial in missing for part in trial.teacher if not part.startswith("average:")}):
        artefacts.check("teacher", digest)
