from __future__ import annotations

import math

import pytest

from harness.leaderboard.text import (
    as_text,
    code,
    csv_cell,
    escape,
    fixed,
    letter,
    listed,
    number,
    paragraphs,
    runs,
    short_error,
    without_paths,
)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("cannot read /home/me/data/train.bin", "cannot read …/train.bin"),
        ("[Errno 2] No such file: '/home/my name/data/x.png'", "[Errno 2] No such file: '…/x.png'"),
        (r"C:\Users\me\x.bin is absent", "…/x.bin is absent"),
        ("file:///home/me/x.bin", "…/x.bin"),
        ("folder(path=/srv/data)", "folder(path=…/data)"),
        ("/srv", "…/srv"),
        ("see https://example.org/a/b", "see https://example.org/a/b"),
        ("kl/mse and timm/resnet18, IPC 1 / sgd", "kl/mse and timm/resnet18, IPC 1 / sgd"),
    ],
)
def test_absolute_paths_are_cut_to_their_last_part(given, expected):
    assert without_paths(given) == expected


def test_an_error_is_one_short_line_without_addresses_or_paths():
    shown = short_error("ValueError: <object at 0x7f21ab34cd>\n  in /home/me/x.py " + "y" * 300)
    assert shown.startswith("ValueError: <object at 0x…> in …/x.py yyy")
    assert len(shown) == 160
    assert shown.endswith("…")
    assert short_error("") == "no reason was recorded"


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, ""),
        (math.nan, ""),
        (5.0, "5"),
        (0.5, "0.5"),
        (True, "true"),
        (" a \n b", "a b"),
        ({"b": 1, "a": 2}, '{"a": 2, "b": 1}'),
    ],
)
def test_labels_become_text(value, expected):
    assert as_text(value) == expected


def test_small_words():
    assert [fixed(v, 1) for v in (0.04, -0.04, -0.06, math.nan, 10.0)] == ["0.0", "0.0", "-0.1", "", "10.0"]
    assert number(1e-4) == "0.0001"
    assert (number(10**400), number(-(10**400)), number(3), number(True)) == ("1" + "0" * 400, "-1" + "0" * 400, "3", "True")
    assert listed(["a"]) == "a"
    assert listed(["a", "b", "c"]) == "a, b and c"
    assert listed([]) == ""
    assert runs([2, 0, 1]) == "0, 1, 2"
    assert runs([*range(10), 20]) == "0–9, 20"
    assert [letter(i) for i in (0, 25, 26, 701, 702)] == ["a", "z", "aa", "zz", "aaa"]


def test_labels_cannot_break_a_table():
    assert escape("a|b*c<d`_e_") == r"a\|b\*c\<d\`\_e\_"
    assert escape("soft_ce") == "soft_ce"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("<script>alert(1)</script>", r"\<script>alert(1)\<…/script>"),
        ("a\n\n# b\r\nc\u2028d", "a # b c d"),
        ("[here](https://example.org)", r"[here]\(https\://example.org)"),
        ("![x](y) [x][y] [x]: y", r"![x]\(y) [x]\[y] [x]\: y"),
        ("www.example.org", r"www\.example.org"),
        ("<!-- giftbench: x -->", r"\<\!-- giftbench: x -->"),
        ("&lt;b&gt; R&D", r"\&lt;b\&gt; R&D"),
        ("~~gone~~ $x$", r"\~\~gone\~\~ \$x\$"),
        ("teacher [0123abcd], kl(T=4)", "teacher [0123abcd], kl(T=4)"),
    ],
)
def test_text_shows_as_it_is_and_is_no_markup(text, shown):
    assert escape(text) == shown


def test_a_code_span_ends_where_its_text_does():
    assert code("a`b\n\n# c <!-- x") == "`a'b # c < !-- x`"


def test_paragraphs_of_text_stay_paragraphs():
    text = "One\nline.\n\n# two\n \n1. three\n\n> four\n\n===\n\n- five\n\n1 six\n"
    assert paragraphs(text) == "One line.\n\n\\# two\n\n1\\. three\n\n\\> four\n\n\\===\n\n\\- five\n\n1 six"
    assert paragraphs(" \n") == ""


@pytest.mark.parametrize("text", ["=1+1", "+1+1", "-1+1", "@SUM(A1)", "\t=1", "\r=1", "-", "=cmd|' /C calc'!A0"])
def test_no_cell_is_a_formula(text):
    assert csv_cell(text) == "'" + text


@pytest.mark.parametrize("text", ["-1", "+0.5", "-1e-3", "-inf", "", "a=1", "97.2 ± 0.3", "'=1"])
def test_numbers_and_other_text_are_cells_as_they_are(text):
    assert csv_cell(text) == text
