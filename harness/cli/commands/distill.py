"""`giftbench distill`: a distilled set, made here."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from harness.cli.options import DataOption, DeviceOption, FollowLinksOption, PluginOption
from harness.core.errors import at


def distill(
    dataset: Annotated[str, typer.Option(help="dataset to distil")],
    method: Annotated[str, typer.Option(help='distiller, as "rded(min_scale=0.5)"')],
    ipc: Annotated[int, typer.Option(help="images per class", min=1)],
    output: Annotated[Path, typer.Option("--output", "-o", help="safetensors file to write", metavar="FILE")],
    teacher: Annotated[str, typer.Option(help="teacher to score with, trained first when nobody has it")] = "convnet3",
    seed: Annotated[int, typer.Option(help="the distiller's seed", min=0)] = 0,
    device: DeviceOption = "auto",
    data_dir: DataOption = None,
    follow_links: FollowLinksOption = False,
    plugin: PluginOption = None,
) -> None:
    """Make a distilled set from a dataset and write it to a file."""
    from harness import models
    from harness.boards.board import TeacherSpec, checked
    from harness.cli.progress import Reporter
    from harness.core.plugins import load_files
    from harness.planning.preparation import distil
    from harness.training.devices import resolve_device

    resolve_device(device)
    load_files(plugin or ())
    for model in checked(TeacherSpec, teacher, "--teacher").models:
        with at("--teacher"):
            models.registry.resolve(model)
    with Reporter() as reporter:
        distilled = distil(dataset, method, ipc, teacher, seed, device, data_dir, reporter.preparing)
    print(f"{distilled.save(output)}: {distilled!r}")
