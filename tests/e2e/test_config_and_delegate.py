"""config.update and delegate.request through the whole system."""

import io
import tarfile
import uuid

import pytest

from simulator import sample
from simulator.rig.containers import remove_containers

SCRIPT = "#!/bin/sh\ncat\n"
FAILING = "#!/bin/sh\necho no route >&2; exit 3\n"


def update(system, *items, **more):
    """Send a config.update for the items and wait for its end."""
    rows = [{"name": name, "requestedVersion": 3, "apply": True} for name in items]
    data = {"configUrl": system.cattle_url, "items": rows}
    return system.call("config.update", data, resource_type="agent", resource_id="1a1", **more)


def test_config_items_are_up_to_date_at_cattle_before_the_reply(system):
    """Nothing is run, and cattle does not send again (A 14.18)."""
    call = update(system, "configscripts", "host-config", "pyagent")
    assert call.state == "success"
    (agent,) = system.cattle.agents()
    versions = dict.fromkeys(("configscripts", "host-config", "pyagent"), "latest")
    assert agent["config_versions"] == versions


def test_a_config_update_of_nothing_is_answered(system):
    """An empty reply (A 14.17)."""
    call = update(system)
    assert (call.state, call.data) == ("success", {})


def test_an_item_cattle_does_not_know_is_an_error_reply(system):
    """The reply says what cattle said (A 14.19)."""
    call = update(system, "no-such-item")
    assert call.state == "error"
    assert "404" in call.message
    assert call.reply["transitioningInternalMessage"].startswith("config-not-reported ")


@pytest.fixture
def agent_container(system, docker_client, test_image):
    """A container with two scripts: its instance."""
    made = sample.Instance(
        uuid=str(uuid.uuid4()), name=f"t-{uuid.uuid4().hex[:8]}", image=test_image
    )
    event = sample.instance_activate(made)
    system.call(
        event.name, event.data, resource_type=event.resource_type, resource_id=event.resource_id
    )
    wanted = {"label": f"io.rancher.container.uuid={made.uuid}"}
    (found,) = docker_client.containers(filters=wanted)
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        for name, text in {"agent.ask": SCRIPT, "agent.fail": FAILING}.items():
            entry = tarfile.TarInfo(f"var/lib/cattle/events/{name}")
            entry.size, entry.mode = len(text), 0o755
            tar.addfile(entry, io.BytesIO(text.encode()))
    docker_client.put_archive(found["Id"], "/", archive.getvalue())
    yield made
    remove_containers(docker_client, found["Id"])


def delegate(system, instance, name):
    """Hand an event on to the container's agent; the outer call."""
    inner = {
        "id": "inner-id",
        "name": name,
        "replyTo": f"{name}.reply",
        "resourceType": "agent",
        "resourceId": "1a7",
        "data": {"question": 1},
    }
    data = {"instanceData": {"uuid": instance.uuid, "kind": "container"}, "event": inner}
    return system.call("delegate.request", data, resource_type="agent", resource_id="1a1")


def test_a_delegated_event_is_answered_on_both_levels(system, agent_container):
    """The outer reply holds the inner one, whole, with what the script said (A 1.26, 14.20)."""
    call = delegate(system, agent_container, "agent.ask")
    assert call.state == "success", call.message
    inner = call.data
    assert inner["name"] == "agent.ask.reply"
    assert inner["previousIds"] == ["inner-id"]
    assert inner["previousNames"] == ["agent.ask"]
    assert (inner["resourceType"], inner["resourceId"]) == ("agent", "1a7")
    assert inner["data"]["data"] == {"question": 1}
    assert inner["id"] != call.reply["id"]
    assert "transitioning" not in inner


def test_a_delegated_events_error_is_on_both_levels(system, agent_container):
    """Who asked and who handed on both see it (A 1.26, 14.20)."""
    call = delegate(system, agent_container, "agent.fail")
    assert call.state == "error"
    assert "no route" in call.message
    assert call.data["transitioning"] == "error"
    assert call.data["transitioningMessage"] == call.message
    assert call.data["data"] == {}


def test_a_delegated_event_without_a_container_is_an_error_reply(system):
    """Never silence (A 1.13)."""
    missing = sample.Instance(uuid=str(uuid.uuid4()), name="none", image="none")
    call = delegate(system, missing, "agent.ask")
    assert call.state == "error"
    assert "no container on this host belongs to" in call.message
