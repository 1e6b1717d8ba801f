"""Teachers made of published weights: found, described, converted, and held against the accuracy that they are known for."""

from __future__ import annotations

import hashlib
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from harness import models
from harness.core.code import Code
from harness.core.errors import BadOption, DataError
from harness.teachers.files import TeacherFile, read_network, save
from harness.training.devices import on_device
from harness.training.evaluation import evaluate
from harness.training.values import Material

if TYPE_CHECKING:
    from harness.boards.board import TeacherSpec
    from harness.core.spec import Spec
    from harness.datasets.base import Dataset

#: Raised whenever the same checkpoint would become another network.
CHECKPOINT_VERSION = 1


def checkpoint_blueprint(path: Path, model: Spec, dataset: Dataset, spec: TeacherSpec) -> dict[str, Any]:
    """Return what the cache key of a published checkpoint is the hash of: its bytes, the model, the data, how it sees them.

    Raises: BadOption when the teacher's mean and std do not fit the images.
    """
    with path.open("rb") as file:
        sha = hashlib.file_digest(file, "sha256").hexdigest()
    blueprint: dict[str, Any] = {
        "version": CHECKPOINT_VERSION,
        "checkpoint": sha,
        "dataset": dataset.name,
        "dataset_digest": dataset.digest,
        "model": models.registry.resolve(model).spec.model_dump(),
        **Code.of((models.registry, model)).facts,
    }
    finite = all(math.isfinite(value) for value in (*spec.mean, *spec.std)) and all(value > 0 for value in spec.std)
    if len(spec.mean) not in (0, dataset.shape[0]) or not finite:
        raise BadOption(f"mean and std must be {dataset.shape[0]} numbers each for {dataset.name}, one a channel, std above 0")
    if spec.mean and (spec.mean, spec.std) != (dataset.mean, dataset.std):
        blueprint |= {"mean": list(spec.mean), "std": list(spec.std)}
    rows = getattr(dataset, "class_indices", ())
    return blueprint | {"rows": list(rows)} if rows else blueprint


def convert(
    blueprint: dict[str, Any],
    path: Path,
    dataset: Dataset,
    folder: Path,
    device: str,
    expect: float | None = None,
    tolerance: float = 1.0,
) -> TeacherFile:
    """Read a published checkpoint into the blueprint's model, test it, and write it to `folder` by digest.

    Args:
        blueprint: as `checkpoint_blueprint` returns it.
        expect: the test accuracy in percent that it is known for.
        tolerance: points by which the measured one may differ.
    Raises: DataError, one line, when the file is no checkpoint of the model, and when it is another accuracy than expected:
        then with the mistake that explains it, if one of the usual ones does.
    """
    from harness.teachers import checkpoints

    with torch.random.fork_rng():
        network = models.build(blueprint["model"], dataset.shape, len(dataset.classes))
    label = models.registry.label(blueprint["model"])
    weights = checkpoints.fit(path, checkpoints.read(path), network, label, blueprint.get("rows", ()))
    network.load_state_dict(weights.state)
    network = on_device(network, device).eval().requires_grad_(False)
    mean, std = TeacherFile(path, "", label, 0.0, blueprint).statistics(dataset)
    test = Material.on_device(device, dataset.test.images, dataset.test.labels, mean=tuple(mean), std=tuple(std))
    measured = TeacherFile(path, "", label, evaluate(network, test)["accuracy"], blueprint, weights.notes)
    if expect is not None and abs(measured.accuracy - expect) > tolerance:
        raise _disappointment(measured, network, path, dataset, device, expect, tolerance)
    return save(network, blueprint, measured.accuracy, folder, weights.notes)


def confirm(
    file: TeacherFile, path: Path, dataset: Dataset, device: str, expect: float | None, tolerance: float = 1.0
) -> TeacherFile:
    """Return a teacher that was made of the checkpoint `path` earlier; raise as `convert` does when it is not as expected."""
    if expect is not None and abs(file.accuracy - expect) > tolerance:
        network = on_device(read_network(file, dataset), device).eval().requires_grad_(False)
        raise _disappointment(file, network, path, dataset, device, expect, tolerance)
    return file


def _disappointment(
    measured: TeacherFile, network: nn.Module, path: Path, dataset: Dataset, device: str, expect: float, tolerance: float
) -> DataError:
    """Return the error that says both accuracies, and which usual mistake explains the difference."""
    from harness.teachers import diagnosis

    cause = diagnosis.cause(network, dataset, measured.statistics(dataset), device, expect)
    notes = "".join(f" ({note})" for note in measured.notes)
    return DataError(
        f"{path}: {measured.model} reaches {measured.accuracy:.1f} % on the test split of {dataset.name}{notes}, "
        f"expected {expect:g} within {tolerance:g}; {cause or 'is it for this dataset, and this model?'}"
    )
