"""Losses by name: `losses.create("gift", gamma=0.2)(logits, targets)`, `@losses.register("my-loss")`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.core.registry import Registry

if TYPE_CHECKING:
    from harness.losses.targets import Loss

registry: Registry[Loss] = Registry("loss", group="giftbench.losses")
register, create, get, names, describe = registry.register, registry.create, registry.get, registry.names, registry.describe

for _name, _target in {
    "ce": "classic:ce",
    "mse": "classic:mse",
    "mse_ce": "classic:mse_ce",
    "soft_ce": "classic:soft_ce",
    "soft_ce_ce": "classic:soft_ce_ce",
    "kl": "classic:kl",
    "kl_ce": "classic:kl_ce",
    "calibrated_kl": "calibrated:calibrated_kl",
    "cosine": "gift:cosine",
    "gift": "gift:gift",
    "gift_reference": "gift:gift_reference",
    "refined": "refined:refined",
    "kd": "distillation:kd",
    "wsld": "distillation:wsld",
    "dkd": "distillation:dkd",
    "nkd": "distillation:nkd",
}.items():
    registry.add(_name, f"harness.losses.{_target}")
