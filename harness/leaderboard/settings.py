"""Which records may stand in one table: those that differ in row, column, set and seed, and in nothing else."""

from __future__ import annotations

import re
from collections.abc import Collection, Hashable, Iterable, Mapping
from dataclasses import dataclass

import pandas

from harness.leaderboard.columns import STATED, ascending, each, follows_an_axis, follows_own_axis, uniform
from harness.leaderboard.text import code, escape, listed, number

#: What makes a setting, in the order in which a heading looks for what differs, and how the heading says it. Whatever else a
#: trial says of itself makes one too, unless an axis decides it.
PHRASES: Mapping[str, str] = {
    "dataset": "{}",
    "model": "model {}",
    "optimizer": "optimizer {}",
    "loss": "loss {}",
    "protocol": "protocol {}",
    "epochs": "{} epochs",
    "precision": "{}",
    "augmentation": "augmentation {}",
    "batch_size": "batch size {}",
    "learning_rate": "learning rate {}",
    "teacher": "teacher {}",
    "adaptation": "{}",
    "options": "{}",
    "device_kind": "on the {}",
    "scenario_version": "scenario version {}",
    "dataset_digest": "dataset files {}",
    "scenario": "scenario {}",
}
#: What trials say of themselves that makes no setting: it tells rows apart, or is told with what does.
WITHIN = ("method", "ipc", "images", "native", "teacher_accuracy")
#: What numbers a setting: its keys, the distilled sets of one name, the sources of a plugin that is not here, so that nobody
#: knows the right one, and the trials that no label tells apart.
PART = ["setting", "generation", "source", "variant"]
SOURCE = "A plugin was changed between the runs: what its sources gave is never averaged, and stands in a table for each."
VARIANT = "Other trials with the same labels stand in another table: something that no label shows was changed between the runs."
ABSENT = {"adaptation": "not adapted", "options": "no options", "device_kind": "on an unknown device", "teacher": "no teacher"}


@dataclass(frozen=True)
class Setting:
    """What is said of one table's worth of records.

    Attributes:
        dataset: its name.
        heading: what tells this setting from the others of the same records; empty when there is no other.
        notes: what a reader must know of how it was told apart.
    """

    dataset: str
    heading: list[str]
    notes: list[str]


def separate(
    frame: pandas.DataFrame, rows: str, columns: str, decided: Collection[str] = ()
) -> tuple[pandas.DataFrame, list[Setting]]:
    """Return the records as `uniform` makes them, with the number of their `setting`, and the settings by number.

    Batch size and learning rate make a setting only where they differ for one set, or one optimizer and model: the paper's rule
    sets them by the number of images and by the student. A loss that takes no teacher belongs with every teacher. What is
    `decided` by the axes makes no setting. Where one method and IPC has several distilled sets (the board was changed between
    runs), each has a setting of its own, and so have several trials of a seed, or several setups, that no label tells apart.
    """
    records, keys = _keyed(uniform(frame, rows, columns), rows, columns, decided)
    records["setting"] = _ids(keys)
    headings = _headings(records, keys)
    sets, cells = each(records, "setting", "method", "ipc"), each(records, "setting", "method", "ipc", "row", "column")
    records["generation"] = _numbered(sets, records["distilled"])
    records["source"] = _numbered(zip(cells, records["generation"], strict=True), records["plugins"])
    records["variant"] = _variants(records)
    datasets = dict(reversed([*each(records, "setting", "dataset")]))
    numbers, parts = ascending(each(records, *PART))
    last = {part[:depth]: part[depth] for depth in range(1, len(PART)) for part in parts}  # more than 0: there are several
    settings = []
    for part in parts:
        which, generation, _, variant = part
        told = [_sets_of(records[records["setting"] == which], generation)] if last[part[:1]] else []
        told += [_sources_of(records[[at[:3] == part[:3] for at in each(records, *PART)]])] if last[part[:2]] else []
        told += [(f"variant {variant + 1}", VARIANT)] if last[part[:3]] else []
        heading, notes = [words for words, _ in told], [note for _, note in told]
        settings.append(Setting(datasets[which], [*headings[which], *heading], notes))
    return records.assign(setting=numbers), settings


def _keyed(
    records: pandas.DataFrame, rows: str, columns: str, decided: Collection[str]
) -> tuple[pandas.DataFrame, pandas.DataFrame]:
    """Return the records and, row by row beside them, the keys whose every combination is a setting."""
    keys = pandas.DataFrame({name: records[name] for name in PHRASES if name not in (rows, columns, "teacher", *decided)})
    stated = [name for name in STATED if name not in (*PHRASES, *WITHIN, rows, columns)]
    for name in [*stated, *(name for name in records.columns if name.startswith("label "))]:
        if name.removeprefix("label ") not in decided and not follows_an_axis(records[name], records):
            keys[name] = records[name]
    soft = ["epochs", "batch_size", "learning_rate", "adaptation", "device_kind"]
    strict = _ids(keys.drop(columns=[name for name in soft if name in keys]))
    if "device_kind" in keys:
        known = records["device_kind"].where(records["device_kind"] != "")
        keys["device_kind"] = _filled(known, records["device_kind"] == "", strict).fillna("")
    if "epochs" in keys:
        records["epochs"] = keys["epochs"] = _planned_epochs(records, strict)
        if follows_own_axis(keys["epochs"], records, rows, columns, strict):
            keys["epochs"] = ""
    strict = _ids(keys.drop(columns=[name for name in soft[1:4] if name in keys]))
    given = {"batch_size": ["method", "ipc", "distilled"], "learning_rate": ["optimizer", "model"], "adaptation": ["model"]}
    for name in [name for name in given if name in keys]:
        keys[name] = _unexplained(records[name], strict, [records[other] for other in given[name]])
        if follows_own_axis(records[name], records, rows, columns, strict):
            keys[name] = ""
    return _with_every_teacher(records, keys) if "teacher" not in (rows, columns) else (records, keys)


def _variants(records: pandas.DataFrame) -> list[int]:
    """Number what no label tells apart in a cell: its setups, or the trials of a seed where not all records state their setup."""
    cells = [*each(records, *PART[:3], "method", "ipc", "row", "column")]
    setups, trials = _numbered(cells, records["setup"]), _numbered(zip(cells, records["seed"], strict=True), range(len(records)))
    unstated = {cell[:3] for cell, setup in zip(cells, records["setup"], strict=True) if not setup}
    return [trial if cell[:3] in unstated else setup for cell, setup, trial in zip(cells, setups, trials, strict=True)]


def _numbered(groups: Iterable[Hashable], values: Iterable[Hashable]) -> list[int]:
    """Number values from 0 within each group, in the order in which they come; the same value has the same number."""
    numbers: dict[Hashable, dict[Hashable, int]] = {}
    placed = [(numbers.setdefault(group, {}), value) for group, value in zip(groups, values, strict=True)]
    return [own.setdefault(value, len(own)) for own, value in placed]


def _ids(keys: pandas.DataFrame) -> pandas.Series[int]:
    return keys.groupby(list(keys.columns), sort=False).ngroup()


def _filled(known: pandas.Series[str], wanting: pandas.Series[bool], group: pandas.Series[int]) -> pandas.Series[str]:
    """Give the `wanting` ones the one value that is `known` in their group, when it is one."""
    one = known.groupby(group).transform("nunique") == 1
    return known.mask(wanting & one, known.groupby(group).transform("first"))


def _planned_epochs(records: pandas.DataFrame, group: pandas.Series[int]) -> pandas.Series[str]:
    """Return the epochs that a trial was planned with: a diverged one stopped early, and may report where it stopped."""
    diverged = records["status"] == "diverged"
    known = records["epochs"].where(~diverged)
    filled = _filled(known, diverged, group).fillna(records["epochs"])
    longest = pandas.to_numeric(records["epochs"], errors="coerce").groupby(group).transform("max").map(number)
    alone = diverged & (known.groupby(group).transform("nunique") == 0)
    return filled.mask(alone, longest)


def _unexplained(value: pandas.Series[str], group: pandas.Series[int], given: list[pandas.Series[str]]) -> pandas.Series[str]:
    """Return `value` in groups where it differs though all of `given` are the same, and nothing in the others."""
    differs = value.groupby([group, *given]).transform("nunique") > 1
    return value.where(differs.groupby(group).transform("any"), "")


def _with_every_teacher(records: pandas.DataFrame, keys: pandas.DataFrame) -> tuple[pandas.DataFrame, pandas.DataFrame]:
    """Tell teachers apart by label, accuracy and digest.

    A record without one is repeated beside every teacher of its distilled set, or else of its group.
    """
    facts = zip(records["teacher"], records["teacher_accuracy"], records["teacher_digest"], strict=True)
    words = [label and label + f" ({top} %)" * bool(top) + f" [{digest[:8]}]" * bool(digest) for label, top, digest in facts]
    groups = _ids(keys).to_list()
    sets = list(zip(groups, records["method"], records["ipc"], records["distilled"], strict=True))
    of_set: dict[tuple[int, str, str, str], dict[str, None]] = {}
    of_group: dict[int, dict[str, None]] = {}
    for word, group, its_set in zip(words, groups, sets, strict=True):
        if word:
            of_set.setdefault(its_set, {})[word] = None
            of_group.setdefault(group, {})[word] = None
    beside = [
        [word] if word else list(of_set.get(its_set) or of_group.get(group) or [""])
        for word, group, its_set in zip(words, groups, sets, strict=True)
    ]
    keys = keys.assign(teacher=pandas.Series(beside, index=keys.index, dtype="object")).explode("teacher")
    return records.loc[keys.index].reset_index(drop=True), keys.reset_index(drop=True)


def _headings(records: pandas.DataFrame, keys: pandas.DataFrame) -> dict[int, list[str]]:
    """Return for each setting what its heading says: as few of the keys as tell all settings apart."""
    unique = keys.assign(setting=records["setting"]).drop_duplicates("setting").set_index("setting")
    chosen: list[str] = []
    apart = 1
    for name in sorted(keys.columns, key=lambda n: [*PHRASES].index(n) if n in PHRASES else len(PHRASES)):
        now = len(unique[[*chosen, name]].drop_duplicates())
        if now > apart:
            chosen, apart = [*chosen, name], now
    chosen = [name for name in chosen if name != "dataset"]
    rows = unique[chosen].itertuples(name=None)
    return {int(setting): [_phrase(name, value) for name, value in zip(chosen, row, strict=True)] for setting, *row in rows}


def _phrase(name: str, value: str) -> str:
    if not value and name in ABSENT:
        return ABSENT[name]
    value = value[:8] if name == "dataset_digest" else value
    if name == "teacher":
        value = re.sub(r"\((\d+(?:\.\d+)?) %\)", lambda match: f"({float(match[1]):.2f} %)", value)
    shown = escape(value) or "unknown"
    return PHRASES[name].format(shown) if name in PHRASES else f"{escape(name.removeprefix('label '))} {shown}"


def _sets_of(records: pandas.DataFrame, generation: int) -> tuple[str, str]:
    """Return what heading and note say of the distilled sets of one generation, of which a setting's records have several."""
    several = records.groupby(["method", "ipc"])["generation"].transform("max") > 0
    sets = records[several & (records["generation"] == generation)].drop_duplicates(["method", "ipc", "distilled"])
    digests = list(dict.fromkeys(sets["distilled"].str[:8]))
    words = [
        f"{escape(method)} at IPC {ipc} is {code(digest[:8])}" for method, ipc, digest in each(sets, "method", "ipc", "distilled")
    ]
    heading = f"set{'s' if len(digests) > 1 else ''} {', '.join(map(escape, digests[:3]))}{', …' if len(digests) > 3 else ''}"
    return heading, f"The board has had several sets of one name, and they are never averaged: here {listed(words)}."


def _sources_of(records: pandas.DataFrame) -> tuple[str, str]:
    """Return what heading and note say of the plugins' sources that the records of one setting are of."""
    names = dict.fromkeys(part for stated in records["plugins"] if stated for part in stated.split("; "))
    return ", ".join(map(escape, names)) or "sources of plugins not noted", SOURCE
