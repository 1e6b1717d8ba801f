"""Whole boards by this version and by another in turn, each from empty caches: CPU and wall seconds of `giftbench run`.

`python -m tests.benchmarks.whole --against OTHER/bin/giftbench --board wide --board narrow` has six losses, three optimizers and
three seeds on images made at random, 54 trainings a board; `--bare` has these trainings' bare steps beside them. Linux only.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median

import numpy
from PIL import Image
from tabulate import tabulate

from tests.benchmarks.ratios import machine
from tests.benchmarks.startup import GIFTBENCH, Cost, cost

CLASSES, TRAIN, TEST = 10, 50, 20
IPC, BATCH, LOSSES, OPTIMIZERS = 10, 50, 6, 3
BOARD = """
dataset = "folder/data"
model = "{student}"
teacher = {{ model = "{teacher}", epochs = 1 }}
protocol = {{ name = "smoke", epochs = {epochs} }}
losses = ["gift", "kl", "kl(rescale)", "mse", "soft_ce", "gift(gamma=0.3)"]
seeds = {seeds}
sets = [{{ method = "random", ipc = 10 }}]
scenarios = ["cross-optimizer"]
"""


@dataclass(frozen=True)
class Job:
    """A board's student and teacher, and the side of its images in pixels."""

    student: str
    teacher: str
    side: int

    def __str__(self) -> str:
        taught = "" if self.teacher == self.student else f", teacher {self.teacher}"
        return f"{self.student}, {self.side} px{taught}"


JOBS = {
    "wide": Job("convnet3(width=128)", "convnet3(width=128)", 32),
    "narrow": Job("convnet3(width=32)", "convnet3(width=32)", 16),
    "taught": Job("convnet3(width=64)", "resnet18", 32),
}


def draw(folder: Path, side: int) -> None:
    """Write a dataset as class folders of PNGs: noise around a picture of each class."""
    stream = numpy.random.default_rng(0)
    pictures = stream.integers(0, 256, (CLASSES, side, side, 3))
    for split, count in (("train", TRAIN), ("test", TEST)):
        for number, picture in enumerate(pictures):
            place = folder / "data" / split / f"class{number}"
            place.mkdir(parents=True)
            for image in range(count):
                pixels = picture // 2 + stream.integers(0, 128, picture.shape)
                Image.fromarray(pixels.astype("uint8")).save(place / f"{image}.png")


def costs(folder: Path, job: Job, commands: list[str], rounds: int, seeds: int, epochs: int) -> Iterator[list[Cost]]:
    """Yield what each command costs on a job's board, round by round."""
    draw(folder, job.side)
    text = BOARD.format(student=job.student, teacher=job.teacher, seeds=seeds, epochs=epochs)
    for _ in range(rounds):
        spent = []
        for command in commands:
            run = folder / "run"
            run.mkdir()
            (run / "board.toml").write_text(text, "utf-8")
            spent.append(cost([command, "run", str(run), "--device", "cpu", "--data-dir", str(folder)], run / "home"))
            shutil.rmtree(run)
        yield spent


def bare(job: Job, trainings: int, epochs: int) -> float:
    """Return the CPU seconds of the bare steps of so many trainings, a process on each of two cores, both at once.

    A step is the teacher and the student forward, backward and a fused optimizer's step, by torch alone, on batches that lie
    ready; nothing is loaded, altered, tested or written.
    """
    shares = [trainings // 2, trainings - trainings // 2]
    programs = [f"from tests.benchmarks.whole import Job, steps\nprint(steps({job!r}, {share}, {epochs}))" for share in shares]
    running = [subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) for program in programs]
    return sum(float(process.communicate()[0]) for process in running)


def steps(job: Job, trainings: int, epochs: int) -> float:
    """Return the CPU seconds of the bare steps of so many trainings, one after the other in this process, on one thread."""
    import torch

    from harness.running.executors import memory
    from tests.benchmarks import loops

    torch.set_num_threads(1)
    memory.keep_freed()
    given = loops.job(job.student, job.side, CLASSES * IPC, BATCH, epochs)
    taught = loops.job(job.teacher, job.side, CLASSES * IPC, BATCH).teacher
    run = loops.bare_steps(replace(given, teacher=taught))
    started = time.process_time()
    for _ in range(trainings):
        run("float32")
    return time.process_time() - started


def row(job: Job, rounds: list[list[Cost]], steps: list[float]) -> list[str]:
    """Return the cells of a board: what, medians of CPU and wall seconds of both sides, the median ratios of CPU seconds.

    Args:
        steps: CPU seconds of the bare steps, round by round; none where they were not asked for.
    """
    ours, theirs = zip(*rounds, strict=True)
    ratio = median(a.cpu / b.cpu for a, b in rounds)
    seconds = [f"{median(c.cpu for c in side):.1f}, {median(c.wall for c in side):.0f}" for side in (ours, theirs)]
    cells = [str(job), *seconds, f"{ratio:.2f}", "", "", str(len(rounds))]
    if steps:
        cells[4:6] = f"{median(steps):.1f}", f"{median(c.cpu / each for c, each in zip(ours, steps, strict=True)):.2f}"
    return cells


HEAD = (
    "six losses, three optimizers, three seeds",
    "this: CPU, wall seconds",
    "other",
    "this / other, CPU",
    "bare steps: CPU seconds",
    "this / bare steps",
    "rounds",
)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--against", metavar="GIFTBENCH", required=True, help="the command of another version")
    parser.add_argument("--board", action="append", choices=[*JOBS], help="only this one (repeatable)")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--bare", action="store_true", help="the bare steps of the same trainings, too")
    chosen = parser.parse_args()
    cells = []
    for name in chosen.board or JOBS:
        with tempfile.TemporaryDirectory() as folder:
            commands, measured, of_steps = [GIFTBENCH, chosen.against], [], []
            for spent in costs(Path(folder), JOBS[name], commands, chosen.rounds, chosen.seeds, chosen.epochs):
                measured.append(spent)
                if chosen.bare:
                    of_steps.append(bare(JOBS[name], LOSSES * OPTIMIZERS * chosen.seeds, chosen.epochs))
                said = "".join(f", bare steps {each:.1f}" for each in of_steps[-1:])
                print(f"{name}: {spent[0].cpu:.1f} against {spent[1].cpu:.1f} CPU seconds{said}", file=sys.stderr, flush=True)
        cells.append(row(JOBS[name], measured, of_steps))
    print(tabulate(cells, HEAD, "pipe", colalign=("left", *["right"] * 6), disable_numparse=True))
    print(f"\nMedians of rounds taken in turn. Measured on {machine()}.")


if __name__ == "__main__":
    main()
