"""`/metrics` of a running bridge."""

import json
import uuid
from urllib.request import urlopen

import pytest

from simulator.rig.containers import remove_containers
from simulator.rig.processes import wait_until
from tests import factories
from tests.system import System


@pytest.fixture(scope="module")
def system(redis_server, engine, test_image, tmp_path_factory):
    """A system whose bridge has its metrics on a free port."""
    redis_server.client().flushall()
    with System(
        redis=redis_server,
        state_dir=tmp_path_factory.mktemp("state"),
        engine_environment=engine.environment,
        bridge={"BRIDGE_HTTP_PORT": "0"},
    ) as running:
        yield running


@pytest.fixture
def metrics(system):
    """Scrape, as text."""
    line = system.bridge.wait_for_line("http.ready", 20)
    address = json.loads(line)["address"] + "/metrics"

    def scrape():
        with urlopen(address, timeout=10) as answer:
            return answer.read().decode()

    return scrape


@pytest.fixture
def volume_in_use(docker_client, test_image):
    """The name of a volume that a container has."""
    name = f"cowpoke-test-{uuid.uuid4().hex[:12]}"
    config = docker_client.create_host_config(binds=[f"{name}:/data"])
    made = docker_client.create_container(test_image, command=["/sleep.sh"], host_config=config)
    yield name
    remove_containers(docker_client, made["Id"])
    docker_client.remove_volume(name, force=True)


def test_events_and_replies_are_counted(system, metrics):
    """Every ping that was answered is in both counts."""

    def counts():
        names = ('cowpoke_events_total{result="queued"}', 'cowpoke_replies_total{result="sent"}')
        lines = dict(line.rsplit(" ", 1) for line in metrics().splitlines() if line[0] != "#")
        return [float(lines.get(name, 0)) for name in names]

    before = counts()
    for _ in range(3):
        assert system.call("ping", {"options": {}}, resource_type="agent").state == "success"
    wanted = [count + 3 for count in before]
    wait_until(lambda: counts() == wanted, 10, f"counts of {wanted}")
    assert "cowpoke_redis_up 1.0" in metrics()


def test_an_orphaned_volume_is_seen(system, metrics, volume_in_use):
    """A 13.8: cattle was told that it is gone, the operator that it is not."""
    data = factories.volume_data({"driver": "local"}, name=volume_in_use)
    call = system.call(
        "storage.volume.remove", data, resource_type="volumeStoragePoolMap", resource_id="1vspm7"
    )
    assert call.state == "success", call.message
    wanted = f'cowpoke_orphan_volumes{{host="{system.host_uuid}"}} 1.0'
    wait_until(lambda: wanted in metrics(), 10, wanted)
