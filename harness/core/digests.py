"""SHA-256 of tensors: what a trial's id rests on."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


def digest(tensors: Mapping[str, Tensor], facts: Mapping[str, object] | None = None) -> str:
    """Return the SHA-256, in hexadecimal, of named tensors (dtype, shape, bytes) and of JSON facts about them."""
    import torch

    total = hashlib.sha256(json.dumps(dict(facts or {}), sort_keys=True).encode())
    for name in sorted(tensors):
        tensor = tensors[name].detach().cpu().resolve_conj().resolve_neg().contiguous()
        total.update(json.dumps([name, str(tensor.dtype), list(tensor.shape)]).encode())
        total.update(tensor.reshape(-1).view(torch.uint8).numpy().data if tensor.numel() else b"")
    return total.hexdigest()


def digest_json(content: object) -> str:
    """Return the SHA-256, in hexadecimal, of canonical JSON."""
    return hashlib.sha256(json.dumps(content, sort_keys=True, separators=(",", ":")).encode()).hexdigest()
