"""What ships with giftbench, found beside this package: a folder or a file of the user's may have the same names.

The scenarios that ship are a package of their own, `scenarios`, as common a name as a folder beside a notebook can have. Where it
leads elsewhere they are imported under another name. A user's `harness.py` in front of ours is out of reach of a process that has
not imported ours yet; processes that are started by one that has are told where ours lies.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from types import ModuleType

#: The folder that holds this package, and those that ship with it.
ROOT = Path(__file__).resolve().parents[2]
OWN = __name__.partition(".")[0]
BESIDE = ("scenarios",)
#: Goes before a package's name where that leads elsewhere.
ASIDE = "giftbench_"


def load(module: str) -> ModuleType:
    """Import a module that ships, "scenarios.gamma_sweep", whatever else its package's name leads to."""
    package, _, rest = module.partition(".")
    if package not in BESIDE or not (ROOT / package).is_dir() or _leads_here(package):
        return importlib.import_module(module)
    return importlib.import_module(f"{_aside(package)}.{rest}")


def is_ours(module: str) -> bool:
    """Return whether a module that has been imported ships with giftbench, by where its file lies."""
    file = getattr(sys.modules.get(module), "__file__", None)
    return file is not None and any(Path(file).resolve().is_relative_to(ROOT / package) for package in (OWN, *BESIDE))


def _leads_here(package: str) -> bool:
    """Return whether a package's name means the one beside this."""
    loaded = sys.modules.get(package)
    try:
        spec = loaded.__spec__ if loaded is not None else importlib.util.find_spec(package)
    except (ImportError, ValueError):  # what stands in its way is no module at all
        return False
    return _is_at(spec, ROOT / package)


def _is_at(spec: ModuleSpec | None, folder: Path) -> bool:
    return spec is not None and spec.origin is not None and Path(spec.origin).resolve().parent == folder


def _aside(package: str) -> str:
    """Import the package that lies beside this under another name, and return that."""
    name = ASIDE + package
    if name not in sys.modules:
        folder = ROOT / package
        spec = importlib.util.spec_from_file_location(name, folder / "__init__.py", submodule_search_locations=[str(folder)])
        assert spec is not None and spec.loader is not None
        sys.modules[name] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules[name])
    return name


@contextmanager
def first_on_path() -> Iterator[None]:
    """Let processes that are started inside find this package before anything else of its name.

    The folder that they are started in, which Python would search first, is left out (PYTHONSAFEPATH). Where all packages lie
    beside this one, the search path of this process is theirs as it is, unless something on it comes before this.
    """
    shadowed = not _is_at(PathFinder.find_spec(OWN, sys.path), ROOT / OWN)
    before = {name: os.environ.get(name) for name in ("PYTHONPATH", "PYTHONSAFEPATH")}
    if shadowed or ROOT.name not in ("site-packages", "dist-packages"):
        os.environ["PYTHONPATH"] = os.pathsep.join([str(ROOT), *filter(None, [before["PYTHONPATH"]])])
    if shadowed:
        sys.path.insert(0, str(ROOT))
    os.environ["PYTHONSAFEPATH"] = "1"
    try:
        yield
    finally:
        if shadowed:
            sys.path.remove(str(ROOT))
        for name, value in before.items():
            os.environ.pop(name, None) if value is None else os.environ.update({name: value})
