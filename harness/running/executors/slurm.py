"""Slurm: an array of jobs, each of which is a runner of the board (`giftbench work`) that takes what nobody has claimed.

The folder of records is the queue, so nothing is sent to a job and nothing comes back. A job that is preempted, or out of time,
ends its runner, whose trials another one takes over; submitit requeues it, and it goes on from what is on disk.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from math import inf
from pathlib import Path
from typing import Any, Self

from harness.boards.trial import Trial
from harness.core.errors import BadOption, GiftbenchError
from harness.running.executors.errand import Errand, engine
from harness.running.executors.protocol import Event, Settings

#: The folder beside the board for what jobs are submitted with, and for their output.
FOLDER = "slurm"
#: How often a job is requeued when its time is up; a preempted one always is.
REQUEUES = 100
#: Seconds before its end at which a job is told, and for which it may go on when it was.
NOTICE, PATIENCE = 90, 60
#: Seconds between two questions to Slurm.
LOOK = 10.0


def slurm(
    errand: Errand,
    *,
    array: int = 1,
    time: str = "1:00:00",
    partition: str = "",
    gpus_per_node: int = 0,
    cpus: int = 1,
    account: str = "",
    constraint: str = "",
    python: str = "",
    cluster: str = "slurm",
    dry_run: bool = False,
) -> Jobs:
    """An array of Slurm jobs, each of which runs what nobody else has claimed.

    Args:
        array: how many jobs.
        time: of each job, as H:MM:SS or D-H:MM:SS; a job that is out of it is requeued and goes on.
        gpus_per_node, cpus: of each job; it has a worker a GPU, else one a core.
        python: what runs giftbench on a node, where that is not this Python.
        cluster: `slurm`, or `local` for processes on this machine.
        dry_run: only print the script.
    """
    minutes = _minutes(time)
    if array < 1 or cpus < 1 or gpus_per_node < 0:
        raise BadOption("executor 'slurm': array and cpus are 1 or more, gpus_per_node is 0 or more")
    parameters: dict[str, Any] = {"timeout_min": minutes, "cpus_per_task": cpus}
    parameters |= {"gpus_per_node": gpus_per_node} if gpus_per_node else {}
    further = {"partition": partition, "account": account, "constraint": constraint}
    parameters |= {f"slurm_{name}": value for name, value in further.items() if value}
    parameters |= {
        "slurm_array_parallelism": array,
        "slurm_signal_delay_s": NOTICE,
        "slurm_job_name": "giftbench",
        "slurm_additional_parameters": {"requeue": True},
    }
    device = "cuda" if gpus_per_node else "cpu"
    settings = Settings(**{**vars(errand.settings), "device": device})
    words = _told(errand.words, device)
    share = Share((python or sys.executable, "-P", "-m", "harness.cli", "work", str(errand.board.absolute()), *words))
    return Jobs(settings, errand.board.absolute().parent / FOLDER, share, array, parameters, cluster, dry_run)


@dataclass
class Share:
    """One job's work, as it is pickled: the words of a command, whose state is all on disk."""

    words: tuple[str, ...]
    _process: subprocess.Popen[bytes] | None = field(default=None, repr=False)

    def __call__(self, number: int) -> int:
        """Run the command to its end; return its exit status, 0 where all was done and 1 where some trials failed."""
        self._process = subprocess.Popen(self.words)
        while (status := self._process.poll()) is None:
            time.sleep(0.2)
        if status not in (0, 1):
            raise RuntimeError(f"share {number}: exit status {status}: {' '.join(self.words)}")
        return status

    def checkpoint(self, number: int) -> Any:
        """End the runner, so that others take over what it has claimed, and return this work to be queued again."""
        if self._process is not None:
            _end(self._process.pid)
        return engine("submitit.helpers", "slurm").DelayedSubmission(Share(self.words), number)


def _end(process: int) -> None:
    """End a runner, by force when it takes too long. Called from a signal's handler: what `Popen` locks may be locked."""
    with suppress(ProcessLookupError, ChildProcessError):
        os.kill(process, signal.SIGUSR2)
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            if os.waitid(os.P_PID, process, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None:
                return
            time.sleep(0.1)
        os.kill(process, signal.SIGKILL)


class Jobs:
    """An executor whose workers are runners of their own: they claim bundles, and write the records."""

    def __init__(
        self,
        settings: Settings,
        folder: Path,
        share: Share,
        array: int,
        parameters: dict[str, Any],
        cluster: str = "slurm",
        dry_run: bool = False,
    ) -> None:
        self.settings, self.folder, self.share, self.jobs = settings, folder, share, array
        self.parameters, self.cluster, self.dry_run = parameters, cluster, dry_run
        self._submitit = engine("submitit", "slurm")
        self._jobs: list[Any] = []
        self._looked, self._alive = -inf, True

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._jobs and self.alive():
            for job in self._jobs:
                job.cancel(check=False)

    def prepare(self) -> None:
        """Jobs load what they need."""

    def script(self) -> str:
        """Return what `sbatch` would be given; nothing is submitted, and no Slurm is needed."""
        make = engine("submitit.slurm.slurm", "slurm")
        names = {"timeout_min": "time"}
        parameters = {names.get(key, key.removeprefix("slurm_")): value for key, value in self.parameters.items()}
        command = f"{sys.executable} -u -m submitit.core._submit {self.folder}"
        text: str = make._make_sbatch_string(command, self.folder, map_count=self.jobs, **parameters)
        return f"{text}# each job: {' '.join(self.share.words)}\n"

    def submit(self) -> None:
        """Submit the array. Raises GiftbenchError where there is no Slurm here, or it refuses."""
        if self._jobs:
            return
        try:
            executor = self._submitit.AutoExecutor(self.folder, self.cluster, slurm_max_num_timeout=REQUEUES)
            executor.update_parameters(**self.parameters)
            self._jobs = executor.map_array(self.share, range(self.jobs))
        except Exception as error:  # whatever submitit and sbatch have to say
            reason = " ".join(str(error).split())[:300]
            raise GiftbenchError(f"executor 'slurm': cannot submit: {reason}") from error

    def alive(self) -> bool:
        """Whether a job of the array waits, runs, or is queued again."""
        if self.cluster != "slurm":
            return any(not job.done() for job in self._jobs)
        if time.monotonic() - self._looked > LOOK:
            self._looked, self._alive = time.monotonic(), _listed({job.job_id.partition("_")[0] for job in self._jobs})
        return self._alive

    def why(self) -> str:
        """Return how the jobs have ended, for a run whose trials are not all done."""
        return f"{len(self._jobs)} Slurm jobs have ended; what they said is in {self.folder}"

    def run(self, bundles: Iterator[Sequence[Trial]]) -> Iterator[Event]:
        """Submit the array. No bundle is pulled and there is no event: whoever runs it looks into the folder of records."""
        self.submit()
        yield from ()


def _listed(ids: set[str]) -> bool:
    """Whether Slurm lists one of these jobs as waiting or at work. (submitit asks for accounts, which not every Slurm keeps.)"""
    command = ["squeue", "--noheader", f"--jobs={','.join(sorted(ids))}", "--format=%i"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    except (OSError, subprocess.SubprocessError):  # nobody can tell
        return True
    return bool(done.stdout.strip()) if done.returncode == 0 else "Invalid job id" not in done.stderr


def _told(words: Sequence[str], device: str) -> tuple[str, ...]:
    """Return the words of a run with the device of the jobs in place of this machine's."""
    told = [*words]
    if "--device" in told:
        told[told.index("--device") + 1] = device
    else:
        told += ["--device", device]
    return tuple(told)


def _minutes(text: str) -> int:
    """Return whole minutes of a time as Slurm writes it: M, M:S, H:M:S, D-H, D-H:M, D-H:M:S. Raises BadOption."""
    days, dash, rest = str(text).rpartition("-")
    numbers = [int(number) if number.isdecimal() else -1 for number in ([days] if dash else []) + rest.split(":")]
    if min(numbers) < 0 or len(numbers) > 3 + bool(dash) or len(str(text)) > 20:
        raise BadOption(f"executor 'slurm': time = {text!r}: expected H:MM:SS, as 4:00:00, or D-H:MM:SS")
    if not dash:
        numbers = [0, *([0] * (len(numbers) < 3)), *numbers]
    spans = (24 * 60 * 60, 60 * 60, 60, 1)
    seconds = sum(number * span for number, span in zip(numbers, spans, strict=False))
    if not seconds:
        raise BadOption("executor 'slurm': time = 0")
    return (seconds + 59) // 60
