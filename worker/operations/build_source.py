"""The source of a build, and whether it is allowed.

The URL of a build comes from a user. Only http, https and git's own protocol are allowed, no
link-local addresses (where clouds serve secrets), and if `WORKER_BUILD_HOSTS` is set only its
hosts. A host name may resolve to another address after the check; `WORKER_BUILD_HOSTS` prevents
that.

Row numbers (A) refer to docs/parity.md.
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
#: GitHub URLs that are rewritten to https: ssh needs a key, git:// is not served (A 12.14).
_GITHUB_FORMS = re.compile(rf"^(git@{_GITHUB}:|ssh://git@{_GITHUB}/|git://{_GITHUB}/|{_GITHUB}/)")
_GITHUB_PATH = re.compile(r"/[^/]+/[^/]+")


@dataclass(frozen=True, kw_only=True, slots=True)
class Source:
    """A URL to build from; its login and the text after `?`, `#` or `;` are never shown."""

    url: str = field(repr=False)
    #: Whether the Engine clones it; otherwise the worker downloads a tar file.
    is_git: bool

    @property
    def shown(self) -> str:
        """The URL without its secrets."""
        return shown_url(self.url)

    def scrub(self, text: str) -> str:
        """Return the text without the secrets of the URL, which the Engine or git may quote."""
        return Scrubber(secrets_of_url(self.url))(text)


def source_of(build: Build) -> Source:
    """Return the source of a build; a context is preferred to a remote (A 12.13, 12.14).

    Errors: PayloadError for a text that is neither a git URL nor an http(s) URL.
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
        raise PayloadError("the branch in image.data.fields.build.remote must not begin with '-'")
    # The Engine would fetch other URLs itself, without a limit, so the worker fetches them.
    return _checked(Source(url=remote, is_git=is_git), _GIT_SCHEMES, "remote")


def refuse_host(url: str, allowed: Sequence[str]) -> None:
    """Raise PayloadError for a host that images must not be built from."""
    parts = urlsplit(url)
    host = (parts.hostname or "").rstrip(".")
    if allowed and not any(fnmatchcase(host, pattern.lower()) for pattern in allowed):
        raise PayloadError(
            f"images are not built from {host}: WORKER_BUILD_HOSTS of the worker on this host "
            f"allows only {', '.join(allowed)}"
        )
    try:
        found = socket.getaddrinfo(host, parts.port, proto=socket.IPPROTO_TCP)
    except (OSError, UnicodeError):
        return  # the connection fails with a better message
    for *_, address in found:
        ip = ipaddress.ip_address(str(address[0]).partition("%")[0])
        mapped = getattr(ip, "ipv4_mapped", None) or ip
        if mapped.is_link_local:
            raise PayloadError(f"images are not built from {host}: address {ip} is link-local")


def _checked(source: Source, schemes: frozenset[str], key: str) -> Source:
    parts = _split(source.url, key)
    if parts.scheme not in schemes or not parts.hostname:
        raise PayloadError(
            f"image.data.fields.build.{key} must be a URL of {', '.join(sorted(schemes))} with a "
            f"host, found {source.shown[:200]!r}"
        )
    if any(letter.isspace() or not letter.isprintable() for letter in source.url):
        raise PayloadError(f"the URL in image.data.fields.build.{key} must not contain spaces")
    return source


def _split(url: str, key: str) -> SplitResult:
    try:
        parts = urlsplit(url)
        _ = parts.port  # raises ValueError if it is no number
    except ValueError as error:
        raise PayloadError(f"the URL in image.data.fields.build.{key} cannot be parsed") from error
    return parts
