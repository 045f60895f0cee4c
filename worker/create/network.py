"""The network mode, decided once as a value, and what hangs on it alone.

A `cni` container gets no network from Docker: the labels tell Rancher's CNI to plug it in. The old
agents also wrapped the entry point in a program that waits for the plug; that wrapper is left out,
so such a container may run for a moment before its network is there.
"""

from dataclasses import dataclass

from worker.create.facts import Facts, ipc_container, wants_host_domains
from worker.create.fragment import Fragment, given
from worker.create.labels import DNS_PRIORITY
from worker.create.sysctls import SYSCTLS_PER_ENDPOINT, driver_options, of_endpoint
from worker.errors import PayloadError
from worker.payload import Instance

#: From here on the MAC belongs to the endpoint, before to the container.
MAC_PER_ENDPOINT = (1, 44)
DOCKER_BRIDGE = "bridge"


@dataclass(frozen=True, slots=True)
class NetworkMode:
    """How the container is connected; None is the Engine's default, its bridge."""

    name: str | None = None
    #: It has an interface of its own on Docker's bridge, and with it ports and a MAC.
    has_endpoint: bool = False
    has_own_hostname: bool = True
    is_disabled: bool = False


def network_mode(instance: Instance, facts: Facts) -> NetworkMode:
    """Decide the mode from the kind of the first card's network (A 8.1 to 8.4, B.2)."""
    match instance.primary_network.kind:
        case "dockerHost":
            return NetworkMode("host", has_own_hostname=False)
        case "dockerContainer":
            return NetworkMode(_shared(instance, facts), has_own_hostname=False)
        case "dockerNone":
            return NetworkMode("none", is_disabled=True)
        case "cni":
            return NetworkMode("none")
        case _:
            return NetworkMode(has_endpoint=True)


def network(instance: Instance, facts: Facts) -> Fragment:
    """Return the network mode, the host name, the MAC and the kernel settings.

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
        # The Engine takes an endpoint only for the mode's network, so the mode needs its name.
        name = DOCKER_BRIDGE
        config["NetworkingConfig"] = {"EndpointsConfig": {DOCKER_BRIDGE: settings}}
    return Fragment(
        config=given(config), host_config=given({"NetworkMode": name, "Sysctls": sysctls})
    )


def dns_search(instance: Instance, facts: Facts) -> Fragment:
    """Search domains: the host's, then Rancher's, when the user asked for nothing but Rancher's.

    Shape:  HostConfig.DnsSearch, in resolver order, none twice.
    Source: A 4.16, 7.1, 7.2, B.2: system containers are exempt; the label `dns.priority` with
        another value than `service_last` puts the host's behind.
    """
    own = instance.fields.dns_search
    if not wants_host_domains(instance):
        return Fragment(host_config=given({"DnsSearch": own}))
    hosts = tuple(domain for domain in facts.search_domains if domain not in own)
    behind = instance.label(DNS_PRIORITY) not in (None, "service_last")
    ordered = own + hosts if behind else hosts + own
    return Fragment(host_config=given({"DnsSearch": tuple(dict.fromkeys(ordered))}))


def ipc_mode(instance: Instance, facts: Facts) -> Fragment:
    """Whose shared memory it sees; another container is named by its id (B.1).

    Shape:  HostConfig.IpcMode; a container unknown here is left as written, for the Engine to say.
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
            "the network is another container's (dockerContainer), and "
            "instance.networkContainer does not say whose"
        )
    return f"container:{facts.container_ids.get(other.key, other.key)}"
