"""A line of our Markdown as HTML: escapes, code, bold and underlined text; whatever else stands there is text."""

from __future__ import annotations

import re

from markupsafe import Markup, escape

_TOKEN = re.compile(r"\\(?P<escaped>[!-/:-@\[-`{-~])|`(?P<code>[^`]*)`|\*\*(?P<bold>.+?)(?<!\\)\*\*|<u>(?P<underlined>.+?)</u>")


def html(markdown: str) -> Markup:
    """Return a line as `harness.leaderboard.text.escape` and `code` write it, in HTML that shows the same."""
    parts, end = [], 0
    for token in _TOKEN.finditer(markdown):
        parts += [escape(markdown[end : token.start()]), _shown(token)]
        end = token.end()
    return Markup("").join([*parts, escape(markdown[end:])])


def plain(markdown: str) -> str:
    """Return a line's text without its marks."""
    return html(markdown).striptags()


def _shown(token: re.Match[str]) -> Markup:
    if token["escaped"] is not None:
        return escape(token["escaped"])
    if token["code"] is not None:
        return Markup("<code>{}</code>").format(token["code"])
    return (
        Markup("<b>{}</b>").format(html(token["bold"]))
        if token["bold"]
        else Markup("<u>{}</u>").format(html(token["underlined"]))
    )
