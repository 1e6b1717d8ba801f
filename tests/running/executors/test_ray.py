"""Bundles as tasks of Ray: what is handed out, what becomes of what is lost, and clusters that have no room.

Ray itself plays no part here; `tests/engines/test_ray.py` has a cluster of two nodes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from harness.boards.records import Record
from harness.boards.trial import Trial
from harness.core.errors import BadOption, GiftbenchError
from harness.running.executors import ray as module
from harness.running.executors.errand import Errand
from harness.running.executors.protocol import Event, Settings
from harness.running.executors.ray import Cluster
from tests.conftest import Refused
from tests.simulated_boards import trial

TRIALS = [trial(seed=seed) for seed in range(6)]
#: What a task says of its bundle; an exception is raised in its place.
Script = Callable[[Sequence[Trial]], Iterator[Any]]


class RayError(Exception):
    pass


class RayTaskError(RayError):
    pass


class RuntimeEnvSetupError(RayError):
    pass


class NodeDiedError(RayError):
    pass


class OutOfMemoryError(RayError):
    pass


class FakeRay:
    """As much of Ray as the executor calls: every task plays a script as it is looked at."""

    def __init__(self, script: Script, nodes: Sequence[dict[str, float]]) -> None:
        self.script, self.there = script, list(nodes)
        self.exceptions = SimpleNamespace(RayError=RayError, RayTaskError=RayTaskError, RuntimeEnvSetupError=RuntimeEnvSetupError)
        self.how: list[dict[str, Any]] = []
        self.init_with: list[dict[str, Any]] = []
        self.bundles: list[list[int]] = []
        self.cancelled, self.ended, self.most, self.open = 0, 0, 0, 0

    def is_initialized(self) -> bool:
        return False

    def init(self, **how: Any) -> None:
        self.init_with.append(how)

    def shutdown(self) -> None:
        self.ended += 1

    def nodes(self) -> list[dict[str, Any]]:
        return [{"Alive": True, "Resources": node} for node in self.there]

    def remote(self, **how: Any) -> Callable[[Any], Any]:
        self.how.append(how)

        def make(texts: Sequence[str], settings: Settings) -> Iterator[Any]:
            bundle = [Trial.model_validate_json(text) for text in texts]
            self.bundles.append([one.seed for one in bundle])
            self.open += 1
            self.most = max(self.most, self.open)

            def play() -> Iterator[Any]:
                yield from self.script(bundle)
                self.open -= 1

            return play()

        return lambda function: SimpleNamespace(remote=make)

    def wait(self, streams: list[Any], **how: Any) -> tuple[list[Any], list[Any]]:
        return streams[:1], streams[1:]

    def get(self, said: Any) -> Any:
        if isinstance(said, Exception):
            self.open -= 1
            raise said
        return said

    def cancel(self, stream: Any, force: bool) -> None:
        self.cancelled += force


def ended(one: Trial) -> Any:
    return "record", Record.of(one, "done").model_dump_json(by_alias=True)


def good(bundle: Sequence[Trial]) -> Iterator[Any]:
    for one in bundle:
        yield "start", 1
        yield ended(one)


def dies(times: int, seed: int, error: Exception, at_once: bool = False) -> Script:
    """Return a script in which so many tasks are lost on the trial of this seed."""
    left = [times]

    def script(bundle: Sequence[Trial]) -> Iterator[Any]:
        if at_once:
            yield "start", len(bundle)
        for one in bundle:
            if not at_once:
                yield "start", 1
            if one.seed == seed and left[0]:
                left[0] -= 1
                yield error
            yield ended(one)

    return script


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[FakeRay, list[Event]]]:
    """Return a runner of bundles of these seeds on a cluster that plays a script."""

    def run(
        *bundles: Sequence[int], script: Script = good, nodes: Sequence[dict[str, float]] = ({"CPU": 2.0},), **how: Any
    ) -> Any:
        fake = FakeRay(script, nodes)
        monkeypatch.setattr(module, "engine", lambda name, extra: fake)
        jobs, device = how.pop("jobs", 0), how.pop("device", "cpu")
        with module.ray(Errand(Settings(device, 1, Path("artefacts")), jobs, Path("board.toml")), **how) as executor:
            events = list(executor.run(iter([[TRIALS[seed] for seed in seeds] for seeds in bundles])))
        return fake, events

    return run


def told(events: Sequence[Event]) -> list[tuple[str, int]]:
    return [(event.kind if event.record is None else event.record.status, event.trial.seed) for event in events]


Run = Callable[..., tuple[FakeRay, list[Event]]]


def test_bundles_are_tasks_that_ray_itself_never_runs_twice(cluster: Run) -> None:
    fake, events = cluster([4], [0, 1], [2], jobs=1)
    assert told(events) == [(kind, seed) for seed in (4, 0, 1, 2) for kind in ("start", "done")]
    assert fake.bundles == [[4], [0, 1], [2]]
    assert {how["max_retries"] for how in fake.how} == {0}
    assert {how["num_returns"] for how in fake.how} == {"streaming"}
    assert fake.ended == 1


@pytest.mark.parametrize(
    ("nodes", "how", "most"),
    [
        ([{"CPU": 2.0}], {}, 2),
        ([{"CPU": 2.0}, {"CPU": 3.0}], {}, 5),
        ([{"CPU": 2.0}], {"jobs": 1}, 1),
        ([{"CPU": 2.0}, {"CPU": 3.0}], {"cpus": 2}, 2),
        ([{"CPU": 1.0}], {"cpus": 0.25}, 4),
        ([{"CPU": 9.0, "GPU": 1.0}, {"CPU": 9.0}], {"gpus": 0.5}, 2),
        ([{"CPU": 9.0, "GPU": 2.0}], {"gpus": 0.4}, 4),
        ([{"CPU": 9.0, "GPU": 2.0}], {"device": "cuda"}, 2),
    ],
)
def test_as_many_bundles_are_pulled_as_nodes_have_room_for(
    cluster: Run, nodes: list[dict[str, float]], how: dict[str, Any], most: int
) -> None:
    fake, events = cluster(*([seed] for seed in range(6)), nodes=nodes, **how)
    assert fake.most == most
    assert len([event for event in events if event.record is not None]) == 6
    assert {event.worker for event in events} == set(range(most))


def test_a_gpus_share_is_asked_of_ray_and_its_workers_are_told_cuda(monkeypatch: pytest.MonkeyPatch) -> None:
    fake = FakeRay(good, [{"CPU": 4.0, "GPU": 1.0}])
    monkeypatch.setattr(module, "engine", lambda name, extra: fake)
    with module.ray(Errand(Settings("cpu", 1, Path("artefacts")), 0, Path("board.toml")), gpus=0.5, address="auto") as executor:
        assert executor.settings.device == "cuda"
        list(executor.run(iter([[TRIALS[0]]])))
    assert (fake.how[0]["num_gpus"], fake.init_with[0]["address"]) == (0.5, "auto")
    assert "object_store_memory" not in fake.init_with[0]


def test_a_ray_of_its_own_has_a_bounded_store(cluster: Run) -> None:
    fake, _ = cluster([0])
    assert fake.init_with[0]["address"] == "local"
    assert fake.init_with[0]["object_store_memory"] <= 2**28


@pytest.mark.parametrize(
    ("nodes", "how", "words"),
    [
        ([{"CPU": 4.0}], {"gpus": 1}, ("1 CPUs and 1 GPUs", "none of the cluster's 1 has", "4 CPUs, 0 GPUs")),
        ([{"CPU": 4.0}, {"CPU": 4.0}], {"cpus": 8}, ("8 CPUs and 0 GPUs", "cluster's 2 has")),
        ([], {}, ("cluster's 0 has",)),
    ],
)
def test_a_cluster_without_what_a_bundle_needs_is_a_line_and_no_wait(
    cluster: Run, refused: Refused, nodes: list[dict[str, float]], how: dict[str, Any], words: tuple[str, ...]
) -> None:
    with refused(GiftbenchError, "executor 'ray'", *words):
        cluster([0], nodes=nodes, **how)


@pytest.mark.parametrize("how", [{"cpus": 1.5}, {"gpus": -1}, {"cpus": 0}])
def test_a_share_that_ray_cannot_give_is_refused(cluster: Run, how: dict[str, float]) -> None:
    with pytest.raises(BadOption, match="executor 'ray'"):
        cluster([0], **how)


@pytest.mark.parametrize("error", [NodeDiedError("gone"), OutOfMemoryError("too much"), RayError("The worker died. More.")])
def test_a_lost_trial_runs_once_more_and_the_rest_of_its_bundle_with_it(cluster: Run, error: Exception) -> None:
    fake, events = cluster([0, 1, 2], [3], script=dies(1, 1, error), jobs=1)
    assert sorted(seed for kind, seed in told(events) if kind == "done") == [0, 1, 2, 3]
    assert fake.bundles == [[0, 1, 2], [1], [2], [3]]


def test_a_trial_that_is_lost_twice_has_failed_with_the_reason(cluster: Run) -> None:
    _, events = cluster([0, 1], [2], script=dies(9, 1, NodeDiedError("gone")), jobs=1)
    assert sorted(told(events)[1::1], key=str).count(("failed", 1)) == 1
    (failed,) = [event.record for event in events if event.record is not None and event.record.status == "failed"]
    assert failed.error == "its worker was lost: its node died"
    assert {seed for kind, seed in told(events) if kind == "done"} == {0, 2}


def test_trials_that_are_lost_together_run_again_alone(cluster: Run) -> None:
    fake, events = cluster([0, 1, 2], script=dies(1, 0, OutOfMemoryError("too much"), at_once=True), jobs=1)
    assert fake.bundles == [[0, 1, 2], [0], [1], [2]]
    assert sorted(seed for kind, seed in told(events) if kind == "done") == [0, 1, 2]


def test_a_node_that_cannot_run_trials_at_all_stops_the_run_with_its_words(cluster: Run, refused: Refused) -> None:
    def broken(bundle: Sequence[Trial]) -> Iterator[Any]:
        yield RayTaskError("Traceback\n  ...\nModuleNotFoundError: No module named 'harness'")

    with refused(GiftbenchError, "a node cannot run trials", "No module named 'harness'"):
        cluster([0], script=broken)


def test_a_trial_longer_than_the_timeout_is_ended_and_not_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    def stuck(bundle: Sequence[Trial]) -> Iterator[Any]:
        yield "start", 1
        yield RayError("cancelled") if bundle[0].seed == 1 else ended(bundle[0])

    fake = FakeRay(stuck, [{"CPU": 1.0}])
    monkeypatch.setattr(module, "engine", lambda name, extra: fake)
    settings = Settings("cpu", 1, Path("artefacts"), timeout=1e-9)
    with module.ray(Errand(settings, 0, Path("board.toml"))) as executor:
        events = list(executor.run(iter([[TRIALS[1]]])))
    assert told(events) == [("start", 1), ("failed", 1)]
    assert events[-1].record is not None
    assert events[-1].record.error == "longer than the board's timeout of 1e-09 s"
    assert (fake.bundles, fake.cancelled) == ([[1]], 1)


def test_what_still_runs_is_given_up_when_a_run_ends_early(monkeypatch: pytest.MonkeyPatch) -> None:
    fake = FakeRay(good, [{"CPU": 2.0}])
    monkeypatch.setattr(module, "engine", lambda name, extra: fake)
    executor: Cluster = module.ray(Errand(Settings("cpu", 1, Path("artefacts")), 0, Path("board.toml")))
    with executor:
        next(executor.run(iter([[TRIALS[0]], [TRIALS[1]]])))
    assert (fake.cancelled, fake.ended) == (2, 1)
