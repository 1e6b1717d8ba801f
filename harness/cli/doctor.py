"""What `giftbench doctor` says: the machine, what is at hand, what is missing for which board, and the command to run it."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import textwrap
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from importlib.util import find_spec
from io import StringIO
from pathlib import Path
from typing import Any

from harness.boards.board import board_path
from harness.boards.records import RecordStore
from harness.cli.checkup import Examined, Finding, check_up
from harness.core.errors import BoardError, GiftbenchError
from harness.planning.supplies import Supplies
from harness.running.status import lacking

BOARDS = Path("leaderboards")
#: Modules that not every installation has or needs, and what for.
OPTIONAL = {
    "avalanche": "class-incremental scenarios; pip install avalanche-lib",
    "huggingface_hub": "sets on the Hugging Face Hub",
    "pyarrow": "Parquet files of datasets and of sets",
}
#: What plans a board with what is at hand.
PLANS = "giftbench plan BOARD"
NOTES = (
    "PATH is where the authors' files lie; {dataset} and {network} in it stand for each name. What is not given is left out of a "
    "run, and named. DATA is the folder of the datasets' files; with one, nothing is downloaded. Checkpoints are looked for "
    "beside the board, then in the data folder, its teachers/ and its pretrain_models/."
)


def examine(boards: Sequence[Path], supplies: Supplies, data_dir: Path | None = None) -> str:
    """Return the report on these boards in detail, or an overview of all below leaderboards/ when none is named.

    Args:
        supplies: what --set and --teacher bring.
        data_dir: folder of the datasets' files, else the environment's GIFTBENCH_DATA.
    Raises: BoardError when boards are named and none of them can be read, or when a --set fits none of them.
    """
    width = min(max(shutil.get_terminal_size((120, 40)).columns, 80), 130)
    good, bad = [], []
    for path in boards or sorted(BOARDS.rglob("board.toml"), key=_natural):
        try:
            good.append(_opened(path, supplies, data_dir))
        except GiftbenchError as error:
            bad.append(error)
    if boards and not good:
        raise BoardError("; ".join(map(str, bad)))
    if supplies.sets:
        supplies.check(sorted({s.supplied_as for e in good for part in e.board.boards for s in part.sets if s.format}))
    blocks = [_machine(data_dir)]
    if boards:
        blocks += [_detail(examined, width, data_dir) for examined in good]
    elif good:
        blocks += [*_tables(good, width), _overview(good, width, data_dir)]
    else:
        blocks.append([f"No board.toml below {BOARDS}/ here: name a board, as giftbench doctor BOARD."])
    if bad:
        blocks.append(["Broken boards", *(f"  {error}" for error in bad)])
    used = {finding.given for examined in good for kind in ("set", "teacher") for finding in examined.of(kind)}
    blocks.append([f"left out: {line}" for examined in good for line in examined.left_out])
    blocks.append([f"not used: {s.text} fits nothing" for s in (*supplies.sets, *supplies.teachers) if s.text not in used])
    if any(not finding.ok for examined in good for finding in (*examined.of("set"), *examined.of("teacher"))):
        blocks.append(textwrap.wrap(NOTES, width))
    return "\n\n".join("\n".join(line.rstrip() for line in block) for block in blocks if block)


def _opened(path: Path, supplies: Supplies, data_dir: Path | None) -> Examined:
    from harness.running.opening import read_board

    file, board, left_out = read_board(board_path(path))
    try:
        examined = check_up(file, board, supplies, data_dir)
    except GiftbenchError as error:
        if not left_out:
            raise
        raise BoardError("; ".join([*left_out, f"so it is not known here what the board needs: {error}"])) from None
    return replace(examined, left_out=left_out)


# -- the machine -----------------------------------------------------------------------------------------------------------


def _machine(data_dir: Path | None) -> list[str]:
    from harness import datasets
    from harness.core.home import home

    data = datasets.folder_of(data_dir)
    absent = [f"{name} ({use})" for name, use in OPTIONAL.items() if find_spec(name) is None]
    facts = {
        "device": _device(),
        "data folder": f"{data} {_free(data)}" if data else "none: give --data-dir PATH or set GIFTBENCH_DATA",
        "cache": f"{home()} {_free(home())}" + ("" if os.environ.get("GIFTBENCH_HOME") else "; GIFTBENCH_HOME moves it"),
        "not installed": "; ".join(absent),
    }
    return ["This machine", *(f"  {name:<13}  {fact}" for name, fact in facts.items() if fact)]


def _device() -> str:
    from harness.core.cores import cores

    cpu = f"CPU, {cores()} core{'s' * (cores() != 1)}"
    if not any(Path(place).exists() for place in ("/dev/nvidiactl", "/dev/dxg")) and shutil.which("nvidia-smi") is None:
        return f"{cpu}; no NVIDIA GPU"
    import torch  # only torch can say whether it can use the GPU

    if not torch.cuda.is_available():
        return f"{cpu}; an NVIDIA driver is here, but torch {torch.__version__} can use no GPU"
    memory = torch.cuda.get_device_properties(0).total_memory / 2**30
    return f"{torch.cuda.get_device_name(0)}, {memory:.0f} GiB ({torch.cuda.device_count()} in all); {cpu}"


def _free(folder: Path) -> str:
    """Return how much room there is where a folder lies, or will lie."""
    place = next((p for p in (folder.absolute(), *folder.absolute().parents) if p.exists()), None)
    absent = "" if folder.is_dir() else ", not there yet" if not folder.exists() else ", not a folder"
    return f"({shutil.disk_usage(place).free / 1e9:.0f} GB free{absent})" if place else "(not there)"


# -- tables ----------------------------------------------------------------------------------------------------------------


def _tables(all_: Sequence[Examined], width: int) -> Iterator[list[str]]:
    """Yield a table of the datasets, the published sets and the teachers of all boards; made sets are never missing."""
    for title, kind, heads in (
        ("Datasets", "dataset", ("dataset",)),
        (
            "Published sets: --set NAME=PATH gives one, NAME being as here or a part of it such as rded",
            "set",
            ("set", "name", "IPC"),
        ),
        ("Teachers", "teacher", ("teacher", "dataset")),
    ):
        boards: dict[Any, set[str]] = {}
        ipcs: dict[Any, set[int]] = {}
        for examined in all_:
            for finding in examined.of(kind):
                state = _state(finding) if kind == "dataset" else finding.state
                key = ((finding.what[0], finding.slot) if kind == "set" else finding.what, state, finding.ok)
                if kind != "set" or finding.slot:
                    boards.setdefault(key, set()).add(_name(examined.file))
                    ipcs.setdefault(key, set()).add(finding.ipc)
        rows = [
            (*what, *([_ipcs(ipcs[what, state, ok])] if kind == "set" else []), _mark(ok), state, _names(names))
            for (what, state, ok), names in boards.items()
        ]
        if rows:
            yield [title, *_table((*heads, "ok", "state", "boards"), sorted(rows, key=lambda row: _order(kind, row)), width)]


def _order(kind: str, row: Sequence[str]) -> tuple[object, ...]:
    return tuple(row[:1]) if kind == "dataset" else (row[1], row[0], *row[2:])


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]], width: int) -> list[str]:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for head in heads:
        long = head in ("state", "boards")
        table.add_column(head, overflow="fold", no_wrap=not long, ratio=1 if long else None, min_width=14 if long else None)
    for row in rows:
        table.add_row(*map(Text, row))
    console = Console(file=StringIO(), width=width - 2, color_system=None)
    with console.capture() as captured:
        console.print(table)
    return [f"  {line}" for line in captured.get().splitlines()]


def _mark(ok: bool) -> str:
    return "yes" if ok else "no"


def _ipcs(ipcs: Iterable[int]) -> str:
    return ", ".join(str(ipc) if ipc else "all" for ipc in sorted(ipcs))


def _natural(path: Path | str) -> list[object]:
    return [(0, int(piece), "") if piece.isdigit() else (1, 0, piece) for piece in re.split(r"(\d+)", str(path))]


def _place(file: Path) -> Path:
    return file.parent if file.name == "board.toml" else file


def _name(file: Path) -> str:
    """Return what to call a board: its place, below leaderboards/ when it is there."""
    place = _place(file)
    return str(place.relative_to(BOARDS) if place.is_relative_to(BOARDS) and place != BOARDS else place)


def _names(names: Iterable[str]) -> str:
    """Return names in natural order; a folder that several share is written once."""
    shown, last = [], ""
    for name in sorted(names, key=_natural):
        parent, _, own = name.rpartition("/")
        shown.append(own if parent and parent == last else name)
        last = parent
    return ", ".join(shown)


# -- boards ----------------------------------------------------------------------------------------------------------------


def _overview(all_: Sequence[Examined], width: int, data_dir: Path | None) -> list[str]:
    lines = ["Boards"]
    for examined in all_:
        records = len(RecordStore(examined.file.parent / "records").ids())
        counts = lacking(examined.file)
        lack = f", {counts[0]:,} of {counts[1]:,} trials lack one" if counts else ""
        text = verdict(examined) + (f"; {records} records{lack}" if records else "")
        lines += ["", f"  {_name(examined.file)}", *_wrapped(text, width, 4), *command(examined, data_dir, width, 4)]
    return lines


def _detail(examined: Examined, width: int, data_dir: Path | None) -> list[str]:
    lines = [_name(examined.file) + (f": {examined.board.title}" if examined.board.title else "")]
    lines += [
        *_wrapped(verdict(examined), width, 2),
        *_records(examined.file.parent / "records"),
        f"  {_left(examined.file)}",
        "",
    ]
    lines += _table(("dataset", "ok", "state"), [(*f.what, _mark(f.ok), _state(f)) for f in examined.of("dataset")], width)
    groups: dict[Any, list[int]] = {}
    for finding in examined.of("set"):
        groups.setdefault((*finding.what, _mark(finding.ok), _state(finding)), []).append(finding.ipc)
    rows = [(*key[:3], _ipcs(ipcs), *key[3:]) for key, ipcs in groups.items()]
    lines += ["", *_table(("set", "dataset", "distilled on", "IPC", "ok", "state"), rows, width), ""]
    teachers = [(*f.what, _mark(f.ok), _state(f)) for f in examined.of("teacher")]
    lines += [*_table(("teacher", "dataset", "ok", "state"), teachers, width), ""] if teachers else []
    lines += command(examined, data_dir, width, 2)
    if examined.board.reported:
        lines.append(f"  giftbench compare {shlex.quote(str(_place(examined.file)))}")
    return lines


def _state(finding: Finding) -> str:
    """Return all that there is to say of a finding, with the option that would mend it."""
    return finding.state + finding.more + (f"; give {finding.option}" if finding.option else "")


def verdict(examined: Examined) -> str:
    """Return whether a board is ready, and what keeps it from being so, in a line."""
    missing = examined.missing
    if not missing:
        return "ready"
    reasons = _listed("dataset", [f.what[0] for f in missing if f.kind == "dataset"])
    sets, wanted = [f for f in missing if f.kind == "set"], examined.of("set")
    if sets:
        count = "all" if len(sets) == len(wanted) else f"{len(sets)} of"
        titles = ", ".join(dict.fromkeys(f.what[0] for f in sets))
        reasons.append(f"{count} {len(wanted)} sets ({titles})" if len(wanted) > 1 else f"the set {titles}")
    reasons += _listed("teacher", [f"{f.what[0]} of {f.what[1]}" for f in missing if f.kind == "teacher"])
    runs = any(part.runs for part in examined.parts)
    return ("ready but for: " if runs else "cannot run; it lacks: ") + "; ".join(reasons)


def _listed(what: str, names: Sequence[str]) -> list[str]:
    return [f"{what}{'s' * (len(names) > 1)} {', '.join(names)}"] if names else []


def _records(folder: Path) -> list[str]:
    """Return how many trials have a record, by status, or nothing when none has."""
    counts = RecordStore(folder).statuses()
    return ["  records: " + ", ".join(f"{number} {status}" for status, number in sorted(counts.items()))] if counts else []


def _left(file: Path) -> str:
    """Return how many of a board's trials lack a record, by the plan that was noted last; nothing is planned here."""
    counts = lacking(file)
    return f"trials: {counts[0]:,} of {counts[1]:,} lack a record" if counts else f"trials: {PLANS} says how many lack a record"


def command(examined: Examined, data_dir: Path | None, width: int, indent: int) -> list[str]:
    """Return the `giftbench run` that a board needs, with what was given and what is still to be filled in."""
    words = [f"giftbench run {shlex.quote(str(_place(examined.file)))}"]
    if data_dir is not None:
        words.append(f"--data-dir {shlex.quote(str(data_dir))}")
    elif any(not f.ok for f in examined.of("dataset")) and not os.environ.get("GIFTBENCH_DATA"):
        words.append("--data-dir DATA")
    for kind in ("set", "teacher"):
        given = dict.fromkeys(finding.given for finding in examined.of(kind) if finding.given and finding.ok)
        words += [shlex.join([f"--{kind}", text]) for text in given]
    words += _to_fill_in([f for f in examined.missing if f.option])
    lines = [" " * indent + words[0]]
    for word in words[1:]:
        if len(lines[-1]) + len(word) + 3 > width:
            lines[-1] += " \\"
            lines.append(" " * (indent + 4) + word)
        else:
            lines[-1] += f" {word}"
    return lines


def _to_fill_in(missing: Iterable[Finding]) -> Iterator[str]:
    """Yield the options that would supply what is missing; those of one slot as one, with fields for what differs."""
    slots: dict[str, list[Finding]] = {}
    for finding in missing:
        slots.setdefault(re.split("[/=]", finding.option)[0], []).append(finding)
    for start, findings in slots.items():
        options = list(dict.fromkeys(finding.option for finding in findings))
        if len(options) == 1 or start.startswith("--teacher"):
            yield from options
            continue
        words, fields = [start], []
        for i, name in ((1, "dataset"), (2, "network")):
            if any(f.what[i] in f.option.partition("=")[0].split("/")[1:] for f in findings):
                same = {f.what[i] for f in findings}
                words += same if len(same) == 1 else []
                fields += [f"{{{name}}}"] if len(same) > 1 else []
        yield "/".join(words) + "=PATH/" + "/".join(fields)


def _wrapped(text: str, width: int, indent: int) -> list[str]:
    return textwrap.wrap(text, width, initial_indent=" " * indent, subsequent_indent=" " * indent, break_on_hyphens=False)
