"""One registry for every kind of plugin: typed, lazy, filled by decorator, entry point or file."""

from __future__ import annotations

import ast
import importlib
import importlib.metadata
import importlib.util
import inspect
import math
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Generic, TypeVar, cast

from harness.core import shipped
from harness.core.errors import BadOption, PluginError, UnknownName, suggest
from harness.core.spec import Spec, parse, render

T = TypeVar("T", covariant=True)
F = TypeVar("F")


@dataclass(frozen=True)
class Description:
    """What `giftbench list` prints of an entry, read from its source without importing it."""

    name: str
    origin: str
    summary: str = ""
    parameters: dict[str, str] = field(default_factory=dict)


@dataclass
class _Entry:
    origin: str
    target: str | None = None  # "module:object", imported on first use
    object: Any = None
    parameters: dict[str, Any] | None = None  # of the object, once somebody asked


class Registry(Generic[T]):
    """Names to objects of one kind.

    An entry comes from the decorator `register`, from `add` (a lazy `"module:object"` target) or from an installed package's
    entry point in `group`. A name is taken once: a second registration raises PluginError. `base`, when given, is the class
    that every registered class must derive from. A name of the form `prefix/ANYTHING` is served by the entry `prefix/*`, whose
    object is called with ANYTHING as first argument.
    """

    def __init__(self, kind: str, group: str | None = None, base: type | None = None) -> None:
        self.kind = kind
        self.group = group
        self.base = base
        self._entries: dict[str, _Entry] = {}
        self._scanned = group is None

    # -- filling ---------------------------------------------------------------------------------------------------------

    def register(self, name: str) -> Callable[[F], F]:
        """Return a decorator that enters the object under `name`."""

        def enter(thing: F) -> F:
            module = getattr(thing, "__module__", "")
            entry = self._entries.get(name)
            if (
                entry is not None and entry.object is None and _is_target(entry.target, thing, entry.origin)
            ):  # it registers itself
                entry.object = self._checked(name, thing)
                return thing
            self._insert(name, _Entry(origin=_origin(module), object=self._checked(name, thing)))
            return thing

        return enter

    def add(self, name: str, target: str, origin: str = "giftbench") -> None:
        """Enter a lazy target `"module:object"` under `name`."""
        self._insert(name, _Entry(origin=origin, target=target))

    def _insert(self, name: str, entry: _Entry) -> None:
        known = self._entries.get(name)
        if known is not None:
            several = f"{self.kind}es" if self.kind.endswith("s") else f"{self.kind}s"
            raise PluginError(
                f"two {several} are named {name!r}: one from {known.origin}, one from {entry.origin}; rename one of them"
            )
        self._entries[name] = entry

    def remove(self, name: str) -> None:
        """Take an entry out again (for tests and notebooks)."""
        self._entries.pop(name, None)

    def _scan(self) -> None:
        if self._scanned:
            return
        self._scanned = True
        from harness.core import plugins

        for point in importlib.metadata.entry_points(group=str(self.group)):
            origin = point.dist.name if point.dist is not None else "entry point"
            known = self._entries.get(point.name)
            if known is not None and (point.value == known.target or _is_target(point.value, known.object, origin)):
                continue
            try:
                self.add(point.name, point.value, origin=origin)
            except PluginError as error:
                if origin == "giftbench":  # what ships must not be replaced: its records would be taken for the plugin's
                    self._scanned = False
                    raise
                plugins.report(f"{origin} ({self.group})", error)

    # -- reading ---------------------------------------------------------------------------------------------------------

    def names(self) -> list[str]:
        """Every name, sorted."""
        self._scan()
        return sorted(self._entries)

    def __iter__(self) -> Iterator[str]:
        return iter(self.names())

    def __contains__(self, name: object) -> bool:
        self._scan()
        return isinstance(name, str) and (name in self._entries or self._prefix(name) is not None)

    def _prefix(self, name: str) -> tuple[str, str] | None:
        head, *rest = re.split("[/:]", name, maxsplit=1)
        return (f"{head}/*", rest[0]) if rest and rest[0] and f"{head}/*" in self._entries else None

    def _find(self, name: str) -> tuple[_Entry, str | None]:
        self._scan()
        if name in self._entries:
            return self._entries[name], None
        prefix = self._prefix(name)
        if prefix is not None:
            return self._entries[prefix[0]], prefix[1]
        raise UnknownName(f"no {self.kind} {name!r}; {suggest(name, self._entries)}")

    def get(self, name: str) -> T:
        """Return the object under `name`, importing it if need be.

        Raises: UnknownName with a suggestion; PluginError when its module does not import.
        """
        entry, rest = self._find(name)
        if entry.object is None:
            assert entry.target is not None
            module, _, attribute = entry.target.partition(":")
            try:
                load = shipped.load if entry.origin == "giftbench" else importlib.import_module
                thing = getattr(load(module), attribute)
            except Exception as error:
                raise PluginError(
                    f"{self.kind} {name!r} of {entry.origin} does not load: {type(error).__name__}: {error}"
                ) from error
            entry.object = self._checked(name, thing)
        thing = entry.object
        return cast(T, partial(thing, rest) if rest is not None else thing)

    def _checked(self, name: str, thing: Any) -> Any:
        if not callable(thing):
            raise PluginError(f"{self.kind} {name!r} is not callable: {thing!r}")
        if self.base is not None and not (isinstance(thing, type) and issubclass(thing, self.base)):
            raise PluginError(f"{self.kind} {name!r} must be a class derived from {self.base.__name__}")
        return thing

    def parameters(self, name: str) -> dict[str, Any]:
        """Return the parameters that may be set by name, with their defaults: the keyword-only ones of the object."""
        thing, (entry, _) = self.get(name), self._find(name)
        if entry.parameters is None:  # what follows a prefix, `timm/NAME`, is positional and changes none
            entry.parameters = keyword_defaults(thing)
        return dict(entry.parameters)

    def resolve(self, spec: str | Mapping[str, Any] | Spec, **options: Any) -> Spec:
        """Return `spec` with every parameter filled in. Raises UnknownName or BadOption, with suggestions."""
        spec = self._spec(spec, options)
        defaults = self.parameters(spec.name)
        given = {}
        for option, value in spec.options.items():
            if option not in defaults:
                raise BadOption(f"{self.kind} {spec.name!r} has no parameter {option!r}; {suggest(option, defaults)}")
            if value is None and isinstance(defaults[option], str):
                value = "none"  # a bare none where a word is wanted: norm=none
            check_type(f"{self.kind} {spec.name!r}: {option}", defaults[option], value)
            given[option] = like(defaults[option], value)
        missing = [k for k, v in (defaults | given).items() if v is inspect.Parameter.empty]
        if missing:
            raise BadOption(f"{self.kind} {spec.name!r} needs {', '.join(missing)}")
        return Spec(name=spec.name, options=defaults | given)

    def label(self, spec: str | Mapping[str, Any] | Spec) -> str:
        """Return the short form of `spec`: only the parameters that differ from their defaults."""
        full = self.resolve(spec)
        defaults = self.parameters(full.name)
        return render(full.name, {k: v for k, v in full.options.items() if not _equal(v, defaults[k])})

    def create(self, spec: str | Mapping[str, Any] | Spec, **options: Any) -> Any:
        """Return the object under the name with its parameters bound: an instance of a class, a partial of a function."""
        full = self.resolve(spec, **options)
        if full.name.endswith("/*"):
            raise UnknownName(f"{self.kind} {full.name!r} stands for many; name one of them, such as {full.name[:-1] + 'NAME'!r}")
        thing: Any = self.get(full.name)
        return thing(**full.options) if isinstance(thing, type) else partial(thing, **full.options)

    def _spec(self, spec: str | Mapping[str, Any] | Spec, options: Mapping[str, Any]) -> Spec:
        if isinstance(spec, str):
            name, inside = parse(spec)
            return Spec(name=name, options=inside | dict(options))
        read = Spec.model_validate(spec)
        return Spec(name=read.name, options=dict(read.options) | dict(options))

    # -- describing ------------------------------------------------------------------------------------------------------

    def describe(self, name: str) -> Description:
        """Return name, origin, summary and parameters without importing a lazy target."""
        entry, _ = self._find(name)
        if entry.object is not None:
            doc = inspect.getdoc(entry.object) or ""
            shown = {
                k: "required" if v is inspect.Parameter.empty else _text(v) for k, v in keyword_defaults(entry.object).items()
            }
            return Description(name, entry.origin, doc.partition("\n")[0], shown)
        assert entry.target is not None
        return Description(name, entry.origin, *_read_source(entry.target))


def _equal(value: Any, default: Any) -> bool:
    """Return whether a parameter has its default's value; a list that JSON made of a tuple has."""
    lists = (list, tuple)
    both = isinstance(value, lists) and isinstance(default, lists)
    return bool(value == default) or (both and list(value) == list(default))


def _is_target(target: str | None, thing: Any, origin: str) -> bool:
    """Return whether `thing` is what "module:object" names; its package may export it from another module than its own.

    What giftbench names beside itself has to come from there: a module of the user's may have the same name.
    """
    module, _, attribute = (target or "").partition(":")
    package, own = module.partition(".")[0], str(getattr(thing, "__module__", ""))
    if origin == "giftbench" and package in shipped.BESIDE and not shipped.is_ours(own):
        return False
    same = package == own.partition(".")[0].removeprefix(shipped.ASIDE)
    return same and attribute == getattr(thing, "__qualname__", None)


def keyword_defaults(thing: Any) -> dict[str, Any]:
    """Return {keyword-only parameter: default} of a callable; a parameter without default maps to `inspect.Parameter.empty`."""
    parameters = inspect.signature(thing).parameters.values()
    return {p.name: p.default for p in parameters if p.kind is inspect.Parameter.KEYWORD_ONLY}


def check_type(place: str, default: Any, value: Any) -> None:
    """Refuse a value whose type cannot stand where `default` stands. A default of None accepts anything finite."""
    if isinstance(value, float) and not math.isfinite(value):
        raise BadOption(f"{place} must be finite, not {value!r}")
    if default is None or default is inspect.Parameter.empty:
        return
    if isinstance(default, bool):
        good = isinstance(value, bool)
    elif isinstance(default, (int, float)):
        number = isinstance(value, (int, float)) and not isinstance(value, bool)
        good = number and (isinstance(default, float) or isinstance(value, int) or value.is_integer())
    elif isinstance(default, (list, tuple)):
        good = isinstance(value, (list, tuple))
    else:
        good = isinstance(value, type(default))
    if not good:
        raise BadOption(f"{place} must be {_kind(default)}, not {value!r}")


def _kind(default: Any) -> str:
    names = {bool: "true or false", int: "a whole number", float: "a number", str: "a word", list: "a list", tuple: "a list"}
    return names.get(type(default), type(default).__name__)


def like(default: Any, value: Any) -> Any:
    """Return a number in the type of `default`, so that 1 and 1.0 make one trial."""
    if isinstance(default, float) and isinstance(value, int):
        return float(value)
    if isinstance(default, int) and not isinstance(default, bool) and isinstance(value, float):
        return int(value)
    return value


def _text(value: Any) -> str:
    return render("", {"": value})[2:-1] if value is not True else "true"


def _origin(module: str) -> str:
    if shipped.is_ours(module):
        return "giftbench"
    root = module.partition(".")[0]
    file = getattr(sys.modules.get(module), "__file__", None)
    return Path(file).name if file and root.startswith("giftbench_plugin_") else (module or "here")


def _read_source(target: str) -> tuple[str, dict[str, str]]:
    """Read the first docstring line and the keyword-only parameters of `module:object` from its source text."""
    module, _, attribute = target.partition(":")
    try:
        file = _source(module)
        tree = ast.parse(file.read_text("utf-8")) if file else None
    except Exception:  # a plugin's package may fail in any way; it is listed all the same
        return "", {}
    for node in tree.body if tree else ():
        if not isinstance(node, (ast.FunctionDef, ast.ClassDef)) or node.name != attribute:
            continue
        function = node
        if isinstance(node, ast.ClassDef):
            inits = [n for n in node.body if isinstance(n, ast.FunctionDef) and n.name == "__init__"]
            if not inits:
                return (ast.get_docstring(node) or "").partition("\n")[0], {}
            function = inits[0]
        assert isinstance(function, ast.FunctionDef)
        pairs = zip(function.args.kwonlyargs, function.args.kw_defaults, strict=True)
        shown = {a.arg: "required" if d is None else _shown(d) for a, d in pairs}
        return (ast.get_docstring(node) or "").partition("\n")[0], shown
    return "", {}


def _source(module: str) -> Path | None:
    """Find a module's file. importlib would import the packages around it, and a plugin's may bring torch."""
    file = getattr(sys.modules.get(module), "__file__", None)
    if file:
        return Path(file)
    top, *rest = module.split(".")
    found = importlib.util.find_spec(top)
    if found is None or not rest:
        return Path(found.origin) if found and found.origin else None
    places = [Path(folder, *rest) for folder in found.submodule_search_locations or ()]
    files = [file for place in places for file in (place.with_suffix(".py"), place / "__init__.py")]
    return next((file for file in files if file.is_file()), None)


def _shown(default: ast.expr) -> str:
    try:
        return _text(ast.literal_eval(default))
    except ValueError:
        return ast.unparse(default)
