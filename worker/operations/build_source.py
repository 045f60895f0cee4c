"""Where a build's files come from, and whether we fetch from there at all.

cattle hands on what a user typed, so an url is data: only http, https and git's own protocol, never
a link-local address (clouds answer secrets there), and where `WORKER_BUILD_HOSTS` is set only hosts
it names. A name may change its address after we looked it up; who must be sure names the hosts.
"""

import ipaddress
import re
import socket
from collections.abc import Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from urllib.parse import SplitResult, urlsplit, urlunsplit

from cowpoke.scrubbing import Scrubber
from cowpoke.secrets import secrets_of_url
from cowpoke.urls import shown_url
from worker.errors import PayloadError
from worker.payload.image import Build

_TAR_SCHEMES = frozenset({"http", "https"})
_GIT_SCHEMES = frozenset({"http", "https", "git"})
_GITHUB = "github.com"
#: GitHub serves neither ssh without a key nor git's own protocol, but the same by https (A 12.14).
_GITHUB_FORMS = re.compile(rf"^(git@{_GITHUB}:|ssh://git@{_GITHUB}/|git://{_GITHUB}/|{_GITHUB}/)")
_GITHUB_PATH = re.compile(r"/[^/]+/[^/]+")


@dataclass(frozen=True, kw_only=True, slots=True)
class Source:
    """An url to build from; its login and what follows `?`, `#` or `;` never show."""

    url: str = field(repr=False)
    #: The Engine clones it; else we fetch a tar file.
    is_git: bool

    @property
    def shown(self) -> str:
        """The url without its secrets."""
        return shown_url(self.url)

    def scrub(self, text: str) -> str:
        """Return the text without the url's secrets, in case the Engine or git quotes them."""
        return Scrubber(secrets_of_url(self.url))(text)


def source_of(build: Build) -> Source:
    """Read the source of a build; a context goes before a remote (A 12.13, 12.14).

    Errors: PayloadError for what is neither a git url nor an http(s) url.
    """
    if build.context:
        return _checked(Source(url=build.context.strip(), is_git=False), _TAR_SCHEMES, "context")
    remote = _GITHUB_FORMS.sub(f"https://{_GITHUB}/", (build.remote or "").strip(), count=1)
    parts = _split(remote, "remote")
    if parts.hostname == _GITHUB and _GITHUB_PATH.fullmatch(parts.path.rstrip("/")):
        path = parts.path.rstrip("/").removesuffix(".git")
        remote = urlunsplit(parts._replace(path=f"{path}.git"))
    is_git = parts.scheme == "git" or urlsplit(remote).path.endswith(".git")
    if is_git and parts.fragment.startswith("-"):
        raise PayloadError("wanted a branch in image.data.fields.build.remote, found an option")
    # What is no git url the Engine would fetch itself, without any limit; we fetch it instead.
    return _checked(Source(url=remote, is_git=is_git), _GIT_SCHEMES, "remote")


def refuse_host(url: str, allowed: Sequence[str]) -> None:
    """Refuse hosts that nothing may be fetched from.

    Errors: PayloadError.
    """
    parts = urlsplit(url)
    host = (parts.hostname or "").rstrip(".")
    if allowed and not any(fnmatchcase(host, pattern.lower()) for pattern in allowed):
        raise PayloadError(
            f"nothing is built from {host}: WORKER_BUILD_HOSTS of this host's worker allows "
            f"{', '.join(allowed)}"
        )
    try:
        found = socket.getaddrinfo(host, parts.port, proto=socket.IPPROTO_TCP)
    except (OSError, UnicodeError):
        return  # whoever connects says it better
    for *_, address in found:
        ip = ipaddress.ip_address(str(address[0]).partition("%")[0])
        mapped = getattr(ip, "ipv4_mapped", None) or ip
        if mapped.is_link_local:
            raise PayloadError(f"nothing is built from {host}: its address {ip} is link-local")


def _checked(source: Source, schemes: frozenset[str], key: str) -> Source:
    parts = _split(source.url, key)
    if parts.scheme not in schemes or not parts.hostname:
        raise PayloadError(
            f"wanted an url of {', '.join(sorted(schemes))} with a host in "
            f"image.data.fields.build.{key}, found {source.shown[:200]!r}"
        )
    if any(letter.isspace() or not letter.isprintable() for letter in source.url):
        raise PayloadError(f"wanted an url in image.data.fields.build.{key}, found spaces in it")
    return source


def _split(url: str, key: str) -> SplitResult:
    try:
        parts = urlsplit(url)
        _ = parts.port  # read now: it raises for what is no number
    except ValueError as error:
        raise PayloadError(
            f"wanted an url in image.data.fields.build.{key}, found one that cannot be read"
        ) from error
    return parts
