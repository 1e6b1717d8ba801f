"""What our Markdown says, in HTML."""

from __future__ import annotations

import random

import pytest
from markupsafe import escape as as_html

from harness.leaderboard.page.inline import html, plain
from harness.leaderboard.text import code, escape, without_paths


@pytest.mark.parametrize(
    ("markdown", "shown"),
    [
        ("plain", "plain"),
        ("`a<b>`, c", "<code>a&lt;b&gt;</code>, c"),
        ("**best** and <u>second</u>", "<b>best</b> and <u>second</u>"),
        ("<script>x</script>", "&lt;script&gt;x&lt;/script&gt;"),
        ("a \\* b \\`c\\`", "a * b `c`"),
        ("\"quoted\" & 'so'", "&#34;quoted&#34; &amp; &#39;so&#39;"),
    ],
)
def test_marks_become_elements_and_all_else_is_text(markdown: str, shown: str) -> None:
    assert html(markdown) == shown


def test_whatever_is_escaped_for_markdown_reads_the_same_in_html() -> None:
    draws = random.Random(3)
    for _ in range(500):
        text = "".join(draws.choices("ab_*`|<>&\\~$[](){}!:\"'#+-.;1", k=12))
        assert html(escape(text)) == as_html(without_paths(text)), text
        assert html(code(text)) == f"<code>{as_html(text.replace('`', chr(39)))}</code>"


def test_plain_text_has_no_marks() -> None:
    assert plain("fashion\\_mnist, `a` **b**") == "fashion_mnist, a b"
