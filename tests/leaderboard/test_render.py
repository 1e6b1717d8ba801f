"""From records on disk to README.md, table.csv and timing.csv, and into another Markdown file."""

from __future__ import annotations

import csv
import io
import json
import random
import re
import subprocess
import sys
from pathlib import Path

import pandas
import pytest

from harness.boards.records import RecordStore
from harness.cli.main import main
from harness.core.errors import BoardError
from harness.core.spec import Spec
from harness.leaderboard.render import insert, render
from harness.leaderboard.tables import Table
from harness.running import plugged
from harness.running.prices import prices
from harness.running.scenario import named
from tests.conftest import toml
from tests.leaderboard.conftest import BOARD
from tests.leaderboard.looking import FILES, a_few, contents, table

pytestmark = pytest.mark.usefixtures("planted")


def test_records_that_have_been_read_are_not_read_again(planter, tmp_path, monkeypatch):
    a_few(planter)
    file = planter.board(tmp_path)
    held = RecordStore(tmp_path / "records").contents()
    render(file, named)
    before = contents(tmp_path)
    monkeypatch.setattr(RecordStore, "contents", lambda store: pytest.fail("read again"))
    (tmp_path / "README.md").unlink()
    render(file, named, held)
    assert contents(tmp_path) == before


def test_records_of_a_newer_giftbench_are_counted_and_the_others_shown(planter, tmp_path, caplog):
    a_few(planter)
    file = planter.board(tmp_path)
    render(file, named)
    before = contents(tmp_path)
    for name in "ab":
        (tmp_path / "records" / f"{name * 20}.json").write_text('{"schema": "giftbench.record/3"}')
    render(file, named)
    after = contents(tmp_path)
    said = " Not shown: 2 records made by a newer giftbench."
    for name in ("README.md", "index.html"):
        text = after.pop(name).decode()
        assert f" failed.{said}" in text
        assert text.replace(said, "") == before.pop(name).decode()
    assert after == before
    assert [line.partition(" (")[0] for line in caplog.messages] == [
        f"{tmp_path / 'records'}: 2 records made by a newer giftbench"
    ]
    page = tmp_path / "page.md"
    page.write_text(f"<!-- giftbench: {tmp_path.name} -->\n<!-- /giftbench -->\n")
    insert(page, file, named)
    assert said in page.read_text("utf-8")


def test_a_board_that_has_only_records_of_a_newer_giftbench_has_not_none(planter, tmp_path):
    file = planter.board(tmp_path)
    (tmp_path / "records").mkdir()
    (tmp_path / "records" / f"{'a' * 20}.json").write_text('{"schema": "giftbench.record/2"}')
    render(file, named)
    assert "\nTrials: 0 done, 0 diverged, 0 failed. Not shown: 1 record made by a newer giftbench.\n" in (
        tmp_path / "README.md"
    ).read_text("utf-8")


MARKUP = "<script>x</script> [a](http://b) | # h\n\n# heading"


def test_whatever_a_board_or_a_record_says_is_text(planter, tmp_path):
    """Every name that a record or a board states, and a failed trial's error, at once."""
    names = ("dataset", "method", "loss", "optimizer", "teacher", "protocol", "adaptation")
    said = {name: f"{name} {MARKUP}" for name in names} | {"native": f"loss {MARKUP}", f"own {MARKUP}": MARKUP}
    spec = Spec(name="kl")
    for seed, status in enumerate(("done", "done", "failed")):
        planter.plant(50.0, seed=seed, status=status, error=MARKUP, loss_spec=spec, device=f"CPU {MARKUP}", **said)
    planter.plant(50.0, scenario=MARKUP, versions={MARKUP: MARKUP}, options={MARKUP: MARKUP}, distilled=MARKUP)
    planter.plant(50.0, scenario=MARKUP, options={MARKUP: "other"}, distilled=MARKUP[::-1])
    planter.plant(50.0, loss="=1+1", loss_spec=spec, method="@SUM(A1)", optimizer="-x")
    heads = {"title": toml(MARKUP), "description": toml(f"A line.\n\n{MARKUP}")}
    text = "".join(f"{key} = {value}\n" for key, value in heads.items())
    file = planter.board(tmp_path / "one", text + BOARD[BOARD.index("dataset") :])
    render(file, named)
    page = contents(tmp_path / "one")["README.md"].decode()
    shown = re.sub(r"`[^`\n]*`", "", page)  # what is code is none of it
    assert "script" in shown
    assert not re.search(r"(?<!\\)<(?!/?u>)", shown)
    assert not re.search(r"\](?<!\\)\((?!figures/)", shown)
    assert "http://" not in shown
    assert not re.search(r"^#+ heading", shown, re.MULTILINE)
    table = [line for line in shown.splitlines() if line.startswith("|")]
    assert len({len(re.findall(r"(?<!\\)\|", line)) for line in table}) <= 2 * page.count("\n|:")
    for name in ("table.csv", "timing.csv"):
        rows = [*csv.reader(io.StringIO(contents(tmp_path / "one")[name].decode()))]
        assert [
            cell for row in rows for cell in row if cell[:1] in "=+-@" and cell and not re.fullmatch(r"[-+][\d.e-]+", cell)
        ] == []
        assert any("'=1+1" in row for row in rows)


# -- the files -----------------------------------------------------------------------------------------------------------


def test_a_board_is_rendered_into_four_files(planter, tmp_path):
    a_few(planter)
    planter.plant(None, loss="kl", optimizer="sgd", seed=3, status="failed", error="OSError: /home/me/x")
    planter.plant(9.0, loss="kl", optimizer="sgd", seed=4, status="diverged")
    paths = render(planter.board(tmp_path / "mine"), named)
    assert [path.name for path in paths] == FILES
    assert all(path.parent == tmp_path / "mine" for path in paths)
    text = paths[0].read_text("utf-8")
    assert text.startswith("# Planted\n\nRecords planted by a test.\n\nRun or continue this board with `giftbench run mine`;")
    assert "\nTrials: 12 done, 1 diverged, 1 failed. `giftbench run mine --retry` repeats the failed ones.\n" in text
    assert "\n## planted\n\nWhat a test planted.\n\n### digits, IPC 10\n\n| set" in text
    assert text.endswith("torch 2.9.1.\n")
    assert not any(line != line.rstrip() for line in text.splitlines())


def test_the_same_records_give_the_same_bytes_wherever_they_lie(planter, new_planter, tmp_path):
    a_few(planter)
    render(planter.board(tmp_path / "one" / "board"), named)
    shuffled = new_planter()
    shuffled.records = random.Random(1).sample(planter.records, len(planter.records))
    render(shuffled.board(tmp_path / "two" / "board"), named)
    assert contents(tmp_path / "one" / "board") == contents(tmp_path / "two" / "board")
    everything = b"".join(contents(tmp_path / "one" / "board").values())
    assert str(tmp_path).encode() not in everything
    assert planter.records[0].created[:10].encode() not in everything


def test_deleted_files_come_back_with_the_same_bytes(planter, tmp_path):
    a_few(planter)
    file = planter.board(tmp_path)
    before = (render(file, named), contents(tmp_path))
    for name in FILES:
        (tmp_path / name).unlink()
    assert (render(tmp_path, named), contents(tmp_path)) == before


def test_files_that_do_not_change_are_not_touched_and_none_is_left_over(planter, tmp_path):
    a_few(planter)
    file = planter.board(tmp_path)
    paths = render(file, named)
    stamps = [path.stat().st_mtime_ns for path in paths]
    inodes = [path.stat().st_ino for path in paths]
    render(file, named)
    assert [path.stat().st_mtime_ns for path in paths] == stamps
    planter.plant(10.0, loss="ce")
    planter.board(tmp_path)
    render(file, named)
    assert [path.stat().st_ino for path in paths] != inodes
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([*FILES, "board.toml", "records"])


def test_an_interrupted_write_leaves_the_old_file_whole(planter, tmp_path, monkeypatch):
    a_few(planter)
    file = planter.board(tmp_path)
    render(file, named)
    before = contents(tmp_path)
    planter.plant(10.0, loss="ce")
    planter.board(tmp_path)

    def crash(*_):
        raise OSError("disk full")

    monkeypatch.setattr("os.fsync", crash)
    with pytest.raises(OSError, match="disk full"):
        render(file, named)
    assert contents(tmp_path) == before
    assert not list(tmp_path.glob(".*.tmp"))


def test_a_board_without_records_says_so(planter, tmp_path):
    file = planter.board(tmp_path)
    render(file, named)
    text = (tmp_path / "README.md").read_text("utf-8")
    assert "No records yet: nothing has been run." in text
    assert "## planted\n\nWhat a test planted.\n\nNo records yet.\n" in text
    assert (tmp_path / "table.csv").read_text().count("\n") == 1
    assert (tmp_path / "timing.csv").read_text().count("\n") == 1


def test_a_board_whose_records_all_failed_is_rendered(planter, tmp_path):
    for seed in (0, 1):
        planter.plant(None, seed=seed, status="failed", error="RuntimeError: boom")
    render(planter.board(tmp_path), named)
    text = (tmp_path / "README.md").read_text("utf-8")
    assert "Trials: 0 done, 0 diverged, 2 failed." in text
    assert "— failed (a)" in text
    assert "- (a) failed: `RuntimeError: boom`" in text


def test_scenarios_stand_in_the_boards_order_then_the_others_by_name(planter, tmp_path):
    for name in ("zebra", "apple", "planted"):
        planter.cell(80.0, scenario=name)
    text = planter.board(tmp_path).read_text()
    text = 'scenarios = ["yak", "planted"]\n' + text.replace('[[scenarios]]\nname = "planted"\n', "")
    (tmp_path / "board.toml").write_text(text)
    render(tmp_path, named)
    heads = [line for line in (tmp_path / "README.md").read_text("utf-8").splitlines() if line.startswith("## ")]
    assert heads == ["## Summary", "## yak", "## planted", "## apple", "## zebra"]
    assert list(table(tmp_path)["scenario"]) == ["planted", "apple", "zebra"]


def test_a_scenario_that_is_not_installed_is_shown_in_the_default_layout(planter, tmp_path):
    planter.cell(80.0, scenario="gone")
    render(planter.board(tmp_path), named)
    text = (tmp_path / "README.md").read_text("utf-8")
    note = "The scenario is not installed here: its records are shown in the default layout."
    assert f"## gone\n\n{note}\n\n### digits, IPC 10" in text
    assert "80.0" in text


@pytest.mark.parametrize("made", ["raise", "wrong"])
def test_a_scenario_whose_tables_fail_is_shown_in_the_default_layout(planter, planted, tmp_path, made):
    def tables(self, records):
        return [records] if made == "wrong" else records["nonsense"]

    planted.tables = tables
    planter.cell(80.0)
    render(planter.board(tmp_path), named)
    text = (tmp_path / "README.md").read_text("utf-8")
    assert f"The scenario's own tables failed (`{'TypeError' if made == 'wrong' else 'KeyError'}: " in text
    assert "80.0" in text


def test_a_scenario_may_make_tables_of_its_own(planter, planted, tmp_path):
    def tables(self, records):
        cells = pandas.DataFrame({"method": "RDED", "row": ["kl"], "ipc": 10, "column": "forgetting", "value": "3.1"})
        return [Table("Forgetting", cells, "loss", "metric", (("RDED", "kl"),), (("10", "forgetting"),), notes=["Mine."])]

    planted.tables = tables
    planter.cell(80.0)
    render(planter.board(tmp_path), named)
    text = (tmp_path / "README.md").read_text("utf-8")
    assert "### Forgetting\n\n| set   | loss   |   forgetting |\n" in text
    assert "| RDED  | kl     |          3.1 |\n\n- Mine.\n" in text
    assert table(tmp_path)["metric"].tolist() == ["forgetting"]


def test_what_no_label_shows_is_kept_apart_on_disk_too(planter, tmp_path):
    planter.plant(80.0, seed=0)
    planter.plant(20.0, seed=1, weights="f" * 64)
    planter.plant(30.0, seed=2, data="c" * 64)
    planter.plant(40.0, seed=3, loss_spec="kl(temperature=9)")
    render(planter.board(tmp_path), named)
    assert table(tmp_path)["n"].tolist() == [1, 1, 1, 1]
    titles = " | ".join(table(tmp_path)["table"])
    assert "[ffffffff]" in titles
    assert "dataset files cccccccc" in titles
    assert "variant 2" in titles


def test_a_folder_without_a_board_is_refused(tmp_path):
    with pytest.raises(BoardError, match="no board here"):
        render(tmp_path, named)


def test_rendering_imports_no_torch(planter, tmp_path):
    planter.cell(80.0, 81.0)
    planter.cell(80.0, scenario="gone")
    planter.board(tmp_path / "mine")
    (tmp_path / "page.md").write_text("<!-- giftbench: mine -->\n<!-- /giftbench -->\n")
    script = """
import sys
from harness import Scenario, scenarios
from harness.leaderboard.render import insert, render
from harness.running.scenario import named
scenarios.register("planted")(type("Planted", (Scenario,), {}))
render(sys.argv[1], named)
assert insert(sys.argv[2], sys.argv[1], named)
heavy = {"torch", "timm", "kornia", "torchvision", "avalanche", "matplotlib", "harness.training.loop"} & {*sys.modules}
assert not heavy, heavy
"""
    command = [sys.executable, "-c", script, str(tmp_path / "mine"), str(tmp_path / "page.md")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "mine" / "README.md").exists()


# -- into another file ---------------------------------------------------------------------------------------------------


def page(tmp_path: Path, name: str = "mine", newline: str = "\n") -> Path:
    lines = ["# Project", "", f"<!-- giftbench: {name} -->", "old", "<!-- /giftbench -->", "", "After.", ""]
    (tmp_path / "page.md").write_bytes(newline.join(lines).encode())
    return tmp_path / "page.md"


def test_tables_go_between_the_markers_and_nothing_else_changes(planter, tmp_path):
    a_few(planter)
    planter.plant(None, loss="ce", status="failed", error="boom")
    file, readme = planter.board(tmp_path / "boards" / "mine"), page(tmp_path)
    assert insert(readme, file, named) is True
    text = readme.read_text("utf-8")
    assert text.startswith("# Project\n\n<!-- giftbench: mine -->\n\nTrials: 12 done, 0 diverged, 1 failed. Rendered from")
    assert text.endswith("\n\n<!-- /giftbench -->\n\nAfter.\n")
    assert "\nold\n" not in text
    assert "`giftbench table boards/mine`" in text
    assert "\n### planted\n\nWhat a test planted.\n\n#### digits, IPC 10\n\n| set" in text
    assert text.index("(a) failed: `boom`") < text.index("<details>") < text.index("- Accuracy in percent")
    assert insert(readme, file, named) is False
    assert readme.read_text("utf-8") == text


def test_only_the_boards_own_place_is_filled(planter, tmp_path):
    a_few(planter)
    readme = page(tmp_path)
    other = "<!-- giftbench: other -->\nkeep\n<!-- /giftbench -->\n"
    readme.write_text(other + readme.read_text() + other)
    insert(readme, planter.board(tmp_path / "mine"), named)
    text = readme.read_text("utf-8")
    assert text.startswith(other)
    assert text.endswith(other)
    assert "#### digits" in text


def test_a_place_for_one_scenario_holds_that_one_alone(planter, tmp_path):
    a_few(planter)
    planter.plant(50.0, scenario="another")
    readme = page(tmp_path, "mine/another")
    assert insert(readme, planter.board(tmp_path / "mine"), named) is True
    text = readme.read_text("utf-8")
    assert "Trials: 1 done" in text
    assert "### another" in text
    assert "### planted" not in text


def test_a_place_for_a_scenario_that_is_not_there_is_refused(planter, tmp_path):
    a_few(planter)
    readme = page(tmp_path, "mine/plantd")
    with pytest.raises(BoardError, match="no scenario 'plantd' here; did you mean 'planted'"):
        insert(readme, planter.board(tmp_path / "mine"), named)


def test_whether_a_file_is_what_the_records_give_is_said_by_the_exit_status(planter, tmp_path, monkeypatch, capsys):
    a_few(planter)
    file, readme = planter.board(tmp_path / "mine"), page(tmp_path)
    monkeypatch.setattr(plugged, "outdated", lambda setup, unnoted: ())  # planted records note no plugin, as old ones do not

    def checked() -> tuple[object, str]:
        monkeypatch.setattr(sys, "argv", ["giftbench", "table", str(file), "--check", str(readme)])
        with pytest.raises(SystemExit) as ended:
            main()
        return ended.value.code, capsys.readouterr().out

    (tmp_path / "mine" / "records").rename(tmp_path / "aside")
    assert checked() == (0, f"{readme}: not compared; {file} has no records here\n")
    (tmp_path / "aside").rename(tmp_path / "mine" / "records")
    assert checked() == (1, f"{readme}: not what the records give of {file}\n")
    insert(readme, file, named, prices=prices)
    assert checked() == (0, f"{readme}: as the records of {file}\n")
    assert not (tmp_path / "mine" / "README.md").exists()


def test_line_ends_of_the_file_are_kept(planter, tmp_path):
    a_few(planter)
    readme = page(tmp_path, newline="\r\n")
    insert(readme, planter.board(tmp_path / "mine"), named)
    content = readme.read_bytes()
    assert content.count(b"\n") == content.count(b"\r\n") > 20


@pytest.mark.parametrize(
    "content",
    [
        "# nothing\n",
        "<!-- giftbench: mine -->\n",
        "<!-- giftbench: mine -->\n<!-- giftbench: other -->\n<!-- /giftbench -->\n",
        None,
    ],
)
def test_missing_markers_are_an_error_that_says_what_to_write(planter, tmp_path, content):
    file = planter.board(tmp_path / "mine")
    if content is not None:
        (tmp_path / "page.md").write_text(content)
    with pytest.raises(BoardError, match=r"page\.md: no "):
        insert(tmp_path / "page.md", file, named)
    assert content is None or (tmp_path / "page.md").read_text() == content


def test_a_file_that_is_not_text_is_refused(planter, tmp_path):
    (tmp_path / "page.md").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(BoardError, match="not UTF-8"):
        insert(tmp_path / "page.md", planter.board(tmp_path / "mine"), named)


def test_records_of_a_board_that_was_tried_out_are_marked_and_come_last(planter, tmp_path):
    """Where there are others; whatever order they were planned in."""
    planter.cell(11.0, 12.0, protocol="smoke", epochs=2, order=0)
    planter.cell(13.0, 14.0, protocol="smoke, 3 epochs", epochs=3, order=7)
    render(planter.board(tmp_path / "tried"), named)
    alone = (tmp_path / "tried" / "README.md").read_text("utf-8")
    assert "only tried out" not in alone
    planter.cell(80.0, 81.0, protocol="quick", epochs=100, order=5)
    file = planter.board(tmp_path / "mine")
    render(file, named)
    page = (tmp_path / "mine" / "README.md").read_text("utf-8")
    assert page.index("80.5") < page.index("11.5") < page.index("13.5")
    headings = [line for line in page.splitlines() if line.startswith("###")]
    assert ["only tried out" in line for line in headings] == [False, True, True]
    (tmp_path / "page.md").write_text("<!-- giftbench: mine -->\n<!-- /giftbench -->\n", "utf-8")
    insert(tmp_path / "page.md", file, named)
    inserted = (tmp_path / "page.md").read_text("utf-8")
    assert inserted.index("80.5") < inserted.index("11.5") < inserted.index("13.5")


def test_a_scenario_on_request_has_no_empty_section(planter, planted, tmp_path):
    planter.cell(80.0)
    board = planter.board(tmp_path)
    board.write_text(board.read_text("utf-8") + '\n[[scenarios]]\nname = "gamma-sweep"\non_request = true\n', "utf-8")
    render(board, named)
    assert "gamma-sweep" not in (tmp_path / "README.md").read_text("utf-8")


BIG = 10**400


@pytest.mark.parametrize(
    "labels",
    [
        *({name: BIG} for name in ("order", "ipc", "images", "learning_rate", "teacher_accuracy", "epochs", "batch_size", "own")),
        {"options": {"steps": BIG, "classes": [[BIG]]}},
        {"options": {"loss": {"a": [None]}, "row": []}, "own": True},
        dict.fromkeys(("accuracy", "id", "status", "seed", "row", "column", "setting", "history", "cell"), "text"),
        {
            "metrics": dict.fromkeys(
                ("seed", "status", "scenario", "history", "options", "id", "order", "method", "warnings"), 1.0
            )
        },
    ],
    ids=lambda labels: " ".join(labels)[:40],
)
def test_a_record_that_states_things_of_another_kind_is_rendered_with_the_others(planter, tmp_path, labels):
    """Whatever a trial says of itself: its id does not rest on it, so nothing else can have checked it."""
    planter.cell(50.0, 51.0)
    record = planter.plant(40.0, loss="mse", **{k: v for k, v in labels.items() if k in ("options", "metrics")})
    own = {name: value for name, value in labels.items() if name not in ("options", "metrics")}
    content = record.model_dump(mode="json", by_alias=True)
    content["trial"]["labels"] |= own
    file = planter.board(tmp_path)
    (tmp_path / "records" / f"{record.id}.json").write_text(json.dumps(content))
    render(file, named)
    page = contents(tmp_path)["README.md"].decode()
    assert "tables failed" not in page
    assert "50.5 ± 0.7" in page
