"""Arguments and options that several commands share."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Literal

import typer

BoardArgument = Annotated[
    Path, typer.Argument(help="board.toml, or the folder that holds it", metavar="BOARD", envvar="GIFTBENCH_BOARD")
]
PluginOption = Annotated[
    list[str] | None, typer.Option("--plugin", help="a Python file that registers plugins (repeatable)", metavar="FILE")
]
AllowPluginsOption = Annotated[
    bool, typer.Option("--allow-plugins", help="let the board's own plugin files run, from now on and until they change")
]
ExecutorOption = Annotated[
    str, typer.Option(help='what carries the trials: local, ray or slurm, with parameters as "ray(gpus=0.5)"', metavar="NAME")
]
ArrayOption = Annotated[int | None, typer.Option(help="how many Slurm jobs", min=1, metavar="N")]
TimeOption = Annotated[str | None, typer.Option(help="of each Slurm job, which is requeued after it", metavar="H:MM:SS")]
PartitionOption = Annotated[str | None, typer.Option(help="of Slurm", metavar="NAME")]
GpusPerNodeOption = Annotated[int | None, typer.Option(help="GPUs of each Slurm job", min=0, metavar="N")]
DryRunOption = Annotated[bool, typer.Option("--dry-run", help="only print the script that Slurm would be given")]
AddressOption = Annotated[str | None, typer.Option(help="of a Ray cluster: HOST:6379, or auto", metavar="ADDR")]
DeviceOption = Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N")]
DataOption = Annotated[Path | None, typer.Option(help="folder of the dataset's files (else GIFTBENCH_DATA)", metavar="PATH")]


def _allow_links(asked: bool) -> bool:
    """Let this process, and those that it starts, follow links that leave a dataset's folder."""
    if asked:
        from harness.datasets.links import VARIABLE

        os.environ[VARIABLE] = "1"
    return asked


FollowLinksOption = Annotated[
    bool,
    typer.Option(
        "--follow-links",
        help="follow links that leave a dataset's folder (else GIFTBENCH_FOLLOW_LINKS); a set's never",
        callback=_allow_links,
    ),
]
ScenarioOption = Annotated[list[str] | None, typer.Option(help="only this scenario (repeatable)", metavar="NAME")]
LossOption = Annotated[
    list[str] | None, typer.Option(help='this loss instead of the board\'s, as "gift(gamma=0.2)" (repeatable)', metavar="NAME")
]
SeedsOption = Annotated[int | None, typer.Option(help="this many seeds, 0 to N-1", min=1, metavar="N")]
ProtocolOption = Annotated[str | None, typer.Option(help="paper, quick or smoke instead of the board's")]
PrecisionOption = Annotated[str | None, typer.Option(help="float32, bf16 (autocast) or tf32 (GPUs)")]
JobsOption = Annotated[
    int, typer.Option(help="worker processes, on each GPU; 0: one a core on the CPU, one a GPU", min=0, metavar="N")
]
ThreadsOption = Annotated[int, typer.Option(help="CPU threads of each worker", min=1, metavar="N")]
StackOption = Annotated[
    int, typer.Option(help="trainings of one student made in one pass: 0 chooses, 1 never, N up to N", min=0, metavar="N")
]
SetOption = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        help="where a published set that the board waits for lies: NAME[/DATASET][/NETWORK] (repeatable)",
        metavar="NAME=PATH",
    ),
]
TeacherOption = Annotated[
    list[str] | None,
    typer.Option(
        help="a teacher's checkpoint, a file or hf-hub:USER/NAME, instead of those the board looks for: [MODEL[/DATASET]=]"
        " (repeatable)",
        metavar="PATH",
    ),
]
RetryOption = Annotated[bool, typer.Option("--retry", help="run failed trials again")]
DeterministicOption = Annotated[
    bool, typer.Option("--deterministic", help="operations that repeat themselves to the bit, where torch has such")
]
CompileOption = Annotated[
    Literal["auto", "never"],
    typer.Option(
        "--compile",
        help="auto: torch.compile a student on the CPU where one training is long enough to pay for it, and note that; or never",
        metavar="auto|never",
    ),
]
ForceOption = Annotated[
    bool, typer.Option("--force", help="take distilled sets though another order of their classes fits far better")
]
