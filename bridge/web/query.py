"""What a reader of the status page asked to see: part of the address, so that it can be shared."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from urllib.parse import urlencode

from cowpoke.overview.views import HostView

HOSTS_A_PAGE = 50
_MOST_CHARS = 100
_MOST_PAGE = 10_000


@dataclass(frozen=True, slots=True)
class Query:
    """Which hosts to show."""

    #: Part of a name or of a uuid, in lower case.
    search: str = ""
    #: From 1.
    page: int = 1

    @classmethod
    def of(cls, given: Mapping[str, str]) -> "Query":
        """Read the query of an address; what makes no sense is the first page of all hosts."""
        page = given.get("page", "")
        number = int(page) if page.isdecimal() and len(page) < 6 else 1  # noqa: PLR2004
        return cls(
            given.get("host", "").strip().lower()[:_MOST_CHARS], min(max(number, 1), _MOST_PAGE)
        )

    def url(self, page: int) -> str:
        """Return the address of another page of the same hosts."""
        other = replace(self, page=page)
        given = {"host": other.search, "page": "" if page == 1 else str(page)}
        text = urlencode({k: v for k, v in given.items() if v}, errors="replace")
        return f"?{text}#hosts" if text else "?#hosts"

    def matches(self, host: HostView) -> bool:
        """Whether a host is among those that were searched for."""
        return self.search in host.host_uuid.lower() or self.search in host.hostname.lower()
