"""Packages as an installer leaves them."""

from __future__ import annotations

from pathlib import Path


def entry_point(site: Path, package: str, group: str, point: str) -> None:
    """Write into a folder of packages what says that one of them has an entry point, such as `mine = package.losses:mine`."""
    about = site / f"{package}-1.0.dist-info"
    about.mkdir(parents=True)
    (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text(f"[{group}]\n{point}\n")
