"""What stands under a table: how to read it, and everything that its numbers rest on."""

from __future__ import annotations

from collections.abc import Iterable

import pandas

from harness.leaderboard.cells import natives
from harness.leaderboard.columns import each
from harness.leaderboard.text import code, escape, fixed, letter, listed, runs

MEASURE = "Accuracy in percent on the test split after the last epoch, mean ± standard deviation (ddof 1)."


def notes(records: pandas.DataFrame, cells: pandas.DataFrame, rows: str, columns: str) -> list[str]:
    """Return the notes of one table, Markdown, one a bullet."""
    found = [
        f"{MEASURE} {_seeds(records, cells)}".strip(),
        _legend(cells, rows, columns),
        _sets(records),
        _teachers(records),
        _protocol(records),
        _models(records),
        _optimizers(records),
        _devices(records),
    ]
    return [note for note in found if note]


def usual_count(cells: pandas.DataFrame) -> int:
    """Return the count of seeds that most cells have (the larger one of two that tie); 0 when no cell has a mean."""
    counts = cells["n"][cells["n"] > 0].value_counts()
    return 0 if counts.empty else max(int(str(n)) for n in counts.index[counts == counts.max()])


def footnotes(cells: pandas.DataFrame) -> tuple[dict[str, str], list[str]]:
    """Return {error: its letter} over all cells as they are laid out, and the footnotes for † and for the letters."""
    letters: dict[str, str] = {}
    for errors in cells["errors"]:
        for error in errors:
            letters.setdefault(error, letter(len(letters)))
    lines = [_diverged(cells[cells["diverged"] > 0])] if (cells["diverged"] > 0).any() else []
    return letters, lines + [f"({mark}) failed: {code(error)}" for error, mark in letters.items()]


def _diverged(cells: pandas.DataFrame) -> str:
    seeds = cells["records"] - cells["failed"]
    counts = [f"{k} of {n} seed{'s' if n > 1 else ''}" for k, n in zip(cells["diverged"], seeds, strict=True)]
    if len(set(counts)) == 1:
        return f"† the loss became non-finite in {counts[0]}, which count with the accuracy they had."
    several_ipc = cells["ipc"].nunique() > 1
    where: dict[str, list[str]] = {}
    for count, cell in zip(counts, each(cells), strict=True):
        at = [cell.method, cell.row, f"IPC {cell.ipc}" if several_ipc else "", cell.column]
        where.setdefault(count, []).append(" / ".join(escape(str(word)) for word in at if word))
    parts = "; ".join(f"{count} ({', '.join(places)})" for count, places in where.items())
    return f"† the loss became non-finite in {parts}, which count with the accuracy they had."


def _seeds(records: pandas.DataFrame, cells: pandas.DataFrame) -> str:
    usual, seeds = usual_count(cells), runs(int(seed) for seed in records["seed"])
    if not usual:
        return f"No trial gave an accuracy; seeds {seeds}."
    shown = cells["n"][cells["n"] > 0]
    rest = "" if (shown == usual).all() else " unless a cell says otherwise"
    return f"n = {usual} seed{'s' if usual > 1 else ''} ({seeds}){rest}{'' if usual > 1 else ', hence no deviation'}."


def _legend(cells: pandas.DataFrame, rows: str, columns: str) -> str:
    place = "column" if rows == "loss" else "row"
    marks = {
        "bold: best of a set's rows in its column": (cells["rank"] == 1).any(),
        "underlined: second best": (cells["rank"] == 2).any(),
        f"↑ ↓: points above or below the set's native loss in the same {place}": cells["gain"].notna().any(),
    }
    words = "; ".join(word for word, shown in marks.items() if shown)
    return words[:1].upper() + words[1:] + "." if words else ""


def _sets(records: pandas.DataFrame) -> str:
    native, sets = natives(records), []
    for method, group in records.groupby("method", sort=False):
        sizes = group.drop_duplicates(["ipc", "distilled"]).assign(at=lambda g: pandas.to_numeric(g["ipc"], errors="coerce"))
        parts = []
        for s in each(sizes.sort_values("at", kind="stable")):
            facts = [f"{s.images} image{'' if s.images == '1' else 's'}" if s.images else "", code(s.distilled[:8])]
            parts.append((f"IPC {s.ipc} " if s.ipc else "") + f"({', '.join(fact for fact in facts if fact)})")
        ending = f", native loss {escape(native[str(method)])}" if str(method) in native else ""
        sets.append(f"{escape(str(method))} {', '.join(parts)}{ending}".strip())
    names = listed(escape(name) for name in records["dataset"].unique() if name)
    return (f"Dataset: {names}. " if names else "") + f"Sets: {'; '.join(sets)}."


def _teachers(records: pandas.DataFrame) -> str:
    teachers = records[records["teacher"] != ""].drop_duplicates(["teacher", "teacher_accuracy", "teacher_digest"])
    if teachers.empty:
        return "Teacher: none."
    named = [
        escape(t.teacher) + (f", {fixed(float(t.teacher_accuracy), 1)} % on the test split" if t.teacher_accuracy else "")
        for t in each(teachers)
    ]
    without = [loss for loss in records["loss"].unique() if not (records["teacher"][records["loss"] == loss] != "").any()]
    ending = f"; not used by {listed(map(escape, without))}" if without else ""
    return f"Teacher: {'; '.join(named)}{ending}."


def _protocol(records: pandas.DataFrame) -> str:
    name = listed(escape(label) for label in records["protocol"].unique() if label)
    epochs = listed(value for value in records["epochs"].unique() if value)
    augmentation = listed(escape(value) for value in records["augmentation"].unique() if value)
    facts = [
        f"{epochs} epoch{'' if epochs == '1' else 's'}" if epochs else "",
        _batches(records),
        f"augmentation {augmentation}" if augmentation else "",
        listed(escape(value) for value in records["precision"].unique() if value),
    ]
    words = ", ".join(fact for fact in facts if fact)
    return f"Protocol: {': '.join(part for part in (name, words) if part)}." if name or words else ""


def _batches(records: pandas.DataFrame) -> str:
    seen = records[records["batch_size"] != ""].drop_duplicates(["ipc", "batch_size"])
    if seen.empty:
        return ""
    if seen["batch_size"].nunique() == 1:
        return f"batch size {seen['batch_size'].iloc[0]}"
    sizes = seen.groupby("batch_size")["ipc"].agg(list)
    order = sorted(sizes.index, key=lambda size: float(str(size)))
    return "batch size " + ", ".join(f"{size} at IPC {listed(_by_size(sizes[size]))}" for size in order)


def _by_size(values: Iterable[str]) -> list[str]:
    return sorted(values, key=lambda value: float(value or "nan"))


def _models(records: pandas.DataFrame) -> str:
    named = []
    for model, group in records[records["model"] != ""].groupby("model", sort=False):
        changes = [note.removeprefix(f"{model}: ") for note in group["adaptation"].unique() if note]
        named.append(escape(str(model)) + (f" ({escape('; '.join(changes))})" if changes else ""))
    return f"Model{'s' if len(named) > 1 else ''}: {', '.join(named)}." if named else ""


def _optimizers(records: pandas.DataFrame) -> str:
    named = []
    for optimizer, group in records[records["optimizer"] != ""].groupby("optimizer", sort=False):
        rates = group[group["learning_rate"] != ""].groupby("learning_rate", sort=False)["model"].agg(lambda m: list(m.unique()))
        ranked = sorted(rates.items(), key=lambda item: -len(item[1]))
        parts = [str(rate) + (f" for {listed(map(escape, models))}" if i else "") for i, (rate, models) in enumerate(ranked)]
        named.append(escape(str(optimizer)) + (f" ({', '.join(parts)})" if parts else ""))
    rated = " (learning rate)" if (records["learning_rate"] != "").any() else ""
    return f"Optimizer{'s' if len(named) > 1 else ''}{rated}: {', '.join(named)}." if named else ""


def _devices(records: pandas.DataFrame) -> str:
    devices = [escape(device) for device in records["device"].unique() if device]
    packages: dict[str, list[str]] = {}
    for versions in records["versions"].unique():
        for part in versions.split(", ") if versions else ():
            name, _, version = part.partition(" ")
            if version not in packages.setdefault(name, []):
                packages[name].append(version)
    words = ", ".join(f"{escape(name)} {listed(map(escape, versions))}" for name, versions in packages.items())
    device = f"Device{'s' if len(devices) > 1 else ''}: {', '.join(devices)}" if devices else ""
    return "; ".join(part for part in (device, words) if part) + "." if device or words else ""
