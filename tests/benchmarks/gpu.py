"""Everything that a GPU has to show: correctness, the GPU's tests, speed, and a board's records.

    python tests/benchmarks/gpu.py --out FOLDER --data-dir FOLDER_OF_FASHION_MNIST
    python tests/benchmarks/gpu.py --out FOLDER --data-dir FOLDER_OF_FASHION_MNIST --part Board --seconds 590   # the board, whole
    python tests/benchmarks/gpu.py --out FOLDER --device cpu --tiny      # the same steps at toy sizes, as the tests run it

Writes `report.md` and `report.json` after every part, so that a run that is cut off leaves what it has; the board and its
records lie in `FOLDER/boards`. A part that fails says so in the report and does not end the others; one that needs more than
is left of `--seconds` is skipped, and says that. Ratios are medians of rounds in which both sides were timed in turn.
"""

from __future__ import annotations

import argparse
import faulthandler
import os
import shutil
import signal
import statistics
import subprocess
import sys
import time
import traceback
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from harness import continual, losses
from harness.core.spec import Spec
from harness.losses.targets import Targets
from harness.running.executors.work import versions
from harness.training.captured_tests import CapturedTests
from harness.training.devices import arithmetic, device_name
from harness.training.evaluation import evaluate
from harness.training.graphs import Captured
from harness.training.loop import fit, fit_together
from harness.training.overlap import AskedTogether, Graphs, Overlapped
from harness.training.values import Material, Recipe
from tests.benchmarks import loops
from tests.benchmarks.gpu_sides import (
    TINY,
    Report,
    Sizes,
    again,
    bare_step,
    captured,
    cudnn,
    in_turn,
    material,
    members,
    overlapped,
    ratio,
    recipe,
    repeated,
    student,
    wait,
)

ROOT = Path(__file__).resolve().parents[2]
BOARD = Path(__file__).parent / "boards" / "fashion-mnist-paper"
TINY_BOARD = """
title = "Tiny"
dataset = "digits"
model = "convnet1(width=8)"
teacher = { model = "convnet1(width=8)", epochs = 1 }
protocol = "smoke"
losses = ["gift", "kl"]
seeds = 2
sets = [{ method = "random", ipc = 1 }]
scenarios = ["cross-optimizer"]
"""


#: Of the naive loop three times, by three seeds in the fastest way, by precision.
TARGETS = {"float32": "≥ 15", "tf32": "", "bf16": "≥ 35"}


@dataclass(frozen=True)
class Setting:
    """Where parts run, how much of each, and until when, on the clock of `time.monotonic`."""

    device: torch.device
    sizes: Sizes
    out: Path
    data_dir: Path | None
    board: Path
    tiny: bool
    until: float

    @property
    def convnet(self) -> str:
        return f"convnet3(width={self.sizes.width})"

    @property
    def left(self) -> float:
        """Seconds that are left."""
        return self.until - time.monotonic()

    @property
    def precisions(self) -> tuple[str, ...]:
        return ("float32", "bf16") if self.device.type == "cuda" else ("float32",)


# -- parts -------------------------------------------------------------------------------------------------------------------


def against_the_cpu(setting: Setting) -> Iterator[dict[str, Any]]:
    """The same training here and on the CPU, in float64 from the same weights without random augmentation: logits afterwards."""
    side, cpu = setting.sizes.side, torch.device("cpu")
    for model in (setting.convnet, "resnet18-modified"):
        logits = []
        for device in (cpu, setting.device):
            data = material(side, 12, device)
            data = replace(data, images=data.images.double())
            teacher = student(setting.convnet, side, 99, device).double().eval()
            network = student(model, side, 0, device).double()
            steps = replace(recipe(4, 2), augmentation="none")
            fit(network, data, losses.create("gift"), steps, seed=0, teacher=teacher)
            with torch.no_grad():
                logits.append(network.eval()(data.images).cpu())
        gap = (logits[1] - logits[0]).abs().max() / logits[0].abs().max()
        yield {"what": f"{model}: largest gap of logits, relative", "found": float(gap), "target": "≤ 1e-6"}


def together_and_alone(setting: Setting) -> Iterator[dict[str, Any]]:
    """Three seeds stacked, captured, and step by step, in float64: weights afterwards."""
    side, sizes = setting.sizes.side, setting.sizes
    data = material(side, min(sizes.images, 40), setting.device)
    data = replace(data, images=data.images.double())
    teacher = student(setting.convnet, side, 99, setting.device).double().eval()
    steps = recipe(10, 2)

    def trained(how: str) -> Tensor:
        group = members(setting, setting.convnet, side, 3)
        for member in group:
            member.student.double()
        if how == "step by step":
            for member in group:
                fit(member.student, data, member.loss, steps, seed=member.seed, teacher=teacher)
        elif how == "stacked":
            fit_together(group, data, steps, teacher=teacher)
        elif how == "stacked and captured":
            captured(group, data, steps, teacher).fit(group, steps)
        elif how in ("side by side", "asked together"):
            kind = AskedTogether if how == "asked together" else Overlapped
            overlapped(group, data, steps, teacher, kind).fit(group, steps)
        else:
            graphs = captured(group[:1], data, steps, teacher)
            for member in group:
                graphs.fit([member], steps)
        return torch.cat([value.detach().flatten() for member in group for value in member.student.parameters()])

    expected = trained("step by step")
    for how in ("captured", "side by side", "asked together", "stacked", "stacked and captured"):
        gap = float((trained(how) - expected).abs().max() / expected.abs().max())
        yield {"what": f"{how} against step by step: largest gap of weights, relative", "found": gap, "target": "≤ 1e-5"}


def tests(setting: Setting) -> Iterator[dict[str, Any]]:
    """The tests that are marked for a GPU."""
    chosen = ["tests/training/test_graphs.py"] if setting.tiny else ["tests"]
    command = [sys.executable, "-m", "pytest", "-m", "gpu", "-q", "-p", "no:xdist", "-p", "no:cacheprovider", *chosen]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    (setting.out / "gpu-tests.txt").write_text(done.stdout + done.stderr)
    last = (done.stdout.strip().splitlines() or [""])[-1]
    yield {"what": "pytest -m gpu", "found": last, "exit status": done.returncode}
    if done.returncode:
        raise RuntimeError("the GPU's tests failed; see gpu-tests.txt")


def three_seeds(setting: Setting) -> Iterator[dict[str, Any]]:
    """Three seeds of ConvNet-3, by ours and by the naive loop three times."""
    sizes, device = setting.sizes, setting.device
    batch = max(4, sizes.images // 10)
    data, teacher = material(sizes.side, sizes.images, device), student(setting.convnet, sizes.side, 99, device).eval()
    ways: dict[str, Callable[[], object]] = {}
    for precision in ("float32", "tf32", "bf16") if device.type == "cuda" else ("float32",):
        steps = recipe(batch, sizes.epochs, precision)
        three = members(setting, setting.convnet, sizes.side, 3)
        made: dict[str, Captured | Overlapped] = {
            "one by one": captured(three[:1], data, steps, teacher),
            "side by side": overlapped(three, data, steps, teacher),
            "side by side, asked together": overlapped(three, data, steps, teacher, AskedTogether),
            "stacked": captured(three, data, steps, teacher),
        }
        for way, graphs in made.items():
            ways[f"three seeds {way}, {precision}"] = partial(train_three, setting, graphs, steps)

    def naive() -> None:
        with cudnn(deterministic=False, tf32=True):  # as torch comes
            for seed in range(3):
                naive_training(setting, data, teacher, batch, seed)

    users, *ours = in_turn(setting, naive, *ways.values(), warmups=0)  # the graphs are warm, and users have no warm-up either
    what = f"{setting.convnet}, {sizes.images} images of {sizes.side} px, {sizes.epochs} epochs: naive loop three times"
    for way, times in zip(ways, ours, strict=True):
        yield ratio(f"{what} / {way}", users, times, TARGETS[way.rpartition(" ")[2]])


def train_three(setting: Setting, graphs: Captured | Overlapped, steps: Recipe) -> None:
    """Train fresh students of three seeds, as many at a time as were captured together."""
    each = len(graphs.parts) if isinstance(graphs, Overlapped) else len(graphs.job.members)
    for first in range(0, 3, each):
        graphs.fit(members(setting, setting.convnet, setting.sizes.side, each, first), steps)


def naive_training(setting: Setting, data: Material, teacher: nn.Module, batch: int, seed: int) -> None:
    """The published protocol on a GPU: images on the host, four workers, float32, loss and accuracies read at every step."""
    host = loops.Job(nn.Identity(), teacher, data.images.cpu().contiguous(), data.labels.cpu(), losses.create("gift"), batch)
    network = student(setting.convnet, setting.sizes.side, seed, setting.device).to(memory_format=torch.contiguous_format)
    optimizer, batches = loops.adamw(network), loops.loader(host, batch, shuffle=True)
    for _ in range(setting.sizes.epochs):
        network.train()
        for images, labels in batches:
            images, labels = images.to(setting.device), labels.to(setting.device)
            images = loops.naive_augment(images)
            with torch.no_grad():
                soft = teacher(images)
            logits = network(images)
            loss = host.loss(logits, Targets(labels, soft))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            found = logits.topk(5, 1)[1].eq(labels[:, None])
            _ = loss.item(), found[:, :1].sum().item(), found.sum().item()


def near_the_bare_step(setting: Setting) -> Iterator[dict[str, Any]]:
    """A captured step (index, augmentation, teacher, student, backward, optimizer) against the bare network step in a graph."""
    sizes, device = setting.sizes, setting.device
    for model, side, batch in ((setting.convnet, sizes.side, min(100, sizes.images)), *sizes.others):
        for precision in ("float32", "bf16"):
            data, teacher = material(side, batch, device), student(setting.convnet, side, 99, device).eval()
            steps = recipe(batch, 1, precision)
            ours = captured(members(setting, model, side, 1), data, steps, teacher)
            with arithmetic(device, precision):
                bare = bare_step(student(model, side, 0, device), teacher, data, steps)
                with cudnn(deterministic=False, tf32=torch.backends.cudnn.allow_tf32):
                    free = bare_step(student(model, side, 0, device), teacher, data, steps)
            _, replay = ours.replays[max(ours.replays)]
            mine, its, fastest = in_turn(setting, *(repeated(step, 3 if setting.tiny else 50) for step in (replay, bare, free)))
            what = f"{model}, {side} px, batch {batch}, {precision}: captured step / bare step in a graph"
            yield ratio(what, mine, its)
            yield ratio(f"{what}, which need not be deterministic", mine, fastest)


def stacks(setting: Setting) -> Iterator[dict[str, Any]]:
    """Seconds of a step a training, by how many are stacked: what the harness measures to choose."""
    sizes, device = setting.sizes, setting.device
    batches, repeats = ((10, 50, 100), 50) if not setting.tiny else ((4,), 3)
    kinds = [(setting.convnet, sizes.side, batch) for batch in batches] + [*sizes.others]
    for model, side, batch in kinds:
        data, teacher = material(side, batch, device), student(setting.convnet, side, 99, device).eval()
        for precision in ("float32", "bf16"):
            row: dict[str, Any] = {"what": f"{model}, {side} px, batch {batch}, {precision}: ms a step and training"}
            counts = sizes.stacks if model == setting.convnet and batch < 100 else sizes.stacks[:2]
            for count in counts:
                made = captured(members(setting, model, side, count), data, recipe(batch, 1, precision), teacher)
                row[f"stack of {count}"] = 1000 * made.seconds_per_step(repeats) / count
            for count in counts[1:]:
                beside = overlapped(members(setting, model, side, count), data, recipe(batch, 1, precision), teacher)
                row[f"{count} side by side"] = 1000 * beside.seconds_per_step(repeats) / count
            yield row


def evaluation(setting: Setting) -> Iterator[dict[str, Any]]:
    """A test of the split, captured, against the one that launches its kernels one by one."""
    sizes = setting.sizes
    data = material(sizes.side, sizes.tests, setting.device)
    for model in (setting.convnet, *(() if setting.tiny else ("efficientnet-b0",))):
        network = student(model, sizes.side, 0, setting.device)
        for precision in setting.precisions:
            tests = CapturedTests(None if setting.device.type == "cuda" else again)
            sides = (partial(evaluate, network, data, precision, tests=each) for each in (tests, None))  # type: ignore[arg-type]
            mine, its = in_turn(setting, *sides)
            if tests.latest is None:
                raise RuntimeError(f"{model}: the test was not captured")
            row = ratio(f"{model}, {sizes.tests} images, {precision}: captured test / batch by batch", mine, its)
            yield row | {"images a second": sizes.tests / statistics.median(mine)}


def class_incremental(setting: Setting) -> Iterator[dict[str, Any]]:
    """A stream of five steps by Avalanche's naive strategy, hooks and all, against as many captured steps of a plain training."""
    sizes, device = setting.sizes, setting.device
    batch, epochs = max(4, sizes.images // 10), 5 * sizes.epochs
    data, teacher = material(sizes.side, sizes.images, device), student(setting.convnet, sizes.side, 99, device).eval()
    for precision in setting.precisions:
        steps, count = recipe(batch, epochs, precision), dict[str, int]()
        graphs = Graphs(None if device.type == "cuda" else again)
        (one,) = members(setting, setting.convnet, sizes.side, 1)
        plain = captured([one], data, steps, teacher)

        def stream(steps: Recipe = steps, graphs: Graphs = graphs, count: dict[str, int] = count) -> None:
            with warnings.catch_warnings(record=True):  # Avalanche's own
                strategy = stream_learner(setting, data, teacher, steps, graphs)
                for experience in continual.stream.benchmark(data, range(loops.CLASSES), [2] * 5).train_stream:
                    strategy.train(experience, eval_streams=[])
            if strategy.trained != "captured" or strategy.uncaptured:
                raise RuntimeError(f"steps of the stream were not captured: {dict(strategy.uncaptured)}")
            count["stream"] = strategy.steps

        def training(plain: Captured = plain, steps: Recipe = steps, count: dict[str, int] = count) -> None:
            (fit,) = plain.fit(members(setting, setting.convnet, sizes.side, 1), steps)
            count["training"] = fit.steps

        mine, its = in_turn(setting, stream, training)
        mine, its = ([seconds / count[name] for seconds in times] for name, times in (("stream", mine), ("training", its)))
        what = f"{setting.convnet}, {sizes.side} px, batch {batch}, {precision}"
        yield ratio(f"{what}: class-incremental step / captured cross-optimizer step", mine, its, "≤ 1.5")


def stream_learner(setting: Setting, data: Material, teacher: nn.Module, steps: Recipe, graphs: Graphs) -> Any:
    """Return the naive strategy, ready to train along a stream."""
    network, side = student(setting.convnet, setting.sizes.side, 0, setting.device), setting.sizes.side
    room = continual.loop.Room(len(data.labels), len(data.labels), steps.batch_size)
    strategy = continual.loop.create(Spec(name="Naive"), network, room, str(setting.device), (3, side, side))
    strategy.prepare(data, steps, losses.create("gift"), teacher, loops.CLASSES, seed=0, sliced=True)
    strategy.graphs = graphs
    return strategy


#: Seconds that compiling a network and timing it may take; what needs more than is left is skipped.
COMPILING = 120.0


def compiling(setting: Setting) -> Iterator[dict[str, Any]]:
    """The bare step of a network as it is against that of the compiled one, and after how many steps compiling has paid."""
    side, batch = setting.sizes.side, min(50, setting.sizes.images)
    for model in ("convnet1(width=4)",) if setting.tiny else ("efficientnet-b0", "swin-v2-tiny"):
        for precision in setting.precisions[-1:]:  # the one in which large networks are trained
            what = f"{model}, {side} px, batch {batch}, {precision}: bare step / compiled"
            if setting.left < COMPILING and not setting.tiny:
                yield {"what": what, "skipped": f"{setting.left:.0f} s are left, and it may take {COMPILING:.0f}"}
                continue
            data, teacher = material(side, batch, setting.device), student(setting.convnet, side, 99, setting.device).eval()
            steps, sides, seconds = recipe(batch, 1, precision), [], []
            with arithmetic(setting.device, steps.precision):
                for compiled in (False, True):
                    network = student(model, side, 0, setting.device)
                    if compiled:
                        network.compile(backend="eager" if setting.tiny else "inductor")
                    started = time.perf_counter()
                    sides.append(bare_step(network, teacher, data, steps))
                    sides[-1]()
                    wait(setting.device)
                    seconds.append(time.perf_counter() - started)
                its, mine = in_turn(setting, *(repeated(step, 3 if setting.tiny else 30) for step in sides))
            spared = (statistics.median(its) - statistics.median(mine)) / (3 if setting.tiny else 30)
            pays = (seconds[1] - seconds[0]) / spared if spared > 0 else float("inf")
            yield ratio(what, its, mine) | {"compiled in s": seconds[1] - seconds[0], "pays after steps": pays}


def board(setting: Setting) -> Iterator[dict[str, Any]]:
    """The board, run by the command that a user types; its records are what is brought home."""
    folder = setting.out / "boards" / setting.board.name
    folder.mkdir(parents=True, exist_ok=True)
    if setting.tiny:
        (folder / "board.toml").write_text(TINY_BOARD)
    else:
        shutil.copy(setting.board / "board.toml", folder)
    data = ["--data-dir", str(setting.data_dir)] if setting.data_dir else []
    command = [sys.executable, "-m", "harness.cli", "run", str(folder), "--device", str(setting.device), *data]
    started, left = time.perf_counter(), max(20.0, setting.left - 30)
    paths = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    with (setting.out / "board.txt").open("w") as log:
        run = subprocess.Popen(command, cwd=ROOT, stdout=log, stderr=log, env=os.environ | {"PYTHONPATH": paths})
        try:
            run.wait(left)
        except subprocess.TimeoutExpired:
            run.send_signal(signal.SIGINT)  # what is done has its record
            run.wait(25)
    seconds = time.perf_counter() - started
    records = len([*(folder / "records").glob("*.json")])
    row = {"what": setting.board.name, "records": records, "exit status": run.returncode, "seconds": seconds, "target": "≤ 600 s"}
    yield row | {"trainings an hour": 3600 * records / seconds}
    if run.returncode:
        raise RuntimeError(f"the board did not run through in {seconds:.0f} s; see board.txt")


PARTS: dict[str, Callable[[Setting], Iterator[dict[str, Any]]]] = {
    "Against the CPU": against_the_cpu,
    "Together and alone": together_and_alone,
    "Tests": tests,
    "Three seeds": three_seeds,
    "Near the bare step": near_the_bare_step,
    "Stacks": stacks,
    "Evaluation": evaluation,
    "Class-incremental": class_incremental,
    "Compiling": compiling,
    "Board": board,
}

#: Seconds that parts take on an H200, where that is more than half a minute.
NEEDED = {"Tests": 60.0, "Three seeds": 90.0, "Near the bare step": 60.0, "Stacks": 120.0, "Board": 300.0}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run all parts, or those that are named; return 1 when one of them failed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--out", type=Path, default=Path(os.environ.get("OUT", "gpu-report")))
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--data-dir", type=Path)
    parser.add_argument("--board", type=Path, default=BOARD)
    parser.add_argument("--part", action="append", choices=[*PARTS], help="only this part (repeatable)")
    parser.add_argument("--rounds", type=int, help="how often the sides of a ratio are timed")
    parser.add_argument("--tiny", action="store_true", help="toy sizes, for a CPU")
    parser.add_argument("--seconds", type=float, default=570.0, help="how long all parts may take")
    given = parser.parse_args(arguments)
    until = time.monotonic() + given.seconds
    faulthandler.enable()
    out = given.out.resolve()
    out.mkdir(parents=True, exist_ok=True)
    sizes = TINY if given.tiny else Sizes()
    sizes = replace(sizes, rounds=given.rounds or sizes.rounds)
    setting = Setting(torch.device(given.device), sizes, out, given.data_dir, given.board, given.tiny, until)
    report = Report(out, {"device": device_name(given.device), **versions(("avalanche-lib",))})
    failed = False
    for name in given.part or PARTS:
        rows: list[dict[str, Any]] = []
        needed = 0.0 if setting.tiny else NEEDED.get(name, 30.0)
        if setting.left < needed:
            report.add(name, [{"what": "skipped", "reason": f"{setting.left:.0f} s are left, and it takes some {needed:.0f}"}])
            continue
        try:
            rows.extend(PARTS[name](setting))
        except Exception as error:
            failed = True
            (out / f"{name.lower().replace(' ', '-')}-error.txt").write_text(traceback.format_exc())
            rows.append({"what": "failed", "error": f"{type(error).__name__}: {error}"[:500]})
        report.add(name, rows)
        if setting.device.type == "cuda":
            torch.cuda.empty_cache()
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
