"""The same job from Python."""

from __future__ import annotations

import base64
import os
import random
import statistics
import subprocess
import sys
from pathlib import Path

import numpy
import pytest
import torch

import harness
from harness.core.errors import BoardError, DataError, GiftbenchError, UnknownName

SMALL = {"model": "convnet1(width=4)", "teacher": {"model": "convnet1(width=4)", "epochs": 1}, "protocol": "smoke"}


@pytest.fixture
def mine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> harness.DistilledSet:
    monkeypatch.setenv("GIFTBENCH_HOME", str(tmp_path))
    train = harness.datasets.load("digits").train
    index = torch.cat([(train.labels == label).nonzero()[:2, 0] for label in range(10)])
    return harness.DistilledSet(train.images[index], train.labels[index], dataset="digits", method="mine")


def test_a_set_in_memory_is_evaluated_over_seeds(mine: harness.DistilledSet) -> None:
    result = harness.evaluate(mine, loss="gift", optimizer="sgd", seeds=3, **SMALL)
    found = [record.metrics["accuracy"] for record in result.records]
    assert [record.trial.seed for record in result.records] == [0, 1, 2]
    assert result.mean == pytest.approx(statistics.fmean(found))
    assert result.std == pytest.approx(statistics.stdev(found))
    assert str(result).endswith("(n = 3)")
    assert result.records[0].trial.optimizer.name == "sgd"
    assert result.records[0].trial.loss.options["gamma"] == 0.1
    assert result.records[0].trial.labels.method == "mine"


def test_the_trained_students_are_there_when_they_are_asked_for(mine: harness.DistilledSet) -> None:
    result = harness.evaluate(mine, loss="ce", seeds=2, keep_students=True, **SMALL)
    workbench = harness.Workbench("cpu", sets={mine.digest: mine})
    for student, record in zip(result.students, result.records, strict=True):
        assert student is not None
        assert workbench.evaluate(student, record.trial)["accuracy"] == record.metrics["accuracy"]
    assert harness.evaluate(mine, loss="ce", seeds=2, **SMALL).students == ()


def test_a_second_call_with_a_board_trains_nothing_anew_and_what_is_there_is_a_board_of_records(
    mine: harness.DistilledSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = harness.evaluate(mine, loss="ce", seeds=2, board=tmp_path / "board", **SMALL)
    monkeypatch.setattr("harness.running.workbench.Workbench.fit", lambda *a, **k: pytest.fail("trained again"))
    second = harness.evaluate(mine, loss="ce", seeds=2, board=tmp_path / "board", **SMALL)
    assert [record.id for record in second.records] == [record.id for record in first.records]
    assert second.mean == first.mean
    assert harness.records(tmp_path / "board")["accuracy"].tolist() == first.accuracies
    with pytest.raises(BoardError):
        harness.records(tmp_path)
    monkeypatch.undo()


def test_a_notebook_shows_a_line_a_table_and_the_curve(mine: harness.DistilledSet) -> None:
    result = harness.evaluate(mine, loss="ce", seeds=2, **SMALL)
    assert repr(result) == str(result)
    page = result._repr_html_()
    assert page.startswith(f"<p>{result}</p><table>")
    assert page.count("<tr>") == 3
    assert f"<td>{result.accuracies[1]:.1f}</td>" in page
    source = page.split("base64,")[1].split('"')[0]
    assert b"<svg" in base64.b64decode(source)
    assert result.frame["accuracy"].tolist() == result.accuracies
    axes = result.plot()
    assert [line.get_label() for line in axes.get_lines()] == ["seed 0", "seed 1"]
    assert axes.get_lines()[1].get_ydata()[-1] == result.accuracies[1]
    assert result.plot(axes) is axes and len(axes.get_lines()) == 4


def test_a_file_and_the_set_that_it_holds_give_the_same_numbers(mine: harness.DistilledSet, tmp_path: Path) -> None:
    path = mine.save(tmp_path / "mine.safetensors")
    first, second = (harness.evaluate(d, loss="ce", seeds=(7,), **SMALL).records[0] for d in (mine, path))
    assert first.id == second.id
    assert first.metrics == second.metrics


def test_stored_soft_labels_need_no_teacher(mine: harness.DistilledSet, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("harness.teachers.teacher.train", lambda *a, **k: pytest.fail("trained a teacher that nobody needs"))
    soft = torch.nn.functional.one_hot(mine.labels, 10).float() * 5
    labelled = harness.DistilledSet(mine.images, mine.labels, soft, dataset="digits", method="mine")
    result = harness.evaluate(labelled, loss="gift", seeds=1, **SMALL)
    assert result.std == 0.0
    assert result.records[0].trial.teacher == ()


def test_a_record_says_the_bytes_of_a_set_that_is_not_pixels_and_classes_alone(mine: harness.DistilledSet) -> None:
    soft = torch.nn.functional.one_hot(mine.labels, 10).float() * 5
    labelled = harness.DistilledSet(mine.images, mine.labels, soft, dataset="digits", method="mine")
    (plain,), (other,) = (harness.evaluate(d, loss="ce", seeds=1, **SMALL).records for d in (mine, labelled))
    assert (plain.provenance.image_bytes, plain.provenance.label_bytes) == (None, None)
    assert (other.provenance.image_bytes, other.provenance.label_bytes) == (20 * 256, 20 + 20 * 10 * 4)
    assert (plain.provenance.pixel_bytes, other.provenance.pixel_bytes) == (None, 20 * 256)


def test_the_callers_random_streams_are_left_alone(mine: harness.DistilledSet) -> None:
    states = random.getstate(), numpy.random.get_state()[1].copy(), torch.get_rng_state()  # type: ignore[union-attr]
    shuffling = {"name": "class-incremental", "steps": 2, "strategies": ["AGEM(patterns_per_exp=4)"]}  # by Python's own stream
    harness.evaluate(mine, loss="ce", seeds=1, scenario=shuffling, **SMALL)
    assert random.getstate() == states[0]
    assert (numpy.random.get_state()[1] == states[1]).all()  # type: ignore[union-attr]
    assert torch.equal(torch.get_rng_state(), states[2])


def test_the_callers_torch_and_warnings_are_left_as_they_were(mine: harness.DistilledSet) -> None:
    """In a process of its own; the libraries are loaded first, for some set filters as they load.

    Every flag of torch that can be asked for, whatever it is called: first as it comes, then with those that a user may have set.
    """
    path = mine.save(Path(os.environ["GIFTBENCH_HOME"]) / "mine.safetensors")
    code = f"""
import inspect, types, warnings, torch, kornia, timm, pandas, avalanche.training, harness

def answers(owner, place, depth=0):
    for name in sorted(set(dir(owner)) | set(dir(type(owner)))):
        if name.startswith("_") or name == "cufft_plan_cache":  # which asks for a GPU
            continue
        try:
            value = getattr(owner, name)
        except Exception:
            continue
        if isinstance(value, (bool, int, float, str, torch.dtype)):
            yield place + name, value
        elif depth < 2 and "torch.backends" in (getattr(value, "__name__", "") or type(value).__module__):
            yield from answers(value, place + name + ".", depth + 1)

ASKED = ("get_num_threads", "get_num_interop_threads", "get_default_dtype", "get_default_device", "is_grad_enabled",
    "is_inference_mode_enabled", "is_anomaly_enabled", "are_deterministic_algorithms_enabled", "get_deterministic_debug_mode",
    "is_deterministic_algorithms_warn_only_enabled", "is_autocast_enabled", "is_autocast_cache_enabled", "is_warn_always_enabled",
    "get_autocast_cpu_dtype", "get_float32_matmul_precision", "initial_seed")

def state():
    flags = dict(answers(torch.backends, "backends."))
    flags |= {{name: getattr(torch, name)() for name in ASKED}}
    sdp = [name for name in dir(torch.backends.cuda) if name.endswith("_enabled") or name.endswith("_sdp_allowed")]
    flags |= {{name: getattr(torch.backends.cuda, name)() for name in sdp}}
    flags |= {{"filters": list(warnings.filters), "sharing": torch.multiprocessing.get_sharing_strategy()}}
    flags |= {{"printing": str(vars(torch._tensor_str.PRINT_OPTS))}}
    return flags

@harness.losses.register("failing")
def failing(logits, targets):
    "Fails on the batches of a trial, and not where it is tried out."
    if len(logits) >= 10:
        raise RuntimeError("planted")
    return logits.square().mean()

def run(words, **changes):
    settings = {SMALL!r} | dict(loss="ce", seeds=2) | changes
    before = state()
    try:
        harness.evaluate({str(path)!r}, **settings)
        assert not words
    except harness.GiftbenchError as error:
        assert words and words in str(error), error
    after = state()
    assert after == before, [(name, before.get(name), after[name]) for name in after if after[name] != before.get(name)]

def all_ways():
    run("")
    run("", protocol=dict(name="smoke", precision="bf16"))
    run("", scenario=dict(name="class-incremental", steps=2, strategies=["Naive", "ICaRL"]))
    run("planted", loss="failing")
    run("tf32", protocol=dict(name="smoke", precision="tf32"))

assert len(state()) > 40, sorted(state())
all_ways()
cudnn = torch.backends.cudnn
cudnn.benchmark, cudnn.deterministic, cudnn.allow_tf32 = not cudnn.benchmark, not cudnn.deterministic, not cudnn.allow_tf32
torch.backends.cuda.matmul.allow_tf32 = True
torch.backends.cuda.enable_flash_sdp(False)
torch.set_num_threads(2)
torch.use_deterministic_algorithms(True, warn_only=True)
torch.autograd.set_detect_anomaly(True)
with torch.no_grad():
    run("planted", loss="failing")
all_ways()
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stderr


def test_a_scenario_can_be_run_instead(mine: harness.DistilledSet) -> None:
    result = harness.evaluate(
        mine, loss="ce", seeds=1, scenario={"name": "cross-optimizer", "optimizers": ["sgd", "adam"]}, **SMALL
    )
    assert [record.trial.optimizer.name for record in result.records] == ["sgd", "adam"]


def test_a_loss_registered_here_works_at_once(mine: harness.DistilledSet) -> None:
    @harness.losses.register("doubled")
    def doubled(logits, targets, *, beta=1.0):  # type: ignore[no-untyped-def]
        return beta * torch.nn.functional.cross_entropy(logits, targets.hard)

    try:
        result = harness.evaluate(mine, loss="doubled(beta=2)", seeds=1, **SMALL)
        assert result.records[0].trial.loss.options == {"beta": 2.0}
        assert result.records[0].status == "done"
    finally:
        harness.losses.registry.remove("doubled")


def test_mistakes_are_refused_before_anything_is_trained(mine: harness.DistilledSet, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("harness.training.loop.fit", lambda *a, **k: pytest.fail("trained"))
    with pytest.raises(UnknownName, match="did you mean 'gift'"):
        harness.evaluate(mine, loss="gfit", **SMALL)
    with pytest.raises(DataError, match="images are 3x8x8"):
        wrong = harness.DistilledSet(torch.zeros(2, 3, 8, 8), torch.tensor([0, 9]), dataset="digits", method="mine")
        harness.evaluate(wrong, loss="ce", **SMALL)
    with pytest.raises(GiftbenchError, match="no protocol"):
        harness.evaluate(mine, **{**SMALL, "protocol": "quik"})  # type: ignore[arg-type]


def test_when_every_seed_fails_the_error_is_raised(mine: harness.DistilledSet, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*arguments: object, **options: object) -> None:
        raise MemoryError

    monkeypatch.setattr("harness.training.trainer.fit_together", broken)
    with pytest.raises(GiftbenchError, match="every trial failed: out of memory"):
        harness.evaluate(mine, loss="ce", seeds=2, **SMALL)
