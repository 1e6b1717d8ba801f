"""A thing with parameters, as boards and command lines write it."""

from __future__ import annotations

import keyword
import re
import string

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from harness.core.errors import BadOption
from harness.core.spec import Spec, parse, render

NAMES = st.from_regex(r"[a-z][a-z0-9_]*(-[a-z][a-z0-9_]*)?(/[a-z][a-z0-9_.]*)?", fullmatch=True)
KEYS = st.from_regex(r"[a-z][a-z0-9_]{0,8}", fullmatch=True).filter(lambda word: not keyword.iskeyword(word))
SCALARS = st.none() | st.just(True) | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text()
VALUES = SCALARS | st.lists(SCALARS, max_size=4)
PATHS = st.from_regex(r"(~|\.{1,2}|[A-Za-z0-9_.-]+)?(/[A-Za-z0-9_.-]+( [A-Za-z0-9_-]+)?){1,4}/?", fullmatch=True)


@given(NAMES, st.dictionaries(KEYS, VALUES, max_size=4))
def test_what_is_rendered_parses_back_to_itself(name: str, options: dict[str, object]) -> None:
    found_name, found = parse(render(name, options))
    assert found_name == name
    assert found == options
    assert {key: type(value) for key, value in found.items()} == {key: type(value) for key, value in options.items()}


@given(PATHS, st.dictionaries(KEYS, VALUES | PATHS, max_size=3))
def test_a_bare_path_is_read_as_it_stands_among_other_parameters(path: str, options: dict[str, object]) -> None:
    assume(not re.fullmatch(r"[\d._/]+", path) or path.startswith("/"))  # 1/20 may be meant as a number
    options = options | {"images": path}
    others = render("", {key: value for key, value in options.items() if key != "images"})[1:-1]
    for text in (f"fkd(images={path}{', ' if others else ''}{others})", f"fkd({others}{', ' if others else ''}images={path})"):
        assert parse(text) == ("fkd", options)
    assert parse(render("fkd", options)) == ("fkd", options)


@pytest.mark.parametrize("word", ["true", "None", "False", "lambda", "off-if", "ﬁt", "inf", "two words", "a'b", "1st", "b-0", ""])
def test_a_word_that_python_would_take_for_something_else_survives_rendering(word: str) -> None:
    assert parse(render("x", {"a": word})) == ("x", {"a": word})


@given(st.text(alphabet=string.printable, max_size=40))
def test_any_text_is_a_name_with_parameters_or_is_refused_in_one_line(text: str) -> None:
    try:
        name, options = parse(text)
    except BadOption as error:
        assert "\n" not in str(error)
    else:
        assert name
        assert "(" not in name or "/" in name or ":" in name or text.lstrip()[:1] in "'\""  # only what may be a path has any
        assert isinstance(options, dict)


@pytest.mark.parametrize(
    ("text", "name", "options"),
    [
        ("gift", "gift", {}),
        ("  gift ( ) ", "gift", {}),
        ("gift(gamma=0.2)", "gift", {"gamma": 0.2}),
        ("gift(gamma=-1e-3, alpha=.5)", "gift", {"gamma": -1e-3, "alpha": 0.5}),
        ("kl(rescale)", "kl", {"rescale": True}),
        ("kl(rescale=true)", "kl", {"rescale": True}),
        ("kl(rescale=False)", "kl", {"rescale": False}),
        ("kl(rescale, temperature=4)", "kl", {"rescale": True, "temperature": 4}),
        ("kl(temperature=4, rescale)", "kl", {"temperature": 4, "rescale": True}),
        ("x(a='one, two', b=[1, [2, 3]], c)", "x", {"a": "one, two", "b": [1, [2, 3]], "c": True}),
        ("x(a=none)", "x", {"a": None}),
        ("gift(smoothing=off-target)", "gift", {"smoothing": "off-target"}),
        ("gift(smoothing='off-target')", "gift", {"smoothing": "off-target"}),
        ("x(a=swin-v2-tiny)", "x", {"a": "swin-v2-tiny"}),
        ("x(a=[1, two, true, [3.5]])", "x", {"a": [1, "two", True, [3.5]]}),
        ("x(a=(1, 2))", "x", {"a": [1, 2]}),
        ("timm/vit_tiny_patch16_224(drop_path=0.1)", "timm/vit_tiny_patch16_224", {"drop_path": 0.1}),
        ("folder:some/place(size=32)", "folder:some/place", {"size": 32}),
        ("mobilenet-v2", "mobilenet-v2", {}),
        ("fkd(images=data/imagenet/train, x=1)", "fkd", {"images": "data/imagenet/train", "x": 1}),
        ("fkd(images=../a-b/c.d)", "fkd", {"images": "../a-b/c.d"}),
        ("fkd(x, images = /abs/path )", "fkd", {"x": True, "images": "/abs/path"}),
        ("fkd(images=~/my data/in/train 2, x)", "fkd", {"images": "~/my data/in/train 2", "x": True}),
        ("fkd(images='a(1), b/c', x='d, e=f/g')", "fkd", {"images": "a(1), b/c", "x": "d, e=f/g"}),
        ("fkd(images=2012/train)", "fkd", {"images": "2012/train"}),
        ("fkd(images=/2012/1)", "fkd", {"images": "/2012/1"}),
        ("fkd(images=cda_in1k.v2, epochs=3)", "fkd", {"images": "cda_in1k.v2", "epochs": 3}),
        ("fkd(images=2025set, x)", "fkd", {"images": "2025set", "x": True}),
        ("fkd(images=set-1)", "fkd", {"images": "set-1"}),
        ("fkd(x=1, images=my set)", "fkd", {"x": 1, "images": "my set"}),
        ("fkd(images=..)", "fkd", {"images": ".."}),
        ("fkd(images=.)", "fkd", {"images": "."}),
        ("fkd(images=~)", "fkd", {"images": "~"}),
        ("fkd(images=class)", "fkd", {"images": "class"}),
        ("augment(policy=rand-m6-n2-mstd1.0)", "augment", {"policy": "rand-m6-n2-mstd1.0"}),
        ("gift(gamma=1e-3, alpha=0x10)", "gift", {"gamma": 0.001, "alpha": 16}),
    ],
)
def test_forms_that_boards_use(text: str, name: str, options: dict[str, object]) -> None:
    assert parse(text) == (name, options)


@pytest.mark.parametrize(
    "text",
    [
        *("", "   ", "(gamma=1)", "gift(gamma=0.2", "gift)", "gift(gamma=0.2) more", "gift(gamma=)", "gift(=1)", "gift(gamma 1)"),
        *("gift(gamma=1,)", "gift(,)", "gift(a=1,,b=2)", "gift(a=[1, 2)", "kl(rescale, rescale)"),
        *("gift(1)", "gift('a')", "gift(gamma=1, gamma=2)", "kl(rescale, rescale=false)", "gift(**x)", "gift(*x)"),
        *(
            "gift(a=1)(b=2)",
            "gift(a=1) or f(b=2)",
            "gift(a=1-2)",
            "gift(a=b'c')",
            "gift(a={1, 2})",
            "gift(a=2j)",
            "gift(a=...)",
        ),
        *("gift(a=1/20)", "gift(a=1/400)", "gift(a=.5/2)", "gift(a=[b/c])", "gift(in=b/c)", "gift(b/c)", "gift(a=b/c, a=d/e)"),
        *("gift(a=" + "(" * 400, "gift(a=" + "-" * 20_000 + "1)", "gift(a='\0')"),
    ],
)
def test_bad_syntax_is_refused_in_one_line(text: str) -> None:
    with pytest.raises(BadOption, match=r"\Acannot read [^\n]*\Z"):
        parse(text)


@pytest.mark.parametrize(
    "text", ["fkd(images=a[1]/b)", "fkd(images=a(1/b)", "fkd(images=a/b,c/d)", "fkd(images=it's/here)", "fkd(images=1/20)"]
)
def test_a_path_that_cannot_be_told_apart_goes_in_quotes_and_the_error_says_so(text: str) -> None:
    with pytest.raises(BadOption, match="a path with commas, quotes or brackets in it goes in quotes"):
        parse(text)
    with pytest.raises(BadOption, match=r"=value, …\)\Z"):  # no path in sight
        parse("fkd(images=)")


@pytest.mark.parametrize(
    "code", ["__import__('os').abort()", "open('made', 'w')", "[x for x in (1, 2)]", "(lambda: 1)()", "f'{1/0}'", "1/0"]
)
def test_nothing_is_executed(code: str, tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(BadOption):
        parse(f"gift(gamma={code})")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("form", ["gift(gamma=0.2)", {"name": "gift", "gamma": 0.2}, {"name": "gift", "options": {"gamma": 0.2}}])
def test_string_and_table_say_the_same(form: object) -> None:
    spec = Spec.model_validate(form)
    assert (spec.name, spec.options) == ("gift", {"gamma": 0.2})
    assert str(spec) == "gift(gamma=0.2)"
    assert Spec.model_validate(spec) == spec


@pytest.mark.parametrize(
    ("form", "message"),
    [
        ({"gamma": 0.2}, "needs a name"),
        ({"name": 3}, "needs a name"),
        (3, "expected a name such as"),
        (["gift"], "expected a name such as"),
        ("gift(", "cannot read 'gift\\('"),
    ],
)
def test_what_is_no_spec_is_refused_as_the_users_mistake(form: object, message: str) -> None:
    with pytest.raises(BadOption, match=rf"\A{message}"):
        Spec.model_validate(form)


def test_a_flag_that_is_on_renders_as_its_bare_word() -> None:
    assert render("kl", {"temperature": 20.0, "rescale": True}) == "kl(rescale, temperature=20.0)"
    assert render("kl", {"rescale": False}) == "kl(rescale=false)"
    assert render("gift", {}) == "gift"


# -- paths --------------------------------------------------------------------------------------------------------------------

DECOMPOSED = "e\u0301te\u0301"  # as macOS names files: letters and their accents apart


@pytest.mark.parametrize(
    ("text", "name", "options"),
    [
        ("folder:/data/pets (1)/x", "folder:/data/pets (1)/x", {}),
        ("folder:/data/pets (1)(size=32)", "folder:/data/pets (1)", {"size": 32}),
        ("folder:/data/pets (copy)", "folder:/data/pets (copy)", {}),
        ("folder:pets (old)/a(b)/c(size=32, column=x)", "folder:pets (old)/a(b)/c", {"size": 32, "column": "x"}),
        ("'folder:pets(old)'(size=32)", "folder:pets(old)", {"size": 32}),
        ('"folder:pets(old)"', "folder:pets(old)", {}),
        (f"folder:/données/{DECOMPOSED} 数据(size=8)", f"folder:/données/{DECOMPOSED} 数据", {"size": 8}),
        ("fkd(images=/my data (new)/a b, epochs=3)", "fkd", {"images": "/my data (new)/a b", "epochs": 3}),
        (f"fkd(images={DECOMPOSED}/数据 (2))", "fkd", {"images": f"{DECOMPOSED}/数据 (2)"}),
        ("fkd(images=R&D/#1)", "fkd", {"images": "R&D/#1"}),
        ("timm/resnet18(pretrained)", "timm/resnet18", {"pretrained": True}),
        ("kl (rescale)", "kl", {"rescale": True}),
        ("folder:pets()", "folder:pets", {}),
    ],
)
def test_paths_may_have_parentheses_spaces_and_any_letters(text: str, name: str, options: dict[str, object]) -> None:
    assert parse(text) == (name, options)
    assert parse(render(name, options)) == (name, options)


@given(
    st.text("ab1/(). -_é数", min_size=1, max_size=12).map(str.strip).filter(bool),
    st.dictionaries(st.sampled_from(["size", "column"]), st.sampled_from([1, True, "a/b (c)", "x"])),
)
def test_any_path_survives_rendering(path: str, options: dict[str, object]) -> None:
    assert parse(render(f"folder:{path}", options)) == (f"folder:{path}", options)
    assert parse(render("fkd", {"images": path, **options})) == ("fkd", {"images": path, **options})
