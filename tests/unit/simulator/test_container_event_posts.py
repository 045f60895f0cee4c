"""POST /containerevents: who may, and what is refused or noted."""

from __future__ import annotations

import pytest

from tests.container_posts import CONTAINER, HOST, OTHER, event


def test_an_unknown_host_is_422(run, host):
    """Also one without a uuid; the host comes with the first report of resources."""

    async def scenario():
        async with host() as side:
            bodies = (event(reportedHostUuid="other"), event(reportedHostUuid=None))
            return [
                await side.agent.answer("POST", "/containerevents", json=body) for body in bodies
            ], [one.status for one in side.server.container_events.events]

    answers, kept = run(scenario())
    assert [status for status, _ in answers] == kept == [422, 422]
    assert {error["code"] for _, error in answers} == {"InvalidReference"}
    assert {error["fieldName"] for _, error in answers} == {"hostId"}


def test_the_host_of_another_agent_is_422(run, cattle, spec):
    """A reported uuid counts for its own agent only."""

    async def scenario():
        async with cattle(agents=(spec(), spec("k2", "s"))) as (server, agent):
            server.hosts.report("1a6", [HOST])
            return (await agent.answer("POST", "/containerevents", json=event()))[0]

    assert run(scenario()) == 422


@pytest.mark.parametrize(
    ("keys", "security", "refusal"),
    [
        (("k", "wrong"), True, (401, "Unauthorized")),
        (("k", "wrong"), False, (403, "CantVerifyAgent")),
        (("none", "s"), True, (403, "CantVerifyAgent")),
        (("p", "s"), True, (404, "NotFound")),
    ],
)
def test_foreign_accounts_are_refused(run, cattle, spec, keys, security, refusal):
    """Bad keys, keys that fell back to admin, an account without a live agent, another role."""
    specs = (spec(), spec("none", "s", state="inactive"), spec("p", "s", kind="project"))

    async def scenario():
        async with cattle(agents=specs, security_enabled=security) as (_, agent):
            return await agent.answer("POST", "/containerevents", json=event(), auth=keys)

    status, error = run(scenario())
    assert (status, error["code"]) == refusal


def test_too_many_starts_are_409(run, host):
    """150 of a host unprocessed; stop, die and destroy always pass, and so does another host."""

    async def scenario():
        async with host(container_event_delay_s=60) as side:
            other = {"type": "host", "uuid": "host-b"}
            side.server.hosts.report("1a5", [HOST, other])
            posts = [event(externalId=f"{n:064x}") for n in range(151)]
            posts += [event(one) for one in ("stop", "die", "destroy")]
            posts += [event(reportedHostUuid="host-b")]
            return [
                (await side.agent.answer("POST", "/containerevents", json=body))[0]
                for body in posts
            ]

    assert run(scenario()) == [201] * 150 + [409] + [201] * 4


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"externalId": None}, "MissingRequired"),
        ({"externalStatus": ""}, "MissingRequired"),
        ({"externalFrom": 5}, "InvalidFormat"),
        ({"externalTimestamp": "now"}, "InvalidFormat"),
    ],
)
def test_a_body_that_cannot_be_meant_is_422(run, host, change, code):
    """With the field that is wrong."""

    async def scenario():
        async with host() as side:
            return await side.agent.answer("POST", "/containerevents", json=event(**change))

    status, error = run(scenario())
    assert (status, error["code"], error["fieldName"]) == (422, code, next(iter(change)))


def test_what_cattle_takes_in_silence_is_noted(run, host, with_client):
    """Milliseconds, short ids, other words, no image, an older time than the last."""
    bodies = (
        event("restart"),
        event(externalId="abc", externalTimestamp=5),
        event(externalTimestamp=1_520_000_000_000, externalId=OTHER),
        event(externalTimestamp=1_519_999_999, externalFrom=None),
    )

    async def scenario():
        async with host() as side:
            for body in bodies:
                await side.agent.answer("POST", "/containerevents", json=body)
            return await with_client(side.server, lambda client: client.container_event_problems())

    assert run(scenario()) == [
        "1ce1 has the status restart",
        "1ce2 has an id that is not 64 hex digits",
        "1ce3 has no whole seconds",
        "1ce4 has no externalFrom",
        "1ce4 came after a later one of its container",
    ]


def test_the_client_lists_events_and_instances(run, host, with_client):
    """By container and status, with the time of receipt; without inspects where they are many."""

    async def scenario():
        async with host() as side:
            await side.post(event())
            await side.post(event("die"))

            def use(client):
                return (
                    client.container_events(container=CONTAINER, status="die"),
                    client.container_events(container=OTHER),
                    client.container_events(inspect=False),
                    client.instances(),
                )

            return await with_client(side.server, use)

    (die,), none, every, (instance,) = run(scenario())
    assert none == []
    assert (die["outcome"], die["status"]) == ("no-op stop", 201)
    assert die["event"] == event("die")
    assert die["received_ms"] <= die["processed_ms"]
    assert "dockerInspect" not in every[0]["event"]
    states = [one["state"] for one in instance["history"]]
    assert states == ["creating", "starting", "running", "stopped"]


def test_a_fault_refuses_container_events(run, host):
    """For tests of what an agent does when cattle is broken."""

    async def scenario():
        async with host() as side:
            side.server.faults.turn({"containerevents_status": 503})
            broken = await side.post(event())
            side.server.faults.clear()
            return broken, await side.post(event())

    assert run(scenario()) == (503, 201)
