"""Distilled sets on disk, by what their headers say; a set itself is loaded by `DistilledSet.load`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

from harness.core.code import Code
from harness.core.errors import DataError
from harness.core.spec import Spec
from harness.files import safetensors
from harness.files.paths import line

FORMAT = "giftbench.distilled-set/1"


@dataclass(frozen=True)
class SetFile:
    """A distilled set on disk, by its header: digest, number of images, and metadata."""

    path: Path
    digest: str
    images: int
    metadata: dict[str, Any]

    @property
    def ipc(self) -> float:
        return per_class(self.images, int(self.metadata["classes"]), self.metadata.get("provenance", {}))

    def stored_bytes(self, plain: bool = False) -> dict[str, int]:
        """Return `image_bytes`, `pixel_bytes` and `label_bytes` of `DistilledSet`, from a set's header.

        Nothing is said of 8-bit pixels and classes alone, as most sets that are made here are, unless `plain` asks for it; nor of
        a set that is planned and not made yet.
        """
        if not self.path.is_file():
            return {}
        tensors = safetensors.read_header(self.path).tensors
        labels = sum(stored.nbytes for name, stored in tensors.items() if name not in ("images", "labels"))
        published = published_bytes(self.metadata["provenance"])
        values = prod(tensors["images"].shape)
        if not plain and not published and not labels and tensors["images"].nbytes == values:
            return {}
        classes = self.images * class_bytes(int(self.metadata["classes"]))
        own = {"images": tensors["images"].nbytes, "labels": labels + classes} | published
        pixels = values // made_of_each(self.metadata["provenance"])
        return {"image_bytes": own["images"], "pixel_bytes": pixels, "label_bytes": own["labels"]}

    def class_counts(self) -> list[int]:
        """Return how many images each class has; the mean, rounded down, of a set that is planned and not made yet."""
        classes = int(self.metadata["classes"])
        if not self.path.is_file():
            return [self.images // classes] * classes
        counts: list[int] = safetensors.tensor(self.path, "labels").bincount(minlength=classes).tolist()
        return counts


def published_bytes(provenance: Mapping[str, object]) -> dict[str, int]:
    """Return what a set's provenance says of the bytes of its `images` and `labels` in its authors' files, as far as it does."""
    stated = provenance.get("bytes")
    known = stated if isinstance(stated, dict) else {}
    return {what: known[what] for what in ("images", "labels") if type(known.get(what)) is int and known[what] >= 0}


def per_class(images: int, classes: int, provenance: Mapping[str, object]) -> float:
    """Return how many images a class has as they are stored: a whole number, else the mean over the classes.

    Args:
        images: to train on.
    """
    mean = images / classes / made_of_each(provenance)
    return int(mean) if mean == int(mean) else round(mean, 2)


def made_of_each(provenance: Mapping[str, object]) -> int:
    """Return how many images to train on were made of each that is stored: `decoded` of a set's provenance."""
    decoded = provenance.get("decoded")
    return decoded if type(decoded) is int and decoded > 0 else 1


def class_bytes(classes: int) -> int:
    """Return as few whole bytes as tell one of so many classes from the others."""
    return max(1, -(-(classes - 1).bit_length() // 8))


def set_blueprint(method: Spec, ipc: int, seed: int, dataset_digest: str, code: Code) -> dict[str, object]:
    """Return what a distiller makes a set by: what it is found again by is the hash of this.

    Args:
        method: with every parameter.
        code: of the distiller.
    """
    return {"method": method.model_dump(), "ipc": ipc, "seed": seed, "dataset": dataset_digest, **code.facts}


def read_set_header(path: Path) -> SetFile:
    """Read digest and metadata of a distilled set without its tensors. Raises DataError when it is not one."""
    header = safetensors.read_header(path, "a distilled set")
    if header.metadata.get("format") != FORMAT:
        raise DataError(f"{path}: not a distilled set")
    try:
        metadata = json.loads(header.metadata["set"])
        if not isinstance(metadata["provenance"], dict) or type(metadata["classes"]) is not int:
            raise TypeError("provenance or classes")
        if metadata["classes"] < 1:
            raise ValueError(f"a set of {metadata['classes']} classes")
        return SetFile(path, header.metadata["digest"], header.tensors["labels"].shape[0], metadata)
    except (LookupError, TypeError, ValueError, RecursionError) as error:
        raise DataError(f"{path}: not a distilled set, or truncated: {line(error)}") from None
