"""What the rules must know of the host, as plain values, and which of it an instance needs.

The operation that creates a container asks `facts_needed(instance)`, looks up exactly that, and
hands `Facts` to `create_body`. Nothing here looks anything up.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from worker.payload import ContainerRef, Instance

DEFAULT_DOCKER_ROOT = "/var/lib/docker"
DEFAULT_DISK = "DEFAULT_DISK"
RANCHER_DOMAIN = "rancher.internal"
#: The option of `storageOpt` that limits the size of a container's own layer.
SIZE_LIMIT = "size"


@dataclass(frozen=True, kw_only=True, slots=True)
class Facts:
    """The host, as far as the rules ask for it; every default is "not known"."""

    #: The Engine API version in use, always: (1, 44) and newer take the MAC per endpoint, (1, 46)
    #: and newer also the interface's kernel settings.
    api_version: tuple[int, int] = (1, 44)
    #: `DockerRootDir` of `docker info`; needed when `FactsNeeded.docker_root`.
    docker_root: str = DEFAULT_DOCKER_ROOT
    #: Docker ids of other containers by `ContainerRef.key`; one entry for each of
    #: `FactsNeeded.containers` that exists on this host, none for those that do not.
    container_ids: Mapping[str, str] = field(default_factory=dict)
    #: Search domains of the host's resolv.conf, the last `search` line's first (A 7.1), empty when
    #: it cannot be read; needed when `FactsNeeded.search_domains`.
    search_domains: tuple[str, ...] = ()
    #: The device that stands for `DEFAULT_DISK`, such as `/dev/sda`; None when the host was never
    #: measured (then say so in the log); needed when `FactsNeeded.default_disk`.
    default_disk: str | None = None
    #: From the settings, always: `CATTLE_CONFIG_URL`, else `CATTLE_URL`.
    config_url: str | None = None
    #: From the settings, always.
    api_proxy_port: int = 9342
    #: The host's proxy variables, from the settings, always; handed to system containers only.
    proxies: Mapping[str, str] = field(default_factory=dict)
    #: Images are in containerd's store, which limits no container's size; needed when
    #: `FactsNeeded.image_store`.
    has_containerd_store: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class FactsNeeded:
    """The look-ups that one instance needs; whatever it does not need is not looked up."""

    #: Containers to find on this host: by uuid, by `external_id`, or by name when it has neither.
    containers: tuple[ContainerRef, ...] = ()
    search_domains: bool = False
    default_disk: bool = False
    docker_root: bool = False
    image_store: bool = False


def facts_needed(instance: Instance) -> FactsNeeded:
    """Say which look-ups the instance needs, and no others."""
    fields = instance.fields
    return FactsNeeded(
        containers=_containers(instance),
        search_domains=wants_host_domains(instance),
        default_disk=DEFAULT_DISK in fields.blkio_device_options,
        docker_root=any(is_below_docker(volume) for volume in fields.data_volumes),
        image_store=SIZE_LIMIT in fields.storage_opt,
    )


def wants_host_domains(instance: Instance) -> bool:
    """The host's search domains belong in front when the user asked for Rancher's only (A 7.1)."""
    domains = instance.fields.dns_search
    return (
        bool(domains)
        and not instance.is_system
        and all(domain.endswith(RANCHER_DOMAIN) for domain in domains)
    )


def is_below_docker(path: str) -> bool:
    """The path, or volume text, begins at Docker's usual root folder."""
    source = path.partition(":")[0].rstrip("/")
    return source == DEFAULT_DOCKER_ROOT or source.startswith(f"{DEFAULT_DOCKER_ROOT}/")


def ipc_container(instance: Instance) -> ContainerRef | None:
    """The container named in `ipcMode=container:NAME`, which the Engine wants by id."""
    scheme, _, name = (instance.fields.ipc_mode or "").partition(":")
    if scheme != "container" or not name:
        return None
    return ContainerRef.model_validate({"name": name})


def needs_native_links(instance: Instance) -> bool:
    """Docker must link the containers: a plain bridge, and nobody else makes the names (A 8.10)."""
    plain = instance.primary_network.kind not in (
        "dockerHost",
        "dockerNone",
        "dockerContainer",
        "cni",
    )
    served = "linkService" in instance.network_services and not instance.is_native
    return plain and not served


def _containers(instance: Instance) -> tuple[ContainerRef, ...]:
    wanted: list[ContainerRef | None] = [ipc_container(instance)]
    if instance.primary_network.kind == "dockerContainer":
        wanted.append(instance.network_container)
    wanted.extend(instance.data_volumes_from_containers)
    if needs_native_links(instance):
        wanted.extend(
            link.target_instance
            for link in instance.instance_links
            if link.target_instance_id is not None
        )
    by_key = {ref.key: ref for ref in wanted if ref is not None and ref.key is not None}
    return tuple(by_key.values())
