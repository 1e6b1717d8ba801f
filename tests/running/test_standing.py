"""What a run takes up again of the last one, and what makes it plan or render anew. Records are planted: nothing is trained."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from harness import losses
from harness.boards import evidence, seals
from harness.boards.records import RecordStore
from harness.core import plugins
from harness.core.errors import DataError
from harness.files.claims import Claims
from harness.leaderboard import render as rendering
from harness.planning.supplies import Supplies
from harness.running import standing, surroundings
from harness.running.options import Options, Silent
from harness.running.overrides import Overrides
from harness.running.parts import Parts
from harness.running.run import leaderboard, run_board
from tests.boards.test_submissions import TEXT
from tests.conftest import board_text
from tests.installed import entry_point
from tests.large_boards import fill, planned, records_for

BOARD = board_text(losses=["gift", "ce", "standing-loss"], seeds=2, plugins=["plugin.py"])
PLUGIN = """
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
import standing_helper
sys.path.pop(0)

from harness import losses

@losses.register("standing-loss")
def loss(logits, targets, *, scale=standing_helper.SCALE):
    return scale * logits.square().mean()
"""
HELPER = "SCALE = 2.0\n"


@pytest.fixture(autouse=True)
def _a_program(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have this process be a program from a file, in which no plugin has failed; a worker of pytest-xdist is none."""
    monkeypatch.setattr(sys.modules["__main__"], "__file__", pytest.__file__, raising=False)
    monkeypatch.setattr(plugins, "failures", {})


class Missing(Exception):
    """Trials were to be trained, which is another test's business."""


@dataclass
class Run(Silent):
    """One run and its leaderboard: what was said and printed, and what was done for it. It ends where trials are missing."""

    said: list[str] = field(default_factory=list)
    counts: list[int] = field(default_factory=list)
    plans: int = 0
    renderings: int = 0
    failed: dict[str, str] = field(default_factory=dict)
    files: list[Path] = field(default_factory=list)

    def say(self, line: str) -> None:
        self.said.append(line)

    def planned(self, count: int, missing: Any) -> None:
        self.counts = [count, len(missing)]
        if missing:
            raise Missing

    @property
    def anew(self) -> tuple[int, int]:
        """How often the board was planned, and how often rendered."""
        return self.plans, self.renderings


Go = Callable[..., Run]


@pytest.fixture
def go(monkeypatch: pytest.MonkeyPatch) -> Go:
    """Return what runs a board and writes its leaderboard."""
    plan, render = Parts.plan, rendering.render
    latest: list[Run] = [Run()]

    def counted_plan(parts: Parts) -> Any:
        latest[-1].plans += 1
        return plan(parts)

    def counted_render(*arguments: Any) -> Any:
        latest[-1].renderings += 1
        return render(*arguments)

    monkeypatch.setattr(Parts, "plan", counted_plan)
    monkeypatch.setattr(rendering, "render", counted_render)

    def run(board: Path, overrides: Overrides | None = None, **options: Any) -> Run:
        latest.append(Run())
        with suppress(Missing):
            summary = run_board(board, overrides or Overrides(), Options(device="cpu", jobs=1, **options), latest[-1])
            latest[-1].failed, latest[-1].files = summary.failed, leaderboard(summary)
        return latest[-1]

    return run


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Return the folder of a board with its artefacts made and a record of every trial, to be copied."""
    folder = tmp_path_factory.mktemp("whole") / "board"
    folder.mkdir()
    (folder / "board.toml").write_text(BOARD)
    (folder / "plugin.py").write_text(PLUGIN)
    (folder / "standing_helper.py").write_text(HELPER)
    fill(folder / "board.toml", planned(folder / "board.toml"))
    yield folder
    forget()


def forget() -> None:
    """Let the plugin and its helper be loaded anew, as in another process."""
    losses.registry.remove("standing-loss")
    for name in [name for name in sys.modules if name == "standing_helper" or name.startswith("giftbench_plugin_plugin_")]:
        del sys.modules[name]


@pytest.fixture
def board(whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a copy of the board, whose plugin is not loaded yet, with a cache of its own."""
    monkeypatch.setenv("GIFTBENCH_HOME", str(tmp_path / "home"))
    forget()
    return Path(shutil.copytree(whole, tmp_path / "board"))


def edit(file: Path, old: str, new: str) -> None:
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new))


# -- nothing to do ---------------------------------------------------------------------------------------------------------


def test_a_board_that_is_done_is_neither_planned_nor_rendered_again(board: Path, go: Go) -> None:
    first, second = go(board), go(board)
    assert (first.anew, second.anew) == ((1, 1), (0, 0))
    assert second.counts == first.counts == [len([*(board / "records").glob("*.json")]), 0]
    assert (second.said, second.failed, second.files) == (first.said, first.failed, first.files)
    assert [file.name for file in second.files[:3]] == ["README.md", "table.csv", "table.tex"]


def test_how_many_workers_threads_and_trainings_at_once_changes_nothing(board: Path, go: Go) -> None:
    go(board)
    summary = run_board(board, Overrides(), Options(device="cpu", jobs=2, threads=2, stack=4), Silent())
    assert summary.rendered is not None
    assert go(board).anew == (0, 0)


def test_plans_of_other_words_stand_beside_each_other(board: Path, go: Go) -> None:
    fewer = Overrides(seeds=1)
    assert go(board).anew == (1, 1)
    assert go(board, fewer).anew == (1, 0)
    assert [go(board).anew, go(board, fewer).anew] == [(0, 0), (0, 0)]
    assert go(board, fewer).counts[0] * 2 == go(board).counts[0]


def test_a_board_that_was_copied_is_planned_where_it_is(board: Path, go: Go, tmp_path: Path) -> None:
    go(board)
    shutil.copytree(board, tmp_path / "copy")
    forget()
    assert go(tmp_path / "copy").anew == (1, 1)
    assert go(board).anew == (0, 0)


def test_a_runner_at_work_on_the_board_is_not_waited_for_where_nothing_is_left(board: Path, go: Go) -> None:
    go(board)
    with Claims(board / "claims") as claims:
        assert claims.take(["plan", "a trial"])
        assert go(board).anew == (0, 0)


def test_what_a_killed_writer_left_is_swept_all_the_same(board: Path, go: Go) -> None:
    go(board)
    left = board / "records" / ".0123.4567.tmp"
    left.write_text("half a rec")
    os.utime(left, (0, 0))
    assert go(board).anew == (0, 0)
    assert not left.exists()


@pytest.mark.parametrize("content", ["", "{}", "[1, 2]", '{"hash": 1}', "\xff"])
def test_a_note_that_cannot_be_read_is_written_again(board: Path, go: Go, tmp_path: Path, content: str) -> None:
    go(board)
    notes = [*(tmp_path / "home" / "standing").glob("*.json")]
    assert len(notes) == 2
    for note in notes:
        note.write_text(content, "latin-1")
    assert [go(board).anew, go(board).anew] == [(1, 1), (0, 0)]


def test_a_cache_that_cannot_be_written_costs_nothing_but_time(board: Path, go: Go, tmp_path: Path) -> None:
    (tmp_path / "home").mkdir(exist_ok=True)
    (tmp_path / "home" / "standing").write_text("no folder")
    assert [go(board).anew, go(board).anew] == [(1, 1), (1, 1)]


# -- what a plan rests on --------------------------------------------------------------------------------------------------


def touch(file: Path) -> None:
    os.utime(file, ns=(1, 1))


def artefact(board: Path, kind: str) -> Path:
    return next((board / "artefacts").glob(f"{kind}-*.safetensors"))


CHANGES: dict[str, Callable[[Path], object]] = {
    "the board": lambda board: edit(board / "board.toml", "seeds = 2", "seeds = 1"),
    "a plugin": lambda board: edit(board / "plugin.py", "standing_helper.SCALE)", "standing_helper.SCALE + 1)"),
    "what a plugin imports": lambda board: edit(board / "standing_helper.py", "2.0", "3.0"),
    "a set": lambda board: artefact(board, "set").unlink(),
    "a set's time": lambda board: touch(artefact(board, "set")),
    "a teacher": lambda board: artefact(board, "teacher").unlink(),
    "another set": lambda board: shutil.copy(artefact(board, "set"), board / "artefacts" / "set-0.safetensors"),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_a_change_of_what_trials_rest_on_is_planned(board: Path, go: Go, change: Callable[[Path], object]) -> None:
    go(board)
    change(board)
    forget()
    assert go(board).plans == 1


def test_an_installed_package_of_plugins_that_was_edited_in_place_plans_and_renders(
    board: Path, go: Go, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site, module = tmp_path / "site-packages", tmp_path / "site-packages" / "standing_plugs.py"
    entry_point(site, "standing_plugs", "giftbench.losses", "standing-site = standing_plugs:loss")
    module.write_text("def loss(logits, targets, *, scale=2.0):\n    return scale * logits.square().mean()\n")
    monkeypatch.syspath_prepend(site)
    monkeypatch.setattr(losses.registry, "_scanned", False)
    edit(board / "board.toml", '"standing-loss"', '"standing-loss", "standing-site"')
    try:
        fill(board / "board.toml", planned(board / "board.toml"))
        assert [go(board).anew, go(board).anew] == [(1, 1), (0, 0)]
        edit(module, "scale=2.0", "scale=3.0")
        assert go(board).anew == (1, 1)
    finally:
        losses.registry.remove("standing-site")
        sys.modules.pop("standing_plugs", None)


def test_what_has_changed_is_in_the_plan(board: Path, go: Go) -> None:
    before = go(board).counts[0]
    edit(board / "standing_helper.py", "2.0", "3.0")
    forget()
    lacking = {trial.id for trial in planned(board / "board.toml")} - RecordStore(board / "records").ids()
    assert 0 < len(lacking) < before
    fill(board / "board.toml", planned(board / "board.toml"))
    assert go(board).counts == [before, 0]
    assert go(board).anew == (0, 0)


def test_another_installation_plans_and_renders(board: Path, go: Go, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "site" / "one-1.0.dist-info").mkdir(parents=True)
    monkeypatch.syspath_prepend(tmp_path / "site")
    assert [go(board).anew, go(board).anew] == [(1, 1), (0, 0)]
    (tmp_path / "site" / "one-1.0.dist-info").rename(tmp_path / "site" / "one-2.0.dist-info")
    assert go(board).anew == (1, 1)


def test_another_version_of_the_harness_plans_and_renders(
    board: Path, go: Go, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = tmp_path / "source" / "harness" / "room" / "file.py"
    source.parent.mkdir(parents=True)
    source.write_text("version = 1")
    homes = surroundings.homes()
    monkeypatch.setattr(surroundings, "homes", lambda: [*homes, tmp_path / "source" / "harness"])
    assert [go(board).anew, go(board).anew] == [(1, 1), (0, 0)]
    source.write_text("version = 2")
    assert [go(board).anew, go(board).anew] == [(1, 1), (0, 0)]
    source.with_name("another.py").write_text("")
    assert go(board).anew == (1, 1)


def test_other_gpus_plan(board: Path, go: Go, monkeypatch: pytest.MonkeyPatch) -> None:
    go(board)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3")
    assert go(board).plans == 1


def test_another_data_folder_plans(board: Path, go: Go, tmp_path: Path) -> None:
    go(board)
    assert go(board, data_dir=tmp_path).plans == 1
    assert go(board, data_dir=tmp_path).plans == 0


def test_a_changed_file_of_the_dataset_plans(go: Go, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIFTBENCH_HOME", str(tmp_path / "home"))
    data, board = tmp_path / "data", tmp_path / "board"
    for part in ("train", "test"):
        for number, label in enumerate(("0", "1")):
            (data / "pets" / part / label).mkdir(parents=True)
            for image in range(3):
                Image.new("L", (16, 16), 50 * number + 20 * image).save(data / "pets" / part / label / f"{image}.png")
    board.mkdir()
    (board / "board.toml").write_text(board_text(dataset="folder:pets", losses=["ce"]))
    monkeypatch.setenv("GIFTBENCH_DATA", str(data))
    fill(board / "board.toml", planned(board / "board.toml"))
    assert [go(board).anew, go(board).anew] == [(1, 1), (0, 0)]
    changed = data / "pets" / "test" / "1" / "0.png"
    Image.new("L", (16, 16), 77).save(changed)
    lacking = planned(board / "board.toml")
    assert not {trial.id for trial in lacking} & RecordStore(board / "records").ids()
    fill(board / "board.toml", lacking)
    assert [go(board).anew, go(board).anew] == [(1, 1), (0, 0)]


# -- what is not noted -----------------------------------------------------------------------------------------------------

OWN = {
    "scenario": (
        "from harness import Scenario, scenarios\n@scenarios.register('standing-own')\nclass Own(Scenario):\n    '''Mine.'''\n",
        ("cross-optimizer", "standing-own"),
    ),
    "distiller": (
        "from harness import distillers\nfrom harness.distilled.random import random\n"
        "@distillers.register('standing-own')\ndef own(source):\n    return random(source)\n",
        ('"random"', '"standing-own"'),
    ),
    "dataset": (
        "from harness import datasets\nfrom harness.datasets.digits import digits\n"
        "@datasets.register('standing-own')\ndef own(data_dir):\n    return digits(data_dir)\n",
        ('"digits"', '"standing-own"'),
    ),
}


@pytest.fixture
def plugin(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[str, tuple[str, str]]]:
    """Return a plugin file that registers `standing-own`, and what names it on the board."""
    from harness import datasets, distillers, scenarios

    text, names = OWN[request.param]
    (tmp_path / "own.py").write_text(text)
    yield str(tmp_path / "own.py"), names
    for registry in (datasets.registry, distillers, scenarios):
        registry.remove("standing-own")


@pytest.mark.parametrize("plugin", OWN, indirect=True)
def test_what_a_plugin_may_read_is_not_known_so_that_it_plans_each_time(
    board: Path, go: Go, plugin: tuple[str, tuple[str, str]]
) -> None:
    file, (old, new) = plugin
    edit(board / "board.toml", old, new)
    plugins.load_file(file)
    fill(board / "board.toml", planned(board / "board.toml"))
    assert [go(board, plugins=(file,)).plans, go(board, plugins=(file,)).plans] == [1, 1]


def test_a_notebook_plans_each_time(board: Path, go: Go, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(sys.modules["__main__"], "__file__")
    assert [go(board).anew, go(board).anew] == [(1, 1), (1, 1)]


def test_a_plugin_that_failed_may_load_the_next_time(board: Path, go: Go, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(plugins.failures, "a package", "ImportError: no")
    assert [go(board).anew, go(board).anew] == [(1, 1), (1, 1)]


def test_code_that_changed_while_the_run_went_on_is_not_taken_for_what_was_loaded(board: Path, go: Go) -> None:
    future = 4_000_000_000 * 10**9
    os.utime(board / "standing_helper.py", ns=(future, future))
    assert [go(board).anew, go(board).anew] == [(1, 1), (1, 1)]


def test_a_set_that_cannot_be_read_may_be_mended(board: Path, go: Go, tmp_path: Path) -> None:
    edit(board / "board.toml", "ipc = 1 }", 'ipc = 1 }, { format = "rded", ipc = 1 }')
    supplies = Supplies.parse((f"rded={tmp_path}/nowhere",))
    runs = [go(board, supplies=supplies) for _ in range(2)]
    assert [run.plans for run in runs] == [1, 1]
    assert all("no such file" in line for run in runs for line in run.said)


def test_lines_that_planning_says_are_said_again(board: Path, go: Go) -> None:
    edit(board / "board.toml", "ipc = 1 }", 'ipc = 1 }, { format = "rded", ipc = 1 }')
    edit(board / "board.toml", "epochs = 1 }", 'epochs = 1, checkpoints = ["weights.pth"] }')
    first, second = go(board), go(board)
    assert (first.plans, second.plans) == (1, 0)
    assert second.said == first.said
    assert [line.partition(":")[0] for line in first.said] == ["teacher convnet1(width=8) of digits", "left out"]


def test_a_checkpoint_that_comes_is_read(board: Path, go: Go) -> None:
    edit(board / "board.toml", "epochs = 1 }", 'epochs = 1, checkpoints = ["weights.pth"] }')
    assert [go(board).plans, go(board).plans] == [1, 0]
    (board / "weights.pth").write_bytes(b"no weights")
    with pytest.raises(DataError, match=r"weights\.pth"):
        go(board)


# -- records ---------------------------------------------------------------------------------------------------------------


def record_files(board: Path) -> list[Path]:
    return sorted((board / "records").glob("*.json"))


def test_a_deleted_record_is_run(board: Path, go: Go) -> None:
    count = go(board).counts[0]
    lost = next(record for record in RecordStore(board / "records") if record.trial.loss.name == "ce")
    (board / "records" / f"{lost.id}.json").unlink()
    again = go(board)
    assert (again.plans, again.counts) == (1, [count, 1])


def test_an_edited_record_shows_in_the_tables(board: Path, go: Go) -> None:
    go(board)
    before = (board / "timing.csv").read_text()
    file = record_files(board)[0]
    file.write_text(file.read_text().replace('"total": ', '"total": 9'))
    again = go(board)
    assert again.anew == (0, 1)
    assert (board / "timing.csv").read_text() != before


def test_a_record_from_elsewhere_shows_in_the_tables_and_the_plan_stands(board: Path, go: Go) -> None:
    go(board)
    trial = planned(board / "board.toml")[0]
    other = trial.model_copy(update={"seed": 7})
    RecordStore(board / "records").write(next(records_for([other])))
    again = go(board)
    assert (again.anew, again.counts[1]) == ((0, 1), 0)
    assert go(board).anew == (0, 0)


def test_a_broken_record_is_set_aside_and_its_trial_is_run(board: Path, go: Go, caplog: pytest.LogCaptureFixture) -> None:
    go(board)
    broken = next(record for record in RecordStore(board / "records") if record.trial.loss.name == "ce")
    path = board / "records" / f"{broken.id}.json"
    path.write_text(path.read_text()[:-20])
    again = go(board)
    assert (again.plans, again.counts[1]) == (1, 1)
    assert sum("broken record, set aside" in message for message in caplog.messages) == 1


def test_failed_trials_are_told_and_run_when_asked(board: Path, go: Go) -> None:
    store = RecordStore(board / "records")
    failed = next(record for record in store if record.trial.loss.name == "ce")
    store.write(failed.model_copy(update={"status": "failed", "error": "planted", "metrics": {}}))
    known = {record.id: record.error for record in store if record.status == "failed"}
    first, second = go(board), go(board)
    assert first.failed == second.failed == known
    assert second.anew == (0, 0)
    retried = go(board, retry=True)
    assert (retried.plans, retried.counts[1]) == (1, len(known))


def test_all_trials_run_again_when_asked(board: Path, go: Go) -> None:
    count = go(board).counts[0]
    again = go(board, rerun=True)
    assert (again.plans, again.counts) == (1, [count, count])


# -- what a leaderboard rests on -------------------------------------------------------------------------------------------


def contents(board: Path) -> dict[str, bytes]:
    return {str(file.relative_to(board)): file.read_bytes() for file in sorted(board.rglob("*")) if file.is_file()}


@pytest.fixture
def drawn(board: Path) -> Path:
    """Return a board whose leaderboard has a figure."""
    edit(board / "board.toml", "cross-optimizer", "gamma-sweep")
    fill(board / "board.toml", planned(board / "board.toml"))
    return board


def figure(board: Path) -> Path:
    return next((board / "figures").glob("*.svg"))


@pytest.mark.parametrize(
    "change",
    [
        lambda board: edit(board / "README.md", "Trials:", "trials:"),
        lambda board: (board / "table.csv").unlink(),
        lambda board: figure(board).write_text("<svg/>"),
        lambda board: shutil.rmtree(board / "figures"),
        lambda board: (board / "figures" / "stale.png").write_text("png"),
    ],
    ids=["edited", "deleted", "redrawn", "undrawn", "stale"],
)
def test_what_somebody_did_to_the_leaderboard_is_undone(drawn: Path, go: Go, change: Callable[[Path], object]) -> None:
    go(drawn)
    before = contents(drawn)
    change(drawn)
    assert contents(drawn) != before
    assert go(drawn).anew == (0, 1)
    assert contents(drawn) == before
    assert go(drawn).anew == (0, 0)


def test_a_file_beside_the_leaderboard_is_no_part_of_it(drawn: Path, go: Go) -> None:
    files = go(drawn).files
    assert figure(drawn) in files
    (drawn / "notes.txt").write_text("mine")
    (drawn / "figures" / "notes.txt").write_text("mine")
    again = go(drawn)
    assert (again.anew, again.files) == ((0, 0), files)


def test_a_title_that_changes_is_rendered(board: Path, go: Go) -> None:
    go(board)
    edit(board / "board.toml", 'dataset = "digits"', 'title = "Another"\ndataset = "digits"')
    assert go(board).renderings == 1
    assert (board / "README.md").read_text().startswith("# Another\n")


def test_what_was_verified_and_who_brought_records_is_rendered(board: Path, go: Go) -> None:
    go(board)
    path = next(seals.files(board / "records"))
    evidence.write(board, {path.stem: evidence.Verified(record=seals.digest(path), rule="equal to the digit")})
    assert go(board).anew == (0, 1)
    assert "verified" in (board / "table.csv").read_text()
    (board / "submissions" / "ada").mkdir(parents=True)
    (board / "submissions" / "ada" / "submission.toml").write_text(TEXT)
    seals.write(board / "submissions" / "ada", {path.stem: seals.digest(path)})
    assert go(board).anew == (0, 1)
    assert "## Submissions" in (board / "README.md").read_text()
    assert go(board).anew == (0, 0)


def test_records_of_a_scenario_of_others_are_rendered_each_time(board: Path, go: Go) -> None:
    trial = planned(board / "board.toml")[0].model_copy(update={"scenario": "not-installed"})
    RecordStore(board / "records").write(next(records_for([trial])))
    assert [go(board).anew, go(board).anew] == [(1, 1), (0, 1)]
    assert "The scenario is not installed here" in (board / "README.md").read_text()


def test_a_record_that_came_while_the_leaderboard_was_rendered_is_in_the_next(
    board: Path, go: Go, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = next(records_for([planned(board / "board.toml")[0].model_copy(update={"seed": 7})]))
    read = RecordStore.contents
    monkeypatch.setattr(RecordStore, "contents", lambda store: (read(store), store.write(other))[0])
    go(board)
    monkeypatch.undo()
    monkeypatch.setenv("GIFTBENCH_HOME", str(board.parent / "home"))
    summary = run_board(board, Overrides(), Options(device="cpu", jobs=1), Silent())
    assert summary.rendered is None
    assert summary.reading is not None
    assert other.id in {record.id for record in summary.reading.records}


def test_the_table_of_what_notes_rest_on_stands_in_the_code() -> None:
    assert "| rests on | plan | leaderboard |" in (standing.__doc__ or "")
