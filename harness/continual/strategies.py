"""Avalanche's strategies and plugins by name, and which of their parameters a board may set."""

from __future__ import annotations

import difflib
import importlib
import inspect
import pkgutil
import warnings
from functools import cache

from harness.core.errors import BadOption, UnknownName, suggest
from harness.core.options import annotations_of, filled
from harness.core.spec import Named, Spec, read, render

#: Known without importing Avalanche, which takes seconds: name -> whether it takes a memory.
USUAL = {"GDumb": True, "Naive": False, "Replay": True, "Cumulative": False}
#: Those that no stream of distilled images can run, and why.
REFUSED = {
    "JointTraining": "it trains on the whole stream at once; use Cumulative",
    "AR1": "it brings a pretrained network of its own, which it downloads",
}
#: Parameters of Avalanche's constructors that the protocol decides.
OURS = {"self", "model", "optimizer", "criterion", "train_mb_size", "train_epochs", "eval_mb_size", "device", "plugins"}
OURS |= {"evaluator", "eval_every", "peval_mode", "base_kwargs", "kwargs", "args"}

#: What logits are divided by may have a fraction, though BiC and SCR say int of it.
TEMPERATURES = {"T": "float", "temperature": "float"}


def resolve(given: Named) -> Spec:
    """Return a strategy's name as Avalanche spells it, with the options that were given.

    Args:
        given: `gdumb`, `EWC(ewc_lambda=0.4)`, or any strategy or plugin of Avalanche; upper and lower case are one. A plugin is
            put on the naive strategy.
    Raises: UnknownName, BadOption.
    """
    asked, options = read(given)
    usual = {name.lower(): name for name in USUAL}.get(asked.lower())
    if usual is not None and not options:
        return Spec(name=usual)
    name, kind = _found(asked)
    defaults = parameters(kind)
    if defaults.get("mem_size") is inspect.Parameter.empty:
        defaults["mem_size"] = None  # the scenario gives it
    annotations = annotations_of(kind.__init__) | TEMPERATURES  # type: ignore[misc]
    full = filled("strategy", name, defaults, options, annotations)
    return Spec(name=name, options={option: full[option] for option in options})


def label(spec: Spec) -> str:
    """Return the short form of a resolved strategy."""
    return render(spec.name, dict(spec.options))


def parameters(kind: type) -> dict[str, object]:
    """Return {parameter: default} of an Avalanche strategy or plugin, without those that the protocol decides."""
    signature = inspect.signature(kind.__init__).parameters.values()  # type: ignore[misc]
    named = [p for p in signature if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]
    return {p.name: p.default for p in named if p.name not in OURS}


def load(name: str) -> type:
    """Return Avalanche's class of this name. Raises UnknownName with a suggestion."""
    return _found(name)[1]


def _found(name: str) -> tuple[str, type]:
    known = catalogue()
    if name.lower() not in known:
        near = difflib.get_close_matches(name.lower(), known, n=2, cutoff=0.6)
        names = [known[key].__name__ for key in near or known]
        hint = "did you mean " + " or ".join(map(repr, names)) + "?" if near else suggest(name, names)
        raise UnknownName(f"no Avalanche strategy or plugin {name!r}; {hint}")
    kind = known[name.lower()]
    if kind.__name__ in REFUSED:
        raise BadOption(f"strategy {kind.__name__!r} cannot be used here: {REFUSED[kind.__name__]}")
    return kind.__name__, kind


@cache
def catalogue() -> dict[str, type]:
    """Return Avalanche's supervised strategies and their plugins by name in lower case; a strategy comes before a plugin."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from avalanche.training import plugins, supervised
    from avalanche.training.plugins import SupervisedPlugin
    from avalanche.training.templates import SupervisedTemplate

    classes: dict[str, type] = {}
    for package, base in ((supervised, SupervisedTemplate), (plugins, SupervisedPlugin)):
        for module in sorted(pkgutil.iter_modules(package.__path__), key=lambda m: m.name):
            try:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    loaded = importlib.import_module(f"{package.__name__}.{module.name}")
            except ImportError:  # a strategy whose own extra is not installed
                continue
            for thing in vars(loaded).values():
                if inspect.isclass(thing) and issubclass(thing, base) and thing.__module__ == loaded.__name__:
                    classes.setdefault(thing.__name__.lower(), thing)
    return {key: kind for key, kind in classes.items() if not key.startswith("_")}
