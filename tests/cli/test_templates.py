"""Templates of `giftbench new`: each says its name where it must, and nothing else is left to be filled in."""

from __future__ import annotations

import string

import pytest

from harness.cli.templates import KINDS

WORDS = {"name": "my-own", "stem": "my_own", "title": "MyOwn"}


@pytest.mark.parametrize("kind", KINDS)
def test_a_template_is_filled_in_with_a_name_alone(kind: str) -> None:
    plural, plugin, test = KINDS[kind]
    for template in (plugin, test):
        fields = {field for _, field, _, _ in string.Formatter().parse(template) if field}
        assert "name" in fields and fields <= {*WORDS}
        template.format(**WORDS)
    assert f'@{plural}.register("my-own")' in plugin.format(**WORDS)
    assert 'with_name("my_own.py")' in test.format(**WORDS)
