"""`giftbench status`: what of a board is done, running and where, left, failed."""

from __future__ import annotations

from collections import defaultdict

from harness.cli.options import (
    BoardArgument,
    DataOption,
    DeviceOption,
    LossOption,
    PluginOption,
    PrecisionOption,
    ProtocolOption,
    ScenarioOption,
    SeedsOption,
    SetOption,
    TeacherOption,
)


def status(
    board: BoardArgument,
    scenario: ScenarioOption = None,
    loss: LossOption = None,
    seeds: SeedsOption = None,
    protocol: ProtocolOption = None,
    precision: PrecisionOption = None,
    device: DeviceOption = "auto",
    data_dir: DataOption = None,
    plugin: PluginOption = None,
    set_: SetOption = None,
    teacher: TeacherOption = None,
) -> None:
    """Say how many of a board's trials are done, running and where, left and failed; nothing is trained."""
    from harness.boards.trial import describe
    from harness.files.claims import Holder
    from harness.planning.supplies import Supplies
    from harness.running.options import Options
    from harness.running.overrides import Overrides
    from harness.running.status import status as found

    overrides = Overrides(tuple(scenario or ()), tuple(loss or ()), seeds, protocol, precision)
    supplies = Supplies.parse(set_ or (), teacher or ())
    now = found(board, overrides, Options(device=device, data_dir=data_dir, plugins=tuple(plugin or ()), supplies=supplies))
    counts = f"{now.done} done, {len(now.running)} running, "
    if now.left is None:
        print(f"{counts}{len(now.failed)} failed; how many are left is known here once giftbench run has planned the board")
    else:
        print(f"{now.planned} trials: {counts}{now.left} left, {len(now.failed)} failed")
    by_process: dict[tuple[str, int], list[Holder]] = defaultdict(list)
    for holder in now.running.values():
        by_process[holder.host, holder.pid].append(holder)
    for holders in by_process.values():
        print(f"running: {len(holders)} by {holders[0]}, since {min(holder.since for holder in holders)}")
    if now.planning is not None:
        print(f"planning: {now.planning}, since {now.planning.since}")
    for record in now.failed:
        print(f"failed: {describe(record.trial)}: {record.error}")
