"""The images of a distilled set one by one."""

from __future__ import annotations

import torch

from harness.continual.samples import Samples
from harness.training.values import Material


def test_each_is_what_the_student_takes_whether_pixels_or_floats_are_kept() -> None:
    pixels = torch.randint(0, 256, (4, 1, 2, 2), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    material = Material(pixels, torch.arange(4), mean=(0.1,), std=(0.5,))
    samples = Samples(material)
    assert len(samples) == 4
    for place in range(4):
        image, label = samples[place]
        assert torch.allclose(image, (pixels[place] / 255 - 0.1) / 0.5, atol=1e-6)
        assert int(label) == place
    floats = Material.on_device("cpu", pixels, torch.arange(4), mean=(0.1,), std=(0.5,))
    assert torch.equal(Samples(floats)[2][0], samples[2][0])
