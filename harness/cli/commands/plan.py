"""`giftbench plan`: what is left of a board, and how long it takes here and on other machines."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from harness.cli.options import (
    AllowPluginsOption,
    BoardArgument,
    DataOption,
    DeviceOption,
    FollowLinksOption,
    ForceOption,
    JobsOption,
    LossOption,
    PluginOption,
    PrecisionOption,
    ProtocolOption,
    RetryOption,
    ScenarioOption,
    SeedsOption,
    SetOption,
    StackOption,
    TeacherOption,
    ThreadsOption,
)

if TYPE_CHECKING:
    from harness.leaderboard.power import Reach
    from harness.running.forecast import Machines
    from harness.running.outlook import Place


def plan(
    board: BoardArgument,
    machines: Annotated[
        list[str] | None,
        typer.Option(
            help="h200:8x16: sixteen machines of eight GPUs; cpu:2x4: four of two cores (repeatable)", metavar="NAME:UxN"
        ),
    ] = None,
    price: Annotated[
        list[str] | None, typer.Option(help="what one machine costs an hour (repeatable)", metavar="NAME=AMOUNT")
    ] = None,
    scenario: ScenarioOption = None,
    loss: LossOption = None,
    seeds: SeedsOption = None,
    protocol: ProtocolOption = None,
    precision: PrecisionOption = None,
    jobs: JobsOption = 0,
    threads: ThreadsOption = 1,
    stack: StackOption = 0,
    device: DeviceOption = "auto",
    data_dir: DataOption = None,
    follow_links: FollowLinksOption = False,
    plugin: PluginOption = None,
    allow_plugins: AllowPluginsOption = False,
    set_: SetOption = None,
    teacher: TeacherOption = None,
    retry: RetryOption = False,
    force: ForceOption = False,
) -> None:
    """Say what is left of a board and how many hours that takes, here and on other machines; nothing is trained or made."""
    from harness.planning.supplies import Supplies
    from harness.running.forecast import Machines
    from harness.running.options import Options, Silent
    from harness.running.outlook import outlook
    from harness.running.overrides import Overrides

    class Aside(Silent):
        def say(self, line: str) -> None:
            print(line, file=sys.stderr)

    overrides = Overrides(tuple(scenario or ()), tuple(loss or ()), seeds, protocol, precision)
    supplies = Supplies.parse(set_ or (), teacher or ())
    options = Options(
        *(device, jobs, threads, stack, data_dir, tuple(plugin or ()), retry, False, supplies, force), allow_plugins=allow_plugins
    )
    known = outlook(board, overrides, options, Machines.parse(machines or (), price or ()), Aside())
    again = " (not run again without --retry)" if known.failed and not retry else ""
    print(f"{known.planned} trials: {known.done} done, {known.left} left, {known.failed} failed{again}")
    if known.absent:
        print(
            f"not at hand: {', '.join(known.absent)}; giftbench run makes them first, for which no hours are counted here. "
            "Trials that rest on them count as done where a record fits in all but the digests, known once they are made"
        )
    for place in known.places if known.left else ():
        print(_line(place))
        if place.forecast.bounded and place.workers > 1:
            print(f"  the longest bundle alone takes {_hours(place.forecast.longest)}: more machines end no sooner")
    if known.planned:
        print(_told(known.reach))


def _told(reach: Reach) -> str:
    """Say what the seeds will be able to tell, and by which spread."""
    seeds = f"{reach.seeds} seed{'s' * (reach.seeds != 1)}"
    if reach.seeds < 2:
        return f"{seeds}: no difference can be told; two are the fewest that can"
    if not reach.pairs:
        return f"{seeds}: which difference they can tell is not known before two losses of a setting have two seeds each"
    points = f"{reach.difference:.1f} point{'s' * (f'{reach.difference:.1f}' != '1.0')}"
    spread = f"by the spread of {reach.pairs} pair{'s' * (reach.pairs != 1)} of losses in the records, {reach.std:.2f} points"
    return f"{seeds} can tell a difference of {points} between two losses (paired t test, 5 %, power 80 %), {spread}"


def _line(place: Place) -> str:
    machines, wall = place.machines, place.forecast.wall
    name = "this machine" if machines is None else str(machines)
    words = [
        f"{name}, {place.workers} worker{'s' * (place.workers > 1)}: {_hours(place.forecast.work)} of work",
        f"{_hours(wall)} to the end",
        *_paid(machines, wall),
    ]
    return f"{', '.join(words)}; {_basis(place)}"


def _paid(machines: Machines | None, wall: float) -> list[str]:
    if machines is None:
        return []
    hours = machines.count * wall
    amount = [] if machines.price is None else [f"{machines.price * hours / 3600:,.2f} at {machines.price:g} an hour"]
    return [f"{_hours(hours)} of machines", *amount]


def _basis(place: Place) -> str:
    """Say which records the hours come from, and what that is worth."""
    basis, asked = place.basis, "this machine's kind" if place.machines is None else place.machines.name
    sort = "CPU" if place.device == "cpu" else "GPU"
    devices = ", ".join(basis.devices[:3]) + (", …" if len(basis.devices) > 3 else "")
    records = f"{basis.records} record{'s' * (basis.records > 1)} of {devices}"
    if basis.same:
        return f"by {records}"
    if basis.records:
        return f"no record is of {asked}: by {records}"
    return f"no record is of any {sort}: by the operations of the networks alone, which may be wrong several times over"


def _hours(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.1f} min" if seconds < 3600 else f"{seconds / 3600:,.2f} h"
