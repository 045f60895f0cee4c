"""Text that somebody else may have written to Redis, as a terminal may show it."""

from cowpoke.lengths import shortened
from cowpoke.scrubbing import scrub

MOST_CHARS = 200


def shown(value: object, most: int = MOST_CHARS) -> str:
    """Return a value as one printable line, without the secrets of the settings.

    Control characters would move the cursor or color the screen; bytes that are no UTF-8 cannot be
    printed at all. Both are escaped.
    """
    text = scrub(str(value))
    return shortened("".join(c if c.isprintable() else _escaped(c) for c in text), most)


def _escaped(character: str) -> str:
    return character.encode("unicode_escape", "surrogatepass").decode("ascii")
