"""Which trainings are made in one pass: chosen by optimizer, model, batch size and device.

On a GPU a student's step leaves much of the device idle, and others fill it, on streams of their own or in a stack; which is the
faster is measured on the spot (`harness.running.workbench.Workbench.fit_together`). On the CPU a stack pays where a step is so
small that calling its operations costs more than doing them. That is decided by counting operations, not by a clock, so that the
same board gives the same numbers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.augmentation.words import STORED
from harness.optimizers.optimizers import ELEMENTWISE
from harness.running.costs import forward_operations

if TYPE_CHECKING:
    from harness.boards.trial import Trial
    from harness.models import Shape

#: Trainings in one stack, at most, unless the caller says how many.
ON_CPU, ON_GPU = 6, 12
#: Floating-point operations of a student's forward pass on one batch up to which a stack pays on the CPU, as
#: tests/benchmarks/test_stack_speed.py found on one core with AVX-512. Against trainings one after another: half the time at 4e6,
#: as much at 2e7. Against trainings of a seed beside each other, which share what they are given as well, those of other
#: optimizers too, that no stack holds: 0.74 at 4e6, 0.92 at 1.6e7 under one optimizer, 1.23 at 3e7.
SMALL_STEP = 1e7


def group(trial: Trial, device: str, stack: int = 0, shape: Shape | None = None, classes: int = 0) -> str:
    """Return a key: trainings of one key may be made in one pass. Empty where this one is made alone.

    They differ in seed and loss alone (`Setup.together`), and are trials of a scenario that trains one student
    (`Scenario.trains_one_student`).
    Models that cannot be stacked are found out by the worker, which trains them alone.

    Args:
        device: `cpu`, `cuda` or `cuda:N`.
        stack: 0 chooses by device, model and batch size; 1 trains everything alone; N stacks up to N on any device.
        shape, classes: of the dataset; needed to choose on the CPU.
    """
    protocol = trial.protocol
    stored = STORED in (protocol.augmentation, protocol.mixing)
    by_batch = any(said.startswith("average:") for said in trial.teacher)  # what it says of an image depends on the others
    if stack == 1 or stored or by_batch or trial.optimizer.name not in ELEMENTWISE:
        return ""
    if stack == 0 and device == "cpu":
        if shape is None:
            return ""
        if protocol.batch_size * forward_operations(trial.model.model_dump_json(), shape, classes) > SMALL_STEP:
            return ""
    return trial.setup.together


def limit(trial: Trial, device: str, stack: int = 0) -> int:
    """Return how many trainings are made in one pass, at most; arguments as in `group`."""
    return stack or (ON_CPU if device == "cpu" else ON_GPU)
