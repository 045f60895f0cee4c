"""The Engine misbehaves; the worker answers in time, says why, and the next run heals."""

import gc
import threading
import time

import pytest

from tests import factories
from tests.faults.scripted_engine import Answer, Drip, Drop, Hang, ScriptedEngine
from tests.floor import allowed_s
from tests.hosts import host_on
from worker.engine import containers
from worker.errors import (
    EngineBusyError,
    EngineError,
    EngineUnavailableError,
    NameConflictError,
    ProtectedContainerError,
)

ACTIVATE = "compute.instance.activate"
REMOVE = "compute.instance.remove"
IMAGE = "storage.image.activate"
IMAGES_CREATE = "/images/create"
CREATE = "/containers/create"
LIST = "/containers/json"


# -- create and start ------------------------------------------------------------------------------


def test_a_lost_create_answer_is_healed_by_adoption(engine, host):
    """The container was created, the answer was lost: the next run starts that one (C 11)."""
    engine.script("POST", CREATE, Drop(after=True))
    with pytest.raises(EngineUnavailableError):
        host.run(ACTIVATE, factories.instance_data())
    reply = host.run(ACTIVATE, factories.instance_data())
    (only,) = engine.containers.values()
    assert only["State"]["Running"]
    assert reply["instanceHostMap"]["instance"]["externalId"] == only["Id"]
    assert engine.count("POST", CREATE) == 1


def test_a_lost_start_answer_leaves_the_container(engine, host):
    """No answer to a start is no refusal: nothing is removed, the next run finds it running."""
    engine.script("POST", "/containers/.*/start", Drop(after=True))
    with pytest.raises(EngineUnavailableError):
        host.run(ACTIVATE, factories.instance_data())
    host.run(ACTIVATE, factories.instance_data())
    assert len(engine.containers) == 1
    assert engine.count("POST", "/containers/.*/start") == 1


def test_a_refused_start_takes_back_what_this_call_created(engine, host):
    """A taken port: the new container goes, the start's words are the error (A 3.9)."""
    engine.script(
        "POST", "/containers/.*/start", Answer(500, {"message": "port is already allocated"})
    )
    with pytest.raises(EngineError, match="port is already allocated") as caught:
        host.run(ACTIVATE, factories.instance_data())
    assert not isinstance(caught.value, EngineUnavailableError)
    assert engine.containers == {}


def test_the_start_error_wins_over_a_failed_removal(engine, host):
    """What could not be taken back is only logged (A 3.9)."""
    engine.script("POST", "/containers/.*/start", Answer(500, {"message": "the start's words"}))
    engine.script("DELETE", "/containers/.*", Answer(500, {"message": "the removal's words"}))
    with pytest.raises(EngineError, match="the start's words"):
        host.run(ACTIVATE, factories.instance_data())


@pytest.mark.parametrize(
    ("taken", "name"),
    [
        (["r-web"], f"r-web-{factories.UUID[:8]}"),
        (["r-web", f"r-web-{factories.UUID[:8]}"], factories.UUID),
    ],
)
def test_taken_name_is_followed_by_the_next(engine, host, taken, name):
    """An old container of a service has `r-web`: ours gets the next name (A 3.5, C 14, W 8)."""
    for number, one in enumerate(taken):
        engine.add_container(f"{number + 100:064x}", name=one)
    reply = host.run(ACTIVATE, factories.instance_data())
    (ours,) = [one for one in engine.containers.values() if one["Name"] == f"/{name}"]
    assert reply["instanceHostMap"]["instance"]["externalId"] == ours["Id"]
    assert len(engine.containers) == len(taken) + 1


def test_our_own_container_under_a_later_name_is_adopted(engine, host):
    """A lost answer to the second create: its owner is ours and is started (C 14, W 8)."""
    engine.add_container("a" * 64, name="r-web")
    engine.add_container("b" * 64, name=f"r-web-{factories.UUID[:8]}", uuid=factories.UUID)
    engine.script("GET", LIST, Answer(200, []))
    host.run(ACTIVATE, factories.instance_data())
    assert engine.containers["b" * 64]["State"]["Running"]
    assert len(engine.containers) == 2


def test_our_own_container_behind_a_name_conflict_is_adopted(engine, host):
    """A create that raced with itself: the conflict's owner is ours and is started (C 14)."""
    engine.add_container("a" * 64, name="r-web", uuid=factories.UUID)
    engine.script("GET", LIST, Answer(200, []))
    host.run(ACTIVATE, factories.instance_data())
    assert engine.containers["a" * 64]["State"]["Running"]
    assert len(engine.containers) == 1


def test_a_name_taken_by_a_create_under_way_is_tried_again_later(engine, host):
    """Taken, and nobody has it yet: another name would make a second container (C 13)."""
    engine.script("POST", CREATE, Answer(409, {"message": "The container name is in use"}))
    with pytest.raises(EngineBusyError, match="is still being created"):
        host.run(ACTIVATE, factories.instance_data())
    assert engine.containers == {}


def test_all_names_taken_is_said(engine, host):
    """When the uuid is somebody else's name too, the conflict is the answer (W 8)."""
    engine.add_container("a" * 64, name="r-web")
    engine.add_container("c" * 64, name=f"r-web-{factories.UUID[:8]}")
    engine.script("POST", CREATE, *[Answer(409, {"message": "The name is in use"})] * 3)
    engine.script("GET", f"/containers/{factories.UUID}/json", Answer(404, {"message": "no"}))
    engine.add_container("b" * 64, name=factories.UUID, uuid="another")
    with pytest.raises(NameConflictError):
        host.run(ACTIVATE, factories.instance_data())


def test_of_duplicates_the_running_one_is_taken(engine, host):
    """Two containers with one uuid label: the choice does not flap (A 2.11, C 13)."""
    engine.add_container("a" * 64, name="older", uuid=factories.UUID)
    engine.add_container("b" * 64, name="running", uuid=factories.UUID, running=True)
    engine.add_container("c" * 64, name="newer", uuid=factories.UUID)
    found = containers.find(host.host.engine, uuid=factories.UUID, external_id="c" * 64)
    assert found is not None
    assert found.id == "b" * 64


def test_a_container_that_vanishes_after_the_list_is_gone(engine, host):
    """NotFound between list and inspect is not an error (C 19)."""
    engine.add_container("a" * 64, name="r-web", uuid=factories.UUID)
    engine.script("GET", f"/containers/{'a' * 64}/json", Answer(404, {"message": "No such"}))
    engine.script("GET", f"/containers/{factories.UUID}/json", Answer(404, {"message": "No such"}))
    assert containers.find(host.host.engine, uuid=factories.UUID) is None


# -- remove ----------------------------------------------------------------------------------------


def test_a_removal_in_progress_is_waited_for(engine, host):
    """409 while somebody else removes it: success once it is gone (A 11.7)."""
    engine.add_container("a" * 64, name="r-web", uuid=factories.UUID)
    busy = {"message": "removal of container a is already in progress"}
    engine.script("DELETE", "/containers/.*", Answer(409, busy))
    gone = threading.Timer(0.3, engine.containers.clear)
    gone.start()
    assert host.run(REMOVE, factories.instance_data()) == {}
    gone.join()
    assert engine.containers == {}


def test_a_removed_container_is_removed_again_with_success(engine, host):
    """404 on the removal itself is success (A 11.5)."""
    engine.add_container("a" * 64, name="r-web", uuid=factories.UUID)
    engine.script("DELETE", "/containers/.*", Answer(404, {"message": "No such container"}))
    assert host.run(REMOVE, factories.instance_data()) == {}


def test_our_own_parts_are_not_stopped_or_removed(engine, host):
    """A container of this installation is refused with a reason (parity B.6, C 18)."""
    engine.add_container("a" * 64, name="cowpoke", running=True)
    engine.containers["a" * 64]["Config"]["Labels"]["io.cowpoke.part"] = "redis"
    data = factories.instance_data(uuid="cowpoke")
    for name in (REMOVE, "compute.instance.deactivate"):
        with pytest.raises(ProtectedContainerError, match="cowpoke's own redis"):
            host.run(name, data)
    with pytest.raises(ProtectedContainerError):
        host.run(
            "compute.instance.force.stop", {"instanceForceStop": {"kind": "docker", "id": "a" * 64}}
        )
    assert engine.containers["a" * 64]["State"]["Running"]


# -- the connection --------------------------------------------------------------------------------


def test_an_absent_engine_is_unavailable_and_says_so(tmp_path):
    """A worker starts without Docker, an event is told what to do, no socket leaks (A 16.8)."""
    host = host_on(f"unix://{tmp_path}/none.sock", tmp_path)
    with pytest.raises(EngineUnavailableError, match="check that dockerd runs"):
        host.run(ACTIVATE, factories.instance_data())
    host.host.engine.close()
    gc.collect()


def test_an_engine_error_of_its_own_is_retryable(engine, host):
    """500 on an inspect or a list is an outage, not an answer (C 8)."""
    engine.script("GET", LIST, Answer(500, {"message": "layer does not exist"}))
    with pytest.raises(EngineUnavailableError, match="layer does not exist"):
        host.run(ACTIVATE, factories.instance_data())


def test_a_silent_engine_ends_by_timeout(engine, make_host):
    """A call that is never answered ends within its time (A 16.9)."""
    engine.script("GET", LIST, Hang())
    host = make_host(WORKER_ENGINE_TIMEOUT_S="0.3")
    began_s = time.monotonic()
    with pytest.raises(EngineUnavailableError, match="did not answer within"):
        host.run(ACTIVATE, factories.instance_data())
    assert time.monotonic() - began_s < allowed_s(3)


@pytest.mark.parametrize(
    ("api", "min_api", "spoken"),
    [("1.41", "1.12", (1, 41)), ("1.54", "1.44", (1, 52)), ("1.52", "1.44", (1, 52))],
)
def test_the_newest_version_both_know_is_spoken(tmp_path, api, min_api, spoken):
    """Engine 29 refuses clients below 1.44, older Engines know nothing newer (A.19)."""
    with ScriptedEngine(tmp_path, api=api, min_api=min_api) as engine:
        engine.images.add(factories.IMAGE)
        host = host_on(engine.host, tmp_path)
        host.run(ACTIVATE, factories.instance_data())
        assert host.host.engine.api_version == spoken
        assert len(engine.containers) == 1
        host.host.engine.close()


def test_an_override_below_1_44_is_refused_by_a_new_engine_in_its_words(tmp_path):
    """An override is used as it is; the Engine says what is wrong with it (A.18, A.19)."""
    with ScriptedEngine(tmp_path, api="1.52", min_api="1.44") as engine:
        host = host_on(engine.host, tmp_path, CATTLE_DOCKER_API_VERSION="1.30")
        with pytest.raises(EngineError, match=r"client version 1.30 is too old"):
            host.run(ACTIVATE, factories.instance_data())
        host.host.engine.close()


def test_an_engine_older_than_what_we_send_is_refused_in_words(tmp_path):
    """The message names both versions and what to do."""
    with ScriptedEngine(tmp_path, api="1.18") as engine:
        host = host_on(engine.host, tmp_path)
        with pytest.raises(EngineError, match=r"speaks API 1\.18, but 1\.25 or newer"):
            host.run(ACTIVATE, factories.instance_data())
        host.host.engine.close()


def test_a_replaced_engine_is_asked_for_its_version_again(engine, host):
    """Dockerd was downgraded between two calls: the next one finds the common version (A.19)."""
    engine.api = "1.45"
    host.run(ACTIVATE, factories.instance_data())
    engine.api = "1.41"
    host.run(REMOVE, factories.instance_data())
    assert host.host.engine.api_version == (1, 41)
    assert engine.containers == {}


def test_the_version_is_negotiated_again_after_an_outage(engine, host):
    """A broken connection may mean an upgrade."""
    host.run(ACTIVATE, factories.instance_data())
    engine.script("GET", LIST, Drop())
    with pytest.raises(EngineUnavailableError):
        host.run(ACTIVATE, factories.instance_data())
    engine.api = "1.47"
    host.run(ACTIVATE, factories.instance_data())
    assert host.host.engine.api_version == (1, 47)


def test_the_address_is_read_where_api_1_52_has_it(engine, host):
    """Without a top-level IPAddress the network's is reported (A 10.4, A.19)."""
    reply = host.run(ACTIVATE, factories.instance_data())
    fields = reply["instanceHostMap"]["instance"]["+data"]["+fields"]
    assert fields["dockerIp"] == "172.17.0.9"


def test_an_answer_that_is_not_the_engines_is_an_outage(engine, host):
    """Something else listens on the socket: said, not a crash."""
    engine.script("GET", "/version", Answer(200, ["no engine"]))
    with pytest.raises(EngineUnavailableError, match="did not answer with a Docker version"):
        host.run(ACTIVATE, factories.instance_data())


# -- ping ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fault", [Hang(), Drip(), Drop(), Answer(500, {"message": "no"})])
def test_a_ping_goes_without_a_list_that_does_not_come(engine, host, fault):
    """In time, with resources, without `options.instances` (A 14.12, C 2, C 3)."""
    engine.script("GET", LIST, fault)
    began_s = time.monotonic()
    reply = host.run("ping", {"options": {"resources": True, "instances": True}})
    assert time.monotonic() - began_s < allowed_s(10)
    assert "options" not in reply
    kinds = [one["type"] for one in reply["resources"]]
    assert kinds == ["physicalHost", "host", "storagePool", "ipAddress"]


def test_a_ping_of_a_host_whose_engine_hangs_has_its_resources(engine, host):
    """Even the version does not come: only its label is missing (C 2)."""
    engine.script("GET", "/version", *[Hang()] * 8)
    began_s = time.monotonic()
    reply = host.run("ping", {"options": {"resources": True, "stats": True, "instances": True}})
    assert time.monotonic() - began_s < allowed_s(10)
    about = reply["resources"][1]
    assert "io.rancher.host.docker_version" not in about["labels"]
    assert about["info"]["memoryInfo"]["memTotal"] > 0
    assert "options" not in reply


def test_a_plain_ping_asks_the_engine_nothing(engine, host):
    """`{}` without any call (A.14)."""
    assert host.run("ping", {"resources": [], "options": {}}) == {}
    assert host.run("ping", {}) == {}
    assert engine.requests == []


def test_a_ping_lists_with_one_call(engine, host):
    """All states in one list; created ones are left out, running ones come first (A 14.8-14.11)."""
    engine.add_container("a" * 64, name="stopped", uuid="u-1")
    engine.containers["a" * 64]["State"] = {"Running": False, "Status": "exited"}
    engine.add_container("b" * 64, name="plain", running=True)
    engine.add_container("c" * 64, name="created", uuid="u-3")
    reply = host.run("ping", {"options": {"instances": True}})
    assert reply["options"] == {"instances": True}
    assert reply["resources"][0] == {"type": "hostUuid", "uuid": "host-uuid"}
    shown = [(one["uuid"], one["state"]) for one in reply["resources"][1:]]
    assert shown == [("plain", "running"), ("u-1", "stopped")]
    assert engine.count("GET", LIST) == 1
