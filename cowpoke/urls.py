"""Urls that may hold a login, a token or a signature: what of them may be shown, and what not.

An url is what a user typed. It may be in git's short form (`user:password@host:path`), and a
password may contain the characters that end the host's part of a proper url.
"""

import re
from collections.abc import Iterator
from urllib.parse import unquote, urlsplit

# A scheme of any length would be looked for anew at each word of a long text.
_LOGIN = re.compile(r"(\b[A-Za-z][A-Za-z0-9+.-]{0,31}://)([^\s/?#]*)@")
_HOST = re.compile(r"(?:\[[0-9A-Fa-f:.]*\]|[^:\[\]\s]+)(?::[0-9]*)?")
_AUTHORITY = re.compile(r"[^/?#;]*")
_HIDDEN_TAIL = re.compile(r"[?#;]")
_PIECE = re.compile(r"([?#;&])([^?#;&]*)")
_DEFAULT_PORTS = {"http": 80, "https": 443}


def api_url(url: str) -> str:
    """The root of a cattle's API in one spelling, so that two urls of one cattle compare equal.

    Scheme and host in lower case, no default port, no slash and no `/schemas` at the end.
    Errors: ValueError for what is no http(s) url, or has a login, a query or a fragment.
    """
    text = url.strip().rstrip("/").removesuffix("/schemas").rstrip("/")
    parts = urlsplit(text)
    host, port = (parts.hostname or "").rstrip("."), parts.port
    if (
        parts.scheme not in _DEFAULT_PORTS
        or not host
        or "@" in parts.netloc
        or parts.query
        or parts.fragment
        or not text.isprintable()
    ):
        raise ValueError(
            "wanted http(s)://host:port/v1 without user, password, query and fragment, found "
            "something else (not shown)"
        )
    place = f"[{host}]" if ":" in host else host
    ending = "" if port in (None, _DEFAULT_PORTS[parts.scheme]) else f":{port}"
    return f"{parts.scheme}://{place}{ending}{parts.path}"


def shown_url(url: str) -> str:
    """The url without its login, and without what follows `?`, `#` or `;`."""
    scheme, _, rest = _parted(url)
    return scheme + _HIDDEN_TAIL.split(rest, maxsplit=1)[0]


def login_secrets(url: str) -> Iterator[str]:
    """The password or the token in an url, encoded and not."""
    _, login, _ = _parted(url)
    return _of_login(login)


def tail_secrets(url: str) -> Iterator[str]:
    """What follows `?`, `#` or `;` in an url: all of it with its mark, then the parts of it.

    A branch or a folder after `#` is no part: git names them when it does not find them.
    """
    _, _, rest = _parted(url)
    mark = _HIDDEN_TAIL.search(rest)
    if mark is None:
        return
    yield rest[mark.start() :]
    for sign, piece in _PIECE.findall(rest[mark.start() :]):
        _, equals, value = piece.partition("=")
        if equals or sign != "#":
            secret = value if equals else piece
            yield secret
            yield unquote(secret)


def url_logins(text: str) -> Iterator[str]:
    """The passwords and tokens of all urls in a text."""
    for found in _LOGIN.finditer(text):
        yield from _of_login(found[2])


def without_logins(text: str) -> str:
    """The text with every url in it freed of its login."""
    return _LOGIN.sub(r"\1", text)


def _of_login(login: str) -> Iterator[str]:
    user, colon, password = login.partition(":")
    for secret in (login, password) if colon else (user,):
        yield secret
        yield unquote(secret)


def _parted(url: str) -> tuple[str, str, str]:
    """Scheme with `://`, login, and the rest."""
    scheme, separator, rest = url.partition("://")
    if not separator:
        scheme, rest = "", url
    authority = _AUTHORITY.match(rest)
    assert authority is not None
    host = authority[0]
    end = host.rfind("@")
    is_whole = _HOST.fullmatch(host) and rest[len(host) : len(host) + 1] not in ("?", "#", ";")
    if end < 0 and not is_whole:
        # The host seems to end inside a password, if an @ follows.
        end = rest.rfind("@")
    return scheme + separator, rest[: max(end, 0)], rest[end + 1 :]
