"""What an instance's create body needs to know of the settings and of this machine's files."""

from pathlib import Path

from cowpoke.log import logger
from worker.create import Facts, facts_needed
from worker.host.machine import default_disk
from worker.payload import Instance
from worker.settings import WorkerSettings

_log = logger(__name__)


def facts_without_engine(instance: Instance, settings: WorkerSettings) -> Facts:
    """Return the facts from the settings and the files of this machine, without the Engine's."""
    needed = facts_needed(instance)
    disk = default_disk() if needed.default_disk else None
    if needed.default_disk and disk is None:
        _log.warning("disk.not_measured", instance_uuid=instance.uuid)
    return Facts(
        search_domains=search_domains(settings.resolv_conf) if needed.search_domains else (),
        default_disk=disk,
        config_url=settings.config_url or settings.cattle_url,
        api_proxy_port=settings.api_proxy_port,
        proxies=settings.proxy_variables,
    )


def search_domains(resolv_conf: Path) -> tuple[str, ...]:
    """Return the search domains of a resolv.conf, those of later lines first (A 7.1, 7.3)."""
    try:
        lines = resolv_conf.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError as error:
        _log.warning("domains.not_read", path=str(resolv_conf), reason=error.strerror)
        return ()
    domains: list[str] = []
    for line in lines:
        key, *values = line.split() or [""]
        if key == "search":
            domains = [*values, *domains]
    return tuple(dict.fromkeys(domains))
