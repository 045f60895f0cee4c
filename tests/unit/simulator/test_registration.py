"""How a host joins: tokens, scripts, register objects, and what keys are worth."""

from __future__ import annotations

import re

import pytest

from simulator.tokens import HOUR_MS, VALID_MS


async def token_of(agent):
    """A registration token that is active."""
    _, made = await agent.control("POST", "/registrationtokens")
    return made["token"]


def test_a_token_has_value_hour_and_signature(run, cattle):
    """Three parts; the time is the current hour, and the signature has no / = or +."""

    async def scenario():
        async with cattle() as (_, agent):
            return await token_of(agent)

    value, time_ms, signature = run(scenario()).split(":")
    assert re.fullmatch(r"[0-9A-F]{20}", value)
    assert int(time_ms) % HOUR_MS == 0
    assert re.fullmatch(r"[A-Za-z0-9]{20,27}", signature)


def forged(token):
    """The token with another signature."""
    return f"{token[:-3]}abc"


def with_time(change_ms):
    """A way to move a token's time without signing it again."""

    def moved(token):
        value, time_ms, signature = token.split(":")
        return f"{value}:{int(time_ms) + change_ms}:{signature}"

    return moved


@pytest.mark.parametrize(
    "spoil",
    [forged, with_time(HOUR_MS), lambda _: "nonsense", lambda token: f"{token}:more"],
)
def test_a_bad_token_is_no_script_and_no_key(run, cattle, spoil):
    """404 without a word for the script, 401 as a password."""

    async def scenario():
        async with cattle() as (_, agent):
            bad = spoil(await token_of(agent))
            script, _ = await agent.answer("GET", f"/scripts/{bad}", auth=None)
            auth = ("registrationToken", bad)
            register, _ = await agent.answer("GET", "/register?key=k", auth=auth)
            return script, register

    assert run(scenario()) == (404, 401)


def test_a_token_is_valid_for_ten_years(run, cattle):
    """A signed token of long ago is refused."""

    async def scenario():
        async with cattle() as (server, _):
            token = server.registration.new_token()
            now_ms = int(token.text().split(":")[1])
            ages = (now_ms - VALID_MS + HOUR_MS, now_ms - VALID_MS - HOUR_MS)
            return [server.registration.tokens.valid(token.text(ms)) is not None for ms in ages]

    assert run(scenario()) == [True, False]


def test_a_token_object_shows_its_url_when_active(run, cattle, spec, until):
    """The API way: a project's key makes a token, which has no url at first."""

    async def scenario():
        specs = (spec(), spec("p", "s", kind="project"))
        async with cattle(agents=specs) as (server, agent):
            auth = ("p", "s")
            status, made = await agent.answer("POST", "/registrationtokens", auth=auth)
            _, none = await agent.answer("GET", "/registrationtokens?state=active", auth=auth)
            await until(lambda: next(iter(server.registration.tokens)).state == "active")
            _, listed = await agent.answer("GET", "/registrationtokens?state=active", auth=auth)
            _, shown = await agent.answer("GET", f"/registrationtokens/{made['id']}", auth=auth)
            return status, made, none["data"], listed["data"], shown

    status, made, none, listed, shown = run(scenario())
    assert (status, made["transitioning"], none) == (201, "yes", [])
    assert not {"token", "registrationUrl", "command"} & made.keys()
    assert listed == [shown]
    assert shown["registrationUrl"].endswith(f"/v1/scripts/{shown['token']}")
    assert shown["command"].endswith(f"rancher/agent:v1.2.11 {shown['registrationUrl']}")


def test_a_register_shows_keys_when_active_and_for_its_own_key(run, cattle, until):
    """Not at the creation, not without the key, not for another key, not by id without it."""

    async def scenario():
        async with cattle(registration_delay_s=0.05) as (server, agent):
            auth = ("registrationToken", await token_of(agent))
            empty = await agent.answer("GET", "/register?key=mine", auth=auth)
            made = await agent.answer("POST", "/register", auth=auth, json={"key": "mine"})
            early = await agent.answer("GET", "/register?key=mine", auth=auth)
            await until(lambda: server.registration.registers[0].state == "active")
            paths = ("/register?key=mine", "/register", "/register?key=other", "/register/1r1")
            late = [(await agent.answer("GET", path, auth=auth))[1] for path in paths]
            by_id = await agent.answer("GET", "/register/1r1?key=mine", auth=auth)
            return empty[1]["data"], made, early[1]["data"][0], late, by_id[1]

    empty, made, early, (own, every, other, no_key), by_id = run(scenario())
    assert empty == other["data"] == []
    assert (made[0], made[1]["transitioning"]) == (201, "yes")
    assert early["state"] == "registering"
    for shown in (made[1], early, every["data"][0], no_key):
        assert not {"key", "accessKey", "secretKey"} & shown.keys()
    assert own["data"][0]["key"] == "mine"
    assert {"accessKey", "secretKey"} <= own["data"][0].keys() & by_id.keys()


@pytest.mark.parametrize(
    ("body", "refusal"),
    [
        (b"{}", (422, "MissingRequired")),
        (b'{"key": 5}', (422, "InvalidFormat")),
        (b"nonsense", (400, "InvalidBodyContent")),
    ],
)
def test_a_register_needs_a_key(run, cattle, body, refusal):
    """The one field that it takes."""

    async def scenario():
        async with cattle() as (_, agent):
            auth = ("registrationToken", await token_of(agent))
            return await agent.answer("POST", "/register", auth=auth, data=body)

    status, error = run(scenario())
    assert (status, error["code"]) == refusal


def test_a_host_that_joins_again_gets_the_same_keys(run, cattle):
    """The register key is the identity: with another token too."""

    async def scenario():
        async with cattle() as (server, agent):
            first, again = await agent.join("one"), await agent.join("one")
            other = await agent.join("two")
            return first, again, other, len(server.registration.registers)

    first, again, other, registers = run(scenario())
    assert first == again
    assert other[0] != first[0]
    assert registers == 2


def test_two_register_objects_of_one_key_are_two_agents(run, cattle, until):
    """Nothing checks; a host that creates blindly has two pairs of keys."""

    async def scenario():
        async with cattle() as (server, agent):
            auth = ("registrationToken", await token_of(agent))
            for _ in range(2):
                await agent.answer("POST", "/register", auth=auth, json={"key": "one"})
            await until(lambda: all(one.state == "active" for one in server.registration.registers))
            _, found = await agent.answer("GET", "/register?key=one", auth=auth)
            return {one["accessKey"] for one in found["data"]}

    assert len(run(scenario())) == 2


def test_a_new_agent_lists_itself_and_subscribes(run, cattle, next_event):
    """It is active at once, and cattle's first ping asks for stats and resources."""

    async def scenario():
        async with cattle() as (_, agent):
            keys = await agent.join()
            _, listed = await agent.answer("GET", "/agents", auth=keys)
            async with agent.ask("GET", "/agents", auth=keys) as response:
                kind = response.headers["X-API-ACCOUNT-KIND"]
            async with agent.subscribe(auth=keys):
                pass
            return listed["data"], kind

    listed, kind = run(scenario())
    assert [(one["kind"], one["state"]) for one in listed] == [("registeredAgent", "active")]
    assert kind == "agent"


def test_the_activation_ping_is_sent_again_until_it_is_answered(run, cattle, next_event, until):
    """Same id each time, so an agent that subscribes a little later still reports at once."""

    async def scenario():
        async with cattle(reconnect_ping_timeout_s=0.05) as (server, agent):
            keys = await agent.join()
            async with agent.subscribe(auth=keys) as stream:
                first, second = await next_event(stream), await next_event(stream)
                reports = [{"type": "host", "uuid": "h", "physicalHostUuid": "p"}]
                await agent.reply(second, data={"resources": reports}, resourceId="1a6")
                await until(lambda: server.hosts.find("h"))
            return first, second, server.agents.find(keys[0]).state

    first, second, state = run(scenario())
    assert first["id"] == second["id"]
    assert first["data"]["options"] == {"stats": True, "resources": True}
    assert first["context"]["processName"] == "agent.activate"
    assert state == "active"


def test_an_agent_that_is_not_registered_yet_is_403(run, cattle, until):
    """Whoever has the keys early, by whatever way, has to try again."""

    async def scenario():
        async with cattle(registration_delay_s=60) as (server, agent):
            auth = ("registrationToken", await token_of(agent))
            await agent.answer("POST", "/register", auth=auth, json={"key": "one"})
            await until(lambda: server.registration.registers[0].agent)
            account = server.registration.registers[0].agent.account
            keys = (account.access_key, account.secret_key)
            return (await agent.answer("PUT", "/configcontent/pyagent?version=1", auth=keys))[0]

    assert run(scenario()) == 403


@pytest.mark.parametrize("path", ["/agents", "/hosts", "/subscribe", "/registrationtokens"])
def test_a_registration_token_opens_register_objects_only(run, cattle, path):
    """The role has no other type."""

    async def scenario():
        async with cattle() as (_, agent):
            auth = ("registrationToken", await token_of(agent))
            got = (await agent.answer("GET", path, auth=auth))[0]
            return got, (await agent.publish({"name": "reply.1"}, auth=auth))[0]

    assert run(scenario()) == (404, 404)


def test_an_agent_makes_no_tokens_and_no_registers(run, cattle):
    """Neither type is in its role."""

    async def scenario():
        async with cattle() as (_, agent):
            paths = ("/registrationtokens", "/register")
            return [(await agent.answer("POST", path, json={"key": "k"}))[0] for path in paths]

    assert run(scenario()) == [404, 404]


def test_the_client_makes_tokens_and_lists_registers(run, cattle, with_client):
    """The control API of a process that tests drive from outside."""

    async def scenario():
        async with cattle() as (server, agent):
            await agent.join("one")

            def use(client):
                return client.registration_token(), client.registers()

            return await with_client(server, use)

    token, registers = run(scenario())
    assert token["registrationUrl"].endswith(token["token"])
    assert registers == [{"id": "1r1", "key": "one", "state": "active", "agent": "1a6"}]
