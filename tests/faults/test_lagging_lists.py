"""An Engine whose list of containers is older than its inspects, as from Docker 26 on."""

import pytest

from tests import factories
from tests.faults.scripted_engine import Answer, Hang
from worker.host.recent_stops import LAG_S, RecentStops

ID = "a" * 64
LIST = "/containers/json"
INSPECT = f"/containers/{ID}/json"
FORCE_STOP = ("compute.instance.force.stop", {"instanceForceStop": {"kind": "docker", "id": ID}})
DEACTIVATE = ("compute.instance.deactivate", factories.instance_data())


@pytest.fixture(autouse=True)
def stale(engine):
    """A running container of ours beside another; the list that shows both as running."""
    engine.add_container(ID, name="r-web", uuid=factories.UUID, running=True)
    engine.add_container("b" * 64, name="other", running=True)
    return engine.act("GET", LIST, {}, None)


def states(host):
    """What a ping tells of each container."""
    resources = host.run("ping", {"options": {"instances": True}})["resources"]
    return {one["dockerId"][0]: one["state"] for one in resources if one["type"] == "instance"}


@pytest.mark.parametrize("event", [FORCE_STOP, DEACTIVATE], ids=["force-stop", "deactivate"])
def test_ping_after_a_stop_does_not_say_running(engine, make_host, stale, event):
    """Whatever the list says, and whichever worker of the host answers (W 14)."""
    make_host().run(*event)
    engine.script("GET", LIST, *[stale] * 5)
    assert states(make_host()) == {"a": "stopped", "b": "running"}
    assert states(make_host()) == {"a": "stopped", "b": "running"}
    assert engine.count("GET", f"/containers/{'b' * 64}/json") == 0


def test_ping_during_a_stop_asks_for_the_container(engine, host, stale):
    """It may have ended while the call that stops it still waits (W 14)."""
    stops = RecentStops(host.host.settings.state_dir)
    with stops.recorded(ID):
        assert states(host) == {"a": "running", "b": "running"}
        engine.containers[ID]["State"] = {"Running": False, "Status": "exited"}
        engine.script("GET", LIST, stale)
        assert states(host) == {"a": "stopped", "b": "running"}


def test_container_that_was_started_again_is_running(engine, host):
    """The inspect decides, not the note (W 14)."""
    host.run(*FORCE_STOP)
    host.run("compute.instance.activate", factories.instance_data())
    assert states(host) == {"a": "running", "b": "running"}


@pytest.mark.parametrize("answer", [Hang(), Answer(500, {"message": "ill"})])
def test_ping_whose_look_fails_is_still_answered(engine, host, stale, answer):
    """With the list entry, or without a list: never late (W 14)."""
    host.run(*FORCE_STOP)
    engine.script("GET", LIST, stale)
    engine.script("GET", INSPECT, answer)
    data = host.run("ping", {"options": {"instances": True}})
    assert ("options" in data) == isinstance(answer, Answer)


def test_removed_container_in_a_stale_list_is_stopped(engine, host, stale):
    """The list lags behind a removal as well (W 14)."""
    host.run(*FORCE_STOP)
    del engine.containers[ID]
    engine.script("GET", LIST, stale)
    assert states(host) == {"a": "stopped", "b": "running"}


def test_note_is_forgotten_after_a_while(host):
    """Later pings inspect nothing (W 14)."""
    stops = RecentStops(host.host.settings.state_dir)
    host.run(*FORCE_STOP)
    (path,) = (host.host.settings.state_dir / "recent-stops").iterdir()
    path.write_text(f'{{"name": "{ID}", "time_s": 5}}')
    assert LAG_S < 1e6
    assert stops.recent() == set()
    assert not path.exists()


def test_full_disk_keeps_no_container_running(engine, host):
    """The note is only for pings (W 14, C 10)."""
    (host.host.settings.state_dir / "recent-stops").write_text("a file where the folder should be")
    host.run(*FORCE_STOP)
    assert not engine.containers[ID]["State"]["Running"]
    assert states(host) == {"a": "stopped", "b": "running"}
