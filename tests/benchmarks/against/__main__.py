"""`python -m tests.benchmarks.against`: the same job by every side in turn, in fresh processes; CPU seconds and accuracies.

Teacher and distilled set are made once and lie ready for all. `giftbench run` tests each training four times, as the paper has;
the others once as often as their own documents have it, and once as often as `giftbench run`.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import logging
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import mean, median

from tabulate import tabulate

from harness import datasets, models
from harness.boards.records import RecordStore
from harness.core.cores import cores
from harness.distilled.set import DistilledSet
from harness.files import safetensors
from tests.benchmarks.against.job import TESTS, Job
from tests.benchmarks.ratios import Place, machine
from tests.benchmarks.startup import GIFTBENCH, Cost, cost

ROOT = Path(__file__).parents[3]
PLACE = Place("giftbench-against")
LOSSES = ("gift", "kl", "ce")
IPC, BATCH = 10, 50
#: The loss of the released code is `gift_reference` here.
BOARD = """
dataset = "{dataset}"
model = "convnet3(width={width})"
teacher = {{ model = "convnet3(width={width})", epochs = {teacher_epochs} }}
protocol = {{ name = "paper", epochs = {epochs}, batch_size = {batch} }}
losses = ["gift_reference", "kl", "ce"]
seeds = {seeds}
sets = [{{ method = "rded", min_scale = 0.5, ipc = {ipc} }}]
scenarios = ["loss-comparison"]
"""
OURS, BARE = "`giftbench run`", "bare steps and tests, 1 thread"


@dataclass(frozen=True)
class Size:
    """How long the job is on a dataset, and how many times the CPU seconds of `giftbench run` each side should take at least."""

    epochs: int
    teacher_epochs: int
    targets: Mapping[str, float] = field(default_factory=dict)


SIZES = {
    "digits": Size(80, 10, {"GIFT's released loop": 3, "Avalanche": 2, "DD-Ranking's loop": 6}),
    "fashion-mnist": Size(20, 1, {"GIFT's released loop": 6, "DD-Ranking's loop": 4}),
}
#: The modules of the other sides, and whether each loss has a process of its own.
SIDES = {
    "GIFT's released loop": ("gift", True),
    "Avalanche": ("avalanche_naive", False),
    "DD-Ranking's loop": ("dd_ranking", True),
    BARE: ("bare", False),
}


@dataclass(frozen=True)
class Result:
    """What a side cost, and its accuracies at the last test by loss, in percent."""

    cost: Cost
    accuracies: Mapping[str, Sequence[float]]


@dataclass(frozen=True)
class Bench:
    """A folder with a board of `dataset` whose teacher and set lie ready, and the same as a `Job`."""

    folder: Path
    dataset: str
    epochs: int
    teacher_epochs: int
    width: int = 64
    seeds: int = 3

    @property
    def home(self) -> Path:
        return self.folder / "home"

    def prepare(self) -> None:
        """Make the teacher and the set, and write the job, unless they are there."""
        board = self.folder / "board"
        board.mkdir(parents=True, exist_ok=True)
        facts = {"dataset": self.dataset, "width": self.width, "teacher_epochs": self.teacher_epochs, "epochs": self.epochs}
        (board / "board.toml").write_text(BOARD.format(**facts, batch=BATCH, seeds=self.seeds, ipc=IPC), "utf-8")
        environment = {**os.environ, "GIFTBENCH_HOME": str(self.home)}
        how = ["--seeds", "1", "--loss", "ce", "--protocol", "smoke"]
        subprocess.run([GIFTBENCH, "run", str(board), *how], check=True, env=environment, stdout=subprocess.DEVNULL)
        for left in board.iterdir():
            if left.name not in ("board.toml", "artefacts"):
                shutil.rmtree(left) if left.is_dir() else left.unlink()
        self.job().save(self.folder / "job.pt")

    def job(self) -> Job:
        """Return what the board's trials train on, for those who do not know boards."""
        data = datasets.load(self.dataset)
        (teacher,) = self.home.glob("artefacts/teacher-*.safetensors")
        files = self.folder.glob("board/artefacts/*.safetensors")
        (distilled,) = (DistilledSet.load(file) for file in files if file.name != teacher.name)
        network = models.build(f"convnet3(width={self.width})", data.shape, len(data.classes))
        network.load_state_dict(safetensors.load(teacher, "a teacher file")[1])
        return Job(
            *(distilled.images, distilled.labels, data.test.images, data.test.labels),
            *(tuple(data.mean), tuple(data.std), len(data.classes)),
            *(tuple(network.state_dict().values()), self.width, self.epochs, BATCH),
        )

    def ours(self) -> Result:
        """Run the board, whole."""
        board = shutil.copytree(self.folder / "board", self.folder / "run", dirs_exist_ok=True)
        spent = cost([GIFTBENCH, "run", str(board)], self.home)
        accuracies: dict[str, list[float]] = {}
        for record in RecordStore(board / "records"):
            loss = record.trial.loss.name.removesuffix("_reference")
            accuracies.setdefault(loss, []).append(record.metrics["accuracy"])
        shutil.rmtree(board)
        if {name: len(found) for name, found in accuracies.items()} != dict.fromkeys(LOSSES, self.seeds):
            raise RuntimeError(f"giftbench run left records of {accuracies}, not of {self.seeds} seeds of {', '.join(LOSSES)}")
        return Result(spent, accuracies)

    def theirs(self, name: str, tests: int, threads: int) -> Result:
        """Run another side. `tests` of each training, 0: as many as its documents say; `threads` 0: as torch comes."""
        module, apart = SIDES[name]
        spent: list[Cost] = []
        accuracies: dict[str, list[float]] = {}
        out = self.folder / "accuracies.json"
        for losses in [[loss] for loss in LOSSES] if apart else [LOSSES]:
            out.unlink(missing_ok=True)
            called = [f"--loss={loss}" for loss in losses]
            how = [f"--seeds={self.seeds}", f"--tests={tests}", f"--threads={threads}"]
            started = [sys.executable, "-m", f"tests.benchmarks.against.{module}", str(self.folder / "job.pt"), str(out)]
            command = ["env", f"PYTHONPATH={ROOT}", *started, *called, *how]
            spent.append(cost(command, self.home))
            if not out.exists():
                raise RuntimeError(f"{name} did not end well; its command is {' '.join(command)}")
            accuracies |= json.loads(out.read_text("utf-8"))
        return Result(Cost(sum(each.cpu for each in spent), sum(each.wall for each in spent)), accuracies)


def own_tests(name: str, epochs: int) -> int:
    """How often a side tests each training by its own documents."""
    return {"Avalanche": 1, "DD-Ranking's loop": max(1, epochs // 20)}.get(name, TESTS)


#: Results of all sides, by name and tests of each training, round by round.
Results = dict[tuple[str, int], list[Result]]


def measured(bench: Bench, rounds: int, threads: int, sides: Sequence[str] = tuple(SIDES)) -> Iterator[Results]:
    """Run all sides in turn; yield after each round the results so far."""
    results: Results = {}
    turns = [(OURS, TESTS), *((side, tests) for side in sides for tests in sorted({own_tests(side, bench.epochs), TESTS}))]
    for number in range(rounds):
        for name, tests in turns:
            result = bench.ours() if name == OURS else bench.theirs(name, tests, threads)
            results.setdefault((name, tests), []).append(result)
            found = ", ".join(f"{loss} {mean(accuracies):.1f} %" for loss, accuracies in result.accuracies.items())
            spent = f"{result.cost.cpu:.1f} CPU seconds, {result.cost.wall:.0f} wall seconds"
            print(f"round {number + 1}: {name}, {tests} tests: {spent}; {found}", file=sys.stderr, flush=True)
        yield results


def rows(
    bench: Bench, results: Mapping[tuple[str, int], Sequence[Result]], targets: Mapping[str, float], threads: int
) -> list[list[str]]:
    """Return the cells of the table: a side a row, medians of the rounds. `threads` are torch's in the others' processes."""
    ours = results[OURS, TESTS]

    def seconds(name: str, tests: int) -> str:
        return f"{median(result.cost.cpu for result in results[name, tests]):.1f}"

    def times(name: str, tests: int) -> str:
        return f"{median(a.cost.cpu / b.cost.cpu for a, b in zip(results[name, tests], ours, strict=True)):.2f}"

    cells = []
    for name in dict.fromkeys(name for name, _ in results):
        own = own_tests(name, bench.epochs)
        target = f"≥ {targets[name]:g}" if name in targets else ""
        accuracies = results[name, own][0].accuracies
        found = [f"{mean(accuracies[loss]):.1f}" for loss in LOSSES]
        wall = f"{median(result.cost.wall for result in results[name, own]):.0f}"
        side = name if name in (OURS, BARE) else f"{name}, {threads or cores()} threads"
        what = f"{bench.dataset}, {bench.epochs} epochs: {side}".replace(" 1 threads", " 1 thread")
        both = [seconds(name, own), times(name, own), target, seconds(name, TESTS), times(name, TESTS)]
        cells.append([what, str(own), str(len(ours)), *both, wall, *found])
    return cells


NOTE = "Medians of rounds in which all sides were run in turn; accuracies are means of the seeds, at the last test."
HEAD = (
    *(
        "what",
        "tests",
        "rounds",
        "CPU seconds",
        "times ours",
        "target",
        f"CPU seconds, {TESTS} tests",
        f"times ours, {TESTS} tests",
    ),
    *("wall seconds", *(f"{loss}, %" for loss in LOSSES)),
)


def table(cells: Sequence[Sequence[str]], made_on: str) -> str:
    """Return the table as Markdown, and below it what it was made on."""
    aligned = ("left", *["right"] * (len(HEAD) - 1))
    rows = tabulate(cells, HEAD, "pipe", colalign=aligned, disable_numparse=True)
    return f"{rows}\n\n{NOTE} Measured on {made_on}.\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--dataset", choices=[*SIZES], default="digits")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--epochs", type=int, help="of each training, a multiple of 20; by default as the dataset has it")
    parser.add_argument("--threads", type=int, default=0, help="torch's threads in the others' processes; 0: as torch comes")
    parser.add_argument("--side", action="append", choices=[*SIDES], help="only this one beside ours (repeatable)")
    parser.add_argument("--folder", type=Path, help="keep teacher, set and job there, for a second call")
    parser.add_argument("--into", type=Path, metavar="FILE", help=f"put the rows between the markers {PLACE.start} of this file")
    chosen = parser.parse_args()
    if chosen.into:
        PLACE.around(chosen.into)
    logging.getLogger("giftbench").setLevel(logging.WARNING)
    size = SIZES[chosen.dataset]
    with contextlib.ExitStack() as stack:
        folder = chosen.folder or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        bench = Bench(folder.resolve(), chosen.dataset, chosen.epochs or size.epochs, size.teacher_epochs)
        bench.prepare()
        made_on = machine()
        for results in measured(bench, chosen.rounds, chosen.threads, chosen.side or tuple(SIDES)):
            cells = rows(bench, results, size.targets, chosen.threads)
            if chosen.into:  # after each round: a run that is cut off leaves what it has measured
                PLACE.insert(chosen.into, cells, made_on, lambda every: table(every, made_on))
    print(table(cells, made_on))


if __name__ == "__main__":
    main()
