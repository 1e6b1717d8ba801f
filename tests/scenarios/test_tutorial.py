"""scenarios/README.md as a newcomer would follow it: every file written, every command run, in an empty folder."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

TUTORIAL = Path(__file__).parents[2] / "scenarios" / "README.md"
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
FILE = re.compile(r"# ([\w/]+\.(?:py|toml))(, at the end of the class)?\n")


def blocks() -> list[tuple[str, str]]:
    return BLOCK.findall(TUTORIAL.read_text("utf-8"))


def write(folder: Path, text: str) -> str:
    """Write or extend the file that a block names in its first line, and return its name; a block without one is prose."""
    named = FILE.match(text)
    if named is None:
        return ""
    place, body = folder / named[1], text[named.end() :]
    place.parent.mkdir(exist_ok=True)
    place.write_text(place.read_text("utf-8") + "\n" + body if named[2] else body, "utf-8")
    return named[1]


@pytest.mark.slow
def test_every_command_of_the_tutorial_works(tmp_path: Path) -> None:
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}", "OMP_NUM_THREADS": "1"}
    environment["GIFTBENCH_OWN"] = ""  # as a newcomer has it
    shown, ran = {}, []
    for kind, text in blocks():
        if kind != "console":
            write(tmp_path, text)
            continue
        for line in text.splitlines():
            command = line.removeprefix("$ ")
            done = subprocess.run(["bash", "-c", command], cwd=tmp_path, env=environment, capture_output=True, text=True)
            assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
            shown[command] = done.stdout
            ran.append(command)
    assert len(ran) == 12
    assert "label_noise.py" in shown["giftbench list scenarios --plugin label_noise.py"]
    assert "huber.py" in shown["giftbench list losses --plugin huber.py"]
    table = shown["cat noise/README.md"]
    assert re.search(r"\| set +\| loss +\| +0% \| +30% \| +60% \|", table)
    assert "12 done" in table
    figures = [f"{name}.{kind}" for name in ("label-noise", "price-operations") for kind in ("png", "svg")]
    assert shown["ls noise/figures"].split() == figures
    assert "huber(delta=5.0)" in (tmp_path / "noise" / "README.md").read_text("utf-8")


def test_every_shipped_scenario_is_in_the_tutorials_table() -> None:
    from harness.running.scenario import registry

    text = TUTORIAL.read_text("utf-8")
    for name in registry.names():
        if registry.describe(name).origin == "giftbench":
            assert f"| `{name}` |" in text


def test_what_the_tutorial_says_of_class_incremental_is_a_board_that_plans(plan) -> None:  # type: ignore[no-untyped-def]
    import tomllib

    block = next(text for kind, text in blocks() if kind == "toml" and "class-incremental" in text)
    (entry,) = tomllib.loads(block)["scenarios"]
    assert len(plan(scenarios=[entry])) == 2 * 5
