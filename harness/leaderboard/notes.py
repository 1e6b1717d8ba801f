"""What stands under a table: how to read it, and everything that its numbers rest on."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from harness.leaderboard.cells import Cell
from harness.leaderboard.columns import STATED
from harness.leaderboard.text import code, escape, fixed, letter, listed, runs

MEASURE = "Accuracy in percent on the test split after the last epoch, mean ± standard deviation (ddof 1)."
#: The columns of records that notes are made of.
FACTS = [*STATED, "row", "column", "distilled", "teacher_digest", "plugins", "device", "versions", "warnings"]

Facts = Sequence[Any]  # named tuples with the fields of FACTS, all text, each combination once


def notes(
    facts: Facts,
    seeds: Iterable[int],
    cells: Sequence[Cell],
    native: Mapping[str, str],
    compared: str,
    measure: str = MEASURE,
) -> list[str]:
    """Return the notes of one table, Markdown, one a bullet.

    Args:
        facts, seeds: of its records.
        native: {method: native loss}.
        measure: what cells show.
    """
    lines = [
        f"{measure} {_seeds(seeds, cells)}",
        _legend(cells, compared),
        _sets(facts, native),
        _warnings(facts),
        _teachers(facts),
        _protocol(facts),
        _models(facts),
        _optimizers(facts),
        _plugins(facts),
        _devices(facts),
    ]
    return [note for note in lines if note]


def usual_count(cells: Iterable[Cell]) -> int:
    """Return the count of seeds that most cells have (the larger one of two that tie); 0 when no cell has a mean."""
    counts = Counter(cell.n for cell in cells if cell.n)
    return max(counts, key=lambda n: (counts[n], n), default=0)


def footnotes(cells: Sequence[Cell]) -> tuple[dict[str, str], list[str]]:
    """Return {error: its letter} over all cells as they are laid out, and the footnotes for † and for the letters."""
    letters: dict[str, str] = {}
    for cell in cells:
        for error in cell.errors:
            letters.setdefault(error, letter(len(letters)))
    failed = [f"({mark}) failed: {code(error)}" for error, mark in letters.items()]
    return letters, [*_diverged(cells), *failed]


def distinct(facts: Facts, name: str) -> list[str]:
    """Return the values of one field that are not empty, each once."""
    return list(dict.fromkeys(value for value in (getattr(fact, name) for fact in facts) if value))


def _diverged(cells: Sequence[Cell]) -> list[str]:
    several_ipc = len({cell.ipc for cell in cells}) > 1
    where: dict[str, list[str]] = {}
    for cell in cells:
        if cell.diverged:
            seeds = cell.records - cell.failed
            at = [cell.method, cell.row, f"IPC {cell.ipc}" if several_ipc else "", cell.column]
            count = f"{cell.diverged} of {seeds} seed{'' if seeds == 1 else 's'}"
            where.setdefault(count, []).append(" / ".join(escape(word) for word in at if word))
    parts = [count + (f" ({', '.join(places)})" if len(where) > 1 else "") for count, places in where.items()]
    return [f"† the loss became non-finite in {'; '.join(parts)}, which count with the accuracy they had."] if parts else []


def _seeds(seeds: Iterable[int], cells: Sequence[Cell]) -> str:
    usual, ran = usual_count(cells), runs(seeds)
    if not usual:
        return f"No trial gave an accuracy; seeds {ran}."
    rest = " unless a cell says otherwise" if any(cell.n not in (0, usual) for cell in cells) else ""
    return f"n = {usual} seed{'s' if usual > 1 else ''} ({ran}){rest}{'' if usual > 1 else ', hence no deviation'}."


def _legend(cells: Sequence[Cell], compared: str) -> str:
    place = "row" if compared == "columns" else "column"
    marks = {
        "bold: best of a set's rows in its column": any(cell.rank == 1 for cell in cells),
        "underlined: second best": any(cell.rank == 2 for cell in cells),
        f"↑ ↓: points above or below the set's native loss in the same {place}": any(cell.gain == cell.gain for cell in cells),
    }
    words = "; ".join(word for word, shown in marks.items() if shown)
    return words[:1].upper() + words[1:] + "." if words else ""


def _sets(facts: Facts, native: Mapping[str, str]) -> str:
    sets: dict[str, dict[str, str]] = {}
    for fact in sorted(facts, key=lambda fact: _size(fact.ipc)):
        about = [f"{fact.images} image{'' if fact.images == '1' else 's'}" if fact.images else "", code(fact.distilled[:8])]
        shown = (f"IPC {fact.ipc} " if fact.ipc else "") + f"({', '.join(word for word in about if word)})"
        sets.setdefault(fact.method, {})[shown] = ""
    parts = []
    for method in dict.fromkeys(fact.method for fact in facts):
        ending = f", native loss {escape(native[method])}" if method in native else ""
        parts.append(f"{escape(method)} {', '.join(sets[method])}{ending}".strip())
    dataset = listed(map(escape, distinct(facts, "dataset")))
    return (f"Dataset: {dataset}. " if dataset else "") + f"Sets: {'; '.join(parts)}."


def _warnings(facts: Facts) -> str:
    """Return what the checks of the distilled sets warn of, set by set."""
    sets: dict[str, dict[str, None]] = {}
    for fact in facts:
        if fact.warnings:
            sets.setdefault(f"{escape(fact.method)} ({code(fact.distilled[:8])})", {})[fact.warnings] = None
    return " ".join(f"Warning of {name}: {escape('; '.join(lines))}." for name, lines in sets.items())


def _teachers(facts: Facts) -> str:
    named = list(dict.fromkeys((f.teacher, f.teacher_accuracy, f.teacher_digest) for f in facts if f.teacher))
    if not named:
        return "Teacher: none."
    parts = [escape(label) + (f", {fixed(float(top), 1)} % on the test split" if top else "") for label, top, _ in named]
    taking = {fact.loss for fact in facts if fact.teacher}
    without = [escape(loss) for loss in distinct(facts, "loss") if loss not in taking]
    return f"Teacher: {'; '.join(parts)}{f'; not used by {listed(without)}' if without else ''}."


def _protocol(facts: Facts) -> str:
    name, augmentation = (listed(map(escape, distinct(facts, field))) for field in ("protocol", "augmentation"))
    epochs = listed(distinct(facts, "epochs"))
    words = [
        f"{epochs} epoch{'' if epochs == '1' else 's'}" if epochs else "",
        _batches(facts),
        f"augmentation {augmentation}" if augmentation else "",
        listed(map(escape, distinct(facts, "precision"))),
    ]
    details = ", ".join(word for word in words if word)
    return f"Protocol: {': '.join(part for part in (name, details) if part)}." if name or details else ""


def _batches(facts: Facts) -> str:
    sizes: dict[str, dict[str, None]] = {}
    for fact in sorted((fact for fact in facts if fact.batch_size), key=lambda fact: (_size(fact.batch_size), _size(fact.ipc))):
        sizes.setdefault(fact.batch_size, {})[fact.ipc] = None
    if len(sizes) < 2:
        return f"batch size {next(iter(sizes))}" if sizes else ""
    return "batch size " + ", ".join(f"{size} at IPC {listed(ipcs)}" for size, ipcs in sizes.items())


def _size(value: str) -> float:
    return float(value or "inf")


def _models(facts: Facts) -> str:
    named = []
    for model in distinct(facts, "model"):
        adapted = distinct([fact for fact in facts if fact.model == model], "adaptation")
        changes = escape("; ".join(change.removeprefix(f"{model}: ") for change in adapted))
        named.append(escape(model) + (f" ({changes})" if changes else ""))
    return f"Model{'s' if len(named) > 1 else ''}: {', '.join(named)}." if named else ""


def _optimizers(facts: Facts) -> str:
    named = []
    for optimizer in distinct(facts, "optimizer"):
        rates: dict[str, dict[str, None]] = {}
        for fact in facts:
            if fact.optimizer == optimizer and fact.learning_rate:
                rates.setdefault(fact.learning_rate, {})[fact.model] = None
        ranked = sorted(rates, key=lambda rate: -len(rates[rate]))
        parts = [rate + (f" for {listed(map(escape, rates[rate]))}" if rate != ranked[0] else "") for rate in ranked]
        named.append(escape(optimizer) + (f" ({', '.join(parts)})" if parts else ""))
    rated = " (learning rate)" if distinct(facts, "learning_rate") else ""
    return f"Optimizer{'s' if len(named) > 1 else ''}{rated}: {', '.join(named)}." if named else ""


def _plugins(facts: Facts) -> str:
    """Return which plugins took part, and file and digest of each."""
    named = sorted({part for stated in distinct(facts, "plugins") for part in stated.split("; ")})
    return f"Plugin{'s' if len(named) > 1 else ''}: {'; '.join(map(escape, named))}." if named else ""


def _devices(facts: Facts) -> str:
    devices = [escape(device) for device in distinct(facts, "device")]
    packages: dict[str, dict[str, None]] = {}
    for part in dict.fromkeys(part for versions in distinct(facts, "versions") for part in versions.split(", ")):
        name, _, version = part.partition(" ")
        packages.setdefault(name, {})[version] = None
    words = ", ".join(f"{escape(name)} {listed(map(escape, versions))}" for name, versions in packages.items())
    device = f"Device{'s' if len(devices) > 1 else ''}: {', '.join(devices)}" if devices else ""
    return "; ".join(part for part in (device, words) if part) + "." if device or words else ""
