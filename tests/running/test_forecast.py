"""How long trials take on machines that are not here: by which records, in which order, and what bounds it."""

from __future__ import annotations

import pytest

from harness.boards.records import Record
from harness.core.errors import BadOption
from harness.running.estimate import Estimate
from harness.running.forecast import Machines, forecast, kind, learned
from harness.running.scheduling import bundles
from tests.conftest import Refused
from tests.simulated_boards import BOARDS, COSTS, trial

EPYC, XEON, H200 = "CPU AMD EPYC 9654", "CPU Intel(R) Xeon(R) Processor", "NVIDIA H200"


def records(device: str, seconds: float, count: int = 3, **changes: object) -> list[Record]:
    """Records of as many seeds of one trial, each of which took so long."""
    return [
        Record.of(trial(seed=seed), "done", timing={"total": seconds}, environment={"device": device, **changes})
        for seed in range(count)
    ]


def test_machines_are_named_with_units_and_count_and_may_have_a_price() -> None:
    h200, cpu = Machines.parse(["H200:8x16", "cpu-epyc:2x4"], ["h200=31.5"])
    assert (h200.workers, h200.device, h200.price, str(h200)) == (128, "cuda", 31.5, "h200:8x16")
    assert (cpu.workers, cpu.device, cpu.price, str(cpu)) == (8, "cpu", None, "cpu-epyc:2x4")


@pytest.mark.parametrize("text", ["h200", "h200:8", "h200:0x1", "h200:8x-1", "8x16", ":8x16", "h200:8x16x2", "h200:8x" + "9" * 9])
def test_what_says_no_machines_is_a_line(text: str, refused: Refused) -> None:
    with refused(BadOption, "--machines", "h200:8x16", "cpu:2x4"):
        Machines.parse([text])


@pytest.mark.parametrize("text", ["h200", "h200=", "h200=nan", "h200=-1", "h200=inf", "=3", "h200=much"])
def test_what_says_no_price_is_a_line(text: str, refused: Refused) -> None:
    with refused(BadOption, "--price", "NAME=AMOUNT"):
        Machines.parse(["h200:8x16"], [text])


def test_a_price_of_no_machines_is_a_line(refused: Refused) -> None:
    with refused(BadOption, "--price", "'a100'", "--machines"):
        Machines.parse(["h200:8x16"], ["a100=1"])


@pytest.mark.parametrize(
    ("name", "fitting"),
    [("h200", {H200}), ("a100", set()), ("cpu", {EPYC, XEON}), ("cpu-epyc", {EPYC}), ("cpu-xeon", {XEON}), ("epyc", set())],
)
def test_machines_are_told_by_the_words_of_a_records_device(name: str, fitting: set[str]) -> None:
    (machines,) = Machines.parse([f"{name}:1x1"])
    assert {device for device in (EPYC, XEON, H200, "") if machines.fits(device)} == fitting


def test_a_device_is_a_cpu_a_gpu_or_not_known() -> None:
    assert [kind(device) for device in (EPYC, H200, "")] == ["cpu", "cuda", ""]


def test_seconds_are_those_of_the_device_else_of_its_kind_else_costs() -> None:
    known = [*records(EPYC, 10.0), *records(XEON, 20.0, 2), *records(H200, 1.0), *records("", 99.0)]
    one = trial()
    for name, device, expected, basis in [
        ("cpu-epyc", "cpu", 10.0, (3, (EPYC,), True)),
        ("cpu-xeon", "cpu", 20.0, (2, (XEON,), True)),
        ("cpu-power9", "cpu", 14.0, (5, (EPYC, XEON), False)),
        ("h200", "cuda", 1.0, (3, (H200,), True)),
        ("b200", "cuda", 1.0, (3, (H200,), False)),
    ]:
        seconds, rests_on = learned(known, COSTS, device, Machines(name, 1, 1).fits)
        assert (seconds(one, False), (rests_on.records, rests_on.devices, rests_on.same)) == (pytest.approx(expected), basis)
    seconds, rests_on = learned(records(EPYC, 10.0), COSTS, "cuda", Machines("h200", 1, 1).fits)
    assert (rests_on.records, rests_on.devices, rests_on.same) == (0, (), False)
    assert seconds(one, False) == COSTS(one)
    assert seconds(one, True) == COSTS(one) * COSTS.rates.stacked


def test_records_that_tell_no_time_are_not_learned_from() -> None:
    known = records(EPYC, 10.0)
    failed = [record.model_copy(update={"status": "failed", "timing": {"total": 99.0}}) for record in records(EPYC, 1.0)]
    gone = [
        Record.of(
            trial(seed=seed, dataset={"name": "other", "digest": "other"}),
            "done",
            timing={"total": 99.0},
            environment={"device": EPYC},
        )
        for seed in range(3)
    ]
    silent = [record.model_copy(update={"timing": {}}) for record in known]
    seconds, basis = learned([*failed, *gone, *silent, *known], COSTS, "cpu", Machines("cpu", 1, 1).fits)
    assert (basis.records, seconds(trial(), False)) == (3, 10.0)


@pytest.mark.parametrize("board", BOARDS)
@pytest.mark.parametrize("workers", [1, 7, 1000])
def test_a_forecast_is_what_a_run_of_so_many_workers_would_show(board: str, workers: int) -> None:
    order, done = bundles(BOARDS[board], COSTS, "cpu", 3), records(EPYC, 30.0)
    seconds, _ = learned(done, COSTS, "cpu", lambda device: True)
    estimate = Estimate(COSTS, order, workers)
    for record in done:
        estimate.seconds.learn(record.trial, record)
    there = forecast(order, seconds, workers)
    assert there.wall == pytest.approx(estimate.left())
    assert max(there.longest, there.work / workers) <= there.wall * (1 + 1e-9)
    assert forecast(order, seconds, 1).wall == pytest.approx(there.work)


def test_the_longest_bundle_bounds_what_more_workers_are_worth() -> None:
    order = [[trial(seed=1)], [trial(seed=2)], [trial(seed=seed) for seed in range(3, 7)]]
    taken = {False: 10.0, True: 5.0}
    few, many = (forecast(order, lambda trial, stacked: taken[stacked], workers) for workers in (1, 1_000_000))
    assert (few.work, few.wall, few.longest, few.bounded) == (40.0, 40.0, 20.0, False)
    assert (many.work, many.wall, many.longest, many.bounded) == (40.0, 20.0, 20.0, True)
    assert (forecast([], lambda *of: 1.0, 4).wall, forecast([], lambda *of: 1.0, 4).bounded) == (0.0, False)
