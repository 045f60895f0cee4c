"""Containers that somebody starts, stops, kills and removes by hand on a real Engine.

The worker reaches the Engine through a proxy, which breaks the stream; dockerd is killed as well.
"""

import contextlib
import time
from collections import Counter

import docker.errors
import pytest

from simulator import sample
from simulator.rig.containers import remove_containers
from simulator.rig.engine import start_private_engine
from simulator.rig.errors import RigError
from simulator.rig.image import TEST_IMAGE, build_image
from simulator.rig.processes import WaitTimeoutError, wait_until
from simulator.rig.proxy import Proxy
from tests.faults.faulty_system import new_instance
from tests.floor import allowed_s
from tests.system import System

WITHIN_S = 30.0
CREATED = 201
FOLLOWED = '"container_events.holder_changed"'


@pytest.fixture(scope="module")
def own_engine(missing_part):
    """A private Engine of the module's own, with the test image."""
    try:
        engine = start_private_engine()
    except (RigError, OSError) as error:
        missing_part(error)
    with engine:
        if not engine.private:
            missing_part("dockerd is killed here: a private one is needed")
        client = engine.client()
        build_image(client, TEST_IMAGE)
        client.close()
        yield engine


@pytest.fixture(scope="module")
def way(own_engine, tmp_path_factory):
    """The worker's way to the Engine."""
    listen = str(tmp_path_factory.mktemp("way") / "docker.sock")
    with Proxy(own_engine.host.removeprefix("unix://"), listen=listen) as proxy:
        yield proxy


@pytest.fixture(scope="module")
def system(redis_server, way, tmp_path_factory):
    """One system on the private Engine."""
    redis_server.client().flushall()
    with System(
        redis=redis_server,
        state_dir=tmp_path_factory.mktemp("state"),
        engine_environment={"DOCKER_HOST": f"unix://{way.address}"},
    ) as running:
        running.worker.wait_for_line(FOLLOWED)
        # cattle takes no reports of a host that it does not know.
        running.cattle.ask_report()
        yield running
        assert running.cattle.container_event_problems() == []


@pytest.fixture
def docker_client(own_engine):
    """A client of the private Engine, past the proxy."""
    client = own_engine.client()
    yield client
    client.close()


@pytest.fixture
def run_by_hand(docker_client):
    """Run containers as somebody on the host does; their ids. They are gone at the end."""
    made = []

    def run(command=("/sleep.sh",), **host_config):
        options = docker_client.create_host_config(**host_config)
        found = docker_client.create_container(TEST_IMAGE, list(command), host_config=options)
        made.append(found["Id"])
        docker_client.start(made[-1])
        return made[-1]

    yield run
    for one in made:
        with contextlib.suppress(docker.errors.NotFound):
            remove_containers(docker_client, one)


def reported(system, container_id):
    """The reports about a container, as cattle got them."""
    found = system.cattle.container_events(container=container_id)
    return [one for one in found if one["status"] == CREATED]


def statuses(system, container_id):
    """What cattle heard of a container."""
    return [one["event"]["externalStatus"] for one in reported(system, container_id)]


def wait_statuses(system, container_id, *wanted, within_s=WITHIN_S):
    """Until cattle heard exactly this of a container; the inspects."""
    with contextlib.suppress(WaitTimeoutError):  # the assertion says more
        wait_until(lambda: statuses(system, container_id) == list(wanted), within_s, "events")
    assert statuses(system, container_id) == list(wanted)
    return [one["event"]["dockerInspect"] for one in reported(system, container_id)]


@pytest.mark.docker
def test_life_of_a_container_by_hand(system, docker_client, run_by_hand):
    """B.5: start, restart, stop, removal, each event in the Engine's order with a fresh inspect."""
    one = run_by_hand()
    (started,) = wait_statuses(system, one, "start")
    assert started["State"]["Running"]
    assert started["NetworkSettings"]["IPAddress"]
    assert started["Config"]["Image"] == TEST_IMAGE
    # Newer Engines say `stop` first.
    is_new = int(docker_client.version()["Version"].partition(".")[0]) > 20
    stop = ("kill", "stop", "die") if is_new else ("kill", "die", "stop")
    docker_client.restart(one)
    wait_statuses(system, one, "start", *stop, "start")
    docker_client.stop(one)
    *_, stopped = wait_statuses(system, one, "start", *stop, "start", *stop)
    assert not stopped["State"]["Running"]
    docker_client.remove_container(one)
    wait_until(lambda: statuses(system, one)[-1] == "destroy", WITHIN_S, "its end")
    last = reported(system, one)[-1]["event"]
    assert last["dockerInspect"] == {"Mounts": None, "Config": None, "NetworkSettings": None}
    assert last["externalFrom"] == TEST_IMAGE


@pytest.mark.docker
def test_killed_container_is_seen_within_a_second(system, docker_client, run_by_hand):
    """B.5: from `docker kill` to the POST at cattle."""
    took_s = []
    for _ in range(5):
        one = run_by_hand()
        wait_statuses(system, one, "start")
        began_s = time.time()
        docker_client.kill(one)
        wait_statuses(system, one, "start", "kill", "die")
        took_s.append(reported(system, one)[-1]["received_ms"] / 1000 - began_s)
    assert sorted(took_s)[2] < allowed_s(1.0)


@pytest.mark.docker
def test_container_of_cattle_is_reported_too(system, docker_client):
    """B.5: nothing is filtered, cattle decides by the label of its instance."""
    instance = new_instance(image=TEST_IMAGE)
    event = sample.instance_activate(instance)
    call = system.call(
        event.name, event.data, resource_type=event.resource_type, resource_id=event.resource_id
    )
    assert call.state == "success", call.message
    (listed,) = docker_client.containers(
        filters={"label": f"io.rancher.container.uuid={instance.uuid}"}
    )
    try:
        (started,) = wait_statuses(system, listed["Id"], "start")
        assert started["Config"]["Labels"]["io.rancher.container.uuid"] == instance.uuid
    finally:
        remove_containers(docker_client, listed["Id"])


@pytest.mark.docker
@pytest.mark.parametrize("fault", ["cut", "refuse", "black_hole"])
def test_broken_way_to_the_engine_loses_and_doubles_nothing(
    system, way, docker_client, run_by_hand, fault
):
    """B.5: what happened meanwhile is in the Engine's memory."""
    before = run_by_hand()
    wait_statuses(system, before, "start")
    getattr(way, fault)()
    try:
        meanwhile = run_by_hand()
        docker_client.kill(meanwhile)
        wait_until(
            lambda: not docker_client.inspect_container(meanwhile)["State"]["Running"],
            WITHIN_S,
            "its end",
        )
    finally:
        way.heal()
    # A black hole is noticed by its silence alone when nobody resets the connection.
    wait_statuses(system, meanwhile, "start", "kill", "die", within_s=60)
    assert statuses(system, before) == ["start"]


@pytest.mark.docker
def test_crash_loop_is_reported_now_and_then(system, run_by_hand):
    """B.5: Docker restarts a container that ends at once, again and again."""
    one = run_by_hand(("/bin/false",), restart_policy={"Name": "always"})
    wait_until(lambda: len(statuses(system, one)) >= 6, WITHIN_S, "a burst")
    heard = statuses(system, one)
    assert set(heard) <= {"start", "die"}
    times = [one["event"]["externalTimestamp"] for one in reported(system, one)]
    assert times == sorted(times)


@pytest.mark.docker
def test_many_containers_at_once(system, docker_client, run_by_hand):
    """B.5: each is reported, its events in order, none twice."""
    ids = [run_by_hand() for _ in range(30)]
    for one in ids:
        docker_client.remove_container(one, force=True)
    wait_until(
        lambda: Counter(statuses(system, one)[-1:] == ["destroy"] for one in ids)[True] == 30,
        60,
        "all ends",
    )
    order = ["start", "kill", "die", "destroy"]
    for one in ids:
        heard = statuses(system, one)
        assert heard == sorted(set(heard), key=order.index)


@pytest.mark.docker
def test_killed_dockerd_costs_its_own_time_only(system, own_engine, run_by_hand):
    """B.5: the Engine's memory is gone with it; what happens from then on is reported."""
    before = run_by_hand()
    wait_statuses(system, before, "start")
    own_engine.kill()
    own_engine.restart()
    one = run_by_hand()
    wait_until(lambda: statuses(system, one) == ["start"], 60, "the first event after that")
    assert statuses(system, before).count("start") == 1
