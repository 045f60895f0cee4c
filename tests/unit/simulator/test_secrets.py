"""Secrets volumes and the key of their host; removal of named volumes."""

from __future__ import annotations

import base64
import json

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from simulator import sample, volumes
from simulator.secrets import CONTENT_TYPE, unwrap

PRIVATE = rsa.generate_private_key(65537, 2048)
OTHER = rsa.generate_private_key(65537, 2048)
INSTANCE = sample.Instance(uuid="uuid-1", name="web", image="busybox")
ENTRIES = [{"name": "password", "value": "hidden", "uid": "7", "mode": "0400"}]


def pem(key=PRIVATE, form=PublicFormat.SubjectPublicKeyInfo, label="RSA PUBLIC KEY"):
    """A public key as an agent reports it."""
    der = base64.encodebytes(key.public_key().public_bytes(Encoding.DER, form)).decode()
    return f"-----BEGIN {label}-----\n{der}-----END {label}-----\n"


def host(host_key, uuid="host-a"):
    """The entry of a host that reports a key."""
    info = {} if host_key is None else {"hostKey": {"data": host_key}}
    return {"type": "host", "uuid": uuid, "info": info}


async def fetch(agent, volume, *, content_type=CONTENT_TYPE, token=None, auth=("k", "s")):
    """What the driver of a volume does at its attach; status and body."""
    body = token or volume.driver_opts["io.rancher.secrets.token"]
    url = f"{agent.server.base_url}/v2-beta/secrets"
    encoded = base64.b64encode(":".join(auth).encode()).decode()
    headers = {"Content-Type": content_type, "Authorization": f"Basic {encoded}"}
    async with agent.session.post(url, data=body, headers=headers) as response:
        return response.status, await response.json()


def test_secrets_are_wrapped_with_the_reported_key(run, cattle, with_client):
    """The driver reads them with the private half; name, owner and mode come along."""

    async def scenario():
        async with cattle() as (server, agent):
            server.hosts.report("1a5", [host(pem())])
            volume = await with_client(
                server, lambda client: client.secrets_volume("host-a", ENTRIES)
            )
            return volume, await fetch(agent, volume)

    volume, (status, (secret,)) = run(scenario())
    assert status == 200
    assert unwrap(PRIVATE, secret.pop("rewrapText")) == "hidden"
    assert secret == {"name": "password", "uid": "7", "gid": None, "mode": "0400"}
    assert (volume.driver, volume.path, len(volume.name)) == ("rancher-secrets", "/run/secrets", 64)
    assert set(json.loads(volume.driver_opts["io.rancher.secrets.token"])) == {"value"}


def test_another_hosts_key_does_not_open_them(run, cattle):
    """A host that reports one key and keeps another has no secrets."""

    async def scenario():
        async with cattle() as (server, agent):
            server.hosts.report("1a5", [host(pem(OTHER))])
            volume = server.secrets.volume(server.hosts.find("host-a"), ENTRIES)
            return await fetch(agent, volume)

    _, (secret,) = run(scenario())
    with pytest.raises(ValueError, match="ecrypt"):
        unwrap(PRIVATE, secret["rewrapText"])


def test_a_key_once_reported_is_kept_until_another_comes(run, cattle):
    """`info` is merged: a report without a key changes nothing, one with a key counts at once."""

    async def scenario():
        async with cattle() as (server, agent):
            texts = []
            volume = None
            for key in (pem(OTHER), None, pem()):
                server.hosts.report("1a5", [host(key)])
                volume = volume or server.secrets.volume(server.hosts.find("host-a"), ENTRIES)
                texts.append((await fetch(agent, volume))[1][0]["rewrapText"])
            return texts

    first, second, third = run(scenario())
    assert [unwrap(OTHER, first), unwrap(OTHER, second), unwrap(PRIVATE, third)] == ["hidden"] * 3


@pytest.mark.parametrize(
    "host_key", [None, "no key", pem(form=PublicFormat.PKCS1), pem(label="PUBLIC KEY")[:-60]]
)
def test_without_a_usable_key_there_is_an_error(run, cattle, host_key):
    """No key, no PEM, PKCS#1 in place of PKIX, half a PEM."""

    async def scenario():
        async with cattle() as (server, agent):
            server.hosts.report("1a5", [host(host_key)])
            volume = server.secrets.volume(server.hosts.find("host-a"), ENTRIES)
            return (await fetch(agent, volume))[0]

    assert run(scenario()) == 500


def test_any_label_of_the_pem_will_do(run, cattle):
    """What counts is the PKIX form below it."""

    async def scenario():
        async with cattle() as (server, agent):
            server.hosts.report("1a5", [host(pem(label="PUBLIC KEY"))])
            volume = server.secrets.volume(server.hosts.find("host-a"), ENTRIES)
            return (await fetch(agent, volume))[0]

    assert run(scenario()) == 200


@pytest.mark.parametrize(
    ("options", "status"),
    [
        ({"auth": ("k", "wrong")}, 401),
        ({"auth": ("k2", "s")}, 404),
        ({"token": '{"value": "forged"}'}, 403),
        ({"token": "nonsense"}, 403),
        ({"content_type": "application/json"}, 404),
    ],
)
def test_secrets_are_for_their_own_host(run, cattle, spec, options, status):
    """Bad keys, another agent, forged tokens, and the content type that the driver sends."""

    async def scenario():
        async with cattle(agents=(spec(), spec("k2", "s"))) as (server, agent):
            server.hosts.report("1a5", [host(pem())])
            volume = server.secrets.volume(server.hosts.find("host-a"), ENTRIES)
            return (await fetch(agent, volume, **options))[0]

    assert run(scenario()) == status


def test_a_volume_is_mounted_by_an_activate():
    """Fields and rows name it; the key of a mount is its path with the mode."""
    volume = volumes.DataVolume(
        id=12, name="vol1", driver="rancher-nfs", driver_opts={"host": "10.0.0.1"}, mode="ro"
    )
    instance = sample.instance_activate(INSTANCE, volumes=[volume]).data["instanceHostMap"][
        "instance"
    ]
    fields = instance["data"]["fields"]
    assert fields["dataVolumes"] == ["vol1:/data:ro"]
    assert fields["dataVolumeMounts"] == {"/data:ro": 12}
    (row,) = instance["volumesFromDataVolumeMounts"]
    assert (row["name"], row["uri"], row["deviceNumber"]) == ("vol1", "rancher-nfs:///vol1", -1)
    assert row["data"]["fields"]["driverOpts"] == {"host": "10.0.0.1"}


@pytest.mark.parametrize("name", [volumes.VOLUME_REMOVE, volumes.STORAGE_VOLUME_REMOVE])
@pytest.mark.parametrize(("driver", "agent_id"), [("local", 2), ("rancher-nfs", None)])
def test_a_volume_is_removed_by_either_event(run, cattle, next_event, name, driver, agent_id):
    """The same resource both times; a driver's pool belongs to no agent."""
    volume = volumes.DataVolume(id=12, name="vol1", driver=driver)

    async def scenario():
        async with cattle() as (server, agent), agent.subscribe((name,)) as stream:
            event = volumes.removal(INSTANCE, volume, name=name)
            server.calls.start(server.agents.find(None), event)
            return await next_event(stream)

    frame = run(scenario())
    pool_map = frame["data"]["volumeStoragePoolMap"]
    assert (frame["resourceType"], frame["resourceId"]) == ("volumeStoragePoolMap", "1vspm12")
    assert (pool_map["volume"]["name"], pool_map["volume"]["instance"]) == ("vol1", None)
    assert pool_map["storagePool"]["agentId"] == agent_id


def test_the_removal_of_a_named_volume_is_no_removal_of_an_instance(run, cattle):
    """Only a root volume takes its instance along."""
    volume = volumes.DataVolume(id=12, name="vol1")

    async def scenario():
        async with cattle() as (server, _):
            server.hosts.report("1a5", [host(None)])
            agent = server.agents.find(None)
            server.calls.start(agent, volumes.removal(INSTANCE, volume))
            return list(server.instances)

    assert run(scenario()) == []
