"""The lists of containers in pings: what cattle derives from them where `sync_instances` is on."""

from __future__ import annotations

import pytest

from simulator import sample
from tests.container_posts import CONTAINER, HOST, OTHER, event

INSTANCE = sample.Instance(uuid="uuid-1", name="ours", image="busybox:latest")


def entry(state="running", **changes):
    """One container of a list."""
    listed = {
        "type": "instance",
        "uuid": "by-hand",
        "state": state,
        "dockerId": CONTAINER,
        "image": "busybox:latest",
        "labels": {"foo": "bar"},
        "created": 1_520_000_000,
        "systemContainer": None,
    }
    return {**listed, **changes}


def listing(*entries, asked=True):
    """The data of a ping reply with a list."""
    resources = [HOST, {"type": "hostUuid", "uuid": "host-a"}, *entries]
    return {"options": {"instances": asked}, "resources": resources}


async def ping(side, data):
    """One list, and the end of what it led to."""
    side.server.lists.report(side.server.agents.find(None), data)
    await side.processed()


def events_of(side):
    """Status and outcome of the events, in order."""
    return [(one.external_status, one.outcome) for one in side.server.container_events.events]


SYNC = {"sync_instances": True}


def test_an_unknown_container_of_a_list_is_imported(run, host):
    """Its name is the entry's uuid; the inspect is asked for. A stopped one is imported as well."""

    async def scenario():
        async with host(**SYNC) as side:
            await ping(side, listing(entry("stopped")))
            return events_of(side), side.names, [one.name for one in side.server.instances]

    events, names, known = run(scenario())
    assert events == [("start", "import, no-op start")]
    assert names[0] == "compute.instance.inspect"
    assert known == ["by-hand"]


@pytest.mark.parametrize(
    "data",
    [
        listing(entry(), asked=None),
        {**listing(entry()), "options": {}},
        {"options": {"instances": True}, "resources": [HOST, entry()]},
        {
            "options": {"instances": True},
            "resources": [{"type": "hostUuid", "uuid": "other"}, entry()],
        },
        listing(entry(image="")),
        listing(entry(dockerId=None)),
    ],
)
def test_a_list_counts_only_when_it_is_whole(run, host, data):
    """The option in the reply, a known hostUuid; entries need image, container and uuid."""

    async def scenario():
        async with host(**SYNC) as side:
            await ping(side, data)
            return events_of(side)

    assert run(scenario()) == []


def test_lists_are_passed_over_by_default(run, host):
    """Agents of many tests have containers that the simulator never heard of."""

    async def scenario():
        async with host() as side:
            await ping(side, listing(entry()))
            return events_of(side)

    assert run(scenario()) == []


def test_lists_settle_what_events_did_not_tell(run, host):
    """Stopped, started and removed behind cattle's back."""

    async def scenario():
        async with host(**SYNC) as side:
            await side.post(event())
            for data in (
                listing(entry("running")),
                listing(entry("stopped")),
                listing(entry("running")),
                listing(),
            ):
                await ping(side, data)
            return events_of(side)[1:], side.states

    events, states = run(scenario())
    assert events == [("stop", "no-op stop"), ("start", "no-op start"), ("destroy", "removal")]
    assert states == ["removed"]


def test_our_own_container_is_matched_by_uuid_then_by_id(run, host):
    """A list with the uuid, or with the container's id alone, is no news."""

    async def scenario():
        async with host(**SYNC) as side:
            await side.server.call(sample.instance_activate(INSTANCE).event)
            await ping(side, listing(entry(uuid="uuid-1", dockerId=OTHER)))
            await ping(side, listing(entry(uuid="other")))
            return events_of(side)

    assert run(scenario()) == []


def test_an_instance_in_a_process_is_left_alone(run, host):
    """A list taken before our own activate finished changes nothing, if the uuid is in it."""

    async def scenario():
        async with host(lambda _: None, **SYNC) as side:
            agent = side.server.agents.find(None)
            side.server.calls.start(agent, sample.instance_activate(INSTANCE).event)
            for data in (listing(), listing(entry("stopped", uuid="uuid-1"))):
                side.server.lists.report(agent, data)
            return events_of(side)

    assert run(scenario()) == []


def test_a_removed_container_that_runs_is_stopped_by_force(run, host, next_event):
    """One way, with a reply address that nobody may use."""

    async def scenario():
        async with host(**SYNC) as side:
            await side.post(event())
            await side.post(event("destroy"))
            async with side.agent.subscribe(("compute.instance.force.stop",)) as stream:
                await ping(side, listing(entry()))
                frame = await next_event(stream)
            status, _ = await side.agent.reply(frame)
            return frame, status

    frame, status = run(scenario())
    assert frame["data"] == {"instanceForceStop": {"kind": "docker", "id": CONTAINER}}
    assert frame["replyTo"] == "compute.instance.force.stop.reply"
    assert status == 403


@pytest.mark.parametrize(("state", "sent"), [("running", 1), ("stopped", 0)])
def test_an_unknown_system_container_is_stopped_by_force(run, host, state, sent):
    """It is not imported."""

    async def scenario():
        async with host(**SYNC) as side:
            await ping(side, listing(entry(state, systemContainer="NetworkAgent")))
            forced = [one for one in side.server.calls.records() if one.name.endswith("force.stop")]
            return len(forced), events_of(side)

    assert run(scenario()) == (sent, [])


@pytest.mark.parametrize(("again_s", "events"), [(900, 1), (0, 2)])
def test_an_equal_event_is_made_again_after_a_quarter_of_an_hour(run, host, again_s, events):
    """While the first one is unprocessed; afterwards at once, if the list still differs."""

    async def scenario():
        settings = {**SYNC, "listed_again_s": again_s, "container_event_delay_s": 0.05}
        async with host(**settings) as side:
            agent = side.server.agents.find(None)
            for _ in range(2):
                side.server.lists.report(agent, listing(entry()))
            made = len(events_of(side))
            await side.processed()
            return made

    assert run(scenario()) == events
