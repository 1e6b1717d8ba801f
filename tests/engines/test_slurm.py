"""Slurm: submitit's local executor, and a real Slurm of one node where its daemons are installed and may run."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from harness.running.executors.protocol import Settings
from harness.running.executors.slurm import Jobs, Share
from tests.engines.boards import accuracies, board, run

if not os.environ.get("GIFTBENCH_ENGINES"):
    pytest.skip("an engine of its own: tox run -e engines", allow_module_level=True)
pytest.importorskip("submitit", reason="submitit is not installed: pip install 'giftbench[slurm]'")

#: Waits until it is told to end, the first time; the second time it is done at once.
TWICE = """
import pathlib, signal, sys, time
trace = pathlib.Path(sys.argv[1])
if trace.exists():
    trace.with_suffix(".again").touch()
    sys.exit(0)
signal.signal(signal.SIGUSR2, lambda *_: sys.exit(140))
trace.touch()
time.sleep(120)
"""
CONF = """
ClusterName=one
SlurmctldHost={host}(127.0.0.1)
SlurmUser=root
SlurmctldPort={ports[0]}
SlurmdPort={ports[1]}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
ReturnToService=2
NodeName={host} NodeAddr=127.0.0.1 CPUs=2 RealMemory=1000 State=UNKNOWN
PartitionName=debug Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""


def until(true: Callable[[], bool], seconds: float) -> bool:
    """Wait until something is true, at most so long, and return whether it is."""
    deadline = time.monotonic() + seconds
    while not true() and time.monotonic() < deadline:
        time.sleep(0.2)
    return true()


@pytest.fixture(scope="session")
def alone(tmp_path_factory: pytest.TempPathFactory) -> dict[str, float]:
    """Return the accuracies of the board as one worker on this machine has them."""
    folder = board(tmp_path_factory.mktemp("alone") / "board")
    done = run(folder, "--jobs", "1")
    assert done.returncode == 0, done.stderr
    return accuracies(folder)


@pytest.fixture(scope="session")
def slurm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """Start a Slurm of one node, and return the environment in which commands find it."""
    if os.geteuid() or not all(map(shutil.which, ("munged", "slurmctld", "slurmd", "sbatch"))):
        pytest.skip("no Slurm here, or not root: apt-get install slurm-wlm munge")
    folder = Path(tmp_path_factory.mktemp("slurm"))
    folder.chmod(0o755)
    ports = []
    for _ in range(2):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            ports.append(free.getsockname()[1])
    for place in ("state", "spool"):
        (folder / place).mkdir()
    host = socket.gethostname().partition(".")[0]
    (folder / "slurm.conf").write_text(CONF.format(folder=folder, host=host, ports=ports))
    (folder / "key").write_bytes(os.urandom(1024))
    (folder / "key").chmod(0o400)
    environment = {"SLURM_CONF": str(folder / "slurm.conf")}
    names = {"key-file": "key", "socket": "munge.socket", "pid-file": "munged.pid", "log-file": "munged.log", "seed-file": "seed"}
    munge = ["munged", "--force", *(f"--{option}={folder / name}" for option, name in names.items())]
    try:
        for command in (munge, ["slurmctld"], ["slurmd"]):
            subprocess.run(command, check=True, capture_output=True, timeout=60, env=os.environ | environment)

        def idle() -> bool:
            said = subprocess.run(["sinfo", "-h", "-o", "%T"], capture_output=True, text=True, env=os.environ | environment)
            return said.stdout.strip() == "idle"

        if not until(idle, 60):
            pytest.skip(f"Slurm does not come up here: {(folder / 'slurmctld.log').read_text()[-300:]}")
        yield environment
    finally:
        subprocess.run(["scancel", "--user=root"], check=False, capture_output=True, timeout=60, env=os.environ | environment)
        time.sleep(2)  # until their processes have ended
        for name in ("slurmd.pid", "slurmctld.pid", "munged.pid"):
            if (folder / name).is_file():
                os.kill(int((folder / name).read_text()), signal.SIGTERM)


def test_the_script_of_a_dry_run_is_an_array_that_requeues(tmp_path: Path) -> None:
    words = ("--gpus-per-node", "1", "--time", "4:00:00", "--array", "32", "--partition", "gpu", "--dry-run")
    folder = board(tmp_path / "board")
    done = run(folder, "--executor", "slurm", *words)
    assert done.returncode == 0, done.stderr
    for line in ("array=0-31%32", "gpus-per-node=1", "partition=gpu", "requeue", "signal=USR2@90", "time=240"):
        assert f"#SBATCH --{line}\n" in done.stdout
    assert f"harness.cli work {folder / 'board.toml'}" in done.stdout
    assert [path.name for path in folder.iterdir()] == ["board.toml"]


def test_shares_on_this_machine_give_what_one_worker_gives(tmp_path: Path, alone: dict[str, float]) -> None:
    folder = board(tmp_path / "board")
    done = run(folder, "--executor", "slurm(cluster=local)", "--array", "2", "--time", "10")
    assert done.returncode == 0, done.stderr
    assert accuracies(folder) == alone
    assert not (folder / "claims").exists()


def test_an_array_on_a_real_slurm_gives_what_one_worker_gives(
    tmp_path: Path, alone: dict[str, float], slurm: dict[str, str]
) -> None:
    folder = board(tmp_path / "board")
    done = run(folder, "--executor", "slurm", "--array", "2", "--time", "10", **slurm)
    assert done.returncode == 0, done.stderr
    assert accuracies(folder) == alone


def test_jobs_that_end_and_leave_trials_are_a_line(tmp_path: Path, slurm: dict[str, str]) -> None:
    folder = board(tmp_path / "board")
    done = run(folder, "--executor", 'slurm(python="/bin/false")', "--time", "10", **slurm)
    assert done.returncode == 2
    assert "trials are left: 1 Slurm jobs have ended; what they said is in" in done.stderr.splitlines()[-1]


def test_a_job_that_slurm_preempts_is_requeued_and_goes_on(
    tmp_path: Path, slurm: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLURM_CONF", slurm["SLURM_CONF"])
    trace = tmp_path / "trace"
    share = Share((sys.executable, "-c", TWICE, str(trace)))
    parameters = {"timeout_min": 30, "slurm_additional_parameters": {"requeue": True}}
    with Jobs(Settings("cpu", 1, tmp_path), tmp_path / "slurm", share, 1, parameters) as jobs:
        jobs.submit()
        assert until(trace.exists, 60)
        job = jobs._jobs[0].job_id
        subprocess.run(["scancel", "--signal=USR2", job], check=True, timeout=60)

        # two minutes after a requeue Slurm starts a job again; asked to at once, it finds the job's credential revoked
        again = trace.with_suffix(".again")
        if not until(again.exists, 20):
            subprocess.run(["scontrol", "update", f"JobId={job}", "StartTime=now"], check=False, capture_output=True, timeout=60)
        assert until(again.exists, 200)
