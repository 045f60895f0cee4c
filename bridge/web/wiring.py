"""Wires what a bridge serves over HTTP."""

from aiohttp import web

from bridge.finished import Finished
from bridge.metrics.collector import Metrics
from bridge.metrics.finished import FinishedCounts
from bridge.metrics.own import OwnMetrics
from bridge.settings import BridgeSettings
from bridge.web.live import StatusPage
from bridge.web.readiness import Readiness
from bridge.web.watched import RECENT, Watched
from cowpoke.broker import connect
from cowpoke.history import FinishedEvent, read_recent
from cowpoke.overview import Overview, read_overview
from cowpoke.seal import ClusterKeyring

#: People and scrapes wait for no frozen Redis, and take no connection from events.
_READ_TIMEOUT_S = 3.0
_CONNECTIONS = 4


def web_routes(  # noqa: PLR0913 -- wired in one place
    settings: BridgeSettings,
    keyring: ClusterKeyring,
    bridge_id: str,
    *,
    readiness: Readiness,
    own: OwnMetrics,
    finished: Finished,
) -> list[web.RouteDef]:
    """Return the addresses of health, metrics and status page."""
    counts = FinishedCounts()
    finished.subscribe(counts.observe)
    client = connect(
        settings, most_connections=_CONNECTIONS, socket_timeout_s=_READ_TIMEOUT_S, retries=1
    )

    def read() -> tuple[Overview, list[FinishedEvent]]:
        return read_overview(client, keyring), read_recent(client, keyring, RECENT)

    watched = Watched(read)
    metrics = Metrics(
        own, counts, watched=watched, readiness=readiness, most_hosts=settings.host_series
    )
    page = StatusPage(watched, readiness, bridge_id)
    return [*readiness.routes(), *metrics.routes(), *page.routes()]
