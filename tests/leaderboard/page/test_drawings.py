"""Figures as parts of a page."""

from __future__ import annotations

import re
from xml.etree import ElementTree

import pytest

from harness.leaderboard.drawing import draw
from harness.leaderboard.page.drawings import inlined
from tests.leaderboard.looking import figure


@pytest.fixture(scope="module")
def svg(tmp_path_factory) -> bytes:
    return draw(figure(3), tmp_path_factory.mktemp("figures"))[0].read_bytes()


def test_a_drawing_has_no_style_no_script_and_no_address(svg):
    text = inlined(svg, "mine")
    own = re.sub(r'xmlns(:\w+)?="http://www.w3.org/[\w/]+"|font-style', "", text)
    assert not re.search(r"style|<script|<!|<\?|https?:", own)


def test_its_references_are_its_own(svg):
    one, two = (ElementTree.fromstring(inlined(svg, name)) for name in ("one", "two"))
    ids = [{element.get("id") for element in root.iter() if element.get("id")} for root in (one, two)]
    assert not ids[0] & ids[1]
    for root, own in zip((one, two), ids, strict=True):
        values = [value for element in root.iter() for value in element.attrib.values()]
        targets = {value[1:] for value in values if value.startswith("#") and "-" in value}
        targets |= {match for value in values for match in re.findall(r"url\(#(.+?)\)", value)}
        assert targets == own
        assert len(own) > 3


def test_its_text_and_its_shapes_are_the_figures(svg):
    before, after = ElementTree.fromstring(svg), ElementTree.fromstring(inlined(svg, "mine"))
    assert words(before) == words(after)
    assert "Accuracy" in words(after)
    assert shapes(before) == shapes(after)
    assert not [element for element in after.iter() if (element.tail or "").strip()]
    (title,) = [element for element in after.iter() if element.text == "Accuracy"]
    assert (title.get("font-size"), title.get("font-weight")) == ("12px", "700")


def words(root):
    return [element.text for element in root.iter() if element.tag.endswith("}text")]


def shapes(root):
    return [element.get("d") for element in root.iter() if element.get("d")]
