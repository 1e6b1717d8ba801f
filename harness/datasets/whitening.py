"""ZCA whitening, which MTT and DATM distil in: kornia fits it once on a dataset's train split; the cache keeps it."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from harness.core.errors import DataError
from harness.core.home import home
from harness.files import atomic, claims, safetensors

if TYPE_CHECKING:
    from kornia.enhance import ZCAWhitening

    from harness.datasets.base import Dataset

#: Added to the eigenvalues, as in MTT's and DATM's code.
EPS = 0.1
#: Pixels of one image above which the matrix (their square) is no longer to be had: 64 px in colour is 12,288.
MAX_FEATURES = 16_384
CHUNK = 1000


class Whitening:
    """A fitted ZCA transform on a device.

    Pixels in [0, 1], flattened, less their mean over the train split, times U (S + 0.1)^(-1/2) U^T of their covariance U S U^T.
    """

    def __init__(self, fitted: ZCAWhitening) -> None:
        self._zca = fitted

    def apply(self, images: Tensor) -> Tensor:
        """Return uint8 or [0, 1] images [N, C, H, W] whitened, float32 on the same device."""
        scale = 255.0 if images.dtype == torch.uint8 else 1.0
        parts = [self._zca(part.float() / scale) for part in torch.split(images, CHUNK)]
        return torch.cat(parts)

    def invert(self, images: Tensor) -> Tensor:
        """Return the pixels, in [0, 1] before augmentation, that whitened images [N, C, H, W] are made of."""
        pixels: Tensor = self._zca.inverse_transform(images.float())
        return pixels


def whitening(dataset: Dataset, device: str) -> Whitening:
    """Return the dataset's ZCA transform on the device, fitted at most once for each content of its train split.

    Raises: DataError when its images are too large for a matrix of their pixels.
    """
    features = dataset.shape[0] * dataset.shape[1] * dataset.shape[2]
    if features > MAX_FEATURES:
        raise DataError(f"dataset {dataset.name}: ZCA of {features} values an image is out of reach; {MAX_FEATURES} is the limit")
    return _load(_fitted(dataset, device), device)


def _fitted(dataset: Dataset, device: str) -> Path:
    path = home() / "whitening" / f"{dataset.digest[:20]}-zca-{EPS}.safetensors"
    if path.is_file():
        return path
    atomic.make_folder(path.parent)
    with claims.lock(path):
        if not path.is_file():
            _fit(dataset, device, path)
    return path


def _fit(dataset: Dataset, device: str, path: Path) -> None:
    from kornia.enhance import ZCAWhitening

    pixels = dataset.train.images[:].to(device).float() / 255
    fitted = ZCAWhitening(eps=EPS, compute_inv=True).fit(pixels)
    safetensors.save(path, {name: tensor.cpu().contiguous() for name, tensor in fitted.state_dict().items()})


@lru_cache(maxsize=2)
def _load(path: Path, device: str) -> Whitening:
    from kornia.enhance import ZCAWhitening

    fitted = ZCAWhitening(eps=EPS, compute_inv=True)
    try:
        fitted.load_state_dict(safetensors.load(path)[1])
    except (DataError, RuntimeError) as error:
        reason = str(error).removeprefix(f"{path}: ").splitlines()[0]
        raise DataError(f"{path}: a damaged cache of a ZCA transform; delete it ({reason})") from None
    return Whitening(fitted.to(device))
