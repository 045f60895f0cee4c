"""Length limits of what is stored, sent and logged; one place for all of them.

| field | limit | beyond it |
|---|---|---|
| an event's id, name, replyTo, resourceType, resourceId | `ID_CHARS` | the event is refused |
| a frame | `bridge.inbound.decode.MOST_BYTES` | the websocket is closed |
| the message of an error or of progress | `MESSAGE_CHARS` | cut, with a mark |
| the code of an error | `CODE_CHARS` | cut, with a mark |
| an outcome, as sealed JSON | `OUTCOME_CHARS` | the event ends with an error |
| a container event, as sealed JSON | `CONTAINER_EVENT_CHARS` | it goes without its inspect |
"""

#: cattle's ids, names and reply addresses have at most some 60 characters.
ID_CHARS = 256
#: People read it in the server's pages; an Engine's answer may be a whole HTML page.
MESSAGE_CHARS = 4_000
CODE_CHARS = 64
#: cattle stores reply data in a column of 16 MiB; sealing adds a third.
OUTCOME_CHARS = 22 * 1024 * 1024
#: An inspect usually has 5,000 to 20,000; long environments and labels make it larger. Of a host
#: whose events nobody reports, `keys.CONTAINER_EVENTS_MOST` are in the memory of Redis.
CONTAINER_EVENT_CHARS = 128 * 1024


def shortened(text: str, most: int) -> str:
    """Return the text, or its beginning and a mark with the number of characters left out."""
    if len(text) <= most:
        return text
    mark = f" ... ({len(text) - most} more characters)"
    # The mark replaces text as well, so that the result is never longer than `most`.
    kept = max(most - len(mark), 0)
    return (text[:kept] + f" ... ({len(text) - kept} more characters)")[:most]


#: The largest number that Redis' scripts, JSON and floats all count with exactly.
_MOST_NUMBER = 2**53


def bounded_int(value: object) -> int:
    """Return a number that somebody else wrote; 0 for nothing.

    Errors: TypeError, ValueError for what is no number, or a larger one than any of ours.
    """
    if value is None or value == "":
        return 0
    if not isinstance(value, int | str) or isinstance(value, bool):
        raise TypeError(f"{type(value).__name__} is not a number")
    if isinstance(value, str) and len(value) > len(str(_MOST_NUMBER)) + 1:
        raise ValueError("the number has too many digits")
    found = int(value)
    if abs(found) > _MOST_NUMBER:
        raise ValueError("the number is too large")
    return found
