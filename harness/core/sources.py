"""What a plugin consists of: a digest of its file and of what that imports beside itself, of its package, or of its code.

A number rests on what a plugin computes. Whatever giftbench does not bring along has a source, and other bytes make another one:

| the object comes from      | its digest is over                                                                         |
| -------------------------- | ------------------------------------------------------------------------------------------ |
| a file                     | the file, and those that it imports, and that these import, from no installed package      |
| an installed package       | its name, its version, its files; of an editable one those that lie in its folder          |
| a notebook, an interpreter | its source, and that of what it names there; bytes and constants where there is no source  |
"""

from __future__ import annotations

import ast
import hashlib
import importlib.metadata
import importlib.util
import inspect
import json
import os
import sys
import sysconfig
import textwrap
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from types import CodeType, FunctionType, ModuleType

from harness.core import shipped

#: Endings of what Python, or an installer, writes beside a package's own files.
_WRITTEN = (".pyc", ".pyo", ".pth")
#: What a name of a notebook may stand for that its digest holds as it is written.
_PLAIN = (type(None), bool, int, float, complex, str, bytes)


@dataclass(frozen=True)
class Source:
    """What an object consists of that does not ship with giftbench.

    Attributes:
        name: of its file; name and version of its package; or what it is called where no file has it, and what was digested.
        digest: SHA-256, in hexadecimal.
        files: all that it was read from.
    """

    name: str
    digest: str
    files: tuple[Path, ...] = ()

    @property
    def short(self) -> str:
        """The digest's first eight digits."""
        return self.digest[:8]


def of_object(thing: Callable[..., object], registered_in: str) -> Source | None:
    """Return the source of an object that was registered; None where it comes from no file, whose source is `of_code`.

    Args:
        registered_in: the name of the module that registered it, which may be another than the one that defines it.
    """
    own = _unwrapped(thing)
    if _is_interactive(own):
        return None
    names = dict.fromkeys([registered_in, str(getattr(own, "__module__", ""))])
    modules = {name: file for name in names if (file := module_file(name)) is not None and not _ships(file)}
    outside = {name: file for name, file in modules.items() if is_outside(file)}
    if outside:
        return _of_files(outside)
    for name in modules:
        distribution = importlib.metadata.packages_distributions().get(name.partition(".")[0])
        return of_package(distribution[0], name) if distribution else _of_files({name: modules[name]})
    return None


def of_file(file: Path) -> Source:
    """Return the source of a plugin file that may not have been loaded, and may not be: nothing of it runs."""
    return _of_files({"": file.resolve()})


def of_package(distribution: str, module: str) -> Source:
    """Return the source of what an installed package offers in a module; nothing of it is imported.

    Args:
        distribution: the package's name, as installers know it.
    """
    try:
        package = importlib.metadata.distribution(distribution)
    except importlib.metadata.PackageNotFoundError:
        file = module_file(module)
        return _of_files({module: file}) if file is not None else Source(distribution, _sha(distribution.encode()))
    files = {
        listed.as_posix(): Path(str(package.locate_file(listed))).resolve()
        for listed in package.files or ()
        if _is_own(listed.parts)
    }
    home = module_file(module)
    if home is not None and home not in files.values():  # an editable install: the files lie elsewhere
        files |= _beneath(module, home)
        files |= {file.name: file for file in _imported({module: home}) if file not in files.values()}
    there = {name: file for name, file in files.items() if file.is_file()}
    facts = [distribution, package.version, [[name, file_digest(file)] for name, file in sorted(there.items())]]
    return Source(f"{distribution} {package.version}", _sha(json.dumps(facts).encode()), tuple(sorted(there.values())))


def of_code(thing: Callable[..., object]) -> Source:
    """Return the source of an object that no file has: of its code, and of all that this names where it stands."""
    own = _unwrapped(thing)
    reading = _Reading()
    reading.add(getattr(own, "__qualname__", type(own).__name__), own)
    if isinstance(thing, partial):
        reading.add("arguments", [thing.args, thing.keywords])
    files = _imported(reading.modules)
    facts = [sorted(reading.parts.items()), sorted([file.name, file_digest(file)] for file in files)]
    what = "bytes and constants of its code" if reading.compiled else "its source"
    name = f"{getattr(own, '__qualname__', type(own).__name__)} of no file ({what})"
    return Source(name, _sha(json.dumps(facts).encode()), tuple(files))


# -- modules and files -------------------------------------------------------------------------------------------------------


def module_file(module: str) -> Path | None:
    """Find a module's file. importlib would import the packages around it, and a plugin's may bring torch."""
    loaded = sys.modules.get(module)
    if loaded is not None:
        file = getattr(loaded, "__file__", None)
        return Path(file).resolve() if isinstance(file, str) else None
    top, *rest = module.split(".")
    with suppress(ImportError, ValueError, AttributeError):
        package = importlib.util.find_spec(top)
        if package is not None and not rest:
            return Path(package.origin).resolve() if package.origin and package.has_location else None
        if package is not None:
            return _first([Path(folder, *rest) for folder in package.submodule_search_locations or ()])
    return None


def is_outside(file: Path) -> bool:
    """Return whether a file comes neither with Python, nor with an installed package, nor with giftbench."""
    packages = tuple(folder for folder in sys.path if folder.endswith(("site-packages", "dist-packages")))
    return not str(file).startswith(_installed(packages)) and not _ships(file)


@cache
def _installed(packages: tuple[str, ...]) -> tuple[str, ...]:
    """Return the folders of Python's own modules and of packages, links followed, each with a separator at its end."""
    known = [sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")]
    return tuple(f"{Path(folder).resolve()}{os.sep}" for folder in {*known, *packages})


def file_digest(file: Path) -> str:
    """Return the SHA-256 of a file's bytes, in hexadecimal; empty when it cannot be read."""
    with suppress(OSError), file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
    return ""


def _ships(file: Path) -> bool:
    return any(file.is_relative_to(shipped.ROOT / package) for package in (shipped.OWN, *shipped.BESIDE))


def _first(places: Sequence[Path]) -> Path | None:
    files = [file for place in places for file in (place.with_name(f"{place.name}.py"), place / "__init__.py")]
    return next((file.resolve() for file in files if file.is_file()), None)


#: Sources of modules that are loaded, each with what tells that it is still the same loading.
_kept: dict[tuple[str, ...], tuple[list[object], Source]] = {}


def _of_files(roots: dict[str, Path]) -> Source:
    """Return the source of modules with their files, the first of which it is called by; read once for each time they load."""
    key, loading = tuple(roots), [_loading(name) for name in roots]
    known = _kept.get(key)
    if known is not None and all(before is now for before, now in zip(known[0], loading, strict=True)):
        return known[1]
    files = _imported(roots)
    first, others = files[0], files[1:]
    facts = [file_digest(first), sorted([file.name, file_digest(file)] for file in others)]
    source = Source(first.name, _sha(json.dumps(facts).encode()), tuple(files))
    if None not in loading:
        _kept[key] = (loading, source)
    return source


def _loading(name: str) -> object:
    """Return an object that a module has from its loading, and another when it is loaded again; None when it is not loaded."""
    module = sys.modules.get(name)
    return None if module is None else getattr(module, "__spec__", None) or module


def _imported(roots: dict[str, Path]) -> list[Path]:
    """Return the files of modules, and those outside of every package that they import, these import, and so on."""
    queue, files = [*roots.items()], {}
    while queue:
        name, file = queue.pop(0)
        if file not in files:
            files[file] = name
            queue += [(other, place) for other, place in _imports(name, file) if is_outside(place)]
    return [*files]


def _imports(name: str, file: Path) -> Iterator[tuple[str, Path]]:
    """Yield what a module imports, as its text says, inside of functions too, and as what it holds shows."""
    package = name if file.name == "__init__.py" else name.rpartition(".")[0]
    with suppress(OSError, SyntaxError, ValueError):
        for other in dict.fromkeys(_named(ast.parse(file.read_bytes()), package)):
            place = module_file(other) if other in sys.modules else _beside(other, file.parent)
            if place is not None:
                yield other, place
    held = [*vars(sys.modules[name]).values()] if name in sys.modules else []
    things = [value for value in held if isinstance(value, (ModuleType, FunctionType, type))]
    for other in dict.fromkeys(value.__name__ if isinstance(value, ModuleType) else value.__module__ for value in things):
        place = module_file(other) if other in sys.modules else None
        if place is not None:
            yield other, place


def _named(tree: ast.Module, package: str) -> Iterator[str]:
    """Yield the name of every module that import statements may load, packages around it too."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: len(package.split(".")) + 1 - node.level] if node.level else []
            if node.level and not any(above):
                continue
            base = ".".join([*above, *([node.module] if node.module else [])])
            names = [base, *(f"{base}.{alias.name}" for alias in node.names if alias.name != "*")]
        else:
            continue
        for name in names:
            parts = name.split(".")
            yield from (".".join(parts[:count]) for count in range(1, len(parts) + 1))


def _beside(module: str, folder: Path) -> Path | None:
    """Find a module that is not loaded: beside a file, else as Python would."""
    top = module.partition(".")[0]
    if top in sys.stdlib_module_names or top == shipped.OWN:
        return None
    return _first([folder.joinpath(*module.split("."))]) or module_file(module)


def _is_own(parts: Sequence[str]) -> bool:
    """Return whether a file of an installed package is the package's, and not what an installer wrote about it."""
    about = parts[0].endswith((".dist-info", ".egg-info")) or parts[0].startswith("__editable__")
    return not about and ".." not in parts and "__pycache__" not in parts and not parts[-1].endswith(_WRITTEN)


def _beneath(module: str, home: Path) -> dict[str, Path]:
    """Return the files in the folder of a module's outermost package; of a module without one its own."""
    top = module_file(module.partition(".")[0])
    if top is None or top.name != "__init__.py":
        return {home.name: home}
    places = [place for place in top.parent.rglob("*") if place.is_file()]
    files = {place.relative_to(top.parent.parent).as_posix(): place for place in places}
    return {name: place for name, place in files.items() if _is_own(Path(name).parts) and "/." not in name}


# -- code without a file -----------------------------------------------------------------------------------------------------


class _Reading:
    """The text of an object, and of what it names that no file has either; modules that it names, by their files.

    Attributes:
        parts: {name: text}.
        modules: {name: file} of modules that lie outside of every package.
        compiled: whether some of it had no source.
    """

    def __init__(self) -> None:
        self.parts: dict[str, str] = {}
        self.modules: dict[str, Path] = {}
        self.compiled = False

    def add(self, name: str, thing: object) -> None:
        """Take in an object, and what it names; each name once."""
        if name in self.parts:
            return
        if isinstance(thing, FunctionType) and _is_interactive(thing):
            self.parts[name] = self._text(thing)
            self._follow(thing)
        elif isinstance(thing, type) and _is_interactive(thing):
            self.parts[name] = " ".join(base.__qualname__ for base in thing.__bases__)
            for attribute, value in [*vars(thing).items()]:
                inner = value.__func__ if isinstance(value, (staticmethod, classmethod)) else value
                inner = inner.fget if isinstance(inner, property) else inner
                if not attribute.startswith("__") or isinstance(inner, FunctionType):
                    self.add(f"{name}.{attribute}", inner)
            for base in thing.__bases__:
                self.add(base.__qualname__, base)
        elif isinstance(thing, (ModuleType, FunctionType, type)):
            module = thing.__name__ if isinstance(thing, ModuleType) else thing.__module__
            file = module_file(module)
            if file is not None and is_outside(file):
                self.modules[module] = file
        elif isinstance(thing, _PLAIN):
            self.parts[name] = repr(thing)
        elif isinstance(thing, (tuple, list)):
            self._each(name, enumerate(thing))
        elif isinstance(thing, (set, frozenset)):
            self._each(name, enumerate(sorted(thing, key=repr)))
        elif isinstance(thing, dict):
            self._each(name, thing.items())
        elif isinstance(thing, partial):
            self._each(name, enumerate((thing.func, thing.args, thing.keywords)))
        elif hasattr(thing, "tolist"):  # an array, a tensor
            with suppress(Exception):
                self.parts[name] = repr(thing.tolist())
        elif _is_interactive(type(thing)):
            self.add(type(thing).__qualname__, type(thing))
            self._each(name, vars(thing).items() if hasattr(thing, "__dict__") else ())

    def _each(self, name: str, items: Iterable[tuple[object, object]]) -> None:
        self.parts[name] = ""
        for key, value in items:
            self.add(f"{name}[{key!r}]", value)

    def _text(self, function: FunctionType) -> str:
        with suppress(OSError, TypeError, SyntaxError):
            return textwrap.dedent(inspect.getsource(function))
        self.compiled = True
        return repr((_compiled(function.__code__), function.__defaults__, function.__kwdefaults__))

    def _follow(self, function: FunctionType) -> None:
        for name in _names(function.__code__):
            if name in function.__globals__:
                self.add(name, function.__globals__[name])
        for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
            with suppress(ValueError):  # nothing has been put into it yet
                self.add(f"{function.__qualname__}:{name}", cell.cell_contents)


def _unwrapped(thing: Callable[..., object]) -> Callable[..., object]:
    while isinstance(thing, partial):
        thing = thing.func
    return thing


def _is_interactive(thing: object) -> bool:
    """Return whether no file has an object's code: it was typed in, or is a notebook's."""
    module = sys.modules.get(str(getattr(thing, "__module__", None)))
    if isinstance(thing, FunctionType):
        return not Path(thing.__code__.co_filename).is_file()
    if isinstance(thing, type):
        files = [value.__code__.co_filename for value in vars(thing).values() if isinstance(value, FunctionType)]
        written = [file for file in files if file != "<string>"]  # dataclasses and their like compile some
        if written:
            return not any(Path(file).is_file() for file in written)
        return not getattr(module, "__file__", None)
    return not getattr(module, "__file__", None) and module is not None and module.__name__ == "__main__"


def _compiled(code: CodeType) -> object:
    constants = [_compiled(value) if isinstance(value, CodeType) else repr(value) for value in code.co_consts]
    return code.co_code, constants, code.co_names, code.co_varnames


def _names(code: CodeType) -> Iterator[str]:
    yield from code.co_names
    for value in code.co_consts:
        if isinstance(value, CodeType):
            yield from _names(value)


def _sha(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
