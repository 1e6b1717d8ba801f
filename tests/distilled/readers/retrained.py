"""A student trained on stored labels by this project, and by the authors' loop, which is written out."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from harness import DistilledSet, losses, models, optimizers
from harness.boards.stages import Stage
from harness.core.spec import Spec
from harness.distilled.order import Order
from harness.planning.published_sets import read
from harness.training.loop import fit
from harness.training.values import Material, Recipe
from tests.distilled.readers.published_files import DIGITS
from tests.distilled.readers.stored_labels import Written, replayed
from tests.training.small import weights

IMAGES, SIZE, CLASSES = 20, (16, 16), 10
SGD = "sgd(lr=0.5, momentum=0, weight_decay=0)"


def imported(
    path: Path, said: list[str] | None = None, form: str = "lpqld", order: Order | None = None, **options: object
) -> Any:
    spec = Spec(name=form, options={"images": "images", **options})
    made = read(spec, path, DIGITS, None, [].append if said is None else said.append, workers=1, order=order)
    assert made.replay is not None
    return made


def material(made: DistilledSet) -> Material:
    return Material.on_device("cpu", made.images, made.labels, mean=(0.3,), std=(0.3,), replay=made.replay)


def pictures(made: DistilledSet) -> Tensor:
    """The images in the order of the sorted files, which is the set's own here, as the student takes them."""
    return (made.images.float() / 255 - 0.3) / 0.3


def student() -> nn.Module:
    torch.manual_seed(0)
    return models.build("convnet1(width=4)", (1, *SIZE), CLASSES).to(memory_format=torch.channels_last)


def trained(
    made: DistilledSet, loss: str, epochs: int, seed: int = 0, stages: tuple[Stage, ...] = ()
) -> tuple[Tensor, list[Tensor]]:
    """Weights after training, and the batches that the student saw."""
    network, seen = student(), []
    network.register_forward_pre_hook(lambda module, arguments: seen.append(arguments[0].clone()))
    constant = optimizers.schedules.resolve("constant")
    recipe = Recipe(epochs, 50, optimizers.resolve(SGD), constant, "stored", mixing="stored", stages=stages)
    fit(network, material(made), losses.create(loss), recipe, seed=seed)
    return weights(network), seen


def reference(
    made: DistilledSet,
    batches: list[Written],
    order: list[int],
    value: Callable[[Tensor, list[Any]], Tensor],
    truncated: bool = False,
) -> tuple[Tensor, list[Tensor]]:
    """The authors' loop over these of the stored batches: weights, and the batches that the student saw."""
    network, seen = student().train(), []
    optimizer = torch.optim.SGD(network.parameters(), 0.5)
    for number in order:
        seen.append(replayed(pictures(made), batches[number], truncated))
        loss = value(network(seen[-1]), batches[number].parts)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return weights(network), seen
