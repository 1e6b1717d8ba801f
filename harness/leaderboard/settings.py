"""Which records may stand in one table: those that differ in row, column, set and seed, and in nothing else."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

import pandas

from harness.leaderboard.columns import STATED, each, follows_an_axis, follows_own_axis, uniform
from harness.leaderboard.text import escape, listed, number

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
ABSENT = {"adaptation": "not adapted", "options": "no options", "device_kind": "on an unknown device", "teacher": "no teacher"}


@dataclass
class Setting:
    """One table's worth of records.

    Attributes:
        records: in plan order, as `uniform` makes them.
        dataset: its name.
        heading: what tells this setting from the others of the same records; empty when there is no other.
        notes: what a reader must know of how it was told apart.
    """

    records: pandas.DataFrame
    dataset: str
    heading: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def separate(frame: pandas.DataFrame, rows: str, columns: str, decided: Collection[str] = ()) -> list[Setting]:
    """Split records into settings, in plan order.

    Batch size and learning rate make a setting only where they differ for one set, or one optimizer and model: the paper's rule
    sets them by the number of images and by the student. A loss that takes no teacher belongs with every teacher. What is
    `decided` by the axes makes no setting.
    """
    records, keys = _keyed(uniform(frame, rows, columns), rows, columns, decided)
    records["setting"] = _ids(keys)
    headings = _headings(records, keys)
    doubtful = _doubtful(records)
    settings: list[Setting] = []
    for _, group in records.groupby("setting", sort=False):
        which = int(group["setting"].iloc[0])
        whole = Setting(group, group["dataset"].iloc[0], headings[which])
        parts = [source for digest in _by_digest(whole) for source in _by_source(digest)] if which in doubtful else [whole]
        settings.extend([variant for part in parts for variant in _by_variant(part)] if which in doubtful else parts)
    return settings


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


def _doubtful(records: pandas.DataFrame) -> set[int]:
    """Return the settings in which a set has several digests, or a cell several trials of a seed or several setups."""
    cell = ["setting", "method", "ipc", "row", "column"]
    repeated = records.duplicated([*cell, "seed"])
    for name in ("distilled", "setup"):
        repeated |= records.groupby(cell[:3] if name == "distilled" else cell)[name].transform("nunique") > 1
    return set(records["setting"][repeated])


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
    return PHRASES.get(name, name.removeprefix("label ") + " {}").format(escape(value) or "unknown")


def _by_digest(setting: Setting) -> list[Setting]:
    """Split where one method and IPC has several distilled sets: the board was changed between runs."""
    records, same = setting.records, ["method", "ipc"]
    if (records.groupby(same)["distilled"].nunique() == 1).all():
        return [setting]
    sets = records.drop_duplicates([*same, "distilled"]).sort_values(["position", "distilled"], kind="stable")
    sets = sets.assign(generation=sets.groupby(same).cumcount(), several=sets.groupby(same)["distilled"].transform("size") > 1)
    generation = records[[*same, "distilled"]].merge(sets[[*same, "distilled", "generation"]], how="left")["generation"]
    settings = []
    for which, chosen in records.groupby(generation.to_numpy()):
        here = sets[(sets["generation"] == which) & sets["several"]]
        digests = list(dict.fromkeys(here["distilled"].str[:8]))
        words = [f"{escape(s.method)} at IPC {s.ipc} is `{s.distilled[:8]}`" for s in each(here)]
        note = f"The board has had several sets of one name, and they are never averaged: here {listed(words)}."
        heading = f"set{'s' if len(digests) > 1 else ''} {', '.join(digests[:3])}{', …' if len(digests) > 3 else ''}"
        settings.append(Setting(chosen, setting.dataset, [*setting.heading, heading], [*setting.notes, note]))
    return settings


def _by_source(setting: Setting) -> list[Setting]:
    """Split where one cell has trials of several sources of a plugin that is not here, so that nobody knows the right one."""
    records, cell = setting.records, ["method", "ipc", "row", "column"]
    sources = records.drop_duplicates([*cell, "plugins"])
    sources = sources.assign(generation=sources.groupby(cell).cumcount())
    generation = records[[*cell, "plugins"]].merge(sources[[*cell, "plugins", "generation"]], how="left")["generation"]
    if not generation.any():
        return [setting]
    settings = []
    for _, chosen in records.groupby(generation.to_numpy()):
        names = list(dict.fromkeys(part for stated in chosen["plugins"] if stated for part in stated.split("; ")))
        heading = ", ".join(map(escape, names)) or "sources of plugins not noted"
        note = "A plugin was changed between the runs: what its sources gave is never averaged, and stands in a table for each."
        settings.append(Setting(chosen, setting.dataset, [*setting.heading, heading], [*setting.notes, note]))
    return settings


def _by_variant(setting: Setting) -> list[Setting]:
    """Split where one cell has several trials of a seed, or several setups, that no label tells apart."""
    records, cell = setting.records, ["method", "ipc", "row", "column"]
    variant = records.groupby([*cell, "seed"]).cumcount()
    if (records["setup"] != "").all():
        setups = records.drop_duplicates([*cell, "setup"])
        setups = setups.assign(variant=setups.groupby(cell).cumcount())
        merged = records[[*cell, "setup"]].merge(setups[[*cell, "setup", "variant"]], how="left")["variant"]
        variant = pandas.Series(merged.to_numpy(), index=records.index)
    if not variant.any():
        return [setting]
    note = "Other trials with the same labels stand in another table: something that no label shows was changed between the runs."
    return [
        Setting(records[variant == which], setting.dataset, [*setting.heading, f"variant {which + 1}"], [*setting.notes, note])
        for which in range(int(variant.max()) + 1)
    ]
