"""Whole boards by this version and by another in turn, each from empty caches: seconds and memory of `giftbench run`.

`python -m tests.benchmarks.whole --against OTHER/bin/giftbench --board wide --board narrow` has six losses, three optimizers and
three seeds on images made at random, 54 trainings a board; `--bare` has these trainings' bare steps beside them. A board of one's
own is a file: `--board leaderboards/quickstart/board.toml --keep FOLDER`, whose records `python -m tests.compared
FOLDER/this-1 --other FOLDER/other-1` then compares. Linux only.
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

from tests.benchmarks import memory
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


@dataclass(frozen=True)
class Own:
    """A board's file, run as it is: without what lies beside it."""

    file: Path

    def __str__(self) -> str:
        return self.file.resolve().parent.name


@dataclass(frozen=True)
class Spent:
    """What a command cost, and the most memory that its processes held together (PSS), in bytes."""

    cost: Cost
    held: int = 0


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


def costs(
    folder: Path, job: Job | Own, commands: dict[str, str], rounds: int, seeds: int, epochs: int, keep: Path | None = None
) -> Iterator[list[Spent]]:
    """Yield what each command costs on a job's board, round by round.

    Args:
        commands: by the name of the folder, less the round's number, that each run's board has in `keep`.
    """
    if isinstance(job, Own):
        text, data = job.file.read_text("utf-8"), []
    else:
        draw(folder, job.side)
        text = BOARD.format(student=job.student, teacher=job.teacher, seeds=seeds, epochs=epochs)
        data = ["--data-dir", str(folder)]
    for number in range(1, rounds + 1):
        spent = []
        for name, command in commands.items():
            run = folder / "run"
            run.mkdir()
            (run / "board.toml").write_text(text, "utf-8")
            with memory.watched() as held:
                seconds = cost([command, "run", str(run), "--device", "cpu", *data], run / "home")
            spent.append(Spent(seconds, held[0]))
            if keep is not None:
                shutil.copytree(run, keep / f"{name}-{number}", ignore=shutil.ignore_patterns("home"))
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

    from harness.running.executors.memory import keep_freed
    from tests.benchmarks import loops

    torch.set_num_threads(1)
    keep_freed()
    given = loops.job(job.student, job.side, CLASSES * IPC, BATCH, epochs)
    taught = loops.job(job.teacher, job.side, CLASSES * IPC, BATCH).teacher
    run = loops.bare_steps(replace(given, teacher=taught))
    started = time.process_time()
    for _ in range(trainings):
        run("float32")
    return time.process_time() - started


def row(job: Job | Own, rounds: list[list[Spent]], steps: list[float]) -> list[str]:
    """Return the cells of a board: what, medians of CPU and wall seconds of both sides, the median ratios of seconds, memory.

    Args:
        steps: CPU seconds of the bare steps, round by round; none where they were not asked for.
    """
    ours, theirs = zip(*rounds, strict=True)
    seconds = [
        f"{median(spent.cost.cpu for spent in side):.1f}, {median(spent.cost.wall for spent in side):.0f}"
        for side in (ours, theirs)
    ]
    ratios = median(a.cost.cpu / b.cost.cpu for a, b in rounds), median(a.cost.wall / b.cost.wall for a, b in rounds)
    bare = ["", ""]
    if steps:
        bare = [f"{median(steps):.1f}", f"{median(a.cost.cpu / each for a, each in zip(ours, steps, strict=True)):.2f}"]
    held = [f"{median(spent.held for spent in side) / 1e9:.2f}" for side in (ours, theirs)]
    return [str(job), *seconds, ", ".join(f"{ratio:.2f}" for ratio in ratios), *bare, ", ".join(held), str(len(rounds))]


HEAD = (
    "board",
    "this: CPU, wall seconds",
    "other",
    "this / other: CPU, wall",
    "bare steps: CPU seconds",
    "this / bare steps",
    "memory, GB: this, other",
    "rounds",
)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--against", metavar="GIFTBENCH", required=True, help="the command of another version")
    parser.add_argument("--board", action="append", help=f"one of {', '.join(JOBS)}, or a board's file (repeatable)")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--bare", action="store_true", help="the bare steps of the same trainings, too; not of a board's file")
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="what the boards become: this-1, other-1, this-2, …")
    chosen = parser.parse_args()
    commands, cells = {"this": GIFTBENCH, "other": chosen.against}, []
    jobs = [JOBS.get(name) or Own(Path(name)) for name in chosen.board or JOBS]
    for job in jobs:
        if isinstance(job, Own) and not job.file.is_file():
            parser.error(f"--board {job.file}: neither one of {', '.join(JOBS)} nor a file")
    if chosen.keep is not None:
        if len(jobs) > 1 or (chosen.keep.is_dir() and any(chosen.keep.iterdir())):
            parser.error("--keep takes a folder that holds nothing, and what one --board becomes")
        chosen.keep.mkdir(parents=True, exist_ok=True)
    for job in jobs:
        with tempfile.TemporaryDirectory() as folder:
            measured, of_steps = [], []
            for spent in costs(Path(folder), job, commands, chosen.rounds, chosen.seeds, chosen.epochs, chosen.keep):
                measured.append(spent)
                if chosen.bare and isinstance(job, Job):
                    of_steps.append(bare(job, LOSSES * OPTIMIZERS * chosen.seeds, chosen.epochs))
                said = "".join(f", bare steps {each:.1f}" for each in of_steps[-1:])
                ours, theirs = (each.cost.cpu for each in spent)
                print(f"{job}: {ours:.1f} against {theirs:.1f} CPU seconds{said}", file=sys.stderr, flush=True)
        cells.append(row(job, measured, of_steps))
    print(tabulate(cells, HEAD, "pipe", colalign=("left", *["right"] * (len(HEAD) - 1)), disable_numparse=True))
    print(f"\nMedians of rounds taken in turn. Measured on {machine()}.")


if __name__ == "__main__":
    main()
