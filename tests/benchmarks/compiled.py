"""What torch.compile costs and gives on this CPU: forward and backward passes of students, as they are and compiled, one thread.

    python -m tests.benchmarks.compiled                       # every student of `STUDENTS`, as a table
    python -m tests.benchmarks.compiled --student convnet3:16:50

All seconds are CPU seconds, of the process and of those that it starts (the C++ compiler). A student is compiled in a process of
its own, first by an empty cache of inductor's, then in another by the cache that this has left. The passes are timed in turn.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
#: Students, pixels of a side, images of a batch.
STUDENTS = (
    "convnet3(width=32):16:50",
    "convnet3(width=128):32:50",
    "resnet18:32:50",
    "efficientnet-b0:32:50",
    "swin-v2-tiny(patch=2):16:50",
    "swin-v2-tiny:32:50",
)
PASSES, WARMUPS = 5, 2


@dataclass(frozen=True)
class Measured:
    """CPU seconds of compiling, beyond those of a pass, and of a pass: medians of `PASSES`, in turn."""

    compiling: float
    plain: float
    compiled: float
    apart: float


def spent() -> float:
    """Return the CPU seconds of this process and of those that it has started and waited for."""
    usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def seconds(run: Callable[[], object]) -> float:
    started = spent()
    run()
    return spent() - started


def measure(student: str, side: int, batch: int, precision: str) -> Measured:
    """Compile a student in this process and time its passes; to be called once a process."""
    import torch

    from harness import models
    from harness.running.executors import memory
    from harness.training.devices import autocast, on_device

    memory.keep_freed()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    cast = autocast(torch.device("cpu"), precision)  # type: ignore[arg-type]
    network, twin = (on_device(models.build(models.registry.resolve(student), (1, side, side), 10), "cpu") for _ in range(2))
    twin.load_state_dict(network.state_dict())
    images = torch.randn(batch, 1, side, side).contiguous(memory_format=torch.channels_last)
    labels = torch.arange(batch) % 10

    def passed(module: torch.nn.Module) -> torch.Tensor:
        for parameter in module.parameters():
            parameter.grad = None
        with cast():
            loss = torch.nn.functional.cross_entropy(module(images).float(), labels)
        loss.backward()  # type: ignore[no-untyped-call]
        return loss.detach()

    first = passed(network)
    twin.compile()
    cold = seconds(lambda: passed(twin))
    apart = float((passed(network) - passed(twin)).abs() / first.abs())
    sides: dict[bool, list[float]] = {False: [], True: []}
    for turn in range(WARMUPS + PASSES):
        for own, module in ((False, network), (True, twin)):
            taken = seconds(lambda module=module: passed(module))  # type: ignore[misc]
            if turn >= WARMUPS:
                sides[own].append(taken)
    plain, compiled = (statistics.median(sides[own]) for own in (False, True))
    return Measured(cold - compiled, plain, compiled, apart)


def row(text: str, precision: str) -> dict[str, Any]:
    """Return what the table says of a student: measured in two processes, by an empty cache and by what that has left in it."""
    with tempfile.TemporaryDirectory() as cache:
        runs = []
        for _ in range(2):
            # In this process, so that its seconds are counted: inductor's own pool outlives what it compiles.
            environment = os.environ | {
                "TORCHINDUCTOR_CACHE_DIR": cache,
                "TORCHINDUCTOR_COMPILE_THREADS": "1",
                "OMP_NUM_THREADS": "1",
            }
            command = [
                sys.executable,
                "-m",
                "tests.benchmarks.compiled",
                "--measure",
                "--student",
                text,
                "--precision",
                precision,
            ]
            said = subprocess.run(command, cwd=ROOT, env=environment, check=True, capture_output=True, text=True).stdout
            runs.append(Measured(**json.loads(said.splitlines()[-1])))
    cold, warm = runs
    student, side, batch = text.rsplit(":", 2)
    plain, compiled = (statistics.median(values) for values in ((cold.plain, warm.plain), (cold.compiled, warm.compiled)))
    spared = plain - compiled
    return {
        "student": student,
        "px": int(side),
        "batch": int(batch),
        "precision": precision,
        "plain ms": 1000 * plain,
        "compiled ms": 1000 * compiled,
        "compiled / plain": statistics.median(run.compiled / run.plain for run in runs),
        "compiling s": cold.compiling,
        "from the cache s": warm.compiling,
        "pays after steps": cold.compiling / spared if spared > 0 else float("inf"),
        "from the cache": warm.compiling / spared if spared > 0 else float("inf"),
        "loss apart": max(run.apart for run in runs),
    }


def main(arguments: Sequence[str] | None = None) -> None:
    from tabulate import tabulate

    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--student", action="append", help="NAME:PIXELS:BATCH (repeatable)")
    parser.add_argument("--precision", default="float32", choices=["float32", "bf16"])
    parser.add_argument("--measure", action="store_true", help="in this process, as JSON")
    given = parser.parse_args(arguments)
    students = given.student or STUDENTS
    if given.measure:
        student, side, batch = students[0].rsplit(":", 2)
        print(json.dumps(asdict(measure(student, int(side), int(batch), given.precision))))
        return
    rows = []
    for text in students:
        rows.append(row(text, given.precision))
        print(tabulate(rows[-1:], headers="keys", tablefmt="plain", floatfmt=".3g"), flush=True)
    print(tabulate(rows, headers="keys", tablefmt="github", floatfmt=".3g"))


if __name__ == "__main__":
    main()
