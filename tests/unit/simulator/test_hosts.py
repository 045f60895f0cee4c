"""Hosts: made and updated by reports, removed by people, and what dies with them."""

from __future__ import annotations

import asyncio

import aiohttp
import pytest

from simulator.client import SimulatorError

HOST = {
    "type": "host",
    "kind": "docker",
    "uuid": "host-a",
    "physicalHostUuid": "physical-a",
    "hostname": "one",
    "labels": {"a": "1"},
    "createLabels": {"io.rancher.scheduler.ips": "1.2.3.4"},
    "info": {"memoryInfo": {"memTotal": 1}, "hostKey": {"data": "key-1"}},
    "memory": 1000,
    "milliCpu": 2000,
}
POOL = {"type": "storagePool", "uuid": "host-a-pool", "hostUuid": "host-a", "name": "pool"}
ADDRESS = {"type": "ipAddress", "uuid": "1.2.3.4", "address": "9.9.9.9", "hostUuid": "host-a"}


def shown(server):
    """The live hosts as cattle's API shows them."""
    return [host.to_json() for host in server.hosts if host.state != "removed"]


@pytest.fixture
def reported(run, cattle):
    """`reported(*reports, **settings)`: the server after an agent's reports, each a list."""

    def report(*reports, **settings):
        async def scenario():
            async with cattle(**settings) as (server, _):
                for resources in reports:
                    server.hosts.report("1a5", resources)
                return server

        return run(scenario())

    return report


def test_the_first_report_makes_a_host(reported):
    """Labels and createLabels together; the address is the uuid of its entry."""
    server = reported([HOST, POOL, ADDRESS])
    (host,) = shown(server)
    assert host["labels"] == {"a": "1", "io.rancher.scheduler.ips": "1.2.3.4"}
    assert (host["hostname"], host["memory"], host["milliCpu"]) == ("one", 1000, 2000)
    assert (host["agentIpAddress"], host["physicalHostUuid"]) == ("1.2.3.4", "physical-a")
    assert server.hosts.find("host-a").pools == {"host-a-pool": "pool"}
    assert server.hosts.problems == []


def test_labels_are_merged_and_createlabels_count_once(reported):
    """A label that is no longer reported stays; a changed one changes."""
    later = {**HOST, "labels": {"a": "2", "b": "3"}, "createLabels": {"c": "4"}}
    (host,) = shown(reported([HOST], [later]))
    assert host["labels"] == {"a": "2", "b": "3", "io.rancher.scheduler.ips": "1.2.3.4"}


def test_info_is_merged_one_level_deep(reported):
    """A key that is not sent keeps its value; a sent one replaces the whole map below it."""
    later = {**HOST, "info": {"memoryInfo": {"memFree": 2}}}
    server = reported([HOST], [later])
    (host,) = shown(server)
    assert host["info"] == {"memoryInfo": {"memFree": 2}, "hostKey": {"data": "key-1"}}
    assert server.hosts.find("host-a").host_key == "key-1"


def test_memory_once_set_is_kept(reported):
    """Also processors and disk; what was never set is taken from a later report."""
    later = {**HOST, "memory": 1, "milliCpu": 1, "localStorageMb": 7, "hostname": "two"}
    (host,) = shown(reported([HOST], [later], [{**later, "localStorageMb": 9, "apiProxy": "p"}]))
    assert (host["memory"], host["milliCpu"], host["localStorageMb"]) == (1000, 2000, 7)
    assert (host["hostname"], host["apiProxy"]) == ("two", "p")


def test_another_physical_uuid_moves_the_host(reported):
    """Same host uuid: no second host."""
    (host,) = shown(reported([HOST], [{**HOST, "physicalHostUuid": "physical-b"}]))
    assert host["physicalHostUuid"] == "physical-b"


def test_another_host_uuid_is_a_second_host(reported):
    """It appears beside the old one."""
    server = reported([HOST], [{**HOST, "uuid": "host-b"}])
    assert [host.reported_uuid for host in server.hosts] == ["host-a", "host-b"]


def test_another_agent_with_the_same_uuid_makes_a_second_host(run, cattle, spec):
    """Hosts are looked up per agent: new keys on an old machine double it."""

    async def scenario():
        async with cattle(agents=(spec(), spec("k2", "s"))) as (server, agent):
            for own_id in ("1a5", "1a6"):
                server.hosts.report(own_id, [HOST])
            _, listed = await agent.answer("GET", "/hosts")
            with pytest.raises(ValueError, match="means 2 live hosts"):
                server.hosts.find("host-a")
            return [host["agentId"] for host in shown(server)], listed["data"]

    agents, listed = run(scenario())
    assert agents == ["1a5", "1a6"]
    assert [host["agentId"] for host in listed] == ["1a5"]


@pytest.mark.parametrize("resource_id", [None, "5", "1h5", "1a99"])
def test_a_report_needs_the_agents_own_id(run, cattle, resource_id):
    """A reply without a readable resourceId counts as a pong, and its resources are passed over."""

    async def scenario():
        async with cattle() as (server, _):
            server.hosts.report(resource_id, [HOST])
            return shown(server)

    assert run(scenario()) == []


@pytest.mark.parametrize(
    "resources",
    [[POOL, ADDRESS], [{**HOST, "uuid": ""}], [{"uuid": "host-a"}], ["nonsense"]],
)
def test_a_report_without_a_whole_host_changes_nothing(reported, resources):
    """Entries need type and uuid; pools and addresses alone are nothing."""
    assert shown(reported(resources)) == []


def test_parts_of_an_unknown_host_are_noted(reported):
    """Cattle passes over them in silence; tests can see them."""
    server = reported([HOST, {**POOL, "hostUuid": "other"}])
    assert server.hosts.find("host-a").pools == {}
    assert "no known host" in server.hosts.problems[0]


def test_a_fraction_of_memory_is_noted(reported):
    """Whole bytes and thousandths are what cattle takes."""
    assert "no integer" in reported([{**HOST, "memory": 1.5}]).hosts.problems[0]


@pytest.mark.parametrize(("cache_s", "label"), [(30, "gone"), (0, "1")])
def test_an_equal_report_is_skipped_for_a_while(run, cattle, cache_s, label):
    """The same hosts, pools and addresses within 30 s are not looked at again."""

    async def scenario():
        async with cattle(report_cache_s=cache_s) as (server, _):
            server.hosts.report("1a5", [HOST])
            server.hosts.find("host-a").fields["labels"]["a"] = "gone"
            server.hosts.report("1a5", [HOST, {"type": "instance", "uuid": "x"}])
            return server.hosts.find("host-a").fields["labels"]["a"]

    assert run(scenario()) == label


def test_a_pong_brings_the_report(run, cattle, next_event, until):
    """The resources of a ping reply make the host, under the agent of the frame."""

    async def scenario():
        async with cattle(ping_interval_s=0.2) as (server, agent), agent.subscribe() as stream:
            ping = await next_event(stream)
            await agent.reply(
                ping, data={"resources": [HOST]}, resourceType="agent", resourceId="1a5"
            )
            await until(lambda: shown(server))
            return shown(server)[0]["agentState"]

    assert run(scenario()) == "active"


async def subscribe_status(agent, keys):
    """The status of a subscription: 101, or the refusal's."""
    try:
        async with agent.subscribe(auth=keys):
            return 101
    except aiohttp.WSServerHandshakeError as error:
        return error.status


@pytest.mark.parametrize(
    ("security", "statuses"), [(True, (401, 401, 401)), (False, (404, 201, 200))]
)
def test_removing_a_host_kills_its_keys(run, cattle, security, statuses):
    """401; with access control off the keys count as admin's: 404 and 201, as recorded."""

    async def scenario():
        async with cattle(security_enabled=security) as (server, agent):
            keys = await agent.join()
            server.hosts.report("1a6", [HOST])
            before = await subscribe_status(agent, keys)
            await agent.control("DELETE", "/hosts/host-a")
            after = (
                await subscribe_status(agent, keys),
                (await agent.publish({"name": "reply.1"}, auth=keys))[0],
                (await agent.answer("GET", "/schemas/account", auth=keys))[0],
            )
            return before, after, shown(server)

    assert run(scenario()) == (101, statuses, [])


def test_a_removed_host_leaves_its_sockets_open(run, cattle, with_client):
    """Cattle closes none; they get nothing more. The control API can cut them."""

    async def scenario():
        async with cattle() as (server, agent):
            first = await agent.join("one")
            second = await agent.join("two")
            for own_id in ("1a6", "1a7"):
                server.hosts.report(own_id, [{**HOST, "uuid": own_id}])
            async with agent.subscribe(auth=first), agent.subscribe(auth=second) as stream:

                def use(client):
                    kept = client.remove_host("1a6")
                    cut = client.remove_host("1h2", drop_sockets=True)
                    return kept, cut, client.hosts(), client.hosts(removed=True)

                kept, cut, live, every = await with_client(server, use)
                async for _ in stream:
                    pass
            return kept["sockets_dropped"], cut["sockets_dropped"], live, len(every)

    assert run(scenario()) == (0, 1, [], 2)


@pytest.mark.parametrize("outlives", [True, False])
def test_the_register_of_a_removed_agent(run, cattle, outlives):
    """It goes on showing keys, which are dead; where it goes too, the same key makes new ones."""

    async def scenario():
        async with cattle(registers_outlive_agents=outlives) as (server, agent):
            first = await agent.join("one")
            server.hosts.remove_agent(server.agents.find(first[0]))
            second = await agent.join("one")
            return first == second, await subscribe_status(agent, second)

    assert run(scenario()) == ((True, 401) if outlives else (False, 101))


def test_no_events_go_to_a_removed_agent(run, cattle):
    """A process with its events ends, and a ping is not sent."""

    async def scenario():
        async with cattle(ping_interval_s=0.01) as (server, _):
            agent = server.agents.find(None)
            server.hosts.remove_agent(agent)
            record = server.calls.start(
                agent, {"name": "compute.instance.activate"}, timeout_s=0.01, as_process=True
            )
            return record.state, record.ended, record.sent_ms, agent.state

    assert run(scenario()) == ("timeout", True, [], "removed")


def test_disconnected_agents_without_a_live_host_are_removed(run, cattle, spec, until):
    """Not those with a host, not connected ones; a removed host does not save its agent."""

    async def scenario():
        specs = (
            spec("no-host", state="disconnected"),
            spec("with-host", state="disconnected"),
            spec("connected"),
        )
        cleaning = {"agent_cleanup_after_s": 0.05, "agent_cleanup_interval_s": 0.02}
        async with cattle(agents=specs, **cleaning) as (server, agent):
            host = {**HOST, "uuid": "host-b"}
            server.hosts.report("1a6", [host])
            await until(lambda: server.agents.find(5).is_removed)
            states = [one.state for one in server.agents]
            status = await subscribe_status(agent, ("no-host", "s"))
            return states, status

    assert run(scenario()) == (["removed", "disconnected", "active"], 401)


def test_cleaning_waits_after_the_start(run, cattle, spec):
    """The first removal comes 900 s after the server's start, by cattle's default."""

    async def scenario():
        async with cattle(agents=(spec(state="disconnected"),), agent_cleanup_interval_s=0.001) as (
            server,
            agent,
        ):
            for _ in range(5):
                await agent.control("GET", "/hosts")
            return server.settings.agent_cleanup_after_s, server.agents.find(None).state

    assert run(scenario()) == (900, "disconnected")


def test_an_agent_that_never_reports_loses_its_keys(run, cattle, until):
    """Joined, never heard of: reconnecting, disconnected, removed."""

    async def scenario():
        settings = {
            "ping_interval_s": 0.01,
            "ping_timeout_s": 0.01,
            "reconnect_after_misses": 2,
            "reconnect_ping_timeout_s": 0.01,
            "reconnect_ping_sends": 1,
            "disconnect_after_s": 0.02,
            "agent_cleanup_after_s": 0,
            "agent_cleanup_interval_s": 0.02,
        }
        async with cattle(**settings) as (server, agent):
            keys = await agent.join()
            known = server.registration.registers[0].agent
            await until(lambda: known.is_removed)
            return await subscribe_status(agent, keys)

    assert run(scenario()) == 401


def test_the_client_asks_for_a_report(run, cattle, next_event, with_client):
    """A host where no regular pings are sent; without an answer there is an error."""

    async def scenario():
        async with cattle() as (server, agent), agent.subscribe() as stream:

            async def answer():
                ping = await next_event(stream)
                await agent.reply(ping, data={"resources": [HOST]}, resourceId="1a5")
                return ping["data"]["options"]

            answering = asyncio.create_task(answer())
            shown_agent = await with_client(server, lambda client: client.ask_report())
            with pytest.raises(SimulatorError, match="did not report"):
                await with_client(server, lambda client: client.ask_report("1a5", wait_s=0.05))
            return await answering, shown_agent["resources"], len(shown(server))

    assert run(scenario()) == ({"stats": True, "resources": True, "instances": True}, [HOST], 1)
