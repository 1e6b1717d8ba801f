"""Running boards: interrupted, repeated, on several workers, with trials that fail."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from harness import scenarios
from harness.boards.records import Record, RecordStore
from harness.core.errors import BadOption
from harness.files.claims import Holder
from harness.leaderboard.render import render
from harness.running import executors, queue
from harness.running.executors import local
from harness.running.options import Options, Silent
from harness.running.overrides import Overrides
from harness.running.run import run_board, words
from harness.running.scenario import named
from tests.conftest import board_text

BOARD = board_text(losses=["gift", "ce"], seeds=2, scenarios=[{"name": "cross-optimizer", "optimizers": ["adamw", "sgd"]}])

PLUGIN = """
import os, signal, time
from pathlib import Path
from harness import Outcome, Scenario, ScenarioOptions, scenarios

@scenarios.register("troubled")
class Troubled(Scenario):
    class Options(ScenarioOptions):
        troubles: tuple[str, ...] = ("none",)

    def trials(self, view, options):
        for trouble in options.troubles:
            yield from self.vary(view, options={"trouble": trouble}, labels={"optimizer": trouble})

    def run(self, trial, workbench):
        trouble = trial.options["trouble"]
        if trouble == "memory":
            raise MemoryError("not enough for this")
        if trouble == "killed":
            os.kill(os.getpid(), signal.SIGKILL)
        if trouble == "slow":
            time.sleep(0.3)
        if trouble == "environment":
            value = 99.0 if os.environ.get("GIFTBENCH_TROUBLE") == "said" else 1.0
            return Outcome({"accuracy": value, "best_accuracy": value, "top5_accuracy": value})
        if trouble == "device":
            value = float(os.environ["CUDA_VISIBLE_DEVICES"])
            here = Path(__file__).parent
            (here / f"on-{value}").touch()
            began = time.monotonic()
            while len([*here.glob("on-*")]) < 2 and time.monotonic() < began + 60:  # until each device has a trial
                time.sleep(0.01)
            return Outcome({"accuracy": value, "best_accuracy": value, "top5_accuracy": value})
        if trouble == "diverged":
            return Outcome({"accuracy": 10.0, "best_accuracy": 12.0, "top5_accuracy": 50.0}, status="diverged")
        return Outcome({"accuracy": 50.0, "best_accuracy": 50.0, "top5_accuracy": 90.0})
"""


STACKED = """
import os, signal
from harness import Outcome, Scenario, scenarios

@scenarios.register("stacked")
class Stacked(Scenario):
    def material(self, trial, workbench):
        if trial.seed == 1:
            os.kill(os.getpid(), signal.SIGKILL)
        return workbench.material(trial)
"""


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A board with its artefacts made and no records, to be copied."""
    folder = tmp_path_factory.mktemp("board") / "small"
    folder.mkdir()
    (folder / "board.toml").write_text(BOARD)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GIFTBENCH_HOME", str(folder.parent / "home"))
        run_board(folder, Overrides(losses=("ce",), seeds=1, scenarios=("cross-optimizer",)), Options(jobs=1))
        run_board(folder, Overrides(seeds=1), Options(jobs=1))
    shutil.rmtree(folder / "records")
    return folder


@pytest.fixture
def board(prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("GIFTBENCH_HOME", str(tmp_path / "home"))
    return Path(shutil.copytree(prepared, tmp_path / "small"))


class Counting(Silent):
    def __init__(self) -> None:
        self.began: Counter[str] = Counter()
        self.records: list[Record] = []

    def started(self, trial):  # type: ignore[no-untyped-def]
        self.began[trial.id] += 1

    def ended(self, trial, record):  # type: ignore[no-untyped-def]
        self.records.append(record)


def run(board: Path, **options: object) -> Counting:
    watcher = Counting()
    run_board(board, Overrides(), Options(**{"jobs": 1, **options}), watcher)  # type: ignore[arg-type]
    return watcher


def accuracies(board: Path) -> dict[str, float]:
    return {record.id: record.metrics["accuracy"] for record in RecordStore(board / "records")}


def troubled(board: Path, *troubles: str) -> Path:
    scenarios.remove("troubled")  # each test writes and loads a plugin file of its own
    (board / "plugin.py").write_text(PLUGIN)
    entry = {"name": "troubled", "troubles": troubles}
    (board / "board.toml").write_text(board_text(losses=["ce"], seeds=2, plugins=["plugin.py"], scenarios=[entry]))
    return board


def test_one_and_two_workers_give_equal_accuracies_and_equal_tables(board: Path, tmp_path: Path) -> None:
    other = Path(shutil.copytree(board, tmp_path / "other" / "small"))
    run(board, jobs=1)
    run(other, jobs=2)
    assert len(accuracies(board)) == 8
    assert accuracies(board) == accuracies(other)
    for name in ("README.md", "table.csv"):
        render(board, named), render(other, named)
        assert (board / name).read_bytes() == (other / name).read_bytes()


@pytest.mark.parametrize("jobs", [1, 2])
def test_several_workers_are_kept_from_training_large_students_at_once(
    jobs: int, board: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    models = {"name": "cross-architecture", "models": ["convnet1(width=2)", "convnet1(width=3)"]}
    (board / "board.toml").write_text(board_text(losses=["ce"], seeds=1, scenarios=[models]))
    monkeypatch.setattr("harness.running.run.LARGE", 16 * 1500)  # bytes; they have 1,314 and 1,966 weights
    large: list[object] = []

    class Told(queue.Queue):
        def __init__(self, bundles, *given, **options):  # type: ignore[no-untyped-def]
            super().__init__(bundles, *given, **options)
            large.extend(trial.model.options["width"] for number in self._large for trial in bundles[number])

    monkeypatch.setattr("harness.running.run.Queue", Told)
    assert len(run(board, jobs=jobs).records) == 2
    assert large == ([3] if jobs == 2 else [])


def test_a_second_run_trains_nothing_and_changes_no_byte(board: Path) -> None:
    run(board, jobs=2)
    render(board, named)
    before = {p: (p.read_bytes(), p.stat().st_mtime_ns) for p in sorted(board.rglob("*")) if p.is_file()}
    assert not (board / "claims").exists()
    assert not run(board, jobs=2).began
    render(board, named)
    assert before == {p: (p.read_bytes(), p.stat().st_mtime_ns) for p in sorted(board.rglob("*")) if p.is_file()}


@pytest.mark.slow
def test_a_killed_run_goes_on_where_it_was_and_ends_with_the_same_table(board: Path, tmp_path: Path) -> None:
    text = (board / "board.toml").read_text().replace('protocol = "smoke"', 'protocol = { name = "smoke", epochs = 40 }')
    (board / "board.toml").write_text(text)
    whole = Path(shutil.copytree(board, tmp_path / "whole" / "small"))
    run(whole, jobs=2)
    render(whole, named)

    command = [sys.executable, "-m", "harness.cli", "run", str(board), "--jobs", "2"]
    records = board / "records"
    for wanted in (1, 4):
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + 120
        while len(list(records.glob("*.json"))) < wanted and time.monotonic() < deadline and process.poll() is None:
            time.sleep(0.005)
        workers = children(process.pid)
        assert len(workers) >= 2
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        assert wait_until(lambda gone=workers: not any(alive(pid) for pid in gone)), "workers outlive the run"  # type: ignore[misc]
    kept = {p.name: p.read_bytes() for p in records.glob("*.json")}
    assert 1 <= len(kept) < 8, "the kill came too late to show anything"
    last = run(board, jobs=2)
    assert len(last.began) == 8 - len(kept)
    assert all((records / name).read_bytes() == content for name, content in kept.items())
    assert accuracies(board) == accuracies(whole)
    render(board, named)
    for name in ("README.md", "table.csv"):
        assert (board / name).read_bytes() == (whole / name).read_bytes()


def children(pid: int) -> list[int]:
    """The processes that this one has started, and those that they have."""
    try:
        own = [int(c) for t in Path(f"/proc/{pid}/task").iterdir() for c in (t / "children").read_text().split()]
    except OSError:
        return []
    return own + [process for child in own for process in children(child)]


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def wait_until(condition) -> bool:  # type: ignore[no-untyped-def]
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(0.05)
    return False


def test_out_of_memory_fails_its_trial_and_the_next_one_runs(board: Path) -> None:
    watcher = run(troubled(board, "memory", "none"))
    assert watcher.records[0].status == "failed"
    assert Counter(r.status for r in watcher.records) == {"failed": 2, "done": 2}
    assert {r.error for r in watcher.records if r.status == "failed"} == {"out of memory: not enough for this"}


def test_a_trial_that_kills_its_worker_is_begun_twice_and_then_failed_and_others_go_on(board: Path) -> None:
    watcher = run(troubled(board, "killed", "none"), jobs=2)
    assert sorted(watcher.began.values()) == [1, 1, 2, 2]
    assert Counter(r.status for r in watcher.records) == {"failed": 2, "done": 2}
    assert all("signal 9" in r.error for r in watcher.records if r.status == "failed")


def test_workers_see_the_environment_of_the_run_that_they_work_for(board: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert [r.metrics["accuracy"] for r in run(troubled(board, "environment")).records] == [1.0, 1.0]
    monkeypatch.setenv("GIFTBENCH_TROUBLE", "said")
    assert [r.metrics["accuracy"] for r in run(board, rerun=True).records] == [99.0, 99.0]


def test_where_a_machine_has_several_devices_each_has_workers_of_its_own(board: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two devices that are simulated: workers are pinned as to GPUs, and compute on the CPU."""
    monkeypatch.setattr(local, "visible", lambda device: ("4", "7"))
    watcher = run(troubled(board, "device"), jobs=1)
    assert {r.metrics["accuracy"] for r in watcher.records} == {4.0, 7.0}


def test_a_trial_that_takes_longer_than_the_boards_timeout_is_failed_and_its_id_does_not_say_so(board: Path) -> None:
    troubled(board, "slow")
    file = board / "board.toml"
    file.write_text("timeout = 0.1\n" + file.read_text())
    records = run(board).records
    assert {r.error for r in records} == {"longer than the board's timeout of 0.1 s"}
    file.write_text(file.read_text().replace("timeout = 0.1", "timeout = 100"))
    again = run(board, retry=True).records
    assert {(r.id, r.status) for r in again} == {(r.id, "done") for r in records}


def test_trials_stacked_in_a_worker_that_is_killed_run_again_each_alone(board: Path) -> None:
    scenarios.remove("stacked")
    (board / "plugin.py").write_text(STACKED)
    (board / "board.toml").write_text(board_text(losses=["ce"], seeds=3, plugins=["plugin.py"], scenarios=["stacked"]))
    watcher = run(board, stack=3)
    assert Counter(r.status for r in watcher.records) == {"failed": 1, "done": 2}
    assert [r.trial.seed for r in watcher.records if r.status == "failed"] == [1]
    assert set(watcher.began.values()) == {2}, "all three begin in the stack, and once more each by itself"


def test_the_time_left_is_handed_to_the_watcher_before_the_first_trial(board: Path) -> None:
    told: list[float | None] = []

    class Watching(Counting):
        def scheduled(self, estimate):  # type: ignore[no-untyped-def]
            assert not self.began
            self.estimate = estimate

        def ended(self, trial, record):  # type: ignore[no-untyped-def]
            told.append(self.estimate.left())

    run_board(board, Overrides(), Options(jobs=2), Watching())
    assert len(told) == 8
    assert all(seconds is not None and seconds > 0 for seconds in told[:-1])
    assert told[-1] == 0


def test_failed_trials_are_repeated_only_when_asked_and_diverged_ones_are_kept(board: Path) -> None:
    troubled(board, "memory", "diverged")
    assert sorted(r.status for r in run(board).records) == ["diverged", "diverged", "failed", "failed"]
    assert run(board).records == []
    assert [r.status for r in run(board, retry=True).records] == ["failed", "failed"]
    assert len(run(board, rerun=True).records) == 4


@pytest.mark.parametrize("planned_anew", [False, True])
def test_what_a_run_has_left_that_was_killed_as_it_ended_goes_with_the_next(board: Path, planned_anew: bool) -> None:
    """All has a record; a claim was not let go of, the note of the plan not removed, a probe of the clock not either."""
    records = run(board).records
    assert not (board / "claims").exists()
    queue.note(board, [record.id for record in records])
    holder = vars(Holder.this()) | {"began": "1"}
    (board / "claims" / f"{records[0].id}.0.claim").write_text(json.dumps(holder))
    for name in (".0123456789ab.clock", ".planned.json.01234567.tmp"):
        (board / "claims" / name).touch()
    if planned_anew:
        file = board / "board.toml"
        file.write_text(file.read_text() + "\n")
    assert run(board).records == []
    assert not (board / "claims").exists()


def test_a_note_of_trials_that_are_left_stays_for_who_asks_where_the_board_stands(board: Path) -> None:
    records = run(board).records
    queue.note(board, [*(record.id for record in records), "0" * 16])
    assert run(board).records == []
    assert queue.noted(board) is not None


def test_an_executor_of_several_runners_refuses_to_run_again_what_has_records(board: Path) -> None:
    """Whatever its name: each runner would train every trial, and none would know of the others."""

    class Elsewhere(local.Workers):
        alive = submit = script = why = lambda self: None

    executors.register("elsewhere")(lambda errand: Elsewhere(errand.settings, errand.jobs))
    try:
        with pytest.raises(BadOption, match="giftbench remove sets records aside"):
            run(board, executor="elsewhere", rerun=True)
    finally:
        executors.registry.remove("elsewhere")
    assert not list((board / "records").glob("*.json"))


def test_a_failed_trial_is_reported_by_the_command_line_with_status_1_and_its_table_says_why(board: Path) -> None:
    troubled(board, "memory", "none")
    command = [sys.executable, "-m", "harness.cli", "run", str(board), "--jobs", "1"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 1
    assert "out of memory" in done.stderr
    assert "2 of 4 trials failed" in done.stderr
    assert "out of memory" in (board / "README.md").read_text()


def test_records_say_where_they_come_from(board: Path) -> None:
    run(board)
    record = json.loads(next((board / "records").glob("*.json")).read_text())
    assert set(record) == {"schema", "id", "trial", "status", "metrics", "history", "error", "timing", "environment", "created"}
    assert {"torch", "timm", "kornia", "giftbench", "Python"} <= set(record["environment"]["versions"])
    assert record["environment"]["threads"] == 1
    assert record["environment"]["precision"] == "float32"
    assert {"train", "evaluate", "total"} <= set(record["timing"])
    assert record["metrics"]["best_accuracy"] >= record["metrics"]["accuracy"]


def test_a_board_carried_elsewhere_resumes_without_its_cache(
    board: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(board)
    moved = Path(shutil.copytree(board, tmp_path / "elsewhere" / "small"))
    monkeypatch.setenv("GIFTBENCH_HOME", str(tmp_path / "empty"))
    monkeypatch.setattr(
        "harness.teachers.teacher.train", lambda *a, **k: pytest.fail("trained a teacher that lies beside the board")
    )
    assert not run(moved).began


def test_what_was_kept_of_a_trial_goes_with_its_record_and_the_folder_with_the_last(
    board: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = board / "checkpoints"
    folder.mkdir()
    run_board(board, Overrides(losses=("ce",), seeds=1), Options(jobs=1))
    first, other = (record.id for record in RecordStore(board / "records"))
    for name in (f"{first}.safetensors", f"{first}-2.safetensors", f".{first}.safetensors.0.tmp", f"{other}.safetensors"):
        folder.mkdir(exist_ok=True)
        (folder / name).write_text("damaged")
    (board / "records" / f"{first}.json").unlink()
    monkeypatch.setenv("GIFTBENCH_CHECKPOINT_SECONDS", "0")
    run_board(board, Overrides(losses=("ce",), seeds=1), Options(jobs=1))
    assert [path.name for path in folder.iterdir()] == [f"{other}.safetensors"]
    (board / "records" / f"{other}.json").unlink()
    run_board(board, Overrides(losses=("ce",), seeds=1), Options(jobs=1))
    assert not folder.exists()


def test_a_runner_elsewhere_is_told_to_be_deterministic_where_this_one_is() -> None:
    assert "--deterministic" in words(Overrides(), Options(deterministic=True), ())
    assert "--deterministic" not in words(Overrides(), Options(), ())


def test_a_runner_elsewhere_is_told_to_compile_where_this_one_does() -> None:
    told = words(Overrides(), Options(compiling="auto"), ())
    assert told[told.index("--compile") + 1] == "auto"
    assert "--compile" not in words(Overrides(), Options(), ())


def test_words_for_a_runner_elsewhere_say_that_links_may_be_followed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIFTBENCH_FOLLOW_LINKS", "0")
    assert "--follow-links" not in words(Overrides(), Options(), ())
    monkeypatch.setenv("GIFTBENCH_FOLLOW_LINKS", "1")
    assert "--follow-links" in words(Overrides(), Options(), ())
