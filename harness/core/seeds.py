"""Independent random streams, derived from a trial's seed and the name of their role."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


def derive(seed: int, role: str) -> int:
    """Return a 63-bit seed for `role` ("init", "order", "augmentation", …), the same on every machine."""
    digest = hashlib.sha256(f"{seed}/{role}".encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def generator(seed: int, role: str, device: str | torch.device = "cpu") -> torch.Generator:
    """Return a torch generator on `device` for `role`."""
    import torch

    return torch.Generator(device=device).manual_seed(derive(seed, role))
