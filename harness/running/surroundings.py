"""What a process consists of, told without loading it: the harness's sources, installed packages, other code, devices."""

from __future__ import annotations

import hashlib
import os
import platform
import sys
import sysconfig
from collections.abc import Iterator
from contextlib import suppress
from functools import cache
from importlib.metadata import distributions, version
from importlib.util import find_spec
from pathlib import Path

from harness.files import paths

#: What the harness itself consists of.
PACKAGES = ("harness", "scenarios")
#: Endings of what an installer leaves beside a package.
INSTALLED = (".dist-info", ".egg-info", ".egg-link", ".pth")


def sha256(file: Path) -> str:
    """Return the SHA-256 of a file's bytes, in hexadecimal; empty when it cannot be read."""
    with suppress(OSError):
        return hashlib.sha256(file.read_bytes()).hexdigest()
    return ""


def sources() -> Iterator[list[str]]:
    """Yield every file of the harness and of the scenarios that ship, and its SHA-256."""
    for folder in homes():
        for name, _, _ in paths.stamps(folder):
            if "__pycache__" not in name:
                yield [f"{folder}/{name}", sha256(folder / name)]


@cache
def making() -> dict[str, object]:
    """Return what a training that is taken up again has to have in common with its beginning: code, versions, threads."""
    import torch

    return {
        "code": hashlib.sha256("".join(sorted(digest for _, digest in sources())).encode()).hexdigest(),
        "versions": {"giftbench": version("giftbench"), "torch": torch.__version__, "Python": sys.version},
        "processor": [platform.machine(), torch.backends.cpu.get_cpu_capability()],
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else "",
        "threads": torch.get_num_threads(),
    }


def homes() -> list[Path]:
    """Return the folders of the harness and of the scenarios that ship."""
    specs = [find_spec(package) for package in PACKAGES]
    return [Path(place).resolve() for spec in specs if spec is not None for place in spec.submodule_search_locations or ()]


def installed() -> Iterator[list[object]]:
    """Yield Python, and each folder of modules: packages in it, by version and time, and what else can be imported by name."""
    yield [sys.version, sys.prefix]
    for folder in sys.path:
        with suppress(OSError), os.scandir(folder or ".") as listing:
            entries = sorted(listing, key=lambda entry: entry.name)
            packages = [[entry.name, entry.stat().st_mtime_ns] for entry in entries if entry.name.endswith(INSTALLED)]
            modules = [entry.name for entry in entries if entry.name.removesuffix(".py").isidentifier()]
            yield [str(Path(folder).absolute()), packages, [name for name in modules if name != "__pycache__"]]


def imported() -> list[Path]:
    """Return the files of the modules that come neither with Python, nor with an installed package, nor with the harness.

    Those of a package that brings plugins are among them wherever it is installed: people edit theirs in place.
    """
    known = [sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")]
    known += [folder for folder in sys.path if folder.endswith(("site-packages", "dist-packages"))]
    folders = tuple(f"{Path(folder).resolve()}{os.sep}" for folder in {*known, *map(str, homes())})
    own = plugin_packages()
    modules = [(name.partition(".")[0] in own, getattr(module, "__file__", None)) for name, module in [*sys.modules.items()]]
    files = {(edited, Path(file).resolve()) for edited, file in modules if isinstance(file, str)}
    return sorted({file for edited, file in files if (edited or not str(file).startswith(folders)) and file.is_file()})


def plugin_packages() -> set[str]:
    """Return the packages whose entry points bring plugins, without the harness's own."""
    points = (point for distribution in distributions() for point in distribution.entry_points)
    packages = {point.module.partition(".")[0] for point in points if point.group.startswith("giftbench.")}
    return packages - {*PACKAGES}


def devices() -> list[object]:
    """Return what tells which GPUs there are to be had."""
    nodes = sorted(str(node) for node in Path("/dev").glob("nvidia*"))
    return [nodes, sha256(Path("/proc/driver/nvidia/version")), os.environ.get("CUDA_VISIBLE_DEVICES")]
