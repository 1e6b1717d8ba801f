"""The workflow that takes submissions: its own commands, run in a scratch clone of a small repository with one board."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from harness.boards import seals
from tests.boards.test_submissions import TEXT
from tests.committed import copied, spoil

ROOT = Path(__file__).parent.parent
WORKFLOW = ROOT / ".github" / "workflows" / "submissions.yml"
GOOD, FORGED = "ddb38fe1a869ed5941c8", "3ba83a85468e9fe79171"


def git(place: Path, *words: str) -> None:
    name = ["-c", "user.name=t", "-c", "user.email=t@example.org"]
    subprocess.run(["git", *name, *words], cwd=place, check=True, capture_output=True)


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """A clone whose origin has a pull request, number 7, that brings two submissions and changes code beside them."""
    origin = tmp_path / "origin"
    board = copied("rded-choices", origin / "leaderboards")
    records = {name: (board / "records" / f"{name}.json").read_bytes() for name in (GOOD, FORGED)}
    for name in records:
        (board / "records" / f"{name}.json").unlink()
    seals.write(board, seals.made(board))
    git(origin, "init", "--quiet")
    git(origin, "add", ".")
    git(origin, "commit", "--quiet", "-m", "a board")
    git(tmp_path, "clone", "--quiet", str(origin), "clone")
    for who, name in (("ada", GOOD), ("eve", FORGED)):
        folder = board / "submissions" / who
        (folder / "records").mkdir(parents=True)
        (folder / "submission.toml").write_text(TEXT.replace("Ada", who))
        (folder / "records" / f"{name}.json").write_bytes(records[name])
    spoil(board / "submissions" / "eve" / "records" / f"{FORGED}.json", lambda content: content["metrics"].update(accuracy=99.0))
    (board / "board.toml").write_text('plugins = ["evil.py"]\n')
    git(origin, "add", ".")
    git(origin, "commit", "--quiet", "-m", "two submissions")
    git(origin, "update-ref", "refs/pull/7/head", "HEAD")
    git(origin, "reset", "--quiet", "--hard", "HEAD~1")
    return tmp_path / "clone"


def steps() -> list[dict[str, Any]]:
    workflow = yaml.safe_load(WORKFLOW.read_text("utf-8"))
    (job,) = workflow["jobs"].values()
    return [step for step in job["steps"] if "run" in step]


@pytest.mark.skipif(shutil.which("git") is None, reason="git is not here")
def test_its_commands_join_what_verifies_refuse_what_does_not_and_post_what_changes(clone: Path, tmp_path: Path) -> None:
    tools, runner = tmp_path / "tools", tmp_path / "runner"
    tools.mkdir()
    runner.mkdir()
    (tools / "gh").write_text(f'#!/bin/bash\necho "$*" > {tmp_path}/called\ncat > {tmp_path}/posted\n')
    (tools / "gh").chmod(0o755)
    environment = os.environ | {
        "PATH": f"{tools}:{Path(sys.executable).parent}:{os.environ['PATH']}",
        "RUNNER_TEMP": str(runner),
        "GITHUB_STEP_SUMMARY": str(tmp_path / "summary"),
        "NUMBER": "7",
        "RERUN": "0",
        "OMP_NUM_THREADS": "1",
    }
    install, *commands = steps()
    assert install["run"] == "python -m pip install --quiet -e ."  # which the tests' own environment has done
    ends = []
    for step in commands:
        command = ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", step["run"]]  # as the runner calls it
        done = subprocess.run(command, cwd=clone, env=environment, capture_output=True, text=True, check=False)
        ends.append((step["name"], done.returncode, done.stderr[-500:]))
    assert [(name, code) for name, code, _ in ends] == [("take the submissions", 0), ("check, join, render", 0), ("post", 1)], (
        ends
    )
    board = clone / "leaderboards" / "rded-choices"
    assert (board / "records" / f"{GOOD}.json").exists()
    assert not (board / "records" / f"{FORGED}.json").exists()
    assert "evil" not in (board / "board.toml").read_text()
    assert "1 records, 0 verified" in (board / "README.md").read_text("utf-8")
    posted = (tmp_path / "posted").read_text("utf-8")
    assert (tmp_path / "called").read_text().split() == ["pr", "comment", "7", "--body-file", "-"]
    assert posted == (tmp_path / "summary").read_text("utf-8")
    assert "### leaderboards/rded-choices/submissions/ada" in posted
    assert "(n = 2) → " in posted
    after = posted.partition("submissions/eve")[2]
    assert "Refused:" in after
    assert "its history says" in after


def test_code_and_rights_are_those_of_the_base_branch() -> None:
    workflow = yaml.safe_load(WORKFLOW.read_text("utf-8"))
    assert workflow["permissions"] == {"contents": "read", "pull-requests": "write"}
    (job,) = workflow["jobs"].values()
    checkout = next(step for step in job["steps"] if "checkout" in step.get("uses", ""))
    assert "ref" not in checkout["with"]  # pull_request_target: the base branch's
    assert "${{" not in "".join(step["run"] for step in steps())  # nothing of a pull request becomes a command
