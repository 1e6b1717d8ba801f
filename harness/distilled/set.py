"""`DistilledSet`: images, labels, how they are normalised, where they come from; its safetensors file."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from harness.core.digests import digest
from harness.core.errors import DataError
from harness.distilled.files import FORMAT
from harness.files import atomic, safetensors
from harness.files.paths import UNFIT, line
from harness.training.replay import Replay

MAX_BYTES = 64 << 30  # stored soft labels of 300 epochs on ImageNet-1K at IPC 50 are 30 GB
MAX_CLASSES = 1_000_000  # what counts images by class takes memory for each
WHITENINGS = ("", "zca")
FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)


class DistilledSet:
    """A distilled set, checked when it is made and immutable by convention.

    Args:
        images: [N, C, H, W]; uint8, or float pixels in [0, 1]; with `normalised`, floats that are the network's input.
        labels: class indices, [N] (or [N, 1]), integers.
        soft_labels: [N, classes] floats, or None.
        dataset: name of the dataset whose classes these are.
        method: how the set was made; tables show it.
        classes: number of classes; by default the soft labels' width, else the largest label + 1.
        soft_kind: `logits` or `probabilities`.
        normalised: whether the images are already what the network takes.
        whitening: "zca" when that is whitened pixels (see `harness.datasets.whitening`), else "".
        factor: tiles along one side of a mosaic; 1 when images are whole.
        native_loss: the loss its authors train with, or "".
        replay: soft labels that belong to one stored augmentation each (see `harness.training.replay`), or None.
        provenance: anything worth keeping about how it was made (JSON).

    Raises: DataError, one sentence, when something does not fit.
    """

    def __init__(
        self,
        images: Tensor,
        labels: Tensor,
        soft_labels: Tensor | None = None,
        *,
        dataset: str,
        method: str,
        classes: int | None = None,
        soft_kind: Literal["logits", "probabilities"] = "logits",
        normalised: bool = False,
        whitening: str = "",
        factor: int = 1,
        native_loss: str = "",
        replay: Replay | None = None,
        provenance: Mapping[str, object] | None = None,
    ) -> None:
        for what, given in (("images", images), ("labels", labels), ("soft_labels", soft_labels)):
            if not isinstance(given, Tensor) and not (what == "soft_labels" and given is None):
                raise DataError(f"a distilled set's {what} must be a torch tensor, not {type(given).__name__}")
        for what, words in (("dataset", dataset), ("method", method), ("native_loss", native_loss)):
            if not isinstance(words, str) or UNFIT.search(words):
                raise DataError(f"a distilled set's {what} must be words on one line, not {str(words)[:80]!a}")
        self.images = images.detach().cpu().contiguous()
        self.labels = labels.detach().cpu()
        self.soft_labels = None if soft_labels is None else soft_labels.detach().cpu().contiguous()
        self.dataset, self.method, self.soft_kind = dataset, method, soft_kind
        self.normalised, self.factor, self.native_loss = normalised, factor, native_loss
        self.whitening, self.replay = whitening, replay
        try:
            self.provenance = json.loads(json.dumps(dict(provenance or {})))
        except (TypeError, ValueError) as error:
            raise DataError(f"a distilled set's provenance must be a mapping that JSON can hold: {error}") from None
        self._check_images()
        self._check_labels(classes)
        if replay is not None:
            replay.check(len(self.images), self.classes)

    def _check_images(self) -> None:
        images = self.images
        if images.dim() != 4 or not images.numel():
            raise DataError(f"a distilled set's images must be [N, C, H, W], not {list(images.shape)}")
        if images.dtype not in (torch.uint8, *FLOATS):
            raise DataError(f"a distilled set's images must be uint8 or float, not {images.dtype}")
        if images.is_floating_point():
            self.images = images = images.float()
            finite = images.isfinite()
            if not bool(finite.all()):
                raise DataError(f"a distilled set's images must be finite; {int((~finite).sum())} values are not")
            low, high = float(images.min()), float(images.max())
            if not self.normalised and (low < 0 or high > 1):
                raise DataError(
                    f"float pixels must lie in [0, 1], these in [{low:.3g}, {high:.3g}]; "
                    "give normalised=True when they are the network's input"
                )
        elif self.normalised:
            raise DataError("uint8 images are pixels; normalised=True wants floats")
        if self.whitening not in WHITENINGS or (self.whitening and not self.normalised):
            raise DataError(f"whitening must be 'zca', of images that are normalised, or '', not {self.whitening!r}")
        if not isinstance(self.factor, int) or self.factor < 1 or images.shape[2] % self.factor or images.shape[3] % self.factor:
            raise DataError(f"the mosaic factor must divide {images.shape[2]}x{images.shape[3]} px; {self.factor} does not")

    def _check_labels(self, classes: int | None) -> None:
        count = len(self.images)
        if self.labels.dim() == 2 and self.labels.shape[1] == 1:
            self.labels = self.labels[:, 0]
        labels = self.labels
        if labels.dim() != 1 or labels.dtype == torch.bool or labels.is_floating_point() or labels.is_complex():
            raise DataError(f"hard labels must be integers [N], not {labels.dtype} {list(labels.shape)}")
        if len(self.labels) != count:
            raise DataError(f"{count} images and {len(self.labels)} hard labels")
        self.labels = self.labels.to(torch.int64).contiguous()
        low, high = int(self.labels.min()), int(self.labels.max())
        soft = self.soft_labels
        if soft is not None:
            if soft.dim() != 2 or len(soft) != count or soft.dtype not in FLOATS:
                raise DataError(f"soft labels must be floats [{count}, classes], not {soft.dtype} {list(soft.shape)}")
            if not bool(soft.isfinite().all()):
                raise DataError("soft labels must be finite")
            if self.soft_kind not in ("logits", "probabilities"):
                raise DataError(f"soft_kind must be 'logits' or 'probabilities', not {self.soft_kind!r}")
            sums = soft.float().sum(1)
            if self.soft_kind == "probabilities" and (float(soft.min()) < 0 or float((sums - 1).abs().max()) > 1e-2):
                raise DataError("soft labels that are probabilities must be non-negative and sum to 1")
        self.classes = classes if classes is not None else soft.shape[1] if soft is not None else high + 1
        if type(self.classes) is not int or not 1 <= self.classes <= MAX_CLASSES:
            given = str(self.classes)[:80]
            raise DataError(f"a distilled set's classes must be a whole number in 1..{MAX_CLASSES}, not {given!a}")
        if soft is not None and soft.shape[1] != self.classes:
            raise DataError(f"soft labels have {soft.shape[1]} columns for {self.classes} classes")
        if low < 0 or high >= self.classes:
            raise DataError(f"hard labels must lie in 0..{self.classes - 1}; these reach from {low} to {high}")

    def __len__(self) -> int:
        return len(self.images)

    def __repr__(self) -> str:
        soft = f", soft {self.soft_kind}" if self.soft_labels is not None else ""
        return (
            f"DistilledSet({self.method} of {self.dataset}, {len(self)} images {list(self.shape)}, {self.classes} classes{soft})"
        )

    @property
    def shape(self) -> tuple[int, int, int]:
        """(channels, height, width)."""
        channels, height, width = self.images.shape[1:]
        return channels, height, width

    @property
    def ipc(self) -> float:
        """Images per class: a whole number when the set is balanced, else the mean over the classes."""
        mean = len(self) / self.classes
        return int(mean) if mean == int(mean) else round(mean, 2)

    @cached_property
    def digest(self) -> str:
        """SHA-256 of everything that training sees: tensors, classes, kinds, mosaic factor."""
        kind = self.soft_kind if self.soft_labels is not None else None
        facts = {"classes": self.classes, "normalised": self.normalised, "factor": self.factor, "soft_kind": kind}
        return digest(self._tensors(), facts | self._rarely())

    def _tensors(self) -> dict[str, Tensor]:
        tensors = {"images": self.images, "labels": self.labels}
        tensors |= {} if self.soft_labels is None else {"soft_labels": self.soft_labels}
        return tensors if self.replay is None else tensors | self.replay.tensors()

    def _rarely(self) -> dict[str, object]:
        """Facts that few sets have; left out of the digest and the file of all others."""
        whitening = {"whitening": self.whitening} if self.whitening else {}
        return whitening | ({} if self.replay is None else {"replay_batch": self.replay.batch})

    @property
    def metadata(self) -> dict[str, object]:
        """Everything but the tensors and the digest, as JSON."""
        return {
            "dataset": self.dataset,
            "method": self.method,
            "classes": self.classes,
            **({"soft_kind": self.soft_kind} if self.soft_labels is not None else {}),
            "normalised": self.normalised,
            "factor": self.factor,
            "native_loss": self.native_loss,
            "provenance": self.provenance,
            **self._rarely(),
        }

    def save(self, path: str | Path) -> Path:
        """Write a safetensors file, whole or not at all, and return its path. Raises DataError when it cannot be written."""
        from safetensors import SafetensorError
        from safetensors.torch import save_file

        path = Path(path)
        metadata = {"format": FORMAT, "digest": self.digest, "set": json.dumps(self.metadata, sort_keys=True)}
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with atomic.replacing(path) as temporary:
                save_file(self._tensors(), temporary, metadata=metadata)
        except (OSError, SafetensorError) as error:
            raise DataError(f"{path}: cannot be written: {error}") from None
        return path

    @classmethod
    def load(cls, path: str | Path) -> DistilledSet:
        """Read a file written by `save`, check everything, and compare the digest.

        Raises: DataError that names the file.
        """
        path = Path(path)
        if not path.is_file():
            raise DataError(f"{path}: no such file")
        if path.stat().st_size > MAX_BYTES:
            raise DataError(f"{path}: larger than {MAX_BYTES >> 30} GiB")
        stored, tensors = safetensors.load(path)
        header = stored.metadata
        try:
            if header.get("format") != FORMAT:
                raise DataError(f"not a distilled set: its format is {header.get('format')!r}, not {FORMAT!r}")
            if missing := {"images", "labels"} - set(tensors):
                raise DataError(f"not a distilled set: it has no {' and no '.join(sorted(missing))}")
            described = dict(json.loads(header["set"]))
            described["replay"] = Replay.of(tensors, described.pop("replay_batch", 0))
            loaded = cls(tensors["images"], tensors["labels"], tensors.get("soft_labels"), **described)
        except DataError as error:
            raise DataError(f"{path}: {line(error)}") from None
        except (KeyError, TypeError, ValueError, RecursionError) as error:  # what its description may do to json and to __init__
            raise DataError(f"{path}: not a distilled set ({type(error).__name__}: {line(error)})") from None
        if header.get("digest") != loaded.digest:
            raise DataError(f"{path}: its content does not have the digest it states; the file is damaged or was edited")
        return loaded

    def check_fits(self, dataset: str, shape: tuple[int, int, int], classes: int) -> None:
        """Raise DataError unless the set can train a student for this dataset."""
        if self.classes != classes:
            raise DataError(f"the distilled set has {self.classes} classes, dataset {dataset} has {classes}")
        if self.shape != shape:
            sizes = ["x".join(map(str, s)) for s in (self.shape, shape)]
            raise DataError(
                f"the distilled set's images are {sizes[0]} (channels x height x width), dataset {dataset}'s are {sizes[1]}"
            )
