"""Volumes of storage drivers that a real Engine mounts by its plugin protocol (B.3).

The Engine is a private one with its own folder of plugins: an Engine keeps every driver that it has
ever seen there, and later asks it about volumes. Row numbers (B) refer to docs/parity.md.
"""

import shutil
import tempfile
import uuid
from pathlib import Path

import docker.errors
import pytest

from simulator.rig.containers import remove_containers
from simulator.rig.errors import RigError
from simulator.rig.image import TEST_IMAGE, build_image
from simulator.rig.packages import find_program
from simulator.rig.private_engine import PrivateEngine
from simulator.rig.processes import wait_until
from simulator.storage_driver import PLUGINS, StorageDriver
from tests import factories
from tests.drivers import OPTIONS, REPLY, map_of, volume, with_volumes
from tests.hosts import hosts_on

pytestmark = pytest.mark.usefixtures("quick_removals")

WRITE = ["sh", "-c", "echo by-docker > /data/seen; exec /sleep.sh"]
SCOPES = {"rancher-efs": "local", "rancher-longhorn": "local", "secrets-bridge-v2": "flex"}


class EngineWithPlugins(PrivateEngine):
    """A private Engine that finds drivers in a folder of the test instead of the machine's."""

    def __init__(self, plugins):
        super().__init__()
        self._plugins = plugins

    def _command(self):
        mount = f'mkdir -p {PLUGINS}; mount --bind "$0" {PLUGINS} && exec "$@"'
        apart = ["unshare", "--mount", "--propagation", "slave", "sh", "-c", mount]
        return [*apart, str(self._plugins), *super()._command()]


@pytest.fixture(scope="module")
def plugged(engine, missing_part):
    """An Engine, and drivers that it knows, by their names."""
    if not engine.private or find_program("unshare") is None:
        pytest.skip("the tests may start no Engine of their own here")
    folder = Path(tempfile.mkdtemp(prefix="cowpoke-plugins-"))
    (folder / "plugins").mkdir()
    drivers = {}
    try:
        with EngineWithPlugins(folder / "plugins").start() as started:
            for name, scope in SCOPES.items():
                one = StorageDriver(folder / "d", name, volumes=folder / "v", scope=scope)
                drivers[name] = one.start()
                one.link_plugin(folder / "plugins")
            client = started.client()
            build_image(client)
            yield started, client, drivers
            client.close()
    except RigError as error:
        missing_part(error)
    finally:
        for one in drivers.values():
            one.stop()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def host(plugged, tmp_path):
    """A host on that Engine."""
    engine, _, drivers = plugged
    folder = drivers["rancher-efs"].socket.parent
    with hosts_on(engine.host, tmp_path) as make:
        yield make(WORKER_STORAGE_DIR=str(folder))


@pytest.fixture
def name():
    """The name of a volume."""
    return f"cowpoke-{uuid.uuid4().hex[:12]}"


@pytest.mark.parametrize("kind", ["rancher-efs", "rancher-longhorn"])
def test_docker_creates_mounts_and_removes_a_volume_that_is_not_flex(host, plugged, name, kind):
    """A Rancher driver is attached before the start; another one is Docker's alone (B.3)."""
    _, client, drivers = plugged
    driver = drivers[kind]
    changes = with_volumes(volume(name, kind), binds=[])
    data = factories.instance_data(
        {"dataVolumes": [f"{name}:/data"], "command": WRITE},
        uuid=name,
        name=name,
        image=factories.image(TEST_IMAGE),
        volumesFromDataVolumeMounts=changes["volumesFromDataVolumeMounts"],
    )
    host.run("compute.instance.activate", data)
    seen = driver.folder_of(name) / "seen"
    wait_until(seen.exists, 20, "a file in the volume")
    assert driver.created[name] == OPTIONS
    assert client.inspect_volume(name)["Driver"] == kind
    actions = driver.actions(name)
    if kind == "rancher-longhorn":
        assert {"Capabilities", "Attach"}.isdisjoint(actions)
    else:
        assert actions.index("Create") < actions.index("Attach") < actions.index("Mount")
        assert (actions.count("Capabilities"), actions.count("Attach")) == (1, 1)

    host.run("compute.instance.remove", data)
    driver.removing.add(name)
    for event in ("storage.volume.remove", "volume.remove"):
        assert host.run(event, map_of(name, kind)) == REPLY
    assert name not in driver.created
    with pytest.raises(docker.errors.NotFound):
        client.inspect_volume(name)


def test_a_volume_in_use_is_an_orphan(host, plugged, name):
    """Three refusals, then cattle is answered that it is gone (B.3)."""
    _, client, drivers = plugged
    client.create_volume(name, driver="rancher-efs")
    config = client.create_host_config(binds=[f"{name}:/data"])
    made = client.create_container(TEST_IMAGE, host_config=config, volumes=["/data"])["Id"]
    try:
        assert host.run("storage.volume.remove", map_of(name, "rancher-efs")) == REPLY
        assert host.calls["volume.remove"] == 3
        assert name in drivers["rancher-efs"].created
    finally:
        remove_containers(client, made)
        client.remove_volume(name)


def test_a_flex_volume_that_docker_knows_is_removed_through_docker(host, plugged, name):
    """It was made by hand, say; Docker tells the driver and forgets it (B.3)."""
    _, client, drivers = plugged
    driver = drivers["secrets-bridge-v2"]
    client.create_volume(name, driver=driver.name)
    driver.removing.add(name)
    assert host.run("volume.remove", map_of(name, driver.name)) == REPLY
    assert name not in driver.created
    assert driver.actions(name).count("Remove") == 1
    with pytest.raises(docker.errors.NotFound):
        client.inspect_volume(name)
