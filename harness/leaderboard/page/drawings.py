"""A figure's SVG as part of an HTML page: no style attribute, which the page's policy forbids, and no id of another figure's."""

from __future__ import annotations

import re
from xml.etree import ElementTree

from markupsafe import Markup

SVG, LINKS = "http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"
#: What descendants inherit: said of a group, where all of its marks have it alike.
INHERITED = ("fill", "fill-opacity", "stroke", "stroke-opacity", "stroke-width", "stroke-linejoin", "stroke-linecap")
#: Attributes whose numbers are pixels, of which two decimals are enough.
PIXELS = ("d", "x", "y")
_LONG = re.compile(r"-?\d+\.\d{3,}")
#: Points up to which a drawing is made to fit a phone's width: of one panel, whose text can be read there, too.
NARROW = 500
#: CSS's short form of a font: size, and the families after it.
_FONT = re.compile(r"(?:(?P<slant>italic|oblique) )?(?:(?P<weight>bold|\d{3}) )?(?P<size>[\d.]+px) (?P<family>.+)")
_REFERENCE = re.compile(r"url\(#([^)]+)\)")
_WORDS = (f"{{{SVG}}}text", f"{{{SVG}}}tspan")


def inlined(svg: bytes, name: str) -> Markup:
    """Return the SVG that matplotlib wrote, for a page that holds several.

    Args:
        name: of the figure: it begins all ids that something refers to; the others are left out.
    """
    root = ElementTree.fromstring(svg)
    used = {_target(value) for element in root.iter() for value in element.attrib.values()} - {""}
    used |= {match for element in root.iter() for match in _REFERENCE.findall(element.get("style", ""))}
    ids = {own: f"{name}-{number}" for number, own in enumerate(sorted(used))}
    # what matplotlib gives in a style element for all: joins and caps, which descendants inherit
    looks = {"stroke-linejoin": "round", "stroke-linecap": "butt"}
    for element in root.iter():
        for child in [*element]:
            if child.tag in (f"{{{SVG}}}style", f"{{{SVG}}}metadata"):
                element.remove(child)
        style = element.attrib.pop("style", "")
        for property_, value in _declarations(style):
            element.set(property_, value)
        for attribute, value in [*element.attrib.items()]:
            value = _LONG.sub(lambda match: f"{float(match[0]):.2f}", value) if attribute in PIXELS else value
            element.set(attribute, _REFERENCE.sub(lambda match: f"url(#{ids[match[1]]})", value))
        link = element.attrib.pop(f"{{{LINKS}}}href", "")
        if link:
            element.set("href", f"#{ids[link[1:]]}")
        own = element.attrib.pop("id", "")
        if own in used:
            element.set("id", ids[own])
        if element.tag not in _WORDS:
            element.text = None if not (element.text or "").strip() else element.text
            for child in element:
                child.tail = None
    for group in root.iter(f"{{{SVG}}}g"):
        _hoist(group)
    for look, value in looks.items():
        root.set(look, value)
    root.set("role", "img")
    if float(root.get("width", "inf").removesuffix("pt")) <= NARROW:
        root.set("class", "narrow")
    ElementTree.register_namespace("", SVG)
    text = ElementTree.tostring(root, encoding="unicode")
    return Markup(re.sub(r"\s*\n\s*", " ", text))


def _hoist(group: ElementTree.Element) -> None:
    """Say once, of a group of marks, what each of them says: how they look."""
    marks = [*group]
    if len(marks) < 2 or any(mark.tag != f"{{{SVG}}}use" for mark in marks):
        return
    for look in INHERITED:
        values = {mark.get(look) for mark in marks}
        if len(values) == 1 and None not in values and look not in group.attrib:
            group.set(look, str(values.pop()))
            for mark in marks:
                del mark.attrib[look]


def _target(value: str) -> str:
    match = _REFERENCE.search(value)
    return match[1] if match else value[1:] if value.startswith("#") and " " not in value else ""


def _declarations(style: str) -> list[tuple[str, str]]:
    """Return a style's declarations as presentation attributes, the short form of a font taken apart."""
    pairs = []
    for declaration in style.split(";"):
        name, _, value = (part.strip() for part in declaration.partition(":"))
        font = _FONT.fullmatch(value) if name == "font" else None
        if font is not None:
            parts = {
                "font-style": font["slant"],
                "font-weight": font["weight"],
                "font-size": font["size"],
                "font-family": font["family"],
            }
            pairs += [(part, text) for part, text in parts.items() if text]
        elif name:
            pairs.append((name, value))
    return pairs
