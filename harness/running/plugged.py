"""Plugins that trials rest on, held against those that are here: a trial of another source is another trial."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from harness import augmentation, datasets, losses, models, optimizers
from harness.augmentation.words import plugged
from harness.boards.records import Record
from harness.boards.setup import Setup
from harness.boards.trial import Trial
from harness.core.errors import PluginError
from harness.core.registry import Registry
from harness.core.sources import Source
from harness.distilled import distillers, readers
from harness.running.scenario import registry as scenarios

_ALL: tuple[Registry[object], ...] = (
    *(losses.registry, models.registry, optimizers.registry, optimizers.schedules, datasets.registry, distillers),
    *(readers.registry, scenarios, augmentation.registry),
)
REGISTRIES = {registry.kind: registry for registry in _ALL}


def check(trial: Trial) -> None:
    """Raise PluginError where a plugin of a trial is not the one that the trial was planned with."""
    for key, stated in trial.setup.plugins.items():
        here = _here(key)
        if here is not None and here.digest != stated.digest:
            changed = f"was changed after the trial was planned (sha {stated.digest[:8]} then, {here.short} here)"
            raise PluginError(f"{key}: {here.name} {changed}; run the board again")


def outdated(setup: Setup, unnoted: Mapping[str, str]) -> tuple[str, ...]:
    """Return in words, each once, the earlier sources that a setup rests on; of a plugin that is not here nobody can tell.

    Args:
        unnoted: the board's, as `Board` says.
    """
    words = []
    for key in dict.fromkeys([*setup.plugins, *_named(setup)]):
        here = _here(key)
        if here is not None and here.digest != (digest := _digest(setup, key, here.name, unnoted)):
            stated = setup.plugins.get(key)
            words.append(f"{stated.source if stated is not None else here.name} ({digest[:8] or 'sha not noted'})")
    return tuple(dict.fromkeys(words))


def said(missing: Iterable[Trial], records: Iterable[Record], unnoted: Mapping[str, str]) -> Iterator[str]:
    """Yield a line for each file, or package, of which trials that are to run have been made by an earlier one.

    Args:
        unnoted: the board's, as `Board` says.
    """
    wanted = {_place(trial): trial for trial in missing if trial.setup.plugins}
    counts: dict[str, list[str]] = {}
    for record in records if wanted else ():
        trial = wanted.get(_place(record.trial))
        if trial is not None and trial.id != record.id:
            for name, digest in dict.fromkeys(_changed(trial.setup, record.trial.setup, unnoted)):
                counts.setdefault(name, []).append(digest)
    for name, digests in counts.items():
        known = ", ".join(digest or "not noted" for digest in dict.fromkeys(digests))
        several = len(digests) > 1
        yield (
            f"{len(digests)} record{'s were' if several else ' was'} made by an earlier {name} (sha {known}): "
            f"{'they are' if several else 'it is'} run again"
        )


def files(setups: Iterable[Setup]) -> set[Path]:
    """Return the files of all plugins that setups rest on, as far as these are here."""
    keys = {key for setup in setups for key in (*setup.plugins, *_named(setup))}
    return {file for source in map(_here, keys) if source is not None for file in source.files}


def _changed(now: Setup, then: Setup, unnoted: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Yield name and short digest of each source that a setup rests on now and rested on in another state then."""
    for key, plugin in now.plugins.items():
        digest = _digest(then, key, plugin.source, unnoted)
        if digest != plugin.digest:
            yield plugin.source, digest[:8]


def _digest(setup: Setup, key: str, source: str, unnoted: Mapping[str, str]) -> str:
    """Return the digest of a plugin that a setup rests on; of one that it does not name what the board says, or nothing."""
    plugin = setup.plugins.get(key)
    return plugin.digest if plugin is not None else unnoted.get(source, "")


def _here(key: str) -> Source | None:
    """Return the source that stands behind a kind and name in this process; None where nothing does, or what ships."""
    kind, _, name = key.partition(" ")
    registry = REGISTRIES.get(kind)
    return registry.source(name) if registry is not None and name in registry else None


def _named(setup: Setup) -> Sequence[str]:
    """Return, as keys, the names that a setup holds, of which those of its set and its teacher are not."""
    named = {"loss": setup.loss, "model": setup.model, "optimizer": setup.optimizer, "schedule": setup.protocol.schedule}
    steps = [f"augmentation {step.name}" for text in setup.protocol.augmentations for step in plugged(text)]
    return [*(f"{kind} {spec.name}" for kind, spec in named.items()), *steps, f"scenario {setup.scenario}"]


def _place(trial: Trial) -> tuple[object, ...]:
    """Alike in all that a trial says of itself, but for how good its teacher is: what an edited plugin may change."""
    labels = trial.labels.stated()
    told = {name: value for name, value in labels.items() if name not in ("order", "teacher_accuracy")}
    return trial.scenario, trial.seed, repr(trial.options), repr(sorted(told.items(), key=lambda item: item[0]))
