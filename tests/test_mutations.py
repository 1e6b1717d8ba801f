"""Boards, records, sets and command lines changed at random: the command line answers each with a status and lines, nothing else.

A few dozen of each kind; `GIFTBENCH_FUZZ=5000` makes it so many in all (`tox run -e faults`). Nothing is trained.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import resource
import shutil
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as some

from harness import DistilledSet
from harness.boards.trial import Trial
from harness.cli.main import main
from tests.conftest import board_text
from tests.leaderboard.conftest import BOARD, Planter

#: Mutations of each of the four kinds.
COUNT = max(10, int(os.environ.get("GIFTBENCH_FUZZ", "60")) // 4)
#: Seconds that a command may take, and MiB that all of them together may add.
SECONDS, MEMORY = 60, 1500
often = settings(
    max_examples=COUNT,
    deadline=None,
    derandomize=COUNT < 1000,
    database=None,
    suppress_health_check=[*HealthCheck],
)
#: What takes the place of any value.
VALUES = some.one_of(
    some.none(),
    some.booleans(),
    some.sampled_from([0, -1, 2**63, 2**64, 10**400, 1e308, -0.0, float("inf"), float("nan")]),
    some.integers(-3, 300),
    some.text(max_size=8),
    some.sampled_from(["", "paper", "gift(gamma=0.2)", "../..", "/dev/zero", "\0", "<script>", "=1", "a\nb", "((", "x" * 2000]),
    some.lists(some.integers(0, 3), max_size=3),
    some.dictionaries(some.text(max_size=3), some.integers(0, 3), max_size=2),
)


def answer(*words: object) -> tuple[int, str]:
    """Run the command line in this process; return its status and what it said. Whatever it raises else is the test's failure."""
    said, argv = io.StringIO(), sys.argv
    sys.argv = ["giftbench", *map(str, words)]
    try:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(said), in_time():
            main()
    except SystemExit as end:
        return int(end.code or 0), said.getvalue()
    finally:
        sys.argv = argv
    return 0, said.getvalue()


@contextlib.contextmanager
def in_time() -> Iterator[None]:
    def late(*_: object) -> None:
        pytest.fail(f"no answer within {SECONDS} seconds")

    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(SECONDS)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def check(words: tuple[object, ...], whatever: bool = False) -> None:
    """Run a command and check that its answer is one: short lines, and one alone where the input is wrong."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    status, said = answer(*words)
    lines = said.splitlines()
    assert status in (0, 1, 2), said
    assert "Traceback" not in said
    assert all(len(line) < 500 for line in lines)
    if status == 2 and not whatever:
        assert sum(line.startswith("giftbench: ") for line in lines) == 1, said
        assert lines[-1].startswith("giftbench: "), said
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < MEMORY * 1024


def anywhere(content: Any, draw: Callable[..., Any]) -> Any:
    """Return JSON in which one value, however deep, is another, is gone, or has company."""
    if isinstance(content, dict) and content and draw(some.integers(0, 5)):
        name = draw(some.sampled_from(sorted(content)))
        return {**content, name: anywhere(content[name], draw)}
    if isinstance(content, list) and content and draw(some.integers(0, 3)):
        place = draw(some.integers(0, len(content) - 1))
        return [*content[:place], anywhere(content[place], draw), *content[place + 1 :]]
    if isinstance(content, dict) and content and draw(some.booleans()):
        gone = draw(some.sampled_from(sorted(content)))
        return {name: value for name, value in content.items() if name != gone}
    if isinstance(content, dict) and draw(some.booleans()):
        return {**content, draw(some.text(max_size=6)): draw(VALUES)}
    return draw(VALUES)


def bytes_changed(content: bytes, draw: Callable[..., Any]) -> bytes:
    """Return bytes some of which are others, are gone, or come twice."""
    for _ in range(draw(some.integers(1, 4))):
        at = draw(some.integers(0, len(content)))
        end = min(len(content), at + draw(some.integers(0, 12)))
        other = draw(
            some.one_of(some.binary(max_size=4), some.sampled_from([b"[", b'"', b"\n", b"9" * 5000, b"[" * 3000, b"\xff"]))
        )
        content = content[:at] + other + content[draw(some.sampled_from([at, end])) :]
    return content


@often
@given(data=some.data())
def test_a_mutated_board_is_answered(data: some.DataObject) -> None:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "board.toml"
        file.write_bytes(bytes_changed(board_text(title="A title", seeds=[0, 1]).encode(), data.draw))
        check((data.draw(some.sampled_from(["table", "doctor", "compare"])), file))


@often
@given(data=some.data())
def test_a_mutated_record_stops_no_board(data: some.DataObject) -> None:
    planter = Planter()
    planter.cell(50.0, 51.0, scenario="loss-comparison")
    record = json.loads(planter.records[0].model_dump_json(by_alias=True))
    changed = anywhere(record, data.draw)
    with contextlib.suppress(Exception):  # it keeps its id where it is still a trial, so that tables are made of it
        changed["id"] = Trial.model_validate(changed["trial"]).id
    with tempfile.TemporaryDirectory() as folder:
        file = planter.board(Path(folder), BOARD.replace('"planted"', '"loss-comparison"'))
        name = changed.get("id") if isinstance(changed, dict) else ""
        name = name if isinstance(name, str) and name.isalnum() and len(name) < 99 else record["id"]
        content = json.dumps(changed).encode()
        content = bytes_changed(content, data.draw) if data.draw(some.integers(0, 3)) == 0 else content
        (file.parent / "records" / f"{name}.json").write_bytes(content)
        assert answer("table", file)[0] == 0
        check(("doctor", file))
        check(("remove", file, "--seed", "1", "--dry-run"))


@often
@given(data=some.data())
def test_a_mutated_set_is_answered(data: some.DataObject) -> None:
    images = torch.zeros(10, 1, 8, 8, dtype=torch.uint8)
    distilled = DistilledSet(images, torch.arange(10), dataset="digits", method="mine")
    with tempfile.TemporaryDirectory() as folder:
        file = distilled.save(Path(folder) / "set.safetensors")
        content = file.read_bytes()
        end = 8 + int.from_bytes(content[:8], "little")
        if data.draw(some.booleans()):
            header = json.loads(content[8:end])
            described = json.loads(header["__metadata__"]["set"])
            header["__metadata__"]["set"] = json.dumps(anywhere(described, data.draw))
            header = header if data.draw(some.booleans()) else anywhere(header, data.draw)
            text = json.dumps(header).encode()
            content = len(text).to_bytes(8, "little") + text + content[end:]
        else:
            content = bytes_changed(content[:end], data.draw) + content[end:]
        file.write_bytes(content)
        check(("inspect", file))
        board = Path(folder) / "board.toml"
        board.write_text(board_text(sets=[{"file": "set.safetensors"}]))
        check(("doctor", board))


WORDS = some.one_of(
    some.sampled_from(["run", "table", "list", "new", "import", "compare", "doctor", "inspect", "remove", "distill", "--help"]),
    some.sampled_from(
        ["--loss", "--seeds", "--set", "--into", "--check", "--dry-run", "--plugin", "--data-dir", "-o", "--", "-"]
    ),
    some.sampled_from(
        ["losses", "loss", "digits", "board.toml", ".", "/", "/dev/null", "gift(", "a=b", "kl(temperature=9" + "9" * 5000 + ")"]
    ),
    some.text(some.characters(exclude_characters="\0"), max_size=6),
    some.sampled_from(["x" * 5000, "\udcff", "\x1b[2J", "é", "0", "-1", "1e999"]),
)


@often
@given(words=some.lists(WORDS, max_size=5))
def test_a_mutated_command_line_is_answered(words: list[str]) -> None:
    if words and words[0] in ("run", "distill", "new"):  # which make things; what they refuse first is seen without a place
        words = [words[0], "nowhere.toml", *words[2:]] if words[0] != "new" else ["new", "losss", *words[2:]]
    here = Path.cwd()
    with tempfile.TemporaryDirectory() as folder:
        shutil.copy(__file__, Path(folder) / "file.py")
        os.chdir(folder)
        try:
            check(tuple(words), whatever=True)
        finally:
            os.chdir(here)
