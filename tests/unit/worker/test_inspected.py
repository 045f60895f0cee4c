"""The Engine's inspect in the form that cattle reads.

Row numbers (W) refer to docs/parity.md.
"""

import pytest

from worker.inspected import ENDPOINT_KEYS, for_cattle

BRIDGE = {
    "EndpointID": "e1",
    "Gateway": "172.17.0.1",
    "GlobalIPv6Address": "fd00::2",
    "GlobalIPv6PrefixLen": 64,
    "IPAddress": "172.17.0.2",
    "IPPrefixLen": 16,
    "IPv6Gateway": "fd00::1",
    "MacAddress": "02:42:ac:11:00:02",
}
OTHER = {**BRIDGE, "EndpointID": "e2", "IPAddress": "10.0.0.2", "Gateway": "10.0.0.1"}
UNCONNECTED = {**BRIDGE, "EndpointID": "", "IPAddress": "", "IPPrefixLen": 0}


def filled(**settings):
    """The old keys at the top of NetworkSettings."""
    told = for_cattle({"NetworkSettings": settings})["NetworkSettings"]
    return {key: told[key] for key in ENDPOINT_KEYS}


@pytest.mark.parametrize(
    ("networks", "expected"),
    [
        ({"bridge": {**BRIDGE, "Aliases": None}}, BRIDGE),
        ({"a": OTHER, "bridge": BRIDGE}, BRIDGE),
        ({"a": OTHER}, OTHER),
        ({"a": UNCONNECTED, "b": OTHER}, OTHER),
        ({"bridge": UNCONNECTED}, UNCONNECTED),
        ({"bridge": {"IPAddress": "1.2.3.4"}}, {**ENDPOINT_KEYS, "IPAddress": "1.2.3.4"}),
        ({"bridge": {"IPAddress": None}}, ENDPOINT_KEYS),
        ({}, ENDPOINT_KEYS),
        (None, ENDPOINT_KEYS),
        ({"bridge": None}, ENDPOINT_KEYS),
    ],
)
def test_old_keys_are_filled_from_the_endpoint(networks, expected):
    """W 12: from Docker's own bridge, else the first network with an address, else empty."""
    assert filled(Networks=networks) == expected


def test_old_keys_of_an_older_engine_stay():
    """W 12: what the Engine wrote is not overwritten, empty as it may be."""
    written = {**dict(ENDPOINT_KEYS), "MacAddress": "02:00"}
    assert filled(**written, Networks={"a": OTHER}) == written


def test_only_missing_keys_are_filled():
    """W 12: an address at the top stays, the keys beside it come from the endpoint."""
    made = filled(IPAddress="9.9.9.9", Networks={"bridge": BRIDGE})
    assert made == {**BRIDGE, "IPAddress": "9.9.9.9"}


@pytest.mark.parametrize("inspect", [{}, {"Id": "a"}, {"NetworkSettings": None, "HostConfig": []}])
def test_absent_objects_stay_absent(inspect):
    """W 12, W 13: a half-gone container is reported as it is."""
    assert for_cattle(inspect) == inspect


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        (["CAP_NET_ADMIN", "CAP_CHOWN"], ["NET_ADMIN", "CHOWN"]),
        (["cap_net_admin", "net_raw"], ["NET_ADMIN", "NET_RAW"]),
        (["ALL"], ["ALL"]),
        ([], []),
        (None, None),
    ],
)
@pytest.mark.parametrize("key", ["CapAdd", "CapDrop"])
def test_capabilities_in_cattles_form(key, written, expected):
    """W 13: upper case without prefix; cattle's parser fails at any other form."""
    told = for_cattle({"HostConfig": {key: written, "Memory": 1}})
    assert told == {"HostConfig": {key: expected, "Memory": 1}}
