from __future__ import annotations

import math

import pytest

from harness.leaderboard.text import as_text, escape, fixed, letter, listed, number, runs, short_error, without_paths


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
    assert listed(["a"]) == "a"
    assert listed(["a", "b", "c"]) == "a, b and c"
    assert listed([]) == ""
    assert runs([2, 0, 1]) == "0, 1, 2"
    assert runs([*range(10), 20]) == "0–9, 20"
    assert [letter(i) for i in (0, 25, 26, 701, 702)] == ["a", "z", "aa", "zz", "aaa"]


def test_labels_cannot_break_a_table():
    assert escape("a|b*c<d`_e_") == r"a\|b\*c\<d\`\_e\_"
    assert escape("soft_ce") == "soft_ce"
