"""Everything that a GPU has to show, in one call: correctness, the GPU's tests, speed, and a board's records.

    python tests/benchmarks/gpu.py --out FOLDER --data-dir FOLDER_OF_FASHION_MNIST
    python tests/benchmarks/gpu.py --out FOLDER --device cpu --tiny      # the same steps at toy sizes, as the tests run it

Writes `report.md` and `report.json` after every part, so that a run that is cut off leaves what it has; the board and its
records lie in `FOLDER/boards`. A part that fails says so in the report and does not end the others. Ratios are medians of rounds
in which both sides were timed in turn.
"""

from __future__ import annotations

import argparse
import faulthandler
import json
import os
import shutil
import statistics
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from tabulate import tabulate
from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from harness import losses, models
from harness.core import seeds
from harness.losses.targets import Targets
from harness.optimizers.optimizers import resolve, schedules
from harness.running.executors.work import device_name, versions
from harness.training.devices import arithmetic, autocast, on_device
from harness.training.evaluation import evaluate
from harness.training.graphs import Captured, cuda_graph
from harness.training.loop import fit, fit_together
from harness.training.overlap import Overlapped
from harness.training.values import Material, Member, Recipe
from tests.benchmarks import loops

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


@dataclass
class Report:
    """What was found, part by part: rows of a table, or the error."""

    folder: Path
    facts: dict[str, Any]
    parts: dict[str, list[dict[str, Any]]] = field(default_factory=dict)

    def add(self, name: str, rows: Sequence[dict[str, Any]]) -> None:
        self.parts[name] = [*rows]
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / "report.json").write_text(json.dumps({"facts": self.facts, "parts": self.parts}, indent=1) + "\n")
        (self.folder / "report.md").write_text(self.markdown())
        print(f"## {name}\n\n{self._table(name)}\n", flush=True)

    def markdown(self) -> str:
        facts = "\n".join(f"- {key}: {value}" for key, value in self.facts.items())
        return "\n\n".join(["# GPU report", facts, *(f"## {name}\n\n{self._table(name)}" for name in self.parts)]) + "\n"

    def _table(self, name: str) -> str:
        return tabulate(self.parts[name], headers="keys", tablefmt="pipe", floatfmt=".4g")


@dataclass(frozen=True)
class Sizes:
    """How much of each is done; `tiny` is for a CPU in seconds."""

    width: int = 128
    side: int = 32
    images: int = 1000
    epochs: int = 10
    rounds: int = 3
    tests: int = 10_000
    stacks: tuple[int, ...] = (1, 3, 6, 12)
    others: tuple[tuple[str, int, int], ...] = (("convnet4", 64, 50), ("resnet18-modified", 32, 50), ("resnet18", 32, 50))


TINY = Sizes(width=8, side=8, images=12, epochs=2, rounds=2, tests=40, stacks=(1, 2), others=(("convnet2(width=8)", 8, 4),))


@dataclass(frozen=True)
class Setting:
    device: torch.device
    sizes: Sizes
    out: Path
    data_dir: Path | None
    board: Path
    tiny: bool

    @property
    def convnet(self) -> str:
        return f"convnet3(width={self.sizes.width})"


# -- jobs and times ----------------------------------------------------------------------------------------------------------


def student(model: str, side: int, seed: int, device: torch.device) -> nn.Module:
    torch.manual_seed(seeds.derive(seed, "init"))
    return on_device(models.build(models.registry.resolve(model), (3, side, side), loops.CLASSES), device)


def material(side: int, images: int, device: torch.device) -> Material:
    pixels = torch.randn(images, 3, side, side, generator=torch.Generator().manual_seed(0))
    return Material.on_device(device, pixels, torch.arange(images) % loops.CLASSES)


def recipe(batch: int, epochs: int, precision: str = "float32") -> Recipe:
    adamw, constant = resolve("adamw"), schedules.resolve("constant")
    return Recipe(epochs, batch, adamw, constant, loops.STRATEGY, precision)  # type: ignore[arg-type]


def wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def in_turn(setting: Setting, *sides: Callable[[], object], warmups: int = 1) -> list[list[float]]:
    """Return the seconds of each side in each round."""
    found: list[list[float]] = [[] for _ in sides]
    for round_ in range(warmups + setting.sizes.rounds):
        for times, side in zip(found, sides, strict=True):
            wait(setting.device)
            started = time.perf_counter()
            side()
            wait(setting.device)
            if round_ >= warmups:
                times.append(time.perf_counter() - started)
    return found


def ratio(what: str, mine: Sequence[float], its: Sequence[float], target: str = "") -> dict[str, Any]:
    ratios = [a / b for a, b in zip(mine, its, strict=True)]
    seconds = f"{statistics.median(mine):.4g} / {statistics.median(its):.4g}"
    return {
        "what": what,
        "ratio": statistics.median(ratios),
        "lowest": min(ratios),
        "highest": max(ratios),
        "target": target,
        "seconds": seconds,
    }


def captured(members: Sequence[Member], given: Material, steps: Recipe, teacher: nn.Module) -> Captured:
    """Captured steps; on the CPU, where there is nothing to capture, steps that are made anew each time."""
    return Captured(members, given, steps, teacher, None if given.images.is_cuda else again)


def overlapped(members: Sequence[Member], given: Material, steps: Recipe, teacher: nn.Module) -> Overlapped:
    """Captured steps side by side, each on a stream of its own."""
    return Overlapped(members, given, steps, teacher, None if given.images.is_cuda else again)


def again(step: Callable[[], None], streams: Iterable[torch.Generator]) -> Callable[[], None]:
    return step


def members(setting: Setting, model: str, side: int, count: int, first: int = 0) -> list[Member]:
    shared = losses.create("gift")
    return [Member(student(model, side, first + number, setting.device), shared, first + number) for number in range(count)]


@contextmanager
def cudnn(*, deterministic: bool, tf32: bool) -> Iterator[None]:
    """Let cuDNN choose its kernels another way than the harness does."""
    flags = torch.backends.cudnn
    before = flags.deterministic, flags.allow_tf32
    flags.deterministic, flags.allow_tf32 = deterministic, tf32
    try:
        yield
    finally:
        flags.deterministic, flags.allow_tf32 = before


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
        elif how == "side by side":
            overlapped(group, data, steps, teacher).fit(group, steps)
        else:
            graphs = captured(group[:1], data, steps, teacher)
            for member in group:
                graphs.fit([member], steps)
        return torch.cat([value.detach().flatten() for member in group for value in member.student.parameters()])

    expected = trained("step by step")
    for how in ("captured", "side by side", "stacked", "stacked and captured"):
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
        yield ratio(f"{what} / {way}", users, times, "≥ 10")


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


def repeated(step: Callable[[], None], repeats: int) -> Callable[[], None]:
    """Return what makes a step so many times."""

    def steps() -> None:
        for _ in range(repeats):
            step()

    return steps


def bare_step(network: nn.Module, teacher: nn.Module, data: Material, steps: Recipe) -> Callable[[], None]:
    """Teacher, student, backward and optimizer on images that lie ready, captured."""
    fused = {"fused": True, "capturable": True} if data.images.is_cuda else {"fused": True}
    optimizer, loss, cast = loops.adamw(network, **fused), losses.create("gift"), autocast(data.images.device, steps.precision)
    network.train()

    def step() -> None:
        with torch.no_grad(), cast():
            soft = teacher(data.images).float()
        optimizer.zero_grad(set_to_none=True)
        with cast():
            logits = network(data.images)
        loss(logits.float(), Targets(data.labels, soft)).backward()
        optimizer.step()

    if not data.images.is_cuda:
        return step
    aside = torch.cuda.Stream(data.images.device)
    aside.wait_stream(torch.cuda.current_stream(data.images.device))
    with torch.cuda.stream(aside):
        for _ in range(3):
            step()
    torch.cuda.current_stream(data.images.device).wait_stream(aside)
    replay = cuda_graph(step, [])

    def bare() -> None:
        replay()

    bare.reads = step  # type: ignore[attr-defined]  # what a graph reads and writes has to outlive it
    return bare


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
    """Test images a second."""
    sizes = setting.sizes
    data, network = material(sizes.side, sizes.tests, setting.device), student(setting.convnet, sizes.side, 0, setting.device)
    for precision in ("float32", "bf16"):
        (times,) = in_turn(setting, lambda precision=precision: evaluate(network, data, precision))  # type: ignore[misc]
        seconds = statistics.median(times)
        yield {"what": f"{sizes.tests} images, {precision}", "seconds": seconds, "images a second": sizes.tests / seconds}


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
    started = time.perf_counter()
    paths = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env=os.environ | {"PYTHONPATH": paths})
    seconds = time.perf_counter() - started
    (setting.out / "board.txt").write_text(done.stdout + done.stderr)
    records = len([*(folder / "records").glob("*.json")])
    found = {"what": setting.board.name, "records": records, "exit status": done.returncode, "seconds": seconds}
    yield found | {"trainings an hour": 3600 * records / seconds}
    if done.returncode:
        raise RuntimeError("the board did not run through; see board.txt")


PARTS: dict[str, Callable[[Setting], Iterator[dict[str, Any]]]] = {
    "Against the CPU": against_the_cpu,
    "Together and alone": together_and_alone,
    "Tests": tests,
    "Three seeds": three_seeds,
    "Near the bare step": near_the_bare_step,
    "Stacks": stacks,
    "Evaluation": evaluation,
    "Board": board,
}


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
    given = parser.parse_args(arguments)
    faulthandler.enable()
    out = given.out.resolve()
    out.mkdir(parents=True, exist_ok=True)
    sizes = TINY if given.tiny else Sizes()
    sizes = replace(sizes, rounds=given.rounds or sizes.rounds)
    setting = Setting(torch.device(given.device), sizes, out, given.data_dir, given.board, given.tiny)
    report = Report(out, {"device": device_name(given.device), **versions(("avalanche-lib",))})
    failed = False
    for name in given.part or PARTS:
        rows: list[dict[str, Any]] = []
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
