"""CutMix and mixup: one partner an image and one share a batch, drawn on the batch's device.

What two images make of one is a map of how much of each pixel is the image's own: 0 in CutMix's box and 1 outside it, the
same share everywhere in mixup. Its mean is the image's share of the labels, for CutMix by the area of the box that is left
after it is clipped at the border.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from harness.augmentation.warp import like
from harness.augmentation.words import mixing as parsed

#: Places at which the quantiles of Beta(alpha, alpha) are tabulated.
TABLE = 4097


@dataclass(frozen=True)
class Mix:
    """How a batch of B images is mixed: `partner` [B] int64, which image of the batch each is mixed with; `own` [H, W] float32,
    which share of each pixel stays the image's own."""

    partner: Tensor
    own: Tensor

    @property
    def share(self) -> Tensor:
        """The image's own share of the labels, a scalar in [0, 1]."""
        return self.own.mean()

    def partners(self, hard: Tensor) -> Tensor:
        """Return the hard labels of the images' partners, [B], of those of the images."""
        return hard.index_select(0, self.partner)

    def apply(self, batch: Tensor) -> Tensor:
        """Return the mixed batch, [B, C, H, W] in and out."""
        return like(torch.lerp(batch.index_select(0, self.partner), batch, self.own.to(batch.dtype)), batch)


@dataclass(frozen=True)
class Paired:
    """How images were mixed with images that are not of their batch: these' hard labels, [B] int64, and the own share of the
    labels of each image, `share` [B]."""

    others: Tensor
    share: Tensor

    def partners(self, hard: Tensor) -> Tensor:
        """Return the hard labels of the images' partners, [B]."""
        return self.others


class Mixing:
    """Draws how batches are mixed.

    Args:
        box: whether a box of the partner is pasted in (CutMix, Yun et al. 2019) or images are blended (mixup, Zhang et al. 2018).
        alpha: the share that an image is meant to keep is drawn from Beta(alpha, alpha).
        probability: with which a batch is mixed at all; the others keep all of their images.
    """

    def __init__(self, box: bool, alpha: float, probability: float = 1.0) -> None:
        self.box, self.alpha, self.probability = box, alpha, probability
        self._tables: dict[torch.device, Tensor] = {}

    def __repr__(self) -> str:
        return f"Mixing(box={self.box}, alpha={self.alpha})"

    def draw(
        self,
        samples: int,
        height: int,
        width: int,
        *,
        device: torch.device | str = "cpu",
        generator: Generator | None = None,
    ) -> Mix:
        """Draw the mix of `samples` images of height x width."""
        first = 3 if self.probability == 1 else 4
        u = torch.rand(samples + first, device=device, generator=generator)
        partner, own = u[first:].argsort(), self._own(u, height, width)
        return Mix(partner, own if first == 3 else torch.where(u[3] < self.probability, own, torch.ones_like(own)))

    def _own(self, u: Tensor, height: int, width: int) -> Tensor:
        """Return the map of a mix, of three uniform numbers."""
        lam = self._quantile(u[0])
        if not self.box:
            return lam.expand(height, width)
        # As the authors' rand_bbox: sides and centre are whole pixels, and half a side is rounded down.
        cut = (1 - lam).sqrt()
        return pasted(_inside(height, cut, u[1]), _inside(width, cut, u[2]))

    def _quantile(self, u: Tensor) -> Tensor:
        """Return the u-quantile of Beta(alpha, alpha), from a table so that nothing waits for the device."""
        if self.alpha == 1:
            return u
        if u.device not in self._tables:
            self._tables[u.device] = _quantiles(self.alpha).to(u.device)
        table = self._tables[u.device]
        place = u * (TABLE - 1)
        low = place.floor().clamp(max=TABLE - 2)
        index = low.long()
        return torch.lerp(table.index_select(0, index[None])[0], table.index_select(0, index[None] + 1)[0], place - low)


def _inside(side: int, cut: Tensor, u: Tensor) -> Tensor:
    """Return which of `side` pixels lie in a box that takes the share `cut` of the side, its centre drawn by `u`, [side] bool."""
    half = ((side * cut).floor() / 2).floor()
    place, centre = torch.arange(side, device=u.device), (u * side).floor()
    return (place >= centre - half) & (place < centre + half)


def pasted(rows: Tensor, columns: Tensor) -> Tensor:
    """Return the map of a box of the partner, the rows [H] bool and columns [W] bool of which are given."""
    return 1 - (rows[:, None] & columns).float()


def stored(partner: Tensor, lam: Tensor, box: Tensor, height: int, width: int) -> Mix:
    """Return a mix that FKD stored.

    Args:
        partner: as in `Mix`.
        lam: the share of an image in a blend, a scalar.
        box: top, left, bottom and right of the partner's part, [4] in pixels; -1 for a blend.
    """
    return Mix(partner, own_share(lam, box, height, width))


def own_share(lam: Tensor, box: Tensor, height: int, width: int) -> Tensor:
    """Return which share of each pixel stays an image's own, [..., H, W].

    Args:
        lam, box: as `stored` takes them, of one batch or of several images, [...] and [..., 4].
    """
    top, left, bottom, right = box[..., None].unbind(-2)
    rows, columns = torch.arange(height, device=box.device), torch.arange(width, device=box.device)
    down, across = (rows >= top) & (rows < bottom), (columns >= left) & (columns < right)
    own = 1 - (down[..., :, None] & across[..., None, :]).float()
    return torch.where(top[..., None] < 0, lam[..., None, None], own)


def mixing(text: str) -> Mixing | None:
    """Return what a protocol's `mixing` says; None mixes nothing. Raises UnknownName and BadOption."""
    step = parsed(text)
    return None if step is None else Mixing(step.name == "cutmix", step.options["alpha"], step.options["probability"])


def _quantiles(alpha: float) -> Tensor:
    import numpy
    from scipy.special import betaincinv

    return torch.from_numpy(betaincinv(alpha, alpha, numpy.linspace(0, 1, TABLE))).float()
