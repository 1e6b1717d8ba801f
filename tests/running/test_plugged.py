"""An edited plugin's trials run again, and its old numbers are not shown. Records are planted, but for what one worker makes."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from harness.boards.records import RecordStore
from harness.boards.setup import PluginSource
from harness.boards.trial import Trial
from harness.core import plugins, sources
from harness.core.errors import PluginError
from harness.core.sources import of_code
from harness.running import plugged
from harness.running.options import Options, Silent
from harness.running.overrides import Overrides
from harness.running.run import leaderboard, run_board
from tests.core.test_sources import cell, package
from tests.large_boards import fill, planned, records_for

BOARD = """
dataset = "{dataset}"
model = "{model}"
teacher = {{ model = "{teacher}", epochs = 1 }}
protocol = {{ name = "smoke", optimizer = "{optimizer}", schedule = "{schedule}", augmentation = "{augmentation}" }}
losses = ["{loss}"]
seeds = 2
plugins = ["plugin.py"]
sets = [{{ method = "{method}", ipc = 1 }}]
scenarios = ["{scenario}"]
"""
USUAL = {
    "dataset": "digits",
    "model": "convnet1(width=4)",
    "teacher": "convnet1(width=4)",
    "optimizer": "adamw",
    "schedule": "constant",
    "augmentation": "flip",
    "loss": "ce",
    "method": "random",
    "scenario": "loss-comparison",
}
PLUGIN = """
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
import plugged_helper
sys.path.pop(0)

from harness import Scenario, augmentations, datasets, losses, models, optimizers, scenarios
from harness.distilled import distillers


@losses.register("my-loss")
def my_loss(logits, targets):
    T = 2.0
    return plugged_helper.scale(T**2 * logits.square().mean())


@models.register("my-model")
def my_model(shape, classes):
    return models.build("convnet1(width=4)", shape, classes)


@optimizers.registry.register("my-optimizer")
def my_optimizer(model, *, lr=0.1):
    return optimizers.create("sgd(lr=0.1)", model)


@augmentations.register("my-augmentation")
def my_augmentation(batch, generator, *, strength=0.1):
    return batch + strength * augmentations.uniforms(*batch.shape, device=batch.device, generator=generator)


@optimizers.schedules.register("my-schedule")
def my_schedule(optimizer, epochs):
    return optimizers.create_schedule("constant", optimizer, epochs)


@distillers.register("my-distiller")
def my_distiller(source):
    return distillers.create("random")(source)


@datasets.register("my-digits")
def my_digits(data_dir):
    return datasets.load("digits", data_dir)


@scenarios.register("my-scenario")
class MyScenario(Scenario):
    '''One training.'''
"""
#: What touches a plugin: keys of the board, and what the trial calls it.
TOUCHED: dict[str, tuple[dict[str, str], str]] = {
    "loss": ({"loss": "my-loss"}, "loss my-loss"),
    "loss in a loss": ({"loss": "refined(native='my-loss')"}, "loss my-loss"),
    "model": ({"model": "my-model"}, "model my-model"),
    "optimizer": ({"optimizer": "my-optimizer"}, "optimizer my-optimizer"),
    "schedule": ({"schedule": "my-schedule"}, "schedule my-schedule"),
    "augmentation": ({"augmentation": "flip+pad-crop+my-augmentation(strength=0.2)"}, "augmentation my-augmentation"),
    "distiller": ({"method": "my-distiller"}, "distiller my-distiller"),
    "dataset": ({"dataset": "my-digits"}, "dataset my-digits"),
    "scenario": ({"scenario": "my-scenario"}, "scenario my-scenario"),
    "teacher": ({"teacher": "my-model", "loss": "kl"}, "model my-model"),
}


class Missing(Exception):
    """Trials were to be trained, which is another test's business."""


@dataclass
class Watch(Silent):
    """What was said, and how many trials there were and how many to run; training is not come to."""

    said: list[str] = field(default_factory=list)
    counts: tuple[int, int] = (0, 0)

    def say(self, line: str) -> None:
        self.said.append(line)

    def planned(self, count: int, missing: Any) -> None:
        self.counts = (count, len(missing))
        if missing:
            raise Missing


@pytest.fixture(autouse=True)
def _own_cache(cache: Path) -> Iterator[None]:
    yield
    forget()


def forget() -> None:
    """Let plugins be loaded anew, as in another process."""
    import sys

    for registry in plugged.REGISTRIES.values():
        for name in [name for name in registry.names() if name.startswith("my-")]:
            registry.remove(name)
    for name in [name for name in sys.modules if name == "plugged_helper" or name.startswith("giftbench_plugin_plugin_")]:
        del sys.modules[name]


def board(folder: Path, **keys: str) -> Path:
    """Write a board and its plugin, and return its file."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "board.toml").write_text(BOARD.format(**USUAL | keys))
    (folder / "plugin.py").write_text(PLUGIN)
    (folder / "plugged_helper.py").write_text("def scale(x):\n    return x\n")
    return folder / "board.toml"


def edit(file: Path, old: str, new: str) -> None:
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new))


def trials_of(file: Path) -> list[Trial]:
    forget()
    return planned(file)


def run(file: Path) -> Watch:
    """Run a board as a process of its own would, as far as the training; write the leaderboard of one that is done."""
    forget()
    watch = Watch()
    with suppress(Missing):
        leaderboard(run_board(file, Overrides(), Options(device="cpu", jobs=1), watch))
    return watch


@pytest.mark.parametrize("what", TOUCHED)
def test_an_edited_plugin_s_trials_are_others_and_which_records_are_old_is_said(what: str, tmp_path: Path) -> None:
    keys, key = TOUCHED[what]
    file = board(tmp_path / "board", **keys)
    before = trials_of(file)
    assert {trial.setup.plugins[key].source for trial in before} == {"plugin.py"}
    edit(file.parent / "plugin.py", "T = 2.0", "T = 3.0")  # the file is what counts
    after = trials_of(file)
    assert len(after) == len(before) == 2
    assert {trial.id for trial in after} & {trial.id for trial in before} == set()
    assert before[0].setup.together == after[0].setup.together or not what.startswith("loss")  # losses are stacked all the same
    digest = before[0].setup.plugins[key].digest
    said = [*plugged.said(after, records_for(before), {})]
    assert said == [f"2 records were made by an earlier plugin.py (sha {digest[:8]}): they are run again"]
    assert plugged.outdated(before[0].setup, {}) == (f"plugin.py ({digest[:8]})",)
    assert plugged.outdated(after[0].setup, {}) == ()


def test_the_loss_of_the_issue_multiplied_by_nothing_runs_all_its_trials_again_and_shows_none_of_the_old(tmp_path: Path) -> None:
    file = board(tmp_path / "board", loss="my-loss", scenario="cross-optimizer")
    edit(file, "seeds = 2", "seeds = 16")
    before = trials_of(file)
    fill(file, before)
    assert run(file).counts == (48, 0)
    edit(file.parent / "plugin.py", "T**2 * logits", "0 * logits")
    old, watch = before[0].setup.plugins["loss my-loss"].digest[:8], run(file)
    assert watch.counts == (48, 48)
    assert watch.said == [f"48 records were made by an earlier plugin.py (sha {old}): they are run again"]

    after = trials_of(file)
    fill(file, after)
    new, watch = after[0].setup.plugins["loss my-loss"].digest[:8], run(file)
    assert (watch.counts, watch.said) == ((48, 0), [])
    text = (file.parent / "README.md").read_text()
    assert f"Not shown: 48 records made by an earlier plugin.py ({old})." in text
    assert f"- Plugin: loss my-loss of plugin.py ({new})." in text
    assert text.count(old) == 1

    (file.parent / "plugin.py").write_text(PLUGIN)
    watch = run(file)
    assert (watch.counts, watch.said) == ((48, 0), [])
    text = (file.parent / "README.md").read_text()
    assert f"- Plugin: loss my-loss of plugin.py ({old})." in text and f"an earlier plugin.py ({new})" in text


def test_an_edited_file_that_a_plugin_imports_beside_itself_makes_other_trials(tmp_path: Path) -> None:
    file = board(tmp_path / "board", loss="my-loss")
    fill(file, planned(file))
    assert run(file).counts == (2, 0)
    edit(file.parent / "plugged_helper.py", "return x", "return 0 * x")
    watch = run(file)
    assert watch.counts == (2, 2)
    assert watch.said[0].startswith("2 records were made by an earlier plugin.py")


def test_an_edited_package_makes_other_trials_though_its_version_is_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import sys

    from harness import losses

    installed = package(tmp_path, text="def mine(logits, targets): return (2.0 * logits).square().mean()\n")
    about = installed.parent / "gift_pack-1.0.dist-info"
    (about / "entry_points.txt").write_text("[giftbench.losses]\nmy-packed = gift_pack.inner:mine\n")
    monkeypatch.syspath_prepend(installed.parent)

    def process() -> None:
        losses.registry.remove("my-packed")
        losses.registry._scanned = False
        for name in [name for name in sys.modules if name.startswith("gift_pack")]:
            del sys.modules[name]

    process()
    file = board(tmp_path / "board", loss="my-packed")
    before = planned(file)
    assert before[0].setup.plugins["loss my-packed"].source == "gift-pack 1.0"
    fill(file, before)
    monkeypatch.setattr("tests.running.test_plugged.forget", process)
    assert run(file).counts == (2, 0)
    edit(installed / "inner.py", "2.0", "0.0")
    watch = run(file)
    assert watch.counts == (2, 2)
    assert watch.said[0].startswith("2 records were made by an earlier gift-pack 1.0 (sha ")
    monkeypatch.undo()
    process()
    losses.registry.names()


def test_a_notebook_s_function_is_in_the_id_and_another_cell_makes_another_trial(plan: Any) -> None:
    from harness import losses

    ids = []
    for number in (2.0, 0.0):
        mine = cell(f"def mine(logits, targets):\n    return {number} * logits.square().mean()\n")
        losses.register("my-cell")(mine)
        (trial,) = plan(losses=["my-cell"], scenarios=["loss-comparison"])
        assert trial.setup.plugins["loss my-cell"].digest == of_code(mine).digest
        assert trial.setup.plugins["loss my-cell"].source == "mine of no file (its source)"
        losses.registry.remove("my-cell")
        ids.append(trial.id)
    assert len(set(ids)) == 2


# -- what touches no plugin, and old records ------------------------------------------------------------------------------------


def test_what_ships_says_nothing_of_plugins_and_keeps_its_ids(plan: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    (trial,) = plan(losses=["kl"], scenarios=["loss-comparison"])
    assert "plugins" not in trial.canonical and "versions" not in trial.canonical
    assert not {"plugins", "versions"} & trial.model_dump(mode="json").keys()
    assert not {"plugins", "versions"} & trial.setup.model_dump(mode="json").keys()


def test_a_raised_version_of_what_ships_makes_another_trial(plan: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from harness import losses
    from harness.augmentation import words

    (trial,) = plan(losses=["kl"], scenarios=["loss-comparison"])
    monkeypatch.setattr(losses.registry._entries["kl"], "version", 2)
    (raised,) = plan(losses=["kl"], scenarios=["loss-comparison"])
    monkeypatch.setitem(words.VERSIONS, "dsa:cutout", 3)
    (both,) = plan(losses=["kl"], scenarios=["loss-comparison"])
    assert raised.setup.versions == {"loss kl": 2}
    assert both.setup.versions == {"augmentation dsa:cutout": 3, "loss kl": 2}
    assert len({trial.id, raised.id, both.id}) == 3
    (other,) = plan(losses=["ce"], scenarios=["loss-comparison"], protocol={"name": "smoke", "augmentation": "flip"})
    assert other.setup.versions == {}


def test_records_of_a_time_before_sources_were_noted_are_run_again_unless_the_board_says_of_which_they_are(
    tmp_path: Path,
) -> None:
    file = board(tmp_path / "board", loss="my-loss")
    noted = planned(file)
    digest = noted[0].setup.plugins["loss my-loss"].digest
    fill(file, [trial.model_copy(update={"plugins": {}}) for trial in noted])
    watch = run(file)
    assert watch.counts == (2, 2)
    assert watch.said == ["2 records were made by an earlier plugin.py (sha not noted): they are run again"]

    edit(file, "seeds = 2", f'seeds = 2\nunnoted = {{ "plugin.py" = "{digest}" }}')
    watch = run(file)
    assert (watch.counts, watch.said) == ((2, 0), [])
    text = (file.parent / "README.md").read_text()
    assert "Not shown" not in text and "Trials: 2 done" in text
    assert trials_of(file)[0].setup.plugins == {"loss my-loss": PluginSource(source="plugin.py", digest=digest, hashed=False)}

    edit(file.parent / "plugin.py", "T = 2.0", "T = 3.0")
    watch = run(file)
    assert watch.counts == (2, 2)
    assert watch.said == [f"2 records were made by an earlier plugin.py (sha {digest[:8]}): they are run again"]


def test_committed_boards_plugins_are_those_that_their_records_were_made_by() -> None:
    from harness.boards.board import load_board

    root = Path(__file__).parents[2] / "leaderboards"
    boards = [file for file in root.glob("*/board.toml") if load_board(file).plugins]
    assert boards
    for file in boards:
        board, stated = load_board(file), dict[str, str]()
        for plugin in board.plugins:
            place = (file.parent / plugin).resolve()
            plugins.load_file(place)  # once a process: what it registers may be gone by now, its module is not
            module = next(module for module in [*sys.modules.values()] if getattr(module, "__file__", None) == str(place))
            scenario = next(thing for thing in vars(module).values() if getattr(thing, "__module__", "") == module.__name__)
            source = sources.of_object(scenario, module.__name__)
            assert source is not None
            stated[source.name] = source.digest
        trials = [json.loads(path.read_text("utf-8"))["trial"] for path in (file.parent / "records").glob("*.json")]
        entries = [plugin for trial in trials for plugin in trial.get("plugins", {}).values()]
        noted = {plugin["source"]: plugin["digest"] for plugin in entries if plugin["hashed"]}
        assert noted.keys().isdisjoint(board.unnoted)
        message = f"{file}: a plugin was edited: run the board again, or state what made its records"
        assert stated == noted | board.unnoted, message


# -- workers -----------------------------------------------------------------------------------------------------------------


def test_a_trial_whose_plugin_was_changed_after_it_was_planned_is_refused(tmp_path: Path) -> None:
    file = board(tmp_path / "board", loss="my-loss")
    trial = planned(file)[0]
    plugged.check(trial)
    edit(file.parent / "plugin.py", "T**2 * logits", "0 * logits")
    forget()
    plugins.load_file(file.parent / "plugin.py")
    with pytest.raises(
        PluginError, match=r"^loss my-loss: plugin.py was changed after the trial was planned \(sha \w{8} then, \w{8} here\); "
    ):
        plugged.check(trial)


def test_a_worker_that_loads_another_file_than_was_planned_with_fails_the_trial(tmp_path: Path) -> None:
    file = board(tmp_path / "board", loss="my-loss")

    class Editor(Silent):
        def planned(self, count: int, missing: Any) -> None:
            edit(file.parent / "plugin.py", "T**2 * logits", "0 * logits")

    summary = run_board(file, Overrides(seeds=1), Options(device="cpu", jobs=1), Editor())
    (record,) = RecordStore(file.parent / "records").read()
    assert summary.failed == {record.id: record.error}
    assert record.error.startswith("PluginError: loss my-loss: plugin.py was changed after the trial was planned (sha ")
