"""The conformance kit: one call in a plugin's test checks what giftbench expects of a loss, a model, a scenario and their kin.

It needs no test framework: what is not kept is an AssertionError (`CheckFailed`) of one sentence, which names the plugin, what it
did, and what would be right.
"""

from __future__ import annotations

from harness.testing.augmentations import check_augmentation
from harness.testing.checks import CheckFailed
from harness.testing.losses import check_loss
from harness.testing.models import check_model
from harness.testing.optimizers import check_optimizer, check_schedule
from harness.testing.protocols import check_protocol
from harness.testing.scenarios import check_scenario

__all__ = [
    "CheckFailed",
    "check_augmentation",
    "check_loss",
    "check_model",
    "check_optimizer",
    "check_protocol",
    "check_scenario",
    "check_schedule",
]
