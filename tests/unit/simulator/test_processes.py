"""What cattle's processes do after a call: replay, undo, remove."""

from __future__ import annotations

import asyncio

import pytest

from simulator import sample
from simulator.processes import NoHealthyHostError

INSTANCE = sample.Instance(uuid="uuid-1", name="one", image="127.0.0.1:5055/foo:1")


def event_of(wanted: sample.SampleEvent) -> dict:
    """The event as the simulator sends it."""
    return {
        "name": wanted.name,
        "resourceType": wanted.resource_type,
        "resourceId": wanted.resource_id,
        "data": wanted.data,
    }


ACTIVATE = event_of(sample.instance_activate(INSTANCE))
AGAIN = event_of(
    sample.instance_activate(sample.Instance(uuid="u", name="n", image="i:1", start_count=1))
)


@pytest.fixture
def answered(cattle, next_event):
    """The events that an agent gets whose answers a script gives, and the call's last record."""

    async def scenario(answers, event=ACTIVATE, state="active", **options):
        """`answers`: per event the reply's fields, or None for silence."""
        async with cattle() as (server, agent), agent.subscribe() as stream:
            known = server.agents.find(None)
            options = {"timeout_s": 30, "backoff_s": 0, **options}
            record = server.calls.start(known, dict(event), as_process=True, **options)
            known.state = state
            events = []
            for answer in answers:
                events.append(await next_event(stream))
                if answer is not None:
                    await agent.reply(events[-1], **answer)
            return events, await server.calls.wait(record, 5)

    return scenario


ERROR = {"transitioning": "error", "transitioningMessage": "no"}


def test_five_failed_activates_are_followed_by_a_deactivate(run, answered):
    """W 9: back to back, each under a new id, the same data; the call's end is the fifth."""
    events, last = run(answered([ERROR] * 5 + [{"data": {}}]))
    names = [event["name"] for event in events]
    assert names == ["compute.instance.activate"] * 5 + ["compute.instance.deactivate"]
    assert len({event["id"] for event in events}) == 6
    assert all(event["data"] == ACTIVATE["data"] for event in events)
    assert (last.id, last.state, last.attempt) == (events[4]["id"], "error", 5)
    assert last.followed_by.id == events[5]["id"]
    assert last.to_json()["followed_by"] == events[5]["id"]


def test_a_success_ends_the_tries(run, answered):
    """W 9: after two errors and a success nothing more is sent."""
    events, last = run(answered([ERROR, ERROR, {"data": {}}]))
    assert (last.id, last.state, last.followed_by) == (events[2]["id"], "success", None)


@pytest.mark.parametrize(
    "wanted", [sample.image_activate, sample.volume_activate, sample.instance_deactivate]
)
def test_an_error_of_another_call_is_final(run, answered, wanted):
    """W 9: only activates are tried five times."""
    events, last = run(answered([ERROR], event=event_of(wanted(INSTANCE))))
    assert (last.id, last.state, last.followed_by) == (events[0]["id"], "error", None)


@pytest.mark.parametrize("event", [ACTIVATE, AGAIN])
def test_a_call_that_times_out_is_sent_again(run, answered, event):
    """W 9: with a new id, as often as it takes."""
    answers = [None, None, {"data": {}}]
    events, last = run(answered(answers, event=event, timeout_s=0.3))
    assert len({event["id"] for event in events}) == 3
    assert (last.id, last.state, last.attempt) == (events[2]["id"], "success", 3)


def test_a_first_start_that_times_out_while_reconnecting_removes_the_instance(run, answered):
    """W 9: no replay; the root volume is removed, with the instance in its state of then."""
    answers = [None, {"data": {}}]
    (start, removal), last = run(answered(answers, state="reconnecting", timeout_s=0.3))
    assert (last.id, last.state) == (start["id"], "timeout")
    assert removal["name"] == "storage.volume.remove"
    assert (removal["resourceType"], removal["resourceId"]) == ("volumeStoragePoolMap", "1vspm50")
    volume = removal["data"]["volumeStoragePoolMap"]["volume"]
    assert (volume["deviceNumber"], volume["state"]) == (0, "removed")
    assert (volume["instance"]["uuid"], volume["instance"]["state"]) == ("uuid-1", "removed")
    assert last.followed_by.id == removal["id"]


def test_a_later_start_that_times_out_while_reconnecting_is_replayed(run, answered):
    """W 9: an instance that ran before is not removed."""
    answers = [None, {"data": {}}]
    events, last = run(answered(answers, event=AGAIN, state="reconnecting", timeout_s=0.3))
    assert (last.id, last.state, last.name) == (events[1]["id"], "success", AGAIN["name"])


def test_no_instance_is_placed_on_a_reconnecting_host(run, cattle, spec):
    """W 9: a first start is refused in cattle's words, and nothing is sent."""

    async def scenario():
        async with cattle(agents=(spec(state="reconnecting"),)) as (server, agent):
            known = server.agents.find(None)
            with pytest.raises(NoHealthyHostError, match="No healthy hosts"):
                server.calls.start(known, dict(ACTIVATE), as_process=True)
            server.calls.start(known, dict(AGAIN), as_process=True)
            body = {"event": ACTIVATE, "as_process": True}
            status, answer = await agent.control("POST", "/events", body)
            return status, answer["message"], server.stats.calls

    assert run(scenario()) == (400, "No healthy hosts: agent 1a5 is reconnecting.", 1)


def test_without_processes_a_call_is_one_call(run, cattle, next_event):
    """W 9: tests of one event see one event; the playing on is asked for."""

    async def scenario():
        async with cattle() as (server, agent), agent.subscribe() as stream:
            record = server.calls.start(server.agents.find(None), dict(ACTIVATE))
            await agent.reply(await next_event(stream), **ERROR)
            await asyncio.sleep(0)
            return record.state, record.next, record.followed_by, server.stats.calls

    assert run(scenario()) == ("error", None, None, 1)
