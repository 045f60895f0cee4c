"""Ports that the container exposes, and where the host publishes them."""

from worker.create.facts import Facts
from worker.create.fragment import Fragment, given
from worker.create.network import network_mode
from worker.payload import Instance

Bindings = dict[str, list[dict[str, str]]]


def ports(instance: Instance, facts: Facts) -> Fragment:
    """Every port is exposed; those with a public port are bound on the host.

    Shape:  ExposedPorts, HostConfig.PortBindings, HostConfig.PublishAllPorts.
    Errors: none here; an unreadable port was refused with the payload (A 6.5).
    Source: A 4.18, 6.1 to 6.4, 8.8, 8.16. Where the network is not the container's own there is
        nothing to publish.
    """
    publish_all = instance.fields.publish_all_ports
    if not network_mode(instance, facts).publishes_ports:
        return Fragment(
            host_config=given({"PublishAllPorts": None if publish_all is None else False})
        )
    exposed: dict[str, dict[str, str]] = {}
    bindings: Bindings = {}
    for port in instance.ports:
        exposed[port.key] = {}
        if port.public_port is not None:
            bound = {
                "HostIp": port.data.fields.bind_address or "",
                "HostPort": str(port.public_port),
            }
            bindings.setdefault(port.key, []).append(bound)
    for key, bound in _ipsec(instance).items():
        exposed[key] = {}
        bindings.setdefault(key, []).append(bound)
    return Fragment(
        config=given({"ExposedPorts": exposed}),
        host_config=given({"PortBindings": bindings, "PublishAllPorts": publish_all}),
    )


def _ipsec(instance: Instance) -> dict[str, dict[str, str]]:
    """The tunnel's ports of a network agent, on the ports that cattle chose for this host."""
    is_network_agent = instance.agent_id and instance.system_container in (None, "NetworkAgent")
    if not is_network_agent or "ipsecTunnelService" not in instance.network_services:
        return {}
    chosen = instance.data.ipsec.get(instance.host.id or "")
    if chosen is None:
        return {}
    numbers = {"500/udp": chosen.isakmp, "4500/udp": chosen.nat}
    return {
        key: {"HostIp": "0.0.0.0", "HostPort": str(number)}  # noqa: S104 - tunnels come from anywhere
        for key, number in numbers.items()
        if number is not None
    }
