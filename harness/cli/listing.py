"""What `giftbench list` prints: every name of a kind, read without importing what it names, scenarios apart."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from rich.console import Console
from rich.table import Table
from rich.text import Text

from harness.cli.registries import LISTED, registry
from harness.core.plugins import load_files
from harness.core.registry import Description
from harness.running.opening import given


def entries(kind: str) -> list[Description]:
    """Return what there is of a kind (its plural). Raises UnknownName with a suggestion."""
    if kind == "protocols":
        from harness.boards.protocol import NATIVE_FIELDS, PROTOCOLS, summary
        from harness.boards.recipes import registry as recipes

        stated = {name: {k: str(v) for k, v in fields.items() if k not in NATIVE_FIELDS} for name, fields in PROTOCOLS.items()}
        shipped = [Description(name, "giftbench", summary(name), stated[name]) for name in PROTOCOLS]
        return shipped + [recipes.describe(name) for name in recipes.names() if name not in PROTOCOLS]
    if kind == "strategies":
        from harness.continual.strategies import describe as strategies

        return strategies()
    if kind == "augmentations":
        return _augmentations()
    if kind == "scenarios":
        from harness.running.scenario import describe
    else:
        describe = registry(kind).describe
    listed = registry(kind).listed
    return [*(describe(name) for name in registry(kind).names()), *([] if listed is None else [listed])]


def _augmentations() -> list[Description]:
    """Return the steps of augmentations, DSA's words and mixings among them, with the parameters that protocols may say."""
    from harness.augmentation.steps import registry as steps
    from harness.augmentation.words import MIXES, STEPS, WORDS

    said = {word: "A word of DSA: color_crop_cutout is a strategy of three." for word in WORDS if word not in STEPS}
    said |= dict.fromkeys(MIXES, "Mixing, the protocol's `mixing`, of each image with another of its batch.")
    shipped = {**STEPS, **MIXES}
    rand = "RandAugment by timm's string: magnitude 6, two rounds, noise of deviation 1; p, mmax and inc are read, too."
    listed = [
        replace(
            entry,
            summary=said.get(entry.name, entry.summary),
            parameters={option: str(value) for option, value in shipped.get(entry.name, entry.parameters).items()},
        )
        for entry in map(steps.describe, steps.names())
    ]
    return [*listed, Description("rand-m6-n2-mstd1.0", "giftbench", rand)]


def show(kind: str, plugins: Iterable[str] = ()) -> None:
    """Print a kind's entries as a table on standard output; those of every kind that has any for "all"."""
    load_files(given(plugins))
    if kind != "all":
        _print(kind)
        return
    for each in LISTED:
        if entries(each):
            print(f"{each}:" if each == "losses" else f"\n{each}:")
            _print(each)


def _print(kind: str) -> None:
    console = Console(soft_wrap=False)
    table = Table("name", "parameters", "what it is", "from", box=None, header_style="bold", pad_edge=False)
    for entry in entries(kind):
        parameters = ", ".join(f"{name}={default}" for name, default in entry.parameters.items())
        table.add_row(*map(Text, (entry.name, parameters, entry.summary, entry.origin)))  # a list in brackets is no markup
    if not console.is_terminal:
        console = Console(width=200)
    console.print(table)
