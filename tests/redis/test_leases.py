"""Leases: who is alive, and how soon a dead process is noticed."""

import json

import pytest

from cowpoke import keys
from cowpoke.lease import read_lease
from cowpoke.liveness import LEASE_TTL_MS, REJOIN_EVERY, Leases
from cowpoke.seal import ClusterKeyring, SealBrokenError
from tests.ledgers import HOST, lease


@pytest.fixture
def sealer(keyring):
    """The key of the host."""
    return keyring.host(HOST)


@pytest.fixture
def leases(client):
    """The leases as a worker has them."""
    return Leases(client)


def live(leases, sealer):
    """The ids of the workers that live."""
    return set(leases.of_host(HOST, sealer))


def test_a_worker_that_renews_is_alive(client, leases, sealer):
    """Its lease says all that others need to know of it."""
    one = lease(
        *("w1.images.1", "w1.compute.3"),
        events=("ping",),
        fingerprints=("ab",),
        process="1:2",
        orphan_volumes=3,
        started_ms=5,
    )
    leases.renew(one, sealer)
    assert leases.of_host(HOST, sealer) == {"w1": one}
    assert 0 < client.pttl(keys.lease(HOST, "w1")) <= LEASE_TTL_MS


def test_a_worker_that_does_not_renew_is_dead_in_seconds(ledgers, leases, sealer):
    """Its lease runs out, and its id is forgotten."""
    leases.renew(lease("w1.compute.1"), sealer)
    ledgers.pass_time(LEASE_TTL_MS)
    assert live(leases, sealer) == set()
    assert ledgers.client.smembers(keys.workers(HOST)) == set()


def test_a_prolonged_lease_lives_on(ledgers, leases, sealer):
    """One command, as long as nothing changed."""
    leases.renew(lease("w1.compute.1"), sealer)
    for _ in range(4):
        ledgers.pass_time(LEASE_TTL_MS - 1_000)
        assert leases.prolong(HOST, "w1")
    assert live(leases, sealer) == {"w1"}


def test_a_lease_that_was_away_is_announced_again(ledgers, leases, sealer):
    """Its worker is alive by then, and renews it with all that belongs to it."""
    leases.renew(lease("w1.compute.1"), sealer)
    ledgers.pass_time(LEASE_TTL_MS)
    assert not leases.prolong(HOST, "w1")
    leases.renew(lease("w1.compute.1"), sealer)
    assert leases.prolong(HOST, "w1")


def test_an_older_lease_of_a_worker_is_written_over(client, leases, sealer):
    """After Redis came back with older data it names processes that are dead by now."""
    leases.renew(lease("w1.compute.1"), sealer)
    older = client.get(keys.lease(HOST, "w1"))
    leases.renew(lease("w1.compute.2"), sealer)
    client.set(keys.lease(HOST, "w1"), older, px=LEASE_TTL_MS)
    assert not leases.prolong(HOST, "w1"), "its supervisor renews it then"
    leases.renew(lease("w1.compute.2"), sealer)
    assert leases.prolong(HOST, "w1")
    assert leases.of_host(HOST, sealer)["w1"].boot_ids == ("w1.compute.2",)


@pytest.mark.parametrize("damage", ["gone", "other type"])
def test_a_worker_that_is_in_no_list_joins_it_again(client, leases, sealer, damage):
    """Though its lease never ended."""
    leases.renew(lease("w1.compute.1"), sealer)
    client.delete(keys.workers(HOST))
    if damage == "other type":
        client.set(keys.workers(HOST), "x")
        assert live(leases, sealer) == set()
    for _ in range(REJOIN_EVERY):
        leases.prolong(HOST, "w1")
    assert live(leases, sealer) == {"w1"}


def test_a_lease_of_another_type_is_replaced(client, leases, sealer):
    """What somebody else wrote to its key does not kill a worker."""
    leases.renew(lease("w1.compute.1"), sealer)
    client.delete(keys.lease(HOST, "w1"))
    client.hset(keys.lease(HOST, "w1"), "x", "y")
    assert not leases.prolong(HOST, "w1")
    leases.renew(lease("w1.compute.1"), sealer)
    assert live(leases, sealer) == {"w1"}


def test_a_worker_that_leaves_is_dead_at_once(leases, sealer):
    """An orderly end does not wait for the lease."""
    for boot_id in ("w1.compute.1", "w2.compute.1"):
        leases.renew(lease(boot_id), sealer)
    leases.give_up(HOST, "w1")
    assert live(leases, sealer) == {"w2"}


def test_leases_of_newer_programs_can_be_read(leases, client, sealer):
    """A worker that says more of itself than this version knows is alive all the same."""
    leases.renew(lease("w1.compute.1"), sealer)
    text = json.loads(client.get(keys.lease(HOST, "w1")))
    content = sealer.open(text["sealed"])
    more = {**content, "v": 2, "color": "blue"}
    more["lanes"] = [{**one, "color": "blue"} for one in content["lanes"]]
    newer = json.dumps({**text, "v": 2, "color": "blue", "sealed": sealer.seal(more)})
    read = read_lease(newer, sealer, host_uuid=HOST, worker_id="w1")
    assert read == leases.of_host(HOST, sealer)["w1"]


def test_bridges_have_leases_too(leases):
    """A bridge that renews is alive; others are not."""
    assert leases.live_bridges([]) == set()
    leases.renew_bridge("b1")
    assert leases.live_bridges(["b1", "b2"]) == {"b1"}


@pytest.mark.parametrize("text", ["nonsense", "[]", "null", '{"sealed": "x"}', '{"boots": ["w2"]}'])
def test_a_lease_that_nobody_of_ours_wrote_is_nobodys(client, leases, sealer, text):
    """It must not end whoever looks at the host."""
    leases.renew(lease("w1.compute.1"), sealer)
    client.sadd(keys.workers(HOST), "odd")
    client.set(keys.lease(HOST, "odd"), text)
    assert live(leases, sealer) == {"w1"}


def test_a_lease_of_another_worker_or_another_key_is_refused(client, leases, sealer):
    """A copied lease makes nobody alive."""
    leases.renew(lease("w1.compute.1"), sealer)
    text = client.get(keys.lease(HOST, "w1"))
    for host, worker in (("host-2", "w1"), (HOST, "w2")):
        with pytest.raises(SealBrokenError):
            read_lease(text, sealer, host_uuid=host, worker_id=worker)
    with pytest.raises(SealBrokenError):
        read_lease(text, ClusterKeyring().host(HOST), host_uuid=HOST, worker_id="w1")
