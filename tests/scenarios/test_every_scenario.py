"""What holds for each scenario that ships: what it says of itself, its table of half the records, where its test is."""

from __future__ import annotations

import ast
import csv
import io
import re
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from harness import Measure, Paper, Scenario, scenarios
from harness.boards.board import load_board
from harness.boards.frames import to_frame
from harness.boards.records import Record
from harness.boards.trial import Trial
from harness.cli.scaffold import KINDS
from harness.leaderboard.files import table_csv
from harness.leaderboard.latex import table_tex, tex
from harness.leaderboard.page.rows import long_table
from harness.running.scenario import named
from tests.scenarios.looking import RANDOM, RDED, fake

ROOT = Path(__file__).parents[2]
SHIPPED = [name for name in scenarios.names() if scenarios.describe(name).origin == "giftbench"]
GIFT = "arXiv 2405.14736"


@pytest.mark.parametrize("name", ["loss-comparison", "label-ablation", "gamma-sweep", "gradient-scale", "label-regime"])
def test_a_table_of_half_the_records_holds_what_there_is(plan: Callable[..., list[Trial]], name: str) -> None:
    trials = plan(seeds=2, sets=[RANDOM, RDED], scenarios=[name])
    done = fake(trials, lambda t: 50.0)[::3]
    failed = Record.of(trials[1], "failed", error="boom")
    tables = named(name).tables(to_frame([*done, failed]))
    assert tables
    assert sum(int(n) for table in tables for n in table.cells["n"].fillna(0)) >= len(done)


#: What stands under the columns of each scenario's tables that are no accuracies of tests.
FRACTION, SCORE, POINTS = "difference of accuracies as fractions", "score from 0 to 1", "points of accuracy"
OWN = {
    "class-incremental": {"average": "average incremental accuracy in %", "forgetting": "forgetting in points"},
    "dd-ranking": {"HLR": FRACTION, "IOR": FRACTION, "LRS": SCORE, "ARS": SCORE},
    "gamma-sweep": {"best": "gamma of the highest mean", "as good": "gammas not told from it"},
    "gradient-scale": {"best": "multiplier of the highest mean", "gain over 1": POINTS},
    "label-regime": {"gain over random": POINTS},
}


def everything(trials: list[Trial]) -> list[Record]:
    """Records that have whatever a scenario that ships asks for: the numbers tell the measures apart."""
    metrics = {"accuracy": 50.0, "best_accuracy": 60.0, "average_incremental": 70.0, "forgetting": 3.0}
    history = [{"step": step, "classes": 5 * step, "accuracy": 100.0 - 25 * step, "top5_accuracy": 90.0} for step in (1, 2)]
    return [
        Record.of(trial, "done", metrics={name: value + trial.seed for name, value in metrics.items()}, history=history)
        for trial in trials
    ]


@pytest.mark.parametrize("name", SHIPPED)
def test_every_table_says_what_stands_in_it_with_its_unit(plan: Callable[..., list[Trial]], name: str) -> None:
    """In a paper's caption, in a line of table.csv and on the page."""
    records = everything(plan(seeds=2, losses=["gift", "kl"], sets=[RANDOM, RDED], scenarios=[name]))
    tables = named(name).tables(to_frame(records))
    columns = {column for table in tables for _, column in table.column_labels}
    assert {*OWN.get(name, {})} <= columns
    expected = [{column: OWN.get(name, {}).get(column, "accuracy in %") for _, column in t.column_labels} for t in tables]
    assert [{column: table.shows(column) for _, column in table.column_labels} for table in tables] == expected
    captions = re.findall(r"\\caption\{(.*)\}", table_tex([(name, table) for table in tables]))
    for caption, quantities in zip(captions, expected, strict=True):
        assert all(tex(quantity).lower() in caption.lower() for quantity in quantities.values())
        assert ("accuracy in" in caption.lower()) == any("accuracy in" in quantity for quantity in quantities.values())
    lines = csv.DictReader(io.StringIO(table_csv([(name, table) for table in tables])))
    assert {line["quantity"] for line in lines} == {quantity for quantities in expected for quantity in quantities.values()}
    page = long_table(name, tables, {record.id: False for record in records})
    shown = {row.labels["quantity"] for row in page.rows}
    assert shown <= {quantity for quantities in expected for quantity in quantities.values()}
    assert ("quantity" in page.same) == (len(shown) == 1)


@pytest.mark.parametrize("name", SHIPPED)
def test_a_scenario_says_what_it_is(name: str) -> None:
    scenario = named(name)
    assert scenario.summary.endswith(".") and "\n" not in scenario.summary
    assert scenario.version == 1
    assert Measure.of(scenario.measure).name


@pytest.mark.parametrize("name", SHIPPED)
def test_the_summary_names_the_tables_and_figures_of_the_paper_that_a_scenario_repeats(name: str) -> None:
    """They are data, `paper`, and words, the summary, which committed leaderboards hold."""
    scenario = named(name)
    words = scenario.summary.partition("(GIFT paper, ")[2]
    said = {kind: re.findall(r"\d+", "".join(re.findall(rf"{kind}s? [\d, and]+", words))) for kind in ("Table", "Figure")}
    paper = scenario.paper if scenario.paper is not None and scenario.paper.reference == GIFT else Paper("")
    assert said == {"Table": [*paper.tables], "Figure": [*paper.figures]}
    assert scenario.paper in (None, paper) or scenario.paper.reference in scenario.summary


def test_the_boards_of_the_paper_ask_the_scenarios_that_repeat_their_tables_and_figures() -> None:
    folders = [path.parent for path in (ROOT / "leaderboards" / "paper").glob("*/board.toml")]
    assert folders
    for folder in folders:
        kind, number = re.fullmatch(r"(table|figure)(\d+)", folder.name).groups()  # type: ignore[union-attr]
        for name in {entry.name for part in load_board(folder).boards for entry in part.scenarios}:
            paper = named(name).paper
            assert paper is not None and number in (paper.tables if kind == "table" else paper.figures), folder.name


def test_one_that_has_its_own_run_says_so_and_the_others_train_one_student() -> None:
    assert [name for name in SHIPPED if not named(name).trains_one_student] == ["class-incremental"]
    assert not any(named(name).runs_bundles for name in SHIPPED)


def imports(text: str) -> set[str]:
    """Return the modules of ours that a file imports, or imports from."""
    nodes = [*ast.walk(ast.parse(text))]
    names = {node.module or "" for node in nodes if isinstance(node, ast.ImportFrom)}
    names |= {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    return {name for name in names if name.partition(".")[0] in ("harness", "scenarios")}


def plugins() -> Iterator[tuple[str, str]]:
    """Yield what is or shows a plugin: those that ship, those of committed boards, the tutorial's, and what is written anew."""
    for path in [*ROOT.glob("scenarios/*.py"), *ROOT.glob("leaderboards/*/*.py")]:
        yield path.relative_to(ROOT).as_posix(), path.read_text("utf-8")
    for page in ("README.md", "scenarios/README.md"):
        blocks = re.findall(r"^```python\n(.*?)^```$", (ROOT / page).read_text("utf-8"), re.MULTILINE | re.DOTALL)
        yield from (
            (f"{page}, block {i}", textwrap.dedent(re.sub(r"^# .*the class\n", "", block))) for i, block in enumerate(blocks)
        )
    for kind, (_, plugin, test) in KINDS.items():
        yield from ((f"new {kind}", text.format(name="mine", stem="mine", title="Mine")) for text in (plugin, test))


@pytest.mark.parametrize(("where", "text"), [pytest.param(*each, id=each[0]) for each in plugins()])
def test_what_a_plugin_needs_it_imports_from_the_package_itself(where: str, text: str) -> None:
    assert imports(text) <= {"harness", "harness.testing"}


def test_each_has_a_file_and_a_test_of_its_own() -> None:
    files = {path.stem for path in (ROOT / "scenarios").glob("*.py")} - {"__init__"}
    assert files == {name.replace("-", "_") for name in SHIPPED}
    assert files <= {path.stem.removeprefix("test_") for path in Path(__file__).parent.glob("test_*.py")}


def test_the_base_class_is_a_scenario_that_says_nothing() -> None:
    assert (Scenario().summary, Scenario().paper, Scenario.Options.model_fields) == ("", None, {})
