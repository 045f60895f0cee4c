"""Leases: who is alive, and how soon one who is not is known."""

import json

import pytest

from cowpoke import keys
from cowpoke.liveness import LEASE_TTL_MS, Leases
from simulator.rig.processes import wait_until
from tests.ledgers import HOST, end_process, start_process


def test_a_process_that_renews_is_alive(client):
    """A lease says all that others need to know of a process."""
    start_process(client, "boot-1", "images")
    lease = Leases(client).of_host(HOST)["boot-1"]
    assert (lease.lane, lease.host_uuid) == ("images", HOST)
    assert 0 < client.pttl(keys.lease("boot-1")) <= LEASE_TTL_MS


def test_a_process_that_does_not_renew_is_dead_in_seconds(client):
    """A lease runs out, and its process is forgotten."""
    start_process(client)
    client.pexpire(keys.lease("boot-1"), 1)
    wait_until(lambda: not Leases(client).of_host(HOST), 5, "the end of the lease")
    assert client.smembers(keys.boots(HOST)) == set()


def test_a_process_that_leaves_is_dead_at_once(client):
    """An orderly end does not wait for the lease."""
    start_process(client)
    start_process(client, "boot-2")
    end_process(client)
    assert set(Leases(client).of_host(HOST)) == {"boot-2"}


def test_leases_of_newer_programs_can_be_read(client):
    """A worker that says more of itself than this version knows is alive all the same."""
    start_process(client)
    more = {**json.loads(client.get(keys.lease("boot-1"))), "colour": "blue"}
    client.set(keys.lease("boot-1"), json.dumps(more))
    assert set(Leases(client).of_host(HOST)) == {"boot-1"}


def test_a_host_is_known_from_its_first_process_on(client):
    """The list of hosts is what sweepers look at."""
    assert Leases(client).hosts() == []
    start_process(client)
    assert Leases(client).hosts() == [HOST]


def test_bridges_have_leases_too(client):
    """A bridge that renews is alive; others are not."""
    leases = Leases(client)
    assert leases.live_bridges([]) == set()
    leases.renew_bridge("b1")
    assert leases.live_bridges(["b1", "b2"]) == {"b1"}


@pytest.mark.parametrize("text", ["nonsense", "[]", "null", '{"boot_id": "x"}'])
def test_a_lease_that_nobody_of_ours_wrote_is_nobodys(client, text):
    """It must not end whoever looks at the host."""
    start_process(client)
    client.sadd(keys.boots(HOST), "odd")
    client.set(keys.lease("odd"), text)
    assert list(Leases(client).of_host(HOST)) == ["boot-1"]
