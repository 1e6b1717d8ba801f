"""Where trials run, by name: `local` hands bundles to worker processes on this machine, `ray` and `slurm` to others.

`executors.create("ray(cpus=2)")(errand)` is an `Executor`, as `protocol` has it; nothing of an engine is imported before.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from harness.core.lazy import exports
from harness.core.registry import Registry

if TYPE_CHECKING:
    from harness.running.executors.errand import Errand
    from harness.running.executors.local import Workers
    from harness.running.executors.protocol import Event, Executor, Runners, Settings

registry: Registry[Callable[[Errand], Executor]] = Registry("executor", group="giftbench.executors")
for _name in ("local", "ray", "slurm"):
    registry.add(_name, f"harness.running.executors.{_name}:{_name}")

create = registry.create
register = registry.register
resolve = registry.resolve

__all__ = ["Errand", "Event", "Executor", "Runners", "Settings", "Workers", "create", "register", "registry", "resolve"]

_HOMES = {
    "errand": ("Errand",),
    "local": ("Workers",),
    "protocol": ("Event", "Executor", "Runners", "Settings"),
}
__getattr__ = exports(
    __name__, {name: f"harness.running.executors.{module}:{name}" for module, names in _HOMES.items() for name in names}
)
