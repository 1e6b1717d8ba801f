"""What the parts of `gpu.py` share: sizes, jobs, both sides of a ratio timed in turn, and the report."""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import torch
from tabulate import tabulate
from torch import nn

from harness import losses, models
from harness.core import seeds
from harness.losses.targets import Targets
from harness.optimizers.optimizers import resolve, schedules
from harness.training.devices import autocast, on_device
from harness.training.graphs import Captured, cuda_graph
from harness.training.overlap import Overlapped
from harness.training.values import Material, Member, Recipe
from tests.benchmarks import loops


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


class Measured(Protocol):
    """Where sides are timed, and in how many rounds (`gpu.Setting`)."""

    @property
    def device(self) -> torch.device: ...

    @property
    def sizes(self) -> Sizes: ...


# -- jobs ---------------------------------------------------------------------------------------------------------------------


def student(model: str, side: int, seed: int, device: torch.device) -> nn.Module:
    torch.manual_seed(seeds.derive(seed, "init"))
    return on_device(models.build(models.registry.resolve(model), (3, side, side), loops.CLASSES), device)


def material(side: int, images: int, device: torch.device) -> Material:
    pixels = torch.randn(images, 3, side, side, generator=torch.Generator().manual_seed(0))
    return Material.on_device(device, pixels, torch.arange(images) % loops.CLASSES)


def recipe(batch: int, epochs: int, precision: str = "float32") -> Recipe:
    adamw, constant = resolve("adamw"), schedules.resolve("constant")
    return Recipe(epochs, batch, adamw, constant, loops.STRATEGY, precision)  # type: ignore[arg-type]


def captured(members: Sequence[Member], given: Material, steps: Recipe, teacher: nn.Module) -> Captured:
    """Captured steps; on the CPU, where there is nothing to capture, steps that are made anew each time."""
    return Captured(members, given, steps, teacher, None if given.images.is_cuda else again)


def overlapped(
    members: Sequence[Member], given: Material, steps: Recipe, teacher: nn.Module, kind: type[Overlapped] = Overlapped
) -> Overlapped:
    """Captured steps side by side, each on a stream of its own; of `AskedTogether`, the teacher once for all."""
    return kind(members, given, steps, teacher, None if given.images.is_cuda else again)


def again(step: Callable[[], None], streams: Iterable[torch.Generator]) -> Callable[[], None]:
    return step


def members(setting: Measured, model: str, side: int, count: int, first: int = 0) -> list[Member]:
    shared = losses.create("gift")
    return [Member(student(model, side, first + number, setting.device), shared, first + number) for number in range(count)]


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


# -- times --------------------------------------------------------------------------------------------------------------------


def wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def in_turn(setting: Measured, *sides: Callable[[], object], warmups: int = 1) -> list[list[float]]:
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


def repeated(step: Callable[[], None], repeats: int) -> Callable[[], None]:
    """Return what makes a step so many times."""

    def steps() -> None:
        for _ in range(repeats):
            step()

    return steps


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
