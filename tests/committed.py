"""A committed board that tests may spoil: a copy of one on digits, whose records were really made."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from harness.boards.records import Record

BOARDS = Path(__file__).parent.parent / "leaderboards"


def copied(name: str, place: Path) -> Path:
    """Copy a committed board's own file, plugins, artefacts and records, none of what is rendered; return its folder."""
    folder, source = place / name, BOARDS / name
    folder.mkdir(parents=True)
    for path in source.iterdir():
        if path.name in ("artefacts", "records"):
            shutil.copytree(path, folder / path.name)
        elif path.suffix in (".toml", ".py"):
            shutil.copy(path, folder)
    return folder


def spoil(path: Path, change: Callable[[dict[str, Any]], None], *, renamed: bool = False) -> Path:
    """Change the content of a record's file; `renamed` gives it the id that its trial has then. Returns where it is."""
    content = json.loads(path.read_text())
    change(content)
    if renamed:
        trial = Record.model_validate({**content, "id": ""}).trial
        path.unlink()
        path = path.with_name(f"{trial.id}.json")
        content["id"] = trial.id
    path.write_text(json.dumps(content, indent=1, sort_keys=True) + "\n")
    return path
