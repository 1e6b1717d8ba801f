"""Where a teacher's published weights lie, as a file of this machine: a path, or a place on the Hub."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from harness.core.errors import DataError
from harness.core.home import home
from harness.files import hub

Say = Callable[[str], None]
#: How timm writes a place on the Hub, and what a repository of a network's calls its weights.
TIMM = "hf-hub:"
WEIGHTS = ("model.safetensors", "pytorch_model.bin")


def is_hub_checkpoint(path: Path) -> bool:
    """Return whether a teacher's weights lie on the Hub, `hf-hub:USER/NAME`, as timm writes it, or `hub:USER/NAME`."""
    return str(path).startswith((TIMM, hub.SCHEME))


def checkpoint(path: Path, say: Say) -> Path:
    """Return the file of a teacher's weights, downloaded where it lies on the Hub: `hf-hub:USER/NAME[@REVISION][/FILE]`.

    Of a repository without FILE it is `model.safetensors`, else `pytorch_model.bin`, as timm and others name them.

    Raises: DataError, in one line, for what is not there or cannot be reached.
    """
    if not is_hub_checkpoint(path):
        return path
    remote = hub.Remote.of(Path(hub.SCHEME + str(path).partition(":")[2]))
    if remote.file:
        return hub.fetch(remote, home() / "hub", say).path
    for name in WEIGHTS:
        try:
            return hub.fetch(replace(remote, file=name), home() / "hub", say).path
        except DataError as error:
            if "is not in it" not in str(error):
                raise
    raise DataError(f"{path}: neither {' nor '.join(WEIGHTS)} is in it; name the file: {path}/FILE")
