"""Optimizers and learning-rate schedules by name: `optimizers.create("adamw(lr=0.01)", model)`. Torch loads when one is made."""

from harness.optimizers.optimizers import ELEMENTWISE, create, create_schedule, label, registry, resolve, schedules

register = registry.register

__all__ = ["ELEMENTWISE", "create", "create_schedule", "label", "register", "registry", "resolve", "schedules"]
