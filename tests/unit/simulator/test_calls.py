"""Calls: sending, matching, timers, retries."""

from __future__ import annotations

import asyncio

import pytest

from simulator.processes import retry_wait_s

ACTIVATE = {
    "name": "compute.instance.activate",
    "resourceType": "instanceHostMap",
    "resourceId": "1ihm3",
    "data": {"instanceHostMap": {"id": 3}},
}
PULL = {**ACTIVATE, "name": "storage.image.activate"}


@pytest.fixture
def answered(cattle, next_event):
    """The record of a call after a script played the agent's answers to it."""

    async def scenario(script, event=ACTIVATE, **options):
        async with cattle() as (server, agent), agent.subscribe() as stream:
            record = server.calls.start(server.agents.find(None), dict(event), **options)
            await script(server, agent, await next_event(stream))
            return record, server.stats

    return scenario


def test_a_frame_has_all_a_receiver_needs(run, cattle, next_event):
    """Id, reply address, time and timeout are filled in; a missing resource id is null."""

    async def scenario():
        async with cattle() as (server, agent), agent.subscribe() as stream:
            server.calls.start(server.agents.find(None), {"name": "config.update"}, timeout_s=7.5)
            return await next_event(stream)

    event = run(scenario())
    assert event["replyTo"].startswith("reply.")
    assert event["timeoutMillis"] == 7500
    assert (event["resourceId"], event["resourceType"], event["data"]) == (None, None, None)
    assert set(event) == {
        *("id", "name", "replyTo", "resourceId", "resourceType", "data", "time", "timeoutMillis")
    }


def test_reply_addresses_are_used_again(run, cattle, next_event):
    """W 9: the address of a call that ended serves the next call; open calls have their own."""

    async def scenario():
        async with cattle() as (server, agent), agent.subscribe() as stream:
            known = server.agents.find(None)
            server.calls.start(known, dict(ACTIVATE))
            server.calls.start(known, dict(ACTIVATE))
            first, second = await next_event(stream), await next_event(stream)
            await agent.reply(first, data={})
            third = server.calls.start(known, dict(ACTIVATE))
            await agent.reply(await next_event(stream), data={"n": 3})
            return first["replyTo"], second["replyTo"], third.reply_to, third.final["data"]

    first, second, third, data = run(scenario())
    assert first != second
    assert (third, data) == (first, {"n": 3})


def test_given_id_and_reply_address_are_kept(run, cattle, next_event):
    """A caller's own id and reply address go out verbatim and are what replies must name."""

    async def scenario():
        async with cattle() as (server, agent), agent.subscribe() as stream:
            own = {**ACTIVATE, "id": "my-id", "replyTo": "reply.mine", "extra": None}
            record = server.calls.start(server.agents.find(None), own)
            event = await next_event(stream)
            await agent.reply(event)
            return event["id"], event["replyTo"], event["extra"], record.state

    assert run(scenario()) == ("my-id", "reply.mine", None, "success")


@pytest.mark.parametrize(
    ("transitioning", "state"), [(None, "success"), ("no", "success"), ("error", "error")]
)
def test_final_replies_end_the_call(run, answered, transitioning, state):
    """Absent or `no` is success, `error` is failure."""

    async def script(_, agent, event):
        fields = {"transitioning": transitioning} if transitioning else {}
        assert (await agent.reply(event, data={"a": 1}, **fields))[0] == 201

    record, stats = run(answered(script))
    assert (record.state, record.final["data"], stats.finals) == (state, {"a": 1}, 1)


@pytest.mark.parametrize(
    "changes", [{"previousIds": ["other"]}, {"previousIds": ["other", "id"]}, {"name": "reply.1"}]
)
def test_replies_that_do_not_match_are_ignored_with_201(run, answered, changes):
    """First of previousIds and the name must both fit; anything else is dropped without a word."""

    async def script(_, agent, event):
        assert (await agent.reply(event, **changes))[0] == 201

    record, stats = run(answered(script))
    assert (record.state, stats.unmatched, stats.finals) == ("waiting", 1, 0)


def test_the_first_final_wins(run, answered):
    """Later finals are duplicates, told apart by whether they repeat the reply's id."""

    async def script(_, agent, event):
        await agent.reply(event, id="r1", data={"n": 1})
        await agent.reply(event, id="r1", data={"n": 1})
        await agent.reply(event, id="r2", transitioning="error")

    record, stats = run(answered(script))
    assert (record.state, record.final["data"]) == ("success", {"n": 1})
    assert (stats.finals, stats.duplicates_same_id, stats.duplicates_other_id) == (1, 1, 1)
    assert record.to_json()["reply_ids"] == ["r1", "r1", "r2"]
    assert len(record.to_json()["duplicates"]) == 2


def test_a_late_reply_is_201_and_changes_nothing(run, cattle, next_event):
    """After the timeout a reply is accepted by /publish and ignored by the call."""

    async def scenario():
        async with cattle() as (server, agent), agent.subscribe() as stream:
            record = await server.call(dict(ACTIVATE), timeout_s=0.02)
            status, _ = await agent.reply(await next_event(stream))
            return status, record.state, len(record.of_kind("late")), server.stats.late

    assert run(scenario()) == (201, "timeout", 1, 1)


def test_a_resend_is_the_same_event(run, cattle, next_event):
    """N sends carry one id, one reply address and one time, and fail after N timeouts."""

    async def scenario():
        async with cattle() as (server, agent), agent.subscribe() as stream:
            record = await server.call(dict(ACTIVATE), timeout_s=0.03, sends=3)
            frames = [await next_event(stream) for _ in range(3)]
            return record, frames, server.stats.frames_sent

    record, frames, sent = run(scenario())
    assert frames[0] == frames[1] == frames[2]
    assert (record.state, len(record.sent_ms), sent) == ("timeout", 3, 3)


def test_a_process_retry_has_a_new_id(run, cattle, next_event):
    """After a timeout the process layer sends the same resource under a new id."""

    async def scenario():
        async with cattle() as (server, agent), agent.subscribe() as stream:
            waiting = asyncio.create_task(
                server.call(dict(ACTIVATE), timeout_s=0.05, retries_new_id=2, backoff_s=0.01)
            )
            first, second = await next_event(stream), await next_event(stream)
            await agent.reply(second, data={})
            return first, second, await waiting, server.calls.record(first["id"])

    first, second, last, original = run(scenario())
    assert first["id"] != second["id"]
    assert (first["resourceId"], first["data"]) == (second["resourceId"], second["data"])
    assert (last.id, last.state, last.retry_of) == (second["id"], "success", first["id"])
    assert (original.state, original.to_json()["retried_as"]) == ("timeout", second["id"])


def test_retries_end(run, cattle):
    """With one retry asked for, the second timeout is the last."""

    async def scenario():
        async with cattle() as (server, _):
            record = await server.call(
                dict(ACTIVATE), timeout_s=0.01, retries_new_id=1, backoff_s=0
            )
            return record.state, record.attempt, server.stats.calls

    assert run(scenario()) == ("timeout", 2, 2)


def test_retry_wait_grows_to_two_minutes():
    """The wait before a replay is cattle's: two seconds and a doubling tenth, at most 120."""
    assert [retry_wait_s(attempt) for attempt in (1, 2, 5, 30)] == [2.1, 2.2, 3.6, 120]


@pytest.mark.parametrize(("event", "state"), [(PULL, "success"), (ACTIVATE, "timeout")])
def test_progress_prolongs_only_where_cattle_listens(run, cattle, next_event, event, state):
    """Progress buys storage.image.activate another timeout and compute.instance.activate none."""

    async def scenario():
        async with cattle() as (server, agent), agent.subscribe() as stream:
            waiting = asyncio.create_task(server.call(dict(event), timeout_s=1))
            frame = await next_event(stream)
            await agent.reply(frame, transitioning="yes", transitioningProgress=10)
            await asyncio.sleep(1.25)
            await agent.reply(frame, data={})
            record = await waiting
            return record.state, len(record.of_kind("progress"))

    assert run(scenario()) == (state, 1)


def test_progress_after_the_final_is_counted_apart(run, answered):
    """Progress that overtook the final reply shows as what it is."""

    async def script(_, agent, event):
        await agent.reply(event, data={})
        await agent.reply(event, transitioning="yes")

    record, stats = run(answered(script))
    assert (record.state, stats.progress, stats.progress_after_final) == ("success", 0, 1)


def test_one_way_events_carry_no_reply_address(run, cattle, next_event):
    """A fire-and-forget event goes out without replyTo, and answers to it are counted unmatched."""

    async def scenario():
        async with cattle() as (server, agent), agent.subscribe() as stream:
            record = await server.call(dict(ACTIVATE), one_way=True)
            event = await next_event(stream)
            await agent.publish({"name": "reply.9", "previousIds": [event["id"]]})
            unmatched = len(record.of_kind("unmatched"))
            return record.state, "replyTo" in event, unmatched, server.stats.unmatched

    assert run(scenario()) == ("one_way", False, 1, 1)


@pytest.mark.parametrize("state", ["disconnected", "finishing-reconnect"])
def test_calls_to_an_agent_out_of_reach_fail_at_once(run, cattle, spec, state):
    """Outside activating, active and reconnecting nothing goes on the wire."""

    async def scenario():
        async with cattle(agents=(spec(state=state),)) as (server, _):
            record = await server.call(dict(ACTIVATE), timeout_s=45, wait_s=1)
            return record.state, record.sent_ms

    assert run(scenario()) == ("timeout", [])


def test_the_same_id_again_is_a_second_record(run, cattle, next_event):
    """A repeated id with another reply address is matched by the address it is answered at."""

    async def scenario():
        async with cattle() as (server, agent), agent.subscribe() as stream:
            known = server.agents.find(None)
            first = server.calls.start(known, {**ACTIVATE, "id": "x"})
            second = server.calls.start(known, {**ACTIVATE, "id": "x"})
            await next_event(stream)
            await agent.reply(await next_event(stream), data={})
            return first.state, second.state, server.calls.record("x") is second

    assert run(scenario()) == ("waiting", "success", True)
