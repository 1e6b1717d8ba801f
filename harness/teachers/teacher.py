"""Teachers: networks whose logits on the augmented batch are the soft labels."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn

from harness import losses, models, optimizers
from harness.augmentation.words import INNER
from harness.core import seeds
from harness.core.errors import BadOption, DataError
from harness.datasets.base import Dataset, normalise
from harness.models.fitting import Renormalised
from harness.teachers.files import Average, TeacherFile, read_network, save
from harness.training.convolutions import made_fast
from harness.training.devices import on_device
from harness.training.evaluation import evaluate
from harness.training.loop import fit
from harness.training.values import NOT_FINITE, Material, Recipe


@dataclass(frozen=True, eq=False)
class Teacher:
    """One network or several, in eval mode, without gradients.

    Several give the mean of their logits; with `average` of `norm`, each network's logits on a batch are first divided by their
    Frobenius norm and multiplied by the mean norm of all (G-VBSM on ImageNet-1K), so that the loudest does not decide alone.
    """

    label: str
    networks: tuple[nn.Module, ...]
    digests: tuple[str, ...]
    accuracies: tuple[float, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    average: Average = "mean"

    def normalise(self, images: Tensor) -> Tensor:
        """Return uint8 images as the networks' input."""
        return normalise(images, self.mean, self.std)

    def logits(self, images: Tensor) -> Tensor:
        """Return the averaged logits, [B, C], of images [B, C, H, W] normalised as the dataset's are, without gradient."""
        with torch.no_grad():
            first, *others = (cast(Tensor, network(images)) for network in self.networks)
            if not others:
                return first
            logits = torch.stack([first, *others])
            return logits.mean(0) if self.average == "mean" else _of_one_norm(logits).mean(0)

    def features(self, images: Tensor) -> Tensor:
        """Return what the classifier sees of normalised images [B, C, H, W]: [B, F] float32, without gradient.

        The classifier is the last `nn.Linear` to run whose outputs are as many as the logits; its input is flattened. Several
        networks give their features side by side. Raises DataError when a network has no such layer.
        """
        with torch.no_grad():
            return torch.cat([_features(network, images) for network in self.networks], 1)


def _of_one_norm(logits: Tensor) -> Tensor:
    """Return logits of several networks, [K, B, C], each scaled to the mean of their norms over the batch."""
    logits = logits.float()  # squares of bf16 would lose what they are summed for
    norms: Tensor = torch.linalg.vector_norm(logits, dim=(1, 2), keepdim=True)
    return logits / norms.clamp_min(torch.finfo(torch.float32).tiny) * norms.mean(0, keepdim=True)


def _features(network: nn.Module, images: Tensor) -> Tensor:
    """Return the input of the network's classifier, [B, F]."""
    inputs: dict[int, Tensor] = {}  # of the last layer of each width, for the number of classes is known only afterwards

    def note(layer: nn.Module, given: tuple[Tensor, ...]) -> None:
        inputs[cast(nn.Linear, layer).out_features] = given[0]

    with ExitStack() as hooks:
        for layer in network.modules():
            if isinstance(layer, nn.Linear):
                hooks.enter_context(layer.register_forward_pre_hook(note))
        classes = network(images).shape[1]
    if classes not in inputs:
        raise DataError(
            f"the teacher's {type(network).__name__} has no features: none of its linear layers gives its {classes} logits; "
            "take a teacher that ends in one"
        )
    return inputs[classes].flatten(1).float()


def train(
    blueprint: dict[str, Any], dataset: Dataset, folder: Path, device: str, on_epoch: Callable[[], None] = lambda: None
) -> TeacherFile:
    """Train one teacher on the dataset's train split, test it, and write it to `folder` by digest.

    Labels are hard, the loss is cross-entropy; the accuracy is that of the last epoch on the test split.
    """
    mean, std = tuple(blueprint.get("mean", dataset.mean)), tuple(blueprint.get("std", dataset.std))
    if not len(mean) == len(std) == dataset.shape[0]:
        raise BadOption(f"teacher: mean and std must be {dataset.shape[0]} numbers each for {dataset.name}, one a channel")
    test_material = Material.on_device(device, dataset.test.images, dataset.test.labels, mean=mean, std=std)
    train_material = Material.on_device(device, dataset.train.images[:], dataset.train.labels, mean=mean, std=std)
    with seeds.kept():
        seeds.begin(blueprint["seed"], "teacher")
        network = models.build(blueprint["model"], dataset.shape, len(dataset.classes))
        network = on_device(network, device)
        if device == "cpu":
            made_fast(network)
        recipe = Recipe(
            epochs=blueprint["epochs"],
            batch_size=blueprint["batch_size"],
            optimizer=optimizers.resolve(blueprint["optimizer"]),
            schedule=optimizers.schedules.resolve(blueprint["schedule"]),
            augmentation=blueprint["augmentation"],
            cutout=blueprint.get("cutout", INNER),
            precision=blueprint["precision"],
            evaluations=blueprint["epochs"],
        )

        def tick(_: nn.Module) -> dict[str, float]:
            on_epoch()
            return {}

        outcome = fit(network, train_material, losses.create("ce"), recipe, seed=blueprint["seed"], evaluate=tick)
    measured = evaluate(network, test_material)
    if outcome.diverged or NOT_FINITE in measured:
        raise DataError(f"the teacher {blueprint['model']['name']} diverged on {dataset.name}; lower its learning rate")
    return save(network, blueprint, measured["accuracy"], folder)


def load(files: Sequence[TeacherFile], dataset: Dataset, device: str, average: Average = "mean") -> Teacher:
    """Load the networks, checking shapes and digests. Raises DataError that names the file.

    A network whose images were normalised otherwise than the dataset's turns them into its own.
    """
    networks = []
    for file in files:
        network = read_network(file, dataset)
        own = file.statistics(dataset)
        if own != (dataset.mean, dataset.std):
            network = Renormalised(network, (dataset.mean, dataset.std), own)
        networks.append(on_device(network, device).eval().requires_grad_(False))
    label = " + ".join(file.model for file in files)
    accuracies, digests = tuple(f.accuracy for f in files), tuple(f.digest for f in files)
    return Teacher(label, tuple(networks), digests, accuracies, dataset.mean, dataset.std, average)
