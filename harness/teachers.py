"""Teachers: networks whose logits on the augmented batch are the soft labels."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn

from harness import losses, models, optimizers, seeds
from harness.board import TeacherSpec
from harness.datasets.base import Dataset, normalise
from harness.digests import digest, digest_json
from harness.errors import DataError
from harness.spec import Spec
from harness.training import Material, Recipe, evaluate, fit, on_device

FORMAT = "giftbench.teacher/1"
#: Raised whenever the same recipe would train another network.
RECIPE_VERSION = 1


@dataclass(frozen=True)
class TeacherFile:
    """A trained network on disk: where, whose weights (SHA-256), what it is, and its test accuracy in percent."""

    path: Path
    digest: str
    model: str
    accuracy: float
    recipe: dict[str, Any]

    @property
    def label(self) -> str:
        return self.model


@dataclass(frozen=True, eq=False)
class Teacher:
    """One network or several, in eval mode, without gradients; several give the mean of their logits."""

    label: str
    networks: tuple[nn.Module, ...]
    digests: tuple[str, ...]
    accuracies: tuple[float, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]

    def normalise(self, images: Tensor) -> Tensor:
        """Return uint8 images as the networks' input."""
        return normalise(images, self.mean, self.std)

    def logits(self, images: Tensor) -> Tensor:
        """Return the mean logits, [B, C], of normalised images [B, C, H, W], without gradient."""
        with torch.no_grad():
            first, *others = (network(images) for network in self.networks)
            return first if not others else torch.stack([first, *others]).mean(0)

    def features(self, images: Tensor) -> Tensor:
        """Return what the classifier sees of normalised images [B, C, H, W]: [B, F] float32, without gradient.

        The classifier is the last `nn.Linear` to run whose outputs are as many as the logits; its input is flattened. Several
        networks give their features side by side. Raises DataError when a network has no such layer.
        """
        with torch.no_grad():
            return torch.cat([_features(network, images) for network in self.networks], 1)


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


def recipes(spec: TeacherSpec, dataset: Dataset) -> list[dict[str, Any]]:
    """Return one resolved recipe for each network of the teacher: what its cache key is the hash of."""
    return [
        {
            "version": RECIPE_VERSION,
            "dataset": dataset.name,
            "dataset_digest": dataset.digest,
            "model": models.registry.resolve(model).model_dump(),
            "epochs": spec.epochs or dataset.teacher_epochs,
            "batch_size": spec.batch_size,
            "optimizer": optimizers.resolve(spec.optimizer).model_dump(),
            "schedule": optimizers.schedules.resolve(spec.schedule).model_dump(),
            "augmentation": spec.augmentation,
            "precision": spec.precision,
            "seed": spec.seed,
        }
        for model in spec.models
    ]


def train(
    recipe: dict[str, Any], dataset: Dataset, folder: Path, device: str, on_epoch: Callable[[], None] = lambda: None
) -> TeacherFile:
    """Train one teacher on the dataset's train split, test it, and write it to `folder` by digest.

    Labels are hard, the loss is cross-entropy; the accuracy is that of the last epoch on the test split.
    """
    test_material = Material.on_device(device, dataset.test.images, dataset.test.labels, mean=dataset.mean, std=dataset.std)
    train_material = Material.on_device(device, dataset.train.images, dataset.train.labels, mean=dataset.mean, std=dataset.std)
    with torch.random.fork_rng():
        torch.manual_seed(seeds.derive(recipe["seed"], "teacher"))
        network = models.build(recipe["model"], dataset.shape, len(dataset.classes))
        network = on_device(network, device)
        steps = Recipe(
            epochs=recipe["epochs"],
            batch_size=recipe["batch_size"],
            optimizer=Spec.model_validate(recipe["optimizer"]),
            schedule=Spec.model_validate(recipe["schedule"]),
            augmentation=recipe["augmentation"],
            precision=recipe["precision"],
            evaluations=recipe["epochs"],
        )

        def tick(_: nn.Module) -> dict[str, float]:
            on_epoch()
            return {}

        outcome = fit(network, train_material, losses.create("ce"), steps, seed=recipe["seed"], evaluate=tick)
    if outcome.diverged:
        raise DataError(f"the teacher {recipe['model']['name']} diverged on {dataset.name}; lower its learning rate")
    return save(network, recipe, evaluate(network, test_material)["accuracy"], folder)


def save(network: nn.Module, recipe: dict[str, Any], accuracy: float, folder: Path) -> TeacherFile:
    """Write the weights by digest, whole or not at all."""
    from safetensors.torch import save_file

    state = {name: tensor.detach().cpu().contiguous() for name, tensor in network.state_dict().items()}
    sha = digest(state, {"model": recipe["model"]})
    label = models.registry.label(recipe["model"])
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"teacher-{sha[:20]}.safetensors"
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    described = {"recipe": recipe, "key": digest_json(recipe), "accuracy": accuracy, "model": label, "digest": sha}
    save_file(state, str(temporary), metadata={"format": FORMAT, "teacher": json.dumps(described, sort_keys=True)})
    temporary.replace(path)
    return TeacherFile(path, sha, label, accuracy, recipe)


def read_header(path: Path) -> tuple[TeacherFile, str]:
    """Return what a teacher file says of itself, and its recipe's key. Raises DataError when it is not one."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(str(path), framework="pt") as file:
            header = file.metadata() or {}
        if header.get("format") != FORMAT:
            raise DataError(f"{path}: not a teacher file")
        facts = json.loads(header["teacher"])
        return TeacherFile(path, facts["digest"], facts["model"], facts["accuracy"], facts["recipe"]), facts["key"]
    except (SafetensorError, OSError, KeyError, TypeError, ValueError, RecursionError) as error:
        if isinstance(error, DataError):
            raise
        raise DataError(f"{path}: not a teacher file, or truncated: {error}") from None


def load(files: Sequence[TeacherFile], dataset: Dataset, device: str) -> Teacher:
    """Load the networks, checking shapes and digests. Raises DataError that names the file."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    networks = []
    for file in files:
        try:
            state = load_file(str(file.path))
        except (SafetensorError, OSError) as error:
            raise DataError(f"{file.path}: cannot be read: {error}") from None
        if digest(state, {"model": file.recipe["model"]}) != file.digest:
            raise DataError(f"{file.path}: its weights do not have the digest it states; delete it and it is trained again")
        with torch.random.fork_rng():
            network = models.build(file.recipe["model"], dataset.shape, len(dataset.classes))
        try:
            network.load_state_dict(state)
        except RuntimeError as error:
            raise DataError(f"{file.path}: does not fit {file.model}: {str(error).splitlines()[-1].strip()}") from None
        network = on_device(network, device).eval().requires_grad_(False)
        networks.append(network)
    label = " + ".join(file.model for file in files)
    accuracies, digests = tuple(f.accuracy for f in files), tuple(f.digest for f in files)
    return Teacher(label, tuple(networks), digests, accuracies, dataset.mean, dataset.std)
