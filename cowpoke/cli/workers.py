"""`cowpoke workers`: all live workers."""

from cowpoke.cli import describing
from cowpoke.cli.output import print_line, print_table
from cowpoke.overview.views import Overview


def print_workers(overview: Overview) -> None:
    """Print all live workers, by host."""
    rows = [
        describing.worker_row(host, worker, overview.redis.now_ms)
        for host in overview.hosts
        for worker in host.workers
    ]
    print_table(describing.WORKER_COLUMNS, rows)
    if not rows:
        print_line("no worker runs")


def workers_json(overview: Overview) -> list[dict[str, object]]:
    """Return the same for programs."""
    return [
        {"host_uuid": host.host_uuid, "engine": host.engine, **_fields(worker)}
        for host in overview.hosts
        for worker in host.workers
    ]


def _fields(worker: object) -> dict[str, object]:
    return {name: getattr(worker, name) for name in ("worker_id", "lease_ms", "lease", "figures")}
