"""HTML that is escaped by its making: text becomes markup in one place only.

What the page shows was written by cattle, by hosts, or by whoever can write to Redis.
"""

from collections.abc import Iterable
from html import escape

from cowpoke.cli.shown import shown

#: Elements that have no end tag.
_VOID = frozenset({"input", "link", "meta"})
#: Longer texts are cut; the command has all of them.
MOST_CHARS = 400


class Html(str):
    """Markup; every other text is escaped where it is put into an element."""

    __slots__ = ()


Content = str | Iterable["Content"] | None


def element(tag: str, /, *children: Content, **attributes: object) -> Html:
    """Return an element.

    Args:
        tag: Its name.
        children: Texts, which are escaped, elements, which are not, or several of them.
        attributes: `data_label` is `data-label`, `class_` is `class`; None and False leave one out.
    """
    given = "".join(
        _attribute(key, value)
        for key, value in attributes.items()
        if value is not None and value is not False
    )
    if tag in _VOID:
        return Html(f"<{tag}{given}>")
    return Html(f"<{tag}{given}>{joined(children)}</{tag}>")


def joined(children: Content) -> Html:
    """Return the markup of some texts and elements, one behind the other."""
    if children is None:
        return Html()
    if isinstance(children, Html):
        return children
    if isinstance(children, str):
        return Html(escape(shown(children, MOST_CHARS)))
    return Html("".join(map(joined, children)))


def _attribute(key: str, value: object) -> str:
    name = key.rstrip("_").replace("_", "-")
    if value is True:
        return f" {name}"
    return f' {name}="{escape(shown(value, MOST_CHARS))}"'
