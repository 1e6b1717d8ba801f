"""A board's soft labels, published: what its trainings ask their teachers, in FKD's format, beside the images.

    FOLDER/rded-ipc10-3f8f3e2a-51c0ffee/images/…parquet
    FOLDER/rded-ipc10-3f8f3e2a-51c0ffee/seed-0/epoch_0/batch_0.tar

`giftbench import 'fkd(images=images, images_format=parquet)' FOLDER/…/seed-0` reads them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from harness.core.errors import BoardError, at
from harness.distilled.files import read_set_header
from harness.running.scenario import as_said, named

if TYPE_CHECKING:
    from harness.boards.trial import Trial
    from harness.planning.artefacts import Artefacts
    from harness.running.workbench import Workbench


def streams(trials: Sequence[Trial], artefacts: Artefacts) -> list[Trial]:
    """Return one trial for each stream of soft labels that trainings are given: of set, teacher, protocol and seed.

    Those of scenarios that train on something else than their set, or class by class, are not among them.

    Raises: BoardError where there is none; DataError where FKD's format cannot say what is done to the images.
    """
    from harness.distilled import fkd_files

    first: dict[tuple[str, int], Trial] = {}
    for trial in trials:
        online = trial.teacher and trial.protocol.labels in ("auto", "teacher") and trial.protocol.augmentation != "stored"
        if online and as_said(trial.scenario):
            first.setdefault((trial.setup.asked, trial.seed), trial)
    if not first:
        raise BoardError("--keep-labels: no training here asks a teacher about the images of its set; there is nothing to keep")
    for trial in first.values():
        file = read_set_header(artefacts.find("set", trial.distilled))
        with at(f"--keep-labels: {trial.scenario}, {trial.labels.method or trial.distilled[:8]}"):
            fkd_files.check(trial.protocol, file.images, int(file.metadata.get("factor", 1)))
    return list(first.values())


def publish(trials: Sequence[Trial], folder: Path, workbench: Workbench) -> Iterator[Path]:
    """Write the stream of each trial that is not there yet, whole or not at all; yield the folder of each.

    Args:
        trials: what `streams` returns.
        folder: made where there is none.
    Raises: DataError, WriteError; MissingExtra where pyarrow, which writes the images, is not here.
    """
    from harness.distilled import exporting, fkd_files
    from harness.distilled.publishing import new_folder
    from harness.running.workbench import recipe

    for trial in trials:
        place = folder / _name(trial)
        images, epochs = place / "images", place / f"seed-{trial.seed}"
        if not images.is_dir():
            with new_folder(images) as inside:
                exporting.write(workbench.distilled(trial), inside)
        if not epochs.is_dir():
            workbench.begin([trial], {trial.id: named(trial.scenario).asks(trial)})  # what a run has kept is read
            teacher = workbench.soft_labels(trial)
            assert teacher is not None
            with new_folder(epochs) as inside:
                fkd_files.write(inside, workbench.material(trial), recipe(trial), trial.seed, teacher)
        yield epochs


def _name(trial: Trial) -> str:
    labels = trial.labels
    method = re.sub(r"[^a-z0-9]+", "-", (labels.method or "set").lower()).strip("-") or "set"
    ipc = f"-ipc{labels.ipc:g}" if labels.ipc is not None else ""
    return f"{method}{ipc}-{trial.distilled[:8]}-{trial.setup.asked[:8]}"
