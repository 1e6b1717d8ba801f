"""An array of Slurm jobs: what each runs, what becomes of it when it is preempted, and words that Slurm does not take.

Neither submitit nor Slurm plays a part here; `tests/engines/test_slurm.py` has both.
"""

from __future__ import annotations

import signal
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from harness.core.errors import BadOption, GiftbenchError
from harness.running.executors import slurm as module
from harness.running.executors.errand import Errand
from harness.running.executors.protocol import Settings
from harness.running.executors.slurm import Jobs, Share
from tests.conftest import Refused

#: Ends with 0 when it is told that its time is up, as a runner does.
PATIENT = (
    "import signal, sys, time; signal.signal(signal.SIGUSR2, lambda *_: sys.exit(140)); print('up', flush=True); time.sleep(60)"
)


class Submitit:
    """As much of submitit as the executor calls."""

    def __init__(self, refuses: str = "") -> None:
        self.refuses, self.parameters, self.shares = refuses, dict[str, Any](), list[tuple[Share, int]]()
        self.jobs: list[Any] = []

    def AutoExecutor(self, folder: Path, cluster: str, **how: Any) -> Submitit:
        self.folder, self.cluster = folder, cluster
        return self

    def update_parameters(self, **parameters: Any) -> None:
        self.parameters = parameters

    def map_array(self, share: Share, numbers: range) -> list[Any]:
        if self.refuses:
            raise RuntimeError(self.refuses)
        self.shares = [(share, number) for number in numbers]
        self.jobs = [SimpleNamespace(state="RUNNING", cancelled=False, over=False) for _ in numbers]
        for job in self.jobs:
            job.done = lambda job=job: job.over
            job.cancel = lambda check, job=job: setattr(job, "cancelled", True)
        return self.jobs

    def DelayedSubmission(self, share: Share, number: int) -> tuple[Share, int]:
        return share, number


@pytest.fixture
def submitit(monkeypatch: pytest.MonkeyPatch) -> Submitit:
    fake = Submitit()
    monkeypatch.setattr(module, "engine", lambda name, extra: fake)
    return fake


def errand(device: str = "cpu") -> Errand:
    return Errand(Settings(device, 1, Path("artefacts")), 0, Path("/boards/one/board.toml"), ("--seeds", "2", "--device", "auto"))


def test_each_job_of_the_array_is_a_runner_of_the_board(submitit: Submitit) -> None:
    jobs = module.slurm(errand(), array=3, time="4:00:00", partition="gpu", gpus_per_node=1)
    assert list(jobs.run(iter([]))) == []
    assert [number for _, number in submitit.shares] == [0, 1, 2]
    words = submitit.shares[0][0].words
    assert words == (
        sys.executable,
        "-P",
        "-m",
        "harness.cli",
        "work",
        "/boards/one/board.toml",
        "--seeds",
        "2",
        "--device",
        "cuda",
    )
    assert submitit.folder == Path("/boards/one/slurm")
    told = submitit.parameters
    assert (told["timeout_min"], told["gpus_per_node"], told["slurm_partition"]) == (240, 1, "gpu")
    assert told["slurm_additional_parameters"] == {"requeue": True}
    assert (jobs.settings.device, jobs.jobs) == ("cuda", 3)


def test_bundles_are_left_to_the_jobs_and_the_array_is_submitted_once(submitit: Submitit) -> None:
    def none() -> Any:
        raise AssertionError("a bundle was pulled, which claims it")
        yield

    jobs = module.slurm(errand())
    for _ in range(2):
        assert list(jobs.run(none())) == []
        first = submitit.jobs
    assert submitit.jobs is first
    assert "1 Slurm jobs have ended" in jobs.why()
    assert "/boards/one/slurm" in jobs.why()


def test_jobs_that_still_run_are_cancelled_when_a_run_ends_early(submitit: Submitit) -> None:
    for over in (False, True):
        with module.slurm(errand(), array=2, cluster="local") as jobs:
            list(jobs.run(iter([])))
            for job in submitit.jobs:
                job.over = over
            assert jobs.alive() is not over
        assert [job.cancelled for job in submitit.jobs] == [not over] * 2


SQUEUE = """#!/bin/sh
echo "$@" >&2
{answer}
"""


@pytest.mark.parametrize(
    ("answer", "alive"),
    [
        ("echo 4_1", True),
        ("true", False),
        ("echo 'slurm_load_jobs error: Invalid job id specified' >&2; exit 1", False),
        ("echo 'Unable to contact slurm controller' >&2; exit 1", True),
    ],
)
def test_slurm_is_asked_which_jobs_it_lists(
    submitit: Submitit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answer: str, alive: bool
) -> None:
    squeue = tmp_path / "squeue"
    squeue.write_text(SQUEUE.format(answer=answer))
    squeue.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    jobs = module.slurm(errand(), array=2)
    jobs.submit()
    for number, job in enumerate(submitit.jobs):
        job.job_id = f"4_{number}"
    assert jobs.alive() is alive


def test_a_refusal_of_sbatch_is_a_line(submitit: Submitit, refused: Refused) -> None:
    submitit.refuses = "sbatch: error: invalid partition\nspecified: gpuu"
    with refused(GiftbenchError, "executor 'slurm': cannot submit", "invalid partition specified: gpuu"):
        list(module.slurm(errand()).run(iter([])))


@pytest.mark.parametrize(
    ("text", "minutes"),
    [("30", 30), ("30:00", 30), ("0:30", 1), ("4:00:00", 240), ("1-0", 1440), ("2-12:30", 3630), ("1-00:00:01", 1441)],
)
def test_times_are_those_of_slurm(submitit: Submitit, text: str, minutes: int) -> None:
    assert module.slurm(errand(), time=text).parameters["timeout_min"] == minutes


@pytest.mark.parametrize("how", [{"time": "4h"}, {"time": ""}, {"time": "0"}, {"time": "1:2:3:4"}, {"array": 0}, {"cpus": 0}])
def test_words_that_slurm_would_not_take_are_refused(submitit: Submitit, how: dict[str, Any]) -> None:
    with pytest.raises(BadOption, match="executor 'slurm'"):
        module.slurm(errand(), **how)


@pytest.mark.parametrize(("status", "good"), [(0, True), (1, True), (2, False), (140, False)])
def test_a_share_is_over_when_its_runner_is_and_failed_when_that_could_not_run(status: int, good: bool) -> None:
    share = Share((sys.executable, "-c", f"raise SystemExit({status})"))
    if good:
        assert share(3) == status
    else:
        with pytest.raises(RuntimeError, match=f"share 3: exit status {status}"):
            share(3)


def test_a_share_that_is_preempted_ends_its_runner_and_is_to_be_queued_again(submitit: Submitit) -> None:
    share = Share((sys.executable, "-c", PATIENT))
    queued: list[Any] = []
    before = signal.signal(
        signal.SIGALRM, lambda *_: queued.append(share.checkpoint(7))
    )  # in the middle of the call, as Slurm's is
    signal.setitimer(signal.ITIMER_REAL, 1.0)
    started = time.monotonic()
    try:
        with pytest.raises(RuntimeError, match="share 7: exit status "):
            share(7)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert queued == [(Share(share.words), 7)]
    assert queued[0][0]._process is None
    assert time.monotonic() - started < 50


def test_a_share_is_pickled_as_its_words() -> None:
    import pickle

    share = Share(("true",))
    assert pickle.loads(pickle.dumps(share)) == share


def test_jobs_are_an_executor_without_a_device_of_their_own(submitit: Submitit) -> None:
    jobs = module.slurm(errand("cuda"))
    assert isinstance(jobs, Jobs)
    assert jobs.settings.device == "cpu"
