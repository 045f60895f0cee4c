"""Tables of the status page: rows that a screen reader reads, and cards on a phone."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from bridge.web.markup import Content, Html, element


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """One row; the first cell is its heading."""

    #: Unlike that of any other row of the page, so that a row that moves is the same one.
    key: str
    cells: Sequence[Content]


def table(caption: str, columns: Sequence[str], rows: Iterable[Row]) -> Html:
    """Return a table. The roles are said again: CSS that makes cards of rows would take them."""
    head = [element("th", one, role="columnheader", scope="col") for one in columns]
    body = [_row(columns, row) for row in rows]
    return element(
        "table",
        element("caption", caption),
        element("thead", element("tr", head, role="row"), role="rowgroup"),
        element("tbody", body, role="rowgroup"),
        role="table",
    )


def _row(columns: Sequence[str], row: Row) -> Html:
    first, *others = row.cells
    cells = [
        element("td", _lines(cell), role="cell", data_label=name)
        for name, cell in zip(columns[1:], others, strict=True)
    ]
    heading = element("th", _lines(first), role="rowheader", scope="row")
    return element("tr", heading, cells, role="row", id=row.key)


def _lines(cell: Content) -> Content:
    """Return each line of a cell in an element of its own; no element for nothing."""
    lines = [cell] if cell is None or isinstance(cell, str) else list(cell)
    return [element("span", line) for line in lines if line]


def quiet(text: Content) -> Html:
    """Return text that is less important."""
    return element("span", text, class_="quiet small")


def state(text: str, kind: str) -> Html:
    """Return a state, `good`, `warn` or `bad`: the word says it, the color repeats it."""
    return element("span", text, class_=kind)
