"""What changed on a board that was made again: its records less those before, paired by what was trained and by seed.

    python -m tests.compared leaderboards/fashion-mnist --commit 89f36f7
    python -m tests.compared FOLDER --other FOLDER

Trials are paired by their labels, not by id: what made these differ (an augmentation, a schedule) is what is asked about. Printed
are, by set and images a class, the mean difference of accuracies in points, its standard error, and the number of pairs. Trials
whose loss became non-finite on either side are left out.
"""

from __future__ import annotations

import argparse
import io
import json
import statistics
import subprocess
import tarfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from tabulate import tabulate

ROOT = Path(__file__).parents[1]
#: Labels that tell one training of a board from another; what a scenario has no use for is empty.
TOLD_BY = ("method", "ipc", "model", "loss", "optimizer", "precision", "multiplier", "gamma", "labels", "steps", "stream")


def accuracies(texts: Iterable[bytes]) -> dict[tuple[str, ...], float]:
    """Return {what was trained and its seed: percent} of records that ended well.

    Raises ValueError where two cannot be told apart.
    """
    found: dict[tuple[str, ...], float] = {}
    for text in texts:
        record: Mapping[str, Any] = json.loads(text)
        trial, metrics = record["trial"], record["metrics"]
        told = (str(trial["labels"].get(name, "")) for name in TOLD_BY)
        if record["status"] == "done" and (accuracy := metrics.get("accuracy", metrics.get("final"))) is not None:
            dataset, options, seed = trial["dataset"]["name"], str(trial["options"]), str(trial["seed"])
            key = (trial["scenario"], *told, dataset, options, seed)
            if key in found:
                raise ValueError(f"two records of {', '.join(filter(None, key))}: their labels do not tell them apart")
            found[key] = accuracy
    return found


def committed(board: Path, commit: str) -> list[bytes]:
    """Return a board's records at a commit."""
    folder = (board / "records").resolve().relative_to(ROOT).as_posix()
    archive = subprocess.run(["git", "archive", commit, folder], cwd=ROOT, check=True, capture_output=True).stdout
    with tarfile.open(fileobj=io.BytesIO(archive)) as held:
        return [file.read() for member in held if (file := held.extractfile(member)) is not None]


def _held(board: Path) -> list[bytes]:
    """Return the records that lie in a board's folder."""
    return [path.read_bytes() for path in (board / "records").glob("*.json")]


def _standard_error(values: Sequence[float]) -> float:
    return statistics.stdev(values) / len(values) ** 0.5 if len(values) > 1 else float("nan")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("board", type=Path)
    before = parser.add_mutually_exclusive_group(required=True)
    before.add_argument("--commit", help="that holds what the board was")
    before.add_argument("--other", type=Path, metavar="FOLDER", help="another folder of the board")
    arguments = parser.parse_args()
    now = accuracies(_held(arguments.board))
    then = accuracies(_held(arguments.other) if arguments.other else committed(arguments.board, arguments.commit))
    differences: dict[tuple[str, str], list[float]] = {}
    for key in now.keys() & then.keys():
        for ipc in (key[2], "all"):
            differences.setdefault((key[1], ipc), []).append(now[key] - then[key])
    if not differences:
        parser.error("no trial has a good record on both sides")
    rows = [
        (method, ipc, statistics.mean(points), _standard_error(points), len(points))
        for (method, ipc), points in sorted(differences.items())
    ]
    print(tabulate(rows, ("set", "IPC", "points", "standard error", "pairs"), "github", floatfmt=".2f"))


if __name__ == "__main__":
    main()
