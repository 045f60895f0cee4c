"""The facts about the host that the rules use, and which of them an instance needs.

The operation that creates a container calls `facts_needed(instance)`, looks up exactly these facts,
and passes `Facts` to `create_body`. This module itself looks nothing up.

Row numbers (A, B) refer to docs/parity.md.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from worker.create.managed_network import NO_COMMAND, ImageCommand, needs_image_command
from worker.payload import ContainerRef, Instance

DEFAULT_DOCKER_ROOT = "/var/lib/docker"
DEFAULT_DISK = "DEFAULT_DISK"
RANCHER_DOMAIN = "rancher.internal"
#: The option of `storageOpt` that limits the size of the container's layer.
SIZE_LIMIT = "size"


@dataclass(frozen=True, kw_only=True, slots=True)
class Facts:
    """The facts about a host; the defaults mean "unknown"."""

    #: The Engine API version in use, always. From (1, 44) on the MAC address belongs to an
    #: endpoint, from (1, 46) on the sysctls of its interface as well.
    api_version: tuple[int, int] = (1, 44)
    #: `DockerRootDir` of `docker info`; needed when `FactsNeeded.docker_root`.
    docker_root: str = DEFAULT_DOCKER_ROOT
    #: Docker ids of other containers by `ContainerRef.key`: those of `FactsNeeded.containers` that
    #: exist on this host.
    container_ids: Mapping[str, str] = field(default_factory=dict)
    #: Folders of the host by the name of the volume that a Rancher driver has mounted there; they
    #: are mounted into the container instead of the name (B.3).
    mount_points: Mapping[str, str] = field(default_factory=dict)
    #: Search domains of the host's resolv.conf, the last `search` line's first (A 7.1), empty when
    #: it cannot be read; needed when `FactsNeeded.search_domains`.
    search_domains: tuple[str, ...] = ()
    #: The device of `DEFAULT_DISK`, such as `/dev/sda`; None without a disk benchmark; needed when
    #: `FactsNeeded.default_disk`.
    default_disk: str | None = None
    #: From the settings, always: `CATTLE_CONFIG_URL`, else `CATTLE_URL`.
    config_url: str | None = None
    #: From the settings, always.
    api_proxy_port: int = 9342
    #: The proxy variables of the host, from the settings, always; for system containers only.
    proxies: Mapping[str, str] = field(default_factory=dict)
    #: Whether images are in containerd's store, which cannot limit the size of a container; needed
    #: when `FactsNeeded.image_store`.
    has_containerd_store: bool = False
    #: The image's own entry point and command; needed when `FactsNeeded.image_command`.
    image_command: ImageCommand = NO_COMMAND


@dataclass(frozen=True, kw_only=True, slots=True)
class FactsNeeded:
    """The look-ups that one instance needs."""

    #: Containers to find on this host: by uuid, by `external_id`, or by name without both.
    containers: tuple[ContainerRef, ...] = ()
    search_domains: bool = False
    default_disk: bool = False
    docker_root: bool = False
    image_store: bool = False
    image_command: bool = False


def facts_needed(instance: Instance) -> FactsNeeded:
    """Return the look-ups that the instance needs, and no others."""
    fields = instance.fields
    return FactsNeeded(
        containers=_containers(instance),
        search_domains=wants_host_domains(instance),
        default_disk=DEFAULT_DISK in fields.blkio_device_options,
        docker_root=any(is_below_docker(volume) for volume in fields.data_volumes),
        image_store=SIZE_LIMIT in fields.storage_opt,
        image_command=needs_image_command(instance),
    )


def wants_host_domains(instance: Instance) -> bool:
    """Return whether the host's search domains apply: the user set only Rancher's (A 7.1)."""
    domains = instance.fields.dns_search
    return (
        bool(domains)
        and not instance.is_system
        and all(domain.endswith(RANCHER_DOMAIN) for domain in domains)
    )


def is_below_docker(path: str) -> bool:
    """Return whether a path, or the source of a volume, is below Docker's default root folder."""
    source = path.partition(":")[0].rstrip("/")
    return source == DEFAULT_DOCKER_ROOT or source.startswith(f"{DEFAULT_DOCKER_ROOT}/")


def ipc_container(instance: Instance) -> ContainerRef | None:
    """Return the container in `ipcMode=container:NAME`, which the Engine needs by id."""
    scheme, _, name = (instance.fields.ipc_mode or "").partition(":")
    if scheme != "container" or not name:
        return None
    return ContainerRef.model_validate({"name": name})


def needs_native_links(instance: Instance) -> bool:
    """Return whether Docker must link containers: on its bridge without link service (A 8.10)."""
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
