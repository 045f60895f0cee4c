"""Durations, sizes and moments in the words of the status page."""

from datetime import UTC, datetime

from bridge.web.markup import Html, element

_MINUTE_S, _HOUR_S, _DAY_S = 60, 3600, 86_400
_KIB = 1024


def span(seconds: float) -> str:
    """Return a duration: `0.35 s`, `12 s`, `3 min 5 s`, `2 h 7 min`, `4 d 3 h`."""
    if seconds < 1:
        return f"{max(seconds, 0):.2f} s"
    if seconds < _MINUTE_S:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"  # noqa: PLR2004
    for limit, unit, small_s, small in (
        (_HOUR_S, "min", 1, "s"),
        (_DAY_S, "h", _MINUTE_S, "min"),
        (float("inf"), "d", _HOUR_S, "h"),
    ):
        if seconds < limit:
            unit_s = {"min": _MINUTE_S, "h": _HOUR_S, "d": _DAY_S}[unit]
            whole, rest = divmod(int(seconds), unit_s)
            return f"{whole} {unit} {rest // small_s} {small}"
    raise AssertionError("every duration is below infinity")


def size(number: int) -> str:
    """Return a number of bytes: `512 B`, `1.5 MiB`."""
    value = float(number)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if value < _KIB:
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= _KIB
    return f"{value:.1f} TiB"


def moment(at_ms: int, *, day: bool = False) -> Html:
    """Return a time in UTC, with its day if wanted; empty for none."""
    try:
        at = datetime.fromtimestamp(at_ms / 1000, UTC)
    except (OverflowError, ValueError, OSError):
        return Html()
    if not at_ms:
        return Html()
    text = at.strftime("%Y-%m-%d %H:%M:%S" if day else "%H:%M:%S")
    return element("time", text, datetime=at.isoformat(timespec="milliseconds"))


def count(number: int | None) -> str:
    """Return a number; of one that could not be read, that."""
    return "unreadable" if number is None else f"{number:,}"


def counted(number: int, one: str, many: str = "") -> str:
    """Return `1 host`, `2 hosts`."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"
