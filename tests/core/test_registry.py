"""Registries: filled by decorator, lazy target and entry point; read without importing."""

from __future__ import annotations

import importlib.metadata
import inspect
import sys
from pathlib import Path
from typing import Any

import pytest

from harness import datasets, losses, models
from harness.core import plugins
from harness.core.errors import BadOption, PluginError, UnknownName
from harness.core.registry import Registry, _key
from harness.core.spec import Spec
from harness.running.scenario import Scenario
from harness.running.scenario import registry as scenarios

MODULE = '''
"""A lazy module of the tests."""
from harness.core.registry import Registry
from harness.core.resolved import resolved_from
from harness.core.spec import Spec

def scale(x, *, factor: float = 2.0, mode: str = "up", steps=(1, 2), wild=max):
    """Multiply. The rest of the docstring."""
    return x * factor

class Thing:
    """A class with parameters.

    More.
    """
    def __init__(self, *, size: int = 3, needed):
        self.size = size
'''


@pytest.fixture
def registry() -> Registry[Any]:
    return Registry("widget")


@pytest.fixture
def lazy_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The name of a module that can be imported and has not been."""
    name = f"lazy_{tmp_path.name}"
    (tmp_path / f"{name}.py").write_text(MODULE)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setitem(sys.modules, name, None)  # so that the import is undone afterwards
    del sys.modules[name]
    return name


def installed(monkeypatch: pytest.MonkeyPatch, **points: str) -> None:
    """Pretend that a package with these entry points is installed."""

    class Package:
        name = "some-package"

    def entry_points(group: str) -> list[Any]:
        made = [importlib.metadata.EntryPoint(name.replace("_", "-"), value, group) for name, value in points.items()]
        for point in made:
            vars(point).update(dist=Package())
        return made

    monkeypatch.setattr(importlib.metadata, "entry_points", entry_points)


def test_a_decorated_function_is_found_by_its_name(registry: Registry[Any]) -> None:
    @registry.register("double")
    def double(x: int, *, times: int = 2) -> int:
        return x * times

    assert registry.names() == ["double"]
    assert "double" in registry
    assert registry.get("double") is double
    assert registry.create("double(times=3)")(5) == 15
    assert registry.create("double", times=4)(5) == 20


def test_a_removed_name_is_gone(registry: Registry[Any]) -> None:
    registry.register("x")(lambda: 0)
    registry.remove("x")
    assert "x" not in registry


def test_a_lazy_target_is_imported_on_first_use_only(registry: Registry[Any], lazy_module: str) -> None:
    registry.add("scale", f"{lazy_module}:scale")
    assert "scale" in registry
    assert registry.names() == ["scale"]
    assert lazy_module not in sys.modules
    assert registry.create("scale(factor=3)")(2) == 6
    assert lazy_module in sys.modules


def test_describing_a_lazy_target_reads_its_source_without_importing_it(registry: Registry[Any], lazy_module: str) -> None:
    registry.add("scale", f"{lazy_module}:scale", origin="some-package")
    registry.add("thing", f"{lazy_module}:Thing")
    scale, thing = registry.describe("scale"), registry.describe("thing")
    assert lazy_module not in sys.modules
    assert (scale.origin, scale.summary) == ("some-package", "Multiply. The rest of the docstring.")
    assert scale.parameters == {"factor": "2.0", "mode": "up", "steps": "[1, 2]", "wild": "max"}
    assert (thing.summary, thing.parameters) == ("A class with parameters.", {"size": "3", "needed": "required"})


def test_describing_leaves_the_package_around_a_target_alone(
    registry: Registry[Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "heavy_package"
    package.mkdir()
    (package / "__init__.py").write_text("raise RuntimeError('imported')")
    (package / "inner.py").write_text(MODULE)
    monkeypatch.syspath_prepend(tmp_path)
    registry.add("scale", "heavy_package.inner:scale")
    assert registry.describe("scale").parameters["factor"] == "2.0"
    assert "heavy_package" not in sys.modules


def test_describing_says_the_same_before_and_after_the_import(registry: Registry[Any], lazy_module: str) -> None:
    registry.add("thing", f"{lazy_module}:Thing")
    before = registry.describe("thing")
    registry.get("thing")
    assert registry.describe("thing") == before


def test_describing_a_target_that_is_not_there_leaves_its_summary_empty(registry: Registry[Any]) -> None:
    registry.add("ghost", "no_such_package.module:thing", origin="some-package")
    assert registry.describe("ghost").origin == registry.origin("ghost") == "some-package"
    assert registry.describe("ghost").summary == ""


def test_a_lazy_target_may_register_itself(registry: Registry[Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "self_registering.py").write_text(
        "from harness.losses import register\n@register('selfish')\ndef selfish(logits, targets):\n    return logits.sum()\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    losses.registry.add("selfish", "self_registering:selfish")
    try:
        assert losses.get("selfish").__name__ == "selfish"
    finally:
        losses.registry.remove("selfish")
        sys.modules.pop("self_registering", None)


def test_two_things_of_one_name_are_refused_naming_both_origins(registry: Registry[Any]) -> None:
    registry.add("x", "a:b", origin="first-package")
    with pytest.raises(PluginError, match=r"two widgets are named 'x': one from first-package, one from .*test_registry; rename"):
        registry.register("x")(lambda: 0)
    with pytest.raises(PluginError, match="two widgets are named 'x'"):
        registry.add("x", "c:d")
    assert registry.describe("x").origin == "first-package"


def test_a_registered_class_must_derive_from_the_base() -> None:
    registry: Registry[Any] = Registry("scenario", base=Scenario)
    with pytest.raises(PluginError, match="scenario 'odd' must be a class derived from Scenario"):
        registry.register("odd")(dict)
    with pytest.raises(PluginError, match="must be a class derived from Scenario"):
        registry.register("function")(lambda: Scenario())
    registry.add("lazy", "collections:OrderedDict")
    with pytest.raises(PluginError, match="must be a class derived from Scenario"):
        registry.get("lazy")


def test_what_cannot_be_called_is_refused(registry: Registry[Any]) -> None:
    with pytest.raises(PluginError, match="widget 'x' is not callable: 3"):
        registry.register("x")(3)


def test_a_target_that_does_not_import_is_named_with_its_error(registry: Registry[Any]) -> None:
    registry.add("ghost", "no_such_package:thing", origin="some-package")
    registry.add("hollow", "json:no_such_thing", origin="some-package")
    with pytest.raises(PluginError, match="widget 'ghost' of some-package does not load: ModuleNotFoundError: No module named"):
        registry.get("ghost")
    with pytest.raises(PluginError, match="widget 'hollow' of some-package does not load: AttributeError"):
        registry.get("hollow")


# -- entry points ---------------------------------------------------------------------------------------------------------


def test_an_entry_point_is_found_and_not_imported(monkeypatch: pytest.MonkeyPatch, lazy_module: str) -> None:
    installed(monkeypatch, scale=f"{lazy_module}:scale")
    registry: Registry[Any] = Registry("widget", group="giftbench.widgets")
    assert registry.names() == ["scale"]
    assert registry.describe("scale").origin == "some-package"
    assert lazy_module not in sys.modules
    assert registry.create("scale")(2) == 4


def test_a_broken_entry_point_leaves_the_others_working(monkeypatch: pytest.MonkeyPatch, lazy_module: str) -> None:
    installed(monkeypatch, broken="no_such_package:thing", scale=f"{lazy_module}:scale")
    registry: Registry[Any] = Registry("widget", group="giftbench.widgets")
    assert registry.names() == ["broken", "scale"]
    with pytest.raises(PluginError, match="widget 'broken' of some-package does not load: ModuleNotFoundError"):
        registry.create("broken")
    assert registry.create("scale")(2) == 4


def test_an_entry_point_under_a_taken_name_is_left_out_and_named(
    monkeypatch: pytest.MonkeyPatch, lazy_module: str, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(plugins, "failures", {})
    installed(monkeypatch, mine="other:thing", scale=f"{lazy_module}:scale")
    registry: Registry[Any] = Registry("widget", group="giftbench.widgets")
    registry.register("mine")(len)
    assert registry.names() == ["mine", "scale"]
    assert registry.get("mine") is len
    (said,) = caplog.messages
    assert "plugin some-package (giftbench.widgets) is left out: two widgets are named 'mine'" in said


def test_an_entry_point_that_was_imported_before_the_scan_is_no_duplicate(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    installed(monkeypatch, first=f"{__name__}:Registered")
    registry: Registry[Any] = Registry("widget", group="giftbench.widgets")
    registry.register("first")(Registered)
    assert registry.names() == ["first"]
    assert not caplog.messages


class Registered:
    """Stands for a plugin that registers itself when it is imported."""


def test_the_scenarios_that_ship_are_entry_points() -> None:
    assert {"cross-architecture", "cross-optimizer"} <= set(scenarios.names())
    assert issubclass(scenarios.get("cross-optimizer"), Scenario)


# -- names and parameters -------------------------------------------------------------------------------------------------


def test_an_unknown_name_is_answered_with_the_nearest() -> None:
    with pytest.raises(UnknownName, match=r"no loss 'gfit'; did you mean 'gift'\?"):
        losses.get("gfit")
    with pytest.raises(
        UnknownName, match=r"no dataset 'zzz'; valid: cifar10, cifar100, cinic10, digits, fashion-mnist, folder/\*"
    ):
        datasets.get("zzz")
    assert "gfit" not in losses.registry
    assert 3 not in losses.registry


def test_a_prefix_serves_whatever_follows_it(registry: Registry[Any]) -> None:
    @registry.register("echo/*")
    def echo(rest: str, extra: str, *, loud: bool = False) -> str:
        return f"{rest} {extra}" + "!" * loud

    assert registry.create("echo/some/place")("x") == "some/place x"
    assert registry.create("echo:some/place(loud)")("x") == "some/place x!"
    assert registry.create("echo:/root/a:b")("x") == "/root/a:b x"
    assert registry.create("echo/a:b")("x") == "a:b x"
    assert "echo/x" in registry
    for absent in ("echo", "echo/", "other/x"):
        assert absent not in registry
        with pytest.raises(UnknownName):
            registry.get(absent)


def test_a_prefix_alone_names_nothing(registry: Registry[Any]) -> None:
    registry.register("echo/*")(lambda rest: rest)
    with pytest.raises(UnknownName, match="widget 'echo/\\*' stands for many; name one of them, such as 'echo/NAME'"):
        registry.create("echo/*")


def test_timm_models_and_folders_are_served_by_prefix() -> None:
    assert "timm/resnet10t" in models.registry
    assert "folder:some/place" in datasets.registry
    assert models.registry.label("timm/resnet10t(drop_path=0.1)") == "timm/resnet10t(drop_path=0.1)"


def test_what_is_resolved_is_not_checked_again(registry: Registry[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    registry.register("double")(lambda x, *, times=2: x * times)
    resolved = registry.resolve("double(times=3)")
    monkeypatch.setattr("harness.core.registry.filled", None)
    monkeypatch.setattr(Spec, "model_validate", None)
    for form in (resolved, resolved.spec, "double(times=3)"):
        assert registry.resolve(form) is resolved
        assert registry.label(form) == "double(times=3)"
        assert registry.create(form)(5) == 15
    assert (resolved.name, resolved.options, resolved.create()(5)) == ("double", {"times": 3}, 15)


def test_a_name_that_is_given_anew_is_resolved_anew(registry: Registry[Any]) -> None:
    registry.register("x")(lambda *, size=1: size)
    assert registry.create("x")() == 1
    registry.remove("x")
    registry.register("x")(lambda *, size=2: size)
    assert (registry.create("x")(), registry.label("x(size=1)")) == (2, "x(size=1)")


def test_others_serve_names_that_nothing_was_entered_under() -> None:
    def others(name: str) -> tuple[Any, dict[str, object], dict[str, str]]:
        if name != "elsewhere":
            raise UnknownName(f"no widget {name!r}, here or elsewhere")
        return (lambda x, *, size: x * size), {"size": 2}, {"size": "int"}

    registry: Registry[Any] = Registry("widget", others=others)
    registry.register("here")(lambda x, *, size=1: x * size)
    assert (registry.create("here")(5), registry.create("elsewhere")(5), registry.create("elsewhere(size=3)")(5)) == (5, 10, 15)
    assert registry.label("elsewhere(size=2)") == "elsewhere"
    assert registry.names() == ["here"]
    with pytest.raises(UnknownName, match="no widget 'nowhere', here or elsewhere"):
        registry.resolve("nowhere")
    with pytest.raises(BadOption, match=r"widget 'elsewhere' has no parameter 'sise'; did you mean 'size'\?"):
        registry.resolve("elsewhere(sise=1)")
    with pytest.raises(BadOption, match=r"widget 'elsewhere': size must be a whole number, not 2\.5"):
        registry.resolve("elsewhere(size=2.5)")


# -- as written --------------------------------------------------------------------------------------------------------------


def test_a_lazy_target_is_filled_in_by_its_source_and_not_imported(registry: Registry[Any], lazy_module: str) -> None:
    source = Path(sys.path[0]) / f"{lazy_module}.py"
    source.write_text(source.read_text().replace(", wild=max", ""))
    registry.add("scale", f"{lazy_module}:scale")
    registry.add("thing", f"{lazy_module}:Thing")
    assert registry.as_written("scale(factor=3)") == Spec(name="scale", options={"factor": 3.0, "mode": "up", "steps": (1, 2)})
    assert registry.as_written("thing(needed=1)") == Spec(name="thing", options={"size": 3, "needed": 1})
    with pytest.raises(BadOption, match="no parameter 'facter'; did you mean 'factor'"):
        registry.as_written("scale(facter=3)")
    with pytest.raises(BadOption, match="factor must be a number"):
        registry.as_written("scale(factor=wide)")
    with pytest.raises(BadOption, match="needs needed"):
        registry.as_written("thing")
    with pytest.raises(UnknownName, match="did you mean 'scale'"):
        registry.as_written("scael")
    assert lazy_module not in sys.modules


def test_what_sources_do_not_tell_is_none(registry: Registry[Any], lazy_module: str) -> None:
    registry.add("computed", f"{lazy_module}:scale")  # wild=max
    registry.add("plugin", f"{lazy_module}:Inherited", origin="a package")
    assert registry.as_written("computed") is None
    assert registry.as_written("plugin(size=3)") is None
    served: Registry[Any] = Registry("widget", others=lambda name: (print, {}, {}))
    assert served.as_written("anything") is None
    assert lazy_module not in sys.modules


def test_everything_that_ships_is_filled_in_by_its_source_as_it_is_when_it_is_loaded() -> None:
    from harness import optimizers
    from harness.distilled import distillers, readers

    told: list[str] = []
    for kind in (losses, models, datasets, optimizers, distillers, readers):
        own: Registry[Any] = getattr(kind, "registry", kind)
        for every in (own, optimizers.schedules) if own is optimizers.registry else (own,):
            fresh: Registry[Any] = Registry(every.kind)
            for name in every.names():
                needed = {k: "x" for k, v in every.parameters(name).items() if v is inspect.Parameter.empty}
                entry = every._entries[name]
                if entry.origin == "giftbench" and entry.target is not None:
                    fresh.add(name, entry.target, later=entry.later)
                    written = fresh.as_written({"name": name, **needed})
                    assert written is not None, name
                    assert _key(name, written.options) == _key(name, every.resolve({"name": name, **needed}).options)
                    told.append(name)
    assert {"gift", "convnet3", "digits", "rded", "fkd"} <= set(told)


def test_a_parameter_that_came_later_is_kept_only_where_it_is_not_at_its_default(
    registry: Registry[Any], lazy_module: str
) -> None:
    """What trials keep of a name is what their ids rest on: a name that was recorded without the parameter stays that name."""
    source = Path(sys.path[0]) / f"{lazy_module}.py"
    source.write_text(source.read_text().replace(", wild=max", ""))
    registry.add("scale", f"{lazy_module}:scale", later=("mode",))
    before = Spec(name="scale", options={"factor": 2.0, "steps": (1, 2)})
    for loaded in (False, True):
        assert (lazy_module in sys.modules) == loaded
        for given in ("scale(factor=2)", "scale(factor=2, mode=up)"):
            assert registry.as_written(given) == before
        assert registry.resolve("scale(factor=2)").spec == registry.resolve("scale(factor=2, mode=up)").spec == before
    other = registry.resolve("scale(factor=2, mode=down)")
    assert other.spec == registry.as_written(other.spec) == Spec(name="scale", options={**before.options, "mode": "down"})
    assert "mode=down" in other.label and registry.resolve(other.spec) is other
