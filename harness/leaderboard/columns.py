"""The records' DataFrame made uniform: every column that tables rest on is there, labels are text, rows are in plan order."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import pandas

from harness.boards.frames import FACTS, REST
from harness.boards.labels import Labels
from harness.leaderboard.text import as_text

#: What trials say of themselves, as every scenario's do.
STATED = [name for name in Labels.model_fields if name != "order"]
METRICS = ["accuracy", "best_accuracy", "top5_accuracy"]
#: What a record says in words: its trial's labels, and the facts of the record. What one lacks is empty.
LABELS = [*STATED, *FACTS]
#: Columns of the frame that are neither compared nor shown as labels.
OTHER = ["order", *REST, *METRICS]
#: What tables usually have as axes; an axis of another name is a scenario's own.
AXES = ("loss", "optimizer", "model")


def uniform(frame: pandas.DataFrame, rows: str, columns: str) -> pandas.DataFrame:
    """Return the records with text labels, numeric metrics, their `row`, `column` and `options`.

    The labels that a plugin added keep their names, `label NAME`; its own metrics are left out.
    """
    if "order" in frame and "id" in frame:
        frame = frame.sort_values(["order", "id"], kind="stable")
    frame = frame.reset_index(drop=True)
    records = labels(frame, LABELS)
    for name in METRICS:
        numbers = pandas.to_numeric(frame[name], errors="coerce") if name in frame else float("nan")
        records[name] = pandas.Series(numbers, index=frame.index, dtype="float64").where(records["status"] != "failed")
    records["row"], records["column"] = _text(frame, rows), _text(frame, columns)
    records["seed"] = pandas.Series(frame.get("seed", 0), index=frame.index).astype("int64")
    records["device_kind"] = records["device"].map(device_kind)
    records["warnings"] = _text(frame, "warnings")
    records["evidence"] = _text(frame, "evidence")
    records["options"] = _options(frame, records, rows, columns)
    for name in frame.columns:
        if name in (*LABELS, *OTHER, rows, columns) or pandas.api.types.is_float_dtype(frame[name]):
            continue
        if any(isinstance(value, (str, bool)) for value in frame[name]):
            records[f"label {name}"] = _text(frame, str(name))
    return records


def labels(frame: pandas.DataFrame, names: Sequence[str]) -> pandas.DataFrame:
    """Return these columns as text; one that the frame lacks is empty."""
    return pandas.DataFrame({name: _text(frame, name) for name in names}, index=frame.index)


def _text(frame: pandas.DataFrame, name: str) -> pandas.Series[str]:
    if name not in frame:
        return pandas.Series("", index=frame.index)
    try:
        codes, distinct = pandas.factorize(frame[name])
    except TypeError:  # dictionaries and lists do not hash
        return frame[name].map(as_text)
    texts = [*map(as_text, distinct), ""]  # the code of a missing value is -1
    return pandas.Series([texts[code] for code in codes], index=frame.index)


def each(frame: pandas.DataFrame, *names: str) -> Iterator[tuple[Any, ...]]:
    """Yield what stands in these columns, row by row."""
    return zip(*(frame[name].tolist() for name in names), strict=True)


def ascending(keys: Iterable[Any]) -> tuple[list[int], list[Any]]:
    """Return the number of each key, from 0 for the smallest, and the keys by number."""
    keys = [*keys]
    distinct = sorted({*keys})
    numbers = {key: number for number, key in enumerate(distinct)}
    return [numbers[key] for key in keys], distinct


def device_kind(device: str) -> str:
    """Return `CPU` or `GPU`, or nothing when the record does not say."""
    return "" if not device else "CPU" if device.lower().startswith("cpu") else "GPU"


def _options(frame: pandas.DataFrame, records: pandas.DataFrame, rows: str, columns: str) -> pandas.Series[str]:
    """Return the scenario's options as text, without those that an axis already shows."""
    if "options" not in frame:
        return pandas.Series("", index=frame.index)
    texts = _text(frame, "options")
    distinct = dict(zip(texts, frame["options"], strict=True))
    dicts = {text: value if isinstance(value, dict) else {} for text, value in distinct.items()}
    shown: dict[str, list[str]] = {text: [] for text in dicts}
    for option in sorted({name for value in dicts.values() for name in value}):
        values = texts.map({text: as_text(value.get(option)) for text, value in dicts.items()})
        if option not in (rows, columns) and not follows_own_axis(values, records, rows, columns):
            for text, value in dicts.items():
                if option in value:
                    shown[text].append(f"{option}={as_text(value[option])}")
    return texts.map({text: ", ".join(parts) for text, parts in shown.items()})


def follows_own_axis(
    values: pandas.Series[str], records: pandas.DataFrame, rows: str, columns: str, within: pandas.Series[int] | None = None
) -> bool:
    """Tell whether an axis of the scenario's own (not loss, optimizer or model) decides `values`: one value a label."""
    groups = [] if within is None else [within]
    own = [column for name, column in ((rows, "row"), (columns, "column")) if name and name not in AXES]
    return any(values.groupby([*groups, records[column]]).nunique().le(1).all() for column in own)


def follows_an_axis(values: pandas.Series[str], records: pandas.DataFrame) -> bool:
    """Tell whether the row label alone, or the column label alone, decides `values`."""
    return any(values.groupby(records[axis]).nunique().le(1).all() for axis in ("row", "column"))
