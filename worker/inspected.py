"""The Engine's `inspect` in the form that cattle reads.

cattle was written for older Engines and reads addresses and capabilities in their form. Every reply
that contains an inspect passes it through `for_cattle` once.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from worker.create.capabilities import canonical

#: Keys of an endpoint that NetworkSettings had itself before API 1.52, and their values for a
#: container without an endpoint.
ENDPOINT_KEYS: Mapping[str, str | int] = MappingProxyType(
    {
        "EndpointID": "",
        "Gateway": "",
        "GlobalIPv6Address": "",
        "GlobalIPv6PrefixLen": 0,
        "IPAddress": "",
        "IPPrefixLen": 0,
        "IPv6Gateway": "",
        "MacAddress": "",
    }
)
_CAPABILITIES = ("CapAdd", "CapDrop")
_DEFAULT_NETWORK = "bridge"


def for_cattle(inspect: Mapping[str, Any]) -> dict[str, Any]:
    """Return the inspect with its old keys filled and its capabilities in cattle's form.

    Shape:  the Engine's own JSON. What the Engine wrote is kept, except the spelling of
        capabilities; absent objects stay absent.
    """
    changed = dict(inspect)
    settings = inspect.get("NetworkSettings")
    if isinstance(settings, Mapping):
        changed["NetworkSettings"] = _with_endpoint_keys(settings)
    host_config = inspect.get("HostConfig")
    if isinstance(host_config, Mapping):
        changed["HostConfig"] = _with_canonical_capabilities(host_config)
    return changed


def _with_endpoint_keys(settings: Mapping[str, Any]) -> dict[str, Any]:
    endpoint = _endpoint(settings.get("Networks"))
    missing = {
        key: _or_nothing(endpoint.get(key), nothing)
        for key, nothing in ENDPOINT_KEYS.items()
        if settings.get(key) is None
    }
    return {**settings, **missing}


def _endpoint(networks: object) -> Mapping[str, Any]:
    """Return the endpoint on Docker's own bridge, else the first with an address, else the first.

    Old Engines copied only the endpoint of the bridge. cattle also needs the address of a container
    that is only in other networks.
    """
    if not isinstance(networks, Mapping):
        return {}
    endpoints = [one for one in networks.values() if isinstance(one, Mapping)]
    default = networks.get(_DEFAULT_NETWORK)
    if isinstance(default, Mapping):
        endpoints.insert(0, default)
    with_address = [one for one in endpoints if one.get("IPAddress")]
    return next(iter(with_address or endpoints), {})


def _or_nothing(value: object, nothing: str | int) -> object:
    return nothing if value is None else value


def _with_canonical_capabilities(host_config: Mapping[str, Any]) -> dict[str, Any]:
    spelled = {
        key: canonical(str(name) for name in host_config[key])
        for key in _CAPABILITIES
        if isinstance(host_config.get(key), list)
    }
    return {**host_config, **spelled}
