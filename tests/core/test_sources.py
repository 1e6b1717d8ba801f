"""What a plugin consists of: whatever changes what it computes changes its digest, and nothing else does."""

from __future__ import annotations

import linecache
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from harness.core import plugins, sources
from harness.core.registry import Registry
from harness.core.sources import Source

PLUGIN = (
    "{head}\nfrom tests.core.test_sources import things\n\n@things.register('mine')\ndef mine(x, *, scale=1.0):\n    {body}\n"
)
things: Registry[Any] = Registry("thing")


@pytest.fixture(autouse=True)
def _forgotten(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Leave no module of a test behind, and no name."""
    before = set(sys.modules)
    yield
    forget()
    for name in set(sys.modules) - before:
        del sys.modules[name]


def forget() -> None:
    """Let plugins be loaded anew, as in another process."""
    things.remove("mine")
    for name in [name for name in sys.modules if name.startswith("giftbench_plugin_") or name.split(".")[0] in HELPERS]:
        del sys.modules[name]


HELPERS = ("beside_one", "beside_two", "beside_pack", "beside_lazy")


def loaded(folder: Path, **files: str) -> Source:
    """Write files, load `plugin.py` as another process would, and return the source of what it registers."""
    for name, text in files.items():
        place = folder / f"{name.replace('_in_', '/')}.py"
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text)
    forget()
    plugins.load_file(folder / "plugin.py")
    source = things.source("mine")
    assert source is not None
    return source


def plugin(head: str = "", body: str = "return x") -> str:
    return PLUGIN.format(head=head, body=body)


def test_what_ships_has_no_source() -> None:
    from harness import losses, models, optimizers
    from harness.running.scenario import registry as scenarios

    named = (
        (losses.registry, "gift"),
        (models.registry, "timm/resnet10t"),
        (optimizers.registry, "lion"),
        (scenarios, "gamma-sweep"),
    )
    for registry, name in named:
        assert registry.source(name) is None, name  # type: ignore[attr-defined]


def test_a_file_is_called_by_its_name_and_known_by_its_bytes(tmp_path: Path) -> None:
    first = loaded(tmp_path / "a", plugin=plugin())
    assert (first.name, len(first.digest)) == ("plugin.py", 64)
    assert first.files[0] == (tmp_path / "a/plugin.py").resolve()
    assert loaded(tmp_path / "b", plugin=plugin()).digest == first.digest  # wherever it lies
    assert loaded(tmp_path / "a", plugin=plugin(body="return 0 * x")).digest != first.digest


@pytest.mark.parametrize(
    ("head", "body"),
    [
        ("import beside_one", "return beside_one.f(x)"),
        ("from beside_one import f", "return f(x)"),
        ("from beside_one import *", "return f(x)"),
        ("", "from beside_one import f; return f(x)"),
        ("import importlib; held = importlib.import_module('beside_one')", "return held.f(x)"),
        ("import beside_two", "return beside_two.g(x)"),
        ("from beside_pack import f", "return f(x)"),
        ("import beside_pack.inner", "return beside_pack.inner.f(x)"),
    ],
)
def test_files_that_it_imports_beside_itself_are_part_of_it_and_others_are_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, head: str, body: str
) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    files = {
        "plugin": plugin(head, body),
        "beside_two": "def g(x):\n    import beside_one\n    return beside_one.f(x)\n",
        "beside_pack_in___init__": "from .inner import f\n",
        "beside_pack_in_inner": "from beside_one import f\n",
        "unrelated": "f = 1\n",
    }
    one = loaded(tmp_path, **files, beside_one="f = abs\n").digest
    assert loaded(tmp_path, **files, beside_one="f = float\n").digest != one
    assert loaded(tmp_path, **{**files, "unrelated": "f = 2\n"}, beside_one="f = abs\n").digest == one


def test_a_file_beside_it_that_is_not_loaded_yet_is_found_all_the_same(tmp_path: Path) -> None:
    lazy = plugin(body="import beside_lazy; return beside_lazy.f(x)")
    one = loaded(tmp_path, plugin=lazy, beside_lazy="f = abs\n").digest
    assert "beside_lazy" not in sys.modules
    assert loaded(tmp_path, plugin=lazy, beside_lazy="f = float\n").digest != one


def test_the_source_is_that_of_the_file_that_was_loaded_though_it_be_edited_since(tmp_path: Path) -> None:
    one = loaded(tmp_path, plugin=plugin()).digest
    (tmp_path / "plugin.py").write_text(plugin(body="return 0 * x"))
    source = things.source("mine")
    assert source is not None and source.digest == one


def test_a_file_that_registers_what_another_defines_is_part_of_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    text = "import beside_one\nfrom functools import partial\nfrom tests.core.test_sources import things\n"
    text += "things.register('mine')(partial(beside_one.f, {}))\n"
    helper = "def f(y, x): return x + y\n"
    one = loaded(tmp_path, plugin=text.format(1), beside_one=helper).digest
    assert loaded(tmp_path, plugin=text.format(2), beside_one=helper).digest != one
    assert loaded(tmp_path, plugin=text.format(1), beside_one=helper.replace("+", "-")).digest != one


# -- packages ----------------------------------------------------------------------------------------------------------------


def package(folder: Path, version: str = "1.0", editable: bool = False, text: str = "def mine(x): return x\n") -> Path:
    """Lay out an installed package of one module and another that it imports, and return the folder of its files."""
    about = folder / "site" / f"gift_pack-{version}.dist-info"
    code = folder / ("elsewhere" if editable else "site")
    (code / "gift_pack").mkdir(parents=True, exist_ok=True)
    about.mkdir(parents=True, exist_ok=True)
    (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: gift-pack\nVersion: {version}\n")
    (code / "gift_pack/__init__.py").write_text("")
    (code / "gift_pack/inner.py").write_text("from gift_pack.more import f\n" + text)
    (code / "gift_pack/more.py").write_text("f = abs\n")
    listed = ["gift_pack/__init__.py", "gift_pack/inner.py", "gift_pack/more.py"] if not editable else ["gift_pack.pth"]
    (about / "RECORD").write_text("".join(f"{name},,\n" for name in [*listed, f"{about.name}/METADATA", f"{about.name}/RECORD"]))
    return code / "gift_pack"


@pytest.mark.parametrize("editable", [False, True])
def test_a_package_is_its_name_its_version_and_its_files_and_none_is_imported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, editable: bool
) -> None:
    files = package(tmp_path, editable=editable)
    monkeypatch.syspath_prepend(tmp_path / "site")
    monkeypatch.syspath_prepend(files.parent)
    registry: Registry[Any] = Registry("thing")
    registry.add("mine", "gift_pack.inner:mine", origin="gift-pack")
    source = registry.source("mine")
    assert source is not None and source.name == "gift-pack 1.0"
    assert {file.name for file in source.files} == {"__init__.py", "inner.py", "more.py"}
    assert not any(name.startswith("gift_pack") for name in sys.modules)
    assert sources.of_package("gift-pack", "gift_pack.inner") == source
    (files / "__pycache__").mkdir()
    (files / "__pycache__" / "more.pyc").write_bytes(b"0")
    assert sources.of_package("gift-pack", "gift_pack.inner") == source
    (files / "more.py").write_text("f = float\n")
    assert sources.of_package("gift-pack", "gift_pack.inner").digest != source.digest


def test_another_version_of_the_same_files_is_another_source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    digests = []
    for version in ("1.0", "2.0"):
        files = package(tmp_path / version, version)
        with monkeypatch.context() as patch:
            patch.syspath_prepend(files.parent)
            digests.append(sources.of_package("gift-pack", "gift_pack.inner").digest)
    assert digests[0] != digests[1]


def test_a_package_imported_before_its_entry_points_are_read_is_the_same_source(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = "from tests.core.test_sources import things\n@things.register('mine')\ndef mine(x): return x\n"
    files = package(tmp_path, editable=True, text=text)
    (tmp_path / "site/gift_pack-1.0.dist-info/entry_points.txt").write_text("[test.things]\nmine = gift_pack.inner:mine\n")
    monkeypatch.syspath_prepend(tmp_path / "site")
    monkeypatch.syspath_prepend(files.parent)
    monkeypatch.setattr(things, "group", "test.things")
    monkeypatch.setattr(things, "_scanned", False)
    __import__("gift_pack.inner")
    assert things.source("mine") == sources.of_package("gift-pack", "gift_pack.inner")


# -- notebooks ---------------------------------------------------------------------------------------------------------------


def cell(text: str, known: bool = True, **names: Any) -> Callable[..., Any]:
    """Run a notebook's cell and return its `mine`; `known` where Python can be asked for the cell's text."""
    name = f"<cell {len(linecache.cache)}>" if known else "<unknown>"
    if known:
        linecache.cache[name] = (len(text), None, text.splitlines(keepends=True), name)
    scope: dict[str, Any] = {"__name__": "__main__", **names}
    exec(compile(text, name, "exec"), scope)
    mine: Callable[..., Any] = scope["mine"]
    return mine


FUNCTION = "def helper(x):\n    return {0} * x\n\ndef mine(x):\n    return helper(x) + T\n"
CLASS = "class Base:\n    def step(self): return {0}\n\nclass mine(Base):\n    size = T\n    def own(self): return 1\n"


@pytest.mark.parametrize("text", [FUNCTION, CLASS])
@pytest.mark.parametrize(("known", "words"), [(True, "its source"), (False, "bytes and constants of its code")])
def test_a_cell_s_object_is_its_code_and_what_that_names(text: str, known: bool, words: str) -> None:
    def source(number: int, t: float = 1.0) -> Source:
        return sources.of_code(cell(text.format(number).replace("size = T", f"size = {t}"), known, T=t))

    one = source(2)
    assert one.name == f"mine of no file ({words})"
    assert source(2) == one
    assert source(3).digest != one.digest
    assert source(2, 2.0).digest != one.digest


def test_arguments_and_what_a_function_closes_over_are_part_of_it() -> None:
    text = "def make(t):\n    def inner(x):\n        return t * x\n    return inner\n\nmine = make({})\n"
    assert sources.of_code(cell(text.format(1))).digest != sources.of_code(cell(text.format(2))).digest
    mine = cell("def mine(t, x):\n    return t * x\n")
    assert sources.of_code(partial(mine, 1)).digest != sources.of_code(partial(mine, 2)).digest


def test_a_cell_s_object_is_read_when_it_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    mine = cell(FUNCTION.format(2), T=1.0)
    things.register("mine")(mine)
    one = things.source("mine")
    mine.__globals__["T"] = 2.0
    assert one is not None and things.source("mine") != one


def test_what_was_typed_into_an_interpreter_is_known_by_its_code_and_by_the_files_that_it_uses(tmp_path: Path) -> None:
    (tmp_path / "beside_one.py").write_text("f = abs\n")
    typed = (
        "import sys; sys.path.insert(0, {0!r}); import beside_one\nfrom harness import losses\n"
        "@losses.register('typed')\ndef typed(x):\n    return beside_one.f({1} * x)\n\n"
        "source = losses.registry.source('typed'); print(source.name, source.digest)\n"
    )

    def session(number: int) -> str:
        done = subprocess.run(
            [sys.executable], input=typed.format(str(tmp_path), number), capture_output=True, text=True, check=True
        )
        return done.stdout

    first = session(1)
    assert first.startswith("typed of no file (bytes and constants of its code) ")
    assert session(2) != first
    (tmp_path / "beside_one.py").write_text("f = float\n")
    assert session(1) != first
