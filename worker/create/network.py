"""The network mode, and the fields that depend on it.

A `cni` container gets no network from Docker: its labels tell Rancher's CNI to connect it, and its
entry point waits for that (`managed_network`). `NetworkDisabled` stays false: without a network
Docker would not write the DNS servers into its resolv.conf.

Row numbers (A, B) refer to docs/parity.md.
"""

from dataclasses import dataclass

from worker.create import managed_network
from worker.create.facts import Facts, ipc_container, wants_host_domains
from worker.create.fragment import Fragment, given
from worker.create.labels import DNS_PRIORITY
from worker.create.sysctls import SYSCTLS_PER_ENDPOINT, driver_options, of_endpoint
from worker.errors import PayloadError
from worker.payload import Instance

#: From this API version on the MAC address belongs to the endpoint, before to the container.
MAC_PER_ENDPOINT = (1, 44)
DOCKER_BRIDGE = "bridge"


@dataclass(frozen=True, slots=True)
class NetworkMode:
    """How the container is connected; the name None is the Engine's default, its bridge."""

    name: str | None = None
    #: Whether it has its own interface on Docker's bridge, with ports and a MAC address.
    has_endpoint: bool = False
    has_own_hostname: bool = True
    is_disabled: bool = False


def network_mode(instance: Instance, facts: Facts) -> NetworkMode:
    """Return the mode for the kind of the first NIC's network (A 8.1 to 8.4, B.2)."""
    match instance.primary_network.kind:
        case "dockerHost":
            return NetworkMode("host", has_own_hostname=False)
        case "dockerContainer":
            return NetworkMode(_shared(instance, facts), has_own_hostname=False)
        case "dockerNone":
            return NetworkMode("none", is_disabled=True)
        case managed_network.KIND:
            return NetworkMode("none")
        case _:
            return NetworkMode(has_endpoint=True)


def network(instance: Instance, facts: Facts) -> Fragment:
    """Return the network mode, the host name, the MAC address and the sysctls.

    Shape:  HostConfig.NetworkMode, NetworkDisabled, Hostname; MacAddress, or from API 1.44 on
        NetworkingConfig.EndpointsConfig.bridge.MacAddress; HostConfig.Sysctls, and from API 1.46 on
        those of the interface in NetworkingConfig.EndpointsConfig.bridge.DriverOpts.
    Source: A 4.27, 8.2 to 8.7, B.1.
    """
    mode = network_mode(instance, facts)
    sysctls = instance.fields.sysctls
    config: dict[str, object] = {}
    endpoint: dict[str, object] = {}
    if mode.has_own_hostname:
        config["Hostname"] = instance.hostname
    if mode.is_disabled:
        config["NetworkDisabled"] = True
    if mode.has_endpoint and facts.api_version >= MAC_PER_ENDPOINT:
        endpoint["MacAddress"] = instance.mac_address or None
    elif mode.has_endpoint:
        config["MacAddress"] = instance.mac_address or None
    if mode.has_endpoint and facts.api_version >= SYSCTLS_PER_ENDPOINT:
        of_interface = of_endpoint(sysctls)
        endpoint["DriverOpts"] = driver_options(of_interface)
        sysctls = {name: value for name, value in sysctls.items() if name not in of_interface}
    name = mode.name
    if settings := given(endpoint):
        # The Engine accepts an endpoint only for the network of the mode, so the mode needs a name.
        name = DOCKER_BRIDGE
        config["NetworkingConfig"] = {"EndpointsConfig": {DOCKER_BRIDGE: settings}}
    return Fragment(
        config=given(config), host_config=given({"NetworkMode": name, "Sysctls": sysctls})
    )


def dns_search(instance: Instance, facts: Facts) -> Fragment:
    """Return the search domains; the host's come first if the user set only Rancher's.

    Shape:  HostConfig.DnsSearch, in resolver order, without duplicates.
    Source: A 4.16, 7.1, 7.2, B.2: system containers are exempt; with a label `dns.priority` other
        than `service_last` the host's domains come last.
    """
    own = instance.fields.dns_search
    if not wants_host_domains(instance):
        return Fragment(host_config=given({"DnsSearch": own}))
    hosts = tuple(domain for domain in facts.search_domains if domain not in own)
    behind = instance.label(DNS_PRIORITY) not in (None, "service_last")
    ordered = own + hosts if behind else hosts + own
    return Fragment(host_config=given({"DnsSearch": tuple(dict.fromkeys(ordered))}))


def ipc_mode(instance: Instance, facts: Facts) -> Fragment:
    """Return the IPC mode; another container is referenced by its id (B.1).

    Shape:  HostConfig.IpcMode; an unknown container stays as written, and the Engine refuses it.
    """
    mode = instance.fields.ipc_mode
    other = ipc_container(instance)
    if other is not None and other.key is not None:
        mode = f"container:{facts.container_ids.get(other.key, other.key)}"
    return Fragment(host_config=given({"IpcMode": mode}))


def _shared(instance: Instance, facts: Facts) -> str:
    other = instance.network_container
    if other is None or other.key is None:
        raise PayloadError(
            "the network mode is dockerContainer, but instance.networkContainer names no container"
        )
    return f"container:{facts.container_ids.get(other.key, other.key)}"
