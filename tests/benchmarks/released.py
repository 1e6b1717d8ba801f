"""What the loops of others are written out with: ConvNet-3, GIFT's losses as released, DSA, test images. Loads torch alone.

Nothing here is the harness's: what is measured or compared beside it shares no step, loss, drawing or network with it, and does
not pay for its imports.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

#: Student logits, teacher logits and hard labels to a scalar.
Loss = Callable[[Tensor, Tensor, Tensor], Tensor]


def network(channels: int, side: int, classes: int, width: int) -> nn.Sequential:
    """ConvNet-3: three times 3x3 convolution, batch norm, ReLU and 2x2 average pool; then one linear layer."""
    layers: list[nn.Module] = []
    for block in range(3):
        layers += [
            nn.Conv2d(width if block else channels, width, 3, padding=1),
            nn.BatchNorm2d(width),
            nn.ReLU(),
            nn.AvgPool2d(2),
        ]
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(width * (side // 8) ** 2, classes))


def cosine(z: Tensor, t: Tensor, y: Tensor) -> Tensor:
    """GIFT as released: one less the cosine to unit teacher logits plus 0.1 of the unit smoothed label (0.1 off target)."""
    classes = z.shape[1]
    smoothed = torch.full_like(z, 0.1 / (classes - 1)).scatter_(1, y[:, None], 0.9)
    refined = t / t.norm(dim=1, keepdim=True) + 0.1 * smoothed / smoothed.norm(dim=1, keepdim=True)
    return 1 - F.cosine_similarity(z, refined, dim=1).mean()


def divergence(z: Tensor, t: Tensor, y: Tensor) -> Tensor:
    """KL at temperature 20, mean over the batch, not rescaled."""
    return F.kl_div((z / 20).log_softmax(1), (t / 20).softmax(1), reduction="batchmean")


LOSSES: dict[str, Loss] = {"gift": cosine, "kl": divergence, "ce": lambda z, t, y: F.cross_entropy(z, y)}


class Families:
    """DSA's families of operations on a batch [N, C, H, W], each drawn for each image; places by index, as in DSA's own code.

    Args:
        aligned: whether grids count corners by the centres of the pixels there, as DC's code does and GIFT's does not.
    """

    NAMES = ("scale", "rotate", "flip", "color", "crop", "cutout")

    def __init__(self, aligned: bool) -> None:
        self.aligned = aligned

    def apply(self, names: Sequence[str], x: Tensor) -> Tensor:
        """Return the batch after the families of these names, in their order."""
        for name in names:
            x = getattr(self, name)(x)
        return x.contiguous()

    def flip(self, x: Tensor) -> Tensor:
        return torch.where(_uniform(x) < 0.5, x.flip(3), x)

    def color(self, x: Tensor) -> Tensor:
        """Brightness, saturation and contrast, in this order."""
        x = x + (_uniform(x) - 0.5)
        grey = x.mean(1, keepdim=True)
        x = (x - grey) * (2 * _uniform(x)) + grey
        mean = x.mean((1, 2, 3), keepdim=True)
        return (x - mean) * (_uniform(x) + 0.5) + mean

    def scale(self, x: Tensor) -> Tensor:
        ratios = (torch.rand(len(x), 2) * (1.2 - 1 / 1.2) + 1 / 1.2).tolist()
        return self._mapped(x, [[[a, 0.0, 0.0], [0.0, b, 0.0]] for a, b in ratios])

    def rotate(self, x: Tensor) -> Tensor:
        angles = ((torch.rand(len(x)) - 0.5) * 2 * 15 / 180 * math.pi).tolist()
        rows = [(math.cos(angle), math.sin(angle)) for angle in angles]
        return self._mapped(x, [[[cos, -sin, 0.0], [sin, cos, 0.0]] for cos, sin in rows])

    def _mapped(self, x: Tensor, maps: list[list[list[float]]]) -> Tensor:
        grid = F.affine_grid(torch.tensor(maps), list(x.shape), align_corners=self.aligned)
        return F.grid_sample(x, grid, align_corners=self.aligned)

    def crop(self, x: Tensor) -> Tensor:
        """A window of the image's size, moved by an eighth of a side at most, zeros outside."""
        count, _, height, width = x.shape
        far = int(0.125 * height + 0.5)
        images, rows, columns = _places(count, height, width)
        # one pixel of zeros around the image stands for all that lies further out
        rows = (rows + torch.randint(-far, far + 1, (count, 1, 1)) + 1).clamp(0, height + 1)
        columns = (columns + torch.randint(-far, far + 1, (count, 1, 1)) + 1).clamp(0, width + 1)
        last = F.pad(x, (1, 1, 1, 1)).permute(0, 2, 3, 1).contiguous()
        return last[images, rows, columns].permute(0, 3, 1, 2)

    def cutout(self, x: Tensor) -> Tensor:
        """A square of zeros of half a side, its centre drawn up to the border, and one place beyond for an even one."""
        count, _, height, width = x.shape
        tall, wide = int(height * 0.5 + 0.5), int(width * 0.5 + 0.5)
        images, rows, columns = _places(count, tall, wide)
        rows = (rows + torch.randint(0, height + (1 - tall % 2), (count, 1, 1)) - tall // 2).clamp(0, height - 1)
        columns = (columns + torch.randint(0, width + (1 - wide % 2), (count, 1, 1)) - wide // 2).clamp(0, width - 1)
        mask = torch.ones(count, height, width)
        mask[images, rows, columns] = 0
        return x * mask[:, None]


def _uniform(x: Tensor) -> Tensor:
    return torch.rand(len(x), 1, 1, 1)


def _places(count: int, height: int, width: int) -> tuple[Tensor, ...]:
    return torch.meshgrid(torch.arange(count), torch.arange(height), torch.arange(width), indexing="ij")
