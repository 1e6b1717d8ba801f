"""`DistilledSet`: images, labels, how they are normalised, where they come from; its safetensors file."""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor

from harness import datasets
from harness.core.digests import digest
from harness.core.errors import DataError, GiftbenchError
from harness.distilled.files import FORMAT, class_bytes, made_of_each, per_class, published_bytes
from harness.files import safetensors
from harness.files.paths import UNFIT, line
from harness.training.replay import Replay

if TYPE_CHECKING:
    from numpy import ndarray

    Values = Tensor | ndarray

log = logging.getLogger("giftbench")

MAX_BYTES = 64 << 30  # stored soft labels of 300 epochs on ImageNet-1K at IPC 50 are 30 GB
MAX_CLASSES = 1_000_000  # what counts images by class takes memory for each
WHITENINGS = ("", "zca")
FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
#: How far outside [0, 1] float pixels may lie to be taken for rounded ones, and clipped.
ROUNDING = 1e-3
#: Channels that the images of a dataset have at most, where images of another layout are told by them.
MOST_CHANNELS = 4


class DistilledSet:
    """A distilled set, checked when it is made and immutable by convention.

    Args:
        images: [N, C, H, W]; uint8, or float pixels in [0, 1]; with `normalised`, floats that are the network's input. Images
            [N, H, W, C] of 1 or 3 channels are turned, float pixels a rounding error outside [0, 1] clipped; both are logged.
        labels: class indices, [N] (or [N, 1]), integers.
        soft_labels: [N, classes] floats, or None. All three may be numpy arrays.
        dataset: name of the dataset whose classes these are, as boards write it.
        method: how the set was made; tables show it.
        classes: number of classes; by default the soft labels' width, else the largest label + 1.
        soft_kind: `logits` or `probabilities`.
        normalised: whether the images are already what the network takes: less the dataset's mean, by its deviation.
        mean, std: what they were normalised by instead, a number a channel, of pixels in [0, 1]; they are then normalised.
        whitening: "zca" when that is whitened pixels (see `harness.datasets.whitening`), else "".
        factor: tiles along one side of a mosaic; 1 when images are whole.
        native_loss: the loss its authors train with, or "".
        replay: soft labels that belong to one stored augmentation each (see `harness.training.replay`), or None.
        provenance: anything worth keeping about how it was made (JSON).
        known_dataset: whether the dataset's name must be one that is registered; that of a file is taken as it stands.

    Raises: DataError, one sentence, when something does not fit.
    """

    def __init__(
        self,
        images: Values,
        labels: Values,
        soft_labels: Values | None = None,
        *,
        dataset: str,
        method: str,
        classes: int | None = None,
        soft_kind: Literal["logits", "probabilities"] = "logits",
        normalised: bool = False,
        mean: Sequence[float] = (),
        std: Sequence[float] = (),
        whitening: str = "",
        factor: int = 1,
        native_loss: str = "",
        replay: Replay | None = None,
        provenance: Mapping[str, object] | None = None,
        known_dataset: bool = True,
    ) -> None:
        for what, words in (("dataset", dataset), ("method", method), ("native_loss", native_loss)):
            if not isinstance(words, str) or UNFIT.search(words):
                raise DataError(f"a distilled set's {what} must be words on one line, not {str(words)[:80]!a}")
        if known_dataset:
            _check_dataset(dataset)
        self.images = _tensor("images", images).contiguous()
        self.labels = _tensor("labels", labels)
        self.soft_labels = None if soft_labels is None else _tensor("soft_labels", soft_labels).contiguous()
        self.dataset, self.method, self.soft_kind = dataset, method, soft_kind
        self.mean, self.std = _numbers("mean", mean), _numbers("std", std)
        self.normalised, self.factor, self.native_loss = normalised or bool(self.mean), factor, native_loss
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
        self._turn()
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
            if not self.normalised:
                self._clip(float(images.min()), float(images.max()))
        elif self.normalised:
            raise DataError("uint8 images are pixels; normalised=True, or a mean and std of their own, wants floats")
        if len({len(self.mean), len(self.std), images.shape[1] if self.mean else 0}) > 1 or (self.mean and self.whitening):
            raise DataError(
                f"mean and std must be {images.shape[1]} numbers each, of images that are not whitened; "
                f"not {len(self.mean)} and {len(self.std)}"
            )
        if self.whitening not in WHITENINGS or (self.whitening and not self.normalised):
            raise DataError(f"whitening must be 'zca', of images that are normalised, or '', not {self.whitening!r}")
        if not isinstance(self.factor, int) or self.factor < 1 or images.shape[2] % self.factor or images.shape[3] % self.factor:
            raise DataError(f"the mosaic factor must divide {images.shape[2]}x{images.shape[3]} px; {self.factor} does not")

    def _turn(self) -> None:
        """Bring images [N, H, W, C] to [N, C, H, W]. Raises DataError for those that may be either."""
        if self.images.dim() != 4 or min(self.images.shape[1:3]) <= MOST_CHANNELS or self.images.shape[3] > MOST_CHANNELS:
            return
        shape = list(self.images.shape)
        if shape[3] not in (1, 3):
            raise DataError(f"a distilled set's images must be [N, C, H, W], not {shape}, which looks like [N, H, W, C]")
        self.images = self.images.permute(0, 3, 1, 2).contiguous()
        log.warning("%s of %s: images %s are taken as [N, H, W, C], and turned", self.method, self.dataset, shape)

    def _clip(self, low: float, high: float) -> None:
        """Clip pixels that rounding has left outside [0, 1]. Raises DataError for others."""
        if low >= 0 and high <= 1:
            return
        reach = f"[{low:.9g}, {high:.9g}]"
        if low < -ROUNDING or high > 1 + ROUNDING:
            raise DataError(
                f"float pixels must lie in [0, 1], these in {reach}; divide by 255 what reaches from 0 to 255, clip pixels that "
                "training has driven out, and of images that are normalised say by what: normalised=True when that is the "
                "dataset's mean and deviation, else mean=… and std=…"
            )
        self.images, what = self.images.clamp(0, 1), f"{self.method} of {self.dataset}"
        log.warning("%s: float pixels in %s, a rounding error outside [0, 1], are clipped", what, reach)

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
        """Images per class as they are stored: a whole number when the set is balanced, else the mean over the classes."""
        return per_class(len(self), self.classes, self.provenance)

    @cached_property
    def digest(self) -> str:
        """SHA-256 of everything that training sees: tensors, classes, kinds, mosaic factor."""
        kind = self.soft_kind if self.soft_labels is not None else None
        facts = {"classes": self.classes, "normalised": self.normalised, "factor": self.factor, "soft_kind": kind}
        return digest(self._tensors(), facts | self._rarely())

    @property
    def image_bytes(self) -> int:
        """Bytes of the images in their authors' files, where these are known; else one a value of 8-bit pixels, four a float."""
        return published_bytes(self.provenance).get("images", self.images.nbytes)

    @property
    def pixel_bytes(self) -> int:
        """Bytes of the images that are stored as 8-bit pixels, one a value, however they lie in their authors' files."""
        return self.images.numel() // made_of_each(self.provenance)

    @property
    def plain(self) -> bool:
        """Whether it is 8-bit pixels and classes alone, of which nothing is known but what they are here."""
        eight_bits = self.images.dtype == torch.uint8 and self.soft_labels is None and self.replay is None
        return eight_bits and not published_bytes(self.provenance)

    @property
    def label_bytes(self) -> int:
        """Bytes of the labels in their authors' files, where these are known; else of all that are stored here.

        These are soft ones, those of stored augmentations, and in each case the classes: a class takes as few whole bytes as tell
        it from the others.
        """
        published = published_bytes(self.provenance)
        if "labels" in published:
            return published["labels"]
        soft = 0 if self.soft_labels is None else self.soft_labels.nbytes
        stored = 0 if self.replay is None else sum(tensor.nbytes for tensor in self.replay.tensors().values())
        return len(self) * class_bytes(self.classes) + soft + stored

    def _tensors(self) -> dict[str, Tensor]:
        tensors = {"images": self.images, "labels": self.labels}
        tensors |= {} if self.soft_labels is None else {"soft_labels": self.soft_labels}
        return tensors if self.replay is None else tensors | self.replay.tensors()

    def input(self, mean: Sequence[float], std: Sequence[float]) -> Tensor:
        """Return the images of a set that is normalised as a network takes them whose own are normalised by `mean` and `std`."""
        if not self.mean:
            return self.images
        own_mean, own_std, its_mean, its_std = (torch.tensor(v).view(1, -1, 1, 1) for v in (self.mean, self.std, mean, std))
        return self.images * (own_std / its_std) + (own_mean - its_mean) / its_std

    def changed(self, **fields: object) -> DistilledSet:
        """Return a copy, some of whose arguments are others. Raises DataError as making one does."""
        own: dict[str, object] = {name: getattr(self, name) for name in ("images", "labels", "soft_labels", "replay")}
        own |= {**self.metadata, "soft_kind": self.soft_kind, "known_dataset": False}
        for name in ("replay_batch", "replay_rule"):
            own.pop(name, None)
        return DistilledSet(**{**own, **fields})  # type: ignore[arg-type]

    def renumbered(self, numbering: Sequence[int]) -> DistilledSet:
        """Return the set with class i called `numbering[i]`: in labels, in soft labels and in those of stored augmentations."""
        if list(numbering) == list(range(self.classes)):
            return self
        own = torch.tensor(numbering)
        columns = own.argsort()
        soft = None if self.soft_labels is None else self.soft_labels[:, columns]
        replay = None if self.replay is None else self.replay.renumbered(own)
        return self.changed(labels=own[self.labels], soft_labels=soft, replay=replay)

    def _rarely(self) -> dict[str, object]:
        """Facts that few sets have; left out of the digest and the file of all others."""
        whitening: dict[str, object] = {"whitening": self.whitening} if self.whitening else {}
        whitening |= {"mean": list(self.mean), "std": list(self.std)} if self.mean else {}
        return whitening | ({} if self.replay is None else self.replay.facts)

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
        """Write a safetensors file, whole or not at all, and return its path. Raises WriteError when it cannot be written."""
        path = Path(path)
        metadata = {"format": FORMAT, "digest": self.digest, "set": json.dumps(self.metadata, sort_keys=True)}
        safetensors.save(path, self._tensors(), metadata)
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
            described["known_dataset"] = False
            described["replay"] = Replay.of(tensors, described.pop("replay_batch", 0), described.pop("replay_rule", {}))
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


def _tensor(what: str, values: object) -> Tensor:
    """Return a tensor, or a numpy array as one, on the CPU. Raises DataError for anything else."""
    if isinstance(values, Tensor):
        return _plain(what, values)
    if type(values).__module__ == "numpy" and hasattr(values, "dtype"):
        try:
            return torch.as_tensor(values).clone()
        except (TypeError, ValueError, RuntimeError):
            raise DataError(f"a distilled set's {what} cannot be numpy's {values.dtype}; give floats or integers") from None
    raise DataError(f"a distilled set's {what} must be a torch tensor or a numpy array, not {type(values).__name__}")


def _plain(what: str, tensor: Tensor) -> Tensor:
    """Return a tensor as numbers that lie one after the other in memory: sparse ones filled in, negative views made.

    Args:
        what: it is, for messages.
    Raises: DataError for one that holds no numbers, on torch's meta device or made up by a tracer, and for one of parts.
    """
    tensor = tensor.detach()
    if tensor.is_nested:
        raise DataError(f"a distilled set's {what} must be one tensor, not a nested one; torch.stack makes one of its parts")
    if tensor.layout != torch.strided:
        tensor = tensor.to_dense()
    if "meta" in (tensor.device.type, tensor.untyped_storage().device.type):
        raise DataError(f"a distilled set's {what} are on torch's meta device, which holds no numbers")
    return tensor.cpu().resolve_conj().resolve_neg().contiguous()


def _numbers(what: str, values: Sequence[float]) -> tuple[float, ...]:
    """Return finite numbers, deviations above 0. Raises DataError for others."""
    try:
        numbers = tuple(float(value) for value in values)
    except (TypeError, ValueError):
        numbers = (math.nan,)
    if not all(math.isfinite(number) and (what == "mean" or number > 0) for number in numbers):
        raise DataError(f"a distilled set's {what} must be one finite number a channel{'' if what == 'mean' else ', above 0'}")
    return numbers


def _check_dataset(name: str) -> None:
    """Raise DataError for a name that no dataset has; what a folder of images is called is its user's affair."""
    if not name.startswith(("folder:", "folder/")):
        try:
            datasets.registry.resolve(name)
        except GiftbenchError as error:
            raise DataError(f"a distilled set's dataset: {error}") from None
