"""What `giftbench list` prints: every name of a kind, read without importing what it names."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from harness.core.errors import UnknownName, suggest
from harness.core.plugins import load_files
from harness.core.registry import Description, Registry


def _registries() -> dict[str, Callable[[], Registry[Any]]]:
    def losses() -> Registry[Any]:
        from harness.losses import registry

        return registry

    def models() -> Registry[Any]:
        from harness.models import registry

        return registry

    def optimizers() -> Registry[Any]:
        from harness.optimizers.optimizers import registry

        return registry

    def schedules() -> Registry[Any]:
        from harness.optimizers.optimizers import schedules

        return schedules

    def datasets() -> Registry[Any]:
        from harness.datasets import registry

        return registry

    def distillers() -> Registry[Any]:
        from harness.distilled import distillers

        return distillers

    def readers() -> Registry[Any]:
        from harness.distilled.readers import registry

        return registry

    def scenarios() -> Registry[Any]:
        from harness.running.scenario import registry

        return registry

    return {f.__name__: f for f in (losses, models, optimizers, schedules, datasets, distillers, readers, scenarios)}


def registry(kind: str) -> Registry[Any]:
    """Return the registry of a kind (its plural). Raises UnknownName with a suggestion."""
    found = _registries()
    if kind not in found:
        raise UnknownName(f"nothing is called {kind!r}; {suggest(kind, {*found, 'protocols'})}")
    return found[kind]()


def entries(kind: str) -> list[Description]:
    """Return what there is of a kind (its plural). Raises UnknownName with a suggestion."""
    if kind == "protocols":
        from harness.boards.native import summary
        from harness.boards.protocol import PROTOCOLS

        given = {name: {k: str(v) for k, v in fields.items()} for name, fields in PROTOCOLS.items()}
        return [Description(name, "giftbench", summary(name), {} if summary(name) else given[name]) for name in PROTOCOLS]
    named = registry(kind)
    return [named.describe(name) for name in named.names()]


def show(kind: str, plugins: Iterable[str] = ()) -> None:
    """Print a kind's entries as a table on standard output; those of every kind that has any for "all"."""
    load_files(plugins)
    if kind != "all":
        _print(kind)
        return
    for each in [*_registries(), "protocols"]:
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
