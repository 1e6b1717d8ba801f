"""Downloads: what torchvision fetches, its checksum compared, into the cache where no data folder is given."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from harness.core.errors import DataError
from harness.core.home import home

log = logging.getLogger("giftbench")


def downloaded(name: str, reader: str, size: str, **split: str) -> Path:
    """Return the folder that torchvision's class `reader` has downloaded a dataset to.

    Args:
        name: how errors call the dataset.
        reader: a class of torchvision.datasets.
        size: of the download, in words.
        split: what else the class is asked for.
    Raises: DataError, one line, for a refused connection, a wrong checksum, no network.
    """
    import torchvision.datasets

    folder = home() / "data"
    log.warning("%s: downloading %s to %s", name, size, folder)
    kind: Any = getattr(torchvision.datasets, reader)
    try:
        kind(str(folder), download=True, **split)
    except Exception as error:  # no network, a refused connection, a wrong checksum: all end here
        raise DataError(
            f"{name}: no files and the download failed ({type(error).__name__}: {error}); give --data-dir or set GIFTBENCH_DATA"
        ) from None
    return folder
