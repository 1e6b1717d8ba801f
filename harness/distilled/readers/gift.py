"""Sets as GIFT's authors keep them (Shang et al.): {method}/{dataset}_{model}/ipc{n}/data.pt."""

from __future__ import annotations

import re
from pathlib import Path

import torch
from torch import Tensor

from harness.core.errors import DataError
from harness.distilled.readers import tensors
from harness.distilled.reading import Reading
from harness.distilled.set import ROUNDING, DistilledSet
from harness.files import paths
from harness.files.tensors import load_tensors

#: Methods whose authors whiten images, by their names without signs.
WHITENED = ("datm", "mtt", "tesla")
#: The loss that a method's authors train with, by its name without signs.
NATIVE = {"rded": "kl", "sre2l": "kl", "cda": "kl", "gvbsm": "mse_ce", "datm": "soft_ce"}
SAME = {"imagenet": "imagenet1k", "tiny": "tinyimagenet", "tinyimagenet200": "tinyimagenet"}
MAX_FOUND = 1000


def gift(reading: Reading, *, method: str = "", native_loss: str = "", zca: bool = False) -> DistilledSet:
    """GIFT's files: {method}/{dataset}_{model}/ipc{n}/data.pt with "data", pixels (DATM's: whitened), "label", "dataset".

    Args:
        reading: its path is the data.pt, or a folder in which its IPC and dataset leave one; the first k of each class are a
            lower IPC.
        method: how tables call it; "" takes it from the folders.
        native_loss: the loss its authors train with; "" takes what the method is known for.
        zca: whether "data" is ZCA-whitened; that of DATM, MTT and TESLA is taken so when it lies outside of [0, 1].
    Returns: labels [N] or [N, 1] are hard; [N, C] are logits or probabilities, by what the numbers are.
    Raises: DataError that names the file, and the choices when there are several.
    """
    path = _file(reading)
    content = load_tensors(path)
    if not isinstance(content, dict) or not {"data", "label"} <= set(content):
        raise DataError(f'{path}: expected a dict with "dataset", "data" and "label"')
    _check_dataset(content.get("dataset"), path, reading)
    if not method and re.fullmatch(r"ipc\d+", path.parent.name):
        method = path.parent.parent.parent.name.lower()
    images = tensors.images_in(content["data"], path, reading, eight_bits=True)
    eight_bits = images.dtype == torch.uint8
    outside = not eight_bits and not -ROUNDING <= float(images.min()) <= float(images.max()) <= 1 + ROUNDING
    whitened = (zca and not eight_bits) or (outside and _plain(method) in WHITENED)
    if whitened:
        reading.say(f"{path.name}: taken as ZCA-whitened already" + ("" if zca else f", as {method}'s images are"))
    elif not eight_bits:
        images = _pixels(images, path, reading)
    hard, soft = _labels(content["label"], len(images), path, reading)
    kind: tensors.Kind = "logits" if soft is None else tensors.kind_of(soft)
    if soft is not None:
        reading.say(f"{path.name}: the labels are {kind}, by their numbers")
    labels = "hard" if soft is None else kind
    return tensors.make(
        reading,
        images,
        hard,
        soft,
        [path],
        method=method or "gift",
        kind=kind,
        native_loss=native_loss or NATIVE.get(_plain(method), ""),
        normalised=whitened,
        whitening="zca" if whitened else "",
        facts={
            "format": "gift",
            "place": "/".join(path.parts[-4:]),
            "assumed": {"normalisation": "zca" if whitened else "pixels", "labels": labels},
        },
    )


def _pixels(images: Tensor, path: Path, reading: Reading) -> Tensor:
    """Return images as pixels in [0, 1]. Raises DataError, with the way to read whitened ones, when they are not that."""
    try:
        return tensors.pixels(images, path, reading)
    except DataError as error:
        raise DataError(f"{error}; gift(zca=true) takes them as whitened, as gift(method=datm) does") from None


def _file(reading: Reading) -> Path:
    """Return the data.pt: the path itself, or the only one below it that the IPC and the dataset leave."""
    if not reading.path.is_dir():
        return reading.path
    root = paths.folder(reading.path)
    if (own := paths.inside(root, "data.pt")).is_file():
        return own
    files = _below(root, root, 3)
    if not files:
        raise DataError(f"{root}: no ipc{{n}}/data.pt in it or below")
    chosen = [path for path in files if _is_of(path, reading.card.name)] or files
    if reading.ipc is not None:
        exact = [path for path in chosen if path.parent.name == f"ipc{reading.ipc}"]
        chosen = exact or [path for path in chosen if int(path.parent.name[3:]) > reading.ipc]
    if len(chosen) != 1:
        names = ", ".join(str(path.parent.relative_to(root)) for path in (chosen or files)[:12])
        wanted = "" if reading.ipc is None else f" of IPC {reading.ipc}"
        raise DataError(f"{root}: {len(chosen) or 'no'} sets{wanted} for {reading.card.name}; name one of: {names}")
    return chosen[0]


def _below(root: Path, at: Path, depth: int) -> list[Path]:
    """Return the files ipc{n}/data.pt at most `depth` folders below, by name."""
    files: list[Path] = []
    for folder in paths.folders(root, at):
        if re.fullmatch(r"ipc\d+", folder.name) and (path := folder / "data.pt").is_file():
            files.append(paths.inside(root, str(path.relative_to(root))))
        elif depth > 1:
            files += _below(root, folder, depth - 1)
        if len(files) > MAX_FOUND:
            raise DataError(f"{root}: more than {MAX_FOUND} sets; name one")
    return files


def _is_of(path: Path, dataset: str) -> bool:
    """Return whether a data.pt lies in a folder {dataset}_{model} of this dataset."""
    return _dataset(path.parents[1].name.partition("_")[0]) == _dataset(dataset)


def _check_dataset(stated: object, path: Path, reading: Reading) -> None:
    """Raise DataError when the file says that it is of another dataset; say so when it does not tell, or the card does not."""
    if not isinstance(stated, str) or not stated:
        reading.say(f"{path.name}: does not say of which dataset it is")
    elif ":" in reading.card.name or "/" in reading.card.name:
        reading.say(f"{path.name}: says that it is of {stated[:40]!r}")
    elif _dataset(stated) != _dataset(reading.card.name):
        raise DataError(f"{path}: it is a set of {stated[:40]!r}, not of {reading.card.name!r}")


def _dataset(name: str) -> str:
    """Return a dataset's name without signs and options, one for all spellings."""
    plain = _plain(name.partition("(")[0])
    return SAME.get(plain, plain)


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())


def _labels(labels: object, images: int, path: Path, reading: Reading) -> tuple[Tensor, Tensor | None]:
    """Return hard labels [N] and, where the file has them, soft ones [N, C]."""
    if not isinstance(labels, Tensor):
        raise DataError(f'{path}: "label" must be a tensor, not a {type(labels).__name__}')
    if labels.dim() != 2 or labels.shape[1] == 1:
        return tensors.hard_labels(labels, path, images, reading), None
    soft = tensors.soft_labels(labels, path, images, reading)
    return tensors.by_place_or_top(soft, path, reading), soft
