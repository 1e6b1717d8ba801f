"""Figures as parts of a page."""

from __future__ import annotations

import re
from xml.etree import ElementTree

import pytest

from harness.leaderboard.drawing import draw
from harness.leaderboard.page.drawings import inlined
from tests.leaderboard.looking import figure

LOOKS = ("fill", "stroke", "stroke-width")


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
    assert numbers(before) == pytest.approx(numbers(after), abs=0.00501), "pixels, to a hundredth"
    assert looks(before) == looks(after)
    assert not [element for element in after.iter() if (element.tail or "").strip()]
    (title,) = [element for element in after.iter() if element.text == "Accuracy"]
    assert (title.get("font-size"), title.get("font-weight")) == ("12px", "700")


def test_what_all_marks_of_a_line_have_alike_is_said_once(svg):
    text = inlined(svg, "mine")
    marks = [group for group in ElementTree.fromstring(text).iter() if len(group) > 1 and {*map(tag, group)} == {"use"}]
    assert marks and all(group.get("fill") and not any(mark.get("fill") for mark in group) for group in marks)
    assert len(text) < 0.8 * len(svg)


@pytest.mark.parametrize(("panels", "narrow"), [(1, True), (3, False)])
def test_a_drawing_of_one_panel_fits_a_phone(panels, narrow, tmp_path):
    text = inlined(draw(figure(2, panels=panels), tmp_path)[0].read_bytes(), "mine")
    assert ('class="narrow"' in text) == narrow


def tag(element):
    return element.tag.rpartition("}")[2]


def looks(root):
    """What each mark inherits or says of its own: its fill, its stroke, how wide that is."""
    found = []

    def walk(element, above):
        style = dict(part.strip().split(": ") for part in element.get("style", "").split(";") if part.strip())
        own = above | {name: value for name in LOOKS if (value := style.get(name, element.get(name)))}
        if tag(element) == "use":
            found.append(own)
        for child in element:
            walk(child, own)

    walk(root, {})
    return found


def words(root):
    return [element.text for element in root.iter() if element.tag.endswith("}text")]


def numbers(root):
    """The numbers of all shapes, and where marks stand, in pixels."""
    texts = [element.get(name, "") for element in root.iter() for name in ("d", "x", "y")]
    return [float(number) for text in texts for number in re.findall(r"-?[\d.]+(?:e-?\d+)?", text)]
