"""`against`: each loop asks the teacher, learns by the loss that it says, is tested as often as it says; what the table holds."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from harness import losses, models
from harness.augmentation import DSA
from harness.losses.targets import Targets
from tests.benchmarks import released
from tests.benchmarks.against import __main__ as against
from tests.benchmarks.against import avalanche_naive, bare, dd_ranking, gift
from tests.benchmarks.against import job as jobs
from tests.benchmarks.startup import Cost

MODULES = {"gift": gift, "dd_ranking": dd_ranking, "avalanche_naive": avalanche_naive, "bare": bare}
CLASSES, EPOCHS, BATCH = 3, 12, 10
pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture
def job() -> jobs.Job:
    """Thirty images of 8 px in three shades, which a network of four channels tells apart; so does the teacher, an epoch on."""
    torch.manual_seed(0)
    labels = torch.arange(60) % CLASSES
    images = (60 + 60 * labels.view(-1, 1, 1, 1) + torch.randint(-20, 20, (60, 1, 8, 8))).to(torch.uint8)
    teacher = released.network(1, 8, CLASSES, 4)
    steps = torch.optim.Adam(teacher.parameters(), 0.05)
    for _ in range(30):
        steps.zero_grad()
        F.cross_entropy(teacher((images[:30].float() / 255 - 0.5) / 0.25), labels[:30]).backward()
        steps.step()
    weights = tuple(teacher.state_dict().values())
    facts = ((0.5,), (0.25,), CLASSES, weights, 4, EPOCHS, BATCH)
    return jobs.Job(images[:30], labels[:30], images[30:], labels[30:], *facts)


@pytest.mark.parametrize("name", MODULES)
def test_each_loop_learns_by_its_loss_and_is_tested_as_often_as_it_says(
    name: str, job: jobs.Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[Tensor, Tensor, Tensor]] = []
    tested: list[bool] = []
    pixels: list[int] = []
    real = jobs.Job.student

    def student(given: jobs.Job) -> torch.nn.Sequential:
        network = real(given)
        network.register_forward_pre_hook(lambda module, given: tested.append(module.training) or pixels.append(len(given[0])))
        return network

    def noted(z: Tensor, t: Tensor, y: Tensor) -> Tensor:
        if z.requires_grad:
            seen.append((z.detach(), t.detach(), y))
        return released.divergence(z, t, y)

    assert not job.taught.training  # made before students are counted
    monkeypatch.setattr(jobs.Job, "student", student)
    monkeypatch.setitem(released.LOSSES, "kl", noted)
    monkeypatch.setattr(torch.utils.data.DataLoader, "__init__", _without_workers(torch.utils.data.DataLoader.__init__))
    ((loss, accuracy),) = MODULES[name].trainings(job, ["kl"], 1, EPOCHS // 2)
    assert loss == "kl"
    assert 60 < accuracy <= 100
    assert len(seen) == EPOCHS * len(job.labels) // BATCH
    assert sorted(torch.cat([y for *_, y in seen]).tolist()) == sorted(job.labels.tolist() * EPOCHS)
    assert all(z.shape == t.shape and t.std(1).mean() > 0.1 for z, t, _ in seen)
    counted = {part: sum(n for n, training in zip(pixels, tested, strict=True) if training is part) for part in (True, False)}
    assert counted == {True: EPOCHS * len(job.labels), False: 2 * len(job.test_labels)}


def _without_workers(made: Callable[..., None]) -> Callable[..., None]:
    """Let a loader fetch images in this process: no processes are started for thirty images."""

    def init(self: object, *given: object, **options: object) -> None:
        options.pop("persistent_workers", None)
        made(self, *given, **options | {"num_workers": 0})

    return init


@pytest.mark.parametrize(("theirs", "ours"), [("gift", "gift_reference"), ("kl", "kl"), ("ce", "ce")])
def test_losses_are_those_of_the_board(theirs: str, ours: str) -> None:
    assert f'"{ours}"' in against.BOARD
    draws = torch.Generator().manual_seed(3)
    z, t = torch.randn(2, 32, 10, generator=draws, dtype=torch.float64) * 4
    y = torch.randint(0, 10, (32,), generator=draws)
    assert float(released.LOSSES[theirs](z, t, y)) == pytest.approx(float(losses.create(ours)(z, Targets(y, t))), rel=1e-9)


def test_the_network_is_the_boards_under_the_same_weights() -> None:
    ours = models.build("convnet3(width=8)", (1, 16, 16), 10).eval()
    theirs = released.network(1, 16, 10, 8)
    theirs.load_state_dict(dict(zip(theirs.state_dict(), ours.state_dict().values(), strict=True)))
    images = torch.randn(4, 1, 16, 16)
    assert torch.allclose(ours(images), theirs.eval()(images), atol=1e-6)


@pytest.mark.parametrize("name", released.Families.NAMES)
def test_each_family_alters_images_as_ours_does_on_the_mean(name: str) -> None:
    """Both draw for each image: the mean over many draws, pixel by pixel, tells a wrong range, centre or border."""
    torch.manual_seed(0)
    image = torch.linspace(0.5, 2.0, 256).view(1, 1, 16, 16)
    many = image.expand(4000, 1, 16, 16).contiguous()
    theirs = released.Families(aligned=False).apply((name,), many)
    ours = DSA(name)(many, generator=torch.Generator().manual_seed(1))
    assert theirs.shape == many.shape
    assert not torch.equal(theirs, many)
    spread = (theirs.var(0) + ours.var(0)).div(4000).sqrt() + 1e-4
    assert float(((theirs.mean(0) - ours.mean(0)) / spread).abs().max()) < 6


def test_a_side_is_a_process_that_reads_a_job_and_writes_accuracies(
    job: jobs.Job, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job.save(tmp_path / "job.pt")
    out = tmp_path / "out.json"
    calls: list[tuple[list[str], int, int]] = []
    monkeypatch.setattr(sys, "argv", ["side", str(tmp_path / "job.pt"), str(out), "--loss=kl", "--loss=ce", "--seeds=2"])

    def trainings(given: jobs.Job, losses: list[str], seeds: int, every: int):  # type: ignore[no-untyped-def]
        calls.append((losses, seeds, every))
        assert torch.equal(given.test_images, job.test_images)
        yield from [(loss, 10.0 * seed) for loss in losses for seed in range(seeds)]

    jobs.serve(trainings, lambda epochs: epochs // 3)
    monkeypatch.setattr(sys, "argv", [*sys.argv, "--tests=2"])
    jobs.serve(trainings, lambda epochs: epochs // 3)
    assert calls == [(["kl", "ce"], 2, EPOCHS // 3), (["kl", "ce"], 2, EPOCHS // 2)]
    assert json.loads(out.read_text()) == {"kl": [0.0, 10.0], "ce": [0.0, 10.0]}


def test_the_table_sets_medians_and_accuracies_beside_ours(tmp_path: Path) -> None:
    bench = against.Bench(tmp_path, "digits", 100, 1)
    accuracies = {"gift": [90.0, 91.0], "kl": [80.0, 81.0], "ce": [70.0, 71.0]}

    def results(*cpu: float) -> list[against.Result]:
        return [against.Result(Cost(seconds, 2 * seconds), accuracies) for seconds in cpu]

    measured = {
        (against.OURS, 4): results(10.0, 20.0, 10.0),
        ("Avalanche", 1): results(20.0, 60.0, 25.0),
        ("Avalanche", 4): results(30.0, 60.0, 50.0),
    }
    ours, theirs = against.rows(bench, measured, {"Avalanche": 2}, threads=1)
    found = ["90.5", "80.5", "70.5"]
    assert ours == ["digits, 100 epochs: `giftbench run`", "4", "3", "10.0", "1.00", "", "10.0", "1.00", "20", *found]
    assert theirs == ["digits, 100 epochs: Avalanche, 1 thread", "1", "3", "25.0", "2.50", "≥ 2", "50.0", "3.00", "50", *found]
    lines = against.table([ours, theirs], "a machine").splitlines()
    assert len({len(line) for line in lines[:4]}) == 1
    assert lines[-1].endswith("Measured on a machine.")


def test_sides_run_in_turn_with_their_own_tests_and_with_as_many_as_ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    runs: list[tuple[str, int]] = []

    def ran(name: str, tests: int) -> against.Result:
        runs.append((name, tests))
        return against.Result(Cost(float(len(runs)), 1.0), {"gift": [90.0]})

    monkeypatch.setattr(against.Bench, "ours", lambda bench: ran(against.OURS, against.TESTS))
    monkeypatch.setattr(against.Bench, "theirs", lambda bench, name, tests, threads: ran(name, tests))
    bench = against.Bench(tmp_path, "digits", 60, 1)
    rounds = [{key: len(found) for key, found in results.items()} for results in against.measured(bench, 2, threads=1)]
    turn = [
        (against.OURS, 4),
        ("GIFT's released loop", 4),
        *(("Avalanche", tests) for tests in (1, 4)),
        *(("DD-Ranking's loop", tests) for tests in (3, 4)),
        (against.BARE, 4),
    ]
    assert runs == turn * 2
    assert rounds == [dict.fromkeys(turn, number) for number in (1, 2)]


def test_every_side_is_a_module_and_sizes_have_epochs_that_tests_divide() -> None:
    assert {module for module, _ in against.SIDES.values()} == {*MODULES}
    for size in against.SIZES.values():
        assert size.epochs % 20 == 0
        assert {*size.targets} <= {*against.SIDES}
