"""What stands under a table: how to read it, and everything that its numbers rest on."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import chain

import pandas

from harness.leaderboard.columns import STATED, each
from harness.leaderboard.statistics import LEVEL, smallest_p
from harness.leaderboard.text import code, escape, fixed, letter, listed, runs

MEASURE = "Accuracy in percent on the test split after the last epoch, mean ± standard deviation (ddof 1)."
#: What a number is, with its unit, unless a table says otherwise.
ACCURACY = "accuracy in %"
#: How the note on a table's sets begins, which comes after those on what can be told.
SETS = ("Dataset: ", "Sets: ")
#: The columns of records that notes are made of.
FACTS = [*STATED, "row", "column", "distilled", "teacher_digest", "plugins", "device", "versions", "warnings"]


def notes(facts: pandas.DataFrame, seeds: Iterable[int], cells: pandas.DataFrame, compared: str, measure: str) -> list[str]:
    """Return the notes of one table, Markdown, one a bullet.

    Args:
        facts: the columns `FACTS` of its records, all text, each combination once; `native` is the same for all of a method.
        seeds: of its records.
        cells: as `harness.leaderboard.cells.cells_of` makes them.
        compared: the axis along which gains are taken.
        measure: what cells show.
    """
    lines = [
        f"{measure} {_seeds(seeds, cells)}",
        *told(cells, compared),
        _sets(facts),
        _warnings(facts),
        _teachers(facts),
        _protocol(facts),
        _models(facts),
        _optimizers(facts),
        _plugins(facts),
        _devices(facts),
    ]
    return [note for note in lines if note]


def usual_count(cells: pandas.DataFrame) -> int:
    """Return the count of seeds that most cells have (the larger one of two that tie); 0 when no cell has a mean."""
    counts = Counter(n for n in cells["n"].tolist() if n)
    return max(counts, key=lambda n: (counts[n], n), default=0)


def footnotes(cells: pandas.DataFrame) -> tuple[dict[str, str], list[str]]:
    """Return {error: its letter} over all cells as they are laid out, and the footnotes for † and for the letters."""
    letters: dict[str, str] = {}
    for error in chain.from_iterable(cells["errors"]):
        letters.setdefault(error, letter(len(letters)))
    failed = [f"({mark}) failed: {code(error)}" for error, mark in letters.items()]
    return letters, [*_diverged(cells), *failed]


def distinct(facts: pandas.DataFrame, name: str) -> list[str]:
    """Return the values of one field that are not empty, each once."""
    return [value for value in dict.fromkeys(facts[name].tolist()) if value]


def _diverged(cells: pandas.DataFrame) -> list[str]:
    several_ipc = len({*cells["ipc"]}) > 1
    where: dict[str, list[str]] = {}
    of = ("method", "row", "ipc", "column", "diverged", "records", "failed")
    for method, row, ipc, column, diverged, records, failed in each(cells[cells["diverged"] > 0], *of):
        seeds = records - failed
        at = [method, row, f"IPC {ipc}" if several_ipc else "", column]
        count = f"{diverged} of {seeds} seed{'' if seeds == 1 else 's'}"
        where.setdefault(count, []).append(" / ".join(escape(word) for word in at if word))
    parts = [count + (f" ({', '.join(places)})" if len(where) > 1 else "") for count, places in where.items()]
    return [f"† the loss became non-finite in {'; '.join(parts)}, which count with the accuracy they had."] if parts else []


def _seeds(seeds: Iterable[int], cells: pandas.DataFrame) -> str:
    usual, ran = usual_count(cells), runs(seeds)
    if not usual:
        return f"No trial gave an accuracy; seeds {ran}."
    rest = "" if {*cells["n"]} <= {0, usual} else " unless a cell says otherwise"
    return f"n = {usual} seed{'s' if usual > 1 else ''} ({ran}){rest}{'' if usual > 1 else ', hence no deviation'}."


def told(cells: pandas.DataFrame, compared: str, groups: str = "set") -> list[str]:
    """Return the notes on which cells can be told from others: what the marks mean, and the smallest p that there can be."""
    return [note for note in (legend(cells, compared, groups), _reach(cells)) if note]


def told_anew(notes: Sequence[str], before: Sequence[str], after: Sequence[str]) -> list[str]:
    """Return the notes of a table whose cells were ranked anew: `after`, of `told`, in the place of those `before`."""
    kept = [note for note in notes if note not in before]
    place = next((number for number, note in enumerate(kept) if note.startswith(SETS)), len(kept))
    return [*kept[:place], *after, *kept[place:]]


def legend(cells: pandas.DataFrame, compared: str, groups: str = "set") -> str:
    """Return what the marks in the cells mean; empty where there is none. `groups` is what `method` is, as tables call it."""
    place = "row" if compared == "columns" else "column"
    tests = int(cells["best_gap_p"].notna().sum())
    of = {"": "its", "set": "a set's"}.get(groups, "a group's")
    how = f"t test of the differences paired by seed, 5 %, Holm-corrected over the table, comparisons: {tests}"
    how = how if tests else "no seeds are paired"
    several = cells[cells["tied"]].groupby(["method", "ipc", "column"]).size().gt(1).any()
    told = ((cells["gain_low"] > 0) | (cells["gain_high"] < 0)).any()
    gained = cells["gain"].notna()
    weak = (gained & ~((cells["gain_low"] > 0) | (cells["gain_high"] < 0))).any()
    over = f"points above or below the set's native loss in the same {place}"
    marks = {
        f"bold: the best of {of} rows in its column and all that cannot be told from it ({how})": cells["tied"].any(),
        "underlined: the best mean of several bold ones": several,
        f"↑ ↓: {over}": told,
        (f"in brackets: {'such points' if told else over}" + ", the 95 % interval of the differences by seed holding 0"): weak,
    }
    words = "; ".join(word for word, shown in marks.items() if shown)
    return words[:1].upper() + words[1:] + "." if words else ""


def _reach(cells: pandas.DataFrame) -> str:
    """Return the smallest p that the table's pairs of seeds can give without taking differences for normal."""
    compared = pandas.concat(
        [cells[name][cells[name.removesuffix("_pairs")].notna()] for name in ("best_gap_pairs", "gain_pairs")]
    )
    if compared.empty:
        return ""
    pairs = int(compared.median())
    p = smallest_p(pairs)
    if not pairs:
        return "No pairs of seeds: nothing can be told."
    few = ": too few seeds to tell; the t test tells what it does by taking differences for normal" if p > LEVEL else ""
    count = f"{pairs} pair{'s' * (pairs > 1)} of seeds"
    return f"With {count} the smallest p that a signed-rank or sign-flip test can give is {p:.2g}{few}."


def _sets(facts: pandas.DataFrame) -> str:
    native = dict(each(facts, "method", "native"))
    sets: dict[str, dict[str, None]] = {method: {} for method in native}
    for method, ipc, images, digest in sorted(
        each(facts, "method", "ipc", "images", "distilled"), key=lambda fact: _size(fact[1])
    ):
        about = [f"{images} image{'' if images == '1' else 's'}" if images else "", code(digest[:8])]
        sets[method][(f"IPC {ipc} " if ipc else "") + f"({', '.join(word for word in about if word)})"] = None
    endings = {method: f", native loss {escape(loss)}" if loss else "" for method, loss in native.items()}
    parts = [f"{escape(method)} {', '.join(sets[method])}{endings[method]}".strip() for method in sets]
    dataset = listed(map(escape, distinct(facts, "dataset")))
    return (f"Dataset: {dataset}. " if dataset else "") + f"Sets: {'; '.join(parts)}."


def _warnings(facts: pandas.DataFrame) -> str:
    """Return what the checks of the distilled sets warn of, set by set."""
    sets: dict[str, dict[str, None]] = {}
    for method, digest, warnings in each(facts[facts["warnings"] != ""], "method", "distilled", "warnings"):
        sets.setdefault(f"{escape(method)} ({code(digest[:8])})", {})[warnings] = None
    return " ".join(f"Warning of {name}: {escape('; '.join(lines))}." for name, lines in sets.items())


def _teachers(facts: pandas.DataFrame) -> str:
    taught = facts[facts["teacher"] != ""]
    named = dict.fromkeys(each(taught, "teacher", "teacher_accuracy", "teacher_digest"))
    if not named:
        return "Teacher: none."
    parts = [escape(label) + (f", {fixed(float(top), 1)} % on the test split" if top else "") for label, top, _ in named]
    taking = {*taught["loss"]}
    without = [escape(loss) for loss in distinct(facts, "loss") if loss not in taking]
    return f"Teacher: {'; '.join(parts)}{f'; not used by {listed(without)}' if without else ''}."


def _protocol(facts: pandas.DataFrame) -> str:
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


def _batches(facts: pandas.DataFrame) -> str:
    sizes: dict[str, dict[str, None]] = {}
    for size, ipc in sorted(each(facts, "batch_size", "ipc"), key=lambda fact: (_size(fact[0]), _size(fact[1]))):
        if size:
            sizes.setdefault(size, {})[ipc] = None
    if len(sizes) < 2:
        return f"batch size {next(iter(sizes))}" if sizes else ""
    return "batch size " + ", ".join(f"{size} at IPC {listed(ipcs)}" for size, ipcs in sizes.items())


def _size(value: str) -> float:
    return float(value or "inf")


def _models(facts: pandas.DataFrame) -> str:
    adapted: dict[str, dict[str, None]] = {model: {} for model in distinct(facts, "model")}
    for model, adaptation in each(facts, "model", "adaptation"):
        if model and adaptation:
            adapted[model][adaptation.removeprefix(f"{model}: ")] = None
    named = [escape(model) + (f" ({escape('; '.join(changes))})" if changes else "") for model, changes in adapted.items()]
    return f"Model{'s' if len(named) > 1 else ''}: {', '.join(named)}." if named else ""


def _optimizers(facts: pandas.DataFrame) -> str:
    rates: dict[str, dict[str, dict[str, None]]] = {optimizer: {} for optimizer in distinct(facts, "optimizer")}
    for optimizer, rate, model in each(facts, "optimizer", "learning_rate", "model"):
        if optimizer and rate:
            rates[optimizer].setdefault(rate, {})[model] = None
    named = []
    for optimizer, models in rates.items():
        ranked = sorted(models, key=lambda rate: -len(models[rate]))
        parts = [rate + (f" for {listed(map(escape, models[rate]))}" if rate != ranked[0] else "") for rate in ranked]
        named.append(escape(optimizer) + (f" ({', '.join(parts)})" if parts else ""))
    rated = " (learning rate)" if distinct(facts, "learning_rate") else ""
    return f"Optimizer{'s' if len(named) > 1 else ''}{rated}: {', '.join(named)}." if named else ""


def _plugins(facts: pandas.DataFrame) -> str:
    """Return which plugins took part, and file and digest of each."""
    named = sorted({part for stated in distinct(facts, "plugins") for part in stated.split("; ")})
    return f"Plugin{'s' if len(named) > 1 else ''}: {'; '.join(map(escape, named))}." if named else ""


def _devices(facts: pandas.DataFrame) -> str:
    devices = [escape(device) for device in distinct(facts, "device")]
    packages: dict[str, dict[str, None]] = {}
    for part in dict.fromkeys(part for versions in distinct(facts, "versions") for part in versions.split(", ")):
        name, _, version = part.partition(" ")
        packages.setdefault(name, {})[version] = None
    words = ", ".join(f"{escape(name)} {listed(map(escape, versions))}" for name, versions in packages.items())
    device = f"Device{'s' if len(devices) > 1 else ''}: {', '.join(devices)}" if devices else ""
    return "; ".join(part for part in (device, words) if part) + "." if device or words else ""
