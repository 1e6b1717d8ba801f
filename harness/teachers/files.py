"""Trained networks on disk: one safetensors file each, by the digest of its weights."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from harness import models
from harness.core.digests import digest, digest_json
from harness.core.errors import DataError
from harness.files import safetensors
from harness.files.paths import line

if TYPE_CHECKING:
    from torch import Tensor, nn

    from harness.datasets.base import Dataset
    from harness.models.fitting import Statistics

FORMAT = "giftbench.teacher/1"

Average = Literal["mean", "norm"]


@dataclass(frozen=True)
class TeacherFile:
    """A trained network on disk: where, whose weights (SHA-256), what it is, and its test accuracy in percent.

    `notes` say what was done to a published checkpoint to make it fit, such as a head cut to the dataset's classes.
    """

    path: Path
    digest: str
    model: str
    accuracy: float
    blueprint: dict[str, Any]
    notes: tuple[str, ...] = ()

    @property
    def label(self) -> str:
        return self.model

    def statistics(self, dataset: Dataset) -> Statistics:
        """Return mean and std per channel that its images are normalised by: the dataset's, unless its blueprint says others."""
        return tuple(self.blueprint.get("mean", dataset.mean)), tuple(self.blueprint.get("std", dataset.std))


def save(
    network: nn.Module, blueprint: dict[str, Any], accuracy: float, folder: Path, notes: tuple[str, ...] = ()
) -> TeacherFile:
    """Write the weights by digest, whole or not at all. Raises WriteError."""
    state = {name: tensor.detach().cpu().contiguous() for name, tensor in network.state_dict().items()}
    sha = _digest(state, blueprint)
    label = models.registry.label(blueprint["model"])
    path = folder / f"teacher-{sha[:20]}.safetensors"
    # on disk a blueprint is a "recipe": files keep that name
    described = {"recipe": blueprint, "key": digest_json(blueprint), "accuracy": accuracy, "model": label, "digest": sha}
    described |= {"notes": list(notes)} if notes else {}
    safetensors.save(path, state, {"format": FORMAT, "teacher": json.dumps(described, sort_keys=True)})
    return TeacherFile(path, sha, label, accuracy, blueprint, notes)


def _digest(state: dict[str, Tensor], blueprint: dict[str, Any]) -> str:
    """Return the SHA-256 of the weights, the model, and what else is stated that the logits rest on.

    That is the normalisation of its images when it is not the dataset's, and code that may change under the same name.
    """
    return digest(state, {name: blueprint[name] for name in ("model", "mean", "std", "plugins", "versions") if name in blueprint})


def read_header(path: Path) -> tuple[TeacherFile, str]:
    """Return what a teacher file says of itself, and its blueprint's key. Raises DataError when it is not one."""
    header = safetensors.read_header(path, "a teacher file").metadata
    if header.get("format") != FORMAT:
        raise DataError(f"{path}: not a teacher file")
    try:
        facts = json.loads(header["teacher"])
        sha, model, accuracy, blueprint, key = (facts[name] for name in ("digest", "model", "accuracy", "recipe", "key"))
        return TeacherFile(path, sha, model, accuracy, blueprint, tuple(facts.get("notes", ()))), key
    except (LookupError, TypeError, ValueError, RecursionError) as error:
        raise DataError(f"{path}: not a teacher file, or truncated: {line(error)}") from None


def check(file: TeacherFile) -> dict[str, Tensor]:
    """Return the file's weights. Raises DataError, that names it, where they are not those of its digest."""
    state = safetensors.load(file.path, "a teacher file")[1]
    if _digest(state, file.blueprint) != file.digest:
        raise DataError(f"{file.path}: its weights do not have the digest it states; delete it and it is made again")
    return state


def read_network(file: TeacherFile, dataset: Dataset) -> nn.Module:
    """Return the file's network on the CPU, for images as its blueprint normalises them. Raises DataError that names the file."""
    import torch

    state = check(file)

    with torch.random.fork_rng():
        network = models.build(file.blueprint["model"], dataset.shape, len(dataset.classes))
    try:
        network.load_state_dict(state)
    except RuntimeError as error:
        raise DataError(f"{file.path}: does not fit {file.model}: {str(error).splitlines()[-1].strip()}") from None
    return network


def trial_digests(files: Sequence[TeacherFile], average: Average) -> tuple[str, ...]:
    """Return what a trial says of its teacher: each network's digest, and how several are averaged when not by the mean."""
    digests = tuple(file.digest for file in files)
    return digests if average == "mean" or len(files) < 2 else (*digests, f"average:{average}")


def from_trial(said: Sequence[str]) -> tuple[tuple[str, ...], Average]:
    """Return the digests and the way of averaging that `trial_digests` put together."""
    digests = tuple(part for part in said if not part.startswith("average:"))
    return digests, "norm" if "average:norm" in said else "mean"
