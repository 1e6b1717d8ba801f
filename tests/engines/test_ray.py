"""A real Ray cluster of two nodes on this machine: the records of `local`, though a node is killed in the middle."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from tests.engines.boards import accuracies, board, run

if not os.environ.get("GIFTBENCH_ENGINES"):
    pytest.skip("an engine of its own: tox run -e engines", allow_module_level=True)
ray: Any = pytest.importorskip("ray", reason="ray is not installed: pip install 'giftbench[ray]'")

#: Trials of the board: enough for some to be left when the node goes.
SEEDS = 12


@pytest.fixture(scope="session")
def cluster() -> Iterator[Any]:
    """Start a cluster of a head and one more node, a core each."""
    from ray.cluster_utils import Cluster

    try:
        started = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "object_store_memory": 2**27})
        node = started.add_node(num_cpus=1, object_store_memory=2**27)
        started.wait_for_nodes()
    except Exception as error:
        pytest.skip(f"Ray does not come up here: {' '.join(str(error).split())[:200]}")
    started.second = node
    yield started
    started.shutdown()


@pytest.fixture(scope="session")
def alone(tmp_path_factory: pytest.TempPathFactory) -> dict[str, float]:
    """Return the accuracies of the board as one worker on this machine has them."""
    folder = board(tmp_path_factory.mktemp("alone") / "board", SEEDS)
    done = run(folder, "--jobs", "1")
    assert done.returncode == 0, done.stderr
    return accuracies(folder)


def test_gpus_that_a_cluster_lacks_are_a_line_and_no_wait(tmp_path: Path, cluster: Any) -> None:
    done = run(board(tmp_path / "board"), "--executor", "ray(gpus=1)", "--address", cluster.address, seconds=300)
    assert done.returncode == 2
    assert "a bundle needs 1 CPUs and 1 GPUs of one node" in done.stderr.splitlines()[-1]


def test_a_node_that_is_killed_in_the_middle_costs_no_trial(tmp_path: Path, cluster: Any, alone: dict[str, float]) -> None:
    folder = board(tmp_path / "board", SEEDS)
    records = folder / "records"

    def kill() -> None:
        while len([*records.glob("*.json")]) < SEEDS // 4:
            time.sleep(0.1)
        cluster.remove_node(cluster.second, allow_graceful=False)

    killer = threading.Thread(target=kill, daemon=True)
    killer.start()
    started = time.monotonic()
    done = run(folder, "--executor", "ray", "--address", cluster.address, seconds=900)
    assert done.returncode == 0, done.stderr
    assert not killer.is_alive()
    assert accuracies(folder) == alone
    print(f"\nray: {len(alone)} trials in {time.monotonic() - started:.1f} s, a node lost")


def test_what_a_trial_costs_beside_its_training(tmp_path: Path, cluster: Any) -> None:
    folder = board(tmp_path / "board", SEEDS)
    done = run(folder, "--executor", "ray", "--address", cluster.address, "--jobs", "1", seconds=900)
    assert done.returncode == 0, done.stderr
    from harness.boards.records import RecordStore

    written = sorted((path.stat().st_mtime, path.stem) for path in (folder / "records").glob("*.json"))
    seconds = {record.id: record.timing["total"] for record in RecordStore(folder / "records").read()}
    gaps = [later - before - seconds[name] for (before, _), (later, name) in pairwise(written[1:])]
    overhead = sorted(gaps)[len(gaps) // 2]
    print(f"\nray: {overhead * 1000:.0f} ms a trial beside its training (median of {len(gaps)})")
    assert overhead < 5
