"""What torch.compile costs and gives on this CPU: forward and backward passes of students, one thread, compiled and as they are.

As they are means as the harness trains them, with `harness.training.convolutions` where it makes a student's faster.

    python -m tests.benchmarks.compiled                       # every student of `STUDENTS`, as a table
    python -m tests.benchmarks.compiled --into tests/benchmarks/README.md # the table between its markers, `PLACE`
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

from tests.benchmarks.ratios import Place, machine

ROOT = Path(__file__).parents[2]
#: Where the table stands.
PLACE = Place("giftbench-compiled")
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
    from harness.training.convolutions import made_fast
    from harness.training.devices import autocast, on_device

    memory.keep_freed()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    cast = autocast(torch.device("cpu"), precision)  # type: ignore[arg-type]
    network, twin = (on_device(models.build(models.registry.resolve(student), (1, side, side), 10), "cpu") for _ in range(2))
    twin.load_state_dict(network.state_dict())
    if precision == "float32":
        made_fast(network)
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


def row(text: str, precision: str) -> dict[str, str]:
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
    cells = {
        "ms": f"{1000 * plain:.3g}",
        "compiled, ms": f"{1000 * compiled:.3g}",
        "compiled / plain": f"{statistics.median(run.compiled / run.plain for run in runs):.2f}",
        "compiling, s": f"{cold.compiling:.3g}",
        "from the cache, s": f"{warm.compiling:.3g}",
        "pays after steps": f"{cold.compiling / spared:,.0f}" if spared > 0 else "never",
        "largest difference of the loss": f"{max(run.apart for run in runs):.1e}",
    }
    return {"what": f"{student}, {side} px, batch {batch}, {precision}", **cells}


def table(head: Sequence[str], cells: Sequence[Sequence[str]], made_on: str) -> str:
    from tabulate import tabulate

    columns = tabulate(cells, head, "pipe", colalign=("left", *["right"] * (len(head) - 1)), disable_numparse=True)
    return f"{columns}\n\nCPU seconds of a forward and a backward pass, medians of {PASSES} in turn. Measured on {made_on}.\n"


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--student", action="append", help="NAME:PIXELS:BATCH (repeatable)")
    parser.add_argument("--precision", default="float32", choices=["float32", "bf16"])
    parser.add_argument("--into", type=Path, metavar="FILE", help=f"put the rows between the markers {PLACE.start} of this file")
    parser.add_argument("--measure", action="store_true", help="in this process, as JSON")
    given = parser.parse_args(arguments)
    students = given.student or STUDENTS
    if given.measure:
        student, side, batch = students[0].rsplit(":", 2)
        print(json.dumps(asdict(measure(student, int(side), int(batch), given.precision))))
        return
    if given.into:
        PLACE.around(given.into)
    made_on, rows = machine(), []
    for text in students:
        rows.append(row(text, given.precision))
        print(*(f"{name}: {value}" for name, value in rows[-1].items()), sep="; ", flush=True)
    head = [*rows[0]]
    cells = [[*values.values()] for values in rows]
    print(table(head, cells, made_on))
    if given.into:
        PLACE.insert(given.into, cells, made_on, lambda every: table(head, every, made_on))


if __name__ == "__main__":
    main()
