"""GIFT's released evaluation beside ours: its loop written out from its description, sharing no step, loss, drawing or network.

`python -m tests.benchmarks.authors --dataset digits --seeds 8` trains both on one RDED set at IPC 10 and prints, for each loss
and optimizer, both accuracies and the interval of their difference (ours less theirs, Welch, 95 %).
"""

from __future__ import annotations

import argparse
import json
import math
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from scipy import stats
from torch import Tensor, nn
from torch.nn import functional as F

import harness
from harness import datasets
from harness.boards.board import Board, SetSpec, TeacherSpec
from harness.core.home import home
from harness.core.spec import Spec
from harness.distilled.set import DistilledSet
from harness.planning.artefacts import Artefacts
from harness.planning.preparation import Preparation
from tests.benchmarks.released import LOSSES, Loss, network

WIDTH, IPC, EPOCHS = 32, 10, 300
MODEL = f"convnet3(width={WIDTH})"
#: The seeds of the authors' loop: other streams than ours, which counts from 0.
FIRST_SEED = 1000


# -- their loop ---------------------------------------------------------------------------------------------------------------


OPTIMIZERS: dict[str, Callable[[nn.Module], torch.optim.Optimizer]] = {
    "adamw": lambda student: torch.optim.AdamW(student.parameters(), lr=1e-3, weight_decay=1e-4),
    "sgd": lambda student: torch.optim.SGD(student.parameters(), lr=0.1, momentum=0.9, weight_decay=5e-4),
}


def augmented(x: Tensor) -> Tensor:
    """DSA's `color_crop_cutout_flip_scale_rotate`: flip, colour, one of crop, scale, rotate for a whole batch, cutout."""
    count, _, height, width = x.shape

    def uniform() -> Tensor:
        return torch.rand(count, 1, 1, 1)

    x = torch.where(uniform() < 0.5, x.flip(3), x)
    x = x + (uniform() - 0.5)
    mean = x.mean(1, keepdim=True)
    x = (x - mean) * (2 * uniform()) + mean
    mean = x.mean((1, 2, 3), keepdim=True)
    x = (x - mean) * (uniform() + 0.5) + mean
    which = ("crop", "scale", "rotate")[int(torch.randint(3, ()))]
    if which == "crop":
        pad = int(0.125 * height + 0.5)
        corners = torch.randint(0, 2 * pad + 1, (count, 2)).tolist()
        padded = F.pad(x, (pad, pad, pad, pad))
        x = torch.stack([image[:, a : a + height, b : b + width] for image, (a, b) in zip(padded, corners, strict=True)])
    else:
        maps = torch.zeros(count, 2, 3)
        if which == "scale":
            ratios = torch.rand(count, 2) * (1.2 - 1 / 1.2) + 1 / 1.2
            maps[:, 0, 0], maps[:, 1, 1] = ratios[:, 0], ratios[:, 1]
        else:
            angles = (torch.rand(count) - 0.5) * 2 * 15 / 180 * math.pi
            maps[:, 0, 0], maps[:, 0, 1], maps[:, 1, 0], maps[:, 1, 1] = angles.cos(), -angles.sin(), angles.sin(), angles.cos()
        x = F.grid_sample(x, F.affine_grid(maps, list(x.shape), align_corners=False), align_corners=False)
    return x * _holes(count, height, width)


def _holes(count: int, height: int, width: int) -> Tensor:
    """Squares of half a side, cut off at the border; the centre of an even one lies at 0 to the side, which is one too many."""
    tall, wide = int(height * 0.5 + 0.5), int(width * 0.5 + 0.5)
    rows = torch.randint(0, height + (1 - tall % 2), (count, 1)) - tall // 2
    columns = torch.randint(0, width + (1 - wide % 2), (count, 1)) - wide // 2
    mask = torch.ones(count, 1, height, width)
    for image, (top, left) in enumerate(zip(rows[:, 0].tolist(), columns[:, 0].tolist(), strict=True)):
        mask[image, :, max(top, 0) : max(top + tall, 0), max(left, 0) : max(left + wide, 0)] = 0
    return mask


@dataclass(frozen=True)
class Task:
    """What both train on and are tested on: normalised images [N, C, H, W] and labels [N], and who gives the soft labels."""

    images: Tensor
    labels: Tensor
    test_images: Tensor
    test_labels: Tensor
    taught: Callable[[Tensor], Tensor]
    classes: int


def accuracy(task: Task, loss: Loss, optimizer: str, seed: int, epochs: int, batch: int = 50) -> float:
    """Train one student as the released code does; return its accuracy after the last epoch, in percent."""
    torch.manual_seed(seed)
    student = network(task.images.shape[1], task.images.shape[-1], task.classes, WIDTH)
    steps = OPTIMIZERS[optimizer](student)
    schedule = torch.optim.lr_scheduler.MultiStepLR(steps, [2 * epochs // 3, 5 * epochs // 6], gamma=0.2)
    for _ in range(epochs):
        student.train()
        for indices in torch.randperm(len(task.labels)).split(batch):
            x = augmented(task.images[indices])
            with torch.no_grad():
                soft = task.taught(x)
            value = loss(student(x), soft, task.labels[indices])
            steps.zero_grad()
            value.backward()
            steps.step()
        schedule.step()
    student.eval()
    with torch.no_grad():
        hits = sum(
            int((student(x).argmax(1) == y).sum())
            for x, y in zip(task.test_images.split(500), task.test_labels.split(500), strict=True)
        )
    return 100 * hits / len(task.test_labels)


# -- both ---------------------------------------------------------------------------------------------------------------------


def interval(ours: Sequence[float], theirs: Sequence[float]) -> tuple[float, float, float]:
    """Return the mean difference and its 95 % interval by Welch, deviations with ddof 1."""
    test = stats.ttest_ind(ours, theirs, equal_var=False)
    low, high = test.confidence_interval(0.95)
    return sum(ours) / len(ours) - sum(theirs) / len(theirs), float(low), float(high)


def compare(
    dataset: str, seeds: int, epochs: int = EPOCHS, teacher_epochs: int = 0, optimizers: Sequence[str] = tuple(OPTIMIZERS)
) -> list[dict[str, object]]:
    """Return a row for each loss and optimizer: both sides' accuracies in percent, seed by seed, and the interval.

    The teacher is trained for `teacher_epochs`, 0: as many as the dataset states.
    """
    real = datasets.load(dataset)
    taught_by = {"model": MODEL, "epochs": teacher_epochs}
    kept = Artefacts(home() / "artefacts", home() / "artefacts")
    sets = (SetSpec(method="rded", min_scale=0.5, ipc=(IPC,)),)
    spec = TeacherSpec.model_validate(taught_by)
    board = Board.model_construct(dataset=Spec(name=dataset), teacher=spec, sets=sets, scenarios=())
    preparation = Preparation(board, "authors", kept, None, "cpu")
    distilled = DistilledSet.load(preparation.sets()[0].file.path)
    teacher = preparation.teacher()
    mean, std = (torch.tensor(values).view(1, -1, 1, 1) for values in (real.mean, real.std))
    pixels, tested = ((images.float() / 255 - mean) / std for images in (distilled.images, real.test.images))
    task = Task(pixels, distilled.labels, tested, real.test.labels, teacher.logits, len(real.classes))
    rows: list[dict[str, object]] = []
    with tempfile.TemporaryDirectory() as folder:
        file = distilled.save(Path(folder) / "set.safetensors")
        for optimizer in optimizers:
            for name, loss in LOSSES.items():
                theirs = [accuracy(task, loss, optimizer, FIRST_SEED + seed, epochs) for seed in range(seeds)]
                result = harness.evaluate(
                    file,
                    loss=name,
                    model=MODEL,
                    optimizer=optimizer,
                    protocol={"name": "paper", "epochs": epochs, "evaluations": 1},
                    seeds=seeds,
                    teacher=taught_by,
                    device="cpu",
                )
                ours = [record.metrics["accuracy"] for record in result.records]
                difference = interval(ours, theirs)
                rows.append({"loss": name, "optimizer": optimizer, "ours": ours, "theirs": theirs, "difference": difference})
                print(line(dataset, rows[-1]), flush=True)
    return rows


def line(dataset: str, row: dict[str, object]) -> str:
    """Return a row of a Markdown table: dataset, optimizer, loss, ours, theirs, difference and interval."""
    from statistics import mean, stdev

    def cell(values: object) -> str:
        assert isinstance(values, list)
        return f"{mean(values):.2f} ± {stdev(values):.2f}"

    difference = row["difference"]
    assert isinstance(difference, tuple)
    middle, low, high = difference
    cells = [dataset, row["optimizer"], row["loss"], cell(row["ours"]), cell(row["theirs"])]
    return f"| {' | '.join(map(str, cells))} | {middle:+.2f} [{low:+.2f}, {high:+.2f}] |"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--dataset", default="digits")
    parser.add_argument("--seeds", type=int, default=8)
    parser.add_argument("--epochs", type=int, default=EPOCHS)
    parser.add_argument("--optimizer", action="append", choices=[*OPTIMIZERS], help="only this one (repeatable)")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("-o", "--output", type=Path, help="JSON file for every accuracy")
    chosen = parser.parse_args()
    torch.set_num_threads(chosen.threads)
    print("| dataset | optimizer | loss | ours | theirs | ours less theirs [95 %] |\n| --- | --- | --- | --- | --- | --- |")
    rows = compare(chosen.dataset, chosen.seeds, chosen.epochs, optimizers=chosen.optimizer or tuple(OPTIMIZERS))
    if chosen.output:
        chosen.output.write_text(json.dumps(rows, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
