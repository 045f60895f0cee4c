"""Container events: what cattle makes of them."""

from __future__ import annotations

import asyncio

import pytest

from simulator import sample
from tests.container_posts import CONTAINER, INSPECT, OTHER, event, replied


def test_an_unknown_container_is_imported(run, host):
    """A start of somebody's container: root volume, then a no-op activate; then it runs."""

    async def scenario():
        async with host() as side:
            status = await side.post(event())
            return status, side.names, side.outcomes, side.states, side.frames[-1]

    status, names, outcomes, states, activate = run(scenario())
    assert status == 201
    assert names == ["storage.volume.activate", "compute.instance.activate"]
    assert (outcomes, states) == (["import, no-op start"], ["running"])
    assert activate["data"]["processData"] == {"containerNoOpEvent": True}
    instance = activate["data"]["instanceHostMap"]["instance"]
    assert (instance["nativeContainer"], instance["name"]) == (True, "by-hand")
    assert (instance["externalId"], instance["startCount"]) == (CONTAINER, 0)
    assert instance["data"]["fields"] == {
        "networkMode": "default",
        "requestedIpAddress": "172.17.0.2",
        "requestedHostId": 1,
        "imageUuid": "docker:busybox:latest",
        "labels": {"foo": "bar"},
        "networkIds": [8],
        "dataVolumes": [],
        "dataVolumeMounts": {},
        "hostId": 1,
    }


def test_a_start_of_a_known_running_container_does_nothing(run, host):
    """The same event again, and again."""

    async def scenario():
        async with host() as side:
            for _ in range(3):
                await side.post(event())
            return side.outcomes, len(side.names), side.states

    assert run(scenario()) == (
        ["import, no-op start", "instance is running", "instance is running"],
        2,
        ["running"],
    )


@pytest.mark.parametrize("status", ["stop", "die"])
def test_a_stop_sends_nothing(run, host, status):
    """The instance is stopped in the books; a second one changes nothing."""

    async def scenario():
        async with host() as side:
            for one in ("start", status, status):
                await side.post(event(one))
            return side.outcomes[1:], len(side.names), side.states

    assert run(scenario()) == (["no-op stop", "instance is stopped"], 2, ["stopped"])


def test_a_kill_does_nothing(run, host):
    """Also to a running one."""

    async def scenario():
        async with host() as side:
            await side.post(event())
            await side.post(event("kill"))
            return side.outcomes[1:], side.states

    assert run(scenario()) == (["nothing to do"], ["running"])


def test_a_start_after_a_stop_is_a_no_op_start(run, host):
    """Now the event carries what the first reply reported."""

    async def scenario():
        async with host() as side:
            for one in ("start", "die", "start"):
                await side.post(event(one))
            return side.outcomes[2:], side.frames[-1]["data"], side.states

    outcomes, data, states = run(scenario())
    assert (outcomes, states) == (["no-op start"], ["running"])
    instance = data["instanceHostMap"]["instance"]
    assert instance["startCount"] == 1
    assert instance["data"]["dockerInspect"] == INSPECT
    assert data["processData"] == {"containerNoOpEvent": True}


def test_a_destroy_removes_the_instance(run, host):
    """Its root volume's removal goes out; later events of the container are passed over."""

    async def scenario():
        async with host() as side:
            for one in ("start", "destroy", "start", "destroy"):
                await side.post(event(one))
            await asyncio.sleep(0)
            return side.outcomes[1:], side.states

    outcomes, states = run(scenario())
    assert outcomes == ["removal", "instance is removed", "instance is removed"]
    assert states == ["removed"]


@pytest.mark.parametrize("status", ["stop", "die", "kill", "destroy"])
def test_other_events_of_an_unknown_container_do_nothing(run, host, status):
    """Only a start imports."""

    async def scenario():
        async with host() as side:
            await side.post(event(status))
            return side.outcomes, side.names

    assert run(scenario()) == (["unknown container"], [])


def test_a_start_without_an_inspect_asks_for_it(run, host):
    """compute.instance.inspect of the container; the answer names the instance."""

    def answers(frame):
        if frame["name"] == "compute.instance.inspect":
            return {"instanceInspect": INSPECT}
        return replied(frame)

    async def scenario():
        async with host(answers) as side:
            await side.post(event(dockerInspect=None))
            return side.frames[0], side.outcomes, [known.name for known in side.server.instances]

    frame, outcomes, names = run(scenario())
    assert frame["data"] == {"instanceInspect": {"kind": "docker", "id": CONTAINER}}
    assert (frame["resourceType"], frame["resourceId"]) == ("instanceInspect", None)
    assert (outcomes, names) == (["import, no-op start"], ["by-hand"])


def test_an_empty_inspect_of_a_gone_container_asks_for_nothing(run, host):
    """An object without contents is not a missing one."""
    empty = {"Mounts": None, "Config": None, "NetworkSettings": None}

    async def scenario():
        async with host() as side:
            await side.post(event(dockerInspect=empty))
            return side.names

    assert "compute.instance.inspect" not in run(scenario())


@pytest.mark.parametrize("known", [True, False])
def test_a_shared_network_needs_a_known_container(run, host, known):
    """`container:x` of an unknown x is asked for; if cattle does not know it, the mode is none."""
    inspect = {**INSPECT, "Id": OTHER, "HostConfig": {"NetworkMode": f"container:{CONTAINER}"}}

    async def scenario():
        async with host() as side:
            if known:
                await side.post(event())
            await side.post(event(externalId=OTHER, dockerInspect=inspect))
            asked = [one["data"] for one in side.frames if one["name"].endswith("inspect")]
            instance = side.frames[-1]["data"]["instanceHostMap"]["instance"]
            return asked, instance["data"]["fields"]["networkMode"]

    request = {"instanceInspect": {"kind": "docker", "id": CONTAINER, "name": CONTAINER}}
    assert run(scenario()) == (([], "container") if known else ([request], "none"))


INSTANCE = sample.Instance(uuid="uuid-1", name="ours", image="busybox:latest")


@pytest.mark.parametrize(
    "config",
    [
        {"Labels": {"io.rancher.container.uuid": "uuid-1"}},
        {"Labels": {}, "Env": ["A=1", "RANCHER_UUID=uuid-1"]},
    ],
)
def test_our_own_container_is_known_by_its_uuid(run, host, config):
    """The start that an activate causes is no news, by label or variable, not even meanwhile."""
    inspect = {**INSPECT, "Config": config}

    async def scenario():
        async with host(lambda _: None) as side:
            activate = sample.instance_activate(INSTANCE).event
            side.server.calls.start(side.server.agents.find(None), activate)
            await side.agent.answer("POST", "/containerevents", json=event(dockerInspect=inspect))
            await side.decided()
            return side.outcomes

    assert run(scenario()) == ["instance is starting"]


def test_our_own_container_is_known_by_its_id_later(run, host):
    """Stopped by hand, started by hand, removed by hand; the activate is the last one again."""

    async def scenario():
        async with host() as side:
            await side.server.call(sample.instance_activate(INSTANCE).event)
            gone = {"Mounts": None, "Config": None}
            for one in ("die", "start", "die", "destroy"):
                await side.post(event(one, dockerInspect=gone if one == "destroy" else INSPECT))
            return side.outcomes, side.names, side.frames[1]["data"]

    outcomes, names, data = run(scenario())
    assert outcomes == ["no-op stop", "no-op start", "no-op stop", "removal"]
    assert names[:2] == ["compute.instance.activate"] * 2
    assert data["processData"] == {"containerNoOpEvent": True}
    assert data["instanceHostMap"]["instance"]["externalId"] == CONTAINER


def test_a_start_waits_for_the_end_of_a_stop(run, host):
    """Docker's restart: three seconds at most, and a longer stop drops the event."""

    async def scenario(wait_s, answers):
        async with host(answers, transition_wait_s=wait_s) as side:
            agent = side.server.agents.find(None)
            await side.server.call(sample.instance_activate(INSTANCE).event)
            stop = side.server.calls.start(agent, sample.instance_deactivate(INSTANCE).event)
            await side.agent.answer("POST", "/containerevents", json=event())
            await side.decided()
            return side.outcomes, stop.state

    def slow(frame):
        return None if frame["name"] == "compute.instance.deactivate" else replied(frame)

    assert run(scenario(0.02, slow)) == (["instance went on stopping"], "waiting")
    assert run(scenario(3, replied)) == (["no-op start"], "success")


def test_a_stop_waits_for_the_end_of_a_start(run, host):
    """A container that ends at once: its activate is answered, then it is stopped in the books."""

    async def scenario():
        async with host() as side:
            agent = side.server.agents.find(None)
            side.server.calls.start(agent, sample.instance_activate(INSTANCE).event)
            labels = {"Labels": {"io.rancher.container.uuid": "uuid-1"}}
            await side.post(event("die", dockerInspect={**INSPECT, "Config": labels}))
            return side.outcomes, side.states

    assert run(scenario()) == (["no-op stop"], ["stopped"])


def test_events_of_one_container_are_processed_one_after_the_other(run, host):
    """In the order of their posts, while those of others go on."""

    async def scenario():
        async with host(container_event_delay_s=0.02) as side:
            bodies = [event("start"), event("die"), event("start"), event("destroy")]
            for body in bodies:
                await side.agent.answer("POST", "/containerevents", json=body)
            await side.processed()
            times = [one.processed_ms for one in side.server.container_events.events]
            return side.outcomes, times == sorted(times), side.states

    outcomes, in_order, states = run(scenario())
    assert outcomes == ["import, no-op start", "no-op stop", "no-op start", "removal"]
    assert in_order
    assert states == ["removed"]


def test_a_failed_no_op_start_is_tried_five_times_and_not_undone(run, host):
    """An error ends in the books; nothing is stopped on the host."""

    def failing(frame):
        if frame["name"] == "compute.instance.activate":
            return {"transitioning": "error", "transitioningMessage": "no"}
        return {}

    async def scenario():
        async with host(failing) as side:
            await side.post(event())
            return side.names, side.states

    names, states = run(scenario())
    assert names == ["storage.volume.activate"] + ["compute.instance.activate"] * 5
    assert states == ["error"]


def test_nothing_is_processed_when_containers_are_not_managed(run, host):
    """Posts are taken all the same."""

    async def scenario():
        async with host(manage_containers=False) as side:
            return await side.post(event()), side.outcomes, side.names

    assert run(scenario()) == (201, ["containers are not managed"], [])
