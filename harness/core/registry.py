"""One registry for every kind of plugin: typed, lazy, filled by decorator, entry point or file."""

from __future__ import annotations

import ast
import importlib
import importlib.metadata
import inspect
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Generic, TypeVar, cast

from harness.core import shipped, sources
from harness.core.errors import PluginError, UnknownName, suggest
from harness.core.options import annotations_of, check_known, filled, keyword_defaults, same
from harness.core.resolved import Resolved
from harness.core.sources import Source
from harness.core.spec import Named, Spec, read, render

T = TypeVar("T", covariant=True)
F = TypeVar("F")
#: What is registered: a class, or a function; its keyword-only parameters are those that boards set.
Target = Callable[..., object]


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
    thing: Target | None = None
    parameters: dict[str, object] | None = None  # of the object, once somebody asked
    annotations: dict[str, str] | None = None
    later: tuple[str, ...] = ()  # parameters that trials keep only where they are not at their defaults
    version: int = 1
    source: Source | None = None  # of what does not ship; what no file has is read each time


class Registry(Generic[T]):
    """Names to objects of one kind. T is what `create` returns: a registered function with its parameters bound, such as a loss
    `Callable[[Tensor, Targets], Tensor]`, or an instance of a registered class.

    An entry comes from the decorator `register`, from `add` (a lazy `"module:object"` target) or from an installed package's
    entry point in `group`. A name is taken once: a second registration raises PluginError. `base`, when given, is the class
    that every registered class must derive from. A name of the form `prefix/ANYTHING` is served by the entry `prefix/*`, whose
    object is called with ANYTHING as first argument. `others` serves names that nothing was entered under: it returns an object,
    the parameters that may be set of it, with their defaults, and what is known of their types (`harness.core.options.filled`),
    or raises UnknownName; `listed` is what `giftbench list` says of such names.
    """

    def __init__(
        self,
        kind: str,
        group: str | None = None,
        base: type | None = None,
        others: Callable[[str], tuple[Target, dict[str, object], dict[str, str]]] | None = None,
        listed: Description | None = None,
    ) -> None:
        self.kind = kind
        self.group = group
        self.base = base
        self.others = others
        self.listed = listed
        self._entries: dict[str, _Entry] = {}
        self._resolved: dict[tuple[str, str], Resolved[T]] = {}
        self._scanned = group is None

    # -- filling ---------------------------------------------------------------------------------------------------------

    def register(self, name: str, *, version: int = 1) -> Callable[[F], F]:
        """Return a decorator that enters the object under `name`. `version` is raised whenever it computes something else."""

        def enter(thing: F) -> F:
            module = getattr(thing, "__module__", "")
            entry = self._entries.get(name)
            if entry is not None and entry.thing is None and _is_target(entry.target, thing, entry.origin):  # it registers itself
                entry.thing = self._checked(name, thing)
                return thing
            checked, origin = self._checked(name, thing), _origin(module)
            # read now: a file that is edited later is not what has been loaded
            source = None if origin == "giftbench" else sources.of_object(checked, sys._getframe(1).f_globals.get("__name__", ""))
            self._insert(name, _Entry(origin=origin, thing=checked, version=version, source=source))
            return thing

        return enter

    def add(self, name: str, target: str, origin: str = "giftbench", later: Iterable[str] = (), version: int = 1) -> None:
        """Enter a lazy target `"module:object"` under `name`.

        Args:
            later: parameters that it has been given since trials were recorded with it. At its default, which is what there was
                before, such a one stays out of what trials keep: their ids are what they were.
            version: raised whenever that computes something else.
        """
        self._insert(name, _Entry(origin=origin, target=target, later=tuple(later), version=version))

    def _insert(self, name: str, entry: _Entry) -> None:
        known = self._entries.get(name)
        if known is not None:
            several = f"{self.kind}es" if self.kind.endswith("s") else f"{self.kind}s"
            raise PluginError(
                f"two {several} are named {name!r}: one from {known.origin}, one from {entry.origin}; rename one of them"
            )
        self._entries[name] = entry
        self._resolved.clear()

    def remove(self, name: str) -> None:
        """Take an entry out again (for tests and notebooks)."""
        self._entries.pop(name, None)
        self._resolved.clear()

    def _scan(self) -> None:
        if self._scanned:
            return
        self._scanned = True
        from harness.core import plugins

        for point in importlib.metadata.entry_points(group=str(self.group)):
            origin = point.dist.name if point.dist is not None else "entry point"
            known = self._entries.get(point.name)
            if known is not None and (point.value == known.target or _is_target(point.value, known.thing, origin)):
                if origin != "giftbench":
                    known.origin, known.target, known.source = origin, point.value, None
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

    def origin(self, name: str) -> str:
        """Return where an entry comes from: `giftbench`, a distribution, or a plugin's file. Raises UnknownName."""
        return self._find(name)[0].origin

    def source(self, name: str) -> Source | None:
        """Return what a name's object consists of; None of what ships, timm's names among it. Nothing is imported.

        Raises: UnknownName.
        """
        if self.others is not None and name not in self:
            return None
        entry, _ = self._find(name)
        if entry.origin == "giftbench" or entry.source is not None:
            return entry.source
        if entry.target is None:
            assert entry.thing is not None
            return sources.of_code(entry.thing)  # as it is now: what it names may be another
        entry.source = sources.of_package(entry.origin, entry.target.partition(":")[0])
        return entry.source

    def module(self, name: str) -> str | None:
        """Return the module that an object that ships is imported from on first use; None of others. Raises UnknownName."""
        entry, _ = self._find(name)
        return entry.target.partition(":")[0] if entry.target is not None and entry.origin == "giftbench" else None

    def version(self, name: str) -> int:
        """Return how often a name's object has been made to compute something else, and 1. Raises UnknownName."""
        return 1 if self.others is not None and name not in self else self._find(name)[0].version

    def get(self, name: str) -> Target:
        """Return the object under `name`, importing it if need be.

        Raises: UnknownName with a suggestion; PluginError when its module does not import.
        """
        entry, rest = self._find(name)
        if entry.thing is None:
            assert entry.target is not None
            module, _, attribute = entry.target.partition(":")
            try:
                load = shipped.load if entry.origin == "giftbench" else importlib.import_module
                thing = getattr(load(module), attribute)
            except Exception as error:
                raise PluginError(
                    f"{self.kind} {name!r} of {entry.origin} does not load: {type(error).__name__}: {error}"
                ) from error
            entry.thing = self._checked(name, thing)
        return partial(entry.thing, rest) if rest is not None else entry.thing

    def _checked(self, name: str, thing: object) -> Target:
        if not callable(thing):
            raise PluginError(f"{self.kind} {name!r} is not callable: {thing!r}")
        if self.base is not None and not (isinstance(thing, type) and issubclass(thing, self.base)):
            raise PluginError(f"{self.kind} {name!r} must be a class derived from {self.base.__name__}")
        return thing

    def parameters(self, name: str) -> dict[str, object]:
        """Return the parameters that may be set by name, with their defaults: the keyword-only ones of the object."""
        thing, (entry, _) = self.get(name), self._find(name)
        if entry.parameters is None:  # what follows a prefix, `timm/NAME`, is positional and changes none
            entry.parameters = keyword_defaults(thing)
        return dict(entry.parameters)

    def _annotations(self, name: str) -> dict[str, str]:
        thing, (entry, _) = self.get(name), self._find(name)
        if entry.annotations is None:
            entry.annotations = annotations_of(thing)
        return entry.annotations

    def resolve(self, spec: Named | Resolved[object], **options: object) -> Resolved[T]:
        """Return what a name with parameters stands for, every parameter filled in: one value for a name and the same parameters.

        Raises: UnknownName or BadOption, with suggestions.
        """
        if isinstance(spec, Resolved) and not options:
            return cast("Resolved[T]", spec)
        name, given = read(spec.spec if isinstance(spec, Resolved) else spec)
        key = _key(name, {**given, **options})
        if key not in self._resolved:
            resolved = self._filled(name, {**given, **options})
            self._resolved[key] = self._resolved.setdefault(_key(name, resolved.options), resolved)
        return self._resolved[key]

    def _filled(self, name: str, options: Mapping[str, object]) -> Resolved[T]:
        if self.others is not None and name not in self:
            target, defaults, annotations = self.others(name)
        else:
            target, defaults, annotations = self.get(name), self.parameters(name), self._annotations(name)
        full = filled(self.kind, name, defaults, options, annotations)
        label = render(name, {option: value for option, value in full.items() if not same(value, defaults[option])})
        return Resolved(self.kind, self._kept(name, full, defaults), label, target)

    def _kept(self, name: str, full: Mapping[str, object], defaults: Mapping[str, object]) -> Spec:
        """Return a name and its parameters as trials keep them: without those that came later and are at their defaults."""
        later = self._find(name)[0].later if name in self else ()
        kept = {option: value for option, value in full.items() if option not in later or not same(value, defaults[option])}
        return Spec(name=name, options=kept)

    def label(self, spec: Named | Resolved[object]) -> str:
        """Return the short form of `spec`: only the parameters that differ from their defaults."""
        return self.resolve(spec).label

    def create(self, spec: Named | Resolved[object], **options: object) -> T:
        """Return the object under the name with its parameters bound: an instance of a class, a partial of a function."""
        return self.resolve(spec, **options).create()

    def as_written(self, spec: Named) -> Spec | None:
        """Return a name with every parameter filled in, as `resolve` does, by what the sources say: nothing is imported.

        None where they do not tell: of a name that `others` may serve, and where a default is computed. A plugin's source, which
        may make its parameters in other ways, is believed where it has all that are given. Raises: UnknownName or BadOption,
        with suggestions.
        """
        name, given = read(spec)
        if self.others is not None and name not in self:
            return None
        entry, _ = self._find(name)
        if entry.thing is not None:
            return self.resolve(spec).spec
        assert entry.target is not None
        _, written, annotations = _read_source(entry.target)
        defaults = {option: _literal(value) for option, value in written.items()}
        if entry.origin != "giftbench" and not given.keys() <= defaults.keys():
            return None
        check_known(self.kind, name, defaults, given)
        if any(isinstance(default, ast.expr) for default in defaults.values()):
            return None
        return self._kept(name, filled(self.kind, name, defaults, given, annotations), defaults)

    # -- describing ------------------------------------------------------------------------------------------------------

    def describe(self, name: str) -> Description:
        """Return name, origin, summary and parameters without importing a lazy target."""
        entry, _ = self._find(name)
        if entry.thing is not None:
            doc = inspect.getdoc(entry.thing) or ""
            shown = {
                k: "required" if v is inspect.Parameter.empty else _text(v) for k, v in keyword_defaults(entry.thing).items()
            }
            return Description(name, entry.origin, doc.partition("\n")[0], shown)
        assert entry.target is not None
        summary, defaults, _ = _read_source(entry.target)
        return Description(name, entry.origin, summary, {option: _shown(value) for option, value in defaults.items()})


def _is_target(target: str | None, thing: object, origin: str) -> bool:
    """Return whether `thing` is what "module:object" names; its package may export it from another module than its own.

    What giftbench names beside itself has to come from there: a module of the user's may have the same name.
    """
    module, _, attribute = (target or "").partition(":")
    package, own = module.partition(".")[0], str(getattr(thing, "__module__", ""))
    if origin == "giftbench" and package in shipped.BESIDE and not shipped.is_ours(own):
        return False
    near = package == own.partition(".")[0].removeprefix(shipped.ASIDE)
    return near and attribute == getattr(thing, "__qualname__", None)


def _key(name: str, options: Mapping[str, object]) -> tuple[str, str]:
    """Tell names with parameters apart: 1, 1.0 and true are three values, a tuple and the list that JSON makes of it are one."""
    return name, repr(sorted((k, list(v) if isinstance(v, tuple) else v) for k, v in options.items()))


def _text(value: object) -> str:
    return render("", {"": value})[2:-1] if value is not True else "true"


def _origin(module: str) -> str:
    if shipped.is_ours(module):
        return "giftbench"
    root = module.partition(".")[0]
    file = getattr(sys.modules.get(module), "__file__", None)
    return Path(file).name if file and root.startswith("giftbench_plugin_") else (module or "here")


def _read_source(target: str) -> tuple[str, dict[str, ast.expr | None], dict[str, str]]:
    """Read from the source of `module:object` its first docstring line, its keyword-only parameters, and their annotations."""
    module, _, attribute = target.partition(":")
    try:
        file = sources.module_file(module)
        tree = ast.parse(file.read_text("utf-8")) if file else None
    except Exception:  # a plugin's package may fail in any way; it is listed all the same
        return "", {}, {}
    for node in tree.body if tree else ():
        if not isinstance(node, (ast.FunctionDef, ast.ClassDef)) or node.name != attribute:
            continue
        function = node
        if isinstance(node, ast.ClassDef):
            inits = [n for n in node.body if isinstance(n, ast.FunctionDef) and n.name == "__init__"]
            if not inits:
                return (ast.get_docstring(node) or "").partition("\n")[0], {}, {}
            function = inits[0]
        assert isinstance(function, ast.FunctionDef)
        arguments = function.args.kwonlyargs
        defaults = {argument.arg: value for argument, value in zip(arguments, function.args.kw_defaults, strict=True)}
        annotations = {argument.arg: ast.unparse(argument.annotation) for argument in arguments if argument.annotation}
        return (ast.get_docstring(node) or "").partition("\n")[0], defaults, annotations
    return "", {}, {}


def _literal(default: ast.expr | None) -> object:
    """Return a default's value, `inspect.Parameter.empty` where there is none; the expression itself where it is computed."""
    try:
        return inspect.Parameter.empty if default is None else ast.literal_eval(default)
    except ValueError:
        return default


def _shown(default: ast.expr | None) -> str:
    value = _literal(default)
    if value is inspect.Parameter.empty:
        return "required"
    return ast.unparse(value) if isinstance(value, ast.expr) else _text(value)
